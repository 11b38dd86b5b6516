"""Following all rules (:mod:`relevo.domain.evaluator`), live and through restarts.

Theory. The journal is the queue. After each commit its events go through the evaluator at once, as long as the next
one is the next in the journal and what fired is not waiting to be done; otherwise the rest is read from the journal,
which loses nothing and fills no memory.

What the evaluator remembers is a record, written about once a minute and with every change of a rule, with the number
of the event up to which it holds. A start takes it up there and follows the journal from there on. What fires then and
stands in the journal as fired was done before; what does not, because the server went down in between, is done now.
The time in which the server was down is no silence of the devices.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from relevo.clock import Clock
from relevo.domain.accounts import Account, Identity
from relevo.domain.backtest import arrived
from relevo.domain.devices import Device, Registry
from relevo.domain.evaluator import Evaluator
from relevo.domain.events import (
    AnyEvent,
    CommandQueued,
    DesiredChanged,
    DeviceChanged,
    DeviceRegistered,
    DeviceRemoved,
    Noticed,
    PresenceChanged,
    RuleCleared,
    RuleFired,
    StateReported,
    TelemetryReceived,
)
from relevo.domain.firings import Cleared, Dump, Fired, Outcome, Presence, RuleMemory
from relevo.domain.grants import Grant, Right
from relevo.domain.loops import LoopGuard
from relevo.domain.people import People
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.rules import Rule, compile_rule
from relevo.errors import Invalid, QueueFull, StoreUnavailable
from relevo.jobs.rule_actions import RuleActions
from relevo.log import get_logger
from relevo.pipeline import Pipeline
from relevo.refusals import Refusals

log = get_logger("relevo.jobs")

EVERY_S: Final = 1.0
MEMORY: Final = "rules"
REMEMBERED_EVERY_S: Final = 60.0
# What is remembered takes no more than this share of the time.
_REMEMBERING_SHARE: Final = 200
_CHUNK: Final = 5_000
_WAITING_MOST: Final = 5_000
_AT_ONCE: Final = 200
_AGAIN_S: Final = 0.5
_SAID: Final = frozenset({TelemetryReceived, StateReported})
_REGISTRY: Final = frozenset({DeviceRegistered, DeviceChanged})
_OUTCOMES: Final = frozenset({RuleFired, RuleCleared})

Replay = Callable[[int, int], Awaitable[list[tuple[int, AnyEvent]]]]
_Done = tuple[bool, str, str, int]


class Rules:
    """All rules. ``replay(seq, limit)`` reads the journal; ``presence(device)`` is who is there, and since when."""

    def __init__(
        self,
        actions: RuleActions,
        pipeline: Pipeline,
        registry: Registry,
        people: People,
        refusals: Refusals,
        clock: Clock,
        replay: Replay,
        presence: Callable[[str], tuple[bool, int]],
    ) -> None:
        self._actions = actions
        self._pipeline = pipeline
        self._registry = registry
        self._people = people
        self._refusals = refusals
        self._clock = clock
        self._replay = replay
        self._presence = presence
        self.all: dict[str, Rule] = {}
        self.evaluator = Evaluator(self._may)
        self._guard = LoopGuard()
        self._memory: RuleMemory | None = None
        # The number up to which what was remembered last holds.
        self._remembered = 0
        # The sequence number after the last event that was followed, and the latest time that was.
        self._next = 0
        self._now = 0
        self._live = False
        self._started = False
        self._waiting: deque[Outcome] = deque()
        self._stirred = asyncio.Event()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._remembered_at = 0.0
        self._remember_every = REMEMBERED_EVERY_S
        self._changed = False
        #: How many times each happened since the start.
        self.fired = 0
        self.cleared = 0

    # Rules and people

    def apply(self, change: RecordChange) -> None:
        """Follow a commit."""
        match change:
            case Kept(Rule() as rule):
                self.all[rule.id] = rule
                if self._started:
                    self._put(rule)
                    self._remember()
            case Dropped(kind, key) if kind is Rule:
                self.all.pop(key, None)
                if self._started:
                    self._note(self.evaluator.drop(key, self._time()))
                    self._guard.forget(key)
                    self._remember()
            case Kept(RuleMemory() as memory) if not self._started:
                self._memory = memory
                self._remembered = memory.seq
            case Kept(Grant() as grant):
                self._fit_anew(grant.account)
            case Dropped(kind, _) if kind is Grant:
                self._fit_anew("")
            case Kept(Account() as account):
                self._fit_anew(account.name)
            case Dropped(kind, key) if kind is Account:
                self._fit_anew(key)

    def _put(self, rule: Rule) -> None:
        try:
            compiled = compile_rule(rule)
        except Invalid as problem:
            # Kept by a version that knew more.
            log.error("rule_not_understood", rule=rule.id, error=str(problem))
            return
        now = self._time()
        self._note(self.evaluator.put(compiled, now))
        if any(one.hears[0] == "presence" for one in compiled.tree.conditions):
            self._note(self._look_who_is_there(self.evaluator, now))
        self._stirred.set()

    def _fit_anew(self, account: str) -> None:
        """Somebody may see other devices now; empty for anybody."""
        if self._started:
            for rule in list(self.all.values()):
                if not account or rule.owner == account:
                    self._put(rule)

    def _may(self, rule: Rule, device: Device) -> bool:
        account = self._people.accounts.get(rule.owner)
        if account is None or account.disabled:
            return False
        return self._people.right(Identity(account.name, account.rank), device) >= Right.VIEW

    def held_from(self) -> int:
        """The first event that a start at this moment would have to read."""
        return self._remembered + 1 if self.all else self._pipeline.committed_seq + 1

    def figures(self) -> dict[str, int]:
        """Counts since the start; ``waiting`` is what fired or cleared and is not done yet."""
        return {
            "active": sum(rule.enabled for rule in self.all.values()),
            "fired": self.fired,
            "cleared": self.cleared,
            "waiting": len(self._waiting),
            "evaluated": self.evaluator.evaluated,
            "alerts": len(self._actions.alerts.live),
        }

    # Starting and ending

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._follow_time(), name="rules time"),
            asyncio.create_task(self._do_all(), name="rules actions"),
        ]
        log.info("rules_started", rules=len(self.all))

    async def stop(self) -> None:
        """Write down what is remembered. Harmless when it never began."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            if self._live:
                self._remember()
            log.info("rules_ended")

    async def _begin(self) -> None:
        """Take up what was remembered, and what happened since."""
        memory = self._memory
        head = self._pipeline.committed_seq
        dump: Dump | None = None
        if memory is not None and memory.seq <= head:
            try:
                dump = msgspec.msgpack.decode(memory.data, type=Dump)
            except msgspec.MsgspecError as error:
                log.error("rule_memory_not_understood", error=str(error))
        if dump is None or memory is None:
            now = self._clock.now_ms()
            self._enter(self.evaluator, None, now)
            self._look_who_is_there(self.evaluator, now)
            self._next = head + 1
        else:
            past = Evaluator(self._may)
            outcomes = self._enter(past, dump, dump.at)
            self._next = memory.seq + 1
            self._now = dump.at
            open_ones = await self._catch_up_unseen(past, outcomes)
            now = max(self._clock.now_ms(), self._now)
            self._note(self._enter(self.evaluator, past.remembered(self._now), now))
            self._note(self._look_who_is_there(self.evaluator, now))
            self._waiting.extendleft(reversed(open_ones))
            self._now = now
        self._memory = None
        self._started = True
        for rule in self.all.values():
            if rule.enabled and not self.evaluator.follows(rule.id):
                # It came while the past was looked at.
                self._put(rule)
        self._waiting.extend(self._forgotten_alerts())
        self._arrived.set()

    def _enter(self, evaluator: Evaluator, dump: Dump | None, now: int) -> list[Outcome]:
        if dump is not None:
            evaluator.restore(dump)
        outcomes: list[Outcome] = []
        for rule in self.all.values():
            try:
                outcomes += evaluator.put(compile_rule(rule), now)
            except Invalid as problem:
                log.error("rule_not_understood", rule=rule.id, error=str(problem))
        for device in self._registry.all():
            outcomes += evaluator.place(device, now)
        return outcomes

    def _look_who_is_there(self, evaluator: Evaluator, now: int) -> list[Outcome]:
        """Presence is told when it changes; a rule has to know it from its beginning."""
        outcomes: list[Outcome] = []
        for device in self._registry.all():
            online, since = self._presence(device.id)
            outcomes += evaluator.feed(Presence(device.id, since, online), now)
        return outcomes

    async def _catch_up_unseen(self, past: Evaluator, outcomes: list[Outcome]) -> list[Outcome]:
        """Follow the journal to its end; what came of it, without what it says was done."""
        undone: dict[_Done, Outcome] = {_done(one): one for one in outcomes}
        while found := await self._replay(self._next, _CHUNK):
            for seq, event in found:
                self._next = seq + 1
                if type(event) in _OUTCOMES:
                    undone.pop(_told(event), None)
                for outcome in self._feed(past, event):
                    undone[_done(outcome)] = outcome
            await asyncio.sleep(0)
        return list(undone.values())

    def _forgotten_alerts(self) -> list[Outcome]:
        """Alerts whose rules hold no more, because those were changed or are gone."""
        now = self._time()
        return [
            Cleared(rule, alert.device, now, now)
            for alert in self._actions.alerts.live.values()
            for rule in alert.rules
            if not self.evaluator.fired(rule, alert.device)
        ]

    # Following

    def follow(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit, on the event loop."""
        if not self._live or not events or not first_seq:
            return
        if first_seq != self._next or len(self._waiting) > _WAITING_MOST:
            # The rest is read from the journal.
            self._live = False
            self._stirred.set()
            return
        self._next = first_seq + len(events)
        if not self.all:
            events = [event for event in events if type(event) not in _SAID]
        try:
            for event in events:
                outcomes = self._feed(self.evaluator, event)
                if outcomes:
                    self._note(outcomes)
        except Exception as error:
            # One rule's mistake may not end all others.
            log.error("rules_failed", error=f"{type(error).__name__}: {error}", exc_info=error)

    def _feed(self, evaluator: Evaluator, event: AnyEvent) -> list[Outcome]:
        kind = type(event)
        if kind in _SAID:
            self._changed = True
            self._now = now = max(self._now, arrived(event))
            return evaluator.feed(event, now)
        if kind is PresenceChanged:
            self._now = now = max(self._now, event.at)  # type: ignore[union-attr]
            there = Presence(event.device, event.at, event.online)  # type: ignore[union-attr]
            return evaluator.feed(there, now)
        if kind in _REGISTRY:
            device = self._registry.get(event.device)  # type: ignore[union-attr]
            return evaluator.place(device, self._time()) if device is not None else []
        if kind is DeviceRemoved:
            self._changed = True
            self._actions.alerts.forget(event.device)  # type: ignore[union-attr]
            evaluator.forget(event.device, self._time())  # type: ignore[union-attr]
        elif evaluator is self.evaluator and kind is CommandQueued:
            self._guard.acted(event.device, event.origin, event.at)  # type: ignore[union-attr]
        elif evaluator is self.evaluator and kind is DesiredChanged:
            self._guard.acted(event.device, event.by, event.at)  # type: ignore[union-attr]
        return []

    def _time(self) -> int:
        """Now, and never before what was followed."""
        return max(self._now, self._clock.now_ms())

    def _note(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Cleared):
                self.cleared += 1
            else:
                self.fired += 1
                looped = self._guard.fired(outcome.rule, outcome.device, outcome.now)
                if looped is not None and self._stop(outcome, looped.count, looped.chain):
                    continue
            self._waiting.append(outcome)
        if outcomes:
            self._arrived.set()
            if len(self._waiting) > _WAITING_MOST // 2:
                self._room.clear()

    async def _follow_time(self) -> None:
        await self._begin()
        while True:
            self._stirred.clear()
            if not self._live:
                await self._catch_up()
            now = self._time()
            self._note(self.evaluator.tick(now))
            self._remember_in_time()
            due = self.evaluator.next_at()
            left = EVERY_S if due is None else min(EVERY_S, max(0.001, (due - now) / 1000))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stirred.wait()

    async def _catch_up(self) -> None:
        """Read on in the journal until there is nothing that was not followed."""
        while self._next <= self._pipeline.committed_seq:
            await self._room.wait()
            found = await self._replay(self._next, _CHUNK)
            for seq, event in found:
                self._next = seq + 1
                self._note(self._feed(self.evaluator, event))
            if not found:
                break
        self._live = True

    # Remembering

    def _remember_in_time(self) -> None:
        if self._changed and self._clock.monotonic() - self._remembered_at >= self._remember_every:
            self._remember()

    def _remember(self) -> None:
        if not self._started:
            return
        self._changed = False
        begun = self._clock.monotonic()
        data = msgspec.msgpack.encode(self.evaluator.remembered(self._time()))
        self._remembered = self._next - 1
        self._pipeline.submit([Kept(RuleMemory(MEMORY, self._remembered, data))])
        self._remembered_at = self._clock.monotonic()
        self._remember_every = max(REMEMBERED_EVERY_S, (self._remembered_at - begun) * _REMEMBERING_SHARE)

    # Doing

    async def _do_all(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                if len(self._waiting) <= _WAITING_MOST // 2:
                    self._room.set()
                try:
                    await self._do(batch)
                except (QueueFull, StoreUnavailable):
                    # Whatever was done already is recognised by its key.
                    self._waiting.extendleft(reversed(batch))
                    await asyncio.sleep(_AGAIN_S)
                except Exception as error:
                    log.error("rule_actions_failed", error=f"{type(error).__name__}: {error}", exc_info=error)

    async def _do(self, batch: list[Outcome]) -> None:
        # Of a rule that is gone there is still to tell that it is not true any more.
        await self._actions.do([(one, self.all.get(one.rule) or Rule(one.rule, "", "", {})) for one in batch])

    def _stop(self, outcome: Outcome, count: int, chain: tuple[str, ...]) -> bool:
        """Switch off what sets itself off; False when it is off already."""
        rule = self.all.get(outcome.rule)
        if rule is None or not rule.enabled:
            return False
        names = ", ".join(repr(self.all[one].name) for one in chain if one in self.all)
        why = f"it set itself off {count} times within a minute, by way of {names or repr(rule.name)}"
        self.all[rule.id] = stopped = msgspec.structs.replace(rule, enabled=False, stopped=why)
        self._refusals.notices["rule_looped"] += 1
        detail = f"rule {rule.name!r} ({rule.id}) is switched off: {why}"
        told = Noticed(outcome.device, self._clock.now_ms(), "rule_looped", detail)
        self._pipeline.submit([Kept(stopped), told, *self._actions.tell_owner(rule, outcome.device, why)])
        log.warning("rule_looped", rule=rule.id, device=outcome.device, count=count)
        return True


def _done(outcome: Outcome) -> _Done:
    return isinstance(outcome, Fired), outcome.rule, outcome.device, outcome.at


def _told(event: Any) -> _Done:
    return type(event) is RuleFired, event.rule, event.device, event.reading_at
