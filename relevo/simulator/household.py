"""A household's water: who showers in the morning, cooks at noon and sleeps at night, and the meter in front of it."""

import math
import random
from typing import Final

from relevo.simulator.generators import Generator, source
from relevo.simulator.hidrometro import Meter

_DAY_S: Final = 86_400.0
# Times that somebody uses water, for each hour of the day from midnight (UTC, moved by a little for each household).
_USES_PER_HOUR: Final = (
    0.15, 0.1, 0.05, 0.05, 0.1, 0.8, 3.0, 4.5, 3.5, 2.0, 1.5, 1.8, 3.0, 2.5, 1.5, 1.2, 1.3, 1.8, 3.0, 3.8, 3.2, 2.2,
    1.2, 0.5,
)  # fmt: skip
# How often of a hundred, litres a minute, seconds.
_USES: Final = (
    (45, 4.0, 25.0),  # a tap
    (35, 7.5, 48.0),  # a toilet
    (11, 9.0, 390.0),  # a shower
    (6, 6.5, 240.0),  # dishes
    (3, 8.0, 420.0),  # a washing machine
)
_MOST = max(_USES_PER_HOUR) / 3_600


class Household:
    """Flow in L/min over time; the same for the same random numbers, however often it is asked."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._shift_s = rng.uniform(-5_400.0, 5_400.0)
        self._next: float | None = None
        self._open: list[tuple[float, float]] = []

    def at(self, t: float) -> float:
        if self._next is None:
            self._next = self._after(t)
        while t >= self._next:
            _, flow, seconds = self._rng.choices(_USES, [use[0] for use in _USES])[0]
            ends = self._next + seconds * self._rng.lognormvariate(0.0, 0.35)
            self._open.append((ends, flow * self._rng.uniform(0.85, 1.15)))
            self._next = self._after(self._next)
        self._open = [one for one in self._open if one[0] > t]
        return round(math.fsum(flow for _, flow in self._open), 2)

    def _after(self, t: float) -> float:
        """When water is used the next time."""
        while True:
            t += self._rng.expovariate(_MOST)
            hour = int((t + self._shift_s) % _DAY_S // 3_600)
            if self._rng.random() * _MOST < _USES_PER_HOUR[hour] / 3_600:
                return t


class HouseMeter(Meter):
    """The meter of one household."""

    def flow(self) -> Generator:
        return Household(source(self.gear.seed, self.name, "household"))
