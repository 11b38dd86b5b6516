"""Contract hidrometro, section 8, on the firmware of ``firmware/micropython`` in real MicroPython processes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.firmware.boards import FIRMWARE, Board, compile_all, flashed, heap, needs_micropython, profile
from tests.journeys.live import eventually
from tests.journeys.meters import Meter as Listener
from tests.journeys.meters import rows, sign_in
from tests.running import RunningServer

pytestmark = needs_micropython
SENSOR, BUTTON, LED = 2, 4, 13
# A minute of the board's is so many seconds of ours.
FAST = {"BOARD_SPEED": "10"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_all(tmp_path_factory.mktemp("slot") / "a")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A broker on which a test may listen to everything."""
    env = {"RELEVO_PROFILE": "lab", "RELEVO_ANONYMOUS_TOPICS": "#"}
    with RunningServer(tmp_path_factory.mktemp("meters") / "data", env=env) as one:
        yield one


@pytest.fixture(scope="module")
def admin(server: RunningServer) -> Iterator[httpx.Client]:
    with sign_in(server) as client:
        yield client


class Meter:
    """A meter on the bench: registered, flashed, and with pulses in hand."""

    def __init__(self, server: RunningServer, app: Path, place: Path, mac: str, **more: Any) -> None:
        self.serial = f"HX{mac[-6:].upper()}"
        self.device = flashed(server, place / mac, "meter", mac)
        self.board = Board(place / mac, app, mac=mac, shape="meter", **({"telemetry_ms": 1000} | more))
        self.pulses = 0

    def flow(self, pulses: int) -> None:
        """So many pulses come at once."""
        self.pulses += pulses
        self.board.write("inputs.json", {str(SENSOR): self.pulses})


def current(admin: httpx.Client, serial: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get("/api/current", params={"numeroSerie": serial}).json()
    return found


def litres(admin: httpx.Client, meter: Meter, wanted: float) -> dict[str, Any]:
    """What the server shows once it is so much."""
    found: dict[str, Any] = eventually(
        lambda: (one := current(admin, meter.serial)).get("totalLiters") == pytest.approx(wanted, abs=0.00011) and one,
        15,
    )
    return found


def test_hidrometro_15_firmware_arithmetic(
    server: RunningServer, admin: httpx.Client, app: Path, tmp_path: Path
) -> None:
    meter = Meter(server, app, tmp_path, "02000a00e001")
    # Exactly a second lies between two readings here; the clock is in the test's hands.
    said = meter.board.prompt(
        "now = [0]\nboard.clock.ms = lambda: now[0]\nmeter = board.contract\nmeter.taken = 0\n"
        "meter.pulses = lambda: 75\nnow[0] = 1000\nmeter.measure()\n"
        "say([meter.flow.flow, meter.flow.total])\n"
        "meter.pulses = lambda: 0\nnow[0] = 2000\nmeter.measure()\nsay([meter.flow.flow, meter.flow.total])\n"
        "import hidrometro\nsay(hidrometro.reading(board, meter.flow.total, 10000, 1767225600))\n"
    )
    assert said[0] == [10_000, 166_666]
    assert said[1] == [0, 166_666]
    assert said[2] == (
        f'{{"totalLiters": 0.1667, "flowLmin": 10.000, "numeroSerie": "{meter.serial}", "ts": 1767225600}}'
    )
    with meter.board:
        meter.board.online()
        meter.flow(75)
        litres(admin, meter, 0.1667)
        # What was counted is counted once, and counting goes on where it was.
        meter.flow(375)
        shown = litres(admin, meter, 1.0)
        assert shown["numero_serie"] == meter.serial


def test_hidrometro_15_what_it_publishes(server: RunningServer, app: Path, tmp_path: Path) -> None:
    meter = Meter(server, app, tmp_path, "02000a00e002")
    with Listener(server, "hidrometro/dados") as listener, meter.board:
        eventually(lambda: [one for one in listener.heard if one[1].get("numeroSerie") == meter.serial], 10)
        body = next(one[1] for one in listener.heard if one[1].get("numeroSerie") == meter.serial)
        assert sorted(body) == ["flowLmin", "numeroSerie", "totalLiters", "ts"]
        assert abs(body["ts"] - time.time()) < 60


def test_hidrometro_15_its_program_never_retains(server: RunningServer, app: Path, tmp_path: Path) -> None:
    meter = Meter(server, app, tmp_path, "02000a00e00a")
    with meter.board:
        # Of both kinds: the first is kept until it is stored, the others are not.
        eventually(lambda: len(rows(server, meter.device)) >= 1, 10)
        with Listener(server, "hidrometro/dados") as late:
            eventually(lambda: len(late.heard) >= 2, 10)
            assert not any(kept for _, _, _, kept in late.heard)


def test_hidrometro_15_what_it_is_told(server: RunningServer, admin: httpx.Client, app: Path, tmp_path: Path) -> None:
    one = Meter(server, app, tmp_path, "02000a00e003")
    other = Meter(server, app, tmp_path, "02000a00e004")

    def tell(**body: Any) -> None:
        answer = admin.post("/api/cmd", json=body | {"numeroSerie": one.serial})
        assert answer.status_code == 200, answer.text

    def shows(flow: float) -> None:
        eventually(lambda: current(admin, one.serial).get("flowLmin") == flow, 10)

    with one.board, other.board:
        one.board.online()
        other.board.online()
        one.flow(450)
        other.flow(450)
        litres(admin, one, 1.0)
        litres(admin, other, 1.0)
        tell(action="setCalibration", value=15)
        eventually(lambda: (one.board.flash / "meter.json").exists(), 10)
        assert one.board.read("meter.json")["factor"] == 150_000
        one.flow(900)
        litres(admin, one, 2.0)
        tell(action="simulate", value=6)
        shows(6.0)
        eventually(lambda: one.board.level(LED) == 1)
        tell(action="simOff")
        shows(0.0)
        tell(action="reset")
        litres(admin, one, 0.0)
        assert one.board.read("meter.json")["total"] == 0
        # All of it reached the neighbour, and none of it was meant for it.
        other.flow(450)
        litres(admin, other, 2.0)


def test_hidrometro_15_a_factor_is_above_zero(server: RunningServer, app: Path, tmp_path: Path) -> None:
    meter = Meter(server, app, tmp_path, "02000a00e005")
    said = meter.board.prompt(
        "from late import late\nwords = late('hidrometro_words')\n"
        "for value in ('0', '-1', '\"x\"', 'null', '1e9', 'true', '[]'):\n"
        '    text = \'{"action": "setCalibration", "value": %s}\' % value\n'
        "    say([words.command(board.contract, text), board.contract.flow.factor])\n"
    )
    assert said == [[False, 75_000]] * 7


def test_hidrometro_15_it_saves_every_minute_and_its_button_is_debounced(
    server: RunningServer, admin: httpx.Client, app: Path, tmp_path: Path
) -> None:
    meter = Meter(server, app, tmp_path, "02000a00e006", env=FAST)
    with meter.board:
        meter.board.online()
        meter.flow(450)
        litres(admin, meter, 1.0)
        eventually(lambda: (meter.board.flash / "meter.json").exists(), 15)
        assert meter.board.read("meter.json")["total"] == 1_000_000
        meter.board.kill()
        meter.board.start()
        meter.board.online(times=2)
        litres(admin, meter, 1.0)
        meter.board.write("inputs.json", {str(SENSOR): 450, str(BUTTON): 0})
        eventually(lambda: current(admin, meter.serial)["flowLmin"] == 8.0, 10)


def test_hidrometro_15_its_drawing_agrees_with_its_pins() -> None:
    pins = profile("meter")["pins"]
    assert (pins["sensor"], pins["button"], pins["led"]) == (SENSOR, BUTTON, LED)
    readme = (FIRMWARE / "README.md").read_text()
    assert "yellow → GPIO 2" in readme


def test_readings_of_an_outage_arrive_later_each_at_its_time(app: Path, tmp_path: Path) -> None:
    began = int(time.time()) - 1
    with RunningServer(tmp_path / "data") as server:
        # Every thirtieth reading is kept: every 1.5 seconds here.
        meter = Meter(server, app, tmp_path, "02000a00e007", telemetry_ms=50)
        with meter.board:
            meter.board.online()
            meter.flow(450)
            eventually(lambda: rows(server, meter.device)[-1:] == [1.0], 10)
            server.kill()
            for _ in range(4):
                meter.flow(450)
                time.sleep(1.0)
            server.restart()
            meter.board.online(60, times=2)
            eventually(lambda: rows(server, meter.device)[-1:] == [5.0], 20)
            points = server.points(meter.device, "totalLiters", began * 1000, int(time.time() * 1000) + 60_000)
            between = [value for _, value in points if 1.0 < value < 5.0]
            assert between, points
            values = [value for _, value in points]
            assert values == sorted(values)
            gone = [ts for ts, value in points if value in between]
            assert gone[0] // 1000 <= int(time.time()) - 3


def test_a_meter_is_what_it_was_after_settings_change_and_its_page_shows_it(
    server: RunningServer, admin: httpx.Client, app: Path, tmp_path: Path
) -> None:
    meter = Meter(server, app, tmp_path, "02000a00e008")
    with meter.board, meter.board.page() as page:
        meter.board.online()
        meter.flow(450)
        litres(admin, meter, 1.0)
        assert page.get("/api/current").json()["totalLiters"] == 1.0
        assert page.get("/api/status").json()["state"] == "online"
        assert meter.serial in page.get("/").text
        assert page.get("/api/sim?flow=8").status_code == 404
        # Settings begin the connection anew, not the counting.
        meter.board.tell("provision topic_cmd=hidrometro/lab/cmd")
        meter.board.online(times=2)
        meter.flow(450)
        litres(admin, meter, 2.0)
        meter.board.tell("restart")
        assert meter.board.ended() == 3
        assert meter.board.read("meter.json")["total"] == 2_000_000


def test_a_running_meter_takes_less_than_24_kb_of_heap(server: RunningServer, app: Path, tmp_path: Path) -> None:
    meter = Meter(server, app, tmp_path, "02000a00e009")
    assert heap(meter.board) < 24 * 1024
