"""What the live views of each contract are made of, and whose they are."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.routing import BaseRoute

from relevo.bus import Bus
from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Device
from relevo.domain.meters import Sees
from relevo.domain.networks import is_private
from relevo.errors import Forbidden, Unauthenticated
from relevo.http import tokens
from relevo.http.alchemy import access
from relevo.http.alchemy.access import Onlooker
from relevo.http.hidrometro.access import seen_by
from relevo.http.services import Services, address_of
from relevo.http.thingsnxt import rates as app_rates
from relevo.http.thingsnxt import shapes as app_shapes
from relevo.http.watching import Watching
from relevo.realtime import alchemy, socketio, sse, walls, websocket
from relevo.realtime import autocore as board_traffic
from relevo.realtime import thingsnxt as app_streams
from relevo.realtime.view import Views
from relevo.store import alerts as store_alerts
from relevo.store import inbox, journal


def origin_allowed(services: Services, connection: HTTPConnection) -> bool:
    """Browsers say whose page it is; programs say nothing."""
    origin = connection.headers.get("origin", "")
    own = origin.partition("://")[2] == connection.headers.get("host", "")
    return not origin or own or origin in (services.settings.public_url, *services.settings.allowed_origins)


class LiveViews:
    """All live views: their routes, and how they end."""

    def __init__(self, services: Services, bus: Bus, views: Views) -> None:
        self._wired = services
        self._bus = bus
        self._views = views
        self._updates = alchemy.Updates(services.registry, services.twins.get, self._appearing)
        self._water = socketio.Live(_water_means(services, bus))
        bus.tap(self._updates.follow)
        bus.tap(self._water.follow)

    def routes(self) -> list[BaseRoute]:
        """What they are followed by."""
        wired = self._wired
        room = wired.settings.limits.stream_queue

        async def admit(connection: HTTPConnection) -> Watching:
            return Watching(wired.auth.identify(connection), wired.auth.people, wired.registry)

        async def admit_alchemy(connection: HTTPConnection) -> Onlooker:
            return access.admit(connection, wired)

        async def admit_wall(request: Request, token: str) -> walls.Look:
            from relevo.http.boards.walls import look as look_at

            look = look_at(wired, request, token)
            look.check_room()
            return look

        async def replay(seq: int, limit: int) -> list[Any]:
            return await wired.readers.run(journal.events_from, seq, limit)

        live = (self._bus, replay, lambda: wired.pipeline.committed_seq, self._views, admit, room)
        return [
            *sse.routes(*live),
            *websocket.routes(*live),
            *walls.routes(self._bus, admit_wall, room),
            *alchemy.routes(self._updates, admit_alchemy, wired.settings.alchemy.ping_s),
            *app_streams.routes(_app_means(wired, self._bus), room),
            *socketio.routes(self._water),
            *board_traffic.routes(_traffic_means(wired)),
        ]

    async def close(self) -> None:
        """End those that do not end with the bus."""
        self._updates.close()
        await self._water.close()

    def _appearing(self, device: Device) -> list[dict[str, Any]]:
        if not self._wired.appearances.of_device(device.id):
            return []
        from relevo.http.alchemy import foreign

        return foreign.of(self._wired, device)


def _traffic_means(services: Services) -> board_traffic.Means:
    """What the view of relay boards' traffic is made of."""

    async def publish(connection: HTTPConnection, identity: Identity, topic: str, payload: Any) -> list[str]:
        from relevo.http.autocore import publishing

        return await publishing.publish(connection, services, identity, topic, payload, 1)

    return board_traffic.Means(
        monitor=services.monitor,
        admit=lambda connection: services.auth.require(connection, Role.OPERATOR),
        good=services.auth.people.good,
        sees=services.may_watch,
        standing=services.mqtt_standing,
        publish=publish,
    )


def _app_means(services: Services, bus: Bus) -> app_streams.Means:
    """What the live views of the thingsnxt app are made of."""
    auth = services.auth

    def of_text(text: str) -> Identity:
        try:
            return auth.redeem(text)
        except Unauthenticated:
            if services.settings.token_in_query is False:
                raise
        if services.keyring.device_of(text.encode(errors="replace"), services.clock.now_ms()):
            raise Forbidden("a device's token")
        if services.auth.people.sign_in_by_secret(tokens.hash_secret(text)) is not None:
            raise Forbidden("a refresh token")
        return services.auth.tokens.identity(text)

    def of_request(connection: HTTPConnection) -> Identity:
        identity = auth.identify(connection)
        if isinstance(connection, Request):
            app_rates.count(services, connection, "user", identity.name)
        return identity

    async def newest(account: str) -> list[dict[str, Any]]:
        rows = await services.readers.run_core(inbox.page, account, app_streams.INITIAL_MOST, None, False)
        return [app_shapes.notification(services, **row) for row in rows]

    def readings(device_id: str) -> dict[str, Any]:
        device = services.registry.get(device_id)
        return app_shapes.for_devices(app_shapes.values_of(services, device)) if device is not None else {}

    return app_streams.Means(
        bus=bus,
        registry=services.registry,
        dashboards=services.dashboards,
        now_ms=services.clock.now_ms,
        of_request=of_request,
        of_text=of_text,
        good=services.auth.people.good,
        theirs=lambda identity, device: app_shapes.is_theirs(services, identity, device),
        readings=readings,
        public_id=app_shapes.public_id,
        widget=lambda widget: app_shapes.widget(services, widget),
        device=lambda device: app_shapes.shown_device(services, device, app_shapes.MASK),
        notification=lambda event: app_shapes.notification(services, **msgspec.structs.asdict(event)),
        newest=newest,
    )


def _water_means(services: Services, bus: Bus) -> socketio.Means:
    """What the live view of water meters is made of."""

    async def number_of(alert: str) -> int:
        return await services.readers.run_core(store_alerts.number_of, alert)

    def admit(connection: HTTPConnection, token: str) -> tuple[Sees | None, Callable[[], bool]]:
        if services.settings.reads_open and is_private(address_of(connection)):
            return None, lambda: True
        identity = services.auth.tokens.identity(token) if token else services.auth.identify(connection)
        return seen_by(identity, services), lambda: services.auth.people.good(identity)

    return socketio.Means(
        recent=services.recent,
        meters=services.meters,
        admit=admit,
        origin_allowed=lambda connection: origin_allowed(services, connection),
        number_of=number_of,
        room=services.settings.limits.stream_queue,
    )
