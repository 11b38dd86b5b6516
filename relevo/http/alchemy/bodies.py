"""The bodies of contract alchemy as JSON schemas, for the description; what they mean is the dialect's to check."""

from typing import Any, Final

from relevo.dialects.alchemy.changes import TEXTS
from relevo.http.description import json_body

_SWITCH: Final[dict[str, Any]] = {
    "description": "On: `activo`, `on`, `true`, 1. Off: `inactivo`, `off`, `false`, 0.",
    "enum": ["activo", "on", "true", True, 1, "inactivo", "off", "false", False, 0],
}
_SERIAL: Final[dict[str, Any]] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_CONFIGURATION: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Keys merge, a value replaces the former one, null takes the key away. `horarios` is a list of "
    "`{dias, inicio, fin}`, or an object of days with lists of `{inicio, fin}`.",
    "properties": {
        "modo": {"enum": ["manual", "horario", "", None]},
        "encendido": _SWITCH,
        "horarios": {"type": ["array", "object", "null"]},
    },
}
_TEXTS: Final[dict[str, Any]] = {name: {"type": "string", "maxLength": most} for name, most in TEXTS.items()}


def _body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return json_body(properties, required, minProperties=1)


CLAIM: Final = _body(
    {"serial_number": _SERIAL, **_TEXTS, "configuracion": _CONFIGURATION, "code": {"type": "string"}},
    ["serial_number"],
)
CREATE: Final = _body(
    {
        "serial_number": _SERIAL,
        **_TEXTS,
        "configuracion": _CONFIGURATION,
        "estado": _SWITCH,
        "parametros": {"type": "object"},
        "reclamado": {"type": "boolean"},
        "code": {"type": "string"},
    },
    ["serial_number"],
)
UPDATE: Final = _body(
    {**_TEXTS, "configuracion": _CONFIGURATION, "estado": _SWITCH, "encendido": _SWITCH},
    [],
)
STATUS: Final = _body({"estado": _SWITCH}, ["estado"])
PAGES: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {"type": "integer", "minimum": 1, "default": default},
            "description": what,
        }
        for name, default, what in (("page", 1, "Page, from 1."), ("per_page", 50, "Lines a page, cut to 200."))
    ]
}
