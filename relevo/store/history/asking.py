"""What is asked of history beside pages of points, as the server puts it to the process that answers.

Answers are the bytes of a JSON body: the server passes them on as they are.
"""

from typing import Final, Literal

import msgspec

AGGREGATES: Final = ("min", "max", "mean", "count", "first", "last", "sum", "increase", "on")
# A silence is a gap when it is longer than so many times what is expected between two points.
GAP_TIMES: Final = 3
GAPS_MOST: Final = 1_000
POINTS_LEAST: Final = 10
POINTS_MOST: Final = 10_000
ROWS_MOST: Final = 100_000
DEVICES_MOST: Final = 1_000
# Points or rows in one answer, of all devices together.
TOGETHER_MOST: Final = 1_000_000
DAYS_MOST: Final = 3_700


class Named(msgspec.Struct, array_like=True, gc=False):
    """One series: a device, the number of the event that registered it, a key (for completeness empty for all), and
    how many seconds are expected between two points, 0 where nobody said."""

    device: str
    since: int
    key: str
    every_s: float = 0.0


class PageWanted(msgspec.Struct, array_like=True, tag="page"):
    """A page of points, see :func:`series.read`; as ``json`` its points without, or with their quality."""

    device: str
    key: str
    start: int
    end: int
    limit: int
    after: tuple[int, int] | None
    since: int
    json: Literal["", "points", "quality"] = ""


class ChartWanted(msgspec.Struct, array_like=True, tag="chart"):
    """At most ``points`` points of each series with ``start <= ts < end``, its extremes among them.

    ``zone`` is that of devices without a site. ``alone`` asks for an object instead of a list of them.
    """

    series: list[Named]
    start: int
    end: int
    zone: str
    points: int
    alone: bool


class AggregatesWanted(msgspec.Struct, array_like=True, tag="aggregates"):
    """The aggregates ``names`` of each series in each ``interval`` that has points."""

    series: list[Named]
    start: int
    end: int
    zone: str
    interval: str
    names: list[str]
    alone: bool


class CompletenessWanted(msgspec.Struct, array_like=True, tag="completeness"):
    """For each local day, how much of what was expected of a device arrived. ``end`` is not later than now."""

    of: Named
    start: int
    end: int
    zone: str


Question = ChartWanted | AggregatesWanted | CompletenessWanted
