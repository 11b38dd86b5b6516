"""What was sent and acknowledged, and what became of it.

One reading is one value of one series at one time. A reading may be stored as often as it was put on the wire when its
message carries no number to recognise a repetition by, and once when it does.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from relevo.simulator.generators import Value

Point = tuple[int, Value]


@dataclass(slots=True)
class Entry:
    """One message: its readings as ``(key, ts in ms, value)``, how often it may be stored, and whether it was
    acknowledged."""

    readings: tuple[tuple[str, int, Value], ...]
    copies: int = 1
    acknowledged: bool = False


@dataclass(slots=True)
class Verdict:
    """The outcome for one series: readings acknowledged but not stored, and stored more often than allowed."""

    missing: list[Point] = field(default_factory=list)
    duplicated: list[Point] = field(default_factory=list)


class Ledger:
    """Everything one device sent."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def sent(self, readings: Iterable[tuple[str, int, Value]]) -> Entry:
        """Note a message; the caller marks it when the acknowledgement arrives."""
        entry = Entry(tuple(readings))
        self.entries.append(entry)
        return entry

    def span(self) -> tuple[int, int] | None:
        """First and last time in milliseconds, or ``None`` when nothing was sent."""
        times = [ts for entry in self.entries for _, ts, _ in entry.readings]
        return (min(times), max(times)) if times else None

    def keys(self) -> list[str]:
        """The series this device wrote to."""
        return sorted({key for entry in self.entries for key, _, _ in entry.readings})

    def compare(self, key: str, stored: Iterable[Point]) -> Verdict:
        """Hold the stored points of one series against the ledger.

        Points at times that this ledger knows nothing about belong to somebody else and are not judged.
        """
        acknowledged: Counter[Point] = Counter()
        allowed: Counter[Point] = Counter()
        for entry in self.entries:
            for name, ts, value in entry.readings:
                if name == key:
                    allowed[ts, value] += entry.copies
                    acknowledged[ts, value] += entry.acknowledged
        found = Counter(stored)
        missing = [point for point, count in acknowledged.items() if count > found[point]]
        duplicated = [point for point, count in found.items() if point in allowed and count > allowed[point]]
        return Verdict(sorted(missing), sorted(duplicated))
