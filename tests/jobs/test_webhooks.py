"""Webhooks of a whole server in this process, by a clock moved by hand, to a receiver over real sockets."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.domain.accounts import Account
from relevo.domain.deliveries import DEAD, WAITING, Delivery, WebhookProgress
from relevo.domain.events import (
    AlertChanged,
    AnyEvent,
    DeviceChanged,
    DeviceRegistered,
    DeviceRemoved,
    Noticed,
    NotificationRaised,
    TelemetryReceived,
    WebhookAsked,
)
from relevo.domain.grants import Grant
from relevo.domain.records import Dropped, Kept
from relevo.domain.webhooks import ROTATION_MS, Webhook, hexadecimal_signature
from relevo.errors import Conflict
from relevo.settings import load
from tests.receiver import Received, Receiver, ok

HOUR = 3_600.0
pytestmark = pytest.mark.timeout(60)


def no(status: int, **headers: str) -> Callable[[Received], web.Response]:
    return lambda _: web.Response(status=status, headers=headers, text="not now")


class House:
    """A server that can be ended and started again on the same data, with the same clock."""

    def __init__(self, data: Path, **webhooks: Any) -> None:
        self.data = data
        self.clock = ManualClock()
        self.settings = load(
            {
                "data": str(data),
                "http": "127.0.0.1:0",
                "mqtt": "127.0.0.1:0",
                "admin_password": "correct-horse-battery-staple",
                **{f"webhooks.{k}": v for k, v in {"allow_private": ["127.0.0.1"], **webhooks}.items()},
            },
            {},
        )
        self.numbers: dict[str, int] = defaultdict(int)

    async def start(self) -> None:
        self.app = Application(self.settings, self.clock)
        await self.app.start()
        assert self.app._webhooks is not None
        self.hooks = self.app._webhooks
        # One attempt as late as it may be, so that nothing hangs on luck.
        self.hooks.means.jitter = lambda: 0.999

    async def stop(self) -> None:
        await self.app.stop()

    async def again(self) -> None:
        await self.stop()
        await self.start()

    async def put(self, *entries: Any) -> None:
        await self.app.pipeline.accept(list(entries))

    async def device(self, name: str, owner: str = "", **more: Any) -> None:
        await self.put(DeviceRegistered(name, "native", name, name, "meter", self.clock.now_ms(), owner=owner, **more))

    async def person(self, name: str) -> None:
        await self.put(Kept(Account(name, "operator", "x", 0)))

    async def hook(self, url: str, **more: Any) -> Webhook:
        fields = {"owner": "admin", "kinds": ["telemetry"], "id": "hook-1", **more}
        made = Webhook(name="Mine", url=url, by="admin", salt="a", created_at=self.clock.now_ms(), **fields)
        await self.put(Kept(WebhookProgress(made.id, self.app.pipeline.committed_seq)), Kept(made))
        return made

    async def change(self, **changes: Any) -> None:
        await self.put(Kept(msgspec.structs.replace(self.hooks.all["hook-1"], **changes)))

    async def say(self, device: str, count: int = 1) -> None:
        """``count`` readings, each with the number that it has for its device."""
        events: list[AnyEvent] = []
        for _ in range(count):
            self.numbers[device] += 1
            now = self.clock.now_ms()
            events.append(TelemetryReceived(device, now, "device", now, {"n": self.numbers[device]}))
        await self.put(*events)

    async def work(self) -> None:
        """Whatever can happen at this moment."""
        self.hooks.look()
        await self.hooks.settled()
        # What that told may move them again.
        await self.app.pipeline.accept([])
        await self.hooks.settled()

    async def pass_time(self, seconds: float, step: float = 30.0) -> None:
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step
            await self.work()

    async def rows(self, state: str) -> list[Delivery]:
        return [one for one in await self._rows() if one.state == state]

    async def _rows(self) -> list[Delivery]:
        from relevo.store import webhooks as store

        await self.app.pipeline.accept([])
        return await self.app.readers.run_core(store.page, "hook-1", 10_000)

    async def told_people(self) -> list[NotificationRaised]:
        from relevo.store import journal

        events = await self.app.readers.run(journal.events_from, 1, 2**31)
        return [one for _, one in events if isinstance(one, NotificationRaised)]

    async def notices(self, kind: str) -> list[Noticed]:
        from relevo.store import journal

        await self.app.pipeline.accept([])
        events = await self.app.readers.run(journal.events_from, 1, 2**31)
        return [one for _, one in events if isinstance(one, Noticed) and one.kind == kind]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    one = House(tmp_path / "data", disable_after_s=5 * 86_400)
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as one:
        yield one


def told(receiver: Receiver) -> dict[str, list[int]]:
    """What arrived, by device."""
    found: dict[str, list[int]] = defaultdict(list)
    for one in receiver.confirmed:
        found[one.data["device"]].append(one.data["values"]["n"])
    return dict(found)


def each_once(receiver: Receiver) -> bool:
    ids = [one.id for one in receiver.confirmed]
    return len(set(ids)) == len(ids)


async def test_a_reading_arrives_signed_as_the_library_of_the_receiver_wants_it(
    house: House, receiver: Receiver
) -> None:
    await house.device("m1")
    hook = await house.hook(receiver.url, headers={"X-Plant": "north"})
    await house.say("m1")
    await house.work()
    (one,) = receiver.all
    assert one.json["type"] == "telemetry"
    assert one.json["timestamp"] == "2026-01-01T00:00:00.000Z"
    assert one.data["values"] == {"n": 1}
    seq = one.data["seq"]
    assert one.id == f"msg_hook-1_{seq}"
    assert one.headers["x-plant"] == "north"
    assert one.headers["content-type"] == "application/json"
    secret = house.hooks.secret(hook)
    assert secret.startswith("whsec_")
    verify(secret, one)
    assert one.headers["x-webhook-signature"] == hexadecimal_signature(secret, one.body)
    assert (await house._rows()) == []
    assert house.hooks.standing("hook-1").position == house.app.pipeline.committed_seq


def verify(secret: str, one: Received, now: str = "webhook-timestamp") -> None:
    """As a receiver does it; the library asks the wall clock, so only the signature is compared when time stood."""
    import datetime

    at = datetime.datetime.fromtimestamp(int(one.headers[now]), datetime.UTC)
    wanted = Verifier(secret).sign(one.id, at, one.body.decode())
    if wanted not in one.headers["webhook-signature"].split(" "):
        raise WebhookVerificationError("No matching signature found")


async def test_down_for_an_hour_and_restarted_meanwhile_everything_arrives_once_and_in_order(
    house: House, receiver: Receiver
) -> None:
    devices = [f"m{n}" for n in range(5)]
    for device in devices:
        await house.device(device)
    await house.hook(receiver.url)
    for device in devices:
        await house.say(device, 3)
    await house.work()
    assert len(receiver.confirmed) == 15
    receiver.reply = no(503)
    for minute in range(60):
        for device in devices:
            await house.say(device, 2)
        await house.pass_time(60)
        if minute == 30:
            await house.again()
            await house.work()
    assert len(receiver.confirmed) == 15
    assert house.hooks.standing("hook-1").failing_since > 0
    await house.again()
    receiver.reply = ok
    await house.pass_time(HOUR, 60)
    assert told(receiver) == {device: list(range(1, 124)) for device in devices}
    assert each_once(receiver)
    assert house.hooks.waiting() == 0
    assert (await house._rows()) == []
    assert house.hooks.standing("hook-1").failing_since == 0
    await house.again()
    await house.pass_time(60)
    assert each_once(receiver)


async def test_one_failing_device_holds_back_only_its_own(house: House, receiver: Receiver) -> None:
    for device in ("good", "bad"):
        await house.device(device)
    await house.hook(receiver.url)
    receiver.reply = lambda one: web.Response(status=500 if one.data["device"] == "bad" else 200)
    for _ in range(20):
        await house.say("bad")
        await house.say("good")
        await house.work()
    assert told(receiver) == {"good": list(range(1, 21))}
    assert len(await house.rows(WAITING)) == 20
    # All settled but for rows: a restart sends none of it again.
    await house.again()
    await house.work()
    assert told(receiver) == {"good": list(range(1, 21))}
    receiver.reply = ok
    await house.pass_time(HOUR)
    assert told(receiver)["bad"] == list(range(1, 21))
    assert each_once(receiver)


async def test_beyond_the_bound_of_a_device_the_rest_are_dead_letters_while_others_arrive(
    tmp_path: Path, receiver: Receiver
) -> None:
    house = House(tmp_path / "data", waiting_per_device=5)
    await house.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(house.stop)
        for device in ("good", "bad"):
            await house.device(device)
        await house.hook(receiver.url)
        receiver.reply = lambda one: web.Response(status=500 if one.data["device"] == "bad" else 200)
        for _ in range(8):
            await house.say("bad")
            await house.say("good")
            await house.work()
        # Full: reading stops until the receiver refuses it again although it takes others.
        assert told(receiver)["good"] == [1, 2, 3, 4]
        await house.pass_time(330, 10)
        assert told(receiver)["good"] == list(range(1, 9))
        assert len(await house.rows(WAITING)) == 5
        dead = await house.rows(DEAD)
        assert [one.seq for one in dead] == sorted((one.seq for one in dead), reverse=True)
        assert [msgspec.json.decode(one.body)["data"]["values"]["n"] for one in dead] == [8, 7, 6]
        assert "wait behind one that fails, which is the limit" in dead[0].error
        assert house.hooks.dead["hook-1"] == 3


async def test_a_receiver_that_is_down_for_all_fills_the_journal_and_no_table(
    tmp_path: Path, receiver: Receiver
) -> None:
    house = House(tmp_path / "data", waiting_per_device=5)
    await house.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(house.stop)
        for device in ("m1", "m2"):
            await house.device(device)
        await house.hook(receiver.url)
        receiver.reply = no(500)
        for device in ("m1", "m2", "m1"):
            await house.say(device, 50)
            await house.work()
        assert len(await house._rows()) <= 10
        # It comes back for one before the other.
        receiver.reply = lambda one: web.Response(status=200 if one.data["device"] == "m1" else 503)
        await house.pass_time(120)
        await house.again()
        receiver.reply = ok
        await house.pass_time(600)
        assert told(receiver) == {"m1": list(range(1, 101)), "m2": list(range(1, 51))}
        assert each_once(receiver)
        assert await house.rows(DEAD) == []


async def test_after_a_day_of_failing_it_is_a_dead_letter_and_can_be_replayed(house: House, receiver: Receiver) -> None:
    await house.device("m1")
    await house.hook(receiver.url)
    receiver.reply = no(500)
    await house.say("m1", 2)
    await house.work()
    await house.pass_time(24 * HOUR + 60, 30)
    dead = await house.rows(DEAD)
    assert [one.status for one in dead] == [500, 500]
    assert dead[0].answer == "not now"
    # 10, 20, 40 … seconds apart, an hour at most, the last one at the end.
    assert 30 <= dead[1].attempts <= 34
    assert house.hooks.dead["hook-1"] == 2
    assert len(await house.notices("webhook_dead_letter")) >= 1
    receiver.reply = ok
    await house.pass_time(60)
    assert receiver.confirmed == []
    assert await house.hooks.replay("hook-1", dead[1].seq) == 1
    assert await house.hooks.replay("hook-1", dead[1].seq) == 0
    await house.work()
    assert await house.hooks.replay("hook-1") == 1
    await house.work()
    assert told(receiver) == {"m1": [1, 2]}
    assert (await house._rows()) == []
    assert house.hooks.dead["hook-1"] == 0
    assert await house.hooks.replay("hook-1") == 0


async def test_dead_letters_are_bounded_and_what_is_dropped_is_told(tmp_path: Path, receiver: Receiver) -> None:
    house = House(tmp_path / "data", dead_letters=10, give_up_s=1)
    await house.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(house.stop)
        await house.device("m1")
        await house.hook(receiver.url)
        receiver.reply = no(500)
        await house.say("m1", 30)
        for _ in range(40):
            await house.pass_time(20, 20)
        assert house.hooks.counts["dead"] == 30
        assert house.hooks.counts["dropped"] >= 19
        kept = await house.rows(DEAD)
        assert len(kept) == house.hooks.dead["hook-1"]
        assert 10 <= len(kept) <= 11
        assert msgspec.json.decode(kept[0].body)["data"]["values"]["n"] == 30
        assert "dropped, the oldest first" in (await house.notices("webhook_dead_letters_full"))[0].detail


async def test_gone_switches_it_off_at_once_and_it_goes_on_where_it_stopped(house: House, receiver: Receiver) -> None:
    await house.device("m1")
    await house.hook(receiver.url)
    receiver.reply = no(410)
    await house.say("m1")
    await house.work()
    await house.app.pipeline.accept([])
    off = house.hooks.all["hook-1"]
    assert (off.enabled, off.disabled_reason) == (False, "its receiver answered 410 Gone")
    assert len(await house.notices("webhook_disabled")) == 1
    (raised,) = await house.told_people()
    assert (raised.to, raised.severity, raised.source) == (["admin"], "warning", "webhook:hook-1")
    assert raised.title == "The webhook “Mine” was switched off"
    await house.say("m1")
    await house.work()
    assert len(receiver.all) == 1
    with pytest.raises(Conflict):
        await house.hooks.replay("hook-1")
    receiver.reply = ok
    await house.again()
    await house.change(enabled=True, disabled_reason="")
    await house.work()
    assert told(receiver) == {"m1": [1, 2]}


async def test_five_days_of_nothing_but_failure_switch_it_off(house: House, receiver: Receiver) -> None:
    await house.device("m1")
    await house.hook(receiver.url)
    receiver.reply = no(500)
    await house.say("m1")
    await house.work()
    for _ in range(6):
        await house.say("m1")
        await house.pass_time(20 * HOUR - 600, 600)
    assert house.hooks.all["hook-1"].enabled
    await house.pass_time(2 * HOUR, 600)
    assert house.hooks.all["hook-1"].disabled_reason.startswith("nothing was delivered since 2026-01-01T00:00")
    receiver.reply = ok
    await house.change(enabled=True, disabled_reason="")
    await house.work()
    assert house.hooks.all["hook-1"].enabled


async def test_retry_after_is_honoured_for_the_whole_webhook(house: House, receiver: Receiver) -> None:
    for device in ("m1", "m2"):
        await house.device(device)
    await house.hook(receiver.url)
    receiver.reply = no(429, **{"Retry-After": "600"})
    await house.say("m1")
    await house.work()
    receiver.reply = ok
    await house.say("m2")
    await house.pass_time(590)
    assert len(receiver.all) == 1
    await house.pass_time(30)
    assert told(receiver) == {"m1": [1], "m2": [1]}


async def test_a_redirect_is_not_followed(house: House, receiver: Receiver) -> None:
    await house.device("m1")
    await house.hook(receiver.url)
    receiver.reply = no(302, Location="http://127.0.0.1:1/elsewhere")
    await house.say("m1")
    await house.work()
    (one,) = await house.rows(WAITING)
    assert (one.status, one.error) == (302, "answered 302; redirects are not followed")
    assert len(receiver.all) == 1


async def test_a_private_address_is_refused_when_nobody_allowed_it(tmp_path: Path, receiver: Receiver) -> None:
    house = House(tmp_path / "data", allow_private=[])
    await house.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(house.stop)
        await house.device("m1")
        await house.hook(receiver.url)
        await house.say("m1")
        await house.work()
        assert receiver.all == []
        (one,) = await house.rows(WAITING)
        assert "which is loopback and not allowed" in one.error
        await house.change(allow_private=True)
        await house.work()
        assert told(receiver) == {"m1": [1]}


async def test_both_secrets_sign_for_a_day_after_a_rotation(house: House, receiver: Receiver) -> None:
    await house.device("m1")
    before = await house.hook(receiver.url)
    until = house.clock.now_ms() + ROTATION_MS
    await house.change(salt="b", former_salt="a", former_until=until)
    after = house.hooks.all["hook-1"]
    await house.say("m1")
    await house.work()
    house.clock.advance(24 * HOUR)
    await house.say("m1")
    await house.work()
    first, second = receiver.all
    verify(house.hooks.secret(before), first)
    verify(house.hooks.secret(after), first)
    verify(house.hooks.secret(after), second)
    with pytest.raises(WebhookVerificationError):
        verify(house.hooks.secret(before), second)
    assert house.hooks.secret(before) != house.hooks.secret(after)


async def test_it_gets_what_its_owner_may_view_and_its_scope_names(house: House, receiver: Receiver) -> None:
    await house.person("ana")
    await house.device("hers", owner="ana", tags=["roof"])
    await house.device("hers-too", owner="ana")
    await house.device("others", tags=["roof"])
    await house.hook(receiver.url, owner="ana", kinds=["telemetry", "notice"], tags=["roof"])
    for device in ("hers", "hers-too", "others"):
        await house.say(device)
    await house.work()
    assert told(receiver) == {"hers": [1]}
    await house.put(Kept(Grant("g", "ana", "device", "others", "view", "admin", 0)))
    await house.say("others")
    await house.work()
    assert told(receiver) == {"hers": [1], "others": [2]}
    await house.put(Dropped(Grant, "g"))
    await house.say("others")
    await house.work()
    assert told(receiver) == {"hers": [1], "others": [2]}


async def test_what_waits_is_withheld_when_a_share_is_taken_back(house: House, receiver: Receiver) -> None:
    await house.person("ana")
    await house.device("shared")
    await house.put(Kept(Grant("g", "ana", "device", "shared", "view", "admin", 0)))
    await house.hook(receiver.url, owner="ana")
    receiver.reply = no(500)
    await house.say("shared")
    await house.work()
    assert len(receiver.all) == 1
    receiver.reply = ok
    await house.put(Dropped(Grant, "g"))
    await house.pass_time(60)
    assert len(receiver.all) == 1
    (dead,) = await house.rows(DEAD)
    assert dead.error == "'ana' may no longer view the device"


async def test_what_a_rule_addresses_to_it_arrives_whatever_its_kinds(house: House, receiver: Receiver) -> None:
    await house.device("m1")
    await house.hook(receiver.url, kinds=[], devices=["nobody"])
    now = house.clock.now_ms()
    await house.put(
        WebhookAsked("m1", now, "hook-1", "rule:r1", {"text": "too warm"}),
        WebhookAsked("m1", now, "hook-2", "rule:r1", {"text": "for another"}),
        WebhookAsked("", now, "hook-1", "rule:r1", {"text": "about nothing"}),
    )
    await house.say("m1")
    await house.work()
    assert sorted(one.data["body"]["text"] for one in receiver.confirmed) == ["about nothing", "too warm"]
    assert {one.json["type"] for one in receiver.confirmed} == {"webhook"}


async def test_alerts_changes_and_removals_of_devices_arrive(house: House, receiver: Receiver) -> None:
    await house.device("m1")
    await house.hook(receiver.url, kinds=["alert", "device"])
    now = house.clock.now_ms()
    await house.put(
        AlertChanged("m1", now, "a1", "opened", "open", "warning", "hot", "admin", "k", "r1", "Hot", now),
        DeviceChanged("m1", now, {"name": "Meter"}),
    )
    await house.work()
    await house.put(DeviceRemoved("m1", now))
    await house.work()
    assert [one.json["type"] for one in receiver.confirmed] == ["alert", "device", "device"]
    assert receiver.confirmed[2].data["change"] == "removed"


async def test_the_form_of_thingsnxt(house: House, receiver: Receiver) -> None:
    await house.device("m1")
    hook = await house.hook(receiver.url, format="thingsnxt")
    await house.say("m1")
    await house.work()
    (one,) = receiver.all
    assert one.json == {
        "type": "telemetry_update",
        "device_id": "m1",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "data": {"n": 1},
    }
    assert one.headers["x-webhook-signature"] == hexadecimal_signature(house.hooks.secret(hook), one.body)


async def test_it_begins_with_now_and_a_trimmed_journal_is_told(house: House, receiver: Receiver) -> None:
    await house.device("m1")
    await house.say("m1", 3)
    await house.hook(receiver.url)
    await house.work()
    assert receiver.all == []
    await house.change(enabled=False)
    await house.say("m1", 6)
    held = house.hooks.progress["hook-1"].position
    real = house.hooks.means.replay
    head = house.app.pipeline.committed_seq

    async def trimmed(seq: int, limit: int) -> list[tuple[int, AnyEvent]]:
        return [one for one in await real(seq, limit) if one[0] >= head or one[0] == held + 2]

    house.hooks.means.replay = trimmed
    await house.change(enabled=True)
    await house.work()
    missed = house.hooks.counts["missed"]
    assert missed == head - held - 2
    assert len(await house.notices("webhook_gap")) == 1
    assert str(missed) in (await house.notices("webhook_gap"))[0].detail
    assert house.hooks.standing("hook-1").position == house.app.pipeline.committed_seq


async def test_notices_about_webhooks_breed_no_deliveries(house: House, receiver: Receiver) -> None:
    await house.hook(receiver.url, kinds=["notice"])
    await house.put(Noticed("", house.clock.now_ms(), "webhook_dead_letter", "x"), Noticed("", 1, "other", "y"))
    await house.work()
    assert [one.data["kind_of"] for one in receiver.confirmed] == ["other"]


async def test_a_thousand_readings_take_few_commits(house: House, receiver: Receiver) -> None:
    devices = [f"m{n}" for n in range(50)]
    for device in devices:
        await house.device(device)
    await house.hook(receiver.url)
    before = house.app.pipeline.counters.commits
    for _ in range(4):
        for device in devices:
            await house.say(device, 5)
    told_by = house.app.pipeline.counters.commits - before
    await house.work()
    assert told(receiver) == {device: list(range(1, 21)) for device in devices}
    assert house.app.pipeline.counters.commits - before - told_by < 1_000
    await house.again()
    await house.work()
    assert each_once(receiver)


async def test_a_server_that_ends_lets_what_is_underway_arrive(house: House) -> None:
    async with Receiver() as receiver:
        receiver.pause = asyncio.Event()
        await house.device("m1")
        await house.hook(receiver.url)
        await house.say("m1")
        while not receiver.all:
            await asyncio.sleep(0.001)
        asyncio.get_running_loop().call_later(0.05, receiver.pause.set)
        await house.again()
        await house.work()
        assert told(receiver) == {"m1": [1]}
        assert len(receiver.all) == 1
