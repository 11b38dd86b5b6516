"""A sensor in a room that is heated by day, on a battery that somebody changes when it is empty."""

import math
import random
from typing import Final

from relevo.simulator.generators import Value, source
from relevo.simulator.native import Device

_DAY_S: Final = 86_400.0
_WARM_FROM_S, _WARM_UNTIL_S = 6 * 3_600.0, 22 * 3_600.0
_NIGHT_C, _DAY_C = 16.5, 21.0
_RAMP_S: Final = 5_400.0
_BATTERY_S: Final = 40 * _DAY_S
_EMPTY_V, _FULL_V = 3.3, 4.2


class Climate(Device):
    """Temperature and humidity that rise and fall through the day, and a battery that runs down in forty days."""

    _rng: random.Random | None = None
    _charged = 0.0
    _offset = 0.0

    def measure(self, t: float) -> dict[str, Value]:
        if self._rng is None:
            self._rng = source(self.gear.seed, self.name, "climate")
            self._charged, self._offset = self._rng.random(), self._rng.uniform(-1.5, 1.5)
        warm = warmth(t % _DAY_S)
        temperature = _NIGHT_C + (_DAY_C - _NIGHT_C) * warm + self._offset + self._rng.gauss(0.0, 0.05)
        # Warmer air holds more water, so the same water is less of what it could hold.
        humidity = 62.0 - 18.0 * warm + self._rng.gauss(0.0, 0.3)
        charge = 1.0 - (t / _BATTERY_S + self._charged) % 1.0
        return {
            "temperature_c": round(temperature, 2),
            "humidity_pct": round(humidity, 2),
            "battery_pct": round(100 * charge, 1),
            "battery_v": round(_EMPTY_V + (_FULL_V - _EMPTY_V) * charge, 3),
        }


def warmth(second: float) -> float:
    """How far a room is from its night to its day temperature, 0 to 1, at a second of the day (UTC)."""
    if second < _WARM_FROM_S:
        # What is left of the day before.
        return math.exp(-(second + _DAY_S - _WARM_UNTIL_S) / _RAMP_S)
    if second < _WARM_UNTIL_S:
        cold = 1.0 - math.exp(-(_WARM_FROM_S + _DAY_S - _WARM_UNTIL_S) / _RAMP_S)
        return 1.0 - cold * math.exp(-(second - _WARM_FROM_S) / _RAMP_S)
    return math.exp(-(second - _WARM_UNTIL_S) / _RAMP_S)
