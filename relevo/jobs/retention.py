"""What is kept for a time and then dropped: signing keys that no living token needs."""

import asyncio
from collections.abc import Callable
from typing import Final

from relevo.domain.records import RecordChange
from relevo.log import get_logger
from relevo.pipeline import Pipeline

log = get_logger("relevo.jobs")

EVERY_S: Final = 60.0


class Retention:
    """Looks once a minute; ``ended_keys`` gives the change that drops signing keys, ``None`` while there are none."""

    def __init__(self, pipeline: Pipeline, ended_keys: Callable[[], RecordChange | None]) -> None:
        self._pipeline = pipeline
        self._ended_keys = ended_keys
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="retention")
        log.info("retention_started", every_s=EVERY_S)

    async def stop(self) -> None:
        """Harmless when it never began."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        log.info("retention_ended")

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Drop what is over by now."""
        change = self._ended_keys()
        if change is not None:
            self._pipeline.submit([change])
            log.info("signing_keys_dropped")
