"""What a relay does when it is switched on, and what keeps it from that: functions and protection of its channel.

Theory. A relay of any contract is a device and a number from 1. **Functions**: ``toggle`` stays as it was put;
``momentary`` is on while somebody holds its key, which is said every half second, and off after a second of silence;
``pulse`` is on for its milliseconds, ``timer`` for its seconds. **Protection**: of an ``interlock`` group one relay is
on, the others are switched off and that is confirmed before it goes on; in an ``exclusive`` group it is refused while
another is on; ``timed`` goes off after its most seconds, however it came on. A group is the relays of one device with
the same protection and the same group name.

A relay that has to go off again has a *run*: from the moment at which its command left until it is known to be off. It
is counted by a monotonic clock; the record of it (:class:`RelayRun`) lets the next process go on with what is left.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

TOGGLE: Final = "toggle"
MOMENTARY: Final = "momentary"
PULSE: Final = "pulse"
TIMER: Final = "timer"
FUNCTIONS: Final = (TOGGLE, MOMENTARY, PULSE, TIMER)
NONE: Final = "none"
INTERLOCK: Final = "interlock"
EXCLUSIVE: Final = "exclusive"
TIMED: Final = "timed"
PROTECTIONS: Final = (NONE, INTERLOCK, EXCLUSIVE, TIMED)

SILENCE_MS: Final = 1_000
BACKUP_MS: Final = 3_000
"""The same where the device lets go by itself after :data:`SILENCE_MS` and the server is the second to."""
PULSE_LEAST_MS: Final = 50
PULSE_MOST_MS: Final = 60_000
SECONDS_MOST: Final = 86_400
_RETRY_LONGEST_S: Final = 60.0


class RelayChannel(msgspec.Struct, frozen=True):
    """One relay of ``device``; ``limit_s`` is what ``timed`` allows. ``changed_at`` in milliseconds UTC."""

    id: str
    device: str
    channel: int
    name: str = ""
    description: str = ""
    function: str = TOGGLE
    protection: str = NONE
    group: str = ""
    pulse_ms: int = 500
    timer_s: int = 60
    limit_s: int = 300
    icon: str = ""
    color: str = ""
    in_macros: bool = True
    active: bool = True
    changed_at: int = 0


class RelayBoard(msgspec.Struct, frozen=True):
    """The relays of device ``id`` as a board; times in milliseconds UTC."""

    id: str
    name: str
    model: str = ""
    location: str = ""
    active: bool = True
    created_at: int = 0
    changed_at: int = 0


class RelayRun(msgspec.Struct, frozen=True):
    """A relay is on since ``on_at`` (milliseconds UTC) for ``lasts_ms``, because of ``why``."""

    id: str
    device: str
    channel: int
    why: str
    on_at: int
    lasts_ms: int


class Span(NamedTuple):
    """For how long a relay may be on, and what says so."""

    why: str
    lasts_ms: int


def channel_id(device: str, channel: int) -> str:
    """The key of a relay's records."""
    return f"{device}/{channel}"


def span_of(one: RelayChannel, lets_go_itself: bool = False) -> Span | None:
    """What follows from switching ``one`` on; ``None`` for a relay that stays on."""
    limit = Span(TIMED, one.limit_s * 1000) if one.protection == TIMED else None
    match one.function:
        case "momentary":
            found = Span(MOMENTARY, BACKUP_MS if lets_go_itself else SILENCE_MS)
        case "pulse":
            found = Span(PULSE, one.pulse_ms)
        case "timer":
            found = Span(TIMER, one.timer_s * 1000)
        case _:
            return limit
    return limit if limit is not None and limit.lasts_ms < found.lasts_ms else found


def rivals_of(one: RelayChannel, others: Iterable[RelayChannel]) -> list[int]:
    """The relays that exclude ``one``, by number."""
    if one.protection not in (INTERLOCK, EXCLUSIVE):
        return []
    return sorted(
        other.channel
        for other in others
        if (other.device, other.protection, other.group) == (one.device, one.protection, one.group)
        and other.channel != one.channel
    )


def left_ms(run: RelayRun, now: int) -> int:
    """What is left of a run that another process began, at ``now`` (milliseconds UTC); 0 when it is over.

    Never more than it was to last, however the wall clock was set meanwhile; and a key that was held is held by nobody
    any more.
    """
    if run.why == MOMENTARY:
        return 0
    return max(0, min(run.lasts_ms, run.on_at + run.lasts_ms - now))


def retry_s(attempt: int) -> float:
    """How long to wait after the attempt of this number, from 1, to switch a relay off."""
    return min(_RETRY_LONGEST_S, float(2 ** min(attempt, 10) // 2))


def told(run: RelayRun, silence_ms: int = SILENCE_MS) -> str:
    """Why a relay is switched off, for its device's story."""
    why = {
        MOMENTARY: f"nobody said within {silence_ms} ms that its key is held",
        PULSE: f"its pulse of {run.lasts_ms} ms is over",
        TIMER: f"its {run.lasts_ms // 1000} s are over",
        TIMED: f"it may be on for {run.lasts_ms // 1000} s",
    }[run.why]
    return f"relay {run.channel} is switched off: {why}"
