"""What goes for want of room and by age, under a clock of its own; the file, its limit and the forecast."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.domain.events import TelemetryReceived
from relevo.jobs import room as module
from relevo.jobs.compactor import Compactor
from relevo.jobs.room import Room
from relevo.settings import load

pytestmark = pytest.mark.usefixtures("collector")

DAY_MS = 86_400_000
NOW = 1_767_225_600_000


class House:
    def __init__(self, app: Application, api: httpx.AsyncClient) -> None:
        self.app = app
        self.api = api

    @property
    def room(self) -> Room:
        found = self.compactor._room
        assert found is not None
        return found

    @property
    def compactor(self) -> Compactor:
        assert self.app._compactor is not None
        return self.app._compactor

    async def fill(self, days: float, every_ms: int, size: int = 0, end: int = NOW) -> int:
        count = round(days * DAY_MS / every_ms)
        begin = end - count * every_ms
        for first in range(0, count, 500):
            events = []
            for n in range(first, min(first + 500, count)):
                ts = begin + n * every_ms
                # Nothing that could be packed.
                values: dict[str, Any] = {"t": n % 40, "x": (n * 0.7368062997280773) % 1}
                if size:
                    values["long"] = hashlib.shake_128(str(ts).encode()).hexdigest(size // 2)
                events.append(TelemetryReceived("d1", ts, "device", ts, values))
            await self.app.pipeline.accept(events)
        return count

    async def storage(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.get("/api/v1/system/storage")).json()
        return found

    async def points(self) -> list[Any]:
        found: list[Any] = []
        cursor = None
        while True:
            query: dict[str, Any] = {"limit": 10_000, "from": "2025-01-01"} | ({"cursor": cursor} if cursor else {})
            page = (await self.api.get("/api/v1/devices/d1/telemetry/t", params=query)).json()
            found += page["points"]
            cursor = page["next"]
            if not cursor:
                return found

    async def days(self, begin: str) -> list[Any]:
        query = {"from": begin, "aggregate": "count,min,max", "interval": "1d"}
        answer = await self.api.get("/api/v1/devices/d1/telemetry/t", params=query)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        values = found["values"]
        return [dict(zip(values, one, strict=True)) for one in zip(*values.values(), strict=True)]


@contextlib.asynccontextmanager
async def running(data: Path, clock: ManualClock, **env: str) -> AsyncIterator[House]:
    options = {"data": data, "http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given"}
    one = Application(load(options, env), clock)
    await one.start()
    assert one._compactor is not None
    # It looks when it is told to.
    await one._compactor._work.end()
    head = {"Authorization": f"Bearer {one.local_key()}"}
    base = f"http://127.0.0.1:{one.http_port}"
    try:
        async with httpx.AsyncClient(base_url=base, headers=head, trust_env=False, timeout=30) as api:
            await api.post("/api/v1/devices", json={"id": "d1", "type": "probe"})
            yield House(one, api)
    finally:
        await one.stop()


async def test_by_age_readings_become_hours_and_hours_become_days(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    env = {"RELEVO_HISTORY__RAW_DAYS": "3", "RELEVO_HISTORY__TAIL_EVENTS": "100"}
    async with running(tmp_path, clock, **env) as house:
        count = await house.fill(10, 600_000)
        await house.compactor.look()
        points = await house.points()
        assert len(points) == 3 * 144
        days = await house.days("2025-12-22")
        assert sum(one["count"] for one in days) == count
        # Another age for this type, at once, and at the next look.
        body = {"type": "probe", "key": "t", "raw_days": 1, "hours_days": 2, "days_days": 5}
        assert (await house.api.put("/api/v1/retention", json=body)).json() == body
        assert (await house.api.get("/api/v1/retention")).json() == {
            "default": {"raw_days": 3, "hours_days": 0, "days_days": 0},
            "items": [body],
        }
        await house.compactor.look()
        assert len(await house.points()) == 144
        assert sum(one["count"] for one in await house.days("2025-12-22")) == 5 * 144
    async with running(tmp_path, clock, **env) as house:
        assert (await house.api.get("/api/v1/retention")).json()["items"] == [body]
        assert (await house.api.delete("/api/v1/retention?type=probe&key=t")).status_code == 204
        assert (await house.api.delete("/api/v1/retention?type=probe&key=t")).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"raw_days": -1}, "raw_days"),
        ({"raw_days": 9, "hours_days": 3}, "raw_days"),
        ({"key": "k" * 129, "raw_days": 1}, "key"),
        ({"raw": 1}, "raw"),
    ],
)
async def test_a_wrong_age_is_refused_with_its_field(tmp_path: Path, body: dict[str, Any], field: str) -> None:
    async with running(tmp_path, ManualClock(NOW)) as house:
        answer = await house.api.put("/api/v1/retention", json=body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"].endswith(field)


async def test_near_the_limit_the_oldest_goes_first_and_the_file_becomes_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MARGIN", 200_000)
    monkeypatch.setattr("relevo.jobs.trimming._RESERVE", 100_000)
    monkeypatch.setattr(module, "_LOG", 100_000)
    clock = ManualClock(NOW)
    env = {"RELEVO_HISTORY__TAIL_EVENTS": "100", "RELEVO_HISTORY__MAX_DISK": "256MB"}
    async with running(tmp_path, clock, **env) as house:
        count = await house.fill(60, 120_000, 200)
        await house.compactor.look()
        # What readings take in the journal is not what this is about.
        assert house.compactor._trimming is not None
        house.compactor._trimming._keep = 1_000
        house.compactor._trimming.holds.clear()
        await house.compactor.look()
        whole = await house.room._in_use()
        assert house.room.oldest[0] == NOW - 60 * DAY_MS
        limit = house.room.max_disk = round(whole * 0.6)
        for _ in range(20):
            await house.compactor.look()
        assert await house.room._in_use() <= limit
        house.app.pipeline._writer.checkpoint()
        shown = await house.storage()
        assert (shown["limit_bytes"], shown["short"]) == (limit, False)
        assert shown["file_bytes"] <= limit
        points = await house.points()
        assert 0.2 * count < len(points) < 0.8 * count
        # The newest are those that are there, and the days of all of them.
        assert points[-1][0] == NOW - 120_000
        days = await house.days("2025-11-01")
        assert sum(one["count"] for one in days) == count
        assert {(one["min"], one["max"]) for one in days[1:-1]} == {(0, 39)}
        assert shown["next_to_go"]["what"] == "raw"
        assert shown["oldest"]["raw"] > "2025-11-10"


async def test_a_limit_that_cannot_be_held_is_told_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(NOW)
    async with running(tmp_path, clock, RELEVO_HISTORY__TAIL_EVENTS="100") as house:
        await house.fill(2, 120_000)
        house.room.max_disk = 1_000
        for _ in range(80):
            await house.compactor.look()
            if house.room.short:
                break
        assert (await house.storage())["short"] is True
        # The hour that is not over is there.
        assert (await house.points())[-1][0] == NOW - 120_000
        assert await house.fill(0.01, 60_000) == 14


async def test_the_forecast_is_told_before_anything_goes(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    async with running(tmp_path, clock, RELEVO_HISTORY__MAX_DISK="256MB") as house:
        assert (await house.storage())["growth_bytes_a_day"] is None
        for day in range(4):
            await house.fill(1, 60_000, 2_000, NOW + (day + 1) * DAY_MS)
            clock.advance(86_400)
            await house.compactor.look()
        shown = await house.storage()
        assert 2_000_000 < shown["growth_bytes_a_day"] < 8_000_000
        assert "2026-01-05" < shown["full_at"] < "2026-03-20"
        notices = (await house.api.get("/api/v1/notifications")).json()["items"]
        told = [one for one in notices if one["source"] == "storage"]
        near = shown["full_at"] < "2026-01-19"
        assert len(told) == (1 if near else 0)
        if not near:
            house.room.max_disk = 70_000_000
            house.room._noted_at = 0
            await house.room._note(clock.now_ms())
            notices = (await house.api.get("/api/v1/notifications")).json()["items"]
            assert [one["severity"] for one in notices if one["source"] == "storage"] == ["warning"]
