"""The simulator against a real server: what it reports is what happened."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from relevo.errors import RelevoError
from relevo.simulator.http_client import HttpClient, HttpFailed
from relevo.simulator.options import Options
from relevo.simulator.run import simulate
from tests.running import ADMIN_PASSWORD, RunningServer

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that leave it running."""
    with RunningServer(tmp_path_factory.mktemp("simulated") / "data") as server:
        yield server


def options(server: RunningServer, **changes: object) -> Options:
    values: dict[str, object] = {
        "http": server.http, "mqtt_port": server.mqtt_port, "password": ADMIN_PASSWORD, "progress": False,
    }  # fmt: skip
    return Options(**(values | changes))  # type: ignore[arg-type]


async def test_a_healthy_server_has_everything_once(running: RunningServer) -> None:
    report = await simulate(options(running, devices=10, rate=200.0, duration=3.0))
    assert report.problems == []
    assert report.acknowledged == report.sent > 400
    assert (report.missing, report.duplicated, report.exit_code) == (0, 0, 0)
    assert report.readings_compared == report.sent * 4


async def test_a_killed_and_restarted_server_lost_nothing_and_has_nothing_twice(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        simulation = asyncio.create_task(simulate(options(server, devices=10, rate=300.0, duration=6.0)))
        await asyncio.sleep(2.0)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart)
        report = await simulation
    assert report.acknowledged == report.sent
    assert (report.missing, report.duplicated) == (0, 0), report.examples


async def test_claimed_water_meters_are_found_again_by_their_contract(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        report = await simulate(
            options(server, devices=4, contract="hidrometro", rate=0.45, per_device=True, duration=6.0, qos=1)
        )
    assert report.problems == []
    assert report.acknowledged == report.sent >= 4
    assert (report.missing, report.duplicated) == (0, 0), report.examples


@pytest.mark.parametrize("contract", ["native", "autocore", "emqx", "thingsnxt", "alchemy"])
async def test_devices_of_a_contract_live_as_they_do_and_do_as_they_are_told(tmp_path: Path, contract: str) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        report = await simulate(
            options(server, devices=6, contract=contract, rate=1.0, per_device=True, duration=8.0, steer=0.2)
        )
    assert report.problems == []
    assert report.sent >= 12
    assert report.acknowledged == report.sent or contract in ("alchemy", "autocore", "emqx"), report
    assert report.told == report.obeyed > 0
    found = (report.missing, report.unstored, report.duplicated, report.foreign, report.strays)
    assert found == (0, 0, 0, 0, 0), report.examples
    assert report.polls > 6 or contract not in ("thingsnxt", "alchemy")


async def test_a_count_is_kept_to_the_message(running: RunningServer) -> None:
    report = await simulate(options(running, devices=3, rate=200.0, duration=None, count=100))
    assert report.sent == report.acknowledged == 100


async def test_stopping_early_still_reports(running: RunningServer) -> None:
    stop = asyncio.Event()

    async def once_they_send() -> None:
        head = {"Authorization": f"Bearer {running.token}"}
        async with httpx.AsyncClient(base_url=running.http, headers=head, trust_env=False, timeout=30) as api:

            async def stored() -> int:
                events: int = (await api.get("/api/v1/system")).json()["counters"]["events"]
                return events

            before = await stored()
            # More than their enrolment and its lines in the audit log.
            while await stored() < before + 60:
                await asyncio.sleep(0.1)
        stop.set()

    watching = asyncio.create_task(once_they_send())
    report = await simulate(options(running, devices=3, rate=60.0, duration=None), stop=stop)
    await watching
    assert report.seconds > 0
    assert report.acknowledged == report.sent > 0
    assert report.verified
    assert report.missing == 0


async def test_a_wrong_password_says_so(running: RunningServer) -> None:
    with pytest.raises(HttpFailed, match="401"):
        await simulate(options(running, password="wrong"))


async def test_the_kept_connection_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        async with HttpClient(server.http) as http:
            assert (await http.get("/healthz")).status == 200
            await asyncio.to_thread(server.restart)
            assert (await http.get("/healthz")).status == 200


async def test_a_server_that_is_not_there_is_an_error_of_ours(unused_tcp_port: int) -> None:
    async with HttpClient(f"http://127.0.0.1:{unused_tcp_port}") as http:
        with pytest.raises(RelevoError, match="GET /healthz"):
            await http.get("/healthz")
