"""The same door over TCP, TLS, WebSocket and a unix socket, with third-party clients; and behind a balancer."""

import asyncio
import json
import os
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
import websockets

from tests.authority import Authority, needs_openssl
from tests.conformance.raw import CONNACK_OK, DISCONNECT, Raw, connect, publish
from tests.journeys.live import eventually
from tests.running import RunningServer, free_ports


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "ca")


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    certificate, key = authority.issue("relevo", "server")
    place = tmp_path_factory.mktemp("transports")
    (port,) = free_ports(1)
    env = {
        "RELEVO_TLS_CERT": str(certificate),
        "RELEVO_TLS_KEY": str(key),
        "RELEVO_TLS_CLIENT_CA": str(authority.file),
        "RELEVO_MQTTS": f"127.0.0.1:{port}",
        "RELEVO_MQTT_UNIX": str(place / "mqtt.sock"),
    }
    with RunningServer(place / "data", env=env) as running:
        running.mqtts_port = port  # type: ignore[attr-defined]
        yield running


def tls_context(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.file))


def round_trip(client: paho.Client, topic: str, payload: str) -> None:
    """Publish at QoS 1 and wait for the acknowledgement."""
    client.loop_start()
    try:
        end = time.monotonic() + 5
        while not client.is_connected():
            assert time.monotonic() < end, "not connected"
            time.sleep(0.01)
        client.publish(topic, payload, qos=1).wait_for_publish(5)
    finally:
        client.disconnect()
        client.loop_stop()


@needs_openssl
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_with_a_device_key(
    server: RunningServer, authority: Authority, version: ssl.TLSVersion
) -> None:
    device = f"tls-{version.name}"
    key = server.register(device)
    context = tls_context(authority)
    context.minimum_version = context.maximum_version = version
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, device, protocol=paho.MQTTv5)
    client.tls_set_context(context)
    client.username_pw_set(device, key)
    client.connect("127.0.0.1", server.mqtts_port)  # type: ignore[attr-defined]
    round_trip(client, f"relevo/{device}/telemetry", '{"v": 1}')
    assert server.api.get(f"/api/v1/devices/{device}/latest").json()["v"]["value"] == 1


@needs_openssl
def test_older_tls_is_refused(server: RunningServer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    # Saying "1.1" is the point of this test.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    port = server.mqtts_port  # type: ignore[attr-defined]
    with socket.create_connection(("127.0.0.1", port)) as raw, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(raw)


@needs_openssl
def test_a_client_certificate_stands_for_the_key(server: RunningServer, authority: Authority) -> None:
    server.register("by-name")
    server.register("by-print")
    named = authority.issue("by-name", "by-name")
    printed = authority.issue("whatever", "by-print")
    fingerprint = subprocess.run(
        ["openssl", "x509", "-in", str(printed[0]), "-noout", "-fingerprint", "-sha256"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.partition("=")[2].strip().replace(":", "").lower()  # fmt: skip
    server.api.patch("/api/v1/devices/by-print", json={"attributes": {"certificate_sha256": fingerprint}})
    for device, files in (("by-name", named), ("by-print", printed)):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, device)
        context = tls_context(authority)
        context.load_cert_chain(*files)
        client.tls_set_context(context)
        client.connect("127.0.0.1", server.mqtts_port)  # type: ignore[attr-defined]
        round_trip(client, f"relevo/{device}/telemetry", '{"v": 2}')
        assert server.api.get(f"/api/v1/devices/{device}/latest").json()["v"]["value"] == 2


@needs_openssl
def test_a_certificate_of_nobody_is_refused_and_told(server: RunningServer, authority: Authority) -> None:
    files = authority.issue("stranger", "stranger")
    context = tls_context(authority)
    context.load_cert_chain(*files)
    port = server.mqtts_port  # type: ignore[attr-defined]
    with socket.create_connection(("127.0.0.1", port), 5) as raw:
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            tls.sendall(connect("s"))
            assert tls.recv(4) == b"\x20\x02\x00\x05"

    def told() -> bool:
        items = server.api.get("/api/v1/system/timeline").json()["items"]
        return "certificate_unknown" in [one["reason"] for one in items]

    eventually(told)


@needs_openssl
def test_a_new_certificate_is_served_without_dropping_anyone(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    first = authority.issue("first", "live")
    (port,) = free_ports(1)
    env = {
        "RELEVO_PROFILE": "lab",
        "RELEVO_TLS_CERT": str(first[0]),
        "RELEVO_TLS_KEY": str(first[1]),
        "RELEVO_MQTTS": f"127.0.0.1:{port}",
    }

    def subject(tls: ssl.SSLSocket) -> str:
        certificate = tls.getpeercert()
        assert certificate is not None
        return str(certificate["subject"])

    with RunningServer(tmp_path / "data", env=env):
        context = tls_context(authority)
        with socket.create_connection(("127.0.0.1", port), 5) as raw:
            with context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
                tls.sendall(connect("stays"))
                assert tls.recv(4) == CONNACK_OK
                assert "first" in subject(tls)
                second = authority.issue("second", "next")
                os.replace(second[1], first[1])
                os.replace(second[0], first[0])
                end = time.monotonic() + 15
                while True:
                    with socket.create_connection(("127.0.0.1", port), 5) as other:
                        with context.wrap_socket(other, server_hostname="127.0.0.1") as fresh:
                            if "second" in subject(fresh):
                                break
                    assert time.monotonic() < end, "the new certificate was not taken up"
                    time.sleep(0.2)
                tls.sendall(b"\xc0\x00")
                assert tls.recv(2) == b"\xd0\x00"


def test_websocket_with_paho(server: RunningServer) -> None:
    key = server.register("ws-paho")
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "ws-paho", transport="websockets")
    client.ws_set_options(path="/mqtt")
    client.username_pw_set("ws-paho", key)
    client.connect("127.0.0.1", server.http_port)
    round_trip(client, "relevo/ws-paho/telemetry", json.dumps({"text": "x" * 50_000, "v": 3}))
    values = server.api.get("/api/v1/devices/ws-paho/latest").json()
    assert values["v"]["value"] == 3


@pytest.mark.parametrize("path", ["/mqtt", "/"])
@pytest.mark.parametrize("protocol", ["mqtt", "mqttv3.1"])
async def test_websocket_frames_need_not_be_packets(server: RunningServer, path: str, protocol: str) -> None:
    """[MQTT-6.0.0-2]: packets and frames have nothing to do with each other."""
    key = await asyncio.to_thread(server.register, f"ws-{protocol.replace('.', '')}-{len(path)}")
    device = f"ws-{protocol.replace('.', '')}-{len(path)}"
    data = connect(device, user=device, password=key.encode()) + b"\xc0\x00"
    async with websockets.connect(f"ws://127.0.0.1:{server.http_port}{path}", subprotocols=[protocol]) as ws:  # type: ignore[list-item]
        assert ws.subprotocol == protocol
        for n in range(len(data)):
            await ws.send(data[n : n + 1])
        received = b""
        async with asyncio.timeout(5):
            while len(received) < 6:
                received += await ws.recv()  # type: ignore[operator]
        assert received == CONNACK_OK + b"\xd0\x00"
        await ws.send("text")
        with pytest.raises(websockets.ConnectionClosed):
            async with asyncio.timeout(5):
                await ws.recv()


async def test_a_websocket_client_that_says_goodbye_and_is_gone_at_once_is_no_error(server: RunningServer) -> None:
    key = await asyncio.to_thread(server.register, "ws-hasty")
    for _ in range(10):
        uri = f"ws://127.0.0.1:{server.http_port}/mqtt"
        async with websockets.connect(uri, subprotocols=["mqtt"]) as ws:  # type: ignore[list-item]
            await ws.send(connect("ws-hasty", user="ws-hasty", password=key.encode()))
            async with asyncio.timeout(5):
                assert await ws.recv() == CONNACK_OK
            await ws.send(DISCONNECT)
            ws.transport.abort()
    await asyncio.to_thread(server.health)
    assert "Traceback" not in server.log.read_text()


async def test_websocket_without_the_sub_protocol_or_from_a_foreign_page_is_refused(server: RunningServer) -> None:
    uri = f"ws://127.0.0.1:{server.http_port}/mqtt"
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(uri):
            pass
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(uri, subprotocols=["mqtt"], origin="https://evil.example"):  # type: ignore[list-item, arg-type]
            pass


def test_unix_socket(server: RunningServer) -> None:
    key = server.register("local")
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5)
        raw.connect(server.env["RELEVO_MQTT_UNIX"])
        raw.sendall(connect("local", user="local", password=key.encode()))
        assert raw.recv(4) == CONNACK_OK
        raw.sendall(publish("relevo/local/telemetry", b'{"v": 1}', qos=1))
        assert raw.recv(4) == b"\x40\x02\x00\x01"


def proxy_header(address: str, command: int = 1) -> bytes:
    body = socket.inet_aton(address) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 4000, 1883)
    return b"\r\n\r\n\x00\r\nQUIT\n" + struct.pack("!BBH", 0x20 | command, 0x11, len(body)) + body


def test_behind_a_balancer_the_real_address_is_known(tmp_path: Path) -> None:
    env = {"RELEVO_PROFILE": "lab", "RELEVO_MQTT_PROXY_FROM": "127.0.0.1"}
    with RunningServer(tmp_path / "data", env=env) as server:
        with Raw(server.mqtt_port) as near:
            near.send_slowly(proxy_header("10.1.2.3") + connect("near"))
            near.expect(CONNACK_OK)
            near.send(publish("relevo/near/telemetry", b'{"v": 1}', qos=1))
            near.expect(b"\x40\x02\x00\x01")
        # Open switches hold for private networks only, whoever stands between.
        with Raw(server.mqtt_port, proxy_header("203.0.113.9") + connect("far")) as far:
            far.expect(b"\x20\x02\x00\x05")
        with Raw(server.mqtt_port, connect("no header at all")) as bare:
            bare.expect_closed()
        lines = server.api.get("/api/v1/devices/near/timeline").json()["items"]
        assert {one["address"] for one in lines if one["kind"] == "connected"} == {"10.1.2.3"}
        reasons = {one["reason"] for one in server.api.get("/api/v1/system/timeline").json()["items"]}
        assert {"anonymous_not_private", "proxy_header"} <= reasons
