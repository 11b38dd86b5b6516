"""Bodies of contract emqx: what fields there are, and what is wrong with those that were sent (sections 4.1 and 4.3).

As lenient as the framework of the original: numbers and switches may be texts, what is not known or not to be written
is passed over. Every wrong field is named, in the contract's language.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from starlette.requests import Request

from relevo.errors import FieldError, Invalid
from relevo.wire.strict_json import loads_object

REQUIRED: Final = "Este campo es requerido."
_TRUE: Final = frozenset({"true", "t", "1", "yes", "on", "si", "sí"})
_FALSE: Final = frozenset({"false", "f", "0", "no", "off"})
_JSON_BYTES: Final = 8_192
_MANY: Final = 256
_INT_MOST: Final = 2**53


class Field(NamedTuple):
    """One field. ``kind`` is a name of :data:`_READ`; ``low`` and ``high`` bound numbers, ``high`` the length of texts.

    ``check`` says what else is against a value, empty for nothing. ``secret`` fields are in no answer.
    """

    name: str
    kind: str = "text"
    required: bool = False
    low: float | None = None
    high: float | None = None
    choices: Mapping[Any, str] | None = None
    nullable: bool = False
    secret: bool = False
    check: Callable[[Any], str] | None = None


class Wrong(Exception):
    """What is wrong with one value, in words for who sent it."""


class Problems:
    """What is wrong with a body; :meth:`end` raises it."""

    def __init__(self) -> None:
        self._found: list[FieldError] = []

    def add(self, field: str, message: str) -> None:
        self._found.append(FieldError(field, message))

    def end(self) -> None:
        """Raises :class:`Invalid` when something was added."""
        if self._found:
            first = self._found[0]
            raise Invalid("field_invalid", f"{first.field}: {first.message}", self._found)

    def about(self, field: str) -> bool:
        return any(one.field == field for one in self._found)


def refused(field: str, message: str) -> Invalid:
    """The refusal of one field."""
    return Invalid("field_invalid", f"{field}: {message}", [FieldError(field, message)])


def failed(message: str) -> Invalid:
    """The refusal of an action as a whole: ``{"error": …}``."""
    return Invalid("action_refused", message)


async def body_of(request: Request) -> dict[str, Any]:
    """The body as an object; an empty one where there is none. Raises :class:`Invalid`."""
    raw = await request.body()
    if not raw.strip():
        return {}
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        try:
            form = parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=_MANY)
        except ValueError:
            raise Invalid("form_malformed", "the form cannot be read") from None
        return {name: values if len(values) > 1 else values[0] for name, values in form.items()}
    return loads_object(raw)


def read(fields: Sequence[Field], body: Mapping[str, Any], problems: Problems, *, partial: bool) -> dict[str, Any]:
    """The values of ``body`` that there are fields for; what is wrong goes to ``problems``.

    With ``partial`` nothing is required.
    """
    found: dict[str, Any] = {}
    for one in fields:
        if one.name not in body:
            if one.required and not partial:
                problems.add(one.name, REQUIRED)
            continue
        raw = body[one.name]
        if raw is None or (raw == "" and one.kind not in ("text", "secret")):
            if one.nullable:
                found[one.name] = None
            elif one.required:
                problems.add(one.name, "Este campo no puede ser nulo.")
            # Otherwise it is as if nothing had been said.
            continue
        try:
            value = _READ[one.kind](raw, one)
            if one.check is not None and (wrong := one.check(value)):
                raise Wrong(wrong)
        except Wrong as problem:
            problems.add(one.name, str(problem))
        else:
            found[one.name] = value
    return found


def whole(raw: Any) -> int | None:
    """``raw`` as a whole number, ``None`` when it is none."""
    if isinstance(raw, str) and raw.strip().lstrip("+-").isdecimal() and raw.isascii() and len(raw) < 20:
        raw = int(raw)
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    return raw if type(raw) is int and abs(raw) <= _INT_MOST else None


def switch(raw: Any) -> bool | None:
    """``raw`` as a switch, ``None`` when it is none."""
    if type(raw) is bool:
        return raw
    text = str(raw).strip().lower() if isinstance(raw, str | int) else ""
    return True if text in _TRUE else False if text in _FALSE else None


def _text(raw: Any, field: Field) -> str:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise Wrong("No es una cadena válida.")
    text = str(raw) if field.secret else str(raw).strip()
    if field.required and not text:
        raise Wrong("Este campo no puede estar en blanco.")
    most = int(field.high or 255)
    if len(text) > most:
        raise Wrong(f"Asegúrese de que este campo no tenga más de {most} caracteres.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Wrong("No es texto Unicode válido.") from None
    if "\0" in text:
        raise Wrong("No se permiten caracteres nulos.")
    return text


def _whole(raw: Any, field: Field) -> int:
    value = whole(raw)
    if value is None:
        raise Wrong("Se requiere un número entero válido.")
    _bound(value, field)
    return value


def _number(raw: Any, field: Field) -> float:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise Wrong("Se requiere un número válido.")
    try:
        value = float(raw)
    except (ValueError, OverflowError):
        raise Wrong("Se requiere un número válido.") from None
    if not math.isfinite(value):
        raise Wrong("Se requiere un número finito.")
    _bound(value, field)
    return value


def _bound(value: float, field: Field) -> None:
    if field.low is not None and value < field.low:
        raise Wrong(f"Asegúrese de que este valor es mayor o igual a {field.low:g}.")
    if field.high is not None and value > field.high:
        raise Wrong(f"Asegúrese de que este valor es menor o igual a {field.high:.15g}.")


def _switch(raw: Any, field: Field) -> bool:
    value = switch(raw)
    if value is None:
        raise Wrong("Debe ser un booleano válido.")
    return value


def _choice(raw: Any, field: Field) -> Any:
    assert field.choices is not None
    value = raw
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        value = None
    elif all(isinstance(one, int) for one in field.choices):
        value = whole(raw)
    if value not in field.choices:
        known = ", ".join(map(str, field.choices))
        raise Wrong(f'"{str(raw)[:32]}" no es una elección válida; las elecciones son {known}.')
    return value


def _object(raw: Any, field: Field) -> dict[str, Any]:
    if isinstance(raw, str):
        try:
            raw = loads_object(raw.encode())
        except (Invalid, UnicodeEncodeError):
            raise Wrong("Debe ser un objeto JSON válido.") from None
    if not isinstance(raw, dict):
        raise Wrong("Debe ser un objeto JSON válido.")
    try:
        if len(json.dumps(raw, allow_nan=False).encode()) > _JSON_BYTES:
            raise Wrong(f"Debe tener como máximo {_JSON_BYTES} bytes.")
    except (ValueError, RecursionError):
        raise Wrong("Debe ser un objeto JSON válido.") from None
    return raw


def _many(raw: Any, field: Field) -> list[int]:
    if not isinstance(raw, list):
        raw = [raw]
    values = [whole(one) for one in raw]
    if any(one is None for one in values):
        raise Wrong("Se esperaba una lista de números enteros.")
    if len(values) > _MANY:
        raise Wrong(f"Como máximo {_MANY} elementos.")
    return list(dict.fromkeys(one for one in values if one is not None))


_READ: Final[dict[str, Callable[[Any, Field], Any]]] = {
    "text": _text,
    "secret": _text,
    "whole": _whole,
    "number": _number,
    "switch": _switch,
    "choice": _choice,
    "object": _object,
    "many": _many,
}
