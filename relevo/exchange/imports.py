"""Imports that are under way, seen from the server: a process reads the file, what is new takes the road.

The road is the devices' first. An import has one slice of readings on it at a time, and after each it waits for as long
as its commit took, so that it never has more than half of the writer.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from relevo.domain.events import ReadingImported
from relevo.errors import Invalid, QueueFull, TooMany
from relevo.exchange.exports import PROGRAM, asked
from relevo.exchange.protocol import Answer, Fault, ImportWanted, More, Part, Reading
from relevo.pipeline import Outcome, Pipeline
from relevo.store.history.processes import Process

# Longer than a client may wait between two parts of its file.
QUIET_S: Final = 120.0
SLICE: Final = 200
PART_BYTES: Final = 65_536
# What reads a database begins by looking through all of it.
PART_S: Final = 600.0
COMMIT_S: Final = 60.0
_FAULTS_MOST: Final = 100


@dataclass(slots=True)
class Report:
    """What became of an import. ``points`` are values; ``faults`` the first of those ``refused``."""

    lines: int = 0
    readings: int = 0
    points: int = 0
    repeated: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    units: dict[str, dict[str, str]] = field(default_factory=dict)


# Registers a device of an import that is not there yet; False when somebody else's has that name.
Registers = Callable[[str], Awaitable[bool]]


class Import:
    """One import: give it all parts of the file, then let it finish."""

    def __init__(
        self,
        process: Process,
        pipeline: Pipeline,
        known: set[str],
        now: Callable[[], int],
        register: Registers,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self.report = Report()
        self.done = False
        self._process = process
        self._pipeline = pipeline
        self._known = known
        self._now = now
        self._register = register
        self._pause = pause

    async def take(self, data: bytes) -> None:
        """The next bytes of the file. Raises :class:`relevo.errors.Invalid` and
        :class:`relevo.errors.StoreUnavailable`."""
        for at in range(0, len(data), PART_BYTES):
            await self._settle(await asked(self._process, Part(data[at : at + PART_BYTES]), PART_S))

    async def finish(self) -> AsyncIterator[Report]:
        """After the last of them: what there is so far, until it is all. Raises as :meth:`take`."""
        await self._settle(await asked(self._process, Part(b""), PART_S))
        while not self.done:
            yield self.report
            await self._settle(await asked(self._process, More(), PART_S))
        yield self.report

    async def _settle(self, answer: Answer) -> None:
        report = self.report
        report.lines = max(report.lines, answer.lines)
        report.repeated += answer.repeated
        report.refused += answer.refused
        report.faults = (report.faults + answer.faults)[:_FAULTS_MOST]
        report.notes += answer.notes
        report.units |= answer.units
        for device, values in answer.unknown.items():
            report.unknown[device] = report.unknown.get(device, 0) + values
        readings = [one for one in answer.readings if await self._is_known(one)]
        for at in range(0, len(readings), SLICE):
            await self._commit(readings[at : at + SLICE])
        self.done = answer.done

    async def _is_known(self, reading: Reading) -> bool:
        device = reading[0]
        if device in self._known:
            return True
        if device not in self.report.unknown and await self._register(device):
            self._known.add(device)
            self.report.created.append(device)
            return True
        self.report.unknown[device] = self.report.unknown.get(device, 0) + len(reading[2])
        return False

    async def _commit(self, readings: list[Reading]) -> None:
        loop = asyncio.get_running_loop()
        now = self._now()
        events = [ReadingImported(device, ts, "imported", now, values) for device, ts, values in readings]
        while True:
            begun = loop.time()
            try:
                outcome = await self._pipeline.accept(events, COMMIT_S)
            except QueueFull:
                # Devices are stopped, too: their turn is first.
                await self._room()
                continue
            break
        self._count(readings, outcome)
        await self._pause(loop.time() - begun)

    async def _room(self) -> None:
        room = asyncio.Event()
        self._pipeline.when_room(room.set)
        await room.wait()

    def _count(self, readings: list[Reading], outcome: Outcome) -> None:
        lost = set(outcome.lost)
        for place, (device, _, values) in enumerate(readings):
            if place in lost:
                # Removed while its history came.
                self._known.discard(device)
                self.report.unknown[device] = self.report.unknown.get(device, 0) + len(values)
            else:
                self.report.readings += 1
                self.report.points += len(values)


class Imports:
    """Imports of the server, one at a time. ``folder`` holds files while they are read."""

    def __init__(
        self,
        path: Path,
        folder: Path,
        pipeline: Pipeline,
        now: Callable[[], int],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._folder = folder
        self._pipeline = pipeline
        self._now = now
        self._pause = pause
        self._running = False
        self._process = Process(path, program=PROGRAM, quiet_s=QUIET_S)

    @contextlib.asynccontextmanager
    async def opened(self, wanted: ImportWanted, register: Registers) -> AsyncIterator[Import]:
        """An import; afterwards its file is gone, and unless it came to an end its process.

        Raises :class:`TooMany`, :class:`relevo.errors.Invalid` and :class:`relevo.errors.StoreUnavailable`.
        """
        if self._running:
            raise TooMany("an import is under way already", 30)
        self._running = True
        process, ended = self._process, False
        try:
            if wanted.source == "home-assistant":
                wanted.path = str(self._file())
            await asked(process, wanted, PART_S)
            known = {device for device, _ in wanted.known}
            one = Import(process, self._pipeline, known, self._now, register, self._pause)
            yield one
            ended = one.done
        except Invalid:
            ended = True
            raise
        finally:
            if not ended:
                await process.stop()
            self._running = False
            self._clear()

    def _file(self) -> Path:
        """Where a file may be put while it is read."""
        self._clear()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._folder / "import.db"

    def _clear(self) -> None:
        """What is left of an earlier file."""
        for one in self._folder.glob("import.db*"):
            one.unlink(missing_ok=True)

    async def stop(self) -> None:
        """End the one there is; harmless when there is none."""
        await self._process.stop()
