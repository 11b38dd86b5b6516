"""``/api/v1/telemetry`` and ``/api/v1/latest``: what many devices measured, each that one may view."""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from relevo.domain.accounts import Identity
from relevo.domain.bulk import Selection
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.http.api.paging import decode_cursor, encode_cursor
from relevo.http.api.questions import Chart, From, Names, PointsMost, To, asked, span, wrong
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired
from relevo.http.waiting import while_waited_for
from relevo.store.history.asking import DEVICES_MOST

router = APIRouter(prefix="/api/v1", tags=["telemetry"])

_KEYS_MOST: Final = 32
_LATEST_MOST: Final = 10_000
# Devices between two looks at what else there is to do: about a millisecond.
_AT_ONCE: Final = 250

# A thousand ids of 39 characters, and the head of the request (64 KiB) has room for them.
Ids = Annotated[
    str,
    Query(alias="devices", max_length=40_000, pattern=r"^[A-Za-z0-9_.:,-]*$", description="Ids, separated by commas."),
]
Tag = Annotated[str, Query(max_length=64)]
Site = Annotated[str, Query(max_length=64)]
Type = Annotated[str, Query(max_length=64)]


class ChartOf(Chart):
    device: str
    key: str


class Axis(BaseModel):
    """The beginnings of intervals in one zone, in milliseconds UTC."""

    zone: str
    start: list[int] = Field(alias="from")


class AggregatesOf(BaseModel):
    """``values`` has a list for each aggregate, as long as the axis with the number ``axis``; null where there are no
    points."""

    device: str
    key: str
    axis: int
    source: str
    values: dict[str, list[Any]]


class Charts(BaseModel):
    """An item for each device and key of which there is anything."""

    items: list[ChartOf]


class AggregatesOfMany(BaseModel):
    """An item for each device and key of which there is anything."""

    interval: str
    axes: list[Axis]
    items: list[AggregatesOf]


class LatestReading(BaseModel):
    """The newest values that came together; ``ts`` is milliseconds UTC."""

    ts: int
    ts_source: str
    values: dict[str, Any]


class LatestOf(BaseModel):
    """``last_seen`` is milliseconds UTC, 0 for never. Each key is in one of the readings."""

    device: str
    last_seen: int
    readings: list[LatestReading]


class LatestPage(BaseModel):
    """By the id of the device."""

    items: list[LatestOf]
    next: str | None


class _Reading(msgspec.Struct, gc=False):
    ts: int
    ts_source: str
    values: msgspec.Raw | dict[str, Any]


class _Latest(msgspec.Struct, gc=False):
    device: str
    last_seen: int
    readings: list[_Reading]


class _Page(msgspec.Struct, gc=False):
    items: list[_Latest]
    next: str | None


class _Document(msgspec.Struct, gc=False):
    """A device's document (:mod:`relevo.store.latest`), with its values as they are."""

    g: list[tuple[int, str, msgspec.Raw]] = []
    r: int = 0


_document: Final = msgspec.json.Decoder(_Document).decode
_values: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.Encoder().encode


def _chosen(wired: Services, identity: Identity, ids: str, selection: Selection) -> list[Device]:
    """The devices that are meant and that one may view, by id. Raises :class:`relevo.errors.NotFound`."""
    right = wired.auth.people.right
    if ids:
        named = [wired.auth.device_for(identity, one, Right.VIEW) for one in dict.fromkeys(ids.split(",")) if one]
        return sorted((one for one in named if selection.fits(one)), key=lambda one: one.id)
    return [one for one in wired.registry.all() if selection.fits(one) and right(identity, one)]


def _selection(tag: str, site: str, kind: str) -> Selection:
    return Selection((), (tag,) if tag else (), kind, site)


@router.get("/telemetry", response_model=Charts | AggregatesOfMany)
async def across(
    request: Request,
    wired: Wired,
    identity: Viewer,
    key: Annotated[str, Query(min_length=1, max_length=2_048, description="Up to 32 keys, separated by commas.")],
    ids: Ids = "",
    site: Site = "",
    tag: Tag = "",
    kind: Annotated[str, Query(alias="type", max_length=64)] = "",
    start: From = None,
    end: To = None,
    points: PointsMost = None,
    aggregate: Names = "",
    interval: Annotated[str, Query(max_length=8)] = "",
) -> Response:
    """Points or aggregates of up to 1,000 devices that one may view: those named, or of a site, a tag or a type."""
    keys = list(dict.fromkeys(one for one in key.split(",") if one))
    if not 1 <= len(keys) <= _KEYS_MOST:
        raise wrong("key", f"names {len(keys)} keys, 1 to {_KEYS_MOST} at once")
    devices = _chosen(wired, identity, ids, _selection(tag, site, kind))
    if len(devices) > DEVICES_MOST:
        raise wrong("devices", f"are {len(devices)}, at most {DEVICES_MOST} at once")
    first, last = span(wired, start, end)
    of = [(device, one) for device in devices for one in keys]
    question = asked(wired, of, first, last, points, aggregate, interval, False)
    if question is None:
        raise wrong("points", "or aggregate is missing: pages of points are asked for device by device")
    body, _ = await while_waited_for(request, wired.history.body(question))
    return Response(body, media_type="application/json")


@router.get("/latest", response_model=LatestPage)
async def latest_of_many(
    wired: Wired,
    identity: Viewer,
    key: Annotated[str, Query(max_length=2_048, description="Of these keys alone, separated by commas.")] = "",
    ids: Ids = "",
    site: Site = "",
    tag: Tag = "",
    kind: Annotated[str, Query(alias="type", max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=_LATEST_MOST)] = 1_000,
    cursor: str | None = None,
) -> Response:
    """The newest values of the devices that one may view, by id."""
    position = decode_cursor(cursor, 1)
    devices = _chosen(wired, identity, ids, _selection(tag, site, kind))
    if position is not None:
        devices = [one for one in devices if one.id > position[0]]
    keys = frozenset(one for one in key.split(",") if one)
    items: list[_Latest] = []
    documents, polled = wired.pipeline.documents, wired.polled
    for at, device in enumerate(devices[:limit]):
        if at % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
        data = documents.get(device.id)
        heard = polled.get(device.id, 0)
        if data is None:
            items.append(_Latest(device.id, heard, []))
            continue
        document = _document(data)
        items.append(_Latest(device.id, max(document.r, heard), list(_readings(document, keys))))
    following = encode_cursor(devices[limit - 1].id) if len(devices) > limit else None
    return Response(_encode(_Page(items, following)), media_type="application/json")


def _readings(document: _Document, keys: frozenset[str]) -> Iterable[_Reading]:
    for ts, source, raw in document.g:
        if not keys:
            yield _Reading(ts, source, raw)
            continue
        values = {name: value for name, value in _values(raw).items() if name in keys}
        if values:
            yield _Reading(ts, source, values)
