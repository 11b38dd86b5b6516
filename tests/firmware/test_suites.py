"""The suites of ``firmware/micropython/tests`` on every interpreter that is here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relevo.flashing import building
from tests.clients.node import installed
from tests.firmware.boards import APP, FIRMWARE, interpreters
from tests.running import REPOSITORY, free_ports

PLACE = FIRMWARE / "tests"
SUITES = sorted(one.stem for one in PLACE.glob("*.py") if one.stem.startswith("suite_"))
# The WebAssembly build has neither sockets nor noise.
SUITES_WITHOUT_SOCKETS = ("suite_autocore", "suite_hidrometro", "suite_native", "suite_pure", "suite_thingsnxt")
WITHOUT_NOISE = """
import os, random, sys
class Os:
    urandom = staticmethod(lambda n: bytes(random.getrandbits(8) for _ in range(n)))
for name in dir(os):
    if name[0] != "_":
        setattr(Os, name, staticmethod(getattr(os, name)) if callable(getattr(os, name)) else getattr(os, name))
sys.modules["os"] = Os
os.mkdir("/flash")
os.chdir("/flash")
import run
print("failed", run.run("SUITE"))
"""


@pytest.fixture(scope="session")
def byte_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything as a board has it: what would be compiled on its heap would not fit there."""
    place = tmp_path_factory.mktemp("suites")
    for folder in ("app", "launcher", "tests"):
        (place / folder).mkdir()
        for source in (FIRMWARE / folder).glob("*.py"):
            code = building.compile_module(source, checked=folder == "tests")
            (place / folder / f"{source.stem}.mpy").write_bytes(code)
    shutil.copy(PLACE / "run.py", place / "tests")
    return place


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("interpreter", interpreters())
def test_a_suite_passes(interpreter: str, suite: str, tmp_path: Path, byte_code: Path) -> None:
    command, place = [sys.executable], FIRMWARE
    if interpreter != "cpython":
        command, place = interpreters()[interpreter], byte_code
    told = subprocess.run(
        [*command, str(place / "tests" / "run.py"), str(place / "app"), suite],
        cwd=tmp_path,
        env=os.environ | {"BOARD_TEST_PORT": str(free_ports(1)[0])},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    assert told.stdout.count("ok test_") == _tests_of(suite), told.stdout


@pytest.mark.parametrize("suite", SUITES_WITHOUT_SOCKETS)
def test_a_suite_passes_in_the_webassembly_build(suite: str, tmp_path: Path) -> None:
    home = installed()
    modules = tmp_path / "modules"
    modules.mkdir()
    for source in (*APP.glob("*.py"), *PLACE.glob("*.py")):
        shutil.copy(source, modules)
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_NOISE.replace("SUITE", suite))
    line = ["node", str(REPOSITORY / "tests/journeys/micropython.mjs"), str(home), str(modules), str(program)]
    told = subprocess.run(line, capture_output=True, text=True, timeout=100)
    assert "failed 0" in told.stdout, told.stdout[-3000:] + told.stderr[-1000:]
    assert told.stdout.count("ok test_") == _tests_of(suite), told.stdout


def _tests_of(suite: str) -> int:
    lines = (PLACE / f"{suite}.py").read_text().splitlines()
    return sum(line.startswith(("def test_", "async def test_")) for line in lines)
