"""Reading the past of one device and key, oldest first, page by page: chunks and the journal's tail as one.

Chunks are opened by whoever may load the libraries for it (:mod:`worker`); the server itself reads what is
in the tail alone and is told when that is not enough (:class:`ChunksNeeded`).
"""

import heapq
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from relevo.domain.events import TelemetryReceived
from relevo.domain.quality import CORRECTED, SOURCES, quality
from relevo.store import journal
from relevo.store.history import chunks
from relevo.store.history.chunks import Erasure

_POSITION: Final = itemgetter(0, 1)
_EVER: Final = 2**62
Scan = Callable[[sqlite3.Connection, str, int, int], Iterator[tuple[int, TelemetryReceived]]]
# Readings of a device that are not in chunks, see :func:`relevo.store.journal.tail`.
TailOf = Callable[[sqlite3.Connection, str, int, int, int], Iterator[tuple[int, TelemetryReceived]]]
# Points (ts, arrival number, value) of one chunk with ``start <= ts < end`` behind a position, from the bytes of its
# times and values.
Opener = Callable[[bytes, bytes, int, int, "tuple[int, int] | None"], "list[Point]"]


class Point(NamedTuple):
    """One stored value; ``ts`` in milliseconds UTC. Points order by time, then by arrival.

    ``seq`` may be 0 for a point that has its millisecond for itself: nothing comes between. ``quality`` is see
    :mod:`relevo.domain.quality`.
    """

    ts: int
    seq: int
    value: Any
    quality: int = 0


class Page(NamedTuple):
    """Points of one page; ``more`` tells that others follow the last one."""

    points: list[Point]
    more: bool


class ChunksNeeded(Exception):
    """There are chunks in the span, and nobody here to open them. ``until`` is when the last point of one of them was
    (milliseconds UTC)."""

    def __init__(self, until: int) -> None:
        super().__init__(f"chunks until {until}")
        self.until = until


def _quality(event: TelemetryReceived) -> int:
    return CORRECTED if event.source == SOURCES[CORRECTED] else quality(event.source, event.ts, event.received)


def read_page(
    connection: sqlite3.Connection,
    scan: Scan,
    device: str,
    key: str,
    start: int,
    end: int,
    limit: int,
    after: tuple[int, int] | None = None,
    since: int = 0,
) -> Page:
    """Up to ``limit`` points of ``key`` with ``start <= ts < end`` behind the position ``after`` (ts, seq).

    What has a number below ``since`` belonged to an earlier device of the same id.
    Readings arrive out of order when a board empties its back-log, so the page is cut after ordering by time.
    """
    if after is not None:
        start = max(start, after[0])
    candidates = (
        Point(event.ts, seq, event.values[key], _quality(event))
        for seq, event in scan(connection, device, start, end)
        if key in event.values and seq >= since and (after is None or (event.ts, seq) > after)
    )
    points = heapq.nsmallest(limit + 1, candidates, key=lambda point: (point.ts, point.seq))
    return Page(points[:limit], len(points) > limit)


def read(
    connection: sqlite3.Connection,
    opener: Opener | None,
    device: str,
    key: str,
    start: int,
    end: int,
    limit: int,
    after: tuple[int, int] | None = None,
    since: int = 0,
    tail_of: TailOf = journal.tail,
) -> Page:
    """The same of everything that is stored, as it was at one moment.

    ``since`` is the number of the event that registered the device. Raises :class:`ChunksNeeded` without an ``opener``.
    """
    if after is not None:
        start = max(start, after[0])
    # One view for all statements: the compactor may move points from the tail into chunks between two.
    connection.execute("BEGIN")
    try:
        number = chunks.number_of(connection, device, since)
        if number is None:
            return Page([], False)
        hidden = [one for one in chunks.erasures_of(connection, number) if one.concerns(key)]
        found: list[Point] = []
        series = connection.execute("SELECT id FROM series WHERE device = ? AND key = ?", (number, key)).fetchone()
        if series is not None:
            found = from_chunks(connection, opener, int(series[0]), start, end, hidden, limit + 1, after)
        # Behind a full page's last point nothing of the tail is on it.
        last = found[-1].ts + 1 if len(found) > limit else end
        tail = _tail(tail_of, chunks.progress(connection).mark(number), hidden)
        rest = read_page(connection, tail, device, key, start, last, limit + 1, after, since).points
    finally:
        connection.execute("ROLLBACK")
    both = found + rest
    if found and rest and rest[0][:2] < found[-1][:2]:
        both.sort(key=_POSITION)
    return Page(both[:limit], len(both) > limit)


class Said(NamedTuple):
    """One stored value and its key; ``ts`` in milliseconds UTC."""

    ts: int
    key: str
    seq: int
    value: Any


def newest(connection: sqlite3.Connection, opener: Opener | None, device: str, most: int, since: int) -> list[Said]:
    """The ``most`` newest values of all keys of a device, the newest first; those of one time by key.

    ``since`` is the number of the event that registered the device. Raises :class:`ChunksNeeded` without an ``opener``.
    """
    connection.execute("BEGIN")
    try:
        number = chunks.number_of(connection, device, since)
        if number is None:
            return []
        hidden = chunks.erasures_of(connection, number)
        tail = journal.tail(connection, device, chunks.progress(connection).mark(number), -_EVER, _EVER)
        found = [
            Said(event.ts, key, seq, value)
            for seq, event in tail
            if seq >= since
            for key, value in event.values.items()
            if not any(one.concerns(key) and one.hides(event.ts, seq) for one in hidden)
        ]
        for key, series in chunks.series_of(connection, number).items():
            of_key = [one for one in hidden if one.concerns(key)]
            found += [
                Said(ts, key, seq, value) for ts, seq, value, _ in _last(connection, opener, series, of_key, most)
            ]
    finally:
        connection.execute("ROLLBACK")
    return heapq.nlargest(most, found, key=itemgetter(0, 1, 2))


def _last(
    connection: sqlite3.Connection, opener: Opener | None, series: int, hidden: Sequence[Erasure], most: int
) -> list[Point]:
    """The last points in chunks of a series, at least ``most`` where there are as many."""
    found: list[Point] = []
    for times, data, until in connection.execute(
        "SELECT times.data, chunks.data, t1 FROM chunks JOIN times ON times.id = chunks.times WHERE series = ? "
        "ORDER BY t0 DESC, seq DESC",
        (series,),
    ):
        if opener is None:
            raise ChunksNeeded(until)
        points = opener(times, data, -_EVER, _EVER, None)
        found += [point for point in points if not any(one.covers(point.ts) for one in hidden)]
        if len(found) >= most:
            break
    return found


def from_chunks(
    connection: sqlite3.Connection,
    opener: Opener | None,
    series: int,
    start: int,
    end: int,
    hidden: Sequence[Erasure],
    most: int = _EVER,
    after: tuple[int, int] | None = None,
) -> list[Point]:
    """Points of a series with ``start <= ts < end``, behind ``after``, that are in chunks and not ``hidden``.

    Raises :class:`ChunksNeeded` where there are chunks and no ``opener``.
    """
    rows = connection.execute(
        "SELECT times.data, chunks.data, t1 FROM chunks JOIN times ON times.id = chunks.times "
        "WHERE series = ? AND t0 >= ? AND t0 < ? AND t1 >= ? ORDER BY t0, seq",
        (series, chunks.first_start(connection, series, start), end, start),
    )
    found: list[Point] = []
    for times, data, until in rows:
        if opener is None:
            raise ChunksNeeded(until)
        points = opener(times, data, start, end, after)
        # What is hidden is so whenever it arrived: all that is in chunks did before.
        for one in hidden:
            points = [point for point in points if not one.covers(point.ts)]
        found += points
        if len(found) >= most:
            break
    return found[:most]


def _tail(tail_of: TailOf, mark: int, hidden: Sequence[Erasure]) -> Scan:
    def scan(
        connection: sqlite3.Connection, device: str, start: int, end: int
    ) -> Iterator[tuple[int, TelemetryReceived]]:
        for seq, event in tail_of(connection, device, mark, start, end):
            if not any(one.hides(event.ts, seq) for one in hidden):
                yield seq, event

    return scan
