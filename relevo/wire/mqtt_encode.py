"""MQTT control packets that a server sends, as bytes. MQTT 3.1.1 and 5.0, chapters 2 and 3."""

import struct
from typing import Final

from relevo.wire.mqtt_packets import MQTT_5, MQTT_31, Kind
from relevo.wire.mqtt_properties import Properties, encode_properties

_U16: Final = struct.Struct("!H")

PINGRESP: Final = b"\xd0\x00"


def encode_length(length: int) -> bytes:
    """Remaining length as a variable byte integer, MQTT 3.1.1 section 2.2.3."""
    if length < 0x80:
        return bytes((length,))
    out = bytearray()
    while True:
        length, byte = length >> 7, length & 0x7F
        if not length:
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def encode_text(text: str) -> bytes:
    raw = text.encode()
    return _U16.pack(len(raw)) + raw


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + encode_length(len(body)) + body


def encode_connack(version: int, session_present: bool, reason: int, properties: Properties | None = None) -> bytes:
    """CONNACK; ``reason`` is a return code of 3.1.1 table 3.1 or a reason code of 5.0."""
    # Level 3 has no session-present flag: the byte is reserved.
    flag = 1 if session_present and reason == 0 and version != MQTT_31 else 0
    body = bytes((flag, reason))
    if version == MQTT_5:
        body += encode_properties(properties)
    return _packet(0x20, body)


def encode_publish(
    version: int,
    topic: bytes,
    payload: bytes,
    qos: int,
    retain: bool,
    dup: bool,
    packet_id: int,
    properties: Properties | None = None,
) -> bytes:
    """PUBLISH; ``topic`` is already UTF-8, because one message is encoded for many receivers."""
    head = _U16.pack(len(topic)) + topic
    if qos:
        head += _U16.pack(packet_id)
    if version == MQTT_5:
        head += encode_properties(properties)
    first = 0x30 | (qos << 1) | retain | (dup << 3)
    return bytes((first,)) + encode_length(len(head) + len(payload)) + head + payload


def encode_ack(version: int, kind: int, packet_id: int, reason: int = 0, properties: Properties | None = None) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""
    first = (kind << 4) | (2 if kind == Kind.PUBREL else 0)
    if version != MQTT_5 or (reason == 0 and not properties):
        return bytes((first, 2, packet_id >> 8, packet_id & 0xFF))
    body = bytes((packet_id >> 8, packet_id & 0xFF, reason))
    if properties:
        body += encode_properties(properties)
    return _packet(first, body)


def encode_suback(version: int, packet_id: int, reasons: list[int], properties: Properties | None = None) -> bytes:
    body = _U16.pack(packet_id)
    if version == MQTT_5:
        body += encode_properties(properties)
    return _packet(0x90, body + bytes(reasons))


def encode_unsuback(version: int, packet_id: int, reasons: list[int]) -> bytes:
    body = _U16.pack(packet_id)
    if version == MQTT_5:
        body += encode_properties(None) + bytes(reasons)
    return _packet(0xB0, body)


def encode_disconnect(reason: int, properties: Properties | None = None) -> bytes:
    """DISCONNECT from the server; only version 5 knows it."""
    if not properties:
        return bytes((0xE0, 1, reason))
    return _packet(0xE0, bytes((reason,)) + encode_properties(properties))
