"""The firmware's sources as they came with the package, and the profiles: which modules and pins a board has."""

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from relevo.errors import NotFound, Unbuildable

_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``firmware/micropython/profiles/NAME.json``.

    ``board`` is what the board calls itself (docs/updates.md), ``contract`` what it speaks, ``modules`` are the files
    of ``app/`` that it needs, ``pins`` and ``settings`` are handed to the application.
    """

    board: str
    contract: str
    modules: list[str]
    title: str = ""
    pins: Any = None
    settings: dict[str, Any] = {}


def place() -> Path:
    """Where the sources are: in the package, or beside it in a checkout. Raises :class:`NotFound`."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "micropython", here.parent.parent / "firmware" / "micropython"):
        if (candidate / "launcher" / "boot.py").is_file():
            return candidate
    raise NotFound("the firmware's sources did not come with this installation")


def profiles() -> list[str]:
    """The names of all profiles, in order."""
    return sorted(one.stem for one in (place() / "profiles").glob("*.json"))


def profile(name: str) -> Profile:
    """Raises :class:`NotFound`, naming those that there are, and :class:`Unbuildable` for one that is none."""
    file = place() / "profiles" / f"{name}.json"
    if not _NAME.fullmatch(name) or not file.is_file():
        raise NotFound(f"no profile {name!r}; there are {', '.join(profiles())}")
    try:
        return msgspec.json.decode(file.read_bytes(), type=Profile)
    except msgspec.ValidationError as error:
        raise Unbuildable(f"profile {name}: {error}") from None


def module(name: str) -> Path:
    """The file of a module of the application. Raises :class:`NotFound`."""
    file = place() / "app" / f"{name}.py"
    if not file.is_file():
        raise NotFound(f"no module {name!r} in {place() / 'app'}")
    return file
