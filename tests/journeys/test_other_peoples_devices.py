"""Two people on one server: neither reads or steers what belongs to the other, by whatever door they try."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
import websockets

from tests.conformance.raw import CONNACK_OK, Raw, connect, publish, subscribe
from tests.journeys.live import eventually
from tests.running import ADMIN_PASSWORD, RunningServer

PASSWORD = "a-long-enough-one"


@dataclass
class Person:
    name: str
    api: httpx.Client
    device: str
    key: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"RELEVO_OPEN_READS": "false"}
    with RunningServer(tmp_path_factory.mktemp("people") / "data", env=env) as one:
        yield one


@pytest.fixture(scope="module")
def people(server: RunningServer) -> Iterator[tuple[Person, Person]]:
    """Ana and Bruno, operators, each with a device that has sent something."""
    with ExitStack() as stack:
        found = []
        for name in ("ana", "bruno"):
            body = {"name": name, "password": PASSWORD, "role": "operator"}
            assert server.api.post("/api/v1/users", json=body).status_code == 201
            api = stack.enter_context(httpx.Client(base_url=server.http, trust_env=False, timeout=10))
            token = api.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD}).json()["access_token"]
            api.headers["Authorization"] = f"Bearer {token}"
            device = f"of-{name}"
            key = api.post("/api/v1/devices", json={"id": device, "tags": [f"tag-{name}"]}).json()["key"]
            answer = api.post(f"/api/v1/devices/{device}/telemetry", json={f"secret_{name}": 42})
            assert answer.json()["stored"] == 1
            found.append(Person(name, api, device, key))
        yield found[0], found[1]


def test_lists_and_filters_show_ones_own(people: tuple[Person, Person]) -> None:
    ana, bruno = people
    for query in ({}, {"search": "of-"}, {"search": "bruno"}, {"tag": "tag-bruno"}, {"contract": "native"}):
        items = ana.api.get("/api/v1/devices", params=query).json()["items"]
        assert {one["id"] for one in items} <= {ana.device}
        assert bruno.name not in json.dumps(items)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/latest", None),
        ("GET", "/telemetry/secret_bruno", None),
        ("GET", "/timeline", None),
        ("GET", "/grants", None),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
        ("POST", "/telemetry", {"forged": 1}),
        ("POST", "/grants", {"account": "ana", "level": "control"}),
    ],
)
def test_another_persons_device_is_not_there(people: tuple[Person, Person], method: str, path: str, body: Any) -> None:
    ana, bruno = people
    answer = ana.api.request(method, f"/api/v1/devices/{bruno.device}{path}", json=body)
    assert answer.status_code == 404
    # In the same words as for one that does not exist, so that nobody can tell which ids are taken.
    missing = ana.api.request(method, f"/api/v1/devices/of-nobody{path}", json=body)
    assert answer.json()["detail"].replace(bruno.device, "X") == missing.json()["detail"].replace("of-nobody", "X")
    assert list(bruno.api.get(f"/api/v1/devices/{bruno.device}/latest").json()) == ["secret_bruno"]


def test_a_batch_takes_ones_own_items_and_refuses_the_others(people: tuple[Person, Person]) -> None:
    ana, bruno = people
    items = [{"device": one.device, "values": {"batch": 1}} for one in (ana, bruno)]
    answer = ana.api.post("/api/v1/telemetry", json=items).json()
    assert (answer["accepted"], [one["index"] for one in answer["refused"]]) == (1, [1])
    assert "batch" not in bruno.api.get(f"/api/v1/devices/{bruno.device}/latest").json()


def test_a_devices_key_opens_no_other_device(people: tuple[Person, Person], server: RunningServer) -> None:
    ana, bruno = people
    headers = {"Authorization": f"Bearer {ana.key}"}
    with httpx.Client(base_url=server.http, headers=headers, trust_env=False) as device:
        assert device.get(f"/api/v1/devices/{ana.device}/latest").status_code == 200
        assert device.get(f"/api/v1/devices/{bruno.device}/latest").status_code == 401
        assert device.post(f"/api/v1/devices/{bruno.device}/telemetry", json={"v": 1}).status_code == 401
        for path in (f"/api/v1/devices/{ana.device}", "/api/v1/devices", "/api/v1/me", "/api/v1/stream"):
            assert device.get(path).status_code == 401


async def seen(server: RunningServer, token: str, query: str, until: str) -> list[dict[str, Any]]:
    """What a WebSocket shows up to the event that mentions ``until``."""
    found: list[dict[str, Any]] = []
    uri = f"ws://127.0.0.1:{server.http_port}/api/v1/ws{query}"
    async with websockets.connect(uri, additional_headers={"Authorization": token}) as socket, asyncio.timeout(10):
        while not any(until in json.dumps(one) for one in found):
            found.append(json.loads(await socket.recv()))
    return found


async def test_streams_and_their_replay_show_ones_own(people: tuple[Person, Person], server: RunningServer) -> None:
    ana, bruno = people
    for query in (
        "?since=0",
        f"?since=0&devices={bruno.device},{ana.device}",
        "?since=0&kinds=telemetry,device,presence",
    ):
        watching = asyncio.create_task(seen(server, ana.api.headers["Authorization"], query, "over"))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(bruno.api.post, f"/api/v1/devices/{bruno.device}/telemetry", json={"live": 1})
        await asyncio.to_thread(ana.api.post, f"/api/v1/devices/{ana.device}/telemetry", json={"over": 1})
        shown = await watching
        assert any("secret_ana" in json.dumps(one) for one in shown)
        assert "bruno" not in json.dumps(shown)
        await asyncio.to_thread(ana.api.delete, "/api/v1/devices/none")


async def test_a_share_shows_the_device_and_taking_it_back_hides_it_in_open_streams(
    people: tuple[Person, Person], server: RunningServer
) -> None:
    ana, bruno = people
    share = {"account": "ana", "level": "view"}
    grant = bruno.api.post(f"/api/v1/devices/{bruno.device}/grants", json=share).json()
    assert ana.api.get(f"/api/v1/devices/{bruno.device}").json()["right"] == "view"
    assert ana.api.post(f"/api/v1/devices/{bruno.device}/telemetry", json={"v": 1}).status_code == 403
    uri = f"ws://127.0.0.1:{server.http_port}/api/v1/ws?kinds=telemetry"
    headers = {"Authorization": ana.api.headers["Authorization"]}
    async with websockets.connect(uri, additional_headers=headers) as socket, asyncio.timeout(10):
        await asyncio.to_thread(bruno.api.post, f"/api/v1/devices/{bruno.device}/telemetry", json={"shared": 1})
        assert json.loads(await socket.recv())["values"] == {"shared": 1}
        path = f"/api/v1/devices/{bruno.device}/grants/{grant['id']}"
        assert (await asyncio.to_thread(bruno.api.delete, path)).status_code == 204
        await asyncio.to_thread(bruno.api.post, f"/api/v1/devices/{bruno.device}/telemetry", json={"hidden": 1})
        await asyncio.to_thread(ana.api.post, f"/api/v1/devices/{ana.device}/telemetry", json={"own": 1})
        assert json.loads(await socket.recv())["values"] == {"own": 1}
    assert ana.api.get(f"/api/v1/devices/{bruno.device}").status_code == 404


async def test_an_open_stream_ends_with_its_session(people: tuple[Person, Person], server: RunningServer) -> None:
    body = {"username": "ana", "password": PASSWORD}
    async with httpx.AsyncClient(base_url=server.http, trust_env=False) as client:
        token = (await client.post("/api/v1/auth/login", json=body)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        uri = f"ws://127.0.0.1:{server.http_port}/api/v1/ws"
        async with websockets.connect(uri, additional_headers=headers) as socket:
            await client.post("/api/v1/auth/logout", headers=headers)
            with pytest.raises(websockets.ConnectionClosed):
                async with asyncio.timeout(9):
                    await socket.recv()
            assert socket.close_code == 1008


def test_a_group_is_shared_as_one_and_left_with_its_tag(people: tuple[Person, Person], server: RunningServer) -> None:
    ana, bruno = people
    grant = {"account": "ana", "scope": "tag", "value": "tag-bruno", "level": "control"}
    made = server.api.post("/api/v1/grants", json=grant)
    assert made.status_code == 201
    assert ana.api.post(f"/api/v1/devices/{bruno.device}/telemetry", json={"by_ana": 1}).status_code == 200
    assert ana.api.patch(f"/api/v1/devices/{bruno.device}", json={"name": "x"}).status_code == 403
    bruno.api.patch(f"/api/v1/devices/{bruno.device}", json={"tags": [], "site": "north"})
    assert ana.api.get(f"/api/v1/devices/{bruno.device}").status_code == 404
    site = {"account": "ana", "scope": "site", "value": "north"}
    second = server.api.post("/api/v1/grants", json=site)
    assert ana.api.get(f"/api/v1/devices/{bruno.device}").json()["right"] == "view"
    for one in (made, second):
        assert server.api.delete(f"/api/v1/grants/{one.json()['id']}").status_code == 204
    assert ana.api.get(f"/api/v1/devices/{bruno.device}").status_code == 404


def test_devices_hear_neither_each_others_messages_nor_what_is_retained(
    people: tuple[Person, Person], server: RunningServer
) -> None:
    ana, bruno = people
    with Raw(server.mqtt_port, connect("b", user=bruno.device, password=bruno.key.encode())) as raw:
        raw.expect(CONNACK_OK)
        raw.send(publish(f"relevo/{bruno.device}/state", b'{"door":"open"}', qos=1, packet_id=1, retain=True))
        raw.expect(b"\x40\x02\x00\x01")
    with Raw(server.mqtt_port, connect("a", user=ana.device, password=ana.key.encode())) as raw:
        raw.expect(CONNACK_OK)
        filters = (f"relevo/{bruno.device}/state", "relevo/+/state", "relevo/#", "#", f"relevo/{bruno.device}/#")
        raw.send(subscribe(*((one, 1) for one in filters)))
        answer = raw.packet()
        assert answer[0] == 0x90
        assert answer[-len(filters) :] == b"\x80" * len(filters)
        # A topic of somebody else's: acknowledged as version 3 has it, and told; never forwarded or stored.
        raw.send(publish(f"relevo/{bruno.device}/telemetry", b'{"forged":1}', qos=1, packet_id=2))
        raw.expect(b"\x40\x02\x00\x02")
        raw.expect_silence()
    assert "forged" not in bruno.api.get(f"/api/v1/devices/{bruno.device}/latest").json()
    eventually(lambda: "topic_not_allowed" in ana.api.get(f"/api/v1/devices/{ana.device}/timeline").text, 5)


def test_a_meter_with_its_own_credential_speaks_for_itself_alone(server: RunningServer) -> None:
    for serial in ("M1", "M2"):
        body = {"contract": "hidrometro", "external_id": serial, "id": serial.lower()}
        assert server.api.post("/api/v1/claims", json=body).status_code == 201
    made = server.api.post("/api/v1/devices/m1/credentials/keys", json={})
    assert made.status_code == 201, made.text
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "m1")
    client.username_pw_set("m1", made.json()["key"])
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    try:
        for serial in ("M2", "M1", None):
            reading = {"totalLiters": 5, "flowLmin": 1} | ({"numeroSerie": serial} if serial else {})
            client.publish("hidrometro/dados", json.dumps(reading), 1).wait_for_publish(5)
    finally:
        client.disconnect()
        client.loop_stop()
    assert "totalLiters" in server.api.get("/api/v1/devices/m1/latest").json()
    assert server.api.get("/api/v1/devices/m2/latest").json() == {}
    eventually(lambda: "not_its_own" in server.api.get("/api/v1/devices/m1/timeline").text, 5)


def test_a_meter_that_proved_itself_need_not_repeat_its_serial(server: RunningServer) -> None:
    for serial in ("R1", "R2", "@77"):
        body = {"contract": "hidrometro", "external_id": serial, "id": f"meter-{serial.strip('@').lower()}"}
        assert server.api.post("/api/v1/claims", json=body).status_code == 201
    keys = {}
    for name in ("r1", "r2"):
        made = server.api.post(f"/api/v1/devices/meter-{name}/credentials/keys", json={})
        keys[name] = server.canaries.plant(made.json()["key"])
    server.api.patch("/api/v1/devices/meter-r2", json={"attributes": {"id_dispositivo": 5}})

    def say(name: str, topic: str, **body: Any) -> None:
        packet = publish(topic, json.dumps({"flowLmin": 1} | body).encode(), qos=1, packet_id=1)
        with Raw(server.mqtt_port, connect(name, user=f"meter-{name}", password=keys[name].encode()), packet) as raw:
            raw.expect(CONNACK_OK)
            raw.expect(b"\x40\x02\x00\x01")

    def total(name: str) -> Any:
        return server.api.get(f"/api/v1/devices/meter-{name}/latest").json().get("totalLiters", {}).get("value")

    # Nothing is known of its record: whatever number it says is its own.
    say("r1", "hidrometro/dados", totalLiters=1, id_dispositivo=5)
    assert total("r1") == 1
    say("r1", "hidrometro/3/9/dados", totalLiters=2)
    assert total("r1") == 2
    say("r1", "hidrometro/dados", totalLiters=3)
    assert total("r1") == 3
    # The registry holds one: that, as number or text, and no other.
    say("r2", "hidrometro/dados", totalLiters=4, id_dispositivo="5")
    assert total("r2") == 4
    say("r2", "hidrometro/dados", totalLiters=5, id_dispositivo=6)
    assert total("r2") == 4
    # One by which another device is known, and anybody's serial, stay somebody else's.
    say("r1", "hidrometro/dados", totalLiters=6, id_dispositivo=77)
    say("r1", "hidrometro/dados", totalLiters=6, id_dispositivo=77, numeroSerie="R2")
    assert (total("r1"), total("r2"), total("77")) == (3, 4, None)

    def refused() -> list[str]:
        story = server.api.get("/api/v1/devices/meter-r2/timeline").json()["items"]
        return [line["detail"] for line in story if line["reason"] == "not_its_own"]

    assert eventually(refused) == ["device 'meter-r2' may not speak for '@6'"]


def test_a_last_will_speaks_for_its_own_device_alone(server: RunningServer) -> None:
    for serial in ("W1", "W2"):
        body = {"contract": "hidrometro", "external_id": serial, "id": serial.lower()}
        assert server.api.post("/api/v1/claims", json=body).status_code == 201
    key = server.api.post("/api/v1/devices/w1/credentials/keys", json={}).json()["key"]
    will = ("hidrometro/dados", b'{"totalLiters":9,"flowLmin":1,"numeroSerie":"W2"}', 1, False)
    with Raw(server.mqtt_port, connect("w1", user="w1", password=key.encode(), will=will)) as raw:
        raw.expect(CONNACK_OK)
    eventually(lambda: "not_its_own" in server.api.get("/api/v1/devices/w1/timeline").text, 5)
    assert server.api.get("/api/v1/devices/w2/latest").json() == {}


def test_water_meters_are_shown_to_those_who_may_view_them(
    people: tuple[Person, Person], server: RunningServer
) -> None:
    ana, bruno = people
    claim = {"contract": "hidrometro", "external_id": "OF-BRUNO", "id": "meter-of-bruno"}
    assert bruno.api.post("/api/v1/claims", json=claim).status_code == 201
    reading = {"totalLiters": 77.5, "flowLmin": 1, "numeroSerie": "OF-BRUNO"}
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "bridge")
    client.username_pw_set("admin", ADMIN_PASSWORD)
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    client.publish("hidrometro/dados", json.dumps(reading), 1).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()
    assert bruno.api.get("/api/current").json()["totalLiters"] == 77.5
    assert ana.api.get("/api/current").json() == {}
    assert ana.api.get("/api/current", params={"numeroSerie": "OF-BRUNO"}).json() == {}
    assert ana.api.get("/api/history").json() == {"history": []}
    assert len(bruno.api.get("/api/history").json()["history"]) == 1
