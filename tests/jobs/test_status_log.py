"""Contract alchemy under a clock of its own: what is kept of a device's story, and when it is gone."""

import contextlib
import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.settings import load
from tests.jobs.test_retention import DAY_S, MIDNIGHT_MS, job

SERIAL = "LMP07QK2ZD4A"


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """An application tunes the collector of its process, and this one is not its own."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@contextlib.asynccontextmanager
async def running(data: Path, clock: ManualClock, days: int) -> AsyncIterator[tuple[Application, httpx.AsyncClient]]:
    options = {"data": data, "http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given"}
    one = Application(load(options, {"RELEVO_ALCHEMY__LOG_DAYS": str(days)}), clock)
    await one.start()
    head = {"Authorization": f"Bearer {one.local_key()}"}
    base = f"http://127.0.0.1:{one.http_port}"
    try:
        async with httpx.AsyncClient(base_url=base, headers=head, trust_env=False) as api:
            yield one, api
    finally:
        await one.stop()


async def put(api: httpx.AsyncClient, number: int, state: str) -> None:
    assert (await api.put(f"/dispositivos/{number}", json={"estado": state})).status_code == 200


async def told(api: httpx.AsyncClient, number: int) -> list[Any]:
    return [one["estado"] for one in (await api.get(f"/dispositivos/{number}/logs")).json()["data"]]


async def test_lines_of_the_status_log_that_are_too_old_go(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_MS + 3_600_000)
    async with running(tmp_path, clock, 2) as (one, api):
        number = (await api.post("/dispositivos", json={"serial_number": SERIAL, "reclamado": True})).json()["id"]
        await put(api, number, "activo")
        clock.advance(DAY_S)
        await put(api, number, "inactivo")
        await job(one).look()
        assert (await told(api, number))[:2] == ["inactivo", "activo"]
        clock.advance(2 * DAY_S)
        await job(one).look()
        assert await told(api, number) == ["inactivo"]
