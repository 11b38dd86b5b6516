import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.board import Board
from tests.running import REPOSITORY, RunningServer


def relevo(server: RunningServer, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relevo", *arguments, "--data", str(server.data)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    with RunningServer(tmp_path_factory.mktemp("cli-command") / "data") as one:
        yield one  # type: ignore[misc]


def test_every_step_and_the_result_are_shown(server: RunningServer) -> None:
    with Board(server, "relay", server.register("relay")) as board:
        done = relevo(server, "command", "relay", "relay", "channel=3", "state=on", "note=on the wall", 'map={"a": 1}')
        assert done.returncode == 0, done.stderr
        steps = [line.split()[1] for line in done.stdout.splitlines()[:-1]]
        assert [one for one in steps if one != "arrived"] == ["queued", "sent", "confirmed"]
        params = {"channel": 3, "state": True, "note": "on the wall", "map": {"a": 1}}
        assert json.loads(done.stdout.splitlines()[-1]) == params
        assert board.executed[0][1]["params"] == params


def test_what_was_not_done_ends_with_one(server: RunningServer) -> None:
    server.register("off")
    done = relevo(server, "command", "off", "relay", "--ttl", "1", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["state"] == "expired"


def test_mistakes_are_explained(server: RunningServer) -> None:
    unknown = relevo(server, "command", "nobody", "relay")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no device 'nobody'" in unknown.stderr
    assert "Traceback" not in unknown.stderr
    wrong = relevo(server, "command", "off", "relay", "channel")
    assert wrong.returncode == 2
    assert "'channel' is not KEY=VALUE" in wrong.stderr


def test_the_shell_completes_device_ids(server: RunningServer, tmp_path: Path) -> None:
    server.register("lamp-kitchen")
    server.register("lamp-cellar")
    words = f"relevo command --data {server.data} lamp-"
    environment = {"_RELEVO_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "4", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "relevo")], env=environment, capture_output=True, text=True, timeout=60
    )
    assert sorted(done.stdout.split()) == ["lamp-cellar", "lamp-kitchen"], done.stderr
