"""How the server itself is doing."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from relevo import __version__
from relevo.http.api.devices import TimelinePage, timeline_page
from relevo.http.api.joining import pairing_state
from relevo.http.api.times import iso
from relevo.http.needs import Administrator, Viewer
from relevo.http.services import Services, services
from relevo.settings import SWITCHES

router = APIRouter(prefix="/api/v1", tags=["system"])
Wired = Annotated[Services, Depends(services)]


@router.get("/system/timeline", response_model=TimelinePage)
async def door_timeline(
    wired: Wired,
    identity: Administrator,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """What the doors refused that belongs to no device."""
    return await timeline_page(wired, "", limit, cursor)


@router.get("/system")
async def system(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """Version, health and counters."""
    settings = wired.settings
    now = wired.clock.now_ms()
    return {
        "version": __version__,
        "started_at": iso(wired.started_at),
        "uptime_s": (now - wired.started_at) // 1000,
        "profile": settings.profile,
        "switches": {name: bool(getattr(settings, name)) for name in SWITCHES} | {"open_reads": settings.reads_open},
        "pairing": pairing_state(wired),
        "devices": len(wired.registry),
    } | wired.figures()
