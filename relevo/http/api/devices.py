"""``/api/v1/devices``: the registry, with each device's latest values."""

import json
from secrets import token_hex
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.accounts import Role
from relevo.domain.devices import NAME_LIMIT, Device, check_id
from relevo.domain.events import DeviceChanged, DeviceRegistered, DeviceRemoved
from relevo.domain.keys import hash_key
from relevo.errors import Conflict, FieldError, Invalid, NotFound
from relevo.http.api.paging import decode_cursor, decode_numbers, encode_cursor
from relevo.http.api.times import iso
from relevo.http.auth import new_device_key
from relevo.http.services import Services, services
from relevo.store import timeline

router = APIRouter(prefix="/api/v1", tags=["devices"])
Wired = Annotated[Services, Depends(services)]


class LatestValue(BaseModel):
    """One latest value; ``ts`` is milliseconds UTC and ``ts_source`` says whose clock it came from."""

    value: Any
    ts: int
    ts_source: str


class DeviceOut(BaseModel):
    """A device as the API shows it."""

    id: str
    name: str
    type: str
    contract: str
    external_id: str
    online: bool
    last_seen: str | None
    claimed: bool
    owner: str | None
    tags: list[str]
    attributes: dict[str, Any]
    latest: dict[str, LatestValue]


class DeviceCreated(DeviceOut):
    """The answer that creates a device: the only one that ever holds its key."""

    key: str


class DevicePage(BaseModel):
    items: list[DeviceOut]
    next: str | None


class NewDevice(BaseModel):
    """What a device is created from; without an ``id`` one is chosen."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(default="", max_length=64)
    name: str = Field(default="", max_length=NAME_LIMIT)
    type: str = Field(default="device", min_length=1, max_length=64)
    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default=[], max_length=32)
    attributes: dict[str, Any] = Field(default={}, max_length=64)


class DeviceChange(BaseModel):
    """What may be changed; fields that are absent stay."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=NAME_LIMIT)
    type: str | None = Field(default=None, min_length=1, max_length=64)
    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(default=None, max_length=32)
    attributes: dict[str, Any] | None = Field(default=None, max_length=64)


def render(wired: Services, device: Device) -> dict[str, Any]:
    """The object of one device."""
    values, last_seen = wired.latest(device.id)
    return {
        "id": device.id,
        "name": device.name,
        "type": device.type,
        "contract": device.contract,
        "external_id": device.external_id,
        "online": wired.online(device, last_seen),
        "last_seen": iso(last_seen),
        "claimed": True,
        "owner": None,
        "tags": device.tags,
        "attributes": device.attributes,
        "latest": {key: {"value": value, "ts": ts, "ts_source": source} for key, (value, ts, source) in values.items()},
    }


def check_storable(value: Any, field: str) -> None:
    """Raises :class:`Invalid` for what JSON can say and no database keeps: NaN, half a surrogate, 2^64."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        msgspec.msgpack.encode(value)
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        message = f"{field} cannot be stored: {error}"[:300].encode(errors="replace").decode()
        raise Invalid("value_not_storable", message, [FieldError(field, message, "value_not_storable")]) from None


def find(wired: Services, device_id: str) -> Device:
    """The device, or :class:`NotFound`."""
    device = wired.registry.get(device_id)
    if device is None:
        raise NotFound(f"no device {device_id!r}")
    return device


@router.get("/devices", response_model=DevicePage)
async def list_devices(
    request: Request,
    wired: Wired,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
    search: Annotated[str, Query(max_length=128)] = "",
    contract: str = "",
    tag: str = "",
    online: bool | None = None,
) -> dict[str, Any]:
    """Devices ordered by id."""
    wired.auth.require(request, Role.VIEWER)
    position = decode_cursor(cursor, 1)
    wanted = search.casefold()
    found: list[dict[str, Any]] = []
    for device in wired.registry.all():
        if position is not None and device.id <= position[0]:
            continue
        if wanted and not any(wanted in text.casefold() for text in (device.id, device.name, device.external_id)):
            continue
        if (contract and device.contract != contract) or (tag and tag not in device.tags):
            continue
        if online is not None and wired.online(device, wired.latest(device.id)[1]) is not online:
            continue
        if len(found) == limit:
            return {"items": found, "next": encode_cursor(found[-1]["id"])}
        found.append(render(wired, device))
    return {"items": found, "next": None}


@router.post("/devices", status_code=201, response_model=DeviceCreated)
async def create_device(request: Request, wired: Wired, body: NewDevice, response: Response) -> dict[str, Any]:
    """Register a native device. Its key is in this answer and nowhere else."""
    identity = wired.auth.require(request, Role.OPERATOR)
    check_storable(body.attributes, "attributes")
    check_storable([body.name, body.type, *body.tags], "name, type or tags")
    device_id = check_id(body.id) if body.id else wired.registry.free_id("native", f"device-{token_hex(4)}")
    if wired.registry.get(device_id) is not None or wired.registry.find("native", device_id) is not None:
        raise Conflict(f"a device {device_id!r} exists already")
    key = new_device_key()
    outcome = await wired.pipeline.accept(
        [
            DeviceRegistered(
                device_id,
                "native",
                device_id,
                body.name or device_id,
                body.type,
                wired.clock.now_ms(),
                hash_key(key.encode()),
                identity.name,
                body.tags,
                body.attributes,
            )
        ]
    )
    if outcome.lost:
        raise Conflict(f"a device {device_id!r} exists already")
    response.headers["Location"] = f"/api/v1/devices/{device_id}"
    return render(wired, find(wired, device_id)) | {"key": key}


@router.get("/devices/{device_id}", response_model=DeviceOut)
async def get_device(request: Request, wired: Wired, device_id: str) -> dict[str, Any]:
    wired.auth.require(request, Role.VIEWER)
    return render(wired, find(wired, device_id))


@router.patch("/devices/{device_id}", response_model=DeviceOut)
async def change_device(request: Request, wired: Wired, device_id: str, body: DeviceChange) -> dict[str, Any]:
    identity = wired.auth.require(request, Role.OPERATOR)
    find(wired, device_id)
    changes = body.model_dump(exclude_none=True)
    if not changes:
        message = "nothing to change: give name, type, tags or attributes"
        raise Invalid("empty", message, [FieldError("body", message)])
    check_storable(changes, "body")
    await wired.pipeline.accept([DeviceChanged(device_id, wired.clock.now_ms(), changes, identity.name)])
    return render(wired, find(wired, device_id))


@router.delete("/devices/{device_id}", status_code=204)
async def delete_device(request: Request, wired: Wired, device_id: str) -> None:
    identity = wired.auth.require(request, Role.OPERATOR)
    find(wired, device_id)
    await wired.pipeline.accept([DeviceRemoved(device_id, wired.clock.now_ms(), identity.name)])


class TimelineEntry(BaseModel):
    """One line of a story; the same thing within a minute is one line with a count."""

    at: str
    first_at: str
    kind: str
    reason: str
    where: str
    detail: str
    address: str
    count: int


class TimelinePage(BaseModel):
    items: list[TimelineEntry]
    next: str | None


async def timeline_page(wired: Services, device_id: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """A page of the story of ``device_id`` (empty: the door's), newest first."""
    position = decode_numbers(cursor, 1)
    before = position[0] if position else None
    rows = await wired.readers.run_core(timeline.load, device_id, limit, before)
    items = [
        {
            "at": iso(row["at"]),
            "first_at": iso(row["first_at"]),
            "kind": row["kind"],
            "reason": row["reason"],
            "where": row["place"],
            "detail": row["detail"],
            "address": row["address"],
            "count": row["count"],
        }
        for row in rows
    ]
    return {"items": items, "next": encode_cursor(rows[-1]["id"]) if len(rows) == limit else None}


@router.get("/devices/{device_id}/timeline", response_model=TimelinePage)
async def device_timeline(
    request: Request,
    wired: Wired,
    device_id: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The device's story: connections, refusals with their reason, repaired clocks."""
    wired.auth.require(request, Role.VIEWER)
    find(wired, device_id)
    return await timeline_page(wired, device_id, limit, cursor)
