import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.telemetry import DEFAULT_LIMITS, TelemetryLimits, check_values

GOOD: dict[str, Any] = {
    "t": 21.5,
    "n": -3,
    "on": True,
    "mode": "auto",
    "pos": [1, {"x": None}],
    "água °C": 1,
    "\xa0": 0,
}


def refusal(value: Any) -> str:
    kept, refused = check_values({"before": 1, "k": value, "after": 2})
    assert kept == {"before": 1, "after": 2}
    assert len(refused) == 1
    assert refused[0].errors[0].field == "k"
    assert refused[0].errors[0].reason == refused[0].reason
    return refused[0].reason


def test_what_may_be_stored_is_handed_back_as_it_is() -> None:
    kept, refused = check_values(GOOD)
    assert kept is GOOD
    assert refused == []


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 1.7e308, -0.0, 5e-324, "", "x" * 4096, "ü😀", [], {}, False])
def test_values_at_the_edge_pass(value: Any) -> None:
    assert check_values({"k": value}) == ({"k": value}, [])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "value_null"),
        (math.nan, "value_not_finite"),
        (math.inf, "value_not_finite"),
        (-math.inf, "value_not_finite"),
        (2**63, "value_out_of_range"),
        (-(2**63) - 1, "value_out_of_range"),
        (10**4000, "value_out_of_range"),
        ("x" * 4097, "text_too_long"),
        ("a\0", "text_has_nul"),
        ("\ud800", "utf8_invalid"),
        (b"x", "value_type"),
        ((1,), "value_type"),
        ([math.nan], "value_not_finite"),
        ({"a": {"b": 2**64}}, "value_out_of_range"),
        ({"a\0": 1}, "text_has_nul"),
        ({1: 1}, "value_type"),
        ([object()], "value_type"),
        (["x" * 8190], "value_too_large"),
        ([0] * 5000, "value_too_large"),
    ],
)
def test_a_bad_value_is_refused_alone(value: Any, reason: str) -> None:
    assert refusal(value) == reason


def test_json_of_exactly_the_limit_passes() -> None:
    value = ["x" * 8188]
    assert len(msgspec.json.encode(value)) == 8192
    assert check_values({"k": value})[1] == []


def test_a_cycle_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert refusal(loop) == "json_too_deep"


@pytest.mark.parametrize("key", ["", "x" * 65, "a\nb", "\x7f", "\x00", "\ud800", 5, 10**4000, None])
def test_a_bad_key_is_refused_alone(key: Any) -> None:
    kept, refused = check_values({"a": 1, key: 2, "b": "c"})
    assert kept == {"a": 1, "b": "c"}
    assert [error.reason for error in refused] == ["key_invalid"]


@pytest.mark.parametrize("key", ["x" * 64, "a/b", "a+b", "#", "$x", "a b", "ação"])
def test_a_key_may_hold_anything_but_control_characters(key: str) -> None:
    assert check_values({key: 1}) == ({key: 1}, [])


def test_keys_beyond_the_limit_are_left_out_and_counted() -> None:
    kept, refused = check_values({f"k{n}": n for n in range(300)})
    assert list(kept) == [f"k{n}" for n in range(256)]
    assert [(error.reason, error.message) for error in refused] == [
        ("too_many_keys", "44 keys beyond the limit of 256 were left out")
    ]


def test_a_refusal_does_not_repeat_a_long_key() -> None:
    (error,) = check_values({"x" * 100_000: 1})[1]
    assert len(error.message) < 200


@given(
    st.dictionaries(
        st.text(max_size=70),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
        max_size=8,
    ),
    st.integers(1, 10),
)
def test_whatever_is_kept_can_be_stored_and_nothing_goes_missing(values: dict[str, Any], most: int) -> None:
    kept, refused = check_values(values, TelemetryLimits(keys=most))
    assert msgspec.json.decode(msgspec.json.encode(kept)) == kept
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept)) == kept
    assert len(kept) <= most
    assert kept.items() <= values.items() if not any(isinstance(v, list | dict) for v in kept.values()) else True
    if "too_many_keys" not in [error.reason for error in refused]:
        assert len(kept) + len(refused) == len(values)


def test_limits_have_the_documented_defaults() -> None:
    assert TelemetryLimits(256, 64, 4096, 8192, 32) == DEFAULT_LIMITS
