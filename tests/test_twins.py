"""What is told to whom and when, with a clock and a road of its own (see ``test_dispatch_model`` for the fakes)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from relevo.clock import ManualClock
from relevo.dialect import Dialect, Said
from relevo.dialects.autocore import Autocore
from relevo.dialects.native import Native
from relevo.dispatch import Dispatch
from relevo.domain.commands import Command, Ledger
from relevo.domain.devices import Registry
from relevo.domain.events import (
    AnyEvent,
    DesiredChanged,
    DesiredFailed,
    DeviceConnected,
    DeviceDisconnected,
    DeviceRegistered,
    DeviceRemoved,
    ReportedChanged,
    StateReported,
    TelemetryReceived,
)
from relevo.domain.twins import TWIN_EVENTS, Twin, apply, delta, reported_values
from relevo.errors import Conflict, NotFound, QueueFull, StoreUnavailable
from relevo.pipeline import Outcome
from relevo.twins import Twins
from tests.test_dispatch_model import Disk


class Door:
    """Who listens, and what they heard. ``quiet`` is how long their clients have been silent (seconds)."""

    def __init__(self) -> None:
        self.online: set[str] = set()
        self.full: set[str] = set()
        self.heard: list[tuple[str, Any]] = []
        self.quiet: dict[str, float] = {}

    def hears(self, device: str, topics: Sequence[str]) -> bool:
        return device in self.online and device not in self.full

    def say(self, device: str, said: Said, token: str, expires_at: int) -> bool:
        if not self.hears(device, ()):
            return False
        self.heard.append((said.topic, msgspec.json.decode(said.payload)))
        return True

    def is_connected(self, device: str) -> bool:
        return device in self.online

    def quiet_s(self, device: str, topics: Sequence[str]) -> float | None:
        return self.quiet.get(device) if device in self.online else None


class Refusals:
    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def refuse(self, device: str, where: str, reason: str, detail: str, address: str = "", count: int = 1) -> None:
        self.told.append((device, where, reason))

    def notice(self, device: str, kind: str, detail: str) -> None:
        self.told.append((device, "", kind))


class ByDelivery(Native):
    """A contract in which what is never reported has agreed by being delivered."""

    delivery_agrees = True


class Bench:
    """One board, a road that commits when told, and a way to crash."""

    def __init__(self, dialect: Dialect | None = None, contract: str = "native") -> None:
        self.clock, self.disk, self.refusals, self.door = ManualClock(), Disk(), Refusals(), Door()
        self.dialect = dialect or Native()
        self.registry = Registry()
        self.registry.apply(DeviceRegistered("board", contract, "board", "board", "test", 0))
        self.contract = contract
        self.live({})

    def live(self, twins: dict[str, Twin]) -> None:
        async def recall(command_id: str) -> Command | None:
            return None

        dialects: dict[str, Dialect] = {self.contract: self.dialect}
        self.dispatch = Dispatch(
            Ledger(),
            self.disk,
            self.registry,
            dialects,
            self.refusals,
            self.clock,
            recall,  # type: ignore[arg-type]
        )
        self.dispatch.egress = self.door
        self.twins = Twins(
            twins,
            self.disk,
            self.registry,
            dialects,
            self.dispatch,
            self.refusals,
            self.clock,  # type: ignore[arg-type]
        )
        self.twins.egress = self.door
        self.disk.followers = [self._register, self.dispatch.follow, self.twins.follow, self._watch]

    def _register(self, event: AnyEvent) -> None:
        self.registry.apply(event)

    def _watch(self, event: AnyEvent) -> None:
        self.twins.watch(0, [event])

    def crash(self) -> None:
        """What was not committed is gone; the rest is read back as the store has it."""
        self.disk.inbox.clear()
        kept: dict[str, Twin] = {}
        for event in self.disk.journal:
            if type(event) in TWIN_EVENTS:
                apply(kept.setdefault(event.device, Twin()), event)  # type: ignore[union-attr, arg-type]
        self.door.online.clear()
        self.door.heard.clear()
        self.live(kept)

    def commit(self) -> None:
        while self.disk.inbox:
            self.disk.commit(100)

    async def done(self, work: Awaitable[Any]) -> Any:
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.sleep(0)
            self.disk.commit(100)
        return task.result()

    async def desire(self, **values: Any) -> Twin:
        twin = await self.done(self.twins.set("board", values, "ann"))
        self.commit()
        return twin

    def says(self, **values: Any) -> None:
        """Over MQTT, as the intake has it."""
        event = StateReported("board", self.clock.now_ms(), values)
        assert list(self.twins.heard(self.dialect, "board", event, "mqtt", "")) == []
        self.disk.submit([event])

    def comes(self) -> None:
        self.door.online.add("board")
        self.disk.submit([DeviceConnected("board", self.clock.now_ms(), "mqtt")])
        self.commit()
        self.twins.listening("board")

    def goes(self) -> None:
        self.door.online.discard("board")
        self.disk.submit([DeviceDisconnected("board", self.clock.now_ms(), "closed")])
        self.commit()

    def pings_for(self, seconds: float, every: float = 1.0) -> None:
        """Time goes by while the board's client pings."""
        for _ in range(round(seconds / every)):
            self.clock.advance(every)
            self.door.quiet["board"] = 0.0
            self.twins.look()
            self.commit()

    def states(self) -> dict[str, str]:
        return {key: wish.state for key, wish in self.twins.get("board").desired.items()}

    def versions(self) -> list[int]:
        return [said["version"] for _, said in self.door.heard]


def told(kind: type, bench: Bench) -> list[Any]:
    return [event for event in bench.disk.journal if type(event) is kind]


async def test_a_minute_in_contact_without_agreeing_has_failed_and_not_a_moment_before() -> None:
    bench = Bench()
    bench.comes()
    bench.says(on=False)
    bench.commit()
    await bench.desire(on=True)
    bench.pings_for(60)
    assert bench.states() == {"on": "pending"}
    bench.pings_for(1)
    assert (bench.states(), bench.twins.effective("board")) == ({"on": "failed"}, {"on": False})
    (failed,) = told(DesiredFailed, bench)
    assert (failed.keys, failed.values, failed.reported) == (["on"], {"on": True}, {"on": False})
    assert bench.versions() == [1]
    bench.pings_for(100)
    assert len(told(DesiredFailed, bench)) == 1
    # Nor is it told again when the board comes back.
    bench.goes()
    bench.comes()
    assert bench.versions() == [1]


async def test_a_device_that_is_off_fails_nothing() -> None:
    bench = Bench()
    await bench.desire(on=True)
    bench.clock.advance(86_400)
    bench.twins.look()
    bench.commit()
    assert bench.states() == {"on": "pending"}
    bench.comes()
    bench.pings_for(50)
    bench.goes()
    bench.clock.advance(86_400)
    bench.comes()
    bench.pings_for(9)
    assert bench.states() == {"on": "pending"}
    bench.pings_for(3)
    assert bench.states() == {"on": "failed"}


async def test_a_connection_from_which_nothing_comes_is_no_contact() -> None:
    """Its power is gone, and its keep-alive time not over yet."""
    bench = Bench()
    bench.comes()
    await bench.desire(on=True)
    bench.door.quiet["board"] = 0.0
    for _ in range(300):
        bench.clock.advance(1)
        bench.door.quiet["board"] += 1.0
        bench.twins.look()
        bench.commit()
    assert bench.states() == {"on": "pending"}


async def test_readings_of_a_device_that_only_posts_are_contact() -> None:
    bench = Bench()
    await bench.desire(on=True)
    for _ in range(8):
        bench.clock.advance(10)
        now = bench.clock.now_ms()
        bench.disk.submit([TelemetryReceived("board", now, "server", now, {"t": 1})])
        bench.commit()
    assert bench.states() == {"on": "failed"}


async def test_a_clock_that_is_set_forward_is_no_contact() -> None:
    bench = Bench()
    bench.comes()
    await bench.desire(on=True)
    bench.pings_for(2)
    bench.clock.jump(86_400)
    bench.pings_for(2)
    assert bench.states() == {"on": "pending"}


async def test_nothing_leaves_before_it_is_committed() -> None:
    bench = Bench()
    bench.comes()
    task = asyncio.ensure_future(bench.twins.set("board", {"on": True}, "ann"))
    await asyncio.sleep(0)
    bench.twins.look()
    bench.twins.listening("board")
    assert (bench.door.heard, task.done()) == ([], False)
    bench.crash()
    task.cancel()
    bench.comes()
    assert bench.door.heard == []


async def test_a_crash_between_the_change_and_its_delivery_loses_nothing() -> None:
    bench = Bench()
    await bench.desire(on=True)
    bench.crash()
    bench.comes()
    assert bench.door.heard == [("relevo/board/desired", {"version": 1, "values": {"on": True}})]
    bench.says(on=True)
    bench.commit()
    assert bench.states() == {"on": "agreed"}
    assert (await bench.desire(on=False)).desired_version == 2


async def test_reports_in_one_commit_follow_each_other() -> None:
    """The second changes back what the first, which is not stored yet, changes."""
    bench = Bench()
    bench.says(on=False)
    bench.commit()
    bench.says(on=True)
    bench.says(on=False)
    bench.says(on=False)
    bench.commit()
    assert reported_values(bench.twins.get("board")) == {"on": False}
    assert [one.version for one in told(ReportedChanged, bench)] == [1, 2, 3]
    # A report and the state it came with: the change is on the disk first.
    kinds = [type(one) for one in bench.disk.journal if type(one) in (ReportedChanged, StateReported)]
    assert kinds == [ReportedChanged, StateReported] * 3 + [StateReported]


async def test_a_report_on_its_way_agrees_with_a_wish_on_its_way() -> None:
    bench = Bench()
    bench.comes()
    task = asyncio.ensure_future(bench.twins.set("board", {"on": True}, "ann"))
    await asyncio.sleep(0)
    bench.says(on=True)
    await bench.done(task)
    bench.commit()
    assert (bench.states(), bench.door.heard) == ({"on": "agreed"}, [])


async def test_two_who_compare_with_the_same_version_are_not_both_right() -> None:
    bench = Bench()
    first = asyncio.ensure_future(bench.twins.desire("board", {"a": 1}, "ann", version=0))
    second = asyncio.ensure_future(bench.twins.desire("board", {"a": 2}, "bob", version=0))
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="has version 1, not 0"):
        await second
    assert (await bench.done(first)).desired_version == 1


async def test_a_message_that_finds_no_room_is_told_when_there_is_some() -> None:
    bench = Bench()
    bench.comes()
    bench.door.full.add("board")
    await bench.desire(on=True)
    bench.twins.look()
    assert bench.door.heard == []
    bench.door.full.clear()
    bench.twins.look()
    bench.twins.look()
    assert bench.versions() == [1]


async def test_a_device_that_announces_itself_hears_again_what_is_left() -> None:
    bench = Bench()
    bench.comes()
    await bench.desire(on=True)
    bench.disk.submit([DeviceConnected("board", bench.clock.now_ms(), "status")])
    bench.commit()
    assert bench.versions() == [1, 1]
    bench.says(on=True)
    bench.disk.submit([DeviceConnected("board", bench.clock.now_ms(), "status")])
    bench.commit()
    assert bench.versions() == [1, 1]


async def test_what_is_never_reported_stays_where_the_contract_says_so() -> None:
    bench = Bench(ByDelivery())
    await bench.desire(v9=5)
    assert bench.states() == {"v9": "pending"}
    bench.twins.polled("board", delivered=True)
    bench.commit()
    assert (bench.states(), bench.twins.effective("board")) == ({"v9": "agreed"}, {"v9": 5})


async def test_a_removed_device_takes_its_wishes_along() -> None:
    bench = Bench()
    await bench.desire(on=True)
    waiting = asyncio.ensure_future(bench.twins.changed("board", 1, 60))
    late = asyncio.ensure_future(bench.twins.set("board", {"on": False}, "ann"))
    await asyncio.sleep(0)
    bench.disk.inbox.insert(0, ([DeviceRemoved("board", 0)], None, None))
    bench.commit()
    for one in (waiting, late):
        with pytest.raises(NotFound):
            await one
    assert bench.twins.get("board") == Twin()
    bench.registry.apply(DeviceRegistered("board", "native", "board", "board", "test", 0))
    bench.comes()
    assert bench.door.heard == []


async def test_when_too_much_waits_for_the_disk_nobody_is_promised_anything() -> None:
    bench = Bench()
    bench.disk.full = True
    with pytest.raises(QueueFull):
        await bench.twins.set("board", {"on": True}, "ann")
    with pytest.raises(QueueFull):
        await bench.twins.reported_over_http("board", {"on": True}, False, "")
    assert (bench.disk.inbox, delta(bench.twins.get("board"))) == ([], {})


async def test_of_a_device_about_to_be_registered_the_report_follows_its_registration() -> None:
    bench = Bench()
    events = list(bench.twins.heard(bench.dialect, "new", StateReported("new", 1, {"on": True}), "mqtt", ""))
    assert [type(one) for one in events] == [ReportedChanged]
    bench.disk.submit([DeviceRegistered("new", "native", "new", "new", "test", 0), *events])
    bench.commit()
    assert reported_values(bench.twins.get("new")) == {"on": True}


# Contracts that know commands alone


async def settled(bench: Bench, until: Callable[[], Any]) -> None:
    for _ in range(50):
        await asyncio.sleep(0)
        bench.commit()
        if until():
            return
    raise AssertionError("not settled")


async def test_a_relay_that_is_desired_is_switched_once() -> None:
    bench = Bench(Autocore(), "autocore")
    bench.comes()
    await bench.desire(relay_3=True)
    await settled(bench, lambda: bench.door.heard)
    for _ in range(5):
        bench.twins.look()
        bench.twins.listening("board")
        await asyncio.sleep(0)
        bench.commit()
    ((topic, message),) = bench.door.heard
    assert topic == "autocore/devices/board/command"
    assert (message["type"], message["channel"], message["state"]) == ("relay", 3, True)
    (command,) = bench.dispatch.ledger.of("board")
    assert (command.by, command.origin) == ("ann", "desired")
    event = StateReported("board", bench.clock.now_ms(), {"relay_states": {"3": True, "4": False}})
    assert list(bench.twins.heard(bench.dialect, "board", event, "mqtt", "")) == []
    bench.commit()
    assert bench.states() == {"relay_3": "agreed"}
    assert reported_values(bench.twins.get("board")) == {"relay_3": True, "relay_4": False}


async def test_a_relay_board_that_is_away_is_told_only_what_is_to_be_when_it_comes() -> None:
    bench = Bench(Autocore(), "autocore")
    for state in (True, False, True, False, True):
        await bench.desire(relay_1=state)
    bench.clock.advance(86_400)
    assert bench.dispatch.ledger.of("board") == []
    bench.comes()
    await settled(bench, lambda: bench.door.heard)
    assert [message["state"] for _, message in bench.door.heard] == [True]


async def test_every_change_of_desire_is_a_command_of_its_own() -> None:
    bench = Bench(Autocore(), "autocore")
    bench.comes()
    await bench.desire(relay_1=True, relay_2=True)
    await settled(bench, lambda: len(bench.door.heard) == 2)
    await bench.desire(relay_1=False)
    await settled(bench, lambda: len(bench.dispatch.ledger.of("board")) == 3)
    asked = [(one.params["channel"], one.params["state"]) for one in bench.dispatch.ledger.of("board")]
    assert asked == [(1, True), (2, True), (1, False)]
    assert len(told(DesiredChanged, bench)) == 2


async def test_what_the_database_refuses_is_not_said_to_be_desired() -> None:
    bench = Bench()
    task = asyncio.ensure_future(bench.twins.set("board", {"on": True}, "ann"))
    await asyncio.sleep(0)
    ((events, done, token),) = bench.disk.inbox
    bench.disk.inbox.clear()
    done(token, Outcome(0, lost=(0,)))
    with pytest.raises(StoreUnavailable):
        await task
    assert len(events) == 1
    assert (await bench.desire(on=False)).desired_version == 1
