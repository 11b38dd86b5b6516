"""The evaluator: all active rules, followed through what devices say and through time.

It has no clock. Whoever runs it hands in events in their order of arrival with the time they arrived, and calls
:meth:`Evaluator.tick` at :meth:`Evaluator.next_at`. Each call first lets time pass up to its own ``now``, decision by
decision at the very times they were due, so the outcome does not hang on how punctual the caller is. Stored events
fed in the same way therefore give the same firings (:func:`relevo.domain.backtest.backtest`).

Cost. Each device has an index from key to the conditions that look at it, made when it first speaks: an *ear*. It knows
the span of values within which none of its conditions turns, so that most readings cost one comparison for each key,
however many rules there are. A rule is judged only when one of its conditions turned.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import msgspec

from relevo.domain.conditions import ANY_KEY, Condition, Memory, Value, truth_of
from relevo.domain.devices import Device
from relevo.domain.events import StateReported, TelemetryReceived
from relevo.domain.firings import Cleared, Dump, Fired, Input, Kept, KeptRule, Outcome, Presence
from relevo.domain.rules import Compiled, Rule
from relevo.errors import Invalid


class _Watch:
    """One rule and one device."""

    __slots__ = ("armed", "compiled", "device", "due", "ears", "gone", "kept", "truth")

    def __init__(self, compiled: Compiled, device: str, kept: Kept, ears: "dict[str, _Ear]") -> None:
        self.compiled = compiled
        self.device = device
        self.ears = ears
        self.kept = kept
        self.truth: bool | None = None
        # ``due`` is when time may decide, ``armed`` the earlier or same time at which the heap asks.
        self.due: int | None = None
        self.armed: int | None = None
        self.gone = False


_Listener: TypeAlias = tuple[_Watch, Condition, Memory]
_NUMBERS: Final = frozenset({int, float})


class _Ear:
    """All conditions that look at one key of a device.

    Those that ``low`` and ``high`` are for rest: what they missed is told them when somebody looks (:meth:`catch_up`).
    The others are ``active`` and learn every reading. ``low`` above ``high`` says that all have to.
    """

    __slots__ = ("active", "all", "heard", "high", "last", "low", "resting", "stale", "value")

    def __init__(self) -> None:
        self.all: list[_Listener] = []
        self.active: list[_Listener] = []
        self.resting: list[_Listener] = []
        self.low, self.high = math.inf, -math.inf
        # The newest reading, and when the last one arrived.
        self.last = 0
        self.value: Any = None
        self.heard = 0
        self.stale = False

    def wake(self) -> None:
        """Have the next reading learned by all."""
        self.catch_up()
        self.low, self.high = math.inf, -math.inf

    def catch_up(self) -> None:
        """Tell those that rest what they missed."""
        if self.stale:
            self.stale = False
            for _, condition, memory in self.resting:
                condition.missed(memory, self.value, self.last, self.heard)

    def settle(self, value: Any, t: int, now: int) -> None:
        """After all have learned a reading: let those rest that can."""
        low, high = -math.inf, math.inf
        self.active, self.resting = [], []
        for listener in self.all:
            _, condition, memory = listener
            if isinstance(condition, Value) and memory.last != t:
                # It says nothing to this one; the next reading will tell.
                return
            span = condition.span(memory, t)
            if span is None:
                self.active.append(listener)
            else:
                self.resting.append(listener)
                low, high = max(low, span[0]), min(high, span[1])
        self.low, self.high, self.last, self.value, self.heard = low, high, t, value, now


class _Watched:
    """One device, the rules that concern it, and who listens to what. ``built`` is put off until it is needed."""

    __slots__ = ("built", "ears", "others", "watches")

    def __init__(self) -> None:
        self.built = False
        self.watches: dict[str, _Watch] = {}
        self.ears: dict[str, _Ear] = {}
        self.others: dict[str, list[_Listener]] = {}


class Evaluator:
    """Not safe for threads. Devices and rules may come in any order, after :meth:`restore`.

    ``may`` tells whether a rule may look at a device at all; when the answer changes, the device is placed again.
    """

    def __init__(self, may: Callable[[Rule, Device], bool] = lambda rule, device: True) -> None:
        self._may = may
        self._rules: dict[str, Compiled] = {}
        self._devices: dict[str, Device] = {}
        self._watched: dict[str, _Watched] = {}
        self._timers: list[tuple[int, int, _Watch]] = []
        self._turn = 0
        self._restored = Dump(0, {})
        #: Conditions and nodes of conditions looked at, since the beginning.
        self.evaluated = 0

    def put(self, compiled: Compiled, now: int) -> list[Outcome]:
        """Follow a rule, or its new form. With the same condition nothing is forgotten and nothing fires again."""
        rule = compiled.rule
        before = self._rules.get(rule.id)
        outcomes = self.tick(now)
        if not rule.enabled or (before is not None and before.condition != compiled.condition):
            outcomes += self.drop(rule.id, now)
        if not rule.enabled:
            return outcomes
        self._rules[rule.id] = compiled
        for device in self._devices.values():
            outcomes += self._fit(device, [compiled], now)
        return outcomes

    def drop(self, rule_id: str, now: int) -> list[Outcome]:
        """Stop to follow a rule; what it had fired is cleared."""
        outcomes = self.tick(now)
        self._rules.pop(rule_id, None)
        for watched in self._watched.values():
            outcomes += self._leave(watched, rule_id, now)
        return outcomes

    def place(self, device: Device, now: int) -> list[Outcome]:
        """Follow a device, or what it has become: its type, site and tags decide which rules concern it."""
        outcomes = self.tick(now)
        self._devices[device.id] = device
        return outcomes + self._fit(device, list(self._rules.values()), now)

    def forget(self, device_id: str, now: int) -> list[Outcome]:
        """Stop to follow a device that is gone."""
        outcomes = self.tick(now)
        watched = self._watched.pop(device_id, _Watched())
        self._devices.pop(device_id, None)
        for rule_id in list(watched.watches):
            outcomes += self._leave(watched, rule_id, now)
        return outcomes

    def feed(self, event: Input, now: int) -> list[Outcome]:
        """What an event that arrived at ``now`` (milliseconds UTC) changes. Events of other kinds change nothing."""
        outcomes = self.tick(now) if self._timers and self._timers[0][0] <= now else []
        kind = type(event)
        if kind is TelemetryReceived:
            at = event.ts  # type: ignore[union-attr]
        elif kind is StateReported or kind is Presence:
            at = event.at  # type: ignore[union-attr]
        else:
            return outcomes
        device = event.device  # type: ignore[union-attr]
        watched = self._watched.get(device)
        if watched is None or device not in self._devices:
            return outcomes
        if not watched.built:
            outcomes += self._build(watched, device, now)
        t = min(at, now)
        # Whether the rule has to be judged, for each of which something turned or may be turned by time.
        touched: dict[_Watch, bool] = {}
        if kind is Presence:
            self._learn(watched.others.get("presence", ()), event.online, t, now, touched)  # type: ignore[union-attr]
        elif watched.ears or watched.others:
            if kind is StateReported:
                self._learn(watched.others.get("state", ()), event.state, t, now, touched)  # type: ignore[union-attr]
            else:
                self._hear(watched.ears, event.values, t, now, touched)  # type: ignore[union-attr]
                if watched.others:
                    self._learn(watched.others.get("values", ()), event.values, t, now, touched)  # type: ignore[union-attr]
            ear = watched.ears.get(ANY_KEY)
            if ear is not None:
                self._hear_of(ear, t, now, touched)
        for watch, turned in touched.items():
            if turned:
                self._judge(watch, t, now, outcomes)
                self._end_pulses(watch, t, now, outcomes)
            self._arm(watch)
        return outcomes

    def _hear(
        self, ears: dict[str, _Ear], values: dict[str, Any], t: int, now: int, touched: dict[_Watch, bool]
    ) -> None:
        for key, value in values.items():
            ear = ears.get(key)
            if ear is None or not key:
                continue
            if type(value) in _NUMBERS and ear.low <= value <= ear.high and (t >= ear.last or ear.last <= now):
                # One that is older than the newest says nothing to those that rest, but that the device is there.
                if t >= ear.last:
                    ear.last, ear.value = t, value
                ear.heard, ear.stale = now, True
                self.evaluated += len(ear.resting)
                if ear.active and self._learn(ear.active, value, t, now, touched):
                    ear.wake()
            else:
                ear.catch_up()
                ear.low, ear.high = math.inf, -math.inf
                self._learn(ear.all, value, t, now, touched)
                ear.settle(value, t, now)

    def _hear_of(self, ear: _Ear, t: int, now: int, touched: dict[_Watch, bool]) -> None:
        """The device said anything at all."""
        if ear.low < ear.high and not ear.active:
            ear.heard, ear.stale = now, True
            self.evaluated += len(ear.resting)
        else:
            ear.catch_up()
            ear.low, ear.high = math.inf, -math.inf
            self._learn(ear.all, None, t, now, touched)
            ear.settle(None, t, now)

    def _learn(self, listeners: Iterable[_Listener], value: Any, t: int, now: int, touched: dict[_Watch, bool]) -> bool:
        """Let each learn what was said; whether one of them turned."""
        any_turned = False
        for watch, condition, memory in listeners:
            self.evaluated += 1
            before, due = memory.truth, memory.due
            condition.take(memory, value, t, now)
            if memory.truth is not before:
                touched[watch] = any_turned = True
            elif memory.due != due:
                touched.setdefault(watch, False)
        return any_turned

    def tick(self, now: int) -> list[Outcome]:
        """What time alone has decided up to ``now`` (milliseconds UTC)."""
        outcomes: list[Outcome] = []
        # What stands in the heap is never later than what is due.
        while self._timers and self._timers[0][0] <= now and (due := self.next_at()) is not None and due <= now:
            watch = heapq.heappop(self._timers)[2]
            watch.armed = None
            for ear in watch.ears.values():
                # What time turns may not rest.
                ear.wake()
            for condition, memory in zip(watch.compiled.tree.conditions, watch.kept.memories, strict=True):
                if memory.due is not None and memory.due <= due:
                    self.evaluated += 1
                    condition.pass_time(memory, due)
            self._judge(watch, due, due, outcomes)
            self._arm(watch)
        return outcomes

    def next_at(self) -> int | None:
        """When :meth:`tick` has something to decide next (milliseconds UTC), ``None`` for never."""
        timers = self._timers
        while timers:
            at, _, watch = timers[0]
            if not watch.gone and watch.armed == at:
                self._catch_up(watch)
                if watch.due == at:
                    return at
                watch.armed = None
                heapq.heappop(timers)
                self._push(watch)
            else:
                heapq.heappop(timers)
        return None

    def follows(self, rule_id: str) -> bool:
        """Whether the rule is one of those."""
        return rule_id in self._rules

    def fired(self, rule_id: str, device_id: str) -> bool:
        """Whether the rule has fired of the device and not cleared since."""
        watch = self._watched.get(device_id, _Watched()).watches.get(rule_id)
        return watch is not None and watch.kept.fired

    def standing(self, rule_id: str) -> tuple[list[str], int]:
        """The devices that the rule is true of, and when it last fired (milliseconds UTC, 0 is never)."""
        held: list[str] = []
        last = 0
        for device_id, watched in self._watched.items():
            watch = watched.watches.get(rule_id)
            if watch is not None:
                last = max(last, watch.kept.fired_now)
                if watch.kept.fired:
                    held.append(device_id)
        return held, last

    def dump(self, now: int) -> dict[str, Any]:
        """All that is remembered at ``now``, as JSON values."""
        found: dict[str, Any] = msgspec.to_builtins(self.remembered(now))
        return found

    def remembered(self, now: int) -> Dump:
        """All that is remembered at ``now``; the parts go on changing, so it is to be encoded at once."""
        rules: dict[str, KeptRule] = {}
        for device_id, watched in self._watched.items():
            for ear in watched.ears.values():
                ear.catch_up()
            for rule_id, watch in watched.watches.items():
                kept = rules.setdefault(rule_id, KeptRule(watch.compiled.condition, {}))
                kept.devices[device_id] = watch.kept
        return Dump(now, rules)

    def restore(self, dump: Any) -> None:
        """Go on where :meth:`dump` ended; to be called before rules and devices are put in.

        The time since then is no silence of the devices, nobody listened. A rule whose condition has changed since
        starts anew. Raises :class:`Invalid` (``rules_damaged``).
        """
        if isinstance(dump, Dump):
            self._restored = dump
            return
        try:
            self._restored = msgspec.convert(dump, Dump)
        except msgspec.ValidationError as error:
            raise Invalid("rules_damaged", f"the stored state of the rules cannot be read: {error}") from None

    def _fit(self, device: Device, rules: list[Compiled], now: int) -> list[Outcome]:
        watched = self._watched.setdefault(device.id, _Watched())
        outcomes: list[Outcome] = []
        for compiled in rules:
            rule = compiled.rule
            watch = watched.watches.get(rule.id)
            if not (rule.scope.fits(device) and self._may(rule, device)):
                outcomes += self._leave(watched, rule.id, now)
            elif watch is not None:
                watch.compiled = compiled
                self._judge(watch, now, now, outcomes)
                self._arm(watch)
            elif watched.built or compiled.from_start or self._is_restored(compiled, device.id):
                self._enter(watched, compiled, device.id, now, outcomes)
        return outcomes

    def _build(self, watched: _Watched, device_id: str, now: int) -> list[Outcome]:
        watched.built = True
        return self._fit(self._devices[device_id], list(self._rules.values()), now)

    def _is_restored(self, compiled: Compiled, device_id: str) -> bool:
        kept = self._restored.rules.get(compiled.rule.id)
        return kept is not None and kept.condition == compiled.condition and device_id in kept.devices

    def _enter(self, watched: _Watched, compiled: Compiled, device_id: str, now: int, outcomes: list[Outcome]) -> None:
        conditions = compiled.tree.conditions
        kept = None
        if self._is_restored(compiled, device_id):
            kept = self._restored.rules[compiled.rule.id].devices.pop(device_id)
        if kept is not None and len(kept.memories) == len(conditions):
            away = max(0, now - self._restored.at)
            for condition, memory in zip(conditions, kept.memories, strict=True):
                condition.resume(memory, away, now)
        else:
            kept = Kept(False, -1, -1, [condition.begin(now) for condition in conditions])
        watch = watched.watches[compiled.rule.id] = _Watch(compiled, device_id, kept, watched.ears)
        for condition, memory in zip(conditions, kept.memories, strict=True):
            hears, key = condition.hears
            if hears == "key":
                ear = watched.ears.setdefault(key, _Ear())
                ear.wake()
                ear.all.append((watch, condition, memory))
            elif hears:
                watched.others.setdefault(hears, []).append((watch, condition, memory))
        self._judge(watch, now, now, outcomes)
        self._arm(watch)

    def _leave(self, watched: _Watched, rule_id: str, now: int) -> Iterator[Outcome]:
        watch = watched.watches.pop(rule_id, None)
        if watch is None:
            return
        watch.gone = True
        for key, ear in list(watched.ears.items()):
            ear.wake()
            ear.all = [one for one in ear.all if one[0] is not watch]
            if not ear.all:
                del watched.ears[key]
        for hears, listeners in list(watched.others.items()):
            watched.others[hears] = [one for one in listeners if one[0] is not watch]
        if watch.kept.fired:
            yield Cleared(rule_id, watch.device, max(now, watch.kept.fired_at), now)

    def _judge(self, watch: _Watch, at: int, now: int, outcomes: list[Outcome]) -> None:
        compiled, kept = watch.compiled, watch.kept
        self.evaluated += compiled.tree.nodes
        watch.truth = truth_of(compiled.tree.root, [memory.truth for memory in kept.memories])
        if watch.truth is not True:
            if kept.fired:
                kept.fired = False
                outcomes.append(Cleared(compiled.rule.id, watch.device, max(at, kept.fired_at), now))
        elif not kept.fired and (kept.fired_now < 0 or now - kept.fired_now >= compiled.cooldown_ms):
            for ear in watch.ears.values():
                ear.catch_up()
            since = [memory.since for memory in kept.memories if memory.truth and memory.since is not None]
            values: dict[str, Any] = {}
            for condition, memory in zip(compiled.tree.conditions, kept.memories, strict=True):
                values |= condition.known(memory)
            kept.fired, kept.fired_at, kept.fired_now = True, at, now
            outcomes.append(Fired(compiled.rule.id, watch.device, at, min([at, *since]), now, values))

    def _end_pulses(self, watch: _Watch, at: int, now: int, outcomes: list[Outcome]) -> None:
        ended = False
        for condition, memory in zip(watch.compiled.tree.conditions, watch.kept.memories, strict=True):
            if condition.pulse and memory.truth:
                memory.truth = False
                ended = True
        if ended:
            self._judge(watch, at, now, outcomes)

    def _catch_up(self, watch: _Watch) -> None:
        """Find out when time may decide after what was missed."""
        stale = [ear for ear in watch.ears.values() if ear.stale]
        for ear in stale:
            ear.catch_up()
        if stale:
            self._reckon(watch)

    def _arm(self, watch: _Watch) -> None:
        self._reckon(watch)
        self._push(watch)

    def _reckon(self, watch: _Watch) -> None:
        dues = [memory.due for memory in watch.kept.memories if memory.due is not None]
        if watch.truth and not watch.kept.fired:
            dues.append(watch.kept.fired_now + watch.compiled.cooldown_ms)
        watch.due = min(dues, default=None)

    def _push(self, watch: _Watch) -> None:
        # A time that moves back, as that of silence does with every reading, waits for the heap to ask.
        if watch.due is not None and (watch.armed is None or watch.due < watch.armed):
            self._turn += 1
            watch.armed = watch.due
            heapq.heappush(self._timers, (watch.due, self._turn, watch))
