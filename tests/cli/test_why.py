import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.raw import Raw, connect
from tests.journeys.live import eventually
from tests.running import REPOSITORY, RunningServer


def relevo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relevo", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    with RunningServer(tmp_path_factory.mktemp("cli-why") / "data") as one:
        one.register("lamp")
        with Raw(one.mqtt_port, connect("lamp", user="lamp", password=b"wrong")) as raw:
            raw.expect(b"\x20\x02\x00\x04")
        eventually(lambda: "bad_credentials" in one.api.get("/api/v1/devices/lamp/timeline").text)
        yield one  # type: ignore[misc]


def test_the_verdict_comes_first_and_says_what_helps(server: RunningServer) -> None:
    done = relevo("why", "lamp", "--data", str(server.data))
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("lamp is offline, never heard. The key or password is not the device's")
    assert "Put the key" in first
    assert "refused bad_credentials wrong or missing key for device lamp [127.0.0.1]" in done.stdout


def test_programs_get_all_of_it(server: RunningServer) -> None:
    found = json.loads(relevo("why", "lamp", "--json", "--data", str(server.data)).stdout)
    assert found["story"][0]["reason"] == "bad_credentials"


def test_without_a_server_the_command_says_what_to_do(tmp_path: Path) -> None:
    done = relevo("why", "lamp", "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no Relevo runs on" in done.stderr
    assert "Traceback" not in done.stderr
