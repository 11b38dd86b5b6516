"""What a data payload says: three forms, and the bare number (contract emqx, section 3.1)."""

import re
from typing import Any, Final, NamedTuple

from relevo.domain.events import TimeSource
from relevo.domain.times import DAY, repair
from relevo.errors import FieldError, Invalid
from relevo.wire.strict_json import loads_object

KEYS_MOST: Final = 256
_OWN: Final = frozenset({"device_id", "timestamp", "sensors", "readings"})
_TEXT_MOST: Final = 64
_NUMBER: Final = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*", re.ASCII)
_BARE: Final = re.compile(rb"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*")
_NOTHING: Final = frozenset({"nan", "-nan", "inf", "-inf", "ovf", "infinity", "-infinity", "null", "none", ""})
# What Arduino prints for what is no number, where firmware glues its JSON together: outside of texts it is null.
_GLUED: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|(?<![\w.])-?(?:nan|inf|ovf)(?![\w.])', re.IGNORECASE)


class Value(NamedTuple):
    """One value as it was sent, with the time and unit that it may have of its own."""

    key: str
    raw: Any
    time: Any = None
    unit: str = ""


class Payload(NamedTuple):
    """``device`` is empty where the payload does not say it; ``time`` is that of values without one."""

    device: str
    values: list[Value]
    time: Any = None


def read(payload: bytes, sensor: str = "") -> Payload:
    """Take a payload apart; ``sensor`` is what the topic says about which one it is of.

    Raises :class:`Invalid` when the message as a whole cannot be used.
    """
    if sensor and _BARE.fullmatch(payload):
        return Payload("", [Value(sensor, payload.decode().strip())])
    if sensor and payload.strip().decode("ascii", "replace").lower() in _NOTHING:
        return Payload("", [])
    body = loads_object(_GLUED.sub(_without_glue, payload))
    device = body.get("device_id")
    if device is None:
        device = ""
    elif type(device) is int:
        device = str(device)
    if type(device) is not str or len(device) > _TEXT_MOST * 2:
        raise _wrong("device_id", "must be a text", "id_invalid")
    time = body.get("timestamp")
    if sensor and "value" in body:
        return Payload(device, [_value(sensor, body)], time)
    values: list[Value] = []
    for name in ("readings", "sensors"):
        inner = body.get(name)
        if inner is None:
            continue
        if type(inner) is not dict:
            raise _wrong(name, "must be an object", "value_type")
        values += [_value(key, raw) for key, raw in inner.items()]
    if not ("readings" in body or "sensors" in body):
        values = [_value(key, raw) for key, raw in body.items() if key not in _OWN]
    if len(values) > KEYS_MOST:
        raise _wrong("payload", f"has {len(values)} values, the limit is {KEYS_MOST}", "too_many_keys")
    return Payload(device, values, time)


def number(raw: Any) -> float | None:
    """``raw`` as a number, ``None`` for what the contract skips: text that says there is none, and null.

    Raises :class:`Invalid` for anything else.
    """
    if type(raw) is bool:
        return float(raw)
    if type(raw) is int or type(raw) is float:
        if type(raw) is int and abs(raw) >= 2**63:
            raise Invalid("value_out_of_range", "must fit 64 bits")
        return float(raw) if raw * 0.0 == 0.0 else None
    if raw is None:
        return None
    if type(raw) is str and len(raw) <= _TEXT_MOST:
        if _NUMBER.fullmatch(raw):
            found = float(raw)
            return found if found * 0.0 == 0.0 else None
        if raw.strip().lower() in _NOTHING:
            return None
    raise Invalid("value_type", "must be a number, a text that is one, or a boolean")


def time_of(raw: Any, received_ms: int) -> tuple[int, TimeSource, str]:
    """Time, source and note: the device's own when that is an absolute one within a day of now, else ours."""
    at, source, note = repair(raw, received_ms)
    if source == "device" and abs(at - received_ms) <= DAY:
        return at, source, note
    if source == "device":
        note = "clock_before_2015" if at < received_ms else "clock_future"
    return received_ms, "server", "" if note in ("", "clock_missing", "clock_boot_relative") else note


def _value(key: str, raw: Any) -> Value:
    if type(raw) is not dict:
        return Value(key, raw)
    unit = raw.get("unit")
    return Value(key, raw.get("value"), raw.get("timestamp"), unit[:32] if type(unit) is str else "")


def _without_glue(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b"null"


def _wrong(field: str, words: str, reason: str) -> Invalid:
    message = f"{field} {words}"
    return Invalid(reason, message, [FieldError(field, message, reason)])
