"""Following the road from a position: first what was missed, then live, without a gap or a repetition."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

from relevo.bus import Bus, Delivered, Missed, Subscription
from relevo.domain.events import AnyEvent

# (from seq, at most) -> events with their numbers, in order
Replay = Callable[[int, int], Awaitable[list[tuple[int, AnyEvent]]]]

_PAGE: Final = 2_000
# Beyond this a reader is better served by asking for the present than by hours of past events.
REPLAY_MOST: Final = 100_000


class Watcher(Protocol):
    """Who watches."""

    def sees(self, event: AnyEvent) -> bool:
        """Whether this event is theirs to see, now."""

    def good(self) -> bool:
        """Whether they may still watch at all; the view ends when they may not."""


class Follower:
    """One watcher. Use as an async context manager, then iterate over :meth:`batches`."""

    def __init__(self, bus: Bus, replay: Replay, wants: Callable[[AnyEvent], bool], room: int) -> None:
        self._bus = bus
        self._replay = replay
        self._wants = wants
        self._room = room
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> "Follower":
        self._subscription = self._bus.subscribe(self._wants, self._room)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._subscription is not None:
            self._bus.unsubscribe(self._subscription)

    async def batches(self, since: int | None, committed: int) -> AsyncIterator[list[Delivered | Missed]]:
        """Lists of events, for ever. ``since`` is the last number the watcher has seen, ``None`` for live only;
        ``committed`` the newest number at the moment of subscribing."""
        assert self._subscription is not None
        seen = committed
        if since is not None and since < committed:
            position = max(since, committed - REPLAY_MOST)
            if position > since:
                yield [Missed(position - since)]
            while position < committed:
                events = await self._replay(position + 1, _PAGE)
                if not events:
                    break
                # Readings that are older than the journal keeps them.
                gone = events[-1][0] - position - len(events)
                position = events[-1][0]
                found: list[Delivered | Missed] = [Missed(gone)] if gone else []
                found += [Delivered(n, event) for n, event in events if self._wants(event)]
                if found:
                    yield found
            # What was committed while the past was read came both ways.
            seen = max(committed, position)
        while True:
            batch = await self._subscription.next()
            if not batch:
                return
            fresh = [one for one in batch if isinstance(one, Missed) or not one.seq or one.seq > seen]
            if fresh:
                yield fresh
