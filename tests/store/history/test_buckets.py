"""Buckets: associative, and what is written comes back."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.errors import Damaged
from relevo.store.history.buckets import (
    COLUMNS,
    EVERYTHING,
    NEEDED,
    Buckets,
    column,
    decode,
    encode,
    needed,
    of_points,
    on_grid,
)
from tests.store.samples import NOW

VALUES = st.one_of(
    # Beside floats, integers are compared as such.
    st.integers(-(2**53), 2**53), st.integers(-5, 5), st.floats(-9, 9), st.booleans(),
    st.sampled_from(["on", "off"]), st.just([1, {"a": None}]),
)  # fmt: skip
NUMERIC = {"min_ts", "min", "max_ts", "max", "sum", "dropped", "begun", "ended"}
KINDS = st.one_of(
    st.lists(VALUES, min_size=1, max_size=40),
    st.lists(st.integers(-9, 9), min_size=1, max_size=40),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40),
    st.lists(st.integers(-90, 90).map(lambda one: one / 10), min_size=1, max_size=40),
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.lists(st.sampled_from(["on", "off"]), min_size=1, max_size=40),
)


def grid(every: int) -> Any:
    return np.arange(NOW, NOW + 1_000, every)


def listed(buckets: Buckets) -> dict[str, Any]:
    found = {name: buckets[name].tolist() for name in sorted(buckets.columns)}
    for name in NUMERIC & found.keys() if "m" in found else ():
        found[name] = [value if held else None for value, held in zip(found[name], found["m"], strict=True)]
    return found


def check_same(found: dict[str, Any], wanted: dict[str, Any], largest: float) -> None:
    """Floats add up differently in another order, by as much as ``largest`` of what was added allows."""
    for name in ("sum", "dropped"):
        for one, other in zip(found.pop(name, []), wanted.pop(name, []), strict=True):
            same = one is other or math.isclose(one, other, rel_tol=1e-9, abs_tol=largest * 1e-12)
            assert same, f"{name}: {one} is not {other}"
    assert repr(found) == repr(wanted)


@given(KINDS, st.lists(st.integers(0, 30), min_size=40, max_size=40))
@settings(deadline=None, max_examples=300)
def test_hours_of_minutes_are_hours_of_points_and_survive_their_bytes(values: list[Any], apart: list[int]) -> None:
    ts = NOW + np.cumsum(np.array(apart[: len(values)], np.int64)) % 990
    points = of_points(np.sort(ts), column(values))
    short = on_grid(points, grid(20))
    whole = on_grid(points, grid(200))
    small = decode(encode(short))
    largest = max((abs(one) for one in values if isinstance(one, int | float)), default=0)
    check_same(listed(on_grid(small, grid(200))), listed(whole), largest)
    assert repr(listed(decode(encode(whole)))) == repr(listed(whole))
    assert int(whole["n"].sum()) == len(values)
    for name in NEEDED:
        asked = decode(encode(whole), needed([name]))
        assert asked.columns.keys() == needed([name])
        assert repr(listed(asked)) == repr({one: listed(whole)[one] for one in sorted(asked.columns)})


@given(st.binary(max_size=200))
def test_bytes_that_make_no_sense_are_damaged(data: bytes) -> None:
    with pytest.raises(Damaged):
        decode(b"\1" + data + b"\xff")


def test_a_block_that_ends_early_or_is_of_a_newer_layout_is_damaged() -> None:
    points = of_points(np.arange(NOW, NOW + 50), column([n / 10 for n in range(50)]))
    data = encode(on_grid(points, grid(5)))
    for end in (0, 1, 5, len(data) // 2, len(data) - 1):
        with pytest.raises(Damaged):
            decode(data[:end])
    with pytest.raises(Damaged, match="newer version"):
        decode(b"\2" + data[1:])


def test_a_column_that_is_not_known_is_passed_over() -> None:
    points = of_points(np.arange(NOW, NOW + 50), column(list(range(50))))
    data = encode(on_grid(points, grid(5)))
    end = data.index(b"\0")
    more = data[:end] + bytes([len(COLUMNS) + 1, 6]) + data[end:] + b"xyz"
    assert repr(listed(decode(more, EVERYTHING))) == repr(listed(decode(data)))
