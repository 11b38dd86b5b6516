"""Hours nest in days in every zone, and days in weeks, months and years."""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.domain.intervals import DAY, HOUR, boundaries, days, parse_interval
from relevo.domain.zones import local
from relevo.errors import Invalid

ZONES = ("UTC", "America/Sao_Paulo", "America/St_Johns", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
GIVEN = ("7m", "15m", "1h", "5h", "1d", "1w", "1mo", "1y")
FROM, TO = 1_200_000_000_000, 2_200_000_000_000


def wall(zone: str, *parts: int) -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp() * 1_000)  # type: ignore[arg-type, misc]


@given(st.sampled_from(ZONES), st.integers(FROM, TO), st.integers(0, 400 * DAY), st.sampled_from(GIVEN))
@settings(deadline=None, max_examples=150)
def test_intervals_cover_a_span_and_no_more(zone: str, start: int, size: int, given: str) -> None:
    if given.endswith("m"):
        size %= 5 * DAY
    found = boundaries(parse_interval(given), ZoneInfo(zone), start, start + size)
    assert found == sorted(set(found))
    assert found[0] <= start < found[1]
    assert found[-2] < max(start + size, start + 1) <= found[-1]


@given(st.sampled_from(ZONES), st.integers(FROM, TO), st.sampled_from(GIVEN))
@settings(deadline=None, max_examples=150)
def test_shorter_ones_nest_in_longer_ones(zone: str, start: int, given: str) -> None:
    where, interval = ZoneInfo(zone), parse_interval(given)
    of_days = days(where, start, start + 40 * DAY)
    found = boundaries(interval, where, start, start + (3 * DAY if interval.minutes else 900 * DAY))
    if interval.minutes:
        inside = [one for one in of_days if found[0] <= one <= found[-1]]
        assert set(inside) <= set(found)
    else:
        # Each begins with a day: at midnight, or where clocks leave midnight out, right behind.
        assert all(days(where, one, one + 1)[0] == one for one in found)


def test_days_of_a_change_of_clocks() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    begin = wall("Australia/Lord_Howe", 2026, 4, 5)
    first, after = days(zone, begin, begin + 1)
    # Half an hour is there twice.
    assert (first, after - first) == (begin, 24 * HOUR + HOUR // 2)
    hours = boundaries(parse_interval("1h"), zone, begin, after)
    assert len(hours) == 26
    assert {two - one for one, two in pairwise(hours[:-1])} == {HOUR}
    assert hours[-1] - hours[-2] == HOUR // 2
    sao_paulo = ZoneInfo("America/Sao_Paulo")
    # Midnight was left out on that day: it began at one.
    summer = days(sao_paulo, wall("America/Sao_Paulo", 2018, 11, 4, 12), wall("America/Sao_Paulo", 2018, 11, 4, 13))
    assert local(summer[0], sao_paulo) == datetime(2018, 11, 4, 1)
    assert summer[1] - summer[0] == 23 * HOUR


def test_a_day_that_a_zone_left_out_is_none() -> None:
    zone = ZoneInfo("Pacific/Apia")
    found = days(zone, wall("Pacific/Apia", 2011, 12, 29, 1), wall("Pacific/Apia", 2011, 12, 31, 1))
    assert [local(one, zone).day for one in found] == [29, 31, 1]


def test_weeks_begin_on_monday() -> None:
    found = boundaries(parse_interval("1w"), ZoneInfo("UTC"), 1_772_323_200_000, 1_772_323_200_001)
    assert [local(one, ZoneInfo("UTC")) for one in found] == [datetime(2026, 2, 23), datetime(2026, 3, 2)]


@pytest.mark.parametrize("given", ["", "0m", "721m", "25h", "2d", "1.5h", "-1h", "1H", "h", "٣h", "1mo1h"])
def test_what_is_no_interval_is_told(given: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_interval(given)
    assert refused.value.errors[0].field == "interval"
