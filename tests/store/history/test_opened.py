"""What was opened stays what it was, whoever asked for which part of it first, and takes no more room than it may."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.errors import Damaged
from relevo.store.history.buckets import COLUMNS, EVERYTHING, Buckets, decode, encode, of_points, on_grid
from relevo.store.history.columns import open_chunk
from relevo.store.history.layout import Times, encode_times, encode_values
from relevo.store.history.opened import KEPT_S, Opened

HOUR = 3_600_000


def block(values: list[Any], first: int = 0) -> bytes:
    """Two points in each of some hours."""
    ts = np.arange(len(values), dtype=np.int64) * (HOUR // 2) + first * HOUR
    grid = np.arange(first, first + len(values) + 1, dtype=np.int64) * HOUR
    return encode(on_grid(of_points(ts, np.array(values)), grid))


def chunk(values: list[Any], first: int = 0) -> tuple[bytes, bytes]:
    ts = np.arange(first, first + len(values), dtype=np.int64)
    times = Times(ts, np.zeros(len(ts), np.int64), np.zeros(len(ts), np.uint8))
    return encode_times(times), encode_values(values)


def same(found: Buckets, wanted: Buckets, columns: frozenset[str]) -> bool:
    return all(
        found[name].dtype == wanted[name].dtype and np.array_equal(found[name], wanted[name]) for name in columns
    )


@given(
    st.lists(st.floats(-100, 100) | st.just(7.0), min_size=2, max_size=12),
    st.lists(st.frozensets(st.sampled_from(COLUMNS)).map(lambda one: one | {"start"}), min_size=1, max_size=6),
)
def test_any_columns_in_any_order_are_those_of_the_block(values: list[float], asked: list[frozenset[str]]) -> None:
    opened, data = Opened(), block(values)
    for columns in asked:
        assert same(opened.block(data, columns).only(columns), decode(data, columns), columns)
    assert same(opened.block(data, EVERYTHING), decode(data), EVERYTHING)


def test_a_chunk_is_opened_once_and_nobody_can_change_it() -> None:
    opened, data = Opened(), chunk([1.5, 2.5])
    ts, values = opened.chunk(*data)
    assert (ts.tolist(), values.tolist()) == tuple(one.tolist() for one in open_chunk(*data))
    assert opened.chunk(*data)[1] is values
    for one in (ts, values, *opened.block(block([1.0, 2.0]), EVERYTHING).columns.values()):
        with pytest.raises(ValueError, match="read-only"):
            one[0] = 3


def test_the_same_times_with_other_values_are_another_chunk() -> None:
    opened = Opened()
    times, first = chunk([1.5, 2.5])
    _, second = chunk([1.5, 3.5])
    assert opened.chunk(times, first)[1].tolist() == [1.5, 2.5]
    assert opened.chunk(times, second)[1].tolist() == [1.5, 3.5]


def test_what_was_not_asked_for_longest_goes_first() -> None:
    each = Opened()
    each.block(block([1.0, 2.0]), EVERYTHING)
    opened = Opened(bytes_most=each.size * 3 + each.size // 2)
    blocks = [block([1.0, 2.0], first) for first in range(4)]
    for data in blocks[:3]:
        opened.block(data, EVERYTHING)
    kept = opened.block(blocks[0], EVERYTHING)["sum"]
    opened.block(blocks[3], EVERYTHING)
    assert len(opened) == 3
    assert opened.size <= each.size * 3 + each.size // 2
    assert opened.block(blocks[0], EVERYTHING)["sum"] is kept


def test_what_is_larger_than_all_that_may_be_kept_is_answered_and_not_kept() -> None:
    opened = Opened(bytes_most=100)
    assert opened.block(block([1.0, 2.0]), EVERYTHING)["sum"].tolist() == [3.0]
    assert (len(opened), opened.size) == (0, 0)


def test_nothing_is_remembered_for_longer_than_it_may_be() -> None:
    opened = Opened()
    opened.renew(5.0)
    opened.block(block([1.0, 2.0]), EVERYTHING)
    opened.renew(5.0 + KEPT_S - 1)
    opened.block(block([3.0, 4.0]), EVERYTHING)
    assert len(opened) == 2
    opened.renew(5.0 + KEPT_S)
    assert (len(opened), opened.size) == (0, 0)
    opened.block(block([1.0, 2.0]), EVERYTHING)
    opened.renew(5.0 + KEPT_S * 2 - 1)
    assert len(opened) == 1


def test_a_damaged_block_is_told_and_not_kept() -> None:
    opened = Opened()
    with pytest.raises(Damaged):
        opened.block(block([1.0, 2.0])[:20], EVERYTHING)
    assert len(opened) == 0
