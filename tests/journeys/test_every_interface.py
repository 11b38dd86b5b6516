"""One relay board, seen and switched through the interfaces of other families, over real sockets."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.clients.announcing import TEN, Onlooker
from tests.journeys.live import eventually
from tests.running import ADMIN_PASSWORD, RunningServer

UUID = "550e8400-e29b-41d4-a716-0a1b2c"
ROOT = f"autocore/devices/{UUID}"


class Board:
    """A board that does as it is told, as paho lets it."""

    def __init__(self, server: RunningServer) -> None:
        self.relays = dict.fromkeys(range(1, 9), False)
        self.told: list[dict[str, Any]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        self.client.on_message = self._told
        self.client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/command", 1)
        self.client.connect("127.0.0.1", server.mqtt_port)
        self.client.loop_start()
        self.say("announce", {"uuid": UUID})
        self.say("status", {"status": "online", "uptime": 7, "wifi_rssi": -51})

    def _told(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload)
        self.told.append(body)
        self.relays[body["channel"]] = body["state"]
        answer = {"type": "relay_response", "channel": body["channel"], "state": body["state"]}
        client.publish(f"{ROOT}/response", json.dumps(answer), qos=1)

    def say(self, topic: str, body: dict[str, Any]) -> None:
        self.client.publish(f"{ROOT}/{topic}", json.dumps(body), qos=1).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("everywhere") / "data", env={"RELEVO_PROFILE": "lab"}) as one:
        yield one


@pytest.fixture(scope="module")
def board(server: RunningServer) -> Iterator[Board]:
    body = {"uuid": UUID, "name": "Pump house", "type": "esp32_relay", "relay_channels": 8}
    assert server.api.post("/api/devices", json=body).status_code == 201
    one = Board(server)
    yield one
    one.close()


@pytest.fixture(scope="module")
def device(server: RunningServer, board: Board) -> str:
    (found,) = server.api.get("/api/v1/devices", params={"search": UUID}).json()["items"]
    return str(found["id"])


@pytest.fixture(scope="module")
def lamp(server: RunningServer, device: str) -> int:
    """Relay 3 as a device of contract alchemy: its number there."""
    body = {"contract": "alchemy", "key": "relay_3", "name": "Garden pump"}
    answer = server.api.post(f"/api/v1/devices/{device}/appearances", json=body)
    assert answer.status_code == 201, answer.text
    number: int = answer.json()["number"]
    return number


@pytest.fixture
def app(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http, trust_env=False, timeout=10) as client:
        yield client


def test_what_a_board_can_do_is_told_in_shared_words(server: RunningServer, device: str) -> None:
    found = server.api.get(f"/api/v1/devices/{device}/capabilities").json()["items"]
    assert [one["key"] for one in found if one["kind"] == "relay"] == [f"relay_{n}" for n in range(1, 9)]
    assert {"kind": "sensor", "key": "wifi_rssi", "value": -51} in found


def test_a_relay_is_switched_by_what_it_is_whatever_the_contract(
    server: RunningServer, board: Board, device: str
) -> None:
    path = f"/api/v1/devices/{device}/switches/relay_1"
    answer = server.api.put(path, json={"on": True})
    assert answer.status_code == 200, answer.text
    eventually(lambda: board.relays[1])
    eventually(lambda: not server.api.put(path, json={"on": True}).json()["pending"])
    assert server.api.put(path, json={"on": True}).json()["reported"] is True
    assert server.api.put(f"/api/v1/devices/{device}/switches/relay_9", json={"on": True}).status_code == 404
    assert server.api.put(path, json={"on": 1}).status_code == 422


def test_a_relay_is_a_device_among_those_of_the_phone_app(app: httpx.Client, board: Board, lamp: int) -> None:
    found = {one["id"]: one for one in app.get("/dispositivos").json()}
    assert set(found[lamp]) == set(TEN)
    assert found[lamp]["nombre"] == "Garden pump"
    assert found[lamp]["configuracion"] == {"modo": "manual", "encendido": False}
    assert found[lamp]["reclamado"] is True
    assert found[lamp]["parametros"]["wifi_rssi"] == -51
    assert app.get(f"/dispositivos/{lamp}").json() == found[lamp]
    taken = app.post("/dispositivos/reclamar", json={"serial_number": found[lamp]["serial_number"]})
    assert taken.status_code == 409


def test_the_phone_app_switches_it_and_follows(
    server: RunningServer, app: httpx.Client, board: Board, lamp: int
) -> None:
    with Onlooker(server, "?reclamado=true") as stream:
        answer = app.put(f"/dispositivos/{lamp}", json={"configuracion": {"encendido": True}})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["estado"], answer.json()["configuracion"]["encendido"]) == ("activo", True)
        eventually(lambda: board.relays[3])
        eventually(lambda: any(one["id"] == lamp and one["estado"] == "activo" for one in stream.updates))
    assert app.put(f"/dispositivos/{lamp}/estado", json={"estado": "inactivo"}).json()["estado"] == "inactivo"
    eventually(lambda: not board.relays[3])
    eventually(lambda: app.get(f"/dispositivos/{lamp}").json()["estado"] == "inactivo")
    told = app.get(f"/dispositivos/{lamp}/logs").json()
    assert [one["estado"] for one in told["data"]][:2] == ["inactivo", "activo"]


def test_what_a_relay_of_another_contract_cannot_be_told(app: httpx.Client, lamp: int) -> None:
    for body in ({"configuracion": {"modo": "horario"}}, {"configuracion": {"horarios": []}}, {}):
        refused = app.put(f"/dispositivos/{lamp}", json=body)
        assert refused.status_code == 400, body
        assert refused.json()["error"]


def test_it_is_renamed_there_and_the_board_keeps_its_name(
    server: RunningServer, app: httpx.Client, device: str, lamp: int
) -> None:
    assert app.put(f"/dispositivos/{lamp}", json={"nombre": "Bomba", "descripcion": "jardín"}).status_code == 200
    shown = app.get(f"/dispositivos/{lamp}").json()
    assert (shown["nombre"], shown["descripcion"]) == ("Bomba", "jardín")
    assert server.api.get(f"/api/v1/devices/{device}").json()["name"] == "Pump house"


def test_a_widget_of_the_token_app_switches_it(server: RunningServer, board: Board, device: str) -> None:
    api = server.api
    (shown,) = [one for one in api.get("/devices").json() if one["name"] == "Pump house"]
    dashboard = api.post("/dashboards", json={"name": "Everything"}).json()["id"]
    body = {"dashboard_id": dashboard, "device_id": shown["id"], "type": "led", "config": {"key": "relay_5"}}
    widget = api.post("/widgets", json=body).json()["id"]
    answer = api.post(f"/widgets/{widget}/state", json={"state": 1})
    assert answer.status_code == 200, answer.text
    eventually(lambda: board.relays[5])
    eventually(lambda: api.get(f"/widgets/{dashboard}").json()[0]["value"] == 1)
    sensor = api.post("/widgets", json=body | {"config": {"key": "wifi_rssi"}}).json()["id"]
    assert api.post(f"/widgets/{sensor}/state", json={"state": 1}).status_code == 400


def test_the_control_page_of_water_meters_switches_it(server: RunningServer, board: Board, device: str) -> None:
    body = {"contract": "hidrometro", "key": "relay_6", "name": "Válvula"}
    made = server.api.post(f"/api/v1/devices/{device}/appearances", json=body)
    assert made.status_code == 201, made.text
    number = made.json()["number"]
    with httpx.Client(base_url=server.http, trust_env=False, timeout=10) as browser:
        form = {"username": "admin", "password": ADMIN_PASSWORD, "next": "/control"}
        assert browser.post("/login", data=form).status_code == 303
        page = browser.get("/control").text
        assert "Válvula" in page
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token is not None
        turned = {"turn": str(number), "on": "1"}
        assert browser.post("/control", data=turned | {"csrf_token": "x"}).status_code == 403
        assert not board.relays[6]
        assert browser.post("/control", data=turned | {"csrf_token": token[1]}).status_code == 303
        eventually(lambda: board.relays[6])
        eventually(lambda: 'name="on" value="0"' in browser.get("/control").text)
        gone = {"turn": "1000009999", "on": "1", "csrf_token": token[1]}
        assert browser.post("/control", data=gone).status_code == 404
    # It is no device of contract alchemy by that.
    assert server.api.get(f"/dispositivos/{number}").status_code == 404


def test_an_appearance_is_an_administrators_to_give_and_take(server: RunningServer, device: str) -> None:
    path = f"/api/v1/devices/{device}/appearances"
    body = {"contract": "alchemy", "key": "relay_7"}
    number = server.api.post(path, json=body).json()["number"]
    for wrong in (
        body,
        body | {"key": "wifi_rssi"},
        body | {"contract": "emqx"},
        body | {"contract": "autocore"},
    ):
        assert server.api.post(path, json=wrong).status_code == 422, wrong
    assert number in [one["number"] for one in server.api.get(path).json()["items"]]
    assert server.api.delete(f"{path}/{number}").status_code == 204
    assert server.api.delete(f"{path}/{number}").status_code == 404
    assert server.api.get(f"/dispositivos/{number}").status_code == 404


def test_it_outlives_a_restart_and_goes_with_its_device(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RunningServer(tmp_path_factory.mktemp("outlives") / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        body = {"uuid": UUID, "name": "Board", "type": "esp32_relay"}
        assert server.api.post("/api/devices", json=body).status_code == 201
        (device,) = [one["id"] for one in server.api.get("/api/v1/devices", params={"search": UUID}).json()["items"]]
        path = f"/api/v1/devices/{device}/appearances"
        number = server.api.post(path, json={"contract": "alchemy", "key": "relay_1"}).json()["number"]
        server.kill()
        server.restart()
        assert httpx.get(f"{server.http}/dispositivos/{number}").status_code == 200
        assert server.api.delete(f"/api/v1/devices/{device}").status_code == 204
        assert httpx.get(f"{server.http}/dispositivos/{number}").status_code == 404
        assert httpx.get(f"{server.http}/dispositivos").json() == []
