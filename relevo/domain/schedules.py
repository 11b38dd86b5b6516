"""Schedules: what is to happen when, and what is due.

Theory. A schedule gives *occurrences*, each with the instant for which it is *planned*. They follow from the record
alone: whoever asks again, after a restart or on another machine, gets the same. Times are half-open, so what is due in
[a, b) and in [b, c) is together what is due in [a, c).

Who carries them out remembers for each schedule the instant that it is done with. From there :func:`missed` says what
a time of silence left behind and still has to run. Devices start a little apart when the schedule says so
(:func:`run_at`); the time between follows from schedule, device and planned instant, so an occurrence that a restart
cut short goes on as it began. :meth:`Occurrence.key` makes a step that is asked for again the same command.

All times are integer milliseconds UTC.
"""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from relevo.domain.sun import Place, noons_without, why_without
from relevo.domain.timings import RUN, Countdown, Frame, Once, Step, Sun, Timing, Weekly, moments
from relevo.domain.zones import LAST_MS, local, zone_of

SKIP: Final = "skip"
RUN_ONCE: Final = "run_once"
POLICIES: Final = (SKIP, RUN_ONCE)
DUE_MOST: Final = 1_000
LATE_LIMIT_S: Final = 60
_FIRST_LOOK_MS: Final = 60_000
_TWO_WEEKS_MS: Final = 14 * 86_400_000


class Schedule(msgspec.Struct, gc=False):
    """One schedule; 0 is never.

    ``by`` made it and it acts with the rights of ``owner``. It counts from ``since`` on (0: from ``created_at``), which
    is set anew when it is switched on again or its timing changes, so that nothing is made up for that it was not meant
    to do. It runs from ``starts_at`` until before ``ends_at``. ``end_action`` is for the ends of weekly windows.
    """

    id: str
    name: str
    owner: str
    by: str
    timing: Timing
    action: dict[str, Any]
    created_at: int
    end_action: dict[str, Any] = {}
    enabled: bool = True
    zone: str = "UTC"
    lat: float | None = None
    lon: float | None = None
    missed: str = SKIP
    late_limit_s: int = LATE_LIMIT_S
    jitter_s: int = 0
    since: int = 0
    starts_at: int = 0
    ends_at: int = 0

    @property
    def origin(self) -> str:
        return f"schedule:{self.id}"

    @property
    def begun_at(self) -> int:
        return max(self.created_at, self.since)

    @property
    def frame(self) -> Frame:
        place = None if self.lat is None or self.lon is None else Place(self.lat, self.lon)
        return Frame(self.zone, place, self.created_at, self.begun_at, self.action, self.end_action)


class ScheduleProgress(msgspec.Struct, frozen=True):
    """How far a schedule is done with: what was planned through ``done_at`` (milliseconds UTC).

    A record of its own, so that a run and a change by a person cannot undo each other. At ``ran_at`` the last run that
    asked for anything ended, after ``asked`` commands.
    """

    id: str
    done_at: int
    ran_at: int = 0
    asked: int = 0
    note: str = ""


class Occurrence(msgspec.Struct, frozen=True):
    """What a schedule wants at one instant, in this order. ``note`` is for people, from :func:`next_occurrence`."""

    schedule: str
    planned: int
    steps: tuple[Step, ...]
    note: str = ""

    def key(self, step: int) -> str:
        """The idempotency key of the commands of a step."""
        return f"{self.schedule}:{self.planned}:{step}"


def due(schedule: Schedule, after_ms: int, until_ms: int, most: int = DUE_MOST) -> list[Occurrence]:
    """The occurrences planned in [``after_ms``, ``until_ms``), the first ``most`` of them."""
    return list(islice(_occurrences(schedule, after_ms, until_ms), most))


def next_occurrence(schedule: Schedule, after_ms: int) -> Occurrence | None:
    """The first occurrence planned at or after ``after_ms``; its note says which days it passes over and why.

    ``None`` when there is none, for which :func:`why_none` gives the reason.
    """
    found = next(_occurrences(schedule, after_ms, LAST_MS), None)
    if found is None or not isinstance(schedule.timing, Sun) or schedule.frame.place is None:
        return found
    offset = schedule.timing.offset_min * 60_000
    return msgspec.structs.replace(found, note=_sunless(schedule, after_ms - offset, found.planned - offset))


def why_none(schedule: Schedule, after_ms: int) -> str:
    """Why nothing is planned at or after ``after_ms``, empty when something is."""
    if not schedule.enabled:
        return "it is switched off"
    if next_occurrence(schedule, after_ms) is not None:
        return ""
    if 0 < schedule.ends_at <= max(after_ms, schedule.starts_at):
        return "its time is over (ends_at)"
    if isinstance(schedule.timing, Once | Countdown):
        return (
            "its only time has passed" if not schedule.starts_at else "its only time has passed or is before starts_at"
        )
    if schedule.ends_at:
        return "nothing is left before ends_at"
    if isinstance(schedule.timing, Sun):
        return f"the sun has no {schedule.timing.event} there on these days"
    return "it never runs"


def missed(schedule: Schedule, last_done_ms: int, now_ms: int) -> list[Occurrence]:
    """What was planned after ``last_done_ms``, up to and with ``now_ms``, and is still to run.

    ``skip``: what is no older than ``late_limit_s`` (and ``jitter_s``), the first :data:`DUE_MOST` of it; ``run_once``:
    the latest alone, however old.
    """
    first, until = last_done_ms + 1, now_ms + 1
    if schedule.missed == SKIP:
        return due(schedule, max(first, now_ms - (schedule.late_limit_s + schedule.jitter_s) * 1_000), until)
    look = _FIRST_LOOK_MS
    while until > first:
        latest = None
        for latest in _occurrences(schedule, max(first, until - look), until):  # noqa: B007 - the last one is wanted
            pass
        if latest is not None:
            return [latest]
        until -= look
        look *= 8
    return []


class Reckoning(NamedTuple):
    """What is to be done about a time that has come: ``runs``, and how many occurrences are left out.

    From the ``first`` to the ``last`` of those (milliseconds UTC); without ``exact`` there are more than ``skipped``.
    """

    runs: list[Occurrence]
    skipped: int = 0
    exact: bool = True
    first: int = 0
    last: int = 0


def reckon(schedule: Schedule, last_done_ms: int, now_ms: int) -> Reckoning:
    """As :func:`missed`, with what is left out."""
    runs = missed(schedule, last_done_ms, now_ms)
    until = runs[0].planned if runs else now_ms + 1
    left = due(schedule, last_done_ms + 1, until, DUE_MOST + 1)
    if not left:
        return Reckoning(runs)
    exact = len(left) <= DUE_MOST
    return Reckoning(runs, len(left[:DUE_MOST]), exact, left[0].planned, left[-1].planned if exact else until)


def steps_now(schedule: Schedule, now_ms: int) -> tuple[Step, ...]:
    """What a run out of turn does; a weekly table that which made it what it is now."""
    if not isinstance(schedule.timing, Weekly):
        return (Step(RUN, schedule.action),)
    always = msgspec.structs.replace(
        schedule, enabled=True, missed=RUN_ONCE, created_at=0, since=0, starts_at=0, ends_at=0
    )
    found = missed(always, now_ms - _TWO_WEEKS_MS, now_ms) or due(always, now_ms, LAST_MS, 1)
    return found[0].steps if found else ()


def next_planned(schedule: Schedule, after_ms: int) -> int | None:
    """The instant of :func:`next_occurrence`, without its note."""
    found = next(_occurrences(schedule, after_ms, LAST_MS), None)
    return found.planned if found else None


def actions_of(schedule: Schedule) -> list[dict[str, Any]]:
    """Everything that it may do, each once."""
    found = [schedule.action, schedule.end_action]
    if isinstance(schedule.timing, Weekly):
        found += [action for window in schedule.timing.windows for action in (window.action, window.end_action)]
    return [action for n, action in enumerate(found) if action and action not in found[:n]]


def run_at(schedule: Schedule, planned: int, device: str) -> int:
    """When ``device`` starts: at ``planned`` or less than ``jitter_s`` later, always the same."""
    if not schedule.jitter_s:
        return planned
    drawn = blake2b(f"{schedule.id}\n{device}\n{planned}".encode(), digest_size=8).digest()
    return planned + int.from_bytes(drawn, "big") % (schedule.jitter_s * 1_000)


def too_late(schedule: Schedule, planned: int, device: str, now_ms: int) -> bool:
    """Whether ``device`` may not start any more; with ``run_once`` it always may."""
    return schedule.missed == SKIP and now_ms > run_at(schedule, planned, device) + schedule.late_limit_s * 1_000


def _occurrences(schedule: Schedule, after_ms: int, until_ms: int) -> Iterator[Occurrence]:
    first = max(after_ms, schedule.begun_at, schedule.starts_at, 0)
    until = min(until_ms, schedule.ends_at or LAST_MS, LAST_MS)
    if not schedule.enabled or first >= until:
        return
    for planned, steps in moments(schedule.timing, schedule.frame, first):
        if planned >= until:
            return
        yield Occurrence(schedule.id, planned, steps)


def _sunless(schedule: Schedule, from_ms: int, until_ms: int) -> str:
    timing, place = schedule.timing, schedule.frame.place
    if not isinstance(timing, Sun) or place is None:
        return ""
    noons = noons_without(timing.event, place, max(from_ms, schedule.begun_at, schedule.starts_at), until_ms)
    if not noons:
        return ""
    zone = zone_of(schedule.zone)
    why = why_without(timing.event, place, noons[len(noons) // 2])
    first, last = local(noons[0], zone).date(), local(noons[-1], zone).date()
    when = f"on {first}" if len(noons) == 1 else f"on {len(noons)} days from {first} to {last}"
    return f"no {timing.event} {when}: {why}"
