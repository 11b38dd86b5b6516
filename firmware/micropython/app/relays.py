"""Relays: on, off, on for a while, on while somebody holds a key. After a start all of them are off."""

HELD_MS = 1000
PULSE_MOST = 3600000


class Relays:
    """``outputs[n](on)`` switches relay ``n + 1``; those beyond only remember. ``ms()`` never jumps."""

    def __init__(self, outputs, count, ms):
        self._outputs = outputs
        self._ms = ms
        self.states = bytearray(count)
        # When a relay goes off by itself, and whether a held key puts that off.
        self._ends = {}
        for out in outputs:
            out(False)

    def switch(self, channel, on, pulse=0, held=False):
        """``channel`` counts from 1; ``pulse`` is milliseconds; ``held`` needs :meth:`beat` to stay on."""
        self._ends.pop(channel, None)
        if on and (pulse or held):
            self._ends[channel] = (self._ms() + (pulse or HELD_MS), held)
        self._set(channel, on)

    def _set(self, channel, on):
        if channel <= len(self._outputs):
            self._outputs[channel - 1](on)
        self.states[channel - 1] = bool(on)

    def beat(self, channel):
        """Its key is held still."""
        if channel in self._ends and self._ends[channel][1]:
            self._ends[channel] = (self._ms() + HELD_MS, True)

    def tick(self):
        """Let go of what is over; whether something moved."""
        now = self._ms()
        over = [channel for channel in self._ends if now >= self._ends[channel][0]]
        for channel in over:
            del self._ends[channel]
            self._set(channel, False)
        return bool(over)

    def all_off(self):
        self._ends.clear()
        for channel in range(1, len(self.states) + 1):
            self._set(channel, False)
