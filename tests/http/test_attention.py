"""The first page's one answer: what needs somebody, of the devices that one may view, and nothing of the others."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.domain.events import (
    CommandEnded,
    CommandQueued,
    CommandSent,
    DeviceRegistered,
)
from relevo.settings import load
from relevo.store import commands
from tests.http.problems import problem

PATH = "/api/v1/attention"
PASSWORD = "a-long-enough-one"


@contextlib.asynccontextmanager
async def running(
    data: Path, clock: ManualClock, **options: Any
) -> AsyncIterator[tuple[Application, httpx.AsyncClient]]:
    free = {"http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given-long-enough"}
    one = Application(load({"data": data, **free, **options}, {}), clock)
    await one.start()
    headers = {"Authorization": f"Bearer {one.local_key()}"}
    address = f"http://127.0.0.1:{one.http_port}"
    async with httpx.AsyncClient(base_url=address, headers=headers, trust_env=False, timeout=20) as api:
        try:
            yield one, api
        finally:
            await one.stop()


async def enter(api: httpx.AsyncClient, app: Application, name: str, role: str) -> httpx.AsyncClient:
    await api.post("/api/v1/users", json={"name": name, "password": PASSWORD, "role": role})
    client = httpx.AsyncClient(base_url=api.base_url, trust_env=False, timeout=20)
    answer = await client.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


def registered(app: Application, device: str, owner: str) -> DeviceRegistered:
    now = app.clock.now_ms()
    return DeviceRegistered(device, "native", device, device, "t", now, "", owner, [], {}, owner, "")


async def wrong_command(app: Application, command: str, device: str, state: str) -> None:
    now = app.clock.now_ms()
    sent = [] if state == "expired" else [CommandSent(device, command, now, "mqtt", 0)]
    await app.pipeline.accept(
        [
            CommandQueued(device, command, now, "turn", {}, "admin", "user", now + 60_000),
            *sent,
            CommandEnded(device, command, now, state, "because"),
        ]
    )


async def test_it_holds_what_needs_somebody_and_of_others_devices_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock) as (app, api):
        viewer = await enter(api, app, "vera", "viewer")
        operator = await enter(api, app, "otto", "operator")
        now = clock.now_ms()
        await app.pipeline.accept([registered(app, "hers", "vera"), registered(app, "his", "otto")])
        await app.pipeline.accept([registered(app, f"never-{n}", "otto") for n in range(25)])
        assert (await api.post("/api/v1/devices/hers/telemetry", json={"v": 1})).json()["stored"] == 1
        assert (await api.post("/api/v1/devices/his/telemetry", json={"v": 1})).json()["stored"] == 1
        there = (await api.get(PATH)).json()
        assert (there["alerts"], there["commands"]["items"], there["never_seen"]["count"]) == (
            {"count": 0, "items": []},
            [],
            25,
        )
        assert len(there["never_seen"]["items"]) == 20
        for n, device in enumerate(("hers", "his")):
            await wrong_command(app, f"c{n}", device, ("failed", "timed_out")[n])
        await wrong_command(app, "good", "his", "confirmed")
        for n in range(30):
            clock.advance(1)
            await wrong_command(app, f"x{n}", "his", "expired")
        found = (await api.get(PATH)).json()
        assert [one["id"] for one in found["commands"]["items"]] == [f"x{n}" for n in range(29, 9, -1)]
        of_viewer = (await viewer.get(PATH)).json()
        assert [(one["id"], one["state"]) for one in of_viewer["commands"]["items"]] == [("c0", "failed")]
        assert (of_viewer["unclaimed"], of_viewer["storage"], of_viewer["switches"], of_viewer["backup"]) == (None,) * 4
        assert (of_viewer["rollouts"], found["rollouts"]) == (None, [])
        assert of_viewer["never_seen"]["count"] == 0
        assert (await operator.get(PATH)).json()["unclaimed"] == 0
        assert found["switches"] == ["open_reads"]
        # A day later nothing of it is news.
        clock.advance(86_401)
        assert (await api.get(PATH)).json()["commands"]["items"] == []
        await viewer.aclose()
        await operator.aclose()
    assert now


async def test_the_commands_that_went_wrong_are_found_by_an_index(tmp_path: Path) -> None:
    async with running(tmp_path, ManualClock()) as (app, _):

        def plan(core: Any) -> str:
            asked = commands.gone_wrong_query(5, 20, ["a", "b"])
            words = asked.compile(core, compile_kwargs={"literal_binds": True})
            return " ".join(row[3] for row in core.execute(text(f"EXPLAIN QUERY PLAN {words}")))

        found = await app.readers.run_core(plan)
        assert "commands_wrong" in found
        assert "SCAN" not in found
        assert "TEMP B-TREE" not in found
        assert await app.readers.run_core(commands.gone_wrong, 0, 20) == []


async def test_nobody_is_told_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, ManualClock()) as (_, api), httpx.AsyncClient(trust_env=False) as nobody:
        problem(await nobody.get(f"{api.base_url}{PATH}"), 401)


@pytest.mark.parametrize("overdue", [False, True])
async def test_a_backup_that_is_late_is_told(tmp_path: Path, overdue: bool) -> None:
    clock = ManualClock()
    # A folder in which none can be made.
    (tmp_path / "not-a-folder").write_text("")
    env = {"backup.every_h": 24 if overdue else 0, "backup.directory": str(tmp_path / "not-a-folder")}
    async with running(tmp_path / "data", clock, **env) as (_, api):
        assert (await api.get(PATH)).json()["backup"] is None
        clock.advance(7_300)
        found = (await api.get(PATH)).json()["backup"]
        assert (found is not None) is overdue
        if found is not None:
            assert (found["every_h"], found["last_at"]) == (24, None)


async def test_open_switches_are_told_to_administrators(tmp_path: Path) -> None:
    options = {"open_registration": True, "open_reads": True, "history.max_disk": "1GB"}
    async with running(tmp_path, ManualClock(), **options) as (app, api):
        assert (await api.get(PATH)).json()["switches"] == ["open_registration", "open_reads"]
        await app.pipeline.accept([registered(app, "big", "admin")])
        assert (await api.get(PATH)).json()["storage"] is None
