"""Readings of sensors of contract emqx, a row each (``Lectura``), projected from :class:`SensorsRead`.

The journal has them as well, as every device's; here each has a number that stays, what its message was like, and the
indexes that lists, filters and figures need.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import JSON, BigInteger, Boolean, Column, Connection, Float, Index, Integer, Table, Text, func, select
from sqlalchemy.sql.elements import ColumnElement

from relevo.domain.events import SensorsRead
from relevo.store.db import metadata

readings = Table(
    "readings",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("device", Text, nullable=False),
    Column("sensor", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("value", Float, nullable=False),
    # -1 for what did not come over MQTT.
    Column("message_id", Integer, nullable=False),
    Column("qos", Integer, nullable=False),
    Column("retained", Boolean, nullable=False),
    Column("digest", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("metadata", JSON, nullable=False),
    Index("readings_device", "device", "at"),
    Index("readings_sensor", "sensor", "at"),
    Index("readings_at", "at"),
    sqlite_autoincrement=True,
)
_COLUMNS = "device, sensor, at, value, message_id, qos, retained, digest, received, metadata"
_INSERT = f"INSERT INTO readings ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 - names of our own
_RECENT = 20_000
_encode = msgspec.json.Encoder().encode


class Wanted(NamedTuple):
    """Which readings: of ``devices`` (``None`` for all) and ``sensor``, with ``start <= at <= end`` (ms UTC)."""

    devices: tuple[str, ...] | None = None
    sensor: int | None = None
    start: int | None = None
    end: int | None = None
    mqtt_only: bool = False
    number: int | None = None


class Figures(NamedTuple):
    """Count, mean, largest, smallest (``None`` without any) and how many came over MQTT."""

    total: int
    mean: float | None
    largest: float | None
    smallest: float | None
    mqtt: int


def add(connection: sqlite3.Connection, events: Sequence[SensorsRead]) -> None:
    """Write the rows of ``events`` inside the open transaction."""
    rows = [
        (
            event.device,
            one.sensor,
            one.at,
            one.value,
            event.message_id,
            event.qos,
            event.retained,
            event.digest,
            event.at,
            _encode(one.metadata).decode(),
        )
        for event in events
        for one in event.readings
    ]
    if rows:
        connection.executemany(_INSERT, rows)


def remove(connection: sqlite3.Connection, device: str) -> None:
    connection.execute("DELETE FROM readings WHERE device = ?", (device,))


def page(
    core: Connection, wanted: Wanted, order: Sequence[str], skip: int, most: int
) -> tuple[int, list[dict[str, Any]]]:
    """How many there are, and ``most`` of them after the first ``skip``.

    ``order`` are names of columns, with ``-`` in front for the largest first.
    """
    where = _where(wanted)
    total = core.execute(select(func.count()).select_from(readings).where(*where)).scalar_one()
    if skip >= total:
        return total, []
    by: list[ColumnElement[Any]] = []
    for name in order:
        column = readings.c[name.lstrip("-")]
        by.append(column.desc() if name.startswith("-") else column.asc())
    last = readings.c.id.desc() if not order or order[0].startswith("-") else readings.c.id.asc()
    query = select(readings).where(*where).order_by(*by, last).offset(skip).limit(most)
    return total, [dict(row._mapping) for row in core.execute(query)]


def figures(core: Connection, wanted: Wanted) -> Figures:
    value, by_mqtt = readings.c.value, func.coalesce(func.sum((readings.c.message_id >= 0).cast(Integer)), 0)
    query = select(func.count(), func.avg(value), func.max(value), func.min(value), by_mqtt).where(*_where(wanted))
    total, mean, largest, smallest, mqtt = core.execute(query).one()
    return Figures(total, mean, largest, smallest, mqtt)


def recent(connection: sqlite3.Connection, since: int) -> list[tuple[str, int, int, int]]:
    """Device, message id, digest and time (ms UTC) of what came over MQTT at ``since`` or later."""
    rows = connection.execute(
        "SELECT DISTINCT device, message_id, digest, received FROM readings "
        "WHERE id > (SELECT coalesce(max(id), 0) FROM readings) - ? AND received >= ? AND message_id > 0",
        (_RECENT, since),
    )
    return list(rows)


def _where(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.devices is not None:
        found.append(readings.c.device.in_(wanted.devices))
    if wanted.sensor is not None:
        found.append(readings.c.sensor == wanted.sensor)
    if wanted.start is not None:
        found.append(readings.c.at >= wanted.start)
    if wanted.end is not None:
        found.append(readings.c.at <= wanted.end)
    if wanted.mqtt_only:
        found.append(readings.c.message_id >= 0)
    if wanted.number is not None:
        found.append(readings.c.id == wanted.number)
    return found
