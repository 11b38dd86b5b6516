"""What an image of firmware is by its own bytes: a tar of plain files that begins with ``release.json``. Pure.

Nothing is unpacked. Only the headers are looked at (POSIX.1-2017, pax, "ustar Interchange Format") and the one small
file; whatever a board's unpacker of fifty lines would have to be clever about is refused here, so that it need not be:
folders, links, devices, extended headers of pax and GNU, sparse files, names with anything but letters, digits and
``_``, sizes that do not add up, bytes where nothing should be.
"""

import hashlib
import json
import re
from typing import Any, Final, NamedTuple, NoReturn

from relevo.domain.releases import Said, check_release
from relevo.errors import FieldError, Invalid

BYTES_MOST: Final = 1_048_576
FILES_MOST: Final = 64
NAME_MOST: Final = 63
FIRST: Final = "release.json"
RELEASE_BYTES_MOST: Final = 16_384
_BLOCK: Final = 512
_NAME: Final = re.compile(r"[a-z0-9_]+\.(?:mpy|py|json|html|txt|der)")
# POSIX, not what GNU tar writes by default ("ustar  ").
_MAGIC: Final = b"ustar\x0000"
_KINDS: Final = {
    b"1": "a link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
    b"7": "a contiguous file",
    b"x": "an extended header of pax",
    b"g": "a global header of pax",
    b"L": "a long name of GNU tar",
    b"K": "a long link of GNU tar",
    b"S": "a sparse file of GNU tar",
}
_OCTAL: Final = re.compile(rb" *([0-7]+)[ \0]*")


class Image(NamedTuple):
    """``files`` are names and sizes in their order, ``release.json`` among them."""

    said: Said
    files: list[tuple[str, int]]
    size: int
    sha256: str


class _File(NamedTuple):
    name: str
    begin: int
    size: int


def look(data: bytes, most: int = BYTES_MOST) -> Image:
    """What ``data`` is. Raises :class:`Invalid` that names the field and the limit."""
    if len(data) > most:
        raise too_large(most)
    if data[:2] == b"\x1f\x8b":
        _refuse("is compressed with gzip; an image is a plain tar")
    if data[:2] == b"PK":
        _refuse("is a zip; an image is a plain tar")
    if not data or len(data) % _BLOCK:
        _refuse(f"has {len(data)} bytes, which is no multiple of {_BLOCK}: it is cut off, or no tar")
    found = _files(data)
    first = found[0]
    if first.size > RELEASE_BYTES_MOST:
        _refuse(f"has a {FIRST} of {first.size} bytes, the limit is {RELEASE_BYTES_MOST}")
    said = check_release(_document(data[first.begin : first.begin + first.size]))
    if not said.mpy and any(one.name.endswith(".mpy") for one in found):
        message = "must be the version of the byte code: there are .mpy files, and 0 is for sources alone"
        field = f"{FIRST}.mpy"
        raise Invalid("release_invalid", f"{field} {message}", [FieldError(field, message, "release_invalid")])
    return Image(said, [(one.name, one.size) for one in found], len(data), hashlib.sha256(data).hexdigest())


def _document(data: bytes) -> dict[str, Any]:
    """What ``release.json`` holds. Raises :class:`Invalid`."""
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        message = "must be one JSON object in UTF-8, each of its names once"
        raise Invalid("release_invalid", f"{FIRST} {message}", [FieldError(FIRST, message, "release_invalid")])
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def too_large(most: int) -> Invalid:
    """The refusal of an image of more than ``most`` bytes."""
    message = f"has more than {most} bytes"
    return Invalid("body_too_large", f"the image {message}", [FieldError("image", message, "body_too_large")])


def _files(data: bytes) -> list[_File]:
    found: list[_File] = []
    names: set[str] = set()
    at = 0
    while True:
        header = data[at : at + _BLOCK]
        if not header:
            _refuse("ends without the two empty blocks that end a tar: it is cut off")
        if not any(header):
            break
        where = f"file {len(found) + 1}"
        size = _size(header, where)
        name = _name(header, where)
        if name in names:
            _refuse(f"has two files {name}")
        if not found and name != FIRST:
            _refuse(f"begins with {name}, its first file must be {FIRST}")
        if len(found) == FILES_MOST:
            _refuse(f"has more than {FILES_MOST} files")
        begin = at + _BLOCK
        end = begin + size
        at = begin + -(-size // _BLOCK) * _BLOCK
        if at > len(data):
            _refuse(f"says that {name} has {size} bytes, and ends before them")
        if any(data[end:at]):
            _refuse(f"has something behind {name} where there must be nothing")
        names.add(name)
        found.append(_File(name, begin, size))
    if not found:
        _refuse("has no files")
    if len(data) - at < 2 * _BLOCK:
        _refuse("ends without the two empty blocks that end a tar: it is cut off")
    if any(data[at:]):
        _refuse("has something behind its end")
    return found


def _size(header: bytes, where: str) -> int:
    """The size of a file, once its header is known to be one of a plain file."""
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    if _octal(header[148:156], f"{where}: the checksum") != total:
        _refuse(f"is no tar, or is damaged: the checksum of {where} is wrong")
    kind = header[156:157]
    if kind not in (b"0", b"\0"):
        _refuse(f"has {_KINDS.get(kind, f'something of type {kind!r}')} as {where}; only plain files are allowed")
    if header[257:265] != _MAGIC:
        _refuse(f"is no tar of format ustar at {where}")
    if any(header[157:257]) or any(header[345:500]):
        _refuse(f"has a link or a folder in the header of {where}")
    return _octal(header[124:136], f"{where}: the size")


def _name(header: bytes, where: str) -> str:
    raw, _, rest = header[:100].partition(b"\0")
    name = raw.decode("ascii", "replace")
    if any(rest) or len(name) > NAME_MOST or not _NAME.fullmatch(name):
        _refuse(
            f"calls {where} {name[:64]!a}; names are a-z 0-9 _ and one of .mpy .py .json .html .txt .der, "
            f"at most {NAME_MOST} characters"
        )
    return name


def _octal(field: bytes, what: str) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        _refuse(f"is no tar, or is damaged: {what} is no octal number")
    return int(match[1], 8)


def _refuse(words: str) -> NoReturn:
    raise Invalid("image_invalid", f"the image {words}", [FieldError("image", words, "image_invalid")])
