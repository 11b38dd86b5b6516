"""The demo's devices against a real server in the lab profile."""

import asyncio
from pathlib import Path

import pytest

from relevo.simulator.cast import members
from relevo.simulator.demo import run_demo_devices
from tests.running import RunningServer

pytestmark = pytest.mark.timeout(90)


async def run_for(server: RunningServer, seconds: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await run_demo_devices(server.http, f"127.0.0.1:{server.mqtt_port}", server.token, stop)


async def test_everybody_lives_and_the_garden_meter_waits_to_be_claimed(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        await run_for(server, 8.0)
        items = server.api.get("/api/v1/devices", params={"limit": 100}).json()["items"]
        unclaimed = server.api.get("/api/v1/unclaimed").json()
    registered = {item["name"]: item for item in items}
    for member in members():
        if member.manner == "stranger":
            assert member.id in str(unclaimed)
        else:
            assert registered[member.name]["latest"], f"{member.name} said nothing"


async def test_the_demo_starts_a_second_time_on_the_same_data(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        await run_for(server, 1.0)
        server.restart()
        before = server.api.get("/api/v1/devices/boiler").json()["last_seen"]
        await run_for(server, 6.0)
        after = server.api.get("/api/v1/devices/boiler").json()["last_seen"]
    assert after is not None
    assert after != before


async def test_a_command_to_the_relay_board_is_obeyed_and_answered(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        if "/api/v1/devices/{device_id}/commands" not in server.api.get("/openapi.json").json()["paths"]:
            pytest.skip("the server has no commands yet")
        stop = asyncio.Event()
        token = server.token
        demo = asyncio.create_task(run_demo_devices(server.http, f"127.0.0.1:{server.mqtt_port}", token, stop))
        try:
            await asyncio.sleep(6.0)
            answer = await asyncio.to_thread(
                server.api.post,
                "/api/v1/devices/relay-board/commands",
                params={"wait": 10},
                json={"name": "set", "params": {"relay_3": True}},
            )
        finally:
            stop.set()
            await demo
    assert answer.status_code < 300, answer.text
    assert answer.json()["state"] == "confirmed"
