"""``/api/v1/update``: how a board gets another firmware (``docs/updates.md``); and what people see of it."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from relevo.domain.manifests import derived
from relevo.domain.releases import RELEASE_LIMIT, board_of, check_board
from relevo.domain.rollouts import RUNNING, WORDS, Progress, check_report
from relevo.errors import Invalid
from relevo.http.api.firmware import file_of
from relevo.http.api.times import iso
from relevo.http.description import json_body
from relevo.http.needs import ByItsKey, ByKey, MayView
from relevo.http.services import Services, Wired, address_of
from relevo.store import updates as store
from relevo.wire.strict_json import loads_object

router = APIRouter(prefix="/api/v1", tags=["firmware"])

_SHOWN: Final = 20
_MANIFEST: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The signed manifest", "content": {"application/octet-stream": {}}},
    204: {"description": "Nothing to do"},
}
_IMAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The image", "content": {"application/x-tar": {}}},
    206: {"description": "The part of it that `Range` asks for"},
}
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_REPORT: Final = json_body(
    {
        "release": _TEXT,
        "state": {"type": "string", "enum": list(WORDS)},
        "percent": {"type": "integer", "minimum": 0, "maximum": 100},
        "reason": _TEXT,
        "version": _TEXT,
    },
    ["release", "state"],
)


class Attempt(BaseModel):
    """A device in a roll-out. ``attempts`` is how often it was given the manifest."""

    rollout: str
    release: str
    wave: int
    state: str
    reason: str
    percent: int
    attempts: int
    changed: str
    ended: str | None


class DeviceUpdate(BaseModel):
    """What a device runs as it said itself, what is on its way to it, and its newest roll-outs, newest first."""

    version: str | None
    board: str | None
    boot: int | None
    mpy: int | None
    offer: Attempt | None
    attempts: list[Attempt]


def attempt(one: Progress) -> dict[str, Any]:
    return {
        "rollout": one.rollout,
        "release": one.release,
        "wave": one.wave,
        "state": one.state,
        "reason": one.reason,
        "percent": one.percent,
        "attempts": one.attempts,
        "changed": iso(one.changed_at),
        "ended": iso(one.ended_at),
    }


def _whole(text: str) -> Any:
    """What a query says as a number; what is none stays for the check to name."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


@router.get("/update", response_class=Response, responses=_MANIFEST)
async def look(
    request: Request,
    wired: Wired,
    shown: ByItsKey,
    version: Annotated[str, Query(max_length=256, description="What the board runs.")] = "",
    board: Annotated[str, Query(max_length=256, description="Which board it is.")] = "",
    boot: Annotated[str, Query(max_length=256, description="Generation of its launcher, 1 when not said.")] = "1",
    mpy: Annotated[str, Query(max_length=256, description="Version of the byte code that it runs.")] = "",
) -> Response:
    """What the board is to install, signed. What it says of itself is remembered."""
    device = shown.device
    said: dict[str, Any] = {"version": version, "board": board, "boot": _whole(boot)}
    try:
        found = check_board(said | ({"mpy": _whole(mpy)} if mpy else {}))
    except Invalid as problem:
        _refused(request, wired, shown, problem)
        raise
    entries = wired.updates.looked(device, found)
    if entries:
        await wired.pipeline.accept(entries)
    # As it is after the commit.
    data = await wired.updates.manifest(wired.registry.get(device.id) or device, derived(shown.key))
    wired.polled[device.id] = wired.clock.now_ms()
    headers = {"Cache-Control": "no-store"}
    if not data:
        return Response(status_code=204, headers=headers)
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.get("/update/image", response_class=Response, responses=_IMAGE)
async def image(
    wired: Wired, shown: ByItsKey, release: Annotated[str, Query(min_length=1, max_length=RELEASE_LIMIT)]
) -> Response:
    """The image that is offered to the board; 404 for any other, 409 while its roll-out is paused."""
    return await file_of(wired, wired.updates.image_for(shown.device.id, release))


@router.post("/update", status_code=204, openapi_extra=_REPORT)
async def report(request: Request, wired: Wired, shown: ByItsKey) -> None:
    """The board says how far it is."""
    try:
        found = check_report(loads_object(await request.body()))
    except Invalid as problem:
        _refused(request, wired, shown, problem)
        raise
    entries = wired.updates.heard(shown.device, found)
    # What it said before may still be on its way to the disk.
    await wired.pipeline.accept(entries)


@router.get("/devices/{device_id}/update", response_model=DeviceUpdate)
async def of_device(wired: Wired, held: MayView) -> dict[str, Any]:
    """What a device runs, and what became of its updates."""
    board = board_of(held.device.attributes)
    known = bool(board.board)
    offer = wired.updates.offer(held.device.id)
    attempts = await wired.readers.run_core(store.of_device, held.device.id, _SHOWN)
    return {
        "version": board.version or None,
        "board": board.board or None,
        "boot": board.boot if known else None,
        "mpy": board.mpy,
        "offer": attempt(offer.progress) if offer is not None and offer.rollout.state == RUNNING else None,
        "attempts": [attempt(one) for one in attempts],
    }


def _refused(request: Request, wired: Services, shown: ByKey, problem: Invalid) -> None:
    device = shown.device
    wired.intake.refuse(device.contract, device.external_id, "http", problem, address_of(request))
