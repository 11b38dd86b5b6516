"""Who did what to what: append-only until its time is over, newest first when read."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Connection, Index, Integer, Table, Text, delete, func, insert, select

from relevo.domain.events import Audited
from relevo.store.db import metadata

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("address", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Index("audit_at", "at"),
    sqlite_autoincrement=True,
)


def add(core: Connection, event: Audited) -> None:
    core.execute(
        insert(audit).values(
            at=event.at,
            by=event.by,
            action=event.action,
            target=event.target,
            detail=event.detail,
            address=event.address,
            outcome=event.outcome,
        )
    )


def over(core: Connection, before: int, most: int) -> tuple[int, int]:
    """How many entries are older than ``before`` (ms UTC), ``most`` at the most, and the number of the last of them."""
    old = select(audit.c.id).where(audit.c.at < before).order_by(audit.c.id).limit(most).subquery()
    count, through = core.execute(select(func.count(), func.coalesce(func.max(old.c.id), 0)).select_from(old)).one()
    return count, through


def forget(core: Connection, through: int, before: int) -> None:
    """Remove the entries up to number ``through`` that are older than ``before``."""
    core.execute(delete(audit).where((audit.c.id <= through) & (audit.c.at < before)))


def load(
    core: Connection,
    limit: int,
    before: int | None = None,
    by: str = "",
    action: str = "",
    target: str = "",
    start: int = 0,
    end: int | None = None,
) -> list[dict[str, Any]]:
    """The newest ``limit`` entries that fit, newest first.

    ``before`` is an entry's number; ``action`` also fits as the beginning up to a dot (``device`` for all that was
    done to devices); ``start <= at < end`` in milliseconds UTC.
    """
    query = select(audit).where(audit.c.at >= start).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    if end is not None:
        query = query.where(audit.c.at < end)
    if by:
        query = query.where(audit.c.by == by)
    if target:
        query = query.where(audit.c.target == target)
    if action:
        query = query.where((audit.c.action == action) | audit.c.action.startswith(f"{action}.", autoescape=True))
    return [dict(row._mapping) for row in core.execute(query)]
