"""Keeps the journal short and the file no longer than it has to be, in transactions that the writer can spare.

Readings leave the journal when they are in chunks and there are enough newer ones, or after some days. Whoever follows
the journal and is behind holds them there for these days at most. What is no reading stays for its own days. Pages
that are free are given back to the file system, but for a reserve that the next readings take.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final

from relevo.clock import Clock
from relevo.jobs.pace import Pace
from relevo.pipeline import Pipeline
from relevo.store.history import trimming
from relevo.store.history.processes import Process
from relevo.store.history.trimming import Space
from relevo.store.history.worker import TrimWanted
from relevo.store.readers import Readers

DAY_MS: Final = 86_400_000
EXPIRE_S: Final = 3_600.0
_PATIENCE_S: Final = 120.0
# Nobody waits for this work, so it takes less of the writer at a time than making chunks.
_SPARE_S: Final = 0.004
# Free space that stays in the file: its share, and at least so many bytes.
_RESERVE_SHARE: Final = 50
_RESERVE: Final = 16 * 1024 * 1024
# Trimming a few rows at a time would cost more transactions than it is worth.
_WORTH_EVENTS: Final = 2_000


class Trimming:
    """Does its part when the compactor looks. ``holds`` answer with the first number somebody still has to read."""

    def __init__(
        self, pipeline: Pipeline, readers: Readers, clock: Clock, keep_events: int, keep_days: int, events_days: int
    ) -> None:
        """``keep_events`` newest events keep their readings, for ``keep_days`` at most; what is no reading stays for
        ``events_days``."""
        self._pipeline = pipeline
        self._readers = readers
        self._clock = clock
        self._keep = keep_events
        self._keep_ms = keep_days * DAY_MS
        self._events_ms = events_days * DAY_MS
        self.holds: list[Callable[[], int]] = []
        self._rows = Pace(50, 5_000, _SPARE_S)
        self._pages = Pace(100, 2_000, _SPARE_S)
        self._expire_at = clock.monotonic()
        self.space = Space(0, 0, 0)
        self.through = 0
        self.longest_s = 0.0

    def figures(self) -> dict[str, float]:
        """Bytes of the database's file and what of it is free, and up to which event readings left the journal."""
        return {"file_bytes": self.space.size, "free_bytes": self.space.free, "trimmed": self.through}

    async def look(self, process: Process, low: int) -> None:
        """Do what is due, when events with numbers up to ``low`` are in chunks.

        Raises :class:`relevo.errors.StoreUnavailable`, :class:`Stale` and ``sqlite3.Error``.
        """
        await self._trim(process, low)
        if self._clock.monotonic() >= self._expire_at:
            self._expire_at = self._clock.monotonic() + EXPIRE_S
            await self._expire()
        await self.measure()
        reserve = max(self.space.size // _RESERVE_SHARE, _RESERVE)
        # Not before it is twice the reserve: what was given back has to be asked for again.
        if self.space.free > 2 * reserve:
            await self.give_back(reserve)

    async def measure(self) -> None:
        """Look how large the file is now."""
        self.space = await self._readers.run(trimming.space)

    async def give_back(self, reserve: int) -> None:
        """Make the file shorter until it holds no more than ``reserve`` free bytes."""
        await self.measure()
        while (before := self.space).free > reserve:
            pages = min(self._pages.rows, (before.free - reserve) // before.page + 1)
            took = await self._pipeline.maintain(partial(trimming.give_back, pages=pages))
            self._note(self._pages, pages, took)
            await self.measure()
            if self.space.size >= before.size:
                # A file that was made without this keeps its length.
                return

    async def _trim(self, process: Process, low: int) -> None:
        self.through, aged = await self._readers.run(trimming.standing, self._clock.now_ms() - self._keep_ms)
        head = self._pipeline.committed_seq
        held = min([head, *(hold() for hold in self.holds)]) - 1
        # The newest row stays: it says which number comes next.
        goal = min(low, head - 1, max(min(head - self._keep, held), aged))
        if goal - self.through < min(_WORTH_EVENTS, self._keep) and aged <= self.through:
            return
        while self.through < goal:
            answer = await process.ask(TrimWanted(goal, self._rows.rows), _PATIENCE_S)
            trim = answer.trim
            if trim is None:
                return
            took = await self._pipeline.maintain(partial(trimming.commit, trim=trim))
            self._note(self._rows, trim.rows, took)
            self.through = trim.end

    async def _expire(self) -> None:
        before = self._clock.now_ms() - self._events_ms
        found = rows = 1
        while found >= rows:
            rows = self._rows.rows
            found = 0

            def work(connection: sqlite3.Connection, rows: int = rows) -> None:
                nonlocal found
                found = trimming.expire(connection, before, rows)

            took = await self._pipeline.maintain(work)
            self._note(self._rows, rows, took)

    def _note(self, pace: Pace, rows: int, took: float) -> None:
        pace.took(rows, took)
        self.longest_s = max(self.longest_s, took)
