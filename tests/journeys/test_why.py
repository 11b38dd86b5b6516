"""Why does my board not appear? Each cause is staged over real sockets; the answer has to name it and what helps.

The list is that of ``docs/troubleshooting.md``.
"""

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from relevo.domain.reasons import REASONS, advice_for
from tests.conformance.raw import Raw, connect, publish, subscribe
from tests.journeys.live import eventually
from tests.running import RunningServer

REPOSITORY = Path(__file__).parent.parent.parent
PACKET_BYTES = 2_048


class Cause(NamedTuple):
    """``reason`` has to be found in ``part`` of the answer about ``about``."""

    about: str
    part: str
    reason: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {
        "RELEVO_LIMITS__PACKET_BYTES": str(PACKET_BYTES),
        "RELEVO_LIMITS__CONNECT_TIMEOUT_S": "0.3",
        "RELEVO_LIMITS__SUBSCRIPTIONS": "3",
        "RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_DEVICE": "5",
    }
    with RunningServer(tmp_path_factory.mktemp("why") / "data", env=env) as one:
        yield one


def said(server: RunningServer, about: str) -> dict[str, Any]:
    answer = server.api.get("/api/v1/why", params={"about": about})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def board(server: RunningServer, device: str, key: str, *packets: bytes, **more: Any) -> None:
    """A board that connects, sends and listens until it is left alone or thrown out."""
    options = {"user": device, "password": key.encode()} | more
    with Raw(server.mqtt_port, connect(options.pop("client_id", device), **options)) as raw:
        raw.send(*packets)
        with contextlib.suppress(AssertionError, OSError):
            while raw.packet(0.4):
                pass


def spoken(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=3) as raw:
        raw.sendall(data)
        with contextlib.suppress(OSError):
            raw.recv(100)


HERE = "127.0.0.1"
Stage = Callable[[RunningServer], Cause]


def http_spoken_to_the_mqtt_port(server: RunningServer) -> Cause:
    spoken(server.mqtt_port, b"POST /api/v1/devices/x/telemetry HTTP/1.1\r\nHost: x\r\n\r\n")
    return Cause(HERE, "door", "http_on_mqtt_port")


def mqtt_spoken_to_the_http_port(server: RunningServer) -> Cause:
    spoken(server.http_port, connect("board"))
    return Cause(HERE, "door", "mqtt_on_http_port")


def tls_spoken_to_the_plain_mqtt_port(server: RunningServer) -> Cause:
    context = ssl.create_default_context()
    with socket.create_connection((HERE, server.mqtt_port), timeout=3) as raw, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(raw, server_hostname="localhost")
    return Cause(HERE, "door", "tls_on_mqtt_port")


def tls_spoken_to_the_plain_http_port(server: RunningServer) -> Cause:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"https://127.0.0.1:{server.http_port}/", trust_env=False)
    return Cause(HERE, "door", "tls_on_http_port")


def connection_that_says_nothing(server: RunningServer) -> Cause:
    with socket.create_connection((HERE, server.mqtt_port), timeout=3) as raw:
        assert raw.recv(1) == b""
    return Cause(HERE, "door", "connect_timeout")


def wrong_key_over_mqtt(server: RunningServer) -> Cause:
    server.register("wrong-key")
    board(server, "wrong-key", "not-the-key-of-this-device")
    return Cause("wrong-key", "story", "bad_credentials")


def wrong_key_over_http(server: RunningServer) -> Cause:
    server.register("wrong-http")
    headers = {"Authorization": "Bearer not-the-key-of-this-device"}
    path = f"{server.http}/api/v1/devices/wrong-http/telemetry"
    assert httpx.post(path, json={"v": 1}, headers=headers, trust_env=False).status_code == 401
    return Cause("wrong-http", "story", "bad_credentials")


def key_of_a_removed_device(server: RunningServer) -> Cause:
    key = server.register("removed")
    server.api.delete("/api/v1/devices/removed")
    board(server, "removed", key)
    return Cause("removed", "door", "unknown_device")


def user_name_that_is_no_device(server: RunningServer) -> Cause:
    server.register("kitchen-lamp")
    board(server, "Kitchen-Lamp", "whatever-it-is")
    return Cause("Kitchen-Lamp", "door", "unknown_device")


def no_user_name_at_all(server: RunningServer) -> Cause:
    with Raw(server.mqtt_port, connect("anonymous-board")) as raw:
        raw.expect(b"\x20\x02\x00\x05")
    return Cause(HERE, "door", "anonymous_closed")


def topic_of_another_device(server: RunningServer) -> Cause:
    key = server.register("mistaken")
    board(server, "mistaken", key, publish("relevo/other/telemetry", b'{"v":1}', qos=1, packet_id=1))
    return Cause("mistaken", "story", "topic_not_allowed")


def filter_with_a_wildcard(server: RunningServer) -> Cause:
    key = server.register("curious")
    board(server, "curious", key, subscribe(("relevo/#", 0)))
    return Cause("curious", "story", "filter_not_allowed")


def last_will_elsewhere(server: RunningServer) -> Cause:
    key = server.register("willing")
    board(server, "willing", key, will=("home/willing", b"gone", 0, False))
    return Cause("willing", "story", "will_not_allowed")


def payload_that_is_no_json(server: RunningServer) -> Cause:
    key = server.register("talker")
    board(server, "talker", key, publish("relevo/talker/telemetry", b'{"t":21,}', qos=1, packet_id=1))
    return Cause("talker", "story", "json_malformed")


def value_that_is_nan(server: RunningServer) -> Cause:
    key = server.register("sensor-nan")
    board(server, "sensor-nan", key, publish("relevo/sensor-nan/telemetry", b'{"t":null}', qos=1, packet_id=1))
    return Cause("sensor-nan", "story", "value_null")


def packet_beyond_the_limit(server: RunningServer) -> Cause:
    key = server.register("large")
    body = json.dumps({"text": "x" * PACKET_BYTES}).encode()
    board(server, "large", key, publish("relevo/large/telemetry", body, qos=1, packet_id=1))
    return Cause("large", "story", "packet_too_large")


def client_id_of_somebody_else(server: RunningServer) -> Cause:
    first, second = server.register("one-of-two"), server.register("two-of-two")
    with Raw(server.mqtt_port, connect("esp32", user="one-of-two", password=first.encode())) as raw:
        raw.packet()
        board(server, "two-of-two", second, client_id="esp32")
    return Cause("two-of-two", "story", "client_id_taken")


def two_boards_with_one_client_id_and_key(server: RunningServer) -> Cause:
    key = server.register("cloned")
    with Raw(server.mqtt_port, connect("cloned", user="cloned", password=key.encode())) as raw:
        raw.packet()
        board(server, "cloned", key)
    return Cause("cloned", "story", "taken_over")


def clock_in_1970(server: RunningServer) -> Cause:
    key = server.register("timeless")
    reading = json.dumps({"ts": 184_233, "values": {"t": 21}}).encode()
    board(server, "timeless", key, publish("relevo/timeless/telemetry", reading, qos=1, packet_id=1))
    return Cause("timeless", "story", "clock_boot_relative")


def name_that_a_foreign_page_pointed_here(server: RunningServer) -> Cause:
    answer = httpx.get(f"{server.http}/api/current", headers={"Host": "rebound.example"}, trust_env=False)
    assert answer.status_code == 421
    return Cause("rebound.example", "door", "host_not_trusted")


def meter_that_nobody_claimed(server: RunningServer) -> Cause:
    with Raw(server.mqtt_port, connect("bridge", user="admin", password=b"correct-horse-battery-staple")) as raw:
        raw.packet()
        reading = b'{"totalLiters":5,"flowLmin":1,"numeroSerie":"HX-77"}'
        raw.send(publish("hidrometro/dados", reading, qos=1, packet_id=1))
        raw.packet()
    return Cause("hx-77", "unclaimed", "unclaimed")


def readings_for_a_device_that_does_not_exist(server: RunningServer) -> Cause:
    assert server.api.post("/api/v1/devices/mistyped/telemetry", json={"v": 1}).status_code == 404
    return Cause("mistyped", "door", "device_unknown")


def board_that_asks_too_often(server: RunningServer) -> Cause:
    headers = {"Authorization": f"Bearer {server.register('hasty')}"}
    for _ in range(7):
        httpx.post(f"{server.http}/api/v1/devices/hasty/telemetry", json={"v": 1}, headers=headers, trust_env=False)
    return Cause("hasty", "story", "too_many_requests")


def too_many_wrong_keys(server: RunningServer) -> Cause:
    server.register("stubborn")
    for _ in range(11):
        board(server, "stubborn", "wrong-all-the-time")
    return Cause("stubborn", "story", "too_many_attempts")


def library_that_speaks_no_mqtt(server: RunningServer) -> Cause:
    key = server.register("broken")
    board(server, "broken", key, b"\xf0\x00\x00")
    return Cause("broken", "story", "protocol_error")


def board_that_falls_silent(server: RunningServer) -> Cause:
    key = server.register("sleeper")
    with Raw(server.mqtt_port, connect("sleeper", user="sleeper", password=key.encode(), keep_alive=1)) as raw:
        raw.packet()
        assert raw.packet() == b""
    return Cause("sleeper", "story", "keep_alive")


STAGES: tuple[Stage, ...] = (
    http_spoken_to_the_mqtt_port,
    mqtt_spoken_to_the_http_port,
    tls_spoken_to_the_plain_mqtt_port,
    tls_spoken_to_the_plain_http_port,
    connection_that_says_nothing,
    wrong_key_over_mqtt,
    wrong_key_over_http,
    key_of_a_removed_device,
    user_name_that_is_no_device,
    no_user_name_at_all,
    topic_of_another_device,
    filter_with_a_wildcard,
    last_will_elsewhere,
    payload_that_is_no_json,
    value_that_is_nan,
    packet_beyond_the_limit,
    client_id_of_somebody_else,
    two_boards_with_one_client_id_and_key,
    clock_in_1970,
    name_that_a_foreign_page_pointed_here,
    meter_that_nobody_claimed,
    readings_for_a_device_that_does_not_exist,
    board_that_asks_too_often,
    too_many_wrong_keys,
    library_that_speaks_no_mqtt,
    board_that_falls_silent,
)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_the_cause_is_named_with_what_helps(server: RunningServer, stage: Stage) -> None:
    cause = stage(server)

    def lines() -> list[dict[str, Any]]:
        return [
            one for one in said(server, cause.about)[cause.part] if cause.reason in (one["reason"], one.get("kind"))
        ]

    eventually(lambda: bool(lines()), 40)
    found = said(server, cause.about)
    advice = advice_for(lines()[0].get("kind", ""), cause.reason)
    assert advice is not None
    assert lines()[0]["do"] == advice.do
    # Not only listed: it is the answer. Several causes share this machine's address, so there the newest is.
    if cause.about != HERE:
        assert advice.do in found["verdict"], found["verdict"]


def test_a_name_that_nobody_ever_used_gets_the_advice_to_look_at_the_network(server: RunningServer) -> None:
    found = said(server, "never-heard-of")
    assert "Nothing has reached this server as never-heard-of" in found["verdict"]
    assert (found["device"], found["story"], found["unclaimed"], found["door"]) == (None, [], [], [])


def test_a_device_that_does_well_is_told_so(server: RunningServer) -> None:
    key = server.register("healthy")
    with Raw(server.mqtt_port, connect("healthy", user="healthy", password=key.encode())) as raw:
        raw.packet()
        raw.send(publish("relevo/healthy/telemetry", b'{"t":21}', qos=1, packet_id=1))
        raw.packet()
        assert said(server, "healthy")["verdict"].startswith("healthy is online, last heard 20")
        assert said(server, "healthy")["verdict"].endswith("Nothing of it was refused.")


def test_others_see_neither_a_foreign_device_nor_the_door(server: RunningServer) -> None:
    server.register("private-one")
    body = {"name": "curious-person", "password": "a-long-enough-one", "role": "operator"}
    assert server.api.post("/api/v1/users", json=body).status_code == 201
    with httpx.Client(base_url=server.http, trust_env=False) as client:
        login = {"username": "curious-person", "password": "a-long-enough-one"}
        token = client.post("/api/v1/auth/login", json=login).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        for about in ("private-one", HERE):
            found = client.get("/api/v1/why", params={"about": about}).json()
            assert (found["device"], found["story"], found["door"]) == (None, [], [])


def test_every_reason_has_advice_in_whole_sentences() -> None:
    for reason, advice in REASONS.items():
        assert advice.means.endswith("."), reason
        assert advice.do.endswith((".", "…")), reason
