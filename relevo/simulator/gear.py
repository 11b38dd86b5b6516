"""What every device of a simulation works with, and what all of them count together."""

import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from relevo.clock import Clock
from relevo.simulator.faults import NO_FAULTS, Faults
from relevo.simulator.generators import Value
from relevo.simulator.http_client import HttpClient

Stored = tuple[tuple[str, int, Value], ...]
"""Readings to be found again, as ``(key, ts in ms, value)``."""


@dataclass(slots=True)
class Enrolled:
    """What the server knows of a device: its id in the registry, and the credentials it connects with.

    ``number`` counts the devices of a simulation from 1. ``more`` is what else the contract's enrolment gave it.
    """

    external_id: str
    device: str
    number: int = 1
    username: str = ""
    password: str = ""
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """What all devices of a fleet counted together; latencies in seconds.

    ``strays`` are things that a device heard which nobody told it. ``told`` counts changes that an operator asked for,
    ``obeyed`` those that the device made. ``faults`` counts what was done wrong on purpose, ``let_in`` the devices with
    a wrong key that got in all the same, ``updates`` what became of new firmware.
    """

    sent: int = 0
    acknowledged: int = 0
    latencies: list[float] = field(default_factory=list)
    polls: int = 0
    poll_latencies: list[float] = field(default_factory=list)
    heard: int = 0
    strays: int = 0
    told: int = 0
    obeyed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    let_in: int = 0
    updates: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    # Messages that were sent before all devices were up.
    sent_rising: int = 0

    def risen(self) -> None:
        """All devices are up: how long things took until now says nothing about how long they take."""
        self.latencies.clear()
        self.poll_latencies.clear()
        self.sent_rising = self.sent


@dataclass(frozen=True, slots=True)
class Gear:
    """What every device of a simulation works with. ``qos`` of ``None`` is the contract's own; ``http`` a base address.

    ``steered`` says that an operator tells the devices what to do, so that anything else they hear is a stray.
    ``struck`` holds, for each fault of devices, the numbers of those that have it; ``board`` is what a device calls
    itself when it asks for firmware, ``fates`` by number what then becomes of it (empty: nobody asks), ``trial_s`` how
    many seconds new firmware is on trial.
    """

    http: str
    mqtt_host: str
    mqtt_port: int
    clock: Clock
    tally: Tally
    seed: int = 1
    qos: int | None = None
    window: int = 20
    steered: bool = False
    mqtt_tls: ssl.SSLContext | None = None
    http_tls: ssl.SSLContext | None = None
    faults: Faults = NO_FAULTS
    struck: Mapping[str, frozenset[int]] = field(default_factory=dict)
    board: str = ""
    fates: Mapping[int, str] = field(default_factory=dict)
    trial_s: float = 5.0

    def client(self) -> HttpClient:
        """A connection of a device's own."""
        return HttpClient(self.http, tls=self.http_tls)

    def has(self, fault: str, number: int) -> bool:
        """Whether the device of that number has this fault."""
        return number in self.struck.get(fault, ())


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device measured: ``ts`` in milliseconds UTC, its boot number and a count within that boot."""

    ts: int
    values: dict[str, Value]
    boot: int
    seq: int


class Outgoing(NamedTuple):
    """A message as the contract words it, and where its readings must be found again."""

    topic: str
    payload: bytes
    stored: Stored
    qos: int = 1
