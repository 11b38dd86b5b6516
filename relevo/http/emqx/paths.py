"""Paths of contract emqx as its clients write them (section 4): every one ends in a slash, hyphens and underscores mean
the same.

Who leaves the slash out is redirected when reading (301); writing is taken as if the slash were there, because a client
that is redirected would lose its body. Where a path without a slash is another contract's, it is left alone.
"""

from collections.abc import Iterable
from typing import Final

from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from relevo.http.errors import is_emqx
from relevo.http.groups import GROUPS, Group

_ROOTS: Final = tuple(
    f"/api/{name}" for name in ("mqtt", "devices", "auth", "users", "sensors", "readings", "docs", "redoc")
)
_OTHERS: Final = "autocore."
_DEVICES: Final = "/api/devices/"
# /api/devices/{number}/{action}
_DEEPEST: Final = 4
# Those of contract autocore, whatever it serves there.
_NEVER: Final = frozenset({"/api/devices", "/api/mqtt/topics"})


class Paths:
    """ASGI middleware; ``groups`` are the files of routes that share these roots."""

    def __init__(self, app: ASGIApp, groups: Iterable[Group] = GROUPS) -> None:
        self._app = app
        self._groups = [one for one in groups if one.module.startswith(_OTHERS) and _DEVICES.startswith(one.paths)]
        self._others: list[BaseRoute] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(_ROOTS) or self._is_foreign(scope, path):
            await self._app(scope, receive, send)
            return
        if path.endswith("/"):
            meant = path
        elif scope["method"] in ("GET", "HEAD"):
            query = scope.get("query_string", b"").decode("latin-1")
            target = scope["raw_path"].decode("latin-1") if scope.get("raw_path") else path
            await RedirectResponse(f"{target}/{'?' if query else ''}{query}", 301)(scope, receive, send)
            return
        else:
            meant = f"{path}/"
        meant = meant.replace("_", "-")
        if meant != path:
            scope = dict(scope, path=meant, raw_path=meant.encode())
        await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope, path: str) -> bool:
        if path.endswith("/"):
            return not is_emqx(path)
        # Other names below /api/mqtt/ are autocore's.
        if path in _NEVER or not is_emqx(path if path.startswith("/api/mqtt/") else f"{path}/"):
            return True
        if not path.startswith(_DEVICES):
            return False
        if path.count("/") > _DEEPEST:
            return True
        if not self._others:
            # Boards of the other contract ask for them first of all.
            self._others = [route for one in self._groups for route in one.routes()]
        # Also with a method that it does not have there: its answer to that is its own.
        return any(one.matches(scope)[0] is not Match.NONE for one in self._others)
