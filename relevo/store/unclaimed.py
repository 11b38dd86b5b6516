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
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
    union_all,
    update,
)

from relevo.domain.events import UnclaimedSeen
from relevo.store.db import metadata
from relevo.store.records import screenings

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
    """Add or refresh the entry; beyond ``most`` entries the one not heard for longest goes.

    A blocked one is counted; why it was not let in, and what it said, stay what they were before.
    """
    same = (unclaimed.c.contract == event.contract) & (unclaimed.c.external_id == event.external_id)
    heard = {} if event.standing == "blocked" else {"reason": event.reason, "payload": event.payload}
    changed = core.execute(
        update(unclaimed)
        .where(same)
        .values(last_seen=event.at, count=unclaimed.c.count + event.count, address=event.address, **heard)
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


def load(
    core: Connection,
    limit: int,
    before: tuple[int, str, str] | None = None,
    standing: str = "all",
    contract: str = "",
    reason: str = "",
    search: str = "",
) -> list[dict[str, Any]]:
    """The newest ``limit`` entries that fit, newest first, those screened beyond the bound of the list included.

    ``before`` is the last entry of the page before (its ``last_seen``, contract and external id). ``standing`` is
    ``new``, ``ignored``, ``blocked`` or ``all``; ``search`` is a part of the external id, whatever its case.
    """
    same = (screenings.c.contract == unclaimed.c.contract) & (screenings.c.external_id == unclaimed.c.external_id)
    decided = (
        func.coalesce(screenings.c.standing, "").label("standing"),
        func.coalesce(screenings.c.by, "").label("standing_by"),
        func.coalesce(screenings.c.at, 0).label("standing_at"),
    )
    heard = select(unclaimed, *decided).select_from(unclaimed.outerjoin(screenings, same))
    unheard = select(
        screenings.c.contract,
        screenings.c.external_id,
        literal(0).label("first_seen"),
        literal(0).label("last_seen"),
        literal(0).label("count"),
        literal("").label("reason"),
        literal("").label("address"),
        literal({}, JSON).label("payload"),
        *decided,
    ).where(~exists().where(same))
    row = union_all(heard, unheard).subquery()
    order = (row.c.last_seen.desc(), row.c.contract.desc(), row.c.external_id.desc())
    query = select(row).order_by(*order).limit(limit)
    if before is not None:
        query = query.where(tuple_(row.c.last_seen, row.c.contract, row.c.external_id) < tuple_(*before))
    if standing != "all":
        query = query.where(row.c.standing == ("" if standing == "new" else standing))
    if contract:
        query = query.where(row.c.contract == contract)
    if reason:
        query = query.where(row.c.reason == reason)
    if search:
        query = query.where(row.c.external_id.icontains(search, autoescape=True))
    return [dict(found._mapping) for found in core.execute(query)]


def find(core: Connection, contract: str, external_id: str) -> dict[str, Any] | None:
    """The entry of one identity, as it was heard."""
    same = (unclaimed.c.contract == contract) & (unclaimed.c.external_id == external_id)
    row = core.execute(select(unclaimed).where(same)).one_or_none()
    return dict(row._mapping) if row is not None else None


def count_new(core: Connection) -> int:
    """How many there are about whom nobody decided yet."""
    same = (screenings.c.contract == unclaimed.c.contract) & (screenings.c.external_id == unclaimed.c.external_id)
    query = select(func.count()).select_from(unclaimed).where(~exists().where(same))
    return int(core.execute(query).scalar_one())
