"""The first minutes of a newcomer: a reading goes in with common tools and comes out everywhere, at once."""

import asyncio
import json
import shutil
import subprocess
import time

import aiomqtt
import paho.mqtt.client as paho
import pytest
import websockets

from tests.journeys.live import Watcher, eventually
from tests.running import RunningServer

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="Debian's mosquitto-clients is not installed"
)


def paho_client(client_id: str, protocol: int = paho.MQTTv311) -> paho.Client:
    return paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)


@needs_mosquitto
def test_mosquitto_pub_with_a_meter_reading_appears_within_100_ms(lab: RunningServer) -> None:
    with Watcher(lab, "?kinds=telemetry") as watcher:
        reading = {"totalLiters": 815.25, "flowLmin": 4.6, "numeroSerie": "hx2041"}
        subprocess.run(
            ["mosquitto_pub", "-p", str(lab.mqtt_port), "-t", "hidrometro/dados", "-m", json.dumps(reading)],
            check=True,
            timeout=10,
        )
        arrived, frame = watcher.wait_for(lambda data: data["external_id"] == "HX2041")
        received = frame["data"]["received"] / 1000
        assert arrived - received < 0.1
        assert frame["data"]["values"]["totalLiters"] == 815.25
        assert frame["data"]["stored"] is False
    current = lab.api.get("/api/current").json()
    assert (current["totalLiters"], current["flowLmin"], current["numero_serie"]) == (815.25, 4.6, "HX2041")
    assert current["ts"] > 10**12
    strangers = lab.api.get("/api/v1/unclaimed").json()["items"]
    assert [one["external_id"] for one in strangers] == ["HX2041"]


@pytest.mark.parametrize("protocol", [paho.MQTTv31, paho.MQTTv311, paho.MQTTv5])
def test_an_unmodified_paho_script_with_a_native_reading_appears_within_100_ms(
    lab: RunningServer, protocol: int
) -> None:
    device = f"paho-{protocol}"
    with Watcher(lab) as watcher:
        client = paho_client(device, protocol)
        client.username_pw_set(device, "any key")
        client.connect("127.0.0.1", lab.mqtt_port)
        client.loop_start()
        info = client.publish(f"relevo/{device}/telemetry", json.dumps({"temperature": 21.5, "door": True}), qos=1)
        info.wait_for_publish(5)
        acknowledged = time.time()
        # The acknowledgement came after the commit, so reading back needs no waiting.
        latest = lab.api.get(f"/api/v1/devices/{device}/latest").json()
        assert latest["temperature"]["value"] == 21.5
        assert latest["door"]["value"] is True
        arrived, frame = watcher.wait_for(lambda data: data["kind"] == "telemetry" and data["device"] == device)
        assert arrived - acknowledged < 0.1
        assert frame["id"] == str(frame["data"]["seq"])
        client.disconnect()
        client.loop_stop()
    points = lab.api.get(f"/api/v1/devices/{device}/telemetry/temperature").json()["points"]
    assert [value for _, value in points] == [21.5]


async def test_aiomqtt_publishes_and_subscribes(lab: RunningServer) -> None:
    async with aiomqtt.Client("127.0.0.1", lab.mqtt_port, identifier="aio") as client:
        await client.subscribe("relevo/aio/command", qos=1)
        await client.publish("relevo/aio/telemetry", '{"v": 1}', qos=1)
        await client.publish("relevo/aio/command", '{"id": "1", "name": "ping"}', qos=1)
        async with asyncio.timeout(5):
            async for message in client.messages:
                assert json.loads(message.payload)["name"] == "ping"
                break
    assert lab.api.get("/api/v1/devices/aio/latest").json()["v"]["value"] == 1


async def test_a_websocket_gets_the_same_events(lab: RunningServer) -> None:
    lab.register("socket-1")
    uri = f"ws://127.0.0.1:{lab.mqtt_port - lab.mqtt_port + lab.http_port}/api/v1/ws?devices=socket-1&kinds=telemetry"
    async with websockets.connect(uri, additional_headers={"Authorization": f"Bearer {lab.token}"}) as socket:
        answer = await asyncio.to_thread(lab.api.post, "/api/v1/devices/socket-1/telemetry", json={"v": 7})
        assert answer.json() == {"accepted": 1, "stored": 1, "duplicates": 0, "refused": []}
        async with asyncio.timeout(5):
            event = json.loads(await socket.recv())
        assert (event["device"], event["values"], event["kind"]) == ("socket-1", {"v": 7}, "telemetry")
        first = event["seq"]
    # A socket that comes back asks for what it missed.
    await asyncio.to_thread(lab.api.post, "/api/v1/devices/socket-1/telemetry", json={"v": 8})
    async with websockets.connect(
        f"{uri}&since={first}", additional_headers={"Authorization": f"Bearer {lab.token}"}
    ) as socket:
        async with asyncio.timeout(5):
            assert json.loads(await socket.recv())["values"] == {"v": 8}


async def test_a_websocket_without_a_token_is_closed_with_the_reason(lab: RunningServer) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{lab.http_port}/api/v1/ws") as socket:
        with pytest.raises(websockets.ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "missing token")


def test_the_stream_replays_from_the_last_event_id_without_gap_or_repetition(lab: RunningServer) -> None:
    lab.register("replayed")
    for n in range(5):
        lab.api.post("/api/v1/devices/replayed/telemetry", json={"n": n})
    with Watcher(lab, "?devices=replayed&kinds=telemetry", last_event_id=0) as watcher:
        eventually(lambda: len(watcher.events) >= 5)
        for n in range(5, 8):
            lab.api.post("/api/v1/devices/replayed/telemetry", json={"n": n})
        eventually(lambda: len(watcher.events) >= 8)
        assert [frame["data"]["values"]["n"] for _, frame in watcher.events] == list(range(8))
        third = int(watcher.events[2][1]["id"])
    with Watcher(lab, "?devices=replayed&kinds=telemetry", last_event_id=third) as watcher:
        eventually(lambda: len(watcher.events) >= 5)
        assert [frame["data"]["values"]["n"] for _, frame in watcher.events] == list(range(3, 8))


def test_everything_is_there_after_a_restart(tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        server.register("kept", name="Kept device")
        server.api.post("/api/v1/devices/kept/telemetry", json={"v": 1, "text": "água"})
        server.api.post("/api/v1/claims", json={"contract": "hidrometro", "external_id": "abc123"})
        client = paho_client("meter")
        client.connect("127.0.0.1", server.mqtt_port)
        client.loop_start()
        payload = json.dumps({"total": 10, "flowRate": 2.5, "serial": "ABC123"})
        client.publish("hidrometro/dados", payload, qos=1).wait_for_publish(5)
        client.disconnect()
        client.loop_stop()
        before = server.api.get("/api/v1/devices").json()["items"]
        server.restart()
        after = server.api.get("/api/v1/devices").json()["items"]
        assert [(one["id"], one["name"], one["latest"]) for one in after] == [
            (one["id"], one["name"], one["latest"]) for one in before
        ]
        # hidrometro, check 5, from memory filled again after the restart
        current = server.api.get("/api/current").json()
        assert (current["totalLiters"], current["flowLmin"]) == (10, 2.5)
        assert server.api.get("/api/v1/devices/kept/telemetry/text").json()["points"][0][1] == "água"
        assert server.api.get("/api/v1/unclaimed").json()["items"] == []
