"""``/api/v1/bulk-commands``: one command to many devices."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.dispatch import new_id
from relevo.domain.accounts import Identity, Role
from relevo.domain.bulk import DEVICES_MOST, Bulk, Selection, chosen
from relevo.domain.commands import NAME_LIMIT, TTL_LEAST_S, TTL_MOST_S
from relevo.domain.grants import Right
from relevo.domain.records import Kept
from relevo.errors import NotFound
from relevo.http.api.commands import CommandOut, State, render
from relevo.http.api.paging import decode_cursor, decode_numbers, encode_cursor
from relevo.http.api.times import iso
from relevo.http.needs import Operator
from relevo.http.services import Services, Wired
from relevo.store import commands as store

router = APIRouter(prefix="/api/v1/bulk-commands", tags=["commands"])

Id = Annotated[str, Path(max_length=64)]


class SelectionIn(BaseModel):
    """Devices that fit everything given."""

    model_config = ConfigDict(extra="forbid")

    devices: list[str] = Field(default=[], max_length=DEVICES_MOST)
    tags: list[str] = Field(default=[], max_length=32)
    type: str = Field(default="", max_length=64)
    site: str = Field(default="", max_length=64)


class BulkIn(BaseModel):
    """What many devices are to do."""

    model_config = ConfigDict(extra="forbid")

    selection: SelectionIn
    name: str = Field(min_length=1, max_length=NAME_LIMIT)
    params: dict[str, Any] = Field(default={}, max_length=64)
    ttl: float | None = Field(default=None, ge=TTL_LEAST_S, le=TTL_MOST_S)
    rate: float = Field(default=20.0, ge=0.1, le=1_000, description="Commands a second.")
    stop_share: float = Field(
        default=1.0, ge=0, le=1, description="Stop when more than this share did not succeed; 1 never stops."
    )


class BulkOut(BaseModel):
    """A bulk command. ``progress`` counts devices by the state of their command."""

    id: str
    state: Literal["running", "done", "stopped", "cancelled"]
    reason: str
    by: str
    name: str
    params: dict[str, Any]
    rate: float
    stop_share: float
    created: str
    ended: str | None
    devices: int
    progress: dict[str, int]


class BulkPage(BaseModel):
    """Newest first."""

    items: list[BulkOut]
    next: str | None


class Outcomes(BaseModel):
    """Commands that were asked for, newest first, and the devices for which none could be, with why."""

    items: list[CommandOut]
    next: str | None
    refused: dict[str, str]


async def _render(wired: Services, bulk: Bulk) -> dict[str, Any]:
    return {
        "id": bulk.id,
        "state": bulk.state,
        "reason": bulk.reason,
        "by": bulk.by,
        "name": bulk.name,
        "params": bulk.params,
        "rate": bulk.rate,
        "stop_share": bulk.stop_share,
        "created": iso(bulk.created_at),
        "ended": iso(bulk.ended_at),
        "devices": len(bulk.devices),
        "progress": await wired.bulks.progress(bulk),
    }


def _find(wired: Services, identity: Identity, bulk_id: str) -> Bulk:
    bulk = wired.bulks.all.get(bulk_id)
    if bulk is None or not (identity.role is Role.ADMINISTRATOR or bulk.by == identity.name):
        raise NotFound(f"no bulk command {bulk_id!r}")
    return bulk


@router.post("", response_model=BulkOut, status_code=202)
async def ask(request: Request, response: Response, wired: Wired, identity: Operator, body: BulkIn) -> dict[str, Any]:
    """Tell all devices of a selection that you may control to do something; the answer comes at once."""
    selection = Selection(
        tuple(body.selection.devices), tuple(body.selection.tags), body.selection.type, body.selection.site
    )
    mine = [one for one in wired.registry.all() if wired.auth.people.right(identity, one) >= Right.CONTROL]
    bulk = Bulk(
        new_id(),
        identity.name,
        body.name,
        body.params,
        body.ttl if body.ttl is not None else wired.settings.commands.ttl_s,
        body.rate,
        body.stop_share,
        chosen(selection, mine),
        wired.clock.now_ms(),
    )
    detail = {"name": bulk.name, "devices": len(bulk.devices)}
    await wired.pipeline.accept([Kept(bulk), wired.audited(request, identity, "command.bulk", bulk.id, detail)])
    wired.bulks.run(bulk)
    response.headers["Location"] = f"/api/v1/bulk-commands/{bulk.id}"
    return await _render(wired, bulk)


@router.get("", response_model=BulkPage)
async def page(
    wired: Wired,
    identity: Operator,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Your bulk commands, administrators see all; kept for 30 days."""
    before = decode_cursor(cursor, 2)
    mine = [one for one in wired.bulks.all.values() if identity.role is Role.ADMINISTRATOR or one.by == identity.name]
    mine.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    if before is not None:
        after = decode_numbers(encode_cursor(before[0]), 1)
        mine = [one for one in mine if after and (one.created_at, one.id) < (after[0], before[1])]
    shown = mine[:limit]
    following = encode_cursor(shown[-1].created_at, shown[-1].id) if len(mine) > limit else None
    return {"items": [await _render(wired, one) for one in shown], "next": following}


@router.get("/{bulk_id}", response_model=BulkOut)
async def one(wired: Wired, identity: Operator, bulk_id: Id) -> dict[str, Any]:
    """How far it is."""
    return await _render(wired, _find(wired, identity, bulk_id))


@router.get("/{bulk_id}/commands", response_model=Outcomes)
async def outcomes(
    wired: Wired,
    identity: Operator,
    bulk_id: Id,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """What became of it, device by device."""
    bulk = _find(wired, identity, bulk_id)
    before = decode_numbers(cursor, 1)
    found = await wired.readers.run_core(
        store.page, limit + 1, before[0] if before else None, "", bulk.origin, state or ""
    )
    following = encode_cursor(found[limit - 1][0]) if len(found) > limit else None
    return {"items": [render(command) for _, command in found[:limit]], "next": following, "refused": bulk.refused}


@router.delete("/{bulk_id}", response_model=BulkOut)
async def cancel(request: Request, wired: Wired, identity: Operator, bulk_id: Id) -> dict[str, Any]:
    """Ask no more devices, and take back what has not left; what is sent stays sent."""
    bulk = _find(wired, identity, bulk_id)
    wired.audit(request, identity, "command.bulk_cancel", bulk.id)
    return await _render(wired, await wired.bulks.cancel(bulk, identity.name))
