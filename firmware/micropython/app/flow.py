"""Pulses to litres (contract hidrometro, section 8), in whole numbers: a board's floats forget pulses beyond 16 m³.

The sensor, a YF-S201, gives 7.5 Hz for each litre a minute. A factor is in ten-thousandths, a flow in millilitres a
minute, a total in microlitres; what is less than one of these is carried on.
"""

FACTOR = 75000
SIMULATED = 8000


class Flow:
    """``rest`` is what ``total`` has not yet, in parts of which ``60 * factor`` are a microlitre."""

    def __init__(self, factor=FACTOR, total=0, rest=0):
        self.factor = factor
        self.total = total
        self.rest = rest
        self.flow = 0
        # What flows instead of the sensor's, or 0.
        self.simulated = 0

    def take(self, pulses, ms):
        """``pulses`` were counted within ``ms``. An interval of nothing changes nothing."""
        if ms <= 0:
            return
        if self.simulated:
            self.flow = self.simulated
            self.rest += self.flow * ms * self.factor
        else:
            span = ms * self.factor
            self.flow = (pulses * 10000000000 + span // 2) // span
            self.rest += pulses * 10000000000
        self.total += self.rest // (60 * self.factor)
        self.rest %= 60 * self.factor

    def reset(self):
        self.total = self.rest = 0


def litres(total):
    """A total as text, in litres."""
    parts = (total + 50) // 100
    return "%d.%04d" % (parts // 10000, parts % 10000)


def a_minute(flow):
    """A flow as text, in litres a minute."""
    return "%d.%03d" % (flow // 1000, flow % 1000)
