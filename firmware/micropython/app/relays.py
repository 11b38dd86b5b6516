"""Relays: on, off, on for a while, on while somebody holds a key. After a start all of them are off."""

from micropython import const

_HELD_MS = const(1000)


class Relays:
    """``put(n, on)`` switches relay ``n + 1`` of ``wired``; those beyond only remember. ``ms()`` never jumps."""

    def __init__(self, put, wired, count, ms):
        self.put = put
        self.wired = wired
        self.ms = ms
        self.states = bytearray(count)
        # When a relay goes off by itself, and whether a held key puts that off.
        self.ends = {}

    def switch(self, channel, on, pulse=0, held=False):
        """``channel`` counts from 1; ``pulse`` is milliseconds; ``held`` needs :meth:`beat` to stay on."""
        self.ends.pop(channel, None)
        if on and (pulse or held):
            self.ends[channel] = (self.ms() + (pulse or _HELD_MS), held)
        self.set(channel, on)

    def set(self, channel, on):
        if channel <= self.wired:
            self.put(channel - 1, on)
        self.states[channel - 1] = bool(on)

    def beat(self, channel):
        """Its key is held still."""
        if channel in self.ends and self.ends[channel][1]:
            self.ends[channel] = (self.ms() + _HELD_MS, True)

    def tick(self):
        """Let go of what is over; whether something moved."""
        now = self.ms()
        over = [channel for channel in self.ends if now >= self.ends[channel][0]]
        for channel in over:
            del self.ends[channel]
            self.set(channel, False)
        return bool(over)
