"""Cells of CSV files as Relevo writes them (RFC 4180), and what they mean when they are read back.

Texts stand in quotes, everything else does not: ``12`` is a number and ``"12"`` a text. Lists and objects are JSON
behind ``json:``, in quotes. No value is an empty cell, an empty text is ``""``.

A spreadsheet runs a text that begins like a formula, quotes or not. Such a text gets an apostrophe in front, and so
does one that begins with an apostrophe or ``json:``, so that reading takes away exactly what writing added. Numbers
stay numbers: ``-5`` is no formula.
"""

import re
from typing import Any, Final

import msgspec

from relevo.errors import Invalid

_NEUTRALISED: Final = re.compile(r"[=+\-@\t\r\n＝＋－＠']|json:")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_JSON: Final = "json:"
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


def text_cell(text: str) -> str:
    """A text between its quotes."""
    return '"' + harmless(text).replace('"', '""') + '"'


def harmless(text: str) -> str:
    """``text`` as no spreadsheet runs it; :func:`restored` is the reverse."""
    return f"'{text}" if _NEUTRALISED.match(text) else text


def restored(text: str) -> str:
    return text[1:] if text.startswith("'") else text


def value_cell(value: Any) -> str:
    """The cell of a stored value."""
    kind = type(value)
    if kind is float:
        return repr(value)
    if kind is str:
        return text_cell(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    return '"' + _JSON + _encode(value).decode().replace('"', '""') + '"'


def value_of(text: str, quoted: bool) -> Any:
    """The value of a cell, ``None`` for none. Raises :class:`Invalid` (``json_malformed``)."""
    if not quoted:
        if not text:
            return None
        if text == "true" or text == "false":
            return text == "true"
        if (number := number_of(text)) is not None:
            return number
    if text.startswith(_JSON):
        try:
            return _decode(text[len(_JSON) :])
        except (msgspec.DecodeError, RecursionError):
            raise Invalid("json_malformed", f"{text[:40]!r} is no JSON behind 'json:'") from None
    return restored(text)


def number_of(text: str) -> int | float | None:
    """The number that ``text`` is, as an integer where it is written as one; ``None`` for no number."""
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None
