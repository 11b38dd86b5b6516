"""What is removed is gone: every row of the database is searched for words that only the removed one ever said."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from aiohttp import web
from paho.mqtt.enums import CallbackAPIVersion

from relevo.store import journal
from relevo.store.db import FILE_NAME
from tests.journeys.board import Board
from tests.journeys.live import eventually
from tests.journeys.relayboard import RelayBoard
from tests.journeys.thingsnxt import App, close_all
from tests.receiver import Receiver
from tests.running import ADMIN_PASSWORD, RunningServer

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

ENV = {
    "RELEVO_PROFILE": "lab",
    "RELEVO_WEBHOOKS__ALLOW_PRIVATE": "127.0.0.1",
    "RELEVO_WEBHOOKS__RETRY_FIRST_S": "0.05",
    "RELEVO_WEBHOOKS__GIVE_UP_S": "2",
    "RELEVO_HISTORY__TAIL_EVENTS": "100",
}
DEVICE, RELAYS, AGAIN = "canary-kiln", "canary-relays", "phoenix"
PASSWORD = "Sunny-day-42-finch"
STAYS = "stays-here"


def rows(path: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every row of every table; a row of the journal once for each of its events, decoded."""
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in names:
        for row in connection.execute(f"SELECT * FROM {name}").fetchall():
            if name == "journal":
                events = journal.decode(row[-1])
                assert len(events) == row[1]
                yield from (("journal", (event,)) for event in events if event is not None)
            else:
                yield name, row
    connection.close()


# Where such a life leaves something.
WANTED = {
    "journal", "timeline", "commands", "alerts", "webhook_deliveries", "notifications", "credentials", "grants",
    "devices", "twins", "series", "mqtt_sessions", "mqtt_deliveries", "mqtt_retained", "audit", "claim_codes",
    "bulks", "widgets", "appearances", "relay_boards", "relay_channels",
}  # fmt: skip


def found(path: Path, *words: str) -> list[tuple[str, str]]:
    """Table and row of everything in which one of ``words`` stands."""
    hits = []
    for table, row in rows(path):
        text = " | ".join(one.decode("latin-1") if isinstance(one, bytes) else str(one) for one in row)
        if any(word in text.lower() for word in words):
            hits.append((table, text))
    return hits


def waiting(server: RunningServer) -> int:
    connection = sqlite3.connect(f"{(server.data / FILE_NAME).as_uri()}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM scrubs").fetchone()[0])
    finally:
        connection.close()


def post(server: RunningServer, path: str, want: int = 201, /, **body: Any) -> Any:
    answer = server.api.post(path, json=body)
    assert answer.status_code == want, f"{path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def as_person(
    server: RunningServer, client_id: str, user: str = "admin", password: str = ADMIN_PASSWORD
) -> paho.Client:
    """A person at the MQTT door whose session stays."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, protocol=paho.MQTTv311)
    client.username_pw_set(user, password)
    subscribed: list[Any] = []
    client.on_connect = lambda *_: client.subscribe("relevo/#", 1)
    client.on_subscribe = lambda *_: subscribed.append(1)
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    eventually(lambda: subscribed)
    return client


def live_a_life(server: RunningServer, hook: str) -> list[str]:
    """Two boards and a lamp do and suffer everything there is; the ids by which they may still be found."""
    server.register(STAYS)
    server.register(AGAIN)
    post(server, f"/api/v1/devices/{AGAIN}/telemetry", 200, values={"ashes": 1})
    body = {
        "id": DEVICE, "name": "Canary Kiln", "type": "canary-type", "tags": ["canary-tag"], "site": "canary-site",
        "attributes": {"canary-attribute": "canary-text"},
    }  # fmt: skip
    key = post(server, "/api/v1/devices", **body)["key"]
    server.canaries.plant(key)
    post(server, "/api/v1/users", name="robin", password=PASSWORD, role="operator")
    post(server, f"/api/v1/devices/{DEVICE}/grants", account="robin", level="control")
    post(server, f"/api/v1/devices/{DEVICE}/credentials/keys", label="canary-label")
    post(server, f"/api/v1/devices/{DEVICE}/credentials/passwords", label="canary-label", username="canary-user")
    post(server, "/api/v1/claim-codes", contract="native", external_id=DEVICE)
    post(server, "/api/v1/webhooks", name="dead end", url=hook, kinds=["telemetry", "alert", "state"])
    actions = [
        {"alert": {"severity": "warning", "text": "{name} says {mood}"}},
        {"notify": {"text": "{name} has {mood}", "severity": "warning"}},
    ]
    condition = {"value": {"key": "number", "op": ">", "than": 8}}
    post(server, "/api/v1/rules", name="Too warm", condition=condition, actions=actions[:1])
    post(server, "/api/v1/rules", name="Too warm, too", condition=condition, actions=[actions[1]])
    watcher = as_person(server, "console")
    with Board(server, DEVICE, key, clean=False) as board:
        board.client.publish(f"relevo/{DEVICE}/telemetry", json.dumps({"canary-key": "canary-value"}), 1)
        watcher.disconnect()
        watcher.loop_stop()
        for n in range(150):
            values = {"number": n, "mood": f"canary {n}", "canary-key": True}
            board.client.publish(f"relevo/{DEVICE}/telemetry", json.dumps(values), 1)
        state = json.dumps({"canary-state": "canary-state-value"})
        board.client.publish(f"relevo/{DEVICE}/state", state, 1, retain=True).wait_for_publish(10)
        board.client.publish(f"relevo/{DEVICE}/event", json.dumps({"canary-event": 1}), 1).wait_for_publish(10)
        board.client.publish(f"relevo/{DEVICE}/telemetry", "{canary-malformed", 1).wait_for_publish(10)
        body = {"name": "canary-command", "params": {"canary-param": "canary"}}
        post(server, f"/api/v1/devices/{DEVICE}/commands?wait=5", 200, **body)
        bulk = {"selection": {"devices": [DEVICE, STAYS]}, "name": "bulk-command"}
        post(server, "/api/v1/bulk-commands", 202, **bulk)
    post(server, f"/api/v1/devices/{DEVICE}/commands", 202, name="canary-late", params={})
    server.api.put(f"/api/v1/devices/{DEVICE}/desired", json={"values": {"canary-wish": "canary"}})
    httpx.post(
        f"{server.http}/api/v1/devices/{DEVICE}/telemetry", auth=(DEVICE, "canary-wrong"), json={}, trust_env=False
    )
    speaker = as_person(server, "speaker")
    speaker.publish(f"relevo/{DEVICE}/command", json.dumps({"canary-direct": 1}), 1, retain=True).wait_for_publish(10)
    speaker.disconnect()
    speaker.loop_stop()
    relays = RelayBoard(server, RELAYS).register()
    with relays:
        relays.announce()
        relays.say("telemetry", canary=1)
        relays.command(relays.switch(2))
        number = server.api.get(f"/api/devices/uuid/{RELAYS}").json()["id"]
        made = server.api.post("/api/relays/boards", json={"device_id": number})
        assert made.status_code in (200, 201), made.text
        named = {"contract": "alchemy", "key": "relay_3", "name": "canary-pump"}
        post(server, f"/api/v1/devices/{relays.id}/appearances", **named)
    app = App(server, "wren")
    lamp = app.add_device(name="Canary lamp")
    lamp.report(v0=1)
    app.switch(app.add_switch(lamp), True)
    close_all()
    return [relays.id, lamp.id]


@pytest.mark.parametrize("killed", [False, True])
async def test_nothing_is_left_of_removed_devices(tmp_path: Path, killed: bool) -> None:
    def dead(_: object) -> web.Response:
        return web.Response(status=500, text="no")

    async with Receiver(dead) as receiver:
        await asyncio.to_thread(_devices, tmp_path, receiver, killed)


def _devices(tmp_path: Path, receiver: Receiver, killed: bool) -> None:
    with RunningServer(tmp_path / "data", env=ENV) as server:
        path = server.data / FILE_NAME
        others = live_a_life(server, receiver.url)
        ids = [DEVICE, *others, AGAIN]
        eventually(lambda: server.api.get("/api/v1/notifications").json()["items"], 20)
        # Readings are packed by a process of its own when the machine lets it.
        eventually(lambda: {table for table, _ in found(path, "canary", *others)} >= WANTED, 60)
        before = {table for table, _ in found(path, "canary", *others)}
        for one in ids:
            answer = server.api.delete(f"/api/v1/devices/{one}")
            assert answer.status_code == 204, answer.text
        # One with the same id is another one, and keeps everything.
        server.register(AGAIN)
        post(server, f"/api/v1/devices/{AGAIN}/telemetry", 200, values={"fresh": 1})
        begun = time.monotonic()
        if killed:
            server.kill()
            server.start()
        eventually(lambda: not waiting(server), 60)
        took = time.monotonic() - begun
        assert server.stop() == 0
        after = found(path, "canary", "ashes", *others)
        # Not in free space either; the write-ahead log went with the server.
        assert not path.with_name(path.name + "-wal").exists()
        held = path.read_bytes()
        assert [
            word for word in (b"canary-text", b"canary-value", b"canary 7", b"ashes", b"canary-wish") if word in held
        ] == []
        server.start()
        assert [*server.api.get(f"/api/v1/devices/{AGAIN}/latest").json()] == ["fresh"]
        told = server.api.get(f"/api/v1/devices/{AGAIN}/timeline").json()["items"]
        assert "registered" in [one["kind"] for one in told]
        points = server.points(AGAIN, "fresh", 0, 4_000_000_000_000)
        assert [value for _, value in points] == [1]
    print(f"gone in {took:.1f} s from {sorted(before)}")
    lines = [line for line in after if not _may_stay(*line, ids)]
    assert lines == [], "\n".join(f"{table}: {text[:300]}" for table, text in lines)


def _may_stay(table: str, text: str, ids: list[str]) -> bool:
    """What docs/erasing.md lists: the removals, and ids in the audit log."""
    if table == "journal":
        named = any(f"target='{one}', detail={{}}" in text for one in ids)
        return text.startswith("DeviceRemoved(") or (text.startswith("Audited(") and named)
    if table == "audit":
        return any(f" | {one} | {{}} | " in text for one in ids)
    return False


def test_nobody_can_tell_any_more_who_an_erased_person_was(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env=ENV) as server:
        path = server.data / FILE_NAME
        key = server.register(STAYS)
        post(server, "/api/v1/users", name="robin", password=PASSWORD, role="operator")
        email = "finch@example.org"
        body = {"name": "finch", "password": PASSWORD, "role": "administrator", "email": email, "full_name": "A Finch"}
        post(server, "/api/v1/users", **body)
        token = post(server, "/api/v1/auth/login", 200, username="finch", password=PASSWORD)["access_token"]
        mine = httpx.Client(base_url=server.http, headers={"Authorization": f"Bearer {token}"}, trust_env=False)

        def do(path: str, method: str = "POST", **body: Any) -> Any:
            answer = mine.request(method, path, json=body)
            assert answer.status_code < 300, f"{path}: {answer.status_code} {answer.text}"
            return answer.json() if answer.content else None

        do("/api/v1/devices", id="owned")
        do(f"/api/v1/devices/{STAYS}/grants", account="robin", level="view")
        do(f"/api/v1/devices/{STAYS}/credentials/keys")
        do("/api/v1/claim-codes", contract="native", external_id="nobody")
        do("/api/v1/keys", name="finch's key", scopes=["read"])
        do(f"/api/v1/devices/{STAYS}/desired", "PUT", values={"relay": True})
        do(f"/api/v1/devices/{STAYS}/commands", name="relay", params={"state": True})
        do("/api/v1/bulk-commands", selection={"devices": [STAYS]}, name="again")
        do("/api/v1/pairing", minutes=5)
        do("/api/v1/notifications/preferences", "PUT", language="es")
        do("/api/v1/notifications/test", title="Hello", text="finch")
        command = {"command": {"device": STAYS, "name": "relay", "params": {}}}
        timing = {"kind": "cron", "expression": "30 7 * * *"}
        do("/api/v1/schedules", name="Mine", zone="UTC", timing=timing, action=command)
        mine.post("/dashboards", json={"name": "Home"}).raise_for_status()
        condition = {"value": {"key": "t", "op": ">", "than": 8}}
        action = {"alert": {"severity": "warning", "text": "warm"}}
        do("/api/v1/rules", name="Warm", condition=condition, actions=[action])
        post(server, "/api/v1/webhooks", name="dead", url="http://127.0.0.1:9/", kinds=["alert", "command", "twin"])
        do(f"/api/v1/devices/{STAYS}/commands", name="relay", params={"state": False})
        do(f"/api/v1/devices/{STAYS}/telemetry", values={"t": 9})
        alert = eventually(lambda: server.api.get("/api/v1/alerts").json()["items"])[0]
        do(f"/api/v1/alerts/{alert['id']}/acknowledge", note="finch saw it")
        for wrong in ("finch", email):
            httpx.post(f"{server.http}/api/v1/auth/login", json={"username": wrong, "password": "no"}, trust_env=False)
        speaker = as_person(server, "finch-console", "finch", PASSWORD)
        speaker.publish("notes/all", b"kept", 1, retain=True).wait_for_publish(10)
        speaker.disconnect()
        speaker.loop_stop()
        mine.close()
        time.sleep(2.5)
        before = {table for table, _ in found(path, "finch")}
        assert server.api.delete("/api/v1/users/finch", params={"erase": True}).status_code == 204
        eventually(lambda: not waiting(server), 60)
        # Neither from memory nor from what is written later.
        shown = [
            server.api.get(path).text
            for path in ("/api/v1/alerts", f"/api/v1/devices/{STAYS}/desired", f"/api/v1/devices/{STAYS}/commands",
                         f"/api/v1/devices/{STAYS}/timeline", "/api/v1/audit?limit=500", "/api/v1/devices")
        ]  # fmt: skip
        assert not [text for text in shown if "finch" in text.lower()]
        post(server, f"/api/v1/devices/{STAYS}/telemetry", 200, values={"t": 1})
        last = server.api.get("/api/v1/audit").json()["items"][0]
        assert (last["by"], last["action"], last["target"]) == ("admin", "user.erase", "erased")
        assert server.stop() == 0
        after = found(path, "finch")
        server.start()
        audit = server.api.get("/api/v1/audit?by=erased&limit=500").json()["items"]
        assert {"device.create", "command.ask", "auth.login"} <= {one["action"] for one in audit}
        with Board(server, STAYS, key):
            pass
    print(f"erased from {sorted(before)}")
    wanted = {"accounts", "sign_ins", "api_keys", "grants", "credentials", "claim_codes", "pairing", "bulks", "journal",
              "audit", "timeline", "commands", "alerts", "twins", "devices", "rules", "mqtt_sessions", "mqtt_retained",
              "webhook_deliveries", "notice_preferences", "notifications", "schedules", "dashboards"}  # fmt: skip
    assert wanted <= before
    assert after == [], "\n".join(f"{table}: {text[:300]}" for table, text in after)
