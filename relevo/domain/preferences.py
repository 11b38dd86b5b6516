"""What a person wants of the interface."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from relevo.errors import FieldError

LANGUAGES: Final = ("", "en", "es", "pt")
THEMES: Final = ("auto", "light", "dark")
FAVOURITES_MOST: Final = 100
HOME_BYTES: Final = 4_096
"""Of ``home`` as JSON."""


class Preferences(msgspec.Struct, frozen=True):
    """Of one person; ``id`` is the account's name.

    ``language`` empty is the browser's. ``favourites`` are devices in the order in which they are shown; ``home`` is
    the interface's own: how its first page is laid out.
    """

    id: str
    language: str = ""
    theme: str = "auto"
    favourites: list[str] = []
    home: dict[str, Any] = {}


def check_preferences(preferences: Preferences, known: Iterable[str]) -> list[FieldError]:
    """What is wrong; ``known`` are the devices that the person may view."""
    wrong: list[FieldError] = []
    if preferences.language not in LANGUAGES:
        wrong.append(FieldError("language", "must be empty, en, es or pt"))
    if preferences.theme not in THEMES:
        wrong.append(FieldError("theme", "must be auto, light or dark"))
    if len(preferences.favourites) > FAVOURITES_MOST:
        wrong.append(
            FieldError("favourites", f"has {len(preferences.favourites)} devices, the limit is {FAVOURITES_MOST}")
        )
    there, seen = set(known), set()
    for n, device in enumerate(preferences.favourites[:FAVOURITES_MOST]):
        if device not in there:
            wrong.append(FieldError(f"favourites.{n}", f"there is no device {device!r}"))
        elif device in seen:
            wrong.append(FieldError(f"favourites.{n}", f"device {device!r} is there twice"))
        seen.add(device)
    size = len(msgspec.json.encode(preferences.home))
    if size > HOME_BYTES:
        wrong.append(FieldError("home", f"is {size} bytes of JSON, the limit is {HOME_BYTES}"))
    return wrong
