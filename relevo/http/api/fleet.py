"""``/api/v1/devices`` as a list: filters, order, and what there is to filter by."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt
from starlette.responses import Response

from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Device, is_claimed
from relevo.domain.releases import FIRMWARE
from relevo.errors import FieldError, Invalid
from relevo.http.api.devices import DeviceOut, render
from relevo.http.api.paging import decode_cursor, encode_cursor
from relevo.http.api.times import iso
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired
from relevo.store.latest import heard_of

router = APIRouter(prefix="/api/v1", tags=["devices"])

_FIELDS: Final = frozenset(DeviceOut.model_fields)
_HEAVY: Final = frozenset({"latest", "attributes"})
_FACETS: Final = ("contract", "tag", "type", "site", "online", "firmware")
_encode: Final = msgspec.json.Encoder().encode

Text = Annotated[str, Query(max_length=128)]


class BriefDevice(BaseModel):
    """A device as a list shows it: with `brief` or `fields` some are not there."""

    id: str
    name: str | None = None
    type: str | None = None
    contract: str | None = None
    external_id: str | None = None
    online: bool | None = None
    last_seen: str | None = None
    claimed: bool | None = None
    owner: str | None = None
    site: str | None = None
    right: str | None = None
    tags: list[str] | None = None
    attributes: dict[str, Any] | None = None
    latest: dict[str, Any] | None = None


class DevicePage(BaseModel):
    """``total`` counts everything that fits, whatever page this is."""

    items: list[BriefDevice]
    next: str | None
    total: int


class Facets(BaseModel):
    """Of each property how many devices have which value; ``online`` as ``true`` and ``false``."""

    contract: dict[str, int]
    tag: dict[str, int]
    type: dict[str, int]
    site: dict[str, int]
    online: dict[str, int]
    firmware: dict[str, int] = Field(description="Versions, of devices that say one.")
    total: int


class Filter(BaseModel):
    """What devices have to fit; absent or empty is any."""

    model_config = ConfigDict(extra="forbid")

    search: str = Field(default="", max_length=128)
    contract: str = Field(default="", max_length=128)
    tag: str = Field(default="", max_length=128)
    type: str = Field(default="", max_length=128)
    site: str = Field(default="", max_length=128)
    owner: str = Field(default="", max_length=128)
    online: StrictBool | None = None
    firmware: str = Field(default="", max_length=128, description="The version that it says it runs.")
    silent_s: StrictInt | None = Field(default=None, ge=0, le=1_000_000_000)


async def _asked_for(
    search: Annotated[str, Query(max_length=128, description="Part of id, name or external id.")] = "",
    contract: Text = "",
    tag: Text = "",
    site: Text = "",
    online: bool | None = None,
    of_type: Annotated[str, Query(alias="type", max_length=128)] = "",
    owner: Text = "",
    firmware: Annotated[str, Query(max_length=128, description="The version that it says it runs.")] = "",
    silent_s: Annotated[
        int | None, Query(ge=0, le=1_000_000_000, description="No reading for so many seconds, or never one.")
    ] = None,
) -> Filter:
    return Filter(
        search=search,
        contract=contract,
        tag=tag,
        type=of_type,
        site=site,
        owner=owner,
        online=online,
        firmware=firmware,
        silent_s=silent_s,
    )


Wanted = Annotated[Filter, Depends(_asked_for)]


class _Asked(NamedTuple):
    """The name of a filter, and whether a device fits it."""

    name: str
    fits: Callable[[Device], bool]


def heard_at(wired: Services, device_id: str) -> int:
    """When a device was last heard (milliseconds UTC), 0 for never."""
    data = wired.pipeline.documents.get(device_id)
    return max(heard_of(data) if data else 0, wired.polled.get(device_id, 0))


def _filters(wired: Services, wanted: Filter) -> list[_Asked]:
    found: list[_Asked] = []
    if wanted.contract:
        found.append(_Asked("contract", lambda one: one.contract == wanted.contract))
    if wanted.tag:
        found.append(_Asked("tag", lambda one: wanted.tag in one.tags))
    if wanted.type:
        found.append(_Asked("type", lambda one: one.type == wanted.type))
    if wanted.site:
        found.append(_Asked("site", lambda one: one.site == wanted.site))
    if wanted.owner:
        found.append(_Asked("owner", lambda one: one.owner == wanted.owner))
    if wanted.firmware:
        found.append(_Asked("firmware", lambda one: one.attributes.get(FIRMWARE) == wanted.firmware))
    if wanted.online is not None:
        found.append(_Asked("online", lambda one: wired.presence.online(one.id) is wanted.online))
    if wanted.search:
        text = wanted.search.casefold()
        found.append(
            _Asked(
                "search",
                lambda one: (
                    text in one.id.casefold() or text in one.name.casefold() or text in one.external_id.casefold()
                ),
            )
        )
    if wanted.silent_s is not None:
        before = wired.clock.now_ms() - wanted.silent_s * 1000
        found.append(_Asked("silent_s", lambda one: heard_at(wired, one.id) <= before))
    return found


def visible(wired: Services, identity: Identity, devices: list[Device] | None = None) -> list[Device]:
    """Of ``devices``, without them of all by id, those that ``identity`` may view."""
    found = wired.registry.all() if devices is None else devices
    if identity.role is Role.ADMINISTRATOR:
        return found
    right = wired.auth.people.right
    return [one for one in found if right(identity, one)]


def fitting(wired: Services, identity: Identity, wanted: Filter, devices: list[Device] | None = None) -> list[Device]:
    """Of ``devices``, without them of all by id, those that ``identity`` may view and that fit."""
    found = visible(wired, identity, devices)
    tests = [one.fits for one in _filters(wired, wanted)]
    if not tests:
        return found
    if len(tests) == 1:
        return list(filter(tests[0], found))
    return [one for one in found if all(test(one) for test in tests)]


def _name(device: Device) -> str:
    # A cursor is made of lines.
    return " ".join(device.name.casefold().splitlines())


def _fields(text: str, brief: bool) -> frozenset[str]:
    """Which fields are wanted. Raises :class:`Invalid`."""
    wanted = frozenset(filter(None, text.split(","))) if text else _FIELDS
    unknown = sorted(wanted - _FIELDS)
    if unknown:
        message = f"fields has {unknown[0][:32]!r}, which is none of {', '.join(sorted(_FIELDS))}"
        raise Invalid("fields_unknown", message, [FieldError("fields", message, "fields_unknown")])
    return (wanted - _HEAVY if brief else wanted) | {"id"}


def _row(wired: Services, identity: Identity, device: Device, fields: frozenset[str]) -> dict[str, Any]:
    if "latest" in fields:
        whole = render(wired, device, wired.auth.people.right(identity, device))
        return whole if fields == _FIELDS else {name: value for name, value in whole.items() if name in fields}
    row: dict[str, Any] = {}
    for name in _PLAIN:
        if name in fields:
            row[name] = getattr(device, name)
    if "online" in fields:
        row["online"] = wired.online(device)
    if "last_seen" in fields:
        row["last_seen"] = iso(heard_at(wired, device.id))
    if "claimed" in fields:
        row["claimed"] = is_claimed(device)
    if "owner" in fields:
        row["owner"] = device.owner or None
    if "right" in fields:
        row["right"] = wired.auth.people.right(identity, device).name.lower()
    return row


_PLAIN: Final = ("id", "name", "type", "contract", "external_id", "site", "tags", "attributes")


@router.get("/devices", response_model=DevicePage)
async def list_devices(
    wired: Wired,
    identity: Viewer,
    wanted: Wanted,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
    sort: Annotated[
        Literal["id", "name", "last_seen"], Query(description="`last_seen` is the newest first, never seen ones last.")
    ] = "id",
    brief: Annotated[bool, Query(description="Without latest values and attributes.")] = False,
    fields: Annotated[str, Query(max_length=256, description="Only these, by commas; `id` always.")] = "",
) -> Response:
    """The devices that one may view."""
    shown = _fields(fields, brief)
    position = decode_cursor(cursor, 3)
    if position is not None and position[0] != sort:
        raise _foreign_cursor()
    by_name = wired.registry.by_name() if sort == "name" else None
    found = fitting(wired, identity, wanted, by_name)
    total = len(found)
    if sort == "last_seen":
        heard = {one.id: heard_at(wired, one.id) for one in found}
        # Of the same moment by id.
        found.sort(key=lambda one: -heard[one.id])
        start = _after_heard(found, heard, position)
        page = found[start : start + limit]
        key = str(heard[page[-1].id]) if page else ""
    else:
        start = 0
        if position is not None:
            after = (position[1][1:], position[2]) if sort == "name" else ("", position[2])
            start = bisect_right(found, after, key=_by_name if sort == "name" else _by_id)
        page = found[start : start + limit]
        key = _name(page[-1]) if page and sort == "name" else ""
    more = start + len(page) < total
    following = encode_cursor(sort, f"={key}", page[-1].id) if more and page else None
    items = [_row(wired, identity, one, shown) for one in page]
    return Response(_encode({"items": items, "next": following, "total": total}), media_type="application/json")


def _by_id(device: Device) -> tuple[str, str]:
    return "", device.id


def _by_name(device: Device) -> tuple[str, str]:
    return _name(device), device.id


def _after_heard(found: list[Device], heard: dict[str, int], position: list[str] | None) -> int:
    if position is None:
        return 0
    if not position[1][1:].isdigit() or len(position[1]) > 20:
        raise _foreign_cursor()
    return bisect_right(found, (-int(position[1][1:]), position[2]), key=lambda one: (-heard[one.id], one.id))


def _foreign_cursor() -> Invalid:
    message = "cursor is not one that this server gave for this order"
    return Invalid("cursor_invalid", message, [FieldError("cursor", message)])


@router.get("/devices/facets", response_model=Facets)
async def facets(wired: Wired, identity: Viewer, wanted: Wanted) -> dict[str, Any]:
    """What one may filter by, and how many devices each choice would show beside the other filters."""
    filters = _filters(wired, wanted)
    seen = visible(wired, identity)
    fitting_all = seen
    # What one filter alone keeps out is a choice of that filter.
    but_for: dict[str, list[Device]] = {}
    if filters:
        fitting_all = []
        for device in seen:
            failed = [one.name for one in filters if not one.fits(device)]
            if not failed:
                fitting_all.append(device)
            elif len(failed) == 1:
                but_for.setdefault(failed[0], []).append(device)
    counts = {name: _counted(wired, name, fitting_all + but_for.get(name, [])) for name in _FACETS}
    return counts | {"total": len(fitting_all)}


def _counted(wired: Services, name: str, devices: list[Device]) -> dict[str, int]:
    found: Counter[str]
    if name == "tag":
        found = Counter(tag for one in devices for tag in one.tags)
    elif name == "firmware":
        said = (one.attributes.get(FIRMWARE) for one in devices)
        found = Counter(one for one in said if isinstance(one, str) and one)
    elif name == "online":
        online = sum(map(wired.presence.online, (one.id for one in devices)))
        found = Counter({"true": online, "false": len(devices) - online})
    else:
        found = Counter(map(attrgetter(name), devices))
    return dict(sorted(found.items()))
