"""Delivery by a clock moved by hand: held, merged, tried again, told, and gone on with after a restart."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relevo import app as application
from relevo.app import Application
from relevo.clock import ManualClock
from relevo.domain.accounts import Account
from relevo.domain.channels import WAITING_MOST, Channel
from relevo.domain.events import DeviceChanged, DeviceRegistered
from relevo.domain.grants import Grant
from relevo.domain.notices import NoticePreferences
from relevo.domain.records import Dropped, Kept
from relevo.domain.timetables import DAYS, Window
from relevo.sending.process import Outcome
from relevo.settings import load
from relevo.store import inbox
from tests.post import MailServer, text_of

pytestmark = pytest.mark.usefixtures("collector")

NIGHT = Window(DAYS, "22:00", "07:00")
HOUR = 3_600
OK, LATER, NEVER = Outcome(True), Outcome(False, "busy", False), Outcome(False, "no such hook", True)


class Post:
    """Takes messages instead of the process, or says what is in ``answers``."""

    def __init__(self) -> None:
        self.outcome = OK
        self.sent: list[tuple[str, list[str], int]] = []
        self.tried = 0

    async def send(self, kind: str, url: str, message: dict[str, Any], within_s: float) -> Outcome:
        self.tried += 1
        if self.outcome.ok:
            self.sent.append((url, [one["title"] for one in message["notices"]], message["more"]))
        return self.outcome

    async def stop(self) -> None:
        pass

    @property
    def titles(self) -> list[list[str]]:
        return [titles for _, titles, _ in self.sent]


@pytest.fixture
def clock() -> ManualClock:
    """2026-01-15, noon in Madrid."""
    return ManualClock(1_768_474_800_000)


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    one = Post()
    monkeypatch.setattr(application, "SendingProcess", lambda *_: one)
    return one


@contextlib.asynccontextmanager
async def running(data: Path, clock: ManualClock, **options: Any) -> AsyncIterator[Application]:
    free = {"http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given", "data": data}
    told = {f"notifications.{name}": value for name, value in options.items()}
    one = Application(load(free | told, {}), clock)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def settle(one: Application) -> None:
    """Until nothing is due that may leave."""
    assert one._notifier is not None
    while True:
        await one.pipeline.accept([])
        one._notifier.look()
        tasks = list(one._notifier._tasks.values())
        if not tasks:
            return
        await asyncio.gather(*tasks)


async def person(one: Application, name: str, url: str = "json://hook/", **wants: Any) -> Channel:
    """A person with one channel."""
    preferences = msgspec.structs.replace(NoticePreferences(name, zone="Europe/Madrid"), **wants)
    channel = Channel(f"of-{name}", name, "mine", url.partition(":")[0].replace("mailto", "email"), url, 1)
    account = Account(name, "operator", "x", 0)
    await one.pipeline.accept([Kept(account), Kept(preferences), Kept(channel)])
    return channel


async def tell(one: Application, title: str, severity: str = "info", **more: Any) -> str:
    return await one.notifications.raise_(severity, "rule:r1", title, **{"to": ["ana"], **more})


async def listed(one: Application, account: str) -> list[tuple[str, int]]:
    rows = await one.readers.run_core(inbox.page, account, 100)
    return [(row["title"], row["count"]) for row in rows]


async def test_quiet_hours_hold_until_the_morning_and_then_send_one_digest_by_mail(
    tmp_path: Path, clock: ManualClock
) -> None:
    with MailServer() as mails:
        told = {"smtp_url": mails.url, "mail_from": "relevo@example.org"}
        async with running(tmp_path / "data", clock, **told) as one:
            await person(one, "ana", "mailto:ana@example.org", language="es", quiet=[NIGHT])
            clock.advance(11 * HOUR)
            await tell(one, "Puerta abierta", text="Garaje")
            await tell(one, "Batería baja", "warning")
            await tell(one, "Fuga de agua", "critical")
            await settle(one)
            assert mails.subjects == ["[Crítico] Fuga de agua"]
            clock.advance(8 * HOUR - 1)
            await settle(one)
            assert len(mails.mails) == 1
            clock.advance(1)
            await settle(one)
            assert mails.subjects[1:] == ["[Advertencia] 2 notificaciones"]
            digest = text_of(mails.mails[1])
            assert digest.index("Puerta abierta") < digest.index("Batería baja")
            assert "15 ene 2026, 23:00:00 (Europe/Madrid)" in digest


async def test_a_daily_digest_waits_for_its_hour(tmp_path: Path, clock: ManualClock, post: Post) -> None:
    async with running(tmp_path / "data", clock) as one:
        await person(one, "ana", digest="daily", digest_at="18:00", severities={"warning": "now"})
        for n in range(3):
            await tell(one, f"n{n}")
        await tell(one, "w", "warning")
        await settle(one)
        assert post.titles == [["w"]]
        clock.advance(6 * HOUR)
        await settle(one)
        assert post.titles == [["w"], ["n0", "n1", "n2"]]


async def test_what_is_more_than_a_channel_may_get_leaves_as_one_digest(
    tmp_path: Path, clock: ManualClock, post: Post
) -> None:
    async with running(tmp_path / "data", clock, per_minute=2) as one:
        await person(one, "ana")
        for n in range(6):
            await tell(one, f"n{n}")
            await settle(one)
        assert post.titles == [["n0"], ["n1"]]
        clock.advance(61)
        await settle(one)
        assert post.titles[2:] == [["n2", "n3", "n4", "n5"]]


async def test_a_flood_is_bounded_and_every_one_of_it_counted(tmp_path: Path, clock: ManualClock, post: Post) -> None:
    async with running(tmp_path / "data", clock) as one:
        await person(one, "ana", quiet=[Window(DAYS, "00:00", "23:59")])
        many = WAITING_MOST + 150
        for n in range(many):
            await tell(one, f"n{n}")
        assert len(one.notifications.waiting["of-ana"]) == WAITING_MOST
        assert one.notifications.waits() == many
    # What is counted is counted on the disk as well.
    async with running(tmp_path / "data", clock) as one:
        assert one.notifications.waits() == many
        clock.advance(12 * HOUR - 60)
        await settle(one)
        ((_, titles, more),) = post.sent
        assert len(titles) + more == many


async def test_a_temporary_failure_is_tried_for_a_day_then_told_once(
    tmp_path: Path, clock: ManualClock, post: Post
) -> None:
    async with running(tmp_path / "data", clock) as one:
        await person(one, "ana")
        post.outcome = LATER
        await tell(one, "lost")
        await settle(one)
        begun = clock.now_ms()
        tried = [begun]
        while one.notifications.waits():
            before = post.tried
            clock.advance(20)
            await settle(one)
            if post.tried > before:
                tried.append(clock.now_ms())
            assert clock.now_ms() - begun < 26 * HOUR * 1000
        pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
        assert pauses[0] <= 60_000
        assert max(pauses) <= 4_520_000
        assert tried[-1] - begun >= 24 * HOUR * 1000
        assert 24 <= len(tried) <= 60
        health = one.notifications.health_of("of-ana")
        assert (health.failing_since, health.error) == (begun, "busy")
        assert [title for title, _ in await listed(one, "ana")] == ["The channel “mine” is failing", "lost"]
        # A second one is not told again; when it works, what piled up leaves as a digest and all is well.
        await tell(one, "a")
        await tell(one, "b")
        post.outcome = OK
        clock.advance(2 * HOUR)
        await settle(one)
        assert post.titles == [["a", "b"]]
        assert one.notifications.health_of("of-ana").failing_since == 0
        assert len(await listed(one, "ana")) == 4


async def test_what_is_no_use_to_try_again_ends_at_once_and_is_told_once(
    tmp_path: Path, clock: ManualClock, post: Post
) -> None:
    async with running(tmp_path / "data", clock) as one:
        await person(one, "ana", language="pt")
        post.outcome = NEVER
        for title in ("first", "second"):
            await tell(one, title)
            await settle(one)
        assert post.tried == 2
        assert one.notifications.waits() == 0
        assert [title for title, _ in await listed(one, "ana")] == [
            "second", "O canal “mine” está falhando", "first"
        ]  # fmt: skip
        assert one._notifier is not None
        assert one._notifier.counts == {"failed": 2, "given_up": 2}


async def test_a_failure_is_gone_on_with_after_a_restart(tmp_path: Path, clock: ManualClock, post: Post) -> None:
    async with running(tmp_path / "data", clock) as one:
        await person(one, "ana")
        post.outcome = LATER
        await tell(one, "kept")
        await settle(one)
        (entry,) = one.notifications.waiting["of-ana"].values()
        assert (entry.attempts, entry.tried_at) == (1, clock.now_ms())
    post.outcome = OK
    async with running(tmp_path / "data", clock) as one:
        await settle(one)
        assert post.sent == []
        clock.advance(60)
        await settle(one)
        assert post.titles == [["kept"]]
    async with running(tmp_path / "data", clock) as one:
        clock.advance(60)
        await settle(one)
        assert post.titles == [["kept"]]


async def test_quiet_hours_that_begin_while_it_is_tried_again_hold_it(
    tmp_path: Path, clock: ManualClock, post: Post
) -> None:
    async with running(tmp_path / "data", clock) as one:
        await person(one, "ana", quiet=[NIGHT])
        clock.advance(10 * HOUR - 10)
        post.outcome = LATER
        await tell(one, "evening")
        await settle(one)
        post.outcome = OK
        clock.advance(HOUR)
        await settle(one)
        assert post.sent == []
        clock.advance(8 * HOUR + 10)
        await settle(one)
        assert post.titles == [["evening"]]


async def test_the_same_within_a_minute_is_counted_also_over_a_restart(
    tmp_path: Path, clock: ManualClock, post: Post
) -> None:
    async with running(tmp_path / "data", clock) as one:
        await person(one, "ana")
        first = await tell(one, "flaps", key="r1:d1")
        assert await tell(one, "flaps", key="r1:d1") == first
        await settle(one)
    async with running(tmp_path / "data", clock) as one:
        clock.advance(59)
        assert await tell(one, "flaps", key="r1:d1") == first
        assert await tell(one, "flaps", key="r1:d2") != first
        clock.advance(1)
        assert await tell(one, "flaps", key="r1:d1") != first
        await settle(one)
        assert await listed(one, "ana") == [("flaps", 1), ("flaps", 1), ("flaps", 3)]
        assert sum(len(titles) for titles in post.titles) == 3


async def test_whoever_may_view_the_device_and_wants_it_finds_it(
    tmp_path: Path, clock: ManualClock, post: Post
) -> None:
    async with running(tmp_path / "data", clock) as one:
        for name in ("ana", "ben", "eva", "off"):
            await person(one, name, severities={"info": "off"} if name == "off" else {})
        now = clock.now_ms()
        registered = DeviceRegistered("d1", "native", "d1", "Pump 1", "pump", now, owner="ana")
        shares = [Kept(Grant(name, name, "device", "d1", "view", "ana", now)) for name in ("ben", "off")]
        await one.pipeline.accept([registered, *shares])
        assert one.notifications.addressees("info", "d1") == ["admin", "ana", "ben"]
        assert one.notifications.addressees("warning", "d1") == ["admin", "ana", "ben", "off"]
        mine = Kept(NoticePreferences("admin", scope="mine"))
        await one.pipeline.accept([mine, Dropped(Grant, "ben")])
        assert one.notifications.addressees("info", "d1") == ["ana"]
        # What belongs to nobody is an administrator's.
        await one.pipeline.accept([DeviceChanged("d1", now, {"owner": ""})])
        assert one.notifications.addressees("info", "d1") == ["admin"]
        assert one.notifications.addressees("info", "") == ["admin"]
        assert one.notifications.addressees("info", "no-such-device") == []
        assert one.notifications.addressees("info", "d1", ["ben", "nobody"]) == ["ben"]


async def test_each_inbox_is_bounded_by_number_and_by_age(tmp_path: Path, clock: ManualClock, post: Post) -> None:
    bounds = {"kept_per_person": 10, "kept_days": 2}
    async with running(tmp_path / "data", clock, **bounds) as one:
        await person(one, "ana")
        for n in range(15):
            await tell(one, f"n{n}", to=["ana", "admin"])
        assert [title for title, _ in await listed(one, "ana")] == [f"n{n}" for n in range(14, 4, -1)]
        clock.advance(2 * 24 * HOUR)
        await tell(one, "new")
        clock.advance(1)
        assert one._notifier is not None
        await one._notifier.sweep()
        await one.pipeline.accept([])
        assert await listed(one, "ana") == [("new", 1)]
        assert await listed(one, "admin") == []


async def test_what_belongs_to_an_account_goes_with_it(tmp_path: Path, clock: ManualClock, post: Post) -> None:
    async with running(tmp_path / "data", clock) as one:
        await person(one, "ana", quiet=[Window(DAYS, "00:00", "23:00")])
        await tell(one, "held")
        await one.pipeline.accept([Dropped(Account, "ana"), *one.notifications.belongings("ana")])
        kept = one.notifications
        assert (kept.waits(), kept.channels, kept.preferences, await listed(one, "ana")) == (0, {}, {}, [])
        clock.advance(24 * HOUR)
        await settle(one)
        assert post.tried == 0
