"""``…/devices/{id}/transfer`` and ``/release``: a device changes hands."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.devices import CLAIMED, Device, is_claimed
from relevo.domain.events import DeviceChanged, Noticed
from relevo.domain.grants import Grant
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.errors import Conflict, FieldError, Invalid
from relevo.http.api.claims import fresh_code
from relevo.http.api.devices import DeviceOut, find, render
from relevo.http.api.taking import spent
from relevo.http.needs import Owns
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1", tags=["joining"])


class Transfer(BaseModel):
    """To whom."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(min_length=1, max_length=64)


class Released(BaseModel):
    """``code`` claims the device; it is in this answer and nowhere else."""

    device: str
    contract: str
    external_id: str
    code: str


def _endings(wired: Services, device: Device) -> list[RecordChange]:
    """What a change of hands ends: shares of this device alone, and codes that somebody may still have."""
    shares = wired.auth.people.shares_of_device(device.id)
    ended: list[RecordChange] = [Dropped(Grant, one.id) for one in shares]
    return ended + spent(wired, device.contract, device.external_id)


@router.post("/devices/{device_id}/transfer", response_model=DeviceOut)
async def transfer(request: Request, wired: Wired, held: Owns, body: Transfer) -> dict[str, Any]:
    """Give a device to somebody else; shares and codes of it end, what its site or tags share stays."""
    person = wired.auth.people.accounts.get(body.to)
    if person is None or person.disabled:
        message = f"to: no user {body.to!r}, or one who may not sign in"
        raise Invalid("account_unknown", message, [FieldError("to", message, "account_unknown")])
    device, before = held.device, held.device.owner
    with wired.claims.taking(device.contract, device.external_id):
        if before == person.name:
            raise Conflict(f"device {device.id!r} belongs to {person.name!r} already")
        now = wired.clock.now_ms()
        words = f"from {before or 'nobody'} to {person.name}, by {held.identity.name}"
        await wired.pipeline.accept(
            [
                DeviceChanged(device.id, now, {"owner": person.name}, held.identity.name),
                Noticed(device.id, now, "transferred", words),
                wired.audited(
                    request, held.identity, "device.transfer", device.id, {"from": before, "to": person.name}
                ),
                *_endings(wired, device),
            ]
        )
    device = find(wired, device.id)
    return render(wired, device, wired.auth.people.right(held.identity, device))


@router.post("/devices/{device_id}/release", response_model=Released)
async def release(request: Request, response: Response, wired: Wired, held: Owns) -> dict[str, Any]:
    """Let a device belong to nobody; whoever has the fresh code in the answer may claim it."""
    device = held.device
    with wired.claims.taking(device.contract, device.external_id):
        if not is_claimed(device):
            raise Conflict(f"device {device.id!r} belongs to nobody already")
        changes: dict[str, Any] = {"owner": ""}
        if CLAIMED in device.attributes:
            changes["attributes"] = {name: value for name, value in device.attributes.items() if name != CLAIMED}
        now = wired.clock.now_ms()
        # In nobody's name: even the one who released it has to show the code.
        code, text = fresh_code(wired, device.contract, device.external_id, "", None)
        await wired.pipeline.accept(
            [
                DeviceChanged(device.id, now, changes, held.identity.name),
                Noticed(device.id, now, "released", f"by {held.identity.name}, it was {device.owner or 'somebody'}'s"),
                wired.audited(request, held.identity, "device.release", device.id, {"from": device.owner}),
                *_endings(wired, device),
                Kept(code),
            ]
        )
    response.headers["Cache-Control"] = "no-store"
    return {"device": device.id, "contract": device.contract, "external_id": device.external_id, "code": text}
