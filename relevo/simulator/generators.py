"""Signals that look like the real world and are the same for the same seed, device and key, on every machine."""

import math
import random
from typing import Protocol

Value = float | int | bool


class Generator(Protocol):
    """A signal over time; ``t`` is in seconds and never decreases from call to call."""

    def at(self, t: float) -> Value:
        """The value at ``t``."""


def source(seed: int, device: str, key: str) -> random.Random:
    """The random numbers of one series. A string seeds through SHA-512, which no interpreter changes."""
    return random.Random(f"{seed}/{device}/{key}")


class RandomWalk:
    """Wanders between ``low`` and ``high`` in steps of a normal distribution, turned back at the bounds."""

    def __init__(self, rng: random.Random, low: float, high: float, step: float, digits: int = 2) -> None:
        self._rng, self._low, self._high, self._step, self._digits = rng, low, high, step, digits
        self._value = rng.uniform(low, high)

    def at(self, t: float) -> float:
        value = self._value + self._rng.gauss(0.0, self._step)
        if value > self._high:
            value = 2 * self._high - value
        elif value < self._low:
            value = 2 * self._low - value
        self._value = min(max(value, self._low), self._high)
        return round(self._value, self._digits)


class NoisySine:
    """A wave around ``mean`` with a ``period`` in seconds and normal noise; ``floor`` cuts it off below."""

    def __init__(
        self,
        rng: random.Random,
        mean: float,
        amplitude: float,
        period: float,
        noise: float,
        *,
        digits: int = 2,
        floor: float = -math.inf,
    ) -> None:
        self._rng, self._mean, self._amplitude, self._period = rng, mean, amplitude, period
        self._noise, self._digits, self._floor = noise, digits, floor
        self._phase = rng.uniform(0.0, math.tau)

    def at(self, t: float) -> float:
        wave = self._mean + self._amplitude * math.sin(math.tau * t / self._period + self._phase)
        return round(max(self._floor, wave + self._rng.gauss(0.0, self._noise)), self._digits)


class OnOff:
    """A switch that stays on and off for exponentially distributed times with these means in seconds."""

    def __init__(self, rng: random.Random, mean_on: float, mean_off: float) -> None:
        self._rng, self._mean = rng, {True: mean_on, False: mean_off}
        self._on = rng.random() < mean_on / (mean_on + mean_off)
        self._until = 0.0

    def at(self, t: float) -> bool:
        if not self._until:
            self._until = t + self._rng.expovariate(1 / self._mean[self._on])
        while t >= self._until:
            self._on = not self._on
            self._until += self._rng.expovariate(1 / self._mean[self._on])
        return self._on


class Flow:
    """Flow through a meter in L/min: nothing while the tap is closed, around ``litres_per_minute`` while it is open."""

    def __init__(self, rng: random.Random, litres_per_minute: float, mean_open: float, mean_closed: float) -> None:
        self._rng, self._mean = rng, litres_per_minute
        self._tap = OnOff(rng, mean_open, mean_closed)

    def at(self, t: float) -> float:
        if not self._tap.at(t):
            return 0.0
        return round(max(0.1, self._rng.gauss(self._mean, self._mean * 0.08)), 2)


class Counter:
    """The running total of a rate per minute; it never falls."""

    def __init__(self, rng: random.Random, per_minute: Generator, digits: int = 3) -> None:
        self._rate, self._digits = per_minute, digits
        self._total = rng.uniform(100.0, 9_000.0)
        self._since: float | None = None
        self.rate: Value = 0.0

    def at(self, t: float) -> float:
        """The total at ``t``; ``rate`` then holds the rate it was counted with."""
        self.rate = self._rate.at(t)
        if self._since is not None:
            self._total += float(self.rate) * (t - self._since) / 60
        self._since = t
        return round(self._total, self._digits)
