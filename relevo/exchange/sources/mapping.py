"""What things are called in a file, and what they are to be called here."""

from collections.abc import Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """A device and a key; either may be empty where nothing is said of it."""

    device: str
    key: str


class Names:
    """Names of a file by pattern: ``sensor.kitchen_*`` to ``kitchen/*``. The first that fits counts.

    A target is a key, or a device, a slash and a key; ``*`` in it is what the one of the pattern stands for.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._exact = {name: target for name, target in patterns.items() if "*" not in name}
        self._patterns = [(*name.split("*", 1), target) for name, target in patterns.items() if "*" in name]
        self.given = bool(patterns)

    def target(self, name: str) -> str | None:
        """What ``name`` is to be called, ``None`` where nothing is said of it."""
        if name in self._exact:
            return self._exact[name]
        for begin, end, target in self._patterns:
            if len(name) >= len(begin) + len(end) and name.startswith(begin) and name.endswith(end):
                return target.replace("*", name[len(begin) : len(name) - len(end)])
        return None

    def place(self, name: str) -> Place | None:
        """The same as a device and a key."""
        target = self.target(name)
        if target is None:
            return None
        device, mark, key = target.partition("/")
        return Place(device, key) if mark else Place("", target)
