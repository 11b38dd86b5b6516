"""MQTT 5.0 sections 3.3.4, 4.3, 4.4, 4.6 and 4.9: flow control, QoS exchanges, sending again, order."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw5 import (
    Client,
    ack,
    publish5,
    serving,
)

KEPT: dict[str, Any] = {"properties": {"session_expiry_interval": 60}}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory) as found:
        yield found


@pytest.fixture
def peer(port: int, name: str) -> Iterator[Client]:
    """Who publishes."""
    with Client.join(port, f"{name}-peer") as found:
        yield found


def windowed(port: int, name: str, size: int, *, expiry: int = 0, **more: Any) -> Client:
    properties = {"receive_maximum": size, "session_expiry_interval": expiry}
    return Client.join(port, name, properties=properties, **more)


def fill(peer: Client, topic: str, count: int, qos: int = 1, start: int = 0) -> None:
    for n in range(start, start + count):
        peer.publish(topic, b"%d" % n, qos=qos)


# The client's receive maximum


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_mqtt5_3_3_4_9_no_more_than_the_receive_maximum_is_in_flight(
    port: int, peer: Client, name: str, qos: int, size: int
) -> None:
    with windowed(port, name, size) as raw:
        raw.subscribe((f"{name}/x", qos))
        fill(peer, f"{name}/x", 10, qos)
        found = raw.pending(size)
        assert [one.payload for one in found] == [b"%d" % n for n in range(size)]
        for n in range(size, 10):
            raw.finish(found.pop(0))
            found += raw.pending(1)
            assert found[-1].payload == b"%d" % n and len(found) == size
        for one in found:
            raw.finish(one)
        raw.silent()


def test_mqtt5_4_9_0_1_pubrec_does_not_open_the_window(port: int, peer: Client, name: str) -> None:
    with windowed(port, name, 1) as raw:
        raw.subscribe((f"{name}/x", 2))
        fill(peer, f"{name}/x", 2, qos=2)
        packet_id = raw.message(f"{name}/x", b"0", 2).packet_id
        raw.send(ack("PUBREC", packet_id))
        assert raw.receive("PUBREL").packet_id == packet_id
        raw.silent()
        raw.send(ack("PUBCOMP", packet_id))
        raw.message(f"{name}/x", b"1", 2)


@pytest.mark.parametrize("reason", [0x80, 0x83, 0x97, 0x99])
def test_mqtt5_4_9_0_2_pubrec_with_an_error_opens_the_window(port: int, peer: Client, name: str, reason: int) -> None:
    with windowed(port, name, 1) as raw:
        raw.subscribe((f"{name}/x", 2))
        fill(peer, f"{name}/x", 2, qos=2)
        raw.send(ack("PUBREC", raw.message(f"{name}/x", b"0", 2).packet_id, reason))
        # No PUBREL: the exchange is over.
        raw.finish(raw.message(f"{name}/x", b"1", 2))
        raw.silent()


@pytest.mark.parametrize("reason", [0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
def test_mqtt5_4_9_0_2_puback_with_any_reason_opens_the_window(port: int, peer: Client, name: str, reason: int) -> None:
    with windowed(port, name, 1) as raw:
        raw.subscribe((f"{name}/x", 1))
        fill(peer, f"{name}/x", 2)
        raw.send(ack("PUBACK", raw.message(f"{name}/x", b"0", 1).packet_id, reason))
        raw.message(f"{name}/x", b"1", 1)


def test_mqtt5_3_3_4_10_a_full_window_delays_nothing_else(port: int, peer: Client, name: str) -> None:
    """Acknowledgements of what the client publishes, and answers to SUBSCRIBE, UNSUBSCRIBE and PINGREQ."""
    with windowed(port, name, 1) as raw:
        raw.subscribe((f"{name}/x", 2))
        fill(peer, f"{name}/x", 3, qos=2)
        raw.message(f"{name}/x", b"0", 2)
        raw.publish(f"{name}/y", qos=1)
        raw.publish(f"{name}/y", qos=2, packet_id=2)
        assert raw.subscribe(f"{name}/z") == (0,)
        assert raw.unsubscribe(f"{name}/z") == (0,)
        raw.silent()


def test_mqtt5_4_9_qos_0_is_not_counted(port: int, peer: Client, name: str) -> None:
    """Section 4.9: QoS 0 may go on while the window is full."""
    with windowed(port, name, 1) as raw:
        raw.subscribe((f"{name}/x", 1), (f"{name}/zero", 0))
        fill(peer, f"{name}/x", 3)
        first = raw.message(f"{name}/x", b"0", 1)
        peer.publish(f"{name}/zero", b"passes")
        raw.message(f"{name}/zero", b"passes")
        raw.finish(first)
        raw.finish(raw.message(f"{name}/x", b"1", 1))


def test_mqtt5_3_3_4_9_sending_again_stays_within_a_smaller_window(port: int, peer: Client, name: str) -> None:
    with windowed(port, name, 5, expiry=60) as raw:
        raw.subscribe((f"{name}/x", 1))
        fill(peer, f"{name}/x", 5)
        assert len(raw.pending(5)) == 5
    with windowed(port, name, 2, clean=False, present=True) as raw:
        found = raw.pending(2)
        assert [(one.payload, one.dup) for one in found] == [(b"0", True), (b"1", True)]
        raw.finish(found.pop(0))
        raw.message(f"{name}/x", b"2", 1, dup=True)


def test_mqtt5_3_1_2_11_3_the_window_belongs_to_the_connection(port: int, peer: Client, name: str) -> None:
    with windowed(port, name, 1, expiry=60) as raw:
        raw.subscribe((f"{name}/x", 1))
        fill(peer, f"{name}/x", 6)
        assert len(raw.pending(1)) == 1
    with windowed(port, name, 4, clean=False, present=True) as raw:
        assert [one.payload for one in raw.pending(4)] == [b"0", b"1", b"2", b"3"]


# The server's receive maximum


def limit(client: Client) -> int:
    found: int = client.connack.one("receive_maximum", 65_535)
    if found > 2_000:
        pytest.skip(f"receive maximum of {found}")
    return found


def test_mqtt5_3_3_4_7_as_many_as_the_server_receives_are_taken(peer: Client, name: str) -> None:
    numbers = range(1, limit(peer) + 1)
    peer.send(*(publish5(f"{name}/x", qos=2, packet_id=n) for n in numbers))
    assert [peer.receive("PUBREC").packet_id for _ in numbers] == list(numbers)
    peer.silent()
    peer.send(*(ack("PUBREL", n) for n in numbers))
    assert [peer.receive("PUBCOMP").packet_id for _ in numbers] == list(numbers)
    peer.send(*(publish5(f"{name}/x", qos=2, packet_id=n) for n in numbers))
    assert [peer.receive("PUBREC").packet_id for _ in numbers] == list(numbers)


def test_mqtt5_3_3_4_7_one_more_than_the_server_receives_gets_93(peer: Client, name: str) -> None:
    numbers = range(1, limit(peer) + 1)
    peer.send(*(publish5(f"{name}/x", qos=2, packet_id=n) for n in numbers))
    for n in numbers:
        assert peer.receive("PUBREC").packet_id == n
    peer.send(publish5(f"{name}/x", qos=2, packet_id=len(numbers) + 1))
    peer.ended(0x93)


def test_mqtt5_4_9_qos_0_from_the_client_is_not_counted(peer: Client, name: str) -> None:
    numbers = range(1, limit(peer) + 1)
    peer.send(*(publish5(f"{name}/x", qos=2, packet_id=n) for n in numbers))
    for n in numbers:
        assert peer.receive("PUBREC").packet_id == n
    peer.send(*(publish5(f"{name}/x") for _ in range(10)))
    peer.silent()


def test_mqtt5_4_9_a_window_that_is_emptied_again_and_again_stays_whole(peer: Client, name: str) -> None:
    """Nothing is lost from the count by finished exchanges of either kind."""
    for n in range(2 * min(limit(peer), 200)):
        peer.publish(f"{name}/x", qos=1 + n % 2, packet_id=n + 1)
    peer.silent()


# QoS 1 and 2 from the client


def test_mqtt5_4_3_3_10_a_repeated_publish_is_delivered_once(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name) as raw:
        raw.subscribe((f"{name}/x", 2))
        for dup in (False, True):
            peer.send(publish5(f"{name}/x", qos=2, packet_id=7, dup=dup))
            found = peer.receive("PUBREC")
            assert (found.packet_id, found.reason < 0x80) == (7, True)
        peer.send(ack("PUBREL", 7))
        assert peer.receive("PUBCOMP").packet_id == 7
        raw.finish(raw.message(f"{name}/x", b"x", 2))
        raw.silent()


def test_mqtt5_4_3_3_12_after_pubcomp_the_id_is_free(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name) as raw:
        raw.subscribe((f"{name}/x", 2))
        for payload in (b"1", b"2"):
            peer.publish(f"{name}/x", payload, qos=2, packet_id=7)
            raw.finish(raw.message(f"{name}/x", payload, 2))


def test_mqtt5_4_3_2_qos_1_may_come_again(port: int, peer: Client, name: str) -> None:
    """[MQTT-4.3.2-5]: after PUBACK the same id is a new message."""
    with Client.join(port, name) as raw:
        raw.subscribe((f"{name}/x", 1))
        for payload, dup in ((b"1", False), (b"1", True), (b"2", False)):
            peer.publish(f"{name}/x", payload, dup=dup)
            raw.finish(raw.message(f"{name}/x", payload, 1))


def test_mqtt5_4_3_3_10_the_incoming_id_outlives_the_connection(port: int, peer: Client, name: str) -> None:
    """Exactly once, though the connection broke between PUBLISH and PUBREL."""
    peer.subscribe((f"{name}/x", 2))
    with Client.join(port, name, **KEPT) as raw:
        raw.send(publish5(f"{name}/x", b"once", qos=2, packet_id=7))
        assert raw.receive("PUBREC").packet_id == 7
        raw.drop()
    with Client.join(port, name, clean=False, present=True) as raw:
        raw.send(publish5(f"{name}/x", b"once", qos=2, packet_id=7, dup=True))
        assert raw.receive("PUBREC").packet_id == 7
        raw.send(ack("PUBREL", 7))
        found = raw.receive("PUBCOMP")
        assert (found.packet_id, found.reason) == (7, 0)
    peer.finish(peer.message(f"{name}/x", b"once", 2))
    peer.silent()


def test_mqtt5_4_3_3_11_pubrel_after_a_reconnect_is_answered(port: int, peer: Client, name: str) -> None:
    peer.subscribe((f"{name}/x", 2))
    with Client.join(port, name, **KEPT) as raw:
        raw.send(publish5(f"{name}/x", b"once", qos=2, packet_id=7))
        raw.receive("PUBREC")
        raw.drop()
    with Client.join(port, name, clean=False, present=True) as raw:
        for _ in range(2):
            raw.send(ack("PUBREL", 7))
            assert raw.receive("PUBCOMP").packet_id == 7
    peer.finish(peer.message(f"{name}/x", b"once", 2))
    peer.silent()


def test_mqtt5_3_1_2_4_clean_start_forgets_incoming_ids(port: int, peer: Client, name: str) -> None:
    """A new session, so a new message."""
    peer.subscribe((f"{name}/x", 1))
    for payload in (b"1", b"2"):
        with Client.join(port, name, properties={"session_expiry_interval": 60}) as raw:
            raw.publish(f"{name}/x", payload, qos=2, packet_id=7)
            raw.send(publish5(f"{name}/never/{payload.decode()}", qos=2, packet_id=8))
            raw.receive("PUBREC")
            peer.finish(peer.message(f"{name}/x", payload, 1))
    peer.silent()


def test_mqtt5_2_2_1_ids_of_both_directions_do_not_meet(port: int, name: str) -> None:
    with Client.join(port, name) as raw:
        raw.subscribe((f"{name}/x", 2))
        raw.send(publish5(f"{name}/x", b"own", qos=2, packet_id=1))
        assert raw.until("PUBREC").packet_id == 1
        raw.send(ack("PUBREL", 1))
        assert raw.until("PUBCOMP").packet_id == 1
        raw.finish(raw.message(f"{name}/x", b"own", 2))
        raw.silent()


# Sending again


def test_mqtt5_4_4_0_1_unacknowledged_messages_are_sent_again_in_order(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name, **KEPT) as raw:
        raw.subscribe((f"{name}/x", 1))
        fill(peer, f"{name}/x", 5)
        found = raw.pending(5)
        assert not any(one.dup for one in found)
        raw.send(ack("PUBACK", found[2].packet_id))
        raw.silent()
    wanted = [(one.payload, one.packet_id) for n, one in enumerate(found) if n != 2]
    with Client.join(port, name, clean=False, present=True) as raw:
        again = raw.pending(4)
        assert [(one.payload, one.packet_id) for one in again] == wanted
        assert all(one.dup for one in again)
        for one in again:
            raw.finish(one)
        raw.silent()


def test_mqtt5_4_4_0_1_pubrel_is_sent_again(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name, **KEPT) as raw:
        raw.subscribe((f"{name}/x", 2))
        peer.publish(f"{name}/x", qos=2)
        packet_id = raw.message(f"{name}/x", b"x", 2).packet_id
        raw.send(ack("PUBREC", packet_id))
        raw.receive("PUBREL")
    for last in (False, True):
        with Client.join(port, name, clean=False, present=True, **KEPT) as raw:
            found = raw.receive("PUBREL")
            assert (found.packet_id, found.reason) == (packet_id, 0)
            if last:
                raw.send(ack("PUBCOMP", packet_id))
            raw.silent()
    with Client.join(port, name, clean=False, present=True) as raw:
        raw.silent()


def test_mqtt5_4_6_0_1_and_4_publish_and_pubrel_are_sent_again_in_order(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name, **KEPT) as raw:
        raw.subscribe((f"{name}/x", 2))
        fill(peer, f"{name}/x", 6, qos=2)
        found = raw.pending(6)
        for one in found[:3]:
            raw.send(ack("PUBREC", one.packet_id))
            assert raw.receive("PUBREL").packet_id == one.packet_id
        raw.send(ack("PUBCOMP", found[0].packet_id))
        raw.silent()
    with Client.join(port, name, clean=False, present=True) as raw:
        again = [raw.receive() for _ in range(5)]
        released = [one.packet_id for one in again if one.kind == "PUBREL"]
        assert released == [one.packet_id for one in found[1:3]]
        repeated = [(one.payload, one.packet_id, one.dup) for one in again if one.kind == "PUBLISH"]
        assert repeated == [(one.payload, one.packet_id, True) for one in found[3:]]
        raw.silent()


def test_mqtt5_4_4_0_1_nothing_is_sent_again_on_the_same_connection(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name, **KEPT) as raw:
        raw.subscribe((f"{name}/x", 1))
        peer.publish(f"{name}/x")
        found = raw.message(f"{name}/x", b"x", 1)
        for _ in range(3):
            raw.silent()
        raw.finish(found)
        raw.leave(0, {"session_expiry_interval": 0})


@pytest.mark.parametrize("kind", ["PUBACK", "PUBREC"])
def test_mqtt5_4_4_0_2_a_refused_message_is_not_sent_again(port: int, peer: Client, name: str, kind: str) -> None:
    qos = 1 if kind == "PUBACK" else 2
    with Client.join(port, name, **KEPT) as raw:
        raw.subscribe((f"{name}/x", qos))
        peer.publish(f"{name}/x", qos=qos)
        raw.send(ack(kind, raw.message(f"{name}/x", b"x", qos).packet_id, 0x80))
        raw.silent()
    with Client.join(port, name, clean=False, present=True) as raw:
        raw.silent()


def test_mqtt5_4_6_0_5_the_queue_follows_what_was_in_flight(port: int, peer: Client, name: str) -> None:
    with windowed(port, name, 3, expiry=60) as raw:
        raw.subscribe((f"{name}/x", 1))
        fill(peer, f"{name}/x", 6)
        assert len(raw.pending(3)) == 3
        raw.leave()
    fill(peer, f"{name}/x", 4, start=6)
    with windowed(port, name, 3, clean=False, present=True) as raw:
        for n in range(10):
            raw.finish(raw.message(f"{name}/x", b"%d" % n, 1, dup=n < 3))
        raw.silent()


def test_mqtt5_3_1_2_4_clean_start_sends_nothing_again(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name, **KEPT) as raw:
        raw.subscribe((f"{name}/x", 2))
        fill(peer, f"{name}/x", 2, qos=2)
        raw.send(ack("PUBREC", raw.pending(2)[0].packet_id))
        raw.receive("PUBREL")
    with Client.join(port, name, clean=True) as raw:
        raw.silent()


def test_mqtt5_4_1_0_1_takeover_sends_again_what_was_in_flight(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name, **KEPT) as old:
        old.subscribe((f"{name}/x", 1))
        packet_ids = []
        for n in range(3):
            peer.publish(f"{name}/x", b"%d" % n)
            packet_ids.append(old.message(f"{name}/x", b"%d" % n, 1).packet_id)
        with Client.join(port, name, clean=False, present=True) as new:
            for n in range(3):
                assert new.message(f"{name}/x", b"%d" % n, 1, dup=True).packet_id == packet_ids[n]
            new.silent()


def test_mqtt5_3_3_2_properties_are_sent_again_too(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name, **KEPT) as raw:
        raw.subscribe((f"{name}/x", 1), properties={"subscription_identifier": 4})
        peer.publish(f"{name}/x", properties={"content_type": "t", "correlation_data": b"c"})
        first = raw.message(f"{name}/x", b"x", 1)
    with Client.join(port, name, clean=False, present=True) as raw:
        again = raw.message(f"{name}/x", b"x", 1, dup=True)
        assert sorted(again.properties) == sorted(first.properties)


@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt5_4_6_0_6_a_hundred_messages_keep_their_order(port: int, peer: Client, name: str, qos: int) -> None:
    with windowed(port, name, 7) as raw:
        raw.subscribe((f"{name}/x", qos))
        fill(peer, f"{name}/x", 100, qos)
        for n in range(100):
            raw.finish(raw.message(f"{name}/x", b"%d" % n, qos))
        raw.silent()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt5_4_6_0_5_retained_and_other_messages_of_a_topic_keep_their_order(
    port: int, peer: Client, name: str, qos: int
) -> None:
    """Messages that the server stores are not overtaken by those that it does not."""
    count = min(peer.connack.one("receive_maximum", 65_535), 12)
    with Client.join(port, name) as raw:
        raw.subscribe((f"{name}/x", qos))
        peer.send(
            *(publish5(f"{name}/x", b"%d" % n, qos=qos, packet_id=n + 1, retain=n % 3 == 0) for n in range(count))
        )
        if qos == 2:
            for n in range(count):
                assert peer.receive("PUBREC").packet_id == n + 1
            peer.send(*(ack("PUBREL", n + 1) for n in range(count)))
        for n in range(count):
            assert raw.finish(raw.receive("PUBLISH")).payload == b"%d" % n
    peer.send(publish5(f"{name}/x", b"", retain=True))
