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
    things that devices heard which nobody told them. ``verified`` is false when nothing was read back, and then
    ``missing`` says nothing.
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
    examples: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 when something acknowledged is missing, went astray, or a device could not do its work, else 0."""
        return 1 if self.missing or self.foreign or self.strays or self.problems else 0

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
