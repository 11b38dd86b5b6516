"""Contract autocore, sections 6 and 7, on the firmware of ``firmware/micropython`` in real MicroPython processes."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.firmware.boards import Board, command, compile_all, id_of, needs_micropython
from tests.journeys.live import eventually
from tests.running import RunningServer, free_ports

pytestmark = needs_micropython
UUID = "550e8400-e29b-41d4-a716-0a1b2c"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_all(tmp_path_factory.mktemp("slot") / "a")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("firmware") / "data") as one:
        yield one


# A session whose clock is moved by hand.
HEARTBEATS = """
import asyncio
now = [1000]
board.clock.ms = lambda: now[0]
said = []
async def session():
    board.station.join("lab", "")
    await board.contract.connect()
    board.contract.beat = lambda: said.append(now[0])
    async def moments():
        for moment in (30999, 31000, 60999, 61000):
            now[0] = moment
            await asyncio.sleep(0.2)
        board.again = True
    asyncio.create_task(moments())
    await board.contract.live()
app.wait(session())
say(said)
"""


class Counting(BaseHTTPRequestHandler):
    """A backend that counts what it is asked."""

    answers: ClassVar[dict[str, tuple[int, Any]]] = {}
    asked: ClassVar[list[str]] = []
    port: ClassVar[int] = 0

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
        Counting.port = one.server_port
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield Counting
        one.shutdown()
        thread.join()


def test_autocore_14_with_the_backend_down_a_board_lives_on_what_it_knows(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    made = server.api.post("/api/devices", json={"uuid": UUID, "name": "Pump", "type": "esp32_relay"}).json()
    board = Board(tmp_path / "flash", app, config={
        "wifi_ssid": "lab", "backend_ip": "127.0.0.1", "backend_port": free_ports(1)[0], "mqtt_broker": "127.0.0.1",
        "mqtt_port": server.mqtt_port, "mqtt_username": f"ac-{UUID[-28:]}", "mqtt_password": made["device_token"],
    })  # fmt: skip
    with board:
        board.online()
        device = server.api.get(f"/api/devices/uuid/{UUID}").json()
        eventually(lambda: server.api.get(f"/api/devices/{device['id']}").json()["status"] == "online", 2)
        known = id_of(server, board)
        for name, params in (("ping", {}), ("relay", {"channel": 16, "state": True}), ("status", {})):
            assert command(server, known, name, params)["state"] == "confirmed"
        assert board.relays() == [16]
        # Seen as what it is, and its relays with it.
        assert "speech" not in server.api.get(f"/api/v1/devices/{known}").json()["attributes"]
        reported = server.api.get(f"/api/v1/devices/{known}/reported").json()["values"]
        assert (reported["relay_16"], reported["relay_1"]) == (True, False)


def test_autocore_14_what_is_wrong_with_a_command_moves_no_relay(app: Path, tmp_path: Path) -> None:
    board = Board(tmp_path / "flash", app)
    topic = f"autocore/devices/{UUID}/command"
    code = "\n".join(
        f"app.mqtt_callback({topic.encode()!r}, {payload!r}); say(list(board.contract.relays.states))"
        for payload in (
            b'{"type":"relay","channel":17,"state":true}', b'{"type":"relay","channel":1,"state":1}',
            b'{"type":"relay","channel":true,"state":true}', b'{"type":"relay","channel":1,"state":true', b"\xff\xfe",
        )
    )  # fmt: skip
    code += '\napp.mqtt_callback(b\'autocore/devices/other/command\', b\'{"type":"relay","channel":1,"state":true}\')'
    code += f"\nsay(list(board.contract.relays.states))\napp.mqtt_callback({topic.encode()!r}, "
    code += 'b\'{"type":"relay","channel":2,"state":true}\')\nsay(list(board.contract.relays.states))'
    seen = board.prompt(code)
    assert seen[:-1] == [[0] * 16] * 6
    assert seen[-1] == [0, 1] + [0] * 14
    assert board.relays() == [2]


def test_autocore_15_settings_are_fetched_once_in_five_minutes_and_written_when_they_change(
    backend: type[Counting], app: Path, tmp_path: Path
) -> None:
    told = {
        "broker": "10.0.0.2", "port": 1883, "broker_host": "10.0.0.2", "broker_port": 1883, "username": "ac-1",
        "password": "s3cret-1", "topic_prefix": "autocore",
    }  # fmt: skip
    backend.answers["/api/mqtt/config"] = (200, told)
    board = Board(tmp_path / "flash", app, config={"backend_ip": "127.0.0.1", "backend_port": backend.port})
    code = """
now = [1000]
board.clock.ms = lambda: now[0]
def fetch(ms):
    now[0] += ms
    say([app.get_mqtt_config(), board.written])
"""
    seen = board.prompt(code + "fetch(0); fetch(0); fetch(299999)")
    assert [one[0] for one in seen] == [True] * 3
    assert len({one[1] for one in seen}) == 1
    assert backend.asked == ["/api/mqtt/config"]
    config, secrets = board.read("config.json"), board.read("secrets.json")
    assert (config["mqtt_broker"], config["mqtt_username"], secrets["mqtt_password"]) == (
        "10.0.0.2",
        "ac-1",
        "s3cret-1",
    )
    # Unchanged: asked again after five minutes, and nothing is written.
    before = [(board.flash / name).stat().st_mtime_ns for name in ("config.json", "secrets.json")]
    seen = board.prompt(code + "fetch(0); fetch(299999); fetch(1)")
    assert ([one[0] for one in seen], {one[1] for one in seen}) == ([True] * 3, {0})
    assert len(backend.asked) == 3
    assert [(board.flash / name).stat().st_mtime_ns for name in ("config.json", "secrets.json")] == before
    backend.answers["/api/mqtt/config"] = (200, told | {"broker": "10.0.0.3"})
    assert board.prompt(code + "fetch(0)") == [[True, 1]]
    assert board.read("config.json")["mqtt_broker"] == "10.0.0.3"
    # Anything else keeps what is there.
    for status, body in ((403, {"detail": "closed"}), (500, {}), (200, []), (200, {"broker": 5}), (404, {})):
        backend.answers["/api/mqtt/config"] = (status, body)
        assert board.prompt(code + "fetch(0)") == [[False, 0]]
        assert board.read("config.json")["mqtt_broker"] == "10.0.0.3"


def test_a_board_registers_itself_while_pairing_is_open_and_gets_what_it_needs(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    board = Board(tmp_path / "flash", app, mac="02000a0000aa", config={
        "wifi_ssid": "lab", "device_name": "Hall", "backend_ip": "127.0.0.1", "backend_port": server.http_port,
        "relay_channels": 4,
    })  # fmt: skip
    code = "say(app.check_device_registration()); say(app.register_device()); say(app.connect_mqtt())"
    assert board.prompt(code) == [False] * 3
    server.api.post("/api/v1/pairing", json={"minutes": 1})
    try:
        assert board.prompt("say(app.register_device())") == [True]
    finally:
        server.api.delete("/api/v1/pairing")
    assert board.read("secrets.json")["device_token"]
    # By its token, with nothing open.
    code = "say(app.check_device_registration()); say(app.get_mqtt_config()); say(app.connect_mqtt())"
    assert board.prompt(code + "; say(app.update_mqtt_status())") == [True] * 4
    assert board.read("config.json")["mqtt_username"].startswith("ac-")
    device = server.api.get(f"/api/devices/uuid/{board.uuid}").json()
    assert (device["name"], json.loads(device["configuration_json"])) == ("Hall", {"relay_channels": 4})
    with board:
        board.online()
        eventually(lambda: server.api.get(f"/api/devices/{device['id']}").json()["status"] == "online")


def test_a_board_that_could_not_register_tries_again_and_a_lost_connection_comes_back(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    board = Board(tmp_path / "flash", app, mac="02000a0000bb", config={
        "wifi_ssid": "lab", "backend_ip": "127.0.0.1", "backend_port": server.http_port,
    })  # fmt: skip
    # A minute after it was not let in, and not before.
    code = f"""
now = [1000]
board.clock.ms = lambda: now[0]
import autocore_join
def again(ms):
    now[0] += ms
    app.wait(autocore_join.again(board.contract))
    say(board.get("backend_registered"))
import httpc
def pairing(method):
    body = b'{{"minutes": 1}}' if method == "POST" else None
    headers = {{"Authorization": "Bearer {server.token}", "Content-Type": "application/json"}}
    say(app.wait(httpc.request(method, "{server.http}/api/v1/pairing", body, headers))[0] < 300)
again(0)
pairing("POST")
again(59999)
again(1)
pairing("DELETE")
"""
    assert board.prompt(code) == [False, True, False, True, True]
    with board:
        board.online()
        device = id_of(server, board)
        assert server.api.get(f"/api/v1/devices/{device}").json()["online"]
        (board.flash / "network").write_text("down")
        eventually(lambda: "the network is gone" in board.said())
        (board.flash / "network").unlink()
        board.online(30, times=2)
    assert board.prompt(HEARTBEATS) == [[31000, 61000]]


def test_without_libraries_everything_but_mqtt_works(server: RunningServer, app: Path, tmp_path: Path) -> None:
    board = Board(tmp_path / "flash", app, config={"backend_ip": "127.0.0.1", "backend_port": server.http_port})
    code = f"""
answer = app.http_get("{server.http}/healthz")
say([answer.status_code, isinstance(answer.json(), dict), isinstance(answer.text, str)])
answer.close()
say(app.http_post("{server.http}/api/devices", {{}}).status_code)
say(app.http_get("http://127.0.0.1:1/", timeout=1))
say(app.http_get("nonsense", timeout=1))
say(app.http_post("http://127.0.0.1:1/", {{"b": 2}}, timeout=1))
say(app.connect_mqtt())
say(app.update_mqtt_status())
"""
    assert board.prompt(code) == [[200, True, True], 422, None, None, None, False, False]


def test_a_configuration_is_migrated_and_a_damaged_one_gives_the_defaults(app: Path, tmp_path: Path) -> None:
    board = Board(tmp_path / "flash", app, config={
        "device_uuid": "u-1", "mqtt_user": "u", "mqtt_registered": True, "relay_states": [0] * 8, "extra": 1,
        "backend_port": "x",
    })  # fmt: skip
    names = "mqtt_username", "backend_registered", "relay_channels", "backend_port", "device_uuid"
    code = f"say([board.get(name) for name in {names!r}]); say(board.written)"
    assert board.prompt(code)[0] == ["u", True, 8, 8081, "u-1"]
    assert "mqtt_user" not in board.read("config.json")
    # Who it is does not change any more, and a start that changes nothing writes nothing.
    assert board.prompt(code) == [["u", True, 8, 8081, "u-1"], 0]
    for damaged in ("{", "[]", "", "null", '"x"'):
        (board.flash / "config.json").write_text(damaged)
        (board.flash / "config.bak").write_text(damaged)
        assert board.prompt(code)[0] == [None, False, 16, 8081, UUID]
        assert board.prompt("say(board.get('device_name'))") == ["ESP32 Relay 0a1b2c"]


def test_the_boards_own_page_takes_settings_and_shows_no_password(app: Path, tmp_path: Path) -> None:
    board = Board(tmp_path / "flash", app, config={
        "device_name": "<b>Pump</b>", "wifi_ssid": "home", "wifi_password": "very-secret", "page_password": "let-me-in",
        "mqtt_broker": "127.0.0.1", "mqtt_port": free_ports(1)[0],
    })  # fmt: skip
    with board, board.page() as client:
        eventually(lambda: reachable(board.page_port))
        shown = client.get("/").text
        assert "&lt;b&gt;Pump&lt;/b&gt;" in shown
        for part in (UUID, "disconnected", "8081"):
            assert part in shown
        for hidden in ("very-secret", "let-me-in"):
            assert hidden not in shown
        token = re.findall(r"name=token value=(\w+)", shown)[0]
        asked = {"password": "let-me-in", "token": token}
        form = {"wifi_ssid": "new net", "wifi_password": "", "backend_ip": "10.0.0.5", "backend_port": "9000"}
        assert client.post("/config", data=form).status_code == 403
        assert client.post("/config", data=form | asked | {"password": "guess"}).status_code == 403
        assert board.read("config.json")["wifi_ssid"] == "home"
        assert client.post("/config", data=form | asked).status_code == 200
        config = board.read("config.json")
        assert (config["wifi_ssid"], config["backend_ip"], config["backend_port"]) == ("new net", "10.0.0.5", 9000)
        assert (board.read("secrets.json")["wifi_password"], config["configured"]) == ("very-secret", True)
        assert client.post("/config", data=asked | {"backend_port": "70000"}).status_code == 400
        assert client.get("/", headers={"Accept-Language": "es"}).text.count("Ajustes") == 1
        told = client.get("/api/status")
        assert (told.json()["uuid"], told.json()["mqtt_connected"]) == (UUID, False)
        assert "very-secret" not in told.text
        assert client.get("/nothing").status_code == 404
        assert client.post("/config", content=b"x" * 2000).status_code == 413
        # Who connects and says nothing, or a letter now and then, holds nobody up.
        with socket.create_connection(("127.0.0.1", board.page_port)) as slow:
            slow.sendall(b"GET / HT")
            assert client.get("/api/status").status_code == 200
        assert client.post("/restart", data=asked).status_code == 200
        assert board.ended() == 3
        board.start()
        eventually(lambda: reachable(board.page_port))
        assert client.get("/api/status").json()["reset_cause"] == "soft"
        asked["token"] = re.findall(r"name=token value=(\w+)", client.get("/").text)[0]
        assert client.post("/reset", data=asked).status_code == 200
        assert board.ended() == 3
        assert (board.read("config.json")["wifi_ssid"], board.read("config.json")["device_uuid"]) == ("", UUID)
        assert board.read("secrets.json")["wifi_password"] == ""
        assert "very-secret" not in board.said()


def reachable(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_the_password_of_the_access_point_is_this_boards_alone(app: Path, tmp_path: Path) -> None:
    seen = set()
    for name in ("one", "two"):
        board = Board(tmp_path / name, app)
        first = board.prompt("say(board.get('page_password'))")[0]
        assert len(first) >= 10
        assert board.prompt("say(board.get('page_password'))")[0] == first
        seen.add(first)
        with board:
            board.waits_for(f"set-up: join ESP32-Relay-0a1b2c with password {first}")
            time.sleep(0.1)
            assert board.read("radio.json") == {"open": "ESP32-Relay-0a1b2c"}
    assert len(seen) == 2
