"""The water meters' reading paths: ``/healthz``, ``/api/current`` and ``/api/history`` (contract hidrometro, 4)."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from relevo.errors import Invalid
from relevo.http.hidrometro.access import readable
from relevo.http.needs import open_reads, open_to_all
from relevo.http.services import services_of

router = APIRouter(tags=["hidrometro"])

_DEFAULT_LIMIT = 200


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
    """``?limit=`` 1 to the history limit, default 200; a larger one is cut. ``?numeroSerie=`` asks for one meter."""
    wired = services_of(request)
    sees = readable(request, wired)
    limit = min(limit_of(request, _DEFAULT_LIMIT), wired.recent.limit)
    return JSONResponse({"history": wired.recent.last(limit, sees, request.query_params.get("numeroSerie", ""))})


def limit_of(request: Request, default: int) -> int:
    """``?limit=``, a whole number from 1. Raises :class:`Invalid`."""
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit()) or int(text[:9]) < 1:
        raise Invalid("limit_invalid", "limit must be a whole number from 1")
    return int(text[:9])
