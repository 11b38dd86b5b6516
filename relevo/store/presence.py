"""What was last told about each device: there or not, and since when."""

import sqlite3
from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Connection, Table, Text, delete, select

from relevo.domain.events import PresenceChanged
from relevo.store.db import metadata

presence = Table(
    "presence",
    metadata,
    Column("device", Text, primary_key=True),
    Column("online", Boolean, nullable=False),
    Column("since", BigInteger, nullable=False),
)


# A fleet that comes back changes all of it, so not through SQLAlchemy.
_KEEP: Final = "INSERT OR REPLACE INTO presence (device, online, since) VALUES (?,?,?)"


def keep(connection: sqlite3.Connection, events: list[PresenceChanged]) -> None:
    """Write the newest of each device, inside the open transaction."""
    newest = {event.device: (event.device, event.online, event.since) for event in events}
    connection.executemany(_KEEP, list(newest.values()))


def forget(core: Connection, device: str) -> None:
    core.execute(delete(presence).where(presence.c.device == device))


def load(core: Connection) -> dict[str, tuple[bool, int]]:
    """``{device: (online, since)}``."""
    return {row.device: (row.online, row.since) for row in core.execute(select(presence))}
