"""Values that devices report: what may be stored, and what is refused alone without losing its neighbours.

A value is a number, a boolean, a text or a small JSON list or object. SQLite stores NaN as NULL, integers beyond
64 bits overflow and half a surrogate pair fails to encode, so all of these stop here.

Reasons of refusal: ``key_invalid``, ``too_many_keys``, ``value_null``, ``value_not_finite``, ``value_out_of_range``,
``value_too_large``, ``json_too_deep``, ``value_type``, ``text_too_long``, ``text_has_nul``, ``utf8_invalid``.
Contract: native, and all others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from relevo.errors import FieldError, Invalid

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
_KEY = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class TelemetryLimits:
    """Most keys of a reading, characters of a key and of a text, bytes of JSON of a list or object, and its depth."""

    keys: int = 256
    key_chars: int = 64
    text_chars: int = 4_096
    json_bytes: int = 8_192
    json_depth: int = 32


DEFAULT_LIMITS = TelemetryLimits()


def check_values(
    values: dict[str, Any], limits: TelemetryLimits = DEFAULT_LIMITS
) -> tuple[dict[str, Any], list[Invalid]]:
    """The values that may be stored, and one refusal for each that may not.

    The answer holds ``values`` itself when nothing was refused. Never raises.
    """
    if len(values) > limits.keys:
        return _sort_out(values, limits)
    longest = limits.key_chars
    for key, value in values.items():
        # isprintable() is narrower than the rule and quick; what it turns down is looked at again.
        if type(key) is not str or not key.isprintable() or not 0 < len(key) <= longest:
            return _sort_out(values, limits)
        kind = type(value)
        if kind is float:
            # False for NaN and both infinities.
            if value * 0.0 != 0.0:
                return _sort_out(values, limits)
        elif kind is int:
            if not INT_MIN <= value <= INT_MAX:
                return _sort_out(values, limits)
        elif kind is str:
            if len(value) > limits.text_chars or not value.isascii() or "\0" in value:
                return _sort_out(values, limits)
        elif kind is not bool:
            return _sort_out(values, limits)
    return values, []


def check_value(value: Any, limits: TelemetryLimits = DEFAULT_LIMITS) -> tuple[str, str] | None:
    """Why a value may not be stored, as reason and message, or ``None``. Never raises."""
    kind = type(value)
    if kind is bool:
        return None
    if kind is float:
        return None if value * 0.0 == 0.0 else ("value_not_finite", "must be a finite number")
    if kind is int:
        return None if INT_MIN <= value <= INT_MAX else ("value_out_of_range", "must fit 64 bits: -2^63 to 2^63-1")
    if kind is str:
        if len(value) > limits.text_chars:
            return "text_too_long", f"has {len(value)} characters, the limit is {limits.text_chars}"
        return _check_text(value)
    if value is None:
        return "value_null", "is null; leave out a key that has no value"
    if kind is list or kind is dict:
        return _check_tree(value, limits)
    return "value_type", "must be a number, a boolean, a text, a list or an object"


def _sort_out(values: Mapping[Any, Any], limits: TelemetryLimits) -> tuple[dict[str, Any], list[Invalid]]:
    kept: dict[str, Any] = {}
    refused: list[Invalid] = []
    for key, value in values.items():
        # Bounded both ways: thousands of bad keys are not worth a message each.
        if len(kept) == limits.keys or len(refused) == limits.keys:
            more = len(values) - len(kept) - len(refused)
            refused.append(Invalid("too_many_keys", f"{more} keys beyond the limit of {limits.keys} were left out"))
            break
        if type(key) is not str or not _KEY.fullmatch(key) or len(key) > limits.key_chars:
            shown = ascii(key[: limits.key_chars]) if type(key) is str else f"({type(key).__name__})"
            message = f"key {shown} must have 1 to {limits.key_chars} characters and no control characters"
            refused.append(Invalid("key_invalid", message, [FieldError(shown, message, "key_invalid")]))
        elif problem := check_value(value, limits):
            reason, message = problem
            refused.append(Invalid(reason, f"{key}: {message}", [FieldError(key, message, reason)]))
        else:
            kept[key] = value
    # The caller may compare by identity to learn that nothing changed.
    return (kept, refused) if refused else (values, refused)  # type: ignore[return-value]


def _check_text(text: str) -> tuple[str, str] | None:
    if "\0" in text:
        return "text_has_nul", "contains a NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "utf8_invalid", "contains half of a surrogate pair"
    return None


def _check_tree(tree: Any, limits: TelemetryLimits) -> tuple[str, str] | None:
    # Before encoding: msgspec writes NaN as null, and each node costs at least two bytes.
    stack = [(tree, 1)]
    left = limits.json_bytes
    while stack:
        node, depth = stack.pop()
        if depth > limits.json_depth:
            return "json_too_deep", f"is nested deeper than {limits.json_depth}"
        left -= 2 * len(node)
        if left < 0:
            return "value_too_large", f"has more than {limits.json_bytes} bytes as JSON"
        for item in (*node, *node.values()) if type(node) is dict else node:
            kind = type(item)
            if kind is list or kind is dict:
                stack.append((item, depth + 1))
            elif kind is str:
                if problem := _check_text(item):
                    return problem
            elif item is not None and (problem := check_value(item, limits)):
                return problem
        if type(node) is dict and not all(type(key) is str for key in node):
            return "value_type", "has a key that is not a text"
    size = len(_encode(tree))
    if size > limits.json_bytes:
        return "value_too_large", f"has {size} bytes as JSON, the limit is {limits.json_bytes}"
    return None
