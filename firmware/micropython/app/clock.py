"""Time: milliseconds that never jump, and the time of day once somebody told it."""

import time

from micropython import const

# Seconds from 1970 to this board's epoch, which is 2000 on an ESP32.
_EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0
# Before this firmware: a clock that says so was never set.
_BORN = const(1767225600)


class Clock:
    """``ticks()`` counts milliseconds and wraps, ``diff(a, b)`` knows how; ``wall()`` is seconds since 1970."""

    def __init__(self, ticks=None, diff=None, wall=None):
        self.ticks = ticks or time.ticks_ms
        self.diff = diff or time.ticks_diff
        self.wall = wall or (lambda: int(time.time()) + _EPOCH)
        self.last = self.ticks()
        self.now = 0
        self.zero = None

    def ms(self):
        """Whole milliseconds since the start. Asked at least every six days, or a wrap goes unseen."""
        now = self.ticks()
        self.now += self.diff(now, self.last)
        self.last = now
        return self.now

    def unix(self):
        """Whole seconds since 1970, 0 while nobody knows."""
        if self.zero is not None:
            return self.zero + self.ms() // 1000
        now = self.wall()
        return now if now >= _BORN else 0

    def put(self, unix):
        """It is ``unix`` seconds now. Raises ValueError for a time before this firmware was made."""
        if unix < _BORN:
            raise ValueError("time")
        self.zero = unix - self.ms() // 1000
