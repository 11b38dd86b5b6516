"""Points go through layout 1 and come back to the bit."""

import contextlib
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relevo.errors import Damaged
from relevo.store.history import packing
from relevo.store.history.layout import Times, decode_times, decode_values, encode_times, encode_values, plain

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.integers(-(10**9), 10**9).flatmap(lambda n: st.integers(0, 7).map(lambda d: n / 10**d))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ONE = st.one_of(INT64, FLOATS, DECIMALS, st.booleans(), TEXT, JSON.filter(lambda one: one is not None))
LISTS = st.one_of(
    *(st.lists(kind, min_size=1, max_size=80) for kind in (INT64, FLOATS, DECIMALS, st.booleans(), TEXT, ONE)),
    st.lists(st.sampled_from([1, 1.0, True, 0, -0.0, 0.0, False, "1", 21.5]), min_size=1, max_size=80),
    st.lists(st.sampled_from([21, 21.5, 22.25, 3]), min_size=1, max_size=80),
    st.lists(st.sampled_from(["on", "off"]), min_size=1, max_size=80),
)


def exactly(value: Any) -> Any:
    """What equals only what is the same: 1 is not 1.0 nor true, 0.0 is not -0.0."""
    if isinstance(value, float):
        return "float", struct.pack(">d", value)
    if isinstance(value, list):
        return [exactly(one) for one in value]
    if isinstance(value, dict):
        return {key: exactly(one) for key, one in value.items()}
    return type(value).__name__, value


def check_values(values: list[Any]) -> None:
    picks, found = decode_values(encode_values(values))
    assert picks is None
    assert exactly(plain(found)) == exactly(values)


@pytest.mark.parametrize("with_pcodec", [True, False])
def test_values_come_back_to_the_bit(with_pcodec: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    @given(LISTS)
    @example([-0.0, 0.0])
    @example([2**63 - 1, -(2**63)])
    @example([1e308, -1e308, 5e-324])
    @example([0.1 + 0.2, 0.3])
    @example([2**53 + 1, 0.5])
    @example([9_007_199_254_740_993, 1.0])
    @settings(max_examples=600, deadline=None)
    def check(values: list[Any]) -> None:
        check_values(values)

    if not with_pcodec:
        monkeypatch.setattr(packing, "_compress", None)
        monkeypatch.setattr(packing, "_decompress", None)
    check()


@given(st.lists(ONE, min_size=1, max_size=60), st.data())
@settings(max_examples=200, deadline=None)
def test_places_come_back(values: list[Any], data: st.DataObject) -> None:
    picked = data.draw(
        st.lists(st.integers(0, 4 * len(values)), min_size=len(values), max_size=len(values), unique=True).map(sorted)
    )
    picks, found = decode_values(encode_values(values, np.array(picked, np.int64)))
    assert picks is not None
    assert picks.tolist() == picked
    assert exactly(plain(found)) == exactly(values)


SORTED = st.one_of(
    st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=60).map(sorted),
    st.lists(st.integers(0, 20_000), min_size=1, max_size=60).map(lambda gaps: np.cumsum(gaps).tolist()),
    st.tuples(st.integers(1, 10**7), st.lists(st.integers(-20, 20), min_size=8, max_size=60)).map(
        lambda given: sorted(n * given[0] + jitter for n, jitter in enumerate(given[1]))
    ),
)


@given(SORTED, st.data())
@settings(max_examples=500, deadline=None)
def test_times_come_back(ts: list[int], data: st.DataObject) -> None:
    size = len(ts)
    seq = data.draw(st.lists(st.one_of(st.just(0), st.integers(0, 2**60)), min_size=size, max_size=size))
    quality = data.draw(st.lists(st.sampled_from([0, 0, 0, 1, 2, 4, 7]), min_size=size, max_size=size))
    given = Times(np.array(ts, np.int64), np.array(seq, np.int64), np.array(quality, np.uint8))
    found = decode_times(encode_times(given))
    assert [one.tolist() for one in found] == [ts, seq, quality]


def walk(decimals: int, size: int = 1_000) -> list[float]:
    chance = np.random.default_rng(1)
    steps = np.cumsum(chance.integers(-4, 5, size)) + 20 * 10**decimals
    return [int(one) / 10**decimals for one in steps]


def test_what_boards_send_is_small() -> None:
    """Bytes of a thousand points, with room above what was measured."""
    chance = np.random.default_rng(2)
    jitter = Times(
        np.arange(1_000) * 10_000 + chance.integers(-20, 21, 1_000),
        np.zeros(1_000, np.int64),
        np.zeros(1_000, np.uint8),
    )
    grid = jitter._replace(ts=np.arange(1_000) * 10_000)
    gaps = jitter._replace(ts=jitter.ts + np.repeat([0, 3_600_123, 7_203_456, 9_000_000], 250))
    assert len(encode_times(jitter)) < 760
    assert len(encode_times(gaps)) < 900
    assert len(encode_times(grid)) < 30
    assert len(encode_values(walk(2))) < 700
    assert len(encode_values([True] * 400 + [False] * 600)) < 40
    assert len(encode_values(["idle"] * 900 + ["busy"] * 100)) < 80
    assert len(encode_values([21.5] * 1_000)) < 20
    # As most libraries write them: a whole number has no point.
    short = [int(one) if one == int(one) else one for one in walk(1)]
    assert len(encode_values(short)) < len(encode_values(walk(1))) + 8


@pytest.mark.parametrize("layout", [0, 2, 255])
def test_what_a_newer_version_wrote_is_told(layout: int) -> None:
    for data in (encode_values([1, 2]), encode_times(Times(np.array([5]), np.array([0]), np.array([0], np.uint8)))):
        with pytest.raises(Damaged, match=f"layout {layout}"):
            (decode_values if data[1] > 1 else decode_times)(bytes([layout]) + data[1:])


def test_what_pcodec_wrote_is_told_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_values([math.pi * n for n in range(100)])
    monkeypatch.setattr(packing, "_decompress", None)
    with pytest.raises(Damaged, match="pcodec, which is not installed"):
        decode_values(data)


def test_what_zlib_wrote_is_read_beside_pcodec(monkeypatch: pytest.MonkeyPatch) -> None:
    values = walk(2)
    with monkeypatch.context() as patched:
        patched.setattr(packing, "_compress", None)
        data = encode_values(values)
    assert data != encode_values(values)
    assert plain(decode_values(data)[1]) == values


@given(LISTS, st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_are_told_or_read_and_never_anything_else(values: list[Any], data: st.DataObject) -> None:
    stored = bytearray(encode_values(values))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Damaged):
        decode_values(bytes(stored))
    with pytest.raises(Damaged):
        decode_values(b"\1")


@given(
    book=st.lists(st.floats(allow_nan=True), min_size=1, max_size=8),
    places=st.lists(st.integers(0, 7), min_size=30, max_size=200),
)
def test_few_different_floats_come_back_to_the_bit(book: list[float], places: list[int]) -> None:
    values = np.array([book[place % len(book)] for place in places], np.float64)
    found = packing.get_array(packing.Source(packing.put_floats(values)))
    assert found.view(np.int64).tolist() == values.view(np.int64).tolist()


def test_averages_of_few_steps_take_little() -> None:
    chance = np.random.default_rng(1)
    steps = np.sort(chance.random(60))
    values = steps[np.clip(np.cumsum(chance.integers(-1, 2, 1_000)) + 30, 0, 59)]
    data = packing.put_floats(values)
    assert data[0] == packing.DISTINCT
    assert len(data) < 0.75 * len(packing._put(values, 3))
    assert packing.get_array(packing.Source(data)).tolist() == values.tolist()


@pytest.mark.parametrize("wrong", [b"\x04\x04\x00", b"\x04\x00\x01\x04\x02"])
def test_places_of_no_number_are_damage(wrong: bytes) -> None:
    with pytest.raises(Damaged):
        packing.get_array(packing.Source(wrong))
