"""MQTT 5.0 sections 3.3 to 3.7: PUBLISH, its properties, topic aliases, retained messages, acknowledgements."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw import packet, text
from tests.conformance.raw5 import (
    MALFORMED,
    PROTOCOL,
    VIOLATION,
    Client,
    Packet,
    ack,
    only_relevo,
    options,
    publish5,
    serving,
    varint,
)

ALIAS_INVALID = 0x94


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory) as found:
        yield found


@pytest.fixture
def peer(port: int, name: str) -> Iterator[Client]:
    """Who publishes."""
    with Client.join(port, f"{name}-peer") as found:
        yield found


@pytest.fixture
def raw(port: int, name: str) -> Iterator[Client]:
    """Who is looked at."""
    with Client.join(port, name) as found:
        yield found


def aliases(client: Client) -> int:
    """The server's topic alias maximum."""
    found: int = client.connack.one("topic_alias_maximum", 0)
    if not found:
        pytest.skip("this broker takes no topic aliases")
    return found


# Delivery


@pytest.mark.parametrize("sent", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_mqtt5_3_8_4_8_delivery_is_at_the_lower_qos(
    peer: Client, raw: Client, name: str, sent: int, granted: int
) -> None:
    assert raw.subscribe((f"{name}/x", granted)) == (granted,)
    peer.publish(f"{name}/x", b"v", qos=sent)
    raw.finish(raw.message(f"{name}/x", b"v", min(sent, granted)))
    raw.silent()


def test_mqtt5_2_2_2_1_a_message_without_properties_is_delivered_without(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/x")
    peer.publish(f"{name}/x", b"v", qos=0)
    raw.expect(publish5(f"{name}/x", b"v"))


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_000, 60_000])
def test_mqtt5_3_3_3_payloads_of_all_sizes_arrive_whole(peer: Client, raw: Client, name: str, size: int) -> None:
    payload = bytes(n & 0xFF for n in range(size))
    raw.subscribe((f"{name}/x", 1))
    peer.publish(f"{name}/x", payload)
    raw.message(f"{name}/x", payload, 1)


def test_mqtt5_3_3_1_3_dup_of_the_sender_is_not_forwarded(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe((f"{name}/x", 1))
    peer.send(publish5(f"{name}/x", qos=1, dup=True))
    raw.message(f"{name}/x", b"x", 1, dup=False)


def test_mqtt5_3_3_1_2_dup_at_qos_0_is_a_violation(raw: Client, name: str) -> None:
    raw.send(publish5(f"{name}/x", dup=True))
    raw.ended(*VIOLATION)


def test_mqtt5_3_3_1_4_qos_3_is_malformed(raw: Client) -> None:
    raw.send(publish5("a", qos=3))
    raw.ended(MALFORMED)


@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt5_2_2_1_3_packet_id_zero_is_a_violation(raw: Client, name: str, qos: int) -> None:
    raw.send(publish5(f"{name}/x", qos=qos, packet_id=0))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("topic", ["a/+", "#", "a#b", "+"])
def test_mqtt5_3_3_2_2_wildcard_in_a_topic_name_is_a_violation(raw: Client, topic: str) -> None:
    raw.send(publish5(topic))
    raw.ended(*VIOLATION, 0x90)


def test_mqtt5_3_3_2_1_empty_topic_without_an_alias_is_a_protocol_error(raw: Client) -> None:
    raw.send(publish5(""))
    raw.ended(PROTOCOL, MALFORMED)


@pytest.mark.parametrize("topic", [b"a\x00b", b"\xc3\x28", b"\xed\xa0\x80", b"\xff"])
def test_mqtt5_1_5_4_1_and_2_nul_surrogates_and_bad_utf8_are_malformed(raw: Client, topic: bytes) -> None:
    raw.send(publish5(topic))
    raw.ended(*VIOLATION, 0x90)


def test_mqtt5_1_5_4_3_a_byte_order_mark_is_a_character(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe(f"\ufeff{name}", name)
    peer.publish(f"\ufeff{name}", qos=0)
    raw.message(f"\ufeff{name}", b"x")
    raw.silent()


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"\x00\x05ab", b"\x00\x01a\x00", b"\x00\x01a\x00\x01", b"\x00\x01a\x00\x01\x05\x01"],
    ids=["empty", "length", "topic", "id", "no-properties", "short-properties"],
)
def test_mqtt5_3_3_2_truncated_publish_is_malformed(raw: Client, body: bytes) -> None:
    raw.send(packet(0x32, body))
    raw.ended(*VIOLATION)


# Properties of a message


CARRIED: dict[str, Any] = {
    "payload_format_indicator": 1,
    "content_type": "application/json; ç",
    "response_topic": "answer/to/é",
    "correlation_data": bytes(range(256)),
}


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("which", CARRIED)
def test_mqtt5_3_3_2_4_15_16_20_properties_are_forwarded_unaltered(
    peer: Client, raw: Client, name: str, which: str, qos: int
) -> None:
    raw.subscribe((f"{name}/x", qos))
    peer.publish(f"{name}/x", qos=qos, properties={which: CARRIED[which]})
    assert raw.message(f"{name}/x", b"x", qos).properties == ((which, CARRIED[which]),)


def test_mqtt5_3_3_2_4_payload_format_0_may_be_left_out(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/x")
    peer.publish(f"{name}/x", b"\xff", properties={"payload_format_indicator": 0})
    assert raw.message(f"{name}/x", b"\xff").one("payload_format_indicator", 0) == 0


@pytest.mark.parametrize("which", ["content_type", "correlation_data"])
def test_mqtt5_3_3_2_16_and_20_empty_values_are_values(peer: Client, raw: Client, name: str, which: str) -> None:
    value = b"" if which == "correlation_data" else ""
    raw.subscribe(f"{name}/x")
    peer.publish(f"{name}/x", properties={which: value})
    assert raw.message(f"{name}/x", b"x").properties == ((which, value),)


@pytest.mark.parametrize("retained", [False, True])
def test_mqtt5_3_3_2_17_and_18_user_properties_keep_values_and_order(
    peer: Client, raw: Client, name: str, retained: bool
) -> None:
    pairs = [("b", "2"), ("a", "1"), ("b", "1"), ("", ""), ("b", "2"), ("ü", "日本")]
    carried = [("user_property", pair) for pair in pairs]
    if retained:
        peer.publish(f"{name}/x", retain=True, properties=carried)
        raw.subscribe(f"{name}/x")
    else:
        raw.subscribe(f"{name}/x")
        peer.publish(f"{name}/x", properties=carried)
    assert raw.message(f"{name}/x", b"x", retain=retained).all("user_property") == pairs
    peer.publish(f"{name}/x", b"", retain=True)


def test_mqtt5_3_3_2_18_order_holds_with_other_properties_between(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/x")
    peer.publish(
        f"{name}/x",
        properties=[
            ("user_property", ("2", "a")),
            ("content_type", "t"),
            ("user_property", ("1", "b")),
            ("response_topic", "r"),
            ("user_property", ("2", "c")),
        ],
    )
    found = raw.message(f"{name}/x", b"x")
    assert found.all("user_property") == [("2", "a"), ("1", "b"), ("2", "c")]
    assert (found.one("content_type"), found.one("response_topic")) == ("t", "r")


def test_mqtt5_3_3_2_properties_are_kept_with_a_retained_message(peer: Client, raw: Client, name: str) -> None:
    peer.publish(f"{name}/r", retain=True, properties=CARRIED)
    raw.subscribe(f"{name}/r")
    assert dict(raw.message(f"{name}/r", b"x", retain=True).properties) == CARRIED
    peer.publish(f"{name}/r", b"", retain=True)


def test_mqtt5_3_3_2_17_a_hundred_user_properties_arrive(peer: Client, raw: Client, name: str) -> None:
    pairs = [(f"k{n}", f"v{n}") for n in range(100)]
    raw.subscribe(f"{name}/x")
    peer.publish(f"{name}/x", properties=[("user_property", pair) for pair in pairs])
    assert raw.message(f"{name}/x", b"x").all("user_property") == pairs


ONCE: dict[str, Any] = CARRIED | {"message_expiry_interval": 10, "topic_alias": 1}


@pytest.mark.parametrize("which", ONCE)
def test_mqtt5_3_3_2_3_a_property_twice_is_a_protocol_error(raw: Client, name: str, which: str) -> None:
    raw.send(publish5(f"{name}/x", properties=[(which, ONCE[which])] * 2))
    raw.ended(*VIOLATION)


FOREIGN_TO_PUBLISH: dict[str, Any] = {
    "session_expiry_interval": 1,
    "assigned_client_identifier": "x",
    "server_keep_alive": 1,
    "authentication_method": "x",
    "request_problem_information": 1,
    "will_delay_interval": 1,
    "reason_string": "x",
    "receive_maximum": 1,
    "topic_alias_maximum": 1,
    "maximum_qos": 1,
    "maximum_packet_size": 100,
}


@pytest.mark.parametrize("which", FOREIGN_TO_PUBLISH)
def test_mqtt5_2_2_2_2_a_property_of_another_packet_is_malformed(raw: Client, name: str, which: str) -> None:
    raw.send(publish5(f"{name}/x", properties={which: FOREIGN_TO_PUBLISH[which]}))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize(
    "properties",
    [b"\x7f", b"\x02\x00\x00", b"\x23\x00", b"\x03\x00\x05ab", b"\x26\x00\x01a", b"\x09\x00", b"\x80\x80\x80\x80\x01"],
    ids=lambda raw: raw.hex(),
)
def test_mqtt5_2_2_2_2_damaged_properties_are_malformed(raw: Client, name: str, properties: bytes) -> None:
    raw.send(publish5(f"{name}/x", properties=properties))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("value", [b"\xc3\x28", b"a\x00", b"\xed\xa0\x80"], ids=["bad-utf8", "nul", "surrogate"])
@pytest.mark.parametrize("ident", [3, 8], ids=["content-type", "response-topic"])
def test_mqtt5_3_3_2_13_and_19_text_properties_must_be_utf_8(raw: Client, name: str, ident: int, value: bytes) -> None:
    raw.send(publish5(f"{name}/x", properties=bytes((ident,)) + text(value)))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff\x01", b"\x7f"], ids=["5-bytes", "too-long"])
def test_mqtt5_1_5_5_1_wrong_property_length_is_malformed(raw: Client, length: bytes) -> None:
    raw.send(packet(0x30, text("a") + length))
    raw.ended(*VIOLATION)


def test_mqtt5_3_3_2_6_expiry_is_the_senders_less_the_waiting_time(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/x")
    peer.publish(f"{name}/x", properties={"message_expiry_interval": 100})
    assert raw.message(f"{name}/x", b"x").one("message_expiry_interval") in (99, 100)


def test_mqtt5_3_3_2_3_3_the_largest_expiry_is_accepted(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/x")
    peer.publish(f"{name}/x", properties={"message_expiry_interval": 0xFFFFFFFF})
    assert raw.message(f"{name}/x", b"x").one("message_expiry_interval") in (0xFFFFFFFF, 0xFFFFFFFE)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt5_3_3_2_3_2_text_that_is_not_utf_8_may_be_refused(
    peer: Client, raw: Client, name: str, qos: int
) -> None:
    """Delivered as it is or refused with 0x99, nothing else."""
    raw.subscribe((f"{name}/x", qos))
    peer.send(publish5(f"{name}/x", b"\xff\xfe", qos=qos, properties={"payload_format_indicator": 1}))
    reason = 0
    if qos:
        reason = peer.receive("PUBACK" if qos == 1 else "PUBREC").reason
        assert reason in (0x00, 0x99)
    if qos == 2 and reason == 0:
        peer.send(ack("PUBREL", 1))
    peer_answer = peer.packet() if qos == 2 and reason == 0 else b"\x70"
    assert peer_answer[0] == 0x70
    if reason:
        raw.silent()
    elif qos:
        raw.message(f"{name}/x", b"\xff\xfe", qos)


@pytest.mark.parametrize("value", [2, 255])
@only_relevo
def test_mqtt5_3_3_2_3_2_payload_format_is_0_or_1(raw: Client, name: str, value: int) -> None:
    raw.send(publish5(f"{name}/x", properties={"payload_format_indicator": value}))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("topic", ["a/+", "#", "a/#", "+/b"])
def test_mqtt5_3_3_2_14_response_topic_has_no_wildcards(raw: Client, name: str, topic: str) -> None:
    raw.send(publish5(f"{name}/x", properties={"response_topic": topic}))
    raw.ended(*VIOLATION, 0x90)


@pytest.mark.parametrize("value", [1, 268_435_455])
def test_mqtt5_3_3_4_6_a_client_may_not_send_a_subscription_identifier(raw: Client, name: str, value: int) -> None:
    raw.send(publish5(f"{name}/x", properties={"subscription_identifier": value}))
    raw.ended(*VIOLATION)


# Topic aliases


def test_mqtt5_3_3_2_12_an_alias_stands_for_its_topic(peer: Client, raw: Client, name: str) -> None:
    aliases(peer)
    raw.subscribe((f"{name}/+", 1))
    peer.publish(f"{name}/a", b"1", properties={"topic_alias": 1})
    peer.publish("", b"2", packet_id=2, properties={"topic_alias": 1})
    peer.publish("", b"3", packet_id=3, properties={"topic_alias": 1, "content_type": "t"})
    for payload in (b"1", b"2", b"3"):
        raw.finish(raw.message(f"{name}/a", payload, 1))


def test_mqtt5_3_3_2_12_every_alias_up_to_the_maximum_is_accepted(peer: Client, raw: Client, name: str) -> None:
    some = sorted({1, aliases(peer), (aliases(peer) + 1) // 2})
    raw.subscribe(f"{name}/+")
    for alias in some:
        peer.publish(f"{name}/{alias}", properties={"topic_alias": alias})
        raw.message(f"{name}/{alias}", b"x")
    for alias in reversed(some):
        peer.publish("", b"again", properties={"topic_alias": alias})
        raw.message(f"{name}/{alias}", b"again")


def test_mqtt5_3_3_2_3_4_an_alias_can_be_given_to_another_topic(peer: Client, raw: Client, name: str) -> None:
    aliases(peer)
    raw.subscribe(f"{name}/+")
    for topic in ("a", "b"):
        peer.publish(f"{name}/{topic}", b"named", properties={"topic_alias": 1})
        raw.message(f"{name}/{topic}", b"named")
        peer.publish("", b"alias", properties={"topic_alias": 1})
        raw.message(f"{name}/{topic}", b"alias")


def test_mqtt5_3_3_2_3_4_an_alias_is_the_connections_own(port: int, peer: Client, raw: Client, name: str) -> None:
    aliases(peer)
    raw.subscribe(f"{name}/+")
    peer.publish(f"{name}/a", properties={"topic_alias": 1})
    raw.message(f"{name}/a", b"x")
    with Client.join(port, f"{name}-other") as other:
        other.publish(f"{name}/b", properties={"topic_alias": 1})
        raw.message(f"{name}/b", b"x")
    peer.publish("", b"again", properties={"topic_alias": 1})
    raw.message(f"{name}/a", b"again")


@pytest.mark.parametrize("topic", ["x", ""])
def test_mqtt5_3_3_2_8_alias_0_is_invalid(raw: Client, topic: str) -> None:
    raw.send(publish5(topic, properties={"topic_alias": 0}))
    raw.ended(ALIAS_INVALID, *VIOLATION)


@only_relevo
def test_mqtt5_3_3_2_3_4_alias_0_is_told_as_such(raw: Client) -> None:
    raw.send(publish5("x", properties={"topic_alias": 0}))
    raw.ended(ALIAS_INVALID)


def test_mqtt5_3_3_2_9_an_alias_above_the_maximum_is_invalid(raw: Client) -> None:
    above = raw.connack.one("topic_alias_maximum", 0) + 1
    if above > 65_535:
        pytest.skip("every alias is allowed")
    raw.send(publish5("x", properties={"topic_alias": above}))
    raw.ended(ALIAS_INVALID)


def test_mqtt5_3_3_2_3_4_an_unknown_alias_without_a_topic_is_a_protocol_error(raw: Client) -> None:
    alias = aliases(raw)
    raw.send(publish5("", properties={"topic_alias": alias}))
    raw.ended(PROTOCOL, ALIAS_INVALID)


def test_mqtt5_3_3_2_3_4_the_senders_alias_is_not_forwarded(port: int, peer: Client, raw: Client, name: str) -> None:
    """[MQTT-3.3.2-11]; [MQTT-3.1.2-27]: this receiver takes none."""
    aliases(peer)
    raw.subscribe(f"{name}/x")
    for topic in (f"{name}/x", ""):
        peer.publish(topic, properties={"topic_alias": 1})
        assert raw.message(f"{name}/x", b"x").properties == ()


@pytest.mark.parametrize("maximum", [1, 2, 65_535])
def test_mqtt5_3_1_2_26_aliases_towards_the_client_stay_in_its_bounds(
    port: int, peer: Client, name: str, maximum: int
) -> None:
    """The server may use none; what it uses must make sense, whatever the order of the topics."""
    known: dict[int, str] = {}
    with Client.join(port, name, properties={"topic_alias_maximum": maximum}) as raw:
        raw.subscribe(f"{name}/#")
        for n, topic in enumerate("aabcbacabcddaadbc"):
            peer.publish(f"{name}/{topic}", b"%d" % n)
            found = raw.receive("PUBLISH")
            alias = found.one("topic_alias")
            if alias is not None:
                assert 1 <= alias <= maximum
                if found.topic:
                    known[alias] = found.topic
            assert (found.topic or known[alias or 0], found.payload) == (f"{name}/{topic}", b"%d" % n)


def test_mqtt5_3_3_2_7_aliases_towards_the_client_begin_anew(port: int, peer: Client, name: str) -> None:
    for clean in (True, False):
        more = {"topic_alias_maximum": 10, "session_expiry_interval": 60 if clean else 0}
        with Client.join(port, name, clean=clean, present=not clean, properties=more) as raw:
            if clean:
                raw.subscribe((f"{name}/x", 1))
            for n in (1, 2):
                peer.publish(f"{name}/x", b"%d" % n)
                found = raw.finish(raw.receive("PUBLISH"))
                assert found.topic == f"{name}/x" or n == 2
            raw.silent()


# Retained messages


def test_mqtt5_3_3_1_5_a_new_retained_message_replaces_the_old(peer: Client, raw: Client, name: str) -> None:
    for value in (b"1", b"2"):
        peer.publish(f"{name}/r", value, retain=True, properties={"content_type": value.decode()})
    raw.subscribe(f"{name}/r")
    assert raw.message(f"{name}/r", b"2", retain=True).properties == (("content_type", "2"),)
    raw.silent()
    peer.publish(f"{name}/r", b"", retain=True)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt5_3_3_1_6_and_7_an_empty_retained_message_clears_and_is_not_kept(
    peer: Client, raw: Client, name: str, qos: int
) -> None:
    peer.publish(f"{name}/r", b"1", retain=True)
    raw.subscribe((f"{name}/r", options(qos, handling=2)))
    peer.publish(f"{name}/r", b"", qos=qos, retain=True)
    raw.finish(raw.message(f"{name}/r", b"", qos))
    raw.subscribe((f"{name}/r", qos))
    raw.silent()


def test_mqtt5_3_3_1_8_without_the_flag_nothing_is_kept_or_removed(peer: Client, raw: Client, name: str) -> None:
    peer.publish(f"{name}/new", b"1")
    peer.publish(f"{name}/old", b"kept", retain=True)
    peer.publish(f"{name}/old", b"")
    raw.subscribe(f"{name}/+")
    raw.message(f"{name}/old", b"kept", retain=True)
    raw.silent()
    peer.publish(f"{name}/old", b"", retain=True)


@pytest.mark.parametrize("stored", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_mqtt5_3_8_4_8_a_retained_message_comes_at_the_lower_qos(
    peer: Client, raw: Client, name: str, stored: int, granted: int
) -> None:
    peer.publish(f"{name}/r", b"v", qos=stored, retain=True)
    raw.subscribe((f"{name}/r", granted))
    raw.finish(raw.message(f"{name}/r", b"v", min(stored, granted), retain=True))
    peer.publish(f"{name}/r", b"", retain=True)


# Acknowledgements


@pytest.mark.parametrize("subscribed", [False, True])
def test_mqtt5_3_4_2_1_puback_says_whether_somebody_listens(
    peer: Client, raw: Client, name: str, subscribed: bool
) -> None:
    if subscribed:
        raw.subscribe(f"{name}/x")
    for qos, kind in ((1, "PUBACK"), (2, "PUBREC")):
        peer.send(publish5(f"{name}/x", qos=qos, packet_id=0x1234))
        found = peer.receive(kind)
        assert found.packet_id == 0x1234
        assert found.reason in ((0x00,) if subscribed else (0x00, 0x10))


def test_mqtt5_2_2_1_5_the_longest_forms_of_acknowledgements_are_understood(
    port: int, peer: Client, name: str
) -> None:
    """Reason and properties may be left out or written."""
    forms: list[tuple[int | None, Any]] = [
        (None, None),
        (0, None),
        (0, ()),
        (0, {"reason_string": "fine"}),
        (0, [("user_property", ("a", "b"))] * 2),
    ]
    with Client.join(port, name, properties={"receive_maximum": 1}) as raw:
        raw.subscribe((f"{name}/x", 2))
        for reason, properties in forms:
            peer.publish(f"{name}/x", b"1", qos=1)
            raw.send(ack("PUBACK", raw.message(f"{name}/x", b"1", 1).packet_id, reason, properties))
            peer.publish(f"{name}/x", b"2", qos=2)
            packet_id = raw.message(f"{name}/x", b"2", 2).packet_id
            raw.send(ack("PUBREC", packet_id, reason, properties))
            assert raw.receive("PUBREL").packet_id == packet_id
            raw.send(ack("PUBCOMP", packet_id, reason, properties))
        raw.silent()


@pytest.mark.parametrize("reason", [None, 0, 0x92])
def test_mqtt5_4_3_3_11_pubrel_is_answered_by_pubcomp_in_every_form(
    peer: Client, name: str, reason: int | None
) -> None:
    peer.send(publish5(f"{name}/x", qos=2, packet_id=9))
    assert peer.receive("PUBREC").packet_id == 9
    peer.send(ack("PUBREL", 9, reason))
    found = peer.receive("PUBCOMP")
    assert (found.packet_id, found.reason) == (9, 0)


def _unknown_pubrel(peer: Client) -> Packet:
    peer.send(ack("PUBREL", 4711))
    found = peer.receive("PUBCOMP")
    assert found.packet_id == 4711
    return found


def test_mqtt5_4_3_3_11_pubrel_of_an_unknown_id_is_answered(peer: Client) -> None:
    assert _unknown_pubrel(peer).reason in (0x00, 0x92)
    peer.silent()


@only_relevo
def test_mqtt5_3_7_2_1_pubrel_of_an_unknown_id_gets_92(peer: Client) -> None:
    assert _unknown_pubrel(peer).reason == 0x92


def test_mqtt5_4_3_3_pubrec_of_an_unknown_id_is_answered_by_pubrel_92(peer: Client) -> None:
    """Section 3.6.2.1; an answer of another kind, or none, is no violation, but the connection goes on."""
    peer.send(ack("PUBREC", 4711))
    peer.send(b"\xc0\x00")
    found = peer.receive()
    if found.kind == "PUBREL":
        assert (found.packet_id, found.reason) == (4711, 0x92)
        found = peer.receive()
    assert found.kind == "PINGRESP"


@only_relevo
def test_mqtt5_3_6_2_1_pubrec_of_an_unknown_id_gets_92(peer: Client) -> None:
    peer.send(ack("PUBREC", 4711))
    found = peer.receive("PUBREL")
    assert (found.packet_id, found.reason) == (4711, 0x92)


@pytest.mark.parametrize("kind", ["PUBACK", "PUBCOMP"])
def test_mqtt5_3_4_acknowledging_an_unknown_id_changes_nothing(peer: Client, kind: str) -> None:
    peer.send(ack(kind, 4711))
    peer.silent()


@pytest.mark.parametrize("first", [0x60, 0x61, 0x63, 0x6F])
def test_mqtt5_3_6_1_1_wrong_flags_of_pubrel_are_malformed(peer: Client, first: int) -> None:
    peer.send(packet(first, b"\x00\x01"))
    peer.ended(*VIOLATION)


@pytest.mark.parametrize("kind", ["PUBACK", "PUBREC", "PUBREL", "PUBCOMP"])
@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x01\x00\x05", b"\x00\x01\x00\x01\x7f", b"\x00\x01\x00\x00\x00"])
def test_mqtt5_3_4_2_damaged_acknowledgements_are_malformed(peer: Client, kind: str, body: bytes) -> None:
    peer.send(packet(ack(kind, 1)[0], body))
    peer.ended(*VIOLATION)


@pytest.mark.parametrize("kind", ["PUBACK", "PUBREC", "PUBREL", "PUBCOMP"])
def test_mqtt5_3_4_2_2_a_foreign_property_in_an_acknowledgement_is_malformed(peer: Client, kind: str) -> None:
    peer.send(ack(kind, 1, 0, {"content_type": "x"}))
    peer.ended(*VIOLATION)


def test_mqtt5_3_4_2_2_reason_string_twice_is_a_protocol_error(peer: Client) -> None:
    peer.send(ack("PUBREL", 1, 0, [("reason_string", "a"), ("reason_string", "b")]))
    peer.ended(*VIOLATION)


def test_mqtt5_1_5_5_1_a_remaining_length_of_five_bytes_is_malformed(peer: Client) -> None:
    peer.send(b"\x30" + varint(268_435_455)[:3] + b"\xff\x01")
    peer.ended(*VIOLATION, 0x95)


def test_mqtt5_4_6_0_5_order_of_a_topic_is_kept_for_every_qos(peer: Client, raw: Client, name: str) -> None:
    """Messages that the server may only see one after the other, in one burst."""
    raw.subscribe((f"{name}/1", 1), (f"{name}/2", 2))
    window = min(peer.connack.one("receive_maximum", 65_535), 8) // 2
    for start in range(0, 40, window):
        numbers = range(start, start + window)
        peer.send(*(publish5(f"{name}/1", b"%d" % n, qos=1, packet_id=1 + n) for n in numbers))
        peer.send(*(publish5(f"{name}/2", b"%d" % n, qos=2, packet_id=100 + n) for n in numbers))
        answers = [peer.receive() for _ in range(2 * window)]
        # [MQTT-4.6.0-2], [MQTT-4.6.0-3]
        assert [one.packet_id for one in answers if one.kind == "PUBACK"] == [1 + n for n in numbers]
        assert [one.packet_id for one in answers if one.kind == "PUBREC"] == [100 + n for n in numbers]
        peer.send(*(ack("PUBREL", 100 + n) for n in numbers))
        assert [peer.receive("PUBCOMP").packet_id for _ in numbers] == [100 + n for n in numbers]
        found = []
        while len(found) < 2 * window:
            found.append(raw.finish(raw.receive("PUBLISH")))
        for qos in (1, 2):
            assert [int(one.payload) for one in found if one.topic == f"{name}/{qos}"] == list(numbers)
