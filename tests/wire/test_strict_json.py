import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.errors import Invalid
from relevo.wire.strict_json import loads, loads_object, loads_object_or_list
from tests.effort import least_cpu

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))


def reason(payload: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        loads(payload)
    assert caught.value.message
    return caught.value.reason


@given(trees, st.booleans())
def test_what_is_well_formed_comes_back_equal_and_of_the_same_type(tree: Any, escape: bool) -> None:
    assert repr(loads(json.dumps(tree, ensure_ascii=escape).encode())) == repr(tree)


@given(st.dictionaries(texts, trees, min_size=1, max_size=4), st.data(), st.booleans())
def test_a_duplicate_key_is_found_wherever_it_is(values: dict[str, Any], data: st.DataObject, escape: bool) -> None:
    key = data.draw(st.sampled_from(sorted(values)))
    inside = json.dumps(values, ensure_ascii=escape)[:-1] + "," + json.dumps(key, ensure_ascii=escape) + ":1}"
    wrap = data.draw(st.sampled_from(["%s", "[%s]", '{"a":{"b":[1,%s]}}', '["x",%s,{"y":"z"}]']))
    assert reason((wrap % inside).encode()) == "json_duplicate_key"


@given(st.binary(max_size=40))
def test_any_bytes_are_decoded_or_refused(payload: bytes) -> None:
    try:
        loads(payload)
    except Invalid as error:
        assert error.reason


@given(trees, st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_damaged_json_is_decoded_or_refused_as_the_standard_library_does(tree: Any, at: int, noise: bytes) -> None:
    whole = json.dumps(tree, ensure_ascii=False).encode()
    payload = whole[:at] + noise + whole[at + 1 :]
    try:
        value = loads(payload)
    except Invalid:
        return
    assert repr(value) == repr(json.loads(payload.decode()))


def test_a_duplicate_key_is_named() -> None:
    with pytest.raises(Invalid, match="'temp' appears twice"):
        loads(b'{"temp":1,"temp":1}')


def test_an_escaped_spelling_of_the_same_key_is_a_duplicate() -> None:
    assert reason(b'{"a":1,"\\u0061":2}') == "json_duplicate_key"


def test_a_lost_text_cannot_hide_a_duplicate() -> None:
    assert reason(b'{"a":"x","a":1}') == "json_duplicate_key"
    assert reason(b'{"a":{"b":"c"},"a":"d"}') == "json_duplicate_key"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "payload_empty"),
        (b" \n", "payload_empty"),
        (b"{", "json_malformed"),
        (b'{"a":}', "json_malformed"),
        (b"[1,]", "json_malformed"),
        (b"{'a':1}", "json_malformed"),
        (b'{"a":1}x', "json_malformed"),
        (b"01", "json_malformed"),
        (b"\xef\xbb\xbf{}", "json_malformed"),
        (b'{"a":"\x00"}', "json_malformed"),
        (b'{"a":"\x1f"}', "json_malformed"),
        (b'{"a":"\xff"}', "utf8_invalid"),
        (b'{"a":"\xed\xa0\x80"}', "utf8_invalid"),
        (b"\xff\xfe{\x00}\x00", "utf8_invalid"),
        (b'{"a":"\\ud800"}', "utf8_invalid"),
        (b'{"a":"\\ud800 and more"}', "utf8_invalid"),
        (b'{"\\udc00":1}', "utf8_invalid"),
        (b'{"a":["\\udc00\\ud800"]}', "utf8_invalid"),
        (b'{"a":"\\u0000"}', "text_has_nul"),
        (b'{"a\\u0000":1}', "text_has_nul"),
        (b'[["\\u0000"]]', "text_has_nul"),
        (b'{"a":NaN}', "value_not_finite"),
        (b'{"a":[-Infinity]}', "value_not_finite"),
        (b'{"a":1e999}', "value_not_finite"),
        (b'{"a":-1E+400}', "value_not_finite"),
        (b"9223372036854775808", "value_out_of_range"),
        (b'{"a":18446744073709551616}', "value_out_of_range"),
        (b'{"a":[[-9223372036854775809]]}', "value_out_of_range"),
        (b'{"a":' + b"1" * 5000 + b"}", "value_out_of_range"),
        (b'{"a":' + b"1" * 400 + b"}", "value_out_of_range"),
        (b'{"a":"\\n","b":' + b"1" * 400 + b"}", "value_out_of_range"),
    ],
)
def test_what_parsers_let_pass_is_refused_with_its_reason(payload: bytes, expected: str) -> None:
    assert reason(payload) == expected


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 + 1, 0, -1])
def test_integers_stay_exact(number: int) -> None:
    value = loads(b'{"a":%d}' % number)["a"]
    assert type(value) is int
    assert value == number


@pytest.mark.parametrize("escape", [b"", b'"\\n",'])
def test_thirty_two_levels_pass_and_one_more_is_refused(escape: bytes) -> None:
    def nested(depth: int) -> bytes:
        return b'{"k":[' * (depth // 2) + b"[" * (depth % 2) + escape + b"1" + b"]" * (depth % 2) + b"]}" * (depth // 2)

    loads(nested(32))
    assert reason(nested(33)) == "json_too_deep"


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'["]",' * 100_000 + b"1" + b',"["]' * 100_000,
        b'["\\"]",' * 10_000 + b"1" + b"]" * 10_000,
        b"[{" * 100_000 + b"]}" * 100_000,
    ],
)
def test_great_depth_is_refused_at_once(payload: bytes) -> None:
    assert reason(payload) == "json_too_deep"
    assert least_cpu(lambda: reason(payload)) < 2


@pytest.mark.parametrize("payload", [b"]" * 300_000, b"[}" * 100_000, b"[" * 20 + b"[]," * 100_000])
def test_many_brackets_that_are_not_deep_are_malformed(payload: bytes) -> None:
    assert reason(payload) == "json_malformed"
    assert least_cpu(lambda: reason(payload)) < 2


def test_a_wide_batch_is_not_deep_and_brackets_in_texts_do_not_count() -> None:
    batch = [{"ts": 1, "values": {"a": 1, "b": "[[{{"}}] * 1000
    assert loads(json.dumps(batch).encode()) == batch
    assert loads(json.dumps({"a": '\\"[' * 100}).encode()) == {"a": '\\"[' * 100}


def test_thousands_of_digits_cost_no_time() -> None:
    payload = b"[" + b",".join([b"7" * 4000] * 60) + b"]"
    assert reason(payload) == "value_out_of_range"
    assert least_cpu(lambda: reason(payload)) < 2


@pytest.mark.parametrize("payload", [b"1", b'"a"', b"null", b"true"])
def test_a_bare_value_is_no_object(payload: bytes) -> None:
    for function in (loads_object, loads_object_or_list):
        with pytest.raises(Invalid) as caught:
            function(payload)
        assert caught.value.reason == "json_not_object"


def test_a_list_is_no_object() -> None:
    assert loads_object_or_list(b"[]") == []
    with pytest.raises(Invalid):
        loads_object(b"[]")
