"""What kinds of devices measure and do."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from relevo.clock import SystemClock
from relevo.errors import ConfigurationError
from relevo.simulator.climate import Climate, warmth
from relevo.simulator.gear import Enrolled, Gear, Tally
from relevo.simulator.generators import Counter, source
from relevo.simulator.household import Household
from relevo.simulator.options import Options
from relevo.simulator.profiles import PROFILES, RelayBoard, profile_named
from tests.running import RunningServer
from tests.simulator.faulty import faulty, healthy

pytestmark = pytest.mark.timeout(90)
MIDNIGHT = 1_767_225_600.0
DAY = 86_400


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests."""
    with RunningServer(tmp_path_factory.mktemp("profiles") / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        yield server


@pytest.mark.parametrize("profile", sorted(PROFILES))
async def test_a_profile_lives_as_it_does_and_does_as_it_is_told(running: RunningServer, profile: str) -> None:
    rate = 0.9 if profile == "meter" else 2.0
    report = await faulty(running, "", profile=profile, devices=4, rate=rate, per_device=True, duration=5.0, steer=0.2)
    assert healthy(report)
    assert report.contract == PROFILES[profile].name
    assert report.profile == profile
    assert report.told == report.obeyed > 0
    # What a meter says every second at QoS 0 is a row every ten.
    assert report.unstored == 0 or profile == "meter"


def gear() -> Gear:
    return Gear("http://127.0.0.1:1", "127.0.0.1", 1, SystemClock(), Tally())


def test_a_household_sleeps_at_night_and_uses_what_people_use() -> None:
    days = []
    for number in range(20):
        house = Household(source(1, f"house-{number}", "household"))
        total = Counter(source(1, "meter", "total"), house)
        hours = [0.0] * 24
        before = total.at(MIDNIGHT)
        for step in range(10, DAY, 10):
            now = total.at(MIDNIGHT + step)
            assert now >= before
            hours[step // 3600] += now - before
            before = now
        days.append(hours)
    litres = [sum(hours) for hours in days]
    assert all(30 < one < 2_500 for one in litres), litres
    assert 150 < sum(litres) / len(litres) < 900
    night = sum(hours[hour] for hours in days for hour in range(2, 4))
    morning = sum(hours[hour] for hours in days for hour in range(7, 9))
    assert night * 5 < morning


def test_a_household_is_the_same_however_often_it_is_asked() -> None:
    often, seldom = (Household(source(1, "house", "household")) for _ in range(2))
    every = {step: often.at(MIDNIGHT + step) for step in range(40_000)}
    assert any(every.values())
    for step in range(0, 40_000, 50):
        assert seldom.at(MIDNIGHT + step) == every[step]


def test_a_room_is_warm_by_day_dry_when_warm_and_its_battery_runs_down() -> None:
    sensor = Climate(Enrolled("room", "room"), gear())
    taken = [sensor.measure(MIDNIGHT + hour * 3_600) for hour in range(24 * 45)]
    by_hour = [float(one["temperature_c"]) for one in taken[:24]]
    assert max(by_hour) == max(by_hour[12:22])
    assert min(by_hour) == min(by_hour[:7])
    assert taken[20]["humidity_pct"] < taken[5]["humidity_pct"]
    charge = [float(one["battery_pct"]) for one in taken]
    changed = [n for n, (one, after) in enumerate(pairwise(charge)) if after > one]
    # Forty days last, so it is changed once or twice in forty-five.
    assert 1 <= len(changed) <= 2
    assert all(3.3 <= one["battery_v"] <= 4.2 for one in taken)


@pytest.mark.parametrize("at", [6 * 3_600, 22 * 3_600, 0])
def test_a_room_changes_without_a_jump(at: int) -> None:
    assert warmth(at) == pytest.approx(warmth((at - 1) % DAY), abs=0.001)
    assert 0 <= warmth(at) <= 1


def test_a_relay_board_draws_what_its_relays_draw() -> None:
    board = RelayBoard(Enrolled("relay", "relay", number=2), gear())
    assert board.speech == "seed"
    off = float(board.figures(MIDNIGHT)["supply_a"])
    for channel in range(1, 17):
        board.state[f"relay_{channel}"] = True
    assert float(board.figures(MIDNIGHT + 10)["supply_a"]) > off + 1.0


def test_a_profile_says_its_contract() -> None:
    assert Options(profile="relay16").kind.name == "autocore"
    assert Options(profile="relay16", contract="autocore").kind.name == "autocore"
    with pytest.raises(ConfigurationError, match="speaks autocore, not emqx"):
        Options(profile="relay16", contract="emqx", password="p").check()
    with pytest.raises(ConfigurationError, match="there are climate, meter, poller, relay16"):
        profile_named("toaster")
