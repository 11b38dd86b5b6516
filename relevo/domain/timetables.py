"""Weekly timetables: what is on at which times of the week.

Theory. A timetable is a set of windows of local time. A window whose end is before its start crosses midnight, one
whose end is its start lasts a whole day. Windows that overlap or touch are one. The week is laid out in minutes from
Monday, windows are joined there once, and each week's are then turned into instants, so a window keeps its local times
when clocks change; windows that a change brings together are joined once more.

A window that lies wholly in an hour that a change leaves out has no length and does not take place.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from relevo.domain.zones import LAST_MS, earliest, instant
from relevo.errors import FieldError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOWS_MOST: Final = 63
DAY_MINUTES: Final = 1_440
WEEK_MINUTES: Final = 7 * DAY_MINUTES
_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_MINUTE: Final = timedelta(minutes=1)


class Window(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}, forbid_unknown_fields=True):
    """Local times ``from`` and ``to`` (``HH:MM``) of the days on which it begins; without ``to`` a point in time.

    ``action`` and ``end_action`` are what happens at its start and end, empty for those of its schedule.
    """

    days: tuple[str, ...]
    start: str
    end: str = ""
    action: dict[str, Any] = {}
    end_action: dict[str, Any] = {}


class Timetable(NamedTuple):
    """Windows made ready: joined stretches of the week in minutes from Monday; the last may end in the next."""

    zone: ZoneInfo
    stretches: tuple[tuple[int, int], ...]


class Span(NamedTuple):
    """From when to when something is on (milliseconds UTC)."""

    start: int
    end: int


class State(NamedTuple):
    """Whether a timetable is on, and until when (milliseconds UTC); ``None`` is for ever."""

    on: bool
    until: int | None


def minutes(text: str) -> int:
    """Minutes since midnight of ``HH:MM``; ``24:00`` is 1440. Raises ``ValueError``."""
    found = _TIME.fullmatch(text)
    if found is None:
        if text == "24:00":
            return DAY_MINUTES
        raise ValueError(f"must be a time of day as HH:MM, not {text[:16]!r}")
    return int(found[1]) * 60 + int(found[2])


def check_days(days: Iterable[str], field: str) -> list[FieldError]:
    """What is wrong with a list of weekdays."""
    given = list(days)
    if not given:
        return [FieldError(field, f"must name at least one of {' '.join(DAYS)}")]
    for day in given:
        if day not in DAYS:
            return [FieldError(field, f"names {day[:16]!r}, which is none of {' '.join(DAYS)}")]
    if len(set(given)) < len(given):
        return [FieldError(field, "names a day twice")]
    return []


def check_windows(windows: tuple[Window, ...], field: str = "windows") -> list[FieldError]:
    """What is wrong with the days, times and number of windows."""
    if not windows:
        return [FieldError(field, "must hold at least one window")]
    if len(windows) > WINDOWS_MOST:
        return [FieldError(field, f"has {len(windows)} windows, the limit is {WINDOWS_MOST}")]
    wrong: list[FieldError] = []
    for n, window in enumerate(windows):
        wrong += check_days(window.days, f"{field}.{n}.days")
        for name, text in (("from", window.start), ("to", window.end)):
            if name == "to" and not text:
                continue
            try:
                if minutes(text) == DAY_MINUTES and name == "from":
                    raise ValueError("must be 00:00 rather than 24:00")
            except ValueError as error:
                wrong.append(FieldError(f"{field}.{n}.{name}", str(error)))
    return wrong


def timetable(windows: Iterable[Window], zone: ZoneInfo) -> Timetable:
    """The timetable of windows that :func:`check_windows` found right; points in time are left out."""
    return Timetable(zone, tuple(_joined(pieces(windows))))


def pieces(windows: Iterable[Window]) -> list[tuple[int, int]]:
    """Stretches of one week in minutes from Monday, cut at its end, in order and not joined."""
    found: list[tuple[int, int]] = []
    for window in windows:
        if not window.end:
            continue
        begun = minutes(window.start)
        lasts = (minutes(window.end) - begun) % DAY_MINUTES or DAY_MINUTES
        for day in window.days:
            start = DAYS.index(day) * DAY_MINUTES + begun
            end = start + lasts
            found.append((start, min(end, WEEK_MINUTES)))
            if end > WEEK_MINUTES:
                found.append((0, end - WEEK_MINUTES))
    return sorted(found)


def always(table: Timetable) -> bool:
    """Whether it covers the whole week."""
    return table.stretches == ((0, WEEK_MINUTES),)


def spans(table: Timetable, from_ms: int, empty: bool = False) -> Iterator[Span]:
    """When ``table`` is on, in order, with every span that ends at or after ``from_ms``; not for a whole week.

    ``empty`` also yields windows that a change of clocks leaves without length.
    """
    held: Span | None = None
    for begun, ended in _weeks(table, from_ms):
        start, end = instant(begun, table.zone), instant(ended, table.zone)
        if start >= LAST_MS:
            break
        if held is not None and start <= held.end:
            held = Span(held.start, max(held.end, end))
            continue
        if held is not None and (empty or held.start < held.end):
            yield held
        held = Span(start, end)
    if held is not None and (empty or held.start < held.end):
        yield held


def points(windows: Iterable[Window], zone: ZoneInfo, from_ms: int) -> Iterator[int]:
    """The instants, in order, of those windows that are points in time; some are before ``from_ms``."""
    marks = {DAYS.index(day) * DAY_MINUTES + minutes(one.start) for one in windows if not one.end for day in one.days}
    last = -1
    for begun, _ in _weeks(Timetable(zone, tuple((mark, mark) for mark in sorted(marks))), from_ms):
        at = instant(begun, zone)
        if at >= LAST_MS:
            return
        if at > last:
            yield at
        last = at


def state_at(table: Timetable, ms: int) -> State:
    """Whether ``table`` is on at ``ms`` (UTC), and until when that stays so."""
    if always(table) or not table.stretches:
        return State(bool(table.stretches), None)
    for span in spans(table, ms):
        if ms < span.start:
            return State(False, span.start)
        if ms < span.end:
            return State(True, span.end)
    return State(False, None)


def _joined(cut: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in cut:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    # Over the night from Sunday to Monday.
    if len(found) > 1 and found[0][0] == 0 and found[-1][1] == WEEK_MINUTES:
        _, early = found.pop(0)
        found[-1] = (found[-1][0], WEEK_MINUTES + early)
    return found


def _weeks(table: Timetable, from_ms: int) -> Iterator[tuple[datetime, datetime]]:
    """Local start and end of every stretch, week by week, without those that end before ``from_ms``."""
    if not table.stretches:
        return
    since = earliest(from_ms, table.zone)
    # Nothing lasts for more than a week, so what is on began this week or in the one before.
    week = (since - timedelta(days=since.weekday() + 7)).replace(hour=0, minute=0, second=0, microsecond=0)
    while True:
        begun = (since - week) // _MINUTE
        for start, end in table.stretches:
            if end >= begun:
                yield week + start * _MINUTE, week + end * _MINUTE
        week += timedelta(days=7)
