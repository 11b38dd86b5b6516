"""JSON from strangers: everything that parsers let pass in silence is refused with a reason.

msgspec decodes fast but keeps the last of two equal keys. In a text without backslashes every ``"`` opens or closes
a key or a text, so their number is exactly twice the keys and texts of the decoded tree; where it is not, or where a
backslash makes the count meaningless, the exact and ten times slower decoder of the standard library decides.

Reasons of refusal: ``payload_empty``, ``json_malformed``, ``json_duplicate_key``, ``json_too_deep``,
``json_not_object``, ``utf8_invalid``, ``text_has_nul``, ``value_not_finite``, ``value_out_of_range``.
Contract: native, and all others.
"""

import json
import math
import re
from typing import Any, NoReturn

import msgspec

from relevo.errors import Invalid

MAX_DEPTH = 32
INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

_decode = msgspec.json.Decoder().decode
_BACKSLASH = 0x5C
# Bytes in which no nesting fits that could exhaust the decoder's stack.
_SHALLOW = 1024
_NOT_STRUCTURE = bytes(b for b in range(256) if b not in b'[]{}"')
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_ESCAPE = re.compile(rb"\\.", re.DOTALL)


def loads(payload: bytes) -> Any:
    """Any JSON value. Raises :class:`relevo.errors.Invalid`."""
    shallow = len(payload) <= _SHALLOW
    if not shallow:
        _check_depth(payload)
    try:
        value = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(payload, error)
    if type(value) is dict:
        # The flat object that most messages are: one pass, no stack.
        texts = len(value)
        nested = False
        for item in value.values():
            kind = type(item)
            if kind is float:
                continue
            if kind is int:
                if not INT_MIN <= item <= INT_MAX:
                    _refuse_integer(item)
            elif kind is str:
                texts += 1
            elif kind is dict or kind is list:
                if shallow and not nested:
                    _check_depth(payload)
                    nested = True
                texts += _texts(item)
    else:
        if shallow:
            _check_depth(payload)
        texts = _texts([value])
    if _BACKSLASH in payload or payload.count(b'"') != 2 * texts:
        return _exact(payload)
    return value


def loads_object(payload: bytes) -> dict[str, Any]:
    """A JSON object. Raises :class:`relevo.errors.Invalid`, ``json_not_object`` for any other value."""
    value = loads(payload)
    if type(value) is not dict:
        raise Invalid("json_not_object", "the payload must be a JSON object")
    return value


def loads_object_or_list(payload: bytes) -> dict[str, Any] | list[Any]:
    """A JSON object or list. Raises :class:`relevo.errors.Invalid`, ``json_not_object`` for any other value."""
    value = loads(payload)
    if type(value) is not dict and type(value) is not list:
        raise Invalid("json_not_object", "the payload must be a JSON object or a list of them")
    return value


def _texts(tree: Any) -> int:
    """Number of keys and texts below ``tree``, whose depth was checked; refuses integers that do not fit 64 bits."""
    if type(tree) is dict:
        count = len(tree)
        tree = tree.values()
    else:
        count = 0
    for item in tree:
        kind = type(item)
        if kind is float:
            continue
        if kind is int:
            if not INT_MIN <= item <= INT_MAX:
                _refuse_integer(item)
        elif kind is str:
            count += 1
        elif kind is dict or kind is list:
            count += _texts(item)
    return count


def _check_depth(payload: bytes) -> None:
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return
    if _BACKSLASH in payload:
        payload = _ESCAPE.sub(b"", payload)
    # Outside of texts only brackets are left; each round takes the innermost pairs away.
    brackets = b"".join(payload.translate(_ONE_KIND, _NOT_STRUCTURE).split(b'"')[::2])
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    # A pair that is left encloses 32 levels. What is unbalanced without being deep is left to the decoder, which says
    # where it went wrong.
    deep = b"[]" in brackets
    depth = 0
    for bracket in brackets if not deep else b"":
        depth += 1 if bracket == 0x5B else -1
        deep = depth > MAX_DEPTH
        if deep or depth < 0:
            break
    if deep:
        raise Invalid("json_too_deep", f"lists and objects may be nested {MAX_DEPTH} deep")


def _refuse(payload: bytes, error: Exception) -> NoReturn:
    if isinstance(error, RecursionError):
        raise Invalid("json_too_deep", f"lists and objects may be nested {MAX_DEPTH} deep") from None
    if not payload.strip():
        raise Invalid("payload_empty", "the payload is empty") from None
    _exact(payload)
    raise Invalid("json_malformed", str(error)) from None


def _refuse_integer(value: object) -> NoReturn:
    raise Invalid("value_out_of_range", f"integer {str(value)[:24]} does not fit 64 bits: -2^63 to 2^63-1")


def _exact(payload: bytes) -> Any:
    try:
        value = _slow.decode(payload.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Invalid("utf8_invalid", f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise Invalid("json_malformed", f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    stack: list[Any] = [[value]]
    while stack:
        node = stack.pop()
        for item in (*node, *node.values()) if type(node) is dict else node:
            if type(item) is str:
                check_text(item)
            elif type(item) is dict or type(item) is list:
                stack.append(item)
    return value


def check_text(text: str) -> None:
    """Refuse what no database and no MQTT string can hold: NUL and half of a surrogate pair.

    Raises :class:`relevo.errors.Invalid` with ``text_has_nul`` or ``utf8_invalid``.
    """
    if "\0" in text:
        raise Invalid("text_has_nul", f"{_shown(text)} contains a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Invalid("utf8_invalid", f"{_shown(text)} contains half of a surrogate pair") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Invalid("json_duplicate_key", f"key {_shown(key)} appears twice in one object")
            seen.add(key)
    return value


def _integer(text: str) -> int:
    # Checked by length first: Python's own conversion is slow or refused for thousands of digits.
    if len(text) > 20:
        _refuse_integer(text)
    value = int(text)
    if not INT_MIN <= value <= INT_MAX:
        _refuse_integer(text)
    return value


def _real(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Invalid("value_not_finite", f"{text[:24]} is beyond the largest number")
    return value


def _constant(text: str) -> NoReturn:
    raise Invalid("value_not_finite", f"{text} is not a number that can be stored")


def _shown(text: str) -> str:
    return ascii(text[:64])


_slow = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant)
