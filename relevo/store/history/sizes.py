"""How much of the file was in use, a row a day: what the forecast is made of."""

import sqlite3
from typing import Final

from sqlalchemy import BigInteger, Column, Table

from relevo.store.db import metadata

KEPT: Final = 400

sizes = Table(
    "sizes",
    metadata,
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),
)


def note(connection: sqlite3.Connection, at: int, used: int) -> None:
    """``used`` bytes at ``at`` (milliseconds UTC), inside the open transaction."""
    connection.execute("INSERT OR REPLACE INTO sizes(at, used) VALUES (?,?)", (at, used))
    connection.execute("DELETE FROM sizes WHERE at NOT IN (SELECT at FROM sizes ORDER BY at DESC LIMIT ?)", (KEPT,))


def noted(connection: sqlite3.Connection, most: int) -> list[tuple[int, int]]:
    """The last ``most`` of them, oldest first."""
    rows = connection.execute("SELECT at, used FROM sizes ORDER BY at DESC LIMIT ?", (most,)).fetchall()
    return rows[::-1]
