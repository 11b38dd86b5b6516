"""Requests from this server to addresses that people chose, kept out of the network that only the server can see.

Theory. What a name means is decided by whoever answers for it, and may be another thing a second later. So a name is
resolved first, *every* address it has is judged, and the connection goes to exactly one of the judged addresses; TLS
still asks for, and checks, the name. What a host looks like (decimal, octal, hexadecimal) does not matter, because only
addresses are judged. No redirect is followed and no proxy of the environment is used.

Ranges are listed here: ``ipaddress`` calls ``64:ff9b::7f00:1`` global and ``100.64.0.1`` not private.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from relevo.errors import FieldError, Invalid, RelevoError

if TYPE_CHECKING:
    import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# (host, port) -> its addresses
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

ANSWER_MOST: Final = 1_024
_ADDRESSES_MOST: Final = 32
_IDLE_S: Final = 30.0
_HOST: Final = re.compile(r"[a-z0-9_.-]{1,253}|[0-9a-f:.]+")


def _networks(kind: str, *texts: str) -> list[tuple[Network, str]]:
    return [(ipaddress.ip_network(text), kind) for text in texts]


# Also where private addresses are allowed.
_NEVER: Final = (
    *_networks(
        "a metadata service", "169.254.169.254/32", "169.254.170.2/32", "100.100.100.200/32", "168.63.129.16/32"
    ),
    *_networks("a metadata service", "fd00:ec2::254/128", "fd20:ce::254/128"),
    *_networks("unspecified", "0.0.0.0/8", "::/128"),
    *_networks("multicast", "224.0.0.0/4", "ff00::/8"),
    *_networks("reserved", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"),
    *_networks("reserved", "203.0.113.0/24", "240.0.0.0/4"),
    *_networks("a tunnel to another address", "2002::/16", "2001::/32", "64:ff9b:1::/48"),
)
# Open to whoever may use private addresses.
_PRIVATE: Final = (
    *_networks("loopback", "127.0.0.0/8", "::1/128"),
    *_networks("private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    *_networks("shared by a provider's customers", "100.64.0.0/10"),
)
# Open only where the settings name them.
_LINK_LOCAL: Final = _networks("link-local", "169.254.0.0/16", "fe80::/10")
# The only part of IPv6 that is in use on the internet, and what of it is not.
_GLOBAL_6: Final = ipaddress.ip_network("2000::/3")
_RESERVED_6: Final = _networks("reserved", "2001::/23", "2001:db8::/32", "3fff::/20")
_EMBEDDING: Final = (ipaddress.ip_network("::ffff:0:0/96"), ipaddress.ip_network("64:ff9b::/96"))


class Unreachable(RelevoError):
    """No answer: the text says why, in words for the person who chose the address."""


class Target(NamedTuple):
    """A URL in parts that cannot be read in two ways; ``host`` is ASCII, ``path`` has the query."""

    scheme: str
    host: str
    port: int
    path: str


class Answer(NamedTuple):
    """``headers`` in lower case; ``body`` is at most :data:`ANSWER_MOST` bytes of what was answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def _refused(message: str) -> Invalid:
    return Invalid("target_refused", f"url: {message}", [FieldError("url", message, "target_refused")])


def target_of(url: str) -> Target:
    """Take a URL apart. Raises :class:`Invalid` (``target_refused``)."""
    if not url.isprintable() or any(c in url for c in " \\"):
        raise _refused("must be without spaces, backslashes and control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("is no URL with a port from 1 to 65535") from None
    if parts.scheme not in ("http", "https"):
        raise _refused("must begin with https:// or http://")
    if "@" in parts.netloc:
        raise _refused("must be without a user name and password")
    if port == 0 or parts.netloc.endswith(":"):
        raise _refused("needs a port from 1 to 65535, or none")
    if not host or "%" in host:
        raise _refused("must name a host")
    try:
        plain = host if ":" in host else host.encode("idna").decode().lower()
    except UnicodeError:
        raise _refused("must name a host of at most 63 characters between dots") from None
    # Again, because names are brought into their plain form before they are encoded: one letter may become a slash.
    if not _HOST.fullmatch(plain):
        raise _refused("must name a host of letters, digits, dots and hyphens")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=-._~?")
    usual = {"http": 80, "https": 443}[parts.scheme]
    return Target(parts.scheme, plain, port or usual, f"{path}?{query}" if query else path)


class Guard:
    """Who may be asked. ``allowed`` are networks, and names of hosts that may have private addresses."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        for one in allowed:
            try:
                self._networks.append(ipaddress.ip_network(one))
            except ValueError:
                self._hosts.add(one.lower().rstrip("."))

    def problem(self, text: str, host: str = "", allow_private: bool = False) -> str:
        """What is against the address ``text``, which ``host`` resolved to; empty for nothing."""
        try:
            address = _plain(ipaddress.ip_address(text.partition("%")[0]))
        except ValueError:
            return "no address"
        for network, kind in _NEVER:
            if address in network:
                return kind
        if any(address in network for network in self._networks):
            return ""
        for network, kind in _PRIVATE:
            if address in network:
                return "" if allow_private or host.lower().rstrip(".") in self._hosts else kind
        for network, kind in (*_LINK_LOCAL, *_RESERVED_6):
            if address in network:
                return kind
        if address.version == 6 and address not in _GLOBAL_6:
            return "reserved"
        return ""

    def check(self, url: str, allow_private: bool = False) -> Target:
        """Take a URL apart and judge it as far as that is possible without asking for its name.

        Raises :class:`Invalid` (``target_refused``).
        """
        target = target_of(url)
        try:
            # No name is asked for; what the C library takes for an address is one: 0x7f.1, 017700000001, 2130706433.
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (socket.gaierror, UnicodeError):
            return target
        self.admit(target.host, [str(one[4][0]) for one in found], allow_private)
        return target

    def admit(self, host: str, addresses: Sequence[str], allow_private: bool) -> list[str]:
        """All of ``addresses``, or :class:`Invalid` when there is something against any of them."""
        for one in addresses:
            problem = self.problem(one, host, allow_private)
            if problem:
                raise _refused(f"{host} is {one}, which is {problem} and not allowed")
        return list(addresses[:_ADDRESSES_MOST])


def _plain(address: Address) -> Address:
    """The IPv4 address inside of one that only wraps it, otherwise the same."""
    if address.version == 6 and any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of ``host`` as the system knows them. Raises :class:`Unreachable`."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise Unreachable(f"the name {host} has no address") from None
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Outbound:
    """The client. Its engine is loaded with the first request.

    ``timeout_s`` is for everything from the name to the end of the answer.
    """

    def __init__(
        self,
        guard: Guard,
        timeout_s: float = 15.0,
        connections: int = 64,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.guard = guard
        self._timeout_s = timeout_s
        self._connections = connections
        self._resolve = resolve
        self._tls = tls
        # One for each policy: a connection that one may open is not for the other to use.
        self._pools: dict[bool, httpcore.AsyncConnectionPool] = {}

    async def post(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes, allow_private: bool = False
    ) -> Answer:
        """Send ``body``. Raises :class:`Invalid` (``target_refused``) and :class:`Unreachable`."""
        import httpcore

        target = self.guard.check(url, allow_private)
        where = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._pool(allow_private).stream("POST", where, headers=list(headers), content=body) as answer,
            ):
                return Answer(
                    answer.status,
                    {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers},
                    await _beginning(answer.aiter_stream()),
                )
        except TimeoutError:
            raise Unreachable(f"no answer within {self._timeout_s:g} s") from None
        except ssl.SSLError as error:
            raise Unreachable(_words(error)) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise Unreachable(_words(error)) from None

    async def close(self) -> None:
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.aclose()

    def _pool(self, allow_private: bool) -> "httpcore.AsyncConnectionPool":
        import httpcore

        pool = self._pools.get(allow_private)
        if pool is None:
            if self._tls is None:
                # The system's authorities, among them a private one (SSL_CERT_FILE), beside the packaged ones.
                self._tls = httpcore.default_ssl_context()
            pool = self._pools[allow_private] = httpcore.AsyncConnectionPool(
                ssl_context=self._tls,
                max_connections=self._connections,
                max_keepalive_connections=self._connections // 2,
                keepalive_expiry=_IDLE_S,
                network_backend=_pinned(self.guard, self._resolve, allow_private),
            )
        return pool


async def _beginning(parts: Any) -> bytes:
    """As much as is shown; the rest is not even read."""
    found = b""
    async for part in parts:
        found += part
        if len(found) >= ANSWER_MOST:
            break
    return found[:ANSWER_MOST]


def _words(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__ or error
    text = getattr(cause, "strerror", None) or str(cause) or str(error) or type(cause).__name__
    return f"no connection: {text}"


def _pinned(guard: Guard, resolve: Resolve, allow_private: bool) -> "httpcore.AsyncNetworkBackend":
    """Connects to an address that was judged, and to no other."""
    import httpcore

    class Pinned(httpcore.AsyncNetworkBackend):
        def __init__(self) -> None:
            self._plain = httpcore.AnyIOBackend()

        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,  # noqa: ASYNC109 - the interface of the library
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> httpcore.AsyncNetworkStream:
            addresses = guard.admit(host, await resolve(host, port), allow_private)
            failed: Exception = Unreachable(f"the name {host} has no address")
            for address in addresses:
                try:
                    return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                    failed = error
            raise failed

        async def sleep(self, seconds: float) -> None:
            await self._plain.sleep(seconds)

    return Pinned()
