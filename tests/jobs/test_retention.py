"""Old lines of the audit log go, and that they went is a line itself."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.domain.events import Audited
from relevo.jobs import retention
from relevo.jobs.retention import Retention
from relevo.settings import load

pytestmark = pytest.mark.usefixtures("collector")

DAY_S = 86_400
MIDNIGHT_MS = 1_767_225_600_000


@contextlib.asynccontextmanager
async def running(data: Path, clock: ManualClock, days: int) -> AsyncIterator[Application]:
    options = {"data": data, "http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given"}
    one = Application(load(options, {"RELEVO_LIMITS__AUDIT_DAYS": str(days)}), clock)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


def job(one: Application) -> Retention:
    assert one._retention is not None
    return one._retention


async def lines(one: Application) -> list[dict[str, Any]]:
    head = {"Authorization": f"Bearer {one.local_key()}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{one.http_port}", headers=head, trust_env=False) as api:
        found: list[dict[str, Any]] = (await api.get("/api/v1/audit", params={"limit": 1000})).json()["items"]
    return found


async def write(one: Application, *targets: str) -> None:
    await one.pipeline.accept([Audited(one.clock.now_ms(), "ana", "test.done", target) for target in targets])


async def test_whole_days_go_and_one_line_tells_of_it(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_MS + 3_600_000)
    async with running(tmp_path, clock, 30) as one:
        await write(one, "old-1", "old-2")
        clock.advance(DAY_S)
        await write(one, "young")
        clock.advance(29 * DAY_S)
        # It is 30 days and some hours old, but its day is not over for as long.
        await job(one).look()
        assert [line["target"] for line in await lines(one)] == ["young", "old-2", "old-1"]
        clock.advance(DAY_S)
        await job(one).look()
        newest, *rest = await lines(one)
        assert [line["target"] for line in rest] == ["young"]
        assert (newest["by"], newest["action"], newest["outcome"]) == ("relevo", "audit.forget", "done")
        assert newest["detail"] == {"removed": 2, "older_than_days": 30}
        # Nothing to do is nothing to tell.
        await job(one).look()
        assert len(await lines(one)) == 2


async def test_what_is_gone_stays_gone_after_a_restart_and_numbers_are_not_used_again(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_MS)
    async with running(tmp_path, clock, 1) as one:
        await write(one, "old")
        clock.advance(3 * DAY_S)
        await job(one).look()
    async with running(tmp_path, clock, 1) as one:
        assert [line["action"] for line in await lines(one)] == ["audit.forget"]


async def test_many_go_in_several_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FORGOTTEN_AT_ONCE", 40)
    clock = ManualClock(MIDNIGHT_MS)
    async with running(tmp_path, clock, 365) as one:
        await write(one, *(f"old-{n}" for n in range(100)))
        # A clock that ran back: what is young by its time stays, whatever its number is.
        clock.advance(400 * DAY_S)
        await write(one, "young")
        clock.jump(-400 * DAY_S)
        await write(one, "older-again")
        clock.jump(400 * DAY_S)
        await job(one).look()
        found = await lines(one)
        assert [line["target"] for line in found if line["action"] == "test.done"] == ["young"]
        assert [line["detail"]["removed"] for line in found if line["action"] == "audit.forget"] == [21, 40, 40]


async def test_0_days_keep_it_for_ever(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_MS)
    async with running(tmp_path, clock, 0) as one:
        await write(one, "old")
        clock.advance(36_500 * DAY_S)
        await job(one).look()
        assert [line["target"] for line in await lines(one)] == ["old"]
