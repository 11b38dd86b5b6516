"""Displays, app and tools of contract autocore (section 3.2), over real sockets; nothing is open to strangers."""

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.http.test_autocore import mqtt
from tests.journeys.live import eventually
from tests.journeys.relayboard import RelayBoard
from tests.running import RunningServer

DEVICE_KEYS = {
    "id", "uuid", "name", "type", "mac_address", "ip_address", "firmware_version", "hardware_version", "status",
    "last_seen", "location", "configuration_json", "capabilities_json", "is_active", "created_at", "updated_at",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("tools") / "data") as one:
        yield one


@pytest.fixture
def anonymous(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http, trust_env=False, timeout=10) as client:
        yield client


def register(server: RunningServer, uuid: str, **more: Any) -> dict[str, Any]:
    body = {"uuid": uuid, "name": f"Board {uuid}", "type": "esp32_relay", "relay_channels": 4} | more
    answer = server.api.post("/api/devices", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def person(server: RunningServer, name: str, role: str) -> httpx.Client:
    body = {"username": name, "password": "a-long-enough-one"}
    assert server.api.post("/api/v1/users", json={"name": name, "password": body["password"], "role": role}).is_success
    answer = httpx.post(f"{server.http}/api/v1/auth/login", json=body, trust_env=False)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    return httpx.Client(base_url=server.http, headers=headers, trust_env=False, timeout=10)


def with_key(server: RunningServer, device: dict[str, Any]) -> RelayBoard:
    return RelayBoard(server, device["uuid"], account=(f"ac-{device['uuid']}", device["device_token"]))


def test_devices_are_listed_found_changed_and_deleted(server: RunningServer, anonymous: httpx.Client) -> None:
    api = server.api
    made = register(server, "d-1", mac_address="AA:BB:CC:00:00:01")
    assert set(made) >= DEVICE_KEYS
    listed = api.get("/api/devices")
    assert isinstance(listed.json(), list)
    assert made["id"] in [one["id"] for one in listed.json()]
    for ref in (made["id"], "d-1"):
        assert api.get(f"/api/devices/{ref}").json()["uuid"] == "d-1"
    assert api.get("/api/devices/999999").status_code == api.get("/api/devices/nobody").status_code == 404
    body = {
        "name": "Pump", "location": "Cellar", "ip_address": "10.0.0.9", "configuration": {"a": 1}, "more": 1,
        "capabilities": ["relay"],
    }  # fmt: skip
    changed = api.patch(f"/api/devices/{made['id']}", json=body).json()
    assert (changed["name"], changed["location"], changed["ip_address"]) == ("Pump", "Cellar", "10.0.0.9")
    assert json.loads(changed["configuration_json"]) == {"relay_channels": 4, "a": 1}
    assert json.loads(changed["capabilities_json"]) == ["relay"]
    assert changed["updated_at"] > made["updated_at"]
    again = api.put("/api/devices/d-1", json={"configuration": {"b": 2}, "location": ""}).json()
    assert json.loads(again["configuration_json"]) == {"relay_channels": 4, "b": 2}
    assert again["location"] is None
    for wrong in ({"name": ""}, {"is_active": 1}, {"configuration": []}, {"mac_address": "x" * 33}):
        refused = api.patch("/api/devices/d-1", json=wrong)
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", next(iter(wrong))]
    assert api.patch("/api/devices/d-1", content=b"{").status_code == 422
    register(server, "d-2", mac_address="AA:BB:CC:00:00:02")
    assert api.patch("/api/devices/d-2", json={"mac_address": "aabbcc000001"}).status_code == 409
    # Displays find themselves without signing in; where a board is stays out.
    bare = anonymous.get("/api/devices/uuid/d-1").json()
    assert (bare["name"], bare["ip_address"], bare["mac_address"], bare["location"]) == ("Pump", None, None, None)
    assert api.delete(f"/api/devices/{made['id']}").json() == {"message": "Device deleted"}
    assert anonymous.get("/api/devices/uuid/d-1").status_code == 404
    assert "d-1" not in [one["uuid"] for one in api.get("/api/devices").json()]
    assert "d-1" in [one["uuid"] for one in api.get("/api/devices?include_inactive=true").json()]
    assert api.get("/api/devices/d-1").json()["is_active"] is False
    # Its key opens nothing, until it registers again.
    old = {"Authorization": f"Bearer {made['device_token']}"}
    assert anonymous.get("/api/mqtt/config", headers=old).status_code == 401
    back = register(server, "d-1")
    assert (back["id"], back["is_active"]) == (made["id"], True)
    new = {"Authorization": f"Bearer {back['device_token']}"}
    assert anonymous.get("/api/mqtt/config", headers=new).status_code == 200
    assert api.patch("/api/devices/d-1", json={"is_active": False}).json()["is_active"] is False
    assert api.patch("/api/devices/d-1", json={"is_active": True}).json()["is_active"] is True


def test_a_board_changes_its_addresses_with_its_key_and_nothing_else(
    server: RunningServer, anonymous: httpx.Client
) -> None:
    made = register(server, "d-own")
    other = register(server, "d-other")
    key = {"Authorization": f"Bearer {made['device_token']}"}
    body = {"mac_address": "AA:BB:CC:0A:0B:0C", "ip_address": "10.0.0.77", "name": "mine", "is_active": False}
    answer = anonymous.patch("/api/devices/d-own", json=body, headers=key)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) < 1024
    shown = server.api.get("/api/devices/d-own").json()
    assert (shown["ip_address"], shown["mac_address"]) == ("10.0.0.77", "AA:BB:CC:0A:0B:0C")
    assert (shown["name"], shown["is_active"]) == ("Board d-own", True)
    assert anonymous.patch(f"/api/devices/{other['id']}", json=body, headers=key).status_code == 404
    assert anonymous.patch("/api/devices/d-own", json=body).status_code == 401


def test_settings_of_a_board_are_small_and_keep_the_password_to_those_who_may_have_it(
    server: RunningServer, anonymous: httpx.Client
) -> None:
    made = register(server, "d-config", name="Ü" * 128, relay_channels=32)
    key = {"Authorization": f"Bearer {made['device_token']}"}
    answer = anonymous.get("/api/devices/d-config/config", headers=key)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) < 2048
    body = answer.json()
    assert (body["mqtt"]["username"], body["mqtt"]["password"]) == ("ac-d-config", made["device_token"])
    assert (body["mqtt"]["broker_port"], body["mqtt"]["topic_prefix"]) == (server.mqtt_port, "autocore")
    assert body["relays"]["channels"] == len(body["relays"]["config"]) == 32
    assert body["relays"]["config"][0] == {"channel": 1, "state": False}
    for closed in (anonymous.get("/api/devices/d-config/config"), server.api.get("/api/devices/d-config/config")):
        assert closed.status_code in (401, 403)
        assert "password" not in closed.text
    server.api.post("/api/v1/pairing", json={"minutes": 1})
    opened = server.api.get("/api/devices/d-config/config")
    server.api.delete("/api/v1/pairing")
    assert opened.json()["mqtt"]["username"] == "autocore"


def test_a_tool_gets_the_broker_settings_that_are_open_to_all(server: RunningServer) -> None:
    closed = server.api.get("/api/mqtt/config")
    assert (closed.status_code, set(closed.json())) == (403, {"detail"})
    server.api.post("/api/v1/pairing", json={"minutes": 1})
    opened = server.api.get("/api/mqtt/config")
    server.api.delete("/api/v1/pairing")
    assert (opened.status_code, opened.json()["username"]) == (200, "autocore")


def test_past_values_have_their_units_and_come_newest_first(server: RunningServer) -> None:
    made = register(server, "d-values")
    with with_key(server, made) as board:
        board.say("telemetry", temp={"value": 21.5, "unit": "C"}, door=True, gps={"lat": 1.25})
        board.say("telemetry", temp={"value": 22.0, "unit": "C"}, mode="auto")
        lines = server.api.get(f"/api/telemetry/{made['id']}").json()
    assert [(one["data_key"], one["data_value"], one["data_type"], one["unit"]) for one in lines] == [
        ("temp", "22.0", "number", "C"),
        ("mode", "auto", "string", None),
        ("temp", "21.5", "number", "C"),
        ("gps.lat", "1.25", "number", None),
        ("door", "true", "boolean", None),
    ]
    assert len({one["id"] for one in lines}) == 5
    assert len(server.api.get("/api/telemetry/d-values?limit=2").json()) == 2
    for wrong in ("0", "x", "1001", "-1"):
        refused = server.api.get(f"/api/telemetry/d-values?limit={wrong}")
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["query", "limit"])
    events = server.api.get("/api/events?limit=50").json()
    mine = [one for one in events if one["device_uuid"] == "d-values"]
    assert {"connected", "registered"} <= {one["event_type"] for one in mine}
    assert [one["id"] for one in events] == sorted((one["id"] for one in events), reverse=True)


def test_boards_have_channels_that_are_changed_put_aside_and_taken_back(server: RunningServer) -> None:
    api = server.api
    made = register(server, "d-relays")
    assert made["id"] in [one["id"] for one in api.get("/api/devices/available-for-relays").json()]
    board = api.post("/api/relays/boards", json={"device_id": made["id"], "name": "Hall", "location": "East"})
    assert board.status_code == 201, board.text
    number = board.json()["id"]
    assert (board.json()["device_uuid"], board.json()["location"]) == ("d-relays", "East")
    assert api.get(f"/api/relays/boards/{number}").json()["total_channels"] == 4
    assert made["id"] not in [one["id"] for one in api.get("/api/devices/available-for-relays").json()]
    assert api.post("/api/relays/boards", json={"device_id": "d-relays"}).status_code == 409
    assert api.post("/api/relays/boards", json={"device_id": "nobody"}).status_code == 404
    assert api.post("/api/relays/boards", json={}).json()["detail"][0]["loc"] == ["body", "device_id"]
    channels = api.get(f"/api/relays/channels?board_id={number}").json()
    assert [one["channel_number"] for one in channels] == [1, 2, 3, 4]
    assert {(one["function_type"], one["protection_mode"], one["state"]) for one in channels} == {
        ("toggle", "none", None)
    }
    first = channels[0]["id"]
    body = {
        "name": "Gate", "function_type": "pulse", "pulse_ms": 800, "protection_mode": "interlock",
        "interlock_group": "motor", "max_activation_time": 9, "timer_seconds": 7, "icon": "gate", "color": "#fff",
        "allow_in_macro": False,
    }  # fmt: skip
    changed = api.patch(f"/api/relays/channels/{first}", json=body).json()
    assert body.items() <= changed.items()
    for wrong in ({"function_type": "blink"}, {"protection_mode": 1}, {"pulse_ms": 1}, {"timer_seconds": "7"}):
        refused = api.patch(f"/api/relays/channels/{first}", json=wrong)
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", next(iter(wrong))])
    assert api.delete(f"/api/relays/channels/{first}").json()["message"]
    shown = api.get(f"/api/relays/channels/{first}").json()
    assert (shown["is_active"], shown["protection_mode"]) == (False, "interlock")
    assert api.post(f"/api/relays/channels/{first}/activate").json()["is_active"] is True
    reset = api.post(f"/api/relays/channels/{first}/reset").json()
    assert (reset["name"], reset["function_type"], reset["protection_mode"]) == ("Relay 1", "toggle", "none")
    server.restart()
    api = server.api
    assert api.get(f"/api/relays/channels/{first}").json() == reset
    assert api.patch(f"/api/relays/boards/{number}", json={"total_channels": 2}).json()["total_channels"] == 2
    assert api.get(f"/api/relays/channels/{channels[3]['id']}").status_code == 404
    assert api.get("/api/devices/d-relays").json()["configuration_json"] == '{"relay_channels":2}'
    assert api.delete(f"/api/relays/boards/{number}").status_code == 200
    assert api.get(f"/api/relays/boards/{number}").status_code == 404
    assert api.get("/api/relays/channels").json() == []


def test_what_a_relay_does_counts_whoever_switches_it(server: RunningServer) -> None:
    api = server.api
    made = register(server, "d-switch")
    number = api.post("/api/relays/boards", json={"device_id": made["id"]}).json()["id"]

    def let(channel: int, **body: Any) -> None:
        assert api.patch(f"/api/relays/channels/{number * 100 + channel}", json=body).status_code == 200

    let(1, function_type="pulse", pulse_ms=200)
    let(2, protection_mode="exclusive", interlock_group="g")
    let(3, protection_mode="exclusive", interlock_group="g")
    with with_key(server, made) as board:
        assert board.command(board.switch(1))["state"] == "confirmed"
        assert board.hears(2) == [
            {"type": "relay", "channel": 1, "state": True},
            {"type": "relay", "channel": 1, "state": False},
        ]
        # By what the app publishes.
        topic = f"{board.root}/relays/set"
        body = {"topic": topic, "payload": {"channel": 2, "command": "on", "state": True}, "qos": 1}
        sent = api.post("/api/mqtt/publish", json=body)
        assert (sent.status_code, sent.json()["status"], sent.json()["topic"]) == (200, "published", topic)
        assert sent.json()["protocol_version"] == "2.2.0"
        assert board.hears(3)[2] == {"type": "relay", "channel": 2, "state": True}
        eventually(lambda: api.get(f"/api/relays/channels/{number * 100 + 2}").json()["state"] is True)
        refused = board.switch(3)
        assert refused.status_code == 409
        assert "relay 2 is on" in refused.json()["detail"]
        old_word = {"topic": f"{board.root}/command", "payload": {"command": "relay_on", "channel": 2}}
        assert api.post("/api/mqtt/publish", json=old_word).status_code == 409
        # By a rule's or schedule's way, and by desired state.
        schedule = {
            "name": "s", "timing": {"kind": "cron", "expression": "0 0 1 1 *"},
            "action": {"command": {"device": board.id, "name": "relay", "params": {"channel": 1, "state": True}}},
        }  # fmt: skip
        kept = api.post("/api/v1/schedules", json=schedule)
        assert kept.status_code == 201, kept.text
        assert api.post(f"/api/v1/schedules/{kept.json()['id']}/run").is_success
        assert board.hears(5)[3:] == [
            {"type": "relay", "channel": 1, "state": True},
            {"type": "relay", "channel": 1, "state": False},
        ]
        assert api.patch(f"/api/v1/devices/{board.id}/desired", json={"values": {"relay_1": True}}).is_success
        assert [one["state"] for one in board.hears(7)[5:]] == [True, False]


def test_a_held_key_is_let_go_of_when_its_holder_falls_silent(server: RunningServer) -> None:
    api = server.api
    made = register(server, "d-held")
    number = api.post("/api/relays/boards", json={"device_id": made["id"]}).json()["id"]
    channel = number * 100 + 1
    assert api.patch(f"/api/relays/channels/{channel}", json={"function_type": "momentary"}).status_code == 200
    with with_key(server, made) as board:
        assert board.command(board.switch(1))["state"] == "confirmed"
        assert api.post(f"/api/relays/channels/{channel}/heartbeat").json() == {"held": True}
        assert board.hears(2)[1] == {"type": "relay", "channel": 1, "state": False}
        assert api.post(f"/api/relays/channels/{channel}/heartbeat").json() == {"held": False}
    story = api.get(f"/api/v1/devices/{board.id}/timeline").json()["items"]
    (told,) = [one for one in story if one["kind"] == "relay_shut_off"]
    assert told["detail"] == "relay 1 is switched off: nobody said within 1000 ms that its key is held"


def test_what_an_app_publishes_itself_passes_the_same_place(server: RunningServer) -> None:
    api = server.api
    made = register(server, "d-app")
    number = api.post("/api/relays/boards", json={"device_id": made["id"]}).json()["id"]

    def let(channel: int, **body: Any) -> None:
        assert api.patch(f"/api/relays/channels/{number * 100 + channel}", json=body).status_code == 200

    let(1, function_type="momentary")
    for channel in (2, 3):
        let(channel, protection_mode="exclusive")
    api.post("/api/v1/pairing", json={"minutes": 1})
    account = api.get("/api/devices/d-app/config").json()["mqtt"]
    api.delete("/api/v1/pairing")
    app = mqtt(server, account["username"], account["password"])

    def say(topic: str, **body: Any) -> None:
        app.publish(f"autocore/devices/d-app/{topic}", json.dumps(body), qos=1).wait_for_publish(5)

    try:
        with with_key(server, made) as board:
            # A plain relay is between the app and the board.
            say("command", type="relay", channel=4, state=True, mine=1)
            assert board.hears(1) == [{"type": "relay", "channel": 4, "state": True, "mine": 1}]
            say("relays/set", channel=2, command="on", state=True)
            assert board.hears(2)[1] == {"type": "relay", "channel": 2, "state": True}
            eventually(lambda: api.get(f"/api/relays/channels/{number * 100 + 2}").json()["state"])
            say("command", type="relay", channel=3, state=True)
            story = f"/api/v1/devices/{board.id}/timeline"
            eventually(lambda: any(one["reason"] == "relay_excluded" for one in api.get(story).json()["items"]))
            say("relays/set", channel=1, command="toggle", momentary=True)
            assert board.hears(3)[2:] == [{"type": "relay", "channel": 1, "state": True}]
            beats = [time.monotonic()]
            while beats[-1] - beats[0] < 1.6:
                say("relays/heartbeat", channel=1, target_uuid="d-app", sequence=len(beats))
                beats.append(time.monotonic())
                time.sleep(0.1)
            # Held for longer than a second, unless this machine forgot to say so.
            assert len(board.commands()) == 3 or max(b - a for a, b in pairwise(beats)) > 0.8
            assert board.hears(4)[3] == {"type": "relay", "channel": 1, "state": False}
    finally:
        app.disconnect()
        app.loop_stop()


def test_a_relay_whose_time_ran_out_while_the_server_was_down_goes_off_at_once(server: RunningServer) -> None:
    api = server.api
    made = register(server, "d-crash")
    number = api.post("/api/relays/boards", json={"device_id": made["id"]}).json()["id"]
    body = {"function_type": "timer", "timer_seconds": 1}
    assert api.patch(f"/api/relays/channels/{number * 100 + 1}", json=body).status_code == 200
    with with_key(server, made) as board:
        assert board.command(board.switch(1))["state"] == "confirmed"
        server.kill()
        server.start()
    with with_key(server, made) as board:
        assert board.hears(1) == [{"type": "relay", "channel": 1, "state": False}]


def test_publishing_keeps_below_the_root_of_the_contract(server: RunningServer) -> None:
    made = register(server, "d-raw")
    with with_key(server, made) as board:
        payload = {"type": "relay", "channel": 1, "state": True, "more": "x"}
        body = {"topic": f"{board.root}/command", "payload": payload}
        assert server.api.post("/api/mqtt/publish", json=body).status_code == 200
        assert board.hears(1) == [payload]
        assert (board.heard[0][2], board.heard[0][3]) == (1, False)
    for topic in ("other/topic", "autocore", "autocore/", "autocorex/a", "autocore/#", "autocore/+/a", "$SYS/x"):
        refused = server.api.post("/api/mqtt/publish", json={"topic": topic, "payload": {}})
        assert (refused.status_code, type(refused.json()["detail"])) == (400, str), topic
    for wrong in ({"payload": []}, {"payload": {"a": "x" * 600}}, {"topic": 5}, {"qos": 2}):
        body = {"topic": "autocore/system/broadcast", "payload": {}} | wrong
        assert server.api.post("/api/mqtt/publish", json=body).status_code == 422, wrong


def test_health_status_and_the_door(server: RunningServer) -> None:
    api = server.api
    health = api.get("/api/health").json()
    assert (health["status"], set(health)) == ("healthy", {"status", "service", "timestamp"})
    assert set(api.get("/api/status").json()) == {"status", "version", "database", "devices_online", "timestamp"}
    door = api.get("/api/mqtt/status").json()
    assert (door["connected"], door["port"], door["websockets_connected"]) == (True, server.mqtt_port, 0)
    assert "autocore/devices/+/announce" in door["subscribed_topics"]
    made = register(server, "d-seen")
    with with_key(server, made) as board:
        board.status()
        eventually(lambda: f"{board.root}/status" in api.get("/api/mqtt/topics").json()["topics"])
    assert api.get("/api/mqtt/status").json()["messages_in_history"] > 0
    assert api.post("/api/mqtt/clear").json()["status"] == "cleared"
    assert api.get("/api/mqtt/status").json()["messages_in_history"] == 0
    for path in ("/api/config/full", "/api/config/full/d-seen?preview=true"):
        assert (api.get(path).status_code, set(api.get(path).json())) == (404, {"detail"})


def test_the_monitor_shows_traffic_and_publishes_for_operators(server: RunningServer) -> None:
    made = register(server, "d-watched")
    address = server.http.replace("http", "ws") + "/ws/mqtt"
    headers = {"Authorization": f"Bearer {server.token}"}
    with with_key(server, made) as board, connect(address, additional_headers=headers, open_timeout=10) as socket:

        def next_of(kind: str) -> Any:
            while True:
                message = json.loads(socket.recv(timeout=10))
                assert set(message) == {"type", "data"}
                if message["type"] == kind:
                    return message["data"]

        assert next_of("mqtt_status")["connected"] is True
        assert isinstance(next_of("history"), list)
        board.status()
        seen = next_of("mqtt_message")
        while seen["topic"] != f"{board.root}/status":
            seen = next_of("mqtt_message")
        assert seen["payload"]["status"] == "online"
        socket.send(f'PUBLISH:{board.root}/command:{{"type":"ping"}}')
        assert next_of("publish_result")["success"] is True
        assert board.hears(1) == [{"type": "ping"}]
        for wrong in ('PUBLISH:other/topic:{"a":1}', "PUBLISH:autocore/x:[", "PUBLISH:", "hello", "PUBLISH:a"):
            socket.send(wrong)
            assert next_of("publish_result")["success"] is False, wrong
    with person(server, "looker", "viewer") as viewer:
        bearer = {"Authorization": viewer.headers["Authorization"]}
        for shown in ({}, bearer, {"Authorization": f"Bearer {made['device_token']}"}):
            with connect(address, additional_headers=shown, open_timeout=10) as socket, pytest.raises(ConnectionClosed):
                socket.recv(timeout=10)


def test_somebody_elses_boards_are_none(server: RunningServer) -> None:
    made = register(server, "d-private")
    number = server.api.post("/api/relays/boards", json={"device_id": made["id"]}).json()["id"]
    with person(server, "stranger", "operator") as stranger:
        assert stranger.get("/api/devices").json() == []
        assert stranger.get("/api/relays/boards").json() == []
        assert stranger.get("/api/relays/channels").json() == []
        assert stranger.get("/api/events").json() == []
        assert [one for one in stranger.get("/api/mqtt/topics").json()["topics"] if "devices" in one] == []
        for path in (
            f"/api/devices/{made['id']}", "/api/devices/d-private", "/api/devices/d-private/config",
            "/api/telemetry/d-private", f"/api/relays/boards/{number}", f"/api/relays/channels/{number * 100 + 1}",
        ):  # fmt: skip
            assert stranger.get(path).status_code == 404, path
        assert stranger.patch("/api/devices/d-private", json={"name": "x"}).status_code == 404
        assert stranger.delete("/api/devices/d-private").status_code == 404
        body = {"topic": "autocore/devices/d-private/command", "payload": {"type": "ping"}}
        assert stranger.post("/api/mqtt/publish", json=body).status_code == 404
        assert stranger.post("/api/mqtt/publish", json=body | {"topic": "autocore/system/broadcast"}).status_code == 403


CLOSED = [
    ("GET", "/api/devices"), ("GET", "/api/devices/1"), ("PATCH", "/api/devices/1"), ("PUT", "/api/devices/d-1"),
    ("DELETE", "/api/devices/1"), ("GET", "/api/devices/1/config"), ("GET", "/api/devices/available-for-relays"),
    ("GET", "/api/relays/boards"), ("POST", "/api/relays/boards"), ("GET", "/api/relays/boards/1"),
    ("PATCH", "/api/relays/boards/1"), ("DELETE", "/api/relays/boards/1"), ("GET", "/api/relays/channels?board_id=1"),
    ("GET", "/api/relays/channels/101"), ("PATCH", "/api/relays/channels/101"), ("DELETE", "/api/relays/channels/101"),
    ("POST", "/api/relays/channels/101/reset"), ("POST", "/api/relays/channels/101/activate"),
    ("POST", "/api/relays/channels/101/heartbeat"), ("GET", "/api/telemetry/1?limit=5"), ("GET", "/api/events"),
    ("GET", "/api/config/full"), ("GET", "/api/config/full/d-1"), ("GET", "/api/health"), ("GET", "/api/status"),
    ("GET", "/api/mqtt/status"), ("GET", "/api/mqtt/topics"), ("POST", "/api/mqtt/clear"),
    ("POST", "/api/mqtt/publish"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_nothing_is_open_to_a_stranger(anonymous: httpx.Client, method: str, path: str) -> None:
    body = {} if method in ("POST", "PATCH", "PUT") else None
    answer = anonymous.request(method, path, json=body)
    assert (answer.status_code, set(answer.json())) == (401, {"detail"}), answer.text


def test_not_even_while_pairing_is_open(server: RunningServer, anonymous: httpx.Client) -> None:
    server.api.post("/api/v1/pairing", json={"minutes": 1})
    try:
        for method, path in CLOSED:
            assert anonymous.request(method, path).status_code == 401, path
    finally:
        server.api.delete("/api/v1/pairing")


def test_boards_with_a_key_reach_nothing_but_their_own(server: RunningServer) -> None:
    made, other = register(server, "d-alone"), register(server, "d-neighbour")
    client = mqtt(server, "ac-d-alone", made["device_token"])
    try:
        for topic in (f"autocore/devices/{other['uuid']}/status", "autocore/devices/d-alone/command"):
            client.publish(topic, b'{"status":"online"}', qos=1).wait_for_publish(5)
        shared = json.dumps({"uuid": other["uuid"], "channel": 1, "state": True})
        client.publish("autocore/telemetry/relays/data", shared, qos=1).wait_for_publish(5)
    finally:
        client.disconnect()
        client.loop_stop()
    assert server.api.get("/api/devices/d-neighbour").json()["status"] == "offline"
    assert server.api.get("/api/v1/devices/ac-d-neighbour/reported").json()["values"] == {}
    story = server.api.get("/api/v1/devices/ac-d-alone/timeline").json()["items"]
    assert {"topic_not_allowed", "not_its_own"} & {one["reason"] for one in story}


def test_too_many_requests_are_answered_in_the_contracts_words(tmp_path_factory: pytest.TempPathFactory) -> None:
    env = {"RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_ADDRESS": "60"}
    with RunningServer(tmp_path_factory.mktemp("many") / "data", env=env) as server:
        with httpx.Client(base_url=server.http, trust_env=False) as client:
            answers = [client.get("/api/devices/uuid/x") for _ in range(70)]
        assert [one.status_code for one in answers[:60]] == [404] * 60
        last = answers[-1]
        assert (last.status_code, set(last.json())) == (429, {"error", "message", "retry_after"})
        assert last.json()["retry_after"] == int(last.headers["Retry-After"]) > 0
        assert last.headers["X-RateLimit-Limit"] == "60"
        assert int(last.headers["Content-Length"]) < 1024


def test_errors_have_the_contracts_form(anonymous: httpx.Client, server: RunningServer) -> None:
    for path in ("/api/devices/a/b/c", "/api/relays/nothing", "/api/mqtt/nothing", "/api/telemetry"):
        answer = server.api.get(path)
        assert (answer.status_code, set(answer.json())) == (404, {"detail"}), path
    assert server.api.put("/api/relays/boards", json={}).status_code == 405
