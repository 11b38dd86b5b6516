"""Shows an HTTP request and its answer to whoever watches the device that it is about; see :mod:`relevo.raw`."""

from typing import Final

import msgspec
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relevo.http.services import Services
from relevo.raw import REFUSED, SENT, SHOWN_BYTES, STORED, Exchange, exchange

_DEVICE: Final = "/api/v1/devices/"
# Of what is answered only this is a message to the device: everything else may hold credentials.
_MESSAGES: Final = ("/commands/next",)
# Never shown, whoever asks.
_NEVER: Final = ("/credentials", "/password", "/raw")


async def show(wired: Services, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request, and show it when it is a watched device's own or brings something of it."""
    path: str = scope["path"]
    if any(one in path for one in _NEVER):
        await app(scope, receive, send)
        return
    asked, answered = _Part(), _Part()
    status = 0
    about = Exchange()

    async def listening() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            asked.add(message.get("body", b""))
        return message

    async def telling(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            answered.add(message.get("body", b""))
        await send(message)

    token = exchange.set(about)
    try:
        await app(scope, listening, telling)
    finally:
        exchange.reset(token)
    connection = HTTPConnection(scope)
    devices = about.devices | {wired.auth.device_of(connection)}
    seen = wired.raw.of(devices)
    if not seen or not status:
        return
    where = f"{scope['method']} {path}"
    reason = about.reason or ("" if status < 400 else _reason(answered.head) or f"http_{status}")
    verdict = REFUSED if reason else STORED
    raw = wired.raw
    raw.show(seen, raw.message("in", "http", where, asked.head, asked.length, verdict, reason))
    own = path.startswith(_DEVICE) and path.endswith(_MESSAGES)
    head = answered.head if own else b""
    raw.show(seen, raw.message("out", "http", f"{status} {path}", head, answered.length, SENT))


class _Part:
    """The beginning of a body, and how long it was."""

    def __init__(self) -> None:
        self.head = b""
        self.length = 0

    def add(self, data: bytes) -> None:
        self.length += len(data)
        room = SHOWN_BYTES + 1 - len(self.head)
        if room > 0:
            self.head += data[:room]


class _Problem(msgspec.Struct):
    reason: str = ""


def _reason(body: bytes) -> str:
    """The reason of an error answer, empty when it says none."""
    try:
        return msgspec.json.decode(body, type=_Problem).reason
    except msgspec.DecodeError:
        return ""
