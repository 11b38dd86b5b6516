"""What a board is offered, as bytes that are signed (``docs/updates.md``, "The manifest"). Pure."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from relevo.domain.firmware_image import BYTES_MOST as IMAGE_MOST
from relevo.domain.releases import RELEASE_LIMIT, Board, Release, check_board
from relevo.errors import FieldError, Invalid

MARK: Final = "relevo-update-1"
BYTES_MOST: Final = 1_024
PIECE_LEAST: Final = 64
PIECE_MOST: Final = 16_384
_encode: Final = msgspec.json.Encoder().encode


def derived(device_key: bytes) -> bytes:
    """The 32 bytes under which manifests for the device with this key are signed; it does not tell the key."""
    return hmac.digest(device_key, MARK.encode(), hashlib.sha256)


def manifest(release: Release, external_id: str, issued: int) -> bytes:
    """The manifest of ``release`` for the device with this identity in its contract; ``issued`` in seconds UTC."""
    return _encode(
        {
            "release": release.id,
            "device": external_id,
            "version": release.version,
            "board": release.board,
            "boot": release.boot,
            "mpy": release.mpy,
            "size": release.size,
            "sha256": release.sha256,
            "issued": issued,
        }
    )


def signed(data: bytes, key: bytes, signature: bytes) -> bytes:
    """A manifest behind its line of signatures: ``key`` is :func:`derived` or empty, ``signature`` Ed25519."""
    words = [MARK]
    if key:
        words.append(f"hmac-sha256={hmac.new(key, data, hashlib.sha256).hexdigest()}")
    words.append(f"ed25519={base64.b64encode(signature).decode()}")
    return " ".join(words).encode() + b"\n" + data


def piece(offset: int, data: bytes) -> bytes:
    """A piece of an image as it goes over MQTT; empty ``data`` when there is nothing to give."""
    return offset.to_bytes(4) + data


class PieceWanted(NamedTuple):
    """A board asks for ``length`` bytes of the image of ``release`` from ``offset``."""

    release: str
    offset: int
    length: int


def check_asked(found: Mapping[str, Any]) -> Board | PieceWanted:
    """What a board asks for over MQTT. Raises :class:`Invalid`, naming the fields."""
    want = found.get("want")
    if want == "manifest":
        return check_board(found)
    if want != "image":
        raise _malformed("want", "must be manifest or image")
    release, offset, length = found.get("release"), found.get("offset"), found.get("length")
    if type(release) is not str or not 0 < len(release) <= RELEASE_LIMIT:
        raise _malformed("release", f"must be a text of 1 to {RELEASE_LIMIT} characters")
    if type(offset) is not int or not 0 <= offset < IMAGE_MOST:
        raise _malformed("offset", f"must be a whole number from 0 to {IMAGE_MOST - 1}")
    if type(length) is not int or not PIECE_LEAST <= length <= PIECE_MOST:
        raise _malformed("length", f"must be a whole number from {PIECE_LEAST} to {PIECE_MOST}")
    return PieceWanted(release, offset, length)


def _malformed(field: str, message: str) -> Invalid:
    return Invalid("update_malformed", f"{field} {message}", [FieldError(field, message, "update_malformed")])
