"""Cursors: opaque to clients, a position inside."""

import base64
import binascii

from relevo.errors import FieldError, Invalid


def encode_cursor(*position: int | str) -> str:
    return base64.urlsafe_b64encode("\n".join(str(part) for part in position).encode()).decode().rstrip("=")


def decode_cursor(text: str | None, parts: int) -> list[str] | None:
    """The position in ``text``, ``None`` for no cursor. Raises :class:`Invalid` for one that we did not make."""
    if not text:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raw = ""
    position = raw.split("\n")
    if len(position) != parts or not all(position):
        message = "cursor is not one that this server gave"
        raise Invalid("cursor_invalid", message, [FieldError("cursor", message)])
    return position


def decode_numbers(text: str | None, parts: int) -> list[int] | None:
    """As :func:`decode_cursor`, for whole numbers."""
    position = decode_cursor(text, parts)
    if position is None:
        return None
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in position):
        message = "cursor is not one that this server gave"
        raise Invalid("cursor_invalid", message, [FieldError("cursor", message)])
    return [int(part) for part in position]
