"""MQTT 3.1.1 sections 3.8 to 3.11 and 4.7: subscriptions and topic filters."""

import pytest

from tests.conformance.raw import Raw, connect, packet, publish, subscribe, text, unsubscribe


@pytest.mark.parametrize(
    ("filter_", "topic", "fits"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "/finance", True),
        ("a//b", "a//b", True),
        ("a/+/b", "a//b", True),
        ("accounts", "Accounts", False),
        ("a b/ç", "a b/ç", True),
    ],
)
def test_mqtt_4_7_filters_match_as_the_standard_says(
    port: int, client: Raw, name: str, filter_: str, topic: str, fits: bool
) -> None:
    with Raw(port, connect(f"{name}-pub")) as publisher:
        publisher.packet()
        client.send(subscribe((filter_, 0)))
        client.packet()
        publisher.send(publish(topic, name.encode(), qos=1))
        publisher.packet()
        if fits:
            client.expect(publish(topic, name.encode()))
        client.expect_silence()


@pytest.mark.parametrize("filter_", ["sport/tennis#", "sport/#/ranking", "sport+", "+a/b", "a/b+", "##", ""])
def test_mqtt_4_7_1_malformed_filters_end_the_connection(client: Raw, filter_: str) -> None:
    client.send(subscribe((filter_, 0)))
    client.expect_closed()


@pytest.mark.parametrize("filter_", ["#", "+/internal", "$SYS/#"])
def test_mqtt_4_7_2_1_dollar_topics_stay_hidden_and_closed(client: Raw, filter_: str) -> None:
    """Nobody may publish to them, so nothing arrives; the connection stays."""
    client.send(subscribe((filter_, 0)))
    client.packet()
    client.send(publish("$SYS/internal", b"forged", qos=1))
    client.expect(b"\x40\x02\x00\x01")
    client.expect_silence()


def test_mqtt_3_8_4_1_to_5_every_filter_has_its_return_code(client: Raw, name: str) -> None:
    client.send(subscribe((f"{name}/a", 0), (f"{name}/b", 1), (f"{name}/c", 2), packet_id=0x0102))
    client.expect(b"\x90\x05\x01\x02\x00\x01\x02")


def test_mqtt_3_8_3_3_subscribe_without_a_filter_is_a_violation(client: Raw) -> None:
    client.send(packet(0x82, b"\x00\x01"))
    client.expect_closed()


def test_mqtt_3_8_3_4_reserved_bits_of_the_options_are_malformed(client: Raw) -> None:
    client.send(packet(0x82, b"\x00\x01" + text("a") + b"\x04"))
    client.expect_closed()


@pytest.mark.parametrize("first", [0x80, 0x83, 0xA0, 0x60])
def test_mqtt_2_2_2_2_wrong_flags_are_malformed(client: Raw, first: int) -> None:
    client.send(packet(first, b"\x00\x01" + text("a") + b"\x00"))
    client.expect_closed()


def test_mqtt_3_8_4_3_same_filter_again_replaces_it_and_repeats_retained(client: Raw, name: str) -> None:
    client.send(publish(f"{name}/r", b"kept", retain=True))
    for qos in (1, 0):
        client.send(subscribe((f"{name}/r", qos)))
        client.packet()
        client.expect(publish(f"{name}/r", b"kept", retain=True))
    client.send(publish(f"{name}/r", b"new", qos=1))
    # One delivery, at the QoS of the newer subscription.
    assert {client.packet(), client.packet()} == {publish(f"{name}/r", b"new"), b"\x40\x02\x00\x01"}
    client.expect_silence()


def test_mqtt_3_3_5_1_overlapping_filters_deliver_once_at_the_highest_qos(client: Raw, name: str) -> None:
    client.send(subscribe((f"{name}/#", 0), (f"{name}/a", 1)))
    client.packet()
    client.send(publish(f"{name}/a", b"v", qos=1, packet_id=3))
    assert {client.packet(), client.packet()} == {publish(f"{name}/a", b"v", qos=1), b"\x40\x02\x00\x03"}
    client.expect_silence()


def test_mqtt_3_10_4_unsubscribe_stops_delivery_and_is_acknowledged(client: Raw, name: str) -> None:
    client.send(subscribe((f"{name}/a", 0)))
    client.packet()
    client.send(unsubscribe(f"{name}/a", f"{name}/never", packet_id=0x0B0C))
    client.expect(b"\xb0\x02\x0b\x0c")
    client.send(publish(f"{name}/a", b"v", qos=1))
    client.expect(b"\x40\x02\x00\x01")
    client.expect_silence()


def test_mqtt_3_10_3_2_unsubscribe_without_a_filter_is_a_violation(client: Raw) -> None:
    client.send(packet(0xA2, b"\x00\x01"))
    client.expect_closed()


def test_mqtt_4_6_0_5_order_of_a_topic_is_kept(port: int, client: Raw, name: str) -> None:
    client.send(subscribe((f"{name}/o", 1)))
    client.packet()
    with Raw(port, connect(f"{name}-pub")) as publisher:
        publisher.packet()
        publisher.send(*(publish(f"{name}/o", b"%d" % n, qos=1, packet_id=n) for n in range(1, 101)))
        for n in range(1, 101):
            publisher.expect(b"\x40\x02" + n.to_bytes(2, "big"))
    for n in range(1, 101):
        client.expect(publish(f"{name}/o", b"%d" % n, qos=1, packet_id=n))
        client.send(b"\x40\x02" + n.to_bytes(2, "big"))
