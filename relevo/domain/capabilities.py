"""What a device can do, in words that every contract shares: relays and switches, meters, sensors.

Each dialect says which of its devices' keys are which (:class:`relevo.dialect.Capable`), and how one is switched; no
dialect knows another. Whoever shows a device to people of another contract goes by these words alone.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

RELAY: Final = "relay"
"""A relay of a board: one of several, switched for whatever hangs on it."""
SWITCH: Final = "switch"
"""On or off, of the device itself."""
METER: Final = "meter"
"""A total that grows."""
SENSOR: Final = "sensor"
"""A value that is measured."""
SWITCHED: Final = frozenset({RELAY, SWITCH})
FIRST_NUMBER: Final = 1_000_000_001
"""Of appearances: devices are numbered by events, which begin at 1."""
APPEARANCES_MOST: Final = 64
"""Of one device."""


class Capability(NamedTuple):
    """``key`` is that of state for relays and switches, and of a series for meters and sensors."""

    kind: str
    key: str


class Appearance(msgspec.Struct, frozen=True):
    """A relay or switch of ``device`` that clients of another ``contract`` see as a device of theirs.

    ``id`` is its number there; ``texts`` is what it is called; ``by`` made it ``at`` (milliseconds UTC).
    """

    id: str
    contract: str
    device: str
    key: str
    texts: dict[str, str]
    at: int
    by: str

    @property
    def number(self) -> int:
        return int(self.id)


def is_on(value: Any) -> bool | None:
    """Whether the value of a relay or switch means on; ``None`` for what means neither."""
    if type(value) is bool:
        return value
    return bool(value) if type(value) is int and value in (0, 1) else None


def sensors(known: Mapping[str, Any], but: Iterable[str] = ()) -> list[Capability]:
    """Every measured number that is not named otherwise."""
    others = set(but)
    return [
        Capability(SENSOR, key) for key, value in known.items() if type(value) in (int, float) and key not in others
    ]
