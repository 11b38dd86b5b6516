"""Switches relays off when their time is over (:mod:`relevo.switching`)."""

import asyncio
import contextlib
from typing import Final

from relevo.clock import Clock
from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.switching import Switching

log = get_logger("relevo.jobs")

EVERY_S: Final = 1.0
_LEAST_S: Final = 0.005


class RelayClock:
    """Looks when the next relay has to go off, and every second."""

    def __init__(self, switching: Switching, clock: Clock) -> None:
        self._switching = switching
        self._clock = clock
        self._stirred = asyncio.Event()
        self._task = Background("relays")

    def start(self) -> None:
        self._switching.stirred = self._stirred.set
        self._switching.begin()
        self._task.begin(self._run())
        log.info("relays_started", every_s=EVERY_S)

    async def stop(self) -> None:
        """Harmless when it never began."""
        if await self._task.end():
            self._switching.stop()
            log.info("relays_ended")

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            following = self._switching.look()
            left = EVERY_S
            if following is not None:
                left = min(EVERY_S, max(_LEAST_S, following - self._clock.monotonic()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stirred.wait()
