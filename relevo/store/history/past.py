"""One series as it was stored at one moment: its points, and hours and days of them.

Roll-ups are taken where they hold. Everything else is made of points: hours that are stale, that something in the
journal's tail or an erasure touches, that are not closed, or that the span holds a part of. So an answer is the same
whatever has been compacted or rolled up.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from relevo.domain.events import TelemetryReceived
from relevo.store.history.buckets import (
    Buckets,
    Column,
    column,
    joined,
    none,
    of_points,
    on_grid,
    same_starts,
    together,
    within,
)
from relevo.store.history.chunks import Erasure, Progress
from relevo.store.history.columns import SPANNED, parts
from relevo.store.history.grids import ceiling, floor, grid, same_hours, widened
from relevo.store.history.opened import Opened
from relevo.store.history.packing import Ints
from relevo.store.history.rollups import DAYS, HOURS
from relevo.store.history.stale import HOUR, Mark, Span, merged
from relevo.store.many import LISTED, json_of

END: Final = 2**62
# What roll-ups that have to be combined with points need beside.
BESIDE: Final = frozenset({"start", "n", "first_ts", "last_ts"})
_NONE: Final = np.zeros(0, np.int64)
_COUNT: Final = f"SELECT sum(n) FROM chunks WHERE {SPANNED}"  # noqa: S608


_ENDS: Final = ", ".join(
    f"(SELECT {end} FROM {rows} ORDER BY t0 {order} LIMIT 1)"  # noqa: S608
    for rows in (
        "chunks WHERE series = of.id",
        "rollups WHERE series = of.id AND step = 3600",
        "rollups WHERE series = of.id AND step = 86400",
    )
    for end, order in (("t0", ""), ("t1", "DESC"))
)
_KNOWN: Final = (
    "SELECT of.device, of.key, of.id, coalesce(rolled, 0), coalesce(raw_from, 0), coalesce(hours_from, 0), "  # noqa: S608
    f"coalesce(days_from, 0), {_ENDS} FROM json_each(?) AS asked "
    "JOIN series AS of ON of.device = asked.value ->> 0 AND of.key = asked.value ->> 1 "
    "LEFT JOIN marks ON marks.series = of.id"
)


class Known(NamedTuple):
    """What is known of a series before anything of it is opened. ``reach`` are beginnings and ends of all that is in
    chunks, hours and days."""

    series: int = 0
    mark: Mark = Mark()
    stale: tuple[Span, ...] = ()
    reach: tuple[int, ...] = ()


def known_of(connection: sqlite3.Connection, of: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Known]:
    """The same of many, by the number of the device and the key; those that there are."""
    rows: list[Any] = connection.execute(_KNOWN, (json_of(of),)).fetchall()
    stale: dict[int, list[Span]] = {}
    if rolled := [row[2] for row in rows if row[3]]:
        text = f"SELECT series, t0, t1 FROM stale WHERE series IN {LISTED} ORDER BY t0, t1"  # noqa: S608
        for number, t0, t1 in connection.execute(text, (json_of(rolled),)):
            stale.setdefault(number, []).append((t0, t1))
    return {
        (row[0], row[1]): Known(
            row[2],
            Mark(*row[3:7]),
            tuple(stale.get(row[2], ())),
            tuple(one for one in row[7:] if one is not None),
        )
        for row in rows
    }


class Past:
    """What is stored of one key of a device. All of it has to be asked for within one transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        number: int,
        key: str,
        zone: ZoneInfo,
        progress: Progress,
        hidden: Sequence[Erasure],
        tail: Iterable[tuple[int, TelemetryReceived]],
        since: int,
        known: Known | None = None,
        opened: Opened | None = None,
    ) -> None:
        """``number`` is the device's, ``tail`` what arrived from it and may not be in chunks yet; ``known`` is looked
        up where it is not given."""
        self._connection = connection
        self._opened = opened if opened is not None else Opened()
        if known is None:
            known = known_of(connection, [(number, key)]).get((number, key), Known())
        self.zone = zone
        erased = [one for one in hidden if one.concerns(key)]
        self._hidden = [(one.t0, one.t1) for one in erased]
        self._series, self._mark, self._stale, self._stored = known
        mark = progress.mark(number)
        found = [
            (event.ts, seq, event.values[key])
            for seq, event in tail
            if seq > mark
            and seq >= since
            and key in event.values
            and not any(one.hides(event.ts, seq) for one in erased)
        ]
        self._tail_ts, self._tail = _NONE, _NONE
        if found:
            found.sort(key=lambda one: one[:2])
            self._tail_ts = np.array([one[0] for one in found], np.int64)
            self._tail = column([one[2] for one in found])
        self.rolled = floor(zone, HOURS, self._mark.rolled) if self._mark.rolled else 0
        # Days from here on are made of hours, and hours from ``raw_from`` on of points.
        self._whole = ceiling(zone, DAYS, self._mark.hours_from) if self._mark.hours_from else 0
        self.raw_from = self._mark.raw_from

    # What there is

    @cached_property
    def _reach(self) -> tuple[int, int] | None:
        """When the oldest and the newest point may have been, none when there are none."""
        ends = [*self._stored, *self._tail_ts[:1].tolist(), *self._tail_ts[-1:].tolist()]
        return (min(ends), max(ends)) if ends else None

    @property
    def first(self) -> int | None:
        """When the oldest point may have been, none when there are none."""
        return self._reach[0] if self._reach else None

    @property
    def last(self) -> int | None:
        """When the newest point may have been."""
        return self._reach[1] if self._reach else None

    def count(self, start: int, end: int) -> int:
        """About how many points there are in a span, and not less: parts of chunks count as whole ones."""
        row = self._connection.execute(_COUNT, (self._series, end, start)).fetchone()
        low, high = self._in_tail(start, end)
        return (row[0] or 0) + high - low

    def _in_tail(self, start: int, end: int) -> tuple[int, int]:
        if not len(self._tail_ts):
            return 0, 0
        low, high = self._tail_ts.searchsorted((start, end)).tolist()
        return low, high

    def points(self, start: int, end: int) -> tuple[Ints, Column]:
        """Times and values with ``start <= ts < end``, by time and then by arrival."""
        times: list[Ints] = []
        values: list[Column] = []
        if self._series:
            for ts, of_chunk in parts(self._connection, self._series, start, end, self._opened.chunk):
                kept = ~within(ts, self._hidden) if self._hidden else None
                times.append(ts if kept is None else ts[kept])
                values.append(of_chunk if kept is None else of_chunk[kept])
        low, high = self._in_tail(start, end)
        if low < high:
            # What is in chunks arrived before, so it stays before what has the same time.
            times.append(self._tail_ts[low:high])
            values.append(self._tail[low:high])
        if not times:
            return _NONE, _NONE
        if len(times) == 1:
            return times[0], values[0]
        ts = np.concatenate(times)
        found = joined(values)
        if low < high and not bool((ts[1:] >= ts[:-1]).all()):
            order = np.argsort(ts, kind="stable")
            return ts[order], found[order]
        return ts, found

    # Hours and days

    def buckets(self, step: int, start: int, end: int, wanted: frozenset[str]) -> Buckets:
        """Buckets of hours or days that together hold exactly the points with ``start <= ts < end``.

        What begins or ends within an hour is a bucket of that part. Before ``raw_from`` hours are whole, and days where
        hours are gone.
        """
        if start >= end:
            return none(wanted)
        frozen = start < max(self.raw_from, self._whole)
        more = wanted | BESIDE if frozen else wanted
        found: list[Buckets] = []
        if start < self._whole:
            found += self._frozen_days(start, min(end, self._whole), more)
            start = self._whole
        if start < end:
            found += self._days(start, end, more) if step == DAYS else self._hours(start, end, more)
        if not found:
            return none(wanted)
        whole = together(found)
        if frozen and len(whole):
            whole = same_starts(whole)
        return whole.only(wanted)

    def _days(self, start: int, end: int, wanted: frozenset[str]) -> list[Buckets]:
        zone = self.zone
        low, high = ceiling(zone, DAYS, start), floor(zone, DAYS, min(end, max(self.rolled, start)))
        spans = self._rows(DAYS, low, high, wanted) if low < high else ([], [])
        found, wrong = spans
        if low >= high:
            low = high = start
        dirty = widened(zone, DAYS, [*self._dirty(low, high), *wrong]) if low < high else []
        dirty = merged((max(t0, low), min(t1, high)) for t0, t1 in dirty)
        rows = [one.where(~within(one["start"], dirty)) for one in found]
        for t0, t1 in [(start, low), *dirty, (high, end)]:
            if t0 < t1:
                hours = together(self._hours(t0, t1, wanted) or [none(wanted)])
                rows.append(on_grid(hours, grid(zone, DAYS, t0, t1)))
        return rows

    def _hours(self, start: int, end: int, wanted: frozenset[str]) -> list[Buckets]:
        zone, raw_from = self.zone, self.raw_from
        rows: list[Buckets] = []
        if start < raw_from:
            begin = floor(zone, HOURS, start)
            frozen = min(end, raw_from)
            gone = [(t0 - HOUR + 1, min(t1, raw_from)) for t0, t1 in [*self._stale, *self._hidden] if t0 < raw_from]
            held = self._rows(HOURS, begin, frozen, wanted)[0]
            rows += [one.where(~within(one["start"], gone)) for one in held]
            rows += self._of_points(HOURS, start, frozen, wanted)
            rows = [same_starts(together(rows))] if any(map(len, rows)) else []
            start = raw_from
            if start >= end:
                return rows
        low, high = ceiling(zone, HOURS, start), floor(zone, HOURS, min(end, max(self.rolled, start)))
        if start == raw_from:
            # The first one may begin there.
            low = start
        if low >= high:
            return [*rows, *self._of_points(HOURS, start, end, wanted)]
        found, wrong = self._rows(HOURS, low, high, wanted)
        dirty = widened(zone, HOURS, [*self._dirty(low, high), *wrong])
        dirty = merged((max(t0, low), min(t1, high)) for t0, t1 in dirty)
        rows += [one.where(~within(one["start"], dirty)) if dirty else one for one in found]
        for t0, t1 in merged([(start, low), *dirty, (high, end)]):
            rows += self._of_points(HOURS, t0, t1, wanted)
        return rows

    def _frozen_days(self, start: int, end: int, wanted: frozenset[str]) -> list[Buckets]:
        """Where there are no hours any more: whole days, and what came late for them."""
        begin = floor(self.zone, DAYS, start)
        gone = [(floor(self.zone, DAYS, t0), min(t1, end)) for t0, t1 in [*self._stale, *self._hidden] if t0 < end]
        rows = [one.where(~within(one["start"], gone)) for one in self._rows(DAYS, begin, end, wanted)[0]]
        return rows + self._of_points(DAYS, max(start, self._mark.days_from), end, wanted)

    def _dirty(self, low: int, high: int) -> list[Span]:
        """What roll-ups between do not hold of."""
        first, last = self._in_tail(low, high)
        late = np.unique(self._tail_ts[first:last] // HOUR).tolist() if first < last else []
        spans = [*self._stale, *self._hidden, *((one * HOUR, (one + 1) * HOUR) for one in late)]
        if low < self.raw_from:
            # What came late for the time before and is not added yet.
            rows = self._connection.execute(
                "SELECT t0, t1 FROM chunks WHERE series = ? AND t0 < ? ORDER BY t0", (self._series, self.raw_from)
            )
            spans += [(t0, min(t1 + 1, self.raw_from)) for t0, t1 in rows]
        return [(max(t0, low), min(t1, high)) for t0, t1 in spans if t0 < high and t1 > low]

    def _rows(self, step: int, low: int, high: int, wanted: frozenset[str]) -> tuple[list[Buckets], list[Span]]:
        """Buckets that begin between, and the spans of those that are of another zone and cannot be taken."""
        blocks = self._connection.execute(
            "SELECT t0, t1, zone, data FROM rollups WHERE series = ? AND step = ? AND t0 < ? AND t1 > ? ORDER BY t0",
            (self._series, step, high, low),
        )
        found: list[Buckets] = []
        wrong: list[Span] = []
        frozen = self.raw_from if step == HOURS else self._whole
        name = self.zone.key
        for t0, t1, zone, data in blocks:
            held = self._opened.block(data, wanted).only(wanted)
            if zone != name and t1 > frozen and not (step == HOURS and same_hours(zone, name, t0, t1)):
                wrong.append((max(t0, frozen), t1))
                held = held.where(held["start"] < frozen)
            if t0 < low or t1 > high:
                start = held["start"]
                held = held.where(slice(*start.searchsorted((low, high)).tolist()))
            if len(held):
                found.append(held)
        return found, wrong

    def _of_points(self, step: int, start: int, end: int, wanted: frozenset[str]) -> list[Buckets]:
        ts, values = self.points(start, end)
        if not len(ts):
            return []
        return [on_grid(of_points(ts, values, wanted), grid(self.zone, step, start, end))]

    def before(self, ts: int, wanted: frozenset[str]) -> Buckets | None:
        """The last bucket of what there is before ``ts``, an hour's at most; none when there is nothing."""
        first = self.first
        if first is None:
            return None
        end, back = ts, 2 * HOUR
        while end > first:
            start = max(end - back, first)
            found = self.buckets(HOURS, start, end, wanted)
            if len(found):
                return found.where(slice(len(found) - 1, len(found)))
            end, back = start, back * 16
        return None

    def after(self, ts: int, wanted: frozenset[str]) -> Buckets | None:
        """The first bucket of what there is at ``ts`` or later; none when there is nothing."""
        last = self.last
        if last is None:
            return None
        start, ahead = ts, 2 * HOUR
        while start <= last:
            end = min(start + ahead, last + 1)
            found = self.buckets(HOURS, start, end, wanted)
            if len(found):
                return found.where(slice(0, 1))
            start, ahead = end, ahead * 16
        return None
