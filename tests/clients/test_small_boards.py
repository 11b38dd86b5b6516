"""Boards whose network library hands over one byte at a time, over TCP and over TLS."""

import socket
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pytest

from tests.authority import needs_openssl
from tests.clients.speaking import Place
from tests.conformance.raw import DISCONNECT, PINGREQ, connect, packet, text


class Board:
    """A socket without delay; ``over`` is tcp, records (a TLS record for each byte) or segments.

    Over segments whole TLS records are cut into TCP segments of one byte, the handshake's as well.
    """

    def __init__(self, place: Place, over: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", place.tcp if over == "tcp" else place.tls), 20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.over = over
        if over == "records":
            self._socket = place.context().wrap_socket(self._socket, server_hostname="localhost")
        elif over == "segments":
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = place.context().wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
            self._pump(self._tls.do_handshake)

    def _drip(self, data: bytes) -> None:
        for n in range(len(data)):
            self._socket.sendall(data[n : n + 1])

    def _pump(self, step: Callable[[], object]) -> object:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._drip(self._outgoing.read())
                data = self._socket.recv(65_536)
                assert data, "closed"
                self._incoming.write(data)
            else:
                self._drip(self._outgoing.read())
                return result

    def send(self, data: bytes) -> None:
        if self.over == "segments":
            self._pump(lambda: self._tls.write(data))
        else:
            self._drip(data)

    def _byte(self) -> int:
        one = self._pump(lambda: self._tls.read(1)) if self.over == "segments" else self._socket.recv(1)
        assert one, "closed"
        return one[0]  # type: ignore[index, no-any-return]

    def receive(self) -> bytes:
        """The next packet, read one byte at a time as well; none here is longer than 127 bytes."""
        head = bytes((self._byte(), self._byte()))
        return head + bytes(self._byte() for _ in range(head[1]))

    def expect(self, wanted: bytes) -> None:
        found = self.receive()
        assert found == wanted, f"{found.hex(' ')} instead of {wanted.hex(' ')}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._socket.close()


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize(
    "over", ["tcp", pytest.param("records", marks=needs_openssl), pytest.param("segments", marks=needs_openssl)]
)
def test_a_whole_conversation_byte_by_byte(place: Place, over: str, level: int) -> None:
    name = f"drip-{over}-{level}"
    # An empty property set, where version 5 has one.
    none = b"\x00" * (level == 5)
    topic = text(f"{name}/reading")
    with Board(place, over) as board:
        board.send(connect(name, level=level, keep_alive=60))
        welcome = board.receive()
        assert (welcome[0], welcome[2], welcome[3]) == (0x20, 0, 0), welcome.hex(" ")
        board.send(packet(0x82, b"\x00\x01" + none + text(f"{name}/#") + b"\x02"))
        board.expect(packet(0x90, b"\x00\x01" + none + b"\x02"))
        board.send(packet(0x30, topic + none + b"at most once"))
        board.expect(packet(0x30, topic + none + b"at most once"))
        board.send(packet(0x34, topic + b"\x00\x02" + none + b"exactly once"))
        # Which of the two comes first is not prescribed.
        answers = {board.receive(), board.receive()}
        assert answers == {packet(0x50, b"\x00\x02"), packet(0x34, topic + b"\x00\x01" + none + b"exactly once")}
        board.send(packet(0x62, b"\x00\x02"))
        board.expect(packet(0x70, b"\x00\x02"))
        board.send(packet(0x50, b"\x00\x01"))
        board.expect(packet(0x62, b"\x00\x01"))
        board.send(packet(0x70, b"\x00\x01"))
        board.send(PINGREQ)
        board.expect(b"\xd0\x00")
        board.send(DISCONNECT)
