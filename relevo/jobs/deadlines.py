"""What time decides about commands: expired in the queue, not answered in time (:mod:`relevo.domain.commands`)."""

import asyncio
import contextlib
from typing import Final

from relevo.clock import Clock
from relevo.dispatch import Dispatch
from relevo.jobs.background import Background
from relevo.log import get_logger

log = get_logger("relevo.jobs")

# A device that could not take more is tried again this often, deadline or not.
EVERY_S: Final = 1.0
_LEAST_S: Final = 0.01


class Deadlines:
    """Looks at the ledger when its next deadline comes, and every second."""

    def __init__(self, dispatch: Dispatch, clock: Clock) -> None:
        self._dispatch = dispatch
        self._clock = clock
        self._stirred = asyncio.Event()
        self._until_ms = 0
        self._task = Background("command-deadlines")

    def start(self) -> None:
        self._dispatch.stirred = self._stir
        self._task.begin(self._run())
        log.info("command_deadlines_started", every_s=EVERY_S)

    async def stop(self) -> None:
        """Harmless when it never began."""
        if await self._task.end():
            log.info("command_deadlines_ended")

    def _stir(self) -> None:
        following = self._dispatch.ledger.next_at()
        if following is not None and following < self._until_ms:
            self._stirred.set()

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            following = self._dispatch.look()
            now = self._clock.now_ms()
            left = EVERY_S if following is None else min(EVERY_S, max(_LEAST_S, (following - now) / 1000))
            self._until_ms = now + round(left * 1000)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stirred.wait()
