"""Contract emqx: sensors behind a managed broker (sections 2 and 3).

**Whose it is**: the topic's ``{device_id}``, any name of the device (:mod:`relevo.domain.book`). A payload may repeat
it. Where they disagree the topic wins if the door knows that it is the device that speaks, otherwise the message is
refused; a payload alone never says it.

**Values** become readings of the sensors that are assigned to the device: by ``mqtt_topic_suffix``, else by the usual
key of the sensor's type. What no sensor has is left out, counted and shown to operators; the others are stored. The
telemetry of a device holds them under the sensor's key, so every other interface sees them. A value beyond the
sensor's range is stored and flagged.

**Retained**: as in contract hidrometro, only what a foreign broker kept and *delivered as retained* is old. It says
the current state and adds nothing to history; a live message whose retain bit is set is a live message.

**Status** is text or JSON; ``online`` and ``offline`` decide presence, ``error`` is state. **Alerts** are events of the
device. **Commands** are JSON of any content, without an answer, so they end as sent.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from relevo.dialect import Address, Alarm, Decoded, Delivery, Order, Said, Verdict
from relevo.dialects.emqx.payloads import Value, number, read, time_of
from relevo.domain.book import ALIASES, COMMANDS, Book, Placed, Profile, Rights
from relevo.domain.capabilities import Capability, sensors
from relevo.domain.commands import Command
from relevo.domain.devices import Registry
from relevo.domain.events import (
    AnyEvent,
    DeviceConnected,
    DeviceDisconnected,
    DeviceEventReported,
    SensorReading,
    SensorsRead,
    StateReported,
    TelemetryReceived,
)
from relevo.domain.patterns import ALERT, STATUS, pattern
from relevo.domain.telemetry import check_values
from relevo.errors import FieldError, Invalid
from relevo.wire.strict_json import loads_object

ID_CHARS: Final = 100
_MARKS: Final = frozenset("/+#${}")
ONLINE: Final = "online"
OFFLINE: Final = "offline"
ERROR: Final = "error"
OUT_OF_RANGE: Final = "fuera_de_rango"
_STATES: Final = {
    "online": ONLINE, "connected": ONLINE, "conectado": ONLINE, "en_linea": ONLINE,
    "offline": OFFLINE, "disconnected": OFFLINE, "desconectado": OFFLINE, "fuera_de_linea": OFFLINE,
    "error": ERROR,
}  # fmt: skip
_SEVERITIES: Final = {
    **dict.fromkeys(
        ("critical", "critica", "crítica", "critico", "crítico", "error", "fatal", "emergency"), "critical"
    ),
    **dict.fromkeys(("info", "informativa", "information", "low", "baja"), "info"),
}
_ALERT_CHARS: Final = 1_024
_encode: Final = msgspec.json.Encoder().encode


class Emqx:
    """See the module. Functions of what they are given and of the ``book``."""

    name = "emqx"
    self_registering = False
    reporting = frozenset({StateReported})
    delivery_agrees = True

    def __init__(self, book: Book) -> None:
        self._book = book

    # Topics

    def filters(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.filter for one in self._book.patterns))

    def all_filters(self) -> tuple[str, ...]:
        usual = ("iot/sensors/+/#", "iot/devices/+/#", "iot/alerts/+", "iot/commands/+/#", "iot/config/+/#")
        return tuple(dict.fromkeys((*usual, *self.filters(), *self._book.topics)))

    def address(self, topic: str) -> Address | None:
        for one in self._book.patterns:
            named = one.named(topic)
            if named is not None:
                said = f"{one.channel}/{named.sensor}/{named.time}" if named.sensor or named.time else one.channel
                return Address(self.name, named.device, said)
        return None

    def normalise_id(self, external_id: str) -> str:
        """What can be one level of a topic, at most 100 characters."""
        text = external_id.strip()
        if not 0 < len(text) <= ID_CHARS or not text.isprintable() or any(mark in text for mark in _MARKS):
            raise _wrong("external_id", f"must be 1 to {ID_CHARS} characters without / + # $ {{ }}", "id_invalid")
        return text

    def device_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        rights = self._rights(external_id)
        return rights.publish, rights.subscribe

    def denied_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        rights = self._rights(external_id)
        return rights.never_publish, rights.never_subscribe

    def _rights(self, external_id: str) -> Rights:
        profile = self._book.profile(external_id)
        return profile.rights if profile is not None else self._book.usual_rights(external_id)

    def options(self) -> dict[str, Any]:
        return {"patterns": [one.text for one in self._book.patterns]}

    # Messages

    def decode(self, address: Address, payload: bytes, received_ms: int, retained: bool) -> Decoded:
        if not retained:
            return self.delivered(address, payload, received_ms, Delivery())
        decoded = self.delivered(address, payload, received_ms, Delivery(retained=True))
        if not address.channel.startswith(STATUS):
            # Old: what it says is how things are, not that they were measured again.
            current = {
                key: value
                for _, event in decoded.events
                if type(event) is TelemetryReceived
                for key, value in event.values.items()
            }
            told = {external_id for external_id, _ in decoded.events}
            decoded.events = [(one, StateReported("", received_ms, dict(current))) for one in told if current]
        return decoded

    def delivered(self, address: Address, payload: bytes, received_ms: int, delivery: Delivery) -> Decoded:
        if not address.external_id:
            raise _wrong("topic", "names no device, and nobody proved to be one", "identity_missing")
        # Asked with each message: connections keep the address, and a device may get another name meanwhile.
        external_id = self._book.canonical(address.external_id)
        channel, _, said = address.channel.partition("/")
        if channel == STATUS:
            return _status(external_id, payload, received_ms)
        if channel == ALERT:
            return _alert(external_id, payload, received_ms)
        sensor, _, time = said.partition("/")
        body = read(payload, sensor)
        decoded = Decoded()
        if body.device and self._book.canonical(body.device) != external_id:
            told = f"the payload says {body.device[:64]!r}, the topic {external_id[:64]!r}"
            if not delivery.bound:
                raise Invalid("device_id_mismatch", told)
            decoded.notices.append((external_id, "device_id_mismatch", told))
        values: list[tuple[Value, float]] = []
        for one in body.values:
            try:
                value = number(one.raw)
            except Invalid as problem:
                message = f"{one.key[:64]}: {problem.message}"
                field = FieldError(one.key[:64], problem.message, problem.reason)
                decoded.refused.append((external_id, Invalid(problem.reason, message, [field])))
                continue
            if value is not None:
                values.append((one, value))
        profile = self._book.profile(external_id)
        at = time_of(body.time if body.time is not None else time or None, received_ms)
        if at[2]:
            decoded.notices.append((external_id, at[2], f"timestamp {ascii(body.time)[:60]}"))
        if profile is None:
            kept, refused = check_values({one.key: value for one, value in values})
            decoded.refused += [(external_id, problem) for problem in refused]
            decoded.events = [(external_id, TelemetryReceived("", at[0], at[1], received_ms, kept))]
            return decoded
        digest = int.from_bytes(hashlib.blake2b(payload, digest_size=7).digest())
        self._measure(external_id, profile, values, at[:2], received_ms, delivery, digest, decoded)
        if delivery.message_id:
            decoded.once = (external_id, delivery.message_id, digest)
        return decoded

    def _measure(
        self,
        external_id: str,
        profile: Profile,
        values: list[tuple[Value, float]],
        usual: tuple[int, Any],
        received_ms: int,
        delivery: Delivery,
        digest: int,
        decoded: Decoded,
    ) -> None:
        """Values of a known device: to the sensors that they are of."""
        readings: list[SensorReading] = []
        unassigned: dict[str, Any] = {}
        by_time: dict[tuple[int, Any], dict[str, Any]] = {}
        free = list(profile.sensors)
        for one, value in sorted(values, key=lambda pair: not _has_suffix(profile, pair[0].key)):
            placed = _match(free, one.key)
            if placed is None:
                unassigned[one.key[:64]] = value
                continue
            free.remove(placed)
            at = usual
            if one.time is not None:
                own_at, source, _ = time_of(one.time, received_ms)
                at = (own_at, source) if source == "device" else usual
            readings.append(reading(placed, at[0], value, one.unit))
            by_time.setdefault(at, {})[placed.key] = value
            if not placed.sensor.believes(value):
                decoded.notices.append((external_id, OUT_OF_RANGE, _beyond(placed, value)))
        for (at_ms, source), measured in by_time.items():
            kept, refused = check_values(measured)
            decoded.refused += [(external_id, problem) for problem in refused]
            decoded.events.append((external_id, TelemetryReceived("", at_ms, source, received_ms, kept)))
        event = SensorsRead(
            "", received_ms, readings, delivery.message_id, delivery.qos, delivery.retained, digest, unassigned
        )
        decoded.events.append((external_id, event))
        if unassigned:
            shown = ", ".join(f"{key}={value:g}" for key, value in list(unassigned.items())[:8])
            decoded.notices.append((external_id, "sensor_unassigned", shown))

    # State and alerts

    def alarm(self, event: AnyEvent) -> Alarm | None:
        if not isinstance(event, DeviceEventReported):
            return None
        said = event.event
        severity = _SEVERITIES.get(str(said.get("severity", "")).strip().lower(), "warning")
        name = str(said.get("type") or "alert")[:64]
        values = {"value": said["value"]} if "value" in said else {}
        return Alarm(severity, name, str(said.get("message") or name)[:_ALERT_CHARS], values)

    def reported(self, event: AnyEvent) -> dict[str, Any] | None:
        return event.state if isinstance(event, StateReported) else None

    def capabilities(self, attributes: Mapping[str, Any], known: Mapping[str, Any]) -> list[Capability]:
        return sensors(known)

    # Commands

    def order(self, name: str, params: dict[str, Any], attributes: Mapping[str, Any]) -> Order:
        if "command" in params:
            raise _wrong("params.command", "is the command's name already", "command_unknown")
        if type(params.get("critical", False)) is not bool:
            raise _wrong("params.critical", "must be true or false", "command_unknown")
        return Order(params)

    def say(self, external_id: str, command: Command, attributes: Mapping[str, Any]) -> Said:
        # Section 3: quality of service 2 for critical ones.
        qos = 2 if command.params.get("critical") is True else 1
        return Said(self._commands(external_id), _encode({"command": command.name} | command.params), qos)

    def command_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        return (self._commands(external_id),)

    def settles(self, command: Command, event: AnyEvent) -> Verdict | None:
        return None

    def _commands(self, external_id: str) -> str:
        profile = self._book.profile(external_id)
        return pattern((profile.commands if profile is not None else "") or COMMANDS).filter_for(external_id)

    # Desired state

    def desired_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        return (f"iot/config/{external_id}/desired",)

    def desired_message(
        self, external_id: str, delta: dict[str, Any], version: int, attributes: Mapping[str, Any]
    ) -> Said:
        return Said(f"iot/config/{external_id}/desired", _encode(delta))


def reading(placed: Placed, at: int, value: float, unit: str = "") -> SensorReading:
    """One value of a sensor; beyond its range it is flagged."""
    metadata: dict[str, Any] = {"unit": unit} if unit else {}
    if not placed.sensor.believes(value):
        metadata[OUT_OF_RANGE] = True
    return SensorReading(placed.number, at, value, metadata)


def configure(options: Mapping[str, Any]) -> Emqx:
    """A dialect that reads the book of the mapping."""
    return Emqx(options["book"])


def _has_suffix(profile: Profile, key: str) -> bool:
    return any(one.sensor.mqtt_topic_suffix == key for one in profile.sensors)


def _match(free: list[Placed], key: str) -> Placed | None:
    """The sensor that ``key`` is of: by its suffix, else by its type, one without a suffix first."""
    for one in free:
        if one.sensor.mqtt_topic_suffix == key:
            return one
    usual = [one for one in free if key in (ALIASES.get(one.sensor.tipo), one.sensor.tipo)]
    return min(usual, key=lambda one: bool(one.sensor.mqtt_topic_suffix), default=None)


def _beyond(placed: Placed, value: float) -> str:
    low, high = ("…" if one is None else f"{one:g}" for one in (placed.sensor.rango_min, placed.sensor.rango_max))
    return f"{placed.key} is {value:g}, its sensor's range is {low} to {high}"


def _status(device: str, payload: bytes, received_ms: int) -> Decoded:
    text = payload.strip()
    if not text:
        # A kept message was cleared.
        return Decoded()
    state: dict[str, Any] = {}
    word: Any = text.decode(errors="replace").strip('"')
    if text.startswith(b"{"):
        body = loads_object(text)
        state, refused = check_values({key: value for key, value in body.items() if value is not None})
        state = dict(state)
        word = next((body[name] for name in ("status", "state", "estado") if name in body), None)
        if refused:
            raise refused[0]
    said = _STATES.get(word.strip().lower().replace(" ", "_")) if type(word) is str else None
    if said is None:
        raise Invalid("status_unknown", 'status must be online, offline or error, as text or as {"status": "online"}')
    state = {key: value for key, value in state.items() if key not in ("state", "estado")} | {"status": said}
    events: list[AnyEvent] = [StateReported("", received_ms, state)]
    if said == OFFLINE:
        events.append(DeviceDisconnected("", received_ms, "status", "the device said so"))
    else:
        events.append(DeviceConnected("", received_ms, "status"))
    return Decoded([(device, event) for event in events])


def _alert(device: str, payload: bytes, received_ms: int) -> Decoded:
    text = payload.strip()
    if not text:
        return Decoded()
    if text.startswith(b"{"):
        body, refused = check_values({k: v for k, v in loads_object(text).items() if v is not None})
        if refused:
            raise refused[0]
        return Decoded([(device, DeviceEventReported("", received_ms, dict(body)))])
    try:
        words = text.decode()
    except UnicodeDecodeError:
        raise Invalid("utf8_invalid", "the alert is no UTF-8 text") from None
    event = {"type": "alert", "message": words[:_ALERT_CHARS]}
    return Decoded([(device, DeviceEventReported("", received_ms, event))])


def _wrong(field: str, words: str, reason: str) -> Invalid:
    message = f"{field} {words}"
    return Invalid(reason, message, [FieldError(field, message, reason)])


dialect = Emqx(Book(Registry()))
