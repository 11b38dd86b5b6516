"""``/api/alerts``: leaks (contract hidrometro, sections 4 and 6)."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from relevo.domain.accounts import Identity, Role
from relevo.domain.alerts import LIVE, Alert, after
from relevo.domain.grants import Right
from relevo.domain.meters import CONTRACT, LEAK, number_of, whole
from relevo.errors import NotFound
from relevo.http.hidrometro.access import meters_of
from relevo.http.hidrometro.reading import limit_of
from relevo.http.needs import Administrator, Viewer
from relevo.http.services import Services, Wired
from relevo.meters import Leak
from relevo.store import alerts as store

router = APIRouter(tags=["hidrometro"])

_DEFAULT: Final = 50
_MOST: Final = 500


def rendered(wired: Services, leak: Leak) -> dict[str, Any]:
    """The contract's alert object."""
    device = wired.registry.find(CONTRACT, leak.serial) if leak.number > 0 else None
    return {
        "id": leak.number,
        "dispositivo_id": number_of(device) if device is not None else None,
        "serial": leak.serial or None,
        "tipo": "leak",
        "message": leak.message,
        "threshold": leak.threshold,
        "flow_lmin": leak.flow,
        "total_liters": leak.total,
        "duration_seconds": leak.duration,
        "detected_at": leak.at,
        "resolved_at": leak.ended or None,
    }


def leak_of(number: int, alert: Alert) -> Leak:
    """An alert of the product as the contract knows it."""
    return Leak.of(number, alert.text, alert.values, alert.opened_at, alert.ended_at)


async def newest(wired: Services, identity: Identity, limit: int, unresolved: bool) -> list[dict[str, Any]]:
    """The newest alerts that ``identity`` may see."""
    devices = None
    if identity.role is not Role.ADMINISTRATOR:
        devices = [one.id for one in meters_of(identity, wired)]
    states = sorted(LIVE) if unresolved else ()
    found = await wired.readers.run_core(store.page, limit, None, devices, states, "", LEAK)
    leaks = [leak_of(number, alert) for number, alert in found]
    if identity.at_least(Role.OPERATOR):
        # Strangers are seen by those who may claim them.
        leaks += [one for one in wired.meters.temporary if not (unresolved and one.ended)]
    leaks.sort(key=lambda one: (one.at, abs(one.number)), reverse=True)
    return [rendered(wired, one) for one in leaks[:limit]]


@router.get("/api/alerts", summary="Leaks of water meters, newest first")
async def page(request: Request, wired: Wired, identity: Viewer) -> Response:
    """``?limit=50``, at most 500; ``?unresolved=1`` for those that are open."""
    limit = min(limit_of(request, _DEFAULT), _MOST)
    unresolved = request.query_params.get("unresolved", "").lower() in ("1", "true")
    return JSONResponse({"alerts": await newest(wired, identity, limit, unresolved)})


@router.post("/api/alerts/clear-temporary", summary="Forget leaks of meters that are not registered")
async def clear_temporary(request: Request, wired: Wired, identity: Administrator) -> Response:
    """``{"status":"cleared"}``"""
    wired.meters.temporary.clear()
    wired.audit(request, identity, "alert.clear", CONTRACT)
    return JSONResponse({"status": "cleared"})


@router.post("/api/alerts/{number}/resolve", summary="Say that a leak was seen to")
async def resolve(request: Request, wired: Wired, identity: Viewer, number: str) -> Response:
    """``{"alert": …}``; also when it was resolved before."""
    return JSONResponse({"alert": await resolved(request, wired, identity, number)})


async def resolved(request: Request, wired: Services, identity: Identity, text: str) -> dict[str, Any]:
    """The alert after it was resolved. Raises :class:`NotFound`."""
    now = wired.clock.now_ms()
    if text.startswith("-") and identity.at_least(Role.OPERATOR):
        found = wired.meters.resolve(-(whole(text[1:]) or 0), now)
        if found is None:
            raise NotFound("not found")
        return rendered(wired, found)
    number = whole(text)
    alert = await wired.readers.run_core(store.load_numbered, number) if number else None
    device = wired.registry.get(alert.device) if alert is not None and alert.rule == LEAK else None
    if alert is None or device is None or wired.auth.people.right(identity, device) < Right.VIEW:
        raise NotFound("not found")
    live = wired.alerts.live.get(alert.id)
    if live is not None:
        event = wired.alerts.resolve(live, identity.name, "", now)
        audited = wired.audited(request, identity, "alert.resolved", event.id, {"device": event.device})
        await wired.pipeline.accept([event, audited])
        alert = after(event)
    assert number is not None
    return rendered(wired, leak_of(number, alert))
