"""``/api/v1/pictures``: what dashboards show behind their pins."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from relevo.domain.board_widgets import pictures_of
from relevo.domain.boards import PICTURES_MOST, Picture
from relevo.domain.pictures import BYTES_MOST, TYPES, look, refused
from relevo.domain.records import Dropped
from relevo.errors import Conflict, NotFound, StoreUnavailable
from relevo.http.boards import shapes
from relevo.http.boards.access import keep, only_writing, picture_for
from relevo.http.boards.bodies import PictureOut, PicturePage
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/pictures", tags=["dashboards"])

Id = Annotated[str, Path(max_length=64)]
_CONTENT: Final[dict[str, Any]] = {one: {"schema": {"type": "string", "format": "binary"}} for one in TYPES}
_UPLOAD: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": _CONTENT}}
SHOWN: Final[dict[int | str, dict[str, Any]]] = {200: {"description": "The picture", "content": _CONTENT}}


@router.post("", response_model=PictureOut, status_code=201, openapi_extra=_UPLOAD)
async def upload(request: Request, response: Response, wired: Wired, identity: Viewer) -> dict[str, Any]:
    """Keep a PNG, JPEG or WebP picture of up to 2 MB; the body is the file."""
    only_writing(identity)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BYTES_MOST:
            raise refused("body_too_large", f"has more than {BYTES_MOST} bytes")
        parts.append(part)
    data = b"".join(parts)
    seen = look(data)
    boards = wired.boards
    async with boards.turn:
        if len(boards.pictures_of(identity.name)) >= PICTURES_MOST:
            raise Conflict(f"{identity.name!r} has {PICTURES_MOST} pictures, which is the limit")
        made = Picture(
            boards.new_picture_id(), identity.name, seen.type, len(data), seen.width, seen.height, wired.clock.now_ms()
        )
        try:
            await asyncio.to_thread(boards.write, made.id, data)
        except OSError as error:
            boards.forget(made.id)
            raise StoreUnavailable(f"the picture cannot be written: {error.strerror or error}") from error
        try:
            await keep(wired, made)
        except BaseException:
            if made.id not in boards.pictures:
                boards.forget(made.id)
            raise
    response.headers["Location"] = f"/api/v1/pictures/{made.id}"
    return shapes.picture(made)


@router.get("", response_model=PicturePage)
async def page(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """Your pictures, oldest first."""
    return {"items": [shapes.picture(one) for one in wired.boards.pictures_of(identity.name)], "next": None}


@router.get("/{picture_id}", response_class=Response, responses=SHOWN)
async def show(wired: Wired, identity: Viewer, picture_id: Id) -> Response:
    """A picture of your own, or on a dashboard that you see."""
    return await shown(wired, picture_for(wired, identity, picture_id))


@router.delete("/{picture_id}", status_code=204)
async def remove(wired: Wired, identity: Viewer, picture_id: Id) -> None:
    """Remove a picture of your own that is on none of your dashboards."""
    only_writing(identity)
    async with wired.boards.turn:
        one = wired.boards.pictures.get(picture_id)
        if one is None or one.account != identity.name:
            raise NotFound(f"no picture {picture_id!r}")
        board = next((each for each in wired.boards.all.values() if picture_id in pictures_of(each.widgets)), None)
        if board is not None and board.right_of(identity.name):
            raise Conflict(f"the picture is on the dashboard {board.name!r}")
        await wired.pipeline.accept([Dropped(Picture, picture_id)])


async def shown(wired: Services, picture: Picture) -> Response:
    """The bytes of a picture, with which a browser does nothing but show it."""
    try:
        data = await asyncio.to_thread(wired.boards.file(picture.id).read_bytes)
    except OSError:
        raise NotFound(f"no picture {picture.id!r}") from None
    headers = {
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Response(data, media_type=picture.type, headers=headers)
