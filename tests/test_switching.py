"""Relays that go off again and relays that exclude each other, on a clock and a road of their own."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from relevo.clock import ManualClock
from relevo.dialect import Said
from relevo.dialects.autocore import Autocore
from relevo.dispatch import Dispatch, Wish
from relevo.domain.commands import Command, Ledger, opened
from relevo.domain.devices import Registry
from relevo.domain.events import (
    CommandQueued,
    DeviceAnswered,
    DeviceChanged,
    DeviceRegistered,
    DeviceRemoved,
    Noticed,
    StateReported,
)
from relevo.domain.records import RECORD_CHANGES, Dropped, Kept
from relevo.domain.relay_functions import (
    EXCLUSIVE,
    INTERLOCK,
    MOMENTARY,
    PULSE,
    TIMED,
    TIMER,
    RelayBoard,
    RelayChannel,
    RelayRun,
    channel_id,
    left_ms,
    retry_s,
    rivals_of,
    span_of,
)
from relevo.errors import Excluded
from relevo.pipeline import Outcome
from relevo.switching import Switching
from relevo.twins import Twins


class Door:
    """One board that hears what it is told while it is there."""

    def __init__(self) -> None:
        self.there = True
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def hears(self, device: str, topics: Sequence[str]) -> bool:
        return self.there

    def is_connected(self, device: str) -> bool:
        return self.there

    def quiet_s(self, device: str, topics: Sequence[str]) -> float | None:
        return None

    def say(self, device: str, said: Said, token: str, expires_at: int) -> bool:
        if self.there:
            self.heard.append((said.topic.rpartition("/")[2], msgspec.json.decode(said.payload)))
        return self.there


class Refusals:
    def notice(self, device: str, kind: str, detail: str) -> None:
        pass

    def refuse(self, device: str, where: str, reason: str, detail: str, address: str = "", count: int = 1) -> None:
        pass


class Road:
    """Commits at once, in the order of submission."""

    full = False

    def __init__(self) -> None:
        self.journal: list[Any] = []
        self.records: dict[tuple[type, str], Any] = {}
        self.followers: list[Any] = []
        self.record_followers: list[Any] = []
        self.watchers: list[Any] = []
        self.inbox: list[tuple[Sequence[Any], Any, Any]] = []
        self.documents: dict[str, bytes] = {}

    def submit(self, entries: Sequence[Any], done: Any = None, token: Any = None) -> None:
        self.inbox.append((list(entries), done, token))

    def commit(self) -> None:
        entries, done, token = self.inbox.pop(0)
        events = [one for one in entries if type(one) not in RECORD_CHANGES]
        self.journal += events
        for event in events:
            for follow in self.followers:
                follow(event)
        for change in entries:
            if type(change) not in RECORD_CHANGES:
                continue
            if isinstance(change, Kept):
                self.records[type(change.record), change.record.id] = change.record
            elif isinstance(change, Dropped):
                self.records.pop((change.kind, change.key), None)
            for follow in self.record_followers:
                follow(change)
        for watch in self.watchers:
            watch(0, events)
        if done is not None:
            done(token, Outcome(len(entries)))


class Bench:
    """A relay board of four relays; ``settle`` lets everything happen that needs no time."""

    def __init__(self, speech: str = "", **of_channels: Any) -> None:
        self.clock, self.road, self.door = ManualClock(), Road(), Door()
        self.registry = Registry()
        self.speech = speech
        attributes = {"relay_channels": 4} | ({"speech": speech} if speech else {})
        self.registry.apply(DeviceRegistered("b", "autocore", "u", "b", "esp32_relay", 0, attributes=attributes))
        self.configured = [
            RelayChannel(channel_id("b", n), "b", n, **of_channels.get(f"c{n}", {})) for n in range(1, 5)
        ]
        self.live(Ledger())
        for one in self.configured:
            self.switching.apply(Kept(one))

    def live(self, ledger: Ledger) -> None:
        async def recall(command_id: str) -> Command | None:
            return None

        dialects: Any = {"autocore": Autocore()}
        self.dialect = dialects["autocore"]
        road: Any = self.road
        refusals: Any = Refusals()
        self.dispatch = Dispatch(ledger, road, self.registry, dialects, refusals, self.clock, recall)
        self.twins = Twins({}, road, self.registry, dialects, self.dispatch, refusals, self.clock)
        self.switching = Switching(self.dispatch, self.twins, road, self.registry, dialects, refusals, self.clock)
        self.dispatch.egress = self.twins.egress = self.door
        road.followers = [self.registry.apply, self.dispatch.follow, self.twins.follow, self.switching.follow]
        road.record_followers = [self.switching.apply]
        road.watchers = [self.switching.watch]

    async def restart(self, away_s: float) -> None:
        """Another process, later, with what is on the disk."""
        self.switching.stop()
        await self.settle()
        ledger, open_ones = (
            Ledger(),
            [one for d in self.dispatch.ledger.devices() for one in self.dispatch.ledger.of(d)],
        )
        ledger.load(open_ones, [])
        self.road.inbox.clear()
        self.clock.advance(away_s)
        self.live(ledger)
        for record in self.road.records.values():
            self.switching.apply(Kept(record))
        for one in self.configured:
            self.switching.apply(Kept(one))
        self.switching.begin()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(200):
            await asyncio.sleep(0)
            if self.road.inbox:
                self.road.commit()

    async def ask(self, channel: int, on: bool = True) -> Command:
        wish = Wish("b", "relay", {"channel": channel, "state": on}, "ann")
        task = asyncio.ensure_future(self.dispatch.ask(wish))
        await self.settle()
        return task.result()

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.dispatch.look()
        self.switching.look()
        await self.settle()

    async def answer(self, channel: int, on: bool) -> None:
        await self.hear(DeviceAnswered("b", self.clock.now_ms(), answer(channel, on)))

    async def report(self, **states: bool) -> None:
        relays = {name.removeprefix("c"): on for name, on in states.items()}
        await self.hear(StateReported("b", self.clock.now_ms(), {"relay_states": relays}))

    async def hear(self, event: Any) -> None:
        more = self.dispatch.heard(self.dialect, "b", event)
        list(self.twins.heard(self.dialect, "b", event, "mqtt", ""))
        self.road.submit([event, *more])
        await self.settle()

    def told(self) -> list[tuple[int, bool]]:
        """What the board was told to do with its relays."""
        return [(body["channel"], body["state"]) for topic, body in self.door.heard if topic in ("command", "set")]

    def story(self) -> list[str]:
        return [one.detail for one in self.road.journal if isinstance(one, Noticed) and one.kind == "relay_shut_off"]


def answer(channel: int, on: bool) -> dict[str, Any]:
    return {"type": "relay_response", "channel": channel, "state": on}


async def test_a_pulse_goes_off_by_the_servers_clock_whether_anybody_waits_or_not() -> None:
    bench = Bench(c1={"function": PULSE, "pulse_ms": 700})
    await bench.ask(1)
    await bench.answer(1, True)
    assert bench.told() == [(1, True)]
    assert bench.switching.look() == pytest.approx(0.7)
    await bench.pass_time(0.699)
    assert bench.told() == [(1, True)]
    await bench.pass_time(0.001)
    assert bench.told() == [(1, True), (1, False)]
    await bench.answer(1, False)
    assert bench.switching.look() is None
    assert bench.road.records == {}
    # Nobody calls it a shut-off: it is what a pulse is.
    assert bench.story() == []


async def test_a_pulse_whose_switching_on_was_never_answered_goes_off_all_the_same() -> None:
    bench = Bench(c1={"function": PULSE, "pulse_ms": 700})
    on = await bench.ask(1)
    await bench.pass_time(0.7)
    assert bench.told() == [(1, True), (1, False)]
    assert on.state == "sent"
    await bench.answer(1, True)
    await bench.answer(1, False)
    assert on.state == "confirmed"
    assert bench.switching.look() is None


async def test_a_board_that_does_not_answer_is_told_again_until_it_does() -> None:
    bench = Bench(c1={"function": TIMER, "timer_s": 20})
    await bench.ask(1)
    await bench.answer(1, True)
    await bench.pass_time(20)
    for _ in range(20):
        await bench.pass_time(1)
    assert bench.told().count((1, False)) == 2
    await bench.answer(1, False)
    for _ in range(60):
        await bench.pass_time(1)
    assert bench.told().count((1, False)) == 2


async def test_a_board_that_is_away_when_time_is_over_hears_it_when_it_comes_back() -> None:
    bench = Bench(c1={"function": TIMER, "timer_s": 5})
    await bench.ask(1)
    await bench.answer(1, True)
    bench.door.there = False
    for _ in range(120):
        await bench.pass_time(1)
    assert bench.told() == [(1, True)]
    bench.door.there = True
    bench.dispatch.listening("b")
    await bench.settle()
    assert bench.told() == [(1, True), (1, False)]


@pytest.mark.parametrize(("away_s", "left_s"), [(3.0, 2.0), (30.0, 0.0), (-500.0, 5.0)])
async def test_after_a_restart_what_is_left_of_a_timer_runs_on_and_what_is_over_goes_off_at_once(
    away_s: float, left_s: float
) -> None:
    bench = Bench(c1={"function": TIMER, "timer_s": 5})
    await bench.ask(1)
    await bench.answer(1, True)
    await bench.restart(away_s)
    if left_s:
        assert bench.told() == [(1, True)]
        await bench.pass_time(left_s)
    assert bench.told() == [(1, True), (1, False)]


async def test_a_pulse_whose_answer_a_restart_missed_goes_off_too() -> None:
    bench = Bench(c1={"function": PULSE})
    on = await bench.ask(1)
    bench.road.records.clear()
    await bench.restart(0.1)
    assert on.state == "sent"
    await bench.pass_time(0.5)
    assert bench.told() == [(1, True), (1, False)]


async def test_a_held_key_keeps_its_relay_on_and_a_second_of_silence_does_not() -> None:
    bench = Bench(c1={"function": MOMENTARY})
    await bench.ask(1)
    await bench.answer(1, True)
    for _ in range(5):
        await bench.pass_time(0.5)
        assert bench.switching.beat("b", 1)
    await bench.pass_time(0.9)
    assert bench.told() == [(1, True)]
    await bench.pass_time(0.1)
    assert bench.told() == [(1, True), (1, False)]
    assert bench.story() == ["relay 1 is switched off: nobody said within 1000 ms that its key is held"]
    # Too late: whoever wants it on has to press again.
    assert not bench.switching.beat("b", 1)
    await bench.answer(1, False)
    await bench.ask(1)
    await bench.answer(1, True)
    assert bench.switching.beat("b", 1)
    assert not bench.switching.beat("b", 2)
    assert not bench.switching.beat("b", 99)
    await bench.ask(1, False)
    await bench.answer(1, False)
    assert not bench.switching.beat("b", 1)


async def test_boards_of_the_second_protocol_hear_the_heartbeat_themselves() -> None:
    bench = Bench("v2", c1={"function": MOMENTARY})
    await bench.ask(1)
    ((topic, body),) = bench.door.heard
    assert (topic, body["function_type"], body["momentary"], body["command"]) == ("set", "momentary", True, "on")
    await bench.report(c1=True)
    for _ in range(4):
        await bench.pass_time(0.5)
        assert bench.switching.beat("b", 1, forward=True)
    beats = [body for topic, body in bench.door.heard if topic == "heartbeat"]
    assert [one["sequence"] for one in beats] == [1, 2, 3, 4]
    assert {"channel": 1, "target_uuid": "u", "protocol_version": "2.2.0"}.items() <= beats[0].items()
    # The board is the first to let go, after one second; the server makes sure after three.
    await bench.pass_time(2.9)
    assert bench.told() == [(1, True)]
    await bench.pass_time(0.1)
    assert bench.told() == [(1, True), (1, False)]
    bench = Bench("old", c1={"function": MOMENTARY})
    await bench.ask(1)
    bench.switching.beat("b", 1, forward=True)
    assert [body for _, body in bench.door.heard] == [{"command": "relay_on", "channel": 0}]


async def test_an_interlocked_relay_goes_on_when_the_others_are_confirmed_off() -> None:
    group = {"protection": INTERLOCK, "group": "motor"}
    bench = Bench(c1=group, c2=group, c3={"protection": INTERLOCK, "group": "other"})
    await bench.report(c1=False, c2=False, c3=True)
    await bench.ask(1)
    assert bench.told() == [(1, True)]
    second = await bench.ask(2)
    # One on its way may be on.
    assert bench.told() == [(1, True)]
    await bench.answer(1, True)
    assert bench.told() == [(1, True), (1, False)]
    assert second.state == "queued"
    await bench.answer(1, False)
    assert bench.told() == [(1, True), (1, False), (2, True)]
    await bench.answer(2, True)
    assert second.state == "confirmed"


async def test_a_relay_of_which_nothing_is_known_is_switched_off_first() -> None:
    group = {"protection": INTERLOCK}
    bench = Bench(c1=group, c2=group)
    taken = await bench.ask(2)
    assert bench.told() == [(1, False)]
    await bench.answer(1, False)
    assert bench.told() == [(1, False), (2, True)]
    await bench.answer(2, True)
    assert taken.state == "confirmed"
    # Switched on without an answer, it may be on.
    await bench.ask(2, False)
    await bench.answer(2, False)
    await bench.ask(1)
    await bench.pass_time(10)
    await bench.ask(2)
    assert bench.told()[-1] == (1, False)


async def test_a_relay_that_cannot_be_switched_off_keeps_the_other_off() -> None:
    group = {"protection": INTERLOCK}
    bench = Bench(c1=group, c2=group)
    await bench.report(c1=True, c2=False)
    taken = await bench.ask(2)
    await bench.pass_time(10)
    assert (taken.state, taken.reason) == ("failed", "relay 1 could not be switched off first (timed out)")
    assert bench.told() == [(1, False)]


async def test_two_who_want_interlocked_relays_at_once_get_one_after_the_other() -> None:
    group = {"protection": INTERLOCK}
    bench = Bench(c1=group, c2=group, c3=group)
    await bench.report(c1=False, c2=False, c3=False)
    wishes = [Wish("b", "relay", {"channel": n, "state": True}, "ann") for n in (1, 2, 3)]
    tasks = [asyncio.ensure_future(bench.dispatch.ask(one)) for one in wishes]
    on: set[int] = set()
    seen = 0
    for _ in range(20):
        await bench.settle()
        while seen < len(bench.told()):
            channel, state = bench.told()[seen]
            seen += 1
            on.add(channel) if state else on.discard(channel)
            assert len(on) <= 1
            await bench.answer(channel, state)
    assert [task.result().state for task in tasks] == ["confirmed"] * 3
    assert on == {3}


async def test_an_exclusive_relay_is_refused_while_another_is_on_or_may_be() -> None:
    group = {"protection": EXCLUSIVE, "group": "g"}
    bench = Bench(c1=group, c2=group)
    await bench.ask(1)
    with pytest.raises(Excluded, match="relay 2 is not switched on while relay 1 is on"):
        await bench.ask(2)
    await bench.answer(1, True)
    with pytest.raises(Excluded):
        await bench.ask(2)
    await bench.ask(1, False)
    await bench.answer(1, False)
    assert (await bench.ask(2)).state == "sent"
    # Not answered: it may be on.
    await bench.pass_time(10)
    with pytest.raises(Excluded):
        await bench.ask(1)


async def test_an_exclusive_relay_that_waited_is_looked_at_again_when_it_leaves() -> None:
    group = {"protection": EXCLUSIVE}
    bench = Bench(c1=group, c2=group)
    bench.door.there = False
    taken = await bench.ask(1)
    await bench.report(c2=True)
    bench.door.there = True
    bench.dispatch.listening("b")
    await bench.settle()
    assert (taken.state, taken.reason) == ("failed", "relay 2 is on (exclusive)")
    assert bench.told() == []


async def test_a_timed_relay_goes_off_however_it_came_on() -> None:
    bench = Bench(
        c1={"protection": TIMED, "limit_s": 30}, c2={"protection": TIMED, "limit_s": 3, "function": MOMENTARY}
    )
    # By a switch on the wall.
    await bench.report(c1=True)
    await bench.pass_time(29)
    assert bench.told() == []
    await bench.pass_time(1)
    assert bench.told() == [(1, False)]
    assert bench.story() == ["relay 1 is switched off: it may be on for 30 s"]
    await bench.ask(2)
    await bench.answer(2, True)
    for _ in range(5):
        await bench.pass_time(0.5)
        assert bench.switching.beat("b", 2)
    # However long it is held.
    await bench.pass_time(0.5)
    assert bench.told()[-1] == (2, False)


async def test_a_relay_that_was_switched_off_by_hand_is_not_switched_off_again() -> None:
    bench = Bench(c1={"function": TIMER, "timer_s": 60})
    await bench.ask(1)
    await bench.answer(1, True)
    await bench.report(c1=False)
    await bench.pass_time(60)
    assert bench.told() == [(1, True)]
    assert bench.road.records == {}
    # What it said before the command arrived does not end the run.
    await bench.ask(1)
    await bench.report(c1=False)
    await bench.answer(1, True)
    await bench.pass_time(60)
    assert bench.told() == [(1, True), (1, True), (1, False)]


async def test_a_timer_that_is_started_again_begins_anew() -> None:
    bench = Bench(c1={"function": TIMER, "timer_s": 10})
    for _ in range(3):
        await bench.ask(1)
        await bench.answer(1, True)
        await bench.pass_time(9)
    assert bench.told() == [(1, True)] * 3
    await bench.pass_time(1)
    assert bench.told()[3:] == [(1, False)]


async def test_a_removed_board_takes_everything_along() -> None:
    bench = Bench(c1={"function": TIMER})
    bench.road.submit([Kept(RelayBoard("b", "b")), *(Kept(one) for one in bench.configured)])
    await bench.settle()
    await bench.ask(1)
    assert (RelayRun, "b/1") in bench.road.records
    bench.road.submit([DeviceRemoved("b", 0)])
    await bench.settle()
    assert bench.road.records == {}
    assert (bench.switching.channels, bench.switching.boards, bench.switching.of_device("b")) == ({}, {}, [])
    await bench.pass_time(100)
    assert bench.told() == [(1, True)]


def test_what_follows_from_a_channel() -> None:
    def one(**more: Any) -> RelayChannel:
        return RelayChannel("b/1", "b", 1, **more)

    assert span_of(one()) is None
    assert span_of(one(function=PULSE, pulse_ms=80)) == (PULSE, 80)
    assert span_of(one(function=TIMER, timer_s=7)) == (TIMER, 7_000)
    assert span_of(one(function=TIMER, timer_s=7, protection=TIMED, limit_s=5)) == (TIMED, 5_000)
    assert span_of(one(function=TIMER, timer_s=7, protection=TIMED, limit_s=9)) == (TIMER, 7_000)
    assert span_of(one(function=MOMENTARY)) == (MOMENTARY, 1_000)
    assert span_of(one(function=MOMENTARY), lets_go_itself=True) == (MOMENTARY, 3_000)
    others = [
        RelayChannel("b/2", "b", 2, protection=INTERLOCK, group="g"),
        RelayChannel("b/3", "b", 3, protection=EXCLUSIVE, group="g"),
        RelayChannel("x/4", "x", 4, protection=INTERLOCK, group="g"),
    ]
    assert rivals_of(one(protection=INTERLOCK, group="g"), others) == [2]
    assert rivals_of(one(protection=INTERLOCK), others) == []
    assert rivals_of(one(group="g"), others) == []
    run = RelayRun("b/1", "b", 1, TIMER, 1_000, 500)
    assert [left_ms(run, now) for now in (0, 1_000, 1_200, 1_500, 9_000)] == [500, 500, 300, 0, 0]
    assert left_ms(RelayRun("b/1", "b", 1, MOMENTARY, 1_000, 500), 1_000) == 0
    assert [retry_s(n) for n in (1, 2, 3, 20)] == [1.0, 2.0, 4.0, 60.0]


async def test_what_a_board_learns_of_itself_is_merged_not_replaced() -> None:
    bench = Bench()
    patches: list[dict[str, Any]] = [{"speech": "old"}, {"units": {"t": "C"}}, {"units": {"h": "%"}, "speech": None}]
    bench.road.submit([DeviceChanged("b", 0, {"learned": patch}) for patch in patches])
    await bench.settle()
    device = bench.registry.get("b")
    assert device is not None
    assert device.attributes == {"relay_channels": 4, "units": {"t": "C", "h": "%"}}
    queued = CommandQueued("b", "c", 0, "relay", {"channel": 1, "state": True}, "ann", "user", 1)
    assert opened(queued).state == "queued"
