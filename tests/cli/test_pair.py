"""``relevo pair`` and ``relevo factory import`` against a running server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import REPOSITORY, RunningServer


def relevo(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "relevo", *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> RunningServer:  # type: ignore[misc]
    with RunningServer(tmp_path_factory.mktemp("pair") / "data") as one:
        local = one.data / "local.json"
        local.write_text(json.dumps({"http": one.http, "key": one.token}))
        yield one  # type: ignore[misc]


def test_pairing_is_opened_and_closed_from_the_command_line(server: RunningServer) -> None:
    opened = relevo("pair", "--minutes", "3", "--data", str(server.data))
    assert opened.returncode == 0, opened.stderr
    assert "open until" in opened.stderr
    assert 170 <= server.api.get("/api/v1/pairing").json()["seconds_left"] <= 180
    closed = relevo("pair", "--close", "--data", str(server.data))
    assert closed.returncode == 0, closed.stderr
    assert server.api.get("/api/v1/pairing").json()["open"] is False


def test_minutes_beyond_an_hour_are_refused_with_the_limit(server: RunningServer) -> None:
    refused = relevo("pair", "--minutes", "61", "--data", str(server.data))
    assert refused.returncode == 2
    assert "60" in refused.stderr


def test_without_a_server_the_command_says_what_to_do(tmp_path: Path) -> None:
    told = relevo("pair", "--data", str(tmp_path))
    assert told.returncode == 1
    assert "relevo serve" in told.stderr


def test_a_factory_list_is_imported_from_a_file(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("contract,serial,key,name,type,site,tags\nnative,cli-1,,,,,\nnative,cli 2,,,,,\n")
    done = relevo("factory", "import", str(file), "--data", str(server.data))
    assert done.returncode == 1, done.stderr
    assert "1 created, 1 refused" in done.stderr
    assert [row["outcome"] for row in json.loads(done.stdout)["rows"]] == ["created", "refused"]
    assert relevo("factory", "import", str(tmp_path / "none.csv"), "--data", str(server.data)).returncode == 2
