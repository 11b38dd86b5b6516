"""Contract hidrometro: water meters, the reading path (sections 2, 3 and 3.1).

**Whose reading it is**, in this order: the serial in the payload (``numeroSerie``, ``serial``, ``numero_serie``), the
record id in the payload (``id_dispositivo``), the id in the topic ``hidrometro/{id_cliente}/{id_dispositivo}/dados``,
the configured default serial, otherwise nobody's: the external identity is then empty. Serials are trimmed and
upper-cased. A record id, a number, is written ``@5`` so that it cannot be taken for the serial ``5``; one that is no
number is a serial. The owner word of ``hidrometro/{owner}/dados`` names no meter.

**What is a reading**: ``totalLiters`` (or ``total``) and ``flowLmin`` (or ``flowRate``), of which one may be missing
and is then 0.0; null counts as missing. Numbers may be texts. A main value that cannot be used refuses the message, an
extra one (``consumo_litros``, ``nivel_bateria``, ``pressao_bar``, ``vazamento_detectado``) is refused alone. Other
fields are not the contract's and are passed over.

**Retained**: real firmware sets the retain bit by mistake, so on the own door a publish with that bit is a live reading
and counts. Only what a foreign broker kept and *delivered as retained* is skipped with a notice.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from relevo.dialect import Address, Decoded, Order, Said, Verdict
from relevo.domain.capabilities import METER, Capability, sensors
from relevo.domain.commands import CONFIRMED, Command
from relevo.domain.events import AnyEvent, TelemetryReceived
from relevo.domain.times import DAY, YEAR_2020, ClockRule, repair
from relevo.errors import FieldError, Invalid
from relevo.wire.strict_json import loads_object

ROOT: Final = "hidrometro"
ACCENTED_ROOT: Final = "hidrômetro"
SERIAL_LIMIT: Final = 64
_RECORD_MARK: Final = "@"
_MARKS: Final = "+#/$"
_SERIALS: Final = ("numeroSerie", "serial", "numero_serie")
_TIMES: Final = ("ts", "timestamp", "data_hora")
_MAIN: Final = (("totalLiters", "total"), ("flowLmin", "flowRate"))
_EXTRA: Final = (("consumo_litros", "consumo_litros"), ("nivel_bateria", "bateria"), ("pressao_bar", "pressao_bar"))
_ACTIONS: Final = {
    "reset": "none",
    "setCalibration": "needed",
    "simulate": "optional",
    "simSetFlow": "optional",
    "simOff": "none",
    "simulateOff": "none",
    "update": "none",
}
# Litres that may have flowed between the reset and the next reading.
_AFTER_RESET: Final = 10.0
_LEAK: Final = "vazamento_detectado"
_CLOCK: Final = ClockRule(earliest=YEAR_2020, ahead=DAY, seconds_below=1e12)
_NUMBER: Final = re.compile(r"\s*[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Options:
    """Topics, whether the root ``hidrômetro`` is served too, and the serial of readings that carry none."""

    topic_dados: str = "hidrometro/dados"
    topic_cmd: str = "hidrometro/cmd"
    accented_root: bool = False
    default_serial: str = ""


class Hidrometro:
    """See the module."""

    name = "hidrometro"
    self_registering = False
    # Those that people send over the contract's own ways.
    actions: Final = frozenset(_ACTIONS) - {"update"}

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._default = self._options.default_serial.strip().upper()
        self._roots = (ROOT, ACCENTED_ROOT) if self._options.accented_root else (ROOT,)

    def filters(self) -> tuple[str, ...]:
        return self._both(self._options.topic_dados, "dados")

    def open_filters(self) -> tuple[str, ...]:
        """Commands come from the server alone: whoever could publish them would reset meters (section 9.5)."""
        return self.filters()

    def all_filters(self) -> tuple[str, ...]:
        return (*self.filters(), *self._both(self._options.topic_cmd, "cmd"))

    def address(self, topic: str) -> Address | None:
        if topic == self._options.topic_dados:
            return Address("hidrometro", "", "dados")
        levels = topic.split("/")
        if levels[0] not in self._roots or levels[-1] != "dados":
            return None
        if len(levels) == 4:
            return Address("hidrometro", _identity(levels[2]), "dados")
        # The plain topic below the usual root is only a default that the setting replaces.
        known = len(levels) == 3 or (len(levels) == 2 and levels[0] == ACCENTED_ROOT)
        return Address("hidrometro", "", "dados") if known else None

    def normalise_id(self, external_id: str) -> str:
        text = external_id.strip().upper()
        if not text or len(text) > SERIAL_LIMIT or not text.isprintable():
            raise _problem("id_invalid", "external_id", f"must be 1 to {SERIAL_LIMIT} printable characters")
        if any(mark in text for mark in _MARKS):
            # One day it stands in a topic, where these mean something.
            raise _problem("id_invalid", "external_id", f"must not contain any of {' '.join(_MARKS)}")
        return text

    def device_filters(self, external_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.filters(), self._both(self._options.topic_cmd, "cmd")

    # Commands (section 3.2)

    def order(self, name: str, params: dict[str, Any], attributes: Mapping[str, Any]) -> Order:
        if name not in _ACTIONS:
            raise _problem("command_unknown", "name", f"must be one of {', '.join(_ACTIONS)}")
        extra = sorted(set(params) - {"value"})
        if extra:
            raise _problem("params_invalid", f"params.{extra[0][:64]}", "is not known; known is value")
        value = params.get("value")
        if value is None and _ACTIONS[name] != "needed":
            return Order({})
        if _ACTIONS[name] == "none":
            raise _problem("params_invalid", "params.value", f"must be left out with {name}")
        number = _number("params.value", value)
        if number == 0:
            raise _problem("params_invalid", "params.value", "must be above 0")
        return Order({"value": number})

    def say(self, external_id: str, command: Command, attributes: Mapping[str, Any]) -> Said:
        return self.say_on(self._options.topic_cmd, external_id, command, attributes)

    def say_on(self, topic: str, external_id: str, command: Command, attributes: Mapping[str, Any]) -> Said:
        body: dict[str, Any] = {"action": command.name, **command.params}
        if topic == self._options.topic_cmd:
            # It reaches every meter; new firmware looks whose serial it is.
            body["numeroSerie"] = external_id
        return Said(topic, json.dumps(body).encode())

    def command_topics(self, external_id: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        """Its own, where it has the two numbers of which that is made, before the one that all meters share."""
        pair = [_level(attributes.get(name)) for name in ("id_cliente", "id_dispositivo")]
        own = (f"{root}/{'/'.join(pair)}/cmd" for root in self._roots) if all(pair) else ()
        return (*own, self._options.topic_cmd)

    def update_order(self, release: str) -> tuple[str, dict[str, Any]]:
        return "update", {}

    def shout(self, action: str, params: Mapping[str, Any], serial: str = "") -> Said:
        """A command on the topic that all meters share; one ``serial`` alone is to obey where that is understood."""
        body = {"action": action, **params} | ({"numeroSerie": serial} if serial else {})
        return Said(self._options.topic_cmd, json.dumps(body).encode())

    def settles(self, command: Command, event: AnyEvent) -> Verdict | None:
        """Meters do not answer; the proof is the next reading."""
        if not isinstance(event, TelemetryReceived):
            return None
        if command.name == "reset" and event.values.get("totalLiters", 1.0) < _AFTER_RESET:
            return Verdict(CONFIRMED, result={"totalLiters": event.values["totalLiters"]})
        flow = command.params.get("value")
        if command.name in ("simulate", "simSetFlow") and flow and event.values.get("flowLmin") == flow:
            return Verdict(CONFIRMED, result={"flowLmin": flow})
        return None

    def capabilities(self, attributes: Mapping[str, Any], known: Mapping[str, Any]) -> list[Capability]:
        return [Capability(METER, "totalLiters"), *sensors(known, ("totalLiters",))]

    def switched(self, on: bool) -> None:
        """Valves stand on the control page; meters have no log of what was switched."""

    def options(self) -> dict[str, Any]:
        return {name: getattr(self._options, name) for name in Options.__slots__}

    def decode(self, address: Address, payload: bytes, received_ms: int, retained: bool) -> Decoded:
        body = loads_object(payload)
        meter = _serial(body) or _record(body) or address.external_id or self._default
        if retained:
            return Decoded(notices=[(meter, "retained_skipped", "a kept reading is old")])
        values: dict[str, Any] = {}
        for names in _MAIN:
            name, raw = _first(body, names)
            if raw is not None:
                values[names[0]] = _number(name, raw)
        if not values:
            raise Invalid("reading_empty", "a reading must have totalLiters or flowLmin")
        values = {"totalLiters": values.get("totalLiters", 0.0), "flowLmin": values.get("flowLmin", 0.0)}
        decoded = Decoded()
        for names in _EXTRA:
            name, raw = _first(body, names)
            if raw is not None:
                try:
                    values[names[0]] = _number(name, raw)
                except Invalid as problem:
                    decoded.refused.append((meter, problem))
        leak = body.get(_LEAK)
        if leak is not None:
            if type(leak) is bool or (type(leak) is int and leak in (0, 1)):
                values[_LEAK] = bool(leak)
            else:
                decoded.refused.append((meter, _problem("value_type", _LEAK, "must be true or false")))
        raw_time = _first(body, _TIMES)[1]
        ts, source, note = repair(raw_time, received_ms, None, _CLOCK)
        if note not in ("", "clock_missing"):
            decoded.notices.append((meter, note, f"ts {ascii(raw_time)[:60]}"))
        decoded.events.append((meter, TelemetryReceived("", ts, source, received_ms, values)))
        return decoded

    def may_be(self, said: str, attributes: Mapping[str, Any]) -> bool:
        """Nothing said, or a record id; it must be the one in the attribute ``id_dispositivo``, if there is one."""
        if not said.startswith(_RECORD_MARK):
            return not said
        held = _record(attributes)
        return not held or held == said

    def _both(self, shared: str, channel: str) -> tuple[str, ...]:
        patterns = [f"{root}{middle}/{channel}" for root in self._roots for middle in ("", "/+", "/+/+")]
        return (shared, *(pattern for pattern in patterns if pattern not in (shared, f"{ROOT}/{channel}")))


def configure(options: Mapping[str, Any]) -> Hidrometro:
    """A dialect with those options of the mapping that it has; other names are not its business."""
    return Hidrometro(Options(**{name: options[name] for name in Options.__slots__ if name in options}))


def _first(body: dict[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    for name in names:
        value = body.get(name)
        if value is not None:
            return name, value
    return names[0], None


def _serial(body: dict[str, Any]) -> str:
    name, raw = _first(body, _SERIALS)
    if raw is None:
        return ""
    if type(raw) is int:
        raw = str(raw)
    serial = raw.strip().upper() if type(raw) is str else None
    if serial is None or len(serial) > SERIAL_LIMIT or not (serial.isprintable() and not serial.startswith("@")):
        raise _problem("serial_invalid", name, f"must be a text of 1 to {SERIAL_LIMIT} printable characters")
    return serial


def _record(body: Mapping[str, Any]) -> str:
    raw = body.get("id_dispositivo")
    if type(raw) is int and raw >= 0:
        return f"{_RECORD_MARK}{raw}"
    return _identity(raw) if type(raw) is str else ""


def _level(raw: Any) -> str:
    """``raw`` as a level of a topic, empty when it can be none."""
    text = str(raw).strip() if type(raw) in (int, str) else ""
    usable = 0 < len(text) <= SERIAL_LIMIT and text.isprintable() and not any(mark in text for mark in _MARKS)
    return text if usable else ""


def _identity(text: str) -> str:
    text = text.strip().upper()
    if not text or len(text) > SERIAL_LIMIT - 1 or not text.isprintable() or text.startswith("@"):
        return ""
    return f"{_RECORD_MARK}{int(text)}" if text.isascii() and text.isdigit() else text


def _number(name: str, raw: Any) -> float:
    if type(raw) is str and _NUMBER.fullmatch(raw):
        raw = float(raw)
    if type(raw) is not float and type(raw) is not int:
        raise _problem("value_type", name, "must be a number")
    if not math.isfinite(raw):
        raise _problem("value_not_finite", name, "must be a finite number")
    if raw < 0:
        raise _problem("value_negative", name, "must not be negative")
    # Always a float, so that a series keeps one type; and never -0.0.
    return float(raw) + 0.0


def _problem(reason: str, name: str, message: str) -> Invalid:
    return Invalid(reason, f"{name} {message}", [FieldError(name, message, reason)])


dialect = Hidrometro()
