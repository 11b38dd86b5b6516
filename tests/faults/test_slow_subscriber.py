"""A subscriber that stops reading: what it misses is counted to the message, and nobody else notices.

A minute of silence under 5,000 messages/s, with the figures: ``bench/broker.py --slow``.
"""

from pathlib import Path

import pytest

from bench import stress
from tests.running import RunningServer

pytestmark = pytest.mark.fault

RATES = (1_500, 1_000, 750, 400, 250)
SILENT_S = 5.0
# Room for a third of a second, so that a busy machine does not make the others late enough to lose something too.
QUEUED_BYTES = 2 * 1024 * 1024
QUEUED_MESSAGES = 500
# The queue, a socket buffer in user space and the odd page; the missed messages together are far more.
MOST_GROWTH = 12 * 1024 * 1024
MOST_MS = 500.0


def plain(**limits: object) -> dict[str, str]:
    env = {"RELEVO_PROFILE": "lab", "RELEVO_ANONYMOUS_TOPICS": "#"}
    return env | {f"RELEVO_LIMITS__{name.upper()}": str(value) for name, value in limits.items()}


@pytest.mark.parametrize(("qos", "kept"), [(0, False), (1, False), (1, True)], ids=["qos 0", "qos 1", "kept session"])
@pytest.mark.parametrize(
    "limits",
    [{"queued_messages": QUEUED_MESSAGES, "inflight": 20}, {"queued_bytes": QUEUED_BYTES, "inflight": 20}],
    ids=["messages", "bytes"],
)
def test_what_a_slow_subscriber_misses_is_counted(
    tmp_path: Path, qos: int, kept: bool, limits: dict[str, object]
) -> None:
    # On a machine that is busy with other things the healthy subscribers can be late too, which says nothing about the
    # slow one: what is counted has to be right at every rate, that nobody else notices at one of them.
    for rate in RATES:
        with RunningServer(tmp_path / f"data-{rate}", env=plain(**limits)) as server:
            found = stress.slow(
                server, qos=qos, kept=kept, seconds=SILENT_S, rate=rate, publishers=20, pinned=False, size=4_000
            )
        sent = found["sent"]
        assert found["lost_connections"] == 0
        assert sent >= rate * SILENT_S * 0.5
        if qos:
            assert found["acknowledged"] == sent
        assert found["dropped"] > 0
        assert found["unaccounted"] == 0, found
        assert found["told"] == found["dropped"]
        assert found["memory_peak"] - found["memory_before"] < MOST_GROWTH
        if found["others_missed"] == 0 and found["stalled_p99_ms"] < MOST_MS:
            return
    pytest.fail(f"others noticed at every rate: {found}")
