import asyncio

from hypothesis import given
from hypothesis import strategies as st

from relevo.bus import Bus, Delivered, Missed, Subscription
from relevo.domain.events import AnyEvent, TelemetryReceived, UnclaimedReading
from tests.store.samples import NOW, reading, refused, registered


def everything(event: AnyEvent) -> bool:
    return True


def shown(external_id: str, value: int) -> UnclaimedReading:
    return UnclaimedReading("hidrometro", external_id, NOW, "device", NOW, {"v": value})


async def waiting(subscription: Subscription) -> list[Delivered | Missed]:
    async with asyncio.timeout(1):
        return await subscription.next()


async def test_a_watcher_gets_what_it_wants_in_order_and_with_its_number() -> None:
    bus = Bus()
    all_of_it = bus.subscribe(everything, 100)
    readings = bus.subscribe(lambda event: isinstance(event, TelemetryReceived), 100)
    events: list[AnyEvent] = [registered("d1"), reading("d1"), refused("d1"), reading("d2")]
    bus.publish(11, events, [shown("X", 1)])
    assert await waiting(all_of_it) == [
        *(Delivered(11 + n, event) for n, event in enumerate(events)),
        Delivered(0, shown("X", 1)),
    ]
    assert await waiting(readings) == [Delivered(12, events[1]), Delivered(14, events[3])]


async def test_several_commits_are_handed_over_together() -> None:
    bus = Bus()
    watcher = bus.subscribe(everything, 100)
    for n in range(1, 6):
        bus.publish(n, [reading("d1", {"n": n})], [])
    assert [one.seq for one in await waiting(watcher)] == [1, 2, 3, 4, 5]  # type: ignore[union-attr]


async def test_a_watcher_that_waits_is_woken_by_what_it_wants_alone() -> None:
    bus = Bus()
    watcher = bus.subscribe(lambda event: isinstance(event, TelemetryReceived), 100)
    coming = asyncio.ensure_future(watcher.next())
    bus.publish(1, [registered("d1")], [])
    for _ in range(5):
        await asyncio.sleep(0)
    assert not coming.done()
    bus.publish(2, [reading("d1")], [])
    assert await coming == [Delivered(2, reading("d1"))]


async def test_a_slow_watcher_gets_the_latest_values_and_the_number_it_missed() -> None:
    bus = Bus()
    watcher = bus.subscribe(everything, 10)
    for n in range(1, 101):
        bus.publish(n, [reading(f"d{n % 2}", {"n": n, f"only{n % 4}": n}, ts=NOW + n)], [])
    found = await waiting(watcher)
    assert isinstance(found[0], Missed)
    rest = [one for one in found[1:] if isinstance(one, Delivered)]
    assert found[0].count == 100 - len(rest)
    assert watcher.missed_in_all == found[0].count
    last = {one.event.device: one for one in rest}  # type: ignore[union-attr]
    assert last["d0"].seq == 100
    assert last["d1"].seq == 99
    values: dict[str, dict[str, int]] = {"d0": {}, "d1": {}}
    for one in rest:
        values[one.event.device] |= one.event.values  # type: ignore[union-attr]
    assert values == {"d0": {"n": 100, "only0": 100, "only2": 98}, "d1": {"n": 99, "only1": 97, "only3": 99}}
    assert [one.seq for one in rest] == sorted(one.seq for one in rest)


async def test_the_missed_are_told_once() -> None:
    bus = Bus()
    watcher = bus.subscribe(everything, 2)
    bus.publish(1, [reading("d1", {"n": n}) for n in range(10)], [])
    assert isinstance((await waiting(watcher))[0], Missed)
    bus.publish(11, [reading("d1")], [])
    assert await waiting(watcher) == [Delivered(11, reading("d1"))]


async def test_a_slow_watcher_hinders_no_other() -> None:
    bus = Bus()
    slow, quick = bus.subscribe(everything, 5), bus.subscribe(everything, 5)
    for n in range(1, 51):
        bus.publish(n, [reading("d1", {"n": n})], [])
        assert await waiting(quick) == [Delivered(n, reading("d1", {"n": n}))]
    assert quick.missed_in_all == 0
    assert len(slow._queue) <= 5


async def test_what_is_merged_for_one_watcher_stays_whole_for_the_others() -> None:
    bus = Bus()
    slow, patient = bus.subscribe(everything, 1), bus.subscribe(everything, 100)
    events = [reading("d1", {"a": 1}, ts=NOW), reading("d1", {"b": 2}, ts=NOW + 1)]
    bus.publish(1, list(events), [])
    merged = (await waiting(slow))[-1]
    assert isinstance(merged, Delivered)
    assert merged.event.values == {"a": 1, "b": 2}  # type: ignore[union-attr]
    assert await waiting(patient) == [
        Delivered(1, reading("d1", {"a": 1}, ts=NOW)),
        Delivered(2, reading("d1", {"b": 2}, ts=NOW + 1)),
    ]
    assert [event.values for event in events] == [{"a": 1}, {"b": 2}]


async def test_a_back_log_behind_the_present_is_not_merged_over_it() -> None:
    """Latest values are the newest ones by the device's time, as everywhere else."""
    bus = Bus()
    slow = bus.subscribe(everything, 1)
    bus.publish(1, [reading("d1", {"a": "now"}, ts=NOW), reading("d1", {"a": "old"}, ts=NOW - 5_000)], [])
    merged = (await waiting(slow))[-1]
    assert merged.event.values == {"a": "now"}  # type: ignore[union-attr]


async def test_readings_of_strangers_are_conflated_by_their_identity() -> None:
    bus = Bus()
    slow = bus.subscribe(everything, 4)
    bus.publish(1, [], [shown(name, n) for n in range(5) for name in ("X", "Y")])
    found = await waiting(slow)
    assert found == [Missed(8), Delivered(0, shown("X", 4)), Delivered(0, shown("Y", 4))]


async def test_what_cannot_be_merged_is_dropped_oldest_first_and_counted() -> None:
    bus = Bus()
    slow = bus.subscribe(everything, 10)
    bus.publish(1, [refused("d1", f"r{n}") for n in range(25)], [])
    found = await waiting(slow)
    assert found[0] == Missed(15)
    assert [one.seq for one in found[1:]] == list(range(16, 26))  # type: ignore[union-attr]


@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from(["t", "r", "u"]), st.integers(0, 3)), min_size=1, max_size=8), max_size=12
    ),
    room=st.integers(1, 6),
    reads=st.sets(st.integers(0, 12)),
)
def test_nothing_is_gone_without_being_counted(
    batches: list[list[tuple[str, int]]], room: int, reads: set[int]
) -> None:
    bus = Bus()
    watcher = bus.subscribe(everything, room)
    seq, offered, seen, missed = 1, 0, 0, 0
    order: list[int] = []

    def take() -> None:
        nonlocal seen, missed
        if not watcher._queue:
            return
        for one in asyncio.run(watcher.next()):
            if isinstance(one, Missed):
                missed += one.count
            else:
                seen += 1
                if one.seq:
                    order.append(one.seq)

    for n, batch in enumerate(batches):
        kept: list[AnyEvent] = [
            reading(f"d{who}", {"n": who}) if kind == "t" else refused(f"d{who}") for kind, who in batch if kind != "u"
        ]
        volatile: list[AnyEvent] = [shown(f"S{who}", who) for kind, who in batch if kind == "u"]
        bus.publish(seq, kept, volatile)
        seq += len(kept)
        offered += len(batch)
        assert len(watcher._queue) <= room
        if n in reads:
            take()
    take()
    assert seen + missed == offered
    assert order == sorted(set(order))
    assert watcher.missed_in_all == missed


async def test_a_closed_bus_ends_its_watchers_after_what_they_still_have() -> None:
    bus = Bus()
    behind, idle = bus.subscribe(everything, 10), bus.subscribe(everything, 10)
    bus.publish(1, [reading("d1")], [])
    assert len(await waiting(idle)) == 1
    ending = asyncio.ensure_future(idle.next())
    await asyncio.sleep(0)
    bus.close()
    assert await ending == []
    assert await waiting(behind) == [Delivered(1, reading("d1"))]
    assert await waiting(behind) == []


async def test_whoever_comes_after_the_end_does_not_wait_for_ever() -> None:
    """A live view that is opened while the server stops must not hold it up."""
    bus = Bus()
    bus.close()
    late = bus.subscribe(everything, 10)
    assert await waiting(late) == []


async def test_a_watcher_that_left_gets_nothing_more_and_is_not_counted() -> None:
    bus = Bus()
    one, other = bus.subscribe(everything, 10), bus.subscribe(everything, 10)
    assert len(bus) == 2
    bus.unsubscribe(one)
    bus.unsubscribe(one)
    bus.publish(1, [reading("d1")], [])
    assert (len(bus), len(one._queue), len(other._queue)) == (1, 0, 1)


async def test_a_tap_sees_every_commit_before_the_watchers() -> None:
    bus = Bus()
    seen: list[tuple[int, list[AnyEvent], int]] = []
    watcher = bus.subscribe(everything, 10)
    bus.tap(lambda seq, events: seen.append((seq, events, len(watcher._queue))))
    bus.publish(5, [reading("d1")], [shown("X", 1)])
    assert seen == [(5, [reading("d1")], 0), (0, [shown("X", 1)], 0)]
