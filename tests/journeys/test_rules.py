"""Rules over real sockets: a reading switches a board and opens an alert, once, through restarts and kills."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.journeys.board import Board
from tests.journeys.live import Watcher, eventually
from tests.receiver import Receiver
from tests.running import ADMIN_PASSWORD, RunningServer

HOT = {"value": {"key": "t", "op": ">", "than": 8}}
OPEN_ALERT = {"alert": {"severity": "warning", "text": "{name} has {t} degrees"}}


def say(server: RunningServer, device: str, at: int | None = None, **values: Any) -> None:
    body: dict[str, Any] = {"values": values}
    if at is not None:
        body["ts"] = at
    answer = server.api.post(f"/api/v1/devices/{device}/telemetry", json=body)
    assert answer.status_code == 200, answer.text


def make(server: RunningServer, condition: dict[str, Any] = HOT, **more: Any) -> str:
    answer = server.api.post("/api/v1/rules", json={"name": "Too warm", "condition": condition, **more})
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def alerts(server: RunningServer, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.api.get("/api/v1/alerts", params=params).json()["items"]
    return found


def states(server: RunningServer, device: str) -> list[str]:
    return [one["state"] for one in alerts(server, device=device)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path / "data") as running:
        yield running


def test_a_reading_switches_a_board_and_opens_an_alert_that_clears(server: RunningServer) -> None:
    key = server.register("cooler")
    server.register("fridge", name="Kitchen fridge")
    cool = {"command": {"device": "cooler", "name": "relay", "params": {"state": "on"}}}
    rest = {"command": {"device": "cooler", "name": "relay", "params": {"state": "off"}}}
    scope = {"devices": ["fridge"]}
    rule = make(server, actions=[cool, OPEN_ALERT], clear_actions=[rest], scope=scope)
    with Board(server, "cooler", key) as board, Watcher(server, "?kinds=rule,alert") as watcher:
        say(server, "fridge", t=7.5)
        say(server, "fridge", t=9.5)
        board.saw(1)
        fired = watcher.wait_for(lambda one: one["kind"] == "rule")[1]["data"]
        assert (fired["device"], fired["rule"], fired["change"], fired["values"]) == (
            "fridge",
            rule,
            "fired",
            {"t": 9.5},
        )
        opened = watcher.wait_for(lambda one: one["kind"] == "alert")[1]["data"]
        assert (opened["change"], opened["severity"], opened["text"]) == (
            "opened",
            "warning",
            "Kitchen fridge has 9.5 degrees",
        )
        say(server, "fridge", t=10)
        say(server, "fridge", t=7)
        board.saw(2)
        cleared = watcher.wait_for(lambda one: one["kind"] == "alert" and one["change"] == "cleared")[1]["data"]
        assert (cleared["alert"], cleared["count"]) == (opened["alert"], 1)
    assert [command["params"]["state"] for _, command in board.executed] == ["on", "off"]
    command = server.api.get("/api/v1/devices/cooler/commands").json()["items"][0]
    assert (command["origin"], command["by"]) == (f"rule:{rule}", "admin")
    (alert,) = alerts(server)
    assert (alert["state"], alert["device"], alert["rule"]) == ("cleared", "fridge", rule)
    story = [one["kind"] for one in server.api.get("/api/v1/devices/fridge/timeline").json()["items"]]
    assert [kind for kind in story if kind.startswith(("rule_", "alert_"))] == [
        "alert_cleared",
        "rule_cleared",
        "alert_opened",
        "rule_fired",
    ]
    shown = server.api.get(f"/api/v1/rules/{rule}").json()
    assert shown["true_of"] == []
    assert shown["last_fired"] is not None


def test_people_are_told_of_alerts_and_by_name(server: RunningServer) -> None:
    server.register("fridge", name="Kitchen fridge")
    password = "a-long-enough-one"
    for name in ("ana", "ben"):
        server.api.post("/api/v1/users", json={"name": name, "password": password, "role": "operator"})
    server.api.post("/api/v1/devices/fridge/grants", json={"account": "ana"}).raise_for_status()
    call = {
        "notify": {"to": ["ana", "ben"], "title": "Go to {name}", "text": "It has {t} degrees", "severity": "critical"}
    }
    rest = {"notify": {"text": "Well again at last"}}
    make(server, actions=[OPEN_ALERT, call], clear_actions=[rest], scope={"devices": ["fridge"]})
    say(server, "fridge", t=9)
    say(server, "fridge", t=10)
    say(server, "fridge", t=1)

    def inbox(name: str) -> list[tuple[str, str, str]]:
        login = {"username": name, "password": password if name != "admin" else ADMIN_PASSWORD}
        token = httpx.post(f"{server.http}/api/v1/auth/login", json=login, trust_env=False).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        items = httpx.get(f"{server.http}/api/v1/notifications", headers=headers, trust_env=False).json()["items"]
        return [(one["severity"], one["title"], one["text"]) for one in reversed(items)]

    told = eventually(lambda: len(found := inbox("admin")) == 3 and found)
    assert told == [
        ("warning", "Too warm", "Kitchen fridge has 9 degrees"),
        ("info", "✓ Too warm", "Kitchen fridge has 9 degrees"),
        ("info", "Too warm", "Well again at last"),
    ]
    assert inbox("ana") == [
        ("warning", "Too warm", "Kitchen fridge has 9 degrees"),
        ("critical", "Go to Kitchen fridge", "It has 9 degrees"),
        ("info", "✓ Too warm", "Kitchen fridge has 9 degrees"),
    ]
    # Ben may not view the fridge: nothing of it is told him, and that is told where it belongs.
    assert inbox("ben") == []
    story = server.api.get("/api/v1/devices/fridge/timeline").json()["items"]
    assert any(one["kind"] == "rule_failed" and "'ben'" in one["detail"] for one in story)


async def test_a_webhook_hears_what_a_rule_addresses_to_it(server: RunningServer) -> None:
    server.register("fridge", name="Kitchen fridge")
    async with Receiver() as receiver:
        hook = {"name": "pager", "url": receiver.url, "kinds": [], "allow_private": True}
        made = await asyncio.to_thread(server.api.post, "/api/v1/webhooks", json=hook)
        assert made.status_code == 201, made.text
        call = {"webhook": {"webhook": made.json()["id"], "body": {"text": "{name}: {t}", "room": [1, "{device}"]}}}
        rule = await asyncio.to_thread(make, server, actions=[call], clear_actions=[call])
        for value in (9, 1):
            await asyncio.to_thread(say, server, "fridge", t=value)
        async with asyncio.timeout(15):
            while len(receiver.confirmed) < 2:
                await asyncio.sleep(0.01)
        fired, cleared = (one.data["body"] for one in receiver.confirmed)
        assert (fired["change"], fired["rule"], fired["values"]) == ("fired", rule, {"t": 9.0})
        assert (fired["text"], fired["room"]) == ("Kitchen fridge: 9", [1, "fridge"])
        assert (cleared["change"], cleared["text"]) == ("cleared", "Kitchen fridge: {t}")
        foreign = {"webhook": {"webhook": "nobody's"}}
        body = {"name": "x", "condition": HOT, "actions": [foreign]}
        refused = await asyncio.to_thread(server.api.post, "/api/v1/rules", json=body)
        assert refused.json()["errors"][0]["field"] == "actions.0.webhook.webhook"


def test_what_is_desired_follows_a_rule(server: RunningServer) -> None:
    server.register("room")
    fan = {"desired": {"values": {"fan": 3, "mode": "cool"}}}
    rest = {"desired": {"values": {"fan": 0, "mode": None}}}
    rule = make(server, actions=[fan], clear_actions=[rest], scope={"devices": ["room"]})
    path = "/api/v1/devices/room/desired"
    say(server, "room", t=9)
    found = eventually(lambda: (one := server.api.get(path).json())["values"] and one)
    assert found["values"] == {"fan": 3, "mode": "cool"}
    assert found["changed"]["fan"]["by"] == f"rule:{rule}"
    say(server, "room", t=1)
    eventually(lambda: server.api.get(path).json()["values"] == {"fan": 0})


def test_people_acknowledge_and_resolve(server: RunningServer) -> None:
    server.register("fridge")
    make(server, actions=[OPEN_ALERT])
    say(server, "fridge", t=9)
    (alert,) = eventually(lambda: alerts(server))
    path = f"/api/v1/alerts/{alert['id']}"
    assert server.api.get("/api/v1/alerts").json()["open"] == 1
    seen = server.api.post(f"{path}/acknowledge", json={"note": "going there"}).json()
    assert (seen["state"], seen["by"], seen["note"]) == ("acknowledged", "admin", "going there")
    assert server.api.post(f"{path}/acknowledge").status_code == 409
    assert server.api.get("/api/v1/alerts").json()["open"] == 0
    done = server.api.post(f"{path}/resolve").json()
    assert done["state"] == "resolved"
    assert server.api.post(f"{path}/resolve").status_code == 409
    # It still holds, but somebody said that it is enough; only when it happens anew there is another one.
    say(server, "fridge", t=10)
    say(server, "fridge", t=5)
    say(server, "fridge", t=11)
    eventually(lambda: len(alerts(server)) == 2)
    assert states(server, "fridge") == ["open", "resolved"]
    assert len(alerts(server, state="open")) == 1
    assert alerts(server, severity="critical") == []
    server.api.delete("/api/v1/devices/fridge")
    assert alerts(server) == []


def test_what_is_learned_hours_late_is_told_and_moves_nothing(server: RunningServer) -> None:
    key = server.register("cooler")
    server.register("fridge")
    cool = {"command": {"device": "cooler", "name": "relay", "params": {"state": "on"}}}
    make(server, actions=[cool, OPEN_ALERT], scope={"devices": ["fridge"]})
    with Board(server, "cooler", key) as board:
        say(server, "fridge", at=round(time.time() * 1000) - 3 * 3_600_000, t=9)
        (alert,) = eventually(lambda: alerts(server))
        assert alert["state"] == "open"
        say(server, "fridge", t=5)
        eventually(lambda: states(server, "fridge") == ["cleared"])
        assert board.executed == []
    line = server.api.get("/api/v1/devices/fridge/timeline").json()["items"]
    assert any(one["kind"] == "rule_fired" and "late: nothing was moved" in one["detail"] for one in line)


def test_a_rule_publishes_on_a_free_topic_and_on_no_contracts(server: RunningServer) -> None:
    server.register("fridge")
    server.register("other")
    publish = {"publish": {"topic": "house/{device}/warm", "payload": {"warm": True}, "retain": True}}
    taken = {"publish": {"topic": "relevo/other/command", "payload": "{}"}}
    make(server, actions=[publish, taken], scope={"devices": ["fridge"]})
    heard: list[tuple[str, bytes]] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="panel")
    client.username_pw_set("admin", ADMIN_PASSWORD)
    client.on_message = lambda *given: heard.append((given[2].topic, given[2].payload))
    client.on_connect = lambda *_: client.subscribe([("house/#", 1), ("relevo/other/command", 1)])
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    try:
        say(server, "fridge", t=9)
        assert eventually(lambda: heard)[0] == ("house/fridge/warm", b'{"warm":true}')
        told = eventually(
            lambda: [
                one
                for one in server.api.get("/api/v1/devices/fridge/timeline").json()["items"]
                if one["kind"] == "rule_failed"
            ]
        )
        assert "relevo/other/command" in told[0]["detail"]
        assert len(heard) == 1
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.fault
def test_killed_at_any_time_a_rule_fires_once(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        key = server.register("cooler")
        server.register("fridge")
        cool = {"command": {"device": "cooler", "name": "relay", "params": {"state": "on"}, "ttl": 600}}
        rule = make(server, actions=[cool, OPEN_ALERT], scope={"devices": ["fridge"]})
        for n in range(5):
            say(server, "fridge", t=5)
            say(server, "fridge", t=9 + n)
            # The reading is acknowledged; whatever else was not done by now is done after the start.
            server.kill()
            server.start()
            eventually(lambda: states(server, "fridge")[:1] == ["open"])
            say(server, "fridge", t=20)
            say(server, "fridge", t=30)
        with Board(server, "cooler", key) as board:
            board.saw(5)
            say(server, "fridge", t=31)
            say(server, "fridge", t=1)
            eventually(lambda: states(server, "fridge")[:1] == ["cleared"])
            assert len(board.executed) == 5
        assert server.api.get(f"/api/v1/rules/{rule}").json()["true_of"] == []
        # What comes and goes within minutes is one alert with a count.
        assert [one["count"] for one in alerts(server, device="fridge")] == [5]


@pytest.mark.fault
def test_a_duration_goes_on_through_a_restart(tmp_path: Path) -> None:
    held = {"value": {"key": "t", "op": ">", "than": 8, "for_s": 3}}
    with RunningServer(tmp_path / "data") as server:
        server.register("fridge")
        make(server, held, actions=[OPEN_ALERT])
        say(server, "fridge", t=9)
        server.restart()
        say(server, "fridge", t=9)
        (alert,) = eventually(lambda: alerts(server), 10)
        assert alert["state"] == "open"


def test_a_rule_that_sets_itself_off_is_stopped_and_told(server: RunningServer) -> None:
    def echo(command: dict[str, Any]) -> dict[str, Any]:
        # The relay heats what the rule measures: off is cold, on is warm.
        board.client.publish("relevo/heater/telemetry", json.dumps({"t": 1}), qos=1)
        board.client.publish("relevo/heater/telemetry", json.dumps({"t": 9}), qos=1)
        return {"id": command["id"], "ok": True}

    key = server.register("heater")
    rule = make(server, actions=[{"command": {"name": "relay", "params": {"state": "off"}}}])
    with Board(server, "heater", key, answer=echo) as board:
        say(server, "heater", t=9)
        path = f"/api/v1/rules/{rule}"
        shown = eventually(lambda: (found := server.api.get(path).json())["stopped"] and found, 10)
        assert shown["enabled"] is False
        assert "set itself off" in shown["stopped"]
        story = "/api/v1/devices/heater/timeline"
        eventually(lambda: any(one["kind"] == "rule_looped" for one in server.api.get(story).json()["items"]))
    again = server.api.patch(path, json={"enabled": True, "cooldown_s": 60}).json()
    assert (again["enabled"], again["stopped"]) == (True, "")
