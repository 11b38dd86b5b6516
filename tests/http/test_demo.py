"""The demo's devices, started and ended over HTTP, also where every door needs a key."""

from collections.abc import Iterator

import pytest

from tests.journeys.live import eventually
from tests.running import RunningServer

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("demo") / "data") as running:
        yield running


def test_they_live_are_ended_come_back_and_are_removed_and_nothing_else_is(server: RunningServer) -> None:
    server.register("boiler", name="My own boiler")
    assert server.api.get("/api/v1/demo").json() == {"running": False, "devices": [], "error": ""}
    assert server.api.post("/api/v1/demo").json()["running"] is True

    def heard(device: str) -> bool:
        answer = server.api.get(f"/api/v1/devices/{device}")
        return answer.status_code == 200 and bool(answer.json()["latest"])

    eventually(lambda: heard("solar-inverter") and heard("hidrometro-HX2041"), 30)
    devices = server.api.get("/api/v1/demo").json()["devices"]
    assert {"solar-inverter", "hidrometro-HX2041", "relay-board"} <= set(devices)
    assert "boiler" not in devices
    # A relay follows what is asked of it, and says so itself.
    eventually(lambda: heard("relay-board"), 30)

    def relay() -> bool:
        items = server.api.get("/api/v1/devices/relay-board/capabilities").json()["items"]
        return any(one["key"] == "relay_3" and one["value"] is True for one in items)

    eventually(lambda: "relay_3" in server.api.get("/api/v1/devices/relay-board/capabilities").text, 30)
    assert not relay()
    asked = server.api.put("/api/v1/devices/relay-board/switches/relay_3", json={"on": True}).json()
    assert (asked["reported"], asked["pending"]) == (False, True)
    eventually(relay, 30)

    # Asked for twice they are there once.
    server.api.post("/api/v1/demo")
    ended = server.api.delete("/api/v1/demo").json()
    assert (ended["running"], ended["devices"], ended["error"]) == (False, devices, "")

    # Their first keys are not known any more, and they get in all the same.
    before = server.api.get("/api/v1/devices/solar-inverter").json()["last_seen"]
    server.api.post("/api/v1/demo")
    eventually(lambda: server.api.get("/api/v1/devices/solar-inverter").json()["last_seen"] != before, 30)

    gone = server.api.delete("/api/v1/demo", params={"remove": "true"}).json()
    assert (gone["running"], gone["devices"]) == (False, [])
    assert [one["id"] for one in server.api.get("/api/v1/devices").json()["items"]] == ["boiler"]
    assert server.api.get("/api/v1/devices/boiler").json()["latest"] == {}


def test_only_administrators_start_them(server: RunningServer) -> None:
    server.api.post("/api/v1/users", json={"name": "op", "role": "operator", "password": "a-long-passphrase-of-op"})
    login = {"username": "op", "password": "a-long-passphrase-of-op"}
    token = server.api.post("/api/v1/auth/login", json=login).json()["access_token"]
    assert server.api.post("/api/v1/demo", headers={"Authorization": f"Bearer {token}"}).status_code == 403
