"""Deliveries that failed: those that wait for another attempt, and dead letters. What arrived leaves no row."""

from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Row, Table, Text, delete, func, insert, select

from relevo.domain.deliveries import (
    DEAD,
    WAITING,
    DeliveriesForgotten,
    Delivery,
    DeliveryChange,
    DeliveryDropped,
    DeliveryKept,
)
from relevo.store.db import metadata

deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("webhook", Text, primary_key=True, nullable=False),
    Column("seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("device", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Index("webhook_deliveries_state", "webhook", "state", "seq"),
    Index("webhook_deliveries_device", "device"),
)
_FIELDS: Final = Delivery.__struct_fields__


def apply(core: Connection, change: DeliveryChange) -> None:
    """Write one change, inside the open transaction."""
    match change:
        case DeliveryKept(one):
            _drop(core, one.webhook, one.seq)
            core.execute(insert(deliveries).values(**msgspec.structs.asdict(one)))
        case DeliveryDropped(webhook, seq):
            _drop(core, webhook, seq)
        case DeliveriesForgotten(webhook, state, keep):
            which = deliveries.c.webhook == webhook
            if state:
                which &= deliveries.c.state == state
            if keep:
                newest = select(deliveries.c.seq).where(which).order_by(deliveries.c.seq.desc()).limit(1).offset(keep)
                which &= deliveries.c.seq <= newest.scalar_subquery()
            core.execute(delete(deliveries).where(which))


def remove(core: Connection, device: str) -> None:
    """The device is gone, and what was to be told of it with it."""
    core.execute(delete(deliveries).where(deliveries.c.device == device))


def load_waiting(core: Connection, webhook: str) -> list[Delivery]:
    """What waits for another attempt, in the order of the events."""
    which = (deliveries.c.webhook == webhook) & (deliveries.c.state == WAITING)
    return [_delivery(row) for row in core.execute(select(deliveries).where(which).order_by(deliveries.c.seq))]


def load(core: Connection, webhook: str, seq: int) -> Delivery | None:
    row = core.execute(select(deliveries).where((deliveries.c.webhook == webhook) & (deliveries.c.seq == seq))).first()
    return _delivery(row) if row is not None else None


def counts(core: Connection) -> dict[tuple[str, str], int]:
    """Rows by webhook and state."""
    query = select(deliveries.c.webhook, deliveries.c.state, func.count()).group_by(
        deliveries.c.webhook, deliveries.c.state
    )
    return {(webhook, state): int(n) for webhook, state, n in core.execute(query)}


def page(core: Connection, webhook: str, limit: int, before: int | None = None, state: str = "") -> list[Delivery]:
    """The newest ``limit`` that fit, newest first; ``before`` is a sequence number."""
    query = select(deliveries).where(deliveries.c.webhook == webhook).order_by(deliveries.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(deliveries.c.seq < before)
    if state:
        query = query.where(deliveries.c.state == state)
    return [_delivery(row) for row in core.execute(query)]


def oldest_dead(core: Connection, webhook: str, limit: int) -> list[Delivery]:
    """Dead letters in the order of their events."""
    which = (deliveries.c.webhook == webhook) & (deliveries.c.state == DEAD)
    query = select(deliveries).where(which).order_by(deliveries.c.seq).limit(limit)
    return [_delivery(row) for row in core.execute(query)]


def _drop(core: Connection, webhook: str, seq: int) -> None:
    core.execute(delete(deliveries).where((deliveries.c.webhook == webhook) & (deliveries.c.seq == seq)))


def _delivery(row: Row[tuple[object, ...]]) -> Delivery:
    return Delivery(**{name: row._mapping[name] for name in _FIELDS})
