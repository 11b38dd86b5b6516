"""Roll-outs by themselves: waves, patience, deadlines, halts, and whatever people and boards do in between.

The store is a real one in memory, so what is in it after every step is compared with what the server holds.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relevo.clock import ManualClock
from relevo.domain.accounts import Account
from relevo.domain.devices import Device, Registry
from relevo.domain.events import DeviceChanged, DeviceRemoved, NotificationRaised, RolloutChanged, UpdatePlanned
from relevo.domain.manifests import manifest
from relevo.domain.people import People
from relevo.domain.records import Dropped, Kept
from relevo.domain.releases import Board, Release, board_of, needless, unfit
from relevo.domain.rollouts import (
    DONE,
    HALTED,
    RUNNING,
    TIMED_OUT,
    UNDER_WAY,
    UNSETTLED,
    WORDS,
    Report,
    Rollout,
    check_waves,
    outcomes,
    plan,
)
from relevo.errors import Conflict, Invalid
from relevo.firmware import Firmware
from relevo.jobs.rollouts import Rollouts
from relevo.store import updates as store
from relevo.store.db import core_on, metadata
from relevo.updates import UPDATE_EVENTS, Updates

RELEASE = Release("relay-1.4.0", "1.4.0", "relay", 1, 0, "", 1_024, "0" * 64, [], "ana", 0)


class Presence:
    def __init__(self) -> None:
        self.there: dict[str, int] = {}

    def online(self, device: str) -> bool:
        return device in self.there

    def since(self, device: str) -> int:
        return self.there[device]


class Notifications:
    def __init__(self) -> None:
        self.raised: list[tuple[str, str, str]] = []

    def language_of(self, account: str) -> str:
        return "en"

    def prepare(self, severity: str, source: str, title: str, text: str = "", **_: Any) -> list[Any]:
        self.raised.append((severity, title, text))
        return [NotificationRaised("n", "", 0, severity, source, title, text)]


class Ledger:
    def of(self, device: str) -> list[Any]:
        return []


class Dispatch:
    """Native devices are told; nobody takes it back."""

    ledger = Ledger()

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def ask(self, wish: Any) -> None:
        self.asked.append((wish.device, wish.key))


class Tells:
    def update_order(self, release: str) -> tuple[str, dict[str, Any]]:
        return "update", {"release": release}


class House:
    """Devices, a store, and the runner over both; commits happen at once."""

    def __init__(self, tmp: Any, count: int = 10, board: str = "relay") -> None:
        self.tmp = tmp
        self.clock = ManualClock()
        self.registry = Registry()
        self.registry.load([Device(f"d{n:03}", "native", f"d{n:03}", f"D{n}", "board", 1) for n in range(count)])
        self.people = People()
        self.people.apply(Kept(Account("ana", "administrator", "", 0)))
        self.presence, self.notifications, self.dispatch = Presence(), Notifications(), Dispatch()
        self.events: list[Any] = []
        self.rollouts: dict[str, Rollout] = {}
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.core = core_on(self.connection)
        metadata.create_all(self.core, tables=[store.rollout_devices])
        self.number = 0
        self.start()
        for device in self.registry.all():
            if board:
                self.says(device.id, Board("1.3.0", board))

    def start(self) -> None:
        """As after a restart: from what is stored."""
        firmware = Firmware(self.tmp)
        firmware.apply(Kept(RELEASE))
        self.updates = Updates(firmware, self.registry, self.clock)
        for one in self.rollouts.values():
            self.updates.apply(Kept(one))
        rolling = [one.id for one in self.rollouts.values() if one.is_open]
        self.updates.load(store.load(self.core, rolling), store.newest(self.core))
        self.runner = Rollouts(
            self.updates, self.dispatch, self, self.registry, self.people, {"native": Tells()},  # type: ignore[arg-type, dict-item]
            self.presence, self.notifications, self.clock,  # type: ignore[arg-type]
        )  # fmt: skip

    def close(self) -> None:
        self.core.close()
        self.core.engine.dispose()
        self.connection.close()

    # The pipeline

    async def accept(self, entries: Sequence[Any]) -> None:
        self.submit(entries)

    def submit(self, entries: Sequence[Any]) -> None:
        events = [one for one in entries if not isinstance(one, Kept | Dropped)]
        changes = [one for one in entries if isinstance(one, Kept | Dropped)]
        store.follow(self.core, [one for one in events if type(one) in UPDATE_EVENTS])
        for event in events:
            if isinstance(event, DeviceRemoved):
                store.remove(self.core, event.device)
            # As the journal gives it back, so that nobody holds what another changes.
            self.registry.apply(event)
            self.updates.follow(event)
            self.events.append(event)
        for change in changes:
            if isinstance(change, Kept) and isinstance(change.record, Rollout):
                self.rollouts[change.record.id] = change.record
            self.updates.apply(change)

    # What happens

    def says(self, device: str, board: Board) -> None:
        found = self.registry.get(device)
        assert found is not None
        self.submit(self.updates.looked(found, board))

    def looks(self, device: str) -> bool:
        """Whether it is offered something."""
        found = self.registry.get(device)
        assert found is not None
        board = board_of(found.attributes)
        self.submit(self.updates.looked(found, board if board.board else Board("1.3.0", "relay")))
        offer = self.updates.offer(device)
        return offer is not None and offer.rollout.state == RUNNING

    def reports(self, device: str, word: str, percent: int | None = None) -> None:
        found = self.registry.get(device)
        assert found is not None
        version = RELEASE.version if word in ("trial", "healthy") else "1.3.0"
        self.submit(self.updates.heard(found, Report(RELEASE.id, word, percent, "", version)))

    def begin(self, **more: Any) -> Rollout:
        self.number += 1
        now = self.clock.now_ms()
        fields: dict[str, Any] = {
            "waves": [20, 50, 100], "halt_percent": 20, "halt_least": 3, "wave_pause_s": 60, "patience_s": 300,
            "older": False,
        } | {name: value for name, value in more.items() if name != "deadline_s"}  # fmt: skip
        deadline = now + more.get("deadline_s", 86_400) * 1000
        rollout = Rollout(f"r{self.number}", RELEASE.id, "ana", "", {}, **fields, created_at=now, deadline_at=deadline)

        def why(device: Device) -> str:
            board = board_of(device.attributes)
            return "busy" if self.updates.has(device.id) else unfit(RELEASE, board) or needless(RELEASE, board, False)

        planned = plan(rollout.id, rollout.waves, ((one.id, why(one)) for one in self.registry.all()))
        events = [UpdatePlanned(one.device, now, rollout.id, RELEASE.id, one.wave, one.skipped) for one in planned]
        self.submit([*events, Kept(rollout)])
        return rollout

    def now(self, rollout: Rollout) -> Rollout:
        return self.rollouts[rollout.id]

    def wave(self, rollout: Rollout, number: int) -> list[str]:
        rows = store.page(self.core, rollout.id, 10_000, wave=number)
        return [one.device for _, one in rows if one.state != "skipped"]

    def counts(self, rollout: Rollout) -> dict[str, int]:
        return dict(Counter(one.state for one in store.load(self.core, [rollout.id])))


@pytest.fixture
def house(tmp_path: Any) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


async def through(house: House, devices: Sequence[str], word: str = "healthy") -> None:
    for device in devices:
        assert house.looks(device), device
        for one in ("accepted", "trial", word):
            house.reports(device, one)
    await house.runner.look()


async def test_waves_come_one_after_the_other_with_a_pause_between_them(house: House) -> None:
    rollout = house.begin()
    assert [len(house.wave(rollout, n)) for n in (1, 2, 3)] == [2, 3, 5]
    assert not any(house.looks(one) for one in house.wave(rollout, 1)), "it has not begun"
    await house.runner.look()
    await through(house, house.wave(rollout, 1))
    assert house.now(rollout).wave == 1
    house.clock.advance(59)
    await house.runner.look()
    assert house.now(rollout).wave == 1
    assert not any(house.looks(one) for one in house.wave(rollout, 2))
    house.clock.advance(1)
    await house.runner.look()
    assert house.now(rollout).wave == 2
    await through(house, house.wave(rollout, 2))
    house.clock.advance(60)
    await house.runner.look()
    await through(house, house.wave(rollout, 3))
    assert house.now(rollout).state == DONE
    assert house.counts(rollout) == {"updated": 10}
    assert [(one.state, one.wave) for one in house.events if isinstance(one, RolloutChanged)] == [
        ("running", 1), ("running", 2), ("running", 3), ("done", 3),
    ]  # fmt: skip
    assert house.notifications.raised == [("info", "The roll-out of relay-1.4.0 is over", "")]
    # Told once each, whoever came first.
    assert Counter(device for device, _ in house.dispatch.asked) == Counter(f"d{n:03}" for n in range(10))


async def test_the_order_is_the_same_after_a_restart_and_another_for_another_roll_out(house: House) -> None:
    first = house.begin()
    before = [house.wave(first, n) for n in (1, 2, 3)]
    await house.runner.look()
    told = list(house.dispatch.asked)
    house.start()
    await house.runner.look()
    assert [house.wave(first, n) for n in (1, 2, 3)] == before
    # With the same key, by which the ledger knows that it is the same command.
    assert set(house.dispatch.asked) == set(told)
    await house.runner.cancel(house.now(first), "ana")
    assert [house.wave(house.begin(), n) for n in (1, 2, 3)] != before


async def test_nothing_goes_on_behind_a_small_wave_that_failed(house: House) -> None:
    rollout = house.begin(waves=[10, 100], halt_least=5)
    await house.runner.look()
    (only,) = house.wave(rollout, 1)
    await through(house, [only], "rolled_back")
    assert (house.now(rollout).state, house.now(rollout).reason) == (HALTED, "1 of 1 failed, more than 20 %")
    house.clock.advance(3_600)
    await house.runner.look()
    assert house.now(rollout).wave == 1
    assert house.notifications.raised[0][:2] == ("warning", "The roll-out of relay-1.4.0 was halted")


async def test_few_outcomes_say_nothing_while_more_are_coming(house: House) -> None:
    rollout = house.begin(waves=[100], halt_least=4, halt_percent=25)
    await house.runner.look()
    devices = house.wave(rollout, 1)
    await through(house, devices[:1], "failed")
    assert house.now(rollout).state == RUNNING
    await through(house, devices[1:4])
    assert house.now(rollout).state == RUNNING, "one of four is not more than a quarter"
    await through(house, devices[4:5], "rolled_back")
    assert house.now(rollout).reason == "2 of 5 failed, more than 25 %"


async def test_a_resumed_halt_judges_only_what_comes_then(house: House) -> None:
    rollout = house.begin(waves=[100], halt_least=1)
    await house.runner.look()
    devices = house.wave(rollout, 1)
    await through(house, devices[:2], "failed")
    assert house.now(rollout).state == HALTED
    house.clock.advance(1)
    await house.runner.resume(house.now(rollout), "ana")
    await house.runner.look()
    assert house.now(rollout).state == RUNNING
    house.clock.advance(1)
    await through(house, devices[2:8])
    assert house.now(rollout).state == RUNNING
    await through(house, devices[8:], "failed")
    assert house.now(rollout).state == HALTED


async def test_a_device_that_is_off_is_waited_for_as_long_as_the_patience_and_no_longer(house: House) -> None:
    rollout = house.begin(wave_pause_s=0)
    await house.runner.look()
    off, there = house.wave(rollout, 1)
    await through(house, [there])
    house.clock.advance(299)
    await house.runner.look()
    assert house.now(rollout).wave == 1
    house.clock.advance(1)
    await house.runner.look()
    assert house.now(rollout).wave == 2
    assert house.looks(off), "it is back, and its turn was before"


async def test_one_that_falls_silent_counts_as_failed_only_while_it_is_online(house: House) -> None:
    rollout = house.begin(waves=[100], halt_percent=100, patience_s=300)
    await house.runner.look()
    gone, silent = house.wave(rollout, 1)[:2]
    for one in (gone, silent):
        assert house.looks(one)
        house.reports(one, "accepted")
    house.presence.there[silent] = house.clock.now_ms()
    house.clock.advance(300)
    await house.runner.look()
    rows = {one.device: (one.state, one.reason) for one in store.load(house.core, [rollout.id])}
    assert rows[silent] == (TIMED_OUT, "silent")
    assert rows[gone] == ("downloading", "")
    # It came back a moment ago: from then on.
    house.presence.there[gone] = house.clock.now_ms()
    house.clock.advance(299)
    await house.runner.look()
    assert house.counts(rollout)["downloading"] == 1
    # What was given up may still say that it made it.
    house.reports(silent, "healthy")
    assert house.counts(rollout)["updated"] == 1


async def test_the_deadline_ends_it_whatever_its_state(house: House) -> None:
    rollout = house.begin(waves=[100], deadline_s=600, patience_s=10_000)
    await house.runner.look()
    devices = house.wave(rollout, 1)
    await through(house, devices[:3])
    assert house.looks(devices[3])
    await house.runner.pause(house.now(rollout), "ana")
    house.clock.advance(600)
    await house.runner.look()
    assert (house.now(rollout).state, house.now(rollout).reason) == (DONE, "the deadline passed for 7 devices")
    assert house.counts(rollout) == {"updated": 3, "timed_out": 7}
    assert not house.looks(devices[4])
    # Said too late for the roll-out, and still true.
    house.reports(devices[3], "healthy")
    assert house.counts(rollout) == {"updated": 4, "timed_out": 6}


async def test_a_device_is_in_one_open_roll_out_at_a_time(house: House) -> None:
    first, second = house.begin(), house.begin()
    assert house.counts(second) == {"skipped": 10}
    assert {one.reason for one in store.load(house.core, [second.id])} == {"busy"}
    await house.runner.look()
    assert house.now(second).state == RUNNING
    await house.runner.cancel(house.now(first), "ana")
    assert house.counts(house.begin()) == {"waiting": 10}


async def test_whoever_may_not_sign_in_any_more_stops_their_roll_outs(house: House) -> None:
    rollout = house.begin()
    await house.runner.look()
    house.people.apply(Dropped(Account, "ana"))
    await house.runner.look()
    assert (house.now(rollout).state, house.now(rollout).reason) == (
        "paused", "whoever made it may not sign in any more",
    )  # fmt: skip


async def test_a_removed_device_is_in_no_roll_out(house: House) -> None:
    rollout = house.begin(waves=[100])
    await house.runner.look()
    gone = house.wave(rollout, 1)[0]
    house.submit([DeviceRemoved(gone, house.clock.now_ms())])
    await through(house, house.wave(rollout, 1))
    assert house.now(rollout).state == DONE
    assert house.counts(rollout) == {"updated": 9}


async def test_a_device_that_got_it_another_way_is_skipped_when_its_turn_comes(house: House) -> None:
    rollout = house.begin()
    late = house.wave(rollout, 3)[0]
    house.submit([DeviceChanged(late, 0, {"learned": {"firmware_version": "1.4.0"}})])
    assert not house.looks(late)
    assert {one.device: one.reason for one in store.load(house.core, [rollout.id])}[late] == "current"


async def test_only_what_can_be_retried_is(house: House) -> None:
    rollout = house.begin(waves=[100], halt_percent=100)
    await house.runner.look()
    devices = house.wave(rollout, 1)
    for device, word in zip(devices, ("failed", "refused", "rolled_back"), strict=False):
        await through(house, [device], word)
    await through(house, devices[3:])
    assert house.now(rollout).state == DONE
    whole = store.load(house.core, [rollout.id])
    failed = [one for one in whole if one.state == "failed"]
    later, count = await house.runner.retry(house.now(rollout), "ana", failed, whole, house.clock.now_ms() + 1_000_000)
    assert (later.state, count) == (RUNNING, 1)
    await house.runner.look()
    assert house.looks(devices[0])
    assert not any(house.looks(one) for one in devices[1:])
    for word in ("accepted", "trial", "healthy"):
        house.reports(devices[0], word)
    await house.runner.look()
    assert house.now(rollout).state == DONE
    assert house.counts(rollout) == {"updated": 8, "refused": 1, "rolled_back": 1}


@pytest.mark.parametrize("waves", [[], [0, 100], [50], [100, 100], [50, 20, 100], [5, 101], list(range(80, 101))])
def test_waves_rise_to_a_hundred(waves: list[int]) -> None:
    with pytest.raises(Invalid):
        check_waves(waves)


def test_a_manifest_has_room_for_the_longest_of_everything() -> None:
    longest = msgspec.structs.replace(
        RELEASE, id="a" * 32 + "-" + "1" * 32, version="1" * 32, board="a" * 32, size=1_048_576, boot=255, mpy=255
    )
    assert len(manifest(longest, "e" * 256, 9_999_999_999)) <= 1_024


class Machine(RuleBasedStateMachine):
    """Boards, people and time in any order."""

    devices = st.integers(0, 7).map(lambda n: f"d{n:03}")

    @initialize(tmp=st.just(None))
    def build(self, tmp: None) -> None:
        from pathlib import Path

        self.loop = asyncio.Runner()
        self.house = House(Path("/nonexistent"), 8, "")
        for n in range(6):
            self.house.says(f"d{n:03}", Board("1.3.0", "relay"))
        self.waves: dict[str, int] = {}

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.house.close()
            self.loop.close()

    @property
    def open(self) -> list[Rollout]:
        return self.house.updates.open

    @rule(percent=st.sampled_from([0, 20, 50, 100]), least=st.integers(1, 4), waves=st.sampled_from([[100], [30, 100]]))
    def begin(self, percent: int, least: int, waves: list[int]) -> None:
        self.house.begin(waves=waves, halt_percent=percent, halt_least=least, wave_pause_s=30, deadline_s=7_200)

    @rule(seconds=st.sampled_from([0, 1, 30, 300, 3_600]))
    def time_passes(self, seconds: int) -> None:
        self.house.clock.advance(seconds)
        self.loop.run(self.house.runner.look())
        for one in self.open:
            if one.state == RUNNING:
                begun = [each for each in self.house.updates.progress[one.id].values() if each.wave <= one.wave]
                bad, tried = outcomes(one, begun)
                assert tried < one.halt_least or bad * 100 <= one.halt_percent * tried

    @rule(device=devices)
    def looks(self, device: str) -> None:
        before = {one.id: one for one in self.open}
        offered = self.house.looks(device)
        if offered:
            found = self.house.updates.offer(device)
            assert found is not None
            assert before[found.rollout.id].state == RUNNING
            assert found.progress.wave <= found.rollout.wave
            assert found.progress.issued * 1000 <= self.house.clock.now_ms() + 10_000

    @rule(device=devices, word=st.sampled_from(sorted(WORDS)), percent=st.none() | st.integers(0, 100))
    def reports(self, device: str, word: str, percent: int | None) -> None:
        self.house.reports(device, word, percent)

    @rule(device=devices)
    def comes(self, device: str) -> None:
        self.house.presence.there.setdefault(device, self.house.clock.now_ms())

    @rule(device=devices)
    def goes(self, device: str) -> None:
        self.house.presence.there.pop(device, None)

    @precondition(lambda self: hasattr(self, "house") and self.open)
    @rule(data=st.data(), what=st.sampled_from(["pause", "resume", "cancel"]))
    def somebody(self, data: st.DataObject, what: str) -> None:
        rollout = data.draw(st.sampled_from(self.open))
        try:
            self.loop.run(getattr(self.house.runner, what)(rollout, "ana"))
        except Conflict:
            assert (what, rollout.state) not in {("pause", RUNNING), ("resume", HALTED), ("cancel", RUNNING)}

    @precondition(lambda self: hasattr(self, "house") and self.house.rollouts)
    @rule(data=st.data())
    def retries(self, data: st.DataObject) -> None:
        house = self.house
        rollout = house.rollouts[data.draw(st.sampled_from(sorted(house.rollouts)))]
        whole = store.load(house.core, [rollout.id])
        found = [one for one in whole if one.state in ("failed", "timed_out")]
        deadline = house.clock.now_ms() + 7_200_000
        _, count = self.loop.run(house.runner.retry(rollout, "ana", found, whole, deadline))
        assert count <= len(found)

    @rule()
    def restarts(self) -> None:
        self.house.start()

    @invariant()
    def what_is_held_is_what_is_stored(self) -> None:
        if not hasattr(self, "house"):
            return
        for one in self.open:
            stored = {row.device: row for row in store.load(self.house.core, [one.id])}
            assert self.house.updates.progress[one.id] == stored

    @invariant()
    def nobody_is_in_two(self) -> None:
        if not hasattr(self, "house"):
            return
        held = Counter(
            row.device for one in self.open for row in store.load(self.house.core, [one.id]) if row.state in UNSETTLED
        )
        assert not [device for device, count in held.items() if count > 1], held

    @invariant()
    def waves_only_rise(self) -> None:
        if not hasattr(self, "house"):
            return
        for one in self.house.rollouts.values():
            assert one.wave >= self.waves.get(one.id, 0)
            self.waves[one.id] = one.wave
            assert one.is_open or not any(
                row.state in UNDER_WAY - {"trial"} or row.state == "waiting"
                for row in store.load(self.house.core, [one.id])
            )


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRollouts = Machine.TestCase
