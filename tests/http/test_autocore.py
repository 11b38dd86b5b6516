"""Acceptance checks of contract autocore about registration (section 9), over real sockets."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.cli.running import complaint, serve
from tests.journeys.live import eventually
from tests.running import RunningServer

UUID = "550e8400-e29b-41d4-a716-0a1b2c"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("autocore") / "data") as one:
        yield one


@pytest.fixture
def board(server: RunningServer) -> Iterator[httpx.Client]:
    """A board: no token, nothing but HTTP. Every answer it gets fits its buffer."""

    def fits(answer: httpx.Response) -> None:
        assert int(answer.headers["Content-Length"]) < 1024
        assert "Transfer-Encoding" not in answer.headers

    with httpx.Client(base_url=server.http, trust_env=False, timeout=10, event_hooks={"response": [fits]}) as client:
        yield client


@pytest.fixture
def pairing(server: RunningServer) -> Iterator[None]:
    assert server.api.post("/api/v1/pairing", json={"minutes": 1}).status_code == 200
    yield
    assert server.api.delete("/api/v1/pairing").status_code == 204


def registration(uuid: str, **more: Any) -> dict[str, Any]:
    return {"uuid": uuid, "name": f"ESP32 Relay {uuid[-6:]}", "type": "esp32_relay"} | more


def unclaimed(server: RunningServer, uuid: str, **query: Any) -> list[dict[str, Any]]:
    page = server.api.get("/api/v1/unclaimed", params={"contract": "autocore", "search": uuid} | query).json()
    return [one for one in page["items"] if one["external_id"] == uuid]


def mqtt(server: RunningServer, username: str, password: str) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, username or "board")
    client.username_pw_set(username, password)
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    end = time.monotonic() + 5
    while not client.is_connected() and time.monotonic() < end:
        time.sleep(0.01)
    return client


def test_autocore_01_an_unknown_uuid_is_404_with_detail(board: httpx.Client) -> None:
    answer = board.get("/api/devices/uuid/unknown-1")
    assert answer.status_code == 404
    assert isinstance(answer.json()["detail"], str)


def test_autocore_02_a_board_registers_once_while_pairing_is_open(board: httpx.Client, pairing: None) -> None:
    made = board.post("/api/devices", json=registration(UUID, mac_address="AA:BB:CC:0A:1B:2C", ip_address="10.0.0.21"))
    assert made.status_code == 201
    assert (made.json()["uuid"], made.json()["status"]) == (UUID, "offline")
    found = board.get(f"/api/devices/uuid/{UUID}")
    assert (found.status_code, found.json()["uuid"]) == (200, UUID)
    assert found.json()["id"] == made.json()["id"]
    assert (found.json()["mac_address"], found.json()["ip_address"]) == (None, None)
    again = board.post("/api/devices", json=registration(UUID))
    assert (again.status_code, type(again.json()["detail"])) == (409, str)
    same_mac = board.post("/api/devices", json=registration("another-uuid", mac_address="aa-bb-cc-0a-1b-2c"))
    assert same_mac.status_code == 409
    assert board.get("/api/devices/uuid/another-uuid").status_code == 404


def test_autocore_03_what_is_missing_is_named_in_a_list(board: httpx.Client) -> None:
    for left_out in ("uuid", "name", "type"):
        body = {name: value for name, value in registration("r-422").items() if name != left_out}
        answer = board.post("/api/devices", json=body)
        assert answer.status_code == 422
        assert [one["loc"] for one in answer.json()["detail"]] == [["body", left_out]]
    for wrong in (
        {"uuid": "a/b"},
        {"uuid": "x" * 37},
        {"relay_channels": 33},
        {"name": 5},
        {"capabilities": ["c" * 300]},
    ):
        answer = board.post("/api/devices", json=registration("r-422") | wrong)
        assert answer.status_code == 422, wrong
        assert answer.json()["detail"][0]["loc"] == ["body", next(iter(wrong))]
    assert board.post("/api/devices", content=b"{").status_code == 422


def test_autocore_04_closed_registration_lists_the_board_and_approving_lets_it_in(
    server: RunningServer, board: httpx.Client
) -> None:
    uuid = "esp32_relay_0000f4"
    answer = board.post("/api/devices", json=registration(uuid, mac_address="AA:BB:CC:00:00:F4", relay_channels=8))
    assert answer.status_code == 403
    assert board.get(f"/api/devices/uuid/{uuid}").status_code == 404
    (entry,) = unclaimed(server, uuid)
    assert (entry["reason"], entry["standing"], entry["address"]) == ("registration_closed", "new", "127.0.0.1")
    assert "approve" in entry["advice"].lower()
    approved = server.api.post("/api/v1/unclaimed/approve", json={"contract": "autocore", "external_id": uuid})
    assert approved.status_code == 201, approved.text
    assert approved.json()["name"] == "ESP32 Relay 0000f4"
    assert approved.json()["owner"] == "admin"
    assert approved.json()["attributes"]["relay_channels"] == 8
    assert board.get(f"/api/devices/uuid/{uuid}").status_code == 200
    assert board.post("/api/devices", json=registration(uuid)).status_code == 409
    assert unclaimed(server, uuid, standing="all") == []


def test_autocore_05_extra_keys_and_an_odd_uuid_are_welcome(board: httpx.Client, pairing: None) -> None:
    uuid = "esp32-a0b1c2d3e4f50617_board.9"
    assert len(uuid) == 30
    more = {
        "configuration": {"a": 1},
        "location": "cellar",
        "device_id": "x",
        "relay_channels": 16,
        "capabilities": ["r"],
    }
    answer = board.post("/api/devices", json=registration(uuid, **more))
    assert answer.status_code == 201
    assert json.loads(answer.json()["capabilities_json"]) == ["r"]


def test_autocore_06_settings_are_403_while_closed_and_name_both_spellings_while_open(
    server: RunningServer, board: httpx.Client
) -> None:
    closed = board.get("/api/mqtt/config")
    assert (closed.status_code, set(closed.json())) == (403, {"detail"})
    server.api.post("/api/v1/pairing", json={"minutes": 1})
    opened = board.get("/api/mqtt/config")
    server.api.delete("/api/v1/pairing")
    assert opened.status_code == 200
    body = opened.json()
    assert (body["broker"], body["port"], body["topic_prefix"]) == ("127.0.0.1", server.mqtt_port, "autocore")
    assert (body["broker_host"], body["broker_port"]) == (body["broker"], body["port"])
    assert body["username"] and 16 <= len(body["password"]) <= 63
    assert board.get("/api/mqtt/config").status_code == 403
    # The account stays good for boards that have it, and reaches nothing but the contract.
    client = mqtt(server, body["username"], body["password"])
    assert client.is_connected()
    codes = []
    client.on_subscribe = lambda _client, _data, _mid, reasons, _properties: codes.extend(reasons)
    client.subscribe([("#", 0), ("autocore/devices/+/command", 0), ("relevo/+/telemetry", 0)])
    end = time.monotonic() + 5
    while len(codes) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    client.disconnect()
    client.loop_stop()
    assert [code.is_failure for code in codes] == [True, False, True]
    wrong = mqtt(server, body["username"], "wrong")
    assert not wrong.is_connected()
    wrong.loop_stop()


def test_autocore_06_a_board_with_its_key_gets_credentials_that_work(
    server: RunningServer, board: httpx.Client, pairing: None
) -> None:
    uuid = "550e8400-e29b-41d4-a716-44665500beef"
    made = board.post("/api/devices", json=registration(uuid)).json()
    shown = {"Authorization": f"Bearer {made['device_token']}"}
    assert "device_token" not in board.get(f"/api/devices/uuid/{uuid}", headers=shown).json()
    body = board.get("/api/mqtt/config", headers=shown).json()
    assert len(body["username"]) <= 31
    client = mqtt(server, body["username"], body["password"])
    assert client.is_connected()
    codes = []
    client.on_subscribe = lambda _client, _data, _mid, reasons, _properties: codes.extend(reasons)
    client.subscribe([(f"autocore/devices/{uuid}/command", 1), ("autocore/devices/other/command", 1)])
    # 08: announce and status make it online.
    client.publish(f"autocore/devices/{uuid}/announce", json.dumps({"uuid": uuid}), 1, True).wait_for_publish(5)
    client.publish(f"autocore/devices/{uuid}/status", json.dumps({"uptime": 3, "rssi": -60}), 1).wait_for_publish(5)
    end = time.monotonic() + 2
    while board.get(f"/api/devices/uuid/{uuid}").json()["status"] != "online" and time.monotonic() < end:
        time.sleep(0.02)
    assert board.get(f"/api/devices/uuid/{uuid}").json()["status"] == "online"
    assert [code.is_failure for code in codes] == [False, True]
    client.disconnect()
    client.loop_stop()
    assert board.get("/api/mqtt/config", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_autocore_07_an_answer_fits_the_buffer_whatever_the_board_is_called(
    server: RunningServer, board: httpx.Client, pairing: None
) -> None:
    body = registration("long-names", name='\u6708"' * 64, type="\u6708" * 64, firmware_version="\\" * 32)
    body |= {"hardware_version": "h" * 32, "capabilities": ["c" * 240], "mac_address": "m" * 32}
    answer = board.post("/api/devices", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["uuid"] == "long-names"
    assert board.get("/api/devices/uuid/long-names").json()["name"].startswith("\u6708")


def test_autocore_07_there_are_no_redirections(board: httpx.Client) -> None:
    for method, path in (("GET", "/api/devices/uuid/x/"), ("GET", "/api/mqtt/config/")):
        assert board.request(method, path).status_code in (404, 405)
    # With a slash it is another contract's.
    assert board.post("/api/devices/").status_code == 401


def test_autocore_13_status_of_an_unregistered_board_is_listed_and_creates_nothing(
    server: RunningServer, board: httpx.Client, pairing: None
) -> None:
    body = board.get("/api/mqtt/config").json()
    client = mqtt(server, body["username"], body["password"])
    topic = "autocore/devices/esp32-000000000013/status"
    client.publish(topic, json.dumps({"uptime": 3}), 1).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()
    (entry,) = unclaimed(server, "esp32-000000000013")
    assert entry["reason"] == "unclaimed"
    assert entry["last_seen"] >= entry["first_seen"]
    assert board.get("/api/devices/uuid/esp32-000000000013").status_code == 404


def test_a_blocked_board_is_refused_while_pairing_is_open(
    server: RunningServer, board: httpx.Client, pairing: None
) -> None:
    uuid = "esp32-00000000b10c"
    named = {"contract": "autocore", "external_id": uuid}
    assert server.api.post("/api/v1/unclaimed/block", json=named).status_code == 204
    assert board.post("/api/devices", json=registration(uuid)).status_code == 403
    assert unclaimed(server, uuid) == []
    assert server.api.get("/api/v1/system").json()["counters"]["refused"]["http.blocked"] == 1
    query = {"standing": "blocked", "search": uuid}

    def counted() -> dict[str, Any] | None:
        (entry,) = server.api.get("/api/v1/unclaimed", params=query).json()["items"]
        # Its line is there since it was blocked; what it did after is written a moment later.
        return entry if entry["count"] else None

    entry = eventually(counted)
    assert (entry["count"], entry["payload"], entry["reason"]) == (1, {}, "blocked")
    assert entry["last_seen"] is not None
    server.api.post("/api/v1/unclaimed/restore", json=named)
    assert board.post("/api/devices", json=registration(uuid)).status_code == 201


def test_a_tool_with_an_operators_token_registers_at_any_time(server: RunningServer, board: httpx.Client) -> None:
    token = {"Authorization": f"Bearer {server.token}"}
    assert board.post("/api/devices", json=registration("by-a-tool"), headers=token).status_code == 201
    (device,) = server.api.get("/api/v1/devices", params={"search": "by-a-tool"}).json()["items"]
    assert device["owner"] == "admin"
    bad = board.post("/api/devices", json=registration("by-a-guess"), headers={"Authorization": "Bearer nonsense"})
    assert bad.status_code == 401


def test_another_topic_prefix_is_told_to_boards_and_read(tmp_path: Path) -> None:
    env = {"RELEVO_AUTOCORE__TOPIC_PREFIX": "house/relays", "RELEVO_OPEN_MQTT_CONFIG": "true"}
    with RunningServer(tmp_path / "data", env=env) as server:
        body = httpx.get(f"{server.http}/api/mqtt/config", trust_env=False).json()
        server.canaries.plant(body["password"])
        assert body["topic_prefix"] == "house/relays"
        client = mqtt(server, body["username"], body["password"])
        for topic in ("house/relays/devices/moved/status", "autocore/devices/stayed/status"):
            client.publish(topic, json.dumps({"uptime": 3}), 1).wait_for_publish(5)
        client.disconnect()
        client.loop_stop()
        assert unclaimed(server, "moved")
        assert unclaimed(server, "stayed") == []


def test_two_contracts_with_one_topic_stop_the_start_with_both_names(tmp_path: Path) -> None:
    ended = serve(tmp_path / "data", prefix=("env", "RELEVO_AUTOCORE__TOPIC_PREFIX=hidrometro"))
    said = complaint(ended, 1)
    assert "autocore" in said and "hidrometro" in said and "topic_prefix" in said
