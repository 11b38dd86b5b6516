"""MQTT 5.0 sections 3.1.2.4, 3.1.2.11.2, 3.1.3.2.2, 3.14 and 4.1: how long a session and its will last."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw5 import (
    FOREVER,
    PROTOCOL,
    VIOLATION,
    Client,
    Will,
    connect5,
    disconnect5,
    only_relevo,
    options,
    publish5,
    serving,
)

# A session or a will of one second is over after this; brokers look once a second.
OVER = 2.3


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory) as found:
        yield found


@pytest.fixture
def peer(port: int, name: str) -> Iterator[Client]:
    with Client.join(port, f"{name}-peer") as found:
        yield found


def lasting(seconds: int) -> dict[str, Any]:
    return {"properties": {"session_expiry_interval": seconds}}


def present(port: int, name: str) -> bool:
    """Whether the server still has a session; it is gone afterwards."""
    with Client(port, connect5(name, clean=False)) as raw:
        found = raw.receive("CONNACK")
        assert found.reason == 0
        raw.leave(0)
        return found.session_present


# Clean start and session present


@pytest.mark.parametrize("seconds", [0, 60, FOREVER])
def test_mqtt5_3_1_2_4_and_3_2_2_2_clean_start_discards_the_session(
    port: int, name: str, peer: Client, seconds: int
) -> None:
    with Client.join(port, name, **lasting(60)) as raw:
        raw.subscribe((f"{name}/x", 1))
        raw.leave()
    peer.publish(f"{name}/x")
    with Client.join(port, name, clean=True, present=False, **lasting(seconds)) as raw:
        peer.publish(f"{name}/x")
        raw.silent()
        raw.leave(0, None if seconds == 0 else {"session_expiry_interval": 0})


def test_mqtt5_3_1_2_5_and_3_2_2_3_a_session_is_resumed(port: int, name: str, peer: Client) -> None:
    with Client.join(port, name, **lasting(60)) as raw:
        raw.subscribe((f"{name}/x", 1))
        raw.leave()
    with Client.join(port, name, clean=False, present=True) as raw:
        peer.publish(f"{name}/x")
        raw.message(f"{name}/x", b"x", 1)


def test_mqtt5_3_1_2_6_without_a_session_there_is_a_new_one(port: int, name: str) -> None:
    Client.join(port, name, clean=False, present=False).drop()


def test_mqtt5_3_1_2_4_clean_start_begins_a_session_that_may_last(port: int, name: str) -> None:
    """Unlike clean session of 3.1.1, the flag says nothing about the end."""
    Client.join(port, name, clean=True, **lasting(60)).leave()
    assert present(port, name)


# Session expiry


@pytest.mark.parametrize("more", [{}, lasting(0)], ids=["absent", "0"])
@pytest.mark.parametrize("polite", [False, True], ids=["drop", "disconnect"])
def test_mqtt5_3_1_2_11_2_without_an_expiry_the_session_ends_with_the_connection(
    port: int, name: str, peer: Client, more: dict[str, Any], polite: bool
) -> None:
    raw = Client.join(port, name, clean=False, will=Will(f"{name}/will"), **more)
    peer.subscribe(f"{name}/will")
    if polite:
        raw.leave(0x04)
    else:
        raw.drop()
    peer.message(f"{name}/will", b"gone")
    assert not present(port, name)


@pytest.mark.parametrize("polite", [False, True], ids=["drop", "disconnect"])
@pytest.mark.parametrize("seconds", [60, FOREVER - 1, FOREVER])
def test_mqtt5_3_1_2_23_a_session_with_an_expiry_is_kept(port: int, name: str, seconds: int, polite: bool) -> None:
    raw = Client.join(port, name, clean=False, **lasting(seconds))
    if polite:
        raw.leave()
    else:
        raw.drop()
    assert present(port, name)


def test_mqtt5_4_1_0_2_a_session_ends_when_its_expiry_has_passed(port: int, name: str, peer: Client) -> None:
    """Four clients, one wait: by the last value, at DISCONNECT too; the time runs from the end of the connection."""
    Client.join(port, f"{name}-1", **lasting(1)).leave()
    Client.join(port, f"{name}-dropped", **lasting(1)).drop()
    Client.join(port, f"{name}-shortened", **lasting(600)).leave(0, {"session_expiry_interval": 1})
    Client.join(port, f"{name}-lengthened", **lasting(1)).leave(0, {"session_expiry_interval": 600})
    connected = Client.join(port, f"{name}-connected", **lasting(1))
    time.sleep(OVER)
    assert not present(port, f"{name}-1")
    assert not present(port, f"{name}-dropped")
    assert not present(port, f"{name}-shortened")
    assert present(port, f"{name}-lengthened")
    # [MQTT-4.1.0-1]: not while the connection is open.
    connected.silent()
    connected.leave()
    assert present(port, f"{name}-connected")


def test_mqtt5_3_1_2_11_2_a_new_connection_sets_a_new_expiry(port: int, name: str) -> None:
    Client.join(port, name, **lasting(60)).leave()
    Client.join(port, name, clean=False, present=True, **lasting(0)).leave()
    assert not present(port, name)


def test_mqtt5_3_14_2_2_2_disconnect_may_end_the_session_at_once(port: int, name: str) -> None:
    Client.join(port, name, **lasting(60)).leave(0, {"session_expiry_interval": 0})
    assert not present(port, name)


def test_mqtt5_3_14_2_2_2_disconnect_without_an_expiry_leaves_it(port: int, name: str) -> None:
    Client.join(port, name, **lasting(60)).leave(0, {"user_property": ("k", "v")})
    assert present(port, name)


@pytest.mark.parametrize("more", [{}, lasting(0)], ids=["absent", "0"])
def test_mqtt5_3_14_2_2_2_raising_the_expiry_from_0_is_a_protocol_error(
    port: int, name: str, more: dict[str, Any]
) -> None:
    with Client.join(port, name, **more) as raw:
        raw.send(disconnect5(0, {"session_expiry_interval": 60}))
        raw.ended(PROTOCOL)
    assert not present(port, name)


def test_mqtt5_3_14_2_2_2_zero_may_be_said_again_at_disconnect(port: int, name: str) -> None:
    Client.join(port, name).leave(0, {"session_expiry_interval": 0})


def test_mqtt5_3_2_2_3_2_the_server_tells_an_expiry_of_its_own(port: int, name: str) -> None:
    """Absent from CONNACK means that the client's value holds; if present it is not longer."""
    with Client.join(port, name, **lasting(60)) as raw:
        assert raw.connack.one("session_expiry_interval", 60) <= 60
        raw.leave(0, {"session_expiry_interval": 0})


def test_mqtt5_4_1_0_1_takeover_keeps_the_session(port: int, name: str, peer: Client) -> None:
    with Client.join(port, name, **lasting(60)) as old:
        old.subscribe((f"{name}/x", 1))
        with Client.join(port, name, clean=False, present=True) as new:
            old.ended(0x8E)
            peer.publish(f"{name}/x")
            new.message(f"{name}/x", b"x", 1)


# What belongs to a session


def test_mqtt5_4_1_subscription_options_are_kept(port: int, name: str, peer: Client) -> None:
    """Section 4.1: subscriptions with their options and identifiers."""
    with Client.join(port, name, **lasting(60)) as raw:
        raw.subscribe((f"{name}/own", options(1, no_local=True)))
        raw.subscribe((f"{name}/as", options(1, as_published=True)), properties={"subscription_identifier": 300})
        raw.leave()
    with Client.join(port, name, clean=False, present=True) as raw:
        raw.publish(f"{name}/own")
        raw.silent()
        peer.publish(f"{name}/as", b"kept", retain=True)
        found = raw.message(f"{name}/as", b"kept", 1, retain=True)
        assert found.all("subscription_identifier") == [300]
    peer.publish(f"{name}/as", b"", retain=True)


@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt5_4_5_0_1_messages_wait_for_a_client_that_is_away(port: int, name: str, peer: Client, qos: int) -> None:
    with Client.join(port, name, **lasting(60)) as raw:
        raw.subscribe((f"{name}/x", qos))
        raw.leave()
    for n in range(40):
        peer.publish(f"{name}/x", b"%d" % n, qos=qos)
    with Client.join(port, name, clean=False, present=True) as raw:
        for n in range(40):
            raw.finish(raw.message(f"{name}/x", b"%d" % n, qos))
        raw.silent()


def test_mqtt5_4_1_qos_0_need_not_wait_but_is_never_repeated(port: int, name: str, peer: Client) -> None:
    with Client.join(port, name, **lasting(60)) as raw:
        raw.subscribe((f"{name}/x", 1))
        raw.leave()
    peer.publish(f"{name}/x", b"0", qos=0)
    peer.publish(f"{name}/x", b"1", qos=1)
    with Client.join(port, name, clean=False, present=True, **lasting(60)) as raw:
        found = [one.payload for one in raw.pending(1)]
        assert found in ([b"1"], [b"0", b"1"])
        raw.leave()


@only_relevo
def test_mqtt5_4_1_qos_0_does_not_wait(port: int, name: str, peer: Client) -> None:
    with Client.join(port, name, **lasting(60)) as raw:
        raw.subscribe((f"{name}/x", 1))
        raw.leave()
    peer.publish(f"{name}/x", qos=0)
    with Client.join(port, name, clean=False, present=True) as raw:
        raw.silent()


def test_mqtt5_4_1_queued_messages_keep_their_properties(port: int, name: str, peer: Client) -> None:
    carried: list[tuple[str, Any]] = [
        ("payload_format_indicator", 1),
        ("content_type", "text/plain"),
        ("response_topic", "answer"),
        ("correlation_data", b"\x00\x01"),
        ("user_property", ("b", "1")),
        ("user_property", ("a", "2")),
    ]
    with Client.join(port, name, **lasting(60)) as raw:
        raw.subscribe((f"{name}/x", 1), properties={"subscription_identifier": 7})
        raw.leave()
    peer.publish(f"{name}/x", properties=carried)
    with Client.join(port, name, clean=False, present=True) as raw:
        found = raw.message(f"{name}/x", b"x", 1)
        assert sorted(found.properties) == sorted([*carried, ("subscription_identifier", 7)])


def test_mqtt5_3_3_2_7_topic_aliases_do_not_outlive_the_connection(port: int, name: str) -> None:
    with Client.join(port, name, **lasting(60)) as raw:
        if not raw.connack.one("topic_alias_maximum", 0):
            pytest.skip("this broker takes no topic aliases")
        raw.publish(f"{name}/x", properties={"topic_alias": 1})
        raw.leave()
    with Client.join(port, name, clean=False, present=True) as raw:
        raw.send(publish5("", properties={"topic_alias": 1}))
        raw.ended(*VIOLATION, 0x94)


# Message expiry


def test_mqtt5_3_3_2_5_and_6_waiting_messages_age_and_expire(port: int, name: str, peer: Client) -> None:
    with Client.join(port, name, **lasting(60)) as raw:
        raw.subscribe((f"{name}/x", 2))
        raw.leave()
    peer.publish(f"{name}/x", b"short-1", qos=1, properties={"message_expiry_interval": 1})
    peer.publish(f"{name}/x", b"short-2", qos=2, properties={"message_expiry_interval": 1})
    peer.publish(f"{name}/x", b"long", qos=1, properties={"message_expiry_interval": 100})
    peer.publish(f"{name}/x", b"for ever", qos=1)
    time.sleep(OVER)
    with Client.join(port, name, clean=False, present=True) as raw:
        found = raw.finish(raw.message(f"{name}/x", b"long", 1))
        assert 96 <= found.one("message_expiry_interval") <= 98
        found = raw.finish(raw.message(f"{name}/x", b"for ever", 1))
        assert found.one("message_expiry_interval") is None
        raw.silent()


def test_mqtt5_3_3_2_5_and_6_retained_messages_age_and_expire(port: int, name: str, peer: Client) -> None:
    peer.publish(f"{name}/short", retain=True, properties={"message_expiry_interval": 1})
    peer.publish(f"{name}/long", retain=True, properties={"message_expiry_interval": 100})
    time.sleep(OVER)
    peer.subscribe(f"{name}/+")
    found = peer.message(f"{name}/long", b"x", retain=True)
    assert 96 <= found.one("message_expiry_interval") <= 98
    peer.silent()
    peer.publish(f"{name}/long", b"", retain=True)


def test_mqtt5_4_3_2_3_a_message_that_was_sent_does_not_expire(port: int, name: str, peer: Client) -> None:
    """[MQTT-4.3.2-3], [MQTT-4.3.3-7]: expiry does not apply to what is in flight already; sending again may."""
    with Client.join(port, name) as raw:
        raw.subscribe((f"{name}/x", 2))
        peer.publish(f"{name}/x", qos=2, properties={"message_expiry_interval": 1})
        found = raw.message(f"{name}/x", b"x", 2)
        time.sleep(OVER)
        raw.finish(found)
        raw.silent()


# Will delay


def delayed(seconds: int, name: str, payload: bytes = b"gone") -> Will:
    return Will(f"{name}/will", payload, 1, properties={"will_delay_interval": seconds})


def test_mqtt5_3_1_3_2_2_a_delayed_will_is_published_after_its_delay(port: int, name: str, peer: Client) -> None:
    peer.subscribe((f"{name}/will", 1))
    Client.join(port, name, will=delayed(1, name), **lasting(60)).drop()
    begun = time.monotonic()
    peer.silent()
    peer.message(f"{name}/will", b"gone", 1)
    assert 0.5 <= time.monotonic() - begun <= 4
    assert present(port, name)


def test_mqtt5_3_1_3_9_a_reconnect_in_time_cancels_the_will(port: int, name: str, peer: Client) -> None:
    peer.subscribe((f"{name}/will", 1))
    Client.join(port, name, will=delayed(1, name), **lasting(60)).drop()
    with Client.join(port, name, clean=False, present=True, **lasting(60)) as raw:
        time.sleep(OVER)
        peer.silent()
        raw.leave(0, {"session_expiry_interval": 0})
    peer.silent()


def test_mqtt5_3_1_2_8_the_end_of_the_session_publishes_a_delayed_will(port: int, name: str, peer: Client) -> None:
    """Whichever is first; without an expiry that is at once."""
    peer.subscribe((f"{name}/will", 1))
    Client.join(port, name, will=delayed(600, name), **lasting(0)).drop()
    peer.message(f"{name}/will", b"gone", 1)


def test_mqtt5_3_1_2_8_a_session_that_expires_publishes_a_delayed_will(port: int, name: str, peer: Client) -> None:
    peer.subscribe((f"{name}/will", 1))
    Client.join(port, name, will=delayed(600, name), **lasting(1)).drop()
    peer.silent()
    peer.message(f"{name}/will", b"gone", 1)
    assert not present(port, name)


def test_mqtt5_3_1_2_8_clean_start_ends_the_session_and_so_publishes_its_will(
    port: int, name: str, peer: Client
) -> None:
    """Section 3.1.3.2.2: the delay ends with the session, and clean start ends it."""
    peer.subscribe((f"{name}/will", 1))
    Client.join(port, name, will=delayed(600, name), **lasting(60)).drop()
    with Client.join(port, name, clean=True):
        peer.message(f"{name}/will", b"gone", 1)


def test_mqtt5_3_1_3_9_takeover_with_a_delay_publishes_no_will(port: int, name: str, peer: Client) -> None:
    peer.subscribe((f"{name}/will", 1))
    with (
        Client.join(port, name, will=delayed(600, name), **lasting(60)) as old,
        Client.join(port, name, clean=False, present=True) as new,
    ):
        old.ended(0x8E)
        new.silent()
        peer.silent()


def test_mqtt5_3_14_2_1_disconnect_04_starts_the_delay(port: int, name: str, peer: Client) -> None:
    peer.subscribe((f"{name}/will", 1))
    Client.join(port, name, will=delayed(600, name), **lasting(60)).leave(0x04)
    peer.silent()
    assert present(port, name)


def test_mqtt5_3_1_2_10_disconnect_0_discards_a_delayed_will(port: int, name: str, peer: Client) -> None:
    peer.subscribe((f"{name}/will", 1))
    Client.join(port, name, will=delayed(600, name), **lasting(60)).leave()
    with Client.join(port, name, clean=True):
        peer.silent()


def test_mqtt5_3_14_2_2_2_an_expiry_of_0_at_disconnect_publishes_a_delayed_will(
    port: int, name: str, peer: Client
) -> None:
    peer.subscribe((f"{name}/will", 1))
    Client.join(port, name, will=delayed(600, name), **lasting(60)).leave(0x04, {"session_expiry_interval": 0})
    peer.message(f"{name}/will", b"gone", 1)


def test_mqtt5_3_1_3_2_2_a_delayed_will_that_is_retained_is_kept(port: int, name: str, peer: Client) -> None:
    will = Will(f"{name}/will", retain=True, properties={"will_delay_interval": 600, "content_type": "t"})
    Client.join(port, name, will=will).drop()
    peer.subscribe((f"{name}/will", options(handling=2)))
    found = None
    end = time.monotonic() + 5
    while not found and time.monotonic() < end:
        peer.subscribe(f"{name}/will")
        found = next((one for one in peer.pending() if one.retain), None)
    assert found and (found.payload, found.one("content_type")) == (b"gone", "t")
    peer.publish(f"{name}/will", b"", retain=True)
