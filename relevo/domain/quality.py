"""What is known about one stored point beside its value, as a small number.

The two lowest bits say whose clock its time came from, the next whether it arrived late: more than a minute after its
time, as the back-log of a board does that was out of reach. 8 is a point that was imported, which is never late.
"""

from typing import Final

SOURCES: Final = ("device", "server", "repaired", "corrected")
LATE: Final = 4
IMPORTED: Final = 8
LATE_AFTER_MS: Final = 60_000
CORRECTED: Final = SOURCES.index("corrected")
_NUMBERS: Final = {name: number for number, name in enumerate(SOURCES)}


def quality(source: str, ts: int, received: int) -> int:
    """The quality of a point of time ``ts`` that arrived at ``received`` (milliseconds UTC)."""
    if source == "imported":
        return IMPORTED
    number = _NUMBERS.get(source, 0)
    return number | LATE if received - ts > LATE_AFTER_MS else number


def source_of(quality: int) -> str:
    """``device``, ``server``, ``repaired``, ``imported``, or ``corrected`` by a person."""
    return "imported" if quality & IMPORTED else SOURCES[quality & 3]


def is_late(quality: int) -> bool:
    return bool(quality & LATE)
