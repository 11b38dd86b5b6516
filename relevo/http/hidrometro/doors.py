"""Which requests are for the water meters' pages (contract hidrometro, section 4.1).

Paths that other contracts have too are told apart by what is asked: a form, or HTML rather than JSON. The pages
themselves are loaded with the first of these requests.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

_FORM: Final = "application/x-www-form-urlencoded"
_PAGES: Final = "relevo.http.hidrometro.pages"


class _FormRoute(Route):
    """A route for forms: with another body the path is another contract's."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if _header(scope, b"content-type").partition(";")[0].strip().lower() != _FORM:
            return Match.NONE, {}
        return super().matches(scope)


class _HtmlRoute(Route):
    """A route for those who want HTML rather than JSON."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or not prefers_html(_header(scope, b"accept")):
            return Match.NONE, {}
        return super().matches(scope)


def routes() -> list[BaseRoute]:
    """The pages, to be asked before the routes of any other contract."""
    return [
        Route("/dashboard", _page("dashboard"), methods=["GET"]),
        Route("/control", _page("control"), methods=["GET", "POST"]),
        Route("/clientes", _page("customers"), methods=["GET", "POST"]),
        _HtmlRoute("/dispositivos", _page("meters"), methods=["GET"]),
        _FormRoute("/dispositivos", _page("meters"), methods=["POST"]),
        Route("/login", _page("login"), methods=["GET"]),
        _FormRoute("/login", _page("login"), methods=["POST"]),
        Route("/logout", _page("logout"), methods=["GET"]),
        _FormRoute("/logout", _page("logout"), methods=["POST"]),
    ]


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        # Beside the loop, which has devices to answer meanwhile.
        pages = await asyncio.to_thread(import_module, _PAGES)
        found: Response = await getattr(pages, name)(request)
        return found

    return page


def prefers_html(accept: str) -> bool:
    """Whether an ``Accept`` header likes ``text/html`` more than JSON (RFC 9110, section 12.5.1)."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (one.strip().lower() for one in part.split(";"))
        weight = next((one.removeprefix("q=") for one in parameters if one.startswith("q=")), "1")
        try:
            weights[name] = float(weight)
        except ValueError:
            weights[name] = 0.0

    def of(kind: str) -> float:
        names = (kind, f"{kind.partition('/')[0]}/*", "*/*")
        return next((weights[one] for one in names if one in weights), 0.0)

    return of("text/html") > of("application/json")


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
