"""The water meters' reading paths: ``/healthz``, ``/api/current`` and ``/api/history`` (contract hidrometro, 4)."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from relevo.domain.accounts import Role
from relevo.domain.meters import CONTRACT, Sees
from relevo.domain.networks import is_private
from relevo.errors import Invalid
from relevo.http.needs import open_reads, open_to_all
from relevo.http.services import Services, address_of, services_of

router = APIRouter(tags=["hidrometro"])

_DEFAULT_LIMIT = 200


def readable(request: Request, wired: Services) -> Sees | None:
    """Which serial numbers the request may see, ``None`` for all.

    Contract section 9.3: all on private addresses while the switch is on, otherwise those of the person's devices.
    """
    if wired.settings.reads_open and is_private(address_of(request)):
        return None
    identity = wired.auth.identify(request)
    if identity.role is Role.ADMINISTRATOR:
        return None

    def sees(serial: str) -> bool:
        device = wired.registry.find(CONTRACT, serial)
        return device is not None and bool(wired.auth.people.right(identity, device))

    return sees


@router.get("/healthz", dependencies=[open_to_all], summary="Whether the server is ready")
async def healthz(request: Request) -> Response:
    """200 only when migrations ran, the store is writable and the MQTT door listens."""
    problems = services_of(request).ready()
    if problems:
        return JSONResponse({"status": "unavailable", "reasons": problems}, 503, headers={"Retry-After": "2"})
    return JSONResponse({"status": "ok"})


@router.get("/api/current", dependencies=[open_reads], summary="The newest water meter reading")
async def current(request: Request) -> Response:
    """``{}`` before the first; ``?numeroSerie=`` asks for one meter."""
    wired = services_of(request)
    sees = readable(request, wired)
    return JSONResponse(wired.recent.current(request.query_params.get("numeroSerie", ""), sees) or {})


@router.get("/api/history", dependencies=[open_reads], summary="The last water meter readings, oldest first")
async def history(request: Request) -> Response:
    """``?limit=`` 1 to the history limit, default 200; a larger one is cut."""
    wired = services_of(request)
    sees = readable(request, wired)
    text = request.query_params.get("limit", str(_DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit()) or int(text[:9]) < 1:
        raise Invalid("limit_invalid", "limit must be a whole number from 1")
    return JSONResponse(
        {"history": wired.recent.last(min(int(text[:9]), wired.settings.hidrometro.history_limit), sees)}
    )
