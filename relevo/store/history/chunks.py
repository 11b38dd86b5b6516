"""Where points stay: a row for about a thousand points of one series, and what the compactor's work is written with.

A *series* is a device's number and a key. A *chunk* holds its points from ``t0`` to ``t1`` (milliseconds UTC); keys of
a device mostly come in the same message, so their chunks share one row of ``times``, which counts how many use it. The
bytes are layout 1 (:mod:`layout`, docs/series.md) and are not opened here: the server has no need of the
libraries that do.

Chunks of a series follow each other by (``t0``, ``seq``). They never reach into each other, but a chunk may begin with
the millisecond that the one before ends with.

``compaction`` is one row: the events with numbers up to ``low`` are in chunks, and those up to ``high`` are for devices
with numbers up to ``through``. It moves in the transaction that holds the chunks, so each point is in the journal's
tail or in a chunk, and never in both.

An *erasure* hides the points of a span that arrived before it, in the tail and in chunks, until the compactor has taken
them out. The writer adds it in the transaction of its event; that is all that erasing years of readings costs it.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from relevo.store.db import metadata
from relevo.store.many import LISTED, add, json_of, last, listed

# A chunk with so many points grows no more.
FULL: Final = 1_000
# Numbers of chunks and rows of times that are full; those of others are smaller.
_FULL_FROM: Final = 2**40

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("device", Integer, nullable=False),
    Column("key", Text, nullable=False),
    UniqueConstraint("device", "key", name="uq_series"),
)
times = Table(
    "times",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("used", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
chunks = Table(
    "chunks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("series", Integer, nullable=False),
    Column("t0", BigInteger, nullable=False),
    # The arrival number of the first point, 0 when it is alone at its millisecond.
    Column("seq", BigInteger, nullable=False),
    Column("t1", BigInteger, nullable=False),
    Column("n", Integer, nullable=False),
    Column("times", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("chunks_series", "series", "t0"),
)
erasures = Table(
    "erasures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("device", Integer, nullable=False),
    # Empty for all keys.
    Column("key", Text, nullable=False),
    Column("t0", BigInteger, nullable=False),
    Column("t1", BigInteger, nullable=False),
    # What has a smaller arrival number is hidden.
    Column("seq", BigInteger, nullable=False),
    Index("erasures_device", "device"),
)
compaction = Table(
    "compaction",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("low", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Column("through", Integer, nullable=False),
)


# Bytes of an ordinary row.
_ROW: Final = 1_024


class Progress(NamedTuple):
    """How far the journal is in chunks, see the module's text."""

    low: int = 0
    high: int = 0
    through: int = 0

    def mark(self, device: int) -> int:
        """Readings of the device with this number that have greater numbers than the answer are not in chunks."""
        return self.high if device <= self.through else self.low


class Erasure(NamedTuple):
    """Points with ``t0 <= ts < t1`` that arrived before the event ``seq`` are hidden."""

    id: int
    key: str
    t0: int
    t1: int
    seq: int

    def concerns(self, key: str) -> bool:
        """Whether points of ``key`` are meant."""
        return self.key in ("", key)

    def covers(self, ts: int) -> bool:
        """Whether a point at ``ts`` is hidden that arrived before, as all that is in chunks did."""
        return self.t0 <= ts < self.t1

    def hides(self, ts: int, seq: int) -> bool:
        """Whether the point at ``ts`` with arrival number ``seq`` is hidden."""
        return self.t0 <= ts < self.t1 and seq < self.seq


class NewChunk(msgspec.Struct, array_like=True, gc=False):
    """A chunk to be written; ``key`` and ``times`` are places in the lists of its unit."""

    key: int
    t0: int
    seq: int
    t1: int
    n: int
    times: int
    data: bytes


class Unit(msgspec.Struct, array_like=True, gc=False):
    """What happens to one device in one transaction.

    ``dropped`` are chunks with their rows of times, ``erased`` erasures that are carried out by this. ``marks`` says
    that the device's part of the journal range is in chunks with it. ``added`` are spans that hold all points which are
    new, ``taken`` those out of which ``erased`` took points, each with the place of its key. ``freed`` are the bytes of
    what is dropped.
    """

    device: int
    keys: list[str]
    times: list[bytes]
    chunks: list[NewChunk]
    dropped: list[tuple[int, int]]
    erased: list[int]
    marks: bool
    added: list[tuple[int, int, int]] = []
    taken: list[tuple[int, int, int]] = []
    freed: int = 0

    def rows(self) -> int:
        """About how many rows are written for it; a long one counts for several."""
        size = sum(len(one.data) for one in self.chunks) + self.freed
        return len(self.times) + len(self.chunks) + 2 * len(self.dropped) + len(self.erased) + size // _ROW


class Step(msgspec.Struct, array_like=True, gc=False):
    """Units for one transaction: they were made from ``found`` and lead to ``left``."""

    found: Progress
    left: Progress
    units: list[Unit]
    points: int = 0

    def rows(self) -> int:
        return sum(unit.rows() for unit in self.units) + 1


class Stale(Exception):
    """A step was made from a progress that is not the present one; nothing of it was written."""


def progress(connection: sqlite3.Connection) -> Progress:
    row = connection.execute("SELECT low, high, through FROM compaction WHERE id = 1").fetchone()
    return Progress(*row) if row else Progress()


def number_of(connection: sqlite3.Connection, device: str, since: int) -> int | None:
    """The number of the device that the event ``since`` registered; none when that is gone."""
    row = connection.execute(
        "SELECT number FROM devices WHERE id = ? AND registered_seq = ?", (device, since)
    ).fetchone()
    return int(row[0]) if row else None


def erasures_of(connection: sqlite3.Connection, device: int) -> list[Erasure]:
    """What is hidden of the device with this number and not taken out yet."""
    rows = connection.execute("SELECT id, key, t0, t1, seq FROM erasures WHERE device = ? ORDER BY id", (device,))
    return [Erasure(*row) for row in rows]


def erasures_of_many(connection: sqlite3.Connection, devices: Sequence[int]) -> dict[int, list[Erasure]]:
    """The same of many devices, those that have any."""
    found: dict[int, list[Erasure]] = {}
    text = f"SELECT device, id, key, t0, t1, seq FROM erasures WHERE device IN {LISTED} ORDER BY id"  # noqa: S608
    for device, *row in connection.execute(text, (json_of(list(devices)),)):
        found.setdefault(device, []).append(Erasure(*row))
    return found


def erase(connection: sqlite3.Connection, device: int, key: str, t0: int, t1: int, seq: int) -> None:
    """Hide what arrived before ``seq``, inside the open transaction; ``key`` empty for all keys."""
    connection.execute("INSERT INTO erasures(device, key, t0, t1, seq) VALUES (?,?,?,?,?)", (device, key, t0, t1, seq))


def commit(connection: sqlite3.Connection, step: Step) -> None:
    """Write a step inside the open transaction. Raises :class:`Stale` when something else was written meanwhile.

    In few statements of many rows each: with every row of a statement SQLite gives the interpreter's lock away, and
    beside a busy event loop it takes milliseconds to get it back.
    """
    if progress(connection) != step.found:
        raise Stale
    write(connection, step.units)
    if step.left != step.found:
        connection.execute("INSERT OR REPLACE INTO compaction(id, low, high, through) VALUES (1,?,?,?)", step.left)


def write(connection: sqlite3.Connection, units: Sequence[Unit]) -> None:
    """Write units inside the open transaction."""
    writing = [unit for unit in units if unit.chunks]
    # One that was removed since leaves nothing behind; what it has in chunks is swept up (sweep).
    there = set(listed(connection, "number", "devices", "number", [unit.device for unit in writing]))
    dropped = [one for unit in units for one in unit.dropped]
    drop(connection, dropped)
    _insert(connection, [unit for unit in writing if unit.device in there], dropped)
    _touch(connection, units)
    if erased := [one for unit in units for one in unit.erased]:
        connection.execute(f"DELETE FROM erasures WHERE id IN {LISTED}", (json_of(erased),))  # noqa: S608


def _insert(connection: sqlite3.Connection, units: Sequence[Unit], dropped: Sequence[tuple[int, int]]) -> None:
    numbers = _numbers(connection, units)
    ids = _Ids(connection, "chunks", [chunk for chunk, _ in dropped])
    rows = _Ids(connection, "times", [row for _, row in dropped])
    times: list[tuple[int, int, bytes]] = []
    made: list[tuple[int, int, int, int, int, int, int, bytes]] = []
    for unit in units:
        uses = [0] * len(unit.times)
        full = [True] * len(unit.times)
        for one in unit.chunks:
            uses[one.times] += 1
            full[one.times] &= one.n >= FULL
        of_times = [rows.next(one) for one in full]
        times += zip(of_times, uses, unit.times, strict=True)
        for one in unit.chunks:
            number = numbers[unit.device, unit.keys[one.key]]
            row = of_times[one.times]
            made.append((ids.next(one.n >= FULL), number, one.t0, one.seq, one.t1, one.n, row, one.data))
    # Rows that come in the order of their numbers fill their pages.
    add(connection, "times(id, used, data)", sorted(times))
    add(connection, "chunks(id, series, t0, seq, t1, n, times, data)", sorted(made))


class _Ids:
    """Numbers for new rows. A chunk that still grows is soon written anew; full ones mostly stay for ever. Apart from
    each other, and with the numbers of the former taken again, pages of full chunks have no holes."""

    def __init__(self, connection: sqlite3.Connection, table: str, free: Sequence[int]) -> None:
        bounds = connection.execute(
            f"SELECT (SELECT max(id) FROM {table}), (SELECT max(id) FROM {table} WHERE id < {_FULL_FROM})"  # noqa: S608
        ).fetchone()
        self._full = max(bounds[0] or 0, _FULL_FROM - 1)
        mine = {one for one in free if one < _FULL_FROM}
        self._growing = max(bounds[1] or 0, *mine, 0)
        if mine:
            # A row of times may be in use by other chunks still.
            mine -= set(listed(connection, "id", table, "id", list(mine)))
        self._free = sorted(mine, reverse=True)

    def next(self, full: bool) -> int:
        if full:
            self._full += 1
            return self._full
        if self._free:
            return self._free.pop()
        self._growing += 1
        return self._growing


def _numbers(connection: sqlite3.Connection, units: Sequence[Unit]) -> dict[tuple[int, str], int]:
    """The series of ``units`` by device and key; those that are not there yet begin to be."""
    found = listed(connection, "json_array(id, device, key)", "series", "device", [unit.device for unit in units])
    numbers = {(device, key): number for number, device, key in found}
    number = last(connection, "series")
    added: list[tuple[int, int, str]] = []
    for unit in units:
        for key in unit.keys:
            if (unit.device, key) not in numbers:
                number += 1
                numbers[unit.device, key] = number
                added.append((number, unit.device, key))
    add(connection, "series(id, device, key)", added)
    return numbers


def _touch(connection: sqlite3.Connection, units: Sequence[Unit]) -> None:
    """Tell the roll-ups what changed under them: spans before what of a series is in them become stale."""
    touching = [unit for unit in units if unit.added or unit.taken]
    if not touching:
        return
    found = listed(
        connection,
        "json_array(id, device, key, rolled, raw_from)",
        "series JOIN marks ON marks.series = series.id",
        "device",
        [unit.device for unit in touching],
    )
    known = {(device, key): (number, rolled, raw_from) for number, device, key, rolled, raw_from in found}
    spans: list[tuple[int, int, int]] = []
    for unit in touching:
        # Points from before ``raw_from`` make nothing stale: they are added to what there is.
        for least, touched in ((True, unit.added), (False, unit.taken)):
            for place, t0, t1 in touched:
                number, rolled, raw_from = known.get((unit.device, unit.keys[place]), (0, 0, 0))
                begin, end = max(t0, raw_from) if least else t0, min(t1, rolled)
                if begin < end:
                    spans.append((number, begin, end))
    add(connection, "stale(series, t0, t1)", spans)


def drop(connection: sqlite3.Connection, dropped: Sequence[tuple[int, int]]) -> None:
    """Delete chunks, given with their rows of times, and those of these rows that nothing uses any more."""
    if not dropped:
        return
    connection.execute(f"DELETE FROM chunks WHERE id IN {LISTED}", (json_of([one for one, _ in dropped]),))  # noqa: S608
    used: dict[int, int] = {}
    for _, row in dropped:
        used[row] = used.get(row, 0) + 1
    connection.execute(
        "UPDATE times SET used = used - gone.value ->> 1 FROM json_each(?) AS gone WHERE times.id = gone.value ->> 0",
        (json_of(list(used.items())),),
    )
    connection.execute(f"DELETE FROM times WHERE id IN {LISTED} AND used <= 0", (json_of(list(used)),))  # noqa: S608


def sweep(connection: sqlite3.Connection, most: int) -> bool:
    """Delete up to ``most`` chunks of devices that are gone, inside the open transaction; False when there is nothing.

    Nobody can see them: a device's number is never given to another.
    """
    gone = connection.execute(
        "SELECT id FROM series WHERE device NOT IN (SELECT number FROM devices) LIMIT 1"
    ).fetchone()
    if gone is None:
        return False
    rows = connection.execute("SELECT id, times FROM chunks WHERE series = ? LIMIT ?", (gone[0], most)).fetchall()
    drop(connection, rows)
    if len(rows) < most:
        for table in ("rollups", "stale", "marks"):
            connection.execute(f"DELETE FROM {table} WHERE series = ?", gone)  # noqa: S608
        connection.execute("DELETE FROM series WHERE id = ?", gone)
    return True


def forget(connection: sqlite3.Connection, device: int) -> None:
    """Drop what is to be erased of a device that is removed, inside the open transaction."""
    connection.execute("DELETE FROM erasures WHERE device = ?", (device,))


class Head(NamedTuple):
    """What a chunk's row says without its bytes."""

    id: int
    t0: int
    seq: int
    t1: int
    n: int
    times: int
    size: int


HEAD: Final = "id, t0, seq, t1, n, times, length(data)"


def series_of(connection: sqlite3.Connection, device: int) -> dict[str, int]:
    """The series of a device by key."""
    return {key: number for number, key in connection.execute("SELECT id, key FROM series WHERE device = ?", (device,))}


def first_start(connection: sqlite3.Connection, number: int, ts: int, before: int = 0) -> int:
    """The ``t0`` from which chunks of a series have to be looked at to find all points at ``ts`` and later.

    With ``before``, so many chunks earlier.
    """
    row = connection.execute(
        "SELECT t0 FROM chunks WHERE series = ? AND t0 < ? ORDER BY t0 DESC LIMIT 1 OFFSET ?", (number, ts, before)
    ).fetchone()
    if row is None and before:
        row = connection.execute("SELECT min(t0) FROM chunks WHERE series = ?", (number,)).fetchone()
    return min(int(row[0]), ts) if row and row[0] is not None else ts
