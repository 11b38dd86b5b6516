"""Points of chunks as arrays, and the buckets of them."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Final
from zoneinfo import ZoneInfo

from relevo.store.history.buckets import EVERYTHING, Buckets, Column, column, none, of_points, on_grid, together
from relevo.store.history.compaction import opened
from relevo.store.history.grids import grid
from relevo.store.history.packing import Ints

# Chunks of a series with something of ``?3 <= ts < ?2``, see :func:`chunks.first_start`.
SPANNED: Final = (
    "series = ?1 AND t0 < ?2 AND t1 >= ?3 AND t0 >= "
    "coalesce((SELECT t0 FROM chunks WHERE series = ?1 AND t0 < ?3 ORDER BY t0 DESC LIMIT 1), ?3)"
)
_PARTS: Final = (
    f"SELECT times.data, chunks.data FROM chunks JOIN times ON times.id = chunks.times WHERE {SPANNED} "  # noqa: S608
    "ORDER BY t0, seq"
)
# Times and values of a chunk, from the bytes of its times and values.
Open = Callable[[bytes, bytes], tuple[Ints, Column]]


def open_chunk(of_times: bytes, data: bytes) -> tuple[Ints, Column]:
    """Raises :class:`relevo.errors.Damaged`."""
    times, values = opened(of_times, data)
    return times.ts, column(values)


def parts(
    connection: sqlite3.Connection, series: int, start: int, end: int, open_: Open = open_chunk
) -> Iterator[tuple[Ints, Column]]:
    """Times and values with ``start <= ts < end``, chunk by chunk."""
    for of_times, data in connection.execute(_PARTS, (series, end, start)):
        ts, values = open_(of_times, data)
        low, high = ts.searchsorted((start, end)).tolist()
        if low < high:
            yield ts[low:high], values[low:high]


def rolled(
    connection: sqlite3.Connection,
    series: int,
    zone: ZoneInfo,
    step: int,
    start: int,
    end: int,
    wanted: frozenset[str] = EVERYTHING,
) -> Buckets:
    """Hours or days made of a span of chunks, in little memory however long it is."""
    of_span = grid(zone, step, start, end)
    found = [on_grid(of_points(ts, values, wanted), of_span) for ts, values in parts(connection, series, start, end)]
    # An hour may begin in one chunk and end in the next.
    return on_grid(together(found), of_span) if found else none(wanted)
