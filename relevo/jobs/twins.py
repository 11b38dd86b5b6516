"""Every second: devices that could not take what is desired of them, and those that are heard and do not agree."""

import asyncio
from typing import Final

from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.twins import Twins

log = get_logger("relevo.jobs")

EVERY_S: Final = 1.0


class Delivery:
    """Looks at the devices that still have to become something."""

    def __init__(self, twins: Twins) -> None:
        self._twins = twins
        self._task = Background("desired-state")

    def start(self) -> None:
        self._task.begin(self._run())
        log.info("desired_state_started", every_s=EVERY_S)

    async def stop(self) -> None:
        """Harmless when it never began."""
        self._twins.stop()
        if await self._task.end():
            log.info("desired_state_ended")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self._twins.look()
