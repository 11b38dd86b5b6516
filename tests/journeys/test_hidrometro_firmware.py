"""The firmware of ``firmware/micropython/hidrometro`` under a real MicroPython, with its hardware replaced."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.node import installed
from tests.running import REPOSITORY

HERE = Path(__file__).parent
FIRMWARE = REPOSITORY / "firmware/micropython/hidrometro"


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    command = ["node", HERE / "micropython.mjs", installed(), FIRMWARE, HERE / "meter_on_the_bench.py"]
    ended = subprocess.run([str(one) for one in command], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_hidrometro_15_firmware_arithmetic(said: dict[str, Any]) -> None:
    assert said["python"] == "micropython"
    assert said["flow"] == 10.0
    assert said["total"] == pytest.approx(0.1667, abs=0.0001)
    # Copied and cleared with interrupts masked, and what masking gave is given back.
    assert said["masks"] == ["masked", 7]
    assert said["then"] == [0.0, said["total"]]


def test_hidrometro_15_a_factor_is_above_zero(said: dict[str, Any]) -> None:
    assert len(said["refused"]) == 6
    assert said["factor"] == 7.5


def test_hidrometro_15_what_it_publishes(said: dict[str, Any]) -> None:
    assert said["reading"] == {
        "totalLiters": pytest.approx(815.4167, abs=0.001),
        "flowLmin": 10.0,
        "numeroSerie": "HX2041",
        "ts": 1_767_225_600,
    }
    assert said["anonymous"] == ["flowLmin", "totalLiters"]
    assert said["topics"] == [["hidrometro/dados", "hidrometro/cmd"], ["hidrometro/1/2/dados", "hidrometro/cmd"]]


def test_hidrometro_15_what_it_is_told(said: dict[str, Any]) -> None:
    assert said["commands"] == [True] + [False] * 6
    assert said["kept"]["factor"] == 15.0
    assert (said["recalibrated"], said["simulated"], said["changed"], said["off"]) == (5.0, 8.0, 2.5, 0.0)
    assert said["reset"] is True
    assert said["after"] == 0.0


def test_hidrometro_15_it_saves_every_minute_and_its_button_is_debounced(said: dict[str, Any]) -> None:
    assert said["saves"] == 1
    assert said["bounced"] is None
    assert said["pressed"] == 8.0


def test_hidrometro_15_its_program_never_retains() -> None:
    program = (FIRMWARE / "main.py").read_text()
    assert "client.publish(data.encode(), payload, False, 0)" in program
    assert "SENSOR_PIN = 2\n" in program
    assert "GPIO 2 (SENSOR_PIN)" in (FIRMWARE / "README.md").read_text()
