"""When thousands come back in the same second: CONNECTs are admitted at a set rate, in the order of arrival.

Those who are connected keep their latency, because the loop never spends more than its share on newcomers. Who has
to wait is not refused: its CONNECT stays in hand and reading is paused.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from relevo.clock import Clock

_TICK_S: Final = 0.02


class Governor:
    """A bucket of admissions that refills at ``rate`` a second and holds at most a tenth of a second's worth."""

    def __init__(self, clock: Clock, rate: int) -> None:
        self._clock = clock
        self._rate = rate
        self._room = max(1.0, rate * 0.1)
        self._tokens = self._room
        self._filled = clock.monotonic()
        self._waiting: deque[Callable[[], None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        # How many ever had to wait.
        self.delayed = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def admit(self, go_on: Callable[[], None]) -> bool:
        """True to go on at once; otherwise ``go_on`` is called when it is this one's turn."""
        self._fill()
        if not self._waiting and self._tokens >= 1:
            self._tokens -= 1
            return True
        self._waiting.append(go_on)
        self.delayed += 1
        self._arm()
        return False

    def _fill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._room, self._tokens + (now - self._filled) * self._rate)
        self._filled = now

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._drain)

    def _drain(self) -> None:
        self._timer = None
        self._fill()
        while self._waiting and self._tokens >= 1:
            self._tokens -= 1
            self._waiting.popleft()()
        self._arm()
