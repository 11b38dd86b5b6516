"""How many requests one asker may make: a person, a device, or an address that showed no credential.

Each is counted by who it is, never by where it comes from, so that four boards behind one router do not lock each other
out; only strangers share what their address may.
"""

import time
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from relevo.domain.events import Audited
from relevo.domain.networks import is_private
from relevo.errors import Forbidden, TooMany, Unauthenticated
from relevo.http import errors
from relevo.http.auth import DEVICE_TOKEN
from relevo.http.services import Services, address_of

# Needed to see whether the server lives, or files that cost next to nothing.
_EXEMPT: Final = ("/healthz", "/health", "/ui", "/docs", "/redoc", "/openapi.json", "/logout")
# Every device of contract alchemy asks every three seconds, without saying who it is while that is open.
# Where a proxy lets no WebSocket through, Socket.IO asks with every reading.
_POLLED: Final = ("/dispositivos", "/socket.io")
_TOKEN_PATHS: Final = frozenset({"/telemetry", "/telemetry/latest"})
_TOLD_EVERY_S: Final = 60.0
_CLEANED_EVERY_S: Final = 10.0


def _by_token(path: str) -> bool:
    """Paths whose askers prove themselves in the body or the query; they are counted where that is read
    (:mod:`relevo.http.thingsnxt.rates`), or boards behind one router would lock each other out."""
    return path in _TOKEN_PATHS or (path.startswith("/devices/") and path.endswith("/telemetry"))


class _Storage(MemoryStorage):
    """The library's own clean-up starts a thread with nearly every hit and looks at every key each time."""

    _cleaned = 0.0

    def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802 - the library's private name
        now = time.monotonic()
        if now - self._cleaned >= _CLEANED_EVERY_S:
            self._cleaned = now
            self._MemoryStorage__expire_events()  # type: ignore[attr-defined]


class Rates:
    """ASGI middleware: 429 with ``Retry-After`` beyond the limits, told in the story of whoever it was."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        limits = services.settings.limits
        self._app = app
        self._services = services
        self._limiter = SlidingWindowCounterRateLimiter(_Storage())
        self._rules: dict[str, RateLimitItem] = {
            kind: RateLimitItemPerMinute(most)
            for kind, most in (
                ("user", limits.requests_per_minute_of_user),
                ("device", limits.requests_per_minute_of_device),
                ("address", limits.requests_per_minute_of_address),
            )
            if most
        }
        self._told: dict[tuple[str, str], float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path == "/" or path.startswith(_EXEMPT) or _by_token(path):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        kind, name = self._asker(connection)
        rule = self._rules.get(kind)
        if rule is None or self._limiter.hit(rule, kind, name):
            await self._app(scope, receive, send)
            return
        reset = self._limiter.get_window_stats(rule, kind, name).reset_time
        error = TooMany(
            f"more than {rule.amount} requests a minute; see Retry-After",
            max(1, int(reset - time.time()) + 1),
            rule.amount,
        )
        self._tell(connection, kind, name, rule)
        await errors.answer(path, error)(scope, receive, send)

    def _asker(self, connection: HTTPConnection) -> tuple[str, str]:
        auth = self._services.auth
        if "authorization" in connection.headers or DEVICE_TOKEN in connection.headers:
            device = auth.device_of(connection)
            if device:
                return "device", device
        try:
            return "user", auth.identify(connection).name
        except (Unauthenticated, Forbidden):
            address = address_of(connection)
            settings = self._services.settings
            polls = settings.reads_open and connection.scope["path"].startswith(_POLLED)
            if (settings.profile == "lab" or polls) and is_private(address):
                return "", ""
            return "address", address

    def _tell(self, connection: HTTPConnection, kind: str, name: str, rule: RateLimitItem) -> None:
        services = self._services
        detail = f"{kind} {name}: more than {rule.amount} HTTP requests a minute"
        address = address_of(connection)
        services.refusals.refuse(name if kind == "device" else "", "http", "too_many_requests", detail, address)
        now = services.clock.monotonic()
        if kind == "user" and now - self._told.get((kind, name), -_TOLD_EVERY_S) >= _TOLD_EVERY_S:
            self._told[kind, name] = now
            services.pipeline.submit(
                [Audited(services.clock.now_ms(), name, "limit.requests", name, {}, address, "refused")]
            )
