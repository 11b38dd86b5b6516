"""Contract native: Relevo's own devices.

``relevo/{device}/telemetry|state|event|response|status`` towards the server, ``relevo/{device}/command`` back.

Telemetry is ``{key: value, …}``, or ``{"ts", "values", "boot", "seq"}`` (told by ``values`` being an object), or a list
of the latter. A bad value, field or item is refused alone. ``boot`` and ``seq`` count only together. The same rules
hold for the bodies of HTTP, see :meth:`Native.readings` and :meth:`Native.collection`.

``status`` is ``online`` or ``offline``, as text, as JSON text, or as ``{"status": …}`` or ``{"online": true}``. It
becomes :class:`DeviceConnected` via ``status`` and :class:`DeviceDisconnected` for the reason ``status``: what the
device says about itself, beside what the own door knows from the connection; behind a foreign broker it is all there
is. An empty ``status`` or ``state`` clears a retained message and means nothing.

``retained`` is true only for a message that a foreign broker kept and delivered on subscribing; such a reading, event
or response is old and skipped with a notice. A live message whose retain bit is set is a live message.

A command is ``{"id", "name", "params", "expires"}`` with ``expires`` in milliseconds UTC; the answer is ``{"id", "ok",
"result" or "error"}``. A device executes an id once, and none after its ``expires`` when it knows the time.

``relevo/{device}/desired`` is ``{"version", "values"}`` with everything that the device has still to become; what it is
then stands in its ``state``, which is merged into what it reported before (RFC 7396: null takes a key away).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from relevo.dialect import Address, Decoded, Order, Said, UpdateTopics, Verdict
from relevo.domain.capabilities import SWITCH, Capability, sensors
from relevo.domain.commands import CONFIRMED, FAILED, Command
from relevo.domain.devices import ID_PATTERN, check_id
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
from relevo.domain.seen import NUMBER_MAX
from relevo.domain.telemetry import TelemetryLimits, check_values
from relevo.domain.times import repair, repair_batch
from relevo.errors import FieldError, Invalid
from relevo.wire.strict_json import loads_object, loads_object_or_list

UPDATE_CHANNELS: Final = ("update/get", "update/state")
CHANNELS: Final = ("telemetry", "state", "event", "response", "status", *UPDATE_CHANNELS)
_encode: Final = msgspec.json.Encoder().encode
_TOPIC: Final = re.compile(rf"relevo/({ID_PATTERN.pattern})/({'|'.join(CHANNELS)})")
_FIELDS: Final = frozenset({"ts", "values", "boot", "seq"})
_STATUS: Final = {b"online": True, b"offline": False, b'"online"': True, b'"offline"': False}
# Notes that belong to an ordinary reading: devices without a clock are welcome.
_QUIET: Final = frozenset({"", "clock_missing"})


@dataclass(frozen=True, slots=True)
class Options:
    """Limits of a reading, most readings in a batch, and how long a device has to answer a command."""

    values: TelemetryLimits = field(default_factory=TelemetryLimits)
    batch_items: int = 1_000
    answer_ms: int = 10_000


@dataclass(slots=True)
class Item:
    """What one reading of a body amounts to. ``event`` is ``None`` when nothing of it can be stored.

    ``refused`` names what was left out, ``note`` what was odd about its time (a code of ``relevo.domain.times``).
    """

    index: int
    device: str
    event: TelemetryReceived | None
    refused: list[Invalid]
    note: str = ""


class Native:
    """See the module."""

    name = "native"
    self_registering = True
    reporting = frozenset({StateReported})
    # A device that says nothing about a key has not agreed.
    delivery_agrees = False

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._limits = self._options.values

    def filters(self) -> tuple[str, ...]:
        return tuple(f"relevo/+/{channel}" for channel in CHANNELS)

    def all_filters(self) -> tuple[str, ...]:
        said = ("command", "desired", "update/manifest", "update/image")
        return (*self.filters(), *(f"relevo/+/{channel}" for channel in said))

    def address(self, topic: str) -> Address | None:
        match = _TOPIC.fullmatch(topic)
        return Address("native", match[1], match[2]) if match else None

    def normalise_id(self, external_id: str) -> str:
        return check_id(external_id, "external_id")

    def device_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        own = f"relevo/{external_id}"
        hears = (f"{own}/command", f"{own}/desired", *self.update_topics(external_id))
        return tuple(f"{own}/{channel}" for channel in CHANNELS), hears

    def capabilities(self, attributes: Mapping[str, Any], known: Mapping[str, Any]) -> list[Capability]:
        """What is true or false of its state is a switch."""
        switches = [Capability(SWITCH, key) for key, value in known.items() if type(value) is bool]
        return switches + sensors(known)

    def turned(self, key: str, on: bool) -> dict[str, Any]:
        return {key: on}

    def options(self) -> dict[str, Any]:
        return {"keys_per_reading": self._limits.keys, "batch_items": self._options.batch_items}

    def decode(self, address: Address, payload: bytes, received_ms: int, retained: bool) -> Decoded:
        channel = address.channel
        device = address.external_id
        if channel == "status":
            return _status(device, payload, received_ms)
        if retained and channel != "state":
            return Decoded(notices=[(device, "retained_skipped", f"a kept {channel} message is old")])
        if channel == "telemetry":
            body = loads_object_or_list(payload)
            if isinstance(body, dict):
                # The one reading that nearly every message is.
                event, refused, note = self._reading(body, received_ms)
                decoded = Decoded([(device, event)] if event is not None else [])
                if refused:
                    decoded.refused = [(device, problem) for problem in refused]
                if note not in _QUIET:
                    decoded.notices.append((device, note, _clock_text(body.get("ts"))))
                return decoded
            return gather(self._list(body, received_ms, device))
        if channel == "state":
            if not payload.strip():
                return Decoded()
            return Decoded([(device, StateReported("", received_ms, loads_object(payload)))])
        if channel == "update/get":
            return Decoded(updates=[(device, check_asked(loads_object(payload)))])
        if channel == "update/state":
            return Decoded(updates=[(device, check_report(loads_object(payload)))])
        if channel == "event":
            return Decoded([(device, DeviceEventReported("", received_ms, loads_object(payload)))])
        return Decoded([(device, DeviceAnswered("", received_ms, check_answer(loads_object(payload))))])

    # Commands

    def order(self, name: str, params: dict[str, Any], attributes: Mapping[str, Any]) -> Order:
        return Order(params, answer_ms=self._options.answer_ms)

    def say(self, external_id: str, command: Command, attributes: Mapping[str, Any]) -> Said:
        return Said(f"relevo/{external_id}/command", _encode(command_words(command)))

    def command_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        return (f"relevo/{external_id}/command",)

    def settles(self, command: Command, event: AnyEvent) -> Verdict | None:
        if type(event) is not DeviceAnswered or event.answer["id"] != command.id:
            return None
        return verdict_of(event.answer)

    # Updates

    def update_topics(self, external_id: str) -> UpdateTopics:
        return UpdateTopics(f"relevo/{external_id}/update/manifest", f"relevo/{external_id}/update/image")

    def update_order(self, release: str) -> tuple[str, dict[str, Any]]:
        return "update", {"release": release}

    # Desired and reported state

    def reported(self, event: AnyEvent) -> dict[str, Any] | None:
        return event.state if isinstance(event, StateReported) else None

    def desired_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        return (f"relevo/{external_id}/desired",)

    def desired_message(
        self, external_id: str, delta: dict[str, Any], version: int, attributes: Mapping[str, Any]
    ) -> Said:
        return Said(f"relevo/{external_id}/desired", _encode({"version": version, "values": delta}))

    def readings(self, payload: bytes, received_ms: int, device: str) -> list[Item]:
        """Body of ``POST /devices/{id}/telemetry``: whatever the telemetry topic takes.

        Raises :class:`relevo.errors.Invalid` when the body as a whole is refused.
        """
        body = loads_object_or_list(payload)
        if isinstance(body, list):
            return self._list(body, received_ms, device)
        event, refused, note = self._reading(body, received_ms)
        return [Item(0, device, event, refused, note)]

    def collection(self, payload: bytes, received_ms: int) -> list[Item]:
        """Body of ``POST /telemetry``: a list of ``{"device", "ts", "values", "boot", "seq"}``, or one of them.

        Raises :class:`relevo.errors.Invalid` when the body as a whole is refused.
        """
        body = loads_object_or_list(payload)
        return self._list(body if isinstance(body, list) else [body], received_ms, None)

    def _reading(self, body: dict[str, Any], received_ms: int) -> tuple[TelemetryReceived | None, list[Invalid], str]:
        inner = body.get("values")
        if type(inner) is dict:
            return self._wrapped(body, inner, received_ms, repair(body.get("ts"), received_ms))
        values, refused = check_values(body, self._limits)
        if not values:
            return None, refused or [_empty()], ""
        return TelemetryReceived("", received_ms, "server", received_ms, values), refused, ""

    def _wrapped(
        self, body: dict[str, Any], inner: dict[str, Any], received_ms: int, time: tuple[int, str, str]
    ) -> tuple[TelemetryReceived | None, list[Invalid], str]:
        values, refused = check_values(inner, self._limits)
        if not _FIELDS.issuperset(body):
            refused.append(_unknown([name for name in body if name not in _FIELDS]))
        boot = body.get("boot")
        seq = body.get("seq")
        if (boot is not None or seq is not None) and not (_is_number(boot) and _is_number(seq)):
            message = "boot and seq must both be integers from 0 to 2^63-1; the reading was stored without them"
            refused.append(Invalid("seq_invalid", message, [FieldError("seq", message, "seq_invalid")]))
            boot = seq = None
        if not values:
            return None, refused or [_empty()], ""
        ts, source, note = time
        return TelemetryReceived("", ts, source, received_ms, values, boot, seq), refused, note

    def _list(self, items: list[Any], received_ms: int, device: str | None) -> list[Item]:
        """Readings of a list; with ``device`` ``None`` each names its own."""
        most = self._options.batch_items
        if len(items) > most:
            raise Invalid("batch_too_long", f"{len(items)} readings in one list, the limit is {most}")
        found = [Item(i, device or "", None, []) for i in range(len(items))]
        by_device: dict[str, list[int]] = {}
        for i, body in enumerate(items):
            if type(body) is not dict or type(body.get("values")) is not dict:
                found[i].refused.append(Invalid("reading_malformed", 'a reading in a list must be {"ts", "values", …}'))
                continue
            name = device
            if name is None:
                name = body.pop("device", None)
                if type(name) is not str or not ID_PATTERN.fullmatch(name):
                    found[i].refused.append(_nameless())
                    continue
                found[i].device = name
            by_device.setdefault(name, []).append(i)
        for indexes in by_device.values():
            bodies = [items[i] for i in indexes]
            boots = [boot if _is_number(boot) else None for boot in (body.get("boot") for body in bodies)]
            times = repair_batch([body.get("ts") for body in bodies], received_ms, boots)
            for i, body, time in zip(indexes, bodies, times, strict=True):
                item = found[i]
                item.event, item.refused, item.note = self._wrapped(body, body["values"], received_ms, time)
        return found


def command_words(command: Command) -> dict[str, Any]:
    """A command as a native device hears it."""
    return {"id": command.id, "name": command.name, "params": command.params, "expires": command.expires_at}


def verdict_of(answer: dict[str, Any]) -> Verdict:
    """What an answer that :func:`check_answer` let in says about its command."""
    if answer["ok"]:
        return Verdict(CONFIRMED, result=answer.get("result"))
    error = answer.get("error")
    return Verdict(FAILED, error[:200] if type(error) is str else "the device said no", error)


def check_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """``answer`` when it is one. Raises :class:`relevo.errors.Invalid`."""
    if type(answer.get("id")) is not str or type(answer.get("ok")) is not bool:
        raise Invalid("answer_malformed", 'an answer must have "id", a text, and "ok", true or false')
    return answer


def gather(items: list[Item]) -> Decoded:
    """The items of a list as one message; each refusal says which item it means."""
    decoded = Decoded()
    for item in items:
        if item.event is not None:
            decoded.events.append((item.device, item.event))
        for problem in item.refused:
            told = Invalid(problem.reason, f"item {item.index}: {problem.message}", problem.errors)
            decoded.refused.append((item.device, told))
        if item.note not in _QUIET:
            decoded.notices.append((item.device, item.note, f"item {item.index}"))
    return decoded


def configure(options: Mapping[str, Any]) -> Native:
    """A dialect with those options of the mapping that it has; other names are not its business."""
    plain = Options()
    return Native(
        Options(
            TelemetryLimits(keys=options.get("keys_per_reading", plain.values.keys)),
            options.get("batch_items", plain.batch_items),
            options.get("answer_ms", plain.answer_ms),
        )
    )


def _status(device: str, payload: bytes, received_ms: int) -> Decoded:
    text = payload.strip()
    if not text:
        return Decoded()
    online: Any = _STATUS.get(text.lower())
    if online is None and text.startswith(b"{"):
        body = loads_object(text)
        online = body.get("status", body.get("online"))
        if type(online) is str:
            online = _STATUS.get(online.lower().encode())
    if online is True:
        return Decoded([(device, DeviceConnected("", received_ms, "status"))])
    if online is False:
        return Decoded([(device, DeviceDisconnected("", received_ms, "status", "the device said so"))])
    raise Invalid("status_unknown", 'status must be online or offline, or {"status": "online"}')


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value <= NUMBER_MAX


def _empty() -> Invalid:
    return Invalid("reading_empty", "the reading has no values")


def _unknown(names: list[str]) -> Invalid:
    shown = [name[:64] for name in names[:8]]
    message = "not known beside values; known are ts, boot and seq"
    told = f"{', '.join(map(ascii, shown))}{' and more' if len(names) > 8 else ''}: {message}"
    return Invalid("field_unknown", told, [FieldError(name, message, "field_unknown") for name in shown])


def _nameless() -> Invalid:
    message = "device must be 1 to 64 characters of A-Z a-z 0-9 _ . : -"
    return Invalid("id_invalid", message, [FieldError("device", message, "id_invalid")])


def _clock_text(raw: object) -> str:
    return f"ts {ascii(raw)[:60]}" if isinstance(raw, int | float | str) else f"ts is a {type(raw).__name__}"


dialect = Native()
