"""The registry's table and its projection from events."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)

from relevo.domain.devices import CHANGEABLE, LEARNED, Device, patched
from relevo.domain.events import DeviceChanged, DeviceRegistered, DeviceRemoved
from relevo.store.db import metadata
from relevo.store.latest import latest

devices = Table(
    "devices",
    metadata,
    # A number of our own keys the hot tables: short, and never used again for another device.
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("contract", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    # Readings with a smaller number belong to an earlier device of the same id.
    Column("registered_seq", BigInteger, nullable=False, server_default="0"),
    Column("key_hash", Text, nullable=False, server_default=""),
    Column("tags", JSON, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("owner", Text, nullable=False, server_default=""),
    Column("site", Text, nullable=False, server_default=""),
    UniqueConstraint("contract", "external_id", name="uq_devices_identity"),
    sqlite_autoincrement=True,
)


def load_all(core: Connection) -> tuple[list[Device], dict[str, int]]:
    """All devices, and the number of each by id."""
    found: list[Device] = []
    numbers: dict[str, int] = {}
    for row in core.execute(select(devices)):
        numbers[row.id] = row.number
        found.append(
            Device(
                row.id,
                row.contract,
                row.external_id,
                row.name,
                row.type,
                row.registered_at,
                row.key_hash,
                row.tags,
                row.attributes,
                row.registered_seq,
                row.owner,
                row.site,
            )
        )
    return found, numbers


def register(core: Connection, event: DeviceRegistered, seq: int) -> int:
    """Insert the device, whose event has the number ``seq``, and return its number."""
    result = core.execute(
        insert(devices).values(
            id=event.device,
            contract=event.contract,
            external_id=event.external_id,
            name=event.name,
            type=event.type,
            registered_at=event.at,
            registered_seq=seq,
            key_hash=event.key_hash,
            owner=event.owner,
            site=event.site,
            tags=event.tags,
            attributes=event.attributes,
        )
    )
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def change(core: Connection, event: DeviceChanged) -> None:
    values: dict[str, Any] = {name: value for name, value in event.changes.items() if name in CHANGEABLE}
    if LEARNED in event.changes:
        known = core.execute(select(devices.c.attributes).where(devices.c.id == event.device)).scalar()
        values["attributes"] = patched(known or {}, event.changes[LEARNED])
    if values:
        core.execute(update(devices).where(devices.c.id == event.device).values(**values))


def remove(core: Connection, event: DeviceRemoved, number: int) -> None:
    """Take the device and its latest values out; its past stays in the journal."""
    core.execute(delete(latest).where(latest.c.device == number))
    core.execute(delete(devices).where(devices.c.id == event.device))
