"""``/ws/mqtt``: what goes over the MQTT door below the contract's root (contract autocore, section 5), for operators.

The server says ``{"type", "data"}``: ``mqtt_status``, ``history_info`` and ``history`` first, then an ``mqtt_message``
for each message. The client says ``PUBLISH:topic:json``, which ``publish_result`` answers.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from starlette.requests import HTTPConnection
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from relevo.domain.accounts import Identity
from relevo.errors import Forbidden, Invalid, RelevoError, Unauthenticated
from relevo.monitor import Monitor, Seen
from relevo.wire.strict_json import loads_object

QUEUE: Final = 200
LOOK_S: Final = 5.0
_POLICY: Final = 1008
_COMMAND: Final = "PUBLISH:"


class Means(NamedTuple):
    """What the view is made of.

    ``admit`` says who comes and raises :class:`Unauthenticated` and :class:`Forbidden`; ``good`` whether they still
    may; ``sees`` whether a topic is theirs to see. ``publish`` raises what is against it.
    """

    monitor: Monitor
    admit: Callable[[HTTPConnection], Identity]
    good: Callable[[Identity], bool]
    sees: Callable[[Identity, str], bool]
    standing: Callable[[str], dict[str, Any]]
    publish: Callable[[HTTPConnection, Identity, str, dict[str, Any]], Awaitable[list[str]]]


def routes(means: Means) -> list[WebSocketRoute]:
    """The socket's route."""

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            identity = means.admit(websocket)
        except (Unauthenticated, Forbidden) as error:
            await websocket.close(_POLICY, str(error)[:120])
            return
        await _View(means, websocket, identity).run()

    return [WebSocketRoute("/ws/mqtt", socket)]


class _View:
    """One watcher; the oldest messages go when they are too slow."""

    def __init__(self, means: Means, websocket: WebSocket, identity: Identity) -> None:
        self._means = means
        self._websocket = websocket
        self._identity = identity
        self._waiting: deque[dict[str, Any]] = deque(maxlen=QUEUE)
        self._ready = asyncio.Event()

    async def run(self) -> None:
        means = self._means
        means.monitor.watchers.append(self._heard)
        try:
            known = [one for one in means.monitor.history if means.sees(self._identity, one.topic)]
            self._offer("mqtt_status", means.standing(self._websocket.url.hostname or ""))
            self._offer("history_info", {"count": len(known), "limit": means.monitor.history.maxlen})
            self._offer("history", [_shown(one) for one in known])
            tasks = [asyncio.ensure_future(one()) for one in (self._send, self._listen, self._look)]
            _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if tasks[2].done() and not tasks[2].cancelled():
                await self._websocket.close(_POLICY, "signed out")
        finally:
            means.monitor.watchers.remove(self._heard)

    def _heard(self, seen: Seen) -> None:
        if self._means.sees(self._identity, seen.topic):
            self._offer("mqtt_message", _shown(seen))

    def _offer(self, kind: str, data: Any) -> None:
        self._waiting.append({"type": kind, "data": data})
        self._ready.set()

    async def _send(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._waiting:
                await self._websocket.send_text(json.dumps(self._waiting.popleft(), ensure_ascii=False))

    async def _look(self) -> None:
        while self._means.good(self._identity):  # noqa: ASYNC110 - credentials end in many ways and without a signal
            await asyncio.sleep(LOOK_S)

    async def _listen(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text") or ""
            topic = ""
            try:
                if not text.startswith(_COMMAND):
                    raise Invalid("command_unknown", f"say {_COMMAND}topic:json")
                topic, _, content = text.removeprefix(_COMMAND).partition(":")
                asked = await self._means.publish(
                    self._websocket, self._identity, topic, loads_object(content.encode())
                )
            except RelevoError as problem:
                self._offer("publish_result", {"success": False, "topic": topic, "error": str(problem)})
            else:
                self._offer("publish_result", {"success": True, "topic": topic, "commands": asked})


def _shown(seen: Seen) -> dict[str, Any]:
    text = seen.payload.decode(errors="replace")
    try:
        payload: Any = json.loads(text, parse_constant=_no_number)
    except ValueError:
        payload = text
    at = datetime.fromtimestamp(seen.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"topic": seen.topic, "payload": payload, "qos": seen.qos, "retain": seen.retain, "timestamp": at}


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
