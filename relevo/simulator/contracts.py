"""How a simulated device words a reading, written from the contracts' text and from nothing else.

A contract also says under which key, time and value the reading must be found again over HTTP.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relevo.errors import ConfigurationError
from relevo.simulator.generators import Counter, Flow, Generator, NoisySine, OnOff, RandomWalk, Value, source

Stored = tuple[tuple[str, int, Value], ...]
Measure = Callable[[float], dict[str, Value]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device measured: ``ts`` in milliseconds UTC, its boot number and a count within that boot."""

    ts: int
    values: dict[str, Value]
    boot: int
    seq: int


class Contract(Protocol):
    """One contract, as its devices speak it."""

    name: str
    numbered: bool
    """Whether a repeated message can be recognised, so that it must be stored once."""
    resolution_ms: int
    """The finest step of the time that goes over the wire."""

    def measuring(self, seed: int, device: str) -> Measure:
        """What such a device measures: values by key at a time in seconds that never decreases."""

    def topic(self, device: str) -> str:
        """Where it publishes."""

    def payload(self, device: str, reading: Reading) -> bytes:
        """The message."""

    def stored(self, reading: Reading) -> Stored:
        """The readings to be found again, as ``(key, ts in ms, value)``."""


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


class Native:
    """``relevo/{device}/telemetry`` with a time, named values and a number to recognise repetitions by."""

    name = "native"
    numbered = True
    resolution_ms = 1

    def measuring(self, seed: int, device: str) -> Measure:
        signals: dict[str, Generator] = {
            "temperature_c": NoisySine(source(seed, device, "temperature_c"), 21.0, 4.0, 900.0, 0.05),
            "humidity_pct": RandomWalk(source(seed, device, "humidity_pct"), 30.0, 75.0, 0.3),
            "light_lux": RandomWalk(source(seed, device, "light_lux"), 0.0, 1_200.0, 15.0, 1),
            "fan_on": OnOff(source(seed, device, "fan_on"), 40.0, 90.0),
        }
        return lambda t: {key: signal.at(t) for key, signal in signals.items()}

    def topic(self, device: str) -> str:
        return f"relevo/{device}/telemetry"

    def payload(self, device: str, reading: Reading) -> bytes:
        return _json({"ts": reading.ts, "values": reading.values, "boot": reading.boot, "seq": reading.seq})

    def stored(self, reading: Reading) -> Stored:
        return tuple((key, reading.ts, value) for key, value in reading.values.items())


class Hidrometro:
    """Water meters that share ``hidrometro/dados``; time in whole seconds, nothing to recognise repetitions by."""

    name = "hidrometro"
    numbered = False
    resolution_ms = 1000

    def measuring(self, seed: int, device: str) -> Measure:
        total = Counter(source(seed, device, "total"), Flow(source(seed, device, "flow"), 7.5, 25.0, 60.0))
        return lambda t: {"total": total.at(t), "flow": total.rate}

    def topic(self, device: str) -> str:
        return "hidrometro/dados"

    def payload(self, device: str, reading: Reading) -> bytes:
        return _json(
            {
                "totalLiters": reading.values["total"],
                "flowLmin": reading.values["flow"],
                "numeroSerie": device,
                "ts": reading.ts // 1000,
            }
        )

    def stored(self, reading: Reading) -> Stored:
        at = reading.ts // 1000 * 1000
        return (("totalLiters", at, reading.values["total"]), ("flowLmin", at, reading.values["flow"]))


CONTRACTS: dict[str, Contract] = {"native": Native(), "hidrometro": Hidrometro()}


def contract_named(name: str) -> Contract:
    """The contract of that name. Raises :class:`ConfigurationError` for any other."""
    try:
        return CONTRACTS[name]
    except KeyError:
        raise ConfigurationError(f"no simulated contract {name!r}; there are {', '.join(sorted(CONTRACTS))}") from None
