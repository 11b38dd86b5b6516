"""Links that show a dashboard to whoever has one: made under ``/api/v1/dashboards``, looked at under ``/api/v1/walls``.

What is looked at is :mod:`relevo.http.boards.walls`; its stream is :mod:`relevo.realtime.walls`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from relevo.domain.board_widgets import pictures_of
from relevo.domain.boards import WALLS_MOST, BoardRight, Wall
from relevo.domain.records import Dropped
from relevo.errors import Conflict, NotFound
from relevo.http.api.devices import check_storable
from relevo.http.api.pictures import SHOWN, shown
from relevo.http.api.questions import Aggregates, Chart, From, Names, PointsMost, To, asked
from relevo.http.api.times import parse_time
from relevo.http.boards import shapes
from relevo.http.boards.access import board_for, keep, only_person
from relevo.http.boards.bodies import WallCreated, WallDocument, WallIn, WallPage
from relevo.http.boards.walls import look, nothing
from relevo.http.needs import Viewer, wall_link
from relevo.http.services import Wired
from relevo.http.waiting import while_waited_for

router = APIRouter(prefix="/api/v1", tags=["dashboards"])

Id = Annotated[str, Path(max_length=64)]
Token = Annotated[str, Path(max_length=128)]
_DAY_MS = 86_400_000
_POINTS = 500


@router.post("/dashboards/{board_id}/walls", status_code=201, response_model=WallCreated)
async def create(
    request: Request, response: Response, wired: Wired, identity: Viewer, board_id: Id, body: WallIn
) -> dict[str, Any]:
    """Make a link that shows a dashboard of your own to whoever has it. Its token is shown once."""
    only_person(identity)
    check_storable(body.name, "name")
    async with wired.boards.turn:
        board = board_for(wired, identity, board_id, BoardRight.OWN)
        if len(wired.boards.walls_of(board.id)) >= WALLS_MOST:
            raise Conflict(f"the dashboard has {WALLS_MOST} walls, which is the limit: revoke one")
        now = wired.clock.now_ms()
        wall, token = wired.boards.new_wall(board, body.name, now, now + body.days * _DAY_MS if body.days else 0)
        detail = {"wall": wall.id, "name": wall.name, "days": body.days}
        await keep(wired, wall, [wired.audited(request, identity, "wall.create", board.id, detail)])
    response.headers["Cache-Control"] = "no-store"
    return shapes.wall(wall) | {"token": token, "url": f"/ui/wall/{token}"}


@router.get("/dashboards/{board_id}/walls", response_model=WallPage)
async def page(wired: Wired, identity: Viewer, board_id: Id) -> dict[str, Any]:
    """The walls of a dashboard of your own, oldest first."""
    board = board_for(wired, identity, board_id, BoardRight.OWN)
    return {"items": [shapes.wall(one) for one in wired.boards.walls_of(board.id)], "next": None}


@router.delete("/dashboards/{board_id}/walls/{wall_id}", status_code=204)
async def revoke(request: Request, wired: Wired, identity: Viewer, board_id: Id, wall_id: Id) -> None:
    """Revoke a wall at once; streams of it end."""
    only_person(identity)
    board = board_for(wired, identity, board_id, BoardRight.OWN)
    wall = wired.boards.walls.get(wall_id)
    if wall is None or wall.board != board.id:
        raise NotFound(f"no wall {wall_id!r} of this dashboard")
    audited = wired.audited(request, identity, "wall.delete", board.id, {"wall": wall.id, "name": wall.name})
    await wired.pipeline.accept([Dropped(Wall, wall_id), audited])


@router.get("/walls/{token}", response_model=WallDocument, dependencies=[wall_link])
async def document(request: Request, response: Response, wired: Wired, token: Token) -> dict[str, Any]:
    """What hangs on the wall: the dashboard, and the newest values of what its widgets show."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return look(wired, request, token).document()


@router.get(
    "/walls/{token}/telemetry/{device}/{key:path}",
    response_model=Chart | Aggregates,
    dependencies=[wall_link],
)
async def telemetry(
    request: Request,
    wired: Wired,
    token: Token,
    device: Id,
    key: str,
    start: From = None,
    end: To = None,
    points: PointsMost = None,
    aggregate: Names = "",
    interval: Annotated[str, Query(max_length=8)] = "",
) -> Response:
    """What a chart on the wall shows, at most as far back as it goes."""
    found, longest = look(wired, request, token).charted(device, key)
    now = wired.clock.now_ms()
    last = min(parse_time(end, "to", now + 1), now + 1)
    first = max(parse_time(start, "from", now - longest), now - longest)
    most = points or (None if aggregate else _POINTS)
    question = asked(wired, [(found, key)], min(first, last), last, most, aggregate, interval, True)
    assert question is not None
    body, _ = await while_waited_for(request, wired.history.body(question))
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get("/walls/{token}/pictures/{picture_id}", response_class=Response, responses=SHOWN, dependencies=[wall_link])
async def picture(request: Request, wired: Wired, token: Token, picture_id: Id) -> Response:
    """A picture that is on the wall."""
    board = look(wired, request, token).board
    found = wired.boards.pictures.get(picture_id) if picture_id in pictures_of(board.widgets) else None
    if found is None:
        raise nothing()
    return await shown(wired, found)
