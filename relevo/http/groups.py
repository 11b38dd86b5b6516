"""Which file serves which paths, read when the first of them is asked for.

A home that has water meters and nothing else never pays for the routes of four other contracts: a file of routes with
its models is up to a megabyte and a tenth of a second.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, Final, NamedTuple, NoReturn

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from relevo.http.needs import NEEDS, need_of


class Group(NamedTuple):
    """A module with a ``router``, and what its paths begin with."""

    module: str
    paths: tuple[str, ...]

    def routes(self) -> list[BaseRoute]:
        """Its routes, each with the need that it declares. Slow the first time."""
        found: list[BaseRoute] = import_module(f"relevo.http.{self.module}").router.routes
        for route in found:
            assert isinstance(route, APIRoute)
            need = need_of(route)
            assert need is not None, f"{route.path} says nothing about who may use it"
            route.openapi_extra = (route.openapi_extra or {}) | {NEEDS: need.words}
        return found


_DEVICE: Final = ("/api/v1/devices/",)

# Every file with routes of its own; what is not here is not served. Of paths that several may have the first is asked
# first.
GROUPS: Final = (
    Group("api.fleet", ("/api/v1/devices",)),
    Group("api.fleet_changes", ("/api/v1/devices/bulk",)),
    Group("api.devices", ("/api/v1/devices",)),
    Group("api.history", _DEVICE),
    Group("api.across", ("/api/v1/telemetry", "/api/v1/latest")),
    Group("api.imports", ("/api/v1/imports",)),
    Group("api.exports", ("/api/v1/exports", *_DEVICE)),
    Group("api.commands", _DEVICE),
    Group("api.twins", _DEVICE),
    Group("api.capabilities", _DEVICE),
    Group("api.credentials", ("/api/v1/credentials", *_DEVICE)),
    Group("api.raw", _DEVICE),
    Group("api.water", ("/api/v1/tariffs", *_DEVICE)),
    Group("api.certificates", _DEVICE),
    Group("api.grants", ("/api/v1/grants", *_DEVICE)),
    Group("api.ownership", _DEVICE),
    Group("api.labels", ("/api/v1/labels", *_DEVICE)),
    Group("api.bulk", ("/api/v1/bulk-commands",)),
    Group("api.updating", ("/api/v1/update", *_DEVICE)),
    Group("api.firmware", ("/api/v1/firmware",)),
    Group("api.rollouts", ("/api/v1/rollouts",)),
    Group("api.sites", ("/api/v1/sites",)),
    Group("api.schedules", ("/api/v1/schedules",)),
    Group("api.rules", ("/api/v1/rules",)),
    Group("api.demo", ("/api/v1/demo",)),
    Group("api.attention", ("/api/v1/attention",)),
    Group("api.alerts", ("/api/v1/alerts",)),
    Group("api.webhooks", ("/api/v1/webhooks",)),
    Group("api.sign_in", ("/api/v1/auth/", "/api/v1/me", "/api/v1/keys")),
    Group("api.preferences", ("/api/v1/me/",)),
    Group("api.users", ("/api/v1/users",)),
    Group("api.boards", ("/api/v1/dashboards",)),
    Group("api.walls", ("/api/v1/dashboards/", "/api/v1/walls/")),
    Group("api.pictures", ("/api/v1/pictures",)),
    Group("api.storage", ("/api/v1/system/storage", "/api/v1/retention")),
    Group("api.audit", ("/api/v1/audit",)),
    Group("api.why", ("/api/v1/why",)),
    Group("api.joining", ("/api/v1/unclaimed", "/api/v1/pairing")),
    Group("api.claims", ("/api/v1/claims", "/api/v1/claim-codes")),
    Group("api.factory", ("/api/v1/factory",)),
    Group("api.channels", ("/api/v1/notifications/",)),
    Group("api.notifications", ("/api/v1/notifications",)),
    Group("api.backups", ("/api/v1/system/backups",)),
    Group("api.settings", ("/api/v1/system/settings",)),
    Group("api.system", ("/api/v1/system",)),
    Group("hidrometro.reading", ("/healthz", "/api/current", "/api/history")),
    Group("hidrometro.asking", ("/api/login", "/api/data", "/api/cmd", "/api/debug/")),
    Group("hidrometro.alerts", ("/api/alerts",)),
    Group("hidrometro.clients", ("/api/clientes/", "/api/v1/customers")),
    Group("autocore.registration", ("/api/devices", "/api/mqtt/config")),
    Group("autocore.devices", ("/api/devices",)),
    Group("autocore.relays", ("/api/relays/",)),
    Group(
        "autocore.tools",
        ("/api/telemetry/", "/api/events", "/api/config/", "/api/health", "/api/status", "/api/mqtt/"),
    ),
    Group("emqx.mqtt", ("/api/mqtt/",)),
    Group("emqx.devices", ("/api/devices/",)),
    Group("emqx.sensors", ("/api/sensors/",)),
    Group("emqx.readings", ("/api/readings/",)),
    Group("emqx.accounts", ("/api/auth/", "/api/users/")),
    Group("alchemy.routes", ("/dispositivos",)),
    Group("thingsnxt.telemetry", ("/devices/", "/telemetry", "/health")),
    Group("thingsnxt.devices", ("/devices", "/telemetry")),
    Group("thingsnxt.dashboards", ("/dashboards", "/widgets", "/app/config")),
    Group("thingsnxt.timing", ("/widgets/",)),
    Group("thingsnxt.inbox", ("/notifications",)),
    Group("thingsnxt.hooks", ("/webhooks",)),
    Group(
        "thingsnxt.accounts",
        (
            "/signup", "/token", "/login", "/refresh", "/logout", "/me", "/forgot-password", "/verify-reset-token",
            "/reset-password",
        ),
    ),
)  # fmt: skip


class Deferred(BaseRoute):
    """Stands for the routes of a group until somebody asks for one of its paths; ``routes`` are those it is among."""

    def __init__(
        self, group: Group, routes: list[BaseRoute], serve: Callable[[Scope, Receive, Send], Awaitable[None]]
    ) -> None:
        self.group = group
        self._routes = routes
        self._serve = serve
        self._turn = asyncio.Lock()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        wanted = scope["type"] == "http" and scope["path"].startswith(self.group.paths)
        return (Match.FULL if wanted else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> NoReturn:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._turn:
            if self in self._routes:
                # Beside the loop, which has devices to answer meanwhile.
                self._become(await asyncio.to_thread(self.group.routes))
        await self._serve(scope, receive, send)

    def _become(self, routes: list[BaseRoute]) -> None:
        at = self._routes.index(self)
        self._routes[at : at + 1] = routes

    def load(self) -> None:
        """At once."""
        if self in self._routes:
            self._become(self.group.routes())
