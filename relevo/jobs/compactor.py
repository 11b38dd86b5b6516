"""Moves what is in the journal into chunks: a process makes them, the pipeline's writer commits them between its
batches.

A pass begins when the tail is long, or old, or something has to be taken out of history; it goes on where one that was
interrupted stopped. Each step is one transaction, made as long as the writer can spare: so many rows that it takes
about 8 ms, by how long the last one took (:mod:`relevo.jobs.pace`). After a pass, hours that closed are rolled up in
steps of the same kind, which make way as soon as the tail is long again.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from relevo.clock import Clock
from relevo.domain.events import AnyEvent, DeviceChanged, DeviceRemoved
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.sites import Site
from relevo.errors import StoreUnavailable
from relevo.jobs.background import Background
from relevo.jobs.erasing import Erasing
from relevo.jobs.pace import Pace
from relevo.jobs.room import Room
from relevo.jobs.trimming import Trimming
from relevo.log import get_logger
from relevo.pipeline import Pipeline
from relevo.store.history import chunks, rollups
from relevo.store.history.chunks import Progress, Stale, Step
from relevo.store.history.processes import Process
from relevo.store.history.worker import RepackWanted, RollWanted, StepWanted
from relevo.store.readers import Readers

log = get_logger("relevo.jobs")

LOOK_S: Final = 2.0
# For each device this part of a long tail (20 of 10,000): with fewer, a pass would write a chunk for every few points,
# and write it anew with the next few.
_A_DEVICE: Final = 500
_TAIL_MOST: Final = 500_000
TAIL_MS: Final = 86_400_000
REPACK_S: Final = 86_400.0
_ROWS_FIRST: Final = 20
_ROWS_MOST: Final = 1_000
_PATIENCE_S: Final = 120.0
_AGAIN_S: Final = 30.0
_LOOK_AFTER: Final = 16
_BREATHS, _BREATH_S = 20, 0.05
# A tail of so many times what makes a pass says that there is not enough time left over for passes.
_BEHIND: Final = 4


class Compactor:
    """One task and one process, which ends a minute after it had nothing to do."""

    def __init__(
        self,
        path: Path,
        pipeline: Pipeline,
        readers: Readers,
        clock: Clock,
        tail_events: int,
        devices: Callable[[], int] = lambda: 0,
        look_s: float = LOOK_S,
        trimming: Trimming | None = None,
        room: Room | None = None,
        zone: str = "UTC",
        erasing: Erasing | None = None,
    ) -> None:
        """A tail is long from ``tail_events`` on, and of many ``devices`` when it holds enough of each. ``trimming``
        takes out of the journal what is in chunks, ``room`` out of history what has to go, ``erasing`` from everywhere
        what is removed. ``zone`` is that of devices at no site."""
        self._pipeline = pipeline
        self._readers = readers
        self._clock = clock
        self._tail_events = tail_events
        self._devices = devices
        self._look_s = look_s
        self._process = Process(path, idle=True, before=self._breathe)
        self._trimming = trimming
        self._room = room
        if room is not None:
            room.tail_bytes = self.tail_bytes
        self._erasing = erasing
        self._pace = Pace(_ROWS_FIRST, _ROWS_MOST)
        self._zone = zone
        # Rows of roll-ups are longer.
        self._roll_pace = Pace(_ROWS_FIRST, _ROWS_MOST)
        # Series are looked at in their order, up to which one; anew when chunks or zones changed meanwhile.
        self._unrolled: bool | None = None
        self._rolled_through = 0
        self._changes = 0
        self._zone_changes = 1
        self._zones_seen = 0
        self._work = Background("compactor")
        # Devices may have gone while nobody looked.
        self._unswept = True
        self._repack_at = clock.monotonic() + REPACK_S / 24
        self._low = 0
        self.points = 0
        self.steps = 0
        self.rolled = 0
        self.seconds = 0.0
        self.longest_s = 0.0
        self.failed = 0
        pipeline.event_followers.append(self._follow)
        pipeline.record_followers.append(self._follow_sites)

    @property
    def tail(self) -> int:
        """Events that are not in chunks yet."""
        return max(self._pipeline.committed_seq - self._low, 0)

    def tail_bytes(self) -> int:
        """About what they take, which they do once more while they become chunks."""
        return round(self.tail * self._pipeline.event_bytes)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def figures(self) -> dict[str, float]:
        """How far history is out of the journal, and what that took."""
        figures: dict[str, float] = {
            "tail": self.tail,
            "points": self.points,
            "steps": self.steps,
            "failed": self.failed,
            "rolled": self.rolled,
        }
        others = [one for one in (self._trimming, self._room, self._erasing) if one is not None]
        longest = max([self.longest_s, *(one.longest_s for one in others)])
        for one in (self._trimming, self._erasing):
            figures |= one.figures() if one is not None else {}
        return {**figures, "seconds": round(self.seconds, 3), "longest_s": round(longest, 4)}

    def start(self) -> None:
        if self._room is not None:
            self._room.start()
        self._work.begin(self._run())
        log.info("compactor_started", every_s=self._look_s, tail_events=self._tail_events)

    async def stop(self) -> None:
        """Harmless when it never began; a step that is being written is finished by the writer or not begun."""
        if await self._work.end():
            log.info("compactor_stopped", points=self.points, steps=self.steps)
        if self._room is not None:
            await self._room.stop()
        await self._process.stop()

    async def look(self) -> None:
        """Do what is due now. Raises :class:`StoreUnavailable` and ``sqlite3.Error``."""
        while self._unswept:
            await self._sweep()
        if self._erasing is not None:
            await self._erasing.look(self._process)
        again = True
        while again:
            again = await self._due()
            if again:
                await self._pass()
            # Readings come first, but where there is next to no room what is in chunks leaves the journal at once.
            if again and not (self._room is not None and self._room.pressing):
                continue
            again = not await self._roll() or again
            if self._trimming is not None:
                await self._trimming.look(self._process, self._low)
            if self._room is not None:
                await self._room.look(self._process)
        if self._clock.monotonic() >= self._repack_at:
            self._repack_at = self._clock.monotonic() + REPACK_S
            await self.repack()

    async def repack(self) -> None:
        """Join small chunks of all devices."""
        after = 0
        while True:
            answer = await self._process.ask(RepackWanted(after, self._pace.rows), _PATIENCE_S)
            after = answer.after
            if answer.step is None:
                return
            await self._commit(answer.step)

    def _follow(self, event: AnyEvent) -> None:
        if type(event) is DeviceRemoved:
            self._unswept = True
        elif type(event) is DeviceChanged and "site" in event.changes:
            self._zones_changed()

    def _follow_sites(self, change: RecordChange) -> None:
        if (isinstance(change, Kept) and isinstance(change.record, Site)) or (
            isinstance(change, Dropped) and change.kind is Site
        ):
            self._zones_changed()

    def _zones_changed(self) -> None:
        self._unrolled = True
        self._zone_changes += 1
        self._changes += 1

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                pause = self._look_s
            except (StoreUnavailable, sqlite3.Error, Stale) as error:
                # What is in the journal stays there until it can be done.
                self.failed += 1
                self._process.end()
                log.warning("compaction_failed", error=f"{type(error).__name__}: {str(error)[:300]}")
                pause = _AGAIN_S
            await asyncio.sleep(pause)

    async def _breathe(self) -> None:
        """Read nothing for a moment where the log has grown long, so that it can begin anew."""
        for _ in range(_BREATHS):
            if not self._pipeline.log_is_long:
                return
            await asyncio.sleep(_BREATH_S)

    async def _due(self) -> bool:
        found, oldest, erased = await self._readers.run(_standing)
        self._low = found.low
        if found.through or erased or self.tail >= self._long():
            return True
        return oldest is not None and self._clock.now_ms() - oldest >= TAIL_MS

    def _long(self) -> int:
        return max(self._tail_events, min(self._tail_events // _A_DEVICE * self._devices(), _TAIL_MOST))

    async def _pass(self) -> None:
        """One range of the journal, to its end."""
        behind = self.tail > _BEHIND * self._long() or (self._room is not None and self._room.pressing)
        self._process.spare(not behind)
        while True:
            answer = await self._process.ask(StepWanted(self._pace.rows), _PATIENCE_S)
            if answer.step is None:
                return
            await self._commit(answer.step)
            self._unrolled = True
            self._changes += 1
            self.points += answer.step.points
            self._low = answer.step.left.low

    async def _roll(self) -> bool:
        """Make the hours that closed, and what is stale; False when the tail has to be seen to first."""
        if self._unrolled is None:
            self._unrolled = await self._readers.run(_unfinished)
        steps = 0
        begun, zones = self._changes, self._zone_changes
        self._rolled_through = 0
        while self._unrolled:
            wanted = RollWanted(self._rolled_through, self._roll_pace.rows, self._zone, zones != self._zones_seen)
            answer = await self._process.ask(wanted, _PATIENCE_S)
            step = answer.roll
            if step is None:
                self._zones_seen = zones
                self._unrolled = self._changes != begun
                begun, zones = self._changes, self._zone_changes
                self._rolled_through = 0
                continue
            with contextlib.suppress(Stale):
                took = await self._pipeline.maintain(partial(rollups.commit, step=step))
                self.rolled += len(step.units)
                self._count(took)
                self._roll_pace.took(step.rows(), took)
                self._rolled_through = answer.after
            steps += 1
            if steps % _LOOK_AFTER == 0 and await self._due():
                return False
        return True

    def _count(self, took: float) -> None:
        self.steps += 1
        self.seconds += took
        self.longest_s = max(self.longest_s, took)

    async def _commit(self, step: Step) -> None:
        took = await self._pipeline.maintain(partial(chunks.commit, step=step))
        self._count(took)
        self._pace.took(step.rows(), took)

    async def _sweep(self) -> None:
        """Chunks of devices that are gone."""
        rows = self._pace.rows
        more = False

        def work(connection: sqlite3.Connection) -> None:
            nonlocal more
            more = chunks.sweep(connection, rows)

        took = await self._pipeline.maintain(work)
        self.longest_s = max(self.longest_s, took)
        self._pace.took(rows, took)
        self._unswept = more


def _standing(connection: sqlite3.Connection) -> tuple[Progress, int | None, bool]:
    """How far the journal is in chunks, when what is not was committed first, and whether something is to be erased."""
    found = chunks.progress(connection)
    row = connection.execute("SELECT at FROM journal WHERE seq > ? ORDER BY seq LIMIT 1", (found.low,)).fetchone()
    erased = connection.execute("SELECT 1 FROM erasures LIMIT 1").fetchone() is not None
    return found, row[0] if row else None, erased


def _unfinished(connection: sqlite3.Connection) -> bool:
    """Whether there are series without roll-ups, or with stale ones: a server ended while it made them."""
    return bool(
        connection.execute(
            "SELECT EXISTS (SELECT 1 FROM stale) OR EXISTS (SELECT 1 FROM series WHERE id NOT IN "
            "(SELECT series FROM marks) AND EXISTS (SELECT 1 FROM chunks WHERE series = series.id))"
        ).fetchone()[0]
    )
