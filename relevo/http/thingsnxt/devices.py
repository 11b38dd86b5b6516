"""The app's devices (contract thingsnxt, section 4): those of the person, whatever contract they speak."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from relevo.dashboards import new_id
from relevo.dialects.thingsnxt import ID, TOKEN_MOST
from relevo.domain.dashboards import TokenSalt
from relevo.domain.devices import NAME_LIMIT, Device
from relevo.domain.events import AnyEvent, DeviceChanged, DeviceConnected, DeviceDisconnected, DeviceRegistered
from relevo.domain.grants import Right
from relevo.domain.records import Dropped, RecordChange
from relevo.errors import Conflict, FieldError, Invalid
from relevo.http.api.devices import check_storable, removal
from relevo.http.api.names import check_name
from relevo.http.api.times import iso
from relevo.http.needs import Operator, Viewer
from relevo.http.services import Services, Wired
from relevo.http.thingsnxt import shapes
from relevo.http.thingsnxt.rates import limited
from relevo.http.waiting import while_waited_for

router = APIRouter(tags=["thingsnxt"], dependencies=[limited])

_TOKEN_LEAST = 8
_BULK_MOST = 1_000
_PERIODS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PERIOD_MOST_MS = 366 * 86_400_000
_READ_AT_ONCE = 10_000
_READ_MOST = 200_000
_POINTS_MOST = 1_000


class NewDevice(BaseModel):
    """``device_id`` and ``device_token`` take a device over that carries them already."""

    name: Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)] = "Unnamed Device"
    type: Annotated[str, Field(min_length=1, max_length=64)] = "device"
    device_id: Annotated[str, Field(pattern=f"^({ID.pattern})?$")] = ""
    device_token: Annotated[str, Field(max_length=TOKEN_MOST)] = ""


class DeviceChange(BaseModel):
    name: Annotated[str | None, Field(min_length=1, max_length=NAME_LIMIT)] = None
    type: Annotated[str | None, Field(min_length=1, max_length=64)] = None


class BulkStatus(BaseModel):
    device_ids: Annotated[list[str], Field(max_length=_BULK_MOST)]
    status: Literal["online", "offline"]


@router.get("/devices", summary="The devices of one's app")
async def devices(wired: Wired, identity: Viewer) -> list[dict[str, Any]]:
    found = [one for one in wired.registry.all() if shapes.is_theirs(wired, identity, one)]
    return [shapes.shown_device(wired, one) for one in sorted(found, key=lambda one: (one.registered_at, one.id))]


@router.post("/devices", summary="Add a token device")
async def create(
    request: Request, response: Response, wired: Wired, identity: Operator, body: NewDevice
) -> dict[str, Any]:
    """Its token is in this answer, and masked in every other."""
    check_storable([body.name, body.type], "name or type")
    external_id, device_id = body.device_id or new_id(), ""
    if wired.registry.find(shapes.CONTRACT, external_id) is not None:
        raise Conflict("Device already exists")
    # The id of the contract where nobody has it: then it is the user name over MQTT, and stands in every story.
    device_id = external_id if wired.registry.get(external_id) is None else ""
    device_id = device_id or wired.registry.free_id(shapes.CONTRACT, external_id)
    check_name(wired, device_id, "device_id")
    more: list[RecordChange] = []
    token = body.device_token
    if token:
        _check_token(wired, token)
    else:
        token, salt = wired.dashboards.new_token(device_id, external_id)
        more.append(salt)
    registered = DeviceRegistered(
        device_id,
        shapes.CONTRACT,
        external_id,
        body.name,
        body.type,
        wired.clock.now_ms(),
        wired.keyring.hash(token.encode()),
        identity.name,
        owner=identity.name,
    )
    audited = wired.audited(request, identity, "device.create", device_id, {"contract": shapes.CONTRACT})
    outcome = await wired.pipeline.accept([registered, audited, *more])
    device = wired.registry.find(shapes.CONTRACT, external_id)
    if outcome.lost or device is None:
        raise Conflict("Device already exists")
    response.headers["Cache-Control"] = "no-store"
    return shapes.shown_device(wired, device, token)


@router.patch("/devices/bulk/status", summary="Say of devices that they are there or gone")
async def bulk_status(wired: Wired, identity: Viewer, body: BulkStatus) -> dict[str, Any]:
    """As if they had said so: what they do next decides again."""
    now, found = wired.clock.now_ms(), list[AnyEvent]()
    for shown_id in dict.fromkeys(body.device_ids):
        device = shapes.find_device(wired, shown_id)
        if device is None or not wired.auth.may(identity, device.id, Right.CONTROL):
            continue
        if wired.online(device) is not (body.status == "online"):
            if body.status == "online":
                found.append(DeviceConnected(device.id, now, "status"))
            else:
                found.append(DeviceDisconnected(device.id, now, "status", f"{identity.name} said so"))
    await wired.pipeline.accept(found)
    return {"message": f"Updated {len(found)} devices", "modified_count": len(found)}


@router.patch("/devices/{id}", summary="Change what a device is called")
async def change(request: Request, wired: Wired, identity: Viewer, id: str, body: DeviceChange) -> dict[str, Any]:  # noqa: A002
    device = shapes.device_for(wired, identity, id, Right.OWN)
    changes = body.model_dump(exclude_none=True)
    if changes:
        check_storable(changes, "body")
        changed = DeviceChanged(device.id, wired.clock.now_ms(), changes, identity.name)
        audited = wired.audited(request, identity, "device.change", device.id, {"changes": sorted(changes)})
        await wired.pipeline.accept([changed, audited])
    return shapes.shown_device(wired, wired.registry.get(device.id) or device)


@router.delete("/devices/{id}", summary="Remove a device")
async def delete(request: Request, wired: Wired, identity: Viewer, id: str) -> dict[str, Any]:  # noqa: A002
    """With its widgets; its token is refused at once."""
    device = shapes.device_for(wired, identity, id, Right.OWN)
    audited = wired.audited(request, identity, "device.delete", device.id)
    await wired.pipeline.accept([*removal(wired, device, identity.name), audited])
    return {"message": "Device deleted"}


@router.get("/devices/{id}/token", summary="Show a device's token to its owner")
async def reveal(request: Request, response: Response, wired: Wired, identity: Viewer, id: str) -> dict[str, Any]:  # noqa: A002
    """404 for one that was chosen elsewhere: nothing is kept from which it could be shown."""
    device = _tokened(wired, shapes.device_for(wired, identity, id, Right.OWN))
    token = shapes.known_token(wired, device)
    if not token:
        raise HTTPException(404, "This token was not made here and cannot be shown; rotate it")
    wired.audit(request, identity, "device.token.reveal", device.id)
    response.headers["Cache-Control"] = "no-store"
    return {"device_id": device.external_id, "device_token": token}


@router.post("/devices/{id}/token", summary="Give a device another token")
async def rotate(request: Request, response: Response, wired: Wired, identity: Viewer, id: str) -> dict[str, Any]:  # noqa: A002
    """The former one is refused at once."""
    device = _tokened(wired, shapes.device_for(wired, identity, id, Right.OWN))
    token, salt = wired.dashboards.new_token(device.id, device.external_id)
    changes = {"key_hash": wired.keyring.hash(token.encode())}
    changed = DeviceChanged(device.id, wired.clock.now_ms(), changes, identity.name)
    audited = wired.audited(request, identity, "device.token.rotate", device.id)
    await wired.pipeline.accept([changed, Dropped(TokenSalt, device.id), salt, audited])
    response.headers["Cache-Control"] = "no-store"
    return shapes.shown_device(wired, wired.registry.get(device.id) or device, token)


@router.get(
    "/telemetry/history",
    summary="Past values of a device",
    responses={404: {"description": "There is none, or none that the one who asks may know of"}},
)
async def history(
    request: Request,
    wired: Wired,
    identity: Viewer,
    device_id: Annotated[str, Query(max_length=64)],
    key: Annotated[str, Query(min_length=1, max_length=64)],
    period: Annotated[str, Query(pattern=r"^[1-9][0-9]{0,4}[mhdw]$")] = "24h",
) -> list[dict[str, Any]]:
    """What was stored, oldest first, and nothing else; of very many every so many is left out evenly."""
    device = shapes.device_for(wired, identity, device_id, Right.VIEW)
    now = wired.clock.now_ms()
    span = min(int(period[:-1]) * _PERIODS[period[-1]], _PERIOD_MOST_MS)
    points: list[tuple[int, Any]] = []
    after: tuple[int, int] | None = None
    while len(points) < _READ_MOST:
        page = await while_waited_for(
            request,
            wired.history.page(device.id, key, now - span, now + 1, _READ_AT_ONCE, after, device.registered_seq),
        )
        points += [(point.ts, point.value) for point in page.points]
        if not page.more:
            break
        after = (page.points[-1].ts, page.points[-1].seq)
    step = -(-len(points) // _POINTS_MOST) or 1
    # The newest is always among them.
    return [{"timestamp": iso(ts), "value": value} for ts, value in points[::-1][::step][::-1]]


def _tokened(wired: Services, device: Device) -> Device:
    if device.contract != shapes.CONTRACT:
        raise HTTPException(400, f"A device of contract {device.contract} has no device_token")
    return device


def _check_token(wired: Services, token: str) -> None:
    if len(token) < _TOKEN_LEAST or not token.isprintable() or not token.isascii() or " " in token:
        message = f"device_token must have {_TOKEN_LEAST} to {TOKEN_MOST} printable ASCII characters and no spaces"
        raise Invalid("token_invalid", message, [FieldError("device_token", message, "token_invalid")])
    if wired.keyring.device_of(token.encode(), wired.clock.now_ms()):
        raise Conflict("Another device has this device_token")
