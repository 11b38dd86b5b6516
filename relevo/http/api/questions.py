"""What questions about history have in common: parameters, answers, and what is put to the process that knows."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import BaseModel, Field

from relevo.domain.devices import Device
from relevo.domain.intervals import parse_interval
from relevo.domain.presence import EXPECTED
from relevo.errors import FieldError, Invalid
from relevo.http.api.times import parse_time
from relevo.http.services import Services
from relevo.store.history.asking import (
    AGGREGATES,
    POINTS_LEAST,
    POINTS_MOST,
    TOGETHER_MOST,
    AggregatesWanted,
    ChartWanted,
    Named,
)

From = Annotated[str | None, Query(alias="from")]
To = Annotated[str | None, Query(alias="to")]
PointsMost = Annotated[
    int | None, Query(ge=POINTS_LEAST, le=POINTS_MOST, description="At most so many points, extremes among them.")
]
Names = Annotated[str, Query(max_length=128, description=f"Of each interval: {', '.join(AGGREGATES)}.")]
_DAY_MS: Final = 86_400_000


class Chart(BaseModel):
    """At most as many points ``[ts, value]`` as asked for, each of them measured; ``source`` is ``raw``, ``hour`` or
    ``day``. ``gaps`` are spans ``[from, to]`` of silence: no line belongs across."""

    points: list[tuple[int, Any]]
    source: str
    gaps: list[tuple[int, int]]
    next: None


class Aggregates(BaseModel):
    """``from`` are the beginnings of the intervals that have points, in milliseconds UTC; ``values`` has a list of the
    same length for each aggregate."""

    interval: str
    zone: str
    source: str
    start: list[int] = Field(alias="from")
    values: dict[str, list[Any]]


def wrong(field: str, problem: str) -> Invalid:
    message = f"{field} {problem}"
    return Invalid("question_invalid", message, [FieldError(field, message, "question_invalid")])


def span(wired: Services, start: str | None, end: str | None) -> tuple[int, int]:
    """``from`` and ``to``, by default everything. Raises :class:`Invalid`."""
    # Devices may run ahead by a day before their clock is repaired.
    return parse_time(start, "from", 0), parse_time(end, "to", wired.clock.now_ms() + 2 * _DAY_MS)


def every_s(device: Device) -> float:
    """How many seconds are expected between two readings, 0 where nobody said."""
    every = device.attributes.get(EXPECTED)
    known = isinstance(every, int | float) and not isinstance(every, bool) and 0 < every < 1e8
    return float(every) if known else 0.0  # type: ignore[arg-type, unused-ignore]


def asked(
    wired: Services,
    of: Sequence[tuple[Device, str]],
    start: int,
    end: int,
    points: int | None,
    aggregate: str,
    interval: str,
    alone: bool,
) -> ChartWanted | AggregatesWanted | None:
    """The question that these parameters are, none for pages of points. Raises :class:`Invalid`."""
    zone = wired.settings.notifications.zone
    series = [Named(device.id, device.registered_seq, key, every_s(device)) for device, key in of]
    if not aggregate:
        if interval:
            raise wrong("interval", "is for aggregate, which is not given")
        if points is None:
            return None
        if points * len(series) > TOGETHER_MOST:
            raise wrong("points", f"is {points} for {len(series)} series, together at most {TOGETHER_MOST}")
        return ChartWanted(series, start, end, zone, points, alone)
    if points is not None:
        raise wrong("points", "and aggregate are two questions: give one of them")
    names = list(dict.fromkeys(aggregate.split(",")))
    if unknown := [name for name in names if name not in AGGREGATES]:
        raise wrong("aggregate", f"has {unknown[0][:32]!r}, which is none of {', '.join(AGGREGATES)}")
    if not interval:
        raise wrong("interval", "is missing: 15m, 1h, 1d, 1w, 1mo …")
    parse_interval(interval)
    return AggregatesWanted(series, start, end, zone, interval, names, alone)
