"""A full disk: no acknowledgement, a health check that says why, and everything caught up with when there is room."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.ledger import LedgerClient
from tests.running import RunningServer

SIZE = 24 * 1024 * 1024
QUIET_SECONDS = 2.0

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of ``SIZE`` bytes in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_stops_acknowledgements_and_loses_none(small_disk: Path, tmp_path: Path) -> None:
    filler = small_disk / "filler"
    with RunningServer(small_disk / "data", log=tmp_path / "server.log") as server:
        client = LedgerClient(server, "full-1", server.register("full-1"), numbered=True, in_flight=50)
        try:
            client.connect()
            client.start_sending(200)
            _until(lambda: client.acknowledged > 100, 15)

            _fill(filler)
            # What the database had set aside before may still take some messages, so the door closes a little later.
            quiet = _until_quiet(client, 30)
            answer = server.health()
            assert answer.status_code == 503, answer.text
            assert any(word in answer.text.lower() for word in ("full", "space", "disk")), answer.text
            assert client.waiting > 0
            time.sleep(QUIET_SECONDS)
            assert client.acknowledged == quiet, "acknowledged something while the disk was full"

            filler.unlink()
            server.wait_ready(30)
            client.stop_sending()
            assert client.drained(30), f"{client.waiting} of {client.sent} were never acknowledged"
            faults = client.faults(server)
        finally:
            client.close()
        print(f"{client.acknowledged} acknowledged, {quiet} of them before the disk was full")
        assert faults == [], faults[:10]


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def _until_quiet(client: LedgerClient, seconds: float) -> int:
    """Wait until no acknowledgement came for a while; returns how many there were."""
    end = time.monotonic() + seconds
    while True:
        before = client.acknowledged
        time.sleep(QUIET_SECONDS)
        if client.acknowledged == before:
            return before
        assert time.monotonic() < end, "still acknowledging on a full disk"


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)
