"""What imported readings add to the months of a meter."""

from typing import Any
from zoneinfo import ZoneInfo

from relevo.domain.devices import Device, Registry
from relevo.domain.events import ReadingImported, TelemetryReceived
from relevo.domain.meters import CONTRACT, TOTAL
from relevo.jobs.consumption import Consumption

JANUARY, MARCH, DAY = 1_767_225_600_000, 1_772_323_200_000, 86_400_000


def imported(ts: int, total: float) -> ReadingImported:
    return ReadingImported("meter", ts, "imported", MARCH, {TOTAL: total})


def live(ts: int, total: float) -> TelemetryReceived:
    return TelemetryReceived("meter", ts, "device", ts, {TOTAL: total})


def test_months_of_the_past_come_in_beside_what_is_live() -> None:
    registry = Registry()
    registry.load([Device("meter", CONTRACT, "M-1", "Meter", "meter", JANUARY)])
    nothing: Any = None
    consumption = Consumption(nothing, registry, nothing, ZoneInfo("UTC"))
    # The live meter goes on while its January comes in; a fall of the total is a reset there, too.
    consumption.follow(1, [live(MARCH, 500.0), imported(JANUARY, 100.0), imported(JANUARY + DAY, 130.0)])
    consumption.follow(
        4, [live(MARCH + DAY, 510.0), imported(JANUARY + 2 * DAY, 5.0), imported(JANUARY + 3 * DAY, 9.0)]
    )
    assert consumption.months("meter") == {"2026-03": 10.0, "2026-01": 34.0}
