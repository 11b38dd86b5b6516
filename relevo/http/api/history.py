"""``/api/v1/devices/{id}/latest``, ``…/telemetry/{key}`` and ``…/completeness``: reading values back."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from relevo.domain.devices import Device
from relevo.errors import NotFound
from relevo.http.api.devices import LatestValue
from relevo.http.api.paging import decode_numbers, encode_cursor
from relevo.http.api.questions import (
    Aggregates,
    Chart,
    From,
    Names,
    PointsMost,
    To,
    asked,
    every_s,
    span,
    wrong,
)
from relevo.http.api.times import parse_time
from relevo.http.needs import MayViewOrIsDevice
from relevo.http.services import Services, Wired
from relevo.http.waiting import while_waited_for
from relevo.store.history.asking import CompletenessWanted, Named

router = APIRouter(prefix="/api/v1", tags=["telemetry"])

_DAY_MS = 86_400_000
_encode = msgspec.json.Encoder().encode


class Points(BaseModel):
    """Points ``[ts, value]``, ``ts`` in milliseconds UTC, oldest first; with ``quality`` also ``device``, ``server``,
    ``repaired`` or ``corrected``, and whether it arrived late."""

    points: list[tuple[int, Any] | tuple[int, Any, str, bool]]
    next: str | None


class Completeness(BaseModel):
    """``gaps`` are spans ``[from, to]`` of silence of more than three times what is expected."""

    zone: str
    expected_every_s: float | None
    days: list[dict[str, Any]]


@router.get("/devices/{device_id}/latest", response_model=dict[str, LatestValue])
async def latest(wired: Wired, device: MayViewOrIsDevice) -> dict[str, Any]:
    """The newest value of every key."""
    values, _ = wired.latest(device.id)
    return {key: {"value": value, "ts": ts, "ts_source": source} for key, (value, ts, source) in values.items()}


@router.get(
    "/devices/{device_id}/telemetry/{key:path}",
    response_model=Points | Chart | Aggregates,
)
async def points(
    request: Request,
    wired: Wired,
    device: MayViewOrIsDevice,
    key: str,
    start: From = None,
    end: To = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    cursor: str | None = None,
    points: PointsMost = None,
    aggregate: Names = "",
    interval: Annotated[str, Query(max_length=8)] = "",
    quality: Annotated[
        bool, Query(description="Also where each point's time is from, and whether it was late.")
    ] = False,
) -> Any:
    """Values with ``from <= ts < to``; times as milliseconds or ISO 8601, by default everything.

    Page by page; or at most ``points`` points, the lowest and highest among them; or ``aggregate`` for each
    ``interval``.
    """
    first, last = span(wired, start, end)
    question = asked(wired, [(device, key)], first, last, points, aggregate, interval, True)
    if question is not None:
        if cursor or quality:
            raise wrong("cursor" if cursor else "quality", "is for pages: without points and aggregate")
        body, nothing = await while_waited_for(request, wired.history.body(question))
        if nothing:
            _known(wired, device, key)
        return Response(body, media_type="application/json")
    after = decode_numbers(cursor, 2)
    position = (after[0], after[1]) if after else None
    body, last_one, nothing = await while_waited_for(
        request,
        wired.history.json_page(device.id, key, first, last, limit, position, device.registered_seq, quality),
    )
    if nothing and after is None:
        _known(wired, device, key)
    following = encode_cursor(*last_one) if last_one is not None else None
    return Response(b'{"points":%b,"next":%b}' % (body, _encode(following)), media_type="application/json")


def _known(wired: Services, device: Device, key: str) -> None:
    if key not in wired.latest(device.id)[0]:
        raise NotFound(f"device {device.id!r} has no key {key!r}")


@router.get("/devices/{device_id}/completeness", response_model=Completeness)
async def completeness(
    request: Request,
    wired: Wired,
    device: MayViewOrIsDevice,
    start: From = None,
    end: To = None,
    key: Annotated[str, Query(max_length=64, description="Of this key alone; without it, of the device.")] = "",
) -> Response:
    """How much of what was expected arrived on each day of the device's site, by default the last 30.

    What is expected is the attribute ``expected_every_s``, or else what is usual for the device.
    """
    now = wired.clock.now_ms()
    last = min(parse_time(end, "to", now), now)
    first = parse_time(start, "from", max(last - 30 * _DAY_MS, 0))
    of = Named(device.id, device.registered_seq, key, every_s(device))
    question = CompletenessWanted(of, first, last, wired.settings.notifications.zone)
    body, _ = await while_waited_for(request, wired.history.body(question))
    return Response(body, media_type="application/json")
