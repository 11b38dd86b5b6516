"""``relevo firmware``: from an image on this machine to boards that run it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boards import HttpBoard, image
from tests.journeys.live import eventually
from tests.running import REPOSITORY, RunningServer


def relevo(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relevo", "firmware", *arguments, "--data", str(server.data)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("cli-firmware") / "data") as one:
        yield one


def board(server: RunningServer, name: str) -> HttpBoard:
    answer = server.api.post("/api/v1/devices", json={"id": name, "tags": ["hall"]})
    made = HttpBoard(server, name, server.canaries.plant(answer.json()["key"]))
    assert made.look() is None
    return made


def test_from_a_file_to_a_board(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "relay-1.4.0.tar"
    file.write_bytes(image("1.4.0", notes="[bold]what changed"))
    done = relevo(server, "upload", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("relay-1.4.0: 2 files, ")
    assert "relay-1.4.0" in relevo(server, "list").stdout
    shown = relevo(server, "show", "relay-1.4.0").stdout
    assert "[bold]what changed" in shown
    assert "main.py" in shown
    key = relevo(server, "key").stdout.strip()
    assert key == server.api.get("/api/v1/firmware/key").json()["key"]
    with board(server, "hall-1") as one, board(server, "hall-2") as two:
        options = ("relay-1.4.0", "--tag", "hall", "--waves", "50,100", "--pause", "0")
        preview = relevo(server, "rollout", *options, "--preview")
        assert preview.stdout.startswith("2 devices would get relay-1.4.0, 0 of them are online")
        begun = relevo(server, "rollout", *options, "--json")
        assert begun.returncode == 0, begun.stderr
        number = json.loads(begun.stdout)["id"]
        assert "paused" in relevo(server, "pause", number).stdout
        again = relevo(server, "pause", number)
        assert (again.returncode, again.stderr) == (1, "relevo: the roll-out is paused\n")
        assert "running" in relevo(server, "resume", number).stdout
        used = relevo(server, "remove", "relay-1.4.0")
        assert used.returncode == 1
        assert "cancel that first" in used.stderr
        first, then = (
            (one, two) if eventually(lambda: one.look() or two.look(), 10)["device"] == "hall-1" else (two, one)
        )
        assert first.update()
        eventually(lambda: then.update(), 10)
        watched = relevo(server, "status", number, "--watch")
        assert watched.returncode == 0, watched.stdout + watched.stderr
        assert "done" in watched.stdout
    listed = relevo(server, "status", number, "--devices").stdout
    assert "hall-1" in listed
    assert "hall-2" in listed
    assert number in relevo(server, "rollouts").stdout
    assert relevo(server, "remove", "relay-1.4.0").returncode == 0


def test_mistakes_are_explained(server: RunningServer, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.tar"
    wrong.write_bytes(b"nothing")
    for arguments, words in (
        (("upload", str(wrong)), "no multiple of 512"),
        (("upload", str(tmp_path / "none.tar")), "No such file"),
        (("show", "none-1.0.0"), "no release 'none-1.0.0'"),
        (("rollout", "none-1.0.0", "--all"), "which is no release"),
        (("status", "none"), "no roll-out 'none'"),
    ):
        done = relevo(server, *arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert relevo(server, "rollout", "x-1.0.0", "--all", "--waves", "5;100").returncode == 2


def test_a_failed_roll_out_ends_with_one_and_can_be_retried(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(image("1.5.0"))
    assert relevo(server, "upload", str(file)).returncode == 0
    with board(server, "alone") as one:
        begun = relevo(server, "rollout", "1.5.0", "--device", "alone", "--waves", "100")
        assert begun.returncode == 1, "a version alone is no release"
        begun = relevo(server, "rollout", "relay-1.5.0", "--device", "alone", "--waves", "100", "--json")
        number = json.loads(begun.stdout)["id"]
        assert eventually(lambda: one.update("failed", "hash"), 10)
        status = eventually(lambda: "halted" in (now := relevo(server, "status", number)).stdout and now, 15)
        assert status.returncode == 1
        assert "1 of 1 failed, more than 20 %" in status.stdout
        assert "waiting" in relevo(server, "retry", number, "--state", "failed").stdout
        assert "running" in relevo(server, "resume", number).stdout
        assert eventually(one.update, 10)
        assert relevo(server, "status", number, "--watch").returncode == 0
        assert relevo(server, "cancel", number).returncode == 1
