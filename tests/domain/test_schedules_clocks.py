"""What changes of clocks do to schedules, in the zones that are hard."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.schedules import due
from relevo.domain.zones import earliest, instant, instants, local, zone_of
from tests.domain.planned import DAY, MINUTE, ZONES, cron, edges, ms, schedule, shown, weekly

CHILE, MADRID, LORD_HOWE, SAO_PAULO = "America/Santiago", "Europe/Madrid", "Australia/Lord_Howe", "America/Sao_Paulo"


def runs(expression: str, zone: str, since: str, days: int) -> list[str]:
    begun = ms(since, zone)
    found = due(cron(expression, zone=zone, created_at=0), begun, begun + days * DAY)
    return [shown(one.planned, zone) for one in found]


@pytest.mark.parametrize(
    ("zone", "expression", "since", "expected"),
    [
        # Spring: the time does not exist and runs at the change.
        (CHILE, "30 0 * * *", "2026-09-05", ["09-05 00:30-04:00", "09-06 01:00-03:00", "09-07 00:30-03:00"]),
        (CHILE, "0 0 * * *", "2026-09-05T12:00", ["09-06 01:00-03:00", "09-07 00:00-03:00", "09-08 00:00-03:00"]),
        (MADRID, "30 2 * * *", "2026-03-28", ["03-28 02:30+01:00", "03-29 03:00+02:00", "03-30 02:30+02:00"]),
        (LORD_HOWE, "15 2 * * *", "2026-10-03", ["10-03 02:15+10:30", "10-04 02:30+11:00", "10-05 02:15+11:00"]),
        (SAO_PAULO, "10 0 * * *", "2018-11-03", ["11-03 00:10-03:00", "11-04 01:00-02:00", "11-05 00:10-02:00"]),
        # Autumn: the time comes twice and runs the first time.
        (CHILE, "30 23 * * *", "2026-04-03", ["04-03 23:30-03:00", "04-04 23:30-03:00", "04-05 23:30-04:00"]),
        (MADRID, "30 2 * * *", "2026-10-24", ["10-24 02:30+02:00", "10-25 02:30+02:00", "10-26 02:30+01:00"]),
        (LORD_HOWE, "45 1 * * *", "2026-04-04", ["04-04 01:45+11:00", "04-05 01:45+11:00", "04-06 01:45+10:30"]),
        (SAO_PAULO, "30 23 * * *", "2018-02-16", ["02-16 23:30-02:00", "02-17 23:30-02:00", "02-18 23:30-03:00"]),
    ],
)
def test_a_daily_time_runs_once_a_night(zone: str, expression: str, since: str, expected: list[str]) -> None:
    assert [text[5:] for text in runs(expression, zone, since, 4)[:3]] == expected


@given(st.sampled_from(ZONES), st.integers(0, 1439), st.integers(2015, 2030))
def test_each_local_day_has_exactly_one_run_of_a_daily_time(zone: str, minute: int, year: int) -> None:
    begun, ended = ms(f"{year}-01-01", zone), ms(f"{year + 1}-01-01", zone)
    daily = cron(f"{minute % 60} {minute // 60} * * *", zone=zone, created_at=0)
    table = schedule(
        {
            "kind": "weekly",
            "windows": [
                {
                    "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
                    "from": f"{minute // 60:02}:{minute % 60:02}",
                }
            ],
        },
        zone=zone,
        created_at=0,
    )
    found = due(daily, begun, ended)
    assert [one.planned for one in found] == [one.planned for one in due(table, begun, ended)]
    counted = Counter(local(one.planned, ZoneInfo(zone)).date() for one in found)
    day, last = local(begun, ZoneInfo(zone)).date(), local(ended - 1, ZoneInfo(zone)).date()
    assert len(counted) == (last - day).days + 1 and set(counted.values()) == {1}


@given(
    st.sampled_from([CHILE, MADRID, SAO_PAULO, "UTC", "America/New_York"]),
    st.sampled_from(
        ["30 0 * * *", "0,30 1-3 * * *", "15 */2 * * *", "7 * * * *", "0 12 1 * *", "0 2 * * 0L", "5 2 * 3,10 0"]
    ),
    st.integers(ms("2017-01-01"), ms("2028-01-01")) | st.sampled_from([ms("2026-03-29T00:30"), ms("2026-10-25T00:30")]),
)
def test_cronsim_following_the_zone_by_itself_agrees_where_clocks_change_by_an_hour(
    zone: str, expression: str, begun: int
) -> None:
    begun -= begun % MINUTE
    ended = begun + 200 * DAY
    moment = datetime.fromtimestamp(begun // 1000, UTC).astimezone(ZoneInfo(zone))
    theirs = []
    for when in CronSim(expression, moment - timedelta(hours=3)):
        at = round(when.timestamp() * 1000)
        if at >= ended:
            break
        if at >= begun:
            theirs.append(at)
    ours = [one.planned for one in due(cron(expression, zone=zone, created_at=0), begun, ended, 100_000)]
    assert ours == theirs


@pytest.mark.parametrize(
    ("zone", "since"),
    [
        (zone, day)
        for zone in (LORD_HOWE, CHILE, MADRID)
        for day in ("2026-03-28", "2026-04-04", "2026-09-05", "2026-10-03", "2026-10-24")
    ],
)
@pytest.mark.parametrize("expression", ["*/10 2 * * *", "*/15 * * * *", "20 */3 * * *", "* 0 * * SUN"])
def test_a_rhythm_runs_whenever_clocks_show_it(zone: str, since: str, expression: str) -> None:
    begun = ms(since)
    ours = [one.planned for one in due(cron(expression, zone=zone, created_at=0), begun, begun + 2 * DAY, 10_000)]
    minute, hour, _, _, weekday = expression.split()
    shows = []
    for at in range(begun, begun + 2 * DAY, MINUTE):
        clock = datetime.fromtimestamp(at // 1000, UTC).astimezone(ZoneInfo(zone))
        fits = [
            text == "*" or (value % int(text[2:]) == 0 if text.startswith("*/") else value == int(text))
            for text, value in ((minute, clock.minute), (hour, clock.hour))
        ]
        if all(fits) and (weekday == "*" or clock.weekday() == 6):
            shows.append(at)
    assert ours == shows


def test_a_window_keeps_its_local_times() -> None:
    night = weekly(("sat", "22:00", "06:00"), zone=MADRID)
    assert edges(due(night, ms("2026-03-27"), ms("2026-03-30")), MADRID) == [
        ("2026-03-28 22:00+01:00", "start"),
        ("2026-03-29 06:00+02:00", "end"),
    ]
    assert edges(due(night, ms("2026-10-23"), ms("2026-10-26")), MADRID) == [
        ("2026-10-24 22:00+02:00", "start"),
        ("2026-10-25 06:00+01:00", "end"),
    ]


def test_a_window_that_a_change_leaves_no_length_does_not_take_place() -> None:
    gone = ("sun", "02:10", "02:50")
    assert edges(due(weekly(gone, zone=MADRID), ms("2026-03-28"), ms("2026-04-06")), MADRID) == [
        ("2026-04-05 02:10+02:00", "start"),
        ("2026-04-05 02:50+02:00", "end"),
    ]
    # With nothing to undo it, its start is a time as any other.
    assert edges(due(weekly(gone, zone=MADRID, end_action={}), ms("2026-03-28"), ms("2026-03-30")), MADRID) == [
        ("2026-03-29 03:00+02:00", "start")
    ]


def test_windows_that_a_change_brings_together_are_one() -> None:
    two = weekly(("sun", "01:00", "02:10"), ("sun", "02:50", "04:00"), zone=MADRID)
    assert edges(due(two, ms("2026-03-28"), ms("2026-03-30")), MADRID) == [
        ("2026-03-29 01:00+01:00", "start"),
        ("2026-03-29 04:00+02:00", "end"),
    ]
    assert len(due(two, ms("2026-04-04"), ms("2026-04-06"))) == 4


def test_a_time_of_a_day_that_a_zone_left_out_runs_at_the_change() -> None:
    # Samoa went from the 29th to the 31st of December 2011.
    assert runs("0 12 * * *", "Pacific/Apia", "2011-12-29", 2) == [
        "2011-12-29 12:00-10:00",
        "2011-12-31 00:00+14:00",
        "2011-12-31 12:00+14:00",
    ]


@given(
    st.sampled_from([*ZONES, "Pacific/Apia", "America/Nuuk"]), st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1))
)
def test_the_instant_of_a_local_time_shows_it_or_is_the_change(name: str, wall: datetime) -> None:
    zone = zone_of(name)
    wall = wall.replace(microsecond=0)
    real = instants(wall, zone)
    at = instant(wall, zone)
    assert all(local(one, zone) == wall for one in real)
    if real:
        assert at == real[0] == min(real)
    else:
        # The first moment after the hole: a second before, clocks showed less than the time, now they show more.
        assert local(at - 1000, zone) < wall < local(at, zone)
        assert local(at, zone) - local(at - 1000, zone) > timedelta(seconds=1)


@given(
    st.sampled_from([*ZONES, "Pacific/Apia"]), st.integers(ms("2005-01-01"), ms("2035-01-01")), st.integers(1, 100_000)
)
def test_no_local_time_before_the_earliest_means_anything_later(name: str, at: int, seconds: int) -> None:
    zone = zone_of(name)
    wall = (earliest(at, zone) - timedelta(seconds=seconds)).replace(microsecond=0)
    assert max((instant(wall, zone), *instants(wall, zone))) < at
