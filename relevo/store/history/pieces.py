"""Everything of one device, oldest first, piece by piece: what exports are made of.

A piece is all points of a span of time, which is chosen so that there are about as many as asked for. Each piece is one
short look at the database, so that reading for hours holds nothing up. Its end is the only thing that is remembered
between two: points before it have come, whether they were in the journal's tail or in chunks, and points from it on
have not, wherever they are moved meanwhile. What arrives behind that place, is erased or corrected there after it was
passed is not seen any more.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from heapq import nsmallest
from operator import itemgetter
from typing import Any, Final, NamedTuple

from relevo.domain.events import AnyEvent, HistoryCorrected, ReadingImported, TelemetryReceived
from relevo.store import journal
from relevo.store.history import chunks
from relevo.store.history.chunks import Erasure
from relevo.store.history.series import Opener, Point

POINTS: Final = 20_000
_HEADS: Final = 32
_ROWS_AT_ONCE: Final = 200
_SAMPLE: Final = 20
# Of a chunk's form (docs/series.md): what is not the mark of left out places, and which forms say nothing of types.
_FORM: Final = 0x7F
_TELLING: Final = frozenset({0, 6})
_POSITION: Final = itemgetter(0, 1)

Row = tuple[int, dict[str, Any]]


class Piece(NamedTuple):
    """Rows of time (milliseconds UTC) and values by key; a key that has several values at one time has them in as many
    rows. ``end`` is where the next piece begins, ``points`` how many values there are."""

    rows: list[Row]
    end: int
    points: int


class Outline(NamedTuple):
    """The keys with points in a span, sorted, about how many points there are, and the devices that have them."""

    keys: list[str]
    points: int
    devices: set[str]


def read_piece(
    connection: sqlite3.Connection,
    opener: Opener,
    device: str,
    since: int,
    keys: Collection[str],
    start: int,
    end: int,
    most: int = POINTS,
) -> Piece:
    """The points of ``device`` with ``start <= ts``, before ``end``, about ``most`` of them; of all keys when there are
    none in ``keys``.

    ``since`` is the number of the event that registered the device; another of the same name has none. Raises
    :class:`relevo.errors.Damaged`.
    """
    connection.execute("BEGIN")
    try:
        number = chunks.number_of(connection, device, since)
        if number is None or start >= end:
            return Piece([], end, 0)
        hidden = chunks.erasures_of(connection, number)
        series = _series(connection, number, keys)
        cut = _cut(connection, list(series.values()), start, end, most)
        tail, cut = _tail(connection, device, number, since, keys, hidden, start, cut, most)
        points = {key: _of_chunks(connection, opener, one, start, cut) for key, one in series.items()}
    finally:
        connection.execute("ROLLBACK")
    for key, found in points.items():
        for one in hidden:
            if one.concerns(key):
                points[key] = found = [point for point in found if not one.covers(point.ts)]
    for ts, seq, key, value in tail:
        points.setdefault(key, []).append(Point(ts, seq, value))
    return _rows(points, cut)


def _rows(points: dict[str, list[Point]], end: int) -> Piece:
    by_time: dict[int, list[dict[str, Any]]] = {}
    count = 0
    for key in sorted(points):
        found = points[key]
        found.sort(key=_POSITION)
        count += len(found)
        before = None
        place = 0
        for ts, _, value, _ in found:
            place = place + 1 if ts == before else 0
            before = ts
            rows = by_time.get(ts)
            if rows is None:
                by_time[ts] = [{key: value}]
            elif place < len(rows):
                rows[place][key] = value
            else:
                rows.append({key: value})
    return Piece([(ts, row) for ts in sorted(by_time) for row in by_time[ts]], end, count)


def _series(connection: sqlite3.Connection, number: int, keys: Collection[str]) -> dict[str, int]:
    return {key: one for key, one in chunks.series_of(connection, number).items() if not keys or key in keys}


def _cut(connection: sqlite3.Connection, series: Sequence[int], start: int, end: int, most: int) -> int:
    """Where a piece has to end so that it holds about ``most`` points of chunks."""
    budget = max(most // max(len(series), 1), 1)
    for one in series:
        heads = connection.execute(
            "SELECT t0, t1, n FROM chunks WHERE series = ? AND t0 >= ? AND t0 < ? AND t1 >= ? ORDER BY t0, seq LIMIT ?",
            (one, chunks.first_start(connection, one, start), end, start, _HEADS),
        ).fetchall()
        left = budget
        for t0, t1, n in heads:
            if n >= left:
                # As if its points were spread evenly; where they are not, the piece is a little more or less.
                low = max(t0, start)
                end = min(end, max(low + (t1 - low) * left // n, start) + 1)
                break
            left -= n
        else:
            if len(heads) == _HEADS:
                end = min(end, max(heads[-1][1], start + 1))
    return end


def _tail(
    connection: sqlite3.Connection,
    device: str,
    number: int,
    since: int,
    keys: Collection[str],
    hidden: Sequence[Erasure],
    start: int,
    end: int,
    most: int,
) -> tuple[list[tuple[int, int, str, Any]], int]:
    """What is in the journal only, and the end of the piece, earlier where that would be too much."""
    mark = chunks.progress(connection).mark(number)
    while True:
        events = (
            (event.ts, seq, event.values)
            for seq, event in journal.tail(connection, device, mark, start, end)
            if seq >= since
        )
        found = nsmallest(most + 1, events, key=_POSITION)
        if len(found) <= most:
            break
        if found[-1][0] > start:
            end = found[-1][0]
            found = [one for one in found if one[0] < end]
            break
        # All of them share a millisecond, which is never taken apart.
        end, most = start + 1, most * 16
    out = []
    for ts, seq, values in found:
        out += [
            (ts, seq, key, value)
            for key, value in values.items()
            if (not keys or key in keys) and not any(one.concerns(key) and one.hides(ts, seq) for one in hidden)
        ]
    return out, end


def _of_chunks(connection: sqlite3.Connection, opener: Opener, series: int, start: int, end: int) -> list[Point]:
    rows = connection.execute(
        "SELECT times.data, chunks.data FROM chunks JOIN times ON times.id = chunks.times "
        "WHERE series = ? AND t0 >= ? AND t0 < ? AND t1 >= ? ORDER BY t0, seq",
        (series, chunks.first_start(connection, series, start), end, start),
    )
    found: list[Point] = []
    for times, data in rows:
        found += opener(times, data, start, end, None)
    return found


def outline(
    connection: sqlite3.Connection,
    devices: Sequence[tuple[str, int]],
    keys: Collection[str],
    start: int,
    end: int,
) -> Outline:
    """Which keys ``devices``, given with the numbers of the events that registered them, have in a span."""
    found: set[str] = set()
    holders: set[str] = set()
    points = 0
    # Before the chunks: what is moved into them meanwhile is counted twice rather than missed.
    for device, key, _ in tail_values(connection, devices, keys, start, end):
        found.add(key)
        holders.add(device)
        points += 1
    for device, since in devices:
        number = chunks.number_of(connection, device, since)
        if number is None:
            continue
        for key, one in _series(connection, number, keys).items():
            count = _about(connection, one, start, end)
            if count:
                found.add(key)
                holders.add(device)
                points += count
    return Outline(sorted(found), points, holders)


def tail_values(
    connection: sqlite3.Connection,
    devices: Sequence[tuple[str, int]],
    keys: Collection[str],
    start: int,
    end: int,
) -> Iterator[tuple[str, str, Any]]:
    """Devices, keys and values of ``devices`` in a span that are in the journal only, as they arrived."""
    wanted = frozenset(keys)
    known: dict[str, tuple[int, int]] = {}
    for device, since in devices:
        number = chunks.number_of(connection, device, since)
        if number is not None:
            known[device] = number, since
    begin = chunks.progress(connection)
    at, last = begin.low, journal.next_seq(connection) - 1
    while rows := journal.readings_rows(connection, at, last, _ROWS_AT_ONCE):
        for first, count, _, events in rows:
            for seq, event in enumerate(events, first):
                readings = _readings(event)
                of = known.get(event.device) if readings else None  # type: ignore[union-attr]
                if of is None or seq < of[1] or seq <= begin.mark(of[0]):
                    continue
                for ts, values in readings:
                    if start <= ts < end:
                        for key, value in values.items():
                            if not wanted or key in wanted:
                                yield event.device, key, value  # type: ignore[union-attr]
            at = first + count - 1


def chunk_forms(
    connection: sqlite3.Connection, device: str, since: int, keys: Collection[str], start: int, end: int
) -> Iterator[tuple[str, int, bytes]]:
    """Key, form and, where only that tells what values it has, the bytes of each chunk of a device in a span."""
    number = chunks.number_of(connection, device, since)
    for key, one in _series(connection, number, keys).items() if number is not None else ():
        rows = connection.execute(
            "SELECT id, substr(data, 2, 1) FROM chunks WHERE series = ? AND t0 >= ? AND t0 < ? AND t1 >= ?",
            (one, chunks.first_start(connection, one, start), end, start),
        ).fetchall()
        for chunk, head in rows:
            form = head[0] & _FORM
            data = b""
            if form in _TELLING:
                row = connection.execute("SELECT data FROM chunks WHERE id = ?", (chunk,)).fetchone()
                # One that was made anew meanwhile has the same values or newer ones.
                if row is None:
                    continue
                data = row[0]
            yield key, form, data


def _readings(event: AnyEvent | None) -> list[Row]:
    """What an event adds to history."""
    if type(event) is HistoryCorrected:
        return [(ts, {event.key: value}) for ts, value in event.points]
    if type(event) is TelemetryReceived or type(event) is ReadingImported:
        return [(event.ts, event.values)]
    return []


def _about(connection: sqlite3.Connection, series: int, start: int, end: int) -> int:
    """About how many points a series has in a span: its chunks are counted in the index, and some looked at."""
    first = chunks.first_start(connection, series, start)
    (count,) = connection.execute(
        "SELECT count(*) FROM chunks WHERE series = ? AND t0 >= ? AND t0 < ?", (series, first, end)
    ).fetchone()
    if not count:
        return 0
    rows = connection.execute(
        "SELECT t0, t1, n FROM chunks WHERE series = ? AND t0 >= ? AND t0 < ? ORDER BY t0 LIMIT ?",
        (series, first, end, _SAMPLE),
    ).fetchall()
    inside: list[float] = [n * max(min(t1 + 1, end) - max(t0, start), 0) / (t1 + 1 - t0) for t0, t1, n in rows]
    if count > len(rows):
        return max(round(sum(inside) / len(inside) * int(count)), 1)
    return max(round(sum(inside)), 1) if any(inside) else 0
