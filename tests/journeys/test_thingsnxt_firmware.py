"""Contract thingsnxt, section 8, on the firmware of ``firmware/micropython`` in real MicroPython processes."""

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.firmware.boards import Board, compile_all, heap, needs_micropython
from tests.journeys.live import eventually
from tests.journeys.thingsnxt import App, close_all
from tests.running import RunningServer

pytestmark = needs_micropython
ID, TOKEN = "6123456abcdef12345678901", "f0e1d2c3b4a5968778695a4b3c2d1e0f"
PINS = (2, 4, 5, 18, 19)
SPEED = 10


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_all(tmp_path_factory.mktemp("slot") / "a")


class Desk(BaseHTTPRequestHandler):
    """A server that answers what it was told to, and writes down what it was asked."""

    asked: ClassVar[list[tuple[str, Any]]] = []
    tokens: ClassVar[set[str | None]] = set()
    answers: ClassVar[dict[str, tuple[int, dict[str, str], Any]]] = {}
    url: ClassVar[str] = ""

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body: Any) -> None:
        kind = self.path.rpartition("/")[2]
        self.tokens.add(self.headers["X-Device-Token"])
        assert TOKEN not in self.path
        status, headers, said = self.answers.get(kind, (200, {}, {"data": {}}))
        data = json.dumps(said).encode()
        self.asked.append((kind, body))
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
        Desk.url = f"http://127.0.0.1:{one.server_port}"
        thread = threading.Thread(target=one.serve_forever, args=(0.02,))
        thread.start()
        yield Desk
        one.shutdown()
        thread.join()


def poller(app: Path, place: Path, config: dict[str, Any] | None = None, **env: str) -> Board:
    return Board(place / "flash", app, shape="poller", config=config, env=env)


def provision(board: Board, url: str, device: str = ID, token: str = TOKEN) -> None:
    for line in ("  PROVISION ", device, token, url):
        board.tell(line)


def known(url: str, device: str = ID, token: str = TOKEN) -> dict[str, Any]:
    return {"wifi_ssid": "lab", "device_id": device, "device_token": token, "api_url": url}


def test_thingsnxt_15_provisioning_stores_three_keys(desk: type[Desk], app: Path, tmp_path: Path) -> None:
    board = poller(app, tmp_path, {"wifi_ssid": "lab"})
    with board:
        board.waits_for("not provisioned: type provision")
        provision(board, desk.url + "/", ID.upper())
        board.waits_for("Stored. Token f0***")
        board.online()
        said = board.said()
        assert said.index("Device ID:") < said.index("Device Token:") < said.index("API URL:")
        stored = {"device_id": ID, "device_token": TOKEN, "api_url": desk.url}
        assert board.read("nvs.json") == {"iot-config": stored}
        eventually(lambda: {kind for kind, _ in desk.asked} == {"latest", "telemetry", "health"})
        assert desk.tokens == {TOKEN}
        for line in ("status", "stats", "show", "help"):
            board.tell(line)
        board.waits_for("factory-reset ")
        assert TOKEN not in board.said()
        # Another flash, the same chip: who it is was kept.
        (board.flash / "config.json").unlink()
        board.kill()
        for name in ("config.bak", "secrets.json", "secrets.bak"):
            (board.flash / name).unlink()
        board.write("config.json", {"wifi_ssid": "lab"})
        board.start()
        board.online(times=2)
        board.tell("RESET")
        assert board.ended() == 3
        assert board.read("nvs.json") == {"iot-config": {}}
        assert TOKEN not in "".join(one.read_text() for one in board.flash.glob("*.json"))


def test_thingsnxt_15_nothing_is_stored_of_a_bad_answer(desk: type[Desk], app: Path, tmp_path: Path) -> None:
    board = poller(app, tmp_path, {"wifi_ssid": "lab"}, BOARD_SPEED="30")
    with board:
        # Every half minute of its own.
        board.waits_for("not provisioned", 10, times=3)
        for wrong in ("xyz", "g" * 24):
            board.tell("provision")
            board.tell(wrong)
        provision(board, "ftp://x")
        board.waits_for("nothing was stored", 10, times=3)
        assert not (board.flash / "nvs.json").exists()
        assert desk.asked == []
        # It joined no network for that either.
        assert "state: wifi" not in board.said()


def test_thingsnxt_15_retries_wait_one_two_and_four_seconds(desk: type[Desk], app: Path, tmp_path: Path) -> None:
    board = poller(app, tmp_path, known(desk.url))
    # Its clock goes by what it waits for.
    said = board.prompt(
        "import asyncio, time\n"
        "board.station.join('lab', '')\n"
        "class Time:\n    now = 0\n"
        "board.clock.ms = lambda: Time.now\n"
        "slept = []\n"
        "async def rest(app, ms):\n    slept.append(ms)\n    Time.now += ms\n"
        "board.contract.rest = rest\n"
        "board.put(api_url='http://127.0.0.1:9')\n"
        "say([app.wait(board.contract.step('poll')), slept, board.contract.sent, board.contract.failed])\n"
        "say(board.contract.due['poll'] - Time.now)\n"
    )
    assert said[0] == [False, [1000, 2000, 4000], 4, 4]
    assert 8000 <= said[1] <= 10_000


def test_thingsnxt_15_too_many_requests_lengthen_both_intervals(desk: type[Desk], app: Path, tmp_path: Path) -> None:
    board = poller(app, tmp_path, known(desk.url))
    code = (
        "class Time:\n    now = 0\n"
        "board.clock.ms = lambda: Time.now\n"
        "for what in ('poll', 'telemetry'):\n"
        "    app.wait(board.contract.step(what))\n"
        "say([board.contract.due['poll'], board.contract.due['telemetry'], board.contract.too_many])\n"
        "Time.now = %d\n"
        "say([board.contract.paced.interval(what, Time.now) for what in ('poll', 'telemetry')])\n"
    )
    assert board.prompt(code % 0) == [[4000, 10_000, 0], [4000, 10_000]]
    desk.answers["latest"] = (429, {}, {"detail": "Too many requests. Please try again later."})
    assert board.prompt(code % 299_999) == [[5000, 15_000, 1], [5000, 15_000]]
    assert board.prompt(code % 300_000)[1] == [4000, 10_000]
    desk.answers["latest"] = (429, {"Retry-After": "20"}, {})
    assert board.prompt(code % 19_999)[1] == [5000, 15_000]
    assert board.prompt(code % 20_000)[1] == [4000, 10_000]


def test_it_polls_every_4_and_tells_every_10_seconds(desk: type[Desk], app: Path, tmp_path: Path) -> None:
    board = poller(app, tmp_path, known(desk.url), BOARD_SPEED=str(SPEED))
    board.write("sensors.json", {"temperature": 20.5, "humidity": 40})
    with board:
        eventually(lambda: [kind for kind, _ in desk.asked].count("health") == 2, 20)
        kinds = [kind for kind, _ in list(desk.asked)]
        # Between two looks at the server's health lies a minute of the board's: at most 15 polls and 6 readings.
        minute = kinds[kinds.index("health") : len(kinds) - kinds[::-1].index("health")]
        assert 10 <= minute.count("latest") <= 16
        assert 4 <= minute.count("telemetry") <= 7


def test_thingsnxt_15_only_changes_write_pins_and_no_nan_leaves(desk: type[Desk], app: Path, tmp_path: Path) -> None:
    board = poller(app, tmp_path, known(desk.url), BOARD_SPEED=str(SPEED))
    board.write("sensors.json", {"temperature": 20.5, "humidity": 40})
    desk.answers["latest"] = (200, {}, {"data": {"v0": 1, "v3": True, "v1": "on", "v2": 2, "v9": 1}})
    with board:
        board.online()
        eventually(lambda: [pin for pin in PINS if board.level(pin)] == [2, 18])
        # Without v0 the older key stands for it.
        desk.answers["latest"] = (200, {}, {"data": {"led": 0}})
        eventually(lambda: board.level(2) == 0)
        assert board.level(18) == 1
        # A failed poll leaves pins alone.
        desk.answers["latest"] = (500, {}, {"data": {"v3": 0}})
        board.waits_for("state: server", times=2)
        assert board.level(18) == 1

        def told() -> list[dict[str, Any]]:
            return [body["data"] for kind, body in list(desk.asked) if kind == "telemetry"]

        states = {"v0": 0, "v1": 0, "v2": 0, "v3": 1, "v4": 0}
        eventually(lambda: told() and {"temperature": 20.5, "humidity": 40.0} | states in told(), 20)
        board.write("sensors.json", {"fails": 1})
        eventually(lambda: told()[-1] == states, 20)


def test_thingsnxt_15_plain_http_is_for_private_addresses(app: Path, tmp_path: Path) -> None:
    for url, problem in (
        ("http://relevo.example", "plain HTTP is for private addresses"),
        ("http://8.8.8.8:8000", "plain HTTP is for private addresses"),
        ("https://127.0.0.1:1", "nobody takes a connection there"),
    ):
        board = poller(app, tmp_path / url.rpartition("/")[2], known(url), BOARD_SPEED="10")
        with board:
            board.tell("debug on")
            board.waits_for(problem, 10, times=2)


def test_a_board_that_is_not_known_asks_seldom(desk: type[Desk], app: Path, tmp_path: Path) -> None:
    board = poller(app, tmp_path, known(desk.url), BOARD_SPEED="10")
    desk.answers["latest"] = (404, {}, {"detail": "no"})
    with board:
        board.waits_for("refused: 404")
        asked = len(desk.asked)
        # Half a minute of its own at least.
        time.sleep(1)
        assert len(desk.asked) == asked


def test_after_a_long_outage_it_restarts(desk: type[Desk], app: Path, tmp_path: Path) -> None:
    board = poller(app, tmp_path, known(desk.url) | {"restart_after_s": 20}, BOARD_SPEED="10")
    with board:
        board.online()
        desk.answers.update({kind: (500, {}, {}) for kind in ("latest", "telemetry", "health")})
        assert board.ended(30) == 3
        assert "nothing has worked for 20 s" in board.said()


def test_thingsnxt_15_the_firmware_and_the_server_understand_each_other(app: Path, tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_OPEN_REGISTRATION": "true"}) as server:
        person = App(server)
        device = person.add_device()
        widget = person.add_switch(device)
        board = poller(app, tmp_path, known(server.http, device.id, device.token), BOARD_SPEED=str(SPEED))
        board.write("sensors.json", {"temperature": 20.5, "humidity": 51})
        with board:
            board.online()
            eventually(lambda: device.poll().get("temperature") == 20.5)
            assert person.switch(widget, 1).status_code == 200
            eventually(lambda: board.level(2) == 1)
            desired = f"/api/v1/devices/{device.id}/desired"
            eventually(lambda: person.http.get(desired).json()["changed"]["v0"]["state"] == "agreed")
            assert person.switch(widget, 0).status_code == 200
            eventually(lambda: board.level(2) == 0)
            board.tell("stats")
            stats = json.loads(re.findall(r"^\{.*\"since_success\".*\}$", board.waits_for("since_success"), re.M)[0])
            assert (stats["failed"], stats["too_many"]) == (0, 0)
            server.kill()
            board.waits_for("state: server", 20, times=2)
            server.restart()
            board.online(30, times=2)
            assert person.switch(widget, 1).status_code == 200
            eventually(lambda: board.level(2) == 1, 10)
        close_all()


def test_a_running_poller_takes_less_than_24_kb_of_heap(desk: type[Desk], app: Path, tmp_path: Path) -> None:
    assert heap(poller(app, tmp_path, known(desk.url))) < 24 * 1024
