"""MQTT 3.1.1 sections 3.1.2.4, 4.1, 4.3, 4.4 and 4.6: what a persistent session remembers."""

from collections.abc import Iterator

import pytest

from tests.conformance.raw5 import Client, ack, publish5, serving


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory) as found:
        yield found


@pytest.fixture
def peer(port: int, name: str) -> Iterator[Client]:
    with Client.join(port, f"{name}-peer", version=4) as found:
        yield found


def join(port: int, name: str, *, present: bool) -> Client:
    return Client.join(port, name, version=4, clean=False, present=present)


def publish4(topic: str, payload: bytes, packet_id: int, *, dup: bool = False) -> bytes:
    return publish5(topic, payload, qos=2, packet_id=packet_id, dup=dup, version=4)


# Towards the client


def test_mqtt_3_1_2_5_subscriptions_outlive_the_connection(port: int, peer: Client, name: str) -> None:
    with join(port, name, present=False) as raw:
        raw.subscribe((f"{name}/0", 0), (f"{name}/+/1", 1), (f"{name}/2/#", 2))
        raw.leave()
    with join(port, name, present=True) as raw:
        for topic, qos in ((f"{name}/0", 0), (f"{name}/a/1", 1), (f"{name}/2/a", 2)):
            peer.publish(topic, b"v", qos=2)
            raw.finish(raw.message(topic, b"v", qos))
        raw.silent()


def test_mqtt_3_10_4_2_what_was_unsubscribed_stays_so(port: int, peer: Client, name: str) -> None:
    with join(port, name, present=False) as raw:
        raw.subscribe((f"{name}/a", 1), (f"{name}/b", 1))
        raw.unsubscribe(f"{name}/a")
        raw.leave()
    for topic in ("a", "b"):
        peer.publish(f"{name}/{topic}")
    with join(port, name, present=True) as raw:
        raw.finish(raw.message(f"{name}/b", b"x", 1))
        raw.silent()


@pytest.mark.parametrize("polite", [False, True], ids=["drop", "disconnect"])
@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt_4_5_0_1_messages_wait_in_their_order(port: int, peer: Client, name: str, qos: int, polite: bool) -> None:
    raw = join(port, name, present=False)
    raw.subscribe((f"{name}/x", qos))
    if polite:
        raw.leave()
    else:
        raw.drop()
    for n in range(50):
        peer.publish(f"{name}/x", b"%d" % n, qos=qos)
    with join(port, name, present=True) as raw:
        for n in range(50):
            found = raw.receive("PUBLISH")
            assert (found.payload, found.qos) == (b"%d" % n, qos)
            raw.finish(found)
        raw.silent()


def test_mqtt_4_4_0_1_qos_2_is_sent_again_in_order(port: int, peer: Client, name: str) -> None:
    """PUBLISH where no PUBREC came, PUBREL where one did, nothing where PUBCOMP did."""
    with join(port, name, present=False) as raw:
        raw.subscribe((f"{name}/x", 2))
        for n in range(6):
            peer.publish(f"{name}/x", b"%d" % n, qos=2)
        found = raw.pending(6)
        for one in found[:4]:
            raw.send(ack("PUBREC", one.packet_id))
            assert raw.receive("PUBREL").packet_id == one.packet_id
        raw.send(ack("PUBCOMP", found[1].packet_id))
        raw.silent()
    for last in (False, True):
        with join(port, name, present=True) as raw:
            again = [raw.receive() for _ in range(5)]
            released = [one.packet_id for one in again if one.kind == "PUBREL"]
            assert released == [found[n].packet_id for n in (0, 2, 3)]
            repeated = [one for one in again if one.kind == "PUBLISH"]
            assert [one.packet_id for one in repeated] == [found[n].packet_id for n in (4, 5)]
            assert all(one.dup for one in repeated)
            raw.silent()
            if last:
                raw.send(*(ack("PUBCOMP", packet_id) for packet_id in released))
                for one in repeated:
                    raw.finish(one)
                raw.silent()
    with join(port, name, present=True) as raw:
        raw.silent()


def test_mqtt_4_4_0_1_what_was_acknowledged_is_not_sent_again(port: int, peer: Client, name: str) -> None:
    with join(port, name, present=False) as raw:
        raw.subscribe((f"{name}/1", 1), (f"{name}/2", 2))
        for qos in (1, 2):
            peer.publish(f"{name}/{qos}", qos=qos)
            raw.finish(raw.message(f"{name}/{qos}", b"x", qos))
        raw.silent()
    with join(port, name, present=True) as raw:
        raw.silent()


def test_mqtt_3_3_1_3_the_first_delivery_from_the_queue_has_no_dup(port: int, peer: Client, name: str) -> None:
    with join(port, name, present=False) as raw:
        raw.subscribe((f"{name}/x", 1))
        raw.leave()
    peer.publish(f"{name}/x", dup=True)
    with join(port, name, present=True) as raw:
        raw.message(f"{name}/x", b"x", 1, dup=False)


def test_mqtt_2_3_1_2_ids_in_flight_are_not_given_to_other_messages(port: int, peer: Client, name: str) -> None:
    with join(port, name, present=False) as raw:
        raw.subscribe((f"{name}/x", 1))
        for n in range(4):
            peer.publish(f"{name}/x", b"%d" % n)
        held = {one.packet_id for one in raw.pending(4)}
        assert len(held) == 4
    with join(port, name, present=True) as raw:
        assert {one.packet_id for one in raw.pending(4)} == held
        peer.publish(f"{name}/x", b"new")
        assert raw.message(f"{name}/x", b"new", 1).packet_id not in held


def test_mqtt_3_1_2_6_clean_session_forgets_what_was_in_flight_and_queued(port: int, peer: Client, name: str) -> None:
    with join(port, name, present=False) as raw:
        raw.subscribe((f"{name}/x", 2))
        peer.publish(f"{name}/x", qos=2)
        raw.message(f"{name}/x", b"x", 2)
    peer.publish(f"{name}/x", qos=2)
    with Client.join(port, name, version=4, clean=True) as raw:
        peer.publish(f"{name}/x", qos=2)
        raw.silent()
        raw.leave()
    with join(port, name, present=False) as raw:
        raw.silent()


# Takeover


def test_mqtt_3_1_4_2_takeover_of_a_persistent_session_keeps_what_is_in_flight(
    port: int, peer: Client, name: str
) -> None:
    with join(port, name, present=False) as old:
        old.subscribe((f"{name}/x", 2))
        for n in range(3):
            peer.publish(f"{name}/x", b"%d" % n, qos=1 + n % 2)
        found = old.pending(3)
        assert [one.qos for one in found] == [1, 2, 1]
        with join(port, name, present=True) as new:
            old.expect_closed()
            for one in found:
                again = new.message(f"{name}/x", one.payload, one.qos, dup=True)
                assert again.packet_id == one.packet_id
                new.finish(again)
            new.silent()


def test_mqtt_3_1_4_2_takeover_again_and_again_loses_and_repeats_nothing(port: int, peer: Client, name: str) -> None:
    """Every message reaches a connection that is taken over before it could answer, and then the next one."""
    raw = join(port, name, present=False)
    raw.subscribe((f"{name}/x", 2))
    for n in range(10):
        peer.publish(f"{name}/x", b"%d" % n, qos=2)
        packet_id = raw.message(f"{name}/x", b"%d" % n, 2).packet_id
        with raw:
            newer = join(port, name, present=True)
            raw.expect_closed()
        raw = newer
        found = raw.finish(raw.message(f"{name}/x", b"%d" % n, 2, dup=True))
        assert found.packet_id == packet_id
        raw.silent()
    raw.drop()


# From the client


def test_mqtt_4_3_3_2_pubrel_of_an_unknown_id_is_answered_by_pubcomp(peer: Client) -> None:
    for packet_id in (1, 4711, 65_535):
        peer.send(ack("PUBREL", packet_id))
        assert peer.receive("PUBCOMP").raw == ack("PUBCOMP", packet_id)
    peer.silent()


def test_mqtt_4_3_3_2_the_same_publish_after_a_reconnect_is_not_delivered_twice(
    port: int, peer: Client, name: str
) -> None:
    peer.subscribe((f"{name}/x", 2))
    with join(port, name, present=False) as raw:
        raw.send(publish4(f"{name}/x", b"once", 7))
        assert raw.receive("PUBREC").packet_id == 7
    for _ in range(2):
        with join(port, name, present=True) as raw:
            raw.send(publish4(f"{name}/x", b"once", 7, dup=True))
            assert raw.receive("PUBREC").packet_id == 7
    with join(port, name, present=True) as raw:
        raw.send(ack("PUBREL", 7))
        assert raw.receive("PUBCOMP").packet_id == 7
        peer.finish(peer.message(f"{name}/x", b"once", 2))
        peer.silent()
        # The identifier is free now.
        raw.publish(f"{name}/x", b"twice", qos=2, packet_id=7)
        peer.finish(peer.message(f"{name}/x", b"twice", 2))


def test_mqtt_4_3_3_2_takeover_keeps_incoming_ids(port: int, peer: Client, name: str) -> None:
    peer.subscribe((f"{name}/x", 2))
    with join(port, name, present=False) as old:
        old.send(publish4(f"{name}/x", b"once", 7))
        assert old.receive("PUBREC").packet_id == 7
        with join(port, name, present=True) as new:
            new.send(publish4(f"{name}/x", b"once", 7, dup=True))
            assert new.receive("PUBREC").packet_id == 7
            new.send(ack("PUBREL", 7))
            assert new.receive("PUBCOMP").packet_id == 7
    peer.finish(peer.message(f"{name}/x", b"once", 2))
    peer.silent()


def test_mqtt_4_3_3_2_pubrel_may_be_repeated_after_a_reconnect(port: int, peer: Client, name: str) -> None:
    peer.subscribe((f"{name}/x", 1))
    with join(port, name, present=False) as raw:
        raw.publish(f"{name}/x", b"once", qos=2, packet_id=7)
    with join(port, name, present=True) as raw:
        raw.send(ack("PUBREL", 7))
        assert raw.receive("PUBCOMP").packet_id == 7
    peer.finish(peer.message(f"{name}/x", b"once", 1))
    peer.silent()


def test_mqtt_3_1_2_6_a_clean_session_forgets_incoming_ids(port: int, peer: Client, name: str) -> None:
    """The identifier of an exchange that was not finished is free in the next session."""
    peer.subscribe((f"{name}/x", 1))
    with Client.join(port, name, version=4) as raw:
        raw.send(publish4(f"{name}/unfinished", b"1", 7))
        raw.receive("PUBREC")
        raw.leave()
    with Client.join(port, name, version=4) as raw:
        raw.publish(f"{name}/x", b"new", qos=2, packet_id=7)
    peer.message(f"{name}/x", b"new", 1)
    peer.silent()


def test_mqtt_4_6_0_3_and_4_answers_keep_the_order_of_qos_2(port: int, peer: Client, name: str) -> None:
    with Client.join(port, name, version=4) as raw:
        raw.subscribe((f"{name}/x", 2))
        ids = [9, 3, 7, 1, 200, 5]
        peer.send(*(publish4(f"{name}/x", b"%d" % n, n) for n in ids))
        assert [peer.receive("PUBREC").packet_id for _ in ids] == ids
        peer.send(*(ack("PUBREL", n) for n in ids))
        assert [peer.receive("PUBCOMP").packet_id for _ in ids] == ids
        for n in ids:
            raw.finish(raw.message(f"{name}/x", b"%d" % n, 2))
