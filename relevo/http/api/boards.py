"""``/api/v1/dashboards``: boards of the interface, one document each, beside those of the thingsnxt app."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import JSONResponse, Response

from relevo.dispatch import new_id
from relevo.domain.accounts import Identity
from relevo.domain.board_templates import widgets_for
from relevo.domain.board_widgets import PLACEHOLDER, check, field, named_by, with_device, wrong
from relevo.domain.boards import BOARDS_MOST, NAME_LIMIT, TEMPLATES_MOST, Board, BoardRight, BoardTemplate
from relevo.domain.dashboards import Dashboard
from relevo.domain.events import Audited
from relevo.domain.records import Dropped, Kept
from relevo.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from relevo.http.api.devices import check_storable
from relevo.http.api.paging import decode_cursor, encode_cursor
from relevo.http.api.times import iso
from relevo.http.boards import shapes
from relevo.http.boards.access import board_for, check_named, keep, only_writing
from relevo.http.boards.bodies import (
    BoardIn,
    BoardOut,
    BoardPage,
    BoardPatch,
    BoardPut,
    FromDevice,
    ShareIn,
    TemplateIn,
    TemplateOut,
    Templates,
)
from relevo.http.needs import Administrator, MayView, Viewer
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/dashboards", tags=["dashboards"])

Id = Annotated[str, Path(max_length=64)]
Type = Annotated[str, Path(min_length=1, max_length=64)]
_REASON = "dashboard_invalid"


@router.get("", response_model=BoardPage)
async def page(
    wired: Wired,
    identity: Viewer,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: str | None = None,
    brief: Annotated[bool, Query(description="Without their widgets.")] = False,
) -> dict[str, Any]:
    """Your dashboards, those shared with you, and those of the thingsnxt app, which are changed there."""
    after = decode_cursor(cursor, 1)
    found: list[tuple[str, Board | Dashboard]] = [
        *((f"0{one.created_at:015}{one.id}", one) for one in wired.boards.of_account(identity.name)),
        *((f"1{one.created_at:015}{one.id}", one) for one in wired.dashboards.of_account(identity.name)),
    ]
    found.sort(key=lambda one: one[0])
    if after is not None:
        found = [one for one in found if one[0] > after[0]]
    items = [
        shapes.board(wired, identity, one, brief=brief)
        if isinstance(one, Board)
        else shapes.app_board(wired, identity, one, brief=brief)
        for _, one in found[:limit]
    ]
    return {"items": items, "next": encode_cursor(found[limit - 1][0]) if len(found) > limit else None}


@router.post("", response_model=BoardOut, status_code=201)
async def create(request: Request, response: Response, wired: Wired, identity: Viewer, body: BoardIn) -> dict[str, Any]:
    """Add a dashboard."""
    only_writing(identity)
    return await _make(request, response, wired, identity, body.name, _widgets(body.widgets), body.shared)


@router.get("/templates", response_model=Templates)
async def templates(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """What is saved for types of devices."""
    return {"items": [_template(one) for _, one in sorted(wired.boards.templates.items())]}


@router.put("/templates/{type}", response_model=TemplateOut)
async def save_template(
    request: Request,
    wired: Wired,
    identity: Administrator,
    type: Type,  # noqa: A002 - the path's word
    body: TemplateIn,
) -> dict[str, Any]:
    """Save a dashboard of one device as what devices of its type get."""
    board = board_for(wired, identity, body.dashboard, BoardRight.VIEW)
    check_storable([type, body.name], "type or name")
    named = [(n, place, shown.device) for n, one in enumerate(board.widgets) for place, shown in named_by(one)]
    devices = list(dict.fromkeys(device for _, _, device in named))
    if not devices or (not body.device and len(devices) > 1) or (body.device and body.device not in devices):
        message = f"device must be one of those on the dashboard, which are {', '.join(devices[:10]) or 'none'}"
        raise Invalid(_REASON, message, [FieldError("device", message, _REASON)])
    device = body.device or devices[0]
    problems = [
        FieldError(field(n, place), f"is {one!r}: a template is of one device", _REASON)
        for n, place, one in named
        if one != device
    ]
    problems += [
        FieldError(field(n, f"options.{name}"), "belongs to one dashboard: leave it out of a template", _REASON)
        for n, one in enumerate(board.widgets)
        for name in ("picture", "schedule", "tag")
        if one["options"].get(name)
    ]
    if problems:
        raise wrong(problems)
    if type not in wired.boards.templates and len(wired.boards.templates) >= TEMPLATES_MOST:
        raise Conflict(f"there are {TEMPLATES_MOST} templates, which is the limit")
    widgets = with_device(board.widgets, device, PLACEHOLDER)
    made = BoardTemplate(type, body.name or board.name, widgets, identity.name, wired.clock.now_ms())
    await wired.pipeline.accept([Kept(made), wired.audited(request, identity, "dashboard.template", type)])
    return _template(made)


@router.delete("/templates/{type}", status_code=204)
async def remove_template(
    request: Request,
    wired: Wired,
    identity: Administrator,
    type: Type,  # noqa: A002 - the path's word
) -> None:
    """Forget a template; dashboards made of it stay."""
    if type not in wired.boards.templates:
        raise NotFound(f"no template for type {type!r}")
    audited = wired.audited(request, identity, "dashboard.template.delete", type)
    await wired.pipeline.accept([Dropped(BoardTemplate, type), audited])


@router.post("/from-device/{device_id}", response_model=BoardOut, status_code=201)
async def from_device(
    request: Request, response: Response, wired: Wired, held: MayView, body: FromDevice | None = None
) -> dict[str, Any]:
    """Make a dashboard for a device: of the template of its type, or else by what it can do."""
    only_writing(held.identity)
    device, asked = held.device, body or FromDevice()
    template = wired.boards.templates.get(device.type) if asked.template else None
    if template is not None:
        widgets = check(with_device(template.widgets, PLACEHOLDER, device.id))
    else:
        known = wired.appearances.known(device)
        can = wired.appearances.capabilities(device, known)
        widgets = widgets_for(device.id, device.contract, can, known)
    name = asked.name or (device.name or device.id)[:NAME_LIMIT]
    return await _make(request, response, wired, held.identity, name, widgets, [])


@router.get("/{board_id}", response_model=BoardOut)
async def one(wired: Wired, identity: Viewer, board_id: Id) -> dict[str, Any]:
    """One dashboard, with which of its widgets you may see."""
    app = wired.dashboards.dashboards.get(board_id)
    if app is not None and app.account == identity.name:
        return shapes.app_board(wired, identity, app)
    return shapes.board(wired, identity, board_for(wired, identity, board_id, BoardRight.VIEW))


@router.put("/{board_id}", response_model=BoardOut)
async def put(request: Request, wired: Wired, identity: Viewer, board_id: Id, body: BoardPut) -> Any:
    """Change a dashboard; 409 with the current ``version`` when somebody else changed it meanwhile."""
    return await _change(request, wired, identity, board_id, body)


@router.patch("/{board_id}", response_model=BoardOut)
async def patch(request: Request, wired: Wired, identity: Viewer, board_id: Id, body: BoardPatch) -> Any:
    """Change what is given."""
    if not body.model_fields_set - {"version"}:
        message = "nothing to change: give name, widgets or shared"
        raise Invalid("empty", message, [FieldError("body", message)])
    if body.widgets is not None and body.version is None:
        message = "version is needed with widgets: the one that they are made of"
        raise Invalid(_REASON, message, [FieldError("version", message, _REASON)])
    return await _change(request, wired, identity, board_id, body)


@router.delete("/{board_id}", status_code=204)
async def remove(wired: Wired, identity: Viewer, board_id: Id) -> None:
    """Remove a dashboard of your own, with its walls."""
    only_writing(identity)
    async with wired.boards.turn:
        board = board_for(wired, identity, board_id, BoardRight.OWN)
        await wired.pipeline.accept(wired.boards.removal(board))


async def _make(
    request: Request,
    response: Response,
    wired: Services,
    identity: Identity,
    name: str,
    widgets: list[dict[str, Any]],
    shared: list[ShareIn],
) -> dict[str, Any]:
    check_storable(name, "name")
    async with wired.boards.turn:
        check_named(wired, identity, [], widgets, True)
        if sum(one.owner == identity.name for one in wired.boards.all.values()) >= BOARDS_MOST:
            raise Conflict(f"{identity.name!r} has {BOARDS_MOST} dashboards, which is the limit")
        now = wired.clock.now_ms()
        made = Board(new_id(), identity.name, name, 1, widgets, _shares(wired, identity.name, shared), now, now)
        await keep(wired, made, _told(request, wired, identity, made, {}))
    response.headers["Location"] = f"/api/v1/dashboards/{made.id}"
    return shapes.board(wired, identity, made)


async def _change(
    request: Request, wired: Services, identity: Identity, board_id: str, body: BoardPut | BoardPatch
) -> Any:
    only_writing(identity)
    widgets = _widgets(body.widgets) if body.widgets is not None else None
    check_storable(body.name, "name")
    async with wired.boards.turn:
        board = board_for(wired, identity, board_id, BoardRight.EDIT)
        if body.version is not None and body.version != board.version:
            return _overtaken(board, body.version)
        owns = board.owner == identity.name
        if widgets is not None:
            check_named(wired, identity, board.widgets, widgets, owns)
        shared = board.shared
        if body.shared is not None:
            if not owns:
                raise Forbidden("only its owner shares a dashboard: leave shared out")
            shared = _shares(wired, board.owner, body.shared)
        changed = msgspec.structs.replace(
            board,
            name=body.name or board.name,
            widgets=board.widgets if widgets is None else widgets,
            shared=shared,
            version=board.version + 1,
            changed_at=wired.clock.now_ms(),
        )
        await keep(wired, changed, _told(request, wired, identity, changed, board.shared))
    return shapes.board(wired, identity, changed)


def _overtaken(board: Board, version: int) -> Response:
    detail = f"version is {board.version} by now, not {version}: somebody changed the dashboard meanwhile"
    body = {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": detail,
        "reason": "version_old",
        "version": board.version,
    }
    return JSONResponse(body, 409, media_type="application/problem+json")


def _widgets(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    check_storable(given, "widgets")
    return check(given)


def _shares(wired: Services, owner: str, given: list[ShareIn]) -> dict[str, str]:
    found: dict[str, str] = {}
    for n, one in enumerate(given):
        problem = ""
        if one.user not in wired.auth.people.accounts:
            problem = f"no user {one.user!r}"
        elif one.user == owner:
            problem = "is the dashboard's owner"
        elif one.user in found:
            problem = f"{one.user!r} is there twice"
        if problem:
            place = f"shared[{n}].user"
            raise Invalid(_REASON, f"{place} {problem}", [FieldError(place, problem, _REASON)])
        found[one.user] = one.right
    return found


def _told(request: Request, wired: Services, identity: Identity, board: Board, before: dict[str, str]) -> list[Audited]:
    """The audit entry of a board that is shared otherwise than ``before``."""
    if board.shared == before:
        return []
    detail = {"shared": [{"account": name, "right": right} for name, right in board.shared.items()]}
    return [wired.audited(request, identity, "dashboard.share", board.id, detail)]


def _template(one: BoardTemplate) -> dict[str, Any]:
    return {
        "type": one.id,
        "name": one.name,
        "widgets": one.widgets,
        "by": one.by,
        "changed_at": iso(one.changed_at),
    }
