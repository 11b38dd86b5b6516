"""The one HTTP application: native API, contract paths, live views and the interface."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relevo import __version__
from relevo.errors import Forbidden, Unauthenticated
from relevo.exchange.protocol import FORMATS
from relevo.http import errors, exchanges
from relevo.http.api import telemetry
from relevo.http.description import Methods, complete
from relevo.http.emqx.paths import Paths
from relevo.http.groups import GROUPS, Deferred
from relevo.http.hidrometro import doors
from relevo.http.hosts import TrustedHosts
from relevo.http.limits import BodyLimits
from relevo.http.metrics import metrics
from relevo.http.needs import NEEDS
from relevo.http.rates import Rates
from relevo.http.request_ids import RequestIds
from relevo.http.services import Services
from relevo.http.turnstile import Turnstile

_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
# The interface's reader of QR codes is WebAssembly.
_INTERFACE_POLICY = _POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")
# The API page's component writes style elements into its shadow tree.
_DOCS_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")

_DOCS = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Relevo API</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<script type="module" src="/ui/vendor/rapidoc-min.js"></script></head><body>
<rapi-doc spec-url="/openapi.json" render-style="focused" use-path-in-nav-bar="true" theme="light"
 show-header="false" allow-server-selection="false" load-fonts="false"
 regular-font="system-ui, sans-serif" mono-font="ui-monospace, monospace"></rapi-doc>
</body></html>"""


_STREAM_PATHS: dict[str, Any] = {
    "/api/v1/stream": {
        "get": {
            "tags": ["live"],
            "summary": "Events as server-sent events",
            NEEDS: "everybody who is signed in, for the devices they may view",
            "description": "The same objects come as messages of the WebSocket `/api/v1/ws`.",
            "parameters": [
                {"name": name, "in": where, "required": False, "schema": {"type": "string"}, "description": what}
                for name, where, what in (
                    ("devices", "query", "Device ids, separated by commas; all when absent."),
                    ("kinds", "query", "Kinds of events, separated by commas; all when absent."),
                    ("since", "query", "Replay what came after this sequence number."),
                    ("Last-Event-ID", "header", "The same, sent by browsers when they reconnect."),
                )
            ],
            "responses": {
                "200": {"description": "The stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
                "401": {"description": "No credential"},
                "422": {"description": "Unknown kind, or no sequence number"},
            },
        }
    },
    "/api/v1/walls/{token}/stream": {
        "get": {
            "tags": ["dashboards"],
            "summary": "What happens on a wall as server-sent events",
            NEEDS: "who has the link of the wall",
            "description": "`telemetry` and `state` of the keys on it, `presence`, `alert`, `dashboard` when "
            "the document is to be asked for again, and `gap`.",
            "parameters": [{"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}],
            "responses": {
                "200": {"description": "The stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            },
        }
    },
    "/stream/dispositivos": {
        "get": {
            "tags": ["alchemy"],
            "summary": "Changes of devices as server-sent events (contract alchemy)",
            NEEDS: "everybody on a private network while `open_reads` is on, otherwise everybody who is signed in, for "
            "the devices they may view",
            "parameters": [
                {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": what}
                for name, what in (
                    ("serial", "One serial number alone."),
                    ("reclamado", "`true` or `false`: only devices that are claimed, or are not."),
                    ("eventos", "`nombrados` names every event `device_update`."),
                )
            ],
            "responses": {
                "200": {"description": "The stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
                "401": {"description": "No credential"},
            },
        }
    },
}


# Pages at paths that are described for what programs do there.
_PAGES: dict[str, Any] = {
    path: {
        "tags": ["hidrometro"],
        "summary": summary,
        NEEDS: needs,
        "responses": {
            "200": {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}},
            "302": {"description": "To the page that is meant"},
        },
    }
    for path, summary, needs in (
        ("/login", "The page on which one signs in", "everybody"),
        ("/logout", "The page that asks before one is signed out", "everybody"),
    )
}


class SecurityHeaders:
    """ASGI middleware: what every answer tells a browser not to do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
                if headers.get("content-type", "").startswith("text/html"):
                    ours = scope["path"].startswith("/ui/")
                    headers.setdefault("Content-Security-Policy", _INTERFACE_POLICY if ours else _POLICY)
            await send(message)

        await self._app(scope, receive, with_headers)


# What a device may fetch of itself as a file.
_FILES = tuple(f"/telemetry.{suffix}" for suffix in FORMATS)


# Nobody but a device asks these, and the key says which.
_UPDATES = frozenset({"/api/v1/update", "/api/v1/update/image"})


class SignedIn:
    """ASGI middleware: the native API looks at nothing of a request before it has seen a credential.

    What the credential may do is decided by each route; those that also take a device's key prove it themselves.
    """

    _open = frozenset({"/api/v1/auth/login", "/api/v1/auth/logout", "/api/v1/auth/refresh"})

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    def _is_open(self, path: str) -> bool:
        # The link of a wall is in its path.
        return path in self._open or path.startswith("/api/v1/walls/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith("/api/v1/") and not self._is_open(path) and path not in _UPDATES:
            connection = HTTPConnection(scope)
            reads = scope["method"] == "GET"
            takes_keys = (
                path.endswith(("/telemetry", *_FILES, "/latest", "/commands/next", "/response", "/reported"))
                or (reads and path.endswith("/desired"))
                or "/telemetry/" in path
            )
            shows_none = "authorization" not in connection.headers
            try:
                if not takes_keys or (shows_none and (reads or path.endswith("/reported"))):
                    self._services.auth.identify(connection)
            except (Unauthenticated, Forbidden) as error:
                await errors.answer(path, error)(scope, receive, send)
                return
        if self._services.raw.watched and scope["type"] == "http":
            await exchanges.show(self._services, self._app, scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _root(request: Request) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/ui/", 302)
    return JSONResponse({"status": "ok", "service": "relevo", "version": __version__})


async def _docs(request: Request) -> Response:
    return HTMLResponse(_DOCS, headers={"Content-Security-Policy": _DOCS_POLICY})


def described() -> FastAPI:
    """All described routes, without anything behind them: what ``/openapi.json`` is made from, which reads them all."""
    app = FastAPI(
        title="Relevo",
        version=__version__,
        description="A self-hosted home for small connected devices.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    routes = app.router.routes
    routes.extend(telemetry.routes)
    waiting = [Deferred(group, routes, app.router.app) for group in GROUPS]
    routes.extend(waiting)
    whole: dict[str, Any] = {}
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if not whole:
            for one in waiting:
                one.load()
            whole.update(generate())
            for path, item in (telemetry.OPENAPI_PATHS | _STREAM_PATHS).items():
                whole["paths"][path] = whole["paths"].get(path, {}) | item
            for path, page in _PAGES.items():
                whole["paths"][path] |= {"get": page}
            complete(whole)
        return whole

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def build(services: Services, more: Sequence[BaseRoute]) -> FastAPI:
    """The application; ``more`` are the routes of the other rooms (live views, interface)."""
    app = described()
    app.state.services = services
    methods: list[Methods] = []

    def methods_of(path: str) -> list[str]:
        # Made with the first such question: the description costs half a second that nobody waits for at the start.
        if not methods:
            methods.append(Methods(app.openapi()))
        return methods[0].of(path)

    errors.install(app, methods_of)
    app.router.routes.extend(
        [
            Route("/", _root, methods=["GET"]),
            Route("/docs", _docs, methods=["GET"]),
            Route("/redoc", _docs, methods=["GET"]),
            Route("/api/docs/", _docs, methods=["GET"]),
            Route("/api/redoc/", _docs, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            *more,
        ]
    )

    # First, because a path may be a page to one who asks with a form and another contract's to the rest.
    app.router.routes[:0] = doors.routes()

    limits = services.settings.limits
    app.add_middleware(SignedIn, services=services)
    app.add_middleware(Rates, services=services)
    app.add_middleware(
        BodyLimits,
        most=limits.http_body_bytes,
        seconds=limits.http_timeout_s,
        tell=services.refuse_at_door,
        streamed=frozenset({"/api/v1/imports", "/api/v1/pictures", "/api/v1/firmware"}),
    )
    app.add_middleware(Turnstile, blocked=services.auth.blocked)
    if services.settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=services.settings.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "X-Device-Token"],
            expose_headers=["X-Request-Id", "Retry-After", "Location"],
            max_age=600,
        )
    app.add_middleware(Paths)
    app.add_middleware(
        TrustedHosts,
        listed=services.settings.answered_hosts,
        tell=services.refuse_at_door,
    )
    # The last one added is the outermost.
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestIds)
    return app
