"""A client that is nothing but bytes: what a test sends is what goes over the wire."""

import socket
import struct
import time
from types import TracebackType
from typing import Self


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(raw)) + raw


def packet(first: int, body: bytes) -> bytes:
    length = bytearray()
    rest = len(body)
    while True:
        rest, byte = rest >> 7, rest & 0x7F
        length.append(byte | (0x80 if rest else 0))
        if not rest:
            return bytes((first,)) + bytes(length) + body


def connect(
    client_id: str = "c1",
    *,
    clean: bool = True,
    keep_alive: int = 0,
    level: int = 4,
    name: str = "MQTT",
    will: tuple[str, bytes, int, bool] | None = None,
    user: str | None = None,
    password: bytes | None = None,
    flags: int = 0,
) -> bytes:
    bits = flags | (2 if clean else 0)
    tail = b""
    if will:
        topic, message, qos, retain = will
        bits |= 4 | (qos << 3) | (0x20 if retain else 0)
        tail += text(topic) + text(message)
    if user is not None:
        bits |= 0x80
        tail += text(user)
    if password is not None:
        bits |= 0x40
        tail += text(password)
    properties = b"\x00" if level == 5 else b""
    body = text(name) + bytes((level, bits)) + struct.pack("!H", keep_alive) + properties + text(client_id) + tail
    return packet(0x10, body)


def publish(
    topic: str | bytes,
    payload: bytes = b"x",
    *,
    qos: int = 0,
    packet_id: int = 1,
    retain: bool = False,
    dup: bool = False,
) -> bytes:
    body = text(topic) + (struct.pack("!H", packet_id) if qos else b"") + payload
    return packet(0x30 | (qos << 1) | retain | (dup << 3), body)


def subscribe(*filters: tuple[str, int], packet_id: int = 10) -> bytes:
    return packet(0x82, struct.pack("!H", packet_id) + b"".join(text(f) + bytes((q,)) for f, q in filters))


def unsubscribe(*filters: str, packet_id: int = 11) -> bytes:
    return packet(0xA2, struct.pack("!H", packet_id) + b"".join(text(f) for f in filters))


def puback(packet_id: int) -> bytes:
    return b"\x40\x02" + struct.pack("!H", packet_id)


PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
CONNACK_OK = b"\x20\x02\x00\x00"
CONNACK_RESUMED = b"\x20\x02\x01\x00"


class Raw:
    """One TCP connection to the door."""

    def __init__(self, port: int, *first: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._buffer = b""
        for data in first:
            self.send(data)

    def send(self, *data: bytes) -> None:
        self._socket.sendall(b"".join(data))

    def send_slowly(self, data: bytes) -> None:
        """One byte a segment, as small devices do."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n in range(len(data)):
            self._socket.sendall(data[n : n + 1])

    def packet(self, seconds: float = 5.0) -> bytes:
        """The next whole packet; empty when the server closed the connection."""
        end = time.monotonic() + seconds
        while True:
            size = _size(self._buffer)
            if size and len(self._buffer) >= size:
                found, self._buffer = self._buffer[:size], self._buffer[size:]
                return found
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._socket.recv(65_536)
            except ConnectionResetError:
                return b""
            if not data:
                return b""
            self._buffer += data

    def expect(self, wanted: bytes) -> None:
        found = self.packet()
        assert found == wanted, f"{found.hex(' ')} instead of {wanted.hex(' ')}"

    def expect_closed(self) -> None:
        found = self.packet()
        assert found == b"", f"{found.hex(' ')} instead of the end of the connection"

    def expect_silence(self) -> None:
        """Nothing is on its way: the answer to a ping is the next packet."""
        self.send(PINGREQ)
        self.expect(b"\xd0\x00")

    def drop(self) -> None:
        """Close without DISCONNECT."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._socket.close()


def _size(buffer: bytes) -> int:
    length = 0
    for n in range(4):
        if len(buffer) < n + 2:
            return 0
        length |= (buffer[n + 1] & 0x7F) << (7 * n)
        if buffer[n + 1] < 0x80:
            return length + n + 2
    raise AssertionError("remaining length of more than 4 bytes")
