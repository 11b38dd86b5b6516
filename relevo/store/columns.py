"""Points of chunks as arrays, and the buckets of them."""

import sqlite3
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np

from relevo.store import chunks
from relevo.store.buckets import EVERYTHING, Buckets, Column, column, none, of_points, on_grid, together
from relevo.store.compaction import opened
from relevo.store.grids import grid
from relevo.store.packing import Ints


def parts(connection: sqlite3.Connection, series: int, start: int, end: int) -> Iterator[tuple[Ints, Column]]:
    """Times and values with ``start <= ts < end``, chunk by chunk."""
    rows = connection.execute(
        "SELECT times.data, chunks.data FROM chunks JOIN times ON times.id = chunks.times "
        "WHERE series = ? AND t0 >= ? AND t0 < ? AND t1 >= ? ORDER BY t0, seq",
        (series, chunks.first_start(connection, series, start), end, start),
    )
    for of_times, data in rows:
        times, values = opened(of_times, data)
        low, high = np.searchsorted(times.ts, (start, end))
        if low < high:
            yield times.ts[low:high], column(values)[low:high]


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
