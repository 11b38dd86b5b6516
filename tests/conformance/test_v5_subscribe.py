"""MQTT 5.0 sections 3.8 to 3.11 and 4.7: subscriptions, their options and identifiers, topic filters."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw import packet, text
from tests.conformance.raw5 import (
    VIOLATION,
    Client,
    only_relevo,
    options,
    publish5,
    serving,
    subscribe5,
    unsubscribe5,
)


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


@pytest.fixture
def kept(peer: Client, name: str) -> Iterator[str]:
    """A topic with a retained message ``kept``."""
    peer.publish(f"{name}/r", b"kept", retain=True)
    yield f"{name}/r"
    peer.publish(f"{name}/r", b"", retain=True)


def refused_filter(client: Client, data: bytes) -> None:
    """A SUBSCRIBE or UNSUBSCRIBE that is answered by an error for its only filter, or by the end."""
    client.send(data)
    raw = client.packet()
    assert raw[:1] in (b"", b"\x90", b"\xb0", b"\xe0"), raw.hex(" ")
    if raw[:1] == b"\xe0":
        assert raw[2] in (*VIOLATION, 0x8F)
        client.expect_closed()
    elif raw:
        assert raw[-1] >= 0x80, raw.hex(" ")


# SUBSCRIBE and SUBACK


def test_mqtt5_3_8_4_1_2_6_and_3_9_3_1_every_filter_has_its_reason(raw: Client, name: str) -> None:
    raw.send(subscribe5((f"{name}/c", 2), (f"{name}/a", 0), (f"{name}/b", 1), packet_id=0x0102))
    found = raw.receive("SUBACK")
    assert (found.packet_id, found.reasons) == (0x0102, (2, 0, 1))


@pytest.mark.parametrize("which", ["user_property", "subscription_identifier"])
def test_mqtt5_3_8_2_1_subscribe_may_carry_properties(raw: Client, name: str, which: str) -> None:
    value: Any = ("k", "v") if which == "user_property" else 268_435_455
    assert raw.subscribe((f"{name}/x", 2), properties={which: value}) == (2,)


def test_mqtt5_3_8_3_2_subscribe_without_a_filter_is_a_protocol_error(raw: Client) -> None:
    raw.send(subscribe5())
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("bits", [0x40, 0x80, 0xC0])
def test_mqtt5_3_8_3_5_reserved_bits_of_the_options_are_malformed(raw: Client, bits: int) -> None:
    raw.send(subscribe5(("a", bits)))
    raw.ended(*VIOLATION)


def test_mqtt5_3_8_3_1_qos_3_is_a_protocol_error(raw: Client) -> None:
    raw.send(subscribe5(("a", 3)))
    raw.ended(*VIOLATION)


def test_mqtt5_3_8_3_1_retain_handling_3_is_a_protocol_error(raw: Client) -> None:
    raw.send(subscribe5(("a", options(handling=3))))
    raw.ended(*VIOLATION)


def test_mqtt5_3_8_2_1_2_subscription_identifier_0_is_a_protocol_error(raw: Client) -> None:
    raw.send(subscribe5(("a", 0), properties={"subscription_identifier": 0}))
    raw.ended(*VIOLATION)


def test_mqtt5_3_8_2_1_2_subscription_identifier_twice_is_a_protocol_error(raw: Client) -> None:
    raw.send(subscribe5(("a", 0), properties=[("subscription_identifier", 1), ("subscription_identifier", 2)]))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("ident", [b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\x7f", b"\x80"])
def test_mqtt5_1_5_5_1_subscription_identifier_of_five_bytes_is_malformed(raw: Client, ident: bytes) -> None:
    raw.send(subscribe5(("a", 0), properties=b"\x0b" + ident))
    raw.ended(*VIOLATION)


FOREIGN = {"topic_alias": 1, "message_expiry_interval": 1, "reason_string": "x", "session_expiry_interval": 1}


@pytest.mark.parametrize("which", FOREIGN)
def test_mqtt5_2_2_2_2_a_property_of_another_packet_is_malformed(raw: Client, which: str) -> None:
    raw.send(subscribe5(("a", 0), properties={which: FOREIGN[which]}))
    raw.ended(*VIOLATION)


def test_mqtt5_2_2_2_2_unsubscribe_carries_no_subscription_identifier(raw: Client) -> None:
    raw.send(unsubscribe5("a", properties={"subscription_identifier": 1}))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("first", [0x80, 0x81, 0x83, 0x8A, 0xA0, 0xA3])
def test_mqtt5_3_8_1_1_and_3_10_1_1_wrong_flags_are_malformed(raw: Client, first: int) -> None:
    raw.send(packet(first, b"\x00\x01\x00" + text("a") + b"\x00"))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("data", [subscribe5(("a", 0), packet_id=0), unsubscribe5("a", packet_id=0)])
def test_mqtt5_2_2_1_3_packet_id_zero_is_a_violation(raw: Client, data: bytes) -> None:
    raw.send(data)
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("filter_", [b"\xc3\x28", b"a\x00", b"\xed\xa0\x80"], ids=["bad-utf8", "nul", "surrogate"])
@pytest.mark.parametrize("first", [0x82, 0xA2])
def test_mqtt5_3_8_3_1_and_3_10_3_1_filters_must_be_utf_8(raw: Client, filter_: bytes, first: int) -> None:
    raw.send(packet(first, b"\x00\x01\x00" + text(filter_) + (b"\x00" if first == 0x82 else b"")))
    raw.ended(*VIOLATION, 0x8F)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\x00\x01",
        b"\x00\x01\x00\x00",
        b"\x00\x01\x00\x00\x05a",
        b"\x00\x01\x00\x00\x01a",
        b"\x00\x01\x09",
    ],
    ids=lambda raw: raw.hex() or "empty",
)
def test_mqtt5_3_8_3_truncated_subscribe_is_malformed(raw: Client, body: bytes) -> None:
    raw.send(packet(0x82, body))
    raw.ended(*VIOLATION)


# Filters


@pytest.mark.parametrize(
    ("filter_", "topic", "fits"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("a//b", "a//b", True),
        ("a/+/b", "a//b", True),
        ("accounts", "Accounts", False),
        ("a b/ç", "a b/ç", True),
        ("\u00e9", "e\u0301", False),
    ],
)
def test_mqtt5_4_7_filters_match_as_the_standard_says(
    peer: Client, raw: Client, name: str, filter_: str, topic: str, fits: bool
) -> None:
    raw.subscribe((filter_, options(handling=2)))
    peer.publish(topic, name.encode())
    if fits:
        raw.message(topic, name.encode())
    raw.silent()


@pytest.mark.parametrize("filter_", ["sport/tennis#", "sport/#/ranking", "sport+", "+a/b", "a/b+", "##", ""])
def test_mqtt5_4_7_1_and_4_7_3_1_malformed_filters_are_refused(raw: Client, filter_: str) -> None:
    refused_filter(raw, subscribe5((filter_, 0)))


def test_mqtt5_4_7_2_1_wildcards_do_not_match_dollar_topics(port: int, raw: Client, name: str) -> None:
    raw.subscribe(("#", options(handling=2)), (f"+/{name}", 0), ("+/#", options(handling=2)))
    with Client.join(port, f"{name}-forger") as forger:
        forger.send(publish5(f"$SYS/{name}", b"forged"), publish5(f"$own/{name}", b"forged"))
        forger.send(b"\xc0\x00")
        forger.packet()
    assert not [one.topic for one in raw.pending() if one.topic.startswith("$")]


@only_relevo
@pytest.mark.parametrize("topic", ["$SYS/broker/uptime", "$own/x", "$share/g/x"])
def test_mqtt5_4_7_2_nobody_publishes_to_dollar_topics(port: int, raw: Client, topic: str) -> None:
    raw.subscribe("$SYS/#", "$own/#")
    with Client.join(port, "forger") as forger:
        forger.send(publish5(topic, b"forged", qos=1))
        raw_answer = forger.packet()
        assert raw_answer[0] in (0x40, 0xE0)
    raw.silent()


# Retained messages and the options


def test_mqtt5_3_3_1_9_handling_0_sends_retained_at_every_subscribe(raw: Client, kept: str) -> None:
    for _ in range(2):
        raw.subscribe((kept, options(handling=0)))
        raw.message(kept, b"kept", retain=True)
        raw.silent()


def test_mqtt5_3_3_1_10_handling_1_sends_retained_to_new_subscriptions_only(raw: Client, kept: str) -> None:
    raw.subscribe((kept, options(handling=1)))
    raw.message(kept, b"kept", retain=True)
    raw.subscribe((kept, options(1, handling=1)))
    raw.silent()
    raw.unsubscribe(kept)
    raw.subscribe((kept, options(handling=1)))
    raw.message(kept, b"kept", retain=True)


def test_mqtt5_3_3_1_10_handling_1_in_a_resumed_session_is_not_new(port: int, name: str, kept: str) -> None:
    lasting = {"session_expiry_interval": 60}
    with Client.join(port, name, properties=lasting) as raw:
        raw.subscribe((kept, options(handling=1)))
        raw.message(kept, b"kept", retain=True)
        raw.leave()
    with Client.join(port, name, clean=False, present=True) as raw:
        raw.subscribe((kept, options(handling=1)))
        raw.silent()


def test_mqtt5_3_3_1_11_handling_2_sends_no_retained(raw: Client, kept: str) -> None:
    for _ in range(2):
        raw.subscribe((kept, options(handling=2)))
        raw.silent()


def test_mqtt5_3_3_1_12_a_live_message_has_no_retain_flag(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe((f"{name}/r", options(as_published=False)))
    for retain in (True, False):
        peer.publish(f"{name}/r", b"v", retain=retain)
        raw.message(f"{name}/r", b"v", retain=False)
    peer.publish(f"{name}/r", b"", retain=True)


def test_mqtt5_3_3_1_13_retain_as_published_keeps_the_flag(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe((f"{name}/r", options(1, as_published=True)))
    for retain in (True, False):
        peer.publish(f"{name}/r", b"v", retain=retain)
        raw.message(f"{name}/r", b"v", 1, retain=retain)
    peer.publish(f"{name}/r", b"", retain=True)
    raw.message(f"{name}/r", b"", 1, retain=True)


def test_mqtt5_3_3_1_9_retained_messages_have_the_flag_whatever_the_options(raw: Client, kept: str) -> None:
    """Section 3.3.1.3: sent because of a subscription, so 1."""
    for as_published in (False, True):
        raw.subscribe((kept, options(as_published=as_published)))
        raw.message(kept, b"kept", retain=True)


def test_mqtt5_3_8_3_3_no_local_keeps_own_messages_away(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe((f"{name}/x", options(1, no_local=True)))
    for qos in (0, 1, 2):
        raw.publish(f"{name}/x", b"own", qos=qos)
    peer.publish(f"{name}/x", b"other")
    raw.message(f"{name}/x", b"other", 1)
    raw.silent()


def test_mqtt5_3_8_3_3_without_no_local_own_messages_come(raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/x")
    raw.publish(f"{name}/x", b"own")
    raw.message(f"{name}/x", b"own")


def test_mqtt5_3_8_3_3_another_subscription_may_still_deliver_own_messages(raw: Client, name: str) -> None:
    raw.subscribe((f"{name}/x", options(no_local=True)), (f"{name}/+", 0))
    raw.publish(f"{name}/x", b"own")
    raw.message(f"{name}/x", b"own")
    raw.silent()


# Replacing and leaving


def test_mqtt5_3_8_4_3_the_same_filter_again_replaces_the_subscription(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe((f"{name}/x", options(2, no_local=True)), properties={"subscription_identifier": 1})
    raw.subscribe((f"{name}/x", options(1)), properties={"subscription_identifier": 2})
    raw.publish(f"{name}/x", qos=2)
    assert raw.finish(raw.message(f"{name}/x", b"x", 1)).all("subscription_identifier") == [2]
    raw.subscribe((f"{name}/x", options(0)))
    peer.publish(f"{name}/x")
    assert raw.message(f"{name}/x", b"x", 0).all("subscription_identifier") == []
    raw.silent()


def test_mqtt5_3_8_4_5_a_filter_twice_in_one_packet_is_like_two_packets(peer: Client, raw: Client, name: str) -> None:
    assert raw.subscribe((f"{name}/x", 2), (f"{name}/x", 0)) == (2, 0)
    peer.publish(f"{name}/x", qos=2)
    raw.message(f"{name}/x", b"x", 0)
    raw.silent()


def test_mqtt5_3_8_4_3_replacing_loses_no_message(peer: Client, port: int, name: str) -> None:
    with Client.join(port, name, properties={"receive_maximum": 1}) as raw:
        raw.subscribe((f"{name}/x", 1))
        for n in range(5):
            peer.publish(f"{name}/x", b"%d" % n)
        raw.subscribe((f"{name}/x", options(0, handling=2)))
        for n in range(5):
            found = raw.finish(raw.receive("PUBLISH"))
            assert found.payload == b"%d" % n


def test_mqtt5_3_10_4_2_and_3_11_3_1_unsubscribe_answers_every_filter(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/a", f"{name}/b")
    raw.send(unsubscribe5(f"{name}/a", f"{name}/never", f"{name}/b", packet_id=0x0B0C))
    found = raw.receive("UNSUBACK")
    assert (found.packet_id, found.reasons) == (0x0B0C, (0x00, 0x11, 0x00))
    peer.publish(f"{name}/a")
    peer.publish(f"{name}/b")
    raw.silent()


def test_mqtt5_3_10_4_1_filters_are_compared_as_text(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/+")
    assert raw.unsubscribe(f"{name}/#", f"{name}/x", f"{name}/+/") == (0x11, 0x11, 0x11)
    peer.publish(f"{name}/x")
    raw.message(f"{name}/x", b"x")


def test_mqtt5_3_10_4_3_unsubscribe_lets_begun_deliveries_finish(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe((f"{name}/x", 2))
    peer.publish(f"{name}/x", qos=2)
    found = raw.message(f"{name}/x", b"x", 2)
    assert raw.unsubscribe(f"{name}/x") == (0,)
    raw.finish(found)
    raw.silent()


def test_mqtt5_3_10_3_2_unsubscribe_without_a_filter_is_a_violation(raw: Client) -> None:
    raw.send(unsubscribe5())
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x01", b"\x00\x01\x00\x00", b"\x00\x01\x00\x00\x05a"])
def test_mqtt5_3_10_3_truncated_unsubscribe_is_malformed(raw: Client, body: bytes) -> None:
    raw.send(packet(0xA2, body))
    raw.ended(*VIOLATION)


# Subscription identifiers


@pytest.mark.parametrize("ident", [1, 127, 128, 16_384, 268_435_455])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt5_3_3_4_3_a_message_carries_the_identifier(
    peer: Client, raw: Client, name: str, ident: int, qos: int
) -> None:
    raw.subscribe((f"{name}/x", qos), properties={"subscription_identifier": ident})
    peer.publish(f"{name}/x", qos=qos)
    assert raw.finish(raw.message(f"{name}/x", b"x", qos)).properties == (("subscription_identifier", ident),)


def test_mqtt5_3_3_4_3_an_identifier_belongs_to_all_filters_of_its_packet(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/a", f"{name}/b", properties={"subscription_identifier": 5})
    for topic in ("a", "b"):
        peer.publish(f"{name}/{topic}")
        assert raw.message(f"{name}/{topic}", b"x").all("subscription_identifier") == [5]


def test_mqtt5_3_3_4_2_4_and_5_overlapping_subscriptions_tell_their_identifiers(
    peer: Client, raw: Client, name: str
) -> None:
    """One copy with all of them, or a copy for each; at the highest QoS at least once."""
    raw.subscribe((f"{name}/x", 0), properties={"subscription_identifier": 1})
    raw.subscribe((f"{name}/+", 2), properties={"subscription_identifier": 2})
    raw.subscribe((f"{name}/#", 1), properties={"subscription_identifier": 2})
    raw.subscribe((f"+/x/{name}", 2), properties={"subscription_identifier": 9})
    peer.publish(f"{name}/x", b"v", qos=2)
    found = raw.pending(1)
    assert 1 <= len(found) <= 3
    assert max(one.qos for one in found) == 2
    named = sorted(ident for one in found for ident in one.all("subscription_identifier"))
    assert named in ([1, 2, 2], [1, 2])


@only_relevo
def test_mqtt5_3_3_4_4_overlapping_subscriptions_get_one_copy(peer: Client, raw: Client, name: str) -> None:
    raw.subscribe((f"{name}/x", 0), properties={"subscription_identifier": 1})
    raw.subscribe((f"{name}/+", 1), properties={"subscription_identifier": 2})
    raw.subscribe((f"{name}/#", 0))
    peer.publish(f"{name}/x", b"v", qos=2)
    assert sorted(raw.message(f"{name}/x", b"v", 1).all("subscription_identifier")) == [1, 2]
    raw.silent()


def test_mqtt5_3_3_4_3_retained_messages_carry_the_identifier(raw: Client, kept: str) -> None:
    raw.subscribe(kept, properties={"subscription_identifier": 77})
    assert raw.message(kept, b"kept", retain=True).all("subscription_identifier") == [77]


def test_mqtt5_3_3_4_3_without_an_identifier_none_is_sent(port: int, peer: Client, raw: Client, name: str) -> None:
    with Client.join(port, f"{name}-named") as named:
        named.subscribe(f"{name}/x", properties={"subscription_identifier": 3})
        raw.subscribe(f"{name}/x")
        peer.publish(f"{name}/x")
        assert named.message(f"{name}/x", b"x").all("subscription_identifier") == [3]
        assert raw.message(f"{name}/x", b"x").all("subscription_identifier") == []


def test_mqtt5_3_8_4_2_many_filters_in_one_packet(raw: Client, name: str) -> None:
    filters = [(f"{name}/{n}", n % 3) for n in range(50)]
    raw.send(subscribe5(*filters, packet_id=65_535))
    found = raw.receive("SUBACK")
    assert (found.packet_id, found.reasons) == (65_535, tuple(n % 3 for n in range(50)))


def test_mqtt5_3_12_4_1_a_ping_is_answered(raw: Client) -> None:
    raw.send(b"\xc0\x00")
    raw.expect(b"\xd0\x00")


def test_mqtt5_4_7_3_3_a_long_filter_is_served_or_refused(raw: Client) -> None:
    """65 535 bytes is what the format allows; a server may set a lower limit."""
    raw.send(packet(0x82, struct.pack("!H", 10) + b"\x00" + text("a" * 60_000) + b"\x00"))
    found = raw.receive()
    assert found.kind in ("SUBACK", "DISCONNECT")
