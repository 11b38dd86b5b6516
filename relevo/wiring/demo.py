"""The demo's devices beside a running server: started and ended while it runs."""

import asyncio
from typing import Protocol

from relevo.errors import Conflict, RelevoError
from relevo.log import get_logger
from relevo.settings import Settings

log = get_logger("relevo")


class Server(Protocol):
    """Beside what they live."""

    settings: Settings
    http_port: int
    mqtt_port: int

    def local_key(self) -> str: ...


class Demo:
    """One for the whole process, used on the event loop.

    They are clients like any other: they come over HTTP and MQTT to this server's own doors.
    """

    def __init__(self, server: Server) -> None:
        self.error = ""
        self._server = server
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def identities(self) -> set[tuple[str, str]]:
        """Contract and external id of each of them."""
        from relevo.simulator.cast import members

        return {("hidrometro" if one.manner in ("meter", "stranger") else "native", one.id) for one in members()}

    def start(self) -> None:
        """Let them live; harmless while they do. Raises :class:`Conflict` without a door for MQTT of its own."""
        if self.running:
            return
        if self._server.settings.broker_url:
            raise Conflict("the demo's devices need the server's own MQTT door, and broker_url replaces it")
        self.error = ""
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._live(self._stop), name="demo")

    async def stop(self) -> None:
        """End them; harmless when they are not there."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stop.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _live(self, stop: asyncio.Event) -> None:
        from relevo.simulator.demo import run_demo_devices

        one = self._server
        http = f"http://{_reached(one.settings.http_listen.host)}:{one.http_port}"
        mqtt = f"{_reached(one.settings.mqtt_listen.host, bare=True)}:{one.mqtt_port}"
        try:
            await run_demo_devices(http, mqtt, one.local_key(), stop)
        except* (RelevoError, OSError) as group:
            self.error = str(group.exceptions[0])
            log.warning("demo_ended", error=self.error)


def _reached(host: str, bare: bool = False) -> str:
    """Where a client of this machine reaches what listens on ``host``."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host and not bare else host
