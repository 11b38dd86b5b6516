"""MQTT 3.1.1 sections 3.3 to 3.7 and 4.3 to 4.7: PUBLISH, acknowledgements, retained messages, wills, topics."""

import contextlib
import resource
from pathlib import Path

import pytest

from tests.conformance.raw import (
    CONNACK_OK,
    CONNACK_RESUMED,
    DISCONNECT,
    PINGREQ,
    Raw,
    connect,
    packet,
    puback,
    publish,
    subscribe,
)
from tests.running import RunningServer


def subscriber(port: int, name: str, *filters: tuple[str, int]) -> Raw:
    raw = Raw(port, connect(f"{name}-sub"))
    raw.expect(CONNACK_OK)
    raw.send(subscribe(*filters))
    raw.packet()
    return raw


@pytest.mark.parametrize("sent", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_mqtt_3_8_4_6_delivery_is_at_the_lower_qos(port: int, client: Raw, name: str, sent: int, granted: int) -> None:
    with subscriber(port, name, (f"{name}/x", granted)) as receiver:
        client.send(publish(f"{name}/x", b"v", qos=sent, packet_id=5))
        receiver.expect(publish(f"{name}/x", b"v", qos=min(sent, granted), packet_id=1))


def test_mqtt_4_3_2_2_qos_1_is_acknowledged(client: Raw, name: str) -> None:
    client.send(publish(f"{name}/x", b"v", qos=1, packet_id=0x1234))
    client.expect(b"\x40\x02\x12\x34")


def test_mqtt_4_3_3_2_qos_2_handshake(client: Raw, name: str) -> None:
    client.send(publish(f"{name}/x", b"v", qos=2, packet_id=7))
    client.expect(b"\x50\x02\x00\x07")
    client.send(b"\x62\x02\x00\x07")
    client.expect(b"\x70\x02\x00\x07")


def test_mqtt_4_3_3_2_a_repeated_qos_2_publish_is_delivered_once(port: int, client: Raw, name: str) -> None:
    with subscriber(port, name, (f"{name}/x", 0)) as receiver:
        for dup in (False, True):
            client.send(publish(f"{name}/x", b"v", qos=2, packet_id=7, dup=dup))
            client.expect(b"\x50\x02\x00\x07")
        receiver.expect(publish(f"{name}/x", b"v"))
        receiver.expect_silence()


def test_mqtt_4_6_0_2_acknowledgements_keep_their_order(client: Raw, name: str) -> None:
    """A message that takes the way through the store does not fall behind one that does not."""
    first = publish(f"relevo/{name}/telemetry", b'{"v":1}', qos=1, packet_id=1)
    client.send(first + publish(f"{name}/plain", b"x", qos=1, packet_id=2))
    client.expect(b"\x40\x02\x00\x01")
    client.expect(b"\x40\x02\x00\x02")


def test_mqtt_3_3_1_2_dup_at_qos_0_is_a_violation(client: Raw, name: str) -> None:
    client.send(publish(f"{name}/x", dup=True))
    client.expect_closed()


def test_mqtt_3_3_1_4_qos_3_is_a_violation(client: Raw, name: str) -> None:
    client.send(packet(0x36, b"\x00\x01a\x00\x01x"))
    client.expect_closed()


@pytest.mark.parametrize("topic", ["a/+", "#", "a#b"])
def test_mqtt_3_3_2_2_wildcard_in_a_topic_name_is_a_violation(client: Raw, topic: str) -> None:
    client.send(publish(topic))
    client.expect_closed()


def test_mqtt_4_7_3_1_empty_topic_is_a_violation(client: Raw) -> None:
    client.send(publish(""))
    client.expect_closed()


@pytest.mark.parametrize("topic", [b"a\x00b", b"\xc3\x28", b"\xed\xa0\x80", b"\xff"])
def test_mqtt_1_5_3_nul_surrogates_and_bad_utf8_are_malformed(client: Raw, topic: bytes) -> None:
    client.send(publish(topic))
    client.expect_closed()


def test_mqtt_2_3_1_1_packet_id_zero_is_a_violation(client: Raw, name: str) -> None:
    client.send(publish(f"{name}/x", qos=1, packet_id=0))
    client.expect_closed()


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x05ab", b"\x00\x01a\x00"])
def test_truncated_publish_is_malformed(client: Raw, body: bytes) -> None:
    client.send(packet(0x32, body))
    client.expect_closed()


def test_mqtt_3_3_1_6_and_9_retained_reaches_later_subscribers_with_the_flag(port: int, client: Raw, name: str) -> None:
    with subscriber(port, name, (f"{name}/r", 0)) as earlier:
        client.send(publish(f"{name}/r", b"kept", qos=1, retain=True))
        client.expect(b"\x40\x02\x00\x01")
        earlier.expect(publish(f"{name}/r", b"kept"))
    client.send(subscribe((f"{name}/+", 1)))
    client.expect(b"\x90\x03\x00\x0a\x01")
    client.expect(publish(f"{name}/r", b"kept", qos=1, packet_id=1, retain=True))


def test_mqtt_3_3_1_7_a_new_retained_message_replaces_the_old(client: Raw, name: str) -> None:
    for value in (b"1", b"2"):
        client.send(publish(f"{name}/r", value, retain=True))
    client.send(subscribe((f"{name}/r", 0)))
    client.packet()
    client.expect(publish(f"{name}/r", b"2", retain=True))
    client.expect_silence()


def test_mqtt_3_3_1_10_an_empty_retained_message_clears_and_is_delivered(port: int, client: Raw, name: str) -> None:
    client.send(publish(f"{name}/r", b"1", retain=True))
    client.expect_silence()
    with subscriber(port, name, (f"{name}/r", 0)) as receiver:
        receiver.expect(publish(f"{name}/r", b"1", retain=True))
        client.send(publish(f"{name}/r", b"", retain=True))
        receiver.expect(publish(f"{name}/r", b""))
    client.send(subscribe((f"{name}/r", 0)))
    client.packet()
    client.expect_silence()


def test_mqtt_3_1_2_8_will_is_published_when_the_connection_breaks(port: int, client: Raw, name: str) -> None:
    client.send(subscribe((f"{name}/will", 1)))
    client.packet()
    dying = Raw(port, connect(f"{name}-dies", will=(f"{name}/will", b"gone", 1, False)))
    dying.expect(CONNACK_OK)
    dying.drop()
    client.expect(publish(f"{name}/will", b"gone", qos=1, packet_id=1))


def test_mqtt_3_1_2_10_disconnect_discards_the_will(port: int, client: Raw, name: str) -> None:
    client.send(subscribe((f"{name}/will", 0)))
    client.packet()
    with Raw(port, connect(f"{name}-leaves", will=(f"{name}/will", b"gone", 0, False))) as leaving:
        leaving.expect(CONNACK_OK)
        leaving.send(DISCONNECT)
        leaving.expect_closed()
    client.expect_silence()


def test_mqtt_3_1_2_17_a_retained_will_is_kept(port: int, client: Raw, name: str) -> None:
    dying = Raw(port, connect(f"{name}-dies", will=(f"{name}/will", b"gone", 0, True)))
    dying.expect(CONNACK_OK)
    client.send(subscribe((f"{name}/will", 0)))
    client.packet()
    dying.drop()
    client.expect(publish(f"{name}/will", b"gone"))
    client.send(subscribe((f"{name}/will", 0)))
    client.packet()
    client.expect(publish(f"{name}/will", b"gone", retain=True))


def test_will_is_published_on_takeover(port: int, client: Raw, name: str) -> None:
    client.send(subscribe((f"{name}/will", 0)))
    client.packet()
    with (
        Raw(port, connect(f"{name}-w", will=(f"{name}/will", b"gone", 0, False))) as old,
    ):
        old.expect(CONNACK_OK)
        with Raw(port, connect(f"{name}-w")) as new:
            new.expect(CONNACK_OK)
            client.expect(publish(f"{name}/will", b"gone"))


def test_mqtt_4_4_0_1_unacknowledged_messages_are_sent_again_in_order_with_dup(
    port: int, client: Raw, name: str
) -> None:
    with Raw(port, connect(f"{name}-s", clean=False)) as raw:
        raw.expect(CONNACK_OK)
        raw.send(subscribe((f"{name}/q", 1)))
        raw.packet()
        for n in (b"1", b"2", b"3"):
            client.send(publish(f"{name}/q", n, qos=1))
            client.packet()
        for n in (1, 2, 3):
            raw.expect(publish(f"{name}/q", str(n).encode(), qos=1, packet_id=n))
        raw.send(puback(2))
        raw.expect_silence()
    with Raw(port, connect(f"{name}-s", clean=False)) as raw:
        raw.expect(CONNACK_RESUMED)
        raw.expect(publish(f"{name}/q", b"1", qos=1, packet_id=1, dup=True))
        raw.expect(publish(f"{name}/q", b"3", qos=1, packet_id=3, dup=True))
        raw.send(puback(1), puback(3))
        raw.expect_silence()


def test_qos_2_towards_the_client_is_released_after_a_reconnect(port: int, client: Raw, name: str) -> None:
    with Raw(port, connect(f"{name}-s", clean=False)) as raw:
        raw.expect(CONNACK_OK)
        raw.send(subscribe((f"{name}/q", 2)))
        raw.packet()
        client.send(publish(f"{name}/q", b"once", qos=2, packet_id=9))
        client.packet()
        raw.expect(publish(f"{name}/q", b"once", qos=2, packet_id=1))
        raw.send(b"\x50\x02\x00\x01")
        raw.expect(b"\x62\x02\x00\x01")
    with Raw(port, connect(f"{name}-s", clean=False)) as raw:
        raw.expect(CONNACK_RESUMED)
        raw.expect(b"\x62\x02\x00\x01")
        raw.send(b"\x70\x02\x00\x01")
        raw.expect_silence()


def test_a_publish_with_the_largest_allowed_packet_arrives_whole(port: int, client: Raw, name: str) -> None:
    payload = bytes(range(256)) * 250
    with subscriber(port, name, (f"{name}/big", 0)) as receiver:
        client.send(publish(f"{name}/big", payload))
        receiver.expect(publish(f"{name}/big", payload))


def test_topics_that_are_refused_for_their_length_are_not_kept(broker: RunningServer, port: int, name: str) -> None:
    def resident() -> int:
        pages = int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    before = resident()
    with contextlib.ExitStack() as held:
        for n in range(6):
            raw = held.enter_context(Raw(port, connect(f"{name}-{n}")))
            raw.expect(CONNACK_OK)
            # Together 92 MB; each sender is answered and could go on.
            for m in range(256):
                raw.send(publish(f"{m:03}" + "x" * 60_000))
            raw.send(PINGREQ)
            raw.expect(b"\xd0\x00")
        assert resident() - before < 40 * 2**20
