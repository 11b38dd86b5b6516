"""Every path of contract emqx ends in a slash; what clients do that leave it out (section 4).

Reading is redirected (301), writing is taken as if the slash were there: a client that is redirected would lose its
body. Where a path without a slash is another contract's, it is left alone.
"""

from collections.abc import Iterable
from typing import Final

from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from relevo.http.errors import is_emqx

_ROOTS: Final = (
    "/api/mqtt/",
    "/api/devices/",
    "/api/auth/",
    "/api/users",
    "/api/sensors",
    "/api/readings",
    "/api/docs",
)
_MORE: Final = ("/api/redoc",)
# Those of contract autocore, whatever it serves there.
_NEVER: Final = frozenset({"/api/devices", "/api/mqtt/topics"})


class Slashes:
    """ASGI middleware; ``others`` are the routes of contracts that share these roots."""

    def __init__(self, app: ASGIApp, others: Iterable[BaseRoute]) -> None:
        self._app = app
        self._others = tuple(others)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path.endswith("/") or not path.startswith(_ROOTS):
            await self._app(scope, receive, send)
            return
        shared = any(one.matches(scope)[0] is not Match.NONE for one in self._others)
        if path in _NEVER or shared or not _is_ours(path):
            await self._app(scope, receive, send)
            return
        if scope["method"] in ("GET", "HEAD"):
            query = scope.get("query_string", b"").decode("latin-1")
            target = scope["raw_path"].decode("latin-1") if scope.get("raw_path") else path
            await RedirectResponse(f"{target}/{'?' if query else ''}{query}", 301)(scope, receive, send)
            return
        with_slash = dict(scope, path=f"{path}/")
        if scope.get("raw_path"):
            with_slash["raw_path"] = scope["raw_path"] + b"/"
        await self._app(with_slash, receive, send)


def _is_ours(path: str) -> bool:
    """Whether there is such a path with the slash; other names below ``/api/mqtt/`` are autocore's."""
    if path.startswith("/api/mqtt/"):
        return is_emqx(path)
    return is_emqx(f"{path}/")
