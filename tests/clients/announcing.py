"""Speaking contract alchemy the way its devices and apps do: paho for messages, requests for the live stream."""

import json
import threading
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
import requests
from paho.mqtt.enums import CallbackAPIVersion

from tests.journeys.live import eventually
from tests.running import RunningServer

TEN = (
    "id", "serial_number", "nombre", "tipo", "modelo", "descripcion", "estado", "parametros", "configuracion",
    "reclamado",
)  # fmt: skip


class Publisher:
    """A device without an account, or with one; ``say`` is back when the server has acknowledged."""

    def __init__(self, server: RunningServer, username: str = "", password: str = "") -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if username:
            self._client.username_pw_set(username, password)
        self._client.connect("127.0.0.1", server.mqtt_port)
        self._client.loop_start()
        eventually(self._client.is_connected)

    def say(self, body: Any, topic: str = "dispositivos/estado", retain: bool = False) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body)
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        sent.wait_for_publish(5)
        assert sent.is_published()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Onlooker:
    """The lines of ``/stream/dispositivos`` as they come, read in the background."""

    def __init__(self, server: RunningServer, query: str = "", token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session = requests.Session()
        self._session.trust_env = False
        self.response = self._session.get(
            f"{server.http}/stream/dispositivos{query}", headers=headers, stream=True, timeout=(5, 40)
        )
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for line in self.response.iter_lines(chunk_size=1, decode_unicode=True):
                self.lines.append(line)
        except (requests.RequestException, AttributeError, ValueError):
            # Closed from the other thread.
            return

    def __enter__(self) -> Self:
        assert self.response.status_code == 200, self.response.text
        self._thread.start()
        eventually(lambda: len(self.lines) >= 3)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.response.close()
        self._session.close()
        self._thread.join(5)

    @property
    def updates(self) -> list[dict[str, Any]]:
        """Every ``data:`` line that is not empty."""
        found = [json.loads(line[6:]) for line in list(self.lines) if line.startswith("data: ")]
        return [one for one in found if one]
