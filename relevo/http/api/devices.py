"""``/api/v1/devices``: one device of the registry, with its latest values."""

import json
from secrets import token_hex, token_urlsafe
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.accounts import Identity
from relevo.domain.credentials import Credential
from relevo.domain.devices import NAME_LIMIT, Device, check_id, is_claimed
from relevo.domain.events import AnyEvent, DeviceChanged, DeviceRegistered, DeviceRemoved
from relevo.domain.grants import Grant, Right
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.errors import Conflict, FieldError, Invalid, NotFound
from relevo.http.api.names import check_name
from relevo.http.api.paging import decode_numbers, encode_cursor
from relevo.http.api.taking import spent
from relevo.http.api.times import iso
from relevo.http.needs import MayView, Operator, Owns
from relevo.http.services import Services, Wired
from relevo.store import timeline

router = APIRouter(prefix="/api/v1", tags=["devices"])


class LatestValue(BaseModel):
    """One latest value; ``ts`` is milliseconds UTC and ``ts_source`` says whose clock it came from."""

    value: Any
    ts: int
    ts_source: str


class DeviceOut(BaseModel):
    """A device as the API shows it; ``right`` is what the one who asks may do with it: view, control or own."""

    id: str
    name: str
    type: str
    contract: str
    external_id: str
    online: bool
    last_seen: str | None
    claimed: bool
    owner: str | None
    site: str
    right: str
    tags: list[str]
    attributes: dict[str, Any]
    latest: dict[str, LatestValue]


class DeviceCreated(DeviceOut):
    """The answer that creates a device: the only one that ever holds its key."""

    key: str


class NewDevice(BaseModel):
    """What a device is created from; without an ``id`` one is chosen."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(default="", max_length=64)
    name: str = Field(default="", max_length=NAME_LIMIT)
    type: str = Field(default="device", min_length=1, max_length=64)
    site: str = Field(default="", max_length=64)
    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default=[], max_length=32)
    attributes: dict[str, Any] = Field(default={}, max_length=64)


class DeviceChange(BaseModel):
    """What may be changed; fields that are absent stay."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=NAME_LIMIT)
    type: str | None = Field(default=None, min_length=1, max_length=64)
    site: str | None = Field(default=None, max_length=64)
    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(default=None, max_length=32)
    attributes: dict[str, Any] | None = Field(default=None, max_length=64)


def new_device_key() -> str:
    """A key of 192 random bits, in letters that no shell or INI file minds."""
    return token_urlsafe(24)


def render(wired: Services, device: Device, right: Right) -> dict[str, Any]:
    """The object of one device for somebody who holds ``right`` to it."""
    values, last_seen = wired.latest(device.id)
    return {
        "id": device.id,
        "name": device.name,
        "type": device.type,
        "contract": device.contract,
        "external_id": device.external_id,
        "online": wired.online(device),
        "last_seen": iso(last_seen),
        "claimed": is_claimed(device),
        "owner": device.owner or None,
        "site": device.site,
        "right": right.name.lower(),
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


@router.post("/devices", status_code=201, response_model=DeviceCreated)
async def create_device(
    request: Request, wired: Wired, identity: Operator, body: NewDevice, response: Response
) -> dict[str, Any]:
    """Register a native device as one's own. Its key is in this answer and nowhere else."""
    key = new_device_key()
    device = await register(request, wired, identity, body, key)
    response.headers["Location"] = f"/api/v1/devices/{device.id}"
    response.headers["Cache-Control"] = "no-store"
    return render(wired, device, Right.OWN) | {"key": key}


async def register(request: Request, wired: Services, identity: Identity, body: NewDevice, key: str) -> Device:
    """A new native device of ``identity``, with ``key`` or, when that is empty, without one.

    Raises :class:`Invalid` and :class:`Conflict`.
    """
    check_storable(body.attributes, "attributes")
    check_storable([body.name, body.type, body.site, *body.tags], "name, type, site or tags")
    device_id = check_id(body.id) if body.id else wired.registry.free_id("native", f"device-{token_hex(4)}")
    if wired.registry.get(device_id) is not None or wired.registry.find("native", device_id) is not None:
        raise Conflict(f"a device {device_id!r} exists already")
    check_name(wired, device_id, "id")
    outcome = await wired.pipeline.accept(
        [
            DeviceRegistered(
                device_id,
                "native",
                device_id,
                body.name or device_id,
                body.type,
                wired.clock.now_ms(),
                wired.keyring.hash(key.encode()) if key else "",
                identity.name,
                body.tags,
                body.attributes,
                identity.name,
                body.site,
            ),
            wired.audited(request, identity, "device.create", device_id),
        ]
    )
    if outcome.lost:
        raise Conflict(f"a device {device_id!r} exists already")
    return find(wired, device_id)


@router.get("/devices/{device_id}", response_model=DeviceOut)
async def get_device(wired: Wired, held: MayView) -> dict[str, Any]:
    return render(wired, held.device, wired.auth.people.right(held.identity, held.device))


@router.patch("/devices/{device_id}", response_model=DeviceOut)
async def change_device(request: Request, wired: Wired, held: Owns, body: DeviceChange) -> dict[str, Any]:
    """Change what a device is called and which groups it belongs to."""
    changes = body.model_dump(exclude_none=True)
    if not changes:
        message = "nothing to change: give name, type, site, tags or attributes"
        raise Invalid("empty", message, [FieldError("body", message)])
    check_storable(changes, "body")
    device_id = held.device.id
    await wired.pipeline.accept(
        [
            DeviceChanged(device_id, wired.clock.now_ms(), changes, held.identity.name),
            wired.audited(request, held.identity, "device.change", device_id, {"changes": sorted(changes)}),
        ]
    )
    return render(wired, find(wired, device_id), Right.OWN)


@router.delete("/devices/{device_id}", status_code=204)
async def delete_device(request: Request, wired: Wired, held: Owns) -> None:
    """Remove a device with its credentials, shares and claim codes; connections end at once."""
    audited = wired.audited(request, held.identity, "device.delete", held.device.id)
    await wired.pipeline.accept([*removal(wired, held.device, held.identity.name), audited])


def removal(wired: Services, device: Device, by: str) -> list[AnyEvent | RecordChange]:
    """What goes when ``by`` removes ``device``."""
    shares = wired.auth.people.shares_of_device(device.id)
    return [
        DeviceRemoved(device.id, wired.clock.now_ms(), by),
        *(Dropped(Credential, one.id) for one in wired.keyring.of_device(device.id)),
        *(Dropped(Grant, one.id) for one in shares),
        *(
            Kept(msgspec.structs.replace(one, favourites=[held for held in one.favourites if held != device.id]))
            for one in wired.auth.people.preferences.values()
            if device.id in one.favourites
        ),
        *spent(wired, device.contract, device.external_id),
    ]


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
    wired: Wired,
    held: MayView,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The device's story: connections, refusals with their reason, repaired clocks."""
    return await timeline_page(wired, held.device.id, limit, cursor)
