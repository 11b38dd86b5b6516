"""``…/devices/{id}/desired`` and ``…/reported``: what a device is to be, and what it says that it is.

A device without MQTT asks for the one and reports the other with its key.
"""

import re
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.twins import Report, Twin, Wish, delta, desired_values, effective, reported_values
from relevo.errors import Conflict, FieldError, Invalid, PreconditionFailed
from relevo.http.api.commands import WAIT_MOST_S
from relevo.http.api.times import iso
from relevo.http.needs import Held, IsDevice, MayControl, MayViewOrIsDevice
from relevo.http.services import Services, Wired, address_of

router = APIRouter(prefix="/api/v1", tags=["state"])

_VERSION_MOST: Final = 2**63 - 1
_ETAG: Final = re.compile(r'"?(\d{1,18})"?')
_STALE: Final[dict[int | str, dict[str, Any]]] = {
    409: {"description": "The document has another version than `version`; the answer names it"},
    412: {"description": "The document has another version than `If-Match`; the answer names it"},
}
IfMatch = Annotated[str | None, Header(description="The version that the document must have, as `ETag` has it.")]


class DesiredIn(BaseModel):
    """What a device is to be."""

    model_config = ConfigDict(extra="forbid")

    values: dict[str, Any]
    version: int | None = Field(
        default=None, ge=0, le=_VERSION_MOST, description="The version that the document must have."
    )


class ReportedIn(BaseModel):
    """What a device says that it is."""

    model_config = ConfigDict(extra="forbid")

    values: dict[str, Any]


class ChangeOut(BaseModel):
    """When a key got its value, from whom, and in which version of the document."""

    at: str
    by: str
    version: int


class WishOut(ChangeOut):
    """``failed``: the device was in contact for long enough and did not agree."""

    state: Literal["pending", "agreed", "failed"]
    since: str


class DesiredOut(BaseModel):
    """``delta`` is what the device has still to become, ``effective`` what is shown of it meanwhile."""

    version: int
    values: dict[str, Any]
    delta: dict[str, Any]
    effective: dict[str, Any]
    changed: dict[str, WishOut]


class ReportedOut(BaseModel):
    version: int
    values: dict[str, Any]
    changed: dict[str, ChangeOut]


class RefusedKey(BaseModel):
    """A key of a report that was left out."""

    reason: str
    detail: str


class Taken(ReportedOut):
    """The document as it is now, and what of the report did not fit."""

    refused: list[RefusedKey]


def render_desired(twin: Twin) -> dict[str, Any]:
    return {
        "version": twin.desired_version,
        "values": desired_values(twin),
        "delta": delta(twin),
        "effective": effective(twin),
        "changed": {
            key: _change(wish) | {"state": wish.state, "since": iso(wish.since)} for key, wish in twin.desired.items()
        },
    }


def render_reported(twin: Twin) -> dict[str, Any]:
    return {
        "version": twin.reported_version,
        "values": reported_values(twin),
        "changed": {key: _change(one) for key, one in twin.reported.items()},
    }


def _change(one: Report | Wish) -> dict[str, Any]:
    return {"at": iso(one.at), "by": one.by, "version": one.version}


@router.get(
    "/devices/{device_id}/desired",
    response_model=DesiredOut,
    responses={304: {"description": "Nothing newer than `since`"}},
)
async def desired(
    request: Request,
    response: Response,
    wired: Wired,
    device: MayViewOrIsDevice,
    since: Annotated[
        int | None, Query(ge=0, le=_VERSION_MOST, description="The newest version that the asker knows.")
    ] = None,
    wait: Annotated[
        float, Query(ge=0, le=WAIT_MOST_S, description="Seconds to wait for a version beyond `since`.")
    ] = 0,
) -> Any:
    """What a device is to be. A device without MQTT asks with its key and becomes what `delta` says."""
    itself = wired.auth.is_device(request, device)
    if itself:
        wired.twins.polled(device.id)
    if since is not None and not await wired.twins.changed(device.id, since, wait):
        return Response(status_code=304, headers={"ETag": f'"{since}"'})
    twin = wired.twins.get(device.id)
    response.headers["ETag"] = f'"{twin.desired_version}"'
    answer = render_desired(twin)
    if itself:
        wired.twins.polled(device.id, delivered=True)
    return answer


@router.put("/devices/{device_id}/desired", response_model=DesiredOut, responses=_STALE)
async def replace_desired(
    request: Request, response: Response, wired: Wired, held: MayControl, body: DesiredIn, if_match: IfMatch = None
) -> dict[str, Any]:
    """Desire exactly this: what is not in `values` is not desired any more."""
    return await _desire(request, response, wired, held, body, if_match, whole=True)


@router.patch("/devices/{device_id}/desired", response_model=DesiredOut, responses=_STALE)
async def change_desired(
    request: Request, response: Response, wired: Wired, held: MayControl, body: DesiredIn, if_match: IfMatch = None
) -> dict[str, Any]:
    """Desire this beside what is desired already (RFC 7396: null takes a key away)."""
    return await _desire(request, response, wired, held, body, if_match, whole=False)


async def _desire(
    request: Request,
    response: Response,
    wired: Services,
    held: Held,
    body: DesiredIn,
    if_match: str | None,
    whole: bool,
) -> dict[str, Any]:
    expected = _version_of(if_match)
    detail = {"keys": sorted(body.values)[:32], "whole": whole}
    audited = wired.audited(request, held.identity, "desired.change", held.device.id, detail)
    try:
        version = body.version if expected is None else expected
        twin = await wired.twins.desire(held.device.id, body.values, held.identity.name, whole, version, [audited])
    except Conflict as stale:
        if expected is not None:
            raise PreconditionFailed(str(stale)) from None
        raise
    response.headers["ETag"] = f'"{twin.desired_version}"'
    return render_desired(twin)


def _version_of(if_match: str | None) -> int | None:
    """The version that ``If-Match`` names; ``*`` is any."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        message = 'must be a version, such as "3", or *'
        raise Invalid("if_match_invalid", f"If-Match {message}", [FieldError("If-Match", message, "if_match_invalid")])
    return int(match[1])


@router.get("/devices/{device_id}/reported", response_model=ReportedOut)
async def reported(response: Response, wired: Wired, device: MayViewOrIsDevice) -> dict[str, Any]:
    """What a device says that it is."""
    twin = wired.twins.get(device.id)
    response.headers["ETag"] = f'"{twin.reported_version}"'
    return render_reported(twin)


@router.put("/devices/{device_id}/reported", response_model=Taken)
async def replace_reported(request: Request, wired: Wired, device: IsDevice, body: ReportedIn) -> dict[str, Any]:
    """The device says all of what it is."""
    return await _report(request, wired, device.id, body.values, whole=True)


@router.patch("/devices/{device_id}/reported", response_model=Taken)
async def change_reported(request: Request, wired: Wired, device: IsDevice, body: ReportedIn) -> dict[str, Any]:
    """The device says some of what it is (RFC 7396: null takes a key away)."""
    return await _report(request, wired, device.id, body.values, whole=False)


async def _report(
    request: Request, wired: Services, device: str, values: dict[str, Any], whole: bool
) -> dict[str, Any]:
    refused = await wired.twins.reported_over_http(device, values, whole, address_of(request))
    if refused and len(refused) >= len(values):
        raise refused[0]
    told = [{"reason": one.reason, "detail": one.message} for one in refused]
    return render_reported(wired.twins.get(device)) | {"refused": told}
