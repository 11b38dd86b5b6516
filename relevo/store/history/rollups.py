"""Roll-ups: hours and days of each series in blocks, and what the compactor's work on them is written with.

A row of ``rollups`` holds buckets of one series and one step, ``t0`` to before ``t1`` (milliseconds UTC), made with the
days of ``zone``; ``data`` is layout 1 (:mod:`buckets`, docs/series.md) and is not opened here. Blocks of a
series and step never reach into each other. What is stale, and how far they go, is in :mod:`stale`.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from relevo.store.db import metadata
from relevo.store.history import chunks
from relevo.store.history.chunks import Progress, Stale, Unit
from relevo.store.history.stale import HOUR, Mark, Span
from relevo.store.many import LISTED, add, json_of, listed

HOURS: Final = 3_600
DAYS: Final = 86_400
# In any zone, and when a site moves to another.
_DAY_AT_MOST: Final = 50 * HOUR

rollups = Table(
    "rollups",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("series", Integer, nullable=False),
    # Seconds: 3600 or 86400.
    Column("step", Integer, nullable=False),
    Column("t0", BigInteger, nullable=False),
    Column("t1", BigInteger, nullable=False),
    Column("n", Integer, nullable=False),
    Column("zone", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("rollups_series", "series", "step", "t0"),
)


class Block(NamedTuple):
    """What a block's row says without its bytes; ``n`` are buckets."""

    id: int
    t0: int
    t1: int
    n: int
    zone: str


class NewBlock(msgspec.Struct, array_like=True, gc=False):
    """A block to be written."""

    step: int
    t0: int
    t1: int
    n: int
    zone: str
    data: bytes


class RollUnit(msgspec.Struct, array_like=True, gc=False):
    """What happens to the roll-ups of one series in one transaction.

    It was made from the mark ``found`` and leads to ``left``. ``dropped`` are blocks, ``seen`` rows of what is stale,
    and ``remaining`` is what stays in their place. ``trimmed`` takes points out of chunks that are in roll-ups with it.
    """

    series: int
    found: Mark
    left: Mark
    blocks: list[NewBlock]
    dropped: list[int]
    seen: list[int] = []
    remaining: list[Span] = []
    trimmed: Unit | None = None

    def rows(self) -> int:
        """About how many rows are written for it; blocks are long ones."""
        trimmed = self.trimmed.rows() if self.trimmed is not None else 0
        return 2 * len(self.blocks) + len(self.dropped) + len(self.seen) + len(self.remaining) + trimmed + 1


class RollStep(msgspec.Struct, array_like=True, gc=False):
    """Units for one transaction, made while the journal was in chunks as far as ``found``."""

    found: Progress
    units: list[RollUnit]

    def rows(self) -> int:
        return sum(unit.rows() for unit in self.units)


def commit(connection: sqlite3.Connection, step: RollStep) -> None:
    """Write a step inside the open transaction. Raises :class:`Stale` when something else was written meanwhile."""
    if chunks.progress(connection) != step.found:
        raise Stale
    numbers = [unit.series for unit in step.units]
    columns = "json_array(series, rolled, raw_from, hours_from, days_from)"
    known = {one[0]: Mark(*one[1:]) for one in listed(connection, columns, "marks", "series", numbers)}
    if any(known.get(unit.series, Mark()) != unit.found for unit in step.units):
        raise Stale
    # What a device that was removed meanwhile had is swept up.
    there = set(listed(connection, "id", "series", "id", numbers))
    units = [unit for unit in step.units if unit.series in there]
    _delete(connection, "rollups", [one for unit in units for one in unit.dropped])
    add(
        connection,
        "rollups(series, step, t0, t1, n, zone, data)",
        [(unit.series, *msgspec.structs.astuple(one)) for unit in units for one in unit.blocks],
    )
    _delete(connection, "stale", [one for unit in units for one in unit.seen])
    add(connection, "stale(series, t0, t1)", [(unit.series, *span) for unit in units for span in unit.remaining])
    chunks.write(connection, [unit.trimmed for unit in units if unit.trimmed is not None])
    put_marks(connection, {unit.series: unit.left for unit in units if unit.left != unit.found})


def put_marks(connection: sqlite3.Connection, marks: dict[int, Mark]) -> None:
    """Replace the marks of these series, inside the open transaction."""
    if marks:
        connection.execute(f"DELETE FROM marks WHERE series IN {LISTED}", (json_of(list(marks)),))  # noqa: S608
        rows = [(series, *mark) for series, mark in marks.items()]
        add(connection, "marks(series, rolled, raw_from, hours_from, days_from)", rows)


def _delete(connection: sqlite3.Connection, table: str, numbers: list[int]) -> None:
    if numbers:
        connection.execute(f"DELETE FROM {table} WHERE id IN {LISTED}", (json_of(numbers),))  # noqa: S608


def blocks_of(connection: sqlite3.Connection, series: int, step: int, start: int, end: int) -> list[Block]:
    """The blocks that hold something of ``start <= ts < end``, by time."""
    rows = connection.execute(
        "SELECT id, t0, t1, n, zone FROM rollups WHERE series = ? AND step = ? AND t0 < ? AND t1 > ? ORDER BY t0",
        (series, step, end, start),
    )
    return [Block(*row) for row in rows]


def data_of(connection: sqlite3.Connection, blocks: Sequence[Block]) -> list[bytes]:
    """The bytes of blocks, in their order."""
    found: list[bytes] = []
    for one in blocks:
        row = connection.execute("SELECT data FROM rollups WHERE id = ?", (one.id,)).fetchone()
        found.append(row[0])
    return found
