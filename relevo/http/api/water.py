"""``/api/v1/devices/{id}/consumption`` and ``/api/v1/tariffs``: what flowed through a meter, and what it costs."""

from bisect import bisect_right
from datetime import timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.alerts import Alert
from relevo.domain.customers import PRICE_MOST, Customer
from relevo.domain.devices import Device
from relevo.domain.intervals import boundaries, parse_interval
from relevo.domain.meters import LEAK, TOTAL, customer_of
from relevo.domain.records import Dropped, Kept
from relevo.domain.tariffs import (
    ATTRIBUTE,
    NAME_LIMIT,
    STEPS_MOST,
    TARIFFS_MOST,
    VOLUME_MOST,
    Step,
    Tariff,
    bill,
    check_tariff,
)
from relevo.domain.zones import local, zone_of
from relevo.errors import Conflict, NotFound
from relevo.http.api.questions import every_s, wrong
from relevo.http.api.times import iso, parse_time
from relevo.http.needs import Administrator, MayView
from relevo.http.services import Services, Wired
from relevo.http.waiting import while_waited_for
from relevo.store import alerts
from relevo.store.history.asking import AggregatesWanted, Named

router = APIRouter(prefix="/api/v1", tags=["hidrometro"])

By = Literal["hour", "day", "month"]
_INTERVALS: Final = {"hour": "1h", "day": "1d", "month": "1mo"}
# Without `from`.
_SPANS: Final = {"hour": timedelta(days=2), "day": timedelta(days=31), "month": timedelta(days=365)}
_LITRES: Final = {"l": 1.0, "m3": 1000.0}
_LEAKS_MOST: Final = 200


class Bucket(BaseModel):
    """``from`` and ``to`` in milliseconds UTC; ``complete`` when it is over."""

    start: int = Field(alias="from")
    end: int = Field(alias="to")
    litres: float
    complete: bool


class MonthBill(BaseModel):
    """What a month (``2026-11``) costs, so far when it is not ``complete``; amounts in ``currency``."""

    month: str
    litres: float
    complete: bool
    base: float
    water: float
    taxes: float
    total: float
    currency: str


class LeakMarker(BaseModel):
    """A leak that was told within the span; ``ended`` is null while it is open."""

    alert: str
    state: str
    severity: str
    text: str
    opened: str | None
    ended: str | None


class ConsumptionOut(BaseModel):
    """Buckets in which the meter said something; ``litres`` is of all of them together. ``bill`` has the months, and is
    null for hours and days and where nobody named a price. ``tariff`` is the one that holds."""

    device: str
    key: str
    by: str
    zone: str
    buckets: list[Bucket]
    litres: float
    tariff: str | None
    bill: list[MonthBill] | None
    leaks: list[LeakMarker]


class _Values(msgspec.Struct):
    increase: list[float | None] = []


class _Answer(msgspec.Struct):
    start: list[int] = msgspec.field(name="from", default_factory=list)
    values: _Values = msgspec.field(default_factory=_Values)


_decode: Final = msgspec.json.Decoder(_Answer | None).decode


@router.get("/devices/{device_id}/consumption", response_model=ConsumptionOut)
async def consumption(
    request: Request,
    wired: Wired,
    held: MayView,
    by: By = "day",
    start: Annotated[
        str | None, Query(alias="from", description="Counts from where its hour, day or month begins.")
    ] = None,
    end: Annotated[str | None, Query(alias="to")] = None,
    key: Annotated[str, Query(min_length=1, max_length=64, description="The counter.")] = TOTAL,
    unit: Annotated[Literal["l", "m3"], Query(description="What the counter counts.")] = "l",
) -> dict[str, Any]:
    """What flowed in each hour, day or month by the clocks of the meter's site.

    A counter that begins anew counts on from there; by default the last two days, month or year.
    """
    device = held.device
    now = wired.clock.now_ms()
    site = wired.sites.get(device.site)
    zone = zone_of(site.zone if site is not None and site.zone else wired.settings.notifications.zone)
    last = parse_time(end, "to", now)
    first = parse_time(start, "from", max(last - round(_SPANS[by].total_seconds() * 1000), 0))
    if first >= last:
        raise wrong("from", "must be before to")
    first = boundaries(parse_interval(_INTERVALS[by]), zone, first, first + 1)[0]
    series = [Named(device.id, device.registered_seq, key, every_s(device))]
    question = AggregatesWanted(
        series, first, last, wired.settings.notifications.zone, _INTERVALS[by], ["increase"], True
    )
    body, nothing = await while_waited_for(request, wired.history.body(question))
    if nothing and key not in wired.latest(device.id)[0]:
        raise NotFound(f"device {device.id!r} has no key {key!r}")
    found = _decode(body) or _Answer()
    over = min(now, last)
    buckets = [
        {"from": begin, "to": ends, "litres": round((rose or 0.0) * _LITRES[unit], 3), "complete": ends <= over}
        for begin, ends, rose in zip(found.start, _ends(found.start, by, zone), found.values.increase, strict=True)
    ]
    tariff = tariff_of(wired, device)
    return {
        "device": device.id,
        "key": key,
        "by": by,
        "zone": zone.key,
        "buckets": buckets,
        "litres": round(sum(one["litres"] for one in buckets), 3),
        "tariff": (tariff.id or None) if tariff is not None else None,
        "bill": [_bill(one, tariff, zone) for one in buckets] if by == "month" and tariff is not None else None,
        "leaks": await _leaks(wired, device, first, last),
    }


def _ends(starts: list[int], by: By, zone: ZoneInfo) -> list[int]:
    """Where each bucket ends."""
    if not starts:
        return []
    edges = boundaries(parse_interval(_INTERVALS[by]), zone, starts[0], starts[-1] + 1)
    return [edges[bisect_right(edges, one)] for one in starts]


def _bill(bucket: dict[str, Any], tariff: Tariff, zone: ZoneInfo) -> dict[str, Any]:
    amounts = bill(bucket["litres"], tariff)
    month = local(bucket["from"], zone).strftime("%Y-%m")
    of = {"month": month, "litres": bucket["litres"], "complete": bucket["complete"], "currency": tariff.currency}
    return of | amounts._asdict()


def tariff_of(wired: Services, device: Device) -> Tariff | None:
    """The tariff of a meter: the one its attribute ``tariff`` names, else its customer's, else the customer's price for
    a cubic metre, which has no name."""
    tariffs = wired.consumption.tariffs
    number = customer_of(device)
    customer = wired.consumption.customers.get(number) if number is not None else None
    for named in (device.attributes.get(ATTRIBUTE), customer.tariff if customer is not None else ""):
        if isinstance(named, str) and named in tariffs:
            return tariffs[named]
    if customer is not None and customer.price:
        return Tariff("", customer.name, customer.currency, 0.0, [Step(None, customer.price)])
    return None


async def _leaks(wired: Services, device: Device, start: int, end: int) -> list[dict[str, Any]]:
    found = await wired.readers.run_core(alerts.page, _LEAKS_MOST, None, [device.id], (), "", LEAK)
    return [_leak(one) for _, one in reversed(found) if one.opened_at < end and not 0 < one.ended_at < start]


def _leak(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.id,
        "state": alert.state,
        "severity": alert.severity,
        "text": alert.text,
        "opened": iso(alert.opened_at),
        "ended": iso(alert.ended_at),
    }


class StepBody(BaseModel):
    """Water up to so many cubic metres of a month at ``price`` for each; without ``up_to_m3`` all the rest."""

    model_config = ConfigDict(extra="forbid")

    up_to_m3: float | None = Field(default=None, gt=0, le=VOLUME_MOST, strict=True)
    price: float = Field(ge=0, le=PRICE_MOST, strict=True)


class TariffBody(BaseModel):
    """``base`` is charged each month, ``taxes_percent`` on everything. What is beyond the last step costs its price."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
    name: str = Field(min_length=1, max_length=NAME_LIMIT)
    currency: str = Field(default="BRL", pattern="^[A-Z]{3}$")
    base: float = Field(default=0, ge=0, le=PRICE_MOST, strict=True)
    steps: list[StepBody] = Field(min_length=1, max_length=STEPS_MOST)
    taxes_percent: float = Field(default=0, ge=0, le=100, strict=True)


class TariffPage(BaseModel):
    """By id."""

    items: list[TariffBody]
    next: None


@router.get("/tariffs", response_model=TariffPage)
async def page(wired: Wired, identity: Administrator) -> dict[str, Any]:
    """All of them."""
    found = sorted(wired.consumption.tariffs.values(), key=lambda one: one.id)
    return {"items": [msgspec.to_builtins(one) for one in found], "next": None}


@router.put("/tariffs", response_model=TariffBody)
async def put(request: Request, wired: Wired, identity: Administrator, body: TariffBody) -> dict[str, Any]:
    """A new tariff, or another in the place of the one with the same id. Customers and meters name it by that."""
    steps = [Step(one.up_to_m3, one.price) for one in body.steps]
    tariff = Tariff(body.id, body.name, body.currency, body.base, steps, body.taxes_percent)
    check_tariff(tariff)
    if body.id not in wired.consumption.tariffs and len(wired.consumption.tariffs) >= TARIFFS_MOST:
        raise Conflict(f"there are {TARIFFS_MOST} tariffs, which is the limit")
    await wired.pipeline.accept([Kept(tariff), wired.audited(request, identity, "tariff.change", body.id)])
    found: dict[str, Any] = msgspec.to_builtins(tariff)
    return found


@router.delete("/tariffs/{name}", status_code=204)
async def remove(
    request: Request, wired: Wired, identity: Administrator, name: Annotated[str, Path(max_length=64)]
) -> None:
    """Forget one that no customer and no meter names any more."""
    if name not in wired.consumption.tariffs:
        raise NotFound(f"no tariff {name!r}")
    customers: list[Customer] = [one for one in wired.consumption.customers.values() if one.tariff == name]
    named = [f"customer {one.id}" for one in customers]
    named += [f"device {one.id}" for one in wired.registry.all() if one.attributes.get(ATTRIBUTE) == name]
    if named:
        raise Conflict(f"tariff {name!r} is the one of {', '.join(named[:5])}: give them another first")
    await wired.pipeline.accept([Dropped(Tariff, name), wired.audited(request, identity, "tariff.delete", name)])
