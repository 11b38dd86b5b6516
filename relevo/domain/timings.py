"""Timings: the kinds of rule that say when, and the moments that each of them gives.

Each is a document with its ``kind``: ``once``, ``countdown``, ``weekly``, ``cron``, ``sun`` or ``every``. The first two
and the last count real time and know no zone; the others follow the clocks of their zone.
"""

import heapq
from collections.abc import Iterator
from itertools import chain, groupby
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from relevo.domain.crons import runs
from relevo.domain.sun import Place, events
from relevo.domain.timetables import DAYS, Window, always, points, spans, timetable
from relevo.domain.zones import LAST_MS, local, read_instant, zone_of
from relevo.errors import FieldError, Invalid

RUN: Final = "run"
START: Final = "start"
END: Final = "end"
_INSTANTS: Final = ("at", "anchor")
# A place whose sun does not do what is asked for in so many days will hardly see it.
_SUNLESS_MOST: Final = 1_100


class Once(msgspec.Struct, frozen=True, tag_field="kind", tag="once", forbid_unknown_fields=True):
    """At one instant, milliseconds UTC."""

    at: int


class Countdown(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="countdown",
    rename={"seconds": "in"},
    forbid_unknown_fields=True,
):
    """Once, so many seconds after the schedule began to count."""

    seconds: int


class Weekly(msgspec.Struct, frozen=True, tag_field="kind", tag="weekly", forbid_unknown_fields=True):
    """At the start, and if wanted the end, of windows of local time."""

    windows: tuple[Window, ...]


class Cron(msgspec.Struct, frozen=True, tag_field="kind", tag="cron", forbid_unknown_fields=True):
    """Five fields, as in :mod:`relevo.domain.crons`."""

    expression: str


class Sun(msgspec.Struct, frozen=True, tag_field="kind", tag="sun", forbid_unknown_fields=True):
    """So many minutes after (negative: before) an event of the sun, on those local days on which the event is."""

    event: str
    offset_min: int = 0
    days: tuple[str, ...] = DAYS


class Every(msgspec.Struct, frozen=True, tag_field="kind", tag="every", forbid_unknown_fields=True):
    """Each so many seconds of real time, counted from ``anchor`` (milliseconds UTC; 0: when the schedule was made)."""

    seconds: int
    anchor: int = 0


Timing: TypeAlias = Once | Countdown | Weekly | Cron | Sun | Every


class Frame(NamedTuple):
    """What a timing needs of its schedule: where, since when (milliseconds UTC), and what to do."""

    zone: str
    place: Place | None
    created_at: int
    begun_at: int
    action: dict[str, Any]
    end_action: dict[str, Any]


class Step(msgspec.Struct, frozen=True):
    """One thing to do: at the ``start`` or ``end`` of a window, or simply to ``run``."""

    edge: str
    action: dict[str, Any]


class Group(NamedTuple):
    """Windows that do the same; the number of the first one."""

    first: int
    action: dict[str, Any]
    end_action: dict[str, Any]
    windows: list[Window]


def read_timing(document: Any, field: str = "timing", zone: str = "UTC") -> Timing:
    """The timing of a JSON document; instants may also be ISO 8601 text, without an offset local time of ``zone``.

    Raises :class:`Invalid`, naming the field; values are checked elsewhere.
    """
    if isinstance(document, dict):
        for name in [one for one in _INSTANTS if isinstance(document.get(one), str)]:
            at = read_instant(document[name], zone_of(zone))
            if at is None:
                where, message = f"{field}.{name}", "must be ISO 8601 or milliseconds UTC, from 1970 to 2100"
                raise Invalid(
                    "schedule_invalid", f"{where} {message}", [FieldError(where, message, "schedule_invalid")]
                )
            document = {**document, name: at}
    try:
        return msgspec.convert(document, Timing)  # type: ignore[arg-type, no-any-return, unused-ignore]
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at `$")
        where = field + path.rstrip("`").replace("[...]", "").replace("[", ".").replace("]", "")
        message = f"{said[:1].lower()}{said[1:]}"
        raise Invalid("schedule_invalid", f"{where}: {message}", [FieldError(where, message)]) from None


def moments(timing: Timing, frame: Frame, from_ms: int) -> Iterator[tuple[int, tuple[Step, ...]]]:
    """What a checked timing wants from ``from_ms`` on, in order: instants (milliseconds UTC) and what to do at each."""
    if isinstance(timing, Weekly):
        yield from _weekly(timing, frame, from_ms)
        return
    steps = (Step(RUN, frame.action),)
    for at in _instants(timing, frame, from_ms):
        yield at, steps


def groups(timing: Weekly, frame: Frame) -> list[Group]:
    """The windows by what they do."""
    found: list[Group] = []
    for n, window in enumerate(timing.windows):
        action, end_action = window.action or frame.action, window.end_action or frame.end_action
        for group in found:
            if (group.action, group.end_action) == (action, end_action):
                group.windows.append(window)
                break
        else:
            found.append(Group(n, action, end_action, [window]))
    return found


def place_of(frame: Frame) -> Place:
    """Where the sun is looked at. Raises :class:`Invalid` without coordinates."""
    if frame.place is None:
        message = "lat and lon of the site are needed for the sun"
        raise Invalid("schedule_invalid", message, [FieldError("lat", message), FieldError("lon", message)])
    return frame.place


def _instants(timing: Timing, frame: Frame, from_ms: int) -> Iterator[int]:
    match timing:
        case Once() | Countdown():
            at = timing.at if isinstance(timing, Once) else frame.begun_at + timing.seconds * 1_000
            if at >= from_ms:
                yield at
        case Cron():
            yield from runs(timing.expression, zone_of(frame.zone), from_ms)
        case Sun():
            yield from _sun(timing, frame, from_ms)
        case Every():
            step = timing.seconds * 1_000
            anchor = timing.anchor or frame.created_at
            at = anchor + max(0, -(-(from_ms - anchor) // step)) * step
            while at < LAST_MS:
                yield at
                at += step


def _sun(timing: Sun, frame: Frame, from_ms: int) -> Iterator[int]:
    zone = zone_of(frame.zone)
    offset = timing.offset_min * 60_000
    vain = 0
    for at in events(timing.event, place_of(frame), from_ms - offset):
        vain += 1
        if vain > _SUNLESS_MOST:
            return
        if at is None or at + offset < from_ms or DAYS[local(at, zone).weekday()] not in timing.days:
            continue
        if at + offset >= LAST_MS:
            return
        yield at + offset
        vain = 0


def _weekly(timing: Weekly, frame: Frame, from_ms: int) -> Iterator[tuple[int, tuple[Step, ...]]]:
    streams = [_of_group(group, frame, from_ms) for group in groups(timing, frame)]
    # What ends makes room for what starts.
    merged = heapq.merge(*streams, key=lambda one: (one[0], one[1].edge != END))
    for at, some in groupby(merged, key=lambda one: one[0]):
        if at >= LAST_MS:
            return
        yield at, tuple(step for _, step in some)


def _of_group(group: Group, frame: Frame, from_ms: int) -> Iterator[tuple[int, Step]]:
    zone = zone_of(frame.zone)
    start, end = Step(START, group.action), Step(END, group.end_action)
    single = ((at, start) for at in points(group.windows, zone, from_ms) if at >= from_ms)
    table = timetable(group.windows, zone)
    if always(table):
        return single
    ends = bool(group.end_action)
    # With nothing to undo it, a start counts even when a change of clocks leaves its window no length.
    edges = chain.from_iterable(
        ((span.start, start), (span.end, end)) if ends else ((span.start, start),)
        for span in spans(table, from_ms, empty=not ends)
    )
    return heapq.merge(single, (one for one in edges if one[0] >= from_ms), key=lambda one: one[0])
