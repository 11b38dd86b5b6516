"""Roll-outs: a release goes to many devices in waves, and stops by itself when too much fails.

Theory. A roll-out is a release, a list of devices fixed when it was asked for, and percentages of that list, each of
which is a *wave*. The order of the devices follows from a hash of the roll-out and the device, so a restart changes
nothing and no device is always among the first. A wave begins when the one before is over and its pause has passed. It
is over when every device in it is *settled*, or is away or silent for longer than the patience of the roll-out: a
device that is off holds nobody up and gets its update when it is back, as long as the deadline has not passed.

A device is **waiting** until it was given the signed manifest, then **offered**, **downloading** and on **trial** as it
says itself. It is settled as **updated**, **failed**, **rolled_back**, **refused** (its own words), **timed_out**
(nothing was heard of it in time), **skipped** (it need not or cannot get it, see :data:`SKIPPED`) or **cancelled**.
What it says late counts: a board that is given up may still say that it is healthy. *Retry* makes settled devices wait
once more.

It *halts* when, of the devices that came to an outcome in the waves begun, a greater share than ``halt_percent``
failed, rolled back or fell silent while they were online. Fewer outcomes than ``halt_least`` say nothing, unless the
wave is over: no wave begins behind one that failed, however small it was. Whoever resumes a halted roll-out has seen
what failed: only what ends afterwards is judged.

A device is in one open roll-out at a time. While a roll-out is paused or halted nothing is offered and no piece of the
image is given; a board on trial goes on, because it can.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec

from relevo.domain.events import AnyEvent, RolloutChanged, UpdateEnded, UpdateOffered, UpdatePlanned, UpdateReported
from relevo.domain.releases import RELEASE_LIMIT, VERSION_LIMIT
from relevo.errors import FieldError, Invalid

RUNNING: Final = "running"
PAUSED: Final = "paused"
HALTED: Final = "halted"
DONE: Final = "done"
CANCELLED: Final = "cancelled"
OPEN: Final = frozenset({RUNNING, PAUSED, HALTED})

WAITING: Final = "waiting"
OFFERED: Final = "offered"
DOWNLOADING: Final = "downloading"
TRIAL: Final = "trial"
UPDATED: Final = "updated"
FAILED: Final = "failed"
ROLLED_BACK: Final = "rolled_back"
REFUSED: Final = "refused"
TIMED_OUT: Final = "timed_out"
SKIPPED_STATE: Final = "skipped"
STATES: Final = (
    WAITING, OFFERED, DOWNLOADING, TRIAL, UPDATED, FAILED, ROLLED_BACK, REFUSED, TIMED_OUT, SKIPPED_STATE, CANCELLED,
)  # fmt: skip
UNDER_WAY: Final = frozenset({OFFERED, DOWNLOADING, TRIAL})
UNSETTLED: Final = UNDER_WAY | {WAITING}
RETRIED: Final = (FAILED, TIMED_OUT, REFUSED)
RETRIABLE: Final = frozenset({FAILED, TIMED_OUT, REFUSED, ROLLED_BACK, CANCELLED})
SKIPPED: Final = {
    "unknown_board": "it never said which board it is; it is taken in as soon as it does",
    "other_board": "the release is for other boards",
    "boot": "its launcher is too old to start the release",
    "mpy": "the byte code of the release is not its own",
    "current": "it runs this version already",
    "newer": "it runs a newer version",
    "busy": "another roll-out has it",
    "not_allowed": "the owner of the roll-out may not control it",
}
"""Why a device gets nothing."""
SILENT: Final = "silent"
DEADLINE: Final = "deadline"

WORDS: Final = {
    "accepted": DOWNLOADING,
    "downloading": DOWNLOADING,
    "trial": TRIAL,
    "healthy": UPDATED,
    "rolled_back": ROLLED_BACK,
    "refused": REFUSED,
    "failed": FAILED,
}
"""What a board says, and the state that it is in by that."""
FIRST_WAVES: Final = (5, 25, 100)
WAVES_MOST: Final = 20
DEVICES_MOST: Final = 10_000
REASON_LIMIT: Final = 200
# Under way, a board that says something older than what is known was heard late.
_RANK: Final = {OFFERED: 0, DOWNLOADING: 1, TRIAL: 2}


class Rollout(msgspec.Struct, gc=False):
    """One roll-out. ``waves`` are percentages of its devices that rise to 100; ``wave`` of them have begun.

    ``wave_at`` is when the newest wave began and ``wave_over_at`` when it was over; ``resumed_at`` and ``judged_from``
    are when it was last resumed, at all and from a halt. Times in milliseconds UTC, 0 is never; ``wave_pause_s`` and
    ``patience_s`` in seconds. ``older`` also takes devices that run a newer version. ``selection`` is what was asked
    for, for people to read; ``by`` made it, ``changed_by`` paused, resumed or cancelled it last.
    """

    id: str
    release: str
    by: str
    note: str
    selection: dict[str, Any]
    waves: list[int]
    halt_percent: int
    halt_least: int
    wave_pause_s: int
    patience_s: int
    older: bool
    created_at: int
    deadline_at: int
    state: str = RUNNING
    reason: str = ""
    wave: int = 0
    wave_at: int = 0
    wave_over_at: int = 0
    resumed_at: int = 0
    judged_from: int = 0
    changed_at: int = 0
    changed_by: str = ""
    ended_at: int = 0

    @property
    def origin(self) -> str:
        """How commands and notices name it."""
        return f"rollout:{self.id}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


class Progress(msgspec.Struct, gc=False):
    """One device in one roll-out. ``wave`` counts from 1; ``attempts`` is how often it was given the manifest.

    ``issued`` is what the newest manifest says (seconds UTC); the other times are milliseconds UTC, 0 is never.
    """

    rollout: str
    device: str
    release: str
    wave: int
    state: str = WAITING
    reason: str = ""
    percent: int = 0
    attempts: int = 0
    issued: int = 0
    changed_at: int = 0
    ended_at: int = 0

    @property
    def settled(self) -> bool:
        return self.state not in UNSETTLED


class Report(msgspec.Struct, frozen=True, gc=False):
    """What a board says of an update; ``percent`` is ``None`` where it says none."""

    release: str
    state: str
    percent: int | None = None
    reason: str = ""
    version: str = ""


class Planned(NamedTuple):
    """What a device is to get: its ``wave``, or why nothing (of :data:`SKIPPED`)."""

    device: str
    wave: int
    skipped: str = ""


# One device


def opened(event: UpdatePlanned) -> Progress:
    """A device that a roll-out takes in, or leaves out."""
    one = Progress(event.rollout, event.device, event.release, event.wave, changed_at=event.at)
    if event.skipped:
        one.state, one.reason, one.ended_at = SKIPPED_STATE, event.skipped, event.at
    return one


def advance(one: Progress, event: AnyEvent) -> bool:
    """Let ``one`` follow ``event``; false, and nothing changes, for a step that its state does not allow."""
    match event:
        case UpdatePlanned():
            one.wave = event.wave
            _become(one, WAITING, "", event.at)
        case UpdateOffered():
            if one.state != WAITING:
                return False
            one.attempts += 1
            one.issued = event.issued
            _become(one, OFFERED, "", event.at)
        case UpdateReported():
            if not hears(one, event.state):
                return False
            state = WORDS[event.state]
            percent = event.percent if state == DOWNLOADING else one.percent if state in (FAILED, REFUSED) else 100
            _become(one, state, event.reason, event.at)
            one.percent = percent
        case UpdateEnded():
            if one.settled and not (one.state == TIMED_OUT and event.state == UPDATED):
                return False
            percent = one.percent
            _become(one, event.state, event.reason, event.at)
            one.percent = 100 if event.state == UPDATED else percent
        case _:
            return False
    return True


def hears(one: Progress, word: str) -> bool:
    """Whether a board's ``word`` (of :data:`WORDS`) says something new of it."""
    state = WORDS[word]
    if one.state in (UPDATED, FAILED, ROLLED_BACK, REFUSED, SKIPPED_STATE):
        return False
    if one.state == WAITING:
        # It has to look first; only what became of an offer made before is known without.
        return one.attempts > 0 and state in (TRIAL, UPDATED, ROLLED_BACK)
    if one.settled:
        # Given up by the server: what it does not get any more it cannot download.
        return state != DOWNLOADING
    return not (one.state in _RANK and state in _RANK and _RANK[state] < _RANK[one.state])


def _become(one: Progress, state: str, reason: str, at: int) -> None:
    one.state, one.reason, one.changed_at, one.percent = state, reason[:REASON_LIMIT], at, 0
    one.ended_at = 0 if state in UNSETTLED else at


def check_report(found: Mapping[str, Any]) -> Report:
    """What a board says of its update. Raises :class:`Invalid`, naming the fields."""
    errors: list[FieldError] = []

    def wrong(field: str, message: str) -> None:
        errors.append(FieldError(field, message, "update_malformed"))

    texts = {}
    for name, most in (("release", RELEASE_LIMIT), ("reason", REASON_LIMIT), ("version", VERSION_LIMIT)):
        texts[name] = value = found.get(name, "")
        if type(value) is not str or len(value) > most or not value.isprintable():
            wrong(name, f"must be a text of at most {most} characters")
    if not texts["release"]:
        wrong("release", "must name the release")
    state, percent = found.get("state"), found.get("percent")
    if state not in WORDS:
        wrong("state", f"must be one of {', '.join(WORDS)}")
    if percent is not None and (type(percent) is not int or not 0 <= percent <= 100):
        wrong("percent", "must be a whole number from 0 to 100")
    if errors:
        raise Invalid("update_malformed", "; ".join(f"{one.field} {one.message}" for one in errors), errors)
    return Report(texts["release"], str(state), percent, texts["reason"], texts["version"])


# All devices of a roll-out


def check_waves(waves: Sequence[int]) -> list[int]:
    """``waves`` when they can be. Raises :class:`Invalid`."""
    rising = all(left < right for left, right in pairwise(waves))
    if not waves or len(waves) > WAVES_MOST or not rising or waves[0] < 1 or waves[-1] != 100:
        message = f"must be 1 to {WAVES_MOST} percentages that rise from 1 or more to 100"
        raise Invalid("rollout_invalid", f"waves {message}", [FieldError("waves", message, "rollout_invalid")])
    return list(waves)


def place_of(rollout: str, device: str) -> bytes:
    """By what the devices of a roll-out are ordered."""
    return hashlib.sha256(f"{rollout}\0{device}".encode()).digest()


def plan(rollout: str, waves: Sequence[int], devices: Iterable[tuple[str, str]]) -> list[Planned]:
    """Which device is in which wave; ``devices`` are pairs of id and why it is skipped, empty for one that is taken.

    What is skipped is in the last wave, which is where one that says what it is comes in.
    """
    taken: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    for device, why in devices:
        (left if why else taken).append((device, why))
    taken.sort(key=lambda one: place_of(rollout, one[0]))
    found, begun = [], 0
    for wave, percent in enumerate(waves, 1):
        end = -(-len(taken) * percent // 100)
        found += [Planned(device, wave) for device, _ in taken[begun:end]]
        begun = max(begun, end)
    return found + [Planned(device, len(waves), why) for device, why in left]


def holds(rollout: Rollout, one: Progress, now: int) -> bool:
    """Whether a device of a wave that has begun is still waited for."""
    if one.settled:
        return False
    since = max(one.changed_at, rollout.resumed_at, rollout.wave_at if one.state == WAITING else 0)
    return now < since + rollout.patience_s * 1000


def is_silent(rollout: Rollout, one: Progress, now: int, online_since: int) -> bool:
    """Whether a device that is under way, and online since then, has said nothing for too long."""
    since = max(one.changed_at, rollout.resumed_at, online_since)
    return one.state in UNDER_WAY and now >= since + rollout.patience_s * 1000


def is_over(devices: Collection[Progress]) -> bool:
    """Whether every device is settled. Boards of which nothing is known yet are waited for where there are no others:
    among many there may be some that will never speak of updates."""
    unknown = sum(one.state == SKIPPED_STATE and one.reason == "unknown_board" for one in devices)
    return all(one.settled for one in devices) and (unknown < len(devices) or not devices)


def outcomes(rollout: Rollout, devices: Iterable[Progress]) -> tuple[int, int]:
    """How many failed, and how many came to an outcome, of those that count."""
    bad = tried = 0
    for one in devices:
        if one.ended_at <= rollout.judged_from or one.wave > rollout.wave:
            continue
        if one.state in (FAILED, ROLLED_BACK) or (one.state == TIMED_OUT and one.reason == SILENT):
            bad += 1
            tried += 1
        elif one.state == UPDATED:
            tried += 1
    return bad, tried


def too_many_failed(rollout: Rollout, devices: Iterable[Progress], over: bool) -> str:
    """Why the roll-out halts, empty while it may go on; ``over`` when no more outcomes of its waves are waited for."""
    bad, tried = outcomes(rollout, devices)
    if not bad or (tried < rollout.halt_least and not over) or bad * 100 <= rollout.halt_percent * tried:
        return ""
    return f"{bad} of {tried} failed, more than {rollout.halt_percent} %"


def counted(devices: Iterable[Progress]) -> Counter[tuple[int, str]]:
    """How many devices are in each wave and state."""
    return Counter((one.wave, one.state) for one in devices)


def changed(rollout: Rollout, now: int) -> RolloutChanged:
    """What watchers hear of a roll-out that is as it is now."""
    return RolloutChanged(
        now,
        rollout.id,
        rollout.release,
        rollout.state,
        rollout.wave,
        rollout.by,
        rollout.reason,
        rollout.changed_by,
    )
