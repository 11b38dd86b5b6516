"""Reading the past of one device and key, oldest first, page by page."""

import heapq
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from relevo.domain.events import TelemetryReceived

Scan = Callable[[sqlite3.Connection, str, int, int], Iterator[tuple[int, TelemetryReceived]]]


class Point(NamedTuple):
    """One stored value; ``ts`` in milliseconds UTC. Points order by time, then by arrival."""

    ts: int
    seq: int
    value: Any


class Page(NamedTuple):
    """Points of one page; ``more`` tells that others follow the last one."""

    points: list[Point]
    more: bool


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
        Point(event.ts, seq, event.values[key])
        for seq, event in scan(connection, device, start, end)
        if key in event.values and seq >= since and (after is None or (event.ts, seq) > after)
    )
    points = heapq.nsmallest(limit + 1, candidates, key=lambda point: (point.ts, point.seq))
    return Page(points[:limit], len(points) > limit)
