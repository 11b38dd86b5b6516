"""MQTT packets of a client made by hand from the standard, sharing nothing with the product's encoders."""

import struct
from typing import Any, NamedTuple

from hypothesis import strategies as st

from relevo.wire import mqtt_packets as mqtt
from tests.conformance.raw import packet, text

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH = 8, 9, 10, 11, 14, 15
WILL = 0
ACKS = (PUBACK, PUBREC, PUBREL, PUBCOMP)
EVERY = (CONNECT, CONNACK, PUBLISH, WILL, *ACKS, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH)

# MQTT 5.0 table 2-4: name, identifier, type, packets.
PROPERTIES: list[tuple[str, int, str, tuple[int, ...]]] = [
    ("payload_format_indicator", 0x01, "flag", (PUBLISH, WILL)),
    ("message_expiry_interval", 0x02, "u32", (PUBLISH, WILL)),
    ("content_type", 0x03, "text", (PUBLISH, WILL)),
    ("response_topic", 0x08, "text", (PUBLISH, WILL)),
    ("correlation_data", 0x09, "binary", (PUBLISH, WILL)),
    ("subscription_identifier", 0x0B, "varint", (PUBLISH, SUBSCRIBE)),
    ("session_expiry_interval", 0x11, "u32", (CONNECT, CONNACK, DISCONNECT)),
    ("assigned_client_identifier", 0x12, "text", (CONNACK,)),
    ("server_keep_alive", 0x13, "u16", (CONNACK,)),
    ("authentication_method", 0x15, "text", (CONNECT, CONNACK, AUTH)),
    ("authentication_data", 0x16, "binary", (CONNECT, CONNACK, AUTH)),
    ("request_problem_information", 0x17, "flag", (CONNECT,)),
    ("will_delay_interval", 0x18, "u32", (WILL,)),
    ("request_response_information", 0x19, "flag", (CONNECT,)),
    ("response_information", 0x1A, "text", (CONNACK,)),
    ("server_reference", 0x1C, "text", (CONNACK, DISCONNECT)),
    ("reason_string", 0x1F, "text", (CONNACK, *ACKS, SUBACK, UNSUBACK, DISCONNECT, AUTH)),
    ("receive_maximum", 0x21, "u16", (CONNECT, CONNACK)),
    ("topic_alias_maximum", 0x22, "u16", (CONNECT, CONNACK)),
    ("topic_alias", 0x23, "u16", (PUBLISH,)),
    ("maximum_qos", 0x24, "flag", (CONNACK,)),
    ("retain_available", 0x25, "flag", (CONNACK,)),
    ("user_property", 0x26, "pair", EVERY),
    ("maximum_packet_size", 0x27, "u32", (CONNECT, CONNACK)),
    ("wildcard_subscription_available", 0x28, "flag", (CONNACK,)),
    ("subscription_identifier_available", 0x29, "flag", (CONNACK,)),
    ("shared_subscription_available", 0x2A, "flag", (CONNACK,)),
]
NEVER_ZERO = {"receive_maximum", "maximum_packet_size", "subscription_identifier"}

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=12)
binaries = st.binary(max_size=12)
packet_ids = st.integers(1, 65_535)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "flag": st.integers(0, 1),
    "u16": st.integers(0, 2**16 - 1),
    "u32": st.integers(0, 2**32 - 1),
    "varint": st.integers(0, 268_435_455),
    "text": texts,
    "binary": binaries,
    "pair": st.tuples(texts, texts),
}


class Made(NamedTuple):
    """Bytes, and the packet they mean."""

    data: bytes
    means: mqtt.Packet


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def property_value(kind: str, value: Any) -> bytes:
    match kind:
        case "flag":
            return bytes((value,))
        case "u16":
            return struct.pack("!H", value)
        case "u32":
            return struct.pack("!I", value)
        case "varint":
            return varint(value)
        case "pair":
            return text(value[0]) + text(value[1])
        case _:
            return text(value)


def property_set(*pairs: tuple[str, Any]) -> bytes:
    """A property set with its length; names may repeat, because the tests want that."""
    table = {name: (ident, kind) for name, ident, kind, _ in PROPERTIES}
    body = b"".join(bytes((table[name][0],)) + property_value(table[name][1], value) for name, value in pairs)
    return varint(len(body)) + body


def value_of(name: str, kind: str) -> st.SearchStrategy[Any]:
    values = VALUES[kind]
    return values.filter(bool) if name in NEVER_ZERO else values


@st.composite
def properties_for(draw: st.DrawFn, packet_kind: int) -> tuple[bytes, dict[str, Any] | None]:
    """A property set that ``packet_kind`` may carry, and what it means."""
    allowed = [(name, kind) for name, _, kind, packets in PROPERTIES if packet_kind in packets]
    chosen = draw(st.lists(st.sampled_from(allowed), max_size=4, unique=True))
    pairs: list[tuple[str, Any]] = []
    means: dict[str, Any] = {}
    for name, kind in chosen:
        many = name == "user_property" or (name == "subscription_identifier" and packet_kind == PUBLISH)
        values = draw(st.lists(value_of(name, kind), min_size=1, max_size=3 if many else 1))
        pairs += [(name, value) for value in values]
        means[name] = values if many else values[0]
    return property_set(*pairs), means or None


def _properties(version: int, packet_kind: int) -> st.SearchStrategy[tuple[bytes, dict[str, Any] | None]]:
    return properties_for(packet_kind) if version == 5 else st.just((b"", None))


@st.composite
def connects(draw: st.DrawFn, version: int) -> Made:
    raw, properties = draw(_properties(version, CONNECT))
    clean, keep_alive, client_id = draw(st.booleans()), draw(st.integers(0, 65_535)), draw(texts)
    username = draw(st.none() | texts)
    password = draw(st.none() | binaries) if username is not None or version == 5 else None
    flags = (2 if clean else 0) | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    tail, will = b"", None
    if draw(st.booleans()):
        will_raw, will_properties = draw(_properties(version, WILL))
        topic, payload, qos, retain = draw(names), draw(binaries), draw(st.integers(0, 2)), draw(st.booleans())
        flags |= 4 | (qos << 3) | (0x20 if retain else 0)
        tail = will_raw + text(topic) + text(payload)
        will = mqtt.Will(topic, payload, qos, retain, will_properties)
    if username is not None:
        tail += text(username)
    if password is not None:
        tail += text(password)
    head = text("MQIsdp" if version == 3 else "MQTT") + bytes((version, flags)) + struct.pack("!H", keep_alive)
    means = mqtt.Connect(version, client_id, clean, keep_alive, username, password, will, properties)
    return Made(packet(0x10, head + raw + text(client_id) + tail), means)


@st.composite
def publishes(draw: st.DrawFn, version: int) -> Made:
    raw, properties = draw(_properties(version, PUBLISH))
    aliased = properties is not None and "topic_alias" in properties
    topic = draw(names | st.just("")) if aliased else draw(names)
    payload, qos, retain = draw(st.binary(max_size=200)), draw(st.integers(0, 2)), draw(st.booleans())
    dup = draw(st.booleans()) if qos else False
    packet_id = draw(packet_ids) if qos else 0
    body = text(topic) + (struct.pack("!H", packet_id) if qos else b"") + raw + payload
    means = mqtt.Publish(topic, payload, qos, retain, dup, packet_id, properties)
    return Made(packet(0x30 | (dup << 3) | (qos << 1) | retain, body), means)


@st.composite
def acks(draw: st.DrawFn, version: int) -> Made:
    kind, packet_id = draw(st.sampled_from(ACKS)), draw(packet_ids)
    body, reason, properties = struct.pack("!H", packet_id), 0, None
    if version == 5 and draw(st.booleans()):
        reason = draw(st.integers(0, 255))
        body += bytes((reason,))
        if draw(st.booleans()):
            raw, properties = draw(properties_for(kind))
            body += raw
    return Made(packet((kind << 4) | (2 if kind == PUBREL else 0), body), mqtt.Ack(kind, packet_id, reason, properties))


@st.composite
def subscribes(draw: st.DrawFn, version: int) -> Made:
    raw, properties = draw(_properties(version, SUBSCRIBE))
    packet_id, body, filters = draw(packet_ids), b"", []
    for _ in range(draw(st.integers(1, 4))):
        wanted, qos = draw(texts), draw(st.integers(0, 2))
        no_local, as_published, handling = False, False, 0
        if version == 5:
            no_local, as_published, handling = draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 2))
        body += text(wanted) + bytes((qos | (no_local << 2) | (as_published << 3) | (handling << 4),))
        filters.append(mqtt.SubscribeFilter(wanted, qos, no_local, as_published, handling))
    means = mqtt.Subscribe(packet_id, filters, properties)
    return Made(packet(0x82, struct.pack("!H", packet_id) + raw + body), means)


@st.composite
def unsubscribes(draw: st.DrawFn, version: int) -> Made:
    raw, properties = draw(_properties(version, UNSUBSCRIBE))
    packet_id, filters = draw(packet_ids), draw(st.lists(texts, min_size=1, max_size=4))
    body = struct.pack("!H", packet_id) + raw + b"".join(text(one) for one in filters)
    return Made(packet(0xA2, body), mqtt.Unsubscribe(packet_id, filters, properties))


@st.composite
def endings(draw: st.DrawFn, version: int) -> Made:
    if version != 5:
        return Made(packet(0xE0, b""), mqtt.Disconnect())
    kind, make = draw(st.sampled_from([(DISCONNECT, mqtt.Disconnect), (AUTH, mqtt.Auth)]))
    form = draw(st.integers(0, 2))
    if form == 0:
        return Made(packet(kind << 4, b""), make())
    reason = draw(st.integers(0, 255))
    if form == 1:
        return Made(packet(kind << 4, bytes((reason,))), make(reason))
    raw, properties = draw(properties_for(kind))
    return Made(packet(kind << 4, bytes((reason,)) + raw), make(reason, properties))


def packets(version: int) -> st.SearchStrategy[Made]:
    """Any packet that a client of ``version`` may send."""
    return st.one_of(
        connects(version),
        publishes(version),
        acks(version),
        subscribes(version),
        unsubscribes(version),
        endings(version),
        st.just(Made(b"\xc0\x00", mqtt.Pingreq())),
    )
