"""Takes out of everything that is kept what belonged to a device that was removed, and names that were erased.

The process of the compactor looks and rewrites, the pipeline's writer commits in transactions that it can spare. What a
restart interrupts goes on where it was.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final

from relevo.domain.events import AnyEvent, DeviceRemoved
from relevo.domain.records import NameErased, RecordChange
from relevo.jobs.pace import Pace
from relevo.log import get_logger
from relevo.pipeline import Pipeline
from relevo.store import erasing
from relevo.store.history.chunks import Stale
from relevo.store.history.processes import Process
from relevo.store.history.worker import ScrubWanted
from relevo.store.readers import Readers

log = get_logger("relevo.jobs")

_PATIENCE_S: Final = 120.0
_SPARE_S: Final = 0.004
_TRIES: Final = 20


class Erasing:
    """Does its part when the compactor looks. ``clear`` is told the topics whose retained messages are gone."""

    def __init__(self, pipeline: Pipeline, readers: Readers, clear: Callable[[list[str]], None]) -> None:
        self._pipeline = pipeline
        self._readers = readers
        self._clear = clear
        self._rows = Pace(20, 500, _SPARE_S)
        # A restart may have interrupted it.
        self._due = True
        self.waiting = 0
        self.longest_s = 0.0
        pipeline.event_followers.append(self._follow)
        pipeline.record_followers.append(self._follow_record)

    def figures(self) -> dict[str, float]:
        """How many devices and names are removed and not erased everywhere yet."""
        return {"erasing": self.waiting}

    def _follow(self, event: AnyEvent) -> None:
        if type(event) is DeviceRemoved:
            self._due = True

    def _follow_record(self, change: RecordChange) -> None:
        if type(change) is NameErased:
            self._due = True

    async def look(self, process: Process) -> None:
        """Erase what is to be erased.

        Raises :class:`relevo.errors.StoreUnavailable`, :class:`Stale` and ``sqlite3.Error``.
        """
        if not self._due:
            return
        self._due = False
        try:
            await self._erase(process)
        except BaseException:
            self._due = True
            raise

    async def _erase(self, process: Process) -> None:
        missed = 0
        while waiting := await self._readers.run(_waiting):
            self.waiting = waiting
            step = (await process.ask(ScrubWanted(self._rows.rows), _PATIENCE_S)).scrub
            if step is None:
                break
            try:
                took = await self._pipeline.maintain(partial(erasing.commit, step=step))
            except Stale:
                # Somebody wrote one of these rows meanwhile: once more, with fewer of them.
                missed += 1
                self._rows.rows = max(self._rows.rows // 2, 1)
                if missed > _TRIES:
                    raise
                continue
            self._rows.took(step.size, took)
            self.longest_s = max(self.longest_s, took)
            if step.topics:
                self._clear(step.topics)
            if step.to_stage > len(erasing.STAGES):
                log.info("erased", removals=len(step.ids))
        self.waiting = 0


def _waiting(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM scrubs").fetchone()[0])
