"""What tests of water meters share: meters with paho, Socket.IO clients of python-socketio, and who asks over HTTP."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx
import paho.mqtt.client as paho
import socketio

from tests.running import ADMIN_PASSWORD, RunningServer

PASSWORD = "quiet-harbour-water-7"


class Meter:
    """Firmware with paho: publishes at QoS 1 unless told otherwise, and hears its command topics."""

    def __init__(self, server: RunningServer, *topics: str, user: str = "", key: str = "") -> None:
        self.heard: list[tuple[str, Any, int, bool]] = []
        self._ready = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        if user:
            self.client.username_pw_set(user, key)
        self.client.on_message = self._hear
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.connect("127.0.0.1", server.mqtt_port)
        self.client.loop_start()
        if topics:
            self.client.subscribe([(topic, 1) for topic in topics])
            assert self._ready.wait(10)

    def _hear(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, json.loads(message.payload), message.qos, message.retain))

    def say(self, topic: str = "hidrometro/dados", qos: int = 1, **body: Any) -> None:
        info = self.client.publish(topic, json.dumps(body), qos=qos)
        info.wait_for_publish(10)
        assert info.is_published()

    def read(self, serial: str | None, total: float, flow: float = 1.0, qos: int = 1, **more: Any) -> None:
        body = {"totalLiters": total, "flowLmin": flow} | more
        self.say(qos=qos, **(body | ({"numeroSerie": serial} if serial else {})))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Watcher:
    """A client of python-socketio; ``events`` in the order in which they came."""

    def __init__(self, url: str, transport: str = "websocket", auth: Any = None, **headers: str) -> None:
        self.events: list[tuple[str, Any]] = []
        self.refused: list[Any] = []
        self.ended = threading.Event()
        self._changed = threading.Condition()
        self._client = socketio.Client(reconnection=False)
        for name in ("history:init", "data", "alert"):
            self._client.on(name, lambda body, name=name: self._note(name, body))
        self._client.on("connect_error", self.refused.append)
        self._client.on("disconnect", lambda *_: self.ended.set())
        self._client.connect(url, transports=[transport], auth=auth, headers=headers, wait_timeout=10)

    def _note(self, name: str, body: Any) -> None:
        with self._changed:
            self.events.append((name, body))
            self._changed.notify_all()

    def of(self, name: str) -> list[Any]:
        with self._changed:
            return [body for kind, body in self.events if kind == name]

    def wait(self, good: Callable[[list[tuple[str, Any]]], Any], seconds: float = 10.0) -> Any:
        """What ``good`` says of the events, once that is true."""
        with self._changed:
            assert self._changed.wait_for(lambda: good(self.events), seconds), self.events
            return good(self.events)

    def wait_total(self, total: float) -> Any:
        return self.wait(
            lambda events: next((one for name, one in events if name == "data" and one["totalLiters"] == total), None)
        )

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._client.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sign_in(server: RunningServer, name: str = "admin", password: str = ADMIN_PASSWORD) -> httpx.Client:
    """A program that signed in the contract's way."""
    answer = httpx.post(f"{server.http}/api/login", json={"username": name, "password": password}, trust_env=False)
    assert answer.status_code == 200, answer.text
    token = server.canaries.plant(answer.json()["token"])
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=server.http, headers=headers, trust_env=False, timeout=20)


def person(server: RunningServer, name: str, role: str = "viewer") -> httpx.Client:
    """Somebody new who signed in the contract's way."""
    made = server.api.post("/api/v1/users", json={"name": name, "password": PASSWORD, "role": role})
    assert made.status_code == 201, made.text
    return sign_in(server, name, PASSWORD)


def browser(server: RunningServer) -> httpx.Client:
    """The administrator's browser: a session cookie, and the origin that browsers send with a form."""
    headers = {"Origin": server.http, "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    cookies = {"relevo_session": server.cookie}
    return httpx.Client(base_url=server.http, headers=headers, cookies=cookies, trust_env=False, timeout=20)


def claim(server: RunningServer, serial: str, **attributes: Any) -> str:
    """Register a meter; its device id."""
    made = server.api.post("/api/v1/claims", json={"contract": "hidrometro", "external_id": serial})
    assert made.status_code == 201, made.text
    device = str(made.json()["id"])
    if attributes:
        changed = server.api.patch(f"/api/v1/devices/{device}", json={"attributes": attributes})
        assert changed.status_code == 200, changed.text
    return device


def rows(server: RunningServer, device: str, key: str = "totalLiters") -> list[float]:
    """The stored values of a meter, oldest first."""
    return [value for _, value in server.points(device, key, 0, int(time.time() * 1000) + 86_400_000)]
