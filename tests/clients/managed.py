"""Speaking contract emqx the way its operators and boards do: requests for the scripts, paho for the boards."""

import itertools
import json
import time
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
import requests
from paho.mqtt.enums import CallbackAPIVersion

from tests.journeys.live import eventually
from tests.running import ADMIN_PASSWORD, RunningServer

PASSWORD = "a-long-enough-one"
_numbers = itertools.count(1)


def fresh(word: str) -> str:
    """A name that no other test uses."""
    return f"{word}_{next(_numbers):03d}"


class Script:
    """An operator's script: signs in over the contract and keeps its token."""

    def __init__(self, server: RunningServer, username: str = "admin", password: str = ADMIN_PASSWORD) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.trust_env = False
        answer = self.post("auth/login/", {"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        self.signed_in = answer.json()
        self.token = server.canaries.plant(self.signed_in["access"])
        server.canaries.plant(self.signed_in["refresh"])
        self.session.headers["Authorization"] = f"Bearer {self.token}"

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        address = f"{self.server.http}/api/{path}"
        return self.session.request(method, address, json=body, timeout=20, allow_redirects=False, **more)

    def get(self, path: str, **params: Any) -> requests.Response:
        return self.ask("GET", path, params=params)

    def post(self, path: str, body: Any = None) -> requests.Response:
        return self.ask("POST", path, body if body is not None else {})

    def patch(self, path: str, body: Any) -> requests.Response:
        return self.ask("PATCH", path, body)

    def delete(self, path: str) -> requests.Response:
        return self.ask("DELETE", path)

    def make(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.post(path, body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def device(self, **more: Any) -> dict[str, Any]:
        """A device with an MQTT client id of its own."""
        name = fresh("ESP32")
        body = {"nombre": name, "tipo": "esp32", "identificador_unico": f"uid-{name}", "mqtt_client_id": name}
        return self.make("devices/", **body | {"mqtt_enabled": True} | more)

    def sensor(self, device: dict[str, Any], key: str, **more: Any) -> int:
        """A sensor with this topic suffix, assigned to ``device``."""
        body = {"nombre": key, "tipo": "otro", "mqtt_topic_suffix": key, "unidad_medida": "u"} | more
        number: int = self.make("sensors/", **body)["id"]
        assert self.post(f"devices/{device['id']}/assign-sensor/", {"sensor_id": number}).status_code == 201
        return number

    def board(self, device: dict[str, Any], start: bool = True, **more: Any) -> "Board":
        """An account for ``device``, and the board that uses it."""
        password = self.server.canaries.plant(fresh("board-password"))
        body = {"dispositivo": device["id"], "client_id": device["mqtt_client_id"], "username": fresh("device")}
        account = self.make("mqtt/credentials/", **body | {"password": password} | more)
        return Board(self.server, device["mqtt_client_id"], account["username"], password, start=start)

    def readings(self, device: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        """All readings of ``device``, oldest first."""
        answer = self.get("readings/", dispositivo=device["id"], ordering="id", **more)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["results"]
        return found

    def status(self, device: dict[str, Any]) -> str:
        return str(self.get(f"devices/{device['id']}/").json()["connection_status"])


class Board:
    """A board with paho, version 2 of its callbacks; ``say`` is back when the server has acknowledged."""

    def __init__(
        self,
        server: RunningServer,
        client_id: str,
        username: str = "",
        password: str = "",
        *,
        will: tuple[str, str] | None = None,
        start: bool = True,
        transport: Any = "tcp",
    ) -> None:
        self.id = client_id
        self.got: list[paho.MQTTMessage] = []
        self.granted: list[Any] = []
        self.refused = ""
        self._server = server
        self._account = (username, password)
        self._transport = transport
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, transport=transport)
        if username:
            self.client.username_pw_set(username, password)
        if will is not None:
            self.client.will_set(*will, qos=1, retain=True)
        self.client.on_message = lambda client, _, message: self.got.append(message)
        self.client.on_subscribe = lambda client, _, mid, codes, properties: self.granted.append(codes)
        self.client.on_connect = self._connected
        if start:
            self.connect()

    def _connected(self, client: paho.Client, _: Any, flags: Any, code: Any, properties: Any) -> None:
        self.refused = str(code) if code.is_failure else ""

    def connect(self) -> Self:
        port = self._server.http_port if self._transport == "websockets" else self._server.mqtt_port
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        eventually(lambda: self.client.is_connected() or self.refused, 10)
        return self

    def again(self) -> "Board":
        """The same board after a restart."""
        return Board(self._server, self.id, *self._account, transport=self._transport)

    def say(self, topic: str, body: Any, qos: int = 1, retain: bool = False) -> None:
        payload = body if isinstance(body, bytes | str) else json.dumps(body)
        sent = self.client.publish(topic, payload, qos=qos, retain=retain)
        sent.wait_for_publish(10)
        assert sent.is_published()

    def measure(self, body: Any, qos: int = 1, retain: bool = False) -> None:
        self.say(f"iot/sensors/{self.id}/data", body, qos, retain)

    def listen(self, *filters: str) -> list[bool]:
        """Subscribe each filter; which of them were granted."""
        found = []
        for one in filters:
            before = len(self.granted)
            self.client.subscribe(one, 2)
            eventually(lambda at=before: len(self.granted) > at)
            found.append(not self.granted[-1][0].is_failure)
        return found

    def hears(self, fits: Any = lambda message: True, seconds: float = 5.0) -> paho.MQTTMessage:
        found: paho.MQTTMessage = eventually(lambda: next((one for one in list(self.got) if fits(one)), None), seconds)
        return found

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self) -> None:
        """Without a good-bye, as when power fails."""
        self.client.loop_stop()
        socket = self.client.socket()
        assert socket is not None
        socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def turned_away(server: RunningServer, client_id: str, username: str = "", password: str = "") -> bool:
    """Whether the door refuses somebody who comes with this."""
    with Board(server, client_id, username, password) as board:
        return bool(board.refused)


def now_s() -> int:
    return int(time.time())
