from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.wire.mqtt_errors import MalformedPacket, Reason
from relevo.wire.mqtt_properties import MAX_USER_PROPERTIES, decode_properties, encode_properties
from tests.effort import least_cpu
from tests.wire.handmade import (
    EVERY,
    NEVER_ZERO,
    PROPERTIES,
    PUBLISH,
    SUBSCRIBE,
    properties_for,
    property_set,
    value_of,
    varint,
)

SAMPLES: dict[str, Any] = {
    "flag": 1,
    "u16": 0x1234,
    "u32": 0xFEDC_BA98,
    "varint": 268_435_455,
    "text": "água",
    "binary": b"\x00\xff",
    "pair": ("name", "value"),
}
allowed = [(name, kind, one) for name, _, kind, packets in PROPERTIES for one in packets]
refused = [(name, kind, one) for name, _, kind, packets in PROPERTIES for one in EVERY if one not in packets]


def problem(raw: bytes, packet_kind: int) -> Reason:
    with pytest.raises(MalformedPacket) as caught:
        decode_properties(raw, 0, len(raw), packet_kind)
    assert str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(("name", "kind", "packet_kind"), allowed)
def test_every_property_is_read_and_written_where_the_standard_allows_it(
    name: str, kind: str, packet_kind: int
) -> None:
    value = SAMPLES[kind]
    raw = property_set((name, value))
    many = name == "user_property" or (name == "subscription_identifier" and packet_kind == PUBLISH)
    means = {name: [value] if many else value}
    assert decode_properties(raw, 0, len(raw), packet_kind) == (means, len(raw))
    assert encode_properties(means) == raw


@pytest.mark.parametrize(("name", "kind", "packet_kind"), refused)
def test_no_property_is_taken_where_the_standard_does_not_know_it(name: str, kind: str, packet_kind: int) -> None:
    assert problem(property_set((name, SAMPLES[kind])), packet_kind) == Reason.MALFORMED_PACKET


@pytest.mark.parametrize("ident", [0x00, 0x04, 0x14, 0x2B, 0x7F, 0xFF])
def test_an_unknown_property_is_malformed(ident: int) -> None:
    body = varint(ident) + b"\x00"
    assert problem(varint(len(body)) + body, PUBLISH) == Reason.MALFORMED_PACKET


@pytest.mark.parametrize(("name", "kind", "packet_kind"), allowed)
def test_only_user_properties_and_the_identifiers_of_a_message_may_repeat(
    name: str, kind: str, packet_kind: int
) -> None:
    value = SAMPLES[kind]
    raw = property_set((name, value), (name, value))
    if name == "user_property" or (name == "subscription_identifier" and packet_kind == PUBLISH):
        assert decode_properties(raw, 0, len(raw), packet_kind)[0] == {name: [value, value]}
    else:
        assert problem(raw, packet_kind) == Reason.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("name", "packet_kind"), [(name, one) for name, kind, one in allowed if kind in ("u16", "u32", "varint")]
)
def test_zero_is_a_value_except_where_the_standard_forbids_it(name: str, packet_kind: int) -> None:
    raw = property_set((name, 0))
    if name in NEVER_ZERO:
        assert problem(raw, packet_kind) == Reason.PROTOCOL_ERROR
    else:
        assert decode_properties(raw, 0, len(raw), packet_kind)[0] == {name: 0}


@pytest.mark.parametrize(
    ("name", "packet_kind"),
    [
        ("payload_format_indicator", PUBLISH),
        ("request_problem_information", 1),
        ("request_response_information", 1),
    ],
)
def test_a_flag_is_zero_or_one(name: str, packet_kind: int) -> None:
    for value in (0, 1):
        raw = property_set((name, value))
        assert decode_properties(raw, 0, len(raw), packet_kind)[0] == {name: value}
    assert problem(property_set((name, 2)), packet_kind) == Reason.PROTOCOL_ERROR


def test_a_hundred_user_properties_pass_and_ten_thousand_are_refused_at_once() -> None:
    pair = ("user_property", ("a", "b"))
    raw = property_set(*[pair] * MAX_USER_PROPERTIES)
    found, end = decode_properties(raw, 0, len(raw), PUBLISH)
    assert (found, end) == ({"user_property": [("a", "b")] * 100}, len(raw))
    flood = property_set(*[pair] * 10_000)
    assert problem(flood, PUBLISH) == Reason.PROTOCOL_ERROR
    assert least_cpu(lambda: problem(flood, PUBLISH)) < 1


@given(st.sampled_from(EVERY).flatmap(lambda kind: st.tuples(st.just(kind), properties_for(kind))))
def test_any_allowed_set_comes_back_in_both_directions(case: tuple[int, tuple[bytes, dict[str, Any] | None]]) -> None:
    packet_kind, (raw, means) = case
    assert decode_properties(raw, 0, len(raw), packet_kind) == (means, len(raw))
    assert encode_properties(means) == raw


@given(st.sampled_from(EVERY).flatmap(lambda kind: st.tuples(st.just(kind), properties_for(kind))), st.data())
def test_a_set_that_ends_too_early_is_malformed(
    case: tuple[int, tuple[bytes, dict[str, Any] | None]], data: st.DataObject
) -> None:
    packet_kind, (raw, _) = case
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(MalformedPacket):
        decode_properties(raw, 0, cut, packet_kind)


@given(st.sampled_from(EVERY), st.binary(max_size=40))
def test_any_bytes_are_a_set_or_malformed(packet_kind: int, raw: bytes) -> None:
    try:
        found, end = decode_properties(raw, 0, len(raw), packet_kind)
    except MalformedPacket as caught:
        assert caught.reason in (Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR)
    else:
        assert end <= len(raw)
        assert found is None or found


def test_a_value_does_not_reach_beyond_its_set() -> None:
    # The text claims five bytes, the set ends after two; what follows is the payload.
    raw = b"\x05\x03\x00\x05ab" + b"cde"
    assert problem(raw, PUBLISH) == Reason.MALFORMED_PACKET


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff\xff\xff\xff\x01", b"\x02\x23"])
def test_a_broken_length_is_malformed(raw: bytes) -> None:
    assert problem(raw, PUBLISH) == Reason.MALFORMED_PACKET


@pytest.mark.parametrize("text", [b"a\x00b", b"\xff", b"\xed\xa0\x80"])
def test_texts_inside_are_utf8_without_nul(text: bytes) -> None:
    body = b"\x03" + len(text).to_bytes(2, "big") + text
    assert problem(varint(len(body)) + body, PUBLISH) == Reason.MALFORMED_PACKET


def test_nothing_is_a_set_of_length_zero() -> None:
    assert encode_properties(None) == encode_properties({}) == b"\x00"
    assert decode_properties(b"\x00rest", 0, 5, SUBSCRIBE) == (None, 1)


@given(st.data())
def test_values_of_every_size_come_back(data: st.DataObject) -> None:
    name, _, kind, packets = data.draw(st.sampled_from(PROPERTIES))
    value = data.draw(value_of(name, kind))
    raw = property_set((name, value))
    found, _ = decode_properties(raw, 0, len(raw), packets[0])
    assert found is not None
    assert found[name] in (value, [value])
