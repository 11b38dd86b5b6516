"""Alerts: one row each, as the newest of its events left it."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
)

from relevo.domain.alerts import LIVE, REOPEN_MS, Alert, after
from relevo.domain.events import AlertChanged
from relevo.store.db import metadata

alerts = Table(
    "alerts",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("device", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("auto_clear", Boolean, nullable=False),
    Column("rules", JSON, nullable=False),
    Column("values", JSON, nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Index("alerts_device", "device", "number"),
    Index("alerts_state", "state", "number"),
    sqlite_autoincrement=True,
)

# Alerts that are over; the journal keeps the story of those that go.
ENDED_KEPT: Final = 20_000
_FIELDS: Final = Alert.__struct_fields__
_CHECKED_EVERY: Final = 500


class AlertWriter:
    """Follows events inside the writer's transaction."""

    def __init__(self, kept: int = ENDED_KEPT) -> None:
        self._kept = kept
        self._added = 0

    def apply(self, core: Connection, events: Sequence[AlertChanged]) -> None:
        """Write the newest state of each alert."""
        newest = {event.id: after(event) for event in events}
        numbers = {
            row.id: row.number
            for row in core.execute(select(alerts.c.id, alerts.c.number).where(alerts.c.id.in_(newest)))
        }
        if numbers:
            core.execute(delete(alerts).where(alerts.c.id.in_(numbers)))
        for one in newest.values():
            row = msgspec.structs.asdict(one)
            # One that is reopened or repeated keeps its place in the list.
            core.execute(insert(alerts).values(**row, **({"number": numbers[one.id]} if one.id in numbers else {})))
        self._added += len(newest) - len(numbers)
        if self._added >= _CHECKED_EVERY:
            self._added = 0
            over = alerts.c.state.not_in(LIVE)
            query = select(alerts.c.number).where(over).order_by(alerts.c.number.desc()).limit(1).offset(self._kept)
            last = core.execute(query).scalar()
            if last is not None:
                core.execute(delete(alerts).where(over & (alerts.c.number <= last)))


def remove(core: Connection, device: str) -> None:
    """The device is gone, and its alerts with it."""
    core.execute(delete(alerts).where(alerts.c.device == device))


def load_live(core: Connection, now_ms: int) -> list[Alert]:
    """Those that are not over, and those that might be reopened, oldest first."""
    live = alerts.c.state.in_(LIVE) | (alerts.c.ended_at > now_ms - REOPEN_MS)
    return [_alert(row) for row in core.execute(select(alerts).where(live).order_by(alerts.c.number))]


def load(core: Connection, alert_id: str) -> Alert | None:
    row = core.execute(select(alerts).where(alerts.c.id == alert_id)).first()
    return _alert(row) if row is not None else None


def number_of(core: Connection, alert_id: str) -> int:
    """The number of an alert, 0 for none."""
    found: int | None = core.execute(select(alerts.c.number).where(alerts.c.id == alert_id)).scalar()
    return found or 0


def load_numbered(core: Connection, number: int) -> Alert | None:
    row = core.execute(select(alerts).where(alerts.c.number == number)).first()
    return _alert(row) if row is not None else None


def page(
    core: Connection,
    limit: int,
    before: int | None = None,
    devices: Sequence[str] | None = None,
    states: Sequence[str] = (),
    severity: str = "",
    rule: str = "",
    search: str = "",
) -> list[tuple[int, Alert]]:
    """The newest ``limit`` alerts that fit, with their numbers, newest first; without ``devices`` of any device."""
    query = select(alerts).order_by(alerts.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(alerts.c.number < before)
    if devices is not None:
        query = query.where(alerts.c.device.in_(devices))
    if states:
        query = query.where(alerts.c.state.in_(states))
    if severity:
        query = query.where(alerts.c.severity == severity)
    if rule:
        query = query.where(alerts.c.rule == rule)
    if search:
        text = func.lower(alerts.c.text + " " + alerts.c.name + " " + alerts.c.device)
        query = query.where(text.contains(search.lower(), autoescape=True))
    return [(row.number, _alert(row)) for row in core.execute(query)]


def _alert(row: Row[Any]) -> Alert:
    return Alert(**{name: row._mapping[name] for name in _FIELDS})
