"""What clients change of a device: bodies of PUT, claim and creation (contract alchemy, sections 4.1 and 4.2).

``configuracion`` is desired state: its keys merge, a value takes the place of the former one as a whole, and null takes
the key away. Which of ``estado`` and ``encendido`` leads is :mod:`relevo.domain.switches`; that a nested ``encendido``
means something else than one at the top is theirs too. A request that names none of the three leaves both as they are:
a new name must not turn the wish that a device has not heard yet into what it happens to do.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from relevo.dialects.alchemy.objects import DEFAULTS, UNKNOWN_STATUS
from relevo.domain.switches import MANUAL, NONE, TIMETABLE, Request, Switch, derived, read_switch
from relevo.domain.timetables import DAYS, WINDOWS_MOST, minutes
from relevo.errors import FieldError, Invalid

TEXTS: Final = {"nombre": 128, "tipo": 64, "modelo": 128, "descripcion": 1_024}
"""Editable texts and the most characters of each."""
_ON: Final = frozenset({"activo", "on", "true", "1"})
_OFF: Final = frozenset({"inactivo", "off", "false", "0"})
_MODES: Final = {"manual": MANUAL, "horario": TIMETABLE, "": NONE}
_WEEK: Final = dict(
    zip(("lunes", "martes", "miercoles", "jueves", "viernes", "sabado", "domingo"), DAYS, strict=True)
) | {"todos": ""}
_PLAIN: Final = str.maketrans("áéíóú", "aeiou")
_SECONDS: Final = re.compile(r"(\d{1,2}:\d{2}):\d{2}", re.ASCII)
_INTERVAL_MOST: Final = 86_400


class Update(NamedTuple):
    """What a PUT amounts to: texts by key, and the whole configuration and status after it.

    ``named`` are the keys of the configuration that were asked for now.
    """

    texts: dict[str, str]
    configuration: dict[str, Any]
    named: frozenset[str]
    status: str


def word_of(value: Any) -> bool | None:
    """On or off of ``activo``, ``inactivo`` and their forms, ``None`` for anything else."""
    return read_switch(value, _ON, _OFF)


def read_update(body: Mapping[str, Any], status: str, stored: Mapping[str, Any]) -> Update:
    """What ``body`` makes of a device with this status and configuration.

    Raises :class:`Invalid`, naming the field, for a body that is empty or says what cannot be.
    """
    if not body:
        raise _problem("empty", "body", "is empty: give nombre, tipo, modelo, descripcion, configuracion or estado")
    texts = read_texts(body)
    given = read_configuration(body)
    request = Request(
        _switch(body, "estado"), _switch(body, "encendido"), _switch(given, "encendido", "configuracion.")
    )
    after = merged(stored, given)
    if not given and request == Request():
        return Update(texts, after, frozenset(), status)
    before = Switch(word_of(status), word_of(stored.get("encendido")))
    now = derived(_MODES[after.get("modo") or ""], before, request)
    if now.state is not None:
        status = "activo" if now.state else "inactivo"
    if now.switch is not None:
        after["encendido"] = now.switch
    elif "encendido" in after:
        # By a timetable it follows the status, and that is unknown.
        after["encendido"] = False
    named = frozenset(given) | ({"encendido"} if request != Request() else frozenset())
    return Update(texts, after, named, status)


def merged(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration after ``given``: key by key, null takes one away."""
    return {key: value for key, value in (dict(stored) | dict(given)).items() if value is not None}


def read_texts(body: Mapping[str, Any]) -> dict[str, str]:
    """The editable texts of ``body``; an emptied one is what it was before anybody named it."""
    found: dict[str, str] = {}
    for name, most in TEXTS.items():
        value = body.get(name)
        if value is None:
            continue
        if type(value) is not str or len(value) > most or "\0" in value:
            raise _problem("value_type", name, f"must be a text of at most {most} characters")
        found[name] = value.strip() or DEFAULTS[name]
    return found


def read_configuration(body: Mapping[str, Any]) -> dict[str, Any]:
    """``configuracion`` of ``body``, checked; empty when it is absent."""
    given = body.get("configuracion", {})
    if type(given) is not dict:
        raise _problem("value_type", "configuracion", "must be an object")
    check_configuration(given)
    return given


def read_status(body: Mapping[str, Any]) -> str:
    """``estado`` of a body that creates a device."""
    on = _switch(body, "estado")
    return UNKNOWN_STATUS if on is None else "activo" if on else "inactivo"


def expected_every_s(configuration: Mapping[str, Any]) -> float | None:
    """How often a device with this configuration publishes, in seconds; ``None`` when it does not say."""
    every = configuration.get("intervalo_envio")
    if isinstance(every, int | float) and not isinstance(every, bool) and 1 <= every <= _INTERVAL_MOST:
        return float(every)
    return None


def check_configuration(given: Mapping[str, Any]) -> None:
    """Raises :class:`Invalid` for a mode, switch or timetable that the contract does not know; null is none."""
    mode = given.get("modo")
    if mode is not None and (type(mode) is not str or mode not in _MODES):
        raise _problem("value_unknown", "configuracion.modo", "must be manual, horario, empty or null")
    _switch(given, "encendido", "configuracion.")
    if given.get("horarios") is not None:
        check_timetable(given["horarios"], "configuracion.horarios")


def check_timetable(given: Any, field: str) -> None:
    """Raises :class:`Invalid` for what is neither form: a list of ``{dias, inicio, fin}``, or an object of days."""
    entries: list[tuple[str, Any, list[str] | None]]
    if type(given) is list:
        entries = [(f"{field}.{n}", one, None) for n, one in enumerate(given)]
    elif type(given) is dict:
        entries = [
            (f"{field}.{day}", one, [day])
            for day, windows in given.items()
            for one in (windows if type(windows) is list else [windows])
        ]
    else:
        raise _problem("value_type", field, "must be a list of {dias, inicio, fin}, or an object of days")
    if len(entries) > WINDOWS_MOST:
        raise _problem("value_too_large", field, f"has {len(entries)} windows, the limit is {WINDOWS_MOST}")
    for name, one, days in entries:
        if type(one) is not dict:
            raise _problem("value_type", name, "must be an object with inicio and fin")
        if days is None:
            days = one.get("dias")
            days = [days] if type(days) is str else days
        if type(days) is not list or not days or not all(type(day) is str and _plain(day) in _WEEK for day in days):
            raise _problem("value_unknown", f"{name}.dias", f"must name days of {' '.join(_WEEK)}")
        for time, alias in (("inicio", "start"), ("fin", "end")):
            text = one.get(time, one.get(alias))
            try:
                if type(text) is not str:
                    raise ValueError("must be a time of day as HH:MM")
                minutes(_SECONDS.sub(r"\1", text.strip()))
            except ValueError as error:
                raise _problem("value_type", f"{name}.{time}", str(error)) from None


def _plain(day: str) -> str:
    return day.strip().lower().translate(_PLAIN)


def _switch(body: Mapping[str, Any], name: str, before: str = "") -> bool | None:
    value = body.get(name)
    if value is None:
        return None
    on = word_of(value)
    if on is None:
        words = "must be activo, on, true or 1, or inactivo, off, false or 0"
        raise _problem("value_unknown", f"{before}{name}", words)
    return on


def _problem(reason: str, name: str, message: str) -> Invalid:
    return Invalid(reason, f"{name} {message}", [FieldError(name, message, reason)])
