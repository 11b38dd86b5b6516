"""Latest values: one document per device, written in the transaction that holds the readings.

The document is JSON ``{"v": {key: [value, ts, source]}, "s": seen, "r": received}``: the newest value of each key,
which numbered readings are already stored (:mod:`relevo.domain.seen`) and when the device was last heard. One row per
device instead of one per key, because a commit touches a device's keys together.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Integer, LargeBinary, Table

from relevo.domain.events import TelemetryReceived
from relevo.domain.seen import Seen
from relevo.store.db import metadata

latest = Table(
    "latest",
    metadata,
    Column("device", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

# One statement per chunk: each step of the database gives up and takes back the interpreter lock, which
# costs more than the row when the event loop is busy.
_CHUNKS: Final = (256, 64, 16, 4, 1)
_SQL: Final = {
    size: "INSERT OR REPLACE INTO latest(device, data) VALUES " + ",".join(["(?,?)"] * size)  # noqa: S608
    for size in _CHUNKS
}


class Document(msgspec.Struct, gc=False):
    """What the row of one device says."""

    v: dict[str, tuple[Any, int, str]] = {}
    s: list[Any] = []
    r: int = 0


_encode: Final = msgspec.json.Encoder().encode
decode_document: Final = msgspec.json.Decoder(Document).decode


class DeviceState:
    """The writer's working copy of one device's document."""

    __slots__ = ("number", "received", "seen", "values")

    def __init__(self, number: int, document: Document | None = None) -> None:
        self.number = number
        self.values: dict[str, tuple[Any, int, str]] = document.v if document else {}
        self.seen = Seen.restore(document.s) if document and document.s else Seen()
        self.received = document.r if document else 0

    def take(self, event: TelemetryReceived) -> None:
        """Let the values of ``event`` become the latest, unless newer ones are there (a back-log comes late).

        A time ahead of the clock counts as its arrival, so that a board that ran ahead for an hour and was then
        corrected does not freeze its values for that hour.
        """
        ts, received, source = event.ts, event.received, event.source
        self.received = max(self.received, received)
        values = self.values
        for key, value in event.values.items():
            known = values.get(key)
            if known is None or known[1] <= ts or known[1] > received:
                values[key] = (value, ts, source)

    def encode(self) -> bytes:
        return _encode({"v": self.values, "s": self.seen.state(), "r": self.received})


def load_state(connection: sqlite3.Connection, number: int) -> DeviceState:
    """The state of device ``number`` as last committed."""
    row = connection.execute("SELECT data FROM latest WHERE device = ?", (number,)).fetchone()
    return DeviceState(number, decode_document(row[0]) if row else None)


def load_documents(connection: sqlite3.Connection) -> dict[int, bytes]:
    """All documents by device number."""
    return dict(connection.execute("SELECT device, data FROM latest"))


def write(connection: sqlite3.Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    """Replace the documents of the given devices."""
    flat: list[int | bytes] = [cell for row in rows for cell in row]
    at, end = 0, len(rows)
    for size in _CHUNKS:
        while end - at >= size:
            connection.execute(_SQL[size], flat[at * 2 : (at + size) * 2])
            at += size
