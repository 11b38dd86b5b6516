"""Commands and their ledger.

Theory. A command is in exactly one state, and every step is an event of the journal::

    queued --CommandSent--> sent --CommandEnded--> confirmed | failed | timed_out
      |  ^                   |
      |  +--CommandReturned--+       it certainly never left, or it may be sent again and nothing tells it arrived
      +--CommandEnded--> expired | cancelled | failed

``sent`` is committed before the first byte leaves, so after a crash a command that may have been executed is never
sent again by mistake; the price is that one which was about to leave ends as ``timed_out``. ``confirmed`` needs the
device's own word: its answer, or a report that agrees. A command of a contract that knows neither stays ``sent``.

Commands of a device leave in the order in which they were asked for. Where answers carry no identifier, commands that
could be mistaken for each other share a *lane*, and only one of a lane is on its way at a time; the others wait, which
lets later commands of other lanes pass.

A command past ``expires_at`` never leaves. One that is sent has until ``deadline`` to be answered; what comes later
revives nothing.
"""

import heapq
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec

from relevo.domain.erasing import ERASED
from relevo.domain.events import (
    AnyEvent,
    CommandArrived,
    CommandEnded,
    CommandQueued,
    CommandReturned,
    CommandSent,
    DeviceRemoved,
)

QUEUED: Final = "queued"
SENT: Final = "sent"
CONFIRMED: Final = "confirmed"
FAILED: Final = "failed"
TIMED_OUT: Final = "timed_out"
EXPIRED: Final = "expired"
CANCELLED: Final = "cancelled"
STATES: Final = (QUEUED, SENT, CONFIRMED, FAILED, TIMED_OUT, EXPIRED, CANCELLED)
ENDS: Final = frozenset({CONFIRMED, FAILED, TIMED_OUT, EXPIRED, CANCELLED})

COMMAND_EVENTS: Final = frozenset({CommandQueued, CommandSent, CommandReturned, CommandArrived, CommandEnded})
CommandEvent: TypeAlias = CommandQueued | CommandSent | CommandReturned | CommandArrived | CommandEnded

# For how long a report may still confirm a command that no answer is expected for.
WATCHED_MS: Final = 600_000
# Commands of one device on their way at a time, so that a board with little memory is not flooded.
ON_THE_WAY_MOST: Final = 8
KEY_LIMIT: Final = 128
NAME_LIMIT: Final = 64
PARAMS_MOST: Final = 64
# How long a command may live, in seconds.
TTL_LEAST_S: Final = 1.0
TTL_MOST_S: Final = 2_592_000.0
# For how long a caller's idempotency key is remembered.
KEYS_KEPT_MS: Final = 86_400_000


class Transition(msgspec.Struct, array_like=True, gc=False):
    """One step: when (milliseconds UTC), to which state, and why. ``arrived`` is a step that changes no state."""

    at: int
    state: str
    reason: str = ""


class Command(msgspec.Struct, gc=False):
    """One command with its whole story. Times in milliseconds UTC, 0 is never."""

    id: str
    device: str
    name: str
    params: dict[str, Any]
    by: str
    origin: str
    created_at: int
    expires_at: int
    state: str = QUEUED
    key: str = ""
    lane: str = ""
    answer_ms: int = 0
    redeliver: bool = False
    sent_at: int = 0
    deadline: int = 0
    ended_at: int = 0
    reason: str = ""
    result: Any = None
    transitions: list[Transition] = []

    @property
    def over(self) -> bool:
        return self.state in ENDS


def opened(event: CommandQueued) -> Command:
    """The command that ``event`` began."""
    return Command(
        event.id,
        event.device,
        event.name,
        event.params,
        event.by,
        event.origin,
        event.at,
        event.expires,
        key=event.key,
        lane=event.lane,
        answer_ms=event.answer_ms,
        redeliver=event.redeliver,
        transitions=[Transition(event.at, QUEUED)],
    )


def advance(command: Command, event: CommandSent | CommandReturned | CommandArrived | CommandEnded) -> bool:
    """Let ``command`` follow ``event``; false, and nothing changes, for a step that its state does not allow."""
    if command.over:
        return False
    match event:
        case CommandSent():
            if command.state != QUEUED:
                return False
            command.state, command.sent_at, command.deadline = SENT, event.at, event.deadline
            command.transitions.append(Transition(event.at, SENT, event.via))
        case CommandReturned():
            if command.state != SENT:
                return False
            command.state, command.deadline = QUEUED, 0
            command.transitions.append(Transition(event.at, QUEUED, event.reason))
        case CommandArrived():
            if command.state != SENT:
                return False
            command.transitions.append(Transition(event.at, "arrived"))
        case CommandEnded():
            if command.state == QUEUED and event.state in (CONFIRMED, TIMED_OUT):
                return False
            if command.state == SENT and event.state in (EXPIRED, CANCELLED):
                return False
            command.state, command.reason, command.result = event.state, event.reason, event.result
            command.ended_at = event.at
            command.transitions.append(Transition(event.at, event.state, event.reason))
    return True


class Ledger:
    """Every command that is not over, kept equal to the store by applying the events of every commit."""

    def __init__(self) -> None:
        self._by_id: dict[str, Command] = {}
        # In the order in which they were asked for.
        self._by_device: dict[str, dict[str, Command]] = {}
        # (account or origin, device, idempotency key) -> (command id, when)
        self._keys: dict[tuple[str, str, str], tuple[str, int]] = {}
        # (when, command id) of what time alone decides; entries may be out of date.
        self._due: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def load(self, commands: list[Command], keys: list[tuple[str, str, str, str, int]]) -> None:
        """Take up what the store holds: open commands in their order, and keys ``(by, device, key, id, at)``."""
        for command in commands:
            self._add(command)
        for by, device, key, command_id, at in keys:
            self._keys[by, device, key] = (command_id, at)

    def forget_name(self, account: str) -> None:
        """``account`` is named by none any more."""
        for command in self._by_id.values():
            if command.by == account:
                command.by = ERASED

    def get(self, command_id: str) -> Command | None:
        return self._by_id.get(command_id)

    def of(self, device: str) -> list[Command]:
        """The open commands of a device, oldest first."""
        return list(self._by_device.get(device, {}).values())

    def has_open(self, device: str) -> bool:
        return device in self._by_device

    def devices(self) -> list[str]:
        """Devices with open commands."""
        return list(self._by_device)

    def by_key(self, by: str, device: str, key: str, now: int) -> str:
        """The id of the command that was asked for with this idempotency key within a day, empty for none."""
        command_id, at = self._keys.get((by, device, key), ("", 0))
        return command_id if now - at < KEYS_KEPT_MS else ""

    def ready(self, device: str, now: int) -> list[Command]:
        """What may leave for ``device`` at ``now``, in order."""
        taken: set[str] = set()
        found: list[Command] = []
        room = ON_THE_WAY_MOST
        for command in self._by_device.get(device, {}).values():
            if command.state == SENT:
                if command.deadline:
                    room -= 1
                    taken.add(command.lane)
                continue
            if command.expires_at <= now:
                continue
            if not command.lane or command.lane not in taken:
                found.append(command)
            taken.add(command.lane)
        return found[: max(0, room)]

    def due(self, now: int) -> list[CommandEnded]:
        """What time has decided by ``now``: expired in the queue, or without an answer."""
        found: list[CommandEnded] = []
        kept: set[tuple[int, str]] = set()
        while self._due and self._due[0][0] <= now:
            entry = heapq.heappop(self._due)
            command = self._by_id.get(entry[1])
            # A command that was sent and returned is there twice.
            if command is None or _moment(command) != entry[0] or entry in kept:
                continue
            # Until its end is committed it stays due.
            kept.add(entry)
            if command.state == QUEUED:
                found.append(CommandEnded(command.device, command.id, now, EXPIRED, "not delivered in time"))
            elif command.deadline:
                found.append(CommandEnded(command.device, command.id, now, TIMED_OUT, "sent, but no answer in time"))
            else:
                self._drop(command)
                kept.discard(entry)
        for one in kept:
            heapq.heappush(self._due, one)
        return found

    def next_at(self) -> int | None:
        """When :meth:`due` has something to say (milliseconds UTC), ``None`` for never."""
        while self._due:
            when, command_id = self._due[0]
            command = self._by_id.get(command_id)
            if command is not None and _moment(command) == when:
                return when
            heapq.heappop(self._due)
        return None

    def forget_keys(self, now: int) -> None:
        """Drop idempotency keys of more than a day ago."""
        self._keys = {key: kept for key, kept in self._keys.items() if now - kept[1] < KEYS_KEPT_MS}

    def apply(self, event: AnyEvent) -> Command | None:
        """Follow one event; the command it moved, ``None`` when it moved none."""
        if isinstance(event, CommandQueued):
            command = opened(event)
            self._add(command)
            if event.key:
                self._keys[event.by, event.device, event.key] = (event.id, event.at)
            return command
        if isinstance(event, CommandSent | CommandReturned | CommandArrived | CommandEnded):
            known = self._by_id.get(event.id)
            if known is None or not advance(known, event):
                return None
            if known.over:
                self._drop(known)
            else:
                self._watch(known)
            return known
        if isinstance(event, DeviceRemoved):
            for command in self.of(event.device):
                self._drop(command)
        return None

    def sent_to(self, device: str) -> Iterator[Command]:
        """What is on its way to ``device`` or was sent and may still be answered, oldest first."""
        return (command for command in self.of(device) if command.state == SENT)

    def _add(self, command: Command) -> None:
        self._by_id[command.id] = command
        self._by_device.setdefault(command.device, {})[command.id] = command
        self._watch(command)

    def _watch(self, command: Command) -> None:
        heapq.heappush(self._due, (_moment(command), command.id))

    def _drop(self, command: Command) -> None:
        self._by_id.pop(command.id, None)
        held = self._by_device.get(command.device)
        if held is not None:
            held.pop(command.id, None)
            if not held:
                del self._by_device[command.device]


def _moment(command: Command) -> int:
    """When time decides about ``command``."""
    if command.state == QUEUED:
        return command.expires_at
    return command.deadline or command.sent_at + WATCHED_MS
