"""The journal: one row per group commit, holding all of its events.

``seq`` is the sequence number of the row's first event, the others follow by index. ``t0`` and ``t1`` are the
smallest and largest time of the telemetry inside (milliseconds UTC), so that a range can be read without opening
the rest. ``data`` is MessagePack, see :mod:`relevo.domain.events`; where a reading was that is in chunks only
(:mod:`relevo.store.history.trimming`), there is nil.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from relevo.domain.events import AnyEvent, HistoryCorrected, ReadingImported, TelemetryReceived
from relevo.store.db import metadata

journal = Table(
    "journal",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("t0", BigInteger),
    Column("t1", BigInteger),
    Column("data", LargeBinary, nullable=False),
)

_READINGS: Final = frozenset({TelemetryReceived, ReadingImported})
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[AnyEvent | None]).decode


def next_seq(connection: sqlite3.Connection) -> int:
    """The sequence number that the next event gets; the first ever is 1."""
    row = connection.execute("SELECT seq + n FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
    return int(row[0]) if row else 1


def encode(events: Sequence[AnyEvent]) -> bytes:
    return _encode(events)


def decode(data: bytes) -> list[AnyEvent | None]:
    """The events of a row. Raises :class:`msgspec.MsgspecError`."""
    return _decode(data)


def append(
    connection: sqlite3.Connection, seq: int, n: int, at: int, t0: int | None, t1: int | None, data: bytes
) -> None:
    """Add one row inside the open transaction."""
    connection.execute("INSERT INTO journal(seq, n, at, t0, t1, data) VALUES (?,?,?,?,?,?)", (seq, n, at, t0, t1, data))


def events_from(connection: sqlite3.Connection, seq: int, limit: int) -> list[tuple[int, AnyEvent]]:
    """Up to ``limit`` events with their sequence numbers, from ``seq`` on."""
    found: list[tuple[int, AnyEvent]] = []
    rows = connection.execute(
        "SELECT seq, data FROM journal WHERE seq >= coalesce((SELECT max(seq) FROM journal WHERE seq <= ?), 0) "
        "ORDER BY seq",
        (seq,),
    )
    for first, data in rows:
        for n, event in enumerate(_decode(data), first):
            if event is not None and n >= seq:
                found.append((n, event))
        if len(found) >= limit:
            break
    return found[:limit]


def readings_rows(
    connection: sqlite3.Connection, after: int, through: int, limit: int
) -> list[tuple[int, int, int, list[AnyEvent | None]]]:
    """Up to ``limit`` rows with readings, of the events with numbers behind ``after``, a row's end, to ``through``:
    number of the first event, how many, how many bytes, and the events."""
    rows = connection.execute(
        "SELECT seq, n, data FROM journal WHERE seq > ? AND seq <= ? AND t0 IS NOT NULL ORDER BY seq LIMIT ?",
        (after, through, limit),
    ).fetchall()
    return [(seq, n, len(data), _decode(data)) for seq, n, data in rows]


def tail(
    connection: sqlite3.Connection, device: str, mark: int, start: int, end: int
) -> Iterator[tuple[int, TelemetryReceived]]:
    """Readings of ``device`` with ``start <= ts < end`` and numbers greater than ``mark``, in the order of their
    arrival.

    What was put in another's place comes as a reading of its own for each point, with the number of the correction.
    The search for the device's name inside the rows is done by the database, without the interpreter's lock.
    """
    rows = connection.execute(
        "SELECT seq, data FROM journal WHERE seq > ? AND t1 >= ? AND t0 < ? AND instr(data, ?) > 0 ORDER BY seq",
        (mark, start, end, device.encode()),
    )
    for first, data in rows:
        for n, event in enumerate(_decode(data), first):
            if type(event) is TelemetryReceived:
                if event.device == device and start <= event.ts < end:
                    yield n, event
            elif type(event) is ReadingImported:
                if event.device == device and start <= event.ts < end:
                    yield n, TelemetryReceived(device, event.ts, event.source, event.received, event.values)
            elif type(event) is HistoryCorrected and event.device == device:
                for ts, value in event.points:
                    if start <= ts < end:
                        yield n, TelemetryReceived(device, ts, "corrected", event.at, {event.key: value})


def without_readings(data: bytes) -> bytes | None:
    """A row's events without its readings; nothing when nothing is left."""
    events = [None if type(event) in _READINGS else event for event in _decode(data)]
    return _encode(events) if any(events) else None


def between(
    connection: sqlite3.Connection, begin: int, end: int, named: Sequence[bytes] = ()
) -> Iterator[tuple[int, AnyEvent]]:
    """Events that were committed with ``begin <= at < end`` (milliseconds UTC), with their numbers, in their order; of
    readings those that are still here.

    With ``named``, only those of rows in whose bytes one of these stands.
    """
    rows = connection.execute(
        "SELECT seq, at, data FROM journal WHERE seq >= ? ORDER BY seq", (first_at(connection, begin),)
    )
    for first, at, data in rows:
        if at >= end:
            return
        if at >= begin and (not named or any(name in data for name in named)):
            yield from ((n, event) for n, event in enumerate(_decode(data), first) if event is not None)


def first_at(connection: sqlite3.Connection, at: int) -> int:
    """The number of the first event that was committed at ``at`` (milliseconds UTC) or later, or the next number:
    numbers and times grow together, so it is halved."""
    low, high = 0, next_seq(connection)
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT seq + n, at FROM journal WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)
        ).fetchone()
        if row is None or row[1] >= at:
            high = middle
        else:
            low = row[0]
    return low
