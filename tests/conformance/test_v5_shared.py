"""MQTT 5.0 section 4.8.2: shared subscriptions."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw5 import (
    PROTOCOL,
    VIOLATION,
    Client,
    Will,
    ack,
    only_relevo,
    options,
    serving,
    subscribe5,
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


@pytest.fixture
def one(port: int, name: str) -> Iterator[Client]:
    with Client.join(port, f"{name}-1") as found:
        yield found


@pytest.fixture
def two(port: int, name: str) -> Iterator[Client]:
    with Client.join(port, f"{name}-2") as found:
        yield found


@pytest.fixture
def shared(name: str) -> str:
    """The shared filter of a test, for the topics below its name."""
    return f"$share/group/{name}/#"


def received(total: int, *members: Client) -> list[list[bytes]]:
    """The payloads that every member got, acknowledged, once they are ``total`` together."""
    shares: list[list[bytes]] = [[] for _ in members]
    end = time.monotonic() + 5
    complete = False
    while not complete and time.monotonic() < end:
        # One more round when they are complete: there may be too many.
        complete = sum(map(len, shares)) >= total
        for member, share in zip(members, shares, strict=True):
            share += [member.finish(found).payload for found in member.pending()]
    return shares


def send(peer: Client, topic: str, count: int, qos: int = 1) -> list[bytes]:
    payloads = [b"%d" % n for n in range(count)]
    for payload in payloads:
        peer.publish(topic, payload, qos=qos)
    return payloads


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt5_4_8_2_every_message_goes_to_one_member(
    peer: Client, one: Client, two: Client, name: str, shared: str, qos: int
) -> None:
    for member in (one, two):
        assert member.subscribe((shared, qos)) == (qos,)
    payloads = send(peer, f"{name}/x", 12, qos)
    first, second = received(12, one, two)
    assert sorted(first + second) == sorted(payloads)
    assert first and second, "one member got everything"


def test_mqtt5_4_6_0_6_a_member_sees_its_share_in_order(
    peer: Client, one: Client, two: Client, name: str, shared: str
) -> None:
    for member in (one, two):
        member.subscribe((shared, 1))
    send(peer, f"{name}/x", 20)
    for share in received(20, one, two):
        assert [int(n) for n in share] == sorted(int(n) for n in share)


@only_relevo
def test_mqtt5_4_8_2_the_load_is_balanced(
    port: int, peer: Client, one: Client, two: Client, name: str, shared: str
) -> None:
    with Client.join(port, f"{name}-3") as three:
        for member in (one, two, three):
            member.subscribe((shared, 1))
        send(peer, f"{name}/x", 30)
        assert [len(share) for share in received(30, one, two, three)] == [10, 10, 10]


def test_mqtt5_4_8_2_every_group_gets_the_message(peer: Client, one: Client, two: Client, name: str) -> None:
    one.subscribe((f"$share/a/{name}", 1))
    two.subscribe((f"$share/b/{name}", 1))
    payloads = send(peer, name, 5)
    assert received(10, one, two) == [payloads, payloads]


def test_mqtt5_4_8_2_different_filters_with_one_name_are_different_groups(
    peer: Client, one: Client, two: Client, name: str
) -> None:
    one.subscribe((f"$share/a/{name}/x", 1))
    two.subscribe((f"$share/a/{name}/+", 1))
    payloads = send(peer, f"{name}/x", 5)
    assert received(10, one, two) == [payloads, payloads]


def test_mqtt5_4_8_2_plain_subscribers_get_their_own_copy(
    peer: Client, one: Client, two: Client, name: str, shared: str
) -> None:
    one.subscribe((shared, 1))
    two.subscribe((f"{name}/#", 1))
    payloads = send(peer, f"{name}/x", 5)
    assert received(10, one, two) == [payloads, payloads]


def test_mqtt5_4_8_2_a_client_may_be_in_two_groups_and_plain_too(peer: Client, one: Client, name: str) -> None:
    """Section 4.8.2: shared and non-shared subscriptions of a client do not touch each other."""
    one.subscribe((f"$share/a/{name}", 1), properties={"subscription_identifier": 1})
    one.subscribe((f"$share/b/{name}", 1), properties={"subscription_identifier": 2})
    one.subscribe((name, 1), properties={"subscription_identifier": 3})
    peer.publish(name)
    found = [one.finish(copy) for copy in one.pending(1)]
    # In one packet or in several.
    assert sorted(ident for copy in found for ident in copy.all("subscription_identifier")) == [1, 2, 3]


@pytest.mark.parametrize("filter_", ["$share//x", "$share/a+b/x", "$share/+/x", "$share/a#/x", "$share/#/x"])
def test_mqtt5_4_8_2_1_and_2_a_malformed_share_name_is_refused(one: Client, filter_: str) -> None:
    _refused(one, filter_)


@pytest.mark.parametrize(
    "filter_", ["$share/g/", "$share/g", "$share/", "$share/g/a#", "$share/g/a/#/b", "$share/g/+a"]
)
def test_mqtt5_4_8_2_2_a_malformed_filter_behind_the_name_is_refused(one: Client, filter_: str) -> None:
    _refused(one, filter_)


def _refused(client: Client, filter_: str) -> None:
    client.send(subscribe5((filter_, 0)))
    found = client.packet()
    assert found[:1] in (b"", b"\x90", b"\xe0"), found.hex(" ")
    if found[:1] == b"\x90":
        assert found[-1] in (0x80, 0x8F), found.hex(" ")
    elif found:
        assert found[2] in (*VIOLATION, 0x8F), found.hex(" ")
        client.expect_closed()


@only_relevo
@pytest.mark.parametrize("filter_", ["$share//x", "$share/a+b/x", "$share/g/", "$share/g"])
def test_mqtt5_4_8_2_a_malformed_shared_filter_gets_8f(one: Client, filter_: str) -> None:
    one.send(subscribe5((filter_, 0)))
    found = one.receive()
    assert (found.reasons or (found.reason,)) == (0x8F,)


@pytest.mark.parametrize("group", ["g", "a b", "ç", "$SYS", "x" * 60])
def test_mqtt5_4_8_2_1_share_names_are_free_text(peer: Client, one: Client, name: str, group: str) -> None:
    assert one.subscribe((f"$share/{group}/{name}/+", 1)) == (1,)
    peer.publish(f"{name}/x")
    one.message(f"{name}/x", b"x", 1)
    assert one.unsubscribe(f"$share/{group}/{name}/+") == (0,)


@pytest.mark.parametrize(
    ("filter_", "topic"), [("/{0}", "/{0}"), ("{0}/+/c", "{0}/b/c"), ("{0}/#", "{0}"), ("+/{0}", "a/{0}")]
)
def test_mqtt5_4_8_2_the_filter_behind_the_name_matches_as_ever(
    peer: Client, one: Client, name: str, filter_: str, topic: str
) -> None:
    one.subscribe((f"$share/g/{filter_.format(name)}", 1))
    peer.publish(topic.format(name))
    one.message(topic.format(name), b"x", 1)
    one.silent()


def test_mqtt5_4_8_2_share_without_a_slash_is_a_plain_filter(peer: Client, one: Client, name: str) -> None:
    """``$shared/…`` is not ``$share/…``: a topic of the server, which nobody may or may not read."""
    one.send(subscribe5((f"$shared/g/{name}", 0)))
    one.receive("SUBACK")
    peer.publish(name)
    one.silent()


def test_mqtt5_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error(one: Client, shared: str) -> None:
    one.send(subscribe5((shared, options(1, no_local=True))))
    one.ended(PROTOCOL)


@pytest.mark.parametrize("handling", [0, 1])
def test_mqtt5_4_8_2_retained_messages_are_not_sent_to_shared_subscriptions(
    peer: Client, one: Client, name: str, shared: str, handling: int
) -> None:
    """Section 4.8.2."""
    peer.publish(f"{name}/r", b"kept", retain=True)
    one.subscribe((shared, options(1, handling=handling)))
    one.silent()
    peer.publish(f"{name}/r", b"", retain=True)


def test_mqtt5_3_3_1_12_and_13_retain_as_published_holds_for_shared_subscriptions(
    peer: Client, one: Client, name: str
) -> None:
    one.subscribe((f"$share/a/{name}/a", options(1, as_published=True)), (f"$share/a/{name}/b", 1))
    for topic, flag in (("a", True), ("b", False)):
        peer.publish(f"{name}/{topic}", b"v", retain=True)
        one.finish(one.message(f"{name}/{topic}", b"v", 1, retain=flag))
        peer.publish(f"{name}/{topic}", b"", retain=True)
        one.finish(one.message(f"{name}/{topic}", b"", 1, retain=flag))


def test_mqtt5_3_3_4_3_a_shared_subscription_has_its_identifier(
    peer: Client, one: Client, two: Client, name: str, shared: str
) -> None:
    """[MQTT-3.3.4-3]; each member's own."""
    one.subscribe((shared, 1), properties={"subscription_identifier": 1})
    two.subscribe((shared, 1), properties={"subscription_identifier": 2})
    send(peer, f"{name}/x", 6)
    for ident, member in ((1, one), (2, two)):
        found = member.pending(1)
        assert found and all(copy.all("subscription_identifier") == [ident] for copy in found)


def test_mqtt5_4_8_2_3_the_granted_qos_of_the_member_holds(
    peer: Client, one: Client, two: Client, name: str, shared: str
) -> None:
    one.subscribe((shared, 0))
    two.subscribe((shared, 1))
    send(peer, f"{name}/x", 8, qos=2)
    for qos, member in ((0, one), (1, two)):
        found = member.pending(1)
        assert found and all(copy.qos == qos for copy in found)


def test_mqtt5_3_10_4_2_a_member_that_unsubscribes_gets_nothing_more(
    peer: Client, one: Client, two: Client, name: str, shared: str
) -> None:
    for member in (one, two):
        member.subscribe((shared, 1))
    assert one.unsubscribe(shared) == (0,)
    payloads = send(peer, f"{name}/x", 6)
    assert received(6, one, two) == [[], payloads]
    assert one.unsubscribe(shared) == (0x11,)


def test_mqtt5_3_10_4_1_the_plain_filter_is_another_subscription(
    peer: Client, one: Client, name: str, shared: str
) -> None:
    one.subscribe((shared, 1))
    assert one.unsubscribe(f"{name}/#", f"$share/other/{name}/#") == (0x11, 0x11)
    peer.publish(f"{name}/x")
    one.message(f"{name}/x", b"x", 1)


def test_mqtt5_3_10_4_2_the_last_member_takes_the_group_with_it(
    peer: Client, one: Client, name: str, shared: str
) -> None:
    one.subscribe((shared, 1))
    one.unsubscribe(shared)
    peer.publish(f"{name}/x")
    one.silent()
    one.subscribe((shared, 1))
    peer.publish(f"{name}/x", b"later")
    one.message(f"{name}/x", b"later", 1)


@pytest.mark.parametrize("polite", [False, True], ids=["drop", "disconnect"])
def test_mqtt5_4_8_2_when_a_member_left_the_others_get_its_share(
    port: int, peer: Client, one: Client, name: str, shared: str, polite: bool
) -> None:
    gone = Client.join(port, f"{name}-gone", will=Will(f"{name}-gone"))
    for member in (one, gone):
        member.subscribe((shared, 1))
    peer.subscribe(f"{name}-gone")
    if polite:
        gone.leave(0x04)
    else:
        gone.drop()
    peer.message(f"{name}-gone", b"gone")
    payloads = send(peer, f"{name}/x", 6)
    assert received(6, one) == [payloads]


def test_mqtt5_4_8_2_a_member_that_comes_back_takes_part_again(
    port: int, peer: Client, one: Client, name: str, shared: str
) -> None:
    one.subscribe((shared, 1))
    with Client.join(port, f"{name}-m", **KEPT) as member:
        member.subscribe((shared, 1))
        member.leave()
    with Client.join(port, f"{name}-m", clean=False, present=True) as member:
        payloads = send(peer, f"{name}/x", 8)
        first, second = received(8, one, member)
        assert first and second
        assert sorted(first + second) == sorted(payloads)


def test_mqtt5_4_5_0_1_nothing_is_lost_while_a_member_is_away(
    port: int, peer: Client, one: Client, name: str, shared: str
) -> None:
    """To those who are here, or kept for the one who is away: once each."""
    one.subscribe((shared, 1))
    with Client.join(port, f"{name}-m", **KEPT) as member:
        member.subscribe((shared, 1))
        member.leave()
    payloads = send(peer, f"{name}/x", 10)
    with Client.join(port, f"{name}-m", clean=False, present=True) as member:
        seen = Counter(payload for share in received(10, one, member) for payload in share)
    assert seen == Counter(payloads)


@only_relevo
def test_mqtt5_4_8_2_members_that_are_here_are_preferred(
    port: int, peer: Client, one: Client, name: str, shared: str
) -> None:
    one.subscribe((shared, 1))
    with Client.join(port, f"{name}-m", **KEPT) as member:
        member.subscribe((shared, 1))
        member.leave()
    payloads = send(peer, f"{name}/x", 6)
    assert received(6, one) == [payloads]


def test_mqtt5_4_5_0_1_a_group_that_is_away_keeps_its_messages(port: int, peer: Client, name: str, shared: str) -> None:
    with Client.join(port, f"{name}-m", **KEPT) as member:
        member.subscribe((shared, 1))
        member.leave()
    payloads = send(peer, f"{name}/x", 5)
    with Client.join(port, f"{name}-m", clean=False, present=True) as member:
        assert received(5, member) == [payloads]


def test_mqtt5_4_8_2_6_a_message_that_a_member_refused_goes_to_nobody_else(
    peer: Client, one: Client, two: Client, name: str, shared: str
) -> None:
    for member in (one, two):
        member.subscribe((shared, 1))
    send(peer, f"{name}/x", 4)
    for member in (one, two):
        for found in member.pending(1):
            member.send(ack("PUBACK", found.packet_id, 0x83))
    one.silent()
    two.silent()


@pytest.mark.parametrize("received_first", [False, True], ids=["sent", "received"])
def test_mqtt5_4_8_2_5_qos_2_in_flight_does_not_move_when_its_session_ends(
    port: int, peer: Client, one: Client, name: str, shared: str, received_first: bool
) -> None:
    with Client.join(port, f"{name}-m") as member:
        member.subscribe((shared, 2))
        peer.publish(f"{name}/x", qos=2)
        found = member.message(f"{name}/x", b"x", 2)
        one.subscribe((shared, 2))
        if received_first:
            member.send(ack("PUBREC", found.packet_id))
            member.receive("PUBREL")
        member.leave()
    one.silent()


def test_mqtt5_4_8_2_4_qos_2_in_flight_is_completed_with_its_member(
    port: int, peer: Client, one: Client, name: str, shared: str
) -> None:
    with Client.join(port, f"{name}-m", **KEPT) as member:
        member.subscribe((shared, 2))
        peer.publish(f"{name}/x", qos=2)
        packet_id = member.message(f"{name}/x", b"x", 2).packet_id
        one.subscribe((shared, 2))
        member.leave()
    one.silent()
    with Client.join(port, f"{name}-m", clean=False, present=True) as member:
        found = member.message(f"{name}/x", b"x", 2, dup=True)
        assert found.packet_id == packet_id
        member.finish(found)
        member.silent()
    one.silent()


def test_mqtt5_4_8_2_a_slow_member_does_not_stop_the_group(
    port: int, peer: Client, one: Client, name: str, shared: str
) -> None:
    """A member whose window is full keeps its share, or the others get it; nothing comes twice."""
    with Client.join(port, f"{name}-m", properties={"receive_maximum": 1}) as slow:
        slow.subscribe((shared, 1))
        one.subscribe((shared, 1))
        payloads = send(peer, f"{name}/x", 10)
        # The other member does not starve.
        first = [one.finish(found).payload for found in one.pending(1)]
        rest = received(len(payloads) - len(first), one, slow)
        assert Counter(first + rest[0] + rest[1]) == Counter(payloads)
