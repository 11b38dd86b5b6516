"""What is still to be erased of devices that were removed and of people's names, and erasing it piece by piece.

A row of ``scrubs`` is written in the transaction of the removal, so nothing is forgotten by a crash. It says how far
everything was looked through: ``stage`` 0 is the journal, up to the event with the number ``place``; the others are
:data:`STAGES`, up to the row ``place``. Places in the journal keep their numbers: what goes becomes nil. A process
looks and rewrites, the writer commits. The row goes with the last step.

One task takes the steps of this, of trimming and of compaction one after the other: each is made from what the one
before has left.
"""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import JSON, BigInteger, Column, Integer, Table, Text

from relevo.domain.erasing import DEVICE, ERASED, PERSON, WORD_LEAST, Erased, Eraser, left_of
from relevo.domain.events import HistoryCorrected, TelemetryReceived
from relevo.store import journal
from relevo.store.db import metadata
from relevo.store.history.chunks import Stale
from relevo.wire.mqtt_state import Message, Outgoing

scrubs = Table(
    "scrubs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("contract", Text, nullable=False),
    Column("others", JSON, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("place", BigInteger, nullable=False),
    # The newest row of each stage at the time of the removal.
    Column("bounds", JSON, nullable=False),
)


class Stage(NamedTuple):
    """A table that is looked through; columns in which names stand, texts, JSON, and what is decoded.

    Rows of one that ``grows`` have growing numbers, so what came after the removal is known by them. What is of a
    device went with it from those that are for ``people`` alone.
    """

    table: str
    columns: tuple[str, ...]
    grows: bool = False
    people: bool = False


STAGES: Final = (
    Stage("audit", ("by", "target", "detail"), grows=True),
    Stage("timeline", ("detail",), grows=True),
    Stage("notifications", ("title", "text"), grows=True),
    Stage("outbox", ("title", "text")),
    Stage("mqtt_retained", ("data",)),
    Stage("mqtt_deliveries", ("data",)),
    Stage("commands", ("by", "reason", "transitions"), grows=True, people=True),
    Stage("alerts", ("owner", "by", "text", "note"), grows=True, people=True),
    Stage("twins", ("desired", "reported"), people=True),
    Stage("webhook_deliveries", ("body", "error", "answer"), people=True),
)
SCANNED_MOST: Final = 2_000
_ALL: Final = 2**62
_BYTES_MOST: Final = 32 * 1024 * 1024
_encode: Final = msgspec.msgpack.Encoder().encode
_messages: Final = {
    "mqtt_retained": msgspec.msgpack.Decoder(Message),
    "mqtt_deliveries": msgspec.msgpack.Decoder(Outgoing),
}


class Pending(NamedTuple):
    """One row: what is erased, and how far; ``again`` when there is a device or an account of this name by now."""

    id: int
    erased: Erased
    stage: int
    place: int
    bounds: list[int]
    again: bool


class Left(msgspec.Struct, array_like=True, gc=False):
    """What is left of a row of the journal, with the bounds of its readings."""

    seq: int
    t0: int | None
    t1: int | None
    data: bytes


class Changed(msgspec.Struct, array_like=True, gc=False):
    """A row of a table: its columns as they were and as they are to be, nothing when the row goes."""

    row: int
    before: list[Any]
    after: list[Any] | None


class Scrub(msgspec.Struct, array_like=True, gc=False):
    """One step for the scrubs ``ids``, from ``stage`` and ``place`` to ``to_stage`` and ``to_place``."""

    ids: list[int]
    stage: int
    place: int
    to_stage: int
    to_place: int
    events: list[Left] = []
    rows: list[Changed] = []
    topics: list[str] = []

    @property
    def size(self) -> int:
        """Rows that it writes."""
        return len(self.events) + len(self.rows) + 1


def add(connection: sqlite3.Connection, erased: Erased) -> None:
    """Something is to be erased, inside the transaction that removes it."""
    bounds = [
        connection.execute(f"SELECT coalesce(max(rowid), 0) FROM {one.table}").fetchone()[0] if one.grows else _ALL  # noqa: S608
        for one in STAGES
    ]
    connection.execute(
        "INSERT INTO scrubs(kind, name, seq, contract, others, stage, place, bounds) VALUES (?,?,?,?,?,0,0,?)",
        (erased.kind, erased.name, erased.seq, erased.contract, json.dumps(erased.others), json.dumps(bounds)),
    )


def pending(connection: sqlite3.Connection) -> list[Pending]:
    """What is not erased everywhere yet, in the order of the removals."""
    rows = connection.execute(
        "SELECT id, kind, name, seq, contract, others, stage, place, bounds,"
        " CASE kind WHEN ? THEN EXISTS (SELECT 1 FROM devices WHERE devices.id = scrubs.name)"
        " ELSE EXISTS (SELECT 1 FROM accounts WHERE accounts.name = scrubs.name) END FROM scrubs ORDER BY id",
        (DEVICE,),
    ).fetchall()
    return [
        Pending(
            number, Erased(kind, name, seq, contract, tuple(json.loads(others))), stage, place, json.loads(bounds),
            bool(again),
        )
        for number, kind, name, seq, contract, others, stage, place, bounds, again in rows
    ]  # fmt: skip


def next_scrub(connection: sqlite3.Connection, rows: int) -> Scrub | None:
    """The next step, that changes about ``rows`` rows at most; nothing when everything is erased. Opens rows, so it is
    for a process of its own."""
    found = pending(connection)
    if not found:
        return None
    # With the oldest go those that are as far, so that nobody waits for ever behind newer ones.
    first = found[0]
    group = [one for one in found if (one.stage, one.place) == (first.stage, first.place)]
    step = Scrub([one.id for one in group], first.stage, first.place, first.stage, first.place)
    if first.stage == 0:
        over = _journal(connection, [Eraser(one.erased) for one in group], step, rows)
    else:
        over = _table(connection, STAGES[first.stage - 1], group, step, rows)
    if over:
        step.to_stage, step.to_place = first.stage + 1, 0
    return step


def commit(connection: sqlite3.Connection, step: Scrub) -> None:
    """Write a step, inside the open transaction. Raises :class:`Stale`."""
    marks = ",".join("?" * len(step.ids))
    here = connection.execute(
        f"SELECT count(*) FROM scrubs WHERE id IN ({marks}) AND stage = ? AND place = ?",  # noqa: S608
        (*step.ids, step.stage, step.place),
    ).fetchone()[0]
    if here != len(step.ids):
        raise Stale
    connection.executemany(
        "UPDATE journal SET t0 = ?, t1 = ?, data = ? WHERE seq = ?",
        [(one.t0, one.t1, one.data, one.seq) for one in step.events],
    )
    if step.rows:
        _write(connection, STAGES[step.stage - 1], step.rows)
    if step.to_stage > len(STAGES):
        connection.execute(f"DELETE FROM scrubs WHERE id IN ({marks})", step.ids)  # noqa: S608
    else:
        connection.execute(
            f"UPDATE scrubs SET stage = ?, place = ? WHERE id IN ({marks})",  # noqa: S608
            (step.to_stage, step.to_place, *step.ids),
        )


def _write(connection: sqlite3.Connection, stage: Stage, rows: Iterable[Changed]) -> None:
    """Only where nobody wrote meanwhile. Raises :class:`Stale`."""
    same = " AND ".join(f'"{one}" IS ?' for one in stage.columns)
    put = ", ".join(f'"{one}" = ?' for one in stage.columns)
    for one in rows:
        if one.after is None:
            # A delivery that left meanwhile is gone already.
            connection.execute(f"DELETE FROM {stage.table} WHERE rowid = ? AND {same}", (one.row, *one.before))  # noqa: S608
            continue
        done = connection.execute(
            f"UPDATE {stage.table} SET {put} WHERE rowid = ? AND {same}",  # noqa: S608
            (*one.after, one.row, *one.before),
        )
        if done.rowcount != 1 and _is_there(connection, stage, one.row):
            raise Stale


def _is_there(connection: sqlite3.Connection, stage: Stage, row: int) -> bool:
    return connection.execute(f"SELECT 1 FROM {stage.table} WHERE rowid = ?", (row,)).fetchone() is not None  # noqa: S608


def _journal(connection: sqlite3.Connection, erasers: list[Eraser], step: Scrub, rows: int) -> bool:
    """Look on in the journal; whether that was its end, as far as it concerns them."""
    end = max(one.erased.seq for one in erasers)
    size = 0
    found = connection.execute(
        "SELECT seq, n, t0, data FROM journal WHERE seq > ? AND seq < ? ORDER BY seq", (step.place, end)
    )
    for scanned, (seq, n, t0, data) in enumerate(found):
        if scanned >= SCANNED_MOST or size >= _BYTES_MOST or len(step.events) >= rows:
            return False
        size += len(data)
        named = [one for one in erasers if one.concerns(data)]
        left = left_of(journal.decode(data), seq, named) if named else None
        if left is not None:
            times = [event.ts for event in left if type(event) is TelemetryReceived]
            times += [ts for event in left if type(event) is HistoryCorrected for ts, _ in event.points]
            low, high = (min(times), max(times)) if times and t0 is not None else (None, None)
            step.events.append(Left(seq, low, high, _encode(left)))
        step.to_place = seq + n - 1
    return True


def _table(connection: sqlite3.Connection, stage: Stage, group: list[Pending], step: Scrub, rows: int) -> bool:
    """Look on in a table; whether that was its end."""
    messages = stage.table in _messages
    # What a device of the same id keeps at the door by now cannot be told from what was kept before.
    erasers = [
        (Eraser(one.erased), one.bounds[step.stage - 1])
        for one in group
        if one.erased.kind == PERSON or not (stage.people or (messages and one.again))
    ]
    if not erasers:
        return True
    end = max(bound for _, bound in erasers)
    names = ", ".join(f'"{one}"' for one in stage.columns)
    found = connection.execute(
        f"SELECT rowid, {names} FROM {stage.table} WHERE rowid > ? AND rowid <= ? ORDER BY rowid",  # noqa: S608
        (step.place, end),
    )
    for scanned, (row, *before) in enumerate(found):
        if scanned >= SCANNED_MOST or len(step.rows) >= rows:
            return False
        after: list[Any] | None = before
        for one, bound in erasers:
            if (
                row <= bound
                and after is not None
                and any(one.concerns(value if isinstance(value, bytes) else str(value).encode()) for value in after)
            ):
                after = _left(stage, one, after, step)
        if after != before:
            step.rows.append(Changed(row, before, after))
        step.to_place = row
    return True


def _left(stage: Stage, eraser: Eraser, values: list[Any], step: Scrub) -> list[Any] | None:
    """What is left of a row."""
    table, erased = stage.table, eraser.erased
    if table in _messages:
        return _message(table, erased, values, step)
    if table == "twins":
        return [_documents(erased.name, one) for one in values]
    if table in ("webhook_deliveries", "commands"):
        # JSON of others' making: in its texts, too.
        named = [eraser.field(name, one) for name, one in zip(stage.columns, values, strict=True)]
        return [eraser.text(one) for one in named]
    row = dict(zip(stage.columns, values, strict=True))
    if table == "audit" and erased.kind == DEVICE and row["target"] == erased.name:
        row["detail"] = "{}"
    for name, value in row.items():
        if table == "audit" and name == "detail":
            before = json.loads(value)
            after = eraser.inside(before)
            row[name] = json.dumps(after) if after != before else value
        else:
            row[name] = eraser.field(name, value)
    return list(row.values())


def _message(table: str, erased: Erased, values: list[Any], step: Scrub) -> list[Any] | None:
    """A message that is kept: what a device published goes, and what is retained where its name is a level."""
    found: Message | Outgoing = _messages[table].decode(values[0])  # type: ignore[attr-defined]
    message = found.message if isinstance(found, Outgoing) else found
    if erased.kind == PERSON:
        if message.origin != f"user:{erased.name}":
            return values
        nameless = msgspec.structs.replace(message, origin=f"user:{ERASED}")
        return [_encode(msgspec.structs.replace(found, message=nameless) if isinstance(found, Outgoing) else nameless)]
    topic = message.topic.decode(errors="replace")
    levels = {one for one in erased.names if len(one) >= WORD_LEAST}.intersection(topic.split("/"))
    if message.origin != f"device:{erased.name}" and not levels:
        return values
    if isinstance(found, Message):
        step.topics.append(topic)
    return None


def _documents(name: str, text: str) -> str:
    """A document of a twin, without the name of whoever desired something."""
    document: dict[str, list[Any]] = json.loads(text)
    for one in document.values():
        if one[2] == name:
            one[2] = ERASED
    return msgspec.json.encode(document).decode()
