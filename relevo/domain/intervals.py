"""Intervals of a zone's calendar: days begin at local midnight, hours and minutes are counted from there.

So hours nest in days in every zone: a day has 23 to 25 of them, and where clocks change by half an hour its last one is
short. Weeks begin on Monday. All instants are milliseconds UTC.
"""

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from relevo.domain.zones import LAST_MS, instant, local
from relevo.errors import FieldError, Invalid

HOUR: Final = 3_600_000
DAY: Final = 86_400_000
_GIVEN: Final = re.compile(r"([1-9][0-9]{0,2})(mo|[mhdwy])")
_MOST: Final = {"m": 720, "h": 24, "d": 1, "w": 1, "mo": 1, "y": 1}
_MINUTES: Final = {"m": 1, "h": 60}


class Interval(NamedTuple):
    """``minutes`` counted from the beginning of a day, or 0 and a ``unit`` of the calendar: d, w, mo or y."""

    minutes: int
    unit: str

    @property
    def least_ms(self) -> int:
        """About how long one is, and never longer."""
        return self.minutes * 60_000 or {"d": 20, "w": 164, "mo": 668, "y": 8_700}[self.unit] * HOUR


def parse_interval(text: str, field: str = "interval") -> Interval:
    """``15m``, ``1h``, ``1d``, ``1w``, ``1mo``, ``1y``: 1 to 720 minutes, 1 to 24 hours, or one of the others.

    Raises :class:`Invalid` (``interval_invalid``).
    """
    found = _GIVEN.fullmatch(text)
    if found is None or int(found[1]) > _MOST[found[2]]:
        message = f"{field} must be 1m to 720m, 1h to 24h, 1d, 1w, 1mo or 1y"
        raise Invalid("interval_invalid", message, [FieldError(field, message, "interval_invalid")])
    if found[2] in _MINUTES:
        return Interval(int(found[1]) * _MINUTES[found[2]], "")
    return Interval(0, found[2])


def days(zone: ZoneInfo, start: int, end: int) -> list[int]:
    """The beginnings of days that are needed to cover ``start <= ts < end``, and where the last of them ends."""
    first = local(max(start, 0), zone).date() - timedelta(days=1)
    last = local(min(max(end, start + 1), LAST_MS), zone).date() + timedelta(days=2)
    year, month = first.year, first.month
    found: list[int] = []
    while (year, month) <= (last.year, last.month):
        found += _month(zone, year, month)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return _covering(found, start, end)


def boundaries(interval: Interval, zone: ZoneInfo, start: int, end: int) -> list[int]:
    """The beginnings of intervals that are needed to cover ``start <= ts < end``, and where the last of them ends."""
    if interval.unit == "d":
        return days(zone, start, end)
    if not interval.unit:
        found: list[int] = []
        size = interval.minutes * 60_000
        of_days = days(zone, start, end)
        for begin, after in pairwise(of_days):
            found += range(begin, after, size)
        return _covering([*found, of_days[-1]], start, end)
    first = local(max(start, 0), zone).date()
    last = local(min(max(end, start + 1), LAST_MS), zone).date()
    at = _back(first, interval.unit)
    found = [_begin(zone, at)]
    while at <= last:
        at = _next(at, interval.unit)
        found.append(_begin(zone, at))
    return _covering(found, start, end)


def _covering(found: list[int], start: int, end: int) -> list[int]:
    low = max((at for at, one in enumerate(found) if one <= start), default=0)
    high = next((at for at, one in enumerate(found) if one >= end and at > low), len(found) - 1)
    return found[low : high + 1]


def _back(day: date, unit: str) -> date:
    if unit == "w":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "mo" else day.replace(month=1, day=1)


def _next(day: date, unit: str) -> date:
    if unit == "w":
        return day + timedelta(days=7)
    if unit == "mo":
        return day.replace(month=day.month + 1) if day.month < 12 else date(day.year + 1, 1, 1)
    return date(day.year + 1, 1, 1)


def _begin(zone: ZoneInfo, day: date) -> int:
    return instant(datetime(day.year, day.month, day.day), zone)


@lru_cache(maxsize=16_384)
def _month(zone: ZoneInfo, year: int, month: int) -> tuple[int, ...]:
    """The beginnings of its days; a day that clocks leave out has none."""
    day, found = date(year, month, 1), []
    while day.month == month:
        begin = _begin(zone, day)
        after = _begin(zone, day + timedelta(days=1))
        if begin < after:
            found.append(begin)
        day += timedelta(days=1)
    return tuple(found)
