"""A relay board of somebody who read half of the manual: it executes every command that arrives, and remembers."""

import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.journeys.live import eventually
from tests.running import RunningServer

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


def obey(command: dict[str, Any]) -> dict[str, Any]:
    """Everything works."""
    return {"id": command["id"], "ok": True, "result": command["params"]}


class Board:
    """A paho client as a native device. ``answer`` makes the answer to a command, ``None`` keeps silent."""

    def __init__(
        self, server: RunningServer, device: str, key: str, answer: Answer | None = obey, clean: bool = True
    ) -> None:
        self._server, self.device, self._key, self.answer, self._clean = server, device, key, answer, clean
        # Every command that arrived with the time it did, repetitions too.
        self.executed: list[tuple[float, dict[str, Any]]] = []
        self.subscribed = threading.Event()
        self.client = self._new()

    def _new(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self.device, clean_session=self._clean, protocol=paho.MQTTv311
        )
        client.username_pw_set(self.device, self._key)
        client.on_connect = self._connected
        client.on_subscribe = lambda *_: self.subscribed.set()
        client.on_message = self._commanded
        client.reconnect_delay_set(1, 1)
        return client

    def _connected(self, client: paho.Client, *_: object) -> None:
        client.subscribe(f"relevo/{self.device}/command", 1)

    def _commanded(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        command = json.loads(message.payload)
        self.executed.append((time.time(), command))
        answer = self.answer(command) if self.answer is not None else None
        if answer is not None:
            client.publish(f"relevo/{self.device}/response", json.dumps(answer), qos=1)

    def connect(self) -> None:
        """Connect, and return once the subscription stands."""
        self.subscribed.clear()
        # paho leaks a socket when a client's loop is started a second time.
        self.client = self._new()
        self.client.connect("127.0.0.1", self._server.mqtt_port, keepalive=30)
        self.client.loop_start()
        assert self.subscribed.wait(10), "not subscribed"

    def disconnect(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def names(self) -> list[str]:
        """What was executed, in its order."""
        return [command["name"] for _, command in self.executed]

    def saw(self, count: int) -> None:
        eventually(lambda: len(self.executed) >= count, 10)

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.disconnect()
