"""``kill -9`` while readings move from the journal into chunks: each is there, and each is there once."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from relevo.store.db import FILE_NAME, open_reader
from relevo.store.history.chunks import progress
from tests.faults.ledger import LedgerClient
from tests.running import RunningServer

ROUNDS = int(os.environ.get("RELEVO_FAULT_ROUNDS", "3"))
SEED = int(os.environ.get("RELEVO_FAULT_SEED", "20150205"))
OTHERS = 200
READINGS = 10

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180 + 60 * ROUNDS)]


def test_everything_is_there_once_when_the_server_is_killed_while_it_compacts(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    database = tmp_path / "data" / FILE_NAME
    # So little that it is always at it.
    with RunningServer(tmp_path / "data", env={"RELEVO_HISTORY__TAIL_EVENTS": "100"}) as server:
        names = [f"pack-{kind}-{number}" for kind in ("numbered", "plain") for number in range(3)]
        clients = [
            LedgerClient(server, name, server.register(name), numbered="numbered" in name, in_flight=50)
            for name in names
        ]
        others = [f"other-{number:03}" for number in range(OTHERS)]
        for name in others:
            server.register(name)
        begun = int(time.time() * 1000) - 3_600_000
        interrupted = 0
        try:
            for client in clients:
                client.connect()
                client.start_sending(150.0)
            for number in range(ROUNDS):
                # Many devices make a pass of many steps.
                for ts in range(begun + number * READINGS, begun + (number + 1) * READINGS):
                    items = [{"device": name, "ts": ts, "values": {"a": ts, "b": ts % 2 == 0}} for name in others]
                    assert server.api.post("/api/v1/telemetry", json=items).status_code == 200
                _until(lambda: _progress(database)[2] > rng.randrange(OTHERS), 100)
                workers = psutil.Process(server.pid).children()
                server.kill()
                interrupted += _progress(database)[2] > 0
                # Those that worked for it end by themselves.
                assert psutil.wait_procs(workers, 20)[1] == []
                server.restart()
            for client in clients:
                client.stop_sending()
            assert all(client.drained(30) for client in clients), {c.device: c.waiting for c in clients}
            faults = [fault for client in clients for fault in client.faults(server)]
            _until(lambda: _metric(server, "relevo_history_tail_events") < 100, 100)
            faults += [fault for client in clients for fault in client.faults(server)]
            for name in others:
                wanted = [(begun + n, begun + n) for n in range(ROUNDS * READINGS)]
                if server.points(name, "a", 0, begun * 2) != wanted:
                    faults.append(f"{name}: a")
                if server.points(name, "b", 0, begun * 2) != [(ts, ts % 2 == 0) for ts, _ in wanted]:
                    faults.append(f"{name}: b")
            log = server.log.read_text()
        finally:
            for client in clients:
                client.close()
        sent = sum(client.sent for client in clients)
    print(f"{ROUNDS} kills, {sent} messages, {interrupted} passes were interrupted between two steps, seed {SEED}")
    assert faults == [], faults[:10]
    assert "compaction_failed" not in log
    assert interrupted > 0, "no kill met a pass half done: nothing was proved"
    assert _progress(database)[0] > ROUNDS * READINGS * OTHERS


def _progress(path: Path) -> tuple[int, int, int]:
    connection = open_reader(path)
    try:
        return progress(connection)
    finally:
        connection.close()


def _metric(server: RunningServer, name: str) -> float:
    lines = server.api.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[1])


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.001)
