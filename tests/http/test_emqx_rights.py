"""Contract emqx: who gets in, what changes at once, and that nothing of it is open (sections 6 and 9)."""

import contextlib
import itertools
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import requests

from relevo.domain.presence import rule_of
from tests.clients.managed import PASSWORD, Board, Script, fresh, turned_away
from tests.http.test_emqx import broker, detail, person, wrong
from tests.journeys.live import Watcher, eventually
from tests.running import ADMIN_PASSWORD, RunningServer, free_ports

OPEN = {"/api/auth/login/", "/api/docs/", "/api/redoc/"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("emqx-rights") / "data") as one:
        yield one


@pytest.fixture(scope="module")
def boss(server: RunningServer) -> Script:
    return Script(server)


@pytest.fixture(scope="module")
def operator(boss: Script) -> Script:
    return person(boss, "operador")


def assign(boss: Script, device: dict[str, Any], who: Script | None) -> None:
    number = who.signed_in["user"]["id"] if who is not None else None
    answer = boss.post(f"devices/{device['id']}/assign-operator/", {"operador_id": number})
    assert answer.status_code == 200, answer.text


def gone(board: Board) -> bool:
    """Whether the server ended the connection and lets the board in no more."""
    return not board.client.is_connected() and bool(board.refused)


# Nothing is open


def test_no_path_is_open_to_a_stranger(server: RunningServer) -> None:
    paths = httpx.get(f"{server.http}/openapi.json", trust_env=False).json()["paths"]
    asked = 0
    for path, item in paths.items():
        for method, operation in item.items():
            if "emqx" not in operation.get("tags", ()) or path in OPEN:
                continue
            address = path.replace("{resource}", "brokers").replace("{number}", "1").replace("{action}", "activate")
            answer = httpx.request(
                method, f"{server.http}{address}", json=None if method == "get" else {}, trust_env=False
            )
            wanted = 403 if path == "/api/auth/register/" else 401
            assert (answer.status_code, list(answer.json())) == (wanted, ["detail"]), (method, path, answer.text)
            asked += 1
    assert asked > 35


def test_registration_is_closed_unless_the_switch_is_on(server: RunningServer, tmp_path: Path) -> None:
    body = {"username": "nueva", "password": PASSWORD, "email": "nueva@example.org"}
    closed = requests.post(f"{server.http}/api/auth/register/", json=body, timeout=5)
    assert (closed.status_code, list(closed.json())) == (403, ["detail"])
    with RunningServer(tmp_path / "data", env={"RELEVO_OPEN_REGISTRATION": "true"}) as opened:
        made = requests.post(f"{opened.http}/api/auth/register/", json=body, timeout=5)
        assert made.status_code == 201, made.text
        assert made.json()["user"]["rol"] == "operador"
        again = requests.post(f"{opened.http}/api/auth/register/", json=body, timeout=5)
        assert (again.status_code, sorted(again.json())) == (400, ["email", "username"])
        assert Script(opened, "nueva", PASSWORD).get("users/me/").json()["username"] == "nueva"


def test_boards_without_an_account_stay_outside_unless_the_switch_is_on(
    server: RunningServer, boss: Script, tmp_path: Path
) -> None:
    assert turned_away(server, fresh("STRANGER"))
    with RunningServer(tmp_path / "data", env={"RELEVO_ANONYMOUS_MQTT": "true"}) as opened:
        script = Script(opened)
        device = script.device()
        script.sensor(device, "t")
        with Board(opened, device["mqtt_client_id"]) as board:
            board.measure({"device_id": board.id, "t": 1})
            # On a shared account a payload that names another device is dropped.
            board.measure({"device_id": "ANOTHER", "t": 2})
        assert [one["valor"] for one in script.readings(device)] == [1.0]
        assert "device_id_mismatch" in opened.api.get(f"/api/v1/devices/emqx-{board.id}/timeline").text


def test_signing_in_is_for_an_hour_and_a_day_and_holds_everywhere(server: RunningServer, boss: Script) -> None:
    bad = requests.post(f"{server.http}/api/auth/login/", json={"username": "admin", "password": "no"}, timeout=5)
    assert (bad.status_code, list(bad.json())) == (400, ["non_field_errors"])
    empty = requests.post(f"{server.http}/api/auth/login/", json={}, timeout=5)
    assert (empty.status_code, set(empty.json())) == (400, {"username", "password"})
    assert set(boss.signed_in) == {"user", "access", "refresh", "message"}
    claims = jwt.decode(boss.token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 3_600
    assert server.api.get("/api/v1/devices", headers={"Authorization": f"Bearer {boss.token}"}).status_code == 200
    for path in ("auth/refresh/", "auth/token/refresh/", "auth/refresh"):
        # The same one, again and again.
        answer = requests.post(f"{server.http}/api/{path}", json={"refresh": boss.signed_in["refresh"]}, timeout=5)
        assert (answer.status_code, list(answer.json())) == (200, ["access"])
        headers = {"Authorization": f"Bearer {answer.json()['access']}"}
        me = requests.get(f"{server.http}/api/users/me/", headers=headers, timeout=5)
        assert me.json()["rol"] == "superusuario"
    for body in ({"refresh": "nonsense"}, {}):
        detail(requests.post(f"{server.http}/api/auth/refresh/", json=body, timeout=5), 401)
    other = Script(server)
    assert other.post("auth/logout/").status_code == 200
    detail(other.get("users/me/"), 401)
    detail(
        requests.post(f"{server.http}/api/auth/refresh/", json={"refresh": other.signed_in["refresh"]}, timeout=5), 401
    )


def test_a_path_without_its_slash(server: RunningServer, boss: Script) -> None:
    for path in (
        "mqtt/brokers",
        "mqtt/topics/1",
        "sensors",
        "readings/ultimas",
        "users/me",
        "docs",
        "redoc",
    ):
        answer = boss.get(path)
        assert (answer.status_code, answer.headers["location"]) == (301, f"/api/{path}/"), path
    assert boss.get("readings", limit=3).headers["location"] == "/api/readings/?limit=3"
    for path in ("devices", "mqtt/topics"):
        for method in ("GET", "POST"):
            assert boss.ask(method, path, {} if method == "POST" else None).status_code not in (301, 307, 308, 201)
    made = boss.post("mqtt/brokers", {"nombre": fresh("broker"), "host": "h"})
    assert made.status_code == 201
    assert boss.delete(f"mqtt/brokers/{made.json()['id']}").status_code == 204
    for path in ("docs/", "redoc/"):
        assert "rapi-doc" in boss.get(path).text
    detail(boss.get("mqtt/nothing/"), 404)
    detail(boss.get("readings/nothing/"), 404)
    detail(boss.ask("DELETE", "readings/"), 405)
    broken = boss.session.post(f"{server.http}/api/mqtt/brokers/", data=b"{", timeout=5)
    assert (broken.status_code, list(broken.json())) == (400, ["detail"])


# What changes, changes at once


def test_a_credential_that_changes_ends_what_it_let_in(server: RunningServer, boss: Script) -> None:
    device = boss.device()
    board = boss.board(device)
    (account,) = boss.get("mqtt/credentials/", dispositivo=device["id"]).json()["results"]
    path = f"mqtt/credentials/{account['id']}/"
    assert boss.patch(path, {"use_device_cert": True}).status_code == 200
    assert boss.get("mqtt/credentials/", dispositivo=device["id"], active_only="true").json()["count"] == 1
    board.measure({"x": 1})
    assert boss.patch(path, {"is_active": False}).json()["is_active"] is False
    eventually(lambda: gone(board), 15)
    board.close()
    assert boss.get("mqtt/credentials/", dispositivo=device["id"], active_only="true").json()["count"] == 0
    assert boss.patch(path, {"is_active": True}).json()["has_password"] is True
    with board.again() as board:
        password = server.canaries.plant(fresh("another-password"))
        assert boss.patch(path, {"password": password}).status_code == 200
        eventually(lambda: gone(board), 15)
    with Board(server, board.id, account["username"], password) as again:
        assert not again.refused
        changed = boss.post(f"mqtt/emqx-users/{account['id']}/change-password/", {"password": fresh("third-password")})
        assert changed.status_code == 200
        eventually(lambda: gone(again), 15)
    wrong(boss.post(f"mqtt/emqx-users/{account['id']}/change_password/", {}), "password")
    assert boss.delete(path).status_code == 204
    assert turned_away(server, board.id, account["username"], password)


def test_a_credential_that_was_revoked_elsewhere_is_not_active(server: RunningServer, boss: Script) -> None:
    device = boss.device()
    with boss.board(device) as board:
        path = f"/api/v1/devices/emqx-{board.id}/credentials"
        (one,) = server.api.get(path).json()["items"]
        assert one["kind"] == "password"
        assert server.api.delete(f"{path}/{one['id']}").status_code == 204
        eventually(lambda: gone(board), 15)
    (account,) = boss.get("mqtt/credentials/", dispositivo=device["id"]).json()["results"]
    assert account["is_active"] is False


def test_each_device_has_its_own_topics_and_no_others(boss: Script) -> None:
    one, other = boss.device(), boss.device()
    boss.sensor(other, "t")
    with boss.board(one) as board, boss.board(other) as victim:
        assert board.listen(f"iot/devices/{board.id}/#", f"iot/commands/{board.id}/#", f"iot/config/{board.id}/x") == [
            True, True, True,
        ]  # fmt: skip
        assert (
            board.listen(
                f"iot/devices/{victim.id}/commands",
                "iot/devices/+/commands",
                "#",
                "iot/#",
                "$SYS/#",
                f"iot/sensors/{board.id}/#",
            )
            == [False] * 6
        )
        board.say(f"iot/sensors/{victim.id}/data", {"t": 1})
        board.say(f"iot/devices/{victim.id}/status", "offline")
        # In its own topic the payload's word is overruled.
        board.measure({"device_id": victim.id, "t": 2})
        victim.measure({"t": 3})
        assert [each["valor"] for each in boss.readings(other)] == [3.0]
        assert boss.readings(one) == []


def test_topics_settings_and_rules_are_felt_by_a_connection_that_is_open(boss: Script) -> None:
    root = fresh("granja")
    device = boss.device()
    boss.sensor(device, "t")
    with boss.board(device) as board:
        own, shared = f"{root}/{board.id}/t", f"{root}/todos"
        board.say(own, "1")
        assert boss.readings(device) == []
        pattern = boss.make(
            "mqtt/topics/", nombre="p", topic_pattern=f"{root}/{{device_id}}/{{sensor_type}}", tipo="both"
        )
        board.say(own, "2")
        assert [each["valor"] for each in boss.readings(device)] == [2.0]
        assert board.listen(own) == [True]
        assert boss.patch(f"mqtt/topics/{pattern['id']}/", {"tipo": "subscribe"}).status_code == 200
        board.say(own, "3")
        assert len(boss.readings(device)) == 1
        # One that names no device is for those whose settings say so.
        common = boss.make("mqtt/topics/", nombre="q", topic_pattern=shared, tipo="both")
        assert board.listen(shared) == [False]
        settings = boss.make("mqtt/device-config/", dispositivo=device["id"], broker=broker(boss)["id"])
        assert board.listen(shared) == [False]
        path = f"mqtt/device-config/{settings['id']}/"
        assert boss.patch(path, {"publish_topic": common["id"], "subscribe_topics": [common["id"]]}).status_code == 200
        assert board.listen(shared) == [True]
        board.say(shared, {"t": 4})
        assert [each["valor"] for each in boss.readings(device)] == [2.0, 4.0]
        board.hears(lambda message: message.topic == shared)
        # A rule takes away what topics give, and the subscription with it.
        rule = boss.make("mqtt/emqx-acl/", dispositivo=device["id"], topic=shared, action="all", permission="deny")
        board.got.clear()
        board.say(shared, {"t": 5})
        assert board.listen(shared) == [False]
        assert len(boss.readings(device)) == 2
        assert [one["id"] for one in boss.get("mqtt/emqx-acl/by-device/", dispositivo_id=device["id"]).json()] == [
            rule["id"]
        ]
        assert boss.get("mqtt/emqx-acl/by_device/").json() == {"error": "dispositivo_id es requerido"}
        assert boss.delete(f"mqtt/emqx-acl/{rule['id']}/").status_code == 204
        board.say(shared, {"t": 6})
        eventually(lambda: len(boss.readings(device)) == 3)
        assert not board.got
        assert boss.delete(f"mqtt/topics/{common['id']}/").status_code == 204
        left = boss.get(path).json()
        assert (left["publish_topic"], left["subscribe_topics"]) == (None, [])
        wrong(boss.post("mqtt/emqx-acl/", {"dispositivo": device["id"], "topic": "relevo/+/telemetry"}), "topic")


def test_an_account_with_its_rules_in_one_request(server: RunningServer, boss: Script) -> None:
    device = boss.device()
    password = server.canaries.plant(fresh("user-password"))
    body = {"dispositivo_id": device["id"], "username": fresh("user"), "password": password}
    answer = boss.post("mqtt/emqx-users/create_with_acl/", body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["user"]["username"] == body["username"]
    assert "password" not in made["user"]
    name = device["mqtt_client_id"]
    rules = {(one["topic"], one["action"]) for one in made["acl_rules"] if one["permission"] == "allow"}
    assert {(f"iot/sensors/{name}/#", "publish"), (f"iot/devices/{name}/#", "subscribe")} <= rules
    assert {(f"iot/commands/{name}/#", "subscribe"), (f"iot/alerts/{name}", "publish")} <= rules
    assert made["acl_rules"][-1]["permission"] == "deny"
    with Board(server, name, body["username"], password) as board:
        assert not board.refused
    assert boss.get(f"mqtt/emqx-users/{made['user']['id']}/").json() == made["user"]


def test_another_client_id_is_another_identity(server: RunningServer, boss: Script) -> None:
    device = boss.device()
    boss.sensor(device, "t")
    path = f"devices/{device['id']}/"
    taken = boss.device()
    wrong(boss.patch(path, {"mqtt_client_id": taken["mqtt_client_id"]}), "mqtt_client_id")
    wrong(boss.patch(path, {"mqtt_client_id": taken["identificador_unico"]}), "mqtt_client_id")
    wrong(boss.patch(path, {"identificador_unico": taken["identificador_unico"]}), "identificador_unico")
    wrong(boss.patch(path, {"mqtt_client_id": "a/b"}), "mqtt_client_id")
    with boss.board(device) as board:
        name = fresh("RENAMED")
        assert boss.patch(path, {"mqtt_client_id": name}).json()["mqtt_client_id"] == name
        assert server.api.get(f"/api/v1/devices/emqx-{board.id}").json()["external_id"] == name
        # Its account still has the former one, which stays a name of the device.
        board.measure({"t": 1})
        board.say(f"iot/sensors/{name}/data", {"t": 2})
        board.say(f"iot/sensors/{device['identificador_unico']}/data", {"t": 3})
        assert [each["valor"] for each in boss.readings(device)] == [1.0, 2.0, 3.0]
        assert boss.patch(path, {"mqtt_enabled": False}).json()["mqtt_enabled"] is False
        board.say(f"iot/sensors/{name}/data", {"t": 4})
        assert len(boss.readings(device)) == 3
    boss.server.restart()
    assert Script(server).get(path).json()["mqtt_client_id"] == name


def test_a_device_that_is_removed_takes_everything_along(server: RunningServer, boss: Script) -> None:
    boss = Script(server)
    for way in ("contract", "native"):
        device = boss.device()
        boss.sensor(device, "t")
        settings = boss.make("mqtt/device-config/", dispositivo=device["id"], broker=broker(boss)["id"])
        boss.make("mqtt/emqx-acl/", dispositivo=device["id"], topic="granja/x")
        with boss.board(device) as board:
            board.measure({"t": 1})
            if way == "contract":
                assert boss.delete(f"devices/{device['id']}/").status_code == 204
            else:
                assert server.api.delete(f"/api/v1/devices/emqx-{board.id}").status_code == 204
            eventually(lambda one=board: gone(one), 15)
        detail(boss.get(f"devices/{device['id']}/"), 404)
        eventually(lambda n=settings["id"]: boss.get(f"mqtt/device-config/{n}/").status_code == 404)
        name = device["mqtt_client_id"]
        assert not any(one["client_id"] == name for one in boss.get("mqtt/credentials/").json()["results"])
        assert not any(one["topic"] == "granja/x" for one in boss.get("mqtt/emqx-acl/").json()["results"])
        assert boss.get("readings/", dispositivo=device["id"]).json()["count"] == 0
        assert boss.make("devices/", nombre="again", tipo="esp32", identificador_unico=name)["id"] > device["id"]


# Status, alerts, presence


def test_a_last_will_takes_a_device_offline_at_once(boss: Script) -> None:
    boss = Script(boss.server)
    device = boss.device()
    board = boss.board(device, start=False)
    board.client.will_set(f"iot/devices/{board.id}/status", "offline", qos=1, retain=True)
    board.connect()
    board.say(f"iot/devices/{board.id}/status", {"status": "online", "ip": "10.0.0.30", "rssi": -61}, retain=True)
    eventually(lambda: boss.status(device) == "online")
    reported = boss.server.api.get(f"/api/v1/devices/emqx-{board.id}/reported").json()
    assert reported["values"] == {"status": "online", "ip": "10.0.0.30", "rssi": -61}
    board.vanish()
    eventually(lambda: boss.status(device) == "offline")


def test_silence_counts_after_three_intervals_and_ninety_seconds_at_least(boss: Script) -> None:
    boss = Script(boss.server)
    device = boss.device()
    settings = boss.make(
        "mqtt/device-config/", dispositivo=device["id"], broker=broker(boss)["id"], publish_interval=60
    )
    name = device["mqtt_client_id"]

    def silence() -> int:
        return rule_of("emqx", boss.server.api.get(f"/api/v1/devices/emqx-{name}").json()["attributes"]).silence_ms

    assert silence() == 180_000
    assert boss.patch(f"mqtt/device-config/{settings['id']}/", {"publish_interval": 10}).status_code == 200
    assert silence() == 90_000


def test_an_alert_is_an_event_of_the_device(boss: Script) -> None:
    boss = Script(boss.server)
    device = boss.device()
    with boss.board(device) as board, Watcher(boss.server, "?kinds=event") as watcher:
        board.say(f"iot/alerts/{board.id}", {"type": "high_temperature", "value": 71.2, "severity": "critical"}, qos=2)
        _, frame = watcher.wait_for(lambda one: one.get("device") == f"emqx-{board.id}")
        assert frame["data"]["event"]["type"] == "high_temperature"
        board.say(f"iot/alerts/{board.id}", {"type": "high_temperature", "value": 72, "severity": "critical"})
        board.say(f"iot/alerts/{board.id}", "door open")
    alerts = boss.server.api.get("/api/v1/alerts", params={"device": f"emqx-{board.id}"}).json()["items"]
    assert [(one["name"], one["severity"], one["count"], one["text"]) for one in alerts] == [
        ("alert", "warning", 1, "door open"),
        ("high_temperature", "critical", 2, "high_temperature"),
    ]
    told = boss.server.api.get("/api/v1/notifications").json()["items"]
    assert sum(one["device"] == f"emqx-{board.id}" for one in told) == 2
    assert boss.server.api.post(f"/api/v1/alerts/{alerts[1]['id']}/resolve").json()["state"] == "resolved"
    boss.server.restart()
    (left,) = boss.server.api.get("/api/v1/alerts", params={"device": f"emqx-{board.id}", "state": "open"}).json()[
        "items"
    ]
    assert left["id"] == alerts[0]["id"]
    assert "error" not in boss.server.log.read_text()


def test_what_is_desired_of_a_device_goes_out_on_its_configuration_topic(boss: Script) -> None:
    boss = Script(boss.server)
    with boss.board(boss.device()) as board:
        assert board.listen(f"iot/config/{board.id}/#") == [True]
        path = f"/api/v1/devices/emqx-{board.id}/desired"
        assert boss.server.api.put(path, json={"values": {"publish_interval": 30}}).status_code == 200
        message = board.hears()
        assert (message.topic, json.loads(message.payload)) == (
            f"iot/config/{board.id}/desired", {"publish_interval": 30},
        )  # fmt: skip


# Readings


def test_a_redelivery_within_a_minute_is_stored_once(server: RunningServer, boss: Script) -> None:
    boss = Script(server)
    device = boss.device()
    boss.sensor(device, "t")
    board = boss.board(device)

    def deliver(board: Board, packet_id: int, value: float) -> None:
        board.client._last_mid = packet_id - 1
        board.measure({"t": value})

    deliver(board, 77, 1)
    deliver(board, 77, 1)
    deliver(board, 77, 2)
    deliver(board, 78, 1)
    board.measure({"t": 1}, qos=0)
    board.measure({"t": 1}, qos=0)
    eventually(lambda: len(boss.readings(device)) == 5)
    before = boss.readings(device)
    assert [one["valor"] for one in before] == [1.0, 2.0, 1.0, 1.0, 1.0]
    board.close()
    server.kill()
    server.start()
    boss = Script(server)
    # An acknowledgement that a crash took away is asked for again.
    with board.again() as board:
        deliver(board, 78, 1)
    assert boss.readings(device) == before


def test_readings_are_filtered_counted_and_written(server: RunningServer, boss: Script, operator: Script) -> None:
    boss = Script(server)
    operator = Script(server, operator.signed_in["user"]["username"], PASSWORD)
    device, other = boss.device(), boss.device()
    one = boss.sensor(device, "t", rango_min=0, rango_max=50)
    two = boss.sensor(device, "h")
    foreign = boss.sensor(other, "t")
    with boss.board(device) as board:
        board.measure({"t": 20, "h": 40})
        board.measure({"t": 99})
    flagged = boss.readings(device)[-1]
    assert (flagged["valor"], flagged["metadata_json"]) == (99.0, {"fuera_de_rango": True})
    assert "fuera_de_rango" in server.api.get(f"/api/v1/devices/emqx-{board.id}/timeline").text
    base = {"dispositivo": device["id"], "sensor": one}
    wrong(boss.post("readings/", base | {"valor": 51}), "valor")
    wrong(boss.post("readings/", base | {"sensor": foreign, "valor": 1}), "sensor")
    wrong(boss.post("readings/", base | {"sensor": 999_999, "valor": 1}), "sensor")
    wrong(boss.post("readings/", base | {"valor": "warm"}), "valor")
    assert set(boss.post("readings/", {}).json()) == {"dispositivo", "sensor", "valor"}
    written = boss.make("readings/", **base, valor=21.5, metadata_json={"by": "hand"})
    assert (written["valor"], written["metadata_json"], written["mqtt_message_id"]) == (21.5, {"by": "hand"}, None)
    assert boss.get(f"readings/{written['id']}/").json() == written
    bulk = boss.post(
        "readings/bulk/", {"lecturas": [base | {"valor": 22}, base | {"valor": 500}, base | {"valor": 23}]}
    )
    assert (bulk.status_code, bulk.json()["count"]) == (201, 2)
    assert [each["indice"] for each in bulk.json()["errores"]] == [1]
    wrong(boss.post("readings/bulk/", {"lecturas": []}), "lecturas")
    assert boss.post("readings/bulk/", {"lecturas": [base | {"valor": 500}]}).status_code == 400
    assert [each["valor"] for each in boss.readings(device, sensor=one)] == [20.0, 99.0, 21.5, 22.0, 23.0]
    assert [each["valor"] for each in boss.readings(device, mqtt_only="true")] == [20.0, 40.0, 99.0]
    middle = boss.readings(device)[3]["timestamp"]
    later = boss.get("readings/", dispositivo=device["id"], fecha_inicio=middle, ordering="id").json()["results"]
    assert [each["valor"] for each in later] == [21.5, 22.0, 23.0]
    assert boss.get("readings/", dispositivo=device["id"], fecha_fin="2020-01-01").json()["count"] == 0
    wrong(boss.get("readings/", fecha_inicio="yesterday"), "fecha_inicio")
    figures = boss.get("readings/estadisticas/", dispositivo=device["id"], sensor=one).json()
    assert figures == {"total": 5, "promedio": 37.1, "maximo": 99.0, "minimo": 20.0, "lecturas_mqtt": 2}
    none = boss.get("readings/estadisticas/", sensor=999_999).json()
    assert none == {"total": 0, "promedio": None, "maximo": None, "minimo": None, "lecturas_mqtt": 0}
    assert [each["valor"] for each in boss.get("readings/ultimas/", dispositivo=device["id"], limit=2).json()] == [
        23.0,
        22.0,
    ]
    # Whose device it is decides what somebody sees and writes.
    assert operator.get("readings/").json()["count"] == 0
    wrong(operator.post("readings/", base | {"valor": 1}), "dispositivo")
    detail(operator.get(f"readings/{written['id']}/"), 404)
    assign(boss, device, operator)
    assert operator.get("readings/").json()["count"] == 6
    assert operator.get("readings/", dispositivo=other["id"]).json()["count"] == 0
    assert operator.post("readings/", base | {"valor": 1}).status_code == 201
    assert boss.delete(f"devices/{device['id']}/remove-sensor/?sensor_id={two}").status_code == 200
    assert [one["sensor"] for one in boss.get(f"devices/{device['id']}/").json()["sensores_asignados"]] == [one]
    assert boss.get("readings/", sensor=two).json()["count"] == 1


# The broker itself


def test_a_broker_is_really_connected_to(server: RunningServer, boss: Script, operator: Script) -> None:
    boss = Script(server)
    operator = Script(server, operator.signed_in["user"]["username"], PASSWORD)
    (closed,) = free_ports(1)
    own = {"host": "127.0.0.1", "port": server.mqtt_port, "username": "admin"}

    def check(who: Script, number: int, **more: Any) -> dict[str, Any]:
        answer = who.post("mqtt/test-connection/", {"broker_id": number} | more)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert set(found) == {"success", "message", "broker"}
        assert set(found["broker"]) == {"nombre", "host", "port", "protocol"}
        return found

    good = boss.make("mqtt/brokers/", nombre=fresh("b"), password=ADMIN_PASSWORD, **own)
    assert check(boss, good["id"], timeout=5)["success"] is True
    assert check(operator, good["id"])["success"] is True
    over = own | {"port": server.http_port, "protocol": "ws"}
    socket = boss.make("mqtt/brokers/", nombre=fresh("b"), password=ADMIN_PASSWORD, **over)
    assert check(boss, socket["id"])["success"] is True
    for more, words in (
        ({"password": "a-wrong-password"}, "wrong user name"),
        ({"port": closed}, "onnect"),
        ({"port": server.http_port}, "no MQTT broker|no answer|closed|bytes read"),
        ({"host": "169.254.169.254"}, "metadata"),
        ({"protocol": "mqtts"}, "."),
    ):
        bad = boss.make("mqtt/brokers/", nombre=fresh("b"), **({"password": ADMIN_PASSWORD} | own | more))
        told = check(boss, bad["id"], timeout=3)
        assert told["success"] is False, more
        assert re.search(words, told["message"]), (more, told)
        short = check(operator, bad["id"], timeout=3)
        assert (short["success"], short["message"]) == (False, "No se pudo conectar al broker")
    assert boss.post(f"mqtt/brokers/{good['id']}/deactivate/").status_code == 200
    for body in ({"broker_id": good["id"]}, {"broker_id": 999_999}, {}, {"broker_id": good["id"], "timeout": 0}):
        answer = boss.post("mqtt/test_connection/", body)
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
    listed = boss.get("mqtt/brokers/", active_only="true").json()["results"]
    assert good["id"] not in [one["id"] for one in listed]
    assert [one["id"] for one in boss.get("mqtt/brokers/", protocol="ws").json()["results"]] == [socket["id"]]


def test_somebody_watches_their_own_devices_at_the_broker(server: RunningServer, boss: Script) -> None:
    boss = Script(server)
    who = person(boss, "operador")
    mine, foreign = boss.device(), boss.device()
    assign(boss, mine, who)
    account = who.make("users/me/mqtt/")
    server.canaries.plant(account["password"])
    assert account["url"] == f"ws://127.0.0.1:{server.http_port}/mqtt"
    assert f"iot/sensors/{mine['mqtt_client_id']}/#" in account["topics"]
    name, password = account["username"], account["password"]
    with contextlib.ExitStack() as opened:
        board, other = (opened.enter_context(boss.board(one)) for one in (mine, foreign))
        page = opened.enter_context(Board(server, fresh("page"), name, password, transport="websockets"))
        assert not page.refused
        assert page.listen(f"iot/sensors/{board.id}/#", f"iot/devices/{board.id}/status") == [True, True]
        assert page.listen(f"iot/sensors/{other.id}/#", "iot/sensors/+/#", "#", f"iot/devices/{board.id}/commands") == (
            [False] * 4
        )
        other.measure({"t": 1})
        board.measure({"t": 2})
        assert json.loads(page.hears().payload) == {"t": 2}
        page.say(f"iot/sensors/{board.id}/data", {"t": 3})
        page.say(f"iot/devices/{board.id}/commands", {"command": "x"})
        assert len(boss.server.api.get(f"/api/v1/devices/emqx-{board.id}/commands").json()["items"]) == 0
        # Taken from its person, the device is seen no more, without anybody connecting again.
        assign(boss, mine, None)
        board.measure({"t": 4})
        assert page.listen(f"iot/sensors/{board.id}/#") == [False]
        assert [json.loads(one.payload) for one in page.got] == [{"t": 2}]
        assert turned_away(server, fresh("page"), name, "a-wrong-password")
        assert who.post("auth/logout/").status_code == 200
        eventually(lambda: gone(page), 15)


def test_writers_at_the_same_moment_do_not_get_one_name_or_number(server: RunningServer, boss: Script) -> None:
    boss = Script(server)
    name, answers = fresh("broker"), list[int]()
    numbers: list[int] = []

    def write(n: int) -> None:
        one = requests.post(
            f"{server.http}/api/mqtt/brokers/",
            json={"nombre": name if n % 2 else f"{name}-{n}", "host": "h"},
            headers={"Authorization": f"Bearer {boss.token}"},
            timeout=20,
        )
        answers.append(one.status_code)
        if one.status_code == 201:
            numbers.append(one.json()["id"])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [201] * 7 + [400] * 5
    assert len(set(numbers)) == 7


def test_a_stranger_that_is_approved_is_one_of_the_devices(server: RunningServer, boss: Script) -> None:
    boss = Script(server)
    name = fresh("HEARD")
    with Board(server, "console", "admin", ADMIN_PASSWORD) as console:
        console.say(f"iot/sensors/{name}/data", {"t": 1})
    eventually(lambda: server.api.get("/api/v1/unclaimed", params={"search": name}).json()["items"])
    made = server.api.post("/api/v1/unclaimed/approve", json={"contract": "emqx", "external_id": name})
    assert made.status_code in (200, 201), made.text
    (one,) = [each for each in boss.get("devices/").json()["results"] if each["mqtt_client_id"] == name]
    assert (one["identificador_unico"], one["mqtt_enabled"]) == (name, True)
    assert (
        boss.patch(f"devices/{one['id']}/", {"nombre": "Invernadero", "tipo": "esp32"}).json()["nombre"]
        == "Invernadero"
    )


def test_people_are_managed_over_the_contract(server: RunningServer, boss: Script) -> None:
    boss = Script(server)
    name = fresh("ana")
    made = boss.make(
        "users/", username=name, password=PASSWORD, rol="operador", first_name="Ana", last_name="Pérez Ruiz"
    )
    assert (made["rol"], made["first_name"], made["last_name"], made["is_active"]) == (
        "operador",
        "Ana",
        "Pérez Ruiz",
        True,
    )
    wrong(boss.post("users/", {"username": name, "password": PASSWORD}), "username")
    wrong(boss.post("users/", {"username": fresh("x"), "password": "password"}), "password")
    wrong(boss.post("users/", {"username": "a b", "password": PASSWORD}), "username")
    path = f"users/{made['id']}/"
    assert boss.patch(path, {"rol": "solo_lectura", "email": f"{name}@example.org"}).json()["rol"] == "solo_lectura"
    who = Script(server, name, PASSWORD)
    detail(who.get("users/"), 403)
    assert boss.get("users/", search=name).json()["results"] == [boss.get(path).json()]
    assert boss.patch(path, {"is_active": False}).json()["is_active"] is False
    detail(who.get("users/me/"), 401)
    assert boss.delete(path).status_code == 204
    detail(boss.get(path), 404)
    (admin,) = [one for one in boss.get("users/", rol="superusuario").json()["results"] if one["username"] == "admin"]
    assert boss.delete(f"users/{admin['id']}/").status_code == 400


def test_lists_take_what_queries_they_get(boss: Script) -> None:
    boss = Script(boss.server)
    strange = ("", "x", "-1", "0", "1e9", "%00", "9" * 40, "last")
    for path, value in itertools.product(("mqtt/brokers/", "mqtt/topics/", "devices/", "readings/"), strange):
        for name in ("page", "page_size", "dispositivo", "qos", "ordering", "search", "active_only", "sensor"):
            assert boss.get(path, **{name: value}).status_code in (200, 400, 404), (path, name, value)
