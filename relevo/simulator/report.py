"""What a simulation found out."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """Counts are messages, except ``missing`` (acknowledged, not stored), ``unstored`` (sent at QoS 0, not stored),
    ``duplicated`` and ``foreign`` (somebody else's), which are readings (one value of one series).

    Latencies are milliseconds from publishing to PUBACK or from a request to its answer, ``None`` when nothing was
    acknowledged. ``told`` are changes that an operator made, ``obeyed`` those that the device then did, ``strays``
    things that devices heard which nobody told them. ``faults`` counts what went wrong on purpose, ``refused`` and
    ``noticed`` what the server counted meanwhile (by door and reason), ``deduplicated`` the repetitions that it
    recognised. ``uncounted`` are malformed messages that it did not count, ``let_in`` devices with a wrong key that
    got in, ``untrue`` commands and updates of which it says another end than the device. ``commands`` are their
    states, ``updates`` what boards did with new firmware. Rate and latencies are of the time after the ramp.
    ``verified`` is false when nothing was read back, and then ``missing`` says nothing.
    """

    devices: int
    contract: str
    sent: int
    acknowledged: int
    repeated: int
    seconds: float
    rate: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    polls: int
    poll_p99_ms: float | None
    told: int
    obeyed: int
    strays: int
    verified: bool
    readings_compared: int
    missing: int
    unstored: int
    duplicated: int
    foreign: int
    profile: str = ""
    ramp: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    noticed: dict[str, int] = field(default_factory=dict)
    deduplicated: int = 0
    uncounted: int = 0
    let_in: int = 0
    untrue: int = 0
    commands: dict[str, int] = field(default_factory=dict)
    updates: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 when something acknowledged is missing, stored twice or went astray, a device could not do its work, or the
        server says what is not so; else 0."""
        readings = self.missing or self.duplicated or self.foreign or self.strays
        return 1 if readings or self.uncounted or self.let_in or self.untrue or self.problems else 0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(self.as_dict(), indent=2)


def percentile_ms(seconds: Sequence[float], percent: float) -> float | None:
    """The smallest latency that ``percent`` of the sorted ``seconds`` do not exceed, in milliseconds."""
    if not seconds:
        return None
    rank = max(0, -(-len(seconds) * percent // 100) - 1)
    return round(seconds[int(rank)] * 1000, 3)
