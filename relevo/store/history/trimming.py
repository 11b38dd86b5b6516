"""Taking readings out of the journal when they are in chunks and nobody follows them there any more.

What is not a reading stays where it is: rows that hold both are written anew without their readings, with the same
numbers. ``trims`` is one row: readings with numbers up to ``through`` are not in the journal. It moves in the
transaction that deletes them.
"""

import sqlite3
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Integer, Table

from relevo.store import journal
from relevo.store.db import metadata
from relevo.store.history.chunks import Stale

trims = Table(
    "trims",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("through", BigInteger, nullable=False),
)

_IN: Final = "seq > ? AND seq <= ? AND t0 IS NOT NULL"


class Trim(msgspec.Struct, array_like=True, gc=False):
    """Rows whose readings go: those behind ``begin`` up to ``end``; ``kept`` are what is left of some, by number."""

    begin: int
    end: int
    rows: int
    kept: list[tuple[int, bytes]]


def trimmed(connection: sqlite3.Connection) -> int:
    """The number up to which readings are not in the journal any more."""
    row = connection.execute("SELECT through FROM trims WHERE id = 1").fetchone()
    return int(row[0]) if row else 0


def standing(connection: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Up to which number readings are gone, and up to which rows were committed before ``before`` (milliseconds
    UTC)."""
    return trimmed(connection), journal.first_at(connection, before) - 1


def next_trim(connection: sqlite3.Connection, through: int, rows: int) -> Trim | None:
    """The next ``rows`` rows with readings, none of them with a number greater than ``through``; nothing when there are
    none. Opens them, so it is for a process of its own."""
    begin = end = trimmed(connection)
    kept: list[tuple[int, bytes]] = []
    count = 0
    for seq, n, data in connection.execute(
        f"SELECT seq, n, data FROM journal WHERE {_IN} ORDER BY seq LIMIT ?",  # noqa: S608
        (begin, through, rows),
    ):
        if seq + n - 1 > through:
            break
        end = seq + n - 1
        count += 1
        rest = journal.without_readings(data)
        if rest is not None:
            kept.append((seq, rest))
    return Trim(begin, end, count, kept) if count else None


def commit(connection: sqlite3.Connection, trim: Trim) -> None:
    """Take them out, inside the open transaction. Raises :class:`Stale`."""
    if trimmed(connection) != trim.begin:
        raise Stale
    for seq, data in trim.kept:
        connection.execute("UPDATE journal SET t0 = NULL, t1 = NULL, data = ? WHERE seq = ?", (data, seq))
    connection.execute(f"DELETE FROM journal WHERE {_IN}", (trim.begin, trim.end))  # noqa: S608
    connection.execute("INSERT OR REPLACE INTO trims(id, through) VALUES (1,?)", (trim.end,))


def expire(connection: sqlite3.Connection, before: int, rows: int) -> int:
    """Delete up to ``rows`` rows that hold no readings any more and were committed before ``before`` (milliseconds
    UTC), inside the open transaction; how many there were."""
    return connection.execute(
        "DELETE FROM journal WHERE seq IN (SELECT seq FROM journal WHERE seq < ? AND t0 IS NULL ORDER BY seq LIMIT ?)",
        (journal.first_at(connection, before), rows),
    ).rowcount


class Space(msgspec.Struct):
    """Of the database's file, in bytes: all of it, what of it holds nothing, and a page."""

    size: int
    free: int
    page: int


def space(connection: sqlite3.Connection) -> Space:
    page, pages, free = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return Space(page * pages, page * free, page)


def give_back(connection: sqlite3.Connection, pages: int) -> None:
    """Move the last pages of the file into free ones and make it shorter by them."""
    connection.execute(f"PRAGMA incremental_vacuum({pages:d})").fetchall()
