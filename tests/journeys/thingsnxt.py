"""The app and the firmware of the thingsnxt contract, as third parties would write them."""

import itertools
import json
import time
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.running import RunningServer

PASSWORD = "Sunny-day-42"
_numbers = itertools.count(1)


_opened: list[httpx.Client] = []


def client(server: RunningServer) -> httpx.Client:
    """One of many, closed together."""
    _opened.append(httpx.Client(base_url=server.http, trust_env=False, timeout=10))
    return _opened[-1]


def close_all() -> None:
    while _opened:
        _opened.pop().close()


class App:
    """A person with the app, signed up by it."""

    def __init__(self, server: RunningServer, name: str = "") -> None:
        self.server = server
        self.name = name or f"person-{next(_numbers)}"
        self.email = f"{self.name}@example.org"
        self.http = client(server)
        body = {"email": self.email, "username": self.name, "password": PASSWORD}
        answer = self.http.post("/signup", json=body)
        assert answer.status_code == 200, answer.text
        self.sign_in()

    def sign_in(self) -> None:
        answer = self.http.post("/token", data={"username": self.email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        self.access, self.refresh = body["access_token"], body["refresh_token"]
        self.server.canaries.plant(self.access)
        self.server.canaries.plant(self.refresh)
        self.http.headers["Authorization"] = f"Bearer {self.access}"

    def add_device(self, **body: Any) -> "Board":
        answer = self.http.post("/devices", json={"name": "Lamp"} | body)
        assert answer.status_code == 200, answer.text
        made = answer.json()
        self.server.canaries.plant(made["device_token"])
        return Board(self.server, made["id"], made["device_token"])

    def add_dashboard(self) -> str:
        answer = self.http.post("/dashboards", json={"name": "Home"})
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["_id"]
        return found

    def add_switch(self, board: "Board", dashboard: str = "") -> dict[str, Any]:
        body = {"dashboard_id": dashboard or self.add_dashboard(), "device_id": board.id, "type": "led", "label": "L"}
        answer = self.http.post("/widgets", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def switch(self, widget: dict[str, Any], state: Any) -> httpx.Response:
        return self.http.post(f"/widgets/{widget['_id']}/state", json={"state": state})

    def listen(self) -> "Ears":
        return Ears(self.server, self.access)


class Ears:
    """The app's WebSocket."""

    def __init__(self, server: RunningServer, token: str) -> None:
        self._context = connect(f"ws://127.0.0.1:{server.http_port}/ws?token={token}", proxy=None, open_timeout=10)
        self.socket: ClientConnection

    def next(self, seconds: float = 5.0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.socket.recv(timeout=seconds))
        return found

    def wait_for(self, kind: str, seconds: float = 5.0, **fields: Any) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            message = self.next(max(0.01, end - time.monotonic()))
            if message["type"] == kind and all(message.get(name) == value for name, value in fields.items()):
                return message

    def silent(self) -> bool:
        """Whether nothing came before the answer to a ping that is sent now."""
        self.socket.send('{"type": "ping"}')
        return self.next()["type"] == "pong"

    def __enter__(self) -> Self:
        self.socket = self._context.__enter__()
        assert self.next()["type"] == "connected"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)


class Board:
    """A device with its id and token."""

    def __init__(self, server: RunningServer, id_: str, token: str) -> None:
        self.server, self.id, self.token = server, id_, token
        self.http = client(server)

    def post(self, data: Any, **more: Any) -> httpx.Response:
        return self.http.post(f"/devices/{self.id}/telemetry", json={"device_token": self.token, "data": data} | more)

    def report(self, **data: Any) -> dict[str, Any]:
        answer = self.post(data)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["data"]
        return found

    def poll(self) -> dict[str, Any]:
        answer = self.http.get("/telemetry/latest", params={"device_token": self.token})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["data"]
        return found
