"""Signing in, claims, and how the server itself is doing."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo import __version__
from relevo.domain.accounts import Role
from relevo.domain.devices import NAME_LIMIT, check_id
from relevo.domain.events import DeviceRegistered
from relevo.errors import Conflict, FieldError, Invalid, NotFound, Unauthenticated
from relevo.http.api.devices import DeviceOut, TimelinePage, check_storable, render, timeline_page
from relevo.http.api.times import iso
from relevo.http.auth import COOKIE, TOKEN_S
from relevo.http.services import Services, services
from relevo.settings import SWITCHES
from relevo.store import unclaimed

router = APIRouter(prefix="/api/v1", tags=["system"])
Wired = Annotated[Services, Depends(services)]


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=128)
    password: str = Field(min_length=1, max_length=1024)


class Token(BaseModel):
    """An access token (RFC 6750); ``expires_in`` in seconds."""

    access_token: str
    token_type: str
    expires_in: int
    role: str


@router.post("/auth/login", response_model=Token)
async def login(request: Request, wired: Wired, body: Login, response: Response) -> dict[str, Any]:
    """Exchange name and password for a token; browsers also get it as a cookie."""
    if not await wired.auth.check_password(body.username, body.password):
        address = request.client.host if request.client else ""
        wired.refusals.refuse("", "http", "bad_login", f"sign-in as {body.username[:64]!r}", address)
        raise Unauthenticated("wrong user name or password")
    token = wired.auth.issue(body.username)
    set_cookie(response, token, request.url.scheme == "https")
    role = wired.auth.role_of(body.username)
    assert role is not None
    return {"access_token": token, "token_type": "bearer", "expires_in": TOKEN_S, "role": role.name.lower()}


def set_cookie(response: Response, token: str, secure: bool) -> None:
    response.set_cookie(COOKIE, token, max_age=TOKEN_S, httponly=True, samesite="lax", secure=secure, path="/")


@router.post("/auth/logout", status_code=204)
async def logout(response: Response) -> None:
    """Forget the browser's cookie; harmless without one."""
    response.delete_cookie(COOKIE, path="/")


class Me(BaseModel):
    name: str
    role: str


@router.get("/me", response_model=Me)
async def me(request: Request, wired: Wired) -> dict[str, Any]:
    identity = wired.auth.require(request, Role.VIEWER)
    assert identity.role is not None
    return {"name": identity.name, "role": identity.role.name.lower()}


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
    request: Request, wired: Wired, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> dict[str, Any]:
    """Who knocked without being registered, newest first."""
    wired.auth.require(request, Role.OPERATOR)
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
async def claim(request: Request, wired: Wired, body: Claim) -> dict[str, Any]:
    """Register a device of a foreign contract by its external identity; it need not have been seen before."""
    identity = wired.auth.require(request, Role.OPERATOR)
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
    name = body.name or external_id
    check_storable([name, body.type, external_id], "name, type or external_id")
    outcome = await wired.pipeline.accept(
        [
            DeviceRegistered(
                device_id, body.contract, external_id, name, body.type, wired.clock.now_ms(), by=identity.name
            )
        ]
    )
    if outcome.lost:
        raise Conflict(f"{body.contract} device {external_id!r} or a device {device_id!r} is registered already")
    device = wired.registry.get(device_id)
    if device is None:
        raise NotFound(f"no device {device_id!r}")
    return render(wired, device)


@router.get("/system/timeline", response_model=TimelinePage)
async def door_timeline(
    request: Request,
    wired: Wired,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """What the doors refused that belongs to no device."""
    wired.auth.require(request, Role.OPERATOR)
    return await timeline_page(wired, "", limit, cursor)


@router.get("/system")
async def system(request: Request, wired: Wired) -> dict[str, Any]:
    """Version, health and counters."""
    wired.auth.require(request, Role.VIEWER)
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
