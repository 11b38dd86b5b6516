"""Socket.IO at ``/socket.io/``: water meters as they are read (contract hidrometro, section 5).

Protocol version 5 over Engine.IO 4, spoken by python-socketio, which is loaded with the first request that comes here.
Server to client only. Everybody sees the meters that they may, asked anew for every reading; a client that is too slow
gets the latest reading of each meter instead of all.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount
from starlette.types import Receive, Scope, Send

from relevo.domain.events import AlertChanged, AnyEvent
from relevo.domain.meters import Reading, RecentReadings, Sees
from relevo.errors import Forbidden, TooMany, Unauthenticated
from relevo.log import get_logger
from relevo.meters import Leak, Meters, leak_alert

log = get_logger("relevo.realtime")

PATH: Final = "/socket.io"
HISTORY: Final = 200
LOOK_S: Final = 5.0
_RETRY_S: Final = 0.2
_CLIENTS_MOST: Final = 1_000
# What waits inside the library for a client, beyond which we keep it.
_INSIDE_MOST: Final = 64
_MESSAGE_MOST: Final = 4_096
_POST_S: Final = 5.0
_DATA: Final = "data"


@dataclass(frozen=True, slots=True)
class Means:
    """What the live view is made of. ``admit(connection, token)`` raises :class:`Unauthenticated` and
    :class:`Forbidden`; it answers which serial numbers are seen, and whether the credential is still in force."""

    recent: RecentReadings
    meters: Meters
    admit: Callable[[HTTPConnection, str], tuple[Sees | None, Callable[[], bool]]]
    origin_allowed: Callable[[HTTPConnection], bool]
    # The number of a stored alert.
    number_of: Callable[[str], Awaitable[int]]
    room: int


class _Client:
    """What waits for one client, oldest first."""

    def __init__(self, sees: Sees | None, good: Callable[[], bool], room: int) -> None:
        self.sees = sees
        self.good = good
        self._room = room
        self.waiting: deque[tuple[str, Any]] = deque()

    def offer(self, name: str, body: Any) -> None:
        self.waiting.append((name, body))
        if len(self.waiting) > self._room:
            # The latest reading of each meter, and everything that is no reading, as far as there is room.
            newest: dict[Any, tuple[str, Any]] = {}
            for n, one in enumerate(self.waiting):
                key = ("", one[1]["numero_serie"]) if one[0] == _DATA else (n, None)
                newest.pop(key, None)
                newest[key] = one
            self.waiting = deque(newest.values(), maxlen=None)
            while len(self.waiting) > self._room:
                self.waiting.popleft()


def alert_body(leak: Leak) -> dict[str, Any]:
    """The payload of the event ``alert``."""
    return {
        "id": leak.number,
        "type": "leak",
        "message": leak.message,
        "serial": leak.serial or None,
        "flowLmin": leak.flow,
        "threshold": leak.threshold,
        "duration": leak.duration,
        "totalLiters": leak.total,
        "ts": leak.at,
    }


class Live:
    """All clients of the live view; an ASGI application."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._clients: dict[str, _Client] = {}
        self._server: Any = None
        self._app: Any = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pending: set[asyncio.Task[None]] = set()
        self._closed = False
        means.recent.followers.append(self._read)
        means.meters.followers.append(self._leaks)

    def __len__(self) -> int:
        return len(self._clients)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        if scope["type"] not in ("http", "websocket"):
            return
        if not self._means.origin_allowed(connection):
            await _refuse(scope, receive, send, 403, "forbidden")
            return
        # Also those that have not said yet who they are.
        clients = len(self._server.eio.sockets) if self._server is not None else 0
        if self._closed or (clients >= _CLIENTS_MOST and "sid" not in connection.query_params):
            await _refuse(scope, receive, send, 503, "too many clients")
            return
        length = connection.headers.get("content-length", "0")
        if not length.isdigit() or int(length[:9]) > _MESSAGE_MOST:
            await _refuse(scope, receive, send, 413, f"more than {_MESSAGE_MOST} bytes")
            return
        if self._app is None:
            # Beside the loop, which has devices to answer meanwhile.
            await asyncio.to_thread(import_module, "socketio")
        handled = self._application()(_spoken(scope), receive, send)
        if scope["type"] == "websocket" or scope["method"] == "GET":
            await handled
            return
        held = self._server.eio.sockets.get(connection.query_params.get("sid", ""))
        # The library waits for a client that polls no more before it says that a message of its was wrong.
        try:
            async with asyncio.timeout(_POST_S):
                await handled
        except TimeoutError:
            await _refuse(scope, receive, send, 400, "bad request")
        if held is not None and held.closed:
            # It has said good-bye: its poll that waits gets an end, or it waits with it.
            held.queue.put_nowait(None)

    def follow(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit, on the event loop."""
        if not self._clients:
            return
        for event in events:
            alert = leak_alert(event)
            if alert is not None:
                task = asyncio.ensure_future(self._raise(alert))
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """Send everybody away, and whoever comes after."""
        self._closed = True
        for task in (self._task, *self._pending):
            if task is not None:
                task.cancel()
        if self._server is not None:
            for eio in list(self._server.eio.sockets.values()):
                with contextlib.suppress(Exception):
                    await eio.close(wait=False)
            with contextlib.suppress(Exception):
                await self._server.shutdown()
        self._clients.clear()

    # What is told

    def _read(self, reading: Reading) -> None:
        if self._clients:
            self._offer(_DATA, reading, reading["numero_serie"] or "")

    def _leaks(self, leak: Leak) -> None:
        if self._clients:
            self._offer("alert", alert_body(leak), leak.serial)

    async def _raise(self, alert: AlertChanged) -> None:
        number = await self._means.number_of(alert.id)
        leak = Leak.of(number, alert.text, alert.values, alert.opened_at, 0)
        self._offer("alert", alert_body(leak), leak.serial)

    def _offer(self, name: str, body: Any, serial: str) -> None:
        for client in self._clients.values():
            if client.sees is None or client.sees(serial):
                client.offer(name, body)
        self._wake.set()

    # Sending

    async def _run(self) -> None:
        """Hand over what waits, as fast as each client takes it; end those who may not watch any more."""
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_S
        while True:
            left = False
            for sid, client in list(self._clients.items()):
                left = await self._send(sid, client) or left
            now = loop.time()
            if now >= look_at:
                look_at = now + LOOK_S
                for sid, client in list(self._clients.items()):
                    if not client.good():
                        self._clients.pop(sid, None)
                        await self._server.disconnect(sid)
            if not left and not any(one.waiting for one in self._clients.values()):
                self._wake.clear()
            try:
                async with asyncio.timeout(_RETRY_S if left else max(0.01, look_at - loop.time())):
                    if left:
                        await asyncio.sleep(_RETRY_S)
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _send(self, sid: str, client: _Client) -> bool:
        """Send what one client takes now; whether something is left."""
        try:
            held = self._server.eio.sockets.get(self._server.manager.eio_sid_from_sid(sid, "/"))
        except KeyError:
            held = None
        while client.waiting and held is not None:
            if held.queue.qsize() >= _INSIDE_MOST:
                return True
            name, body = client.waiting.popleft()
            await self._server.emit(name, body, to=sid)
        if held is None:
            self._clients.pop(sid, None)
        return False

    def _application(self) -> Any:
        if self._app is None:
            import socketio

            # What clients do wrong is theirs to hear, and nothing for our log.
            quiet = logging.Logger("socketio", logging.CRITICAL)
            # The origin was looked at already, and CORS is the business of a layer above.
            self._server = server = socketio.AsyncServer(
                async_mode="asgi",
                cors_allowed_origins=[],
                max_http_buffer_size=_MESSAGE_MOST,
                ping_interval=25,
                ping_timeout=20,
                async_handlers=False,
                logger=quiet,
                engineio_logger=quiet,
            )

            # Neither waits for anything: a client is here before it is told so, and hears nothing earlier.
            async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
                self._connect(sid, HTTPConnection(environ["asgi.scope"]), auth)

            async def disconnect(sid: str, *_: Any) -> None:
                self._clients.pop(sid, None)

            server.on("connect", connect)
            server.on("disconnect", disconnect)
            self._app = socketio.ASGIApp(server, socketio_path=PATH)
            self._task = asyncio.create_task(self._run(), name="socketio")
            log.info("socketio_loaded")
        return self._app

    def _connect(self, sid: str, connection: HTTPConnection, auth: Any) -> None:
        from socketio import exceptions

        token = auth.get("token", "") if isinstance(auth, dict) else ""
        try:
            sees, good = self._means.admit(connection, token if isinstance(token, str) else "")
        except (Unauthenticated, Forbidden, TooMany) as error:
            raise exceptions.ConnectionRefusedError(str(error)) from None
        client = self._clients[sid] = _Client(sees, good, self._means.room)
        client.offer("history:init", self._means.recent.last(HISTORY, sees))
        current = self._means.recent.current("", sees)
        if current is not None:
            client.offer(_DATA, current)
        # Not in this step of the loop: the library answers the connection first.
        asyncio.get_running_loop().call_soon(self._wake.set)


def routes(live: Live) -> list[BaseRoute]:
    """The view's route, for both transports."""
    return [Mount(PATH, live)]


def _spoken(scope: Scope) -> Scope:
    """What the library goes by: it must not take the scheme from a header that anybody may send."""
    return {**scope, "headers": [one for one in scope["headers"] if not one[0].startswith(b"x-forwarded-")]}


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": text})
        return
    await JSONResponse({"error": text}, status)(scope, receive, send)
