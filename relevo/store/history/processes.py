"""The processes of :mod:`worker`, seen from the server: begun with work, ended after a quiet while."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec

from relevo.domain.quality import is_late, source_of
from relevo.errors import FieldError, Invalid, StoreUnavailable, TooMany
from relevo.store.history.asking import PageWanted, Question
from relevo.store.history.series import ChunksNeeded, Page, Said, newest, read
from relevo.store.history.worker import Answer, NewestWanted, Wanted, decode_answer, encode, framed
from relevo.store.readers import Readers

QUIET_S: Final = 60.0
QUERY_S: Final = 20.0
PROCESSES: Final = 2
_WAITING_MOST: Final = 100
_GONE_S: Final = 2.0
_CHUNKED_MOST: Final = 10_000
_json: Final = msgspec.json.Encoder().encode


class _Pipe(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        self._received = bytearray()
        self._wanted: asyncio.Future[bytes] | None = None
        self.ended = asyncio.Event()

    def next_answer(self) -> "asyncio.Future[bytes]":
        self._wanted = asyncio.get_running_loop().create_future()
        return self._wanted

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        received = self._received
        received += data
        if len(received) >= 4 and len(received) - 4 >= (length := int.from_bytes(received[:4])):
            self._answer(bytes(received[4 : 4 + length]))
            del received[: 4 + length]

    def process_exited(self) -> None:
        self._answer(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._answer(b"")
        self.ended.set()

    def _answer(self, data: bytes) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(data)


class Process:
    """One process that answers one question at a time; the caller sees to that."""

    def __init__(
        self,
        path: Path,
        idle: bool = False,
        quiet_s: float = QUIET_S,
        program: str = "relevo.store.history.worker",
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``before`` is awaited before each question."""
        self._before = before
        self._command = [sys.executable, "-m", program, str(path.absolute())]
        self._idle = idle
        self._quiet_s = quiet_s
        self._process: tuple[asyncio.SubprocessTransport, _Pipe] | None = None
        self._quiet: asyncio.TimerHandle | None = None
        # Those that were killed and are not gone yet.
        self._ending: list[_Pipe] = []

    @property
    def pid(self) -> int | None:
        """The process's number while there is one."""
        return self._process[0].get_pid() if self._process is not None else None

    def spare(self, idle: bool) -> None:
        """From now on it runs when nothing else wants to, or else like everybody; between two pieces of work only."""
        if idle != self._idle:
            self._idle = idle
            # A process may not raise itself again, so another one goes on.
            self.end()

    async def ask(self, wanted: Wanted, within_s: float) -> Answer:
        """The answer. Raises as :meth:`call`, and :class:`StoreUnavailable` when it says what went wrong."""
        found = decode_answer(await self.call(encode(wanted), within_s))
        if found.error:
            raise StoreUnavailable(f"history cannot be read: {found.error}")
        return found

    async def call(self, wanted: bytes, within_s: float) -> bytes:
        """The bytes of the answer. Raises :class:`StoreUnavailable` when there is none in time.

        A process whose answer nobody waits for any more is ended.
        """
        if self._quiet is not None:
            self._quiet.cancel()
        if self._before is not None:
            await self._before()
        data = b""
        try:
            async with asyncio.timeout(within_s):
                transport, pipe = self._process = self._process or await self._start()
                answer = pipe.next_answer()
                cast(asyncio.WriteTransport, transport.get_pipe_transport(0)).write(framed(wanted))
                data = await answer
        except TimeoutError:
            raise StoreUnavailable(f"it took more than {within_s:g} s and was ended: ask for less") from None
        except OSError as error:
            raise StoreUnavailable(f"the process that opens history cannot be started: {error}") from None
        finally:
            if not data:
                self.end()
        if not data:
            raise StoreUnavailable("the process that opens history ended; try again")
        self._quiet = asyncio.get_running_loop().call_later(self._quiet_s, self.end)
        return data

    def end(self) -> None:
        """Kill the process, if there is one."""
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        process, self._process = self._process, None
        if process is not None:
            self._ending = [pipe for pipe in self._ending if not pipe.ended.is_set()]
            self._ending.append(process[1])
            process[0].close()

    async def stop(self) -> None:
        """End the process and wait until it is gone; harmless when there is none."""
        self.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GONE_S):
                for pipe in self._ending:
                    await pipe.ended.wait()

    async def _start(self) -> tuple[asyncio.SubprocessTransport, _Pipe]:
        return await asyncio.get_running_loop().subprocess_exec(
            _Pipe, *self._command, *(["idle"] if self._idle else []), stderr=subprocess.DEVNULL
        )


class History:
    """Reads stored points: what is in the journal's tail by itself, everything else through a process."""

    def __init__(
        self,
        path: Path,
        readers: Readers,
        within_s: float = QUERY_S,
        processes: int = PROCESSES,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._readers = readers
        self._within_s = within_s
        # The one that ended last is taken first, so that the others become quiet.
        self._free = [Process(path, quiet_s=quiet_s) for _ in range(processes)]
        self._all = tuple(self._free)
        self._turns = asyncio.Semaphore(processes)
        self._waiting = 0
        # Of series whose chunks were needed, when a point in one of them was: spans around it need them again.
        self._chunked: dict[tuple[str, int, str], int] = {}

    @property
    def pids(self) -> list[int]:
        """The processes that there are."""
        return [pid for one in self._all if (pid := one.pid) is not None]

    async def page(
        self,
        device: str,
        key: str,
        start: int,
        end: int,
        limit: int,
        after: tuple[int, int] | None = None,
        since: int = 0,
    ) -> Page:
        """See :func:`series.read`.

        Raises :class:`StoreUnavailable` when it takes too long, and :class:`TooMany` when too many are waiting already.
        Whoever is cancelled ends the work, too.
        """
        page = await self._from_tail(device, key, start, end, limit, after, since)
        if page is not None:
            return page
        answer = await self._ask(PageWanted(device, key, start, end, limit, after, since))
        assert answer.page is not None
        return answer.page

    async def _from_tail(
        self, device: str, key: str, start: int, end: int, limit: int, after: tuple[int, int] | None, since: int
    ) -> Page | None:
        """None where chunks have to be opened."""
        of = (device, since, key)
        begin = start if after is None else max(start, after[0])
        if begin <= self._chunked.get(of, begin - 1) < end:
            return None
        try:
            return await self._readers.run(read, None, device, key, start, end, limit, after, since)
        except ChunksNeeded as needed:
            if len(self._chunked) >= _CHUNKED_MOST:
                self._chunked.clear()
            self._chunked[of] = needed.until
            return None

    async def newest(self, device: str, most: int, since: int) -> list[Said]:
        """See :func:`series.newest`. Raises as :meth:`page` does."""
        with contextlib.suppress(ChunksNeeded):
            return await self._readers.run(newest, None, device, most, since)
        return (await self._ask(NewestWanted(device, most, since))).newest or []

    async def json_page(
        self,
        device: str,
        key: str,
        start: int,
        end: int,
        limit: int,
        after: tuple[int, int] | None,
        since: int,
        quality: bool,
    ) -> tuple[bytes, tuple[int, int] | None, bool]:
        """The points of a page as a JSON array, each with its quality if wanted; the position of the last one when more
        follow; and whether there are none. Raises as :meth:`page`."""
        page = await self._from_tail(device, key, start, end, limit, after, since)
        if page is None:
            kind: Literal["points", "quality"] = "quality" if quality else "points"
            answer = await self._ask(PageWanted(device, key, start, end, limit, after, since, kind))
            return answer.body, answer.position, answer.nothing
        points: list[Any] = [(one.ts, one.value) for one in page.points]
        if quality:
            points = [(one.ts, one.value, source_of(one.quality), is_late(one.quality)) for one in page.points]
        return _json(points), page.points[-1][:2] if page.more else None, not points

    async def body(self, question: Question) -> tuple[bytes, bool]:
        """The JSON that answers ``question``, and whether there is nothing of what it asks for.

        Raises :class:`Invalid` for one that has no answer, and as :meth:`page`.
        """
        answer = await self._ask(question)
        if answer.refused is not None:
            reason, field, message = answer.refused
            raise Invalid(reason, message, [FieldError(field, message, reason)])
        return answer.body, answer.nothing

    async def _ask(self, wanted: Wanted) -> Answer:
        if self._waiting >= _WAITING_MOST:
            raise TooMany(f"{_WAITING_MOST} questions about history are waiting already", 5)
        self._waiting += 1
        try:
            async with self._turns:
                process = self._free.pop()
                try:
                    return await process.ask(wanted, self._within_s)
                finally:
                    self._free.append(process)
        finally:
            self._waiting -= 1

    async def stop(self) -> None:
        """End the processes; harmless when there are none."""
        for process in self._all:
            await process.stop()
