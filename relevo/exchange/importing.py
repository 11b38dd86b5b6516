"""An import in the making, in a process of its own: lines become readings, checked as every reading is, without those
that are stored already. What comes out the server commits before it gives the next part.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from relevo.domain.devices import ID_PATTERN
from relevo.domain.telemetry import check_values
from relevo.exchange.known import is_stored, stored_at
from relevo.exchange.protocol import Answer, Fault, ImportWanted, Reading
from relevo.exchange.sources import Found, Row, opened
from relevo.store.history.openers import open_points

BATCH: Final = 2_000
AHEAD_MS: Final = 86_400_000
_FAULTS_MOST: Final = 100
_UNKNOWN_MOST: Final = 1_000


class Gather:
    """Readings on their way: checked, and put together where a file has a line for each value."""

    def __init__(self, connection: sqlite3.Connection, wanted: ImportWanted) -> None:
        self._connection = connection
        self._wanted = wanted
        self._known = dict(wanted.known)
        self._readings: list[Reading] = []
        # The last reading of each device, which lines of the same time still go into.
        self._last: dict[str, Reading] = {}
        self._faults: list[Fault] = []
        self._told = 0
        self._refused = 0
        self._unknown: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._readings)

    def add(self, found: Found) -> None:
        """Take what a line says."""
        if isinstance(found, Fault):
            self._fault(found)
            return
        line, device, ts, values = found
        if device not in self._known and not self._may_be_created(found):
            return
        if not 0 <= ts <= self._wanted.now + AHEAD_MS:
            self._fault(Fault(line, "time", "time_invalid", f"{ts} is not between 1970 and a day from now"))
            return
        kept, refused = check_values(values)
        for problem in refused:
            field = problem.errors[0].field if problem.errors else ""
            self._fault(Fault(line, field, problem.reason, problem.message))
        if not kept:
            if not refused:
                self._fault(Fault(line, "", "reading_empty", "the reading has no values"))
            return
        last = self._last.get(device)
        if last is not None and last[1] == ts and not any(key in last[2] for key in kept):
            last[2].update(kept)
            return
        reading = (device, ts, dict(kept))
        self._last[device] = reading
        self._readings.append(reading)

    def answer(self, lines: int, final: bool = False, done: bool = False, notes: list[str] | None = None) -> Answer:
        """What is new of all that was taken. Readings of the last time of each device wait for the rest of it unless
        this is ``final``: whether a value that comes twice is stored twice can be said of all of them alone."""
        ready = self._readings
        if not final:
            last = {device: reading[1] for device, reading in self._last.items()}
            ready = [one for one in self._readings if one[1] != last[one[0]]]
            self._readings = [one for one in self._readings if one[1] == last[one[0]]]
        else:
            self._readings = []
            self._last = {}
        new, repeated = self._new(ready)
        faults, self._faults = self._faults, []
        refused, self._refused = self._refused, 0
        unknown, self._unknown = self._unknown, {}
        return Answer(
            done=done,
            readings=new,
            repeated=repeated,
            faults=faults,
            refused=refused,
            unknown=unknown,
            lines=lines,
            notes=notes or [],
        )

    def _new(self, readings: list[Reading]) -> tuple[list[Reading], int]:
        times: dict[str, dict[str, set[int]]] = {}
        for device, ts, values in readings:
            keys = times.setdefault(device, {})
            for key in values:
                keys.setdefault(key, set()).add(ts)
        stored = {
            device: stored_at(
                self._connection, open_points, device, {key: sorted(wanted) for key, wanted in keys.items()}
            )
            for device, keys in times.items()
        }
        new: list[Reading] = []
        repeated = 0
        for device, ts, values in readings:
            of = stored[device]
            kept = {key: value for key, value in values.items() if not (of and is_stored(of, key, ts, value))}
            repeated += len(values) - len(kept)
            if kept:
                new.append((device, ts, kept))
        return new, repeated

    def _may_be_created(self, row: Row) -> bool:
        if not ID_PATTERN.fullmatch(row.device):
            self._fault(Fault(row.line, "device", "id_invalid", f"{row.device[:64]!r} can be no device's id"))
            return False
        if self._wanted.create:
            return True
        if row.device in self._unknown or len(self._unknown) < _UNKNOWN_MOST:
            self._unknown[row.device] = self._unknown.get(row.device, 0) + len(row.values)
        else:
            self._unknown[""] = self._unknown.get("", 0) + len(row.values)
        return False

    def _fault(self, fault: Fault) -> None:
        self._refused += 1
        if self._told < _FAULTS_MOST:
            self._told += 1
            self._faults.append(Fault(fault.line, shown(fault.field), fault.reason, shown(fault.detail)))


def shown(text: str) -> str:
    """A text from a file that may hold what is no UTF-8."""
    return text.encode(errors="replace").decode()


def imported(connection: sqlite3.Connection, wanted: ImportWanted, parts: list[bytes]) -> Iterator[Answer]:
    """The answers of an import, one to each part and then until one is done.

    Raises :class:`relevo.errors.Invalid` for a file that is not what it is said to be, :class:`Damaged` and
    ``sqlite3.Error``.
    """
    source = opened(wanted)
    gather = Gather(connection, wanted)
    yield Answer()
    while data := parts.pop():
        for found in source.feed(data):
            gather.add(found)
        yield gather.answer(source.lines)
    for found in source.end():
        gather.add(found)
        if len(gather) >= BATCH:
            before = len(gather)
            answer = gather.answer(source.lines)
            if len(gather) < before:
                yield answer
    units: dict[str, Any] = getattr(source, "units", {})
    last = gather.answer(source.lines, final=True, done=True, notes=source.notes)
    last.units = units
    yield last
