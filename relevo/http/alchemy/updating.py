"""PUT: what somebody wants of a device, and what its status is by that, in one commit (contract alchemy, 4.2)."""

from typing import Any, Final

from starlette.requests import Request

from relevo.dialects.alchemy.changes import Update, expected_every_s, read_update
from relevo.dialects.alchemy.objects import parameters_of, status_of
from relevo.domain.devices import Device
from relevo.domain.events import AnyEvent, DeviceChanged, StateReported, StatusSet
from relevo.domain.grants import Right
from relevo.domain.presence import EXPECTED
from relevo.domain.twins import desired_values
from relevo.errors import Forbidden
from relevo.http.alchemy.access import Asker, right
from relevo.http.api.devices import check_storable
from relevo.http.api.devices import find as registered
from relevo.http.services import Services

_COLUMNS: Final = {"nombre": "name", "tipo": "type"}


async def update(request: Request, wired: Services, asker: Asker, device: Device, body: dict[str, Any]) -> Device:
    """The device after ``body``. Raises :class:`Invalid`, naming the field, and :class:`Forbidden`."""
    check_storable(body, "body")
    twin = wired.twins.get(device.id)
    change = read_update(body, status_of(twin), desired_values(twin))
    if change.texts and right(wired, asker, device) < Right.OWN and device.owner:
        raise Forbidden("only the owner renames a device")
    now = wired.clock.now_ms()
    more: list[AnyEvent] = []
    changes = property_changes(device, change.texts, change.configuration)
    if changes:
        more.append(DeviceChanged(device.id, now, changes, asker.name))
    said: dict[str, Any] = {"estado": change.status} if _is_said(change, status_of(twin)) else {}
    if asker.device:
        # It says so itself, which is contact, and what it does.
        more.append(StateReported(device.id, now, dict(said)))
        on = {"activo": True, "inactivo": False}.get(change.status)
        said |= {"encendido": on} if said and on is not None else {}
    else:
        more.append(StatusSet(device.id, now, change.status, parameters_of(twin), asker.name))
    if asker.identity is not None:
        detail = {"keys": sorted(set(body) & _TOLD)}
        more.append(wired.audited(request, asker.identity, "desired.change", device.id, detail))
    await wired.twins.desire(
        device.id, change.configuration, asker.name, whole=True, more=more, named=change.named, said=said
    )
    return registered(wired, device.id)


_TOLD: Final = frozenset({"nombre", "tipo", "modelo", "descripcion", "configuracion", "estado", "encendido"})


def _is_said(change: Update, before: str) -> bool:
    return bool(change.named) or change.status != before


def property_changes(device: Device, texts: dict[str, str], configuration: dict[str, Any]) -> dict[str, Any]:
    """What ``texts`` and the interval in ``configuration`` change of the registry's entry."""
    changes: dict[str, Any] = {_COLUMNS[name]: text for name, text in texts.items() if name in _COLUMNS}
    more: dict[str, Any] = {name: text for name, text in texts.items() if name not in _COLUMNS}
    every = expected_every_s(configuration)
    if every is not None:
        more[EXPECTED] = every
    if any(device.attributes.get(name) != value for name, value in more.items()):
        changes["attributes"] = device.attributes | more
    return changes
