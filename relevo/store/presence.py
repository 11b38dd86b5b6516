"""What was last told about each device: there or not, and since when."""

from sqlalchemy import BigInteger, Boolean, Column, Connection, Table, Text, delete, insert, select

from relevo.domain.events import PresenceChanged
from relevo.store.db import metadata

presence = Table(
    "presence",
    metadata,
    Column("device", Text, primary_key=True),
    Column("online", Boolean, nullable=False),
    Column("since", BigInteger, nullable=False),
)


def keep(core: Connection, events: list[PresenceChanged]) -> None:
    """Write the newest of each device, inside the open transaction."""
    newest = {event.device: event for event in events}
    core.execute(delete(presence).where(presence.c.device.in_(newest)))
    core.execute(
        insert(presence),
        [{"device": one.device, "online": one.online, "since": one.since} for one in newest.values()],
    )


def forget(core: Connection, device: str) -> None:
    core.execute(delete(presence).where(presence.c.device == device))


def load(core: Connection) -> dict[str, tuple[bool, int]]:
    """``{device: (online, since)}``."""
    return {row.device: (row.online, row.since) for row in core.execute(select(presence))}
