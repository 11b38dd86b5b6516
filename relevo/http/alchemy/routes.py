"""Contract alchemy over HTTP: ``/dispositivos`` with claim, update and logs (section 4).

``{id}`` is the number of the event that registered the device: whole, growing, never used again.
"""

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from relevo.dialects.alchemy.objects import CONTRACT, render
from relevo.domain.devices import Device, is_claimed
from relevo.errors import Forbidden, Invalid
from relevo.http.alchemy import bodies, foreign, taking, updating
from relevo.http.alchemy.access import Asker, changer, controlled, find, lister, person, reader, right
from relevo.http.needs import claims_alchemy, lists_alchemy, reads_alchemy, writes_alchemy
from relevo.http.services import Services, services_of
from relevo.store import status_log
from relevo.wire.strict_json import loads_object

router = APIRouter(tags=["alchemy"])

_PER_PAGE: Final = 50
_PER_PAGE_MOST: Final = 200
# What a device may say of itself over HTTP (section 8.2); the rest belongs to people.
_ITS_OWN: Final = frozenset({"estado", "encendido"})


@router.get("/dispositivos", dependencies=[reads_alchemy], summary="All devices")
async def all_devices(request: Request) -> Response:
    """A bare array; with a device's key it holds that device alone."""
    wired = services_of(request)
    asker = reader(request, wired)
    own = [_shown(wired, one) for one in wired.registry.of_contract(CONTRACT) if right(wired, asker, one)]
    return _answer(own + foreign.all_of(wired, asker))


@router.get("/dispositivos/no-reclamados", dependencies=[lists_alchemy], summary="Devices that nobody has claimed")
async def unclaimed(request: Request) -> Response:
    """A bare array."""
    wired = services_of(request)
    asker = lister(request, wired)
    waiting = (one for one in wired.registry.of_contract(CONTRACT) if not is_claimed(one))
    return _answer([_shown(wired, one) for one in waiting if right(wired, asker, one)])


@router.post(
    "/dispositivos/reclamar",
    dependencies=[claims_alchemy],
    summary="Claim a device by its QR code",
    openapi_extra=bodies.CLAIM,
)
async def claim(request: Request) -> Response:
    """200 with the device; 404 for a serial number never heard, 409 for a claimed one."""
    wired = services_of(request)
    by = person(request, wired)
    device = await taking.claim(request, wired, by, loads_object(await request.body()))
    return _answer({"mensaje": "Dispositivo reclamado correctamente"} | _shown(wired, device))


@router.post(
    "/dispositivos",
    dependencies=[claims_alchemy],
    status_code=201,
    summary="Create a device by hand",
    openapi_extra=bodies.CREATE,
)
async def create(request: Request) -> Response:
    """201; 409 for a serial number that is known."""
    wired = services_of(request)
    by = person(request, wired)
    device = await taking.create(request, wired, by, loads_object(await request.body()))
    return _answer({"mensaje": "Dispositivo creado correctamente", "id": device.registered_seq}, 201)


@router.get("/dispositivos/{number}", dependencies=[reads_alchemy], summary="One device")
async def one_device(request: Request, number: str) -> Response:
    """What a device polls to learn its ``configuracion``."""
    wired = services_of(request)
    asker = reader(request, wired)
    if (appearance := foreign.find(wired, asker, number)) is not None:
        return _answer(foreign.shown(wired, appearance))
    device = find(wired, asker, number)
    shown = _answer(_shown(wired, device))
    if asker.device == device.id:
        wired.twins.polled(device.id)
    return shown


@router.put(
    "/dispositivos/{number}", dependencies=[writes_alchemy], summary="Change a device", openapi_extra=bodies.UPDATE
)
async def update(request: Request, number: str) -> Response:
    """Texts, ``configuracion``, ``estado`` and ``encendido``; what else the body holds is passed over."""
    wired = services_of(request)
    asker = changer(request, wired)
    return await _change(request, wired, asker, number, loads_object(await request.body()))


@router.put(
    "/dispositivos/{number}/estado",
    dependencies=[writes_alchemy],
    summary="Change a device's status",
    openapi_extra=bodies.STATUS,
)
async def set_status(request: Request, number: str) -> Response:
    """What older clients use."""
    wired = services_of(request)
    asker = changer(request, wired)
    body = loads_object(await request.body())
    if body.get("estado") is None:
        raise Invalid("empty", "estado is missing")
    return await _change(request, wired, asker, number, {"estado": body["estado"]})


async def _change(request: Request, wired: Services, asker: Asker, number: str, body: dict[str, Any]) -> Response:
    if (appearance := foreign.find(wired, asker, number)) is not None:
        shown = await foreign.update(request, wired, asker, appearance, body)
        return _answer({"mensaje": "Dispositivo actualizado correctamente"} | shown)
    device = controlled(request, wired, asker, number)
    if asker.device and not body.keys() <= _ITS_OWN:
        raise Forbidden("a device may change its estado with its key, and nothing else")
    device = await updating.update(request, wired, asker, device, body)
    return _answer({"mensaje": "Dispositivo actualizado correctamente"} | _shown(wired, device))


@router.get(
    "/dispositivos/{number}/logs",
    dependencies=[reads_alchemy],
    summary="What a device said, newest first",
    openapi_extra=bodies.PAGES,
)
async def logs(request: Request, number: str) -> Response:
    """``?page=1&per_page=50``; ``per_page`` is cut to 200."""
    wired = services_of(request)
    asker = reader(request, wired)
    appearance = foreign.find(wired, asker, number)
    story = find(wired, asker, number).id if appearance is None else status_log.of_appearance(appearance.id)
    page, per_page = _count(request, "page", 1), min(_count(request, "per_page", _PER_PAGE), _PER_PAGE_MOST)
    total, lines = await wired.readers.run_core(status_log.page, story, (page - 1) * per_page, per_page)
    data = [
        {"estado": line["status"], "parametros": line["parameters"], "timestamp": _time(line["at"])} for line in lines
    ]
    pages = -(-total // per_page)
    return _answer({"page": page, "per_page": per_page, "total": total, "pages": pages, "data": data})


def _count(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or int(text[:15]) < 1:
        raise Invalid("limit_invalid", f"{name} must be a whole number from 1")
    return int(text[:15])


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).isoformat().replace("+00:00", "Z")


def _shown(wired: Services, device: Device) -> dict[str, Any]:
    return render(device, wired.twins.get(device.id))


def _answer(body: Any, status: int = 200) -> Response:
    return JSONResponse(body, status, {"Cache-Control": "no-store"})
