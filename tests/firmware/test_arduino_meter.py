"""``firmware/arduino/water_meter`` built for this machine, against a real server over real sockets."""

import json
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.firmware.arduino import ARDUINO, Sketch, needs_compiler, soon
from tests.journeys.meters import Meter as Listener
from tests.journeys.meters import claim, rows, sign_in
from tests.running import RunningServer

SENSOR, BUTTON, LED = 2, 4, 13


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Open reads, and a broker on which a test may listen to everything."""
    env = {"RELEVO_PROFILE": "lab", "RELEVO_ANONYMOUS_TOPICS": "#"}
    with RunningServer(tmp_path_factory.mktemp("meter") / "data", env=env) as one:
        yield one


@pytest.fixture(scope="module")
def admin(server: RunningServer) -> Iterator[httpx.Client]:
    with sign_in(server) as client:
        yield client


def set_up(board: Sketch, server: RunningServer, serial: str) -> None:
    board.enter("set broker 127.0.0.1", f"set port {server.mqtt_port}", f"set serial {serial}", "wifi home secret")
    board.wait(lambda: board.says("MQTT: connected"))


def current(admin: httpx.Client, serial: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get("/api/current", params={"numeroSerie": serial}).json()
    return found


def number(board: Sketch, key: str) -> float:
    found: float = struct.unpack("d", (board.nvs / f"hidrometro.{key}").read_bytes())[0]
    return found


@needs_compiler
def test_hidrometro_15_75_pulses_in_a_second_are_10_litres_a_minute(
    server: RunningServer, admin: httpx.Client, tmp_path: Path
) -> None:
    device = claim(server, "AR0001")
    with Sketch("water_meter", tmp_path) as board:
        assert board.says("Not set up yet")
        set_up(board, server, " ar0001 ")
        board.pulse(SENSOR, 75)
        board.advance(1000)
        shown = soon(lambda: (one := current(admin, "AR0001")) and one.get("flowLmin") and one)
        assert shown["flowLmin"] == 10.0
        assert shown["totalLiters"] == pytest.approx(0.1667, abs=0.0001)
        assert shown["numero_serie"] == "AR0001"
        assert board.level(LED) == 1
        board.advance(1000)
        soon(lambda: current(admin, "AR0001")["flowLmin"] == 0)
        assert board.level(LED) == 0
        assert rows(server, device)[-1] == pytest.approx(0.1667, abs=0.0001)
        # An interval that took longer than it should is counted as what it was.
        board.pulse(SENSOR, 150)
        board.advance(2000)
        soon(lambda: current(admin, "AR0001")["flowLmin"] == 10.0)


@needs_compiler
def test_a_meter_obeys_the_server(server: RunningServer, admin: httpx.Client, tmp_path: Path) -> None:
    claim(server, "AR0002")
    other = claim(server, "AR0003")
    with (
        Sketch("water_meter", tmp_path / "one", mac="02:00:00:00:00:02") as board,
        Sketch("water_meter", tmp_path / "two", mac="02:00:00:00:00:03") as neighbour,
    ):
        set_up(board, server, "AR0002")
        set_up(neighbour, server, "AR0003")

        def obeyed(count: int) -> None:
            def look() -> bool:
                board.enter("stats")
                return board.says(f"commands obeyed: {count},")

            soon(look)

        def tell(**body: Any) -> None:
            answer = admin.post("/api/cmd", json=body)
            assert answer.status_code == 200, answer.text

        tell(action="setCalibration", value=15, numeroSerie="AR0002")
        obeyed(1)
        board.rounds(1)
        assert number(board, "factor") == 15.0
        board.pulse(SENSOR, 75)
        board.advance(1000)
        soon(lambda: current(admin, "AR0002").get("flowLmin") == 5.0)
        tell(action="simulate", value=6, numeroSerie="AR0002")
        obeyed(2)
        board.advance(1000)
        soon(lambda: current(admin, "AR0002")["flowLmin"] == 6.0)
        tell(action="simOff", numeroSerie="AR0002")
        obeyed(3)
        tell(action="reset", numeroSerie="AR0002")
        obeyed(4)
        board.advance(1000)
        soon(lambda: current(admin, "AR0002")["totalLiters"] == 0)
        # All of it reached the neighbour, and none of it was meant for it.
        neighbour.enter("stats", "show")
        neighbour.wait(lambda: neighbour.says("commands obeyed: 0, for others 4, refused 0"))
        assert neighbour.says("calibration: 7.5")
        assert not (neighbour.nvs / "hidrometro.factor").exists()
        assert rows(server, other) == []


@needs_compiler
def test_total_and_calibration_outlive_a_power_cut(server: RunningServer, tmp_path: Path) -> None:
    with Sketch("water_meter", tmp_path) as board:
        board.pulse(SENSOR, 750)
        board.advance(1000)
        assert "total" not in board.wrote("hidrometro")
        board.advance(59_000)
        board.rounds(1)
        assert number(board, "total") == pytest.approx(1.6667, abs=0.0001)
        # Nothing flows: nothing is written.
        before = board.wrote("hidrometro").count("total")
        board.advance(60_000)
        board.advance(60_000)
        assert board.wrote("hidrometro").count("total") == before
        board.power_cut()
        board.start()
        board.enter("status")
        assert board.says("total: 1.6667 L")


@needs_compiler
def test_readings_of_an_outage_arrive_later_each_at_its_time_and_none_is_kept_by_the_broker(tmp_path: Path) -> None:
    started = int(time.time()) - 7200
    env = {"RELEVO_PROFILE": "lab", "RELEVO_ANONYMOUS_TOPICS": "#"}
    with RunningServer(tmp_path / "data", env=env) as server, Sketch("water_meter", tmp_path) as board:
        device = claim(server, "AR0004")
        board.clock(started)
        set_up(board, server, "AR0004")
        board.pulse(SENSOR, 75)
        board.advance(1000)
        soon(lambda: len(rows(server, device)) == 1)
        server.kill()
        board.wait(lambda: board.says("the connection is gone"))
        for _ in range(3):
            board.pulse(SENSOR, 75 * 30)
            board.advance(30_000)
        server.start()
        board.advance(30_000)
        soon(lambda: board.advance(1000) or len(rows(server, device)) >= 5)
        points = server.points(device, "totalLiters", (started - 10) * 1000, (started + 3600) * 1000)
        # One before the outage; one every half a minute of it.
        assert [ts // 1000 - started for ts, _ in points[:4]] == [1, 31, 61, 91]
        litres = [1 / 6, 5 + 1 / 6, 10 + 1 / 6, 15 + 1 / 6]
        assert [value for _, value in points[:4]] == pytest.approx(litres, abs=0.001)
        # Who listens from now on gets what comes from now on.
        with Listener(server, "hidrometro/dados") as listener:
            board.advance(1000)
            soon(lambda: listener.heard)
            (_, body, _, kept) = listener.heard[0]
            assert (body["numeroSerie"], kept) == ("AR0004", False)
            assert body["ts"] > points[-1][0] // 1000 - 1


@needs_compiler
def test_its_button_is_debounced_and_simulates(tmp_path: Path) -> None:
    with Sketch("water_meter", tmp_path) as board:
        board.pin(BUTTON, 0)
        board.advance(49)
        board.pin(BUTTON, 1)
        board.advance(1000)
        assert board.level(LED) == 0
        board.pin(BUTTON, 0)
        board.advance(50)
        board.advance(5000)
        assert board.level(LED) == 1
        board.enter("status")
        assert board.says("flow: 8.000 L/min (simulated)")
        board.pin(BUTTON, 1)
        board.pin(BUTTON, 0)
        board.advance(50)
        board.advance(1000)
        assert board.level(LED) == 0


@needs_compiler
def test_settings_that_cannot_be_are_refused_and_secrets_are_not_shown(tmp_path: Path) -> None:
    with Sketch("water_meter", tmp_path) as board:
        for wrong in ("port 0", "topic_cmd a/#", "topic_dados", "color blue", f"serial {'x' * 65}"):
            board.enter(f"set {wrong}")
        assert board.says("No such setting")
        assert sum("cannot have that value" in line for line in board.lines) == 4
        board.enter("set password hush-hush", "show")
        assert board.says("password: ***")
        assert not board.says("hush-hush")
        board.rounds(1)
        assert "hush-hush" not in (board.nvs / "hidrometro.config").read_text()
        assert json.loads((board.nvs / "hidrometro.config").read_text())["broker"] == ""
        board.enter("factory-reset")
        board.restarted()
        board.enter("show")
        assert not board.says("***")


@needs_compiler
def test_a_display_shows_flow_and_total(tmp_path: Path) -> None:
    with Sketch("water_meter_lcd", tmp_path) as board:
        board.pulse(SENSOR, 75)
        board.advance(1000)
        assert board.says("@lcd 0    10.00 L/min")
        assert board.says("@lcd 1         0.17 L")


def test_the_drawing_agrees_with_the_program() -> None:
    folder = ARDUINO / "water_meter"
    pins = dict(re.findall(r"constexpr uint8_t (\w+_PIN) = (\d+);", (folder / "config.h").read_text()))
    assert pins == {"SENSOR_PIN": str(SENSOR), "BUTTON_PIN": str(BUTTON), "LED_PIN": str(LED)}
    drawing = json.loads((folder / "diagram.json").read_text())
    kinds = {part["id"]: part["type"] for part in drawing["parts"]}
    wires = {tuple(wire[:2]) for wire in drawing["connections"]} | {
        (wire[1], wire[0]) for wire in drawing["connections"]
    }
    assert all(end.split(":")[0] in {*kinds, "$serialMonitor"} for wire in wires for end in wire)
    assert ("flow:CLK", f"esp:{pins['SENSOR_PIN']}") in wires
    assert ("button:1.r", f"esp:{pins['BUTTON_PIN']}") in wires
    assert ("resistor:1", f"esp:{pins['LED_PIN']}") in wires
    # 75 Hz are 10 L/min.
    assert next(part["attrs"]["frequency"] for part in drawing["parts"] if part["id"] == "flow") == "75"
    environment = re.search(r"firmware = '\.pio/build/(\w+)/firmware\.bin'", (folder / "wokwi.toml").read_text())
    assert environment is not None
    settings = (folder / "platformio.ini").read_text()
    assert f"[env:{environment[1]}]" in settings
    assert "-DWITH_LCD" in settings
    assert "LCD_ADDRESS = 0x27" in (folder / "config.h").read_text()
