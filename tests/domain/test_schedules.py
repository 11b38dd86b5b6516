from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.schedules import (
    DUE_MOST,
    RUN_ONCE,
    Schedule,
    due,
    missed,
    next_occurrence,
    run_at,
    too_late,
    why_none,
)
from relevo.domain.timetables import DAYS
from tests.domain.planned import DAY, HOUR, MINUTE, OFF, ON, ZONES, cron, ms, schedule, shown, weekly
from tests.effort import least_cpu

times = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda one: f"{one[0]:02}:{one[1]:02}")
some_days = st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True)
instants = st.integers(ms("2024-01-01"), ms("2028-01-01"))
windows = st.fixed_dictionaries({"days": some_days, "from": times, "to": times | st.just("")})
places = st.sampled_from([(40.4, -3.7), (-33.4, -70.7), (69.6, 18.9), (-31.5, 159.1), (23.8, 90.4), (-13.8, -171.8)])


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    timing: dict[str, Any] = draw(
        st.one_of(
            st.fixed_dictionaries({"kind": st.just("once"), "at": instants}),
            st.fixed_dictionaries({"kind": st.just("countdown"), "in": st.integers(1, 31_000_000)}),
            st.fixed_dictionaries({"kind": st.just("weekly"), "windows": st.lists(windows, min_size=1, max_size=6)}),
            st.builds(
                lambda minute, hour, day: {"kind": "cron", "expression": f"{minute} {hour} * * {day}"},
                st.sampled_from(["0", "30", "5,35", "*/20", "15-45/15"]),
                st.sampled_from(["*", "0", "2", "1,3", "*/6", "0-4"]),
                st.sampled_from(["*", "SUN", "MON-FRI", "SUN#1"]),
            ),
            st.fixed_dictionaries(
                {
                    "kind": st.just("sun"),
                    "event": st.sampled_from(["dawn", "sunrise", "noon", "sunset", "dusk"]),
                    "offset_min": st.integers(-720, 720),
                    "days": some_days,
                }
            ),
            st.fixed_dictionaries(
                {"kind": st.just("every"), "seconds": st.integers(600, 900_000), "anchor": instants | st.just(0)}
            ),
        )
    )
    lat, lon = draw(places)
    return schedule(
        timing,
        zone=draw(st.sampled_from(ZONES)),
        lat=lat,
        lon=lon,
        end_action=draw(st.sampled_from([OFF, {}])) if timing["kind"] == "weekly" else {},
        created_at=draw(st.sampled_from([ms("2020-01-01"), ms("2025-07-01")])),
        starts_at=draw(st.sampled_from([0, ms("2025-10-01")])),
        ends_at=draw(st.sampled_from([0, ms("2027-03-01")])),
    )


# What stands together at the change of clocks is found more often when the times asked for are near it.
near_changes = st.builds(
    lambda text, shift: ms(text) + shift,
    st.sampled_from(
        ["2026-03-29T01:00", "2026-10-25T01:00", "2026-09-06T04:00", "2026-04-05T03:00", "2026-04-04T15:00"]
    ),
    st.integers(-3 * HOUR, 3 * HOUR),
)


@given(schedules(), st.lists(instants | near_changes, min_size=3, max_size=3).map(sorted))
def test_what_is_due_in_two_stretches_is_what_is_due_in_both(one: Schedule, bounds: list[int]) -> None:
    a, b, c = bounds[0], bounds[1], min(bounds[2], bounds[1] + 40 * DAY)
    a = max(a, b - 40 * DAY)
    most = 100_000
    assert due(one, a, b, most) + due(one, b, c, most) == due(one, a, c, most)


@given(schedules(), instants | near_changes, st.integers(0, 40 * DAY))
def test_what_is_due_is_in_order_within_its_bounds_and_begins_with_the_next(one: Schedule, a: int, length: int) -> None:
    found = due(one, a, a + length)
    planned = [occurrence.planned for occurrence in found]
    assert planned == sorted(set(planned))
    assert all(a <= at < a + length and at >= one.created_at and at >= one.starts_at for at in planned)
    assert all(at < one.ends_at for at in planned) or not one.ends_at
    assert all(occurrence.steps for occurrence in found)
    following = next_occurrence(one, a)
    if found:
        assert following is not None
        assert (following.planned, following.steps) == (found[0].planned, found[0].steps)
        for at, later in pairwise(planned[:6]):
            beyond = next_occurrence(one, at + 1)
            assert beyond is not None and beyond.planned == later
    else:
        assert following is None or following.planned >= a + length
    assert bool(why_none(one, a)) == (following is None)


@given(schedules(), near_changes, st.integers(0, 60 * DAY))
def test_the_latest_of_what_was_missed_is_the_last_of_what_was_due(one: Schedule, done: int, gap: int) -> None:
    again = msgspec.structs.replace(one, missed=RUN_ONCE)
    assert missed(again, done, done + gap) == due(one, done + 1, done + gap + 1, 100_000)[-1:]


@given(schedules(), near_changes, st.integers(0, 2 * DAY), st.integers(1, DAY // 1000))
def test_what_may_still_run_late_is_the_end_of_what_was_due(one: Schedule, done: int, gap: int, late_s: int) -> None:
    patient = msgspec.structs.replace(one, late_limit_s=late_s)
    now = done + gap
    young = [found for found in due(one, done + 1, now + 1) if now - found.planned <= late_s * 1000]
    assert missed(patient, done, now) == young


@given(st.text(max_size=20), st.integers(0, ms("2099-01-01")), st.integers(1, 3600))
def test_jitter_is_the_same_each_time_and_within_its_limit(device: str, planned: int, jitter: int) -> None:
    one = cron("0 7 * * *", jitter_s=jitter)
    at = run_at(one, planned, device)
    assert planned <= at < planned + jitter * 1000
    assert at == run_at(msgspec.json.decode(msgspec.json.encode(one), type=Schedule), planned, device)
    assert run_at(cron("0 7 * * *"), planned, device) == planned


def test_jitter_is_the_same_in_every_process_and_spreads_a_fleet_evenly() -> None:
    one = cron("0 7 * * *", jitter_s=100)
    planned = ms("2026-05-01T07:00")
    assert [run_at(one, planned, f"d{n}") - planned for n in range(3)] == [87_824, 10_424, 72_469]
    tenths = Counter((run_at(one, planned, f"d{n}") - planned) // 10_000 for n in range(10_000))
    assert sorted(tenths) == list(range(10))
    assert all(900 < count < 1100 for count in tenths.values())


def test_a_year_in_five_zones_is_planned_in_a_moment() -> None:
    begun, ended = ms("2026-01-01"), ms("2027-01-01")
    kinds: list[tuple[dict[str, Any], int, int]] = [
        ({"kind": "cron", "expression": "30 2 * * *"}, 365, 365),
        ({"kind": "weekly", "windows": [{"days": list(DAYS), "from": "22:00", "to": "06:00"}]}, 730, 731),
        ({"kind": "sun", "event": "sunset", "days": ["mon", "wed"]}, 103, 106),
        ({"kind": "every", "seconds": 3600}, 8760, 8760),
    ]

    def plan() -> list[tuple[int, int, int]]:
        return [
            (
                len(due(schedule(kind, zone=zone, lat=-33.4, lon=-70.7, end_action={}), begun, ended, 10_000)),
                least,
                most,
            )
            for zone in ZONES
            for kind, least, most in kinds
        ]

    # Without an end action a window counts once.
    for n, (count, least, most) in enumerate(plan()):
        half = 2 if n % 4 == 1 else 1
        assert least // half <= count <= most
    # Far from what it takes, so that only another order of growth is felt.
    assert least_cpu(plan) < 10.0


def test_one_shot_and_countdown_run_once() -> None:
    once = schedule({"kind": "once", "at": ms("2026-05-01T10:00")})
    assert [shown(one.planned) for one in due(once, 0, ms("2030-01-01"))] == ["2026-05-01 10:00+00:00"]
    assert next_occurrence(once, ms("2026-05-01T10:00") + 1) is None
    assert why_none(once, ms("2026-05-01T10:00") + 1) == "its only time has passed"
    made = ms("2026-05-01T10:00")
    count = schedule({"kind": "countdown", "in": 600}, created_at=made)
    assert [one.planned for one in due(count, 0, made + DAY)] == [made + 600_000]
    # Switched on again, it counts again.
    again = msgspec.structs.replace(count, since=made + HOUR)
    assert [one.planned for one in due(again, 0, made + DAY)] == [made + HOUR + 600_000]


def test_intervals_keep_their_anchor_and_know_no_zone() -> None:
    anchor = ms("2026-03-28T12:00")
    one = schedule({"kind": "every", "seconds": 43_200, "anchor": anchor}, zone="Europe/Madrid")
    assert [found.planned for found in due(one, anchor - HOUR, anchor + 2 * DAY)] == [
        anchor + n * 12 * HOUR for n in range(4)
    ]
    assert [shown(found.planned, "Europe/Madrid") for found in due(one, anchor, anchor + DAY)] == [
        "2026-03-28 13:00+01:00",
        "2026-03-29 01:00+01:00",
    ]
    made = ms("2026-03-28T12:00:07")
    assert due(schedule({"kind": "every", "seconds": 10}, created_at=made), made, made + 1)[0].planned == made


def test_nothing_is_due_while_switched_off_before_it_counts_or_outside_its_bounds() -> None:
    hourly = cron("0 * * * *")
    day = ms("2026-05-01")
    assert len(due(hourly, day, day + DAY)) == 24
    off = msgspec.structs.replace(hourly, enabled=False)
    assert due(off, day, day + DAY) == [] and why_none(off, day) == "it is switched off"
    assert len(due(msgspec.structs.replace(hourly, since=day + 6 * HOUR), day, day + DAY)) == 18
    bounded = msgspec.structs.replace(hourly, starts_at=day + 2 * HOUR, ends_at=day + 5 * HOUR)
    assert [one.planned for one in due(bounded, day, day + DAY)] == [day + n * HOUR for n in (2, 3, 4)]
    assert why_none(bounded, day + 5 * HOUR) == "its time is over (ends_at)"
    assert why_none(bounded, day + 4 * HOUR + 1) == "nothing is left before ends_at"


def test_a_long_list_is_bounded_and_goes_on_where_it_ended() -> None:
    each_second = schedule({"kind": "every", "seconds": 1})
    begun = ms("2026-05-01")
    first = due(each_second, begun, begun + DAY)
    assert len(first) == DUE_MOST
    assert due(each_second, first[-1].planned + 1, begun + DAY)[0].planned == first[-1].planned + 1000


def test_after_a_night_down_a_skipping_schedule_runs_what_is_young_and_the_other_the_latest() -> None:
    hourly = cron("0 * * * *")
    done, back = ms("2026-05-01T22:00"), ms("2026-05-02T07:00:30")
    assert [shown(one.planned) for one in missed(hourly, done, back)] == ["2026-05-02 07:00+00:00"]
    assert missed(hourly, done, back + MINUTE) == []
    once = msgspec.structs.replace(hourly, missed=RUN_ONCE)
    assert [shown(one.planned) for one in missed(once, done, back + 40 * MINUTE)] == ["2026-05-02 07:00+00:00"]
    assert missed(once, ms("2026-05-02T07:00"), back + 40 * MINUTE) == []


def test_the_latest_missed_of_a_window_is_the_one_that_makes_its_state_right() -> None:
    lamp = weekly(("mon tue wed thu fri sat sun", "18:00", "23:00"), missed=RUN_ONCE)
    evening = missed(lamp, ms("2026-05-01T12:00"), ms("2026-05-01T20:00"))
    assert [step.action for one in evening for step in one.steps] == [ON]
    night = missed(lamp, ms("2026-05-01T12:00"), ms("2026-05-02T02:00"))
    assert [step.action for one in night for step in one.steps] == [OFF]


def test_the_latest_of_years_of_seconds_is_found_without_counting_them() -> None:
    each_second = schedule({"kind": "every", "seconds": 1}, missed=RUN_ONCE)
    now = ms("2026-05-01T00:00:00") + 500
    assert [one.planned for one in missed(each_second, ms("2020-01-02"), now)] == [now - 500]
    yearly = cron("0 0 29 2 *", missed=RUN_ONCE)
    assert [shown(one.planned) for one in missed(yearly, ms("2020-03-01"), now)] == ["2024-02-29 00:00+00:00"]


def test_a_device_of_a_spread_run_may_start_until_its_own_limit() -> None:
    one = cron("0 7 * * *", jitter_s=300)
    planned = ms("2026-05-01T07:00")
    at = run_at(one, planned, "lamp")
    assert not too_late(one, planned, "lamp", at + 60_000)
    assert too_late(one, planned, "lamp", at + 60_001)
    assert missed(one, planned - 1, planned + 360_000) and not missed(one, planned - 1, planned + 360_001)
    assert not too_late(msgspec.structs.replace(one, missed=RUN_ONCE), planned, "lamp", at + DAY)


def test_a_schedule_survives_json_and_its_steps_have_keys_of_their_own() -> None:
    for one in (weekly(("sat", "22:00", "02:00")), cron("0 7 * * *"), schedule({"kind": "countdown", "in": 5})):
        assert msgspec.json.decode(msgspec.json.encode(one), type=Schedule) == one
    assert one.origin == "schedule:s1"
    found = due(weekly(("sat", "22:00", "02:00")), ms("2026-05-01"), ms("2026-05-04"))
    keys = [occurrence.key(n) for occurrence in found for n in range(len(occurrence.steps))]
    assert len(set(keys)) == len(keys) == 2
    assert keys[0] == f"s1:{found[0].planned}:0"


def test_windows_that_do_different_things_meet_with_the_end_first() -> None:
    dim, bright = ({"command": {"device": "lamp", "name": "level", "params": {"value": n}}} for n in (10, 90))
    listed = [
        {"days": ["mon"], "from": "20:00", "to": "22:00", "action": dim, "end_action": OFF},
        {"days": ["mon"], "from": "18:00", "to": "20:00", "action": bright, "end_action": OFF},
    ]
    one = schedule({"kind": "weekly", "windows": listed}, action={})
    found = due(one, ms("2026-05-04"), ms("2026-05-05"))
    assert [[step.action for step in occurrence.steps] for occurrence in found] == [[bright], [OFF, dim], [OFF]]


def test_points_in_time_need_no_end() -> None:
    listed = [{"days": ["mon", "fri"], "from": "07:30"}, {"days": ["mon"], "from": "07:30"}]
    one = schedule({"kind": "weekly", "windows": listed}, zone="Europe/Madrid")
    found = due(one, ms("2026-05-04"), ms("2026-05-11"))
    assert [shown(occurrence.planned, "Europe/Madrid") for occurrence in found] == [
        "2026-05-04 07:30+02:00",
        "2026-05-08 07:30+02:00",
    ]
    assert all(len(occurrence.steps) == 1 for occurrence in found)


def test_nothing_is_planned_in_the_next_century() -> None:
    for one in (cron("0 7 * * *"), weekly(("mon", "10:00", "11:00")), schedule({"kind": "every", "seconds": 60})):
        assert due(one, ms("2100-01-01"), ms("2101-01-01")) == []
        last = due(one, ms("2099-12-20"), ms("2200-01-01"), 100_000)[-1]
        assert datetime.fromtimestamp(last.planned / 1000, UTC) > datetime(2100, 1, 1, tzinfo=UTC) - timedelta(days=8)


@pytest.mark.parametrize("until", [-5, 0])
def test_times_before_the_beginning_hold_nothing(until: int) -> None:
    assert due(schedule({"kind": "every", "seconds": 60}, created_at=0), -100, until) == []
