"""Releases of firmware: which version, for which boards, and what a board must be to get one (``docs/updates.md``).

Versions are ordered by semantic versioning 2.0.0, section 11: numbers as numbers, a pre-release before what it leads
to, build metadata not at all.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from relevo.errors import FieldError, Invalid

VERSION_LIMIT: Final = 32
BOARD_LIMIT: Final = 32
RELEASE_LIMIT: Final = BOARD_LIMIT + 1 + VERSION_LIMIT
NOTES_LIMIT: Final = 2_000
BOOT_MOST: Final = 255
MPY_MOST: Final = 255
FIRMWARE: Final = "firmware_version"
"""Attribute of a device: what it says that it runs."""
FIELDS: Final = ("version", "board", "boot", "mpy", "notes")
_BOARD: Final = re.compile(rf"[a-z0-9-]{{1,{BOARD_LIMIT}}}")
_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_PART: Final = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION: Final = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_PART}(?:\.{_PART})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_SAID: Final = re.compile(rf"[0-9A-Za-z.+_-]{{1,{VERSION_LIMIT}}}")


class Release(msgspec.Struct, gc=False):
    """One image that is kept, under ``id`` (board and version). ``size`` in bytes, ``created_at`` in milliseconds UTC.

    ``files`` are the names in the image with their sizes.
    """

    id: str
    version: str
    board: str
    boot: int
    mpy: int
    notes: str
    size: int
    sha256: str
    files: list[list[Any]]
    by: str
    created_at: int


class Said(msgspec.Struct, frozen=True, gc=False):
    """What ``release.json`` of an image says."""

    version: str
    board: str
    boot: int = 1
    mpy: int = 0
    notes: str = ""

    @property
    def release(self) -> str:
        """What the release is called."""
        return f"{self.board}-{self.version}"


class Board(msgspec.Struct, frozen=True, gc=False):
    """What a board says that it is and runs; ``board`` is empty while that is unknown, ``mpy`` ``None`` if not said."""

    version: str = ""
    board: str = ""
    boot: int = 1
    mpy: int | None = None

    def attributes(self) -> dict[str, Any]:
        """The same as attributes of a device; what was not said is taken away (RFC 7396)."""
        return {
            FIRMWARE: self.version,
            "firmware_board": self.board,
            "firmware_boot": self.boot,
            "firmware_mpy": self.mpy,
        }


def order_of(version: str) -> tuple[Any, ...] | None:
    """Something by which versions can be compared; ``None`` for what is no semantic version."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return None
    numbers = tuple(int(one) for one in match.group(1, 2, 3))
    if match[4] is None:
        return (*numbers, 1, ())
    # Numbers come before words.
    parts = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in match[4].split("."))
    return (*numbers, 0, parts)


def is_newer(version: str, than: str) -> bool:
    """Whether ``version`` comes after ``than``; false where one of them cannot be compared."""
    left, right = order_of(version), order_of(than)
    return left is not None and right is not None and left > right


def board_of(attributes: Mapping[str, Any]) -> Board:
    """What a device said of itself, from its attributes; whatever has the wrong type was not said."""

    def text(name: str) -> str:
        value = attributes.get(name)
        return value if type(value) is str else ""

    boot, mpy = attributes.get("firmware_boot"), attributes.get("firmware_mpy")
    return Board(
        text(FIRMWARE),
        text("firmware_board"),
        boot if type(boot) is int else 1,
        mpy if type(mpy) is int else None,
    )


def unfit(release: Release, board: Board) -> str:
    """Why a board cannot get ``release``, empty when it can: ``unknown_board``, ``other_board``, ``boot``, ``mpy``."""
    if not board.board:
        return "unknown_board"
    if board.board != release.board:
        return "other_board"
    if board.boot < release.boot:
        return "boot"
    if release.mpy and board.mpy is not None and board.mpy != release.mpy:
        return "mpy"
    return ""


def needless(release: Release, board: Board, older: bool) -> str:
    """Why a board that fits need not get ``release``: ``current``, or ``newer`` unless it may go back (``older``)."""
    if board.version == release.version:
        return "current"
    return "newer" if not older and is_newer(board.version, release.version) else ""


def check_release(found: Mapping[str, Any]) -> Said:
    """What ``release.json`` says. Raises :class:`Invalid` that names every field that breaks a limit."""
    errors: list[FieldError] = []

    def wrong(field: str, message: str) -> None:
        errors.append(FieldError(f"release.json.{field}", message, "release_invalid"))

    for name in sorted(set(found) - set(FIELDS)):
        wrong(name[:64], f"is not known; known are {', '.join(FIELDS)}")
    version = found.get("version")
    if type(version) is not str or len(version) > VERSION_LIMIT or order_of(version) is None:
        wrong("version", f"must be a semantic version such as 1.4.0 of at most {VERSION_LIMIT} characters")
    board = found.get("board")
    if type(board) is not str or not _BOARD.fullmatch(board):
        wrong("board", f"must be 1 to {BOARD_LIMIT} characters of a-z 0-9 -")
    boot, mpy = found.get("boot", 1), found.get("mpy")
    if type(boot) is not int or not 1 <= boot <= BOOT_MOST:
        wrong("boot", f"must be a whole number from 1 to {BOOT_MOST}")
    if type(mpy) is not int or not 0 <= mpy <= MPY_MOST:
        wrong("mpy", f"must be a whole number from 0 to {MPY_MOST}, 0 for sources alone")
    notes = found.get("notes", "")
    if type(notes) is not str or len(notes) > NOTES_LIMIT:
        wrong("notes", f"must be a text of at most {NOTES_LIMIT} characters")
    if errors:
        raise Invalid("release_invalid", "; ".join(f"{one.field} {one.message}" for one in errors), errors)
    return Said(str(version), str(board), int(boot), int(mpy or 0), str(notes))


def check_board(found: Mapping[str, Any]) -> Board:
    """What a board that asks for an update says of itself. Raises :class:`Invalid`, naming the fields."""
    errors: list[FieldError] = []

    def wrong(field: str, message: str) -> None:
        errors.append(FieldError(field, message, "update_malformed"))

    version, board = found.get("version"), found.get("board")
    if type(version) is not str or not _SAID.fullmatch(version):
        wrong("version", f"must be 1 to {VERSION_LIMIT} characters of A-Z a-z 0-9 . + _ -")
    if type(board) is not str or not _BOARD.fullmatch(board):
        wrong("board", f"must be 1 to {BOARD_LIMIT} characters of a-z 0-9 -")
    boot, mpy = found.get("boot", 1), found.get("mpy")
    if type(boot) is not int or not 1 <= boot <= BOOT_MOST:
        wrong("boot", f"must be a whole number from 1 to {BOOT_MOST}")
    if mpy is not None and (type(mpy) is not int or not 0 <= mpy <= MPY_MOST):
        wrong("mpy", f"must be a whole number from 0 to {MPY_MOST}")
    if errors:
        raise Invalid("update_malformed", "; ".join(f"{one.field} {one.message}" for one in errors), errors)
    return Board(str(version), str(board), int(boot), mpy)
