"""Signing in, a few at a time.

Reading a request, checking a password and answering takes the event loop two milliseconds; fifty of them in one round
of the loop are a tenth of a second in which no reading is acknowledged. So only a few are let in together, the others
wait their turn outside, and beyond that the answer is to come again later.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from relevo.errors import TooMany
from relevo.http import errors
from relevo.http.services import address_of

_PATHS: Final = frozenset(
    {
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/api/login",
        "/api/auth/login/",
        "/api/auth/refresh/",
        "/api/auth/token/refresh/",
        "/api/auth/register/",
        "/login",
        "/token",
        "/refresh",
        "/signup",
        "/reset-password",
    }
)
_TOGETHER: Final = 2
_WAITING_MOST: Final = 64
_RETRY_S: Final = 2
_PATIENCE_S: Final = 1.0


class Turnstile:
    """ASGI middleware. ``blocked(address)`` gives the seconds an address has to wait before it may try again."""

    def __init__(self, app: ASGIApp, blocked: Callable[[str], float]) -> None:
        self._app = app
        self._blocked = blocked
        self._room = asyncio.Semaphore(_TOGETHER)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in _PATHS:
            await self._app(scope, receive, send)
            return
        if self._waiting >= _WAITING_MOST:
            await self._refuse(scope, receive, send, TooMany("too many sign-ins at this moment", _RETRY_S))
            return
        self._waiting += 1
        try:
            wait = self._blocked(address_of(HTTPConnection(scope)))
            if wait:
                # Whoever asks again at once is answered about once a second, and not all of them in the same moment.
                await asyncio.sleep(min(wait, random.uniform(0.5, 1.5) * _PATIENCE_S))  # noqa: S311 - no secret
                await self._refuse(scope, receive, send, TooMany("too many attempts", int(wait) + 1))
                return
            async with self._room:
                await self._app(scope, receive, send)
        finally:
            self._waiting -= 1

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, error: TooMany) -> None:
        await errors.answer(scope["path"], error)(scope, receive, send)
