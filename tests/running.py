"""A real server in its own process, for tests that need sockets, signals and a data directory.

    with RunningServer(tmp_path / "data") as server:
        key = server.register("bench-1")
        server.kill()
        server.restart()

Everything the server writes to its two streams goes to ``server.log``; the end of it is printed when the server
stops, which pytest shows only beside a failure.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.canaries import Canaries

REPOSITORY = Path(__file__).resolve().parent.parent
ADMIN_PASSWORD = "correct-horse-battery-staple"


_PORTS_FROM, _PORTS_EACH, _WORKERS_MOST = 15_000, 2_125, 8


class ServerFailed(AssertionError):
    """The server ended or did not become ready; the text holds the end of its log."""


def free_ports(count: int) -> list[int]:
    """``count`` different TCP ports of 127.0.0.1 that nobody listens on.

    They lie below the range from which the kernel picks the ports of outgoing connections: a client that retries
    while its server is down could otherwise be given that very port and end up connected to itself. Each worker of a
    test run has a part of them, so that nobody takes a port between its choice and its use.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _WORKERS_MOST
    first = _PORTS_FROM + worker * _PORTS_EACH
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            candidate = socket.socket()
            try:
                candidate.bind(("127.0.0.1", random.SystemRandom().randrange(first, first + _PORTS_EACH)))
            except OSError:
                candidate.close()
            else:
                held.append(candidate)
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


class RunningServer:
    """``relevo serve`` on free ports of 127.0.0.1; ports, data and log file survive ``kill`` and ``restart``.

    ``env`` is laid over an environment from which every ``RELEVO_*`` variable was removed; ``prefix`` is put before
    the command (``prlimit``, ``faketime``); ``options`` after it; ``log`` is beside ``data`` by default. Raises
    :class:`ServerFailed` when the server is not ready within ``ready_seconds``.
    """

    def __init__(
        self,
        data: Path,
        *,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        ready_seconds: float = 30.0,
        log: Path | None = None,
        start: bool = True,
    ) -> None:
        self.data = data
        self.http_port, self.mqtt_port = free_ports(2)
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.log = log or data.parent / f"{data.name}-server.log"
        self.ready_seconds = ready_seconds
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_")}
        self.env |= {"RELEVO_ADMIN_PASSWORD": ADMIN_PASSWORD, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        self.env |= dict(env or {})
        if "RELEVO_TLS_CERT" in self.env:
            self.env.setdefault("RELEVO_HTTPS", "127.0.0.1:0")
        self.command = [
            *prefix, sys.executable, "-m", "relevo", "serve",
            "--data", str(data), "--http", f"127.0.0.1:{self.http_port}", "--mqtt", f"127.0.0.1:{self.mqtt_port}",
            *options,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self._token = ""
        self._client: httpx.Client | None = None
        self.canaries = Canaries()
        self.canaries.plant(self.env["RELEVO_ADMIN_PASSWORD"])
        if start:
            self.start()

    # Life and death

    def start(self) -> None:
        """Start the process and wait until it answers ``GET /healthz`` with 200."""
        assert self.process is None, "the server is running already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=REPOSITORY, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.wait_ready(self.ready_seconds)
        except BaseException:
            self.kill()
            raise

    def wait_ready(self, seconds: float) -> None:
        """Return as soon as ``/healthz`` is 200; raises :class:`ServerFailed` after ``seconds``."""
        end = time.monotonic() + seconds
        seen = "nothing listens"
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                code = self.process.returncode if self.process else "none"
                raise ServerFailed(f"the server ended with {code} before it was ready\n{self.log_tail()}")
            try:
                answer = self.health()
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                return
            seen = f"{answer.status_code} {answer.text[:300]}"
            time.sleep(0.05)
        raise ServerFailed(f"not ready after {seconds} s: {seen}\n{self.log_tail()}")

    def stop(self, seconds: float = 20.0) -> int:
        """End the server politely with SIGTERM and return its exit code; it is killed when that takes too long."""
        self._forget_session()
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerFailed(f"still running {seconds} s after SIGTERM\n{self.log_tail()}") from None
        finally:
            print(self.log_tail())
        self.canaries.search(self.log, self.data)
        return code

    def kill(self) -> None:
        """``kill -9``: no handler runs, nothing is flushed."""
        self._forget_session()
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Start again on the same data and ports, politely ending what still runs."""
        if self.process is not None:
            self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
            return
        with contextlib.suppress(ServerFailed):
            self.stop()

    # Looking at it

    @property
    def pid(self) -> int:
        """Process id of the server; meaningless with a ``prefix`` that forks instead of executing."""
        assert self.process is not None, "the server is not running"
        return self.process.pid

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of both output streams."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- end of {self.log} ---\n" + "\n".join(text.splitlines()[-lines:])

    def health(self) -> httpx.Response:
        """What ``GET /healthz`` answers now."""
        return httpx.get(f"{self.http}/healthz", timeout=5.0, trust_env=False)

    # Speaking to it as the administrator

    @property
    def token(self) -> str:
        """A bearer token of the administrator."""
        if not self._token:
            answer = httpx.post(
                f"{self.http}/api/v1/auth/login",
                json={"username": "admin", "password": ADMIN_PASSWORD},
                timeout=20.0,
                trust_env=False,
            )
            assert answer.status_code == 200, f"login: {answer.status_code} {answer.text}\n{self.log_tail()}"
            self._token = self.canaries.plant(answer.json()["access_token"])
            self.canaries.plant(answer.json()["refresh_token"])
        return self._token

    @property
    def cookie(self) -> str:
        """The session cookie of a browser in which the administrator signs in now."""
        answer = httpx.post(
            f"{self.http}/api/v1/auth/login",
            json={"username": "admin", "password": ADMIN_PASSWORD},
            headers={"Origin": self.http, "Sec-Fetch-Site": "same-origin"},
            timeout=20.0,
            trust_env=False,
        )
        assert answer.status_code == 200, f"login: {answer.status_code} {answer.text}\n{self.log_tail()}"
        return self.canaries.plant(answer.cookies["relevo_session"])

    @property
    def api(self) -> httpx.Client:
        """A client signed in as administrator; paths are relative to the server's root."""
        if self._client is None:
            self._client = httpx.Client(
                base_url=self.http,
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=30.0,
                trust_env=False,
                event_hooks={"response": [self.canaries.look_at]},
            )
        return self._client

    def register(self, device: str, *, name: str = "", kind: str = "") -> str:
        """Create a device and return its key."""
        answer = self.api.post("/api/v1/devices", json={"id": device, "name": name or device, "type": kind or "test"})
        assert answer.status_code == 201, f"register {device}: {answer.status_code} {answer.text}"
        return self.canaries.plant(answer.json()["key"])

    def points(self, device: str, key: str, start_ms: int, end_ms: int) -> list[tuple[int, Any]]:
        """Every stored point of a series in a span of milliseconds, oldest first, over as many pages as it takes."""
        return list(self._pages(device, key, start_ms, end_ms))

    def _pages(self, device: str, key: str, start_ms: int, end_ms: int) -> Iterator[tuple[int, Any]]:
        query: dict[str, Any] = {"from": start_ms, "to": end_ms, "limit": 10_000}
        while True:
            answer = self.api.get(f"/api/v1/devices/{device}/telemetry/{key}", params=query)
            if answer.status_code == 404:
                return
            assert answer.status_code == 200, f"{device}/{key}: {answer.status_code} {answer.text}"
            page = answer.json()
            yield from ((ts, value) for ts, value in page["points"])
            if not page["next"]:
                return
            query["cursor"] = page["next"]

    def _forget_session(self) -> None:
        self._token = ""
        if self._client is not None:
            self._client.close()
            self._client = None
