import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relevo import refusals as module
from relevo.domain.events import AnyEvent, Noticed, Refused, UnclaimedSeen
from relevo.refusals import Refusals
from relevo.store.db import FILE_NAME
from relevo.store.schema import prepare
from tests.store.samples import NOW
from tests.test_pipeline import Road


class Told:
    """Refusals on a real road, and all that came out of it."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self.refusals = Refusals(road.pipeline, road.clock)
        self._watcher = road.bus.subscribe(lambda event: True, 10_000)
        self.events: list[AnyEvent] = []

    async def collect(self) -> list[AnyEvent]:
        assert await self.road.pipeline.drain(30)
        if self._watcher._queue:
            self.events += [one.event for one in await self._watcher.next()]  # type: ignore[union-attr]
        return self.events

    async def after(self, seconds: float) -> list[AnyEvent]:
        """All that was told when the clock has moved on and the timer has run."""
        self.road.clock.advance(seconds)
        await asyncio.sleep(0.03)
        return await self.collect()


@pytest.fixture
async def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Told]:
    # The loop's timer runs in wall time, so it is short here; how long a kind is held back is said by the clock.
    monkeypatch.setattr(module, "_FOLD_S", 0.01)
    path = tmp_path / FILE_NAME
    prepare(path)
    road = Road(path, 10_000)
    yield Told(road)
    await road.close()


async def test_the_first_of_a_kind_is_told_at_once_and_the_rest_together(told: Told) -> None:
    for n in range(100):
        told.refusals.refuse("d1", "mqtt", "json_malformed", f"number {n}", "10.0.0.7")
    (first,) = await told.collect()
    assert first == Refused("d1", NOW, "mqtt", "json_malformed", "number 0", "10.0.0.7")
    _, rest = await told.after(0.02)
    assert isinstance(rest, Refused)
    assert (rest.count, rest.detail) == (99, "number 99")
    assert told.refusals.counts["mqtt", "json_malformed"] == 100


async def test_a_kind_that_goes_on_is_told_once_in_each_span(told: Told) -> None:
    for _ in range(5):
        for _ in range(10):
            told.refusals.refuse("d1", "mqtt", "json_malformed", "x")
        await told.after(0.02)
    events = await told.collect()
    assert [event.count for event in events] == [1, 9, 10, 10, 10, 10]  # type: ignore[union-attr]


async def test_after_a_quiet_span_the_next_is_told_at_once_again(told: Told) -> None:
    told.refusals.refuse("d1", "mqtt", "json_malformed", "x")
    await told.after(0.02)
    told.refusals.refuse("d1", "mqtt", "json_malformed", "y")
    assert [event.detail for event in await told.collect()] == ["x", "y"]  # type: ignore[union-attr]


async def test_kinds_do_not_hold_each_other_back(told: Told) -> None:
    kinds = [(d, w, r) for d in ("d1", "d2", "") for w in ("mqtt", "http") for r in ("a", "b")]
    for device, where, reason in kinds:
        told.refusals.refuse(device, where, reason, "x")
    events = await told.collect()
    assert [(e.device, e.where, e.reason) for e in events if isinstance(e, Refused)] == kinds


async def test_a_flood_of_kinds_is_counted_in_full_and_told_under_the_doors_name(told: Told) -> None:
    flood = module._KINDS + 500
    for n in range(flood):
        told.refusals.refuse(f"d{n}", "mqtt", "json_malformed", "x")
    assert len(await told.collect()) <= module._KINDS + 1
    events = await told.after(0.02)
    assert sum(event.count for event in events if isinstance(event, Refused)) == flood
    assert told.refusals.counts == Counter({("mqtt", "json_malformed"): flood})


async def test_a_flood_of_strangers_does_not_fill_the_road(told: Told) -> None:
    flood = module._KINDS + 500
    for n in range(flood):
        told.refusals.unclaimed(UnclaimedSeen("hidrometro", f"S{n}", NOW, "unclaimed"))
    assert len(await told.collect()) <= module._KINDS + 1
    assert told.refusals.counts == Counter({("unclaimed", "unclaimed"): flood})


async def test_a_stranger_is_told_with_how_often_it_came(told: Told) -> None:
    for n in range(7):
        told.refusals.unclaimed(UnclaimedSeen("hidrometro", "A", NOW + n, "unclaimed", "10.0.0.7", {"v": n}))
    told.refusals.unclaimed(UnclaimedSeen("native", "A", NOW, "registration_closed"))
    events = [event for event in await told.after(0.02) if isinstance(event, UnclaimedSeen)]
    assert [(event.contract, event.count, event.payload) for event in events] == [
        ("hidrometro", 1, {"v": 0}),
        ("native", 1, {}),
        ("hidrometro", 6, {"v": 6}),
    ]


async def test_a_notice_is_held_back_for_a_minute_and_nobodys_is_only_counted(told: Told) -> None:
    for _ in range(3):
        told.refusals.notice("d1", "clock_future", "ts 9")
        told.refusals.notice("", "clock_future", "ts 9")
    assert len(await told.after(30)) == 1
    events = await told.after(31)
    assert [(event.kind, event.count) for event in events if isinstance(event, Noticed)] == [
        ("clock_future", 1),
        ("clock_future", 2),
    ]
    assert told.refusals.notices == Counter({"clock_future": 6})


async def test_what_is_held_back_is_told_before_the_road_closes(told: Told) -> None:
    for _ in range(5):
        told.refusals.refuse("d1", "http", "bad_credentials", "x")
        told.refusals.notice("d1", "clock_future", "ts 9")
    told.refusals.stop()
    events = await told.collect()
    assert sum(event.count for event in events) == 10  # type: ignore[union-attr]
    told.refusals.stop()
    assert len(await told.collect()) == len(events)


async def test_a_long_detail_is_cut(told: Told) -> None:
    told.refusals.refuse("d1", "http", "bad", "x" * 5_000)
    told.refusals.notice("d1", "odd", "y" * 5_000)
    assert {len(event.detail) for event in await told.collect()} == {module._DETAIL}  # type: ignore[union-attr]
