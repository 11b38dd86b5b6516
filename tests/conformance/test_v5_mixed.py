"""Clients of MQTT 3.1.1 and 5.0 on one broker: everybody gets the message in the words of his own version."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw import publish
from tests.conformance.raw5 import Client, Will, options, publish5, serving, subscribe5

CARRIED: list[tuple[str, Any]] = [
    ("payload_format_indicator", 1),
    ("message_expiry_interval", 100),
    ("content_type", "t"),
    ("response_topic", "r"),
    ("correlation_data", b"c"),
    ("user_property", ("a", "b")),
]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory) as found:
        yield found


@pytest.fixture
def old(port: int, name: str) -> Iterator[Client]:
    """A client of 3.1.1."""
    with Client.join(port, f"{name}-old", version=4) as found:
        yield found


@pytest.fixture
def new(port: int, name: str) -> Iterator[Client]:
    """A client of 5.0."""
    with Client.join(port, f"{name}-new") as found:
        yield found


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt5_3_3_a_message_of_3_1_1_reaches_5_0_without_properties(
    old: Client, new: Client, name: str, qos: int
) -> None:
    new.subscribe((f"{name}/x", qos))
    old.publish(f"{name}/x", b"v", qos=qos)
    found = new.finish(new.message(f"{name}/x", b"v", qos))
    assert found.raw == publish5(f"{name}/x", b"v", qos=qos, packet_id=found.packet_id)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt_3_3_a_message_of_5_0_reaches_3_1_1_as_plain_bytes(old: Client, new: Client, name: str, qos: int) -> None:
    old.subscribe((f"{name}/x", qos))
    new.publish(f"{name}/x", b"v", qos=qos, properties=CARRIED)
    found = old.finish(old.message(f"{name}/x", b"v", qos))
    assert found.raw == publish(f"{name}/x", b"v", qos=qos, packet_id=found.packet_id)


def test_mqtt_3_3_an_alias_is_resolved_for_3_1_1(old: Client, new: Client, name: str) -> None:
    if not new.connack.one("topic_alias_maximum", 0):
        pytest.skip("this broker takes no topic aliases")
    old.subscribe(f"{name}/x")
    new.publish(f"{name}/x", b"1", properties={"topic_alias": 1})
    new.publish("", b"2", packet_id=2, properties={"topic_alias": 1})
    old.expect(publish(f"{name}/x", b"1"))
    old.expect(publish(f"{name}/x", b"2"))


@pytest.mark.parametrize("keeper", ["old", "new"])
def test_mqtt5_3_3_1_5_a_retained_message_is_kept_for_both(
    request: pytest.FixtureRequest, old: Client, new: Client, name: str, keeper: str
) -> None:
    sender: Client = request.getfixturevalue(keeper)
    more: dict[str, Any] = {"properties": {"content_type": "t"}} if keeper == "new" else {}
    sender.publish(f"{name}/r", b"kept", retain=True, **more)
    for receiver in (old, new):
        receiver.subscribe((f"{name}/r", 1))
    assert old.finish(old.message(f"{name}/r", b"kept", 1, retain=True)).properties == ()
    found = new.finish(new.message(f"{name}/r", b"kept", 1, retain=True))
    assert found.properties == ((("content_type", "t"),) if more else ())
    sender.publish(f"{name}/r", b"", retain=True)


def test_mqtt5_3_1_3_2_wills_reach_both(port: int, old: Client, new: Client, name: str) -> None:
    for receiver in (old, new):
        receiver.subscribe(f"{name}/will")
    Client.join(port, f"{name}-4", version=4, will=Will(f"{name}/will", b"of 3.1.1")).drop()
    old.message(f"{name}/will", b"of 3.1.1")
    assert new.message(f"{name}/will", b"of 3.1.1").properties == ()
    Client.join(port, f"{name}-5", will=Will(f"{name}/will", b"of 5.0", properties={"content_type": "t"})).drop()
    old.message(f"{name}/will", b"of 5.0")
    assert new.message(f"{name}/will", b"of 5.0").properties == (("content_type", "t"),)


def test_mqtt_3_1_4_2_a_client_of_3_1_1_is_taken_over_without_disconnect(port: int, old: Client, name: str) -> None:
    """3.1.1 has no DISCONNECT from the server."""
    with Client.join(port, f"{name}-old") as newer:
        old.expect_closed()
        newer.silent()


def test_mqtt5_3_1_4_3_a_client_of_5_0_is_taken_over_by_one_of_3_1_1(port: int, new: Client, name: str) -> None:
    with Client.join(port, f"{name}-new", version=4) as newer:
        new.ended(0x8E)
        newer.silent()


def test_mqtt_4_8_0_1_an_error_of_3_1_1_has_no_words(old: Client) -> None:
    old.send(publish("a/+"))
    old.expect_closed()


def test_mqtt_3_1_2_6_the_clean_session_of_3_1_1_ends_with_the_connection(port: int, name: str) -> None:
    Client.join(port, name, version=4, clean=True).leave()
    Client.join(port, name, version=4, clean=False, present=False).leave()
    Client.join(port, name, version=4, clean=False, present=True).leave()
    Client.join(port, name, version=4, clean=True).leave()


def test_mqtt_3_8_4_3_3_1_1_gets_retained_at_every_subscribe_and_its_own_messages(old: Client, name: str) -> None:
    """The options of 5.0 have the meaning of 3.1.1 where they are not said."""
    old.publish(f"{name}/r", b"kept", retain=True)
    for _ in range(2):
        old.subscribe(f"{name}/r")
        old.message(f"{name}/r", b"kept", retain=True)
    old.publish(f"{name}/r", b"own")
    old.message(f"{name}/r", b"own")
    old.publish(f"{name}/r", b"", retain=True)


@pytest.mark.parametrize("bits", [options(no_local=True), options(as_published=True), options(handling=2)])
def test_mqtt_3_8_3_4_the_options_of_5_0_are_reserved_bits_in_3_1_1(old: Client, bits: int) -> None:
    old.send(subscribe5(("a", bits), version=4))
    old.expect_closed()


def test_mqtt5_3_3_4_overlapping_receivers_of_both_versions_get_their_own_form(
    port: int, old: Client, new: Client, name: str
) -> None:
    """One message, many receivers: no receiver's properties leak to another."""
    with Client.join(port, f"{name}-third", properties={"topic_alias_maximum": 5}) as third:
        old.subscribe((f"{name}/+", 1))
        new.subscribe((f"{name}/x", 2), properties={"subscription_identifier": 1})
        third.subscribe((f"{name}/#", 0), properties={"subscription_identifier": 2})
        with Client.join(port, f"{name}-sender") as sender:
            sender.publish(f"{name}/x", b"v", qos=2, properties={"content_type": "t"})
        found = old.finish(old.message(f"{name}/x", b"v", 1))
        assert found.raw == publish(f"{name}/x", b"v", qos=1, packet_id=found.packet_id)
        found = new.finish(new.message(f"{name}/x", b"v", 2))
        assert sorted(found.properties) == [("content_type", "t"), ("subscription_identifier", 1)]
        last = third.message(f"{name}/x", b"v")
        assert dict(last.properties) | {"topic_alias": 0} == {
            "content_type": "t", "subscription_identifier": 2, "topic_alias": 0,
        }  # fmt: skip
