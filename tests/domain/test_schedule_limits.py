"""What a schedule may not say, and how it is told."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.crons import check_expression
from relevo.domain.schedule_limits import check_schedule
from relevo.domain.schedules import Schedule, next_occurrence
from relevo.domain.timetables import DAYS
from relevo.domain.timings import read_timing
from relevo.domain.zones import check_zone
from relevo.errors import Invalid
from tests.domain.planned import OFF, ON, cron, ms, schedule, weekly

EVERY_DAY = " ".join(DAYS)
ANOTHER = {"command": {"device": "fan", "name": "on"}}


def refused(one: Schedule) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        check_schedule(one)
    assert caught.value.reason == "schedule_invalid"
    first = caught.value.errors[0]
    assert caught.value.message.startswith(f"{first.field} {first.message}")
    return {wrong.field: wrong.message for wrong in caught.value.errors}


def windows(*listed: dict[str, Any], **fields: Any) -> Schedule:
    return schedule({"kind": "weekly", "windows": [{"days": ["mon"], **one} for one in listed]}, **fields)


@pytest.mark.parametrize(
    "one",
    [
        cron("0 7 * * *", zone="America/Santiago", jitter_s=3600, late_limit_s=604_800),
        cron("0 0 29 2 *"),
        cron("0 0 * 2 MON#5"),
        cron("0 0 30 2 MON"),
        schedule({"kind": "once", "at": ms("2026-05-01")}),
        schedule({"kind": "countdown", "in": 1}),
        schedule({"kind": "every", "seconds": 1}),
        schedule({"kind": "sun", "event": "dusk", "offset_min": -720}, lat=-90.0, lon=180.0),
        weekly(("mon", "23:00", "01:00"), ("tue", "00:30", "02:00")),
        windows({"from": "07:00"}, {"from": "07:00", "to": "09:00"}),
        windows({"from": "07:00", "to": "09:00", "action": ON}, {"from": "09:00", "action": ANOTHER}, action={}),
        windows(*({"from": "07:00"} for _ in range(63))),
        cron("0 7 * * *", enabled=False),
    ],
)
def test_what_is_right_is_taken_and_runs(one: Schedule) -> None:
    check_schedule(one)
    assert next_occurrence(msgspec.structs.replace(one, enabled=True), one.begun_at) is not None


@pytest.mark.parametrize(
    ("one", "field", "said"),
    [
        (cron("0 7 * * *", zone="Europe/Madird"), "zone", "did you mean 'Europe/Madrid'?"),
        (cron("0 7 * * *", zone="localtime"), "zone", "no IANA time zone"),
        (cron("0 7 * * *", zone="../etc/passwd"), "zone", "no IANA time zone"),
        (cron("0 7 * * *", zone=""), "zone", "no IANA time zone"),
        (cron("0 0 30 2 *"), "timing.expression", "day-of-month that does not exist"),
        (cron("0 0 */31 2 MON#5"), "timing.expression", "never runs"),
        (cron("0 0 7 * * *"), "timing.expression", "6 fields instead of 5"),
        (cron("60 * * * *"), "timing.expression", "minute"),
        (cron("0 7 * * " + "1," * 80), "timing.expression", "limit is 120"),
        (schedule({"kind": "once", "at": -1}), "timing.at", "must be 1 to"),
        (schedule({"kind": "once", "at": ms("2100-01-01")}), "timing.at", "must be 1 to"),
        (schedule({"kind": "once", "at": 10**30}), "timing.at", "must be 1 to"),
        (schedule({"kind": "once", "at": ms("2019-12-31")}), "timing", "its only time has passed"),
        (schedule({"kind": "countdown", "in": 0}), "timing.in", "1 to 31622400, not 0"),
        (schedule({"kind": "every", "seconds": -5}), "timing.seconds", "1 to 31622400, not -5"),
        (schedule({"kind": "every", "seconds": 60}, jitter_s=61), "jitter_s", "timing.seconds (60)"),
        (schedule({"kind": "every", "seconds": 60, "anchor": -1}), "timing.anchor", "0 to"),
        (schedule({"kind": "sun", "event": "moonrise"}, lat=0.0, lon=0.0), "timing.event", "dawn, sunrise"),
        (schedule({"kind": "sun", "event": "dusk"}, lat=1.0), "lon", "needed for the sun"),
        (schedule({"kind": "sun", "event": "dusk"}, lat=90.5, lon=0.0), "lat", "-90 to 90 degrees"),
        (schedule({"kind": "sun", "event": "dusk"}, lat=0.0, lon=float("nan")), "lon", "-180 to 180 degrees"),
        (schedule({"kind": "sun", "event": "dusk", "offset_min": 721}, lat=0.0, lon=0.0), "timing.offset_min", "-720"),
        (schedule({"kind": "sun", "event": "dusk", "days": []}, lat=0.0, lon=0.0), "timing.days", "at least one"),
        (schedule({"kind": "weekly", "windows": []}), "timing.windows", "at least one"),
        (windows(*({"from": "07:00"} for _ in range(64))), "timing.windows", "limit is 63"),
        (windows({"from": "7"}), "timing.windows.0.from", "HH:MM"),
        (windows({"from": "24:00"}), "timing.windows.0.from", "00:00 rather than 24:00"),
        (windows({"from": "07:00", "to": "24:01"}), "timing.windows.0.to", "HH:MM"),
        (windows({"days": ["lunes"], "from": "07:00"}), "timing.windows.0.days", "'lunes'"),
        (windows({"days": ["mon", "mon"], "from": "07:00"}), "timing.windows.0.days", "twice"),
        (windows({"from": "07:00"}, action={}), "timing.windows.0.action", "must be"),
        (windows({"from": "07:00", "end_action": OFF}), "timing.windows.0.end_action", "has no end"),
        (weekly((EVERY_DAY, "07:00", "07:00")), "timing.windows.0", "nothing starts"),
        (
            windows({"from": "07:00", "to": "09:00"}, {"from": "08:59", "to": "10:00", "action": ANOTHER}),
            "timing.windows.1",
            "overlaps windows.0",
        ),
        (
            windows(
                {"days": ["sun"], "from": "20:00", "to": "08:00"}, {"from": "07:00", "to": "10:00", "action": ANOTHER}
            ),
            "timing.windows.1",
            "does something else",
        ),
        (cron("0 7 * * *", action={}), "action", "must be"),
        (cron("0 7 * * *", end_action=OFF), "end_action", "weekly windows"),
        (weekly(("mon", "07:00", "08:00"), end_action={"command": 5}), "end_action.command", "object"),
        (cron("0 7 * * *", missed="later"), "missed", "skip, run_once"),
        (cron("0 7 * * *", late_limit_s=0), "late_limit_s", "1 to 604800"),
        (cron("0 7 * * *", jitter_s=-1), "jitter_s", "0 to 3600"),
        (cron("0 7 * * *", starts_at=-1), "starts_at", "0 to"),
        (cron("0 7 * * *", starts_at=2, ends_at=2), "ends_at", "after starts_at"),
        (cron("0 7 * * *", ends_at=ms("2019-01-01")), "timing", "its time is over"),
        (
            cron("0 0 29 2 *", created_at=ms("2025-01-01"), ends_at=ms("2027-01-01")),
            "timing",
            "nothing is left before ends_at",
        ),
    ],
)
def test_an_error_names_the_field_and_the_limit(one: Schedule, field: str, said: str) -> None:
    found = refused(one)
    assert said in found[field]


def test_every_wrong_field_is_told_at_once() -> None:
    one = cron("61 * * * *", zone="Mars/Olympus", missed="no", action={"command": {}}, jitter_s=9_999)
    assert {"timing.expression", "zone", "missed", "jitter_s", "action.command"} <= set(refused(one))


def test_a_name_is_short_and_printable() -> None:
    for name in ("", "x" * 101, "a\nb"):
        one = cron("0 7 * * *")
        one.name = name
        assert "name" in refused(one)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "timing"),
        ({}, "timing"),
        ({"kind": "moon"}, "timing.kind"),
        ({"kind": "once"}, "timing"),
        ({"kind": "once", "at": "noon"}, "timing.at"),
        ({"kind": "weekly", "windows": [{"days": ["mon"], "form": "7:00"}]}, "timing.windows.0"),
        ({"kind": "weekly", "windows": [{"days": ["mon"], "from": 7}]}, "timing.windows.0.from"),
        ({"kind": "weekly", "windows": [{"days": [7], "from": "7:00"}]}, "timing.windows.0.days.0"),
    ],
)
def test_a_timing_of_another_shape_is_refused_with_its_place(document: Any, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_timing(document)
    assert [wrong.field for wrong in caught.value.errors] == [field]
    assert caught.value.message.startswith(field)


cron_texts = st.text(max_size=130) | st.lists(
    st.text("0123456789*/,-#LWMONSUJAFEB", min_size=1, max_size=9), min_size=5, max_size=5
).map(" ".join)


@given(cron_texts)
def test_no_expression_is_too_strange_to_be_answered(text: str) -> None:
    one = cron(text)
    if check_expression(text):
        assert "timing.expression" in refused(one)
    else:
        check_schedule(one)


@given(st.text(max_size=80))
def test_no_zone_is_too_strange_to_be_answered(name: str) -> None:
    try:
        assert check_zone(name) == name
    except Invalid as error:
        assert error.errors[0].field == "zone" and error.errors[0].reason == "zone_unknown"
