"""``/api/v1/devices/{id}/capabilities``, ``…/switches``, ``…/appearances``: what devices can do, whatever contract.

The words are those of :mod:`relevo.domain.capabilities`. An appearance shows one relay or switch to the clients of
another contract as a device of theirs.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from relevo.domain.capabilities import Appearance
from relevo.domain.devices import NAME_LIMIT
from relevo.domain.records import Dropped, Kept
from relevo.domain.twins import PENDING
from relevo.errors import NotFound
from relevo.http.api.devices import check_storable
from relevo.http.api.times import iso
from relevo.http.needs import Administrator, MayControl, MayView
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/devices/{device_id}", tags=["state"])

Key = Annotated[str, Path(min_length=1, max_length=256)]


class CapabilityOut(BaseModel):
    """``value`` is the newest that is known, or what is to be while that is pending; null for nothing."""

    kind: str
    key: str
    value: Any


class Capabilities(BaseModel):
    items: list[CapabilityOut]


class SwitchIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    on: StrictBool


class SwitchOut(BaseModel):
    """``on`` as it is to be, ``reported`` as the device says; null while it has not said."""

    key: str
    on: bool
    reported: bool | None
    pending: bool


class AppearanceIn(BaseModel):
    """Which relay or switch, and to whose clients; ``name`` is what they call it."""

    model_config = ConfigDict(extra="forbid")

    contract: str = Field(min_length=1, max_length=32)
    key: str = Field(min_length=1, max_length=256)
    name: str = Field(default="", max_length=NAME_LIMIT)


class AppearanceOut(BaseModel):
    """``number`` is its id there."""

    number: int
    contract: str
    key: str
    name: str
    created: str | None
    by: str


class Listed(BaseModel):
    items: list[AppearanceOut]


@router.get("/capabilities", response_model=Capabilities)
async def capabilities(wired: Wired, held: MayView) -> dict[str, Any]:
    """Relays, switches, meters and sensors."""
    known = wired.appearances.known(held.device)
    found = wired.appearances.capabilities(held.device, known)
    return {"items": [{"kind": one.kind, "key": one.key, "value": known.get(one.key)} for one in found]}


@router.put("/switches/{key}", response_model=SwitchOut)
async def turn(request: Request, wired: Wired, held: MayControl, key: Key, body: SwitchIn) -> dict[str, Any]:
    """Switch a relay or switch of a device of any contract; it is desired, so it outlives an outage."""
    audited = wired.audited(request, held.identity, "device.desire", held.device.id, {"keys": [key]})
    twin = await wired.appearances.turn(held.device, key, body.on, held.identity.name, [audited])
    wish = twin.desired.get(key)
    return {
        "key": key,
        "on": body.on,
        "reported": wired.appearances.reported_on(held.device.id, key),
        "pending": wish is not None and wish.state == PENDING,
    }


def _render(one: Appearance) -> dict[str, Any]:
    return {
        "number": one.number,
        "contract": one.contract,
        "key": one.key,
        "name": one.texts.get("nombre", ""),
        "created": iso(one.at),
        "by": one.by,
    }


@router.get("/appearances", response_model=Listed)
async def appearances(wired: Wired, held: MayView) -> dict[str, Any]:
    """As what the device's relays and switches appear to clients of other contracts."""
    return {"items": [_render(one) for one in wired.appearances.of_device(held.device.id)]}


@router.post("/appearances", status_code=201, response_model=AppearanceOut)
async def appear(
    request: Request, wired: Wired, identity: Administrator, device_id: str, body: AppearanceIn
) -> dict[str, Any]:
    """Let a relay or switch appear to clients of another contract as a device of theirs."""
    device = wired.registry.get(device_id)
    if device is None:
        raise NotFound(f"no device {device_id!r}")
    check_storable([body.name], "name")
    wired.appearances.check(device, body.key, body.contract)
    name = body.name.strip() or f"{device.name} {body.key}"[:NAME_LIMIT]
    texts = {"nombre": name, "tipo": "rele", "modelo": device.type[:128] or device.contract}
    number = str(wired.appearances.next_number())
    made = Appearance(number, body.contract, device.id, body.key, texts, wired.clock.now_ms(), identity.name)
    detail = {"contract": body.contract, "key": body.key}
    await wired.pipeline.accept([Kept(made), wired.audited(request, identity, "appearance.create", device.id, detail)])
    return _render(made)


@router.delete("/appearances/{number}", status_code=204)
async def disappear(request: Request, wired: Wired, identity: Administrator, device_id: str, number: int) -> None:
    """The device itself stays as it is."""
    one = _of(wired, device_id, number)
    detail = {"contract": one.contract, "key": one.key}
    audited = wired.audited(request, identity, "appearance.delete", device_id, detail)
    await wired.pipeline.accept([Dropped(Appearance, one.id), audited])


def _of(wired: Services, device_id: str, number: int) -> Appearance:
    one = wired.appearances.all.get(number)
    if one is None or one.device != device_id:
        raise NotFound(f"no appearance {number} of {device_id!r}")
    return one
