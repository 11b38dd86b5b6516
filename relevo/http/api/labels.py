"""``…/devices/{id}/label.svg`` and ``/api/v1/labels``: what is printed and stuck on a device."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from relevo.domain.accounts import Identity
from relevo.domain.claims import ClaimCode
from relevo.domain.devices import NAME_LIMIT
from relevo.domain.grants import Right
from relevo.domain.labels import Form, Label, content
from relevo.domain.records import Dropped, Kept
from relevo.errors import FieldError, Invalid
from relevo.http.api.claims import Days, check_may_make, fresh_code
from relevo.http.api.devices import check_storable
from relevo.http.api.taking import normalised
from relevo.http.needs import MayView, Operator
from relevo.http.services import Services, Wired
from relevo.http.sheet import SHEET_MOST, Printed, one_label, sheet

router = APIRouter(prefix="/api/v1", tags=["joining"])
Shape = Annotated[Form, Query(description="`url` opens the claim page, `alchemy` is the JSON of that contract.")]
_SVG: dict[int | str, dict[str, Any]] = {
    200: {"description": "The drawing", "content": {"image/svg+xml": {"schema": {"type": "string"}}}}
}
_HEADERS = {"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'"}
# Error correction M at the largest size that a phone still reads from 31 mm.
_QR_BYTES = 700


class LabelFor(BaseModel):
    """An identity that may not be registered yet."""

    model_config = ConfigDict(extra="forbid")

    contract: str = Field(min_length=1, max_length=32)
    external_id: str = Field(min_length=1, max_length=128)
    name: str = Field(default="", max_length=NAME_LIMIT)


class NewLabels(BaseModel):
    """For what; devices by their ids, anything else by identity, together at most 21."""

    model_config = ConfigDict(extra="forbid")

    devices: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default=[], max_length=SHEET_MOST)
    identities: list[LabelFor] = Field(default=[], max_length=SHEET_MOST)
    expires_in_days: Days = None


def _printed(request: Request, wired: Services, label: Label, form: Form, typed: str = "") -> Printed:
    text = content(label, form, wired.settings.public_url or str(request.base_url))
    size = len(text.encode())
    if size > _QR_BYTES:
        message = f"the QR code of {label.serial!r} would hold {size} bytes, the limit is {_QR_BYTES}: use form=url"
        raise Invalid("label_too_long", message, [FieldError("form", message, "label_too_long")])
    return Printed(text, label.name, label.serial, typed)


@router.get("/devices/{device_id}/label.svg", response_class=Response, responses=_SVG)
async def device_label(request: Request, wired: Wired, held: MayView, form: Shape = "url") -> Response:
    """A label that says which device it is, without a code: those are made with `POST /labels`."""
    device = held.device
    label = Label(device.contract, device.external_id, "", device.name, device.type)
    return Response(one_label(_printed(request, wired, label, form)), media_type="image/svg+xml", headers=_HEADERS)


def _wanted(wired: Services, identity: Identity, body: NewLabels) -> list[Label]:
    found = []
    for device_id in body.devices:
        device = wired.auth.device_for(identity, device_id, Right.VIEW)
        check_may_make(wired, identity, device.contract, device.external_id)
        found.append(Label(device.contract, device.external_id, "", device.name, device.type))
    for one in body.identities:
        external_id = normalised(wired, one.contract, one.external_id)
        check_storable([external_id, one.name], "external_id or name")
        check_may_make(wired, identity, one.contract, external_id)
        found.append(Label(one.contract, external_id, "", one.name))
    if not 1 <= len(found) <= SHEET_MOST:
        message = f"devices and identities are {len(found)} together, a sheet holds 1 to {SHEET_MOST}"
        raise Invalid("batch_too_long" if found else "empty", message, [FieldError("devices", message)])
    return found


@router.post("/labels", response_class=Response, responses=_SVG)
async def print_labels(
    request: Request, wired: Wired, identity: Operator, body: NewLabels, form: Shape = "url"
) -> Response:
    """A sheet of A4 with name, serial, fresh code and QR code for each; the codes are in this answer and nowhere else.

    One's own devices, those that are nobody's, and identities that are not registered yet.
    """
    wanted = _wanted(wired, identity, body)
    over = wired.claims.room(wired.clock.now_ms(), len(wanted))
    codes: list[ClaimCode] = []
    printed: list[Printed] = []
    for label in wanted:
        code, text = fresh_code(wired, label.contract, label.serial, identity.name, body.expires_in_days)
        codes.append(code)
        printed.append(_printed(request, wired, label._replace(code=text), form, text))
    detail = {"labels": [f"{label.contract} {label.serial}" for label in wanted]}
    await wired.pipeline.accept(
        [
            *(Dropped(ClaimCode, one.id) for one in over),
            *(Kept(code) for code in codes),
            wired.audited(request, identity, "label.print", "", detail),
        ]
    )
    return Response(sheet(printed), media_type="image/svg+xml", headers=_HEADERS)
