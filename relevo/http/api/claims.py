"""``/api/v1/claims`` and ``/api/v1/claim-codes``: taking a device by its identity or by the code on its label."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.accounts import Identity, Role
from relevo.domain.claims import ClaimCode
from relevo.domain.devices import NAME_LIMIT, Device
from relevo.domain.events import DeviceChanged, DeviceRegistered, Noticed
from relevo.domain.grants import Right
from relevo.domain.joining import new_code, read_code
from relevo.domain.labels import SCANNED_LIMIT, Label, scanned
from relevo.domain.records import Dropped, Kept
from relevo.domain.times import is_over
from relevo.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, TooMany
from relevo.http.api.devices import DeviceOut, check_storable, find, render
from relevo.http.api.paging import decode_cursor, encode_cursor
from relevo.http.api.taking import may_take, normalised, refuse_blocked, register, spent
from relevo.http.api.times import iso
from relevo.http.needs import Operator
from relevo.http.services import Services, Wired, address_of

router = APIRouter(prefix="/api/v1", tags=["joining"])
Days = Annotated[
    int | None, Field(default=None, ge=1, le=3_650, description="Days the code is good; for ever if absent.")
]
DAY_MS = 86_400_000


class Claim(BaseModel):
    """Takes a device: by ``contract`` and ``external_id``, by the ``code`` of its label, or by what was scanned.

    ``url`` and ``qr`` are the content of a label's QR code, both forms in either field. The rest is what the device
    is called from then on; what is absent stays, or is made up for a new one.
    """

    model_config = ConfigDict(extra="forbid")

    contract: str = Field(default="", max_length=32)
    external_id: str = Field(default="", max_length=128)
    code: str = Field(default="", max_length=64)
    url: str = Field(default="", max_length=SCANNED_LIMIT)
    qr: str = Field(default="", max_length=SCANNED_LIMIT)
    id: str = Field(default="", max_length=64)
    name: str = Field(default="", max_length=NAME_LIMIT)
    type: str = Field(default="", max_length=64)
    site: str = Field(default="", max_length=64)
    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default=[], max_length=32)


def _label(body: Claim) -> Label:
    ways = [way for way in ("url", "qr") if getattr(body, way)]
    if len(ways) > 1 or (ways and (body.contract or body.external_id or body.code)):
        message = f"{ways[0]} says it all: leave out contract, external_id, code and the other one of url and qr"
        raise Invalid("claim_ambiguous", message, [FieldError(ways[0], message, "claim_ambiguous")])
    if ways:
        return scanned(getattr(body, ways[0]), ways[0])
    missing = [name for name in ("contract", "external_id") if not getattr(body, name)]
    if missing and (not body.code or len(missing) == 1):
        message = "is missing: give contract and external_id, or code, url or qr"
        raise Invalid(
            "claim_empty", f"{missing[0]} {message}", [FieldError(one, f"{one} {message}") for one in missing]
        )
    return Label(body.contract, body.external_id, body.code)


def by_code(request: Request, wired: Services, identity: Identity, label: Label) -> ClaimCode:
    """The code that was shown. Raises :class:`Invalid`, and :class:`TooMany` for somebody who guesses."""
    address = address_of(request)
    wait = max(wired.guesses_of_person.wait_s(identity.name), wired.guesses_of_address.wait_s(address))
    if wait:
        raise TooMany("too many wrong codes", int(wait) + 1)
    code = wired.claims.code(wired.keyring.hash(read_code(label.code).encode()))
    if code is not None and label.serial:
        contract = label.contract or code.contract
        fits = contract == code.contract and normalised(wired, contract, label.serial) == code.external_id
        code = code if fits else None
    if code is None:
        wired.guesses_of_person.failed(identity.name)
        wired.guesses_of_address.failed(address)
        wired.refusals.refuse("", "http", "code_wrong", f"{identity.name} showed a code that fits nothing", address)
        message = "code fits no device here, or was used already"
        raise Invalid("code_wrong", message, [FieldError("code", message, "code_wrong")])
    if is_over(code.expires_at, wired.clock.now_ms()):
        message = f"code ended at {iso(code.expires_at)}: ask for a new one"
        raise Invalid("code_expired", message, [FieldError("code", message, "code_expired")])
    wired.guesses_of_person.forgive(identity.name)
    return code


@router.post("/claims", status_code=201, response_model=DeviceOut, responses={200: {"model": DeviceOut}})
async def claim(request: Request, response: Response, wired: Wired, identity: Operator, body: Claim) -> dict[str, Any]:
    """Make a device one's own: 201 when it is new in the registry, 200 when it was nobody's until now."""
    label = _label(body)
    check_storable([body.name, body.type, body.site, *body.tags], "name, type, site or tags")
    check_storable([label.serial, label.name, label.type], "external_id")
    if label.code:
        code = by_code(request, wired, identity, label)
        contract, external_id = code.contract, code.external_id
    else:
        contract, external_id = label.contract, normalised(wired, label.contract, label.serial)
    refuse_blocked(wired, contract, external_id)
    with wired.claims.taking(contract, external_id):
        device = wired.registry.find(contract, external_id)
        if device is not None and device.owner:
            whose = "you" if device.owner == identity.name else "somebody"
            raise Conflict(f"{contract} device {external_id!r} belongs to {whose} already")
        if not label.code and not may_take(wired, identity, contract, external_id):
            raise Forbidden(f"{contract} device {external_id!r} is claimed with the code on its label")
        how = {"contract": contract, "with": "code" if label.code else "identity"}
        audited = wired.audited(request, identity, "device.claim", "", how)
        gone = spent(wired, contract, external_id)
        if device is None:
            event = DeviceRegistered(
                "",
                contract,
                external_id,
                body.name or label.name or external_id,
                body.type or label.type or "device",
                wired.clock.now_ms(),
                by=identity.name,
                tags=body.tags,
                owner=identity.name,
                site=body.site,
            )
            return render(wired, await register(wired, event, body.id, audited, gone), Right.OWN)
        if body.id and body.id != device.id:
            raise Conflict(f"this device is registered under the id {device.id!r}")
        changes = {name: getattr(body, name) for name in ("name", "type", "site", "tags") if getattr(body, name)}
        now = wired.clock.now_ms()
        audited.target = device.id
        change = DeviceChanged(device.id, now, changes | {"owner": identity.name}, identity.name)
        told = Noticed(device.id, now, "claimed", f"by {identity.name} with its {how['with']}")
        await wired.pipeline.accept([change, told, audited, *gone])
    response.status_code = 200
    return render(wired, find(wired, device.id), Right.OWN)


class CodeOut(BaseModel):
    """A code that is out. ``device`` is the registered device with this identity."""

    id: str
    contract: str
    external_id: str
    device: str | None
    by: str
    created_at: str
    expires_at: str | None


class CodeMade(CodeOut):
    """The answer that makes a code: the only one that ever holds it."""

    code: str


class CodePage(BaseModel):
    items: list[CodeOut]
    next: str | None


class NewCode(BaseModel):
    """For which identity; it need not be registered yet."""

    model_config = ConfigDict(extra="forbid")

    contract: str = Field(min_length=1, max_length=32)
    external_id: str = Field(min_length=1, max_length=128)
    expires_in_days: Days


def fresh_code(wired: Services, contract: str, external_id: str, by: str, days: int | None) -> tuple[ClaimCode, str]:
    """A code's record, and the code as it is printed."""
    text = new_code(secrets.choice)
    now = wired.clock.now_ms()
    kept = wired.keyring.hash(read_code(text).encode())
    return ClaimCode(kept, contract, external_id, now, now + days * DAY_MS if days else 0, by), text


def check_may_make(wired: Services, identity: Identity, contract: str, external_id: str) -> None:
    """Raises :class:`Forbidden` for a code that would take somebody else's device."""
    if not may_take(wired, identity, contract, external_id):
        raise Forbidden(f"{contract} device {external_id!r} is not yours to make codes for")


def _render(wired: Services, code: ClaimCode) -> dict[str, Any]:
    device: Device | None = wired.registry.find(code.contract, code.external_id)
    return {
        "id": code.id,
        "contract": code.contract,
        "external_id": code.external_id,
        "device": device.id if device else None,
        "by": code.by,
        "created_at": iso(code.created_at),
        "expires_at": iso(code.expires_at),
    }


@router.post("/claim-codes", status_code=201, response_model=CodeMade)
async def make_code(
    request: Request, response: Response, wired: Wired, identity: Operator, body: NewCode
) -> dict[str, Any]:
    """Make a single-use code for a device that is not registered yet, is nobody's, or is one's own."""
    external_id = normalised(wired, body.contract, body.external_id)
    check_storable(external_id, "external_id")
    check_may_make(wired, identity, body.contract, external_id)
    over = wired.claims.room(wired.clock.now_ms())
    record, text = fresh_code(wired, body.contract, external_id, identity.name, body.expires_in_days)
    detail = {"contract": body.contract, "external_id": external_id}
    await wired.pipeline.accept(
        [
            *(Dropped(ClaimCode, one.id) for one in over),
            Kept(record),
            wired.audited(request, identity, "code.create", external_id, detail),
        ]
    )
    response.headers["Cache-Control"] = "no-store"
    return _render(wired, record) | {"code": text}


@router.get("/claim-codes", response_model=CodePage)
async def list_codes(
    wired: Wired,
    identity: Operator,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: str | None = None,
    contract: str = "",
    search: Annotated[str, Query(max_length=128, description="A part of the external id.")] = "",
) -> dict[str, Any]:
    """Codes that are out, oldest first: one's own, all of them for administrators."""
    position = decode_cursor(cursor, 2)
    after = (int(position[0]) if position[0].isdecimal() else 0, position[1]) if position else (-1, "")
    found: list[ClaimCode] = []
    for one in wired.claims.codes():
        if (one.created_at, one.id) <= after or (identity.role < Role.ADMINISTRATOR and one.by != identity.name):
            continue
        if (contract and one.contract != contract) or search.casefold() not in one.external_id.casefold():
            continue
        if len(found) == limit:
            following = encode_cursor(found[-1].created_at, found[-1].id)
            return {"items": [_render(wired, code) for code in found], "next": following}
        found.append(one)
    return {"items": [_render(wired, code) for code in found], "next": None}


@router.delete("/claim-codes/{code_id}", status_code=204)
async def delete_code(request: Request, wired: Wired, identity: Operator, code_id: str) -> None:
    """Make a code useless; what is printed with it claims nothing any more."""
    code = wired.claims.code(code_id)
    if code is None or (identity.role < Role.ADMINISTRATOR and code.by != identity.name):
        raise NotFound(f"no code {code_id!r}")
    detail = {"contract": code.contract, "external_id": code.external_id}
    await wired.pipeline.accept(
        [Dropped(ClaimCode, code_id), wired.audited(request, identity, "code.delete", code.external_id, detail)]
    )
