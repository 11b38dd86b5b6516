"""Pulses to litres (contract hidrometro, section 8), in whole numbers: the floats of a board forget a pulse beyond 16 m³.

The sensor, a YF-S201, gives 7.5 Hz for each litre a minute. A factor is in ten-thousandths, a flow in millilitres a
minute, a total in microlitres; what is less than one of these is carried on.
"""

FACTOR = 75000
FACTOR_UNIT = 10000
SIMULATED = 8000
_FACTOR_MOST = 10000000000
_FLOW_MOST = 1000000000


def scaled(value, unit, most):
    """``value``, a number, in parts of which ``unit`` are one. Raises ValueError for what is none or not above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
        raise ValueError("must be a number")
    whole = int(value * unit + 0.5)
    if not 0 < whole < most:
        raise ValueError("must be above 0 and below %d" % (most // unit))
    return whole


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

    def calibrate(self, value):
        """Pulses a second for each litre a minute. Raises ValueError, and changes nothing then."""
        factor = scaled(value, FACTOR_UNIT, _FACTOR_MOST)
        self.rest = self.rest * factor // self.factor
        self.factor = factor

    def simulate(self, value):
        """From now on ``value`` in L/min, ``None`` for the usual one. Raises ValueError."""
        self.simulated = SIMULATED if value is None else scaled(value, 1000, _FLOW_MOST)

    def reset(self):
        self.total = self.rest = 0


def litres(total):
    """A total as text, in litres."""
    parts = (total + 50) // 100
    return "%d.%04d" % (parts // 10000, parts % 10000)


def a_minute(flow):
    """A flow as text, in litres a minute."""
    return "%d.%03d" % (flow // 1000, flow % 1000)
