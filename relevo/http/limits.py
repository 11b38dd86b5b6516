"""Bounds on what a request may bring and how long it may take to bring it."""

import asyncio
import contextlib
from collections.abc import Callable

from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relevo.http.errors import render
from relevo.http.services import address_of

Tell = Callable[[str, str, str], None]


class BodyLimits:
    """ASGI middleware: a body of more than ``most`` bytes gets 413, one that trickles longer than ``seconds`` 408.

    Paths that are ``streamed`` take what comes as it comes, however much: of them each part has its ``seconds``.
    ``tell(reason, detail, address)`` hears of each.
    """

    def __init__(
        self, app: ASGIApp, most: int, seconds: float, tell: Tell, streamed: frozenset[str] = frozenset()
    ) -> None:
        self._app = app
        self._most = most
        self._seconds = seconds
        self._tell = tell
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = address_of(HTTPConnection(scope))
        streamed = scope["path"] in self._streamed
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._most and not streamed:
                await self._refuse(scope, receive, send, 413, "body_too_large", address)
                return
        taken = 0
        trouble = ""
        started = False
        deadline = asyncio.get_running_loop().time() + self._seconds
        complete = False

        async def bounded_receive() -> Message:
            nonlocal taken, complete, trouble, deadline
            if complete:
                return await receive()
            if streamed:
                deadline = asyncio.get_running_loop().time() + self._seconds
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                trouble = "request_too_slow"
                raise _BodyError from None
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if taken > self._most and not streamed:
                    trouble = "body_too_large"
                    raise _BodyError
            return message

        async def watching_send(message: Message) -> None:
            nonlocal started
            # Frameworks turn any error while reading into an answer of their own; ours says what it was.
            if trouble and not started:
                return
            started = True
            await send(message)

        # A client that leaves in the middle of its body is nobody's defect.
        with contextlib.suppress(_BodyError, ClientDisconnect):
            await self._app(scope, bounded_receive, watching_send)
        if trouble and not started:
            await self._refuse(scope, receive, send, 413 if trouble == "body_too_large" else 408, trouble, address)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, status: int, reason: str, address: str) -> None:
        detail = (
            f"the body is larger than {self._most} bytes"
            if status == 413
            else f"the request did not arrive within {self._seconds:g} s"
        )
        self._tell(reason, detail, address)
        answer = render(scope["path"], status, detail, reason=reason, headers={"Connection": "close"})
        await answer(scope, receive, send)


class _BodyError(Exception):
    """The body went beyond a limit while it was read."""
