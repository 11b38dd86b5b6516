"""Roles of people. Every contract's own role names map to these three."""

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """Ordered: a higher role may do all that a lower one may."""

    VIEWER = 1
    OPERATOR = 2
    ADMINISTRATOR = 3


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. ``device`` is set when a device's key was shown instead of a person's token."""

    name: str
    role: Role | None
    device: str = ""

    def at_least(self, role: Role) -> bool:
        return self.role is not None and self.role >= role
