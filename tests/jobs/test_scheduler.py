"""Schedules that run by a clock moved by hand: in time, late, after a crash, and in their owner's name alone."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from relevo.clock import ManualClock
from relevo.dialects.native import Native
from relevo.dispatch import Dispatch
from relevo.domain.accounts import Account
from relevo.domain.commands import Command, Ledger, opened
from relevo.domain.devices import Registry
from relevo.domain.events import CommandQueued, DeviceChanged, DeviceRegistered, DeviceRemoved, Noticed
from relevo.domain.grants import Grant
from relevo.domain.people import People
from relevo.domain.records import RECORD_CHANGES, Dropped, Kept
from relevo.domain.schedules import RUN_ONCE, Occurrence, Schedule, ScheduleProgress
from relevo.domain.timings import read_timing
from relevo.jobs.acting import Acting
from relevo.jobs.scheduler import Scheduler
from relevo.pipeline import Outcome

# 2026-01-01T00:00:00Z, where the clock begins.
MIDNIGHT = 1_767_225_600_000
MINUTE = 60_000
ALL_WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY_MINUTE = {"kind": "cron", "expression": "* * * * *"}


class Road:
    """The road with a disk that can be slow: what is ``held`` is not committed, and lost in a crash."""

    def __init__(self) -> None:
        self.full = False
        self.held = False
        self.hold_progress = False
        self.journal: list[Any] = []
        self.records: dict[tuple[type, str], Any] = {}
        self.followers: list[Any] = []
        self.record_followers: list[Any] = []

    class state:
        detail = ""

    def submit(self, entries: Sequence[Any], done: Any = None, token: Any = None) -> None:
        if self.held or (self.hold_progress and any(_is_progress(one) for one in entries)):
            return
        for entry in entries:
            if type(entry) in RECORD_CHANGES:
                if isinstance(entry, Kept):
                    self.records[type(entry.record), entry.record.id] = entry.record
                else:
                    self.records.pop((entry.kind, entry.key), None)
                for follow in self.record_followers:
                    follow(entry)
            else:
                self.journal.append(entry)
                for follow in self.followers:
                    follow(entry)
        if done is not None:
            asyncio.get_running_loop().call_soon(done, token, Outcome(len(entries)))


def _is_progress(entry: Any) -> bool:
    return isinstance(entry, Kept) and isinstance(entry.record, ScheduleProgress)


class Refusals:
    def __init__(self) -> None:
        self.notices: Counter[str] = Counter()

    def notice(self, device: str, kind: str, detail: str) -> None:
        self.notices[kind] += 1


def on(devices: Sequence[str] = ("lamp-1",), params: Any = None, **more: Any) -> dict[str, Any]:
    """Switch on whoever is chosen."""
    selection = {"devices": list(devices), **more} if devices else more
    return {"command": {"selection": selection, "name": "relay", "params": params or {"state": "on"}, "ttl": 86_400.0}}


def minute(n: int) -> int:
    return MIDNIGHT + n * MINUTE


class House:
    """Three lamps of Ana's, one of Ben's, and a server that can be started again."""

    def __init__(self) -> None:
        self.clock = ManualClock(MIDNIGHT)
        self.road = Road()
        self.registry = Registry()
        self.people = People()
        for name, role in (("ana", "operator"), ("ben", "operator"), ("root", "administrator")):
            self.people.apply(Kept(Account(name, role, "x", 0)))
        for n, device in enumerate(("lamp-1", "lamp-2", "lamp-3", "bens")):
            owner = "ben" if device == "bens" else "ana"
            self.registry.apply(DeviceRegistered(device, "native", device, device, "lamp", 0), n)
            self.registry.apply(DeviceChanged(device, 0, {"owner": owner, "tags": ["all"]}, "root"), n)
        self.live()

    def live(self) -> None:
        """Start from what is committed, as after a crash."""
        queued = [one for one in self.road.journal if isinstance(one, CommandQueued)]
        ledger = Ledger()
        ledger.load([opened(one) for one in queued], [(o.by, o.device, o.key, o.id, o.at) for o in queued if o.key])

        async def recall(command_id: str) -> Command | None:
            return None

        self.dispatch = Dispatch(
            ledger, self.road, self.registry, {"native": Native()}, None, self.clock, recall,  # type: ignore[arg-type]
        )  # fmt: skip
        self.refusals = Refusals()
        self.scheduler = Scheduler(
            Acting(self.dispatch, None), self.road, self.registry, self.people, self.refusals, self.clock,  # type: ignore[arg-type]
        )  # fmt: skip
        for record in self.road.records.values():
            self.scheduler.apply(Kept(record))
        self.road.followers = [self.dispatch.follow]
        self.road.record_followers = [self.scheduler.apply, self.people.apply]

    def keep(self, timing: dict[str, Any] = EVERY_MINUTE, **more: Any) -> Schedule:
        """One of Ana's that counts from the moment after this one, as those do that were run till now."""
        given: dict[str, Any] = {
            "id": "s1", "name": "Porch", "owner": "ana", "by": "ana", "enabled": True, "timing": read_timing(timing),
            "action": on(**more.pop("command", {})), "created_at": self.clock.now_ms(),
            "since": self.clock.now_ms() + 1,
        }  # fmt: skip
        schedule = Schedule(**(given | more))
        self.road.submit([Kept(schedule)])
        return schedule

    async def after(self, seconds: float) -> int | None:
        self.clock.advance(seconds)
        return await self.scheduler.look()

    @property
    def asked(self) -> list[tuple[str, int]]:
        """Device and minute of every command that is committed, in order."""
        found = [one for one in self.road.journal if isinstance(one, CommandQueued) and one.key]
        return [(one.device, (int(one.key.split(":")[1]) - MIDNIGHT) // MINUTE) for one in found]

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(one.device, one.kind) for one in self.road.journal if isinstance(one, Noticed)]

    def detail(self, nth: int = -1) -> str:
        return [one.detail for one in self.road.journal if isinstance(one, Noticed)][nth]

    @property
    def done(self) -> int:
        """Minutes since midnight through which the schedule is dealt with, as committed."""
        return (self.road.records[ScheduleProgress, "s1"].done_at - MIDNIGHT) // MINUTE


@pytest.fixture
def house() -> House:
    return House()


async def test_a_run_asks_in_its_owners_name_and_writes_down_how_far_it_came(house: House) -> None:
    schedule = house.keep()
    assert await house.after(0) == MIDNIGHT + MINUTE
    assert house.asked == []
    assert await house.after(60) == MIDNIGHT + 2 * MINUTE
    assert house.asked == [("lamp-1", 1)]
    (queued,) = [one for one in house.road.journal if isinstance(one, CommandQueued)]
    assert (queued.by, queued.origin, queued.key) == (
        "ana",
        "schedule:s1",
        Occurrence(schedule.id, minute(1), ()).key(0),
    )
    assert (queued.name, queued.params) == ("relay", {"state": "on"})
    assert house.done == 1
    await house.after(60)
    assert house.asked == [("lamp-1", 1), ("lamp-1", 2)]
    assert house.told == []


async def test_looking_twice_asks_once(house: House) -> None:
    house.keep()
    await house.after(60)
    await house.after(0)
    await house.after(1)
    assert house.asked == [("lamp-1", 1)]


async def test_a_clock_set_back_runs_nothing_twice_and_one_set_on_is_a_downtime(house: House) -> None:
    house.keep()
    await house.after(60)
    house.clock.jump(-90)
    await house.after(60)
    assert house.asked == [("lamp-1", 1)]
    house.clock.jump(600)
    await house.after(0)
    assert ("lamp-1", "schedule_skipped") in house.told


async def test_edges_of_a_table_do_what_each_says(house: House) -> None:
    windows = [{"days": ALL_WEEK, "from": "00:01", "to": "00:03"}]
    house.keep({"kind": "weekly", "windows": windows}, end_action=on(params={"state": "off"}))
    await house.after(60)
    await house.after(120)
    params = [one.params for one in house.road.journal if isinstance(one, CommandQueued)]
    assert params == [{"state": "on"}, {"state": "off"}]


async def test_where_one_window_ends_and_another_begins_both_are_done_in_this_order(house: House) -> None:
    windows = [
        {"days": ALL_WEEK, "from": "00:01", "to": "00:02", "end_action": on(params={"state": "off"})},
        {"days": ALL_WEEK, "from": "00:02", "to": "00:05", "action": on(params={"level": 2})},
    ]
    house.keep({"kind": "weekly", "windows": windows}, jitter_s=20)
    await house.after(60)
    await house.after(20)
    await house.after(40)
    await house.after(20)
    params = [one.params for one in house.road.journal if isinstance(one, CommandQueued)]
    assert params == [{"state": "on"}, {"state": "off"}, {"level": 2}]
    house.live()
    await house.after(0)
    assert len([one for one in house.road.journal if isinstance(one, CommandQueued)]) == 3


async def test_runs_of_a_downtime_are_skipped_and_told(house: House) -> None:
    house.keep()
    await house.after(60)
    house.live()
    await house.after(5 * 60 + 70)
    # The one within the limit runs.
    assert house.asked == [("lamp-1", 1), ("lamp-1", 7)]
    assert house.told == [("lamp-1", "schedule_skipped")]
    assert "5 runs planned from 2026-01-01T00:02:00Z to 2026-01-01T00:06:00Z" in house.detail()
    assert "'Porch'" in house.detail()
    assert house.refusals.notices["schedule_skipped"] == 1
    house.live()
    await house.after(0)
    assert len(house.told) == 1


async def test_run_once_makes_up_for_the_newest_run_alone(house: House) -> None:
    house.keep({"kind": "cron", "expression": "*/10 * * * *"}, missed=RUN_ONCE)
    await house.after(0)
    house.live()
    await house.after(35 * 60)
    assert house.asked == [("lamp-1", 30)]
    assert "2 runs planned from 2026-01-01T00:10:00Z to 2026-01-01T00:20:00Z" in house.detail()
    assert house.done == 30
    house.live()
    await house.after(60)
    assert house.asked == [("lamp-1", 30)]


async def test_a_crash_between_asking_and_writing_it_down_asks_nobody_twice(house: House) -> None:
    house.keep(command={"devices": ["lamp-1", "lamp-2"]})
    house.road.hold_progress = True
    await house.after(60)
    assert house.asked == [("lamp-1", 1), ("lamp-2", 1)]
    house.road.hold_progress = False
    house.live()
    await house.after(2)
    assert house.asked == [("lamp-1", 1), ("lamp-2", 1)]
    assert house.done == 1


async def test_what_was_asked_before_a_long_downtime_is_not_told_as_skipped(house: House) -> None:
    house.keep({"kind": "once", "at": minute(1)})
    house.road.hold_progress = True
    await house.after(60)
    house.road.hold_progress = False
    house.live()
    await house.after(3_600)
    assert house.asked == [("lamp-1", 1)]
    assert house.told == []
    assert house.done == 1


async def test_a_crash_in_the_middle_asks_the_rest(house: House) -> None:
    house.keep(command={"devices": ["lamp-1", "lamp-2", "lamp-3"]}, jitter_s=40)
    house.road.hold_progress = True
    await house.after(60)
    for _ in range(15):
        await house.after(1)
    before = [device for device, _ in house.asked]
    house.road.hold_progress = False
    house.live()
    await house.after(30)
    first = [device for device, minute in house.asked if minute == 1]
    assert sorted(first) == ["lamp-1", "lamp-2", "lamp-3"]
    assert first[: len(before)] == before
    assert house.done == 1


async def test_jitter_spreads_a_run_and_keeps_its_limit(house: House) -> None:
    three = {"devices": ["lamp-1", "lamp-2", "lamp-3"]}
    house.keep({"kind": "once", "at": minute(1)}, command=three, jitter_s=50)
    begun: dict[str, int] = {}
    following = await house.after(60)
    while following is not None:
        house.clock.advance((following - house.clock.now_ms()) / 1000)
        following = await house.scheduler.look()
        for device, _ in house.asked:
            begun.setdefault(device, house.clock.now_ms() - MIDNIGHT - MINUTE)
    assert sorted(begun) == ["lamp-1", "lamp-2", "lamp-3"]
    assert len(set(begun.values())) == 3
    assert all(0 <= late <= 50_000 for late in begun.values())
    # Written down once all were asked, and not before.
    assert house.done == 1


async def test_what_the_owner_may_not_control_is_left_out_and_told_once(house: House) -> None:
    house.keep(command={"devices": ["lamp-1", "bens", "gone"]})
    await house.after(60)
    await house.after(60)
    assert house.asked == [("lamp-1", 1), ("lamp-1", 2)]
    assert house.told == [("bens", "schedule_left_out"), ("", "schedule_left_out")]
    assert "'gone' does not exist" in house.detail()
    house.road.submit([Kept(Grant("g", "ana", "device", "bens", "control", "ben", 0))])
    await house.after(60)
    assert house.asked[2:] == [("lamp-1", 3), ("bens", 3)]
    house.road.submit([Dropped(Grant, "g")])
    await house.after(60)
    assert house.asked[4:] == [("lamp-1", 4)]
    assert house.told[2:] == [("bens", "schedule_left_out")]


async def test_a_selection_means_what_fits_at_that_moment_and_says_nothing_about_others(house: House) -> None:
    house.keep(command={"devices": [], "tags": ["all"]})
    await house.after(60)
    assert [device for device, _ in house.asked] == ["lamp-1", "lamp-2", "lamp-3"]
    house.registry.apply(DeviceRemoved("lamp-2", 0))
    await house.after(60)
    assert [device for device, _ in house.asked[3:]] == ["lamp-1", "lamp-3"]
    assert house.told == []


@pytest.mark.parametrize("gone", [Dropped(Account, "ana"), Kept(Account("ana", "operator", "x", 0, disabled=True))])
async def test_without_its_owner_nothing_runs(house: House, gone: Any) -> None:
    house.keep()
    house.people.apply(gone)
    await house.after(60)
    assert house.asked == []
    assert set(house.told) == {("lamp-1", "schedule_left_out"), ("", "schedule_skipped")}
    assert "'ana' may not sign in" in house.detail()
    assert house.done == 1


async def test_an_owner_who_may_only_look_controls_nothing(house: House) -> None:
    house.keep()
    house.people.apply(Kept(Account("ana", "viewer", "x", 0)))
    await house.after(60)
    assert house.asked == []
    assert ("lamp-1", "schedule_left_out") in house.told


async def test_what_cannot_be_asked_is_told_and_the_others_are(house: House) -> None:
    house.keep(command={"devices": ["lamp-1", "lamp-2"]})
    house.dispatch._open_most = 1
    house.road.submit([CommandQueued("lamp-1", "x", 0, "x", {}, "ana", "user", MIDNIGHT * 2, "", "", 1, False)])
    await house.after(60)
    assert ("lamp-2", 1) in house.asked[-1:]
    assert house.told == [("lamp-1", "schedule_failed")]
    assert "open commands already" in house.detail()
    assert house.road.records[ScheduleProgress, "s1"].asked == 1
    assert house.road.records[ScheduleProgress, "s1"].note == "1 left out or failed"


async def test_a_store_without_room_is_tried_again_until_it_is_too_late(house: House) -> None:
    house.keep({"kind": "once", "at": minute(1)}, late_limit_s=30)
    house.road.full = True
    await house.after(60)
    await house.after(10)
    assert house.asked == []
    house.road.full = False
    await house.after(10)
    assert house.asked == [("lamp-1", 1)]
    house.keep({"kind": "once", "at": minute(5)}, late_limit_s=30, id="s2")
    house.road.full = True
    await house.after(221)
    await house.after(31)
    assert house.asked == [("lamp-1", 1)]
    assert house.told == [("lamp-1", "schedule_skipped")]
    assert (ScheduleProgress, "s2") in house.road.records


async def test_switched_off_changed_or_removed_nothing_more_runs(house: House) -> None:
    schedule = house.keep(command={"devices": ["lamp-1", "lamp-2", "lamp-3"]}, jitter_s=3_000)
    await house.after(60)
    house.road.submit([Kept(msgspec.structs.replace(schedule, enabled=False))])
    count = len(house.asked)
    assert await house.after(3_600) is None
    assert len(house.asked) == count
    now = house.clock.now_ms()
    house.road.submit([Kept(msgspec.structs.replace(schedule, since=now + 1, jitter_s=0))])
    assert await house.after(0) == now + MINUTE
    assert house.told == []
    house.road.submit([Dropped(Schedule, "s1")])
    assert await house.after(3_600) is None
    assert house.scheduler.all == {}
    house.live()
    house.scheduler.sweep()
    assert (ScheduleProgress, "s1") not in house.road.records


async def test_now_means_now(house: House) -> None:
    windows = [{"days": ALL_WEEK, "from": "12:00", "to": "13:00"}]
    command = {"devices": ["lamp-1", "bens"]}
    off = on(**command, params={"state": "off"})
    schedule = house.keep({"kind": "weekly", "windows": windows}, command=command, end_action=off)
    asked, refused = await house.scheduler.run_now(schedule)
    assert list(asked) == ["lamp-1"]
    assert list(refused) == ["bens"]
    (queued,) = [one for one in house.road.journal if isinstance(one, CommandQueued)]
    assert (queued.id, queued.params, queued.key) == (asked["lamp-1"], {"state": "off"}, "")


async def test_a_fleet_that_is_late_is_spread_as_well(house: House) -> None:
    three = {"devices": ["lamp-1", "lamp-2", "lamp-3"]}
    house.keep({"kind": "once", "at": minute(1)}, command=three, jitter_s=50, missed=RUN_ONCE)
    house.live()
    await house.after(3_600)
    assert len(house.asked) < 3
    await house.after(50)
    assert sorted(device for device, _ in house.asked) == ["lamp-1", "lamp-2", "lamp-3"]
    assert house.done == 1


async def test_it_sleeps_until_the_next_moment_and_wakes_for_a_new_schedule(house: House) -> None:
    house.scheduler.start()
    try:
        await asyncio.sleep(0)
        house.clock.advance(3_600)
        house.keep({"kind": "once", "at": minute(60)}, since=0)
        async with asyncio.timeout(10):
            while not house.asked:
                await asyncio.sleep(0)
    finally:
        await house.scheduler.stop()
    assert house.asked == [("lamp-1", 60)]
