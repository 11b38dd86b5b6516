"""Pulses to litres. The sensor, a YF-S201, gives 7.5 Hz for each litre a minute."""

FACTOR = 7.5


class Flow:
    """``factor`` is pulses a second for each L/min; ``total`` in litres. Refuses a factor that is not above 0."""

    def __init__(self, factor=FACTOR, total=0.0):
        self._pulses = 0
        self._simulated = None
        self.factor = check(factor)
        self.total = total
        self.flow = 0.0

    def pulse(self, _=None):
        """Called by the interrupt: it counts, and makes no object."""
        self._pulses += 1

    def calibrate(self, factor):
        self.factor = check(factor)

    def simulate(self, flow):
        """From now on ``flow`` in L/min instead of the sensor's, ``None`` for the sensor's again."""
        self._simulated = None if flow is None else check(flow)

    @property
    def simulated(self):
        return self._simulated

    def reset(self):
        self.total = 0.0

    def take(self, interval_ms, mask, unmask):
        """Flow (L/min) and total (L) after ``interval_ms``. ``mask()`` stops interrupts, ``unmask(what it gave)`` lets
        them in again: a pulse between reading and clearing would be lost."""
        state = mask()
        pulses, self._pulses = self._pulses, 0
        unmask(state)
        if interval_ms <= 0:
            return self.flow, self.total
        if self._simulated is not None:
            self.flow = self._simulated
        else:
            self.flow = pulses * 1000 / interval_ms / self.factor
        self.total += self.flow * interval_ms / 60000
        return self.flow, self.total


def check(value):
    """``value`` as a float above 0. Raises ValueError."""
    value = float(value)
    # Also false for what is no number.
    if not 0 < value < 1e6:
        raise ValueError("must be above 0")
    return value
