"""The journal's tail for whoever asks again and again: which of its rows hold something of which device.

With ten thousand devices the tail is a few hundred thousand events long, and looking for one device in all of them
takes longer than everything else of a question. What is remembered is the rows' numbers alone, a few bytes an event.
"""

import sqlite3
from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from relevo.domain.events import AnyEvent, HistoryCorrected, ReadingImported, TelemetryReceived
from relevo.store.history import chunks
from relevo.store.many import LISTED, json_of

_AT_ONCE: Final = 500
_rows: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_event: Final = msgspec.msgpack.Decoder(AnyEvent | None).decode
# A reading begins with its array's head and its tag, see relevo.domain.events.
_READING: Final = b"\xa1t"
_SHORT: Final = 0xA0
_LONGER: Final = 0xD9


def _device(raw: bytes) -> str:
    """Whose reading or correction an event is, empty for anything else."""
    if raw[1:3] == _READING:
        if raw[3] & 0xE0 == _SHORT:
            return raw[4 : 4 + (raw[3] & 0x1F)].decode()
        if raw[3] == _LONGER:
            return raw[5 : 5 + raw[4]].decode()
    event = _event(raw)
    return event.device if isinstance(event, TelemetryReceived | HistoryCorrected | ReadingImported) else ""


class Tails:
    """For one connection, and always inside of a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: dict[str, array[int]] = {}
        self._low = 0
        self._through = 0

    def scan(
        self, connection: sqlite3.Connection, device: str, mark: int, start: int, end: int
    ) -> Iterator[tuple[int, TelemetryReceived]]:
        """As :func:`relevo.store.journal.tail`."""
        for seq, event in self.of([device], mark)[device]:
            if start <= event.ts < end:
                yield seq, event

    def of(self, devices: Collection[str], mark: int) -> dict[str, list[tuple[int, TelemetryReceived]]]:
        """Readings with numbers greater than ``mark`` by device, in the order of their arrival."""
        self._follow()
        found: dict[str, list[tuple[int, TelemetryReceived]]] = {device: [] for device in devices}
        wanted = sorted({row for device in devices for row in self._rows.get(device, ()) if row > mark})
        for at in range(0, len(wanted), _AT_ONCE):
            rows = self._connection.execute(
                f"SELECT seq, data FROM journal WHERE seq IN {LISTED} ORDER BY seq",  # noqa: S608
                (json_of(wanted[at : at + _AT_ONCE]),),
            )
            for first, data in rows:
                _take(found, first, _rows(data))
        return found

    def _follow(self) -> None:
        """Forget what is in chunks since, and learn what came since."""
        low = chunks.progress(self._connection).low
        if low > self._low:
            kept = {device: array("q", [row for row in rows if row > low]) for device, rows in self._rows.items()}
            self._rows = {device: rows for device, rows in kept.items() if rows}
            self._low = low
            self._through = max(self._through, low)
        rows = self._connection.execute(
            "SELECT seq, data FROM journal WHERE seq > ? AND t0 IS NOT NULL ORDER BY seq", (self._through,)
        )
        for first, data in rows:
            for device in set(map(_device, map(bytes, _rows(data)))):
                if device:
                    self._rows.setdefault(device, array("q")).append(first)
            self._through = first


def _take(found: dict[str, list[tuple[int, TelemetryReceived]]], first: int, raws: Sequence[msgspec.Raw]) -> None:
    for seq, raw in enumerate(map(bytes, raws), first):
        if _device(raw) not in found:
            continue
        event = _event(raw)
        if isinstance(event, TelemetryReceived):
            found[event.device].append((seq, event))
        elif isinstance(event, ReadingImported):
            read = TelemetryReceived(event.device, event.ts, event.source, event.received, event.values)
            found[event.device].append((seq, read))
        elif isinstance(event, HistoryCorrected):
            found[event.device] += [
                (seq, TelemetryReceived(event.device, ts, "corrected", event.at, {event.key: value}))
                for ts, value in event.points
            ]
