"""A thousand clients that only keep themselves alive: nobody is lost, and each costs little memory.

Ten thousand of them over five minutes: ``bench/broker.py --idle 10000 --minutes 5``.
"""

from pathlib import Path

import pytest

from bench import stress
from tests.running import RunningServer

pytestmark = pytest.mark.fault

CONNECTIONS = 1_000
MOST_BYTES_EACH = 16 * 1024
PLAIN = {
    "RELEVO_PROFILE": "lab",
    "RELEVO_ANONYMOUS_TOPICS": "#",
    "RELEVO_LIMITS__CONNECTIONS_PER_ADDRESS": str(CONNECTIONS),
}


def test_idle_connections_stay_and_cost_little(tmp_path: Path) -> None:
    # Keep-alive 2 means that who was silent for 3 s is disconnected: they only stay because they are heard.
    with stress.many_files(), RunningServer(tmp_path / "data", env=PLAIN) as server:
        result = stress.generate(
            "idle",
            pinned=False,
            port=server.mqtt_port,
            pid=server.pid,
            connections=CONNECTIONS,
            keep_alive=2,
            ping=True,
            warmup=1,
            seconds=5,
        )
        assert result["lost_connections"] == 0
        assert result["peak_bytes_each"] <= MOST_BYTES_EACH, result
        # The load is gone; so is everything the server held for it.
        figures = server.api.get("/api/v1/system").json()["mqtt"]
        assert figures["sessions"] == figures["connections"] == 0


def test_silent_connections_are_ended(tmp_path: Path) -> None:
    # The same without PINGREQ, so that the test above is known to prove something.
    with stress.many_files(), RunningServer(tmp_path / "data", env=PLAIN) as server:
        result = stress.generate(
            "idle", pinned=False, port=server.mqtt_port, connections=100, keep_alive=1, warmup=1, seconds=3
        )
        assert result["lost_connections"] == 100
