"""Hours and days of a zone as arrays, see :mod:`relevo.domain.intervals`."""

import sqlite3
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from relevo.domain.intervals import DAY, HOUR, Interval, boundaries, days
from relevo.domain.zones import LAST_MS, instant, local
from relevo.store.history.packing import Ints
from relevo.store.history.rollups import DAYS, HOURS
from relevo.store.history.stale import Span, merged

_SLACK: Final = 2 * DAY
HOURLY: Final = Interval(60, "")


@lru_cache(maxsize=256)
def _year(zone: ZoneInfo, year: int) -> tuple[Ints, Ints, bool]:
    """The days that begin in a year, their hours, and whether all of those begin with whole hours UTC."""
    begin, end = instant(datetime(year, 1, 1), zone), instant(datetime(year + 1, 1, 1), zone)
    of_days = np.array(days(zone, begin, end), np.int64)
    whole = not bool((of_days % HOUR).any())
    if whole:
        hours = np.arange(begin, end, HOUR, dtype=np.int64)
    else:
        hours = np.concatenate([np.arange(first, after, HOUR) for first, after in pairwise(of_days.tolist())])
    return of_days[:-1], hours, whole


class _Grid:
    """Days and hours of a zone, of the years that were asked for so far."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._years = range(0)
        self._low = self._high = 0
        self.days = self.hours = np.zeros(0, np.int64)

    def reach(self, start: int, end: int) -> None:
        """Have the days before and after a span, too."""
        if self._low <= start and end <= self._high:
            return
        first = local(max(start - _SLACK, 0), self._zone).year
        last = local(min(end + _SLACK, LAST_MS), self._zone).year
        if self._years:
            first, last = min(first, self._years.start), max(last, self._years.stop - 1)
        self._years = range(first, last + 1)
        years = [_year(self._zone, year) for year in self._years]
        self.days = np.concatenate([one[0] for one in years])
        self.hours = np.concatenate([one[1] for one in years])
        self._low = int(self.days[1]) if first > local(0, self._zone).year else 0
        self._high = int(self.days[-2])


@lru_cache(maxsize=64)
def _grid(zone: ZoneInfo) -> _Grid:
    return _Grid(zone)


def grid(zone: ZoneInfo, step: int, start: int, end: int) -> Ints:
    """Where hours or days (``step`` in seconds) begin that cover ``start <= ts < end``, and where the last ends."""
    end = max(end, start + 1)
    held = _grid(zone)
    held.reach(start, end)
    found = held.days if step == DAYS else held.hours
    low = max(int(found.searchsorted(start, "right")) - 1, 0)
    return found[low : int(found.searchsorted(end)) + 1]


def bounds(interval: Interval, zone: ZoneInfo, start: int, end: int) -> Ints:
    """As :func:`relevo.domain.intervals.boundaries`."""
    if interval == HOURLY:
        return grid(zone, HOURS, start, end)
    if interval.unit == "d":
        return grid(zone, DAYS, start, end)
    if interval.unit:
        return np.array(boundaries(interval, zone, start, end), np.int64)
    of_days = grid(zone, DAYS, start, end)
    size = interval.minutes * 60_000
    found = [np.arange(first, after, size, dtype=np.int64) for first, after in pairwise(of_days.tolist())]
    whole = np.concatenate([*found, of_days[-1:]])
    low = int(np.searchsorted(whole, start, "right")) - 1
    return whole[low : int(np.searchsorted(whole, end)) + 1]


@lru_cache(maxsize=4_096)
def floor(zone: ZoneInfo, step: int, ts: int) -> int:
    """When the hour or day begins that ``ts`` is in."""
    return int(grid(zone, step, ts, ts + 1)[0])


@lru_cache(maxsize=4_096)
def ceiling(zone: ZoneInfo, step: int, ts: int) -> int:
    """``ts`` where an hour or day begins, otherwise when the next one does."""
    found = grid(zone, step, ts, ts + 1)
    return int(found[0]) if int(found[0]) == ts else int(found[1])


def widened(zone: ZoneInfo, step: int, spans: list[Span]) -> list[Span]:
    """Whole hours or days that cover these spans, in order and joined."""
    return merged((floor(zone, step, t0), ceiling(zone, step, t1)) for t0, t1 in merged(spans))


@lru_cache(maxsize=4_096)
def same_hours(one: str, other: str, start: int, end: int) -> bool:
    """Whether two zones have the same hours in a span."""
    if one == other:
        return True
    first, last = ZoneInfo(one), ZoneInfo(other)
    years = range(local(max(start - _SLACK, 0), first).year, local(min(end + _SLACK, LAST_MS), first).year + 1)
    return all(_year(zone, year)[2] for zone in (first, last) for year in years)


def zone_of(connection: sqlite3.Connection, device: int, otherwise: str) -> ZoneInfo:
    """The zone of the site at which a device is, where one is known, and ``otherwise`` if not."""
    row = connection.execute(
        "SELECT zone FROM devices JOIN sites ON sites.id = devices.site WHERE number = ?", (device,)
    ).fetchone()
    return ZoneInfo(row[0] if row else otherwise)
