"""``/api/v1/system/storage`` and ``/api/v1/retention``: what history takes, what is to come, and for how long it is
kept."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from relevo.domain.keeping import DAYS_MOST, KEEPINGS_MOST, Ages, Keeping, check_keeping, id_of
from relevo.domain.records import Dropped, Kept
from relevo.errors import Conflict, NotFound
from relevo.http.api.times import iso
from relevo.http.needs import Administrator
from relevo.http.services import Wired

router = APIRouter(prefix="/api/v1", tags=["system"])

_Days = Annotated[StrictInt, Field(ge=0, le=DAYS_MOST, description="Days; 0 is for ever.")]


class AgesOut(BaseModel):
    """For how many days readings are kept as they came, as hours, and as days; 0 is for ever."""

    raw_days: int
    hours_days: int
    days_days: int


class KeepingIn(BaseModel):
    """What holds for a key of devices of a type; empty is any."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(default="", max_length=128, description="Type of device; empty is any.")
    key: str = Field(default="", max_length=128, description="Key; empty is any.")
    raw_days: _Days = 0
    hours_days: _Days = 0
    days_days: _Days = 0


class KeepingOut(AgesOut):
    """The same, as it is kept."""

    type: str
    key: str


class RetentionOut(BaseModel):
    """``default`` is what the settings say; of ``items`` the most particular holds: type and key, key, type."""

    default: AgesOut
    items: list[KeepingOut]


class NextOut(BaseModel):
    """What goes first when there is no more room: ``raw``, ``hours`` or ``days`` from before a time."""

    what: str
    before: str


class StorageOut(BaseModel):
    """Bytes on the disk and of it. ``limit_bytes`` 0 is no limit; ``growth_bytes_a_day`` and ``full_at`` are a forecast
    from the last two weeks, null while there is too little to go by or nothing to expect. ``short`` says that the limit
    is smaller than what cannot go."""

    limit_bytes: int
    taken_bytes: int
    file_bytes: int
    free_bytes: int
    growth_bytes_a_day: float | None
    full_at: str | None
    next_to_go: NextOut | None
    oldest: dict[str, str | None]
    short: bool


def _ages(ages: Ages) -> dict[str, int]:
    return dict(zip(Ages._fields, ages, strict=True))


def _shown(one: Keeping) -> dict[str, Any]:
    return {"type": one.type, "key": one.key} | _ages(one.ages)


@router.get("/system/storage", response_model=StorageOut)
async def storage(wired: Wired, identity: Administrator) -> dict[str, Any]:
    """What history takes on the disk, and when the limit will be reached."""
    room = wired.room
    size, free = room.space()
    expected = room.forecast
    following = room.next_to_go()
    return {
        "limit_bytes": room.max_disk,
        "taken_bytes": room.taken(),
        "file_bytes": size,
        "free_bytes": free,
        "growth_bytes_a_day": round(expected.growth) if expected is not None else None,
        "full_at": iso(expected.full_at) if expected is not None and expected.full_at is not None else None,
        "next_to_go": {"what": following[0], "before": iso(following[1])} if following is not None else None,
        "oldest": {
            name: iso(at) if at is not None else None
            for name, at in zip(("raw", "hours", "days"), room.oldest, strict=True)
        },
        "short": room.short,
    }


@router.get("/retention", response_model=RetentionOut)
async def retention(wired: Wired, identity: Administrator) -> dict[str, Any]:
    """For how long readings are kept."""
    found = sorted(wired.room.keepings.values(), key=lambda one: (one.type, one.key))
    return {"default": _ages(wired.room.default), "items": [_shown(one) for one in found]}


@router.put("/retention", response_model=KeepingOut)
async def put(request: Request, wired: Wired, identity: Administrator, body: KeepingIn) -> dict[str, Any]:
    """Say it for a type of device, a key, or a key of a type. What is older goes within the hour."""
    one = Keeping(id_of(body.type, body.key), **body.model_dump())
    check_keeping(one)
    if one.id not in wired.room.keepings and len(wired.room.keepings) >= KEEPINGS_MOST:
        raise Conflict(f"there are {KEEPINGS_MOST} of them, which is the limit")
    detail = _shown(one)
    await wired.pipeline.accept([Kept(one), wired.audited(request, identity, "retention.change", one.id, detail)])
    return detail


@router.delete("/retention", status_code=204)
async def remove(
    request: Request,
    wired: Wired,
    identity: Administrator,
    of_type: Annotated[str, Query(alias="type", max_length=128)] = "",
    key: Annotated[str, Query(max_length=128)] = "",
) -> None:
    """From now on what is less particular holds."""
    name = id_of(of_type, key)
    if name not in wired.room.keepings:
        raise NotFound(f"nothing is said of type {of_type!r} and key {key!r}")
    await wired.pipeline.accept([Dropped(Keeping, name), wired.audited(request, identity, "retention.delete", name)])
