"""A process beside the server that does nothing but Argon2id.

Hashing takes tens of milliseconds and, on the server's own core, what readings leave: the process asks for idle
priority, and because it is none of the server's threads it never holds the interpreter's lock while somebody with more
right waits for it. It begins with the first password, ends after a quiet while and with the server (its standard input
ends). Passwords travel through its pipes and stand nowhere else.
"""

import asyncio
import base64
import contextlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Final, cast

from relevo.errors import StoreUnavailable

# OWASP's recommendation for Argon2id: 19 MiB and two passes take 30 ms, the library's defaults 450 under load.
TIME_COST: Final = 2
MEMORY_KIB: Final = 19 * 1024
QUIET_S: Final = 60.0
_PATIENCE_S: Final = 30.0
_GONE_S: Final = 1.0

# Isolated and without site: what it does not import costs neither memory nor time.
_PROGRAM: Final = f"""
import base64, contextlib, os, sys
sys.path[:0] = sys.argv[1:]
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
with contextlib.suppress(OSError, AttributeError):
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
hasher = PasswordHasher(time_cost={TIME_COST}, memory_cost={MEMORY_KIB}, parallelism=1)
for line in sys.stdin.buffer:
    password, known = (base64.b64decode(part) for part in line.split(b" "))
    if known:
        try:
            hasher.verify(known, password)
            answer = "fits"
        except (VerificationError, InvalidHashError):
            answer = "differs"
    else:
        answer = hasher.hash(password)
    print(answer, flush=True)
"""


def _command() -> list[str]:
    places = {
        str(Path(spec.origin).parent.parent)
        for spec in map(importlib.util.find_spec, ("argon2", "_argon2_cffi_bindings"))
        if spec is not None and spec.origin is not None
    }
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, *sorted(places)]


def _line(password: str, known: str) -> bytes:
    return base64.b64encode(password.encode()) + b" " + base64.b64encode(known.encode()) + b"\n"


def hash_now(password: str) -> str:
    """Argon2id of ``password``, before there is a loop to wait in. Raises :class:`StoreUnavailable`."""
    try:
        done = subprocess.run(  # noqa: S603 - our own program, with places of our own
            _command(), input=_line(password, ""), capture_output=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreUnavailable(f"passwords cannot be hashed: {error}") from None
    return done.stdout.decode().strip()


class _Pipe(asyncio.SubprocessProtocol):
    """Lines from the process; an empty one says that it ended."""

    def __init__(self) -> None:
        self._received = b""
        self._wanted: asyncio.Future[bytes] | None = None
        self.ended = asyncio.Event()

    def next_line(self) -> "asyncio.Future[bytes]":
        self._wanted = asyncio.get_running_loop().create_future()
        return self._wanted

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._received += data
        line, mark, rest = self._received.partition(b"\n")
        if mark:
            self._received = rest
            self._answer(line)

    def process_exited(self) -> None:
        self._answer(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def _answer(self, line: bytes) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(line)


class Hashing:
    """One process, started when it is needed. Calls take their turn: the caller bounds how many wait."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: tuple[asyncio.SubprocessTransport, _Pipe] | None = None
        self._quiet: asyncio.TimerHandle | None = None

    async def hash(self, password: str) -> str:
        """Argon2id of ``password``. Raises :class:`StoreUnavailable` when no process can be had."""
        return await self._ask(password, "")

    async def fits(self, password: str, known: str) -> bool:
        """Whether ``known`` is a hash of ``password``. Raises :class:`StoreUnavailable`."""
        return await self._ask(password, known) == "fits"

    async def _ask(self, password: str, known: str) -> str:
        line = _line(password, known)
        async with self._turn:
            # Twice: it may have been killed since the last time.
            for _ in range(2):
                answer = await self._exchange(line)
                if answer:
                    return answer
        raise StoreUnavailable("passwords cannot be checked at this moment: the process that does it cannot be started")

    async def _exchange(self, line: bytes) -> str:
        if self._quiet is not None:
            self._quiet.cancel()
        try:
            transport, pipe = self._process = self._process or await self._start()
            answer = pipe.next_line()
            cast(asyncio.WriteTransport, transport.get_pipe_transport(0)).write(line)
            async with asyncio.timeout(_PATIENCE_S):
                found = (await answer).decode()
        except (OSError, TimeoutError):
            found = ""
        except BaseException:
            # Whoever gave up must not leave their answer to the next one.
            self._end()
            raise
        if found:
            self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self._end)
        else:
            self._end()
        return found

    async def _start(self) -> tuple[asyncio.SubprocessTransport, _Pipe]:
        return await asyncio.get_running_loop().subprocess_exec(_Pipe, *_command(), stderr=subprocess.DEVNULL)

    def _end(self) -> "_Pipe | None":
        if self._quiet is not None:
            self._quiet.cancel()
        process, self._process = self._process, None
        if process is None:
            return None
        # Kills what still runs.
        process[0].close()
        return process[1]

    async def stop(self) -> None:
        """End the process and wait until it is gone; harmless when there is none."""
        pipe = self._end()
        if pipe is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GONE_S):
                    await pipe.ended.wait()
