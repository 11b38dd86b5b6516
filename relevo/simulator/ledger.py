"""What was sent and acknowledged, and what became of it.

Devices that tell the time of a reading find it again by time and value. Of the others the server's clock is the time,
and what is stored is held against what was sent value by value.

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
    acknowledged. ``assured`` is false for QoS 0, which nobody acknowledges."""

    readings: tuple[tuple[str, int, Value], ...]
    copies: int = 1
    acknowledged: bool = False
    assured: bool = True


@dataclass(slots=True)
class Verdict:
    """The outcome for one series.

    ``missing``: acknowledged but not stored. ``unstored``: sent at QoS 0 and not stored. ``duplicated``: stored more
    often than allowed. ``foreign``: stored here, and never said by this device.
    """

    missing: list[Point] = field(default_factory=list)
    unstored: list[Point] = field(default_factory=list)
    duplicated: list[Point] = field(default_factory=list)
    foreign: list[Point] = field(default_factory=list)


class Ledger:
    """Everything one device sent. ``timed`` says whether readings carry the device's own time."""

    def __init__(self, timed: bool = True) -> None:
        self.entries: list[Entry] = []
        self._timed = timed

    def sent(self, readings: Iterable[tuple[str, int, Value]], assured: bool = True) -> Entry:
        """Note a message; the caller marks it when the acknowledgement arrives."""
        entry = Entry(tuple(readings), assured=assured)
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
        """Hold the stored points of one series against the ledger."""
        acknowledged: Counter[Point] = Counter()
        unassured: Counter[Point] = Counter()
        allowed: Counter[Point] = Counter()
        for entry in self.entries:
            for name, ts, value in entry.readings:
                if name == key:
                    point = self._point(ts, value)
                    allowed[point] += entry.copies
                    acknowledged[point] += entry.acknowledged
                    unassured[point] += not entry.assured
        found = Counter(self._point(ts, value) for ts, value in stored)
        verdict = Verdict()
        for point in allowed:
            verdict.missing += [point] * max(0, acknowledged[point] - found[point])
            left = max(0, found[point] - acknowledged[point])
            verdict.unstored += [point] * max(0, unassured[point] - left)
        verdict.duplicated = sorted(
            point for point, count in found.items() if point in allowed and count > allowed[point]
        )
        verdict.foreign = sorted(point for point in found if point not in allowed)
        verdict.missing.sort()
        verdict.unstored.sort()
        return verdict

    def _point(self, ts: int, value: Value) -> Point:
        return (ts if self._timed else 0), value
