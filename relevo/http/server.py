"""uvicorn as we run it: our own signals, and bounds on how long and how large the head of a request may be."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server as Uvicorn

from relevo.errors import ConfigurationError
from relevo.http.limits import Tell
from relevo.wire.mismatch import spoken

_HEAD_BYTES: Final = 65_536


class Server(Uvicorn):
    """uvicorn without its own signal handlers: the application decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpDoor:
    """One application behind plain listeners and, with a certificate, behind TLS."""

    def __init__(self, app: ASGIApp, head_seconds: float, trusted_proxies: list[str], tell: Tell) -> None:
        """``trusted_proxies`` are addresses or networks whose forwarding headers count; ``tell(reason, detail,
        address)`` hears of whoever speaks something else than HTTP."""
        self._tell = tell
        self._app = app
        self._head_seconds = head_seconds
        self._trusted_proxies = trusted_proxies
        self._running: list[tuple[Server, asyncio.Task[None]]] = []

    async def start(self, sockets: list[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Answer on ``sockets``, which listen already. Raises :class:`ConfigurationError`."""
        config = Config(
            self._app,
            http=protocol_class(self._head_seconds, self._tell),
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
            backlog=2_048,
            proxy_headers=bool(self._trusted_proxies),
            forwarded_allow_ips=self._trusted_proxies or None,
        )
        config.load()
        config.ssl = tls
        server = Server(config)
        task = asyncio.create_task(server.serve(sockets=sockets), name="http")
        self._running.append((server, task))
        while not server.started:
            if task.done():
                raise ConfigurationError("HTTP did not start; see the log above")
            await asyncio.sleep(0.005)

    def cancel(self) -> None:
        """Give up at once, after a start that failed elsewhere."""
        for _, task in self._running:
            task.cancel()

    async def stop(self, within_s: float) -> None:
        """Let what is being answered finish, for ``within_s`` seconds at most."""
        # Requests that are cut off now are cut off on purpose.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        for server, _ in self._running:
            server.should_exit = True
        if self._running:
            await asyncio.wait([task for _, task in self._running], timeout=within_s)
        self.cancel()


def protocol_class(head_seconds: float, tell: Tell) -> Any:
    """An HTTP protocol for uvicorn that gives up on a head that does not come or does not end.

    With httptools; without it h11 serves, which bounds the size of a head by itself but knows no deadline.
    """
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return "h11"

    class Bounded(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _head = 0
        _in_head = True
        _fresh = True

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._deadline = self.loop.call_later(head_seconds, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_clock()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._fresh:
                self._fresh = False
                protocol = spoken(data[:16])
                if protocol in ("mqtt", "tls"):
                    address = self.client[0] if self.client else ""
                    tell(f"{protocol}_on_http_port", f"{protocol.upper()} spoken to the HTTP port", address)
                    self._give_up()
                    return
            if self._in_head:
                self._head += len(data)
                if self._head > _HEAD_BYTES:
                    # A body may have come with the head; then the parser has left the head by the next call.
                    before = self._head
                    super().data_received(data[:_HEAD_BYTES])
                    if self._in_head and before > _HEAD_BYTES:
                        self._give_up()
                        return
                    super().data_received(data[_HEAD_BYTES:])
                    return
            super().data_received(data)

        def on_message_begin(self) -> None:
            self._in_head = True
            if self._deadline is None:
                self._head = 0
                self._deadline = self.loop.call_later(head_seconds, self._give_up)
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._head = 0
            self._stop_clock()
            super().on_headers_complete()

        def _stop_clock(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _give_up(self) -> None:
            self._stop_clock()
            if self.transport is not None and not self.transport.is_closing():
                self.transport.close()

    return Bounded
