"""What a schedule may say: every field with its limit, and that it will run at all."""

import math
from typing import Any, Final

from msgspec.structs import replace

from relevo.domain.actions import check_action
from relevo.domain.crons import check_expression
from relevo.domain.schedules import POLICIES, Schedule, why_none
from relevo.domain.sun import EVENTS
from relevo.domain.timetables import WEEK_MINUTES, Window, always, check_days, check_windows, pieces, timetable
from relevo.domain.timings import Countdown, Cron, Every, Frame, Once, Sun, Weekly, groups
from relevo.domain.zones import LAST_MS, check_zone, zone_of
from relevo.errors import FieldError, Invalid

NAME_LIMIT: Final = 100
# A year of seconds.
SECONDS_MOST: Final = 31_622_400
OFFSET_MOST_MIN: Final = 720
LATE_LIMIT_MOST_S: Final = 604_800
JITTER_MOST_S: Final = 3_600


def check_schedule(schedule: Schedule) -> None:
    """Raise :class:`Invalid` with an error for each field that is wrong.

    What never runs from the moment on which it begins to count is wrong too.
    """
    wrong = _plain_fields(schedule)
    try:
        check_zone(schedule.zone)
    except Invalid as error:
        wrong += error.errors
    wrong += _timing(schedule)
    if not wrong:
        why = why_none(replace(schedule, enabled=True), schedule.begun_at)
        if why:
            wrong.append(_field("timing", f"never runs: {why}"))
    if wrong:
        raise Invalid("schedule_invalid", "; ".join(f"{one.field} {one.message}" for one in wrong[:3]), wrong)


def _plain_fields(schedule: Schedule) -> list[FieldError]:
    wrong = []
    if not 0 < len(schedule.name) <= NAME_LIMIT or not schedule.name.isprintable():
        wrong.append(_field("name", f"must be 1 to {NAME_LIMIT} printable characters"))
    if schedule.missed not in POLICIES:
        wrong.append(_field("missed", f"must be one of {', '.join(POLICIES)}"))
    wrong += _range("late_limit_s", schedule.late_limit_s, 1, LATE_LIMIT_MOST_S)
    wrong += _range("jitter_s", schedule.jitter_s, 0, JITTER_MOST_S)
    for name in ("created_at", "since", "starts_at", "ends_at"):
        wrong += _range(name, getattr(schedule, name), 0, LAST_MS)
    if 0 < schedule.ends_at <= schedule.starts_at:
        wrong.append(_field("ends_at", "must be after starts_at"))
    for name, value, most in (("lat", schedule.lat, 90), ("lon", schedule.lon, 180)):
        if value is not None and not (math.isfinite(value) and abs(value) <= most):
            wrong.append(_field(name, f"must be -{most} to {most} degrees"))
    return wrong


def _timing(schedule: Schedule) -> list[FieldError]:
    timing = schedule.timing
    if isinstance(timing, Weekly):
        return _weekly(schedule, timing)
    wrong = check_action(schedule.action)
    if schedule.end_action:
        wrong.append(_field("end_action", "is for weekly windows, nothing else has an end"))
    match timing:
        case Once():
            wrong += _range("timing.at", timing.at, 1, LAST_MS - 1)
        case Countdown():
            wrong += _range("timing.in", timing.seconds, 1, SECONDS_MOST)
        case Every():
            wrong += _range("timing.seconds", timing.seconds, 1, SECONDS_MOST)
            wrong += _range("timing.anchor", timing.anchor, 0, LAST_MS)
            if schedule.jitter_s > timing.seconds > 0:
                wrong.append(_field("jitter_s", f"must not be longer than timing.seconds ({timing.seconds})"))
        case Cron():
            problem = check_expression(timing.expression)
            if problem:
                wrong.append(_field("timing.expression", problem))
        case Sun():
            if timing.event not in EVENTS:
                wrong.append(_field("timing.event", f"must be one of {', '.join(EVENTS)}"))
            wrong += _range("timing.offset_min", timing.offset_min, -OFFSET_MOST_MIN, OFFSET_MOST_MIN)
            wrong += check_days(timing.days, "timing.days")
            wrong += [
                _field(name, "is needed for the sun")
                for name, value in (("lat", schedule.lat), ("lon", schedule.lon))
                if value is None
            ]
    return wrong


def _weekly(schedule: Schedule, timing: Weekly) -> list[FieldError]:
    wrong = check_windows(timing.windows, "timing.windows")
    if schedule.action:
        wrong += check_action(schedule.action)
    if schedule.end_action:
        wrong += check_action(schedule.end_action, "end_action")
    for n, window in enumerate(timing.windows):
        where = f"timing.windows.{n}"
        if window.action or not schedule.action:
            wrong += check_action(window.action, f"{where}.action")
        if window.end_action:
            wrong += check_action(window.end_action, f"{where}.end_action")
            if not window.end:
                wrong.append(_field(f"{where}.end_action", "needs to, a point in time has no end"))
    return wrong or _together(timing, schedule.frame)


def _together(timing: Weekly, frame: Frame) -> list[FieldError]:
    """Windows that do the same are joined; others may touch, but not be on at the same time."""
    zone = zone_of("UTC")
    taken: list[tuple[int, int, int]] = []
    for n, group in enumerate(groups(timing, frame)):
        if always(timetable(group.windows, zone)) and not _points(group.windows):
            where = f"timing.windows.{group.first}"
            return [_field(where, f"and those like it cover all {WEEK_MINUTES} minutes of a week: nothing starts")]
        taken += [(start, end, n) for start, end in pieces(group.windows)]
    taken.sort()
    firsts = [group.first for group in groups(timing, frame)]
    reach: dict[int, int] = {}
    for start, end, n in taken:
        for other, until in reach.items():
            if other != n and start < until:
                a, b = sorted((firsts[n], firsts[other]))
                message = f"or one like it overlaps windows.{a} (or one like it), which does something else"
                return [_field(f"timing.windows.{b}", message)]
        reach[n] = max(end, reach.get(n, 0))
    return []


def _points(windows: list[Window]) -> bool:
    return any(not window.end for window in windows)


def _range(field: str, value: Any, least: int, most: int) -> list[FieldError]:
    if isinstance(value, int) and least <= value <= most:
        return []
    return [_field(field, f"must be {least} to {most}, not {value}")]


def _field(field: str, message: str) -> FieldError:
    return FieldError(field, message, "schedule_invalid")
