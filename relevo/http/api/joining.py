"""``/api/v1/pairing`` and ``/api/v1/unclaimed``: letting devices in, and what becomes of those that knocked."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from relevo.dialect import Describes, Description
from relevo.domain.claims import Screening, identity_key
from relevo.domain.devices import NAME_LIMIT
from relevo.domain.events import DeviceRegistered, Noticed
from relevo.domain.grants import Right
from relevo.domain.reasons import advice_for_stranger
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.errors import Conflict, NotFound
from relevo.http.api.devices import DeviceOut, check_storable, render
from relevo.http.api.paging import decode_cursor, encode_cursor
from relevo.http.api.taking import may_take, normalised, refuse_blocked, register, spent
from relevo.http.api.times import iso
from relevo.http.needs import Operator
from relevo.http.services import Services, Wired
from relevo.pairing import MINUTES_DEFAULT, MINUTES_MOST
from relevo.store import unclaimed

router = APIRouter(prefix="/api/v1", tags=["joining"])
Tag = Annotated[str, Field(min_length=1, max_length=64)]


class PairingOut(BaseModel):
    """Whether devices may register without a token; ``permanent`` is the setting ``open_registration``.

    The other fields are of the window that an operator opened, null while there is none.
    """

    open: bool
    permanent: bool
    by: str | None
    opened_at: str | None
    closes_at: str | None
    seconds_left: int


class OpenPairing(BaseModel):
    """For how long; a window that is open already lasts until then instead."""

    model_config = ConfigDict(extra="forbid")

    minutes: int = Field(default=MINUTES_DEFAULT, ge=1, le=MINUTES_MOST, strict=True)


def pairing_state(wired: Services) -> dict[str, Any]:
    """The object of the pairing window, as ``/pairing`` and ``/system`` show it."""
    window = wired.pairing.window
    left = window.until - wired.clock.monotonic() if window is not None else 0.0
    return {
        "open": wired.pairing.is_open,
        "permanent": wired.pairing.permanent,
        "by": window.by if window else None,
        "opened_at": iso(window.opened_at) if window else None,
        "closes_at": iso(window.closes_at) if window else None,
        "seconds_left": round(left),
    }


@router.get("/pairing", response_model=PairingOut)
async def get_pairing(wired: Wired, identity: Operator) -> dict[str, Any]:
    """Whether the pairing window is open, and until when."""
    return pairing_state(wired)


@router.post("/pairing", response_model=PairingOut)
async def open_pairing(
    request: Request, wired: Wired, identity: Operator, body: OpenPairing | None = None
) -> dict[str, Any]:
    """Open the pairing window; it closes by itself."""
    minutes = body.minutes if body is not None else MINUTES_DEFAULT
    audited = wired.audited(request, identity, "pairing.open", "pairing", {"minutes": minutes})
    await wired.pairing.open(minutes, identity.name, audited)
    return pairing_state(wired)


@router.delete("/pairing", status_code=204)
async def close_pairing(request: Request, wired: Wired, identity: Operator) -> None:
    """Close the pairing window now; harmless when it is closed."""
    await wired.pairing.close(identity.name, wired.audited(request, identity, "pairing.close", "pairing"))


class Stranger(BaseModel):
    """Something that speaks a contract and is not in the registry.

    ``reason`` is a stable code of why it was not let in, ``advice`` says what to do. ``standing`` is ``new``,
    ``ignored`` or ``blocked``; ``standing_by`` decided that. The times and the payload are of what it said, the last
    time; those that were screened and then crowded out of the list have none.
    """

    contract: str
    external_id: str
    first_seen: str | None
    last_seen: str | None
    count: int
    reason: str
    advice: str
    standing: str
    standing_by: str | None
    standing_at: str | None
    address: str
    payload: dict[str, Any]


class StrangerPage(BaseModel):
    items: list[Stranger]
    next: str | None


@router.get("/unclaimed", response_model=StrangerPage)
async def list_unclaimed(
    wired: Wired,
    identity: Operator,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: str | None = None,
    search: Annotated[str, Query(max_length=128, description="A part of the external id.")] = "",
    contract: str = "",
    reason: str = "",
    standing: Literal["new", "ignored", "blocked", "all"] = "new",
) -> dict[str, Any]:
    """Who knocked without being registered, newest first; those put aside only when asked for."""
    position = decode_cursor(cursor, 3)
    before = None
    if position is not None:
        before = (int(position[0]) if position[0].isdecimal() else 0, position[1], position[2][1:])
    rows = await wired.readers.run_core(unclaimed.load, limit, before, standing, contract, reason, search)
    items = [
        row
        | {
            "first_seen": iso(row["first_seen"]),
            "last_seen": iso(row["last_seen"]),
            "standing": row["standing"] or "new",
            "standing_by": row["standing_by"] or None,
            "standing_at": iso(row["standing_at"]),
            "advice": _advice(row),
        }
        for row in rows
    ]
    last = rows[-1] if len(rows) == limit else None
    following = encode_cursor(last["last_seen"], last["contract"], f"={last['external_id']}") if last else None
    return {"items": items, "next": following}


def _advice(row: dict[str, Any]) -> str:
    found = advice_for_stranger(row["reason"], row["standing"])
    return found.do if found is not None else "Approve it, or look into the door's timeline."


class Named(BaseModel):
    """One entry of the list; an empty ``external_id`` is whoever names none."""

    model_config = ConfigDict(extra="forbid")

    contract: str = Field(min_length=1, max_length=32)
    external_id: str = Field(max_length=128)


class Approval(Named):
    """What the device becomes; what is absent is taken from what it said about itself."""

    id: str = Field(default="", max_length=64)
    name: str = Field(default="", max_length=NAME_LIMIT)
    type: str = Field(default="", max_length=64)
    site: str = Field(default="", max_length=64)
    tags: list[Tag] = Field(default=[], max_length=32)


@router.post("/unclaimed/approve", status_code=201, response_model=DeviceOut)
async def approve(request: Request, wired: Wired, identity: Operator, body: Approval) -> dict[str, Any]:
    """Take an entry of the list into the registry, as one's own."""
    external_id = normalised(wired, body.contract, body.external_id)
    check_storable([body.name, body.type, body.site, *body.tags, external_id], "name, type, site, tags or external_id")
    refuse_blocked(wired, body.contract, external_id)
    if wired.registry.find(body.contract, external_id) is not None:
        raise Conflict(f"{body.contract} device {external_id!r} is registered already")
    if not may_take(wired, identity, body.contract, external_id):
        raise Conflict(f"{body.contract} {external_id!r} has a code: claim it with the code on its label")
    with wired.claims.taking(body.contract, external_id):
        row = await wired.readers.run_core(unclaimed.find, body.contract, external_id)
        if row is None:
            raise NotFound(
                f"nothing was heard of {body.contract} {external_id!r}; POST /api/v1/claims takes it unheard"
            )
        dialect = wired.dialects[body.contract]
        said = dialect.describe(row["payload"]) if isinstance(dialect, Describes) else Description()
        now = wired.clock.now_ms()
        event = DeviceRegistered(
            "",
            body.contract,
            external_id,
            body.name or said.name or external_id,
            body.type or said.type or "device",
            now,
            by=identity.name,
            tags=body.tags,
            attributes=dict(said.attributes),
            owner=identity.name,
            site=body.site,
        )
        audited = wired.audited(request, identity, "unclaimed.approve", "", {"contract": body.contract})
        device = await register(wired, event, body.id, audited, spent(wired, body.contract, external_id))
    return render(wired, device, Right.OWN)


_ACTIONS = {"ignored": "ignore", "blocked": "block", "": "restore"}


async def _screen(request: Request, wired: Services, identity: Operator, body: Named, standing: str) -> None:
    external_id = normalised(wired, body.contract, body.external_id, empty=True)
    check_storable(external_id, "external_id")
    if wired.registry.find(body.contract, external_id) is not None:
        raise Conflict(f"{body.contract} device {external_id!r} is registered: delete it first")
    key = identity_key(body.contract, external_id)
    most = wired.settings.limits.unclaimed
    known = wired.claims.screenings
    change: RecordChange = Dropped(Screening, key)
    if standing:
        if key not in known and len(known) >= most:
            raise Conflict(f"{len(known)} are ignored or blocked, the limit is limits.unclaimed, {most}: restore some")
        change = Kept(Screening(key, body.contract, external_id, standing, identity.name, wired.clock.now_ms()))
    action = f"unclaimed.{_ACTIONS[standing]}"
    detail = {"contract": body.contract, "external_id": external_id}
    told = Noticed("", wired.clock.now_ms(), f"stranger_{standing or 'restored'}", f"{body.contract} {external_id!r}")
    await wired.pipeline.accept([change, told, wired.audited(request, identity, action, external_id, detail)])


@router.post("/unclaimed/ignore", status_code=204)
async def ignore(request: Request, wired: Wired, identity: Operator, body: Named) -> None:
    """Put an entry aside: it is heard and counted, and listed only when asked for."""
    await _screen(request, wired, identity, body, "ignored")


@router.post("/unclaimed/block", status_code=204)
async def block(request: Request, wired: Wired, identity: Operator, body: Named) -> None:
    """Refuse an identity at the door, also while pairing is open; its messages are counted and told."""
    await _screen(request, wired, identity, body, "blocked")


@router.post("/unclaimed/restore", status_code=204)
async def restore(request: Request, wired: Wired, identity: Operator, body: Named) -> None:
    """Take back that an entry is ignored or blocked; harmless when it is neither."""
    await _screen(request, wired, identity, body, "")
