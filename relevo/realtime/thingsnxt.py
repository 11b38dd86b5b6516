"""Live views of the thingsnxt app: the WebSocket ``/ws``, ``/events/stream`` and ``/notifications/stream`` (section 5).

Everybody sees what is theirs, asked anew for every event, and nothing ever holds a token. What a widget shows follows
from its device; that it was moved, renamed or removed comes from :class:`relevo.dashboards.Dashboards`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from relevo.bus import Bus, Delivered, Subscription
from relevo.dashboards import CANCELLED, CHANGED, DELETED, Change, Dashboards
from relevo.domain import events as ev
from relevo.domain.accounts import Identity
from relevo.domain.dashboards import Widget
from relevo.domain.devices import Device, Registry
from relevo.errors import Forbidden, Unauthenticated
from relevo.wire import sse

IDLE_S: Final = 45.0
KEEPALIVE_S: Final = 30.0
INITIAL_MOST: Final = 50
LOOK_S: Final = 5.0
# RFC 6455 section 7.4; 4401 is the contract's own.
_GOING, _POLICY, _RESTART, _EXPIRED = 1001, 1008, 1012, 4401
_MESSAGE_MOST: Final = 8_192
_CHANNELS_MOST: Final = 64
_CHANGES_MOST: Final = 1_000
_ABOUT_DEVICES: Final = frozenset(
    {
        ev.TelemetryReceived,
        ev.DesiredChanged,
        ev.DesiredFailed,
        ev.ReportedChanged,
        ev.PresenceChanged,
        ev.DeviceRegistered,
        ev.DeviceRemoved,
    }
)
CONTRACT: Final = "thingsnxt"
_encode: Final = msgspec.json.Encoder().encode
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Means:
    """What the views are made of. ``of_request`` and ``of_text`` raise :class:`Unauthenticated`."""

    bus: Bus
    registry: Registry
    dashboards: Dashboards
    now_ms: Callable[[], int]
    of_request: Callable[[HTTPConnection], Identity]
    of_text: Callable[[str], Identity]
    good: Callable[[Identity], bool]
    theirs: Callable[[Identity, Device], bool]
    readings: Callable[[str], dict[str, Any]]
    public_id: Callable[[Device], str]
    widget: Callable[[Widget], Message]
    device: Callable[[Device], Message]
    notification: Callable[[ev.NotificationRaised], Message]
    # Unread notifications of an account.
    newest: Callable[[str], Awaitable[list[Message]]]


def stamp(ms: int) -> str:
    """ISO 8601 with Z."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Viewer:
    """One person's view: which events are theirs, and what the app is told of them."""

    def __init__(self, means: Means, identity: Identity) -> None:
        self._means = means
        self.identity = identity
        # What a device was called, for when it cannot be looked up any more.
        self._shown = {
            device.id: means.public_id(device) for device in means.registry.all() if means.theirs(identity, device)
        }

    def sees(self, event: ev.AnyEvent) -> bool:
        kind = type(event)
        if kind is ev.NotificationRaised:
            return self.identity.name in event.to  # type: ignore[union-attr]
        if kind not in _ABOUT_DEVICES or not self._means.good(self.identity):
            return False
        device_id: str = event.device  # type: ignore[union-attr]
        device = self._means.registry.get(device_id)
        if device is None:
            return kind is ev.DeviceRemoved and device_id in self._shown
        if not self._means.theirs(self.identity, device):
            return False
        self._shown[device_id] = self._means.public_id(device)
        return True

    def messages(self, event: ev.AnyEvent) -> Iterable[Message]:
        """What the app is told of an event that it sees."""
        match event:
            case ev.TelemetryReceived():
                yield from self._values(event.device, event.values, event.ts)
            case ev.DesiredChanged():
                yield from self._values(event.device, [*event.values, *event.removed], event.at)
            case ev.ReportedChanged() if not self._is_own(event.device):
                # Of a device of this contract its telemetry has said so.
                yield from self._values(event.device, event.values, event.at)
            case ev.DesiredFailed():
                yield from self._values(event.device, event.keys, event.at)
            case ev.PresenceChanged():
                status = "online" if event.online else "offline"
                yield self._about("status_update", event.device, event.at) | {"status": status}
            case ev.DeviceRegistered():
                device = self._means.registry.get(event.device)
                if device is not None:
                    told = self._about("device_added", event.device, event.at)
                    shown = self._means.device(device)
                    del shown["device_token"]
                    yield told | {"device": shown}
            case ev.DeviceRemoved():
                yield self._about("device_removed", event.device, event.at)
                self._shown.pop(event.device, None)
            case ev.NotificationRaised() if not event.repeats:
                yield {"type": "notification", "notification": self._means.notification(event)}

    def _is_own(self, device_id: str) -> bool:
        device = self._means.registry.get(device_id)
        return device is not None and device.contract == CONTRACT

    def of_change(self, change: Change) -> Message:
        """What the app is told of a change of a widget."""
        widget = change.widget
        about = {"dashboard_id": widget.dashboard, "timestamp": stamp(self._means.now_ms())}
        if change.what == CHANGED:
            return {"type": "widget_update", **about, "widget": self._means.widget(widget)}
        if change.what == DELETED:
            return {"type": "widget_deleted", **about, "widget_id": widget.id}
        about |= {"widget_id": widget.id, "schedule_id": change.schedule}
        if change.what == CANCELLED:
            return {"type": "led_schedule_cancelled", **about}
        shown = self._means.widget(widget)["value"]
        executed = {"state": bool(shown), "executed_at": stamp(change.at)}
        return {"type": "led_schedule_executed", **about, **executed}

    def _values(self, device: str, keys: Iterable[str], at: int) -> Iterable[Message]:
        readings = self._means.readings(device)
        data = {key: readings[key] for key in keys if key in readings}
        if not data:
            return
        yield self._about("telemetry_update", device, at) | {"data": data}
        for widget in self._means.dashboards.of_device(device):
            if widget.account == self.identity.name and widget.key in data:
                yield self.of_change(Change(CHANGED, widget))

    def _about(self, kind: str, device: str, at: int) -> Message:
        return {"type": kind, "device_id": self._shown.get(device, device), "timestamp": stamp(at)}


def routes(means: Means, room: int, idle_s: float = IDLE_S) -> list[BaseRoute]:
    """The three views; ``room`` events may wait for a slow one."""

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            identity = _who(means, websocket)
        except Forbidden as error:
            await websocket.close(_POLICY, str(error)[:120])
            return
        except Unauthenticated as error:
            missing = str(error) == "missing token"
            await websocket.close(_POLICY if missing else _EXPIRED, str(error)[:120])
            return
        means.dashboards.sockets += 1
        try:
            await _Socket(means, websocket, Viewer(means, identity), room, idle_s).run()
        finally:
            means.dashboards.sockets -= 1

    async def events(request: Request) -> Response:
        viewer = Viewer(means, means.of_request(request))
        kinds = {"telemetry_update", "status_update", "device_added", "device_removed"}
        return _stream(_frames(means, viewer, room, kinds, None))

    async def notifications(request: Request) -> Response:
        viewer = Viewer(means, means.of_request(request))
        return _stream(_frames(means, viewer, room, {"notification"}, means.newest))

    return [
        WebSocketRoute("/ws", socket),
        Route("/events/stream", events, methods=["GET"]),
        Route("/notifications/stream", notifications, methods=["GET"]),
    ]


def _who(means: Means, websocket: WebSocket) -> Identity:
    text = websocket.query_params.get("token", "")
    return means.of_text(text) if text else means.of_request(websocket)


class _Socket:
    """One WebSocket of the app."""

    def __init__(self, means: Means, websocket: WebSocket, viewer: Viewer, room: int, idle_s: float) -> None:
        self._means = means
        self._websocket = websocket
        self._viewer = viewer
        self._room = room
        self._idle_s = idle_s
        self._changes: asyncio.Queue[Change] = asyncio.Queue(_CHANGES_MOST)

    async def run(self) -> None:
        means, account = self._means, self._viewer.identity.name
        subscription = means.bus.subscribe(self._viewer.sees, self._room)
        means.dashboards.watch(account, self._changed)
        try:
            await self._send({"type": "connected", "message": "Connected", "timestamp": self._now()})
            tasks = [
                asyncio.ensure_future(one)
                for one in (self._listen(), self._events(subscription), self._widgets(), self._look())
            ]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            code, reason = next((task.result() for task in done if task.exception() is None), (0, ""))
            if code:
                with contextlib.suppress(RuntimeError):
                    await self._websocket.close(code, reason)
        finally:
            means.dashboards.unwatch(account, self._changed)
            means.bus.unsubscribe(subscription)

    def _changed(self, change: Change) -> None:
        # A reader that is this slow asks for its dashboard again.
        with contextlib.suppress(asyncio.QueueFull):
            self._changes.put_nowait(change)

    async def _send(self, message: Message) -> None:
        await self._websocket.send_text(_encode(message).decode())

    async def _events(self, subscription: Subscription) -> tuple[int, str]:
        while batch := await subscription.next():
            for one in batch:
                for message in self._viewer.messages(one.event) if isinstance(one, Delivered) else ():
                    await self._send(message)
        return _RESTART, "the server stops"

    async def _widgets(self) -> tuple[int, str]:
        while True:
            await self._send(self._viewer.of_change(await self._changes.get()))

    async def _look(self) -> tuple[int, str]:
        """Credentials end in many ways and without a signal."""
        while self._means.good(self._viewer.identity):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        return _EXPIRED, "signed out"

    async def _listen(self) -> tuple[int, str]:
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    received = await self._websocket.receive()
            except TimeoutError:
                return _GOING, f"nothing was heard for {self._idle_s:g} s"
            if received["type"] == "websocket.disconnect":
                return 0, ""
            text = received.get("text") or received.get("bytes") or b""
            await self._send(self._answer(text.encode() if isinstance(text, str) else text))

    def _answer(self, raw: bytes) -> Message:
        try:
            if len(raw) > _MESSAGE_MOST:
                raise ValueError
            message = msgspec.json.decode(raw)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return {"type": "error", "message": f"not JSON of at most {_MESSAGE_MOST} bytes"}
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "ping":
            return {"type": "pong", "timestamp": self._now()}
        if kind == "subscribe":
            channels = message.get("channels")
            listed = channels if isinstance(channels, list) else []
            # Everything that is theirs comes anyway.
            return {"type": "subscribed", "channels": [one for one in listed if isinstance(one, str)][:_CHANNELS_MOST]}
        return {"type": "error", "message": "type must be ping or subscribe"}

    def _now(self) -> str:
        return stamp(self._means.now_ms())


async def _frames(
    means: Means,
    viewer: Viewer,
    room: int,
    kinds: set[str],
    initial: Callable[[str], Awaitable[list[Message]]] | None,
) -> AsyncIterator[bytes]:
    subscription = means.bus.subscribe(viewer.sees, room)
    loop = asyncio.get_running_loop()
    following = asyncio.ensure_future(subscription.next())
    try:
        yield _frame({"type": "connected", "message": "Connected", "timestamp": stamp(means.now_ms())})
        if initial is not None:
            yield _frame({"type": "initial", "notifications": await initial(viewer.identity.name)})
        keep = loop.time() + KEEPALIVE_S
        while means.good(viewer.identity):
            done, _ = await asyncio.wait((following,), timeout=max(0.0, min(LOOK_S, keep - loop.time())))
            if loop.time() >= keep:
                keep += KEEPALIVE_S
                yield sse.comment("keepalive")
            if not done:
                continue
            batch = following.result()
            if not batch:
                return
            following = asyncio.ensure_future(subscription.next())
            for one in batch:
                for message in viewer.messages(one.event) if isinstance(one, Delivered) else ():
                    if message["type"] in kinds:
                        yield _frame(message)
    finally:
        following.cancel()
        means.bus.unsubscribe(subscription)


def _frame(message: Message) -> bytes:
    return sse.frame(_encode(message))


def _stream(frames: AsyncIterator[bytes]) -> Response:
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(frames, media_type="text/event-stream", headers=headers)
