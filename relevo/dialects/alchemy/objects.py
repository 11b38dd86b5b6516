"""How a device looks to clients of contract alchemy: always the same ten keys (section 4)."""

from typing import Any, Final

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


def _text(device: Device, name: str) -> str:
    value = device.attributes.get(name, DEFAULTS[name])
    return value if type(value) is str else DEFAULTS[name]
