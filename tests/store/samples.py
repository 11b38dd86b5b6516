"""Events as the store gets them, short to write."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from relevo.domain.events import (
    AnyEvent,
    DeviceRegistered,
    DeviceRemoved,
    Refused,
    TelemetryReceived,
    UnclaimedSeen,
)
from relevo.store.db import core_on, open_writer
from relevo.store.writer import Batch, Writer

NOW = 1_767_225_600_000


def registered(device: str, contract: str = "native", external_id: str = "") -> DeviceRegistered:
    return DeviceRegistered(device, contract, external_id or device, f"Name of {device}", "test", NOW)


def removed(device: str) -> DeviceRemoved:
    return DeviceRemoved(device, NOW)


def reading(
    device: str,
    values: dict[str, Any] | None = None,
    *,
    ts: int = NOW,
    received: int = NOW,
    boot: int | None = None,
    seq: int | None = None,
) -> TelemetryReceived:
    return TelemetryReceived(device, ts, "device", received, values or {"v": 1}, boot, seq)


def refused(device: str, reason: str = "json_malformed", at: int = NOW, count: int = 1) -> Refused:
    return Refused(device, at, "mqtt", reason, f"detail of {reason}", "127.0.0.1", count)


def stranger(external_id: str, at: int = NOW, contract: str = "hidrometro", count: int = 1) -> UnclaimedSeen:
    return UnclaimedSeen(contract, external_id, at, "unclaimed", "127.0.0.1", {"v": 1}, count)


def commit(writer: Writer, *events: AnyEvent) -> Batch:
    batch = Batch(list(events))
    writer.write(batch, NOW)
    return batch


@contextmanager
def core_of(path: Path) -> Iterator[Connection]:
    """SQLAlchemy on a connection of its own."""
    connection = open_writer(path)
    core = core_on(connection)
    try:
        yield core
    finally:
        core.close()
        core.engine.dispose()
        connection.close()
