"""When a notice leaves, by a clock handed in: pure, and right through changes of clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.notices import (
    GIVE_UP_MS,
    SEVERITIES,
    Mute,
    Notice,
    NoticePreferences,
    Plan,
    addressed,
    check_preferences,
    next_digest,
    plan,
    quiet_until,
    retry_after,
)
from relevo.domain.timetables import DAYS, Window
from relevo.domain.zones import local

MADRID, SANTIAGO, LORD_HOWE, KATHMANDU = map(
    ZoneInfo, ("Europe/Madrid", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu")
)
NIGHT = Window(DAYS, "22:00", "07:00")
INFO, CRITICAL = Notice("info", "rule:r1", "d1"), Notice("critical", "rule:r1", "d1")


def at(text: str) -> int:
    """Milliseconds of an ISO 8601 time with offset."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def wants(**more: object) -> NoticePreferences:
    return msgspec.structs.replace(NoticePreferences("ana"), **more)


NOON = at("2026-01-15T12:00:00+01:00")
LATE = at("2026-01-15T23:30:00+01:00")


def test_whoever_said_nothing_gets_everything_at_once() -> None:
    for severity in SEVERITIES:
        assert plan(wants(), Notice(severity, "test"), NOON, MADRID) == Plan(NOON, False, "")


def test_quiet_hours_hold_until_their_end_over_midnight() -> None:
    assert plan(wants(quiet=[NIGHT]), INFO, LATE, MADRID) == Plan(at("2026-01-16T07:00:00+01:00"), True, "quiet")
    assert plan(wants(quiet=[NIGHT]), INFO, NOON, MADRID).at == NOON


@pytest.mark.parametrize(
    ("zone", "when", "until"),
    [
        # The night in which clocks go forward is an hour shorter, the one in which they go back an hour longer.
        (MADRID, "2026-03-28T23:30:00+01:00", "2026-03-29T07:00:00+02:00"),
        (MADRID, "2026-10-24T23:30:00+02:00", "2026-10-25T07:00:00+01:00"),
        (SANTIAGO, "2026-09-05T23:30:00-04:00", "2026-09-06T07:00:00-03:00"),
        (LORD_HOWE, "2026-10-03T23:30:00+10:30", "2026-10-04T07:00:00+11:00"),
    ],
)
def test_quiet_hours_keep_their_local_end_when_clocks_change(zone: ZoneInfo, when: str, until: str) -> None:
    assert plan(wants(quiet=[NIGHT]), INFO, at(when), zone).at == at(until)


def test_critical_passes_quiet_hours_snooze_and_digest_unless_said_otherwise() -> None:
    everything = wants(quiet=[NIGHT], digest="daily", snoozed_until=LATE + 1)
    assert plan(everything, CRITICAL, LATE, MADRID) == Plan(LATE, False, "")
    held = msgspec.structs.replace(everything, critical_passes=False)
    assert plan(held, CRITICAL, LATE, MADRID) == Plan(None, False, "snoozed")
    quiet = wants(quiet=[NIGHT], critical_passes=False)
    assert plan(quiet, CRITICAL, LATE, MADRID).reason == "quiet"


def test_quiet_hours_may_leave_it_to_the_inbox() -> None:
    quiet = wants(quiet=[NIGHT], quiet_action="inbox")
    assert plan(quiet, INFO, LATE, MADRID) == Plan(None, False, "quiet")
    assert plan(quiet, INFO, NOON, MADRID).at == NOON


def test_a_digest_that_falls_into_quiet_hours_waits_for_their_end() -> None:
    early = wants(quiet=[NIGHT], quiet_action="inbox", digest="daily", digest_at="06:00")
    assert plan(early, INFO, NOON, MADRID) == Plan(at("2026-01-16T07:00:00+01:00"), True, "quiet")


def test_digests_leave_at_full_hours_or_at_a_time_of_the_day() -> None:
    assert plan(wants(digest="hourly"), INFO, NOON + 1, MADRID) == Plan(NOON + 3_600_000, True, "digest")
    assert plan(wants(digest="daily"), INFO, NOON, MADRID).at == at("2026-01-16T08:00:00+01:00")
    # A quarter of an hour off: full hours of the clock on the wall.
    assert local(next_digest("hourly", "", KATHMANDU, NOON), KATHMANDU).minute == 0
    # What does not exist on that day means the change itself.
    skipped = at("2026-03-28T12:00:00+01:00")
    assert next_digest("daily", "02:30", MADRID, skipped) == at("2026-03-29T03:00:00+02:00")


def test_a_channel_decides_over_the_preferences() -> None:
    assert plan(wants(digest="daily"), INFO, NOON, MADRID, digest="off").at == NOON
    assert plan(wants(), INFO, NOON, MADRID, digest="hourly").reason == "digest"
    assert plan(wants(), INFO, NOON, MADRID, "warning") == Plan(None, False, "channel")
    assert plan(wants(), CRITICAL, NOON, MADRID, "warning").at == NOON


def test_choices_by_severity() -> None:
    chosen = wants(digest="daily", severities={"info": "inbox", "warning": "now"})
    assert plan(chosen, INFO, NOON, MADRID) == Plan(None, False, "severity")
    assert plan(chosen, Notice("warning", "test"), NOON, MADRID) == Plan(NOON, False, "")
    assert addressed(chosen, "info")
    assert not addressed(wants(severities={"info": "off"}), "info")


@pytest.mark.parametrize("source", ["rule:r1", "rule", "device:d1", "device"])
def test_what_is_muted_does_not_leave_until_its_time_is_over(source: str) -> None:
    muted = wants(muted=[Mute(source, NOON + 1000)])
    assert plan(muted, CRITICAL, NOON, MADRID) == Plan(None, False, "muted")
    assert plan(muted, CRITICAL, NOON + 1000, MADRID).at == NOON + 1000
    assert plan(wants(muted=[Mute(source)]), INFO, NOON, MADRID).reason == "muted"


@pytest.mark.parametrize("source", ["rule:r2", "alert", "device:d2", "rule:r"])
def test_what_is_not_muted_leaves(source: str) -> None:
    assert plan(wants(muted=[Mute(source)]), INFO, NOON, MADRID).at == NOON


zones = st.sampled_from([MADRID, SANTIAGO, LORD_HOWE, KATHMANDU, ZoneInfo("America/Sao_Paulo"), ZoneInfo("UTC")])
times = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.integers(0, 59))
windows = st.builds(Window, st.sets(st.sampled_from(DAYS), min_size=1).map(tuple), times, times)
# Half of them near a change of clocks in one of the zones.
moments = st.one_of(
    st.integers(at("2026-01-01T00:00:00+00:00"), at("2028-01-01T00:00:00+00:00")),
    st.builds(
        lambda text, off: at(text) + off,
        st.sampled_from(
            ["2026-03-29T01:00:00+00:00", "2026-10-25T01:00:00+00:00", "2026-09-06T04:00:00+00:00",
             "2026-04-05T03:00:00+00:00", "2026-10-03T15:30:00+00:00", "2026-04-04T15:00:00+00:00"]
        ),
        st.integers(-30 * 3_600_000, 30 * 3_600_000),
    ),
)  # fmt: skip
preferences = st.builds(
    NoticePreferences,
    st.just("ana"),
    quiet=st.lists(windows, max_size=4),
    quiet_action=st.sampled_from(["hold", "inbox"]),
    critical_passes=st.booleans(),
    digest=st.sampled_from(["off", "hourly", "daily"]),
    digest_at=times,
    severities=st.dictionaries(st.sampled_from(SEVERITIES), st.sampled_from(["send", "now", "inbox", "off"])),
    snoozed_until=st.one_of(st.just(0), moments),
)
notices = st.builds(Notice, st.sampled_from(SEVERITIES), st.sampled_from(["rule:r1", "test"]))


def shows(window: Window, here: datetime) -> bool:
    """Whether the clock on the wall shows a time of the window: the plain reading of a person."""
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (window.start, window.end))
    now = here.hour * 60 + here.minute
    today, yesterday = DAYS[here.weekday()], DAYS[here.weekday() - 1]
    if start < end:
        return today in window.days and start <= now < end
    return (today in window.days and now >= start) or (yesterday in window.days and now < end)


@given(preferences, notices, moments, zones)
def test_nothing_leaves_before_it_was_raised_nor_while_it_is_quiet(
    wanted: NoticePreferences, notice: Notice, now: int, zone: ZoneInfo
) -> None:
    found = plan(wanted, notice, now, zone)
    assert found == plan(wanted, notice, now, zone)
    if found.at is None:
        assert found.reason in ("severity", "muted", "snoozed", "quiet")
        return
    assert found.at >= now
    assert (found.reason == "") == (found.at == now and not found.digest)
    # A week and the longest night are the most that anything waits.
    assert found.at - now <= 9 * 86_400_000
    if notice.severity == "critical" and wanted.critical_passes:
        assert found.at == now
        return
    here = local(found.at, zone)
    # Within the hours that a change repeats, the wall shows a time twice and means the first.
    twice = (datetime.fromtimestamp(found.at / 1000, UTC) - timedelta(hours=2)).astimezone(zone).utcoffset()
    if twice == datetime.fromtimestamp(found.at / 1000, UTC).astimezone(zone).utcoffset():
        assert not any(shows(window, here) for window in wanted.quiet)
    assert quiet_until(wanted, notice.severity, found.at, zone) == found.at


@given(moments, zones, times)
def test_a_daily_digest_is_the_next_and_no_further_than_a_day_off(now: int, zone: ZoneInfo, when: str) -> None:
    found = next_digest("daily", when, zone, now)
    assert now < found <= now + 26 * 3_600_000
    hourly = next_digest("hourly", when, zone, now)
    assert now < hourly <= now + 3_600_000
    assert (local(hourly, zone).minute, local(hourly, zone).second) in ((0, 0), (30, 0))


@given(st.integers(1, 100), st.floats(0, 1))
def test_pauses_grow_to_about_an_hour(attempts: int, spread: float) -> None:
    assert 22_500 <= retry_after(attempts, spread) <= 4_500_000
    assert retry_after(attempts + 1, spread) >= retry_after(attempts, spread)
    assert GIVE_UP_MS // retry_after(50, 1) >= 19


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"digest_at": "25:00"}, "digest_at"),
        ({"digest_at": "24:00"}, "digest_at"),
        ({"quiet": [Window(DAYS, "22:00", "7")]}, "quiet.0.to"),
        ({"quiet": [Window(DAYS, "22:00")]}, "quiet.0.to"),
        ({"quiet": [Window(DAYS, "08:00", "08:00")]}, "quiet"),
        ({"quiet": [NIGHT] * 22}, "quiet"),
        ({"muted": [Mute("rule")] * 201}, "muted"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], field: str) -> None:
    assert [one.field for one in check_preferences(wants(**changed))] == [field]


def test_nothing_is_wrong_with_a_night() -> None:
    assert check_preferences(wants(quiet=[NIGHT], digest="daily", zone="Europe/Madrid")) == []
