"""What a rule does when it fires or clears, as documents of one member.

======== ==================================================== ====================================================
command  ``{"name", "params", "ttl"}``                         to the device itself, or to ``device``, or ``selection``
desired  ``{"values"}``                                        of the device itself, or of ``device``, or ``selection``
alert    ``{"severity", "text", "key", "auto_clear",           opened, or counted once more while it is open; people
         "notify"}``                                           who may view the device are told, unless that is off
notify   ``{"text", "title", "severity", "to"}``               people are told: the rule's owner, or those named
webhook  ``{"webhook", "body"}``                               a delivery to that webhook of the rule's owner
publish  ``{"topic", "payload", "qos", "retain"}``             an MQTT message
======== ==================================================== ====================================================

Texts and payloads may hold ``{device}``, ``{name}`` (the device's), ``{rule}`` and ``{KEY}`` for the value of a key
that the condition names. Whether anybody may do it is asked when it happens.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from relevo.domain.actions import check_action
from relevo.errors import FieldError

SEVERITIES: Final = ("info", "warning", "critical")
ACTION_BYTES: Final = 4_096
TEXT_LIMIT: Final = 1_000
ALERT_KEY_LIMIT: Final = 64
TOPIC_LIMIT: Final = 256
TITLE_LIMIT: Final = 120
TO_MOST: Final = 50
REASON: Final = "rule_invalid"
MOVING: Final = ("command", "desired")
KINDS: Final = (*MOVING, "alert", "notify", "webhook", "publish")
CLEAR_KINDS: Final = (*MOVING, "notify", "webhook", "publish")
_PLACE: Final = re.compile(r"\{([^{}\s]{1,64})\}")
_FIELDS: Final = {
    "alert": frozenset({"severity", "text", "key", "auto_clear", "notify"}),
    "webhook": frozenset({"webhook", "body"}),
    "notify": frozenset({"text", "title", "severity", "to"}),
    "publish": frozenset({"topic", "payload", "qos", "retain"}),
}


def check_rule_action(action: Any, field: str, kinds: tuple[str, ...] = KINDS) -> list[FieldError]:
    """What is wrong with the shape of an action; never raises."""
    if not isinstance(action, dict) or len(action) != 1 or next(iter(action)) not in kinds:
        return [_wrong(field, f"must be an object with one of {', '.join(kinds)}")]
    kind, body = next(iter(action.items()))
    place = f"{field}.{kind}"
    if not isinstance(body, dict):
        return [_wrong(place, "must be an object")]
    try:
        size = len(msgspec.json.encode(body))
    except (TypeError, UnicodeEncodeError, ValueError, RecursionError):
        return [_wrong(place, "cannot be written as JSON")]
    if size > ACTION_BYTES:
        return [_wrong(place, f"has {size} bytes as JSON, the limit is {ACTION_BYTES}")]
    if kind in MOVING:
        whole = body if "device" in body or "selection" in body else {**body, "device": "x"}
        return check_action({kind: whole}, field)
    found = [
        _wrong(f"{place}.{str(name)[:32]}", f"is unknown; may be {', '.join(sorted(_FIELDS[kind]))}")
        for name in body
        if name not in _FIELDS[kind]
    ]
    return found + _CHECKS[kind](body, place)


def filled(text: str, about: dict[str, Any]) -> str:
    """``text`` with what is known in its places; others stay as they are."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return shown(about[name]) if name in about else found[0]

    return _PLACE.sub(value, text)


def filled_body(body: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """The same with every text in it filled."""

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return filled(value, about)
        if isinstance(value, dict):
            return {key: fill(one) for key, one in value.items()}
        return [fill(one) for one in value] if isinstance(value, list) else value

    return {key: fill(one) for key, one in body.items()}


def shown(value: Any) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)[:TEXT_LIMIT]


def _alert(body: dict[str, Any], place: str) -> list[FieldError]:
    found = _text(body, "text", place, TEXT_LIMIT)
    if "severity" not in body:
        found.append(_wrong(f"{place}.severity", "is missing"))
    elif body["severity"] not in SEVERITIES:
        found.append(_wrong(f"{place}.severity", f"must be one of {' '.join(SEVERITIES)}"))
    if "key" in body:
        found += _text(body, "key", place, ALERT_KEY_LIMIT)
    return found + _flag(body, "auto_clear", place) + _flag(body, "notify", place)


def _notify(body: dict[str, Any], place: str) -> list[FieldError]:
    found = _text(body, "text", place, TEXT_LIMIT)
    if "title" in body:
        found += _text(body, "title", place, TITLE_LIMIT)
    if body.get("severity", "info") not in SEVERITIES:
        found.append(_wrong(f"{place}.severity", f"must be one of {' '.join(SEVERITIES)}"))
    to = body.get("to", [])
    if not isinstance(to, list) or len(to) > TO_MOST or not all(isinstance(one, str) and one for one in to):
        found.append(_wrong(f"{place}.to", f"must be a list of at most {TO_MOST} names"))
    return found


def _webhook(body: dict[str, Any], place: str) -> list[FieldError]:
    found = _text(body, "webhook", place, 64)
    if not isinstance(body.get("body", {}), dict):
        found.append(_wrong(f"{place}.body", "must be an object"))
    return found


def _publish(body: dict[str, Any], place: str) -> list[FieldError]:
    found = _text(body, "topic", place, TOPIC_LIMIT)
    if not found and any(mark in body["topic"] for mark in "+#\0"):
        found.append(_wrong(f"{place}.topic", "must not have wildcards"))
    if body.get("qos", 0) not in (0, 1, 2) or isinstance(body.get("qos"), bool):
        found.append(_wrong(f"{place}.qos", "must be 0, 1 or 2"))
    return found + _flag(body, "retain", place)


def _text(body: dict[str, Any], name: str, place: str, most: int) -> list[FieldError]:
    if name not in body:
        return [_wrong(f"{place}.{name}", "is missing")]
    if not isinstance(body[name], str) or not 1 <= len(body[name]) <= most:
        return [_wrong(f"{place}.{name}", f"must be a text of 1 to {most} characters")]
    return []


def _flag(body: dict[str, Any], name: str, place: str) -> list[FieldError]:
    return [] if isinstance(body.get(name, False), bool) else [_wrong(f"{place}.{name}", "must be true or false")]


def _wrong(field: str, message: str) -> FieldError:
    return FieldError(field, f"{field} {message}", REASON)


_CHECKS: Final[dict[str, Callable[[dict[str, Any], str], list[FieldError]]]] = {
    "alert": _alert,
    "notify": _notify,
    "webhook": _webhook,
    "publish": _publish,
}
