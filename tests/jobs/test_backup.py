"""Backups come when they are due, go when they are not kept, and a failure is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.errors import Conflict, NotFound, StoreUnavailable
from relevo.jobs import backup
from relevo.jobs.backup import Backups
from relevo.restoring import restore
from relevo.settings import load
from relevo.store import backup as made_by
from relevo.store.archive import Archive

pytestmark = pytest.mark.usefixtures("collector")

HOUR_S = 3_600
MIDNIGHT_MS = 1_767_225_600_000


@contextlib.asynccontextmanager
async def running(data: Path, clock: ManualClock, **more: str) -> AsyncIterator[Application]:
    options = {"data": data, "http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given"}
    env = {"RELEVO_BACKUP__EVERY_H": "24"} | {f"RELEVO_BACKUP__{name.upper()}": value for name, value in more.items()}
    one = Application(load(options, env), clock)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def job(one: Application) -> Backups:
    """The job, of which nothing happens any more but what is asked of it."""
    found = one._backups
    assert found is not None
    await found._look.end()
    if found._making is not None:
        await asyncio.gather(found._making, return_exceptions=True)
    return found


async def names(one: Backups) -> list[str]:
    return [file.name for file in await one.files()]


async def test_one_is_made_when_it_is_due_and_old_ones_go(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_MS)
    async with running(tmp_path / "data", clock, directory=str(tmp_path / "disk"), daily="2", weekly="0") as one:
        backups = await job(one)
        await backups.look()
        first = "relevo-2026-01-01T00-00-00Z.relevo"
        assert await names(backups) == [first]
        clock.advance(23 * HOUR_S)
        await backups.look()
        assert await names(backups) == [first]
        assert backups.figures()["age_s"] == 23 * HOUR_S
        for _ in range(3):
            clock.advance(25 * HOUR_S)
            await backups.look()
        # Of this month the newest, which is one of the two days.
        assert await names(backups) == ["relevo-2026-01-05T02-00-00Z.relevo", "relevo-2026-01-04T01-00-00Z.relevo"]
        assert sorted(file.name for file in (tmp_path / "disk").iterdir()) == sorted(await names(backups))
        assert backups.figures()["made"] == 4
        newest = backups.file((await names(backups))[0])
        with Archive(newest) as archive:
            archive.verify()
        assert restore(newest, tmp_path / "elsewhere", clock.now_ms()).manifest.users == 1


async def test_two_in_the_same_second_are_two(tmp_path: Path) -> None:
    async with running(tmp_path, ManualClock(MIDNIGHT_MS)) as one:
        backups = await job(one)
        for _ in range(2):
            await backups.begin()
        assert backups.error == ""
        assert sorted(await names(backups)) == [
            "relevo-2026-01-01T00-00-00Z.relevo",
            "relevo-2026-01-01T00-00-01Z.relevo",
        ]


async def test_a_restart_knows_what_there_is(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_MS)
    async with running(tmp_path, clock) as one:
        backups = await job(one)
        await backups.look()
    clock.advance(HOUR_S)
    async with running(tmp_path, clock) as one:
        backups = await job(one)
        await backups.look()
        figures = backups.figures()
        assert (figures["age_s"], figures["made"], figures["failed"]) == (HOUR_S, 0, 0)
        assert (tmp_path / "backups" / "relevo-2026-01-01T00-00-00Z.relevo").stat().st_mode & 0o777 == 0o600


async def test_a_failure_is_told_once_a_day_and_removes_nothing(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_MS)
    disk = tmp_path / "disk"
    async with running(tmp_path / "data", clock, directory=str(disk)) as one:
        backups = await job(one)
        await backups.look()
        assert len(await names(backups)) == 1
        clock.advance(24 * HOUR_S)
        kept = disk.rename(tmp_path / "unplugged")
        disk.write_text("in the way")
        for _ in range(5):
            await backups.look()
            clock.advance(HOUR_S)
        figures = backups.figures()
        assert figures["failed"] == 5
        assert "File exists" in figures["error"]
        assert one.notifications.raised == 1
        clock.advance(24 * HOUR_S)
        await backups.look()
        assert one.notifications.raised == 2
        disk.unlink()
        kept.rename(disk)
        clock.advance(HOUR_S)
        await backups.look()
        assert len(await names(backups)) == 2
        assert backups.figures()["error"] == ""


async def test_a_damaged_database_is_told_instead_of_kept(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_MS)
    async with running(tmp_path, clock) as one:
        backups = await job(one)
        await backups.look()
        await one.stop()
    file = tmp_path / "relevo.db"
    content = bytearray(file.read_bytes())
    # In the middle of a page, where cells are.
    content[40 * 4096 : 41 * 4096] = bytes(range(256)) * 16
    file.write_bytes(content)
    with pytest.raises(made_by.Damaged, match="damaged"):
        made_by.make(tmp_path, tmp_path / "x.relevo")
    assert not list(tmp_path.glob("x.relevo*"))


async def test_there_are_never_two_at_once_and_one_that_is_ended_leaves_nothing_half(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_MS)
    async with running(tmp_path, clock) as one:
        backups = await job(one)
        with made_by.alone(tmp_path):
            with pytest.raises(StoreUnavailable, match="another backup of"):
                await backups.begin()
        assert backups.figures()["failed"] == 1
        task = backups.begin()
        with pytest.raises(Conflict):
            backups.begin()
        while backups.progress is None:
            await asyncio.sleep(0.01)
        await backups.stop()
        assert task.cancelled()
        # Where it was quicker, it is whole.
        for file in backups.folder.iterdir():
            with Archive(file) as archive:
                archive.verify()
        clock.advance(HOUR_S)
        left = backups.folder / "relevo-2025-01-01T00-00-00Z.relevo.copying"
        left.write_bytes(b"of one that was killed")
        await backups.begin()
        assert not left.exists()


@pytest.mark.parametrize(
    "name",
    ["../data/secret.key", "relevo-2026-01-01T00-00-00Z.relevo/..", "relevo-2026-13-01T00-00-00Z.relevo", "x", ""],
)
def test_a_name_that_is_no_backup_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        Backups(tmp_path, load({}, {}).backup, None, ManualClock()).file(name)  # type: ignore[arg-type]


def test_hours_are_those_of_the_names() -> None:
    assert backup._created("relevo-2026-01-01T00-00-00Z.relevo") == MIDNIGHT_MS
