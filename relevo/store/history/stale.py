"""How far roll-ups go, and what of them does not hold any more: written with every change of chunks.

``marks`` has a row for each series that has roll-ups: closed hours before ``rolled`` are in them. Points before
``raw_from`` are in roll-ups alone, hours before ``hours_from`` in days alone, and nothing is kept from before
``days_from``. A row of ``stale`` is a span of one series whose roll-ups have to be made anew, from chunks; before
``raw_from`` there is nothing to make them from, and what is stale there is gone.
"""

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Column, Index, Integer, Table

from relevo.store.db import metadata

HOUR: Final = 3_600_000

marks = Table(
    "marks",
    metadata,
    Column("series", Integer, primary_key=True, autoincrement=False),
    Column("rolled", BigInteger, nullable=False),
    Column("raw_from", BigInteger, nullable=False, server_default="0"),
    Column("hours_from", BigInteger, nullable=False, server_default="0"),
    Column("days_from", BigInteger, nullable=False, server_default="0"),
)
stale = Table(
    "stale",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("series", Integer, nullable=False),
    Column("t0", BigInteger, nullable=False),
    Column("t1", BigInteger, nullable=False),
    Index("stale_series", "series"),
)

Span = tuple[int, int]


class Mark(NamedTuple):
    """How far the roll-ups of a series go, and from where on each kind of data is kept (milliseconds UTC)."""

    rolled: int = 0
    raw_from: int = 0
    hours_from: int = 0
    days_from: int = 0


def mark_of(connection: sqlite3.Connection, series: int) -> Mark:
    row = connection.execute(
        "SELECT rolled, raw_from, hours_from, days_from FROM marks WHERE series = ?", (series,)
    ).fetchone()
    return Mark(*row) if row else Mark()


def stale_of(connection: sqlite3.Connection, series: int) -> list[tuple[int, int, int]]:
    """Number, begin and end of what is stale of a series, by time."""
    return connection.execute("SELECT id, t0, t1 FROM stale WHERE series = ? ORDER BY t0, t1", (series,)).fetchall()


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same in order, those that touch as one."""
    found: list[Span] = []
    for t0, t1 in sorted(span for span in spans if span[0] < span[1]):
        if found and t0 <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], t1))
        else:
            found.append((t0, t1))
    return found
