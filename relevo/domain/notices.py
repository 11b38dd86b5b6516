"""Notices to people: when one leaves for a person, and why not now or never.

Theory. A notice is raised once and lies in the inbox of everybody it is addressed to. Whether and when it also leaves
through a channel of theirs follows from the person's preferences, the notice and the moment alone (:func:`plan`), so
it can be asked again when the preferences change. Quiet hours and the time of a daily digest are local times of the
person's zone and keep them when clocks change; what waits for the same moment leaves as one digest.

Instants are integer milliseconds UTC.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from relevo.domain.timetables import Window, always, check_windows, minutes, state_at, timetable
from relevo.domain.zones import instant, local, zone_of
from relevo.errors import FieldError

SEVERITIES: Final = ("info", "warning", "critical")
LANGUAGES: Final = ("en", "es", "pt")
DIGESTS: Final = ("off", "hourly", "daily")
CHOICES: Final = ("send", "now", "inbox", "off")
"""What a person wants of a severity: as the digest says, past every digest, in the inbox alone, not at all."""
REPEATED_MS: Final = 60_000
"""The same notice again within this time is counted, not told again (contract thingsnxt)."""
TITLE_MOST: Final = 200
TEXT_MOST: Final = 4_000
QUIET_MOST: Final = 21
MUTES_MOST: Final = 200

_FIRST_AGAIN_MS: Final = 30_000
_LONGEST_AGAIN_MS: Final = 3_600_000
GIVE_UP_MS: Final = 86_400_000
"""How long a temporary failure is tried again."""


class Mute(msgspec.Struct, frozen=True):
    """Nothing of ``source`` leaves until ``until``; 0 is for ever. A kind alone (``rule``) is all of that kind."""

    source: str
    until: int = 0


class NoticePreferences(msgspec.Struct, frozen=True):
    """What one person wants; ``id`` is the account's name.

    ``language`` and ``zone`` empty mean the server's. ``quiet`` are local times; during them notices are held until
    their end (``quiet_action`` ``hold``) or stay in the inbox (``inbox``). ``severities`` says for each severity one
    of :data:`CHOICES`, ``send`` where it says nothing. ``scope`` ``mine`` leaves out devices that somebody sees for
    being an administrator alone. ``snoozed_until`` is 0 for not.
    """

    id: str
    language: str = ""
    zone: str = ""
    quiet: list[Window] = []
    quiet_action: str = "hold"
    critical_passes: bool = True
    digest: str = "off"
    digest_at: str = "08:00"
    severities: dict[str, str] = {}
    muted: list[Mute] = []
    snoozed_until: int = 0
    scope: str = "all"


class Notice(NamedTuple):
    """What the planner has to know of a notice."""

    severity: str
    source: str
    device: str = ""


class Plan(NamedTuple):
    """``at`` is when it leaves, ``None`` for never; ``digest`` lets it leave together with what waits then.

    ``reason`` is empty for now, otherwise why it is not now: ``digest``, ``quiet``, ``snoozed``, ``muted``,
    ``severity``, ``channel``.
    """

    at: int | None
    digest: bool
    reason: str


def plan(
    preferences: NoticePreferences,
    notice: Notice,
    now: int,
    zone: ZoneInfo,
    min_severity: str = "info",
    digest: str = "",
) -> Plan:
    """When ``notice``, raised ``now``, leaves through a channel.

    ``zone`` is the person's; ``min_severity`` and ``digest`` are the channel's, an empty ``digest`` leaves the
    question to the preferences.
    """
    if SEVERITIES.index(notice.severity) < SEVERITIES.index(min_severity):
        return Plan(None, False, "channel")
    choice = preferences.severities.get(notice.severity, "send")
    if choice in ("inbox", "off"):
        return Plan(None, False, "severity")
    if _is_muted(preferences.muted, notice, now):
        return Plan(None, False, "muted")
    if notice.severity == "critical" and preferences.critical_passes:
        return Plan(now, False, "")
    if now < preferences.snoozed_until:
        return Plan(None, False, "snoozed")
    at, together, reason = now, False, ""
    wanted = digest or preferences.digest
    if wanted != "off" and choice != "now":
        at, together, reason = next_digest(wanted, preferences.digest_at, zone, now), True, "digest"
    if preferences.quiet:
        table = timetable(preferences.quiet, zone)
        if preferences.quiet_action == "inbox" and state_at(table, now).on:
            return Plan(None, False, "quiet")
        state = state_at(table, at)
        if state.on:
            return Plan(None, False, "quiet") if state.until is None else Plan(state.until, True, "quiet")
    return Plan(at, together, reason)


def quiet_until(preferences: NoticePreferences, severity: str, now: int, zone: ZoneInfo) -> int:
    """The end of the quiet hours that hold a notice of ``severity`` back at this moment, ``now`` outside of them."""
    if not preferences.quiet or (severity == "critical" and preferences.critical_passes):
        return now
    on, until = state_at(timetable(preferences.quiet, zone), now)
    return until if on and until is not None else now


def addressed(preferences: NoticePreferences, severity: str) -> bool:
    """Whether the person wants to find notices of ``severity`` in their inbox."""
    return preferences.severities.get(severity, "send") != "off"


def next_digest(kind: str, at: str, zone: ZoneInfo, now: int) -> int:
    """The first moment after ``now`` at which digests leave: full hours of the zone, or ``at`` (``HH:MM``) of a day."""
    here = local(now, zone)
    if kind == "hourly":
        # What is left of the hour on the person's clock: zones are off by halves and quarters of hours.
        gone = timedelta(minutes=here.minute, seconds=here.second, microseconds=here.microsecond)
        return now + (timedelta(hours=1) - gone) // timedelta(milliseconds=1)
    day = here.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    while True:
        when = instant(day + timedelta(minutes=minutes(at)), zone)
        if when > now:
            return when
        day += timedelta(days=1)


def retry_after(attempts: int, spread: float) -> int:
    """Milliseconds until the next attempt after ``attempts`` that failed; ``spread`` from 0 to 1 parts the many."""
    wait = min(_FIRST_AGAIN_MS << min(attempts - 1, 12), _LONGEST_AGAIN_MS)
    return round(wait * (0.75 + spread / 2))


def check_preferences(preferences: NoticePreferences) -> list[FieldError]:
    """What is wrong with times, and with how many there are."""
    wrong: list[FieldError] = []
    if len(preferences.quiet) > QUIET_MOST:
        wrong.append(FieldError("quiet", f"has {len(preferences.quiet)} windows, the limit is {QUIET_MOST}"))
    elif preferences.quiet:
        wrong += check_windows(tuple(preferences.quiet), "quiet")
        wrong += [
            FieldError(f"quiet.{n}.to", "must be given") for n, one in enumerate(preferences.quiet) if not one.end
        ]
        if not wrong and always(timetable(preferences.quiet, zone_of(preferences.zone or "UTC"))):
            message = "covers the whole week: nothing would ever leave; disable the channels instead"
            wrong.append(FieldError("quiet", message))
    try:
        if minutes(preferences.digest_at) == 1_440:
            raise ValueError("must be 00:00 rather than 24:00")
    except ValueError as error:
        wrong.append(FieldError("digest_at", str(error)))
    if len(preferences.muted) > MUTES_MOST:
        wrong.append(FieldError("muted", f"has {len(preferences.muted)} entries, the limit is {MUTES_MOST}"))
    return wrong


def _is_muted(muted: Iterable[Mute], notice: Notice, now: int) -> bool:
    kind = notice.source.partition(":")[0]
    names = {notice.source, kind}
    if notice.device:
        names |= {"device", f"device:{notice.device}"}
    return any(one.source in names and (not one.until or now < one.until) for one in muted)
