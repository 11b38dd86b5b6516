"""Time: milliseconds that never jump, and the time of day once somebody told it."""

import time

# Seconds from 1970 to this board's epoch, which is 2000 on an ESP32.
EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0
# Before this firmware: a clock that says so was never set.
_BORN = 1767225600


class Clock:
    """``ticks()`` counts milliseconds and wraps, ``diff(a, b)`` knows how; ``wall()`` is seconds since 1970."""

    def __init__(self, ticks=None, diff=None, wall=None):
        self._ticks = ticks or time.ticks_ms
        self._diff = diff or time.ticks_diff
        self._wall = wall or (lambda: int(time.time()) + EPOCH)
        self._last = self._ticks()
        self._ms = 0
        self._zero = None

    def ms(self):
        """Whole milliseconds since the start. Asked at least every six days, or a wrap goes unseen."""
        now = self._ticks()
        self._ms += self._diff(now, self._last)
        self._last = now
        return self._ms

    def unix(self):
        """Whole seconds since 1970, 0 while nobody knows."""
        if self._zero is not None:
            return self._zero + self.ms() // 1000
        now = self._wall()
        return now if now >= _BORN else 0

    def synced(self):
        return self.unix() != 0

    def put(self, unix):
        """It is ``unix`` seconds now. Raises ValueError for a time before this firmware was made."""
        if unix < _BORN:
            raise ValueError("time")
        self._zero = unix - self.ms() // 1000
