"""Time as a value that can be handed in, so that nothing in a test waits on the wall clock.

Wall time is integer milliseconds since 1970-01-01T00:00:00Z, everywhere in Relevo.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """What every endpoint, job and the pipeline ask for time."""

    def now_ms(self) -> int:
        """Wall time in milliseconds UTC."""

    def monotonic(self) -> float:
        """Seconds that never jump; the origin means nothing."""


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until told to move."""

    def __init__(self, now_ms: int = 1_767_225_600_000) -> None:
        self._now_ms = now_ms
        self._monotonic = 0.0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by ``seconds``."""
        self._now_ms += round(seconds * 1000)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as a correction by NTP does."""
        self._now_ms += round(seconds * 1000)
