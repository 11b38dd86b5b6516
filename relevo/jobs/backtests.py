"""Trying rules on stored history, each in a process of its own (:mod:`relevo.store.backtests`)."""

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec

from relevo.domain.devices import Device
from relevo.domain.rules import Rule
from relevo.errors import StoreUnavailable, TooMany
from relevo.log import get_logger
from relevo.store.backtests import Answer, Asked

log = get_logger("relevo.jobs")

EVENTS_MOST: Final = 2_000_000
PATIENCE_S: Final = 60.0
_WAITING_MOST: Final = 4


class Backtests:
    """One at a time; ``path`` is the database."""

    def __init__(self, path: Path, events_most: int = EVENTS_MOST) -> None:
        self._path = path
        self._events_most = events_most
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def run(self, rule: Rule, devices: list[Device], begin: int, end: int) -> Answer:
        """What ``rule`` would have done with ``devices`` from ``begin`` until before ``end`` (milliseconds UTC).

        Raises :class:`TooMany` when several are waiting already, and :class:`StoreUnavailable` when it takes too long.
        """
        if self._waiting >= _WAITING_MOST:
            raise TooMany(f"{_WAITING_MOST} backtests are waiting already", 10)
        asked = Asked(str(self._path.absolute()), rule, devices, begin, end, self._events_most)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._try(asked)
        finally:
            self._waiting -= 1

    async def _try(self, asked: Asked) -> Answer:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "relevo.store.backtests",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                out, said = await process.communicate(msgspec.json.encode(asked))
        except TimeoutError:
            raise StoreUnavailable(
                f"the backtest took more than {PATIENCE_S:g} s and was ended: choose a shorter time or fewer devices"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            log.error("backtest_failed", code=process.returncode, error=said.decode(errors="replace")[-500:])
            raise StoreUnavailable("the backtest failed; the log says why")
        return msgspec.json.decode(out, type=Answer)
