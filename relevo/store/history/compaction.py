"""Making chunks: what the compactor's process does with a range of the journal.

Theory. A *pass* takes the readings of a range of the journal, sorts them by device and key, and makes for each device,
in the order of their numbers, a :class:`Unit`: which chunks are written and which ones they replace. A step is as many
units as the asker has time for. Nothing is written here; what is read is read in small pieces, because a connection
that reads for long keeps the log from starting anew.

- Points of a series are ordered by time, then by arrival. What is in chunks arrived before whatever is not.
- A point that falls into a chunk's span goes into that chunk, which is written anew. Others follow the chunk before
  them: in it while it is not full and not much larger than what comes (so that a slow series' chunks grow like a binary
  counter, each point being written a few times), else in a chunk of their own.
- A chunk is cut where the time is roundest (the highest power of two milliseconds is passed), near the place that gives
  parts of about :data:`FULL` points: series of one device are cut at the same times, however they began, and share
  them.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from relevo.domain.events import HistoryCorrected, ReadingImported, TelemetryReceived
from relevo.domain.quality import CORRECTED, quality
from relevo.store import journal
from relevo.store.history import chunks
from relevo.store.history.chunks import FULL, Erasure, Head, NewChunk, Progress, Step, Unit
from relevo.store.history.layout import Times, decode_times, decode_values, encode_times, encode_values, plain
from relevo.store.history.packing import Ints
from relevo.store.history.stale import HOUR, Span

# One pass holds this many values in memory at most, and a little more.
VALUES_MOST: Final = 1_000_000
_BYTES_MOST: Final = 16 * 1024 * 1024
_ROWS_AT_ONCE: Final = 200
_DROPPED_AT_ONCE: Final = 200
_LOOKED_BACK: Final = 12
_TRIED_MOST: Final = 8
_SPANS_MOST: Final = 32


class Points(NamedTuple):
    """Points of one series, oldest first."""

    ts: Ints
    seq: Ints
    quality: NDArray[np.uint8]
    values: list[Any]

    def part(self, begin: int, end: int) -> "Points":
        return Points(self.ts[begin:end], self.seq[begin:end], self.quality[begin:end], self.values[begin:end])

    def where(self, kept: NDArray[np.bool_]) -> "Points":
        if bool(kept.all()):
            return self
        values = [value for value, keep in zip(self.values, kept.tolist(), strict=True) if keep]
        return Points(self.ts[kept], self.seq[kept], self.quality[kept], values)


NONE: Final = Points(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8), [])


class Readings:
    """What arrived from one device, by key; times stand once for all keys of a message."""

    __slots__ = ("columns", "number", "quality", "seq", "since", "ts")

    def __init__(self, number: int, since: int) -> None:
        self.number = number
        self.since = since
        self.ts: list[int] = []
        self.seq: list[int] = []
        self.quality: list[int] = []
        self.columns: dict[str, tuple[list[int], list[Any]]] = {}

    def add(self, seq: int, ts: int, kind: int, values: Iterable[tuple[str, Any]]) -> None:
        at = len(self.ts)
        self.ts.append(ts)
        self.seq.append(seq)
        self.quality.append(kind)
        columns = self.columns
        for key, value in values:
            column = columns.get(key)
            if column is None:
                columns[key] = ([at], [value])
            else:
                column[0].append(at)
                column[1].append(value)


class Range(NamedTuple):
    """A range of the journal, read: ``found`` is what it begins from."""

    found: Progress
    high: int
    devices: dict[int, Readings]
    values: int


# Reading the journal


def read_range(connection: sqlite3.Connection, values_most: int = VALUES_MOST) -> Range:
    """The readings that are not in chunks yet, of as many rows as hold about ``values_most`` values, and not many more
    bytes than a process may spend on them."""
    connection.execute("BEGIN")
    found = chunks.progress(connection)
    resumed = found.through > 0
    bound = found.high if resumed else journal.next_seq(connection) - 1
    # Who is registered now was registered before ``bound``, or has nothing in the range.
    known = {
        name: Readings(number, since)
        for number, name, since in connection.execute(
            "SELECT number, id, registered_seq FROM devices WHERE number > ?", (found.through,)
        )
    }
    waiting = [row[0] for row in connection.execute("SELECT DISTINCT device FROM erasures")]
    connection.execute("COMMIT")
    at, values, size = found.low, 0, 0
    while at < bound and (resumed or (values < values_most and size < _BYTES_MOST)):
        rows = journal.readings_rows(connection, at, bound, _ROWS_AT_ONCE)
        for first, count, length, events in rows:
            values += _take(known, first, events)
            size += length
            at = first + count - 1
        if len(rows) < _ROWS_AT_ONCE:
            at = bound
    by_number = {one.number: one for one in known.values()}
    devices = {number: by_number[number] for number in sorted(by_number) if by_number[number].ts or number in waiting}
    return Range(found, max(at, found.low), devices, values)


def _take(known: dict[str, Readings], first: int, events: Sequence[Any]) -> int:
    values = 0
    for seq, event in enumerate(events, first):
        if type(event) is TelemetryReceived or type(event) is ReadingImported:
            of = known.get(event.device)
            if of is not None and seq >= of.since:
                of.add(seq, event.ts, quality(event.source, event.ts, event.received), event.values.items())
                values += len(event.values)
        elif type(event) is HistoryCorrected:
            of = known.get(event.device)
            if of is not None and seq >= of.since:
                for ts, value in event.points:
                    of.add(seq, ts, CORRECTED, ((event.key, value),))
                values += len(event.points)
    return values


# From readings to steps


def steps(connection: sqlite3.Connection, of: Range, rows: Callable[[], int], full: int = FULL) -> Iterator[Step]:
    """The steps of a pass over ``of``, each of about ``rows()`` rows; each has to be written before the next is asked
    for."""
    found = left = of.found
    units: list[Unit] = []
    points = 0
    for number, readings in of.devices.items():
        for unit in device_units(connection, readings, of.high, full):
            units.append(unit)
            if unit.marks:
                left = Progress(found.low, of.high, number)
                points += sum(len(column[1]) for column in readings.columns.values())
            # One that only drops has to be gone before the next question.
            if not unit.marks or sum(one.rows() for one in units) >= rows():
                yield Step(found, left, units, points)
                found, units, points = left, [], 0
        readings.columns.clear()
    if units or found.through or of.high > found.low:
        yield Step(found, Progress(of.high, of.high, 0), units, points)


def device_units(connection: sqlite3.Connection, readings: Readings, high: int, full: int = FULL) -> Iterator[Unit]:
    """What has to be written for one device: the last unit marks it as done up to ``high``."""
    device = readings.number
    hidden = chunks.erasures_of(connection, device)
    numbers = chunks.series_of(connection, device)
    everywhere = [one for one in hidden if not one.key]
    # What an erasure covers whole nobody sees any more, so it may go piece by piece before the rest changes.
    for key, number in numbers.items():
        for erasure in (*everywhere, *(one for one in hidden if one.key == key)):
            while covered := _covered(connection, number, erasure):
                yield Unit(device, [], [], [], covered, [], False)
    work = Work(connection, full)
    ts = np.array(readings.ts, np.int64)
    seq = np.array(readings.seq, np.int64)
    kinds = np.array(readings.quality, np.uint8)
    touched = set(numbers) if everywhere else {one.key for one in hidden}
    for key in sorted(touched | set(readings.columns)):
        of_key = [one for one in hidden if one.concerns(key)]
        column = readings.columns.get(key)
        if column is None:
            new = NONE
        elif len(column[0]) == len(ts):
            new = Points(ts, seq, kinds, column[1])
        else:
            at = np.array(column[0], np.int64)
            new = Points(ts[at], seq[at], kinds[at], column[1])
        work.add(key, numbers.get(key), _visible(_ordered(new), of_key), of_key)
    done = [one.id for one in hidden if one.seq - 1 <= high]
    yield work.unit(device, done, True)


def _covered(connection: sqlite3.Connection, number: int, erasure: Erasure) -> list[tuple[int, int]]:
    rows = connection.execute(
        "SELECT id, times FROM chunks WHERE series = ? AND t0 >= ? AND t0 < ? AND t1 < ? LIMIT ?",
        (number, erasure.t0, erasure.t1, erasure.t1, _DROPPED_AT_ONCE),
    )
    return rows.fetchall()


def _ordered(points: Points) -> Points:
    ts = points.ts
    # Arrival numbers rise already.
    if len(ts) < 2 or bool((ts[1:] >= ts[:-1]).all()):
        return points
    order = np.lexsort((points.seq, ts))
    values = points.values
    return Points(ts[order], points.seq[order], points.quality[order], [values[at] for at in order.tolist()])


def _visible(points: Points, hidden: Sequence[Erasure]) -> Points:
    for one in hidden:
        points = points.where(~((points.ts >= one.t0) & (points.ts < one.t1) & (points.seq < one.seq)))
    return points


class Work:
    """One device's chunks in the making."""

    def __init__(self, connection: sqlite3.Connection, full: int) -> None:
        self._connection = connection
        self._full = full
        self._keys: list[str] = []
        self._made: list[tuple[int, Points]] = []
        self._added: list[tuple[int, int, int]] = []
        self._taken: list[tuple[int, int, int]] = []
        self.dropped: list[tuple[int, int]] = []
        self._freed = 0

    def add(self, key: str, number: int | None, new: Points, hidden: Sequence[Erasure]) -> None:
        """Put ``new`` points of a series where they belong, and take out of its chunks what is hidden."""
        known = self._known(number, new, hidden)
        runs = self._runs(known, new, hidden)
        if not runs and (not hidden or number is None):
            return
        place = len(self._keys)
        self._keys.append(key)
        self._added += [(place, t0, t1) for t0, t1 in touched(new.ts)]
        self._taken += [(place, one.t0, one.t1) for one in hidden]
        for first, last, begin, end in runs:
            old = [_visible(_open(self._connection, known[at]), hidden) for at in range(first, last + 1)]
            merged = _ordered(_joined([*old, new.part(begin, end)]))
            self.dropped += [(known[at].id, known[at].times) for at in range(first, last + 1)]
            self._freed += sum(known[at].size for at in range(first, last + 1))
            before = known[first - 1].t1 if first else _end_before(self._connection, number, known)
            for part in cut(_numbered(merged, before), self._full):
                self._made.append((place, part))

    def join(self, key: str, heads: Sequence[Head]) -> None:
        """Make neighbouring chunks of a series into fuller ones; ``heads`` are all that belong together."""
        place = len(self._keys)
        self._keys.append(key)
        merged = _joined([_open(self._connection, one) for one in heads])
        self.dropped += [(one.id, one.times) for one in heads]
        self._freed += sum(one.size for one in heads)
        for part in cut(merged, self._full):
            self._made.append((place, part))

    def unit(self, device: int, erased: list[int], marks: bool) -> Unit:
        times, made = _shared(self._made)
        return Unit(device, self._keys, times, made, self.dropped, erased, marks, self._added, self._taken, self._freed)

    def _known(self, number: int | None, new: Points, hidden: Sequence[Erasure]) -> list[Head]:
        """The chunks that can be touched, in their order."""
        if number is None:
            return []
        starts = [one.t0 for one in hidden]
        if len(new.ts):
            starts.append(int(new.ts[0]))
        if not starts:
            return []
        lowest = chunks.first_start(self._connection, number, min(starts), _LOOKED_BACK)
        rows = self._connection.execute(
            f"SELECT {chunks.HEAD} FROM chunks WHERE series = ? AND t0 >= ? ORDER BY t0, seq, id",  # noqa: S608
            (number, lowest),
        )
        return [Head(*row) for row in rows]

    def _runs(self, known: list[Head], new: Points, hidden: Sequence[Erasure]) -> list[tuple[int, int, int, int]]:
        """Chunks ``first`` to ``last`` (none when it is smaller) are replaced by them and the new points from
        ``begin`` until before ``end``."""
        wanted: list[tuple[int, int, int, int]] = []
        for at, head in enumerate(known):
            if any(head.t0 < one.t1 and head.t1 >= one.t0 for one in hidden):
                begin = int(np.searchsorted(new.ts, head.t0))
                wanted.append((at, at, begin, begin))
        starts = [head.t0 for head in known]
        begin, size = 0, len(new.ts)
        while begin < size:
            at = bisect_right(starts, int(new.ts[begin])) - 1
            end = int(np.searchsorted(new.ts, starts[at + 1])) if at + 1 < len(starts) else size
            wanted.append(self._run(known, at, begin, end, int(new.ts[begin])))
            begin = end
        # Those that touch the same chunk are one.
        runs: list[tuple[int, int, int, int]] = []
        for first, last, begin, end in sorted(wanted, key=lambda run: (run[1], run[3])):
            while runs and first <= runs[-1][1]:
                other = runs.pop()
                first, last = min(first, other[0]), max(last, other[1])
                both = [one for one in ((begin, end), other[2:]) if one[0] < one[1]]
                begin = min((one[0] for one in both), default=0)
                end = max((one[1] for one in both), default=0)
            runs.append((first, last, begin, end))
        return runs

    def _run(self, known: list[Head], at: int, begin: int, end: int, ts: int) -> tuple[int, int, int, int]:
        """New points that come behind the beginning of chunk ``at`` and before the next."""
        first = at + 1
        size = end - begin
        if at >= 0 and ts < known[at].t1:
            size += known[at].n
            first = at
        while first > 0 and known[first - 1].n < self._full and known[first - 1].n <= 2 * size:
            first -= 1
            size += known[first].n
        return first, at, begin, end


def touched(ts: Ints) -> list[Span]:
    """Spans of whole hours UTC that hold all of these times, at most :data:`_SPANS_MOST` of them."""
    if not len(ts):
        return []
    hours = np.unique(ts // HOUR)
    apart = np.flatnonzero(np.diff(hours) > 1)
    if len(apart) >= _SPANS_MOST:
        apart = np.sort(apart[np.argsort(np.diff(hours)[apart])[-_SPANS_MOST + 1 :]])
    begins = hours[np.concatenate(([0], apart + 1))] * HOUR
    ends = (hours[np.concatenate((apart, [len(hours) - 1]))] + 1) * HOUR
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def _end_before(connection: sqlite3.Connection, number: int | None, known: Sequence[Head]) -> int | None:
    """Where the chunk before those that were looked at ends."""
    if number is None or not known:
        return None
    row = connection.execute(
        "SELECT t1 FROM chunks WHERE series = ? AND t0 < ? ORDER BY t0 DESC, seq DESC LIMIT 1", (number, known[0].t0)
    ).fetchone()
    return row[0] if row else None


def _open(connection: sqlite3.Connection, head: Head) -> Points:
    row = connection.execute(
        "SELECT times.data, chunks.data FROM chunks JOIN times ON times.id = chunks.times WHERE chunks.id = ?",
        (head.id,),
    ).fetchone()
    times, values = opened(*row)
    return Points(times.ts, times.seq, times.quality, plain(values))


def opened(times_data: bytes, data: bytes) -> tuple[Times, Any]:
    """Times and values of one chunk. Raises :class:`relevo.errors.Damaged`."""
    times = decode_times(times_data)
    picks, values = decode_values(data)
    if picks is not None:
        times = Times(times.ts[picks], times.seq[picks], times.quality[picks])
    return times, values


def _joined(parts: Sequence[Points]) -> Points:
    if len(parts) == 1:
        return parts[0]
    return Points(
        np.concatenate([one.ts for one in parts]),
        np.concatenate([one.seq for one in parts]),
        np.concatenate([one.quality for one in parts]),
        [value for one in parts for value in one.values],
    )


def _numbered(points: Points, before: int | None) -> Points:
    """The arrival numbers that are kept: those of points which share their millisecond with another."""
    ts = points.ts
    if not len(ts):
        return points
    same = ts[1:] == ts[:-1]
    shares = np.concatenate(([before is not None and int(ts[0]) == before], same))
    shares[:-1] |= same
    if before is not None:
        shares |= ts == before
    return points._replace(seq=np.where(shares, points.seq, 0))


def cut(points: Points, full: int = FULL) -> list[Points]:
    """Parts of ``full`` to twice as many points; none of no points."""
    size = len(points.ts)
    if not size:
        return []
    count = size // full
    if count < 2:
        return [points]
    passed = points.ts[1:] ^ points.ts[:-1]
    places, reach = [0], max(full // 7, 1)
    for part in range(1, count):
        middle = part * size // count
        low, high = max(middle - reach, places[-1] + 1), min(middle + reach, size - 1)
        places.append(low + int(np.argmax(passed[low - 1 : high])))
    return [points.part(begin, end) for begin, end in zip(places, [*places[1:], size], strict=True)]


def _shared(made: Sequence[tuple[int, Points]]) -> tuple[list[bytes], list[NewChunk]]:
    """Rows of times for chunks, and the chunks; those whose times are (among) those of another use its row."""
    rows: list[Points] = []
    by_bytes: dict[bytes, int] = {}
    found: list[NewChunk] = []
    for place, points in sorted(made, key=lambda one: -len(one[1].ts)):
        exact = points.ts.tobytes() + points.seq.tobytes() + points.quality.tobytes()
        row = by_bytes.get(exact)
        picks = None
        if row is None:
            row, picks = _among(rows, points)
        if row is None:
            row = by_bytes[exact] = len(rows)
            rows.append(points)
        head = int(points.ts[0]), int(points.seq[0]), int(points.ts[-1]), len(points.ts)
        found.append(NewChunk(place, *head, row, encode_values(points.values, picks)))
    return [encode_times(Times(one.ts, one.seq, one.quality)) for one in rows], found


def _among(rows: Sequence[Points], points: Points) -> tuple[int | None, Ints | None]:
    """A row of times that holds all of ``points`` and not many others, and which of its places they are."""
    first, last, size = points.ts[0], points.ts[-1], len(points.ts)
    tried = 0
    for at in range(len(rows) - 1, -1, -1):
        row = rows[at]
        if row.ts[0] > first or row.ts[-1] < last or len(row.ts) > 2 * size:
            continue
        tried += 1
        if tried > _TRIED_MOST:
            break
        picks = np.searchsorted(row.ts, points.ts)
        if (
            bool((row.ts[picks] == points.ts).all())
            and not row.seq.any()
            and not points.seq.any()
            and bool((row.quality[picks] == points.quality).all())
        ):
            return at, picks
    return None, None


# Re-packing


def repack(connection: sqlite3.Connection, device: int, most: int, full: int = FULL) -> Unit | None:
    """Small neighbouring chunks of a device made into full ones, about ``most`` of them; none when there are none."""
    work = Work(connection, full)
    for key, number in sorted(chunks.series_of(connection, device).items()):
        rows = connection.execute(
            f"SELECT {chunks.HEAD} FROM chunks WHERE series = ? ORDER BY t0, seq, id",  # noqa: S608
            (number,),
        )
        group: list[Head] = []
        for head in [*(Head(*row) for row in rows), None]:
            held = sum(one.n for one in group)
            if head is not None and head.n < full and held + head.n < 2 * full:
                group.append(head)
                continue
            if len(group) > 1:
                work.join(key, group)
                if len(work.dropped) >= most:
                    return work.unit(device, [], False)
            group = [head] if head is not None and head.n < full else []
    unit = work.unit(device, [], False)
    return unit if unit.dropped else None
