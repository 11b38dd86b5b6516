"""Claiming a device that waits for somebody, and creating one by hand (contract alchemy, section 4.1)."""

from typing import Any, Final

from starlette.requests import Request

from relevo.dialects.alchemy.changes import merged, read_configuration, read_status, read_texts
from relevo.dialects.alchemy.objects import CONTRACT, DEFAULTS, UNKNOWN_STATUS
from relevo.domain.accounts import Identity
from relevo.domain.claims import ClaimCode
from relevo.domain.devices import CLAIMED, Device, is_claimed
from relevo.domain.events import DeviceChanged, DeviceRegistered, Noticed
from relevo.domain.labels import Label
from relevo.domain.records import Dropped, Kept
from relevo.domain.twins import desired_values
from relevo.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from relevo.http.alchemy.foreign import is_serial
from relevo.http.alchemy.updating import property_changes
from relevo.http.api.claims import by_code
from relevo.http.api.devices import check_storable
from relevo.http.api.devices import find as registered
from relevo.http.api.names import check_name
from relevo.http.api.taking import may_take, refuse_blocked, spent
from relevo.http.services import Services
from relevo.pipeline import Entry
from relevo.store import unclaimed

_NO_SERIAL: Final = "Debe proporcionar serial_number"
_UNKNOWN: Final = "Ningún dispositivo con este serial_number se ha anunciado"
_CLAIMED: Final = "El dispositivo ya fue reclamado"


async def claim(request: Request, wired: Services, by: Identity | None, body: dict[str, Any]) -> Device:
    """Make a device somebody's own; ``by`` is ``None`` where nobody need sign in.

    Raises :class:`Invalid`, :class:`NotFound`, :class:`Conflict` and :class:`Forbidden`.
    """
    serial = _serial(wired, body, NotFound(_UNKNOWN))
    if is_serial(wired, serial):
        raise Conflict(_CLAIMED)
    check_storable(body, "body")
    texts, given = read_texts(body), read_configuration(body)
    refuse_blocked(wired, CONTRACT, serial)
    with wired.claims.taking(CONTRACT, serial):
        device = wired.registry.find(CONTRACT, serial)
        if device is not None and is_claimed(device):
            raise Conflict(_CLAIMED)
        if device is None:
            heard = await wired.readers.run_core(unclaimed.find, CONTRACT, serial)
            # Only somebody who may approve what is on the pending list may take from it.
            if heard is None or by is None:
                raise NotFound(_UNKNOWN)
        _prove(request, wired, by, serial, body)
        name = by.name if by is not None else "open_control"
        gone: list[Entry] = [*spent(wired, CONTRACT, serial)]
        if by is not None:
            target = device.id if device is not None else serial
            detail = {"contract": CONTRACT, "with": "code" if body.get("code") else "identity"}
            gone.append(wired.audited(request, by, "device.claim", target, detail))
        if device is None:
            return await _register(wired, serial, texts, given, {}, by, True, gone)
        now = wired.clock.now_ms()
        stored = desired_values(wired.twins.get(device.id))
        after = merged(stored, given)
        changes = property_changes(device, texts, after)
        if by is not None:
            changes["owner"] = by.name
        else:
            changes["attributes"] = changes.get("attributes", device.attributes) | {CLAIMED: True}
        told = Noticed(device.id, now, "claimed", f"by {name} over contract {CONTRACT}")
        more = [DeviceChanged(device.id, now, changes, name), told, *gone]
        await wired.twins.desire(device.id, after, name, whole=True, more=more, named=given.keys())
    return registered(wired, device.id)


async def create(request: Request, wired: Services, by: Identity | None, body: dict[str, Any]) -> Device:
    """A device made by hand, unclaimed unless ``reclamado`` says otherwise.

    Raises :class:`Invalid`, :class:`Conflict` and :class:`Forbidden`.
    """
    serial = _serial(wired, body, None)
    check_storable(body, "body")
    texts, given = read_texts(body), read_configuration(body)
    said: dict[str, Any] = {}
    status = read_status(body)
    if status != UNKNOWN_STATUS:
        said["estado"] = status
    parameters = body.get("parametros")
    if parameters is not None and type(parameters) is not dict:
        raise _problem("parametros", "must be an object")
    if parameters:
        said["parametros"] = parameters
    claimed = body.get("reclamado", False)
    if type(claimed) is not bool:
        raise _problem("reclamado", "must be true or false")
    refuse_blocked(wired, CONTRACT, serial)
    with wired.claims.taking(CONTRACT, serial):
        if wired.registry.find(CONTRACT, serial) is not None or is_serial(wired, serial):
            raise Conflict("Ya existe un dispositivo con este serial_number")
        _prove(request, wired, by, serial, body)
        gone: list[Entry] = [*spent(wired, CONTRACT, serial)] if claimed else []
        if by is not None:
            gone.append(wired.audited(request, by, "device.create", serial, {"contract": CONTRACT}))
        return await _register(wired, serial, texts, given, said, by, claimed, gone)


async def _register(
    wired: Services,
    serial: str,
    texts: dict[str, str],
    given: dict[str, Any],
    said: dict[str, Any],
    by: Identity | None,
    claimed: bool,
    more: list[Entry],
) -> Device:
    device_id = wired.registry.free_id(CONTRACT, serial)
    check_name(wired, device_id, "serial_number")
    name = by.name if by is not None else "open_control"
    named = DEFAULTS | texts
    begun = Device(device_id, CONTRACT, serial, named["nombre"], named["tipo"], wired.clock.now_ms())
    configuration = merged({}, given)
    changes = property_changes(begun, {key: named[key] for key in ("modelo", "descripcion")}, configuration)
    attributes = changes.get("attributes", {})
    if claimed and by is None:
        attributes[CLAIMED] = True
    event = DeviceRegistered(
        device_id,
        CONTRACT,
        serial,
        begun.name,
        begun.type,
        begun.registered_at,
        by=name,
        attributes=attributes,
        owner=by.name if claimed and by is not None else "",
    )
    twin = wired.twins.first(CONTRACT, device_id, serial, configuration, said, name)
    outcome = await wired.pipeline.accept([event, *twin, *more])
    device = wired.registry.find(CONTRACT, serial)
    if outcome.lost or device is None:
        codes = [wired.claims.code(one.key) for one in more if isinstance(one, Dropped) and one.kind is ClaimCode]
        # Somebody was faster; the codes are still good.
        await wired.pipeline.accept([Kept(one) for one in codes if one is not None])
        raise Conflict("Ya existe un dispositivo con este serial_number")
    return device


def _serial(wired: Services, body: dict[str, Any], unusable: NotFound | None) -> str:
    raw = body.get("serial_number") or body.get("serial")
    if type(raw) is not str or not raw.strip():
        raise Invalid("serial_missing", _NO_SERIAL)
    try:
        return wired.dialects[CONTRACT].normalise_id(raw)
    except Invalid:
        # No such device can have announced itself.
        raise (unusable or _problem("serial_number", "must be 1 to 64 characters of A-Z a-z 0-9 _ -")) from None


def _prove(request: Request, wired: Services, by: Identity | None, serial: str, body: dict[str, Any]) -> None:
    """Raises what is wrong with the code, where one is out for this device and ``by`` has to show it."""
    if by is None:
        if wired.claims.needs_code(CONTRACT, serial, "", wired.clock.now_ms()):
            raise Forbidden("this device is claimed with the code on its label, by somebody who is signed in")
        return
    if may_take(wired, by, CONTRACT, serial):
        return
    code = body.get("code")
    if type(code) is not str or not code:
        raise Forbidden("this device is claimed with the code on its label: send it as code")
    by_code(request, wired, by, Label(CONTRACT, serial, code))


def _problem(name: str, message: str) -> Invalid:
    return Invalid("value_type", f"{name} {message}", [FieldError(name, f"{name} {message}", "value_type")])
