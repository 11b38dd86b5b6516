"""Making roll-ups: what the compactor's process does with chunks after a pass.

Theory. Hours that are closed, because a later hour has points in chunks, are made of chunks, and days of hours. The
mark of a series says how far that is (:mod:`stale`). A pass that changes chunks before the mark leaves a
stale span; whoever asks goes by the chunks there until it is made anew here. So nothing has to happen at a certain
time, and an answer never depends on what was made when.

- New hours follow the block before them: in it while it is not full and not much larger than what comes, so that each
  hour is written a few times on its way into a full block.
- Hours are those of the site's zone. Where its hours are others than those of a block, everything from there on is
  dropped, and made again from chunks. Days are made again from hours.
- Before ``raw_from`` there are no chunks to make anything from. Points that come late for that time are in chunks only
  until the next step here, which adds them to their bucket; what is stale there is dropped.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from relevo.errors import Damaged
from relevo.store.history import chunks, compaction, rollups
from relevo.store.history.buckets import Buckets, decode, encode, on_grid, same_starts, together, within
from relevo.store.history.chunks import Erasure, Unit
from relevo.store.history.columns import rolled
from relevo.store.history.grids import ceiling, floor, grid, same_hours, widened, zone_of
from relevo.store.history.rollups import DAYS, HOURS, Block, NewBlock, RollStep, RollUnit
from relevo.store.history.stale import HOUR, Mark, Span, mark_of, merged, stale_of

FULL: Final = 1_000
# More is left for the next step.
POINTS_MOST: Final = 400_000
# That go in one transaction.
_BYTES_MOST: Final = 512 * 1024
_MUCH: Final = 4
_LOOKED_AT: Final = 500
_END: Final = 2**62


class Series(NamedTuple):
    """One series, and how its roll-ups stand."""

    number: int
    device: int
    key: str


def next_step(
    connection: sqlite3.Connection, zone: str, after: int, rows: int, zones: bool = False, full: int = FULL
) -> tuple[RollStep | None, int]:
    """A step of about ``rows`` rows for series with numbers behind ``after``, and up to which one it goes; none when
    nothing is to be done. ``zone`` is that of devices without a site; with ``zones`` it is seen whether one is another
    than it was."""
    found = chunks.progress(connection)
    units: list[RollUnit] = []
    held = 0
    while due := _due(connection, after, zones):
        for one, wanted in due:
            if wanted:
                try:
                    unit = make(connection, one, zone, full)
                except Damaged:
                    # Whoever asks is told; the others are not held up.
                    continue
                if unit is not None:
                    units.append(unit)
                    held += unit.rows()
                    if held >= rows:
                        # There may be more of this one.
                        return RollStep(found, units), one.number - 1 if _more(unit) else one.number
            after = one.number
    return (RollStep(found, units) if units else None), after


def _more(unit: RollUnit) -> bool:
    return bool(unit.remaining) or unit.left.rolled != unit.found.rolled


def _due(connection: sqlite3.Connection, after: int, zones: bool) -> list[tuple[Series, bool]]:
    rows = connection.execute(
        "SELECT series.id, device, key, coalesce(rolled, 0), coalesce(raw_from, 0), "
        "(SELECT t1 FROM chunks WHERE series = series.id ORDER BY t0 DESC LIMIT 1), "
        "(SELECT min(t0) FROM chunks WHERE series = series.id), "
        "EXISTS (SELECT 1 FROM stale WHERE series = series.id) "
        "FROM series LEFT JOIN marks ON marks.series = series.id WHERE series.id > ? ORDER BY series.id LIMIT ?",
        (after, _LOOKED_AT),
    )
    return [
        (
            Series(number, device, key),
            zones or bool(stale) or (last is not None and (last >= rolled + HOUR or first < raw_from)),
        )
        for number, device, key, rolled, raw_from, last, first, stale in rows
    ]


def make(connection: sqlite3.Connection, of: Series, zone: str, full: int = FULL) -> RollUnit | None:
    """What is to be written for one series now; there may be more behind it."""
    if any(one.concerns(of.key) for one in chunks.erasures_of(connection, of.device)):
        # What is to be taken out of chunks goes first.
        return None
    work = _Work(connection, of, zone_of(connection, of.device, zone), full)
    for attempt in (work.other_zone, work.other_days, work.without_raw, work.closed_hours):
        unit = attempt()
        if unit is not None:
            return unit
    return None


class _Work:
    """One series in the making."""

    def __init__(self, connection: sqlite3.Connection, of: Series, zone: ZoneInfo, full: int) -> None:
        self._connection = connection
        self._of = of
        self._zone = zone
        self._full = full
        self._mark = mark_of(connection, of.number)
        self._stale = stale_of(connection, of.number)
        self._hours = rollups.blocks_of(connection, of.number, HOURS, 0, _END)
        self._days = rollups.blocks_of(connection, of.number, DAYS, 0, _END)
        self._new: list[NewBlock] = []
        self._dropped: list[int] = []
        # What blocks hold once this is written.
        self._overlay: list[Buckets] = []

    # What may have to be done, each a unit of its own

    def other_zone(self) -> RollUnit | None:
        """Hours of another zone are dropped, from the first on."""
        raw_from = self._mark.raw_from
        wrong = [
            one for one in self._hours if one.t1 > raw_from and not same_hours(one.zone, self._zone.key, one.t0, one.t1)
        ]
        if not wrong:
            return None
        begin = max(floor(self._zone, HOURS, wrong[0].t0), raw_from)
        day = floor(self._zone, DAYS, begin)
        self._cut_at(self._hours, HOURS, begin)
        self._cut_at(self._days, DAYS, max(day, self._whole_days()))
        remaining = [(t0, min(t1, begin)) for _, t0, t1 in self._stale if t0 < begin]
        return self._unit(self._mark._replace(rolled=begin), remaining)

    def without_raw(self) -> RollUnit | None:
        """What is stale before ``raw_from`` goes, and what came late for that time is added."""
        raw_from = self._mark.raw_from
        gone = [(t0, min(t1, raw_from)) for _, t0, t1 in self._stale if t0 < raw_from]
        late = rolled(self._connection, self._of.number, self._zone, HOURS, 0, raw_from)
        if not gone and not len(late):
            return None
        whole = self._whole_days()
        hours = late.where(late["start"] >= whole)
        spans = [(t0 - HOUR + 1, t1) for t0, t1 in gone]
        self._rewrite(self._hours, HOURS, spans, hours, adding=True)
        of_days = merged([*spans, *((int(one), int(one) + 1) for one in late["start"])])
        self._days_without_hours(of_days, [(t0, t1) for t0, t1 in gone if t0 < whole], late, whole)
        trimmed = None
        if len(late):
            trimmed = trim(self._connection, self._of, raw_from, self._full)
        remaining = [(max(t0, raw_from), t1) for _, t0, t1 in self._stale if t1 > raw_from]
        return self._unit(self._mark, remaining, trimmed)

    def closed_hours(self) -> RollUnit | None:
        """What is stale is made anew, and hours that closed since are made."""
        number, zone, mark = self._of.number, self._zone, self._mark
        row = self._connection.execute("SELECT min(t0), max(t1) FROM chunks WHERE series = ?", (number,)).fetchone()
        old = mark.rolled
        target = old
        if row[0] is not None:
            first = max(int(row[0]), mark.raw_from)
            target = max(old, floor(zone, HOURS, int(row[1])))
            if not old:
                old = min(max(floor(zone, HOURS, first), mark.raw_from), target)
        stale = [(max(t0, mark.raw_from), t1) for t0, t1 in widened(zone, HOURS, [(a, b) for _, a, b in self._stale])]
        stale = merged((t0, min(t1, old)) for t0, t1 in stale)
        if not stale and target <= mark.rolled:
            return self._unit(mark, []) if self._stale else None
        spans, remaining = self._within_budget(stale, (old, target))
        done = max([old, *(t1 for t0, t1 in spans if t1 > old)])
        made = [rolled(self._connection, number, zone, HOURS, t0, t1) for t0, t1 in spans]
        for one, (t0, _) in zip(made, spans, strict=True):
            # A first hour that began before there is anything of it.
            one.columns["start"] = np.maximum(one["start"], t0)
        self._rewrite(self._hours, HOURS, spans, together(made) if made else None)
        closed = (floor(zone, DAYS, mark.rolled or old), floor(zone, DAYS, done))
        self._make_days([*spans, closed], done)
        return self._unit(mark._replace(rolled=done), remaining)

    def other_days(self) -> RollUnit | None:
        """Days of another zone are made again of hours."""
        whole = self._whole_days()
        if all(one.zone == self._zone.key or one.t1 <= whole for one in self._days):
            return None
        self._cut_at(self._days, DAYS, whole)
        self._days = [one for one in self._days if one.id not in self._dropped]
        first = min([one.t0 for one in self._hours], default=0)
        self._make_days([(max(first, whole), self._mark.rolled)], self._mark.rolled)
        return self._unit(self._mark, [(t0, t1) for _, t0, t1 in self._stale])

    # How

    def _unit(self, left: Mark, remaining: list[Span], trimmed: Unit | None = None) -> RollUnit:
        seen = [one for one, _, _ in self._stale]
        return RollUnit(self._of.number, self._mark, left, self._new, self._dropped, seen, merged(remaining), trimmed)

    def _whole_days(self) -> int:
        """Days from here on can be made of hours."""
        return ceiling(self._zone, DAYS, self._mark.hours_from) if self._mark.hours_from else 0

    def _within_budget(self, stale: list[Span], new: Span) -> tuple[list[Span], list[Span]]:
        """Spans to be made now, and of the stale ones what is left for later."""
        left = POINTS_MOST
        spans: list[Span] = []
        for at, (t0, t1) in enumerate([*stale, *([new] if new[0] < new[1] else [])]):
            rows = self._connection.execute(
                "SELECT t0, n FROM chunks WHERE series = ? AND t0 >= ? AND t0 < ? ORDER BY t0",
                (self._of.number, chunks.first_start(self._connection, self._of.number, t0), t1),
            )
            end = t1
            for begin, points in rows:
                left -= points
                if left < 0 and begin > t0:
                    end = max(floor(self._zone, HOURS, begin), t0)
                    if end > t0:
                        break
                    end = t1
            if t0 < end:
                spans.append((t0, end))
            if left < 0:
                rest = [(max(t0, end), t1), *stale[at + 1 :]] if at < len(stale) else []
                return merged(spans), rest
        return merged(spans), []

    def _load(self, one: Block) -> Buckets:
        return decode(rollups.data_of(self._connection, [one])[0])

    def _cut_at(self, heads: Sequence[Block], step: int, begin: int) -> None:
        """Drop what begins at ``begin`` or later."""
        for one in heads:
            if one.t1 <= begin:
                continue
            self._dropped.append(one.id)
            if one.t0 < begin:
                held = self._load(one)
                self._put(held.where(held["start"] < begin), step, one.zone, begin)

    def _rewrite(
        self, heads: Sequence[Block], step: int, spans: Sequence[Span], made: Buckets | None, adding: bool = False
    ) -> None:
        """Put ``made`` where they belong, in the place of everything that begins within ``spans``.

        With ``adding`` they are added to what is there and not in the spans.
        """
        touched = list(spans)
        if adding and made is not None:
            touched += [(int(one), int(one) + 1) for one in made["start"]]
        runs: list[tuple[int, int, list[Span]]] = []
        for span in merged(touched):
            # What begins within, not what only reaches into it.
            first = next((at for at, one in enumerate(heads) if one.t1 > span[0]), len(heads))
            last = first - 1
            while last + 1 < len(heads) and heads[last + 1].t0 < span[1]:
                last += 1
            if runs and (first <= runs[-1][1] or (first, last) == runs[-1][:2]):
                before = runs.pop()
                runs.append((before[0], max(before[1], last), [*before[2], span]))
            else:
                runs.append((first, last, [span]))
        taken = -1
        for first, last, covered in runs:
            parts = []
            for one in heads[first : last + 1]:
                held = self._load(one)
                parts.append(held.where(~within(held["start"], spans)))
                self._dropped.append(one.id)
            if made is not None:
                parts.append(made.where(within(made["start"], covered)))
            parts = [one for one in parts if len(one)]
            size = sum(map(len, parts))
            while size and first - 1 > taken and heads[first - 1].n < self._full and heads[first - 1].n <= _MUCH * size:
                first -= 1
                parts.insert(0, self._load(heads[first]))
                size += len(parts[0])
                self._dropped.append(heads[first].id)
            taken = max(last, first - 1, taken)
            if parts:
                found = together(parts)
                if adding:
                    found = same_starts(found)
                self._put(found, step, self._zone.key)

    def _put(self, found: Buckets, step: int, zone: str, before: int = _END) -> None:
        if step == HOURS:
            self._overlay.append(found)
        size = len(found)
        count = max(size // self._full, 1)
        for part in range(count):
            piece = found.where(slice(part * size // count, (part + 1) * size // count))
            start = piece["start"]
            if len(start):
                # The next boundary, or where the next piece begins when it is one of another zone's hours.
                end = int(grid(self._zone, step, int(start[-1]), int(start[-1]) + 1)[1])
                at = (part + 1) * size // count
                if at < size:
                    end = min(end, int(found["start"][at]))
                end = min(end, before)
                self._new.append(NewBlock(step, int(start[0]), end, len(start), zone, encode(piece)))

    def _hours_between(self, start: int, end: int) -> Buckets | None:
        """Hours as they are once this is written."""
        parts = [one for one in self._overlay if len(one)]
        dropped = set(self._dropped)
        held = [one for one in self._hours if one.id not in dropped and one.t0 < end and one.t1 > start]
        parts += [self._load(one) for one in held]
        if not parts:
            return None
        found = together(parts)
        return found.where((found["start"] >= start) & (found["start"] < end))

    def _make_days(self, spans: Sequence[Span], done: int) -> None:
        """Make the days of hours that changed, of those that are closed."""
        wanted, made = self._days_of_hours(spans, done)
        if wanted:
            self._rewrite(self._days, DAYS, wanted, together(made) if made else None)

    def _days_of_hours(self, spans: Sequence[Span], done: int) -> tuple[list[Span], list[Buckets]]:
        low, high = self._whole_days(), floor(self._zone, DAYS, done)
        wanted = merged((max(t0, low), min(t1, high)) for t0, t1 in widened(self._zone, DAYS, list(spans)))
        made = []
        for t0, t1 in wanted:
            hours = self._hours_between(t0, t1)
            if hours is not None and len(hours):
                made.append(on_grid(hours, grid(self._zone, DAYS, t0, t1)))
        return wanted, made

    def _days_without_hours(self, changed: list[Span], gone: list[Span], late: Buckets, whole: int) -> None:
        """Days whose hours are there are made of them; to others what came late is added."""
        spans, made = self._days_of_hours([(max(t0, whole), t1) for t0, t1 in changed if t1 > whole], self._mark.rolled)
        dropped = merged((floor(self._zone, DAYS, t0), t1) for t0, t1 in gone)
        early = late.where((late["start"] < whole) & (late["start"] >= self._mark.days_from))
        if len(early):
            of_days = same_starts(on_grid(early, grid(self._zone, DAYS, 0, whole)))
            begins = set(of_days["start"].tolist())
            held = [self._load(one) for one in self._days if one.t0 < whole]
            kept = [one.where([start in begins for start in one["start"].tolist()]) for one in held]
            kept = [one.where(~within(one["start"], dropped)) for one in kept]
            made.append(same_starts(together([*kept, of_days])))
            spans = [*spans, *((one, one + 1) for one in begins)]
        if spans or dropped:
            self._rewrite(self._days, DAYS, merged([*spans, *dropped]), together(made) if made else None)


def trim(connection: sqlite3.Connection, of: Series, before: int, full: int = chunks.FULL) -> Unit:
    """What takes the points before ``before`` out of the chunks of a series."""
    heads = connection.execute(
        "SELECT id, times, t0, t1, length(data) FROM chunks WHERE series = ? AND t0 < ? ORDER BY t0, seq",
        (of.number, before),
    ).fetchall()
    cut = [t0 for _, _, t0, t1, _ in heads if t1 >= before]
    # What is not whole before is written anew; nothing else has to be opened.
    begin = min(cut, default=before)
    work = compaction.Work(connection, full)
    if cut:
        work.add(of.key, of.number, compaction.NONE, [Erasure(0, of.key, begin, before, _END)])
    unit = work.unit(of.device, [], False)
    opened = {one for one, _ in unit.dropped}
    unit.dropped += [(one, times) for one, times, *_ in heads if one not in opened]
    unit.freed = sum(size for *_, size in heads)
    # The roll-ups have all of it.
    unit.added, unit.taken = [], []
    return unit


def drop_raw(
    connection: sqlite3.Connection, of: Series, zone: str, before: int, most: int, full: int = chunks.FULL
) -> RollUnit | None:
    """What takes about the ``most`` oldest chunks of a series away that are before ``before``, which then are in
    roll-ups alone; none while there are none, or while the roll-ups of that time are not made or stale.

    To be committed as a :class:`rollups.RollStep`, and to be asked for again until there are none.
    """
    mark = mark_of(connection, of.number)
    if stale_of(connection, of.number) or any(
        one.concerns(of.key) for one in chunks.erasures_of(connection, of.device)
    ):
        return None
    where = zone_of(connection, of.device, zone)
    before = floor(where, HOURS, min(before, mark.rolled))
    heads = connection.execute(
        "SELECT t0, length(data) FROM chunks WHERE series = ? AND t0 < ? ORDER BY t0 LIMIT ?",
        (of.number, before, most + 1),
    ).fetchall()
    held = 0
    for at, (_, size) in enumerate(heads):
        held += size
        if held > _BYTES_MOST:
            most = min(most, max(at, 1))
            break
    if not heads or int(heads[0][0]) < mark.raw_from:
        # What came late for the time before is added first.
        return None
    if len(heads) > most:
        before = floor(where, HOURS, int(heads[most][0]))
    if before <= max(mark.raw_from, int(heads[0][0])):
        before = min(ceiling(where, HOURS, int(heads[0][0]) + 1), floor(where, HOURS, mark.rolled))
    return RollUnit(of.number, mark, mark._replace(raw_from=before), [], [], trimmed=trim(connection, of, before, full))
