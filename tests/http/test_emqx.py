"""Acceptance checks of contract emqx (section 10), over real sockets with clients that know no more of it."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from relevo.store.db import FILE_NAME
from tests.clients.managed import PASSWORD, Board, Script, fresh, now_s
from tests.journeys.live import eventually
from tests.running import RunningServer

SECRET = "broker-secret-of-the-contract"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The default profile: nothing is open."""
    with RunningServer(tmp_path_factory.mktemp("emqx") / "data") as one:
        yield one


@pytest.fixture(scope="module")
def boss(server: RunningServer) -> Script:
    return Script(server)


def person(boss: Script, rol: str) -> Script:
    name = fresh(rol)
    boss.make("users/", username=name, password=PASSWORD, rol=rol)
    return Script(boss.server, name, PASSWORD)


@pytest.fixture(scope="module")
def operator(boss: Script) -> Script:
    return person(boss, "operador")


@pytest.fixture(scope="module")
def onlooker(boss: Script) -> Script:
    return person(boss, "solo_lectura")


def broker(boss: Script, **more: Any) -> dict[str, Any]:
    return boss.make("mqtt/brokers/", nombre=fresh("broker"), host="broker.example.org", **more)


def wrong(answer: requests.Response, field: str) -> str:
    """The text of the one field that was refused."""
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == [field], body
    assert body[field]
    assert all(isinstance(one, str) and one for one in body[field])
    return str(body[field][0])


def detail(answer: requests.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    return str(answer.json()["detail"])


def test_emqx_01_without_a_token_nothing_is_made(server: RunningServer) -> None:
    answer = requests.post(f"{server.http}/api/mqtt/brokers/", json={"nombre": "x", "host": "h"}, timeout=5)
    detail(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    for token in ("nonsense", "e30.e30.e30"):
        headers = {"Authorization": f"Bearer {token}"}
        detail(requests.get(f"{server.http}/api/mqtt/brokers/", headers=headers, timeout=5), 401)


def test_emqx_02_a_broker_is_made_and_its_password_is_nowhere(server: RunningServer, boss: Script) -> None:
    server.canaries.plant(SECRET)
    body = {
        "nombre": "EMQX Principal", "host": "192.168.1.100", "port": 1883, "protocol": "mqtt", "username": "admin",
        "password": SECRET, "keepalive": 60, "is_active": True,
    }  # fmt: skip
    answer = boss.post("mqtt/brokers/", body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert set(made) == {
        "id", "nombre", "host", "port", "protocol", "protocol_display", "username", "has_password", "keepalive",
        "clean_session", "use_tls", "ca_cert", "is_active", "created_at", "updated_at",
    }  # fmt: skip
    assert type(made["id"]) is int
    assert {name: made[name] for name in made if name in body} == {n: v for n, v in body.items() if n != "password"}
    assert (made["nombre"], made["port"], made["has_password"]) == ("EMQX Principal", 1883, True)
    assert (made["clean_session"], made["use_tls"], made["is_active"]) == (True, False, True)
    for again in (boss.get(f"mqtt/brokers/{made['id']}/"), boss.get("mqtt/brokers/")):
        assert SECRET not in again.text
        assert '"password"' not in again.text
    secure = broker(boss, protocol="mqtts", port=8883, use_tls=True, ca_cert="-----BEGIN CERTIFICATE-----\nMIIB\n")
    assert (secure["protocol"], secure["port"], secure["use_tls"]) == ("mqtts", 8883, True)
    assert (secure["keepalive"], secure["has_password"]) == (60, False)


def test_emqx_03_a_wrong_port_and_a_name_that_is_taken_are_fields(boss: Script) -> None:
    name = fresh("broker")
    wrong(boss.post("mqtt/brokers/", {"nombre": name, "host": "h", "port": 70000}), "port")
    assert boss.post("mqtt/brokers/", {"nombre": name, "host": "h"}).status_code == 201
    wrong(boss.post("mqtt/brokers/", {"nombre": name, "host": "h"}), "nombre")
    other = broker(boss)
    wrong(boss.patch(f"mqtt/brokers/{other['id']}/", {"nombre": name}), "nombre")
    for field, value in (
        ("keepalive", 9), ("keepalive", 3601), ("port", 0), ("port", "x"), ("protocol", "http"), ("is_active", "maybe"),
        ("ca_cert", "no certificate"),
    ):  # fmt: skip
        wrong(boss.post("mqtt/brokers/", {"nombre": fresh("broker"), "host": "h", field: value}), field)
    missing = boss.post("mqtt/brokers/", {})
    assert missing.status_code == 400
    assert set(missing.json()) == {"nombre", "host"}
    assert boss.ask("PUT", f"mqtt/brokers/{other['id']}/", {"port": 1884}).status_code == 400
    put = boss.ask("PUT", f"mqtt/brokers/{other['id']}/", {"nombre": other["nombre"], "host": "h2"})
    assert (put.status_code, put.json()["host"]) == (200, "h2")
    assert boss.delete(f"mqtt/brokers/{other['id']}/").status_code == 204
    detail(boss.get(f"mqtt/brokers/{other['id']}/"), 404)
    assert broker(boss)["id"] > other["id"]


def test_emqx_04_topics_have_a_quality_of_service_that_there_is(boss: Script) -> None:
    body = {"nombre": "datos", "topic_pattern": "iot/sensors/{device_id}/data", "tipo": "publish", "qos": 1}
    made = boss.make("mqtt/topics/", **body)
    assert {name: made[name] for name in body} == body
    assert made["retain"] is False
    assert made["tipo_display"]
    assert made["qos_display"]
    wrong(boss.post("mqtt/topics/", body | {"qos": 3}), "qos")
    wrong(boss.post("mqtt/topics/", body | {"tipo": "both ways"}), "tipo")
    for pattern in ("hidrometro/{device_id}/dados", "#", "$SYS/x", "iot/{colour}/x", "a/b#", "x" * 256, "a/{device_id"):
        wrong(boss.post("mqtt/topics/", body | {"topic_pattern": pattern}), "topic_pattern")
    both = boss.make("mqtt/topics/", nombre="ambos", topic_pattern="planta/{device_id}/{sensor_type}", tipo="both")
    boss.make("mqtt/topics/", nombre="ordenes", topic_pattern="planta/{device_id}/ordenes/#", tipo="subscribe")
    told, heard = (boss.get(f"mqtt/topics/{one}-topics/").json() for one in ("publish", "subscribe"))
    assert both in told
    assert both in heard
    assert made in told
    assert made not in heard
    assert boss.get("mqtt/topics/publish_topics/").json() == told
    assert all(one["tipo"] == "publish" for one in boss.get("mqtt/topics/", tipo="publish").json()["results"])
    assert all(one["qos"] == 1 for one in boss.get("mqtt/topics/", qos=1).json()["results"])


def test_emqx_05_one_credential_for_each_device(server: RunningServer, boss: Script) -> None:
    device = boss.device()
    body = {"dispositivo": device["id"], "client_id": device["mqtt_client_id"], "username": fresh("device")}
    password = server.canaries.plant("contraseña-larga-5")
    answer = boss.post("mqtt/credentials/", body | {"password": password})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["has_password"] is True
    assert set(made) == {
        "id", "dispositivo", "dispositivo_nombre", "client_id", "username", "use_device_cert", "client_cert",
        "is_active", "has_password", "has_cert", "created_at", "updated_at",
    }  # fmt: skip
    assert made["dispositivo_nombre"] == device["nombre"]
    second = boss.post("mqtt/credentials/", body | {"client_id": fresh("other"), "username": fresh("device")})
    wrong(second, "dispositivo")
    other = boss.device()
    wrong(boss.post("mqtt/credentials/", body | {"dispositivo": other["id"], "username": "u"}), "client_id")
    wrong(boss.post("mqtt/credentials/", body | {"dispositivo": other["id"], "client_id": fresh("c")}), "username")
    wrong(boss.post("mqtt/credentials/", body | {"dispositivo": 999_999_999}), "dispositivo")
    without = boss.make("mqtt/credentials/", dispositivo=other["id"], client_id=other["mqtt_client_id"])
    assert without["has_password"] is False
    with Board(server, device["mqtt_client_id"], body["username"], password) as board:
        assert not board.refused


def test_emqx_06_settings_of_a_device(boss: Script) -> None:
    device, chosen = boss.device(), broker(boss)
    told = boss.make("mqtt/topics/", nombre="p", topic_pattern="iot/sensors/{device_id}/data", tipo="publish")
    heard = boss.make("mqtt/topics/", nombre="s", topic_pattern="iot/devices/{device_id}/commands", tipo="subscribe")
    body = {
        "dispositivo": device["id"], "broker": chosen["id"], "publish_topic": told["id"],
        "subscribe_topics": [heard["id"]], "publish_interval": 60,
    }  # fmt: skip
    made = boss.make("mqtt/device-config/", **body)
    assert {name: made[name] for name in body} == body
    assert made["connection_status"] == "disconnected"
    assert (made["qos"], made["auto_reconnect"], made["last_connection"]) == (1, True, None)
    assert (made["broker_nombre"], made["publish_topic_nombre"]) == (chosen["nombre"], "p")
    wrong(boss.post("mqtt/device-config/", body | {"publish_interval": 0}), "publish_interval")
    wrong(boss.post("mqtt/device-config/", body | {"publish_interval": 86_401}), "publish_interval")
    wrong(boss.post("mqtt/device-config/", body | {"broker": 999_999}), "broker")
    wrong(boss.post("mqtt/device-config/", body | {"subscribe_topics": [999_999]}), "subscribe_topics")
    assert boss.make("mqtt/device-config/", **body | {"publish_topic": None})["publish_topic"] is None
    one = boss.get(f"mqtt/device-config/{made['id']}/").json()
    assert one["broker_detail"] == chosen
    assert one["publish_topic_detail"] == told
    assert one["subscribe_topics_detail"] == [heard]
    listed = boss.get("mqtt/device-config/", dispositivo=device["id"]).json()["results"]
    assert made["id"] in [each["id"] for each in listed]
    assert "broker_detail" not in listed[0]
    assert boss.get("mqtt/device-config/", connection_status="connected", dispositivo=device["id"]).json()["count"] == 0


def test_emqx_07_lists_have_pages(server: RunningServer, boss: Script) -> None:
    mark = fresh("mark")
    for n in range(52):
        boss.make("sensors/", nombre=f"{mark}-{n:02d}", tipo="temperatura")
    first = boss.get("mqtt/brokers/", page=1)
    assert list(first.json()) == ["count", "next", "previous", "results"]
    detail(boss.get("mqtt/brokers/", page=99), 404)
    detail(boss.get("mqtt/brokers/", page="x"), 404)
    one = boss.get("sensors/", search=mark).json()
    assert (one["count"], len(one["results"]), one["previous"]) == (52, 50, None)
    assert one["next"].startswith(f"{server.http}/api/sensors/?")
    two = boss.session.get(one["next"], timeout=5).json()
    assert (len(two["results"]), two["next"]) == (2, None)
    assert boss.session.get(two["previous"], timeout=5).json() == one
    backwards = boss.get("sensors/", search=mark, ordering="-nombre").json()["results"]
    assert backwards[0]["nombre"] == f"{mark}-51"
    assert boss.get("sensors/", search=mark, ordering="-password").json()["results"][0]["nombre"] == f"{mark}-00"


def test_emqx_08_device_status_counts_who_is_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RunningServer(tmp_path_factory.mktemp("emqx-status") / "data") as server:
        boss = Script(server)
        empty = {"total_mqtt_devices": 0, "online": 0, "offline": 0, "error": 0, "percentage_online": 0}
        assert boss.get("mqtt/device-status/").json() == empty
        devices = [boss.device() for _ in range(10)]
        boss.device(mqtt_enabled=False)
        boards = [boss.board(device) for device in devices[:8]]
        for board in boards:
            board.say(f"iot/devices/{board.id}/status", "online", retain=True)
        wanted = {"total_mqtt_devices": 10, "online": 8, "offline": 2, "error": 0, "percentage_online": 80.0}
        eventually(lambda: boss.get("mqtt/device-status/").json() == wanted)
        boards[0].say(f"iot/devices/{boards[0].id}/status", {"state": "error", "rssi": -61}, retain=True)
        now = eventually(lambda: (found := boss.get("mqtt/device-status/").json())["error"] and found)
        assert (now["online"], now["offline"], now["percentage_online"]) == (7, 2, 70.0)
        assert boss.status(devices[0]) == "error"
        assert [boss.status(one) for one in (devices[1], devices[9])] == ["online", "offline"]
        for board in boards:
            board.close()


def test_emqx_09_the_nested_payload_is_two_readings(boss: Script) -> None:
    device = boss.device(tipo="raspberry_pi")
    temperature, humidity = boss.sensor(device, "temperature"), boss.sensor(device, "humidity")
    with boss.board(device) as board:
        body = {"device_id": board.id, "sensors": {"temperature": 21.7, "humidity": 48.2}, "timestamp": now_s() - 30}
        board.measure(body)
    one, two = boss.readings(device)
    assert (one["sensor"], one["valor"], two["sensor"], two["valor"]) == (temperature, 21.7, humidity, 48.2)
    assert set(one) == {
        "id", "dispositivo", "dispositivo_nombre", "sensor", "sensor_nombre", "sensor_unidad", "valor", "timestamp",
        "metadata_json", "mqtt_message_id", "mqtt_qos", "mqtt_retained",
    }  # fmt: skip
    for each in (one, two):
        assert (each["mqtt_qos"], each["mqtt_retained"]) == (1, False)
        assert isinstance(each["mqtt_message_id"], str)
        assert moment(each["timestamp"]) == body["timestamp"]
    # The same device through the product's own interface.
    native = boss.server.api.get(f"/api/v1/devices/emqx-{device['mqtt_client_id']}").json()
    assert {key: value["value"] for key, value in native["latest"].items()} == {"temperature": 21.7, "humidity": 48.2}


def test_emqx_10_the_flat_payload_has_the_servers_time(boss: Script) -> None:
    device = boss.device()
    boss.sensor(device, "temperature")
    boss.sensor(device, "", tipo="humedad", nombre="h")
    with boss.board(device) as board:
        before = time.time()
        board.measure(f'{{"device_id":"{board.id}","temperature":21.75,"humidity":48.20,"timestamp":184233}}', qos=0)
        one, two = eventually(lambda: (found := boss.readings(device)) and len(found) == 2 and found)
        assert sorted((one["valor"], two["valor"])) == [21.75, 48.2]
        assert one["mqtt_qos"] == 0
        for each in (one, two):
            assert abs(moment(each["timestamp"]) - before) < 60
        board.measure('{"temperature":"22.5","humidity":nan,"on":true}')
    assert [each["valor"] for each in boss.readings(device)][2:] == [22.5]


def test_emqx_11_the_readings_form_has_times_of_its_own(boss: Script) -> None:
    device = boss.device()
    boss.sensor(device, "temperature")
    at = datetime.fromtimestamp(now_s() - 3600, UTC)
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    with boss.board(device) as board:
        said = {"temperature": {"value": 21.7, "unit": "C", "timestamp": stamp}}
        board.measure({"device_id": board.id, "readings": said, "timestamp": stamp})
        (one,) = boss.readings(device)
        assert moment(one["timestamp"]) == at.timestamp()
        assert one["valor"] == 21.7
        # A date that cannot be now's is not believed.
        said["temperature"] |= {"timestamp": "2020-01-01T00:00:00Z", "value": 5}
        board.measure({"device_id": board.id, "readings": said, "timestamp": "2020-01-01T00:00:00Z"})
    assert abs(moment(boss.readings(device)[1]["timestamp"]) - time.time()) < 60


def test_emqx_12_strangers_and_keys_without_a_sensor(server: RunningServer, boss: Script) -> None:
    device = boss.device()
    boss.sensor(device, "temperature")
    with boss.board(device) as board:
        board.measure({"sensors": {"co2": 612, "temperature": 20.5, "light": 3}})
        board.measure({"sensors": {"co2": 613}})
        (one,) = boss.readings(device)
        assert one["valor"] == 20.5
        shown = boss.get(f"devices/{device['id']}/").json()["sensores_sugeridos"]
        assert [(each["clave"], each["veces"], each["valor"]) for each in shown] == [
            ("co2", 2, 613.0),
            ("light", 1, 3.0),
        ]
        boss.sensor(device, "co2")
        assert [each["clave"] for each in boss.get(f"devices/{device['id']}/").json()["sensores_sugeridos"]] == [
            "light"
        ]
    unknown, total = fresh("NOBODY"), boss.get("readings/").json()["count"]
    with Board(server, "console", "admin", "correct-horse-battery-staple") as console:
        console.say(f"iot/sensors/{unknown}/data", {"device_id": unknown, "sensors": {"temperature": 1}})
    listed = eventually(lambda: server.api.get("/api/v1/unclaimed", params={"search": unknown}).json()["items"])
    assert (listed[0]["contract"], listed[0]["external_id"], listed[0]["reason"]) == ("emqx", unknown, "unclaimed")
    assert boss.get("readings/").json()["count"] == total


def test_emqx_13_a_command_is_one_message(server: RunningServer, boss: Script) -> None:
    device = boss.device()
    with boss.board(device) as board:
        topic = f"iot/devices/{board.id}/commands"
        assert board.listen(topic) == [True]
        path = f"/api/v1/devices/emqx-{board.id}/commands"
        asked = server.api.post(path, json={"name": "read_sensors", "params": {"of": ["t"]}})
        assert asked.status_code == 202, asked.text
        message = board.hears()
        assert (message.topic, message.qos, message.retain) == (topic, 1, False)
        assert json.loads(message.payload) == {"command": "read_sensors", "of": ["t"]}
        urgent = server.api.post(path, json={"name": "stop", "params": {"critical": True}}).json()
        assert board.hears(lambda one: b"stop" in one.payload).qos == 2
        # Nothing answers in this contract: what was sent is never said to be done.
        board.measure({"temperature": 1})
        assert server.api.get(f"{path}/{urgent['id']}").json()["state"] == "sent"
        assert len(board.got) == 2


def test_emqx_14_operators_write_nothing_and_see_their_own(boss: Script, operator: Script, onlooker: Script) -> None:
    device, other, chosen = boss.device(), boss.device(), broker(boss)
    number = operator.signed_in["user"]["id"]
    assert boss.post(f"devices/{device['id']}/assign-operator/", {"operador_id": number}).status_code == 200
    shared = {"broker": chosen["id"]}
    mine = boss.make("mqtt/device-config/", dispositivo=device["id"], **shared)
    foreign = boss.make("mqtt/device-config/", dispositivo=other["id"], **shared)
    for path in ("brokers", "topics", "credentials", "device-config", "emqx-users", "emqx-acl"):
        for person in (operator, onlooker):
            detail(person.post(f"mqtt/{path}/", {"nombre": "x", "host": "h"}), 403)
        assert operator.get(f"mqtt/{path}/").status_code == 200
        detail(onlooker.get(f"mqtt/{path}/"), 403)
    for path in ("devices", "sensors"):
        detail(operator.post(f"{path}/", {}), 403)
    detail(operator.delete(f"mqtt/brokers/{chosen['id']}/"), 403)
    assert [one["id"] for one in operator.get("devices/").json()["results"]] == [device["id"]]
    assert [one["id"] for one in operator.get("mqtt/device-config/").json()["results"]] == [mine["id"]]
    detail(operator.get(f"mqtt/device-config/{foreign['id']}/"), 404)
    detail(operator.get(f"devices/{other['id']}/"), 404)
    assert onlooker.get("mqtt/device-status/").status_code == 200
    assert onlooker.get("devices/").json()["count"] == 0
    assert boss.get("devices/", operador_asignado=number).json()["count"] == 1


def test_emqx_15_actions_in_both_spellings(boss: Script) -> None:
    one, device = broker(boss), boss.device()
    for action, active in (("deactivate", False), ("activate", True)):
        answer = boss.post(f"mqtt/brokers/{one['id']}/{action}/")
        assert answer.status_code == 200
        assert list(answer.json()) == ["message"]
        assert boss.get(f"mqtt/brokers/{one['id']}/").json()["is_active"] is active
    settings = boss.make("mqtt/device-config/", dispositivo=device["id"], broker=one["id"])
    answers = []
    for action in ("update-connection-status", "update_connection_status"):
        answer = boss.post(f"mqtt/device-config/{settings['id']}/{action}/", {"status": "connected"})
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"message", "config"}
        assert answer.json()["config"]["connection_status"] == "connected"
        answers.append({name: value for name, value in answer.json()["config"].items() if name != "last_connection"})
    assert answers[0] == answers[1]
    bad = boss.post(f"mqtt/device-config/{settings['id']}/update-connection-status/", {"status": "asleep"})
    assert (bad.status_code, list(bad.json())) == (400, ["error"])
    for path in ("mqtt/device_config/", "mqtt/device_status/", "mqtt/emqx_users/", "mqtt/emqx_acl/"):
        assert boss.get(path).status_code == 200
        assert boss.get(path).json() == boss.get(path.replace("_", "-")).json()
    disconnected = boss.post(
        f"mqtt/device-config/{settings['id']}/update-connection-status/", {"status": "disconnected"}
    )
    assert disconnected.json()["config"]["connection_status"] == "disconnected"


def suggested(boss: Script, device: dict[str, Any]) -> list[tuple[str, int, float]]:
    found = boss.get(f"devices/{device['id']}/").json()["sensores_sugeridos"]
    return [(one["clave"], one["veces"], one["valor"]) for one in found]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_person_can_be_removed_with_the_name(server: RunningServer, boss: Script) -> None:
    name = fresh("wagtail")
    made = boss.make("users/", username=name, password=PASSWORD, rol="operador")
    answer = boss.delete(f"users/{made['id']}/?erase=true")
    assert answer.status_code == 204, answer.text
    last = server.api.get("/api/v1/audit", params={"action": "user"}).json()["items"][0]
    assert (last["action"], last["target"]) == ("user.erase", "erased")
    with contextlib.closing(sqlite3.connect(server.data / FILE_NAME)) as database:
        eventually(lambda: not database.execute("SELECT 1 FROM scrubs").fetchall(), 20)
    assert name not in server.api.get("/api/v1/audit?limit=1000").text
