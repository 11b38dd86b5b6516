"""Contract thingsnxt: token devices that post a map of values and poll for what they are to be (sections 2, 3 and 6).

``{"device_token": "…", "data": {…}}`` is the body over HTTP and on ``thingsnxt/device/{id}/telemetry``; ``{prefix}/…``
where a setting says so. Over MQTT the token may be absent when the connection proves whose it is.

**Desired**: a widget's virtual pin ``v0``, ``v1`` … and whatever else is desired of the device. Telemetry holds
reported state among its measurements: pins are state always, ``led`` stands for ``v0`` where that is absent, and any
key of which something is desired is. The device asks over HTTP, or hears each key as a message of its own on
``thingsnxt/device/{id}/commands``.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from relevo.dialect import Address, Decoded, Said
from relevo.domain.capabilities import SWITCH, Capability, is_on, sensors
from relevo.domain.events import AnyEvent, TelemetryReceived
from relevo.domain.telemetry import TelemetryLimits, check_values
from relevo.errors import FieldError, Invalid
from relevo.wire.strict_json import loads_object

PREFIX: Final = "thingsnxt"
"""The usual root of the topics; a setting replaces it."""
ID: Final = re.compile(r"[0-9a-f]{24}")
PIN: Final = re.compile(r"v(?:0|[1-9][0-9]{0,3})")
TOKEN_MOST: Final = 128
KEYS_MOST: Final = 64
DATA_BYTES_MOST: Final = 8_192
LIMITS: Final = TelemetryLimits(keys=KEYS_MOST, text_chars=256)
_LED: Final = "led"
_encode: Final = msgspec.json.Encoder().encode


class Body(NamedTuple):
    """A telemetry body: ``token`` is empty where it has none; ``refused`` holds what of ``data`` is left out."""

    token: str
    data: dict[str, Any]
    refused: list[Invalid]


def read_body(payload: bytes) -> Body:
    """The body of section 3. Raises :class:`Invalid` that names the field and the limit."""
    body = loads_object(payload)
    token = body.get("device_token", "")
    if type(token) is not str or len(token) > TOKEN_MOST:
        raise _wrong("device_token", f"must be a text of at most {TOKEN_MOST} characters", "token_invalid")
    if "data" not in body:
        raise _wrong("data", "is missing", "missing")
    data = body["data"]
    if type(data) is not dict:
        raise _wrong("data", "must be an object", "data_not_object")
    if len(data) > KEYS_MOST:
        raise _wrong("data", f"has {len(data)} keys, the limit is {KEYS_MOST}", "data_too_large")
    size = len(_encode(data))
    if size > DATA_BYTES_MOST:
        raise _wrong("data", f"has {size} bytes as JSON, the limit is {DATA_BYTES_MOST}", "data_too_large")
    plain: dict[str, Any] = {}
    refused = []
    for key, value in data.items():
        if type(value) in (dict, list):
            refused.append(_wrong(f"data.{key[:64]}", "must be a number, a boolean or a text", "value_type"))
        else:
            plain[key] = value
    kept, more = check_values(plain, LIMITS)
    refused += more
    if refused and not kept:
        raise refused[0]
    return Body(token, kept, refused)


class Thingsnxt:
    """See the module."""

    name = "thingsnxt"
    # A person adds it and gets its token: section 2.
    self_registering = False
    reporting = frozenset({TelemetryReceived})
    # Section 3.1: of a key that is never reported, the first poll counts.
    delivery_agrees = True

    def __init__(self, topic_prefix: str = PREFIX) -> None:
        self._prefix = topic_prefix
        self._topic = re.compile(rf"{re.escape(topic_prefix)}/device/([0-9a-f]{{24}})/telemetry")

    def filters(self) -> tuple[str, ...]:
        return (f"{self._prefix}/device/+/telemetry",)

    def all_filters(self) -> tuple[str, ...]:
        return (*self.filters(), f"{self._prefix}/device/+/commands")

    def address(self, topic: str) -> Address | None:
        match = self._topic.fullmatch(topic)
        return Address(self.name, match[1], "telemetry") if match else None

    def normalise_id(self, external_id: str) -> str:
        """24 hexadecimal characters, in lower case."""
        found = external_id.lower()
        if not ID.fullmatch(found):
            raise _wrong("external_id", "must be 24 hexadecimal characters", "id_invalid")
        return found

    def device_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        own = f"{self._prefix}/device/{external_id}"
        return (f"{own}/telemetry",), (f"{own}/commands",)

    def options(self) -> dict[str, Any]:
        return {"topic_prefix": self._prefix}

    def decode(self, address: Address, payload: bytes, received_ms: int, retained: bool) -> Decoded:
        if retained:
            return Decoded(notices=[(address.external_id, "retained_skipped", "a kept telemetry message is old")])
        return decoded(address.external_id, read_body(payload), received_ms)

    def capabilities(self, attributes: Mapping[str, Any], known: Mapping[str, Any]) -> list[Capability]:
        """Virtual pins that are 0 or 1 are switches (section 2)."""
        pins = [key for key, value in known.items() if PIN.fullmatch(key) and is_on(value) is not None]
        return [Capability(SWITCH, key) for key in pins] + sensors(known, pins)

    def turned(self, key: str, on: bool) -> dict[str, Any]:
        return {key: int(on)}

    # Desired and reported state

    def reported(self, event: AnyEvent) -> dict[str, Any] | None:
        if type(event) is not TelemetryReceived:
            return None
        values = {key: _number(value) if self.is_state(key) else value for key, value in event.values.items()}
        if _LED in values and "v0" not in values:
            values["v0"] = _number(values[_LED])
        return values

    def is_state(self, key: str) -> bool:
        """Whether ``key`` says what the device is, whatever is desired of it; the others are measurements."""
        return PIN.fullmatch(key) is not None

    def desired_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        return (f"{self._prefix}/device/{external_id}/commands",)

    def desired_message(
        self, external_id: str, delta: dict[str, Any], version: int, attributes: Mapping[str, Any]
    ) -> Said:
        """Only asked whether it can be said: each key leaves by :meth:`desired_key`."""
        kept, refused = check_values({key: value for key, value in delta.items() if type(value) not in (dict, list)})
        if refused:
            raise refused[0]
        if len(kept) < len(delta):
            key = next(key for key in delta if key not in kept)
            raise _wrong(f"values.{key}", "must be a number, a boolean or a text", "desired_unknown")
        return Said(self.desired_topics(external_id, attributes)[0], _encode(delta))

    def desired_key(self, external_id: str, key: str, value: Any, at_ms: int) -> Said:
        """The command of section 6; ``at_ms`` is when it was desired (milliseconds UTC)."""
        message = {
            "type": "led" if PIN.fullmatch(key) and value in (0, 1) else "value",
            "state": value,
            "virtual_pin": key,
            "timestamp": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        }
        return Said(f"{self._prefix}/device/{external_id}/commands", _encode(message))


def decoded(external_id: str, body: Body, received_ms: int) -> Decoded:
    """What a body of the device ``external_id`` amounts to; its token is still to be checked."""
    found = Decoded(refused=[(external_id, problem) for problem in body.refused], token=body.token)
    if body.data:
        found.events = [(external_id, TelemetryReceived("", received_ms, "server", received_ms, body.data))]
    return found


def _number(value: Any) -> Any:
    """Firmware says true and false or 1 and 0 of a pin and means the same (section 8)."""
    return int(value) if type(value) is bool else value


def _wrong(field: str, words: str, reason: str) -> Invalid:
    message = f"{field} {words}"
    return Invalid(reason, message, [FieldError(field, message, reason)])


def configure(options: Mapping[str, Any]) -> Thingsnxt:
    """A dialect with the topic prefix of the mapping; other names are not its business."""
    return Thingsnxt(options.get("topic_prefix", PREFIX))


dialect = Thingsnxt()
