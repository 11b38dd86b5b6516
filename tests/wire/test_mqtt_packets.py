import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.wire import mqtt_encode
from relevo.wire import mqtt_packets as mqtt
from relevo.wire.mqtt_errors import MalformedPacket, Reason
from tests.conformance.raw import packet, text
from tests.wire.handmade import Made, packets, property_set, varint

LIMIT = 268_435_460
versions = pytest.mark.parametrize("version", [3, 4, 5])


def decode_all(data: bytes, version: int, limit: int = LIMIT) -> tuple[list[mqtt.Packet], int]:
    """All whole packets of ``data``, and where the rest begins."""
    found: list[mqtt.Packet] = []
    pos = 0
    while (one := mqtt.decode(data, pos, len(data), version, limit)) is not None:
        assert pos < one[1] <= len(data)
        found.append(one[0])
        pos = one[1]
    return found, pos


def malformed(data: bytes, version: int = 5, limit: int = LIMIT) -> Reason:
    with pytest.raises(MalformedPacket) as caught:
        decode_all(data, version, limit)
    assert str(caught.value)
    return caught.value.reason


@versions
@given(data=st.data())
@settings(max_examples=100)
def test_every_packet_of_a_client_is_understood_as_it_was_meant(version: int, data: st.DataObject) -> None:
    made = data.draw(packets(version))
    assert decode_all(made.data, version) == ([made.means], len(made.data))


@versions
@given(data=st.data())
@settings(max_examples=40)
def test_a_stream_cut_anywhere_gives_the_same_packets(version: int, data: st.DataObject) -> None:
    stream = data.draw(st.lists(packets(version), min_size=1, max_size=3))
    whole = b"".join(one.data for one in stream)
    for cut in range(len(whole) + 1):
        first, rest = decode_all(whole[:cut], version)
        second, end = decode_all(whole[rest:], version)
        assert first + second == [one.means for one in stream]
        assert rest + end == len(whole)


@given(made=packets(5), before=st.binary(max_size=5), behind=st.binary(max_size=5), mutable=st.booleans())
def test_only_the_bytes_between_position_and_end_count(made: Made, before: bytes, behind: bytes, mutable: bool) -> None:
    whole = before + made.data + behind
    buffer = bytearray(whole) if mutable else whole
    end = len(before) + len(made.data)
    assert mqtt.decode(buffer, len(before), end, 5, LIMIT) == (made.means, end)


@versions
@given(data=st.binary(max_size=60))
@settings(max_examples=150)
def test_any_bytes_are_packets_or_malformed(version: int, data: bytes) -> None:
    try:
        _, rest = decode_all(data, version)
    except MalformedPacket as problem:
        assert problem.reason >= 0x80
    else:
        assert rest <= len(data)


@versions
@given(data=st.data(), changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=150)
def test_damaged_packets_are_packets_or_malformed(
    version: int, data: st.DataObject, changes: list[tuple[int, int]]
) -> None:
    raw = bytearray(data.draw(packets(version)).data)
    for at, byte in changes:
        raw[at % len(raw)] = byte
    try:
        decode_all(bytes(raw), version)
    except MalformedPacket as problem:
        assert problem.reason >= 0x80


@versions
@given(data=st.data())
@settings(max_examples=100)
def test_a_body_cut_short_within_its_frame_is_never_read_beyond(version: int, data: st.DataObject) -> None:
    made = data.draw(packets(version)).data
    head = 1
    while made[head] & 0x80:
        head += 1
    body = made[head + 1 :]
    cut = data.draw(st.integers(0, len(body)))
    alone = packet(made[0], body[:cut])
    # The same frame with and without something behind it is the same thing.
    assert _outcome(alone, len(alone), version) == _outcome(alone + b"\xff" * 40, len(alone), version)


def _outcome(data: bytes, end: int, version: int) -> object:
    try:
        return mqtt.decode(data, 0, end, version, LIMIT)
    except MalformedPacket as problem:
        return problem.reason, str(problem)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("filters", packet(0x82, b"\x00\x01\x00" + (text("a") + b"\x00") * 60_000)),
        ("filters to leave", packet(0xA2, b"\x00\x01\x00" + text("a") * 80_000)),
        (
            "subscription identifiers",
            packet(0x30, text("a") + property_set(*[("subscription_identifier", 1)] * 120_000)),
        ),
        ("payload", packet(0x30, text("a") + b"\x00" + b"x" * 250_000)),
        ("pings", b"\xc0\x00" * 100_000),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_largest_packets_are_understood(what: str, data: bytes) -> None:
    found, rest = decode_all(data, 5)
    assert rest == len(data), what
    assert found


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_lengths_at_the_edges_of_their_bytes_come_back(size: int) -> None:
    body = text("a") + b"x" * size
    raw = mqtt_encode.encode_publish(4, b"a", b"x" * size, 0, False, False, 0)
    assert raw == packet(0x30, body)
    assert mqtt_encode.encode_length(len(body)) == varint(len(body))
    found, end = decode_all(raw, 4)
    assert end == len(raw)
    assert found == [mqtt.Publish("a", b"x" * size, 0, False, False, 0)]


@pytest.mark.parametrize("length", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455])
def test_the_size_of_a_frame_is_known_from_its_header_alone(length: int) -> None:
    head = b"\x30" + mqtt_encode.encode_length(length)
    assert mqtt.frame_size(head, 0, len(head)) == length + len(head)
    for end in range(len(head)):
        assert mqtt.frame_size(head, 0, end) == 0


def test_a_packet_beyond_the_limit_is_refused_as_soon_as_its_length_is_known() -> None:
    whole = packet(0x30, text("a") + b"x" * 100)
    assert malformed(whole[:2], 4, len(whole) - 1) == Reason.PACKET_TOO_LARGE
    assert decode_all(whole, 4, len(whole))[1] == len(whole)
    long = packet(0x30, text("a") + b"x" * 1000)
    assert malformed(long[:3], 4, len(long) - 1) == Reason.PACKET_TOO_LARGE


@pytest.mark.parametrize("first", [0x36, 0x80, 0x81, 0xA0, 0x60, 0x11, 0xC1, 0xE2, 0x41])
def test_a_wrong_first_byte_is_refused_before_the_rest_arrived(first: int) -> None:
    assert malformed(bytes((first, 100))) == Reason.MALFORMED_PACKET


def test_a_topic_may_be_empty_only_beside_an_alias() -> None:
    aliased = packet(0x30, text("") + property_set(("topic_alias", 7)) + b"x")
    assert decode_all(aliased, 5)[0] == [mqtt.Publish("", b"x", 0, False, False, 0, {"topic_alias": 7})]
    assert malformed(packet(0x30, text("") + b"\x00x")) == Reason.PROTOCOL_ERROR
    assert malformed(packet(0x30, text("") + b"x"), 4) == Reason.PROTOCOL_ERROR


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("topic", ["a/+", "#", "a#"])
def test_a_wildcard_in_a_topic_is_refused_every_time(version: int, topic: str) -> None:
    data = packet(0x30, text(topic) + b"\x00" * (version == 5))
    wanted = Reason.TOPIC_NAME_INVALID if version == 5 else Reason.MALFORMED_PACKET
    # Twice: a topic that was seen before takes a shorter way.
    assert [malformed(data, version) for _ in range(2)] == [wanted, wanted]


def test_a_flood_of_different_topics_is_decoded_and_not_kept() -> None:
    for n in range(mqtt._TOPICS_KEPT + 2_000):
        data = mqtt_encode.encode_publish(4, b"flood/%d" % n, b"", 0, False, False, 0)
        found = mqtt.decode(data, 0, len(data), 4, LIMIT)
        assert found is not None
        assert found[0].topic == f"flood/{n}"  # type: ignore[union-attr]
    assert len(mqtt._topics) <= mqtt._TOPICS_KEPT


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (text("MQTT") + b"\x05\x02\x00\x00\x00" + text("a") + b"!", Reason.MALFORMED_PACKET),
        (text("MQTT") + b"\x05\x02\x00", Reason.MALFORMED_PACKET),
        (text("MQTT") + b"\x05\x0e\x00\x00\x00" + text("a") + b"\x00" + text("a/#") + text(""), 0x90),
        (text("MQTT") + b"\x05\x06\x00\x00\x00" + text("a") + b"\x00" + text("") + text(""), 0x90),
        (text("MQTT") + b"\x05\x03\x00\x00\x00" + text("a"), Reason.MALFORMED_PACKET),
        (text("MQTT") + b"\x05\x1e\x00\x00\x00" + text("a"), Reason.MALFORMED_PACKET),
        (text("MQTT") + b"\x05\x22\x00\x00\x00" + text("a"), Reason.MALFORMED_PACKET),
        (text("MQTT") + b"\x06\x02\x00\x00\x00" + text("a"), Reason.UNSUPPORTED_PROTOCOL_VERSION),
        (text("MQIsdp") + b"\x04\x02\x00\x00" + text("a"), Reason.UNSUPPORTED_PROTOCOL_VERSION),
        (text("Mqtt") + b"\x04\x02\x00\x00" + text("a"), Reason.PROTOCOL_ERROR),
        (text("MQTT") + b"\x04\x42\x00\x00" + text("a") + text("secret"), Reason.MALFORMED_PACKET),
        (text("MQTT") + b"\x04\x02\x00\x00" + text(b"a\x00b"), Reason.MALFORMED_PACKET),
        (text("MQTT") + b"\x04\x02\x00\x00" + text(b"\xff"), Reason.MALFORMED_PACKET),
    ],
)
def test_a_wrong_connect_is_refused_with_the_reason_of_the_standard(body: bytes, reason: int) -> None:
    assert malformed(packet(0x10, body)) == reason


def test_version_5_takes_a_password_without_a_user_name() -> None:
    body = text("MQTT") + b"\x05\x42\x00\x00\x00" + text("a") + text(b"token")
    (found,), _ = decode_all(packet(0x10, body), 4)
    assert isinstance(found, mqtt.Connect)
    assert (found.username, found.password) == (None, b"token")


@pytest.mark.parametrize(
    "data",
    [
        packet(0x82, b"\x00\x01\x00"),
        packet(0xA2, b"\x00\x01\x00"),
        packet(0x82, b"\x00\x00\x00" + text("a") + b"\x00"),
        packet(0x40, b"\x00\x00"),
        packet(0x32, text("a") + b"\x00\x00\x00"),
    ],
)
def test_empty_requests_and_packet_id_zero_are_protocol_errors(data: bytes) -> None:
    assert malformed(data) == Reason.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "data",
    [
        packet(0x82, b"\x00\x01\x00" + text("a") + b"\x03"),
        packet(0x82, b"\x00\x01\x00" + text("a") + b"\x30"),
        packet(0x82, b"\x00\x01\x00" + text("a") + b"\x40"),
        packet(0x82, b"\x00\x01\x00" + text("a") + b"\x80"),
        packet(0x82, b"\x00\x01\x00" + text("a")),
        packet(0x82, b"\x00\x01\x00" + text("abc")[:-1]),
        packet(0x40, b"\x00\x01\x00\x00\x00"),
        packet(0x40, b"\x00"),
        packet(0xC0, b"\x00"),
        packet(0xE0, b"\x00\x00\x00"),
        packet(0x30, b"\x00\x05a"),
        packet(0x30, b"\x00"),
        packet(0x32, text("a") + b"\x00"),
        packet(0x30, text("a")),
    ],
)
def test_truncated_overlong_and_reserved_is_malformed(data: bytes) -> None:
    assert malformed(data) == Reason.MALFORMED_PACKET


def test_older_versions_know_no_auth_and_no_reasons() -> None:
    assert malformed(packet(0xF0, b""), 4) == Reason.PROTOCOL_ERROR
    assert malformed(packet(0x40, b"\x00\x01\x00"), 4) == Reason.MALFORMED_PACKET
    assert malformed(packet(0xE0, b"\x00"), 4) == Reason.MALFORMED_PACKET


@given(
    topic=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=9),
    payload=st.binary(max_size=300),
    qos=st.integers(0, 2),
    retain=st.booleans(),
    dup=st.booleans(),
    packet_id=st.integers(1, 65_535),
    version=st.sampled_from([3, 4, 5]),
)
def test_what_the_server_publishes_can_be_read_back(
    topic: str, payload: bytes, qos: int, retain: bool, dup: bool, packet_id: int, version: int
) -> None:
    dup = dup and qos > 0
    properties = {"content_type": "x", "user_property": [("a", "b"), ("a", "c")]} if version == 5 else None
    raw = mqtt_encode.encode_publish(version, topic.encode(), payload, qos, retain, dup, packet_id, properties)
    means = mqtt.Publish(topic, payload, qos, retain, dup, packet_id if qos else 0, properties)
    assert decode_all(raw, version) == ([means], len(raw))


@given(
    kind=st.sampled_from([mqtt.Kind.PUBACK, mqtt.Kind.PUBREC, mqtt.Kind.PUBREL, mqtt.Kind.PUBCOMP]),
    packet_id=st.integers(1, 65_535),
    reason=st.sampled_from([0, 0x10, 0x92, 0x99]),
    why=st.booleans(),
    version=st.sampled_from([4, 5]),
)
def test_what_the_server_acknowledges_can_be_read_back(
    kind: mqtt.Kind, packet_id: int, reason: int, why: bool, version: int
) -> None:
    properties = {"reason_string": "because"} if why and version == 5 else None
    raw = mqtt_encode.encode_ack(version, kind, packet_id, reason, properties)
    if version == 4:
        assert raw == bytes((kind << 4 | (2 if kind == mqtt.Kind.PUBREL else 0), 2)) + struct.pack("!H", packet_id)
        reason = 0
    assert decode_all(raw, version)[0] == [mqtt.Ack(kind, packet_id, reason, properties)]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (mqtt_encode.encode_connack(4, True, 0), b"\x20\x02\x01\x00"),
        (mqtt_encode.encode_connack(4, True, 5), b"\x20\x02\x00\x05"),
        (mqtt_encode.encode_connack(3, True, 0), b"\x20\x02\x00\x00"),
        (mqtt_encode.encode_connack(5, False, 0), b"\x20\x03\x00\x00\x00"),
        (mqtt_encode.encode_connack(5, True, 0, {"receive_maximum": 100}), b"\x20\x06\x01\x00\x03\x21\x00\x64"),
        (mqtt_encode.encode_suback(4, 0x0102, [0, 1, 2, 0x80]), b"\x90\x06\x01\x02\x00\x01\x02\x80"),
        (mqtt_encode.encode_suback(5, 0x0102, [0x87]), b"\x90\x04\x01\x02\x00\x87"),
        (mqtt_encode.encode_unsuback(4, 0x0102, [0, 0x11]), b"\xb0\x02\x01\x02"),
        (mqtt_encode.encode_unsuback(5, 0x0102, [0, 0x11]), b"\xb0\x05\x01\x02\x00\x00\x11"),
        (mqtt_encode.encode_disconnect(0x8B), b"\xe0\x01\x8b"),
        (mqtt_encode.encode_disconnect(0x8B, {"reason_string": "x"}), b"\xe0\x06\x8b\x04\x1f\x00\x01x"),
        (mqtt_encode.PINGRESP, b"\xd0\x00"),
    ],
)
def test_answers_of_the_server_are_these_bytes(made: bytes, wanted: bytes) -> None:
    assert made == wanted
