"""The ledger's rows: one a command, followed in the transaction that holds its events."""

from collections import Counter
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
    Select,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from relevo.domain.commands import (
    ENDS,
    KEYS_KEPT_MS,
    QUEUED,
    SENT,
    WATCHED_MS,
    Command,
    CommandEvent,
    Transition,
    advance,
    opened,
)
from relevo.domain.events import CommandQueued
from relevo.store.db import metadata

# Not those that it may be: SQLite would rather go by the state then, and sort what it finds.
_WRONG: Final = text("state NOT IN ('queued', 'sent', 'confirmed', 'cancelled')")

commands = Table(
    "commands",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("device", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("params", JSON, nullable=False),
    Column("by", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("answer_ms", BigInteger, nullable=False),
    Column("redeliver", Boolean, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("result", JSON),
    Column("transitions", JSON, nullable=False),
    Index("commands_device", "device", "number"),
    Index("commands_origin", "origin", "number"),
    Index("commands_state", "state", "number"),
    # Saying it for PostgreSQL as well would import its dialect, three megabytes, wherever SQLite is used.
    Index("commands_wrong", "ended_at", "device", sqlite_where=_WRONG),
    sqlite_autoincrement=True,
)

_FIELDS: Final = Command.__struct_fields__
_MOVING: Final = ("state", "sent_at", "deadline", "ended_at", "reason", "result", "transitions")


class CommandWriter:
    """Follows events inside the writer's transaction. After a rollback, :meth:`forget` makes it count afresh."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._held: dict[str, int] = {}

    def forget(self) -> None:
        self._held.clear()

    def apply(self, core: Connection, events: Sequence[CommandEvent]) -> None:
        """Write what ``events`` did to their commands; each command is written once however many steps it made."""
        fresh: dict[str, Command] = {}
        moved: dict[str, Command] = {}
        strangers = {event.id for event in events} - {event.id for event in events if type(event) is CommandQueued}
        known = {}
        if strangers:
            known = {row.id: of_row(row) for row in core.execute(select(commands).where(commands.c.id.in_(strangers)))}
        for event in events:
            if isinstance(event, CommandQueued):
                fresh[event.id] = opened(event)
                continue
            command = fresh.get(event.id) or known.get(event.id)
            if command is not None and advance(command, event) and event.id not in fresh:
                moved[event.id] = command
        if fresh:
            core.execute(insert(commands), [_row(command, _FIELDS) for command in fresh.values()])
            for device, n in Counter(command.device for command in fresh.values()).items():
                self._trim(core, device, n)
        for command in moved.values():
            core.execute(update(commands).where(commands.c.id == command.id).values(_row(command, _MOVING)))

    def _trim(self, core: Connection, device: str, more: int) -> None:
        """Forget the oldest commands of ``device`` that are over, beyond what is promised."""
        held = self._held.get(device)
        if held is None:
            query = select(func.count()).select_from(commands).where(commands.c.device == device)
            held = int(core.execute(query).scalar_one())
        else:
            held += more
        # A quarter more before cutting, so that not every command costs a deletion.
        if held > self._kept + self._kept // 4:
            over = (commands.c.device == device) & commands.c.state.in_((*ENDS, SENT))
            newest = (
                select(commands.c.number)
                .where(over)
                .order_by(commands.c.number.desc())
                .limit(1)
                .offset(self._kept - 1)
                .scalar_subquery()
            )
            core.execute(delete(commands).where(over & (commands.c.number < newest)))
            held = self._kept
        self._held[device] = held


def _row(command: Command, names: tuple[str, ...]) -> dict[str, Any]:
    row = {name: getattr(command, name) for name in names}
    row["transitions"] = [msgspec.structs.astuple(one) for one in command.transitions]
    return row


def of_row(row: Row[Any]) -> Command:
    """The command of a row."""
    fields: dict[str, Any] = {name: getattr(row, name) for name in _FIELDS}
    fields["transitions"] = [Transition(*one) for one in fields["transitions"]]
    return Command(**fields)


def load_open(core: Connection, now: int) -> tuple[list[Command], list[tuple[str, str, str, str, int]]]:
    """Commands that are not over in the order in which they were asked for, and a day's idempotency keys."""
    rows = core.execute(
        select(commands)
        .where(
            (commands.c.state == QUEUED)
            | ((commands.c.state == SENT) & ((commands.c.deadline > 0) | (commands.c.sent_at > now - WATCHED_MS)))
        )
        .order_by(commands.c.number)
    )
    found = [of_row(row) for row in rows]
    keys = core.execute(
        select(commands.c.by, commands.c.device, commands.c.key, commands.c.id, commands.c.created_at).where(
            (commands.c.key != "") & (commands.c.created_at > now - KEYS_KEPT_MS)
        )
    )
    return found, [tuple(row) for row in keys]


def remove(core: Connection, device: str) -> None:
    """The device is gone, and what it was told with it; the journal keeps the story."""
    core.execute(delete(commands).where(commands.c.device == device))


def load(core: Connection, command_id: str) -> Command | None:
    row = core.execute(select(commands).where(commands.c.id == command_id)).first()
    return of_row(row) if row is not None else None


def page(
    core: Connection, limit: int, before: int | None = None, device: str = "", origin: str = "", state: str = ""
) -> list[tuple[int, Command]]:
    """The newest ``limit`` commands that fit, with their numbers, newest first; ``before`` is a number."""
    query = select(commands).order_by(commands.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(commands.c.number < before)
    if device:
        query = query.where(commands.c.device == device)
    if origin:
        query = query.where(commands.c.origin == origin)
    if state:
        query = query.where(commands.c.state == state)
    return [(row.number, of_row(row)) for row in core.execute(query)]


def states_of(core: Connection, origin: str) -> dict[str, int]:
    """How many commands of ``origin`` are in each state."""
    query = select(commands.c.state, func.count()).where(commands.c.origin == origin).group_by(commands.c.state)
    return {state: int(n) for state, n in core.execute(query)}


def gone_wrong_query(since: int, limit: int, devices: Sequence[str] | None = None) -> Select[Any]:
    """What :func:`gone_wrong` asks."""
    query = select(commands).where(_WRONG, commands.c.ended_at >= since)
    if devices is not None:
        # An expression, so that it is looked at along the newest and not gone by.
        query = query.where(commands.c.device.concat("").in_(devices))
    return query.order_by(commands.c.ended_at.desc()).limit(limit)


def gone_wrong(core: Connection, since: int, limit: int, devices: Sequence[str] | None = None) -> list[Command]:
    """The newest ``limit`` commands that failed, timed out or expired at ``since`` (milliseconds UTC) or later, newest
    first; without ``devices`` of any device."""
    return [of_row(row) for row in core.execute(gone_wrong_query(since, limit, devices))]
