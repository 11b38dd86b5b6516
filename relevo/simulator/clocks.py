"""What boards with a wrong clock tell as the time of a reading."""

from datetime import UTC, datetime, timedelta
from typing import Final

KINDS: Final = ("1970", "start", "2000", "ahead")
"""A clock that was never set and counts from 1970, milliseconds since the start, seconds since 2000, days ahead."""
_EPOCH_2000_S: Final = 946_684_800
_AHEAD_MS: Final = 3 * 86_400_000


def told(kind: str, ts: int, started: int, seconds: bool = False) -> int | str:
    """What such a board says at ``ts``, having started at ``started`` (both milliseconds UTC).

    ``seconds`` is for contracts whose boards tell whole seconds.
    """
    if kind == "ahead":
        return (ts + _AHEAD_MS) // (1000 if seconds else 1)
    if kind == "2000":
        return ts // 1000 - _EPOCH_2000_S
    since = ts - started
    if seconds:
        return since // 1000
    if kind == "start":
        return since
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
