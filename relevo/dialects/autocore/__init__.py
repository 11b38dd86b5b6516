"""Contract autocore: relay boards, what they say over MQTT (sections 2, 4 and 4.3). They register over HTTP.

``autocore/devices/{uuid}/announce|status|response|telemetry|relays/state`` and ``autocore/errors/{uuid}/{type}``
towards the server; ``command``, ``commands/…``, ``relays/set`` and ``relays/heartbeat`` below the same root back. New
firmware is asked for and told of below ``update/`` there (``docs/updates.md``).
``autocore/telemetry/…`` and what gateways publish on ``gateway/status`` and ``discovery/announce`` are shared topics:
whose they are stands in the payload, or follows from who proved to be the sender.

**Whose it is**: the uuid of the topic. A different ``uuid`` in the payload refuses the message.

**announce** says that the board is there. **status** says so too, or that it is gone, and its figures (``uptime``,
``wifi_rssi``, ``free_memory`` under these names or their aliases) are readings; ``relay_states`` is reported state. An
empty announce or status clears a retained message and means nothing. **telemetry** is a flat object; nested ones are
flattened with dots, ``{"value", "unit"}`` is one value; whole numbers ``boot`` and ``seq`` together number it, and
``age_ms`` says how long ago it was taken. **response** is an answer, **relays/state** reported state.

**Which generation a board is** follows from what it publishes (section 1) and is remembered as its attribute
``speech``: :mod:`relevo.dialects.autocore.reports`. Commands to boards:
:mod:`relevo.dialects.autocore.commands`. Relays as desired and reported state: :mod:`relevo.dialects.autocore.relays`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from relevo.dialect import Address, Decoded, Description, Order, Said, Switch, UpdateTopics, Verdict
from relevo.dialects.autocore import commands, relays, reports
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
from relevo.domain.manifests import check_asked
from relevo.domain.rollouts import check_report
from relevo.domain.telemetry import check_values
from relevo.errors import FieldError, Invalid
from relevo.wire.strict_json import loads_object

PREFIX: Final = "autocore"
"""The usual root of the topics; a setting replaces it."""
UUID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,36}")
UPDATE_CHANNELS: Final = ("update/get", "update/state")
CHANNELS: Final = ("announce", "status", "response", "telemetry", "relays/state", *UPDATE_CHANNELS)
_TO_BOARD: Final = ("command", "commands/+", "relays/set", "relays/heartbeat", "update/manifest", "update/image")
TO_SWITCH: Final = ("command", "relays/set")
"""Where boards are told to switch a relay."""
_TOPIC: Final = rf"/devices/({UUID.pattern})/({'|'.join((*CHANNELS, *TO_SWITCH, 'relays/heartbeat'))})"
_ERRORS: Final = rf"/errors/({UUID.pattern})/([A-Za-z0-9_.:-]{{1,64}})"
_SHARED: Final = {"gateway/status": "gateway", "discovery/announce": "announce", "telemetry/relays/data": "relays/data"}
# Where a shared topic's payload says whose it is.
_NAMES: Final = ("uuid", "device_uuid", "source_uuid", "board_id", "device_id")
# A year: longer than that no board keeps a reading.
_AGE_MOST_MS: Final = 366 * 86_400_000
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
        shared = (f"{self._prefix}/gateway/status", f"{self._prefix}/discovery/announce")
        return (*boards, f"{self._prefix}/telemetry/#", f"{self._prefix}/errors/#", *shared)

    def all_filters(self) -> tuple[str, ...]:
        return (*self.filters(), *(f"{self._prefix}/devices/+/{channel}" for channel in _TO_BOARD))

    def address(self, topic: str) -> Address | None:
        match = self._topic.fullmatch(topic)
        if match:
            return Address(self.name, match[1], match[2])
        match = self._errors.fullmatch(topic)
        if match:
            return Address(self.name, match[1], f"errors/{match[2]}")
        root, _, rest = topic.partition(f"{self._prefix}/")
        if root:
            return None
        if rest in _SHARED:
            return Address(self.name, "", _SHARED[rest])
        if rest.startswith("telemetry/"):
            return Address(self.name, "", "telemetry")
        return Address(self.name, "", "unsupported") if rest.startswith("errors/") else None

    def normalise_id(self, external_id: str) -> str:
        text = external_id.strip()
        if not UUID.fullmatch(text):
            message = "external_id must be 1 to 36 characters of A-Z a-z 0-9 _ . : -"
            raise Invalid("id_invalid", message, [FieldError("external_id", message, "id_invalid")])
        return text

    def device_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        own = f"{self._prefix}/devices/{external_id}"
        says = (*(f"{own}/{channel}" for channel in CHANNELS), f"{self._prefix}/errors/{external_id}/+")
        # Some firmware tells on topics for all boards; with a credential of its own a board speaks for itself there.
        hears = (
            *(f"{own}/{channel}" for channel in _TO_BOARD),
            f"{self._prefix}/commands/all/+",
            f"{self._prefix}/system/broadcast",
        )
        return (*says, *(f"{self._prefix}/{shared}" for shared in _SHARED)), hears

    # Commands

    def order(self, name: str, params: dict[str, Any], attributes: Mapping[str, Any]) -> Order:
        return commands.order(name, params, attributes)

    def say(self, external_id: str, command: Command, attributes: Mapping[str, Any]) -> Said:
        return commands.say(f"{self._prefix}/devices/{external_id}", command, attributes)

    def command_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        return commands.topics(f"{self._prefix}/devices/{external_id}", attributes)

    def settles(self, command: Command, event: AnyEvent) -> Verdict | None:
        return commands.settles(command, event)

    def update_topics(self, external_id: str) -> UpdateTopics:
        root = f"{self._prefix}/devices/{external_id}/update"
        return UpdateTopics(f"{root}/manifest", f"{root}/image")

    def update_order(self, release: str) -> tuple[str, dict[str, Any]]:
        return "update", {"release": release}

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

    # What a board is

    def learned(self, attributes: Mapping[str, Any], said: Any, doubts: int) -> tuple[dict[str, Any], int]:
        return reports.learned(attributes, said, doubts)

    # Relays

    def switching(self, name: str, params: Mapping[str, Any]) -> Switch | None:
        return Switch(params["channel"], params["state"]) if name == "relay" and "channel" in params else None

    def relays_said(self, event: AnyEvent) -> dict[int, bool]:
        return {int(key.removeprefix("relay_")): on for key, on in (relays.reported(event) or {}).items()}

    def switch(self, channel: int, on: bool, function: str = "toggle") -> tuple[str, dict[str, Any]]:
        return "relay", {"channel": channel, "state": on, "function": function}

    def relay_key(self, channel: int) -> str:
        return f"relay_{channel}"

    def relay_count(self, attributes: Mapping[str, Any]) -> int:
        return commands.channels_of(attributes)

    def beat(self, external_id: str, channel: int, number: int, attributes: Mapping[str, Any]) -> Said | None:
        root = f"{self._prefix}/devices/{external_id}"
        return commands.beat(root, external_id, channel, number, attributes)

    def decode(self, address: Address, payload: bytes, received_ms: int, retained: bool) -> Decoded:
        uuid, channel = address.external_id, address.channel
        if channel == "unsupported":
            raise Invalid("topic_unsupported", "errors are told on errors/{uuid}/{type}")
        if channel in ("announce", "status") and not payload.strip():
            return Decoded()
        if channel in TO_SWITCH:
            return _told(uuid, payload, retained)
        body = loads_object(payload)
        if channel == "relays/heartbeat":
            return _beat(uuid, body, retained)
        if channel in UPDATE_CHANNELS and not retained:
            asked = check_asked(body) if channel == "update/get" else check_report(body)
            return Decoded(updates=[(_named(uuid, body), asked)])
        uuid = _named(uuid, body)
        if retained and channel not in ("announce", "status", "relays/state"):
            return Decoded(notices=[(uuid, "retained_skipped", f"a kept {channel} message is old")])
        decoded = Decoded()
        events: list[AnyEvent] = []
        units: dict[str, str] = {}
        if channel == "announce":
            events.append(DeviceConnected("", received_ms, "announce"))
        elif channel in ("status", "gateway"):
            events += _status(body, received_ms, uuid, decoded, retained)
        elif channel == "telemetry":
            if not address.external_id:
                body = {name: value for name, value in body.items() if name not in _NAMES}
            number = _numbered(body) if address.external_id else None
            events += _readings(reports.flat(body, units), received_ms, uuid, decoded, number)
            if not events and not decoded.refused:
                raise Invalid("reading_empty", "the reading has no values")
            stored = [event.values for event in events if isinstance(event, TelemetryReceived)]
            units = {key: unit for key, unit in units.items() if any(key in values for values in stored)}
        elif channel == "response":
            if type(body.get("type")) is not str and "command_id" not in body and "protocol_version" not in body:
                message = "type must be a text such as pong, status or relay_response"
                raise Invalid("answer_malformed", message, [FieldError("type", message, "answer_malformed")])
            events.append(DeviceAnswered("", received_ms, body))
        elif channel == "relays/state":
            events.append(StateReported("", received_ms, reports.state_of(body)))
        else:
            error = channel.removeprefix("errors/")
            told = {"error": error} if error != channel else {"event": "relays"}
            events.append(DeviceEventReported("", received_ms, {**told, **body}))
            if channel == "relays/data" and type(body.get("channel")) is int and type(body.get("state")) is bool:
                said = {"channel": body["channel"], "state": body["state"]}
                events.append(StateReported("", received_ms, said))
        decoded.events = [(uuid, event) for event in events]
        decoded.said = [(uuid, reports.said(channel, body, units, retained))]
        return decoded


def _named(uuid: str, body: Mapping[str, Any]) -> str:
    """Whose message it is. Raises :class:`Invalid` when topic and payload contradict each other."""
    said = body.get("uuid")
    if not uuid:
        named = next((body[name] for name in _NAMES if type(body.get(name)) is str), "")
        return named if UUID.fullmatch(named) else ""
    if said is not None and said != uuid:
        message = f"uuid in the payload is {ascii(said)[:60]}, in the topic {uuid!r}"
        raise Invalid("uuid_mismatch", message, [FieldError("uuid", message, "uuid_mismatch")])
    return uuid


def _told(uuid: str, payload: bytes, retained: bool) -> Decoded:
    """A client tells a board something by itself; what is no command of ours is between those two."""
    try:
        relay = commands.relay_in(loads_object(payload))
    except Invalid:
        relay = None
    return Decoded() if relay is None or retained else Decoded(switches=[(uuid, *relay)])


def _beat(uuid: str, body: Mapping[str, Any], retained: bool) -> Decoded:
    """Somebody holds a key: passed on as it is, and heard by the server where the board does not listen for it."""
    target = body.get("target_uuid")
    if target is not None and target != uuid:
        message = f"target_uuid is {ascii(target)[:60]}, the topic's {uuid!r}"
        raise Invalid("uuid_mismatch", message, [FieldError("target_uuid", message, "uuid_mismatch")])
    channel = body.get("channel")
    if type(channel) is not int or not 1 <= channel <= reports.CHANNELS_MOST:
        message = f"channel must be a whole number from 1 to {reports.CHANNELS_MOST}"
        raise Invalid("value_type", message, [FieldError("channel", message, "value_type")])
    return Decoded() if retained else Decoded(beats=[(uuid, channel)])


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
    states = reports.relays_in(body)
    if states is not None:
        events.append(StateReported("", received_ms, {"relay_states": states}))
    if not retained:
        figures = {}
        for name, aliases in reports.FIGURES:
            found = next((body[alias] for alias in aliases if body.get(alias) is not None), None)
            if type(found) in (int, float):
                figures[name] = found
            elif found is not None:
                message = f"{name} must be a number"
                decoded.refused.append((uuid, Invalid("value_type", message, [FieldError(name, message)])))
        events += _readings(figures, received_ms, uuid, decoded)
    return events


def _readings(
    values: dict[str, Any],
    received_ms: int,
    uuid: str,
    decoded: Decoded,
    number: tuple[int, int, int | None] | None = None,
) -> list[AnyEvent]:
    kept, refused = check_values(values)
    decoded.refused += [(uuid, problem) for problem in refused]
    if not kept:
        return []
    if number is None:
        # The board's clock counts from its start or from 2000 and says nothing about when.
        return [TelemetryReceived("", received_ms, "server", received_ms, kept)]
    boot, seq, age = number
    source = "server" if age is None else "repaired"
    return [TelemetryReceived("", received_ms - (age or 0), source, received_ms, kept, boot, seq)]


def _numbered(body: dict[str, Any]) -> tuple[int, int, int | None] | None:
    """Takes ``boot``, ``seq`` and ``age_ms`` out of telemetry whose board numbers it; they are series otherwise.

    The age is that of the reading when it was sent: a board without a clock knows how long it had to keep it.
    """
    if not all(type(body.get(name)) is int and 0 <= body[name] < 1 << 63 for name in ("boot", "seq")):
        return None
    age = body.get("age_ms")
    known = type(age) is int and 0 <= age <= _AGE_MOST_MS
    if known:
        del body["age_ms"]
    return body.pop("boot"), body.pop("seq"), age if known else None


def configure(options: Mapping[str, Any]) -> Autocore:
    """A dialect with the topic prefix of the mapping; other names are not its business."""
    return Autocore(options.get("topic_prefix", PREFIX))


dialect = Autocore()
