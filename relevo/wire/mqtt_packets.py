"""MQTT control packets: bytes to values and back, for 3.1 (level 3), 3.1.1 (level 4) and 5.0 (level 5).

OASIS MQTT 3.1.1 and 5.0, chapters 2 and 3. A decoder call takes a buffer and a position and gives back either a
packet and the position behind it, or ``None`` when the packet is not complete. Everything that the standard calls
malformed raises :class:`MalformedPacket` with the reason code of MQTT 5.0 section 2.4 that describes it.
"""

from enum import IntEnum
from typing import Any, Final, TypeAlias

import msgspec

from relevo.wire.mqtt_errors import MalformedPacket, Reason, decode_text
from relevo.wire.mqtt_properties import Properties, decode_properties

MQTT_31: Final = 3
MQTT_311: Final = 4
MQTT_5: Final = 5


class Kind(IntEnum):
    """Control packet types, MQTT 5.0 table 2-1."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Will(msgspec.Struct, gc=False):
    """The message to publish when the connection ends without DISCONNECT. ``delay`` in seconds."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties | None = None


class Connect(msgspec.Struct, gc=False):
    """CONNECT. ``keep_alive`` in seconds, 0 is none."""

    version: int
    client_id: str
    clean_start: bool
    keep_alive: int
    username: str | None
    password: bytes | None
    will: Will | None
    properties: Properties | None = None


class Publish(msgspec.Struct, gc=False):
    """PUBLISH. ``packet_id`` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int
    properties: Properties | None = None


class Ack(msgspec.Struct, gc=False):
    """PUBACK, PUBREC, PUBREL or PUBCOMP, told apart by ``kind``."""

    kind: int
    packet_id: int
    reason: int = 0
    properties: Properties | None = None


class SubscribeFilter(msgspec.Struct, gc=False):
    """One entry of SUBSCRIBE with its options (MQTT 5.0 section 3.8.3.1; defaults are 3.1.1's behaviour)."""

    filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int = 0


class Subscribe(msgspec.Struct, gc=False):
    packet_id: int
    filters: list[SubscribeFilter]
    properties: Properties | None = None


class Unsubscribe(msgspec.Struct, gc=False):
    packet_id: int
    filters: list[str]
    properties: Properties | None = None


class Pingreq(msgspec.Struct, gc=False):
    pass


class Disconnect(msgspec.Struct, gc=False):
    reason: int = 0
    properties: Properties | None = None


class Auth(msgspec.Struct, gc=False):
    reason: int = 0
    properties: Properties | None = None


Packet: TypeAlias = Connect | Publish | Ack | Subscribe | Unsubscribe | Pingreq | Disconnect | Auth

# Devices publish on few topics for ever, so the checked text of a topic is kept. Bounded: a flood empties it, and long
# topics, of which 65,536 would be 8 GB, stay out.
_TOPICS_KEPT = 65_536
_TOPIC_BYTES_KEPT: Final = 128
_topics: dict[bytes, str] = {}


def frame_size(data: bytes | bytearray, pos: int, end: int) -> int:
    """Bytes of the whole packet that starts at ``pos``, or 0 when the fixed header is not complete.

    MQTT 3.1.1 section 2.2.3. Raises :class:`MalformedPacket` for a fifth length byte.
    """
    length = 0
    for n in range(4):
        at = pos + 1 + n
        if at >= end:
            return 0
        byte = data[at]
        length |= (byte & 0x7F) << (7 * n)
        if byte < 0x80:
            return length + n + 2
    raise MalformedPacket(Reason.MALFORMED_PACKET, "remaining length has more than 4 bytes")


def decode(data: bytes | bytearray, pos: int, end: int, version: int, limit: int) -> tuple[Packet, int] | None:
    """The packet at ``pos`` and the position behind it, or ``None`` when it is not complete before ``end``.

    ``version`` is the protocol level agreed by CONNECT (any before it), ``limit`` the largest packet in bytes.
    Raises :class:`MalformedPacket`; with ``PACKET_TOO_LARGE`` as soon as the length is known.
    """
    if end - pos < 2:
        return None
    first = data[pos]
    length = data[pos + 1]
    if length < 0x80:
        start = pos + 2
        size = length + 2
    else:
        size = frame_size(data, pos, end)
        if size == 0:
            return None
        start = pos + size - _remaining(data, pos)
    if size > limit:
        raise MalformedPacket(Reason.PACKET_TOO_LARGE, f"packet of {size} bytes, the limit is {limit}")
    stop = pos + size
    if stop > end:
        # A wrong first byte is refused at once, not after its announced length has arrived.
        _check_flags(first)
        return None
    if first >> 4 == 3:
        return _publish(data, first, start, stop, version), stop
    _check_flags(first)
    reader = _DECODERS.get(first >> 4)
    if reader is None:
        raise MalformedPacket(Reason.PROTOCOL_ERROR, f"packet type {first >> 4} is not for a server")
    return reader(bytes(data[start:stop]), first, version), stop


def _remaining(data: bytes | bytearray, pos: int) -> int:
    length = shift = 0
    for n in range(4):
        byte = data[pos + 1 + n]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return length


def _check_flags(first: int) -> None:
    """[MQTT-2.2.2-2]: reserved flag bits have fixed values."""
    kind = first >> 4
    if kind == Kind.PUBLISH:
        if first & 0x06 == 0x06:
            raise MalformedPacket(Reason.MALFORMED_PACKET, "PUBLISH with QoS 3 [MQTT-3.3.1-4]")
        return
    wanted = 2 if kind in (Kind.PUBREL, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE) else 0
    if first & 0x0F != wanted:
        raise MalformedPacket(Reason.MALFORMED_PACKET, f"reserved flags of packet type {kind} are wrong")


def _publish(data: bytes | bytearray, first: int, start: int, stop: int, version: int) -> Publish:
    qos = (first >> 1) & 3
    if qos == 3:
        raise MalformedPacket(Reason.MALFORMED_PACKET, "PUBLISH with QoS 3 [MQTT-3.3.1-4]")
    if qos == 0 and first & 0x08:
        raise MalformedPacket(Reason.MALFORMED_PACKET, "PUBLISH with DUP at QoS 0 [MQTT-3.3.1-2]")
    pos = start + 2
    if pos > stop:
        raise MalformedPacket(Reason.MALFORMED_PACKET, "PUBLISH ends inside the topic")
    pos += (data[start] << 8) | data[start + 1]
    if pos > stop:
        raise MalformedPacket(Reason.MALFORMED_PACKET, "PUBLISH ends inside the topic")
    raw = bytes(data[start + 2 : pos])
    topic = _topics.get(raw)
    if topic is None:
        topic = _new_topic(raw, version)
    packet_id = 0
    if qos:
        if pos + 2 > stop:
            raise MalformedPacket(Reason.MALFORMED_PACKET, "PUBLISH ends inside the packet identifier")
        packet_id = (data[pos] << 8) | data[pos + 1]
        if packet_id == 0:
            raise MalformedPacket(Reason.PROTOCOL_ERROR, "packet identifier 0 [MQTT-2.3.1-1]")
        pos += 2
    properties = None
    if version == MQTT_5:
        properties, pos = decode_properties(data, pos, stop, Kind.PUBLISH)
    if not topic and (version != MQTT_5 or properties is None or "topic_alias" not in properties):
        raise MalformedPacket(Reason.PROTOCOL_ERROR, "empty topic name [MQTT-4.7.3-1]")
    return Publish(topic, bytes(data[pos:stop]), qos, bool(first & 1), bool(first & 8), packet_id, properties)


def _new_topic(raw: bytes, version: int) -> str:
    text = decode_text(raw, "topic name")
    if "+" in text or "#" in text:
        raise MalformedPacket(
            Reason.TOPIC_NAME_INVALID if version == MQTT_5 else Reason.MALFORMED_PACKET,
            "topic name with a wildcard [MQTT-3.3.2-2]",
        )
    if 0 < len(raw) <= _TOPIC_BYTES_KEPT:
        if len(_topics) >= _TOPICS_KEPT:
            _topics.clear()
        _topics[raw] = text
    return text


def _binary(body: bytes, pos: int, what: str) -> tuple[bytes, int]:
    if pos + 2 > len(body):
        raise MalformedPacket(Reason.MALFORMED_PACKET, f"packet ends before {what}")
    start = pos + 2
    stop = start + ((body[pos] << 8) | body[pos + 1])
    if stop > len(body):
        raise MalformedPacket(Reason.MALFORMED_PACKET, f"packet ends inside {what}")
    return body[start:stop], stop


def _text(body: bytes, pos: int, what: str) -> tuple[str, int]:
    raw, pos = _binary(body, pos, what)
    return decode_text(raw, what), pos


def _packet_id(body: bytes) -> int:
    if len(body) < 2:
        raise MalformedPacket(Reason.MALFORMED_PACKET, "packet ends inside the packet identifier")
    packet_id = (body[0] << 8) | body[1]
    if packet_id == 0:
        raise MalformedPacket(Reason.PROTOCOL_ERROR, "packet identifier 0 [MQTT-2.3.1-1]")
    return packet_id


def _connect(body: bytes, first: int, version: int) -> Connect:
    """CONNECT, MQTT 3.1.1 section 3.1 and MQTT 5.0 section 3.1."""
    name, pos = _text(body, 0, "protocol name")
    if pos + 4 > len(body):
        raise MalformedPacket(Reason.MALFORMED_PACKET, "CONNECT ends inside its header")
    level = body[pos]
    if (name, level & 0x7F) not in (("MQTT", MQTT_311), ("MQTT", MQTT_5), ("MQIsdp", MQTT_31)):
        if name not in ("MQTT", "MQIsdp"):
            raise MalformedPacket(Reason.PROTOCOL_ERROR, "protocol name is not MQTT [MQTT-3.1.2-1]")
        raise MalformedPacket(Reason.UNSUPPORTED_PROTOCOL_VERSION, f"protocol level {level} [MQTT-3.1.2-2]")
    level &= 0x7F
    flags = body[pos + 1]
    keep_alive = (body[pos + 2] << 8) | body[pos + 3]
    pos += 4
    if flags & 1:
        raise MalformedPacket(Reason.MALFORMED_PACKET, "reserved CONNECT flag is set [MQTT-3.1.2-3]")
    has_will, will_qos, will_retain = bool(flags & 4), (flags >> 3) & 3, bool(flags & 0x20)
    has_password, has_username = bool(flags & 0x40), bool(flags & 0x80)
    if will_qos == 3 or (not has_will and (will_qos or will_retain)):
        raise MalformedPacket(Reason.MALFORMED_PACKET, "will flags contradict each other [MQTT-3.1.2-11..15]")
    if has_password and not has_username and level != MQTT_5:
        raise MalformedPacket(Reason.MALFORMED_PACKET, "password without user name [MQTT-3.1.2-22]")
    properties = None
    if level == MQTT_5:
        properties, pos = decode_properties(body, pos, len(body), Kind.CONNECT)
    client_id, pos = _text(body, pos, "client identifier")
    will = None
    if has_will:
        will_properties = None
        if level == MQTT_5:
            will_properties, pos = decode_properties(body, pos, len(body), 0)
        topic, pos = _text(body, pos, "will topic")
        payload, pos = _binary(body, pos, "will message")
        if not topic or "+" in topic or "#" in topic:
            raise MalformedPacket(Reason.TOPIC_NAME_INVALID, "will topic is empty or has a wildcard")
        will = Will(topic, payload, will_qos, will_retain, will_properties)
    username = password = None
    if has_username:
        username, pos = _text(body, pos, "user name")
    if has_password:
        password, pos = _binary(body, pos, "password")
    if pos != len(body):
        raise MalformedPacket(Reason.MALFORMED_PACKET, "bytes behind the end of CONNECT")
    return Connect(level, client_id, bool(flags & 2), keep_alive, username, password, will, properties)


def _ack(body: bytes, first: int, version: int) -> Ack:
    packet_id = _packet_id(body)
    kind = first >> 4
    if version != MQTT_5:
        if len(body) != 2:
            raise MalformedPacket(Reason.MALFORMED_PACKET, "acknowledgement of a wrong length")
        return Ack(kind, packet_id)
    if len(body) == 2:
        return Ack(kind, packet_id)
    properties = None
    if len(body) > 3:
        properties, pos = decode_properties(body, 3, len(body), kind)
        if pos != len(body):
            raise MalformedPacket(Reason.MALFORMED_PACKET, "bytes behind the end of an acknowledgement")
    return Ack(kind, packet_id, body[2], properties)


def _subscribe(body: bytes, first: int, version: int) -> Subscribe:
    """SUBSCRIBE, MQTT 3.1.1 section 3.8 and MQTT 5.0 section 3.8."""
    packet_id = _packet_id(body)
    pos, properties = 2, None
    if version == MQTT_5:
        properties, pos = decode_properties(body, pos, len(body), Kind.SUBSCRIBE)
    filters: list[SubscribeFilter] = []
    while pos < len(body):
        text, pos = _text(body, pos, "topic filter")
        if pos >= len(body):
            raise MalformedPacket(Reason.MALFORMED_PACKET, "SUBSCRIBE ends before the options")
        options = body[pos]
        pos += 1
        if version == MQTT_5:
            if options & 0xC0 or options & 3 == 3 or (options >> 4) & 3 == 3:
                raise MalformedPacket(Reason.MALFORMED_PACKET, "subscription options [MQTT-3.8.3-5]")
            filters.append(SubscribeFilter(text, options & 3, bool(options & 4), bool(options & 8), (options >> 4) & 3))
        else:
            if options > 2:
                raise MalformedPacket(Reason.MALFORMED_PACKET, "requested QoS is not 0, 1 or 2 [MQTT-3-8.3-4]")
            filters.append(SubscribeFilter(text, options))
    if not filters:
        raise MalformedPacket(Reason.PROTOCOL_ERROR, "SUBSCRIBE without a topic filter [MQTT-3.8.3-3]")
    return Subscribe(packet_id, filters, properties)


def _unsubscribe(body: bytes, first: int, version: int) -> Unsubscribe:
    packet_id = _packet_id(body)
    pos, properties = 2, None
    if version == MQTT_5:
        properties, pos = decode_properties(body, pos, len(body), Kind.UNSUBSCRIBE)
    filters: list[str] = []
    while pos < len(body):
        text, pos = _text(body, pos, "topic filter")
        filters.append(text)
    if not filters:
        raise MalformedPacket(Reason.PROTOCOL_ERROR, "UNSUBSCRIBE without a topic filter [MQTT-3.10.3-2]")
    return Unsubscribe(packet_id, filters, properties)


def _pingreq(body: bytes, first: int, version: int) -> Pingreq:
    if body:
        raise MalformedPacket(Reason.MALFORMED_PACKET, "PINGREQ with a body")
    return Pingreq()


def _disconnect(body: bytes, first: int, version: int) -> Disconnect:
    if version != MQTT_5:
        if body:
            raise MalformedPacket(Reason.MALFORMED_PACKET, "DISCONNECT with a body")
        return Disconnect()
    reason, properties = _reason_and_properties(body, Kind.DISCONNECT)
    return Disconnect(reason, properties)


def _auth(body: bytes, first: int, version: int) -> Auth:
    if version != MQTT_5:
        raise MalformedPacket(Reason.PROTOCOL_ERROR, "AUTH before version 5")
    reason, properties = _reason_and_properties(body, Kind.AUTH)
    return Auth(reason, properties)


def _reason_and_properties(body: bytes, kind: Kind) -> tuple[int, Properties | None]:
    if not body:
        return 0, None
    if len(body) == 1:
        return body[0], None
    properties, pos = decode_properties(body, 1, len(body), kind)
    if pos != len(body):
        raise MalformedPacket(Reason.MALFORMED_PACKET, f"bytes behind the end of {kind.name}")
    return body[0], properties


_DECODERS: Final[dict[int, Any]] = {
    Kind.CONNECT: _connect,
    Kind.PUBACK: _ack,
    Kind.PUBREC: _ack,
    Kind.PUBREL: _ack,
    Kind.PUBCOMP: _ack,
    Kind.SUBSCRIBE: _subscribe,
    Kind.UNSUBSCRIBE: _unsubscribe,
    Kind.PINGREQ: _pingreq,
    Kind.DISCONNECT: _disconnect,
    Kind.AUTH: _auth,
}
