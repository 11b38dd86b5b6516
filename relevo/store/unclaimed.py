"""Who knocked without being in the registry: a bounded list, newest kept."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from relevo.domain.events import UnclaimedSeen
from relevo.store.db import metadata

unclaimed = Table(
    "unclaimed",
    metadata,
    Column("contract", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    PrimaryKeyConstraint("contract", "external_id"),
)


def note(core: Connection, event: UnclaimedSeen, most: int) -> None:
    """Add or refresh the entry; beyond ``most`` entries the one not heard for longest goes."""
    same = (unclaimed.c.contract == event.contract) & (unclaimed.c.external_id == event.external_id)
    changed = core.execute(
        update(unclaimed)
        .where(same)
        .values(
            last_seen=event.at,
            count=unclaimed.c.count + event.count,
            reason=event.reason,
            address=event.address,
            payload=event.payload,
        )
    )
    if changed.rowcount:
        return
    held = core.execute(select(func.count()).select_from(unclaimed)).scalar_one()
    if held >= most:
        oldest = core.execute(
            select(unclaimed.c.contract, unclaimed.c.external_id).order_by(unclaimed.c.last_seen).limit(1)
        ).one()
        forget(core, oldest.contract, oldest.external_id)
    core.execute(
        insert(unclaimed).values(
            contract=event.contract,
            external_id=event.external_id,
            first_seen=event.at,
            last_seen=event.at,
            count=event.count,
            reason=event.reason,
            address=event.address,
            payload=event.payload,
        )
    )


def forget(core: Connection, contract: str, external_id: str) -> None:
    core.execute(delete(unclaimed).where((unclaimed.c.contract == contract) & (unclaimed.c.external_id == external_id)))


def load(core: Connection, limit: int) -> list[dict[str, Any]]:
    """The newest ``limit`` entries."""
    rows = core.execute(select(unclaimed).order_by(unclaimed.c.last_seen.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]
