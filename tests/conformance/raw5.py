"""Bytes of MQTT 5.0: what a test sends, and a reader that accepts only what a server may send.

The reader is written from the standard alone and shares nothing with the server, so that a mistake made on one side
does not hide behind the same mistake on the other. It speaks 3.1.1 too (``version=4``), for tests that mix both.

Every file of version 5 tests has a ``port`` fixture made by :func:`serving`: a Relevo of its own, or, when
``RELEVO_CONFORMANCE_PORT`` is set, a fresh broker that listens on that port of 127.0.0.1 already.
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from tests.conformance.raw import PINGREQ, Raw, packet, text
from tests.running import RunningServer

FOREIGN = "RELEVO_CONFORMANCE_PORT" in os.environ
only_relevo = pytest.mark.skipif(FOREIGN, reason="the standard leaves it open: this is Relevo's answer")

MALFORMED, PROTOCOL = 0x81, 0x82
VIOLATION = (MALFORMED, PROTOCOL)
FOREVER = 0xFFFFFFFF
# Seconds within which what has to be written down first has been.
GRACE = 0.05

_BYTE, _U16, _U32, _VARINT, _BINARY, _TEXT, _PAIR = range(7)
# Table 2-4: identifier and type.
PROPERTIES: dict[str, tuple[int, int]] = {
    "payload_format_indicator": (0x01, _BYTE),
    "message_expiry_interval": (0x02, _U32),
    "content_type": (0x03, _TEXT),
    "response_topic": (0x08, _TEXT),
    "correlation_data": (0x09, _BINARY),
    "subscription_identifier": (0x0B, _VARINT),
    "session_expiry_interval": (0x11, _U32),
    "assigned_client_identifier": (0x12, _TEXT),
    "server_keep_alive": (0x13, _U16),
    "authentication_method": (0x15, _TEXT),
    "authentication_data": (0x16, _BINARY),
    "request_problem_information": (0x17, _BYTE),
    "will_delay_interval": (0x18, _U32),
    "request_response_information": (0x19, _BYTE),
    "response_information": (0x1A, _TEXT),
    "server_reference": (0x1C, _TEXT),
    "reason_string": (0x1F, _TEXT),
    "receive_maximum": (0x21, _U16),
    "topic_alias_maximum": (0x22, _U16),
    "topic_alias": (0x23, _U16),
    "maximum_qos": (0x24, _BYTE),
    "retain_available": (0x25, _BYTE),
    "user_property": (0x26, _PAIR),
    "maximum_packet_size": (0x27, _U32),
    "wildcard_subscription_available": (0x28, _BYTE),
    "subscription_identifier_available": (0x29, _BYTE),
    "shared_subscription_available": (0x2A, _BYTE),
}
_NAMES = {ident: name for name, (ident, _) in PROPERTIES.items()}

KINDS = {
    2: "CONNACK", 3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL", 7: "PUBCOMP", 9: "SUBACK", 11: "UNSUBACK",
    13: "PINGRESP", 14: "DISCONNECT", 15: "AUTH",
}  # fmt: skip
_TELLING = {"reason_string", "user_property"}
# What a server may put into which packet, table 2-4.
_ALLOWED = {
    "CONNACK": _TELLING | {
        "session_expiry_interval", "assigned_client_identifier", "server_keep_alive", "authentication_method",
        "authentication_data", "response_information", "server_reference", "receive_maximum", "topic_alias_maximum",
        "maximum_qos", "retain_available", "maximum_packet_size", "wildcard_subscription_available",
        "subscription_identifier_available", "shared_subscription_available",
    },
    "PUBLISH": {
        "payload_format_indicator", "message_expiry_interval", "content_type", "response_topic", "correlation_data",
        "subscription_identifier", "topic_alias", "user_property",
    },
    "PUBACK": _TELLING, "PUBREC": _TELLING, "PUBREL": _TELLING, "PUBCOMP": _TELLING, "SUBACK": _TELLING,
    "UNSUBACK": _TELLING,
    "DISCONNECT": _TELLING | {"server_reference"},
    "AUTH": _TELLING | {"authentication_method", "authentication_data"},
}  # fmt: skip
# Reason codes that a server may use in which packet, table 2-6.
_PUBACK_REASONS = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
REASONS = {
    "CONNACK": {0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99,
                0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
    "PUBACK": _PUBACK_REASONS,
    "PUBREC": _PUBACK_REASONS,
    "PUBREL": {0x00, 0x92},
    "PUBCOMP": {0x00, 0x92},
    "SUBACK": {0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
    "UNSUBACK": {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
    "DISCONNECT": {0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97,
                   0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2},
    "AUTH": {0x00, 0x18},
}  # fmt: skip

# A mapping, pairs when the order or a repetition matters, or raw bytes that get only their length in front.
Properties = Mapping[str, Any] | Iterable[tuple[str, Any]] | bytes


# Sending


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def prop(name: str, value: Any) -> bytes:
    """One property: identifier and value."""
    ident, kind = PROPERTIES[name]
    if kind == _PAIR:
        return bytes((ident,)) + text(value[0]) + text(value[1])
    if kind in (_TEXT, _BINARY):
        return bytes((ident,)) + text(value)
    if kind == _VARINT:
        return bytes((ident,)) + varint(value)
    return bytes((ident,)) + int(value).to_bytes({_BYTE: 1, _U16: 2, _U32: 4}[kind], "big")


def props(properties: Properties = ()) -> bytes:
    """A property set with its length in front."""
    if not isinstance(properties, bytes):
        pairs = properties.items() if isinstance(properties, Mapping) else properties
        properties = b"".join(prop(name, value) for name, value in pairs)
    return varint(len(properties)) + properties


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes = b"gone"
    qos: int = 0
    retain: bool = False
    properties: Properties = ()


def connect5(
    client_id: str = "c1",
    *,
    clean: bool = True,
    keep_alive: int = 0,
    version: int = 5,
    will: Will | None = None,
    user: str | None = None,
    password: bytes | None = None,
    flags: int = 0,
    properties: Properties = (),
) -> bytes:
    bits = flags | (2 if clean else 0)
    tail = b""
    if will:
        bits |= 4 | (will.qos << 3) | (0x20 if will.retain else 0)
        tail += (props(will.properties) if version == 5 else b"") + text(will.topic) + text(will.payload)
    if user is not None:
        bits |= 0x80
        tail += text(user)
    if password is not None:
        bits |= 0x40
        tail += text(password)
    head = text("MQTT") + bytes((version, bits)) + struct.pack("!H", keep_alive)
    return packet(0x10, head + (props(properties) if version == 5 else b"") + text(client_id) + tail)


def publish5(
    topic: str | bytes,
    payload: bytes = b"x",
    *,
    qos: int = 0,
    packet_id: int = 1,
    retain: bool = False,
    dup: bool = False,
    properties: Properties = (),
    version: int = 5,
) -> bytes:
    body = text(topic) + (struct.pack("!H", packet_id) if qos else b"")
    return packet(
        0x30 | (qos << 1) | retain | (dup << 3), body + (props(properties) if version == 5 else b"") + payload
    )


def options(
    qos: int = 0, *, no_local: bool = False, as_published: bool = False, handling: int = 0, reserved: int = 0
) -> int:
    """Subscription options, section 3.8.3.1."""
    return qos | (no_local << 2) | (as_published << 3) | (handling << 4) | reserved


def subscribe5(*filters: tuple[str, int], packet_id: int = 10, properties: Properties = (), version: int = 5) -> bytes:
    head = struct.pack("!H", packet_id) + (props(properties) if version == 5 else b"")
    return packet(0x82, head + b"".join(text(f) + bytes((o,)) for f, o in filters))


def unsubscribe5(*filters: str, packet_id: int = 11, properties: Properties = (), version: int = 5) -> bytes:
    head = struct.pack("!H", packet_id) + (props(properties) if version == 5 else b"")
    return packet(0xA2, head + b"".join(text(f) for f in filters))


_ACKS = {"PUBACK": 0x40, "PUBREC": 0x50, "PUBREL": 0x62, "PUBCOMP": 0x70}


def ack(kind: str, packet_id: int, reason: int | None = None, properties: Properties | None = None) -> bytes:
    """An acknowledgement, in the short form unless a reason is given."""
    body = struct.pack("!H", packet_id)
    if reason is not None:
        body += bytes((reason,)) + (b"" if properties is None else props(properties))
    return packet(_ACKS[kind], body)


def disconnect5(reason: int | None = None, properties: Properties | None = None) -> bytes:
    body = b"" if reason is None else bytes((reason,)) + (b"" if properties is None else props(properties))
    return packet(0xE0, body)


def auth5(reason: int | None = None, properties: Properties = ()) -> bytes:
    return packet(0xF0, b"" if reason is None else bytes((reason,)) + props(properties))


# Receiving


@dataclass(frozen=True)
class Packet:
    """A packet from the server; fields that its kind does not have keep their defaults."""

    kind: str
    raw: bytes = field(repr=False)
    packet_id: int = 0
    reason: int = 0
    reasons: tuple[int, ...] = ()
    session_present: bool = False
    topic: str = ""
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    properties: tuple[tuple[str, Any], ...] = ()

    def all(self, name: str) -> list[Any]:
        """Every value of a property."""
        assert name in PROPERTIES
        return [value for found, value in self.properties if found == name]

    def one(self, name: str, default: Any = None) -> Any:
        """The value of a property that occurs once at most."""
        found = self.all(name)
        return found[0] if found else default

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.properties}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.pos

    def take(self, count: int) -> bytes:
        assert self.left >= count, "the packet ends too early"
        self.pos += count
        return self.data[self.pos - count : self.pos]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        value = 0
        for n in range(4):
            byte = self.number(1)
            value |= (byte & 0x7F) << (7 * n)
            if byte < 0x80:
                assert n == 0 or byte, "[MQTT-1.5.5-1] more bytes than needed"
                return value
        raise AssertionError("[MQTT-1.5.5-1] more than four bytes")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def string(self) -> str:
        found = self.binary().decode()
        assert "\x00" not in found, "[MQTT-1.5.4-2]"
        return found

    def properties(self, kind: str) -> tuple[tuple[str, Any], ...]:
        inner = _Reader(self.take(self.varint()))
        found: list[tuple[str, Any]] = []
        while inner.left:
            ident = inner.varint()
            assert ident in _NAMES, f"property 0x{ident:02x} does not exist"
            name = _NAMES[ident]
            assert name in _ALLOWED[kind], f"{kind} may not carry {name}"
            repeats = name == "user_property" or (name == "subscription_identifier" and kind == "PUBLISH")
            assert repeats or name not in dict(found), f"{name} occurs twice"
            type_ = PROPERTIES[name][1]
            value: Any
            if type_ == _PAIR:
                value = (inner.string(), inner.string())
            elif type_ == _TEXT:
                value = inner.string()
            elif type_ == _BINARY:
                value = inner.binary()
            elif type_ == _VARINT:
                value = inner.varint()
            else:
                value = inner.number({_BYTE: 1, _U16: 2, _U32: 4}[type_])
            found.append((name, value))
        return tuple(found)


def read(raw: bytes, version: int = 5) -> Packet:
    """The packet in ``raw``; fails for what a server may not send."""
    first = raw[0]
    assert first >> 4 in KINDS, f"a server does not send {raw.hex(' ')}"
    kind = KINDS[first >> 4]
    whole = _Reader(raw[1:])
    body = _Reader(whole.take(whole.varint()))
    assert whole.left == 0
    if kind == "PUBLISH":
        qos = (first >> 1) & 3
        dup = bool(first & 8)
        assert qos < 3, "[MQTT-3.3.1-4]"
        assert qos or not dup, "[MQTT-3.3.1-2]"
        topic = body.string()
        assert not {"+", "#"} & set(topic), "[MQTT-3.3.2-2]"
        packet_id = body.number(2) if qos else 0
        assert qos == 0 or packet_id, "[MQTT-2.2.1-4]"
        properties = body.properties(kind) if version == 5 else ()
        for name in ("subscription_identifier", "topic_alias"):
            assert (name, 0) not in properties
        return Packet(
            kind, raw, packet_id, topic=topic, payload=body.take(body.left), qos=qos, retain=bool(first & 1), dup=dup,
            properties=properties,
        )  # fmt: skip
    assert first & 0x0F == (2 if kind == "PUBREL" else 0), f"[MQTT-2.1.3-1] flags of {raw.hex(' ')}"
    packet_id = reason = 0
    reasons: tuple[int, ...] = ()
    properties = ()
    session_present = False
    if kind == "CONNACK":
        flags = body.number(1)
        assert flags in (0, 1), "[MQTT-3.2.2-1]"
        session_present, reason = bool(flags), body.number(1)
        assert not (reason and session_present), "[MQTT-3.2.2-6]"
        properties = body.properties(kind) if version == 5 else ()
        for name in ("receive_maximum", "maximum_packet_size"):
            assert (name, 0) not in properties
    elif kind in _ACKS:
        packet_id = body.number(2)
        if version == 5 and body.left:
            reason = body.number(1)
            if body.left:
                properties = body.properties(kind)
    elif kind in ("SUBACK", "UNSUBACK"):
        packet_id = body.number(2)
        if version == 5:
            properties = body.properties(kind)
        reasons = tuple(body.take(body.left))
    elif kind in ("DISCONNECT", "AUTH"):
        assert version == 5, f"3.1.1 has no {kind} from the server"
        if body.left:
            reason = body.number(1)
            if body.left:
                properties = body.properties(kind)
    assert body.left == 0, f"bytes behind the end of {raw.hex(' ')}"
    if version == 5:
        for one in reasons if kind in ("SUBACK", "UNSUBACK") else (reason,):
            assert kind == "PINGRESP" or one in REASONS[kind], f"0x{one:02x} is no reason of {kind}"
    return Packet(kind, raw, packet_id, reason, reasons, session_present, properties=properties)


class Client(Raw):
    """One connection. What a helper had to read past waits for the next :meth:`receive`."""

    def __init__(self, port: int, *first: bytes, version: int = 5) -> None:
        super().__init__(port, *first)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.version = version
        self.connack = Packet("CONNACK", b"")
        self._early: list[Packet] = []

    @classmethod
    def join(cls, port: int, client_id: str, *, present: bool = False, version: int = 5, **more: Any) -> Self:
        """An accepted client; ``present`` is whether the server must have a session of it."""
        self = cls(port, connect5(client_id, version=version, **more), version=version)
        try:
            self.connack = self.receive("CONNACK")
            assert self.connack.reason == 0, f"refused: {self.connack}"
            assert self.connack.session_present is present, f"session present: {self.connack.session_present}"
        except BaseException:
            self.drop()
            raise
        return self

    def receive(self, kind: str = "", seconds: float = 5.0) -> Packet:
        """The next packet, which has to be of ``kind``."""
        if self._early:
            found = self._early.pop(0)
        else:
            try:
                raw = self.packet(seconds)
            except TimeoutError:
                raise AssertionError(f"nothing arrived within {seconds} s instead of {kind or 'a packet'}") from None
            assert raw, f"the connection ended instead of {kind or 'a packet'}"
            found = read(raw, self.version)
        assert not kind or found.kind == kind, f"{found} instead of {kind}"
        return found

    def until(self, kind: str) -> Packet:
        """The next packet of ``kind``; PUBLISH packets that come earlier stay for :meth:`receive`."""
        past, self._early = self._early, []
        try:
            while True:
                found = self.receive()
                if found.kind == kind:
                    return found
                assert found.kind == "PUBLISH", f"{found} instead of {kind}"
                past.append(found)
        finally:
            self._early = past + self._early

    def message(self, topic: str, payload: bytes, qos: int = 0, *, retain: bool = False, dup: bool = False) -> Packet:
        """The next packet, which has to be this PUBLISH; not acknowledged yet."""
        found = self.receive("PUBLISH")
        wanted = (topic, payload, qos, retain, dup)
        assert (found.topic, found.payload, found.qos, found.retain, found.dup) == wanted, f"{found} not {wanted}"
        return found

    def finish(self, found: Packet) -> Packet:
        """Acknowledge a PUBLISH to the end."""
        if found.qos == 1:
            self.send(ack("PUBACK", found.packet_id))
        elif found.qos == 2:
            self.send(ack("PUBREC", found.packet_id))
            assert self.until("PUBREL").packet_id == found.packet_id
            self.send(ack("PUBCOMP", found.packet_id))
        return found

    def silent(self) -> None:
        """Nothing is on its way: the answer to a ping is the next packet.

        What a resumed session gets may wait for a disk, which a ping does not: there it is asked again a little later.
        """
        self.send(PINGREQ)
        self.receive("PINGRESP")
        if self.connack.session_present:
            time.sleep(GRACE)
            self.send(PINGREQ)
            self.receive("PINGRESP")

    def pending(self, count: int = 0) -> list[Packet]:
        """Every PUBLISH that is on its way now, ``count`` at least."""
        found: list[Packet] = []
        while len(found) < count:
            found.append(self.receive("PUBLISH"))
        self.send(PINGREQ)
        self.until("PINGRESP")
        more, self._early = self._early, []
        return found + more

    def subscribe(self, *filters: tuple[str, int] | str, properties: Properties = ()) -> tuple[int, ...]:
        """Subscribe and give back the reason codes."""
        entries = [(one, 0) if isinstance(one, str) else one for one in filters]
        self.send(subscribe5(*entries, properties=properties, version=self.version))
        found = self.until("SUBACK")
        assert found.packet_id == 10 and len(found.reasons) == len(entries)
        return found.reasons

    def unsubscribe(self, *filters: str) -> tuple[int, ...]:
        """Unsubscribe and give back the reason codes (none in 3.1.1)."""
        self.send(unsubscribe5(*filters, version=self.version))
        found = self.until("UNSUBACK")
        assert found.packet_id == 11
        return found.reasons

    def publish(self, topic: str, payload: bytes = b"x", *, qos: int = 1, packet_id: int = 1, **more: Any) -> None:
        """Publish to the end of the exchange; at QoS 0 until the server has read it."""
        self.send(publish5(topic, payload, qos=qos, packet_id=packet_id, version=self.version, **more))
        if qos == 0:
            self.send(PINGREQ)
            self.until("PINGRESP")
        elif qos == 1:
            self._accepted("PUBACK", packet_id)
        else:
            self._accepted("PUBREC", packet_id)
            self.send(ack("PUBREL", packet_id))
            self._accepted("PUBCOMP", packet_id)

    def _accepted(self, kind: str, packet_id: int) -> None:
        found = self.until(kind)
        assert found.packet_id == packet_id
        assert found.reason < 0x80, f"refused: {found}"

    def refused(self, *reasons: int) -> None:
        """CONNECT is not accepted: a CONNACK that says so (section 4.13.1: it may), and the end."""
        raw = self.packet()
        if raw:
            found = read(raw, self.version)
            assert found.kind == "CONNACK" and found.reason in reasons, f"{found} instead of {reasons}"
            self.expect_closed()

    def ended(self, *reasons: int, seconds: float = 5.0) -> None:
        """A DISCONNECT of the server with one of these reasons, and the end.

        Section 4.13.1 says that it should be told; Relevo does, another broker need not.
        """
        try:
            raw = self.packet(seconds)
        except TimeoutError:
            raise AssertionError(f"the connection is still open after {seconds} s") from None
        if raw or not FOREIGN:
            assert raw, "the connection ended without DISCONNECT"
            found = read(raw, self.version)
            wanted = [hex(one) for one in reasons]
            assert found.kind == "DISCONNECT" and found.reason in reasons, f"{found} instead of {wanted}"
            self.expect_closed()

    def leave(self, reason: int | None = None, properties: Properties | None = None) -> None:
        """DISCONNECT, and wait until the server closed."""
        with self:
            self.send(disconnect5(reason, properties) if self.version == 5 else b"\xe0\x00")
            self.expect_closed()


@contextlib.contextmanager
def serving(paths: pytest.TempPathFactory, **env: str) -> Iterator[int]:
    """The port of a broker that lets anonymous clients use every topic."""
    if FOREIGN:
        yield int(os.environ["RELEVO_CONFORMANCE_PORT"])
        return
    env = {
        "RELEVO_PROFILE": "lab",
        "RELEVO_ANONYMOUS_TOPICS": "#",
        "RELEVO_LIMITS__PACKET_BYTES": "65536",
        "RELEVO_LIMITS__INFLIGHT": "20",
    } | env
    with RunningServer(paths.mktemp("broker") / "data", env=env) as server:
        yield server.mqtt_port
