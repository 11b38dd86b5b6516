"""Points of a chunk as a page wants them."""

from collections.abc import Callable

import numpy as np

from relevo.store.history.compaction import opened
from relevo.store.history.layout import Times, Values, plain
from relevo.store.history.series import Point


def open_points(times_data: bytes, data: bytes, start: int, end: int, after: tuple[int, int] | None) -> list[Point]:
    """Points with ``start <= ts < end`` behind ``after``. Raises :class:`relevo.errors.Damaged`."""
    part, times, values = opened_part(times_data, data, start, end, after)
    kinds = times.quality[part].tolist()
    return list(map(Point, times.ts[part].tolist(), times.seq[part].tolist(), plain(values[part]), kinds))


def opened_part(
    times_data: bytes,
    data: bytes,
    start: int,
    end: int,
    after: tuple[int, int] | None,
    open_: Callable[[bytes, bytes], tuple[Times, Values]] = opened,
) -> tuple[slice, Times, Values]:
    """Where in a chunk these points are, its times and its values. Raises :class:`relevo.errors.Damaged`."""
    times, values = open_(times_data, data)
    low, high = np.searchsorted(times.ts, (start, end))
    if after is not None and low < high and int(times.ts[low]) == after[0]:
        # What comes behind a position in the same millisecond; everything else does anyway.
        same = int(np.searchsorted(times.ts, after[0], "right"))
        low += int(np.searchsorted(times.seq[low:same], after[1], "right"))
    return slice(int(low), int(high)), times, values
