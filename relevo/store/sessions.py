"""MQTT sessions, their deliveries and retained messages: they survive ``kill -9`` like readings do.

A delivery's ``data`` is MessagePack of :class:`relevo.wire.mqtt_state.Outgoing`. Changes are written in the order they
were made, grouped into statements over many rows.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import JSON, BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from relevo.store.db import metadata
from relevo.wire import mqtt_state as kept

mqtt_sessions = Table(
    "mqtt_sessions",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("expiry", BigInteger, nullable=False),
    Column("subscriptions", JSON, nullable=False),
    Column("away_since", BigInteger, nullable=False),
)

mqtt_deliveries = Table(
    "mqtt_deliveries",
    metadata,
    Column("client_id", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("client_id", "n"),
)

mqtt_incoming = Table(
    "mqtt_incoming",
    metadata,
    Column("client_id", Text, nullable=False),
    Column("packet_id", Integer, nullable=False),
    PrimaryKeyConstraint("client_id", "packet_id"),
)

mqtt_retained = Table(
    "mqtt_retained",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_delivery: Final = msgspec.msgpack.Decoder(kept.Outgoing).decode
_decode_message: Final = msgspec.msgpack.Decoder(kept.Message).decode

_PUT_SESSION: Final = "INSERT OR REPLACE INTO mqtt_sessions VALUES (?,?,?,?,?,?)"
_PUT_DELIVERY: Final = "INSERT OR REPLACE INTO mqtt_deliveries VALUES (?,?,?)"
_DROP_DELIVERY: Final = "DELETE FROM mqtt_deliveries WHERE client_id = ? AND n = ?"
_PUT_INCOMING: Final = "INSERT OR REPLACE INTO mqtt_incoming VALUES (?,?)"
_DROP_INCOMING: Final = "DELETE FROM mqtt_incoming WHERE client_id = ? AND packet_id = ?"
_PUT_RETAINED: Final = "INSERT OR REPLACE INTO mqtt_retained VALUES (?,?)"
_DROP_RETAINED: Final = "DELETE FROM mqtt_retained WHERE topic = ?"
_OF_SESSION: Final = ("mqtt_sessions", "mqtt_deliveries", "mqtt_incoming")

_Row = tuple[int | str | bytes, ...]


class KeptSession(NamedTuple):
    """A session as it was kept."""

    session: kept.SessionKept
    deliveries: list[kept.Outgoing]
    incoming: set[int]


def apply(connection: sqlite3.Connection, changes: Sequence[kept.Change]) -> None:
    """Write ``changes`` inside the open transaction."""
    # The last word on each thing counts, so what came and went within one commit costs nothing.
    last: dict[tuple[str, str, int], tuple[str, _Row]] = {}
    for change in changes:
        match change:
            case kept.Queued(client_id, out):
                last["d", client_id, out.n] = _PUT_DELIVERY, (client_id, out.n, _encode(out))
            case kept.Delivered(client_id, n):
                last["d", client_id, n] = _DROP_DELIVERY, (client_id, n)
            case kept.IncomingKept(client_id, packet_id):
                last["i", client_id, packet_id] = _PUT_INCOMING, (client_id, packet_id)
            case kept.IncomingReleased(client_id, packet_id):
                last["i", client_id, packet_id] = _DROP_INCOMING, (client_id, packet_id)
            case kept.Retained(topic, message):
                last["r", topic, 0] = (
                    (_DROP_RETAINED, (topic,)) if message is None else (_PUT_RETAINED, (topic, _encode(message)))
                )
            case kept.SessionKept(client_id):
                last["s", client_id, 0] = (
                    _PUT_SESSION,
                    (
                        client_id,
                        change.owner,
                        change.version,
                        change.expiry,
                        msgspec.json.encode(change.subscriptions).decode(),
                        change.away_since,
                    ),
                )
            case kept.SessionForgotten(client_id):
                for table in _OF_SESSION:
                    connection.execute(f"DELETE FROM {table} WHERE client_id = ?", (client_id,))  # noqa: S608
                for key in [key for key in last if key[1] == client_id and key[0] != "r"]:
                    del last[key]
    groups: dict[str, list[_Row]] = {}
    for sql, row in last.values():
        groups.setdefault(sql, []).append(row)
    for sql, rows in groups.items():
        connection.executemany(sql, rows)


def load(connection: sqlite3.Connection) -> list[KeptSession]:
    """All kept sessions, each with its deliveries in order."""
    found = {
        row[0]: KeptSession(
            kept.SessionKept(
                row[0],
                row[1],
                row[2],
                row[3],
                msgspec.json.decode(row[4], type=list[tuple[str, int, bool, bool, int, int]]),
                row[5],
            ),
            [],
            set(),
        )
        for row in connection.execute(
            "SELECT client_id, owner, version, expiry, subscriptions, away_since FROM mqtt_sessions"
        )
    }
    for client_id, data in connection.execute("SELECT client_id, data FROM mqtt_deliveries ORDER BY client_id, n"):
        if client_id in found:
            found[client_id].deliveries.append(_decode_delivery(data))
    for client_id, packet_id in connection.execute("SELECT client_id, packet_id FROM mqtt_incoming"):
        if client_id in found:
            found[client_id].incoming.add(packet_id)
    return list(found.values())


def load_retained(connection: sqlite3.Connection) -> list[tuple[str, kept.Message]]:
    """All retained messages by topic."""
    return [(topic, _decode_message(data)) for topic, data in connection.execute("SELECT * FROM mqtt_retained")]
