"""The sending process, seen from the server: begun with the first message, ended after a quiet while.

It gets none of our environment but what a program needs to run and to find its way through proxies: a service's client
library is nobody to hold this server's secrets. Its URLs travel through the pipe and stand in no command line.
"""

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

QUIET_S: Final = 60.0
_GONE_S: Final = 2.0
_KEPT: Final = frozenset(
    {
        "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "SYSTEMROOT", "SSL_CERT_FILE", "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    }
)  # fmt: skip
# The place of this package, because the process runs in another directory and ignores the current one.
_HOME: Final = str(Path(__file__).resolve().parent.parent.parent)
_PROGRAM: Final = "import sys; sys.path.insert(0, sys.argv.pop(1)); from relevo.sending.program import main; main()"


class Outcome(NamedTuple):
    """What became of one message; ``permanent`` when trying again is no use."""

    ok: bool
    detail: str = ""
    permanent: bool = False


class _Pipe(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        self._received = b""
        self.wanted: dict[int, asyncio.Future[Outcome]] = {}
        self.ended = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            future = self.wanted.pop(answer["id"], None)
            if future is not None and not future.done():
                future.set_result(Outcome(answer["ok"], answer["detail"], answer["permanent"]))

    def process_exited(self) -> None:
        self.give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self.give_up()
        self.ended.set()

    def give_up(self) -> None:
        wanted, self.wanted = self.wanted, {}
        for future in wanted.values():
            if not future.done():
                future.set_result(Outcome(False, "the sending process ended"))


class SendingProcess:
    """One process for all messages. Nothing is known of one that did not answer: it may have been sent."""

    def __init__(self, smtp_url: str, mail_from: str, quiet_s: float = QUIET_S) -> None:
        self._mail = {"url": smtp_url, "from": mail_from}
        self._quiet_s = quiet_s
        self._numbers = itertools.count(1)
        self._starting = asyncio.Lock()
        self._process: tuple[asyncio.SubprocessTransport, _Pipe] | None = None
        self._quiet: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    async def send(self, kind: str, url: str, message: dict[str, Any], within_s: float) -> Outcome:
        """Send ``message`` to ``url``, an address for the kind ``email``; an outcome within about ``within_s``."""
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        process: tuple[asyncio.SubprocessTransport, _Pipe] | None = None
        try:
            async with asyncio.timeout(within_s):
                process = await self._get()
                transport, pipe = process
                number = next(self._numbers)
                answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
                pipe.wanted[number] = answer
                request = {"id": number, "to": {"kind": kind, "url": url}, "mail": self._mail, "message": message}
                line = json.dumps(request).encode() + b"\n"
                cast(asyncio.WriteTransport, transport.get_pipe_transport(0)).write(line)
                return await answer
        except TimeoutError:
            # What hangs in a foreign library can be ended with its process only.
            self._end(process)
            return Outcome(False, f"no outcome within {within_s:g} s")
        except OSError as error:
            self._end(process)
            return Outcome(False, f"the sending process cannot be started: {error}")
        finally:
            self._rest()

    async def stop(self) -> None:
        """End the process and wait until it is gone; harmless when there is none."""
        process = self._process
        self._end(process)
        if process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GONE_S):
                    await process[1].ended.wait()

    async def _get(self) -> tuple[asyncio.SubprocessTransport, _Pipe]:
        async with self._starting:
            if self._process is not None and self._process[0].get_returncode() is None:
                return self._process
            if self._process is not None:
                self._process[0].close()
            environment = {name: value for name, value in os.environ.items() if name in _KEPT}
            command = [sys.executable, "-P", "-c", _PROGRAM, _HOME]
            self._process = await asyncio.get_running_loop().subprocess_exec(
                _Pipe, *command, stderr=subprocess.DEVNULL, env=environment
            )
            return self._process

    def _rest(self) -> None:
        if self._process is not None and not self._process[1].wanted and self._quiet is None:
            loop = asyncio.get_running_loop()
            self._quiet = loop.call_later(self._quiet_s, lambda: self._end(self._process))

    def _end(self, process: tuple[asyncio.SubprocessTransport, _Pipe] | None) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if process is None:
            return
        if self._process is process:
            self._process = None
        # Kills what still runs; whoever waits for it is told.
        process[0].close()
        process[1].give_up()
