"""An acknowledgement waits for one sync; under load many acknowledgements share one."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.ledger import LedgerClient
from tests.running import RunningServer

STRACE = shutil.which("strace")
SETTLE_SECONDS = 1.5
ALONE = 10
TOGETHER = 600

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]

_FINISHED = re.compile(r"^\d+\s+(\d+\.\d+) (?:fsync|fdatasync)\(.*= (-?\d+).*<(\d+\.\d+)>$")
_BEGUN = re.compile(r"^(\d+)\s+(\d+\.\d+) (?:fsync|fdatasync)\(.*<unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+)\s+\d+\.\d+ <\.\.\. (?:fsync|fdatasync) resumed>.*= (-?\d+).*<(\d+\.\d+)>$")


class Syncs:
    """The syncs of a process as strace sees them."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def between(self, begin: float, end: float) -> list[tuple[float, float]]:
        """(begun, ended) of all that began in a span of wall time, in seconds."""
        found: list[tuple[float, float]] = []
        begun: dict[str, float] = {}
        for line in self.log.read_text().splitlines():
            if match := _FINISHED.match(line):
                started = float(match[1])
                found.append((started, started + float(match[3])))
            elif match := _BEGUN.match(line):
                begun[match[1]] = float(match[2])
            elif (match := _RESUMED.match(line)) and match[1] in begun:
                started = begun.pop(match[1])
                found.append((started, started + float(match[3])))
        return [sync for sync in found if begin <= sync[0] <= end]


@contextmanager
def watched(pid: int, directory: Path) -> Iterator[Syncs]:
    """Attach strace to a running server; skips the test where that is not allowed."""
    if STRACE is None:
        pytest.skip("strace is not installed")
    log, words = directory / "strace.log", directory / "strace.err"
    command = [STRACE, "-f", "-ttt", "-T", "-e", "trace=fsync,fdatasync", "-o", str(log), "-p", str(pid)]
    with words.open("w") as errors:
        process = subprocess.Popen(command, stderr=errors)
    try:
        end = time.monotonic() + 10
        while "attached" not in words.read_text():
            if process.poll() is not None or time.monotonic() > end:
                pytest.skip(f"strace cannot attach here: {words.read_text().strip()}")
            time.sleep(0.02)
        time.sleep(0.2)
        yield Syncs(log)
    finally:
        process.terminate()
        process.wait()


def test_one_message_alone_costs_exactly_one_sync_and_it_is_over_before_the_ack(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        client = LedgerClient(server, "sync-1", server.register("sync-1"), numbered=True)
        try:
            client.connect()
            client.acknowledged_at(client.send())
            with watched(server.pid, tmp_path) as syncs:
                time.sleep(SETTLE_SECONDS)
                spans = []
                for _ in range(ALONE):
                    begin = time.time()
                    spans.append((begin, client.acknowledged_at(client.send())))
                    time.sleep(0.25)
                time.sleep(0.3)
                seen = [syncs.between(begin, max(begin + 0.2, acknowledged)) for begin, acknowledged in spans]
        finally:
            client.close()
    for (_, acknowledged), found in zip(spans, seen, strict=True):
        assert len(found) == 1, seen
        assert found[0][1] <= acknowledged, f"acknowledged {found[0][1] - acknowledged} s before the sync was over"


def test_syncs_a_message_fall_as_the_load_rises(tmp_path: Path) -> None:
    share: dict[int, float] = {}
    with RunningServer(tmp_path / "data") as server:
        clients = {
            in_flight: LedgerClient(server, name, server.register(name), numbered=True, in_flight=in_flight)
            for in_flight, name in ((1, "load-1"), (10, "load-10"), (100, "load-100"))
        }
        try:
            for client in clients.values():
                client.connect()
                client.acknowledged_at(client.send())
            with watched(server.pid, tmp_path) as syncs:
                for in_flight, client in clients.items():
                    time.sleep(SETTLE_SECONDS)
                    begin = time.time()
                    count = TOGETHER if in_flight > 1 else TOGETHER // 6
                    for _ in range(count):
                        client.send()
                    assert client.drained(30)
                    share[in_flight] = len(syncs.between(begin, time.time())) / count
        finally:
            for client in clients.values():
                client.close()
    print("syncs a message by messages in flight:", share)
    assert share[1] >= 0.95
    assert share[100] < share[10] < share[1]
    assert share[100] <= 0.2
