"""Messages that are wrong on purpose, at a real server: nothing acknowledged is lost, and what is wrong is counted."""

from collections.abc import Iterator

import pytest

from relevo.errors import ConfigurationError
from relevo.simulator import clocks, faults
from relevo.simulator.faults import Faults
from relevo.simulator.options import Options
from tests.running import RunningServer
from tests.simulator.faulty import faulty, healthy

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests."""
    with RunningServer(tmp_path_factory.mktemp("faulty") / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        yield server


async def test_times_of_wrong_clocks_are_replaced_and_told(running: RunningServer) -> None:
    report = await faulty(running, "stale-clock=1", devices=4, duration=None, count=40)
    assert healthy(report)
    assert report.faults == {"stale-clock": 4}
    assert set(report.noticed) == {
        "clock_before_2015", "clock_boot_relative", "clock_epoch_2000", "clock_future",
    }  # fmt: skip
    # Half of them tell the time as it is.
    assert healthy(await faulty(running, "stale-clock=0.5", devices=4, duration=None, count=40))


async def test_what_is_said_twice_is_stored_once_where_it_is_numbered(running: RunningServer) -> None:
    report = await faulty(running, "duplicates=0.5", duration=None, count=120)
    assert healthy(report)
    assert report.faults["duplicates"] > 20
    assert report.deduplicated == report.faults["duplicates"]
    assert report.readings_compared == 120 * 4


async def test_readings_out_of_order_are_all_stored(running: RunningServer) -> None:
    report = await faulty(running, "reordering=0.4", duration=None, count=120)
    assert healthy(report)
    assert report.faults["reordering"] > 20
    assert report.sent == report.acknowledged == 120


@pytest.mark.parametrize("profile", ["climate", "relay16", "meter", "poller"])
async def test_rubbish_is_refused_and_counted_and_takes_nothing_with_it(running: RunningServer, profile: str) -> None:
    # A meter tells whole seconds.
    rate = 0.9 if profile == "meter" else 20.0
    report = await faulty(running, "malformed=1", profile=profile, rate=rate, per_device=True, duration=None, count=24)
    assert healthy(report)
    # A relay board's first message is what it is, without anything before it.
    assert 24 - 6 <= report.faults["malformed"] <= 24
    assert sum(report.refused.values()) == report.faults["malformed"]


def test_faults_are_read_as_they_are_written() -> None:
    found = faults.parse(["flap=0.1,storm", "stale-clock=0.2", ""])
    assert found == Faults(flap=0.1, storm=faults.STORM_S, stale_clock=0.2)
    assert found.chosen == ["flap", "storm", "stale-clock"]
    struck = found.struck(7, 50)
    assert {kind: len(numbers) for kind, numbers in struck.items()} == {"flap": 5, "stale-clock": 10}
    assert struck == found.struck(7, 50) != found.struck(8, 50)
    assert Faults(flap=0.001).struck(1, 3)["flap"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("earthquake=0.1", "earthquake"), ("flap", "share"), ("flap=2", "0 to 1"), ("flap=x", "0 to 1"),
        ("storm=0", "0.1 to"), ("flap=0.1,flap=0.2", "twice"), ("flap=nan", "0 to 1"),
    ],
)  # fmt: skip
def test_faults_that_make_no_sense_are_named(text: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        faults.parse([text])


@pytest.mark.parametrize(
    ("profile", "fault"), [("poller", "flap=1"), ("relay16", "stale-clock=1"), ("poller", "storm")]
)
def test_a_fault_that_such_devices_cannot_have_is_refused(profile: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault.partition("=")[0]):
        Options(profile=profile, password="p", faults=faults.parse([fault])).check()


def test_wrong_clocks_tell_what_such_clocks_tell() -> None:
    start, ts = 1_767_225_600_000, 1_767_225_612_500
    assert clocks.told("1970", ts, start) == "1970-01-01T00:00:12Z"
    assert clocks.told("start", ts, start) == 12_500
    assert clocks.told("2000", ts, start) == 1_767_225_612 - 946_684_800
    assert clocks.told("ahead", ts, start) == ts + 3 * 86_400_000
    assert [clocks.told(kind, ts, start, seconds=True) for kind in ("1970", "start")] == [12, 12]
