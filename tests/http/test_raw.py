"""What a device sends and gets, seen as it comes by who may control it, without secrets and while they look."""

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest

from relevo.clock import ManualClock
from relevo.errors import TooMany
from relevo.raw import QUEUE, SHOWN_BYTES, WATCHERS_MOST, Raw, shown
from tests.http.problems import problem
from tests.journeys.live import eventually, frames
from tests.running import RunningServer

Seen = list[dict[str, Any]]


@contextmanager
def watching(server: RunningServer, device: str, token: str = "") -> Iterator[Seen]:
    found: Seen = []
    client = httpx.Client(timeout=httpx.Timeout(10, read=60), trust_env=False)
    headers = {"Authorization": f"Bearer {token or server.token}"}
    context = client.stream("GET", f"{server.http}/api/v1/devices/{device}/raw", headers=headers)
    response = context.__enter__()
    assert response.status_code == 200
    lines = response.iter_lines()
    assert next(lines).startswith("retry:")

    def collect() -> None:
        try:
            for one in events:
                found.append(one["data"])
        except (httpx.HTTPError, httpx.StreamError):
            return

    events = frames(lines)
    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        client.close()
        thread.join(5)


@contextmanager
def connected(server: RunningServer, device: str, key: str) -> Iterator[paho.Client]:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=device, protocol=paho.MQTTv5)
    client.username_pw_set(device, key)
    ready = threading.Event()
    client.on_connect = lambda *_: ready.set()
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    assert ready.wait(10)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def one(seen: Seen, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    found: dict[str, Any] = eventually(lambda: next((each for each in list(seen) if fits(each)), None), 10)
    return found


def test_mqtt_is_seen_with_what_became_of_it(server: RunningServer, name: str) -> None:
    key = server.register(name)
    topic = f"relevo/{name}/telemetry"
    with watching(server, name) as seen, connected(server, name, key) as client:
        client.subscribe(f"relevo/{name}/command", 1)
        client.publish(topic, '{"v": 21.5}', 1).wait_for_publish(10)
        stored = one(seen, lambda each: each["text"] == '{"v": 21.5}')
        assert stored | {"at": 0} == {
            "at": 0,
            "direction": "in",
            "via": "mqtt",
            "where": topic,
            "qos": 1,
            "retained": False,
            "text": '{"v": 21.5}',
            "encoding": "utf-8",
            "length": 11,
            "verdict": "stored",
            "reason": "",
        }
        client.publish(topic, b"\xff\x00not json", 1).wait_for_publish(10)
        refused = one(seen, lambda each: each["verdict"] == "refused")
        assert (refused["encoding"], refused["text"]) == ("hex", b"\xff\x00not json".hex())
        assert refused["reason"]
        client.publish("relevo/somebody-else/telemetry", '{"v": 1}', 1).wait_for_publish(10)
        assert one(seen, lambda each: "somebody-else" in each["where"])["reason"] == "topic_not_allowed"
        long = '{"v": "' + "x" * 5_000 + '"}'
        client.publish(topic, long, 1).wait_for_publish(10)
        cut = one(seen, lambda each: each["length"] == len(long))
        assert len(cut["text"]) == SHOWN_BYTES
        server.api.post(f"/api/v1/devices/{name}/commands", json={"name": "blink", "params": {"n": 3}})
        told = one(seen, lambda each: each["direction"] == "out")
        assert (told["where"], told["verdict"]) == (f"relevo/{name}/command", "sent")
        assert '"blink"' in told["text"]
    # Its key is in nothing of it, nor the connection's packet.
    assert key not in str(seen)


def test_http_is_seen_without_headers_and_without_secrets(server: RunningServer, name: str) -> None:
    key = server.register(name)
    path = f"/api/v1/devices/{name}"
    basic = {"Authorization": "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()}
    with watching(server, name) as seen, httpx.Client(base_url=server.http, trust_env=False, headers=basic) as device:
        body = b'{"v": 1, "note": "token=a-made-up-one"}'
        assert device.post(f"{path}/telemetry", content=body).status_code == 200
        stored = one(seen, lambda each: each["where"] == f"POST {path}/telemetry")
        assert (stored["direction"], stored["via"], stored["verdict"]) == ("in", "http", "stored")
        assert '"v": 1' in stored["text"]
        assert "[redacted]" in stored["text"]
        assert device.post(f"{path}/telemetry", content=b"{").status_code == 400
        refused = one(seen, lambda each: each["verdict"] == "refused")
        assert refused["reason"]
        server.api.post(f"{path}/commands", json={"name": "wink"})
        device.get(f"{path}/commands/next")
        told = one(seen, lambda each: each["direction"] == "out" and "wink" in each["text"])
        assert told["where"] == f"200 {path}/commands/next"
        # What a person asks of it is none of its messages.
        server.api.get(path)
        server.api.post("/api/v1/telemetry", json=[{"device": name, "values": {"v": 7}}])
        one(seen, lambda each: each["where"] == "POST /api/v1/telemetry")
        assert not [each for each in seen if each["where"].endswith(path)]
    assert key not in str(seen)
    assert "Basic" not in str(seen)


def test_it_is_for_who_may_control_the_device_and_ends_with_that(server: RunningServer, name: str) -> None:
    key = server.register(name)
    person, password = f"p-{name}", "a-long-enough-one"
    server.api.post("/api/v1/users", json={"name": person, "password": password, "role": "operator"})
    answer = httpx.post(
        f"{server.http}/api/v1/auth/login", json={"username": person, "password": password}, trust_env=False
    )
    token = answer.json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    path = f"{server.http}/api/v1/devices/{name}/raw"
    problem(httpx.get(path, headers=headers, trust_env=False), 404)
    grants = f"/api/v1/devices/{name}/grants"
    looks = server.api.post(grants, json={"account": person, "level": "view"}).json()
    problem(httpx.get(path, headers=headers, trust_env=False), 403)
    server.api.delete(f"{grants}/{looks['id']}")
    steers = server.api.post(grants, json={"account": person, "level": "control"}).json()
    with watching(server, name, token) as seen:
        server.api.post(f"/api/v1/devices/{name}/telemetry", json={"v": 1})
        one(seen, lambda each: each["text"] == '{"v":1}')
        server.api.delete(f"{grants}/{steers['id']}")
        server.api.post(f"/api/v1/devices/{name}/telemetry", json={"v": 2})
        problem(httpx.get(path, headers=headers, trust_env=False), 404)
    assert '{"v":2}' not in [each["text"] for each in seen]
    problem(httpx.get(path, headers={"Authorization": f"Bearer {key}"}, trust_env=False), 401)


# The watcher itself


@pytest.mark.parametrize(
    ("payload", "cut", "wanted"),
    [
        (b"", False, ("", "utf-8")),
        ("é".encode(), False, ("é", "utf-8")),
        ("aé".encode()[:2], True, ("a", "utf-8")),
        ("aé".encode()[:2], False, ("61c3", "hex")),
        (b"\xff", True, ("", "utf-8")),
        (b"\xff\xff\xff\xff\xffabcd", True, ("ffffffffff61626364", "hex")),
        (b'{"device_token": "abcdef"}', False, ('{"device_token": "[redacted]"}', "utf-8")),
    ],
)
def test_bytes_are_shown_as_text_where_they_are(payload: bytes, cut: bool, wanted: tuple[str, str]) -> None:
    assert shown(payload, cut) == wanted


async def test_who_is_slow_loses_the_oldest_and_is_told() -> None:
    raw = Raw(ManualClock())
    watcher = raw.watch("d")
    for n in range(QUEUE + 5):
        raw.show(("d", "other"), raw.message("in", "mqtt", "t", str(n).encode(), 1, "stored"))
    found, missed = await watcher.take(1)
    assert ([each.text for each in found], missed) == ([str(n) for n in range(5, QUEUE + 5)], 5)
    raw.end(watcher)
    raw.end(watcher)
    assert raw.watched == {}


async def test_there_are_only_so_many_watchers() -> None:
    raw = Raw(ManualClock())
    for n in range(WATCHERS_MOST):
        raw.watch(str(n % 3))
    with pytest.raises(TooMany):
        raw.watch("x")
