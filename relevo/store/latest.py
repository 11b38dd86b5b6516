"""Latest values: one document per device, written in the transaction that holds the readings.

The document is JSON ``{"g": [[ts, source, {key: value, …}], …], "s": seen, "r": received}``: the newest value of each
key, grouped by the reading it came with; which numbered readings are already stored (:mod:`relevo.domain.seen`); and
when the device was last heard. One row per device instead of one per key, and one time per reading instead of one per
value: a commit writes whole pages, so a row half as long is half the disk traffic of a thousand devices.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Integer, LargeBinary, Table

from relevo.domain.events import ReadingImported, TelemetryReceived
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


Group = tuple[int, str, dict[str, Any]]
Latest = dict[str, tuple[Any, int, str]]


class Document(msgspec.Struct, gc=False):
    """What the row of one device says."""

    g: list[Group] = []
    s: list[Any] = []
    r: int = 0


class Heard(msgspec.Struct, gc=False):
    """When its device was last heard alone: everything else is passed over."""

    r: int = 0


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Document).decode
_decode_heard: Final = msgspec.json.Decoder(Heard).decode


def values_of(data: bytes) -> tuple[Latest, int]:
    """``{key: (value, ts, source)}`` of a document, and when its device was last heard (milliseconds UTC)."""
    document = _decode(data)
    return _by_key(document.g), document.r


def heard_of(data: bytes) -> int:
    """When the device of a document was last heard (milliseconds UTC)."""
    return _decode_heard(data).r


def _by_key(groups: list[Group]) -> Latest:
    return {key: (value, ts, source) for ts, source, values in groups for key, value in values.items()}


class DeviceState:
    """The writer's working copy of one device's document."""

    __slots__ = ("groups", "number", "received", "seen")

    def __init__(self, number: int, document: Document | None = None) -> None:
        self.number = number
        # Every key is in exactly one group.
        self.groups: list[Group] = document.g if document else []
        self.seen = Seen.restore(document.s) if document and document.s else Seen()
        self.received = document.r if document else 0

    def take(self, event: TelemetryReceived) -> None:
        """Let the values of ``event`` become the latest, unless newer ones are there (a back-log comes late).

        A time ahead of the clock counts as its arrival, so that a board that ran ahead for an hour and was then
        corrected does not freeze its values for that hour.
        """
        ts, received, groups = event.ts, event.received, self.groups
        heard = self.received
        if received > heard:
            self.received = received
        if len(groups) == 1:
            newest = groups[0][0]
            if (newest <= ts or min(newest, heard) <= min(ts, received)) and (
                groups[0][2].keys() == event.values.keys()
            ):
                # The device reports what it always reports.
                self.groups = [(ts, event.source, event.values)]
                return
        self._merge(event, heard)

    def take_imported(self, event: ReadingImported) -> bool:
        """Let its values become the latest where they are newer than what is there; whether any is.

        The device did not speak: when it was last heard stays.
        """
        values = _by_key(self.groups)
        fresh = {key: value for key, value in event.values.items() if key not in values or values[key][1] < event.ts}
        self._regroup(values | {key: (value, event.ts, event.source) for key, value in fresh.items()})
        return bool(fresh)

    def _merge(self, event: TelemetryReceived, heard: int) -> None:
        values = _by_key(self.groups)
        at = min(event.ts, event.received)
        for key, value in event.values.items():
            known = values.get(key)
            if known is None or known[1] <= event.ts or min(known[1], heard) <= at:
                values[key] = (value, event.ts, event.source)
        self._regroup(values)

    def _regroup(self, values: Latest) -> None:
        groups: dict[tuple[int, str], dict[str, Any]] = {}
        for key, (value, ts, source) in values.items():
            groups.setdefault((ts, source), {})[key] = value
        self.groups = [(ts, source, of_reading) for (ts, source), of_reading in groups.items()]

    def encode(self) -> bytes:
        return _encode({"g": self.groups, "s": self.seen.state(), "r": self.received})


def load_state(connection: sqlite3.Connection, number: int) -> DeviceState:
    """The state of device ``number`` as last committed."""
    row = connection.execute("SELECT data FROM latest WHERE device = ?", (number,)).fetchone()
    return DeviceState(number, _decode(row[0]) if row else None)


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
