"""Contract autocore: relay boards, what they say over MQTT (sections 2, 4 and 4.3). They register over HTTP.

``autocore/devices/{uuid}/announce|status|response|telemetry|relays/state`` and ``autocore/errors/{uuid}/{type}``
towards the server; ``command``, ``commands/…``, ``relays/set`` and ``relays/heartbeat`` below the same root back.

**Whose it is**: the uuid of the topic. A different ``uuid`` in the payload refuses the message.

**announce** says that the board is there. **status** says so too, or that it is gone, and its figures (``uptime``,
``wifi_rssi``, ``free_memory`` under these names or their aliases) are readings; ``relay_states`` is reported state. An
empty announce or status clears a retained message and means nothing. **telemetry** is a flat object; nested ones are
flattened with dots, ``{"value", "unit"}`` is one value. **response** is an answer, **relays/state** reported state.

Commands to boards: :mod:`relevo.dialects.autocore.commands`. Relays as desired and reported state:
:mod:`relevo.dialects.autocore.relays`.

Not read yet and refused as ``topic_unsupported``: ``autocore/telemetry/…``, whose boards name themselves in other ways.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from relevo.dialect import Address, Decoded, Description, Order, Said, Verdict
from relevo.dialects.autocore import commands, relays
from relevo.domain.capabilities import RELAY, Capability, sensors
from relevo.domain.commands import Command
from relevo.domain.events import (
    AnyEvent,
    DeviceAnswered,
    DeviceConnected,
    DeviceDisconnected,
    DeviceEventReported,
    StateReported,
    TelemetryReceived,
)
from relevo.domain.telemetry import check_values
from relevo.errors import FieldError, Invalid
from relevo.wire.strict_json import loads_object

PREFIX: Final = "autocore"
"""The usual root of the topics; a setting replaces it."""
UUID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,36}")
CHANNELS: Final = ("announce", "status", "response", "telemetry", "relays/state")
_TO_BOARD: Final = ("command", "commands/+", "relays/set", "relays/heartbeat")
_TOPIC: Final = rf"/devices/({UUID.pattern})/({'|'.join(CHANNELS)})"
_ERRORS: Final = rf"/errors/({UUID.pattern})/([A-Za-z0-9_.:-]{{1,64}})"
_FIGURES: Final = (
    ("uptime", ("uptime", "uptime_s")),
    ("wifi_rssi", ("wifi_rssi", "wifi_signal", "rssi")),
    ("free_memory", ("free_memory", "memory_free")),
)
_STATES: Final = ("relay_states", "relays", "channels")
_NO_SERIES: Final = frozenset({"uuid", "timestamp", "protocol_version"})
_DEPTH: Final = 4
ATTRIBUTES: Final = (
    "mac_address",
    "ip_address",
    "firmware_version",
    "hardware_version",
    "relay_channels",
    "capabilities",
)
"""What a registration says beside name and type, kept as attributes of the device."""


class Autocore:
    """See the module."""

    name = "autocore"
    # Over HTTP, never by a message: section 2.
    self_registering = False
    reporting = frozenset({StateReported, DeviceAnswered})

    def __init__(self, topic_prefix: str = PREFIX) -> None:
        self._prefix = topic_prefix
        self._topic = re.compile(re.escape(topic_prefix) + _TOPIC)
        self._errors = re.compile(re.escape(topic_prefix) + _ERRORS)

    def filters(self) -> tuple[str, ...]:
        boards = tuple(f"{self._prefix}/devices/+/{channel}" for channel in CHANNELS)
        return (*boards, f"{self._prefix}/telemetry/#", f"{self._prefix}/errors/#")

    def all_filters(self) -> tuple[str, ...]:
        return (*self.filters(), *(f"{self._prefix}/devices/+/{channel}" for channel in _TO_BOARD))

    def address(self, topic: str) -> Address | None:
        match = self._topic.fullmatch(topic)
        if match:
            return Address(self.name, match[1], match[2])
        match = self._errors.fullmatch(topic)
        if match:
            return Address(self.name, match[1], f"errors/{match[2]}")
        if topic.startswith((f"{self._prefix}/telemetry/", f"{self._prefix}/errors/")):
            return Address(self.name, "", "unsupported")
        return None

    def normalise_id(self, external_id: str) -> str:
        text = external_id.strip()
        if not UUID.fullmatch(text):
            message = "external_id must be 1 to 36 characters of A-Z a-z 0-9 _ . : -"
            raise Invalid("id_invalid", message, [FieldError("external_id", message, "id_invalid")])
        return text

    def device_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        own = f"{self._prefix}/devices/{external_id}"
        says = (*(f"{own}/{channel}" for channel in CHANNELS), f"{self._prefix}/errors/{external_id}/+")
        # Some firmware tells a safety shut-off on one topic for all boards; whose it is stands in the payload.
        hears = (
            *(f"{own}/{channel}" for channel in _TO_BOARD),
            f"{self._prefix}/commands/all/+",
            f"{self._prefix}/system/broadcast",
        )
        return (*says, f"{self._prefix}/telemetry/relays/data"), hears

    # Commands

    def order(self, name: str, params: dict[str, Any], attributes: Mapping[str, Any]) -> Order:
        return commands.order(name, params, attributes)

    def say(self, external_id: str, command: Command, attributes: Mapping[str, Any]) -> Said:
        return commands.say(f"{self._prefix}/devices/{external_id}", command, attributes)

    def command_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        return commands.topics(f"{self._prefix}/devices/{external_id}", attributes)

    def settles(self, command: Command, event: AnyEvent) -> Verdict | None:
        return commands.settles(command, event)

    def capabilities(self, attributes: Mapping[str, Any], known: Mapping[str, Any]) -> list[Capability]:
        keys = [f"relay_{channel}" for channel in range(1, commands.channels_of(attributes) + 1)]
        return [Capability(RELAY, key) for key in keys] + sensors(known, keys)

    def turned(self, key: str, on: bool) -> dict[str, Any]:
        return {key: on}

    # Desired and reported state

    def reported(self, event: AnyEvent) -> dict[str, Any] | None:
        return relays.reported(event)

    def desired_order(self, key: str, value: Any, attributes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return relays.desired_order(key, value, attributes)

    def options(self) -> dict[str, Any]:
        return {"topic_prefix": self._prefix}

    def describe(self, payload: dict[str, Any]) -> Description:
        """A registration that came while nothing was open says what the board is; a message does not."""
        if "uuid" not in payload:
            return Description()
        attributes = {name: payload[name] for name in ATTRIBUTES if payload.get(name) is not None}
        return Description(str(payload.get("name", ""))[:128], str(payload.get("type", ""))[:64], attributes)

    def decode(self, address: Address, payload: bytes, received_ms: int, retained: bool) -> Decoded:
        uuid, channel = address.external_id, address.channel
        if channel == "unsupported":
            raise Invalid("topic_unsupported", "this topic of the contract is not read by this version")
        if channel in ("announce", "status") and not payload.strip():
            return Decoded()
        body = loads_object(payload)
        said = body.get("uuid")
        if said is not None and said != uuid:
            message = f"uuid in the payload is {ascii(said)[:60]}, in the topic {uuid!r}"
            raise Invalid("uuid_mismatch", message, [FieldError("uuid", message, "uuid_mismatch")])
        if retained and channel not in ("announce", "status", "relays/state"):
            return Decoded(notices=[(uuid, "retained_skipped", f"a kept {channel} message is old")])
        decoded = Decoded()
        events: list[AnyEvent] = []
        if channel == "announce":
            events.append(DeviceConnected("", received_ms, "announce"))
        elif channel == "status":
            events += _status(body, received_ms, uuid, decoded, retained)
        elif channel == "telemetry":
            events += _readings(_flat(body), received_ms, uuid, decoded)
            if not events and not decoded.refused:
                raise Invalid("reading_empty", "the reading has no values")
        elif channel == "response":
            if type(body.get("type")) is not str:
                message = "type must be a text such as pong, status or relay_response"
                raise Invalid("answer_malformed", message, [FieldError("type", message, "answer_malformed")])
            events.append(DeviceAnswered("", received_ms, body))
        elif channel == "relays/state":
            events.append(StateReported("", received_ms, body))
        else:
            events.append(DeviceEventReported("", received_ms, {"error": channel.partition("/")[2], **body}))
        decoded.events = [(uuid, event) for event in events]
        return decoded


def _status(body: dict[str, Any], received_ms: int, uuid: str, decoded: Decoded, retained: bool) -> list[AnyEvent]:
    status = body.get("status", "online")
    if status == "offline":
        reason = body.get("reason")
        detail = reason[:128] if type(reason) is str else "the board said so"
        return [DeviceDisconnected("", received_ms, "status", detail)]
    if status != "online":
        message = "status must be online or offline"
        raise Invalid("status_unknown", message, [FieldError("status", message, "status_unknown")])
    events: list[AnyEvent] = [DeviceConnected("", received_ms, "status")]
    states = next((body[name] for name in _STATES if type(body.get(name)) in (list, dict)), None)
    if states is not None:
        events.append(StateReported("", received_ms, {"relay_states": _relays(states)}))
    if not retained:
        figures = {}
        for name, aliases in _FIGURES:
            found = next((body[alias] for alias in aliases if body.get(alias) is not None), None)
            if type(found) in (int, float):
                figures[name] = found
            elif found is not None:
                message = f"{name} must be a number"
                decoded.refused.append((uuid, Invalid("value_type", message, [FieldError(name, message)])))
        events += _readings(figures, received_ms, uuid, decoded)
    return events


def _relays(states: Any) -> dict[str, bool]:
    """Channel, counted from 1, to whether it is on."""
    pairs = enumerate(states, 1) if type(states) is list else states.items()
    found = {}
    for channel, state in pairs:
        if not (type(state) is bool or (type(state) is int and state in (0, 1))):
            message = f"relay_states: channel {str(channel)[:16]} must be 0, 1, true or false"
            raise Invalid("value_type", message, [FieldError("relay_states", message, "value_type")])
        found[str(channel)] = bool(state)
    return found


def _readings(values: dict[str, Any], received_ms: int, uuid: str, decoded: Decoded) -> list[AnyEvent]:
    kept, refused = check_values(values)
    decoded.refused += [(uuid, problem) for problem in refused]
    # The board's clock counts from its start or from 2000 and says nothing about when.
    return [TelemetryReceived("", received_ms, "server", received_ms, kept)] if kept else []


def _flat(body: Mapping[str, Any], before: str = "", depth: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in body.items():
        if not before and name in _NO_SERIES:
            continue
        key = f"{before}{name}"
        if type(value) is dict and depth < _DEPTH:
            if "value" in value and value.keys() <= {"value", "unit"}:
                found[key] = value["value"]
            else:
                found |= _flat(value, f"{key}.", depth + 1)
        else:
            found[key] = value
    return found


def configure(options: Mapping[str, Any]) -> Autocore:
    """A dialect with the topic prefix of the mapping; other names are not its business."""
    return Autocore(options.get("topic_prefix", PREFIX))


dialect = Autocore()
