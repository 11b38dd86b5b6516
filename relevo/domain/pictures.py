"""What a picture is by its own bytes: PNG, JPEG or WebP, and how large. Pure.

Nothing that is uploaded is believed: neither its name nor its declared type. Of the three formats a browser runs no
script; SVG is a document and no picture here.
"""

from typing import Final, NamedTuple

from relevo.errors import FieldError, Invalid

BYTES_MOST: Final = 2_097_152
SIDE_MOST: Final = 8_192
"""Pixels."""
TYPES: Final = ("image/png", "image/jpeg", "image/webp")
# Markers of JPEG without a length, and those that begin a frame (ITU T.81, table B.1).
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Look(NamedTuple):
    """``width`` and ``height`` in pixels."""

    type: str
    width: int
    height: int


def look(data: bytes) -> Look:
    """What ``data`` is. Raises :class:`Invalid`."""
    if len(data) > BYTES_MOST:
        raise refused("body_too_large", f"has more than {BYTES_MOST} bytes")
    found = _png(data) or _jpeg(data) or _webp(data)
    if found is None:
        raise refused("picture_invalid", "must be a PNG, JPEG or WebP picture")
    if not (0 < found.width <= SIDE_MOST and 0 < found.height <= SIDE_MOST):
        raise refused("picture_invalid", f"is {found.width} x {found.height} pixels, must be 1 to {SIDE_MOST} each way")
    return found


def refused(reason: str, words: str) -> Invalid:
    return Invalid(reason, f"the picture {words}", [FieldError("body", words, reason)])


def _png(data: bytes) -> Look | None:
    """W3C PNG, sections 5.2 and 11.2.1."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR") or len(data) < 33:
        return None
    return Look("image/png", int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))


def _jpeg(data: bytes) -> Look | None:
    """ITU T.81, section B.2: segments until the one that begins the frame."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            return Look("image/jpeg", int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7]))
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return None


def _webp(data: bytes) -> Look | None:
    """RFC 9649, sections 2.5 to 2.7."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind, body = data[12:16], data[20:]
    if kind == b"VP8X":
        return Look("image/webp", _little(body[4:7]) + 1, _little(body[7:10]) + 1)
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = _little(body[1:5])
        return Look("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return Look("image/webp", _little(body[6:8]) & 0x3FFF, _little(body[8:10]) & 0x3FFF)
    return None


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
