"""What devices of some contracts said that they do, message by message: newest first when read, kept for a time."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import JSON, BigInteger, Column, Connection, Index, Integer, Table, Text, delete, func, insert, select

from relevo.dialect import Logged
from relevo.domain.events import AnyEvent
from relevo.store.db import metadata
from relevo.store.twins import twins

# Contract -> the line that an event adds.
Loggers = Mapping[str, Callable[[AnyEvent], Logged | None]]

status_log = Table(
    "status_log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("device", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("parameters", JSON, nullable=False),
    Index("status_log_device", "device", "id"),
    Index("status_log_at", "at"),
    sqlite_autoincrement=True,
)


def of_appearance(number: str) -> str:
    """Under which name the lines of an appearance are kept; no device has a space in its id."""
    return f"appearance {number}"


class Line(NamedTuple):
    """What ``device`` said, ``at`` in milliseconds UTC."""

    device: str
    at: int
    said: Logged


def add(core: Connection, lines: Iterable[Line]) -> None:
    """Write lines in order; one without a status has that of the line before it, or what the device reports."""
    newest: dict[str, str] = {}
    rows = []
    for line in lines:
        said = line.said
        status = said.status or newest.get(line.device) or _status_before(core, line.device) or said.unknown
        newest[line.device] = status
        rows.append({"device": line.device, "at": line.at, "status": status, "parameters": said.parameters})
    core.execute(insert(status_log), rows)


def _status_before(core: Connection, device: str) -> str:
    query = select(status_log.c.status).where(status_log.c.device == device).order_by(status_log.c.id.desc()).limit(1)
    found: str | None = core.execute(query).scalar_one_or_none()
    if found is not None:
        return found
    # Its lines are too old to be kept, or it was created with a status.
    reported: str | None = core.execute(select(twins.c.reported).where(twins.c.device == device)).scalar_one_or_none()
    return str((msgspec.json.decode(reported) if reported else {}).get("estado", [""])[0])


def page(core: Connection, device: str, skip: int, most: int) -> tuple[int, list[dict[str, Any]]]:
    """How many lines there are, and ``most`` of them, newest first, after the first ``skip``."""
    of_device = status_log.c.device == device
    total = core.execute(select(func.count()).select_from(status_log).where(of_device)).scalar_one()
    if skip >= total:
        return total, []
    query = select(status_log).where(of_device).order_by(status_log.c.id.desc()).offset(skip).limit(most)
    return total, [dict(row._mapping) for row in core.execute(query)]


def over(core: Connection, before: int, most: int) -> tuple[int, int]:
    """How many lines are older than ``before`` (ms UTC), ``most`` at the most, and the number of the last of them."""
    old = select(status_log.c.id).where(status_log.c.at < before).order_by(status_log.c.id).limit(most).subquery()
    count, through = core.execute(select(func.count(), func.coalesce(func.max(old.c.id), 0)).select_from(old)).one()
    return count, through


def forget(core: Connection, through: int, before: int) -> None:
    """Remove the lines up to number ``through`` that are older than ``before``."""
    core.execute(delete(status_log).where((status_log.c.id <= through) & (status_log.c.at < before)))


def remove(core: Connection, device: str) -> None:
    core.execute(delete(status_log).where(status_log.c.device == device))
