"""``/api/v1/firmware``: releases of firmware, their images, and the key under which boards are offered them."""

import asyncio
import base64
from collections import Counter
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel
from starlette.responses import FileResponse

from relevo.domain.firmware_image import BYTES_MOST, look, too_large
from relevo.domain.records import Dropped, Kept
from relevo.domain.releases import RELEASE_LIMIT, Release, board_of, order_of
from relevo.errors import Conflict, NotFound, StoreUnavailable
from relevo.http.api.times import iso
from relevo.http.needs import Administrator, Operator, Viewer
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/firmware", tags=["firmware"])

RELEASES_MOST: Final = 500
_TAR: Final = "application/x-tar"
_BINARY: Final[dict[str, Any]] = {_TAR: {"schema": {"type": "string", "format": "binary"}}}
# Whatever its type is said to be: it is known by its bytes.
_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_IMAGE: Final[dict[int | str, dict[str, Any]]] = {200: {"description": "The image", "content": _BINARY}}
Id = Annotated[str, Path(max_length=RELEASE_LIMIT)]


class FileOut(BaseModel):
    """A file in an image; ``size`` in bytes."""

    name: str
    size: int


class ReleaseOut(BaseModel):
    """A release. ``devices`` counts those that say they run it, ``rollouts`` names the open ones that use it."""

    id: str
    version: str
    board: str
    boot: int
    mpy: int
    notes: str
    size: int
    sha256: str
    files: list[FileOut]
    by: str
    created: str
    devices: int
    rollouts: list[str]


class ReleasePage(BaseModel):
    """By board, the newest version first."""

    items: list[ReleaseOut]
    next: str | None


class VersionOut(BaseModel):
    """How many devices say that they run ``version`` on ``board``; ``release`` is null where it was never uploaded."""

    board: str
    version: str
    devices: int
    release: str | None


class Versions(BaseModel):
    """By board, the newest version first."""

    items: list[VersionOut]
    next: str | None


class UpdateKey(BaseModel):
    """The public key of this installation (RFC 8032): ``key`` its 32 bytes in base64, ``hex`` the same."""

    algorithm: str
    key: str
    hex: str


def _running(wired: Services) -> Counter[tuple[str, str]]:
    """How many devices run which version, by board."""
    said = (board_of(one.attributes) for one in wired.registry.all())
    return Counter((one.board, one.version) for one in said if one.board)


def render(wired: Services, one: Release, running: Counter[tuple[str, str]]) -> dict[str, Any]:
    return {
        "id": one.id,
        "version": one.version,
        "board": one.board,
        "boot": one.boot,
        "mpy": one.mpy,
        "notes": one.notes,
        "size": one.size,
        "sha256": one.sha256,
        "files": [{"name": name, "size": size} for name, size in one.files],
        "by": one.by,
        "created": iso(one.created_at),
        "devices": running[one.board, one.version],
        "rollouts": [rollout.id for rollout in wired.updates.open if rollout.release == one.id],
    }


def find(wired: Services, release_id: str) -> Release:
    """Raises :class:`NotFound`."""
    found = wired.firmware.all.get(release_id)
    if found is None:
        raise NotFound(f"no release {release_id!r}")
    return found


@router.get("", response_model=ReleasePage)
async def page(
    wired: Wired,
    identity: Operator,
    board: Annotated[str, Query(max_length=32, description="Releases for these boards alone.")] = "",
) -> dict[str, Any]:
    """Every release there is."""
    found = [one for one in wired.firmware.all.values() if not board or one.board == board]
    found.sort(key=lambda one: order_of(one.version) or (), reverse=True)
    found.sort(key=lambda one: one.board)
    running = _running(wired)
    return {"items": [render(wired, one, running) for one in found], "next": None}


@router.post("", response_model=ReleaseOut, status_code=201, openapi_extra=_UPLOAD)
async def upload(request: Request, response: Response, wired: Wired, identity: Administrator) -> dict[str, Any]:
    """Keep an image (a plain tar, see `docs/updates.md`); the body is the file."""
    most = min(wired.settings.limits.firmware_max_kb * 1024, BYTES_MOST)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise too_large(most)
        parts.append(part)
    data = b"".join(parts)
    image = look(data, most)
    said, firmware = image.said, wired.firmware
    async with firmware.turn:
        if said.release in firmware.all:
            raise Conflict(f"there is a release {said.release!r} already: a version is uploaded once")
        if len(firmware.all) >= RELEASES_MOST:
            raise Conflict(f"there are {RELEASES_MOST} releases, which is the limit")
        files: list[list[Any]] = [[name, length] for name, length in image.files]
        made = Release(
            said.release, said.version, said.board, said.boot, said.mpy, said.notes, image.size, image.sha256, files,
            identity.name, wired.clock.now_ms(),
        )  # fmt: skip
        try:
            await asyncio.to_thread(firmware.write, image.sha256, data)
        except OSError as error:
            raise StoreUnavailable(f"the image cannot be written: {error.strerror or error}") from error
        detail = {"version": made.version, "board": made.board, "size": made.size, "sha256": made.sha256}
        audited = wired.audited(request, identity, "firmware.upload", made.id, detail)
        try:
            await wired.pipeline.accept([Kept(made), audited])
        except BaseException:
            if not any(one.sha256 == image.sha256 for one in firmware.all.values()):
                firmware.forget(image.sha256)
            raise
    response.headers["Location"] = f"/api/v1/firmware/{made.id}"
    return render(wired, made, _running(wired))


@router.get("/key", response_model=UpdateKey)
async def key(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """What a board is given when it is prepared, so that it insists on this installation's signature."""
    data = await wired.firmware.public_key()
    return {"algorithm": "ed25519", "key": base64.b64encode(data).decode(), "hex": data.hex()}


@router.get("/versions", response_model=Versions)
async def versions(wired: Wired, identity: Operator) -> dict[str, Any]:
    """What runs in the field, of the boards that said so."""
    counted = _running(wired).items()
    found = sorted(counted, key=lambda one: (order_of(one[0][1]) or (), one[0][1]), reverse=True)
    found.sort(key=lambda one: one[0][0])
    held = wired.firmware.all
    items = []
    for (board, version), devices in found:
        release = f"{board}-{version}"
        items.append(
            {"board": board, "version": version, "devices": devices, "release": release if release in held else None}
        )
    return {"items": items, "next": None}


@router.get("/{release_id}", response_model=ReleaseOut)
async def one(wired: Wired, identity: Operator, release_id: Id) -> dict[str, Any]:
    """One release."""
    return render(wired, find(wired, release_id), _running(wired))


@router.get("/{release_id}/image", response_class=Response, responses=_IMAGE)
async def image(wired: Wired, identity: Administrator, release_id: Id) -> Response:
    """The image as it was uploaded."""
    return await file_of(wired, find(wired, release_id))


@router.delete("/{release_id}", status_code=204)
async def remove(request: Request, wired: Wired, identity: Administrator, release_id: Id) -> None:
    """Forget a release and its image; 409 while a roll-out that is not over uses it."""
    async with wired.firmware.turn:
        found = find(wired, release_id)
        async with wired.updates.turn:
            rollout = wired.updates.uses(release_id)
            if rollout is not None:
                raise Conflict(f"the roll-out {rollout.id} uses it: cancel that first")
            audited = wired.audited(request, identity, "firmware.delete", found.id)
            await wired.pipeline.accept([Dropped(Release, found.id), audited])


async def file_of(wired: Services, release: Release) -> Response:
    """The image as a file of which parts may be asked for (RFC 9110, section 14)."""
    path = wired.firmware.file(release.sha256)
    if not await asyncio.to_thread(path.is_file):
        raise StoreUnavailable(f"the image of {release.id} is gone: restore it from a backup")
    headers = {"Cache-Control": "private", "ETag": f'"{release.sha256}"'}
    return FileResponse(path, media_type=_TAR, headers=headers, filename=f"{release.id}.tar")
