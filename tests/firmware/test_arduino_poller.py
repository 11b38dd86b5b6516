"""``firmware/arduino/http_poller`` built for this machine, against a server of the test and against the real one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.firmware.arduino import Sketch, needs_compiler, soon
from tests.journeys.thingsnxt import App, close_all
from tests.running import RunningServer

pytestmark = needs_compiler
ID, TOKEN = "6123456abcdef12345678901", "f0e1d2c3b4a5968778695a4b3c2d1e0f"


class Desk(BaseHTTPRequestHandler):
    """A server that answers what it was told to, and writes down what it was asked."""

    asked: ClassVar[list[tuple[str, str, Any]]] = []
    tokens: ClassVar[set[str | None]] = set()
    answers: ClassVar[dict[str, tuple[int, dict[str, str], Any]]] = {}

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body: Any) -> None:
        kind = self.path.rpartition("/")[2]
        if kind != "health":
            self.tokens.add(self.headers["X-Device-Token"])
        assert TOKEN not in self.path
        status, headers, said = self.answers.get(kind, (200, {}, {"data": {}}))
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.asked.append((self.command, kind, body))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def desk() -> Iterator[type[Desk]]:
    Desk.asked, Desk.answers, Desk.tokens = [], {}, set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as one:
        Desk.url = f"http://127.0.0.1:{one.server_port}"  # type: ignore[attr-defined]
        thread = threading.Thread(target=one.serve_forever, args=(0.02,))
        thread.start()
        yield Desk
        one.shutdown()
        thread.join()


def provision(board: Sketch, url: str, device: str = ID, token: str = TOKEN) -> None:
    board.enter("  PROVISION ", device, token, url, "home", "secret-network")
    board.wait(lambda: board.says("Stored."))
    # Joined, and one of each: poll, telemetry, health.
    board.rounds(5)


def kinds(desk: type[Desk]) -> list[str]:
    return [kind for _, kind, _ in desk.asked]


def after(board: Sketch, desk: type[Desk], ms: int) -> list[str]:
    """What is asked when so much time passes."""
    before = len(desk.asked)
    board.advance(ms)
    board.rounds(3)
    return kinds(desk)[before:]


def test_thingsnxt_15_provisioning_stores_three_keys_and_nothing_is_asked_before(
    desk: type[Desk], tmp_path: Path
) -> None:
    with Sketch("http_poller", tmp_path) as board:
        for _ in range(4):
            board.advance(15_000)
        assert sum("not provisioned" in line for line in board.lines) == 3
        board.enter("provision", "xyz")
        assert board.says("24 hexadecimal characters; nothing was stored")
        board.enter("provision", ID, TOKEN, "ftp://x")
        assert board.wrote("iot-config") == []
        assert desk.asked == []
        provision(board, desk.url + "/", ID.upper())  # type: ignore[attr-defined]
        assert board.wrote("iot-config")[:3] == ["device_id", "device_token", "api_url"]
        stored = {one.name.split(".")[1]: one.read_text() for one in board.nvs.iterdir()}
        assert stored == {
            "device_id": ID, "device_token": TOKEN, "api_url": desk.url,  # type: ignore[attr-defined]
            "wifi_name": "home", "wifi_password": "secret-network",
        }  # fmt: skip
        assert kinds(desk) == ["latest", "telemetry", "health"]
        assert desk.tokens == {TOKEN}
        board.enter("status", "stats", "help", "nonsense", "debug on")
        assert board.says("device_token: f0***")
        assert not board.says(TOKEN)
        assert board.says("requests: 3, failed 0, too many 0")
        board.power_cut()
        board.start()
        board.rounds(5)
        assert kinds(desk)[3:] == ["latest", "telemetry", "health"]
        board.enter("reset")
        board.restarted()
        assert list(board.nvs.iterdir()) == []


def test_it_polls_every_4_and_tells_every_10_and_60_seconds(desk: type[Desk], tmp_path: Path) -> None:
    with Sketch("http_poller", tmp_path) as board:
        provision(board, desk.url)  # type: ignore[attr-defined]
        assert after(board, desk, 3999) == []
        assert after(board, desk, 1) == ["latest"]
        assert after(board, desk, 4000) == ["latest"]
        assert after(board, desk, 2000) == ["telemetry"]
        asked = [kind for _ in range(48) for kind in after(board, desk, 1000)]
        assert asked.count("health") == 0
        assert asked.count("telemetry") == 4
        assert "health" in after(board, desk, 2000)
        assert not [line for line in board.lines if line.startswith("@delay")]


@pytest.mark.parametrize("status", [500, 503])
def test_thingsnxt_15_retries_wait_one_two_and_four_seconds(desk: type[Desk], tmp_path: Path, status: int) -> None:
    desk.answers["latest"] = (status, {}, {})
    with Sketch("http_poller", tmp_path) as board:
        provision(board, desk.url)  # type: ignore[attr-defined]
        assert kinds(desk).count("latest") == 1
        for wait in (1000, 2000, 4000):
            assert "latest" not in after(board, desk, wait - 1)
            assert "latest" in after(board, desk, 1)
        # Then the next interval, which is longer now.
        assert "latest" not in after(board, desk, 7999)
        assert "latest" in after(board, desk, 2001)
        board.enter("stats")
        assert board.says("failed 5,")


def test_thingsnxt_15_too_many_requests_lengthen_both_intervals(desk: type[Desk], tmp_path: Path) -> None:
    with Sketch("http_poller", tmp_path) as board:
        desk.answers["latest"] = (429, {}, {"detail": "Too many requests. Please try again later."})
        provision(board, desk.url)  # type: ignore[attr-defined]
        desk.answers.clear()
        assert after(board, desk, 4999) == []
        assert after(board, desk, 1) == ["latest"]
        assert after(board, desk, 4999) == []
        assert after(board, desk, 1) == ["latest"]
        assert after(board, desk, 4999) == []
        assert sorted(after(board, desk, 1)) == ["latest", "telemetry"]
        # As long as the server says, and no longer.
        desk.answers["latest"] = (429, {"Retry-After": "8"}, {})
        assert after(board, desk, 5000) == ["latest"]
        desk.answers.clear()
        assert after(board, desk, 5000) == ["latest"]
        assert after(board, desk, 5000) == ["latest", "telemetry"]
        assert after(board, desk, 3999) == []
        assert after(board, desk, 1) == ["latest"]


def test_what_is_refused_is_not_tried_again_at_once(desk: type[Desk], tmp_path: Path) -> None:
    desk.answers["latest"] = (403, {}, {"detail": "no"})
    with Sketch("http_poller", tmp_path) as board:
        provision(board, desk.url)  # type: ignore[attr-defined]
        assert "latest" not in after(board, desk, 7999)
        assert "latest" in after(board, desk, 2001)


def test_only_changes_write_pins_and_a_failed_poll_leaves_them_alone(desk: type[Desk], tmp_path: Path) -> None:
    with Sketch("http_poller", tmp_path, SHIM_TEMPERATURE="nan") as board:
        desk.answers["latest"] = (200, {}, {"data": {"v0": 1, "v3": True, "v1": "on", "v2": 2, "v4": 1.0, "v9": 1}})
        provision(board, desk.url)  # type: ignore[attr-defined]
        assert {pin: level for pin, level in board.pins.items() if level} == {2: 1, 18: 1}
        writes = [line for line in board.lines if line.startswith("@pin")]
        after(board, desk, 4000)
        assert [line for line in board.lines if line.startswith("@pin")] == writes
        for answer in (
            (200, {}, b"{"), (200, {}, b'{"data":{"v0":0},"data":{}}'), (200, {}, {"data": 5}), (200, {}, []),
            (200, {}, b"x" * 5000), (500, {}, {"data": {"v0": 0}}),
        ):  # fmt: skip
            desk.answers["latest"] = answer
            assert "latest" in after(board, desk, 4000)
        assert (board.level(2), board.level(18)) == (1, 1)
        # Without v0 the older key stands for it. What was applied is what is told; no number that is none.
        desk.answers["latest"] = (200, {}, {"data": {"led": 0}})
        after(board, desk, 4000)
        assert board.level(2) == 0
        after(board, desk, 10_000)
        told = [body for _, kind, body in desk.asked if kind == "telemetry"]
        assert told[-1] == {"data": {"v0": 0, "v1": 0, "v2": 0, "v3": 1, "v4": 0}}


def test_plain_http_goes_to_private_addresses_alone_and_https_is_checked(tmp_path: Path) -> None:
    with Sketch("http_poller", tmp_path) as board:
        board.enter("debug on")
        provision(board, "http://relevo.example")
        board.wait(lambda: board.says("plain HTTP is for private addresses"))
        provision(board, "https://relevo.example")
        board.wait(lambda: board.says("HTTPS needs the server's authority"))
        assert not board.says("@tls")


def test_after_a_long_outage_it_restarts(desk: type[Desk], tmp_path: Path) -> None:
    with Sketch("http_poller", tmp_path) as board:
        provision(board, desk.url)  # type: ignore[attr-defined]
        board.wifi(False)
        board.advance(900_000)
        board.advance(1)
        board.restarted()
        board.rounds(5)
        assert kinds(desk)[-1] == "health"


def test_v0_follows_a_widget_of_the_real_server(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_OPEN_REGISTRATION": "true"}) as server:
        app = App(server)
        device = app.add_device()
        widget = app.add_switch(device)
        with Sketch("http_poller", tmp_path) as board:
            provision(board, server.http, device.id, device.token)
            assert device.poll()["temperature"] == 20.5
            assert app.switch(widget, 1).status_code == 200
            board.advance(4000)
            assert board.level(2) == 1
            board.advance(6000)
            board.rounds(3)
            desired = f"/api/v1/devices/{device.id}/desired"
            soon(lambda: app.http.get(desired).json()["changed"]["v0"]["state"] == "agreed")
            assert app.switch(widget, 0).status_code == 200
            board.advance(4000)
            board.rounds(2)
            assert board.level(2) == 0
            board.enter("stats")
            assert board.says("failed 0, too many 0")
        close_all()
