"""MQTT 3.1.1 sections 3.1, 3.2 and 3.14: CONNECT, CONNACK, DISCONNECT, keep-alive and takeover."""

import time

import pytest

from tests.conformance.raw import (
    CONNACK_OK,
    CONNACK_RESUMED,
    DISCONNECT,
    PINGREQ,
    Raw,
    connect,
    packet,
    publish,
    subscribe,
    text,
)


def test_mqtt_3_1_0_1_first_packet_must_be_connect(port: int) -> None:
    with Raw(port, PINGREQ) as raw:
        raw.expect_closed()


def test_mqtt_3_1_0_2_second_connect_is_a_violation(client: Raw, name: str) -> None:
    client.send(connect(name))
    client.expect_closed()


@pytest.mark.parametrize("protocol", ["HTTP", "mqtt", ""])
def test_mqtt_3_1_2_1_wrong_protocol_name_is_closed(port: int, protocol: str) -> None:
    with Raw(port, connect(name=protocol)) as raw:
        raw.expect_closed()


@pytest.mark.parametrize("level", [0, 2, 6, 99])
def test_mqtt_3_1_2_2_unknown_level_gets_code_1_and_is_closed(port: int, level: int) -> None:
    with Raw(port, connect(level=level)) as raw:
        raw.expect(b"\x20\x02\x00\x01")
        raw.expect_closed()


def test_mqtt_3_1_2_3_reserved_flag_must_be_zero(port: int) -> None:
    with Raw(port, connect(flags=1)) as raw:
        raw.expect_closed()


def test_mqtt_3_1_2_11_will_flags_without_will_are_a_violation(port: int) -> None:
    with Raw(port, connect(flags=0x08)) as raw:
        raw.expect_closed()


def test_mqtt_3_1_2_14_will_qos_3_is_a_violation(port: int, name: str) -> None:
    body = text("MQTT") + b"\x04\x1e\x00\x00" + text(name) + text("will") + text("x")
    with Raw(port, packet(0x10, body)) as raw:
        raw.expect_closed()


def test_mqtt_3_1_2_22_password_needs_a_user_name(port: int) -> None:
    with Raw(port, connect(password=b"secret")) as raw:
        raw.expect_closed()


def test_mqtt_3_1_2_24_silence_of_one_and_a_half_keep_alives_ends_the_connection(port: int, name: str) -> None:
    begun = time.monotonic()
    with Raw(port, connect(name, keep_alive=1)) as raw:
        raw.expect(CONNACK_OK)
        raw.expect_closed()
    assert 1.4 <= time.monotonic() - begun <= 3.5


def test_mqtt_3_1_2_24_a_ping_keeps_the_connection(port: int, name: str) -> None:
    with Raw(port, connect(name, keep_alive=1)) as raw:
        raw.expect(CONNACK_OK)
        for _ in range(5):
            time.sleep(0.5)
            raw.expect_silence()


def test_mqtt_3_1_3_7_empty_id_with_clean_session_is_accepted(port: int) -> None:
    with Raw(port, connect("")) as one, Raw(port, connect("")) as two:
        one.expect(CONNACK_OK)
        two.expect(CONNACK_OK)
        one.expect_silence()


def test_mqtt_3_1_3_8_empty_id_without_clean_session_gets_code_2(port: int) -> None:
    with Raw(port, connect("", clean=False)) as raw:
        raw.expect(b"\x20\x02\x00\x02")
        raw.expect_closed()


def test_level_3_needs_an_id(port: int) -> None:
    with Raw(port, connect("", level=3, name="MQIsdp")) as raw:
        raw.expect(b"\x20\x02\x00\x02")
        raw.expect_closed()


def test_level_3_is_served(port: int, name: str) -> None:
    with Raw(port, connect(name, level=3, name="MQIsdp")) as raw:
        raw.expect(CONNACK_OK)


def test_mqtt_3_1_4_2_same_id_ends_the_older_connection(port: int, client: Raw, name: str) -> None:
    with Raw(port, connect(name)) as newer:
        newer.expect(CONNACK_OK)
        client.expect_closed()
        newer.expect_silence()


def test_mqtt_3_1_4_no_connect_within_the_time_limit_is_closed(port: int) -> None:
    begun = time.monotonic()
    with Raw(port) as raw:
        raw.expect_closed()
    assert time.monotonic() - begun < 3


def test_mqtt_3_1_4_a_trickled_connect_is_closed_too(port: int) -> None:
    with Raw(port, connect("trickle")[:7]) as raw:
        raw.expect_closed()


def test_mqtt_3_1_2_4_and_3_2_2_2_persistent_session_is_present(port: int, name: str) -> None:
    with Raw(port, connect(name, clean=False)) as raw:
        raw.expect(CONNACK_OK)
        raw.send(subscribe((f"{name}/in", 1)))
        raw.packet()
        raw.send(DISCONNECT)
        raw.expect_closed()
    with Raw(port, connect(f"{name}-other")) as other:
        other.packet()
        other.send(publish(f"{name}/in", b"while away", qos=1))
        other.packet()
    with Raw(port, connect(name, clean=False)) as raw:
        raw.expect(CONNACK_RESUMED)
        raw.expect(publish(f"{name}/in", b"while away", qos=1, packet_id=1))


def test_mqtt_3_1_2_6_clean_session_discards_the_old_one(port: int, name: str) -> None:
    for clean in (False, True, False):
        with Raw(port, connect(name, clean=clean)) as raw:
            raw.expect(CONNACK_OK)
            raw.send(DISCONNECT)
            raw.expect_closed()


def test_mqtt_3_14_4_1_disconnect_is_answered_by_closing(client: Raw) -> None:
    client.send(DISCONNECT)
    client.expect_closed()


def test_mqtt_3_14_1_1_disconnect_with_flags_is_a_violation(client: Raw) -> None:
    client.send(b"\xe1\x00")
    client.expect_closed()


@pytest.mark.parametrize("byte", [0x00, 0xF0, 0x20, 0x90, 0xB0, 0xD0])
def test_packets_that_no_client_may_send_end_the_connection(client: Raw, byte: int) -> None:
    client.send(bytes((byte, 0)))
    client.expect_closed()


def test_mqtt_2_2_3_remaining_length_of_five_bytes_is_malformed(client: Raw) -> None:
    client.send(b"\x30\xff\xff\xff\xff\x01")
    client.expect_closed()


def test_a_packet_announced_beyond_the_limit_is_refused_before_it_arrives(client: Raw) -> None:
    client.send(b"\x30\xff\xff\xff\x7f")
    client.expect_closed()


def test_a_client_that_sends_one_byte_at_a_time_is_served(port: int, name: str) -> None:
    with Raw(port) as raw:
        raw.send_slowly(connect(name))
        raw.expect(CONNACK_OK)
        raw.send_slowly(subscribe((f"{name}/a", 0)))
        raw.expect(b"\x90\x03\x00\x0a\x00")
        raw.send_slowly(publish(f"{name}/a", b"slow", qos=1, packet_id=77))
        assert {raw.packet(), raw.packet()} == {publish(f"{name}/a", b"slow"), b"\x40\x02\x00\x4d"}


def test_everything_in_one_segment_is_answered_in_order(port: int, name: str) -> None:
    with Raw(port, connect(name) + subscribe((f"{name}/a", 0)) + publish(f"{name}/a", b"1") + PINGREQ) as raw:
        raw.expect(CONNACK_OK)
        raw.expect(b"\x90\x03\x00\x0a\x00")
        raw.expect(publish(f"{name}/a", b"1"))
        raw.expect(b"\xd0\x00")
