"""Relays that go off again, and relays that exclude each other, whoever switches them.

What follows from what is pure: :mod:`relevo.domain.relay_functions`. Every command to a relay passes
:class:`relevo.dispatch.Dispatch`, which asks here before it takes one into the ledger and before one leaves. What a
relay is known to be follows from what its device reports and confirms; a relay that was switched on without an answer
may be on until its device says otherwise.
"""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

from relevo.clock import Clock
from relevo.dialect import Dialect, Switch, Switches
from relevo.dispatch import Dispatch, Wish
from relevo.domain.commands import CONFIRMED, ENDS, SENT, TTL_MOST_S, Command
from relevo.domain.devices import Device, Registry
from relevo.domain.events import AnyEvent, DeviceAnswered, DeviceRemoved, Noticed, StateReported, TelemetryReceived
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.relay_functions import (
    EXCLUSIVE,
    INTERLOCK,
    MOMENTARY,
    TIMED,
    TOGGLE,
    RelayBoard,
    RelayChannel,
    RelayRun,
    Span,
    channel_id,
    left_ms,
    retry_s,
    rivals_of,
    span_of,
    told,
)
from relevo.errors import Excluded, Invalid, RelevoError
from relevo.log import get_logger
from relevo.pipeline import Pipeline
from relevo.refusals import Refusals
from relevo.twins import Twins

log = get_logger("relevo.switching")

_SELF: Final = "relevo"
_ORIGIN: Final = "relay"
_INTERLOCK_TTL_S: Final = 30.0
_OFF_TTL_S: Final = min(86_400.0, TTL_MOST_S)
_SAID: Final = frozenset({StateReported, DeviceAnswered, TelemetryReceived})
Place = tuple[str, int]


class _Run:
    """A relay that has to go off: when (monotonic seconds), and how often that was tried."""

    __slots__ = ("attempt", "began", "due", "record", "tried")

    def __init__(self, record: RelayRun, due: float, began: float) -> None:
        self.record = record
        self.due = due
        self.began = began
        self.attempt = 0
        # When it may be tried again.
        self.tried = -inf


class Switching:
    """One for the whole process, used on the event loop. :meth:`apply`, :meth:`follow` and :meth:`watch` see every
    commit."""

    def __init__(
        self,
        dispatch: Dispatch,
        twins: Twins,
        pipeline: Pipeline,
        registry: Registry,
        dialects: dict[str, Dialect],
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self._dispatch = dispatch
        self._twins = twins
        self._pipeline = pipeline
        self._registry = registry
        self._dialects = dialects
        self._refusals = refusals
        self._clock = clock
        self.boards: dict[str, RelayBoard] = {}
        self.channels: dict[Place, RelayChannel] = {}
        # Devices with channels of their own, which nobody else costs anything.
        self._of_device: dict[str, dict[int, RelayChannel]] = {}
        self._runs: dict[Place, _Run] = {}
        self._left: list[RelayRun] = []
        self._known: dict[Place, bool] = {}
        # Switched on, and not heard of since.
        self._uncertain: set[Place] = set()
        self._beats = 0
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._told_tasks: set[asyncio.Task[None]] = set()
        # Called when the next moment may have moved.
        self.stirred: Callable[[], None] = lambda: None
        dispatch.relays = self
        dispatch.moved.append(self._moved)

    # Records

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        match change:
            case Kept(RelayBoard() as board):
                self.boards[board.id] = board
            case Kept(RelayChannel() as one):
                self.channels[one.device, one.channel] = one
                self._of_device.setdefault(one.device, {})[one.channel] = one
            case Kept(RelayRun() as run) if (run.device, run.channel) not in self._runs:
                self._left.append(run)
            case Dropped(kind, key) if kind is RelayBoard:
                self.boards.pop(key, None)
            case Dropped(kind, key) if kind is RelayChannel:
                device, _, number = key.rpartition("/")
                place = (device, int(number))
                self.channels.pop(place, None)
                held = self._of_device.get(device, {})
                held.pop(place[1], None)
                if not held:
                    self._of_device.pop(device, None)

    def of_device(self, device: str) -> list[RelayChannel]:
        """The channels of a device that has a board record, by number."""
        return [one for _, one in sorted(self._of_device.get(device, {}).items())]

    def ends_at(self, device: str, channel: int) -> int:
        """When a relay that is on goes off by itself (milliseconds UTC), 0 for one that stays as it is."""
        run = self._runs.get((device, channel))
        return run.record.on_at + run.record.lasts_ms if run is not None else 0

    def state(self, device: str, channel: int) -> bool | None:
        """Whether a relay is on; ``None`` while nothing is known or an answer is missing."""
        return None if (device, channel) in self._uncertain else self._told(device, channel)

    def _told(self, device: str, channel: int) -> bool | None:
        found = self._known.get((device, channel))
        if found is None:
            speaks = self._speaks(device)
            if speaks is not None:
                reported = self._twins.get(device).reported.get(speaks.relay_key(channel))
                found = reported.value if reported is not None else None
        return found if isinstance(found, bool) else None

    def _speaks(self, device: str) -> Switches | None:
        known = self._registry.get(device)
        dialect = self._dialects[known.contract] if known is not None else None
        return dialect if isinstance(dialect, Switches) else None

    def _switch(self, device: str, name: str, params: dict[str, object]) -> Switch | None:
        speaks = self._speaks(device)
        return speaks.switching(name, params) if speaks is not None else None

    def concerns(self, device: str, channel: int) -> bool:
        """Whether a relay does more than to stay as it is put, or is kept from something."""
        one = self.channels.get((device, channel))
        return one is not None and (span_of(one) is not None or one.protection != "none" or one.function != TOGGLE)

    def takes(self, device: str, channel: int) -> bool:
        """Whether what switches relay ``channel`` (0 for any) has to go through here."""
        return any(channel in (0, one.channel) and self.concerns(device, one.channel) for one in self.of_device(device))

    async def switch(self, device: str, channel: int, on: bool | None, by: str, origin: str) -> list[str]:
        """Switch relay ``channel`` (0 for all) as by commands; ``None`` is the other way round. Their ids.

        Raises what :meth:`Dispatch.ask` raises.
        """
        speaks = self._speaks(device)
        if speaks is None:
            return []
        asked = []
        for number in [channel] if channel else [one.channel for one in self.of_device(device)]:
            name, params = speaks.switch(number, not self.state(device, number) if on is None else on)
            asked.append((await self._dispatch.ask(Wish(device, name, params, by, origin))).id)
        return asked

    def told(self, device: str, channel: int, on: bool | None, sender: str) -> bool:
        """A client told a device to switch a relay; true when that is ours to do, and not to be passed on."""
        if not self.takes(device, channel):
            return False

        async def switch() -> None:
            try:
                await self.switch(device, channel, on, _SELF, "mqtt")
            except Invalid as problem:
                self._refusals.refuse(device, "mqtt", problem.reason, str(problem), sender)
            except RelevoError as problem:
                self._refusals.refuse(device, "mqtt", "relay_excluded", str(problem), sender)

        task = asyncio.get_running_loop().create_task(switch(), name=f"told {device}")
        self._told_tasks.add(task)
        task.add_done_callback(self._told_tasks.discard)
        return True

    # Asked by the dispatch

    def worded(self, device: Device, name: str, params: dict[str, object]) -> dict[str, object]:
        number = params.get("channel")
        if device.id not in self._of_device or not isinstance(number, int):
            return params
        one = self.channels.get((device.id, number))
        speaks = self._speaks(device.id)
        on = params.get("state") in (True, "on")
        if one is None or one.function == TOGGLE or speaks is None or name != speaks.switch(number, True)[0] or not on:
            return params
        return params | {"function": one.function}

    def admit(self, device: Device, name: str, params: dict[str, object]) -> None:
        one = self._on(device.id, name, params)
        if one is None or one.protection != EXCLUSIVE:
            return
        for rival in rivals_of(one, self.of_device(device.id)):
            if self._told(device.id, rival) or self._opening(device.id, rival) or (device.id, rival) in self._uncertain:
                raise Excluded(f"relay {one.channel} is not switched on while relay {rival} is on (exclusive)")

    def free(self, device: Device, name: str, params: dict[str, object], command_id: str = "") -> bool:
        one = self._on(device.id, name, params)
        if one is None or one.protection not in (INTERLOCK, EXCLUSIVE):
            return True
        rivals = rivals_of(one, self.of_device(device.id))
        if not command_id:
            # Others may be on their way into the ledger; there they have an order.
            return not rivals
        waits = False
        for rival in rivals:
            place = (device.id, rival)
            if self._opening(*place, before=command_id) is not None:
                return False
            if self.state(*place) is False:
                continue
            if one.protection == INTERLOCK:
                waits = True
                self._clear(*place)
            elif place in self._uncertain or self._told(*place):
                command = self._dispatch.ledger.get(command_id)
                if command is not None:
                    self._dispatch.fail(command, f"relay {rival} is on (exclusive)")
                return False
        return not waits

    def _on(self, device: str, name: str, params: dict[str, object]) -> RelayChannel | None:
        """The configured channel that a command switches on."""
        if device not in self._of_device:
            return None
        switch = self._switch(device, name, params)
        return self.channels.get((device, switch.channel)) if switch is not None and switch.on else None

    def _opening(self, device: str, channel: int, before: str = "") -> Command | None:
        """An open command that switches the relay on; among those that still wait only one older than ``before``."""
        older = True
        for command in self._dispatch.ledger.of(device):
            if command.id == before:
                older = False
                continue
            switch = self._switch(device, command.name, command.params)
            if switch is None or switch != (channel, True):
                continue
            if (command.state == SENT and command.deadline) or (command.state != SENT and older):
                return command
        return None

    def _clear(self, device: str, rival: int) -> None:
        """Switch a relay off so that another may go on."""
        if (device, rival) in self._tasks or self._closing(device, rival):
            return
        wish = self._off_wish(device, rival, INTERLOCK, _INTERLOCK_TTL_S, urgent=False)
        if wish is not None:
            self._begin((device, rival), wish)

    def _closing(self, device: str, channel: int) -> bool:
        """Whether a command that switches the relay off is open."""
        return any(
            self._switch(device, one.name, one.params) == (channel, False) and (one.state != SENT or one.deadline)
            for one in self._dispatch.ledger.of(device)
        )

    def _off_wish(self, device: str, channel: int, why: str, ttl_s: float, urgent: bool) -> Wish | None:
        speaks = self._speaks(device)
        if speaks is None:
            return None
        name, params = speaks.switch(channel, False)
        return Wish(device, name, params, _SELF, f"{_ORIGIN}:{why}", ttl_s, redeliver=True, urgent=urgent)

    def _begin(self, place: Place, wish: Wish) -> None:
        task = asyncio.get_running_loop().create_task(self._ask(wish), name=f"relay off {place[0]} {place[1]}")
        self._tasks[place] = task
        task.add_done_callback(lambda _: self._tasks.pop(place, None))

    async def _ask(self, wish: Wish) -> None:
        try:
            await self._dispatch.ask(wish)
        except RelevoError as problem:
            log.warning("relay_off_not_asked", device=wish.device, error=str(problem))

    # What became of it

    def _moved(self, command: Command) -> None:
        """A command made a step: after its commit, before others of its device leave."""
        device = command.device
        switch = self._switch(device, command.name, command.params)
        if switch is None:
            return
        place = (device, switch.channel)
        if switch.on and command.state == SENT and not command.over:
            self._uncertain.add(place)
            self._run_from(place, command)
        elif command.state == CONFIRMED:
            self._is(place, switch.on)
        elif command.state in ENDS and not switch.on and command.origin == f"{_ORIGIN}:{INTERLOCK}":
            self._give_up(device, switch.channel, command)

    def _give_up(self, device: str, rival: int, command: Command) -> None:
        """What waited for a relay to be off may not go on."""
        for waiting in self._dispatch.ledger.of(device):
            one = self._on(device, waiting.name, waiting.params)
            if one is None or waiting.state == SENT or one.protection != INTERLOCK:
                continue
            if rival in rivals_of(one, self.of_device(device)):
                reason = f"relay {rival} could not be switched off first ({command.state.replace('_', ' ')})"
                self._dispatch.fail(waiting, reason)

    def watch(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit: what devices say about their relays."""
        if not self._of_device:
            return
        for event in events:
            if type(event) not in _SAID or event.device not in self._of_device:  # type: ignore[union-attr]
                continue
            device = event.device  # type: ignore[union-attr]
            speaks = self._speaks(device)
            if speaks is None:
                continue
            for channel, on in speaks.relays_said(event).items():
                self._is((device, channel), on)
            self._dispatch.listening(device)

    def _is(self, place: Place, on: bool) -> None:
        """A relay is known to be on or off."""
        device, channel = place
        if device not in self._of_device:
            return
        self._known[place] = on
        if on:
            one = self.channels.get(place)
            run = self._runs.get(place)
            self._uncertain.discard(place)
            if run is None and one is not None and one.protection == TIMED:
                self._start(place, Span(TIMED, one.limit_s * 1000))
            return
        # A report may have left before the command to go on arrived.
        if self._opening(device, channel) is None:
            self._uncertain.discard(place)
            self._end(place)

    # Going off again

    def _run_from(self, place: Place, command: Command) -> None:
        one = self.channels.get(place)
        if one is None:
            return
        speaks, device = self._speaks(place[0]), self._registry.get(place[0])
        beats = (
            speaks is not None
            and device is not None
            and speaks.beat(device.external_id, place[1], 0, device.attributes) is not None
        )
        span = span_of(one, beats)
        if span is not None:
            self._start(place, span)

    def _start(self, place: Place, span: Span) -> None:
        device, channel = place
        record = RelayRun(channel_id(device, channel), device, channel, span.why, self._clock.now_ms(), span.lasts_ms)
        now = self._clock.monotonic()
        self._runs[place] = _Run(record, now + span.lasts_ms / 1000, now)
        self._pipeline.submit([Kept(record)])
        self.stirred()

    def _end(self, place: Place) -> None:
        if self._runs.pop(place, None) is not None:
            self._pipeline.submit([Dropped(RelayRun, channel_id(*place))])

    def beat(self, device: str, channel: int, forward: bool = False) -> bool:
        """Somebody holds the key of a relay; whether that keeps anything on.

        With ``forward`` a device that listens for it is told as well.
        """
        run = self._runs.get((device, channel))
        known, speaks = self._registry.get(device), self._speaks(device)
        if forward and known is not None and speaks is not None and self._dispatch.egress is not None:
            self._beats += 1
            said = speaks.beat(known.external_id, channel, self._beats, known.attributes)
            if said is not None:
                self._dispatch.egress.say(device, said, "", 0)
        if run is None or run.record.why != MOMENTARY or run.attempt:
            return False
        run.due = self._clock.monotonic() + run.record.lasts_ms / 1000
        one = self.channels.get((device, channel))
        if one is not None and one.protection == TIMED:
            # However long it is held.
            run.due = min(run.due, run.began + one.limit_s)
        return True

    def begin(self) -> None:
        """After a restart: go on with what is left of each run; what is over goes off now."""
        now, mono = self._clock.now_ms(), self._clock.monotonic()
        for record in self._left:
            if self._registry.get(record.device) is None:
                self._pipeline.submit([Dropped(RelayRun, record.id)])
                continue
            self._runs[record.device, record.channel] = _Run(record, mono + left_ms(record, now) / 1000, mono)
        self._left.clear()
        for device in list(self._of_device):
            for command in self._dispatch.ledger.sent_to(device):
                switch = self._switch(device, command.name, command.params)
                if switch is not None and switch.on:
                    self._uncertain.add((device, switch.channel))
                    if (device, switch.channel) not in self._runs:
                        self._run_from((device, switch.channel), command)
        self.look()

    def look(self) -> float | None:
        """Switch off what has to be; the monotonic second at which to look next."""
        now = self._clock.monotonic()
        following: list[float] = []
        for place, run in list(self._runs.items()):
            when = max(run.due, run.tried)
            if when > now:
                following.append(when)
                continue
            self._off(place, run, now)
            following.append(run.tried)
        return min(following, default=None)

    def _off(self, place: Place, run: _Run, now: float) -> None:
        run.tried = now + retry_s(run.attempt + 1)
        if place in self._tasks or self._closing(*place):
            # One is on its way, or waits for the device.
            return
        run.attempt += 1
        if run.attempt == 1 and run.record.why in (MOMENTARY, TIMED):
            self._pipeline.submit(
                [Noticed(place[0], self._clock.now_ms(), "relay_shut_off", told(run.record, run.record.lasts_ms))]
            )
        unanswered = self._opening(*place) is not None
        wish = self._off_wish(*place, run.record.why, _OFF_TTL_S, urgent=unanswered)
        if wish is not None:
            self._begin(place, wish)

    def follow(self, event: AnyEvent) -> None:
        """A device that is gone takes its relays along."""
        if not isinstance(event, DeviceRemoved):
            return
        device = event.device
        gone: list[RecordChange] = [Dropped(RelayChannel, one.id) for one in self.of_device(device)]
        if device in self.boards:
            gone.append(Dropped(RelayBoard, device))
        for place in [one for one in self._runs if one[0] == device]:
            del self._runs[place]
            gone.append(Dropped(RelayRun, channel_id(*place)))
        self._known = {place: on for place, on in self._known.items() if place[0] != device}
        self._uncertain = {place for place in self._uncertain if place[0] != device}
        if gone:
            self._pipeline.submit(gone)

    def stop(self) -> None:
        """End what is still being asked for."""
        for task in (*self._tasks.values(), *self._told_tasks):
            task.cancel()
