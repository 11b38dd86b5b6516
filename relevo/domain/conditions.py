"""Conditions of a rule: what each kind looks at, and when it is true for one device.

A condition is fixed; what it remembers of a device is a :class:`Memory`. Three truths: ``None`` is not known yet, and
a rule never fires about what nobody knows. Times are milliseconds UTC. ``t`` is the reading's own time, never ahead
of ``now``, which is when it arrived.

- **Older than the newest.** A reading older than the newest of its key says nothing, so a backlog and a repetition
  change nothing. A newest reading ahead of ``now`` came from a clock that was wrong, and is not believed.
- **Spans.** As long as the values of a key stay within a span, a condition stays what it is: :meth:`Condition.span`.
  Whoever feeds many conditions looks at the span that is common to them, and tells them later what they missed.
- **Durations.** What readings prove counts by their own times; what is left of ``for_s`` counts from the arrival of
  the newest. So one reading of three hours ago does not make ten seconds full the moment it arrives.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from relevo.domain.expressions import holds
from relevo.domain.windows import Window

COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
EQUALITY: Final = frozenset({"==", "!="})
ANY_KEY: Final = ""
# A rate is known to this part of its interval, and remembers so many readings.
RATE_STEPS: Final = 16
# Up to here integers and floating point numbers are compared alike.
_EXACT: Final = 2**53


class Memory(msgspec.Struct, array_like=True):
    """What one condition knows of one device. ``due`` is when time alone may change it, ``last`` the newest reading."""

    truth: bool | None = None
    due: int | None = None
    since: int | None = None
    last: int | None = None
    value: Any = None
    samples: list[tuple[int, float]] = []


class Condition(msgspec.Struct, frozen=True):
    """Common ancestor. ``pulse`` is true for the one event alone that made it so."""

    @property
    def pulse(self) -> bool:
        return False

    @property
    def hears(self) -> tuple[str, str]:
        """What it listens to: ``key`` and which (empty for anything), ``values`` for all of a reading, ``state``,
        ``presence``; empty for time alone."""
        return "", ""

    def begin(self, now: int) -> Memory:
        """What is known of a device that is watched from ``now`` on."""
        return Memory()

    def resume(self, memory: Memory, away: int, now: int) -> None:
        """Go on after ``away`` milliseconds in which nobody listened: they do not count as silence."""
        if memory.due is not None:
            memory.due += away

    def take(self, memory: Memory, value: Any, t: int, now: int) -> None:
        """Learn what the device said."""

    def pass_time(self, memory: Memory, now: int) -> None:
        """``due`` has come."""
        memory.truth, memory.due = True, None

    def span(self, memory: Memory, t: int) -> tuple[float, float] | None:
        """From and to which value, both included, nothing turns; after a reading of ``t`` that was learned.

        ``None`` when each reading has to be learned by itself.
        """
        return None

    def known(self, memory: Memory) -> dict[str, Any]:
        """The newest values by key, as far as it looks at any."""
        key = self.hears[1]
        return {key: memory.value} if key and memory.value is not None else {}

    def missed(self, memory: Memory, value: Any, t: int, now: int) -> None:
        """The newest of the readings within the span; it was of ``t``, what arrived last came at ``now``."""


class Value(Condition, frozen=True):
    """The newest value of ``key`` compares to ``than``, for ``for_ms``. Leaving takes ``hysteresis`` more."""

    key: str
    op: str
    than: bool | int | float | str
    hysteresis: float = 0.0
    for_ms: int = 0

    @property
    def hears(self) -> tuple[str, str]:
        return "key", self.key

    def take(self, memory: Memory, value: Any, t: int, now: int) -> None:
        if not _comparable(self.op, value) or _is_older(memory, t, now):
            return
        memory.last, memory.value = t, value
        limit = self.than
        if memory.since is not None and self.hysteresis:
            limit += -self.hysteresis if self.op in (">", ">=") else self.hysteresis  # type: ignore[operator]
        _hold(memory, COMPARE[self.op](value, limit), self.for_ms, t, now)

    def span(self, memory: Memory, t: int) -> tuple[float, float] | None:
        limit = self.than
        if self.op in EQUALITY or not isinstance(limit, int | float) or abs(limit) > _EXACT:
            return None
        upward = self.op in (">", ">=")
        if memory.since is not None:
            if not memory.truth:
                return None
            if self.hysteresis:
                limit += -self.hysteresis if upward else self.hysteresis
        # Where the comparison holds, the limit itself belongs to >= and <=, and where it does not, to the others.
        holds = memory.since is not None
        included = (self.op in (">=", "<=")) is holds
        if upward is holds:
            return (limit if included else math.nextafter(limit, math.inf)), math.inf
        return -math.inf, (limit if included else math.nextafter(limit, -math.inf))

    def missed(self, memory: Memory, value: Any, t: int, now: int) -> None:
        memory.last, memory.value = t, value


class Rate(Condition, frozen=True):
    """``key`` changes by so much in ``per_ms``: since the newest reading that is at least as old."""

    key: str
    per_ms: int
    op: str
    than: float

    @property
    def hears(self) -> tuple[str, str]:
        return "key", self.key

    def take(self, memory: Memory, value: Any, t: int, now: int) -> None:
        if not isinstance(value, int | float) or _is_older(memory, t, now):
            return
        if memory.last is not None and t < memory.last:
            memory.samples = []
        memory.last, memory.value = t, value
        samples = memory.samples
        while len(samples) > 1 and samples[1][0] <= t - self.per_ms:
            del samples[0]
        if samples and samples[0][0] <= t - self.per_ms:
            then, before = samples[0]
            memory.truth = COMPARE[self.op]((value - before) / (t - then) * self.per_ms, self.than)
        if not samples or t - samples[-1][0] >= self.per_ms / RATE_STEPS:
            memory.samples = [*samples, (t, float(value))]


class Absent(Condition, frozen=True):
    """``key`` (empty for anything) has not been heard for ``for_ms``: by arrival, for a backlog is a sign of life."""

    for_ms: int
    key: str = ANY_KEY

    @property
    def hears(self) -> tuple[str, str]:
        return "key", self.key

    def begin(self, now: int) -> Memory:
        return Memory(truth=False, due=now + self.for_ms, since=now)

    def take(self, memory: Memory, value: Any, t: int, now: int) -> None:
        memory.truth, memory.due, memory.since = False, now + self.for_ms, now

    def span(self, memory: Memory, t: int) -> tuple[float, float] | None:
        return None if memory.truth else (-math.inf, math.inf)

    def missed(self, memory: Memory, value: Any, t: int, now: int) -> None:
        memory.due, memory.since = now + self.for_ms, now


class Holds(Condition, frozen=True):
    """An expression over the newest values of several keys, once all of them are known, for ``for_ms``."""

    source: str
    keys: tuple[str, ...]
    for_ms: int = 0

    @property
    def hears(self) -> tuple[str, str]:
        return "values", ""

    def take(self, memory: Memory, value: Any, t: int, now: int) -> None:
        # By key: its newest value, and the time of that.
        held: dict[str, tuple[Any, int]] = dict(memory.value or {})
        fresh = False
        for key in self.keys:
            said = value.get(key)
            if isinstance(said, bool | int | float | str) and not (key in held and t < held[key][1] <= now):
                held[key] = (said, t)
                fresh = True
        if not fresh:
            return
        memory.value = held
        if len(held) < len(self.keys):
            return
        answer = holds(self.source, {key: one[0] for key, one in held.items()})
        if answer is None:
            memory.truth, memory.since, memory.due = None, None, None
        else:
            _hold(memory, answer, self.for_ms, t, now)

    def known(self, memory: Memory) -> dict[str, Any]:
        return {key: one[0] for key, one in (memory.value or {}).items()}


class Changed(Condition, frozen=True):
    """``key`` got another value than it had. The first value is no change."""

    key: str

    @property
    def hears(self) -> tuple[str, str]:
        return "key", self.key

    @property
    def pulse(self) -> bool:
        return True

    def take(self, memory: Memory, value: Any, t: int, now: int) -> None:
        if not _is_older(memory, t, now):
            memory.truth = memory.last is not None and bool(value != memory.value)
            memory.last, memory.value = t, value


class Online(Condition, frozen=True):
    """The device is online, or is not, for ``for_ms``."""

    online: bool
    for_ms: int = 0

    @property
    def hears(self) -> tuple[str, str]:
        return "presence", ""

    def take(self, memory: Memory, value: Any, t: int, now: int) -> None:
        if not _is_older(memory, t, now):
            memory.last = t
            _hold(memory, value == self.online, self.for_ms, t, now)


class Reported(Condition, frozen=True):
    """``path`` of the reported state equals something; a report that does not name it says nothing."""

    path: tuple[str, ...]
    equals: bool | int | float | str

    @property
    def hears(self) -> tuple[str, str]:
        return "state", ""

    def take(self, memory: Memory, value: Any, t: int, now: int) -> None:
        for step in self.path:
            if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            elif isinstance(value, dict) and step in value:
                value = value[step]
            else:
                return
        if not _is_older(memory, t, now):
            memory.last = t
            memory.truth = bool(value == self.equals)


class Between(Condition, frozen=True):
    """The local time is within a window. It knows the time that passes alone, never the time of a reading."""

    window: Window

    def begin(self, now: int) -> Memory:
        return Memory(truth=self.window.has(now), due=self.window.next_edge(now))

    def resume(self, memory: Memory, away: int, now: int) -> None:
        memory.truth, memory.due = self.window.has(now), self.window.next_edge(now)

    def pass_time(self, memory: Memory, now: int) -> None:
        memory.truth, memory.due = self.window.has(now), self.window.next_edge(now)


class Group(msgspec.Struct, frozen=True):
    """``all``, ``any`` or ``not`` of what is within; an ``int`` is the number of a condition."""

    kind: str
    members: tuple["Node", ...]


Node: TypeAlias = Group | int


def truth_of(node: Node, truths: list[bool | None]) -> bool | None:
    """Kleene's three-valued logic: what is unknown decides nothing, and hides nothing that is decided."""
    if isinstance(node, int):
        return truths[node]
    if node.kind == "not":
        inner = truth_of(node.members[0], truths)
        return None if inner is None else not inner
    decisive = node.kind == "any"
    answer: bool | None = not decisive
    for member in node.members:
        one = truth_of(member, truths)
        if one is decisive:
            return decisive
        if one is None:
            answer = None
    return answer


def _comparable(op: str, value: Any) -> bool:
    return isinstance(value, int | float) or (op in EQUALITY and isinstance(value, str))


def _is_older(memory: Memory, t: int, now: int) -> bool:
    return memory.last is not None and t < memory.last <= now


def _hold(memory: Memory, raw: bool, for_ms: int, t: int, now: int) -> None:
    if not raw:
        memory.truth, memory.since, memory.due = False, None, None
        return
    if memory.since is None or memory.since > t:
        memory.since = t
    if memory.truth:
        return
    left = for_ms - (t - memory.since)
    if left <= 0:
        memory.truth, memory.due = True, None
    else:
        due = now + left
        memory.truth, memory.due = False, due if memory.due is None else min(memory.due, due)
