"""Readings that wait until they are acknowledged: some in memory, older ones on the flash (:mod:`spill`), all numbered.

``boot`` counts the starts of the board and ``seq`` the readings since, so a receiver knows what it has already.
"""

import json

from late import late
from micropython import const

_RING = const(16)


class Outbox:
    """``clock`` tells milliseconds and, when it is known, the time of day; ``place`` is a folder of its own.

    An entry is ``[boot, seq, ms, unix, text, identifier]``; the identifier is 0 while it is not on its way.
    """

    def __init__(self, clock, place="out"):
        self.clock = clock
        self.place = place
        self.seq = self.dropped = 0
        # What is being sent, from memory or from the file of this number; what is newest.
        self.head = []
        self.file = None
        self.ring = []
        self.boot, self.files = late("spill").begin(place)

    def __len__(self):
        """How many wait, of files an estimate."""
        return len(self.head) + len(self.ring) + len(self.files) * _RING

    def add(self, values):
        """Take a reading. What no receiver could take (not a number, infinite) is left out and counted."""
        kept = {}
        for name in values:
            value = values[name]
            if isinstance(value, float) and value - value != 0:
                self.dropped += 1
            else:
                kept[name] = value
        if kept:
            self.seq += 1
            if len(self.ring) >= _RING:
                late("spill").spill(self)
            self.ring.append([self.boot, self.seq, self.clock.ms(), self.clock.unix(), json.dumps(kept), 0])

    def next(self):
        """The oldest that is not on its way, or ``None``."""
        while not self.head:
            if self.files:
                late("spill").take(self)
            elif self.ring:
                self.head, self.ring = self.ring, []
            else:
                return None
        for entry in self.head:
            if not entry[5]:
                return entry
        return None

    def acked(self, pid):
        """What left as ``pid`` is stored at the other side."""
        for entry in self.head:
            if entry[5] == pid:
                self.head.remove(entry)
                break
        if self.file is not None and not self.head:
            late("spill").done(self)
