"""What goes wrong with devices on purpose: which faults there are, how many have them, and who (``docs/simulator.md``).

A share is of the devices or of the messages. Who is struck follows from the seed alone, so a run can be repeated.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relevo.errors import ConfigurationError
from relevo.simulator.generators import source

DEVICES: Final = "devices"
MESSAGES: Final = "messages"
SECONDS: Final = "seconds"
STORM_S: Final = 10.0

KINDS: Final[dict[str, tuple[str, str]]] = {
    "flap": (DEVICES, "lose their connection every few seconds, for up to two, and come back"),
    "storm": (SECONDS, "between two moments in which all connections are lost and everybody comes back at once"),
    "stale-clock": (DEVICES, "tell times of 1970, since their start, since 2000 or of days ahead, by turns"),
    "duplicates": (MESSAGES, "are said once more, as new ones"),
    "reordering": (MESSAGES, "are held back and said after the next one"),
    "malformed": (MESSAGES, "have rubbish before them: cut short, NaN, of a wrong type, too long, by turns"),
    "wrong-key": (DEVICES, "show a wrong key again and again, and send nothing"),
    "lost-answers": (MESSAGES, "are not known to have arrived and are repeated; as many commands are never answered"),
}
"""Name, what its number is of, and what it does."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares from 0 to 1; ``storm`` is the seconds between two, 0 for none."""

    flap: float = 0.0
    storm: float = 0.0
    stale_clock: float = 0.0
    duplicates: float = 0.0
    reordering: float = 0.0
    malformed: float = 0.0
    wrong_key: float = 0.0
    lost_answers: float = 0.0

    def of(self, kind: str) -> float:
        """The number of a fault by its name."""
        value: float = getattr(self, kind.replace("-", "_"))
        return value

    @property
    def chosen(self) -> list[str]:
        """The names of those that are asked for."""
        return [kind for kind in KINDS if self.of(kind)]

    @property
    def cuts(self) -> bool:
        """Whether connections break, so that a command may not arrive."""
        return bool(self.flap or self.storm)

    def struck(self, seed: int, devices: int) -> dict[str, frozenset[int]]:
        """For each fault of devices the numbers (from 1) of those that have it; one at least."""
        found = {}
        for kind in (kind for kind in self.chosen if KINDS[kind][0] == DEVICES):
            count = min(devices, max(1, round(self.of(kind) * devices)))
            found[kind] = frozenset(source(seed, "faults", kind).sample(range(1, devices + 1), count))
        return found


NO_FAULTS: Final = Faults()


def parse(texts: Iterable[str]) -> Faults:
    """``flap=0.1,storm,stale-clock=0.2``, in one text or several. Raises :class:`ConfigurationError`."""
    values: dict[str, float] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        if not part:
            continue
        kind, given, number = part.partition("=")
        if kind not in KINDS:
            raise ConfigurationError(f"no fault {kind[:40]!r}; there are {', '.join(KINDS)}")
        name = kind.replace("-", "_")
        if name in values:
            raise ConfigurationError(f"fault {kind} is given twice")
        if KINDS[kind][0] == SECONDS:
            values[name] = _number(kind, number, 0.1, 86_400.0) if given else STORM_S
        elif given:
            values[name] = _number(kind, number, 0.0, 1.0)
        else:
            raise ConfigurationError(f"fault {kind} needs a share of the {KINDS[kind][0]}, such as {kind}=0.1")
    return Faults(**values)


def _number(kind: str, text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise ConfigurationError(f"fault {kind} must be a number from {least:g} to {most:g}, not {text[:40]!r}")
    return value
