"""``/api/v1/grants`` and ``…/devices/{id}/grants``: sharing devices, sites and tags with other people."""

import secrets
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.grants import Grant
from relevo.domain.records import Dropped, Kept
from relevo.errors import FieldError, Invalid, NotFound
from relevo.http.api.times import iso
from relevo.http.needs import Administrator, Owns
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1", tags=["sharing"])


class GrantOut(BaseModel):
    """``account`` may view or control what ``scope`` and ``value`` name."""

    id: str
    account: str
    scope: str
    value: str
    level: str
    by: str
    at: str | None


class GrantPage(BaseModel):
    items: list[GrantOut]
    next: str | None


class Share(BaseModel):
    """With whom, and how far."""

    model_config = ConfigDict(extra="forbid")

    account: str = Field(min_length=1, max_length=64)
    level: Literal["view", "control"] = "view"


class NewGrant(Share):
    """A share of everything at a site or with a tag."""

    scope: Literal["device", "site", "tag"]
    value: str = Field(min_length=1, max_length=64)


def _render(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.id,
        "account": grant.account,
        "scope": grant.scope,
        "value": grant.value,
        "level": grant.level,
        "by": grant.by,
        "at": iso(grant.at),
    }


def _make(wired: Services, account: str, scope: str, value: str, level: str, by: str) -> Grant:
    """The grant; a second one for the same person and thing takes the place of the first."""
    if account not in wired.auth.people.accounts:
        message = f"account: no user {account!r}"
        raise Invalid("account_unknown", message, [FieldError("account", message, "account_unknown")])
    for known in wired.auth.people.grants_of(account):
        if (known.scope, known.value) == (scope, value):
            return Grant(known.id, account, scope, value, level, by, wired.clock.now_ms())
    return Grant(secrets.token_hex(8), account, scope, value, level, by, wired.clock.now_ms())


@router.get("/devices/{device_id}/grants", response_model=GrantPage)
async def device_grants(wired: Wired, held: Owns) -> dict[str, Any]:
    """Who else may view or control this device, by whatever grant."""
    found = [one for one in wired.auth.people.grants.values() if one.covers(held.device)]
    return {"items": [_render(one) for one in sorted(found, key=lambda one: (one.account, one.id))], "next": None}


@router.post("/devices/{device_id}/grants", status_code=201, response_model=GrantOut)
async def share_device(request: Request, wired: Wired, held: Owns, body: Share) -> dict[str, Any]:
    """Share the device with a person; sharing again changes how far."""
    grant = _make(wired, body.account, "device", held.device.id, body.level, held.identity.name)
    detail = {"account": body.account, "level": body.level}
    await wired.pipeline.accept(
        [Kept(grant), wired.audited(request, held.identity, "grant.create", held.device.id, detail)]
    )
    return _render(grant)


@router.delete("/devices/{device_id}/grants/{grant_id}", status_code=204)
async def unshare_device(request: Request, wired: Wired, held: Owns, grant_id: str) -> None:
    """Take a share of this device back; streams that are open end with it."""
    grant = wired.auth.people.grants.get(grant_id)
    if grant is None or (grant.scope, grant.value) != ("device", held.device.id):
        raise NotFound(f"no grant {grant_id!r} of this device alone")
    detail = {"account": grant.account}
    await wired.pipeline.accept(
        [Dropped(Grant, grant_id), wired.audited(request, held.identity, "grant.delete", held.device.id, detail)]
    )


@router.get("/grants", response_model=GrantPage)
async def list_grants(wired: Wired, identity: Administrator) -> dict[str, Any]:
    """Every grant there is."""
    found = sorted(wired.auth.people.grants.values(), key=lambda one: (one.account, one.scope, one.value))
    return {"items": [_render(one) for one in found], "next": None}


@router.post("/grants", status_code=201, response_model=GrantOut)
async def create_grant(request: Request, wired: Wired, identity: Administrator, body: NewGrant) -> dict[str, Any]:
    """Share a site, a tag or a device with a person."""
    if body.scope == "device" and wired.registry.get(body.value) is None:
        raise NotFound(f"no device {body.value!r}")
    grant = _make(wired, body.account, body.scope, body.value, body.level, identity.name)
    detail = {"account": body.account, "scope": body.scope, "level": body.level}
    await wired.pipeline.accept([Kept(grant), wired.audited(request, identity, "grant.create", body.value, detail)])
    return _render(grant)


@router.delete("/grants/{grant_id}", status_code=204)
async def delete_grant(request: Request, wired: Wired, identity: Administrator, grant_id: str) -> None:
    grant = wired.auth.people.grants.get(grant_id)
    if grant is None:
        raise NotFound(f"no grant {grant_id!r}")
    detail = {"account": grant.account, "scope": grant.scope}
    await wired.pipeline.accept(
        [Dropped(Grant, grant_id), wired.audited(request, identity, "grant.delete", grant.value, detail)]
    )
