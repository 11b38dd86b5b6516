"""Contract alchemy: home devices that announce themselves on one shared topic (sections 2 and 3).

**Whose it is**: ``serial_number`` of the payload, or its alias ``serial``, trimmed and compared exactly. On
``dispositivos/{serial_number}/estado``, which a device with a credential of its own may use, the serial of the topic,
and a different one in the payload refuses the message.

**A message** says what the device does (``estado``) and measures (``parametros``, which replaces the former map;
numbers and switches among them are readings as well). ``configuracion`` counts until somebody claims it, names and
descriptions never: they belong to HTTP. A part that cannot be used is refused alone.

There is no command topic. What a device is to be, its ``configuracion``, is desired state that it fetches
(:mod:`relevo.dialects.alchemy.changes`); how a device looks to clients is :mod:`relevo.dialects.alchemy.objects`.

**Retained**: as in contract hidrometro, only what a foreign broker kept and *delivered as retained* is old: it says the
state and adds nothing to log and history.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from relevo.dialect import Address, Decoded, Description, Logged, Said
from relevo.dialects.alchemy.changes import check_configuration, word_of
from relevo.dialects.alchemy.objects import CONTRACT, DEFAULTS, UNKNOWN_STATUS, status_word
from relevo.domain.capabilities import SWITCH, Capability, sensors
from relevo.domain.events import AnyEvent, StateReported, StatusSet, TelemetryReceived
from relevo.domain.switches import POLLS_LATE
from relevo.domain.telemetry import check_values
from relevo.errors import FieldError, Invalid
from relevo.wire.strict_json import loads_object

TOPIC: Final = "dispositivos/estado"
SERIAL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
UNCLAIMED_MOST: Final = 100
STATUS_CHARS: Final = 64
POLL_S: Final = 3.0
"""How often a device asks for its configuration (section 7)."""
_KEPT: Final = "retained"
_PLAIN: Final = (bool, int, float, str)


class Alchemy:
    """See the module."""

    name = CONTRACT
    self_registering = True
    reporting = frozenset({StateReported})
    replaced = frozenset({"parametros"})
    delivery_agrees = True
    answered = frozenset({"encendido"})
    agree_within_s = POLLS_LATE * POLL_S

    def __init__(self, topic_estado: str = TOPIC, unclaimed_most: int = UNCLAIMED_MOST) -> None:
        self._topic = topic_estado
        self.unclaimed_most = unclaimed_most
        self._root, _, self._channel = topic_estado.rpartition("/")

    def _own_topic(self, serial: str) -> tuple[str, ...]:
        return (f"{self._root}/{serial}/{self._channel}",) if self._root else ()

    def filters(self) -> tuple[str, ...]:
        return (self._topic, *self._own_topic("+"))

    def all_filters(self) -> tuple[str, ...]:
        return self.filters()

    def address(self, topic: str) -> Address | None:
        if topic == self._topic:
            return Address(self.name, "", "estado")
        head, _, channel = topic.rpartition("/")
        root, _, serial = head.rpartition("/")
        if self._root and root == self._root and channel == self._channel:
            return Address(self.name, serial, "estado")
        return None

    def normalise_id(self, external_id: str) -> str:
        text = external_id.strip()
        if not SERIAL.fullmatch(text):
            raise _problem("id_invalid", "external_id", "must be 1 to 64 characters of A-Z a-z 0-9 _ -")
        return text

    def device_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (*self._own_topic(external_id), self._topic), ()

    def options(self) -> dict[str, Any]:
        return {"topic_estado": self._topic, "unclaimed": self.unclaimed_most}

    def decode(self, address: Address, payload: bytes, received_ms: int, retained: bool) -> Decoded:
        body = loads_object(payload)
        serial = _serial(body, address.external_id)
        decoded = Decoded()
        state: dict[str, Any] = {}
        status = body.get("estado")
        if status is not None and status != "":
            try:
                state["estado"] = _status(status)
            except Invalid as problem:
                decoded.refused.append((serial, problem))
        parameters = _parameters(body.get("parametros"), serial, decoded)
        if parameters:
            state["parametros"] = parameters
        wanted = body.get("configuracion")
        if type(wanted) is dict:
            state["configuracion"] = wanted
        elif wanted is not None:
            decoded.refused.append((serial, _problem("value_type", "configuracion", "must be an object")))
        if retained:
            state[_KEPT] = True
        readings = {name: value for name, value in parameters.items() if type(value) is not str}
        if readings and not retained:
            decoded.events.append((serial, TelemetryReceived("", received_ms, "server", received_ms, readings)))
        decoded.events.append((serial, StateReported("", received_ms, state)))
        return decoded

    # Unclaimed

    def introduction(self) -> Description:
        more = {name: DEFAULTS[name] for name in ("modelo", "descripcion")}
        return Description(DEFAULTS["nombre"], DEFAULTS["tipo"], more)

    def describe(self, payload: dict[str, Any]) -> Description:
        return self.introduction()

    # State

    def reported(self, event: AnyEvent) -> dict[str, Any] | None:
        if not isinstance(event, StateReported):
            return None
        said: dict[str, Any] = {name: event.state[name] for name in ("estado", "parametros") if name in event.state}
        on = word_of(said.get("estado"))
        if on is not None:
            # What the device does, beside what it was asked to do.
            said["encendido"] = on
        return said or None

    def proposed(self, event: AnyEvent) -> dict[str, Any] | None:
        return event.state.get("configuracion") if isinstance(event, StateReported) else None

    def logged(self, event: AnyEvent) -> Logged | None:
        if isinstance(event, StatusSet):
            return Logged(event.status, event.parameters)
        if not isinstance(event, StateReported) or event.state.get(_KEPT) is True:
            return None
        status, parameters = event.state.get("estado"), event.state.get("parametros")
        said = status if type(status) is str else ""
        return Logged(said, parameters if type(parameters) is dict else {}, UNKNOWN_STATUS)

    def capabilities(self, attributes: Mapping[str, Any], known: Mapping[str, Any]) -> list[Capability]:
        return [Capability(SWITCH, "encendido"), *sensors(known)]

    def turned(self, key: str, on: bool) -> dict[str, Any]:
        """By hand: a timetable would lead otherwise (section 4.2)."""
        return {"modo": "manual", key: on}

    def switched(self, on: bool) -> Logged:
        return Logged(status_word(on), {}, UNKNOWN_STATUS)

    # Desired state

    def desired_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        return ()

    def desired_message(
        self, external_id: str, delta: dict[str, Any], version: int, attributes: Mapping[str, Any]
    ) -> Said:
        check_configuration(delta)
        return Said("", b"")


def configure(options: Mapping[str, Any]) -> Alchemy:
    """A dialect with the shared topic and the room for unclaimed devices of the mapping."""
    return Alchemy(options.get("topic_estado", TOPIC), options.get("unclaimed", UNCLAIMED_MOST))


def _serial(body: dict[str, Any], of_topic: str) -> str:
    name = next((one for one in ("serial_number", "serial") if body.get(one) is not None), "serial_number")
    raw = body.get(name)
    if raw is None and of_topic:
        name, raw = "topic", of_topic
    if raw is None or raw == "":
        raise _problem("serial_missing", "serial_number", "is missing: nobody knows whose message this is")
    serial = raw.strip() if type(raw) is str else ""
    if not SERIAL.fullmatch(serial):
        raise _problem("serial_invalid", name, "must be a text of 1 to 64 characters of A-Z a-z 0-9 _ -")
    if of_topic and serial != of_topic:
        raise _problem("serial_mismatch", name, f"is {serial!r}, and {ascii(of_topic)[:70]} by topic or key")
    return serial


def _status(raw: Any) -> str:
    on = word_of(raw)
    if on is not None:
        return "activo" if on else "inactivo"
    if type(raw) is not str or not raw.isprintable() or len(raw) > STATUS_CHARS:
        raise _problem(
            "value_type", "estado", f"must be activo, inactivo or a text of at most {STATUS_CHARS} characters"
        )
    return raw.strip() or UNKNOWN_STATUS


def _parameters(raw: Any, serial: str, decoded: Decoded) -> dict[str, Any]:
    if raw is None:
        return {}
    if type(raw) is not dict:
        decoded.refused.append((serial, _problem("value_type", "parametros", "must be an object")))
        return {}
    kept, refused = check_values(raw)
    decoded.refused += [(serial, problem) for problem in refused]
    for name in [name for name, value in kept.items() if type(value) not in _PLAIN]:
        decoded.refused.append((serial, _problem("value_type", name, "must be a number, a boolean or a text")))
    return {name: value for name, value in kept.items() if type(value) in _PLAIN}


def _problem(reason: str, name: str, message: str) -> Invalid:
    return Invalid(reason, f"{name} {message}", [FieldError(name, message, reason)])


dialect = Alchemy()
