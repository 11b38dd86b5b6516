"""What goes into the evaluator of rules besides events, what comes out of it, and what it leaves to be kept."""

from typing import Any, TypeAlias

import msgspec

from relevo.domain.conditions import Memory
from relevo.domain.events import AnyEvent


class Presence(msgspec.Struct, frozen=True):
    """A device came online or went offline at ``at`` (milliseconds UTC)."""

    device: str
    at: int
    online: bool


class Fired(msgspec.Struct, frozen=True):
    """A rule became true of a device at ``at``, which it had begun to be at ``since``; decided at ``now``.

    Milliseconds UTC. ``at`` is the reading's own time, so ``now - at`` tells how late it was heard of. ``values`` are
    the newest of those keys that the condition names.
    """

    rule: str
    device: str
    at: int
    since: int
    now: int
    values: dict[str, Any]


class Cleared(msgspec.Struct, frozen=True):
    """A rule that had fired is no longer true of a device, or no longer concerns it; never before it fired."""

    rule: str
    device: str
    at: int
    now: int


Input: TypeAlias = AnyEvent | Presence
Outcome: TypeAlias = Fired | Cleared


class Kept(msgspec.Struct, array_like=True):
    """What is remembered of one rule and one device; ``fired_now`` is the last firing, -1 for never."""

    fired: bool
    fired_at: int
    fired_now: int
    memories: list[Memory]


class KeptRule(msgspec.Struct):
    """One rule: its condition, and what is remembered of each device."""

    condition: str
    devices: dict[str, Kept]


class Dump(msgspec.Struct):
    """All that an evaluator remembered at ``at`` (milliseconds UTC)."""

    at: int
    rules: dict[str, KeptRule]


class RuleMemory(msgspec.Struct):
    """The record in which a :class:`Dump` is kept: what was remembered after the event with number ``seq``."""

    id: str
    seq: int
    data: bytes
