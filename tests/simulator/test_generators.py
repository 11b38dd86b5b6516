import itertools
from collections.abc import Callable

import pytest

from relevo.clock import SystemClock
from relevo.simulator.cast import members, office_rows
from relevo.simulator.contracts import CONTRACTS
from relevo.simulator.gear import Enrolled, Gear, Tally
from relevo.simulator.generators import Counter, Flow, Generator, NoisySine, OnOff, RandomWalk, Value, source

MAKERS: dict[str, Callable[[int], Generator]] = {
    "walk": lambda seed: RandomWalk(source(seed, "d", "k"), 0.0, 10.0, 3.0),
    "sine": lambda seed: NoisySine(source(seed, "d", "k"), 20.0, 5.0, 60.0, 0.1),
    "switch": lambda seed: OnOff(source(seed, "d", "k"), 5.0, 9.0),
    "flow": lambda seed: Flow(source(seed, "d", "k"), 7.5, 10.0, 20.0),
    "counter": lambda seed: Counter(source(seed, "d", "k"), Flow(source(seed, "d", "f"), 7.5, 10.0, 20.0)),
}


def signal(name: str, seed: int, count: int = 2_000) -> list[object]:
    made = MAKERS[name](seed)
    return [made.at(1_767_225_600.0 + step) for step in range(count)]


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_gives_the_same_signal_and_another_seed_another(name: str) -> None:
    assert signal(name, 1) == signal(name, 1)
    assert signal(name, 1) != signal(name, 2)


def test_series_of_one_device_are_independent() -> None:
    assert source(1, "d", "a").random() != source(1, "d", "b").random() != source(1, "e", "b").random()


def test_a_walk_stays_between_its_bounds_even_with_steps_as_large_as_the_room() -> None:
    made = RandomWalk(source(3, "d", "k"), -1.0, 1.0, 5.0)
    assert all(-1.0 <= made.at(t) <= 1.0 for t in range(5_000))


def test_a_counter_never_falls_and_rises_while_there_is_flow() -> None:
    totals = [float(value) for value in signal("counter", 5)]
    assert all(later >= earlier for earlier, later in itertools.pairwise(totals))
    assert totals[-1] > totals[0]


def test_a_counter_adds_rate_times_time() -> None:
    counter = Counter(source(1, "d", "k"), NoisySine(source(1, "d", "f"), 6.0, 0.0, 60.0, 0.0))
    start = counter.at(0.0)
    assert counter.at(30.0) - start == pytest.approx(3.0, abs=0.002)


def test_a_switch_is_on_for_its_share_of_the_time() -> None:
    values = [bool(value) for value in signal("switch", 4, 50_000)]
    assert 0.3 < sum(values) / len(values) < 0.42


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contracts_devices_measure_the_same_for_the_same_seed(name: str) -> None:
    def values() -> list[dict[str, Value]]:
        gear = Gear("http://127.0.0.1:1", "127.0.0.1", 1, SystemClock(), Tally(), seed=9)
        device = CONTRACTS[name].device(Enrolled("dev", "dev", more={"pin": "v0", "token": "t"}), gear)
        return [device.measure(1_700_000_000.0 + t) for t in range(100)]

    first = values()
    assert first == values()
    assert len({repr(one) for one in first}) > 3


def test_the_cast_has_a_dozen_different_members_that_all_measure_something() -> None:
    cast = list(members())
    assert len({member.id for member in cast}) == len(cast) >= 12
    assert all(1.0 <= member.period <= 5.0 for member in cast)
    for member in cast:
        assert all(member.measure(1_767_225_600.0 + step) for step in range(50))


def test_the_office_replays_real_readings() -> None:
    rows = office_rows()
    assert 500 <= len(rows) <= 600
    assert {row["occupied"] for row in rows} == {True, False}
