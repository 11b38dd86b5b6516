"""Exports that are under way, seen from the server: it passes on what a process makes, as fast as it is taken."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from relevo.errors import Invalid, StoreUnavailable, TooMany
from relevo.exchange.protocol import Answer, ExportWanted, More, Wanted, decode_answer, encode
from relevo.store.history.processes import QUIET_S, Process

AT_ONCE: Final = 2
# No progress for so long ends an export; how long all of it takes does not matter.
PART_S: Final = 60.0
STALLED_S: Final = 300.0
_ENDED_KEPT: Final = 8
PROGRAM: Final = "relevo.exchange.program"


async def asked(process: Process, wanted: Wanted, within_s: float) -> Answer:
    """The answer of a process of :mod:`relevo.exchange.program`.

    Raises :class:`StoreUnavailable`, and :class:`Invalid` for what whoever asks did wrong.
    """
    answer = decode_answer(await process.call(encode(wanted), within_s))
    if answer.reason:
        raise Invalid(answer.reason, answer.error)
    if answer.error:
        raise StoreUnavailable(f"history cannot be read: {answer.error}")
    return answer


class Export:
    """One export. ``points`` of about ``expected`` values were made."""

    def __init__(
        self,
        by: str,
        process: Process,
        expected: int,
        part_s: float,
        stalled_s: float,
        release: Callable[[Process], None],
    ) -> None:
        self.id = token_hex(8)
        self.by = by
        self.points = 0
        self.expected = expected
        self._process = process
        self._part_s = part_s
        self._stalled_s = stalled_s
        self._release = release
        self._whole = False
        self._watch: asyncio.TimerHandle | None = None
        self._next: asyncio.Task[Answer] | None = None
        self.ended = asyncio.Event()
        self._taken()

    async def parts(self) -> AsyncIterator[bytes]:
        """The file. Raises :class:`StoreUnavailable` in its middle when it cannot go on."""
        try:
            self._next = asyncio.create_task(self._ask())
            while self._next is not None:
                answer = await self._next
                self.points, self.expected = answer.points, max(answer.expected, answer.points)
                # One part ahead of whoever takes them, and no more.
                self._next = None if answer.done else asyncio.create_task(self._ask())
                self._whole = answer.done
                yield answer.data
                if self.ended.is_set():
                    raise StoreUnavailable(f"nobody took a part of the export for {self._stalled_s:g} s")
                self._taken()
        finally:
            self.end()

    def end(self) -> None:
        """Harmless when it has ended."""
        if self.ended.is_set():
            return
        if self._watch is not None:
            self._watch.cancel()
        task, self._next = self._next, None
        if task is not None:
            task.cancel()
            task.add_done_callback(_looked_at)
        self.ended.set()
        if self._whole:
            self._release(self._process)
        else:
            self._process.end()

    async def stop(self) -> None:
        """End it and wait for its process."""
        self.end()
        await self._process.stop()

    async def _ask(self) -> Answer:
        return await asked(self._process, More(), self._part_s)

    def _taken(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = asyncio.get_running_loop().call_later(self._stalled_s, self.end)


def _looked_at(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()


class Exports:
    """All exports of the server."""

    def __init__(
        self,
        path: Path,
        at_once: int = AT_ONCE,
        part_s: float = PART_S,
        stalled_s: float = STALLED_S,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._path = path
        self._at_once = at_once
        self._part_s = part_s
        self._stalled_s = stalled_s
        self._quiet_s = quiet_s
        self._beginning = 0
        # The one that ended last is taken first.
        self._free: list[Process] = []
        # Also those that are over, until their processes surely are, too.
        self._all: deque[Export] = deque(maxlen=at_once + _ENDED_KEPT)

    @property
    def running(self) -> list[Export]:
        """Those that are not over."""
        return [one for one in self._all if not one.ended.is_set()]

    async def begin(self, wanted: ExportWanted, by: str) -> Export:
        """An export for ``by``, whose parts are to be taken.

        Raises :class:`TooMany`, :class:`StoreUnavailable` and :class:`Invalid`.
        """
        if len(self.running) + self._beginning >= self._at_once:
            raise TooMany(f"{self._at_once} exports are being made already", 30)
        self._beginning += 1
        process = self._free.pop() if self._free else Process(self._path, program=PROGRAM, quiet_s=2 * self._stalled_s)
        try:
            answer = await asked(process, wanted, self._part_s)
        except BaseException:
            process.end()
            raise
        finally:
            self._beginning -= 1
        # The library for Parquet stays in memory once it is there.
        release = Process.end if wanted.format == "parquet" else self._keep
        export = Export(by, process, answer.expected, self._part_s, self._stalled_s, release)
        if len(self._all) == self._all.maxlen:
            over = next(one for one in self._all if one.ended.is_set())
            self._all.remove(over)
        self._all.append(export)
        return export

    def _keep(self, process: Process) -> None:
        """The process of an export that is whole makes the next one, if there is one soon."""
        self._free.append(process)
        asyncio.get_running_loop().call_later(self._quiet_s, self._end_free, process)

    def _end_free(self, process: Process) -> None:
        if process in self._free:
            self._free.remove(process)
            process.end()

    async def stop(self) -> None:
        """End all of them; harmless when there are none."""
        with contextlib.suppress(asyncio.CancelledError):
            for one in list(self._all):
                await one.stop()
