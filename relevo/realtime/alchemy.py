"""``GET /stream/dispositivos``: devices of contract alchemy as they change (section 5).

One update for each message and each change over HTTP, made once however many watch. It is rendered when the commit is
shown, so a reader who comes late to it still gets what was then. No replay: clients read the list when they come back.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from relevo.dialects.alchemy.objects import CONTRACT, render
from relevo.domain.devices import Device, Registry
from relevo.domain.events import (
    AnyEvent,
    DesiredChanged,
    DeviceChanged,
    DeviceRegistered,
    ReportedChanged,
    StateReported,
    StatusSet,
)
from relevo.domain.twins import Twin
from relevo.wire import sse

QUEUE: Final = 100
LOOK_S: Final = 5.0
_NAMED: Final = "device_update"
_SAID: Final = frozenset({StateReported, StatusSet})
_SWITCHED: Final = frozenset({ReportedChanged, DesiredChanged})
_CHANGED: Final = frozenset({DeviceRegistered, DeviceChanged, DesiredChanged})
_encode: Final = msgspec.json.Encoder().encode


class Onlooker(Protocol):
    """Who watches."""

    def sees(self, device: Device) -> bool:
        """Whether this device is theirs to see, now."""

    def good(self) -> bool:
        """Whether they may still watch at all."""


class Stream:
    """One client's queue; the oldest goes when there is no room."""

    def __init__(self, onlooker: Onlooker, serial: str, claimed: bool | None) -> None:
        self.onlooker = onlooker
        self._serial = serial
        self._claimed = claimed
        self.waiting: deque[bytes] = deque(maxlen=QUEUE)
        self.ready = asyncio.Event()

    def wants(self, device: Device, serial: str, claimed: bool) -> bool:
        if self._serial and serial != self._serial:
            return False
        return (self._claimed is None or claimed is self._claimed) and self.onlooker.sees(device)

    def offer(self, data: bytes) -> None:
        self.waiting.append(data)
        self.ready.set()


class Updates:
    """Follows every commit. ``twin_of`` is the committed twin of a device, ``appearances`` the device objects under
    which one of another contract appears here."""

    def __init__(
        self,
        registry: Registry,
        twin_of: Callable[[str], Twin],
        appearances: Callable[[Device], list[dict[str, Any]]] = lambda device: [],
    ) -> None:
        self._registry = registry
        self._twin_of = twin_of
        self._appearances = appearances
        self.streams: set[Stream] = set()
        self.closed = False

    def follow(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit, on the event loop."""
        if not self.streams:
            return
        said: dict[str, list[AnyEvent]] = {}
        switched: set[str] = set()
        for event in events:
            kind = type(event)
            if kind in _SAID:
                # What a claim or a change over HTTP consists of is one update, and so is a first message.
                said.setdefault(event.device, []).append(event)  # type: ignore[union-attr]
            elif kind in _CHANGED:
                said.setdefault(event.device, [])  # type: ignore[union-attr]
            if kind in _SWITCHED:
                switched.add(event.device)  # type: ignore[union-attr]
        for device_id in switched:
            device = self._registry.get(device_id)
            if device is not None and device.contract != CONTRACT:
                for body in self._appearances(device):
                    self._offer(device, body)
        for device_id, each in said.items():
            device = self._registry.get(device_id)
            if device is not None and device.contract == CONTRACT:
                for event in each:
                    self._show(device, event)
                if not each:
                    self._show(device, None)

    def _show(self, device: Device, event: AnyEvent | None) -> None:
        body: dict[str, Any] = render(device, self._twin_of(device.id))
        if isinstance(event, StateReported):
            # Two messages in one commit are two updates.
            body |= {name: event.state[name] for name in ("estado", "parametros") if name in event.state}
        self._offer(device, body)

    def _offer(self, device: Device, body: dict[str, Any]) -> None:
        data = _encode(body | {"event": _NAMED})
        for stream in self.streams:
            if stream.wants(device, body["serial_number"], body["reclamado"]):
                stream.offer(data)

    def close(self) -> None:
        """End every stream, and whoever comes after."""
        self.closed = True
        for stream in self.streams:
            stream.ready.set()


def routes(updates: Updates, admit: Callable[[HTTPConnection], Awaitable[Onlooker]], ping_s: float) -> list[Route]:
    """The stream's route; ``admit`` raises Unauthenticated or Forbidden."""

    async def stream(request: Request) -> Response:
        onlooker = await admit(request)
        query = request.query_params
        claimed = {"true": True, "false": False}.get(query.get("reclamado", "").lower())
        one = Stream(onlooker, query.get("serial", "").strip(), claimed)
        name = _NAMED if query.get("eventos") == "nombrados" else ""
        return StreamingResponse(
            _frames(updates, one, name, ping_s),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    return [Route("/stream/dispositivos", stream, methods=["GET"])]


async def _frames(updates: Updates, stream: Stream, name: str, ping_s: float) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    updates.streams.add(stream)
    try:
        yield sse.frame(b"{}", "hello")
        ping_at = loop.time() + ping_s
        while stream.onlooker.good() and not updates.closed:
            try:
                async with asyncio.timeout(min(LOOK_S, max(0.0, ping_at - loop.time()))):
                    await stream.ready.wait()
            except TimeoutError:
                if loop.time() >= ping_at:
                    yield sse.frame(b"{}", "ping")
                    ping_at = loop.time() + ping_s
                continue
            stream.ready.clear()
            found = b"".join(sse.frame(data, name) for data in stream.waiting)
            stream.waiting.clear()
            if found:
                yield found
                ping_at = loop.time() + ping_s
    finally:
        updates.streams.discard(stream)
