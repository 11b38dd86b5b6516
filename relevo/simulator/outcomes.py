"""What becomes of new firmware on simulated boards: which share of them does what (``docs/simulator.md``)."""

from dataclasses import dataclass
from typing import Final

from relevo.errors import ConfigurationError
from relevo.simulator.generators import source

HEALTHY: Final = "healthy"
BAD: Final = "bad"
HASH: Final = "hash"
STOPS: Final = "stops"
REFUSES: Final = "refuses"
NEVER: Final = "never"
SLOW: Final = "slow"
KINDS: Final[dict[str, str]] = {
    HEALTHY: "it holds: what all others do",
    BAD: "it does not hold and the former one comes back, for one of the three reasons by turns",
    HASH: "what came is not what was promised",
    STOPS: "the board falls silent in the middle of the download",
    REFUSES: "there is no room for it",
    NEVER: "the board asks, is offered it, and does nothing",
    SLOW: "it comes in small pieces with a lost connection between them, and holds",
}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Shares from 0 to 1 of the boards, by kind."""

    shares: tuple[tuple[str, float], ...] = ()

    def fates(self, seed: int, devices: int) -> dict[int, str]:
        """What becomes of it on each board, by its number (from 1); follows from the seed alone."""
        order = source(seed, "updates", "outcomes").sample(range(1, devices + 1), devices)
        found, begin, end = dict.fromkeys(order, HEALTHY), 0, 0.0
        for kind, share in self.shares:
            end += share * devices
            found |= dict.fromkeys(order[begin : round(end)], kind)
            begin = round(end)
        return found


def parse(text: str) -> Outcomes:
    """``healthy``, ``bad=0.2,slow=0.1``; a word alone is all boards. Raises :class:`ConfigurationError`."""
    shares: dict[str, float] = {}
    for part in (part.strip() for part in text.split(",")):
        kind, given, number = part.partition("=")
        if kind not in KINDS:
            raise ConfigurationError(f"no outcome of an update {kind[:40]!r}; there are {', '.join(KINDS)}")
        if kind in shares:
            raise ConfigurationError(f"outcome {kind} is given twice")
        try:
            shares[kind] = float(number) if given else 1.0
        except ValueError:
            shares[kind] = -1.0
        if not 0 <= shares[kind] <= 1:
            raise ConfigurationError(f"outcome {kind} must be a share from 0 to 1, not {number[:40]!r}")
    if sum(shares.values()) > 1.0000001:
        raise ConfigurationError("the shares of an update's outcomes must be at most 1 together")
    return Outcomes(tuple(shares.items()))
