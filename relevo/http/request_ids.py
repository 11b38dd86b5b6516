"""A name for every request, in its answer and in every line the log has about it."""

import re
import secrets
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relevo.log import about

HEADER: Final = "X-Request-Id"
# What a balancer may have given it; anything else could be made to look like lines of the log.
_GOOD: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class RequestIds:
    """ASGI middleware: takes a good ``X-Request-Id`` over or makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given.decode() if _GOOD.fullmatch(given) else secrets.token_hex(8)
        scope["relevo.request_id"] = request_id

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with about(request=request_id):
            await self._app(scope, receive, with_id)
