"""The firmware of ``firmware/micropython/autocore`` on this machine, against a real server over real sockets.

``umqtt.simple`` is paho here, with the functions that boards call.
"""

import contextlib
import importlib
import json
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.journeys.live import eventually
from tests.running import RunningServer, free_ports

PLACE = Path(__file__).parents[2] / "firmware" / "micropython" / "autocore"
MODULES = ("settings", "words", "web", "page", "board", "main")
UUID = "550e8400-e29b-41d4-a716-0a1b2c"


class MQTTClient:
    """What boards call of ``umqtt.simple``: messages are handed over in ``check_msg``, in the caller's thread."""

    made: ClassVar[list["MQTTClient"]] = []

    def __init__(
        self, client_id: str, server: str, port: int = 0, user: Any = None, password: Any = None, keepalive: int = 0
    ) -> None:
        self._place = (server, port, keepalive)
        self._waiting: queue.Queue[tuple[bytes, bytes]] = queue.Queue()
        self._callback: Any = None
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv311)
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.on_message = lambda c, u, message: self._waiting.put((message.topic.encode(), message.payload))
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._subscribed = threading.Event()
        MQTTClient.made.append(self)

    def set_callback(self, callback: Any) -> None:
        self._callback = callback

    def set_last_will(self, topic: bytes, message: bytes, retain: bool = False, qos: int = 0) -> None:
        self._client.will_set(topic.decode(), message, qos, retain)

    def connect(self) -> None:
        self._client.connect(*self._place)
        self._client.loop_start()
        end = time.monotonic() + 5
        while not self._client.is_connected():
            if time.monotonic() > end:
                raise OSError("refused")
            time.sleep(0.01)

    def subscribe(self, topic: bytes, qos: int = 0) -> None:
        self._client.subscribe(topic.decode(), qos)
        assert self._subscribed.wait(5)

    def publish(self, topic: bytes, message: bytes, retain: bool = False, qos: int = 0) -> None:
        if not self._client.is_connected():
            raise OSError("gone")
        self._client.publish(topic.decode(), message, qos, retain).wait_for_publish(5)

    def check_msg(self) -> None:
        if not self._client.is_connected():
            raise OSError("gone")
        while not self._waiting.empty():
            self._callback(*self._waiting.get())

    def drop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules on a board's file system, with ``umqtt`` and without ``urequests``, ``machine`` and ``network``."""
    simple = ModuleType("umqtt.simple")
    simple.MQTTClient = MQTTClient  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umqtt", ModuleType("umqtt"))
    monkeypatch.setitem(sys.modules, "umqtt.simple", simple)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PLACE))
    MQTTClient.made.clear()
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        for name in MODULES:
            sys.modules.pop(name, None)
        for client in MQTTClient.made:
            client.drop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("firmware") / "data") as one:
        yield one


class Counting(BaseHTTPRequestHandler):
    """A backend that counts what it is asked."""

    answers: ClassVar[dict[str, tuple[int, Any]]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, body = self.answers.get(self.path, (404, {"detail": "no"}))
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[type[Counting]]:
    Counting.answers, Counting.asked = {}, []
    with HTTPServer(("127.0.0.1", 0), Counting) as one:
        Counting.port = one.server_port  # type: ignore[attr-defined]
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield Counting
        one.shutdown()
        thread.join()


def trickle(slow: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for letter in b"GET / HTTP/1.1 and so on":
            slow.sendall(bytes([letter]))
            time.sleep(0.15)


def configure(**values: Any) -> None:
    Path("config.json").write_text(json.dumps(values))


def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("config.json").read_text())
    return found


def run(board: Any, until: Any, seconds: float = 5.0) -> None:
    """The board's loop, until something is so."""

    def look() -> Any:
        board.step()
        return until()

    eventually(look, seconds)


def test_autocore_14_with_the_backend_down_a_board_lives_on_what_it_knows(
    firmware: SimpleNamespace, server: RunningServer
) -> None:
    made = server.api.post("/api/devices", json={"uuid": UUID, "name": "Pump", "type": "esp32_relay"}).json()
    nobody = free_ports(1)[0]
    configure(
        device_uuid=UUID, backend_ip="127.0.0.1", backend_port=nobody, mqtt_broker="127.0.0.1",
        mqtt_port=server.mqtt_port, mqtt_username=f"ac-{UUID[-28:]}", mqtt_password=made["device_token"],
    )  # fmt: skip
    board = firmware.main.prepare()
    board.start()
    assert board.client is not None
    assert board.settings.get("mqtt_connected")
    device = server.api.get(f"/api/devices/uuid/{UUID}").json()
    eventually(lambda: server.api.get(f"/api/devices/{device['id']}").json()["status"] == "online", 2)
    commands = f"/api/v1/devices/ac-{UUID[-28:]}/commands"
    for name, params in (("ping", {}), ("relay", {"channel": 16, "state": True}), ("status", {})):
        taken = server.api.post(commands, json={"name": name, "params": params}).json()
        run(board, lambda taken=taken: server.api.get(f"{commands}/{taken['id']}").json()["state"] == "confirmed")
    assert board.relays == [False] * 15 + [True]
    # Seen as what it is, and its relays with it.
    shown = server.api.get(f"/api/v1/devices/ac-{UUID[-28:]}").json()
    assert "speech" not in shown["attributes"]
    reported = server.api.get(f"/api/v1/devices/ac-{UUID[-28:]}/reported").json()["values"]
    assert (reported["relay_16"], reported["relay_1"]) == (True, False)


def test_autocore_14_what_is_wrong_with_a_command_moves_no_relay(firmware: SimpleNamespace) -> None:
    words = firmware.words
    for payload, error in (
        ("{", "invalid_json"),
        ("[1]", "invalid_json"),
        ('{"type":"blink"}', "unknown_type"),
        ("{}", "unknown_type"),
        ('{"type":"relay","channel":17,"state":true}', "invalid_channel"),
        ('{"type":"relay","channel":0,"state":true}', "invalid_channel"),
        ('{"type":"relay","channel":true,"state":true}', "invalid_channel"),
        ('{"type":"relay","channel":"1","state":true}', "invalid_channel"),
        ('{"type":"relay","channel":1,"state":1}', "invalid_state"),
        ('{"type":"relay","channel":1}', "invalid_state"),
    ):
        assert words.answer(payload, 16, 0, dict) == ({"type": "error", "error": error}, None), payload
    said = words.answer('{"type":"relay","channel":3,"state":true,"request_id":"r","more":1}', 16, 0, dict)
    assert said == ({"type": "relay_response", "channel": 3, "state": True, "request_id": "r"}, (3, True))
    assert words.answer('{"type":"ping"}', 16, 734512, dict)[0] == {"type": "pong", "timestamp": 734512}
    configure(device_uuid=UUID)
    board = firmware.main.prepare()
    firmware.main.mqtt_callback(
        f"autocore/devices/{UUID}/command".encode(), b'{"type":"relay","channel":17,"state":true}'
    )
    firmware.main.mqtt_callback(b"autocore/devices/other/command", b'{"type":"relay","channel":1,"state":true}')
    firmware.main.mqtt_callback(f"autocore/devices/{UUID}/command".encode(), b"\xff\xfe")
    assert board.relays == [False] * 16
    firmware.main.mqtt_callback(
        f"autocore/devices/{UUID}/command".encode(), b'{"type":"relay","channel":2,"state":true}'
    )
    assert board.relays[1] is True


def test_autocore_15_settings_are_fetched_once_in_five_minutes_and_written_when_they_change(
    firmware: SimpleNamespace, backend: type[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = backend.port  # type: ignore[attr-defined]
    told = {
        "broker": "10.0.0.2", "port": 1883, "broker_host": "10.0.0.2", "broker_port": 1883, "username": "ac-1",
        "password": "s", "topic_prefix": "autocore",
    }  # fmt: skip
    backend.answers["/api/mqtt/config"] = (200, told)
    configure(device_uuid=UUID, backend_ip="127.0.0.1", backend_port=port)
    board = firmware.main.prepare()
    now = [1_000]
    monkeypatch.setattr(board, "_now", lambda: now[0])
    written = board.settings.written
    assert firmware.main.get_mqtt_config()
    assert firmware.main.get_mqtt_config()
    assert backend.asked == ["/api/mqtt/config"]
    assert board.settings.written == written + 1
    assert (kept()["mqtt_broker"], kept()["mqtt_username"], kept()["mqtt_password"]) == ("10.0.0.2", "ac-1", "s")
    before = Path("config.json").stat().st_mtime_ns
    now[0] += 299
    assert firmware.main.get_mqtt_config()
    now[0] += 1
    assert firmware.main.get_mqtt_config()
    assert len(backend.asked) == 2
    assert (board.settings.written, Path("config.json").stat().st_mtime_ns) == (written + 1, before)
    backend.answers["/api/mqtt/config"] = (200, told | {"broker": "10.0.0.3"})
    now[0] += 300
    assert firmware.main.get_mqtt_config()
    assert kept()["mqtt_broker"] == "10.0.0.3"
    # Anything else keeps what is there.
    for status, body in ((403, {"detail": "closed"}), (500, {}), (200, []), (200, {"broker": 5}), (404, {})):
        backend.answers["/api/mqtt/config"] = (status, body)
        now[0] += 300
        assert not firmware.main.get_mqtt_config()
        assert kept()["mqtt_broker"] == "10.0.0.3"
    assert board.settings.written == written + 2


def test_a_board_registers_itself_while_pairing_is_open_and_gets_what_it_needs(
    firmware: SimpleNamespace, server: RunningServer
) -> None:
    configure(
        device_uuid="550e8400-e29b-41d4-a716-0000aa", device_name="Hall", backend_ip="127.0.0.1",
        backend_port=server.http_port, relay_channels=4,
    )  # fmt: skip
    board = firmware.main.prepare()
    assert firmware.main.check_device_registration() is False
    # Closed: it shows up in the list, and goes on.
    board.start()
    assert (board.client, board.settings.get("backend_registered")) == (None, False)
    server.api.post("/api/v1/pairing", json={"minutes": 1})
    try:
        assert firmware.main.register_device()
    finally:
        server.api.delete("/api/v1/pairing")
    assert kept()["device_token"]
    assert firmware.main.check_device_registration() is True
    # By its token, with nothing open.
    assert firmware.main.get_mqtt_config()
    assert board.settings.get("mqtt_username").startswith("ac-")
    assert firmware.main.connect_mqtt()
    device = server.api.get("/api/devices/uuid/550e8400-e29b-41d4-a716-0000aa").json()
    eventually(lambda: server.api.get(f"/api/devices/{device['id']}").json()["status"] == "online")
    assert (device["name"], json.loads(device["configuration_json"])) == ("Hall", {"relay_channels": 4})
    assert firmware.main.update_mqtt_status()


def test_a_board_that_could_not_register_tries_again_and_a_lost_connection_comes_back(
    firmware: SimpleNamespace, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = free_ports(1)[0]
    uuid = "550e8400-e29b-41d4-a716-0000bb"
    configure(device_uuid=uuid, backend_ip="127.0.0.1", backend_port=nobody)
    board = firmware.main.prepare()
    now = [5_000]
    monkeypatch.setattr(board, "_now", lambda: now[0])
    board.start()
    board.step()
    assert board.client is None
    server.api.post("/api/v1/pairing", json={"minutes": 1})
    try:
        board.settings.put(backend_port=server.http_port)
        now[0] += 59
        board.step()
        assert not board.settings.get("backend_registered")
        now[0] += 1
        for _ in range(5):
            board.step()
    finally:
        server.api.delete("/api/v1/pairing")
    assert board.settings.get("backend_registered")
    assert board.client is not None
    first = MQTTClient.made[-1]
    first.drop()
    board.step()
    assert (board.client, board.settings.get("mqtt_connected")) == (None, False)
    now[0] += 60
    for _ in range(3):
        board.step()
    assert board.client is not None
    statuses: list[Any] = []
    publish = board._publish
    monkeypatch.setattr(board, "_publish", lambda channel, *rest: statuses.append(channel) or publish(channel, *rest))
    now[0] += 29
    board.step()
    assert statuses == []
    now[0] += 1
    board.step()
    assert statuses == ["status"]


def test_without_libraries_everything_but_mqtt_works(
    firmware: SimpleNamespace, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware.main, "MQTTClient", None)
    configure(device_uuid=UUID, backend_ip="127.0.0.1", backend_port=server.http_port)
    board = firmware.main.prepare()
    board.start()
    assert board.client is None
    answer = firmware.main.http_get(f"{server.http}/healthz")
    assert answer.status_code == 200
    assert firmware.main.http_post(f"{server.http}/api/devices", {}).status_code == 422
    assert firmware.main.http_get("http://127.0.0.1:1/", timeout=1) is None
    assert firmware.main.http_get("nonsense", timeout=1) is None
    closed: list[int] = []

    class Library:
        """As ``urequests``."""

        @staticmethod
        def request(method: str, url: str, headers: Any = None, timeout: Any = None, data: Any = None) -> Any:
            if "fail" in url:
                raise OSError("no route")
            return SimpleNamespace(status_code=200, text='{"a": 1}', close=lambda: closed.append(timeout))

    monkeypatch.setattr(firmware.main, "urequests", Library)
    assert firmware.main.http_post("http://x/y", {"b": 2}, timeout=3).json() == {"a": 1}
    assert firmware.main.http_get("http://x/fail") is None
    assert closed == [3]


def test_sockets_that_only_write_are_written_to(firmware: SimpleNamespace) -> None:
    sent: list[bytes] = []
    firmware.web.send_all(SimpleNamespace(write=sent.append), b"all of it")
    assert sent == [b"all of it"]


def test_a_configuration_is_migrated_and_a_damaged_one_gives_the_defaults(firmware: SimpleNamespace) -> None:
    configure(device_uuid=UUID, mqtt_user="u", mqtt_registered=True, relay_states=[0] * 8, extra=1, backend_port="x")
    settings = firmware.settings.Settings()
    assert (settings.get("mqtt_username"), settings.get("backend_registered")) == ("u", True)
    assert (settings.get("relay_channels"), settings.get("backend_port")) == (8, 8081)
    assert set(kept()) == set(firmware.settings.DEFAULTS)
    for damaged in ("{", "[]", "", "null", '"x"'):
        Path("config.json").write_text(damaged)
        assert firmware.settings.Settings().values == firmware.settings.DEFAULTS
    Path("config.json").unlink()
    board = firmware.main.prepare()
    assert board.settings.get("device_uuid") == "550e8400-e29b-41d4-a716-000001"
    assert board.settings.get("device_name") == "ESP32 Relay 000001"
    again = firmware.main.prepare()
    assert again.settings.get("device_uuid") == board.settings.get("device_uuid")
    assert again.settings.written == 0
    with pytest.raises(ValueError, match="relay_channels"):
        settings.put(relay_channels=33)


def test_the_boards_own_page_takes_settings_and_shows_no_password(firmware: SimpleNamespace) -> None:
    configure(
        device_uuid=UUID, device_name="<b>Pump</b>", wifi_ssid="home", wifi_password="very-secret", mqtt_broker="b"
    )
    board = firmware.main.prepare()
    port = free_ports(1)[0]
    stop = threading.Event()
    step = board.step

    def stepping() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        step()

    board.step = stepping

    def serve() -> None:
        try:
            firmware.main.start_integrated_server(port)
        except KeyboardInterrupt:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        eventually(lambda: firmware.main.local is not None)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=5) as client:
            shown = client.get("/").text
            assert "&lt;b&gt;Pump&lt;/b&gt;" in shown
            assert UUID in shown
            assert "disconnected" in shown
            assert "8081" in shown
            assert "very-secret" not in shown
            form = {"wifi_ssid": "new net", "wifi_password": "", "backend_ip": "10.0.0.5", "backend_port": "9000"}
            assert client.post("/config", data=form).status_code == 200
            assert (kept()["wifi_ssid"], kept()["wifi_password"]) == ("new net", "very-secret")
            assert (kept()["backend_ip"], kept()["backend_port"], kept()["configured"]) == ("10.0.0.5", 9000, True)
            assert client.post("/config", data={"backend_port": "70000"}).status_code == 400
            assert kept()["backend_port"] == 9000
            told = client.get("/api/status")
            assert (told.json()["uuid"], told.json()["mqtt_connected"]) == (UUID, False)
            assert "very-secret" not in told.text
            assert client.get("/nothing").status_code == 404
            assert client.post("/restart").status_code == 200
            # Who connects and says nothing holds it up for a second at most.
            with socket.create_connection(("127.0.0.1", port)):
                assert client.get("/api/status").status_code == 200
            # And so for one who says a letter now and then.
            with socket.create_connection(("127.0.0.1", port)) as slow:
                talking = threading.Thread(target=trickle, args=(slow,))
                talking.start()
                assert client.get("/api/status").status_code == 200
                talking.join()
            assert client.post("/reset").status_code == 200
        eventually(lambda: kept()["wifi_ssid"] == "")
        assert kept()["device_uuid"] == UUID
    finally:
        stop.set()
        thread.join(5)
    board.settings.put(mqtt_connected=True, mqtt_broker="10.0.0.2")
    assert firmware.page.connection(board.settings) == "connected (10.0.0.2:1883)"


def test_the_password_of_the_access_point_is_this_boards_alone(firmware: SimpleNamespace, tmp_path: Path) -> None:
    first = firmware.main.setup_password()
    assert len(first) >= 10
    assert firmware.main.setup_password() == first
    (tmp_path / "setup-password").unlink()
    assert firmware.main.setup_password() != first
