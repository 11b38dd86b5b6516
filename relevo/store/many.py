"""Statements of many rows.

With every row of a statement SQLite gives the interpreter's lock away, and beside a busy event loop it takes
milliseconds to get it back: what is one statement for many rows costs that once.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

LISTED: Final = "(SELECT value FROM json_each(?))"
# Statements for so many rows are kept prepared.
_TOGETHER: Final = (100, 10, 1)


def json_of(of: Sequence[object]) -> str:
    return msgspec.json.encode(of).decode()


def listed(connection: sqlite3.Connection, what: str, table: str, column: str, of: Sequence[int]) -> list[Any]:
    """``what`` of the rows of ``table`` whose ``column`` is one of some numbers."""
    text = f"SELECT json_group_array({what}) FROM {table} WHERE {column} IN {LISTED}"  # noqa: S608
    return list(msgspec.json.decode(connection.execute(text, (json_of(of),)).fetchone()[0]))


def last(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] or 0)  # noqa: S608


def add(connection: sqlite3.Connection, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many with a statement."""
    at = 0
    for together in _TOGETHER:
        while len(rows) - at >= together:
            part = rows[at : at + together]
            one = f"({','.join('?' * len(part[0]))})"
            text = f"INSERT INTO {columns} VALUES {','.join([one] * together)}"  # noqa: S608
            connection.execute(text, [value for row in part for value in row])
            at += together
