"""Relays and switches of other contracts as devices of this one, on an administrator's request.

They have the ten keys, are switched by ``estado`` and ``encendido`` as the rules of section 4.2 have it, and are logged
when they were. A timetable is not theirs: nobody would keep it.
"""

from typing import Any, Final

import msgspec
from starlette.requests import Request

from relevo.dialects.alchemy.changes import read_configuration, read_texts, read_update
from relevo.dialects.alchemy.objects import CONTRACT, render_appearance, serial_of, status_word
from relevo.domain.capabilities import Appearance
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.domain.records import Kept
from relevo.errors import FieldError, Forbidden, Invalid, NotFound
from relevo.http.alchemy.access import Asker, right
from relevo.http.api.devices import check_storable
from relevo.http.services import Services

_BY_HAND: Final = frozenset({"modo", "encendido"})


def all_of(wired: Services, asker: Asker) -> list[dict[str, Any]]:
    """Every appearance that ``asker`` may see; none for a device with its key."""
    if asker.device:
        return []
    found = []
    for one in wired.appearances.of_contract(CONTRACT):
        device = wired.registry.get(one.device)
        if device is not None and right(wired, asker, device):
            found.append(shown(wired, one))
    return found


def find(wired: Services, asker: Asker, number: str) -> Appearance | None:
    """The appearance with this ``id``, ``None`` for a number that is none."""
    one = wired.appearances.all.get(int(number)) if number.isascii() and number.isdigit() else None
    if one is None or one.contract != CONTRACT:
        return None
    device = wired.registry.get(one.device)
    if device is None or asker.device or not right(wired, asker, device):
        raise NotFound("Dispositivo no encontrado")
    return one


def of(wired: Services, device: Device) -> list[dict[str, Any]]:
    """What ``device`` appears as."""
    return [shown(wired, one) for one in wired.appearances.of_device(device.id) if one.contract == CONTRACT]


def is_serial(wired: Services, serial: str) -> bool:
    """Whether an appearance has this serial number."""
    return any(serial_of(one) == serial for one in wired.appearances.of_contract(CONTRACT))


def shown(wired: Services, one: Appearance) -> dict[str, Any]:
    """The device object."""
    device = _device(wired, one)
    known = wired.appearances.known(device)
    switches = wired.appearances.switches(device, known)
    numbers = {key: value for key, value in known.items() if key not in switches and type(value) is not bool}
    return render_appearance(one, wired.appearances.reported_on(device.id, one.key), switches.get(one.key), numbers)


async def update(request: Request, wired: Services, asker: Asker, one: Appearance, body: dict[str, Any]) -> Any:
    """The object after ``body``. Raises :class:`Invalid`, naming the field, and :class:`Forbidden`."""
    device = _device(wired, one)
    if right(wired, asker, device) < Right.CONTROL:
        raise Forbidden("needs the right to control this device")
    check_storable(body, "body")
    before = shown(wired, one)
    for key, value in read_configuration(body).items():
        if key not in _BY_HAND or (key == "modo" and value not in ("manual", "", None)):
            raise _wrong(f"configuracion.{key}", "cannot be changed of a relay of another contract: give encendido")
    change = read_update(body, before["estado"], before["configuracion"])
    texts = read_texts(body)
    if texts:
        if right(wired, asker, device) < Right.OWN and device.owner:
            raise Forbidden("only the owner renames a device")
        renamed = msgspec.structs.replace(one, texts=one.texts | texts)
        await wired.pipeline.accept([Kept(renamed)])
        one = renamed
    if "encendido" in change.named:
        on = change.status == status_word(True)
        more = []
        if asker.identity is not None:
            more.append(wired.audited(request, asker.identity, "device.desire", device.id, {"keys": [one.key]}))
        await wired.appearances.turn(device, one.key, on, asker.name, more)
    after = shown(wired, one)
    # What was asked for leads in the answer, as it does for devices of this contract (section 4.2).
    return after | ({"estado": change.status} if "encendido" in change.named else {})


def _device(wired: Services, one: Appearance) -> Device:
    device = wired.registry.get(one.device)
    if device is None:
        raise NotFound("Dispositivo no encontrado")
    return device


def _wrong(field: str, words: str) -> Invalid:
    return Invalid("value_unknown", f"{field} {words}", [FieldError(field, words, "value_unknown")])
