"""MQTT over WebSocket (MQTT 5.0 chapter 6) at ``/mqtt`` and ``/`` of the HTTP port, sub-protocol mqtt or mqttv3.1."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from relevo.mqtt.connection import Connection

_PROTOCOLS: Final = ("mqtt", "mqttv3.1")
_HIGH_WATER: Final = 65_536
# RFC 6455 section 7.4: unsupported data, policy violation, normal.
_UNSUPPORTED, _POLICY, _NORMAL = 1003, 1008, 1000


class _Transport(asyncio.Transport):
    """What a :class:`Connection` sees of a WebSocket: a stream of bytes with flow control."""

    def __init__(self, address: str, connection: Connection) -> None:
        super().__init__({"peername": (address, 0)})
        self._connection = connection
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting = 0
        self._paused = False
        self._closing = False
        self.reading = asyncio.Event()
        self.reading.set()

    def write(self, data: Any) -> None:
        if self._closing:
            return
        self._waiting += len(data)
        self._chunks.put_nowait(bytes(data))
        if self._waiting > _HIGH_WATER and not self._paused:
            self._paused = True
            self._connection.pause_writing()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._chunks.put_nowait(None)
            self.reading.set()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.reading.clear()

    def resume_reading(self) -> None:
        self.reading.set()

    async def send_all(self, websocket: WebSocket) -> None:
        """Write what the connection wants written until it closes."""
        while (data := await self._chunks.get()) is not None:
            await websocket.send_bytes(data)
            self._waiting -= len(data)
            if self._paused and self._waiting <= _HIGH_WATER // 4:
                self._paused = False
                self._connection.resume_writing()


def routes(new: Callable[[], Connection], origin_allowed: Callable[[WebSocket], bool]) -> list[WebSocketRoute]:
    """The routes; ``new`` makes a connection of the door."""

    async def endpoint(websocket: WebSocket) -> None:
        offered = websocket.scope.get("subprotocols", [])
        chosen = next((one for one in offered if one in _PROTOCOLS), None)
        if chosen is None or not origin_allowed(websocket):
            await websocket.close(_POLICY)
            return
        await websocket.accept(chosen)
        connection = new()
        address = websocket.client.host if websocket.client else ""
        transport = _Transport(address, connection)
        connection.connection_made(transport)
        sending = asyncio.ensure_future(transport.send_all(websocket))
        receiving = asyncio.ensure_future(_receive(websocket, transport, connection))
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            connection.connection_lost(None)
            for task in (sending, receiving):
                task.cancel()
            results = await asyncio.gather(sending, receiving, return_exceptions=True)
            if websocket.application_state is WebSocketState.CONNECTED and WebSocketDisconnect not in map(
                type, results
            ):
                # [MQTT-6.0.0-1]: anything but binary data ends the connection.
                code = _UNSUPPORTED if any(isinstance(one, _NotBinaryError) for one in results) else _NORMAL
                # After DISCONNECT a client closes without waiting for us, and may be the first.
                with contextlib.suppress(WebSocketDisconnect):
                    await websocket.close(code)

    return [WebSocketRoute("/mqtt", endpoint), WebSocketRoute("/", endpoint)]


async def _receive(websocket: WebSocket, transport: _Transport, connection: Connection) -> None:
    while not transport.is_closing():
        await transport.reading.wait()
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes")
        if data is None:
            raise _NotBinaryError
        connection.data_received(data)


class _NotBinaryError(Exception):
    """A text frame."""
