"""A relay board of contract autocore on a paho client: in one of its dialects, with relays that remember."""

import json
import threading
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.journeys.live import eventually
from tests.running import RunningServer


class RelayBoard:
    """Registers itself, or takes what is registered, and speaks ``seed``, ``old`` or ``v2``.

    ``answers`` is whether it says what its relays do. It knows nothing of the server beside its contract.
    """

    def __init__(
        self,
        server: RunningServer,
        uuid: str,
        speech: str = "seed",
        relays: int = 8,
        account: tuple[str, str] | None = None,
    ) -> None:
        self.server, self.uuid, self.speech = server, uuid, speech
        self.root = f"autocore/devices/{uuid}"
        self.id = f"ac-{uuid}"
        self.answers = True
        self.relays = dict.fromkeys(range(1, relays + 1), False)
        self.heard: list[tuple[str, Any, int, bool]] = []
        self._subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=uuid, protocol=paho.MQTTv311)
        if account is not None:
            self.client.username_pw_set(*account)
        gone = json.dumps({"status": "offline", "reason": "lwt"})
        self.client.will_set(f"{self.root}/status", gone, qos=1, retain=True)
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._told

    def register(self) -> Self:
        body = {"uuid": self.uuid, "name": self.uuid, "type": "esp32_relay", "relay_channels": len(self.relays)}
        answer = self.server.api.post("/api/devices", json=body)
        assert answer.status_code == 201, answer.text
        return self

    def connect(self) -> Self:
        self.client.connect("127.0.0.1", self.server.mqtt_port)
        self.client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def _connected(self, client: paho.Client, *_: object) -> None:
        heard = ("relays/set", "relays/heartbeat", "commands/+") if self.speech == "v2" else ("command",)
        client.subscribe([(f"{self.root}/{one}", 1) for one in heard])

    def say(self, where: str, /, retain: bool = False, **body: Any) -> None:
        topic = f"{self.root}/{where}"
        self.client.publish(topic, json.dumps(body), qos=1, retain=retain).wait_for_publish(10)

    def announce(self) -> None:
        self.say("announce", retain=True, uuid=self.uuid, type="esp32_relay")

    def status(self) -> None:
        more: dict[str, Any] = {}
        if self.speech == "old":
            more = {"relay_states": [int(on) for on in self.relays.values()]}
        elif self.speech == "v2":
            more = {"protocol_version": "2.2.0"}
        self.say("status", status="online", uptime=1, **more)

    def _told(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload)
        self.heard.append((message.topic, body, message.qos, message.retain))
        channel = message.topic.removeprefix(f"{self.root}/")
        if self.speech == "v2" and channel == "relays/set":
            self.relays[body["channel"]] = body["state"]
            if self.answers:
                self._publish("relays/state", protocol_version="2.2.0", channel=body["channel"], state=body["state"])
        elif self.speech == "old" and body.get("command") in ("relay_on", "relay_off"):
            self.relays[body["channel"] + 1] = body["command"] == "relay_on"
            if self.answers:
                self._publish("status", status="online", relay_states=[int(on) for on in self.relays.values()])
        elif self.speech == "seed" and body.get("type") == "relay":
            self.relays[body["channel"]] = body["state"]
            if self.answers:
                self._publish("response", type="relay_response", channel=body["channel"], state=body["state"])
        elif self.speech == "seed" and body.get("type") == "ping":
            self._publish("response", type="pong", timestamp=734512)

    def _publish(self, where: str, /, **body: Any) -> None:
        self.client.publish(f"{self.root}/{where}", json.dumps(body), qos=1)

    def commands(self) -> list[Any]:
        """The bodies that it heard, heartbeats left out, without identifiers."""
        found = [body for topic, body, _, _ in self.heard if not topic.endswith("heartbeat")]
        return [{name: value for name, value in body.items() if name != "request_id"} for body in found]

    def hears(self, count: int) -> list[Any]:
        eventually(lambda: len(self.commands()) >= count, 15)
        return self.commands()

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.api.get(f"/api/v1/devices/{self.id}").json()
        return found

    def switch(self, channel: int, state: bool = True, **more: Any) -> Any:
        body = {"name": "relay", "params": {"channel": channel, "state": state}, **more}
        return self.server.api.post(f"/api/v1/devices/{self.id}/commands", json=body)

    def command(self, taken: Any, wait: float = 10) -> dict[str, Any]:
        """What became of an accepted command."""
        assert taken.status_code == 202, taken.text
        path = f"/api/v1/devices/{self.id}/commands/{taken.json()['id']}?wait={wait}"
        found: dict[str, Any] = self.server.api.get(path).json()
        return found

    def vanish(self) -> None:
        """The connection breaks."""
        sock = self.client.socket()
        assert sock is not None
        self.client.reconnect_delay_set(60, 60)
        sock.shutdown(2)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
