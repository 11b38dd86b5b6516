import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.bus import Bus, Delivered, Missed
from relevo.domain.devices import Registry
from relevo.domain.events import AnyEvent
from relevo.realtime import follow, sse
from relevo.realtime.follow import Follower
from relevo.realtime.view import Views
from tests.store.samples import reading, refused


class Past:
    """A journal in memory that commits to a bus."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.events: list[tuple[int, AnyEvent]] = []
        self.asked: list[int] = []
        # Commits that happen while the past is read.
        self.meanwhile: list[int] = []

    @property
    def committed(self) -> int:
        return len(self.events)

    def commit(self, count: int = 1, device: str = "d1") -> None:
        first = self.committed + 1
        new: list[AnyEvent] = [reading(device, {"n": first + n}) for n in range(count)]
        self.events += enumerate(new, first)
        self.bus.publish(first, new, [])

    async def replay(self, seq: int, limit: int) -> list[tuple[int, AnyEvent]]:
        self.asked.append(seq)
        found = [(n, event) for n, event in self.events if n >= seq][:limit]
        if self.meanwhile:
            self.commit(self.meanwhile.pop(0))
        await asyncio.sleep(0)
        return found

    def follower(self, room: int = 1_000) -> Follower:
        return Follower(self.bus, self.replay, lambda event: True, room)


async def numbers(batches: AsyncIterator[list[Delivered | Missed]], count: int) -> list[int]:
    """The first ``count`` numbers that arrive."""
    found: list[int] = []
    async with asyncio.timeout(2):
        while len(found) < count:
            found += [one.seq for one in await anext(batches) if isinstance(one, Delivered)]
    return found


async def test_without_a_position_only_what_comes_is_shown() -> None:
    past = Past()
    past.commit(5)
    async with past.follower() as follower:
        batches = follower.batches(None, past.committed)
        coming = asyncio.ensure_future(numbers(batches, 2))
        await asyncio.sleep(0)
        past.commit(2)
        assert await coming == [6, 7]
    assert past.asked == []
    assert len(past.bus) == 0


@given(
    before=st.integers(0, 30),
    since=st.integers(0, 35),
    meanwhile=st.lists(st.integers(1, 4), max_size=5),
    late=st.integers(1, 5),
    page=st.integers(1, 7),
)
@settings(max_examples=150)
def test_past_and_present_join_without_gap_or_repetition(
    before: int, since: int, meanwhile: list[int], late: int, page: int
) -> None:
    async def run() -> None:
        past = Past()
        past.commit(before)
        past.meanwhile = list(meanwhile)
        async with past.follower() as follower:
            batches = follower.batches(since, past.committed)
            found: list[int] = []
            if since < before:
                found += await numbers(batches, before - since)
            past.commit(late)
            wanted = list(range(min(since, before) + 1, past.committed + 1))
            found += await numbers(batches, len(wanted) - len(found))
            assert found == wanted

    original = follow._PAGE
    follow._PAGE = page  # type: ignore[misc]
    try:
        asyncio.run(run())
    finally:
        follow._PAGE = original  # type: ignore[misc]


async def test_a_position_too_far_back_is_told_as_a_gap() -> None:
    past = Past()
    past.events = [(n, refused("d1")) for n in range(1, follow.REPLAY_MOST + 51)]
    async with past.follower() as follower:
        batches = follower.batches(20, past.committed)
        assert await anext(batches) == [Missed(30)]
        assert (await anext(batches))[0] == Delivered(51, refused("d1"))


async def test_a_watcher_that_fell_behind_learns_how_much_it_missed() -> None:
    past = Past()
    async with past.follower(room=10) as follower:
        batches = follower.batches(None, past.committed)
        past.commit(100)
        found = await anext(batches)
        assert found[0] == Missed(99)
        assert [one.seq for one in found[1:]] == [100]  # type: ignore[union-attr]


async def test_the_end_of_the_bus_ends_the_watcher() -> None:
    past = Past()
    async with past.follower() as follower:
        past.commit()
        past.bus.close()
        assert [len(batch) async for batch in follower.batches(None, 0)] == [1]


async def test_what_is_committed_after_the_stream_said_hello_is_shown() -> None:
    """Whoever has the first line may send a reading and wait for it."""
    past = Past()
    past.commit(3)
    frames = sse._frames(past.follower(), None, lambda: past.committed, Views(Registry()), lambda: True)
    assert (await anext(frames)).startswith(b"retry:")
    past.commit()
    try:
        async with asyncio.timeout(0.5):
            frame = await anext(frames)
    except TimeoutError:
        frame = b""
    assert frame.startswith(b"id: 4\n")
    await frames.aclose()
    assert len(past.bus) == 0


async def test_a_silent_stream_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relevo.wire.sse.LOOK_S", 0.005)
    past = Past()
    frames = sse._frames(past.follower(), None, lambda: past.committed, Views(Registry()), lambda: True)
    assert (await anext(frames)).startswith(b"retry:")
    assert await anext(frames) == b": awake\n\n"
    past.commit()
    frame = await anext(frames)
    while frame.startswith(b":"):
        frame = await anext(frames)
    assert frame.startswith(b"id: 1\nevent: telemetry\ndata: {")
    await frames.aclose()


async def test_what_left_the_journal_meanwhile_is_told_as_a_gap() -> None:
    past = Past()
    # Readings left it, what is no reading stayed in its place.
    past.events = [(n, refused("d1")) for n in (1, 5, 6, 9)]
    async with past.follower() as follower:
        batches = follower.batches(1, 9)
        assert await anext(batches) == [Missed(5), *(Delivered(n, refused("d1")) for n in (5, 6, 9))]
