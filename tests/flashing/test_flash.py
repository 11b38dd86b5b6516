"""``relevo flash`` from the command line: a board is registered, gets its files and its key, and shows a code to scan.

``mpremote`` is played here: it speaks the raw prompt of a microcontroller, which MicroPython for computers does not
have. What it is told to run is run by a real MicroPython, and what it copies lands in a folder.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import REPOSITORY, RunningServer

_PLAYED = """#!{python}
import json, os, shutil, subprocess, sys
flash = {flash!r}
words = sys.argv[1:]
assert words[:2] == ["connect", "/dev/ttyTEST"], words
if not os.path.isdir(flash):
    sys.exit("mpremote: no device found")
# On a computer there is no chip with an address of its own.
before = "import sys\\nclass machine:\\n def unique_id():\\n  return bytes.fromhex('a0b1c20a1b2c')\\n"
before += "sys.modules['machine'] = machine\\n"
step = []
for word in [*words[2:], "+"]:
    if word != "+":
        step.append(word)
        continue
    if step[0] == "exec":
        ended = subprocess.run([{micropython!r}, "-c", before + step[1]], cwd=flash)
        if ended.returncode:
            sys.exit(ended.returncode)
    elif step[:2] == ["fs", "cp"]:
        assert step[3][0] == ":"
        shutil.copy(step[2], os.path.join(flash, step[3][1:]))
    else:
        assert step == ["reset"], step
        open(flash + "/was-reset", "w").close()
    step = []
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("flash") / "data") as one:
        yield one


class Bench:
    """A board at a cable, and the command line beside the server."""

    def __init__(self, folder: Path, micropython: str, server: RunningServer) -> None:
        self.flash = folder / "flash"
        self.flash.mkdir()
        tools = folder / "tools"
        tools.mkdir()
        played = tools / "mpremote"
        played.write_text(_PLAYED.format(python=sys.executable, flash=str(self.flash), micropython=micropython))
        played.chmod(0o755)
        self._path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        self._server = server

    def relevo(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "relevo", *words, "--data", str(self._server.data)]
        env = os.environ | {"PATH": self._path}
        return subprocess.run(
            command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )

    def read(self, name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.flash / name).read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path, micropython: str, server: RunningServer) -> Bench:
    return Bench(tmp_path, micropython, server)


def test_a_board_is_registered_and_gets_its_files_and_its_key(bench: Bench, server: RunningServer) -> None:
    words = ("flash", "/dev/ttyTEST", "--profile", "relay16", "--name", "Pump house", "--server", "10.0.0.2")
    ended = bench.relevo(*words, "--wifi", "home", "--wifi-password", "between us")
    assert ended.returncode == 0, ended.stderr
    assert "Pump house is registered" in ended.stderr and "/ui/claim?contract=autocore" in ended.stderr
    # The code to scan is drawn with blocks.
    assert "\N{UPPER HALF BLOCK}" in ended.stderr or "\N{FULL BLOCK}" in ended.stderr
    config, hidden = bench.read("config.json"), bench.read("secrets.json")
    uuid = "550e8400-e29b-41d4-a716-0a1b2c"
    assert config["device_uuid"] == uuid and config["backend_ip"] == "10.0.0.2" and config["wifi_ssid"] == "home"
    assert hidden["wifi_password"] == "between us" and "between us" not in (bench.flash / "config.json").read_text()
    assert bench.read("profile.json")["contract"] == "autocore"
    assert config["update_key"] == server.api.get("/api/v1/firmware/key").json()["key"]
    assert (bench.flash / "boot.py").is_file() and (bench.flash / "a" / "app.mpy").is_file()
    assert (bench.flash / "was-reset").exists()
    # The key is this board's.
    headers = {"Authorization": f"Bearer {hidden['device_token']}"}
    import httpx

    answer = httpx.get(f"{server.http}/api/mqtt/config", headers=headers, trust_env=False)
    assert answer.status_code == 200 and answer.json()["username"]
    # No command line showed it, and nothing said it.
    assert str(hidden["device_token"]) not in ended.stderr + ended.stdout


def test_a_board_that_is_known_gets_another_key_and_the_old_one_ends(bench: Bench, server: RunningServer) -> None:
    words = ("flash", "/dev/ttyTEST", "--profile", "relay16")
    assert bench.relevo(*words).returncode == 0
    before = bench.read("secrets.json")["device_token"]
    again = bench.relevo(*words)
    assert again.returncode == 0 and "registered already" in again.stderr
    after = bench.read("secrets.json")["device_token"]
    import httpx

    path = f"{server.http}/api/mqtt/config"
    assert httpx.get(path, headers={"Authorization": f"Bearer {before}"}, trust_env=False).status_code != 200
    assert httpx.get(path, headers={"Authorization": f"Bearer {after}"}, trust_env=False).status_code == 200


def test_no_board_at_the_port_is_said_and_registers_nothing(bench: Bench, server: RunningServer) -> None:
    bench.flash.rmdir()
    before = server.api.get("/api/v1/devices").json()["items"]
    ended = bench.relevo("flash", "/dev/ttyTEST", "--profile", "relay16")
    assert ended.returncode == 1 and "relevo: the board at /dev/ttyTEST: mpremote: no device found" in ended.stderr
    assert server.api.get("/api/v1/devices").json()["items"] == before


def test_a_profile_that_is_not_there_is_refused_before_anything_happens(bench: Bench) -> None:
    ended = bench.relevo("flash", "/dev/ttyTEST", "--profile", "toaster")
    assert ended.returncode == 1 and "no profile 'toaster'; there are" in ended.stderr
    assert list(bench.flash.iterdir()) == []
