"""``kill -9`` under load, again and again: no acknowledged message is ever missing, no numbered one is there twice."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.ledger import LedgerClient
from tests.running import RunningServer

ROUNDS = int(os.environ.get("RELEVO_FAULT_ROUNDS", "3"))
SEED = int(os.environ.get("RELEVO_FAULT_SEED", "20150205"))
PER_SECOND = 250.0

pytestmark = [pytest.mark.fault, pytest.mark.timeout(60 + 15 * ROUNDS)]


def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    with RunningServer(tmp_path / "data") as server:
        names = [f"kill-{kind}-{number}" for kind in ("numbered", "plain") for number in range(3)]
        clients = [
            LedgerClient(server, name, server.register(name), numbered="numbered" in name, in_flight=50)
            for name in names
        ]
        try:
            for client in clients:
                client.connect()
                client.start_sending(PER_SECOND)
            caught_in_flight = 0
            for _ in range(ROUNDS):
                before = sum(client.acknowledged for client in clients)
                time.sleep(rng.uniform(0.2, 1.5))
                _until(lambda before=before: sum(client.acknowledged for client in clients) > before + 50, 15)
                time.sleep(rng.uniform(0.0, 0.05))
                server.kill()
                caught_in_flight += sum(client.waiting for client in clients)
                time.sleep(rng.uniform(0.0, 0.3))
                server.restart()
            for client in clients:
                client.stop_sending()
            assert all(client.drained(30) for client in clients), {c.device: c.waiting for c in clients}
            faults = [fault for client in clients for fault in client.faults(server)]
            acknowledged = sum(client.acknowledged for client in clients)
            log = server.log.read_text()
        finally:
            for client in clients:
                client.close()
    print(
        f"{ROUNDS} kills, {acknowledged} messages acknowledged, {caught_in_flight} in flight when killed, seed {SEED}"
    )
    assert faults == [], faults[:10]
    # A store that fails and mends itself loses nothing, so the ledger alone would not see it.
    assert "store_unavailable" not in log, [line for line in log.splitlines() if "store_unavailable" in line]
    assert caught_in_flight > 0, "no kill met a message in flight: the load was too low to prove anything"


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.005)
