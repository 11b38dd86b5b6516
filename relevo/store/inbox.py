"""Everybody's inbox: a row for each notification and person, written in the transaction that holds its event."""

from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, delete, func, insert, select, update

from relevo.domain.events import NotificationRaised
from relevo.domain.records import InboxChange, InboxDropped, InboxRead
from relevo.store.db import metadata

notifications = Table(
    "notifications",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("severity", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("read_at", BigInteger, nullable=False),
    Index("notifications_account", "account", "number"),
    Index("notifications_id", "id"),
    Index("notifications_at", "at"),
    Index("notifications_device", "device"),
    sqlite_autoincrement=True,
)


def add(core: Connection, event: NotificationRaised, kept: int) -> None:
    """Put ``event`` into the inboxes of those it is addressed to, each cut to its newest ``kept``.

    A repetition is counted where the first one still lies, and lies there unread again.
    """
    if event.repeats:
        known = notifications.c.id == event.repeats
        counted = {"count": notifications.c.count + 1, "last_at": event.at, "read_at": 0}
        core.execute(update(notifications).where(known).values(counted))
        return
    if not event.to:
        return
    row = {name: getattr(event, name) for name in ("id", "device", "at", "severity", "source", "title", "text", "key")}
    row |= {"count": 1, "last_at": event.at, "read_at": 0}
    core.execute(insert(notifications), [row | {"account": account} for account in event.to])
    for account in event.to:
        mine = notifications.c.account == account
        newest = select(notifications.c.number).where(mine).order_by(notifications.c.number.desc())
        over = newest.limit(1).offset(kept).scalar_subquery()
        core.execute(delete(notifications).where(mine & (notifications.c.number <= over)))


def apply(core: Connection, change: InboxChange) -> None:
    """Write what somebody did with their inbox, or time with all of them."""
    if isinstance(change, InboxRead):
        # What is read stays read since then.
        where = _theirs(change.account, change.id) & (notifications.c.read_at == 0)
        core.execute(update(notifications).where(where).values(read_at=change.at))
    elif isinstance(change, InboxDropped):
        core.execute(delete(notifications).where(_theirs(change.account, change.id)))
    else:
        core.execute(delete(notifications).where(notifications.c.at < change.before))


def remove(core: Connection, device: str) -> None:
    """The device is gone, and what was told of it with it."""
    core.execute(delete(notifications).where(notifications.c.device == device))


def _theirs(account: str, notification: str) -> Any:
    mine = notifications.c.account == account
    return mine & (notifications.c.id == notification) if notification else mine


def page(
    core: Connection,
    account: str,
    limit: int,
    before: int | None = None,
    read: bool | None = None,
    severity: str = "",
    device: str = "",
) -> list[dict[str, Any]]:
    """The newest ``limit`` that fit, newest first; ``before`` is a row's number."""
    query = (
        select(notifications)
        .where(notifications.c.account == account)
        .order_by(notifications.c.number.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(notifications.c.number < before)
    if read is not None:
        query = query.where((notifications.c.read_at > 0) if read else (notifications.c.read_at == 0))
    if severity:
        query = query.where(notifications.c.severity == severity)
    if device:
        query = query.where(notifications.c.device == device)
    return [dict(row._mapping) for row in core.execute(query)]


def unread(core: Connection, account: str) -> int:
    mine = (notifications.c.account == account) & (notifications.c.read_at == 0)
    return int(core.execute(select(func.count()).select_from(notifications).where(mine)).scalar_one())


def find(core: Connection, account: str, notification: str) -> dict[str, Any] | None:
    row = core.execute(select(notifications).where(_theirs(account, notification))).first()
    return dict(row._mapping) if row is not None else None


def oldest(core: Connection) -> int | None:
    """When the oldest of all was raised (ms UTC)."""
    found: int | None = core.execute(select(func.min(notifications.c.at))).scalar_one()
    return found


def recent(core: Connection, since: int) -> list[tuple[str, str, int, str]]:
    """Key, id, time and account of those with a key that were raised at or after ``since`` (ms UTC)."""
    fields = notifications.c
    query = select(fields.key, fields.id, fields.at, fields.account).where((fields.at >= since) & (fields.key != ""))
    return [(row.key, row.id, row.at, row.account) for row in core.execute(query)]
