"""MQTT 5.0 sections 3.1, 3.2 and 4.12: CONNECT, CONNACK and authentication."""

import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw import Raw, packet, text
from tests.conformance.raw5 import (
    FOREIGN,
    FOREVER,
    PROTOCOL,
    VIOLATION,
    Client,
    Properties,
    Will,
    auth5,
    connect5,
    only_relevo,
    options,
    prop,
    props,
    publish5,
    serving,
    subscribe5,
    unsubscribe5,
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory, RELEVO_LIMITS__CONNECT_TIMEOUT_S="1", RELEVO_LIMITS__KEEPALIVE_MAX_S="60") as found:
        yield found


@pytest.fixture
def peer(port: int, name: str) -> Iterator[Client]:
    """A second client, for looking at what the first one did."""
    with Client.join(port, f"{name}-peer") as found:
        yield found


def refused(port: int, data: bytes, *reasons: int) -> None:
    with Client(port, data) as raw:
        raw.refused(*reasons)


# Header and flags


def test_mqtt5_3_1_0_2_second_connect_is_a_protocol_error(port: int, name: str) -> None:
    with Client.join(port, name) as raw:
        raw.send(connect5(name))
        raw.ended(PROTOCOL)


def test_mqtt5_3_1_0_1_first_packet_must_be_connect(port: int, name: str) -> None:
    with Raw(port, publish5(name)) as raw:
        raw.expect_closed()


@pytest.mark.parametrize("protocol", ["MQIsdp", "mqtt", "MQTTX", ""])
def test_mqtt5_3_1_2_1_wrong_protocol_name_is_not_served(port: int, name: str, protocol: str) -> None:
    data = packet(0x10, text(protocol) + b"\x05\x02\x00\x00\x00" + text(name))
    with Raw(port, data) as raw:
        found = raw.packet()
        assert found == b"" or (found[0] == 0x20 and found[3] != 0), found.hex(" ")
        if found:
            raw.expect_closed()


@pytest.mark.parametrize("level", [6, 7, 127])
def test_mqtt5_3_1_2_2_unknown_version_is_refused_and_closed(port: int, name: str, level: int) -> None:
    data = packet(0x10, text("MQTT") + bytes((level, 2)) + b"\x00\x00\x00" + text(name))
    with Raw(port, data) as raw:
        found = raw.packet()
        # Nobody knows the CONNACK of an unknown version: the code of 3.1.1 and the one of 5.0 both say it.
        assert found == b"" or found in (b"\x20\x02\x00\x01", b"\x20\x02\x00\x84", b"\x20\x03\x00\x84\x00")
        if found:
            raw.expect_closed()


def test_mqtt5_3_1_2_3_reserved_flag_must_be_zero(port: int, name: str) -> None:
    refused(port, connect5(name, flags=1), *VIOLATION)


@pytest.mark.parametrize("flags", [0x08, 0x10], ids=["qos-1", "qos-2"])
def test_mqtt5_3_1_2_11_will_qos_without_a_will_is_malformed(port: int, name: str, flags: int) -> None:
    refused(port, connect5(name, flags=flags), *VIOLATION)


def test_mqtt5_3_1_2_12_will_qos_3_is_malformed(port: int, name: str) -> None:
    refused(port, connect5(name, will=Will(f"{name}/will", qos=3)), *VIOLATION)


def test_mqtt5_3_1_2_13_will_retain_without_a_will_is_malformed(port: int, name: str) -> None:
    refused(port, connect5(name, flags=0x20), *VIOLATION)


@pytest.mark.parametrize("flag", [0x80, 0x40, 0x04], ids=["user-name", "password", "will"])
def test_mqtt5_3_1_2_17_19_9_announced_fields_must_be_present(port: int, name: str, flag: int) -> None:
    refused(port, connect5(name, flags=flag), *VIOLATION)


def test_mqtt5_3_1_2_18_bytes_behind_the_last_field_are_malformed(port: int, name: str) -> None:
    data = packet(0x10, text("MQTT") + b"\x05\x02\x00\x00\x00" + text(name) + text("more"))
    refused(port, data, *VIOLATION)


def test_mqtt5_3_1_2_9_password_without_user_name_is_well_formed(port: int, name: str) -> None:
    """Section 3.1.2.9; whether it is good enough is another question."""
    with Client(port, connect5(name, password=b"secret")) as raw:
        assert raw.receive("CONNACK").reason not in VIOLATION


@pytest.mark.parametrize("client_id", [b"a\x00b", b"\xc3\x28", b"\xed\xa0\x80"], ids=["nul", "bad-utf8", "surrogate"])
def test_mqtt5_3_1_3_4_client_id_must_be_utf_8(port: int, client_id: bytes) -> None:
    data = packet(0x10, text("MQTT") + b"\x05\x02\x00\x00\x00" + text(client_id))
    refused(port, data, *VIOLATION, 0x85)


def test_mqtt5_3_1_3_5_letters_and_digits_are_a_client_id(port: int) -> None:
    for client_id in ("0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ", "Z"):
        Client.join(port, client_id).drop()


def test_mqtt5_3_1_3_6_and_3_2_2_16_empty_client_ids_get_different_ones(port: int) -> None:
    with Client.join(port, "") as one, Client.join(port, "") as two:
        assigned = {raw.connack.one("assigned_client_identifier") for raw in (one, two)}
        assert len(assigned) == 2
        assert all(assigned)
        one.silent()


def test_mqtt5_3_1_3_7_the_assigned_identifier_is_the_clients_own(port: int) -> None:
    with Client.join(port, "", properties={"session_expiry_interval": 60}) as raw:
        assigned = raw.connack.one("assigned_client_identifier")
        raw.leave()
    Client.join(port, assigned, clean=False, present=True).leave(0, {"session_expiry_interval": 0})


def test_mqtt5_3_1_3_6_empty_client_id_needs_no_clean_start(port: int) -> None:
    with Client.join(port, "", clean=False) as raw:
        assert raw.connack.one("assigned_client_identifier")


def test_mqtt5_3_2_2_16_a_given_client_id_is_not_assigned(port: int, name: str) -> None:
    with Client.join(port, name) as raw:
        assert raw.connack.one("assigned_client_identifier") is None


# Properties


SINGLE: dict[str, Any] = {
    "session_expiry_interval": 1,
    "receive_maximum": 10,
    "maximum_packet_size": 1000,
    "topic_alias_maximum": 2,
    "request_response_information": 0,
    "request_problem_information": 1,
    "authentication_method": "x",
    "authentication_data": b"x",
}


@pytest.mark.parametrize("which", SINGLE)
def test_mqtt5_3_1_2_11_a_property_twice_is_a_protocol_error(port: int, name: str, which: str) -> None:
    """Sections 3.1.2.11.2 to 3.1.2.11.10."""
    refused(port, connect5(name, properties=[(which, SINGLE[which])] * 2), *VIOLATION)


@pytest.mark.parametrize("which", ["receive_maximum", "maximum_packet_size"])
def test_mqtt5_3_1_2_11_zero_is_a_protocol_error(port: int, name: str, which: str) -> None:
    """Sections 3.1.2.11.3 and 3.1.2.11.4."""
    refused(port, connect5(name, properties={which: 0}), *VIOLATION)


@pytest.mark.parametrize("which", ["request_problem_information", "request_response_information"])
def test_mqtt5_3_1_2_11_a_flag_other_than_0_and_1_is_a_protocol_error(port: int, name: str, which: str) -> None:
    """Sections 3.1.2.11.6 and 3.1.2.11.7."""
    refused(port, connect5(name, properties={which: 2}), *VIOLATION)


FOREIGN_TO_CONNECT: list[tuple[str, Any]] = [
    ("payload_format_indicator", 1),
    ("message_expiry_interval", 1),
    ("content_type", "x"),
    ("response_topic", "x"),
    ("correlation_data", b"x"),
    ("subscription_identifier", 1),
    ("assigned_client_identifier", "x"),
    ("server_keep_alive", 1),
    ("will_delay_interval", 1),
    ("response_information", "x"),
    ("server_reference", "x"),
    ("reason_string", "x"),
    ("topic_alias", 1),
    ("maximum_qos", 1),
    ("retain_available", 1),
    ("wildcard_subscription_available", 1),
    ("subscription_identifier_available", 1),
    ("shared_subscription_available", 1),
]


@pytest.mark.parametrize(("which", "value"), FOREIGN_TO_CONNECT)
def test_mqtt5_2_2_2_2_a_property_of_another_packet_is_malformed(port: int, name: str, which: str, value: Any) -> None:
    refused(port, connect5(name, properties={which: value}), *VIOLATION)


FOREIGN_TO_WILL: list[tuple[str, Any]] = [
    ("subscription_identifier", 1),
    ("session_expiry_interval", 1),
    ("receive_maximum", 1),
    ("topic_alias", 1),
    ("reason_string", "x"),
]


@pytest.mark.parametrize(("which", "value"), FOREIGN_TO_WILL)
def test_mqtt5_3_1_3_2_a_will_may_not_carry_every_property(port: int, name: str, which: str, value: Any) -> None:
    refused(port, connect5(name, will=Will(name, properties={which: value})), *VIOLATION)


WILL_SINGLE: dict[str, Any] = {
    "will_delay_interval": 1,
    "payload_format_indicator": 1,
    "message_expiry_interval": 1,
    "content_type": "x",
    "response_topic": "x",
    "correlation_data": b"x",
}


@pytest.mark.parametrize("which", WILL_SINGLE)
def test_mqtt5_3_1_3_2_a_will_property_twice_is_a_protocol_error(port: int, name: str, which: str) -> None:
    refused(port, connect5(name, will=Will(name, properties=[(which, WILL_SINGLE[which])] * 2)), *VIOLATION)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x7f",  # no such property
        b"\x00\x00",
        b"\x11\x00\x00",  # ends inside the value
        b"\x11",
        b"\x26\x00\x01a",  # a pair without its second half
        b"\x26\x00\x01a\x00\x05b",
        b"\x26\x00\x01a\x00\x02\xc3\x28",
        b"\x26\x00\x03a\x00b\x00\x01c",
        b"\x15\x00\x02\xed\xa0",
        b"\xff\xff\xff\xff\x7f",  # identifier of five bytes
    ],
    ids=lambda raw: raw.hex(),
)
def test_mqtt5_2_2_2_2_damaged_properties_are_malformed(port: int, name: str, raw: bytes) -> None:
    refused(port, connect5(name, properties=raw), *VIOLATION)


@pytest.mark.parametrize("length", [b"\x7f", b"\xff\xff\xff\xff\x01", b"\x80"], ids=["too-long", "5-bytes", "cut"])
def test_mqtt5_1_5_5_1_wrong_length_of_the_properties_is_malformed(port: int, length: bytes) -> None:
    refused(port, packet(0x10, text("MQTT") + b"\x05\x02\x00\x00" + length), *VIOLATION)


def test_mqtt5_3_1_2_11_8_user_properties_may_repeat(port: int, name: str) -> None:
    pairs = [("user_property", ("a", "1")), ("user_property", ("a", "2")), ("user_property", ("", ""))]
    Client.join(port, name, properties=pairs).drop()


def test_mqtt5_3_2_2_3_what_connack_leaves_out_has_its_default(port: int, name: str) -> None:
    """Limits that are announced make sense."""
    with Client.join(port, name) as raw:
        assert raw.connack.one("maximum_qos", 0) in (0, 1)
        assert raw.connack.one("retain_available", 1) in (0, 1)
        assert raw.connack.one("receive_maximum", 65_535) > 0
        assert raw.connack.one("maximum_packet_size", FOREVER) > 0


def test_mqtt5_3_1_2_28_no_response_information_unless_asked_for(port: int, name: str) -> None:
    with Client.join(port, name, properties={"request_response_information": 0}) as raw:
        assert raw.connack.one("response_information") is None


@only_relevo
def test_mqtt5_3_2_2_3_nothing_is_restricted(port: int, name: str) -> None:
    """All of QoS 2, retain, wildcards, identifiers and shared subscriptions."""
    with Client.join(port, name) as raw:
        assert raw.connack.one("maximum_qos") is None
        for which in (
            "retain_available",
            "wildcard_subscription_available",
            "subscription_identifier_available",
            "shared_subscription_available",
        ):
            assert raw.connack.one(which, 1) == 1, which


# Keep-alive


def test_mqtt5_3_1_2_22_silence_of_one_and_a_half_keep_alives_ends_with_8d(port: int, name: str) -> None:
    begun = time.monotonic()
    with Client.join(port, name, keep_alive=1) as raw:
        assert raw.connack.one("server_keep_alive", 1) == 1
        raw.ended(0x8D, seconds=8)
    assert 1.4 <= time.monotonic() - begun <= (8 if FOREIGN else 3.5)


@only_relevo
@pytest.mark.parametrize("asked", [0, 61, 65_535])
def test_mqtt5_3_2_2_21_server_keep_alive_replaces_one_that_is_too_long(port: int, name: str, asked: int) -> None:
    with Client.join(port, name, keep_alive=asked) as raw:
        assert raw.connack.one("server_keep_alive") == 60


@only_relevo
def test_mqtt5_3_2_2_22_a_keep_alive_in_bounds_stays_the_clients(port: int, name: str) -> None:
    with Client.join(port, name, keep_alive=30) as raw:
        assert raw.connack.one("server_keep_alive", 30) == 30


# Taking over, and who is not let in


def test_mqtt5_3_1_4_3_same_id_ends_the_older_connection_with_8e(port: int, name: str) -> None:
    with Client.join(port, name) as old, Client.join(port, name) as new:
        assert old.receive("DISCONNECT").reason == 0x8E
        old.expect_closed()
        new.silent()


@pytest.mark.parametrize("method", ["SCRAM-SHA-1", "GS2-KRB5", ""])
def test_mqtt5_4_12_0_1_unknown_authentication_method_gets_8c(port: int, name: str, method: str) -> None:
    refused(port, connect5(name, properties={"authentication_method": method}), 0x8C)


@only_relevo
def test_mqtt5_4_12_0_1_unknown_authentication_method_is_told(port: int, name: str) -> None:
    with Client(port, connect5(name, properties={"authentication_method": "SCRAM-SHA-1"})) as raw:
        assert raw.receive("CONNACK").reason == 0x8C
        raw.expect_closed()


def test_mqtt5_3_1_2_11_10_authentication_data_without_a_method_is_a_protocol_error(port: int, name: str) -> None:
    refused(port, connect5(name, properties={"authentication_data": b"x"}), *VIOLATION)


@pytest.mark.parametrize(
    "data",
    [auth5(), auth5(0x18, {"authentication_method": "x"}), auth5(0x19)],
    ids=["bare", "continue", "again"],
)
def test_mqtt5_4_12_0_7_auth_of_a_client_without_a_method_is_a_protocol_error(
    port: int, name: str, data: bytes
) -> None:
    with Client.join(port, name) as raw:
        raw.send(data)
        raw.ended(*VIOLATION, 0x8C)


def test_mqtt5_4_12_0_1_auth_before_connect_is_closed(port: int) -> None:
    with Raw(port, auth5(0x18, {"authentication_method": "x"})) as raw:
        raw.expect_closed()


def test_mqtt5_3_1_4_6_what_follows_a_refused_connect_is_not_processed(port: int, name: str, peer: Client) -> None:
    peer.subscribe(f"{name}/x")
    bad = connect5(name, properties={"receive_maximum": 0})
    with Client(port, bad + publish5(f"{name}/x", b"forged")) as raw:
        raw.refused(*VIOLATION)
    peer.silent()


def test_mqtt5_3_1_4_5_packets_sent_before_connack_are_processed_behind_it(port: int, name: str, peer: Client) -> None:
    """Section 3.1.4: a client need not wait."""
    peer.subscribe((f"{name}/x", 1))
    with Client(port, connect5(name) + publish5(f"{name}/x", b"early", qos=1)) as raw:
        assert raw.receive("CONNACK").reason == 0
        assert raw.receive("PUBACK").packet_id == 1
    peer.message(f"{name}/x", b"early", qos=1)


def test_mqtt5_3_1_4_1_a_trickled_connect_is_served(port: int, name: str) -> None:
    with Client(port) as raw:
        raw.send_slowly(connect5(name, properties={"session_expiry_interval": 0}))
        assert raw.receive("CONNACK").reason == 0


# Largest packet of the client


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt5_3_1_2_24_and_25_a_packet_too_large_for_the_client_is_left_out(
    port: int, name: str, peer: Client, qos: int
) -> None:
    with Client.join(port, name, properties={"maximum_packet_size": 60, "receive_maximum": 1}) as small:
        small.subscribe((f"{name}/x", qos))
        peer.publish(f"{name}/x", bytes(61), qos=qos)
        peer.publish(f"{name}/x", b"fits", qos=qos, packet_id=2)
        small.finish(small.message(f"{name}/x", b"fits", qos))
        small.silent()


def test_mqtt5_3_1_2_24_a_packet_of_exactly_the_limit_is_sent(port: int, name: str, peer: Client) -> None:
    topic = f"{name}/x"
    payload = bytes(60 - len(publish5(topic, b"")))
    with Client.join(port, name, properties={"maximum_packet_size": 60}) as small:
        small.subscribe(topic)
        peer.publish(topic, payload + b"+")
        peer.publish(topic, payload)
        small.message(topic, payload)
        small.silent()


def test_mqtt5_3_1_2_24_properties_count_towards_the_size(port: int, name: str, peer: Client) -> None:
    with Client.join(port, name, properties={"maximum_packet_size": 60}) as small:
        small.subscribe(f"{name}/x")
        peer.publish(f"{name}/x", b"with", properties={"user_property": ("k", "v" * 60)})
        peer.publish(f"{name}/x", b"without")
        small.message(f"{name}/x", b"without")
        small.silent()


def test_mqtt5_3_1_2_24_a_retained_message_too_large_is_left_out(port: int, name: str, peer: Client) -> None:
    peer.publish(f"{name}/r", bytes(100), retain=True)
    with Client.join(port, name, properties={"maximum_packet_size": 60}) as small:
        assert small.subscribe((f"{name}/r", 1)) == (1,)
        small.silent()
    peer.publish(f"{name}/r", b"", retain=True)


def test_mqtt5_3_1_2_25_the_other_receivers_still_get_it(port: int, name: str, peer: Client) -> None:
    peer.subscribe((f"{name}/x", 1))
    with Client.join(port, name, properties={"maximum_packet_size": 60}) as small:
        small.subscribe((f"{name}/x", 1))
        small.publish(f"{name}/x", bytes(100))
        small.silent()
        peer.message(f"{name}/x", bytes(100), 1)


@pytest.mark.parametrize("failing", [False, True])
def test_mqtt5_3_1_2_29_without_problem_information_no_packet_explains_itself(
    port: int, name: str, failing: bool
) -> None:
    with Client.join(port, name, properties={"request_problem_information": 0}) as raw:
        raw.send(subscribe5((f"{name}/x", 0)), unsubscribe5(f"{name}/never"), publish5(f"{name}/nobody", qos=1))
        raw.send(publish5(f"{name}/nobody", qos=2, packet_id=2))
        kinds = ("SUBACK", "UNSUBACK", "PUBACK", "PUBREC")
        answers = [raw.receive(kind) for kind in kinds]
        if failing:
            raw.send(struct.pack("!BBH", 0x62, 2, 999))
            answers.append(raw.receive("PUBCOMP"))
        assert not any(answer.properties for answer in answers)


def test_mqtt5_3_1_2_29_without_problem_information_publish_keeps_user_properties(port: int, name: str) -> None:
    with Client.join(port, name, properties={"request_problem_information": 0}) as raw:
        raw.subscribe(f"{name}/x")
        raw.send(publish5(f"{name}/x", properties={"user_property": ("k", "v")}))
        assert raw.message(f"{name}/x", b"x").all("user_property") == [("k", "v")]


# Will


def dies(port: int, name: str, will: Will, **more: Any) -> None:
    Client.join(port, f"{name}-dies", will=will, **more).drop()


def test_mqtt5_3_1_2_8_will_is_published_when_the_connection_breaks(port: int, name: str, peer: Client) -> None:
    peer.subscribe((f"{name}/will", 2))
    dies(port, name, Will(f"{name}/will", qos=1))
    peer.message(f"{name}/will", b"gone", 1)


def test_mqtt5_3_1_2_8_will_is_published_after_a_protocol_error(port: int, name: str, peer: Client) -> None:
    peer.subscribe(f"{name}/will")
    with Client.join(port, name, will=Will(f"{name}/will")) as raw:
        raw.send(publish5("a/+"))
        peer.message(f"{name}/will", b"gone")


def test_mqtt5_3_1_2_10_disconnect_0_discards_the_will(port: int, name: str, peer: Client) -> None:
    peer.subscribe(f"{name}/will")
    for how in (None, 0):
        Client.join(port, name, will=Will(f"{name}/will")).leave(how)
    peer.silent()


@pytest.mark.parametrize("reason", [0x04, 0x80, 0x93, 0x99])
def test_mqtt5_3_14_4_3_other_reasons_of_disconnect_publish_the_will(
    port: int, name: str, peer: Client, reason: int
) -> None:
    peer.subscribe(f"{name}/will")
    Client.join(port, name, will=Will(f"{name}/will")).leave(reason)
    peer.message(f"{name}/will", b"gone")


@pytest.mark.parametrize("retain", [False, True])
def test_mqtt5_3_1_2_14_and_15_will_is_retained_as_asked(port: int, name: str, peer: Client, retain: bool) -> None:
    peer.subscribe(f"{name}/will")
    dies(port, name, Will(f"{name}/will", retain=retain))
    peer.message(f"{name}/will", b"gone")
    peer.subscribe(f"{name}/will")
    if retain:
        peer.message(f"{name}/will", b"gone", retain=True)
    peer.publish(f"{name}/will", b"", retain=True)


def test_mqtt5_3_1_3_2_will_properties_are_those_of_the_message(port: int, name: str, peer: Client) -> None:
    carried: list[tuple[str, Any]] = [
        ("payload_format_indicator", 1),
        ("content_type", "text/plain"),
        ("response_topic", f"{name}/answer"),
        ("correlation_data", b"\x00\xff"),
    ]
    peer.subscribe(f"{name}/will")
    dies(port, name, Will(f"{name}/will", properties=carried))
    assert sorted(peer.message(f"{name}/will", b"gone").properties) == sorted(carried)


def test_mqtt5_3_1_3_10_user_properties_of_a_will_keep_their_order(port: int, name: str, peer: Client) -> None:
    pairs = [("z", "1"), ("a", "2"), ("z", "1"), ("m", "")]
    peer.subscribe(f"{name}/will")
    dies(port, name, Will(f"{name}/will", properties=[("user_property", pair) for pair in pairs]))
    assert peer.message(f"{name}/will", b"gone").all("user_property") == pairs


def test_mqtt5_3_1_3_2_4_a_will_expires_from_its_publication_on(port: int, name: str, peer: Client) -> None:
    peer.subscribe(f"{name}/will")
    dies(port, name, Will(f"{name}/will", properties={"message_expiry_interval": 100}))
    assert peer.message(f"{name}/will", b"gone").one("message_expiry_interval") in (99, 100)


@pytest.mark.parametrize("topic", ["a/+", "#", ""])
def test_mqtt5_3_1_3_11_will_topic_must_be_a_topic_name(port: int, name: str, topic: str) -> None:
    refused(port, connect5(name, will=Will(topic)), *VIOLATION, 0x90)


@only_relevo
def test_mqtt5_3_3_2_14_response_topic_of_a_will_has_no_wildcards(port: int, name: str) -> None:
    refused(port, connect5(name, will=Will(name, properties={"response_topic": "a/#"})), *VIOLATION, 0x90)


@only_relevo
def test_mqtt5_3_1_3_2_3_payload_format_of_a_will_is_0_or_1(port: int, name: str) -> None:
    refused(port, connect5(name, will=Will(name, properties={"payload_format_indicator": 2})), *VIOLATION)


def test_mqtt5_3_1_2_7_takeover_publishes_the_will_of_the_older_connection(port: int, name: str, peer: Client) -> None:
    peer.subscribe(f"{name}/will")
    with Client.join(port, name, will=Will(f"{name}/will")) as old, Client.join(port, name):
        old.ended(0x8E)
        peer.message(f"{name}/will", b"gone")


def test_mqtt5_3_1_2_10_a_new_connection_has_its_own_will(port: int, name: str, peer: Client) -> None:
    """The will of an earlier connection is not published for a later one."""
    peer.subscribe(f"{name}/will")
    kept: Properties = {"session_expiry_interval": 60}
    Client.join(port, name, will=Will(f"{name}/will", b"first"), properties=kept).leave()
    Client.join(port, name, clean=False, present=True, properties={"session_expiry_interval": 0}).drop()
    dies(port, name, Will(f"{name}/will", b"other"))
    peer.message(f"{name}/will", b"other")
    peer.silent()


def test_mqtt5_3_1_2_8_a_will_reaches_shared_and_plain_subscribers_once(port: int, name: str, peer: Client) -> None:
    peer.subscribe((f"{name}/will", options(1)))
    with Client.join(port, name) as member:
        member.subscribe((f"$share/{name}/{name}/will", options(1)))
        dies(port, name, Will(f"{name}/will", qos=1))
        member.message(f"{name}/will", b"gone", 1)
        member.silent()
    peer.message(f"{name}/will", b"gone", 1)
    peer.silent()


def test_mqtt5_2_2_2_1_a_long_property_length_is_read(port: int, name: str) -> None:
    """A property length of two bytes, and the largest user property."""
    big = prop("user_property", ("k" * 1000, "v" * 20_000))
    assert len(props(big)) > 20_000
    Client.join(port, name, properties=big).drop()


def test_mqtt5_3_14_0_1_connect_errors_are_never_told_by_disconnect(port: int, name: str) -> None:
    with Client(port, connect5(name, properties={"receive_maximum": 0})) as raw:
        assert raw.packet()[:1] in (b"", b"\x20")
