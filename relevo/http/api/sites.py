"""``/api/v1/sites``: the clocks and the sun of the places where devices are."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.accounts import Identity
from relevo.domain.grants import Right
from relevo.domain.records import Dropped, Kept
from relevo.domain.sites import NAME_LIMIT, SITES_MOST, Site, check_site
from relevo.errors import Conflict, NotFound
from relevo.http.api.paging import decode_cursor, encode_cursor
from relevo.http.needs import Administrator, Viewer
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/sites", tags=["devices"])

Name = Annotated[str, Path(min_length=1, max_length=NAME_LIMIT)]


class SiteIn(BaseModel):
    """What is known of a place."""

    model_config = ConfigDict(extra="forbid")

    zone: str = Field(min_length=1, max_length=64, description="IANA name, such as America/Lima.")
    lat: float | None = Field(default=None, ge=-90, le=90)
    lon: float | None = Field(default=None, ge=-180, le=180)


class SiteOut(BaseModel):
    """A site. ``zone`` is empty while nothing is known of it; ``devices`` counts those you may view."""

    name: str
    zone: str
    lat: float | None
    lon: float | None
    devices: int


class SitePage(BaseModel):
    """By name."""

    items: list[SiteOut]
    next: str | None


def _counts(wired: Services, identity: Identity) -> dict[str, int]:
    right = wired.auth.people.right
    counts: dict[str, int] = {}
    for device in wired.registry.all():
        if device.site and right(identity, device) >= Right.VIEW:
            counts[device.site] = counts.get(device.site, 0) + 1
    return counts


def _render(name: str, site: Site | None, devices: int) -> dict[str, Any]:
    return {
        "name": name,
        "zone": site.zone if site else "",
        "lat": site.lat if site else None,
        "lon": site.lon if site else None,
        "devices": devices,
    }


@router.get("", response_model=SitePage)
async def page(
    wired: Wired,
    identity: Viewer,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: str | None = None,
    search: Annotated[str, Query(max_length=64, description="Part of the name.")] = "",
) -> dict[str, Any]:
    """The sites of the devices you may view; administrators see all that something is known of."""
    counts = _counts(wired, identity)
    names = set(counts)
    if identity.role.name == "ADMINISTRATOR":
        names |= set(wired.sites)
    after = decode_cursor(cursor, 1)
    wanted = sorted(
        one for one in names if search.casefold() in one.casefold() and (after is None or one > str(after[0]))
    )
    shown = wanted[:limit]
    items = [_render(one, wired.sites.get(one), counts.get(one, 0)) for one in shown]
    return {"items": items, "next": encode_cursor(shown[-1]) if len(wanted) > limit else None}


@router.put("/{name}", response_model=SiteOut)
async def put(request: Request, wired: Wired, identity: Administrator, name: Name, body: SiteIn) -> dict[str, Any]:
    """Say what holds at a place. Schedules that are there already keep the zone that they have."""
    if name not in wired.sites and len(wired.sites) >= SITES_MOST:
        raise Conflict(f"there are {SITES_MOST} sites, which is the limit")
    site = Site(name, body.zone, body.lat, body.lon)
    check_site(site)
    audited = wired.audited(request, identity, "site.change", name, {"zone": site.zone})
    await wired.pipeline.accept([Kept(site), audited])
    return _render(name, site, _counts(wired, identity).get(name, 0))


@router.delete("/{name}", status_code=204)
async def remove(request: Request, wired: Wired, identity: Administrator, name: Name) -> None:
    """Forget what is known of a place; its devices stay where they are."""
    if name not in wired.sites:
        raise NotFound(f"nothing is known of a site {name!r}")
    await wired.pipeline.accept([Dropped(Site, name), wired.audited(request, identity, "site.delete", name)])
