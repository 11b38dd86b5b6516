"""A thousand clients return within a second: those who stayed lose nothing and wait little, and everyone gets in.

Five thousand, with the figures: ``bench/broker.py --storm``.
"""

from pathlib import Path

import pytest

from bench import stress
from tests.running import RunningServer

pytestmark = pytest.mark.fault

RETURNING = 1_000
OTHERS = 100
# Of the time that the storm took: who waits behind it waits for half of it in the middle. Milliseconds would be the
# machine's (bench/broker.py --storm has them).
MOST_OF_STORM = 0.1


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "all dropped at once"])
@pytest.mark.parametrize("durable", [False, True], ids=["forwarded", "durable"])
def test_a_storm_of_reconnects_disturbs_nobody(tmp_path: Path, durable: bool, together: bool) -> None:
    # Admitted slowly enough that most of them have to wait for their turn.
    env = {
        "RELEVO_PROFILE": "lab",
        "RELEVO_ANONYMOUS_TOPICS": "#",
        "RELEVO_LIMITS__CONNECTIONS_PER_ADDRESS": "10000",
        "RELEVO_LIMITS__CONNECTS_PER_S": "500",
    }
    with stress.many_files(), RunningServer(tmp_path / "data", env=env) as server:
        found = stress.storm(
            server,
            clients=RETURNING,
            others=OTHERS,
            rate=500,
            calm_s=1,
            durable=durable,
            together=together,
            pinned=False,
        )
        back, during = found["storm"], found["spans"]["storm"]
        assert back["back"] == RETURNING, back["failed"]
        assert back["lost_connections"] == 0
        assert found["lost_connections"] == 0
        assert found["acknowledged"] == found["sent"] > 0
        # They did wait, so it was the governor that kept the others' latency; half of them is far from every doubt.
        assert found["delayed"] > RETURNING / 2
        assert during["messages"] > 100
        assert during["p50_ms"] < back["all_back_s"] * 1000 * MOST_OF_STORM, found
