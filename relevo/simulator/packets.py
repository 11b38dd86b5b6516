"""MQTT 3.1.1 packets as a small device writes and reads them: only the ones that a publishing client needs."""

from collections.abc import Iterator
from typing import NamedTuple

CONNACK = 2
PUBLISH = 3
PUBACK = 4
SUBACK = 9
PINGRESP = 13

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"

_MAX_LENGTH = 268_435_455


class Packet(NamedTuple):
    """One control packet: its type, the four flag bits of the first byte and everything after the length."""

    kind: int
    flags: int
    body: bytes


class Message(NamedTuple):
    """An incoming PUBLISH; ``packet_id`` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int


def text(value: str) -> bytes:
    """A string with its two-byte length. Raises ``OverflowError`` above 65,535 bytes."""
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(first: int, body: bytes) -> bytes:
    """First byte, remaining length and body. Raises ``ValueError`` for a body above 256 MB."""
    length = len(body)
    if length > _MAX_LENGTH:
        raise ValueError(f"an MQTT packet holds at most {_MAX_LENGTH} bytes, not {length}")
    header = bytearray([first])
    while True:
        length, low = length >> 7, length & 0x7F
        header.append(low | 0x80 if length else low)
        if not length:
            return bytes(header) + body


class Will(NamedTuple):
    """What the server is to say in the name of a client that is cut off, at QoS 1."""

    topic: str
    payload: bytes
    retain: bool = True


def connect(
    client_id: str, username: str, password: str, keep_alive: int, clean: bool, will: Will | None = None
) -> bytes:
    """CONNECT; ``keep_alive`` in seconds, no credentials when ``username`` is empty."""
    flags = 0x02 if clean else 0
    body = text(client_id)
    if will:
        flags |= 0x0C | 0x20 * will.retain
        body += text(will.topic) + len(will.payload).to_bytes(2, "big") + will.payload
    if username:
        flags |= 0xC0
        body += text(username) + text(password)
    return packet(0x10, text("MQTT") + bytes([4, flags]) + keep_alive.to_bytes(2, "big") + body)


def publish(topic: str, payload: bytes, qos: int, packet_id: int, retain: bool = False) -> bytes:
    """PUBLISH with QoS 0 or 1; ``packet_id`` is ignored at QoS 0."""
    identifier = packet_id.to_bytes(2, "big") if qos else b""
    return packet(0x30 | qos << 1 | retain, text(topic) + identifier + payload)


def again(sent: bytes) -> bytes:
    """The same PUBLISH marked as a repetition (DUP)."""
    return bytes([sent[0] | 0x08]) + sent[1:]


def puback(packet_id: int) -> bytes:
    """PUBACK."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def subscribe(packet_id: int, topic_filter: str, qos: int) -> bytes:
    """SUBSCRIBE to one filter."""
    return packet(0x82, packet_id.to_bytes(2, "big") + text(topic_filter) + bytes([qos]))


def message(received: Packet) -> Message:
    """Read a PUBLISH. Raises ``ValueError`` when it is cut short or its topic is not UTF-8."""
    body, qos = received.body, received.flags >> 1 & 3
    end = 2 + int.from_bytes(body[:2], "big")
    start = end + (2 if qos else 0)
    if len(body) < start:
        raise ValueError("PUBLISH is shorter than its topic")
    return Message(body[2:end].decode(), body[start:], qos, int.from_bytes(body[end:start], "big"))


class Reader:
    """Cuts a byte stream into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Add ``data`` and yield every packet that is complete. Raises ``ValueError`` on a length of five bytes."""
        buffer = self._buffer
        buffer += data
        while True:
            length, shift, at = 0, 0, 1
            while at < len(buffer) and buffer[at] & 0x80:
                length |= (buffer[at] & 0x7F) << shift
                shift += 7
                at += 1
                if at > 4:
                    raise ValueError("malformed remaining length")
            if at >= len(buffer):
                return
            length |= buffer[at] << shift
            end = at + 1 + length
            if len(buffer) < end:
                return
            whole = Packet(buffer[0] >> 4, buffer[0] & 0x0F, bytes(buffer[at + 1 : end]))
            del buffer[:end]
            yield whole
