"""How a device looks to clients of contract alchemy: always the same ten keys (section 4)."""

from typing import Any, Final

from relevo.domain.capabilities import Appearance
from relevo.domain.devices import Device, is_claimed
from relevo.domain.twins import Twin, desired_values

CONTRACT: Final = "alchemy"
UNKNOWN_STATUS: Final = "desconocido"
DEFAULTS: Final = {"nombre": "No definido", "tipo": "generico", "modelo": "desconocido", "descripcion": ""}
"""What a device is called that nobody has named (section 2)."""


def render(device: Device, twin: Twin) -> dict[str, Any]:
    """The device object."""
    return {
        "id": device.registered_seq,
        "serial_number": device.external_id,
        "nombre": device.name,
        "tipo": device.type,
        "modelo": _text(device, "modelo"),
        "descripcion": _text(device, "descripcion"),
        "estado": status_of(twin),
        "parametros": parameters_of(twin),
        "configuracion": desired_values(twin),
        "reclamado": is_claimed(device),
    }


def status_of(twin: Twin) -> str:
    """What the device said last that it does, or what was set in its stead."""
    found = twin.reported.get("estado")
    return found.value if found is not None and type(found.value) is str else UNKNOWN_STATUS


def parameters_of(twin: Twin) -> dict[str, Any]:
    """What the device measured last."""
    found = twin.reported.get("parametros")
    return found.value if found is not None and type(found.value) is dict else {}


def status_word(on: bool | None) -> str:
    """``estado`` of something that is on or off."""
    return UNKNOWN_STATUS if on is None else "activo" if on else "inactivo"


def render_appearance(one: Appearance, on: bool | None, wanted: bool | None, known: dict[str, Any]) -> dict[str, Any]:
    """The device object of a relay or switch of another contract: ``on`` as reported, ``wanted`` as it is to be."""
    return {
        "id": one.number,
        "serial_number": serial_of(one),
        **{name: one.texts.get(name, DEFAULTS[name]) for name in ("nombre", "tipo", "modelo", "descripcion")},
        "estado": status_word(on),
        "parametros": {key: value for key, value in known.items() if type(value) in (int, float)},
        "configuracion": {"modo": "manual", "encendido": bool(wanted)},
        "reclamado": True,
    }


def serial_of(one: Appearance) -> str:
    """Nothing that a device could have printed on it."""
    return f"RLV{one.number}"


def _text(device: Device, name: str) -> str:
    value = device.attributes.get(name, DEFAULTS[name])
    return value if type(value) is str else DEFAULTS[name]
