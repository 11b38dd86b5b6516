"""A rule over stored history, in a process of its own: ``python -m relevo.store.backtests``.

Reading months of readings would take the interpreter's lock from the readings of this moment, so the server starts
this beside itself, with the least priority there is. One JSON object comes in on standard input (:class:`Asked`) and
one goes out on standard output (:class:`Answer`).
"""

import contextlib
import heapq
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from relevo.domain.backtest import Firing, arrived, backtest
from relevo.domain.devices import Device
from relevo.domain.events import AnyEvent, PresenceChanged, StateReported, TelemetryReceived
from relevo.domain.firings import Input, Presence
from relevo.domain.rules import Rule
from relevo.store.db import open_reader
from relevo.store.history import chunks
from relevo.store.history.series import from_chunks
from relevo.store.journal import between

FIRINGS_MOST: Final = 5_000
_LOOKED_AT: Final = frozenset({TelemetryReceived, StateReported, PresenceChanged})
# Of a few devices most rows of a busy journal hold nothing; a search in the bytes is cheaper than decoding them.
_NAMED_MOST: Final = 16
# The time of one series that is opened at once; of many series as much less.
_SERIES_SPAN_MS: Final = 30 * 86_400_000


class Asked(msgspec.Struct):
    """What is to be tried: ``rule`` with ``devices`` on what arrived from ``begin`` until before ``end`` (ms UTC)."""

    path: str
    rule: Rule
    devices: list[Device]
    begin: int
    end: int
    events_most: int


class Answer(msgspec.Struct):
    """What it would have done. ``through`` is how far the history was followed (ms UTC); ``whole`` says to its end."""

    firings: list[Firing]
    count: int
    events: int
    through: int
    whole: bool


class _History:
    """The events of some devices, until there are too many."""

    def __init__(self, events: Iterator[AnyEvent], devices: set[str], most: int, begin: int) -> None:
        self._events = events
        self._devices = devices
        self._most = most
        self.count = 0
        self.through = begin
        self.whole = True

    def __iter__(self) -> Iterator[Input]:
        for event in self._events:
            if type(event) not in _LOOKED_AT or event.device not in self._devices:  # type: ignore[union-attr]
                continue
            if self.count >= self._most:
                self.whole = False
                return
            self.count += 1
            if isinstance(event, PresenceChanged):
                seen: Input = Presence(event.device, event.at, event.online)
            else:
                seen = event
            self.through = max(self.through, arrived(seen))
            yield seen


class _Past:
    """What was said, in the order of its arrival: readings that are in chunks by their own times, everything else from
    the journal. All of it as it was at one moment."""

    def __init__(self, connection: sqlite3.Connection, devices: list[Device], begin: int, end: int) -> None:
        self._connection = connection
        self._devices = devices
        self._begin = begin
        self._end = end
        self._numbers = {
            name: number
            for name, number, since in connection.execute("SELECT id, number, registered_seq FROM devices")
            if any(one.id == name and one.registered_seq == since for one in devices)
        }
        found = chunks.progress(connection)
        self._marks = {name: found.mark(number) for name, number in self._numbers.items()}
        self._hidden = {name: chunks.erasures_of(connection, number) for name, number in self._numbers.items()}

    def __iter__(self) -> Iterator[AnyEvent]:
        return heapq.merge(self._from_chunks(), self._from_journal(), key=_when)

    def _from_journal(self) -> Iterator[AnyEvent]:
        named = [one.encode() for one in sorted(self._numbers)] if len(self._numbers) <= _NAMED_MOST else []
        for seq, event in between(self._connection, self._begin, self._end, named):
            if type(event) is not TelemetryReceived or (
                seq > self._marks.get(event.device, seq)
                and not any(not one.key and one.hides(event.ts, seq) for one in self._hidden[event.device])
            ):
                yield event

    def _from_chunks(self) -> Iterator[TelemetryReceived]:
        # The server knows this module, too, and has no room for the libraries that open chunks.
        from relevo.store.history.openers import open_points

        of_device = {name: chunks.series_of(self._connection, number) for name, number in self._numbers.items()}
        # So much of the past at once that what is held in memory is bounded.
        span = max(_SERIES_SPAN_MS // max(sum(map(len, of_device.values())), 1), 60_000)
        for begin in range(self._begin, self._end, span):
            found: dict[tuple[int, str, int], dict[str, Any]] = {}
            for device, series in of_device.items():
                for key, number in series.items():
                    hidden = [one for one in self._hidden[device] if one.concerns(key)]
                    end = min(begin + span, self._end)
                    for ts, seq, value, _ in from_chunks(self._connection, open_points, number, begin, end, hidden):
                        found.setdefault((ts, device, seq), {})[key] = value
            for ts, device, seq in sorted(found):
                yield TelemetryReceived(device, ts, "device", ts, found[ts, device, seq])


def _when(event: AnyEvent) -> int:
    """When it arrived."""
    return event.received if type(event) is TelemetryReceived else int(getattr(event, "at", 0))


def run(asked: Asked, connection: sqlite3.Connection) -> Answer:
    """Try the rule. Raises :class:`relevo.errors.Invalid` when it is not sound, and ``sqlite3.Error``."""
    devices = {device.id for device in asked.devices}
    connection.execute("BEGIN")
    try:
        past = _Past(connection, asked.devices, asked.begin, asked.end)
        history = _History(iter(past), devices, asked.events_most, asked.begin)
        # Time passes to the end only where all of it was looked at.
        firings = backtest(asked.rule, history, asked.devices, asked.begin, asked.end if history.whole else None)
    finally:
        connection.execute("ROLLBACK")
    through = asked.end if history.whole else history.through
    return Answer(firings[:FIRINGS_MOST], len(firings), history.count, through, history.whole)


def main() -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asked: Any = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    connection = open_reader(Path(asked.path))
    try:
        answer = run(asked, connection)
    finally:
        connection.close()
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
