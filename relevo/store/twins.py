"""What each device is to be and what it says that it is: one row a device, only written when one of both changed."""

import sqlite3
from collections.abc import Iterable
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Table, Text, delete

from relevo.domain.twins import Report, Twin, TwinEvent, Wish, apply
from relevo.store.db import metadata

twins = Table(
    "twins",
    metadata,
    Column("device", Text, primary_key=True),
    Column("desired_version", BigInteger, nullable=False),
    Column("reported_version", BigInteger, nullable=False),
    # {key: [value, at, by, version, state, since]} and {key: [value, at, by, version]} as JSON.
    Column("desired", Text, nullable=False),
    Column("reported", Text, nullable=False),
)

# A fleet that comes back may report all of it, so not through SQLAlchemy.
_ONE: Final = "SELECT desired, reported, desired_version, reported_version FROM twins WHERE device = ?"
_ALL: Final = "SELECT device, desired, reported, desired_version, reported_version FROM twins"
_KEEP: Final = (
    "INSERT OR REPLACE INTO twins (device, desired, reported, desired_version, reported_version) VALUES (?,?,?,?,?)"
)
_encode: Final = msgspec.json.Encoder().encode
_wishes: Final = msgspec.json.Decoder(dict[str, Wish]).decode
_reports: Final = msgspec.json.Decoder(dict[str, Report]).decode


def follow(connection: sqlite3.Connection, events: Iterable[TwinEvent]) -> None:
    """Write what ``events`` did, inside the open transaction; each device once."""
    moved: dict[str, Twin] = {}
    for event in events:
        twin = moved.get(event.device)
        if twin is None:
            row = connection.execute(_ONE, (event.device,)).fetchone()
            twin = moved[event.device] = _of_row(*row) if row is not None else Twin()
        apply(twin, event)
    connection.executemany(
        _KEEP,
        [
            (
                device,
                _encode(twin.desired).decode(),
                _encode(twin.reported).decode(),
                twin.desired_version,
                twin.reported_version,
            )
            for device, twin in moved.items()
        ],
    )


def forget(core: Connection, device: str) -> None:
    core.execute(delete(twins).where(twins.c.device == device))


def load(connection: sqlite3.Connection) -> dict[str, Twin]:
    """Every device's twin; devices that neither desire nor report anything have none."""
    return {device: _of_row(*rest) for device, *rest in connection.execute(_ALL)}


def _of_row(desired: str, reported: str, desired_version: int, reported_version: int) -> Twin:
    return Twin(_wishes(desired), _reports(reported), desired_version, reported_version)
