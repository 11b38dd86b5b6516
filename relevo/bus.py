"""Bounded fan-out after commit: whoever watches gets events in order, and can never slow the road.

A subscription has a queue of its own. When its reader is too slow and the queue is full, the waiting telemetry is
conflated to the latest values of each device and the reader is told how many events it missed.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from relevo.domain.events import AnyEvent, ReadingShown, TelemetryReceived, UnclaimedReading


class Delivered(NamedTuple):
    """One event on its way to a watcher; ``seq`` is 0 for what was never journalled."""

    seq: int
    event: AnyEvent


@dataclass(frozen=True, slots=True)
class Missed:
    """The reader was too slow: ``count`` events were dropped or merged into the latest values that follow."""

    count: int


class Subscription:
    """One watcher's queue. ``wants`` filters before anything is stored."""

    def __init__(self, wants: Callable[[AnyEvent], bool], room: int) -> None:
        self._wants = wants
        self._room = room
        self._queue: deque[Delivered] = deque()
        self._ready = asyncio.Event()
        self._missed = 0
        self.missed_in_all = 0
        self.closed = False

    def offer(self, first_seq: int, events: list[AnyEvent], journalled: bool = True) -> None:
        for n, event in enumerate(events):
            if self._wants(event):
                self._queue.append(Delivered(first_seq + n if journalled else 0, event))
        if len(self._queue) > self._room:
            self._conflate()
        if self._queue:
            self._ready.set()

    async def next(self) -> list[Delivered | Missed]:
        """Everything waiting, at least one entry; an empty list once the bus is closed."""
        while not self._queue and not self.closed:
            self._ready.clear()
            await self._ready.wait()
        found: list[Delivered | Missed] = [Missed(self._missed)] if self._missed else []
        self._missed = 0
        found.extend(self._queue)
        self._queue.clear()
        return found

    def wake_closed(self) -> None:
        self.closed = True
        self._ready.set()

    def _conflate(self) -> None:
        newest: dict[tuple[str, str], Delivered] = {}
        others: list[Delivered] = []
        for one in self._queue:
            event = one.event
            if isinstance(event, TelemetryReceived):
                key = ("", event.device)
                known = newest.pop(key, None)
                if known is not None and isinstance(known.event, TelemetryReceived):
                    event = _merged(known.event, event)
                newest[key] = Delivered(one.seq, event)
            elif isinstance(event, UnclaimedReading | ReadingShown):
                key = (
                    (event.contract, event.external_id) if isinstance(event, UnclaimedReading) else (".", event.device)
                )
                newest.pop(key, None)
                newest[key] = one
            else:
                others.append(one)
        before = len(self._queue)
        kept = sorted([*others, *newest.values()], key=lambda one: one.seq)[-self._room :]
        self._queue = deque(kept)
        self._missed += before - len(kept)
        self.missed_in_all += before - len(kept)


def _merged(earlier: TelemetryReceived, later: TelemetryReceived) -> TelemetryReceived:
    """Latest values of both; the device's time decides, a back-log comes later and is older."""
    newer, older = (later, earlier) if later.ts >= earlier.ts else (earlier, later)
    return TelemetryReceived(
        newer.device, newer.ts, newer.source, newer.received, older.values | newer.values, newer.boot, newer.seq
    )


class Bus:
    """All watchers. :meth:`publish` is called on the event loop, after the commit."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._closed = False
        self._taps: list[Callable[[int, list[AnyEvent]], None]] = []

    def __len__(self) -> int:
        return len(self._subscriptions)

    def subscribe(self, wants: Callable[[AnyEvent], bool], room: int) -> Subscription:
        subscription = Subscription(wants, room)
        self._subscriptions.add(subscription)
        if self._closed:
            subscription.wake_closed()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def tap(self, follow: Callable[[int, list[AnyEvent]], None]) -> None:
        """Let ``follow(first_seq, events)`` see every commit at once; it must be quick and must not raise."""
        self._taps.append(follow)

    def publish(self, first_seq: int, events: list[AnyEvent], volatile: list[AnyEvent]) -> None:
        for follow in self._taps:
            follow(first_seq, events)
            if volatile:
                follow(0, volatile)
        for subscription in self._subscriptions:
            if events:
                subscription.offer(first_seq, events)
            if volatile:
                subscription.offer(0, volatile, journalled=False)

    def close(self) -> None:
        """End every watcher, and whoever comes after."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.wake_closed()
