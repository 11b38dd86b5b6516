"""``/api/v1/devices/{id}/latest`` and ``…/telemetry/{key}``: reading values back."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from relevo.errors import NotFound
from relevo.http.api.devices import LatestValue
from relevo.http.api.paging import decode_numbers, encode_cursor
from relevo.http.api.times import parse_time
from relevo.http.needs import MayViewOrIsDevice
from relevo.http.services import Wired
from relevo.http.waiting import while_waited_for

router = APIRouter(prefix="/api/v1", tags=["telemetry"])

_DAY_MS = 86_400_000


class Points(BaseModel):
    """Points ``[ts, value]``, ``ts`` in milliseconds UTC, oldest first."""

    points: list[tuple[int, Any]]
    next: str | None


@router.get("/devices/{device_id}/latest", response_model=dict[str, LatestValue])
async def latest(wired: Wired, device: MayViewOrIsDevice) -> dict[str, Any]:
    """The newest value of every key."""
    values, _ = wired.latest(device.id)
    return {key: {"value": value, "ts": ts, "ts_source": source} for key, (value, ts, source) in values.items()}


@router.get("/devices/{device_id}/telemetry/{key:path}", response_model=Points)
async def points(
    request: Request,
    wired: Wired,
    device: MayViewOrIsDevice,
    key: str,
    start: Annotated[str | None, Query(alias="from")] = None,
    end: Annotated[str | None, Query(alias="to")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Values with ``from <= ts < to``; times as milliseconds or ISO 8601, by default everything."""
    after = decode_numbers(cursor, 2)
    first = parse_time(start, "from", 0)
    # Devices may run ahead by a day before their clock is repaired.
    last = parse_time(end, "to", wired.clock.now_ms() + 2 * _DAY_MS)
    page = await while_waited_for(
        request,
        wired.history.page(
            device.id,
            key,
            first,
            last,
            limit,
            (after[0], after[1]) if after else None,
            device.registered_seq,
        ),
    )
    if not page.points and after is None and key not in wired.latest(device.id)[0]:
        raise NotFound(f"device {device.id!r} has no key {key!r}")
    following = encode_cursor(page.points[-1].ts, page.points[-1].seq) if page.more else None
    return {"points": [(point.ts, point.value) for point in page.points], "next": following}
