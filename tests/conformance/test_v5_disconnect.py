"""MQTT 5.0 sections 3.13 to 3.15 and 4.13: DISCONNECT, AUTH and what the server says before it hangs up."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw import packet, text
from tests.conformance.raw5 import (
    MALFORMED,
    PROTOCOL,
    VIOLATION,
    Client,
    auth5,
    disconnect5,
    only_relevo,
    publish5,
    serving,
    subscribe5,
    varint,
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory) as found:
        yield found


@pytest.fixture
def raw(port: int, name: str) -> Iterator[Client]:
    with Client.join(port, name) as found:
        yield found


@pytest.mark.parametrize(
    "data",
    [disconnect5(), disconnect5(0), disconnect5(0, ()), disconnect5(0, {"reason_string": "bye"})],
    ids=["bare", "reason", "no-properties", "reason-string"],
)
def test_mqtt5_3_14_4_2_disconnect_is_answered_by_closing(raw: Client, data: bytes) -> None:
    raw.send(data)
    raw.expect_closed()


def test_mqtt5_3_14_4_1_what_follows_disconnect_is_not_processed(port: int, raw: Client, name: str) -> None:
    raw.subscribe(f"{name}/x")
    with Client.join(port, f"{name}-leaves") as other:
        other.send(disconnect5() + publish5(f"{name}/x"))
        other.expect_closed()
    raw.silent()


@pytest.mark.parametrize("first", [0xE1, 0xE2, 0xE8])
def test_mqtt5_3_14_1_1_reserved_bits_of_disconnect_are_malformed(raw: Client, first: int) -> None:
    raw.send(packet(first, b""))
    raw.ended(*VIOLATION)


FOREIGN: dict[str, Any] = {"content_type": "x", "topic_alias": 1, "receive_maximum": 1, "will_delay_interval": 1}


@pytest.mark.parametrize("which", FOREIGN)
def test_mqtt5_2_2_2_2_a_foreign_property_in_disconnect_is_malformed(raw: Client, which: str) -> None:
    raw.send(disconnect5(0, {which: FOREIGN[which]}))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("which", ["session_expiry_interval", "reason_string"])
def test_mqtt5_3_14_2_2_a_property_twice_in_disconnect_is_a_protocol_error(raw: Client, which: str) -> None:
    value: Any = 0 if which == "session_expiry_interval" else "x"
    raw.send(disconnect5(0, [(which, value)] * 2))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("body", [b"\x00\x05", b"\x00\x05\x11\x00", b"\x00\x01\x7f", b"\x00\x00\x00"])
def test_mqtt5_3_14_2_damaged_disconnect_still_ends_the_connection(raw: Client, body: bytes) -> None:
    raw.send(packet(0xE0, body))
    found = raw.packet()
    assert found[:1] in (b"", b"\xe0")
    if found:
        assert found[2] in VIOLATION
        raw.expect_closed()


# What a client may not send


@pytest.mark.parametrize(
    "data",
    [
        b"\x20\x03\x00\x00\x00",
        b"\x90\x04\x00\x01\x00\x00",
        b"\xb0\x04\x00\x01\x00\x00",
        b"\xd0\x00",
    ],
    ids=["CONNACK", "SUBACK", "UNSUBACK", "PINGRESP"],
)
def test_mqtt5_4_13_1_1_packets_of_the_server_are_a_protocol_error(raw: Client, data: bytes) -> None:
    raw.send(data)
    raw.ended(*VIOLATION)


def test_mqtt5_2_1_2_packet_type_0_is_a_protocol_error(raw: Client) -> None:
    raw.send(b"\x00\x00")
    raw.ended(*VIOLATION)


@pytest.mark.parametrize("data", [b"\xc1\x00", b"\xc8\x00"], ids=["c1", "c8"])
def test_mqtt5_2_1_3_1_reserved_bits_of_pingreq_are_malformed(raw: Client, data: bytes) -> None:
    raw.send(data)
    raw.ended(*VIOLATION)


def test_mqtt5_3_12_1_pingreq_has_no_body(raw: Client) -> None:
    raw.send(b"\xc0\x01\x00")
    raw.ended(*VIOLATION)


@pytest.mark.parametrize(
    "data",
    [auth5(), auth5(0, ()), auth5(0x19), auth5(0x18, {"authentication_data": b"x"})],
    ids=["bare", "success", "again", "continue"],
)
def test_mqtt5_4_12_0_7_auth_without_a_method_is_a_protocol_error(raw: Client, data: bytes) -> None:
    raw.send(data)
    raw.ended(*VIOLATION, 0x8C)


@pytest.mark.parametrize("first", [0xF1, 0xF8])
def test_mqtt5_3_15_1_1_reserved_bits_of_auth_are_malformed(raw: Client, first: int) -> None:
    raw.send(packet(first, b""))
    raw.ended(*VIOLATION)


# The reasons


@only_relevo
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (publish5("a", qos=3), MALFORMED),
        (subscribe5(("a", 0x40)), MALFORMED),
        (publish5(b"\xff"), MALFORMED),
        (b"\x30\xff\xff\xff\xff\x01", MALFORMED),
        (b"\x83\x00", MALFORMED),
        (subscribe5(), PROTOCOL),
        (auth5(), PROTOCOL),
        (b"\xd0\x00", PROTOCOL),
        (publish5("a", properties={"subscription_identifier": 1}), PROTOCOL),
        (publish5("a", properties=[("content_type", "x")] * 2), PROTOCOL),
        (publish5("a", properties={"topic_alias": 0}), 0x94),
        (publish5("a/+"), 0x90),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else hex(value),
)
def test_mqtt5_4_13_1_the_reason_tells_malformed_from_protocol_error(raw: Client, data: bytes, reason: int) -> None:
    raw.send(data)
    raw.ended(reason)


def largest(client: Client) -> int:
    found: int | None = client.connack.one("maximum_packet_size")
    if found is None or found > 4_000_000:
        pytest.skip("this broker takes packets of any size")
    return found


def test_mqtt5_3_2_2_15_a_packet_above_the_servers_maximum_gets_95(raw: Client, name: str) -> None:
    head = len(publish5(f"{name}/x", b"")) + 3
    raw.send(publish5(f"{name}/x", bytes(largest(raw) - head + 8)))
    raw.ended(0x95)


def test_mqtt5_3_2_2_15_a_packet_of_exactly_the_servers_maximum_is_taken(raw: Client, name: str) -> None:
    size = largest(raw)
    body = text(f"{name}/x") + b"\x00"
    length = next(n for n in range(size) if 1 + len(varint(size - 2 - n)) + size - 2 - n == size)
    rest = size - 2 - length
    data = packet(0x30, body + bytes(rest - len(body)))
    assert len(data) == size
    raw.send(data)
    raw.silent()


def test_mqtt5_3_2_2_15_the_announced_length_alone_is_enough(raw: Client) -> None:
    """The server does not wait for what it would not take."""
    above = largest(raw) + 1
    raw.send(b"\x30" + varint(above) + bytes(100))
    raw.ended(0x95)


def test_mqtt5_3_14_2_2_the_server_sends_no_session_expiry(raw: Client) -> None:
    """[MQTT-3.14.2-2]; the reader of these tests knows what a DISCONNECT of the server may carry."""
    raw.send(publish5("a", qos=3))
    raw.ended(*VIOLATION)


@pytest.mark.parametrize(
    "data",
    [publish5("a", qos=3), subscribe5(("a", 3)), b"\x00\x00", auth5()],
    ids=["publish", "subscribe", "0", "auth"],
)
def test_mqtt5_4_13_2_1_after_an_error_the_connection_is_closed(raw: Client, data: bytes) -> None:
    raw.send(data + publish5("never", qos=1))
    kinds = []
    while found := raw.packet():
        kinds.append(found[0])
    assert kinds in ([], [0xE0])


@pytest.mark.parametrize(
    "data", [publish5("a", qos=3), subscribe5(("a", 3)), b"\x00\x00"], ids=["publish", "subscribe", "0"]
)
def test_mqtt5_4_13_1_1_a_violation_of_one_client_disturbs_no_other(
    port: int, raw: Client, name: str, data: bytes
) -> None:
    with Client.join(port, f"{name}-bad") as bad:
        bad.send(data)
        bad.ended(*VIOLATION)
    raw.silent()
