"""The suites of ``firmware/micropython/tests`` on every interpreter that is here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.firmware.boards import APP, FIRMWARE, interpreters
from tests.running import free_ports

PLACE = FIRMWARE / "tests"
SUITES = sorted(one.stem for one in PLACE.glob("suite_*.py"))


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("interpreter", interpreters())
def test_a_suite_passes(interpreter: str, suite: str, tmp_path: Path) -> None:
    command = [sys.executable] if interpreter == "cpython" else interpreters()[interpreter]
    told = subprocess.run(
        [*command, str(PLACE / "run.py"), str(APP), suite],
        cwd=tmp_path, env=os.environ | {"BOARD_TEST_PORT": str(free_ports(1)[0])}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    assert told.stdout.count("ok test_") == _tests_of(suite), told.stdout


def _tests_of(suite: str) -> int:
    lines = (PLACE / f"{suite}.py").read_text().splitlines()
    return sum(line.startswith(("def test_", "async def test_")) for line in lines)
