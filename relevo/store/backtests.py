"""A rule over stored history, in a process of its own: ``python -m relevo.store.backtests``.

Reading months of readings would take the interpreter's lock from the readings of this moment, so the server starts
this beside itself, with the least priority there is. One JSON object comes in on standard input (:class:`Asked`) and
one goes out on standard output (:class:`Answer`).
"""

import contextlib
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
from relevo.store.journal import between

FIRINGS_MOST: Final = 5_000
_LOOKED_AT: Final = frozenset({TelemetryReceived, StateReported, PresenceChanged})
# Of a few devices most rows of a busy journal hold nothing; a search in the bytes is cheaper than decoding them.
_NAMED_MOST: Final = 16


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


def run(asked: Asked, connection: sqlite3.Connection) -> Answer:
    """Try the rule. Raises :class:`relevo.errors.Invalid` when it is not sound, and ``sqlite3.Error``."""
    devices = {device.id for device in asked.devices}
    named = [one.encode() for one in sorted(devices)] if len(devices) <= _NAMED_MOST else []
    history = _History(between(connection, asked.begin, asked.end, named), devices, asked.events_most, asked.begin)
    # Time passes to the end only where all of it was looked at.
    firings = backtest(asked.rule, history, asked.devices, asked.begin, asked.end if history.whole else None)
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
