"""The app's WebSocket against a client that says nothing, and what follows from which event."""

import asyncio
import json
from typing import Any

from relevo.bus import Bus
from relevo.dashboards import Dashboards
from relevo.domain import events as ev
from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Device, Registry
from relevo.domain.keyring import Keyring
from relevo.realtime.thingsnxt import Means, Viewer, routes

ANN = Identity("ann", Role.OPERATOR, "s1")


def means(registry: Registry, readings: dict[str, Any] | None = None) -> Means:
    async def none(account: str) -> list[dict[str, Any]]:
        return []

    return Means(
        bus=Bus(),
        registry=registry,
        dashboards=Dashboards(None, Keyring(registry, b"x")),  # type: ignore[arg-type]
        now_ms=lambda: 1_767_225_600_000,
        of_request=lambda _: ANN,
        of_text=lambda _: ANN,
        good=lambda _: True,
        theirs=lambda identity, device: device.owner == identity.name,
        readings=lambda _: readings or {},
        public_id=lambda device: device.external_id,
        widget=lambda widget: {"_id": widget.id, "value": 1},
        device=lambda device: {"id": device.external_id, "device_token": "secret"},
        notification=lambda event: {"title": event.title},
        newest=none,
    )


def registry() -> Registry:
    found = Registry()
    for name, owner in (("mine", "ann"), ("foreign", "bob")):
        found.load([Device(name, "thingsnxt", name * 4, name, "x", 1, owner=owner)])
    return found


def test_a_client_that_says_nothing_is_sent_away() -> None:
    sent: list[dict[str, Any]] = []

    async def run() -> None:
        never: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        told = [{"type": "websocket.connect"}]

        async def receive() -> dict[str, Any]:
            return told.pop() if told else await never

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/ws", "query_string": b"token=x", "headers": [], "subprotocols": []}
        (socket, *_) = routes(means(registry()), 10, idle_s=0.01)
        await socket.app(scope, receive, send)  # type: ignore[attr-defined]

    asyncio.run(run())
    assert [one["type"] for one in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert json.loads(sent[1]["text"])["type"] == "connected"
    assert sent[2]["code"] == 1001


def test_everybody_sees_what_is_theirs_and_a_device_that_is_gone_by_its_name() -> None:
    devices = registry()
    viewer = Viewer(means(devices, {"v0": 1, "t": 2}), ANN)
    mine = ev.TelemetryReceived("mine", 5_000, "server", 5_000, {"v0": 0})
    assert viewer.sees(mine)
    assert not viewer.sees(ev.TelemetryReceived("foreign", 5_000, "server", 5_000, {"v0": 0}))
    assert not viewer.sees(ev.Noticed("mine", 1, "x", "y"))
    # What is to be stands in the place of what was said.
    (told,) = viewer.messages(mine)
    assert told == {
        "type": "telemetry_update",
        "device_id": "mine" * 4,
        "timestamp": "1970-01-01T00:00:05.000Z",
        "data": {"v0": 1},
    }
    gone = ev.DeviceRemoved("mine", 6_000, "ann")
    devices.apply(gone)
    assert viewer.sees(gone)
    assert next(iter(viewer.messages(gone)))["device_id"] == "mine" * 4
    assert not viewer.sees(ev.DeviceRemoved("foreign", 6_000, "bob"))


def test_a_device_that_is_added_is_told_without_its_token() -> None:
    viewer = Viewer(means(registry()), ANN)
    added = ev.DeviceRegistered("mine", "thingsnxt", "mine" * 4, "mine", "x", 1, owner="ann")
    assert viewer.sees(added)
    (told,) = viewer.messages(added)
    assert told["type"] == "device_added"
    assert "device_token" not in told["device"]
