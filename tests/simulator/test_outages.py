"""Connections that break, keys that are wrong and answers that are lost, at a real server."""

from collections.abc import Iterator

import pytest

from tests.running import RunningServer
from tests.simulator.faulty import faulty, healthy

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests."""
    with RunningServer(tmp_path_factory.mktemp("faulty") / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        yield server


async def test_connections_that_drop_lose_nothing_and_store_nothing_twice(running: RunningServer) -> None:
    report = await faulty(running, "flap=1", duration=6.0)
    assert healthy(report)
    assert report.faults["flap"] >= 1
    assert report.acknowledged == report.sent


async def test_everybody_comes_back_at_once(running: RunningServer) -> None:
    report = await faulty(running, "storm=1", devices=40, rate=200.0, duration=4.0)
    assert healthy(report)
    assert report.faults["storm"] >= 1
    assert report.acknowledged == report.sent


async def test_nobody_with_a_wrong_key_gets_in(running: RunningServer) -> None:
    for profile in ("climate", "poller"):
        report = await faulty(running, "wrong-key=0.5", profile=profile, devices=4, rate=4.0, duration=4.0)
        assert healthy(report)
        assert report.faults["wrong-key"] >= 2
        assert sum(report.refused.values()) >= 2


async def test_answers_and_acknowledgements_that_are_lost_become_no_success(running: RunningServer) -> None:
    report = await faulty(running, "lost-answers=0.4", steer=0.1, rate=20.0, duration=4.0)
    assert healthy(report)
    assert report.faults["lost-answers"] >= 1
    assert report.faults["lost-acknowledgements"] >= 1
    assert report.deduplicated >= 1
    # One may be on its way at the end.
    assert report.told == report.obeyed
    assert report.told <= sum(report.commands.values()) <= report.told + 1
    lost = sum(report.commands.values()) - report.commands.get("confirmed", 0)
    assert report.faults["lost-answers"] <= lost <= report.faults["lost-answers"] + 1


async def test_all_at_once(running: RunningServer) -> None:
    every = (
        "flap=0.3,storm=2,stale-clock=0.2,duplicates=0.1,reordering=0.1,malformed=0.1,wrong-key=0.1,lost-answers=0.1"
    )
    report = await faulty(running, every, devices=20, rate=100.0, duration=6.0, steer=0.5)
    assert healthy(report)
    assert report.acknowledged == report.sent
    assert {"storm", "stale-clock", "duplicates", "reordering", "malformed", "wrong-key"} <= set(report.faults)


async def test_a_ramp_leaves_the_start_out_of_the_figures(running: RunningServer) -> None:
    report = await faulty(running, "", devices=10, rate=1.0, per_device=True, ramp=3.0, duration=2.0)
    assert healthy(report)
    assert report.ramp == 3.0
    assert report.seconds >= 5.0
    assert report.sent > report.rate * (report.seconds - report.ramp) > 0
