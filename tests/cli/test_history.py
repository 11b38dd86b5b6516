"""``relevo export`` and ``relevo import`` against a server that runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange.test_exports import send
from tests.running import REPOSITORY, RunningServer

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("history") / "data") as one:
        one.register("shed")
        send(one, "shed", [(n, {"t": n / 4, "on": n % 2 == 0}) for n in range(2_000)])
        yield one


def run(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relevo", *arguments, "--data", str(server.data)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_name_says_the_format(server: RunningServer, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"all.{suffix}"
    ended = run(server, "export", str(file), "--device", "shed", "--key", "t")
    assert ended.returncode == 0, ended.stderr
    assert file.read_bytes() == server.api.get(f"/api/v1/devices/shed/telemetry.{suffix}?keys=t").content
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


def test_a_span_goes_out_and_comes_back_under_another_name(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "some.csv"
    since, until = "2026-01-01T00:00:00.100Z", "2026-01-01T00:00:00.200Z"
    assert run(server, "export", str(file), "--device", "shed", "--since", since, "--until", until).returncode == 0
    assert len(file.read_text().splitlines()) == 101
    named = ("--format", "columns", "--device", "copy", "--name", "t=temperature", "--name", "on=door", "--create")
    ended = run(server, "import", str(file), *named, "--json")
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert (report["points"], report["created"], report["done"]) == (200, ["copy"], True)
    again = run(server, "import", str(file), *named)
    assert "0 values in 0 readings, 200 were there already" in again.stdout


def test_what_is_left_out_is_named(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text('time,device,"t"\nsoon,shed,1\n2026-02-01T00:00:00Z,nobody,1\n')
    ended = run(server, "import", str(file))
    assert ended.returncode == 1
    assert "line 2: time: 'soon' is no time" in ended.stderr
    assert "no such devices: nobody; --create registers them" in ended.stderr


def test_a_file_of_another_kind_is_refused_with_what_to_do(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    # Longer than what fits into sockets, so that it is refused while it comes.
    file.write_bytes(b"when,what\n" + b"1,2\n" * 4_000_000)
    ended = run(server, "import", str(file))
    assert (ended.returncode, "with the format columns" in ended.stderr) == (1, True), ended.stderr
    ended = run(server, "export", str(tmp_path / "all.xls"))
    assert (ended.returncode, "the name has to end in .csv" in ended.stderr) == (1, True)


def test_interrupted_it_leaves_no_file_that_looks_whole(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "cut.csv"
    # A pipe that nobody reads holds the command in the middle of its file.
    os.mkfifo(tmp_path / "cut.csv.partial")
    command = [sys.executable, "-m", "relevo", "export", str(file), "--data", str(server.data)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    reader = os.open(tmp_path / "cut.csv.partial", os.O_RDONLY | os.O_NONBLOCK)
    try:
        end = time.monotonic() + 30
        while not _begun(reader):
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
    finally:
        os.close(reader)
    assert not file.exists()


def _begun(reader: int) -> bool:
    try:
        return bool(os.read(reader, 1))
    except BlockingIOError:
        return False
