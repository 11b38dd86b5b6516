"""Unclaimed devices, claims, and how the server itself is doing."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from relevo import __version__
from relevo.domain.devices import NAME_LIMIT, check_id
from relevo.domain.events import DeviceRegistered
from relevo.domain.grants import Right
from relevo.errors import Conflict, FieldError, Invalid, NotFound
from relevo.http.api.devices import DeviceOut, TimelinePage, check_storable, render, timeline_page
from relevo.http.api.times import iso
from relevo.http.needs import Administrator, Operator, Viewer
from relevo.http.services import Services, services
from relevo.settings import SWITCHES
from relevo.store import unclaimed

router = APIRouter(prefix="/api/v1", tags=["system"])
Wired = Annotated[Services, Depends(services)]


class Stranger(BaseModel):
    """Something that speaks a contract and is not in the registry."""

    contract: str
    external_id: str
    first_seen: str | None
    last_seen: str | None
    count: int
    reason: str
    address: str
    payload: dict[str, Any]


class StrangerPage(BaseModel):
    items: list[Stranger]
    next: str | None


@router.get("/unclaimed", response_model=StrangerPage)
async def list_unclaimed(
    wired: Wired, identity: Operator, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> dict[str, Any]:
    """Who knocked without being registered, newest first."""
    rows = await wired.readers.run_core(unclaimed.load, limit)
    items = [row | {"first_seen": iso(row["first_seen"]), "last_seen": iso(row["last_seen"])} for row in rows]
    return {"items": items, "next": None}


class Claim(BaseModel):
    """Takes something unclaimed into the registry; ``id`` is chosen when absent."""

    model_config = ConfigDict(extra="forbid")

    contract: str = Field(min_length=1, max_length=32)
    external_id: str = Field(min_length=1, max_length=128)
    id: str = Field(default="", max_length=64)
    name: str = Field(default="", max_length=NAME_LIMIT)
    type: str = Field(default="device", min_length=1, max_length=64)


@router.post("/claims", status_code=201, response_model=DeviceOut)
async def claim(request: Request, wired: Wired, identity: Operator, body: Claim) -> dict[str, Any]:
    """Register a device of a foreign contract by its external identity; it need not have been seen before."""
    dialect = wired.dialects.get(body.contract)
    if dialect is None:
        message = f"contract must be one of {', '.join(sorted(wired.dialects))}"
        raise Invalid("contract_unknown", message, [FieldError("contract", message)])
    external_id = dialect.normalise_id(body.external_id)
    if wired.registry.find(body.contract, external_id) is not None:
        raise Conflict(f"{body.contract} device {external_id!r} is registered already")
    device_id = check_id(body.id) if body.id else wired.registry.free_id(body.contract, external_id)
    if wired.registry.get(device_id) is not None:
        raise Conflict(f"a device {device_id!r} exists already")
    if wired.keyring.by_username(device_id) is not None:
        raise Conflict(f"{device_id!r} is the MQTT user name of another device's credential")
    name = body.name or external_id
    check_storable([name, body.type, external_id], "name, type or external_id")
    outcome = await wired.pipeline.accept(
        [
            DeviceRegistered(
                device_id,
                body.contract,
                external_id,
                name,
                body.type,
                wired.clock.now_ms(),
                by=identity.name,
                owner=identity.name,
            ),
            wired.audited(request, identity, "device.claim", device_id, {"contract": body.contract}),
        ]
    )
    if outcome.lost:
        raise Conflict(f"{body.contract} device {external_id!r} or a device {device_id!r} is registered already")
    device = wired.registry.get(device_id)
    if device is None:
        raise NotFound(f"no device {device_id!r}")
    return render(wired, device, Right.OWN)


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
        "devices": len(wired.registry),
    } | wired.figures()
