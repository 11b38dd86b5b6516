"""Commands on their way: from the one who asks into the ledger, to the device, and back with its answer.

Theory. Every decision is an event that takes the road, and only what is committed is acted upon: a command's bytes
leave after ``CommandSent`` is on the disk. Between a decision and its commit the command is *in hand*, so that nothing
else decides about it meanwhile. A device that listens gets ``CommandQueued`` and ``CommandSent`` in one commit.

A device hears of its commands when it is connected and subscribed (MQTT), or asks (HTTP). The ledger, not the broker's
queue, holds what it could not get: see :mod:`relevo.domain.commands`.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from relevo.clock import Clock
from relevo.dialect import Commandable, Dialect, Order, Said, SpeaksOnTopics, Verdict
from relevo.domain.actions import order_problem
from relevo.domain.commands import (
    CANCELLED,
    EXPIRED,
    FAILED,
    KEY_LIMIT,
    ON_THE_WAY_MOST,
    QUEUED,
    SENT,
    Command,
    Ledger,
)
from relevo.domain.devices import Device, Registry
from relevo.domain.events import (
    AnyEvent,
    CommandArrived,
    CommandEnded,
    CommandQueued,
    CommandReturned,
    CommandSent,
    DeviceAnswered,
    DeviceRemoved,
    StateReported,
    TelemetryReceived,
)
from relevo.errors import Conflict, FieldError, Invalid, NotFound, QueueFull, StoreUnavailable, TooMany
from relevo.pipeline import Entry, Outcome, Pipeline
from relevo.refusals import Refusals

_KEYS_SWEPT_EVERY_MS: Final = 600_000
_STORED_WITHIN_S: Final = 10.0
_TRIES_MOST: Final = 5
# What a device says that may settle a command.
_REPORTS: Final = frozenset({DeviceAnswered, StateReported, TelemetryReceived})


class Egress(Protocol):
    """The door that devices listen at."""

    def hears(self, device: str, topics: Sequence[str]) -> bool:
        """Whether the device listens now."""

    def say(self, device: str, said: Said, token: str, expires_at: int) -> bool:
        """Send at once to whoever listens; whether the device is among them."""


class Relays(Protocol):
    """What decides about switching relays (:mod:`relevo.domain.relay_functions`)."""

    def worded(self, device: Device, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters of a command with what the relay's function adds to them."""

    def admit(self, device: Device, name: str, params: dict[str, Any]) -> None:
        """Raises :class:`Excluded` for a relay that may not be switched on now."""

    def free(self, device: Device, name: str, params: dict[str, Any], command_id: str = "") -> bool:
        """Whether nothing has to happen first; ``command_id`` is empty for one that is not in the ledger yet."""


class Wish(NamedTuple):
    """What somebody wants a device to do. ``ttl_s`` in seconds, ``None`` for the setting's.

    An ``urgent`` one does not wait for the answer to an older one that it could be mistaken for.
    """

    device: str
    name: str
    params: dict[str, Any]
    by: str
    origin: str = "user"
    ttl_s: float | None = None
    key: str = ""
    redeliver: bool = False
    urgent: bool = False


class _Asked(NamedTuple):
    """A wish on its way into the ledger."""

    id: str
    lane: str
    leaves: bool


class Dispatch:
    """One for the whole process, used on the event loop.

    ``recall`` reads a command that is over. ``ttl_s`` (seconds) holds for wishes that name none; a device may have
    ``open_most`` open commands.
    """

    def __init__(
        self,
        ledger: Ledger,
        pipeline: Pipeline,
        registry: Registry,
        dialects: dict[str, Dialect],
        refusals: Refusals,
        clock: Clock,
        recall: Callable[[str], Awaitable[Command | None]],
        ttl_s: float = 60.0,
        open_most: int = 1_000,
    ) -> None:
        self.ledger = ledger
        self._pipeline = pipeline
        self._registry = registry
        self._dialects = dialects
        self._refusals = refusals
        self._clock = clock
        self._recall = recall
        self._ttl_s = ttl_s
        self._open_most = open_most
        self.egress: Egress | None = None
        self.relays: Relays | None = None
        # Wishes on their way to the disk, by device, in their order.
        self._asked: dict[str, dict[str, _Asked]] = {}
        self._keys: dict[tuple[str, str, str], asyncio.Future[Command]] = {}
        # Commands whose CommandSent, CommandReturned or CommandEnded is on its way to the disk.
        self._moving: set[str] = set()
        self._waiting: dict[str, list[asyncio.Future[Command]]] = {}
        self._polling: dict[str, list[asyncio.Future[None]]] = {}
        self._keys_swept = 0
        # Called with every command that made a step, after its commit.
        self.moved: list[Callable[[Command], None]] = []
        # How many commands ended since start, by state.
        self.ended: Counter[str] = Counter()
        # Called when the next deadline may have moved.
        self.stirred: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """After a restart: end what belongs to nobody any more, and queue again what may be sent again."""
        now = self._clock.now_ms()
        for device in self.ledger.devices():
            for command in self.ledger.of(device):
                if self._registry.get(device) is None:
                    self._submit(CommandEnded(device, command.id, now, FAILED, "the device was removed"))
                elif command.state == SENT and command.redeliver and not _has_arrived(command):
                    self._submit(CommandReturned(device, command.id, now, "the server was restarted"))
        self.look()

    # Asking

    async def ask(self, wish: Wish, more: Sequence[Entry] = ()) -> Command:
        """Take a wish into the ledger and send it when the device listens; returns after the commit.

        ``more`` is committed with it. The same idempotency key of the same asker within a day gives the command that
        it began. Raises :class:`NotFound`, :class:`Invalid` naming the field, :class:`Conflict` for a key that began
        something else, :class:`Excluded` for a relay that another excludes, :class:`TooMany` when the device has too
        many open commands, :class:`QueueFull` and :class:`StoreUnavailable`.
        """
        device, order = self.check(wish)
        key = (wish.by, wish.device, wish.key)
        if wish.key:
            begun = await self._begun(key)
            if begun is not None:
                if (begun.name, begun.params) != (wish.name, order.params):
                    raise Conflict(f"idempotency_key {wish.key!r} began another command, {begun.id}")
                return begun
        if self.relays is not None:
            self.relays.admit(device, wish.name, order.params)
        if len(self.ledger.of(device.id)) + len(self._asked.get(device.id, ())) >= self._open_most:
            raise TooMany(f"device {device.id!r} has {self._open_most} open commands already", 5)
        if self._pipeline.full:
            raise QueueFull("too much is waiting to be stored; try again in a moment")
        now = self._clock.now_ms()
        ttl_ms = round((self._ttl_s if wish.ttl_s is None else wish.ttl_s) * 1000)
        lane = "" if wish.urgent else order.lane
        queued = CommandQueued(
            device.id,
            new_id(),
            now,
            wish.name,
            order.params,
            wish.by,
            wish.origin,
            now + ttl_ms,
            wish.key,
            lane,
            order.answer_ms,
            wish.redeliver,
        )
        entries: list[Entry] = [queued, *more]
        leaves = self._may_leave_at_once(device, lane) and self._is_free(device, wish.name, order.params)
        if leaves:
            entries.append(CommandSent(device.id, queued.id, now, "mqtt", _deadline(now, order.answer_ms)))
        future: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        # Somebody may wait for it beside us, and it may fail while nobody does.
        future.add_done_callback(_looked_at)
        asked = _Asked(queued.id, lane, leaves)
        self._asked.setdefault(device.id, {})[queued.id] = asked
        if wish.key:
            self._keys[key] = future
            future.add_done_callback(lambda _: self._keys.pop(key, None))
        self._pipeline.submit(entries, self._taken, (device.id, asked, future))
        try:
            async with asyncio.timeout(_STORED_WITHIN_S):
                return await asyncio.shield(future)
        except TimeoutError:
            detail = self._pipeline.state.detail or "the disk is slow"
            raise StoreUnavailable(f"not stored within {_STORED_WITHIN_S:g} s: {detail}") from None

    def check(self, wish: Wish) -> tuple[Device, Order]:
        """The device, and how its contract says this. Raises :class:`NotFound` and :class:`Invalid`."""
        device = self._registry.get(wish.device)
        if device is None:
            raise NotFound(f"no device {wish.device!r}")
        dialect = self._dialects[device.contract]
        if not isinstance(dialect, Commandable):
            raise _field("command_unknown", "name", f"is a command, and contract {device.contract} knows none")
        problem = order_problem(wish.name, wish.params, wish.ttl_s)
        if problem is not None:
            raise _field(*problem)
        if len(wish.key) > KEY_LIMIT:
            raise _field("key_invalid", "idempotency_key", f"must have at most {KEY_LIMIT} characters")
        params = wish.params
        if self.relays is not None:
            params = self.relays.worded(device, wish.name, params)
        return device, dialect.order(wish.name, params, device.attributes)

    async def _begun(self, key: tuple[str, str, str]) -> Command | None:
        running = self._keys.get(key)
        if running is not None:
            return await asyncio.shield(running)
        known = self.ledger.by_key(*key, self._clock.now_ms())
        return await self.find(known) if known else None

    def _may_leave_at_once(self, device: Device, lane: str) -> bool:
        """Whether a new command of ``device`` need not wait for an older one, and the device listens."""
        ahead = list(self._asked.get(device.id, {}).values())
        open_ones = self.ledger.of(device.id)
        if any(not one.leaves for one in ahead) or any(one.state == QUEUED for one in open_ones):
            return False
        on_the_way = [one.lane for one in open_ones if one.deadline] + [one.lane for one in ahead]
        if len(on_the_way) >= ON_THE_WAY_MOST or (lane and lane in on_the_way):
            return False
        return self._hears(device)

    def _taken(self, token: Any, outcome: Outcome) -> None:
        """A wish is committed."""
        device, asked, future = token
        held = self._asked[device]
        del held[asked.id]
        if not held:
            del self._asked[device]
        command = self.ledger.get(asked.id)
        if command is None:
            if not future.done():
                future.set_exception(NotFound(f"no device {device!r}"))
            return
        if asked.leaves:
            self._leave(command)
        else:
            self.listening(device)
            self._wake(device)
        self.stirred()
        if not future.done():
            future.set_result(command)

    async def find(self, command_id: str) -> Command | None:
        """A command, open or over; ``None`` for one that never was or is forgotten."""
        return self.ledger.get(command_id) or await self._recall(command_id)

    async def wait(self, command: Command, seconds: float) -> Command:
        """``command`` once nothing more is expected of it, or as it is after ``seconds``."""
        if _is_settled(command) or seconds <= 0 or self.ledger.get(command.id) is None:
            return command
        future: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(command.id, [])
        waiting.append(future)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return command
        finally:
            waiting.remove(future)
            if not waiting:
                self._waiting.pop(command.id, None)

    async def cancel(self, command: Command, by: str, more: Sequence[Entry] = ()) -> None:
        """End a command that has not left. Raises :class:`Conflict` for any other."""
        if command.state != QUEUED or command.id in self._moving or self.ledger.get(command.id) is None:
            raise Conflict(f"command {command.id} is {command.state}: only one that is queued can be cancelled")
        self._moving.add(command.id)
        ended = CommandEnded(command.device, command.id, self._clock.now_ms(), CANCELLED, f"by {by}")
        await self._pipeline.accept([ended, *more])

    # Leaving

    def listening(self, device: str) -> None:
        """The device can hear now, or could hear more: send what waits for it."""
        if not self.ledger.has_open(device):
            return
        registered = self._registry.get(device)
        if registered is None or not self.ledger.ready(device, self._clock.now_ms()) or not self._hears(registered):
            return
        ready = self._ready(device)
        if ready:
            self._send(ready, "mqtt")

    async def take(self, device: str, wait_s: float, most: int) -> list[Command]:
        """The next commands of a device that asks for them, sent by being returned; waits ``wait_s`` for the first.

        Never raises for the device's being unknown: it then has none.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while True:
            ready = self._ready(device)[:most]
            if ready:
                sent: asyncio.Future[list[Command]] = loop.create_future()
                self._send(ready, "http", sent)
                return await sent
            left = end - loop.time()
            if left <= 0:
                return []
            bell: asyncio.Future[None] = loop.create_future()
            bells = self._polling.setdefault(device, [])
            bells.append(bell)
            try:
                async with asyncio.timeout(left):
                    await bell
            except TimeoutError:
                pass
            finally:
                bells.remove(bell)
                if not bells and self._polling.get(device) is bells:
                    del self._polling[device]

    def _ready(self, device: str) -> list[Command]:
        found = [one for one in self.ledger.ready(device, self._clock.now_ms()) if one.id not in self._moving]
        registered = self._registry.get(device)
        if self.relays is None or registered is None:
            return found
        return [one for one in found if self._is_free(registered, one.name, one.params, one.id)]

    def _is_free(self, device: Device, name: str, params: dict[str, Any], command_id: str = "") -> bool:
        return self.relays is None or self.relays.free(device, name, params, command_id)

    def fail(self, command: Command, reason: str) -> None:
        """End a command that may not leave any more; nothing for one that is over or being decided about."""
        if not command.over and command.id not in self._moving and self.ledger.get(command.id) is not None:
            self._submit(CommandEnded(command.device, command.id, self._clock.now_ms(), FAILED, reason))

    def _hears(self, device: Device) -> bool:
        dialect = self._dialects[device.contract]
        if self.egress is None or not isinstance(dialect, Commandable):
            return False
        return self.egress.hears(device.id, dialect.command_topics(device.external_id, device.attributes))

    def _send(self, commands: list[Command], via: str, future: "asyncio.Future[list[Command]] | None" = None) -> None:
        now = self._clock.now_ms()
        self._moving.update(one.id for one in commands)
        self._pipeline.submit(
            [CommandSent(one.device, one.id, now, via, _deadline(now, one.answer_ms)) for one in commands],
            self._sent,
            (commands, future),
        )

    def _sent(self, token: Any, outcome: Outcome) -> None:
        """``CommandSent`` is committed: now the bytes may leave."""
        commands, future = token
        left = [one for one in commands if one.state == SENT and not self._too_late(one)]
        if future is None:
            for command in left:
                self._leave(command)
        elif not future.done():
            future.set_result(left)
        else:
            # Whoever polled is gone, and nothing was written yet.
            for command in left:
                self._submit(self._returned(command, "the connection ended before it left"))

    def _leave(self, command: Command) -> None:
        if self._too_late(command):
            return
        device = self._registry.get(command.device)
        if device is None or self.egress is None:
            return
        dialect = self._dialects[device.contract]
        assert isinstance(dialect, Commandable)
        if isinstance(dialect, SpeaksOnTopics):
            egress, topics = self.egress, dialect.command_topics(device.external_id, device.attributes)
            heard = (one for one in topics if egress.hears(device.id, (one,)))
            topic = next(heard, topics[-1])
            said = dialect.say_on(topic, device.external_id, command, device.attributes)
        else:
            said = dialect.say(device.external_id, command, device.attributes)
        if self.egress.say(device.id, said, command.id, command.expires_at):
            return
        if sum(one.state == QUEUED for one in command.transitions) > _TRIES_MOST:
            reason = "the device's client takes no message of this size"
            self._submit(CommandEnded(command.device, command.id, self._clock.now_ms(), FAILED, reason))
        else:
            self._submit(self._returned(command, "the connection ended before it left"))

    def _too_late(self, command: Command) -> bool:
        """A commit may take long; what is too old by now stays here."""
        now = self._clock.now_ms()
        if now < command.expires_at:
            return False
        self._submit(
            CommandReturned(command.device, command.id, now, "its time was over before it left"),
            CommandEnded(command.device, command.id, now, EXPIRED, "its time was over before it left"),
        )
        return True

    def _returned(self, command: Command, reason: str) -> CommandReturned:
        return CommandReturned(command.device, command.id, self._clock.now_ms(), reason)

    # Coming back

    def arrived(self, command_id: str, taken: bool) -> None:
        """The device's MQTT client answered the message of a command: it took it, or it refused it."""
        command = self.ledger.get(command_id)
        if command is None or command.state != SENT or command_id in self._moving:
            return
        now = self._clock.now_ms()
        if taken:
            self._pipeline.submit([CommandArrived(command.device, command_id, now)])
        else:
            self._submit(CommandEnded(command.device, command_id, now, FAILED, "the device's client refused it"))

    def unheard(self, command_id: str) -> None:
        """The connection ended before the device's client acknowledged the message of a command."""
        command = self.ledger.get(command_id)
        if command is None or command.state != SENT or command_id in self._moving:
            return
        if command.redeliver:
            self._submit(self._returned(command, "the connection ended before it was acknowledged"))

    def heard(self, dialect: Dialect, device: str, event: AnyEvent) -> list[AnyEvent]:
        """What something that a device said means for its commands: events to submit with it."""
        if type(event) not in _REPORTS:
            return []
        is_answer = type(event) is DeviceAnswered
        found: list[AnyEvent] = []
        if self.ledger.has_open(device) and isinstance(dialect, Commandable):
            for command in self.ledger.sent_to(device):
                if command.id in self._moving:
                    continue
                verdict = dialect.settles(command, event)
                if verdict is None:
                    continue
                found += self.settle(command, verdict)
                if is_answer:
                    break
        if is_answer and not found:
            self._refusals.notice(device, "answer_unmatched", "an answer to no open command: late, or a repetition")
        return found

    def settle(self, command: Command, verdict: Verdict) -> list[AnyEvent]:
        """The end of ``command`` that its device answered for, to submit; nothing when it is over already."""
        if command.state != SENT or command.id in self._moving or self.ledger.get(command.id) is None:
            self._refusals.notice(command.device, "answer_unmatched", f"an answer to {command.id}: late, or repeated")
            return []
        self._moving.add(command.id)
        now = self._clock.now_ms()
        return [CommandEnded(command.device, command.id, now, verdict.state, verdict.reason, verdict.result)]

    def follow(self, event: AnyEvent) -> None:
        """After each commit: the ledger moves, and whoever waits is told."""
        if type(event) is DeviceRemoved:
            for command in self.ledger.of(event.device):
                for future in self._waiting.get(command.id, ()):
                    if not future.done():
                        future.set_exception(NotFound(f"device {event.device!r} was removed"))
                self._moving.discard(command.id)
        command_id = getattr(event, "id", "")
        moved = self.ledger.apply(event)
        if type(event) is not CommandArrived:
            self._moving.discard(command_id)
        if moved is None:
            return
        for tell in self.moved:
            tell(moved)
        if _is_settled(moved):
            for future in self._waiting.get(moved.id, ()):
                if not future.done():
                    future.set_result(moved)
        if moved.over:
            self.ended[moved.state] += 1
            self.listening(moved.device)
            self._wake(moved.device)
        self.stirred()

    def _wake(self, device: str) -> None:
        for bell in self._polling.get(device, ()):
            if not bell.done():
                bell.set_result(None)

    # Time

    def look(self) -> int | None:
        """End what is over by now and try again whoever could not take more; when to look next (milliseconds UTC)."""
        now = self._clock.now_ms()
        ended = [one for one in self.ledger.due(now) if one.id not in self._moving]
        if ended:
            self._submit(*ended)
        for device in self.ledger.devices():
            self.listening(device)
        if now - self._keys_swept >= _KEYS_SWEPT_EVERY_MS:
            self._keys_swept = now
            self.ledger.forget_keys(now)
        return self.ledger.next_at()

    def _submit(self, *events: CommandReturned | CommandEnded) -> None:
        self._moving.update(one.id for one in events)
        self._pipeline.submit(events)


def new_id() -> str:
    """Unguessable, short enough for a board's buffer."""
    return secrets.token_urlsafe(9)


def _deadline(now: int, answer_ms: int) -> int:
    return now + answer_ms if answer_ms else 0


def _is_settled(command: Command) -> bool:
    """Whether it is over, or left for a device that never answers."""
    return command.over or (command.state == SENT and not command.answer_ms)


def _has_arrived(command: Command) -> bool:
    return any(one.state == "arrived" for one in command.transitions)


def _looked_at(future: "asyncio.Future[Command]") -> None:
    if not future.cancelled():
        future.exception()


def _field(reason: str, name: str, message: str) -> Invalid:
    return Invalid(reason, f"{name} {message}", [FieldError(name, message, reason)])
