"""TLS in front of a connection: the handshake, and what is told when it fails.

Theory. A loop's own server does the handshake of whoever it accepts, but keeps the failure of it to itself. So sockets
are accepted here and handed to the loop one by one, which tells how each handshake ended. The connection behind is made
when it went well.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from relevo.log import get_logger
from relevo.refusals import Refusals

log = get_logger("relevo.mqtt")

_BACKLOG: Final = 4_096
_PAUSE_S: Final = 1.0
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED})

# Names of OpenSSL for what began with no record of TLS at all.
_PLAIN: Final = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER", "BAD_RECORD_TYPE"})
_VERSION: Final = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "UNKNOWN_PROTOCOL",
        "VERSION_TOO_LOW",
        "NO_SHARED_CIPHER",
        "NO_SUITABLE_SIGNATURE_ALGORITHM",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    }
)
# Alerts of a client that will not have the server's certificate (RFC 8446, section 6.2).
_UNTRUSTED: Final = frozenset(
    {
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    }
)


def trouble(error: OSError) -> tuple[str, str]:
    """The reason (:mod:`relevo.domain.reasons`) and the detail of a handshake that ended with ``error``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "tls_certificate_refused", f"the client's certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        name = error.reason or ""
        said = name.replace("_", " ").lower() or "no reason given"
        if name in _PLAIN:
            return "plain_on_tls_port", f"no TLS spoken to the TLS port: {said}"
        if name in _VERSION:
            return "tls_version", f"no version or cipher in common: {said}"
        if name in _UNTRUSTED:
            return "tls_server_untrusted", f"the client does not trust the server's certificate: {said}"
        return "tls_failed", f"TLS handshake: {said}"
    if isinstance(error, ConnectionAbortedError):
        return "tls_timeout", "no TLS handshake in time"
    return "tls_left", "the client left during the TLS handshake"


class TlsDoor:
    """Accepts on sockets of its own and hands over what a handshake made secure."""

    def __init__(
        self,
        context: ssl.SSLContext,
        timeout_s: float,
        most: int,
        refusals: Refusals,
        connection: Callable[[], asyncio.Protocol],
    ) -> None:
        """``timeout_s`` bounds one handshake, ``most`` how many there are at a time; ``connection`` makes who comes
        next."""
        self._context = context
        self._timeout_s = timeout_s
        self._most = most
        self._refusals = refusals
        self._connection = connection
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen on every address of ``host`` and return the port. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self._sockets.append(_listen(family, address))
        except OSError:
            for sock in self._sockets:
                sock.close()
            raise
        self._accepting = [loop.create_task(self._accept(sock), name="mqtts-accept") for sock in self._sockets]
        bound: int = self._sockets[0].getsockname()[1]
        return bound

    def is_serving(self) -> bool:
        return bool(self._accepting) and not any(task.done() for task in self._accepting)

    def close(self) -> None:
        """Take nobody in any more, and end the handshakes that are not over."""
        for task in (*self._accepting, *self._handshakes):
            task.cancel()

    async def _accept(self, listening: socket.socket) -> None:
        # Closed here and not earlier: the loop looks at the socket until this task has ended.
        with listening:
            await self._accept_from(listening)

    async def _accept_from(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno not in _PASSING:
                    raise
                # Out of file descriptors or memory: those who wait are let in when there is room.
                log.warning("mqtts_accept_failed", error=str(error))
                await asyncio.sleep(_PAUSE_S)
                continue
            if len(self._handshakes) >= self._most:
                detail = f"more than {self._most} TLS handshakes"
                self._refusals.refuse("", "mqtt", "too_many_connections", detail, peer[0])
                sock.close()
                continue
            task = loop.create_task(self._secure(sock, peer[0]))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _secure(self, sock: socket.socket, address: str) -> None:
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._connection, sock, ssl=self._context, ssl_handshake_timeout=self._timeout_s
            )
        except OSError as error:
            reason, detail = trouble(error)
        else:
            if transport.get_extra_info("cipher") is not None:
                return
            # The socket was closed without a word.
            reason, detail = trouble(ConnectionResetError())
        self._refusals.refuse("", "mqtt", reason, detail, address)


def _listen(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # IPv4 has a socket of its own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
