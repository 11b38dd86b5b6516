"""Dashboards and widgets of the thingsnxt app: what one person put where, and what each widget shows and switches.

Contract: thingsnxt, section 4. A widget's value is the device's, never its own; ``value`` is shown until there is one.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

SWITCH: Final = "led"
"""The type of widget that has a virtual pin and switches it."""
DASHBOARDS_MOST: Final = 100
WIDGETS_MOST: Final = 200
"""Of one dashboard."""
NAME_LIMIT: Final = 128
TEXT_LIMIT: Final = 512
CONFIG_BYTES_MOST: Final = 4_096
_PIN: Final = re.compile(r"v(0|[1-9][0-9]{0,3})")


class Dashboard(msgspec.Struct, frozen=True):
    """``account`` made it at ``created_at`` (milliseconds UTC)."""

    id: str
    account: str
    name: str
    description: str
    created_at: int


class Widget(msgspec.Struct, frozen=True):
    """One on a dashboard of ``account``, the others of lower ``position`` before it; ``device`` may be empty."""

    id: str
    dashboard: str
    account: str
    device: str
    type: str
    label: str
    config: dict[str, Any]
    created_at: int
    value: Any = None
    width: int = 1
    height: int = 1
    position: int = 0

    @property
    def key(self) -> str:
        """The key of the device that it shows, and as a switch sets; empty for none."""
        for name in ("virtual_pin", "key"):
            found = self.config.get(name)
            if isinstance(found, str) and found:
                return found
        return ""


class TokenSalt(msgspec.Struct, frozen=True):
    """What the token of device ``id`` is made from beside the secret of this installation."""

    id: str
    salt: str


def free_pin(taken: Iterable[str]) -> str:
    """The lowest virtual pin that is not ``taken``."""
    numbers = {int(match[1]) for key in taken if (match := _PIN.fullmatch(key))}
    return f"v{next(n for n in range(len(numbers) + 1) if n not in numbers)}"


def normal_pin(text: Any) -> str:
    """``text`` as a virtual pin, empty when it is none."""
    found = text.strip().lower() if isinstance(text, str) else ""
    return found if _PIN.fullmatch(found) else ""
