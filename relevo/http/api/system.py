"""How the server itself is doing, and the keys under which it signs tokens."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from relevo import __version__
from relevo.http.api.devices import TimelinePage, timeline_page
from relevo.http.api.joining import pairing_state
from relevo.http.api.times import iso
from relevo.http.needs import Administrator, Viewer
from relevo.http.services import Services, Wired
from relevo.settings import SWITCHES

router = APIRouter(prefix="/api/v1", tags=["system"])


@router.get("/system/timeline", response_model=TimelinePage)
async def door_timeline(
    wired: Wired,
    identity: Administrator,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """What the doors refused that belongs to no device."""
    return await timeline_page(wired, "", limit, cursor)


@router.get("/system")
async def system(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """Version, health and counters."""
    settings = wired.settings
    now = wired.clock.now_ms()
    return {
        "version": __version__,
        "started_at": iso(wired.started_at),
        "uptime_s": (now - wired.started_at) // 1000,
        "profile": settings.profile,
        "switches": switches(wired),
        "pairing": pairing_state(wired),
        "devices": len(wired.registry),
    } | wired.figures()


def switches(wired: Services) -> dict[str, bool]:
    """Which of the open switches are on at this moment, by whatever made them so."""
    settings = wired.settings
    return {name: bool(getattr(settings, name)) for name in SWITCHES} | {
        "open_reads": settings.reads_open,
        "token_in_query": _tokens_in_query(wired),
    }


def _tokens_in_query(wired: Services) -> bool:
    """By the switch; without a word about it, while there is anything that knows no other way."""
    if wired.settings.token_in_query is not None:
        return wired.settings.token_in_query
    return any(device.contract == "thingsnxt" for device in wired.registry.all())


class FormerKey(BaseModel):
    """A signing key that signs no more; at ``good_until`` the last token of its has ended and it is dropped."""

    id: str
    retired_at: str | None
    good_until: str | None


class SigningKeysOut(BaseModel):
    """The key that signs access tokens, by name, and the former ones that tokens in use may need."""

    id: str
    former: list[FormerKey]


def _signing_keys(wired: Services) -> dict[str, Any]:
    keys = wired.auth.tokens.signing_keys.needed(wired.clock.now_ms())
    return {
        "id": keys.newest.id,
        "former": [
            {"id": key.id, "retired_at": iso(key.retired_at), "good_until": iso(key.good_until)} for key in keys.former
        ],
    }


@router.get("/system/signing-keys", response_model=SigningKeysOut)
async def get_signing_keys(wired: Wired, identity: Administrator) -> dict[str, Any]:
    """Which keys are in force; never the keys themselves."""
    return _signing_keys(wired)


@router.post("/system/signing-keys", status_code=201, response_model=SigningKeysOut)
async def rotate_signing_keys(request: Request, wired: Wired, identity: Administrator) -> dict[str, Any]:
    """Sign access tokens with a new key from now on. Nobody is signed out: what the former key signed stays good."""
    key, change = wired.auth.tokens.rotate()
    audited = wired.audited(request, identity, "signing_keys.rotate", key.id)
    await wired.pipeline.accept([change, audited])
    return _signing_keys(wired)
