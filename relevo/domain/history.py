"""Changing what is stored: spans of points that are taken out, or replaced by others.

What arrives after such an event stays, whatever time it has.
"""

from typing import Any

from relevo.domain.events import HistoryCorrected, HistoryErased
from relevo.domain.telemetry import DEFAULT_LIMITS, TelemetryLimits, check_values
from relevo.errors import Invalid

POINTS_MOST = 10_000


def erase(device: str, at: int, key: str, t0: int, t1: int, by: str = "") -> HistoryErased:
    """Take the points of ``key`` (empty: of all keys) with ``t0 <= ts < t1`` out; all times are milliseconds UTC.

    Raises :class:`Invalid` (``span_empty``).
    """
    _check_span(t0, t1)
    return HistoryErased(device, at, key, t0, t1, by)


def correct(
    device: str,
    at: int,
    key: str,
    t0: int,
    t1: int,
    points: list[tuple[int, Any]],
    by: str = "",
    limits: TelemetryLimits = DEFAULT_LIMITS,
) -> HistoryCorrected:
    """Replace the points of ``key`` with ``t0 <= ts < t1`` by ``points``, given as time and value.

    Raises :class:`Invalid` (``span_empty``, ``too_many_points``, ``points_unordered``, ``point_outside``, and the
    reasons of :mod:`relevo.domain.telemetry`).
    """
    _check_span(t0, t1)
    if len(points) > POINTS_MOST:
        raise Invalid("too_many_points", f"points: {len(points)} of at most {POINTS_MOST} at once")
    before = t0 - 1
    for number, (ts, value) in enumerate(points):
        if not t0 <= ts < t1:
            raise Invalid("point_outside", f"points.{number}: its time {ts} is not between {t0} and {t1}")
        if ts <= before:
            raise Invalid("points_unordered", f"points.{number}: its time {ts} is not later than the one before")
        before = ts
        refused = check_values({key: value}, limits)[1]
        if refused:
            raise refused[0]
    return HistoryCorrected(device, at, key, t0, t1, points, by)


def _check_span(t0: int, t1: int) -> None:
    if t0 >= t1:
        raise Invalid("span_empty", f"to: {t1} is not later than from, {t0}")
