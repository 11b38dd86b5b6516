import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relevo.domain.seen import MOST_BOOTS, MOST_INTERVALS, NUMBER_MAX, Seen
from relevo.errors import Invalid

boots = st.integers(0, MOST_BOOTS - 1)
numbers = st.integers(0, 40) | st.integers(NUMBER_MAX - 3, NUMBER_MAX)


class AgainstASet(RuleBasedStateMachine):
    """Within its bounds the record answers exactly as a set would."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()
        self.known: set[tuple[int, int]] = set()

    @rule(boot=boots, seq=numbers)
    def add(self, boot: int, seq: int) -> None:
        assert self.seen.add(boot, seq) == ((boot, seq) not in self.known)
        self.known.add((boot, seq))

    @rule(boot=boots, start=st.integers(0, 40), count=st.integers(1, 10))
    def add_a_run(self, boot: int, start: int, count: int) -> None:
        for seq in range(start, start + count):
            self.add(boot, seq)

    @rule(boot=boots, seq=numbers)
    def remove(self, boot: int, seq: int) -> None:
        assert self.seen.remove(boot, seq) == ((boot, seq) in self.known)
        self.known.discard((boot, seq))

    @rule(boot=boots, seq=numbers)
    def has(self, boot: int, seq: int) -> None:
        assert self.seen.has(boot, seq) == ((boot, seq) in self.known)

    @rule()
    def store_and_restore(self) -> None:
        self.seen = Seen.restore(json.loads(json.dumps(self.seen.state())))

    @invariant()
    def intervals_are_minimal_and_exact(self) -> None:
        found = set()
        for boot, *bounds in self.seen.state()[1:]:
            assert all(b - a > 1 for a, b in zip(bounds[1::2], bounds[2::2], strict=False))
            found |= {(boot, n) for a, b in zip(bounds[::2], bounds[1::2], strict=True) for n in range(a, b + 1)}
        assert found == self.known
        assert self.seen.forgotten == 0


TestAgainstASet = AgainstASet.TestCase
TestAgainstASet.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_counting_without_gaps_costs_one_interval() -> None:
    seen = Seen()
    assert all(seen.add(1, n) for n in range(1000))
    assert seen.state() == [[0], [1, 0, 999]]
    assert not any(seen.add(1, n) for n in range(1000))


def test_the_start_used_longest_ago_is_forgotten_first() -> None:
    seen = Seen()
    for boot in range(MOST_BOOTS):
        seen.add(boot, 7)
    assert not seen.add(0, 7)
    seen.add(100, 7)
    assert seen.forgotten == 1
    assert seen.has(0, 7)
    assert seen.add(1, 7)


def test_the_lowest_interval_is_forgotten_first_and_counts_as_new_again() -> None:
    seen = Seen()
    for n in range(MOST_INTERVALS + 2):
        assert seen.add(1, n * 10)
    assert seen.forgotten == 2
    assert len(seen.state()[1]) == 1 + 2 * MOST_INTERVALS
    assert not seen.has(1, 10)
    assert seen.has(1, 20)
    assert seen.add(1, 0)


def test_taking_back_never_exceeds_the_bound() -> None:
    seen = Seen()
    for n in range(3 * MOST_INTERVALS):
        seen.add(1, n)
    for n in range(1, 3 * MOST_INTERVALS, 2):
        seen.remove(1, n)
    assert len(seen.state()[1]) <= 1 + 2 * MOST_INTERVALS
    assert seen.forgotten > 0


def test_a_reading_taken_back_is_new_again() -> None:
    seen = Seen()
    seen.add(3, 5)
    assert seen.remove(3, 5)
    assert seen.state() == [[0]]
    assert seen.add(3, 5)
    assert not seen.add(3, 5)


@pytest.mark.parametrize("bad", [-1, NUMBER_MAX + 1, 1.0, True, "1", None])
def test_numbers_are_integers_of_63_bits(bad: Any) -> None:
    seen = Seen()
    seen.add(0, 0)
    for boot, seq in ((bad, 1), (0, bad)):
        with pytest.raises(Invalid) as caught:
            seen.add(boot, seq)
        assert caught.value.reason == "seq_invalid"
    assert seen.state() == [[0], [0, 0, 0]]


def test_the_last_number_ends_the_count() -> None:
    seen = Seen()
    assert seen.add(0, NUMBER_MAX)
    with pytest.raises(Invalid):
        seen.add(0, NUMBER_MAX + 1)


@pytest.mark.parametrize(
    "state",
    [
        None,
        7,
        [],
        [[]],
        [["x"]],
        [[0], []],
        [[0], [1]],
        [[0], [1, 2]],
        [[0], [1, 3, 2]],
        [[0], [1, -1, 2]],
        [[0], [1, 0, 5, 5, 9]],
        [[0], ["a", 1, 2]],
        [[0], [1, "a", "b"]],
    ],
)
def test_a_damaged_record_is_refused(state: Any) -> None:
    with pytest.raises(Invalid) as caught:
        Seen.restore(state)
    assert caught.value.reason == "seen_damaged"
