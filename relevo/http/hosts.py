"""Which names this server answers to.

A page of a foreign site can make its own name point to an address of this network and so ask this server questions
from inside it (DNS rebinding). What it cannot do is send another Host than its own name; so addresses, names that
only exist in local networks and names an operator listed are answered, any other public name is not.
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from relevo.http.errors import render
from relevo.http.services import address_of

# RFC 6762 (.local), RFC 8375 (.home.arpa), .internal (reserved by ICANN), and what routers hand out.
_LOCAL: Final = (".local", ".home.arpa", ".internal", ".lan", ".localdomain", ".localhost", ".test")


def trusted(host: str, listed: frozenset[str], own: str) -> bool:
    """Whether to answer a request with this Host header; ``listed`` may hold ``*`` and ``*.example.org``."""
    if "*" in listed:
        return True
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") <= 1:
        name = name.partition(":")[0]
    name = name.rstrip(".")
    if not name or "." not in name or name.endswith(_LOCAL) or name in (own, *listed):
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
        return True
    except ValueError:
        return any(one.startswith("*.") and name.endswith(one[1:]) for one in listed)


class TrustedHosts:
    """ASGI middleware: 421 for a name that is not ours. ``tell(reason, detail, address)`` hears of each."""

    def __init__(self, app: ASGIApp, listed: list[str], tell: Callable[[str, str, str], None]) -> None:
        self._app = app
        self._listed = frozenset(one.lower() for one in listed)
        self._own = socket.gethostname().lower()
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        host = ", ".join(hosts)
        # RFC 9112, section 3.2: more than one is no request at all.
        if len(hosts) < 2 and trusted(host, self._listed, self._own):
            await self._app(scope, receive, send)
            return
        address = address_of(HTTPConnection(scope))
        shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in host[:80])
        self._tell("host_not_trusted", f"asked as {shown!r}: add it to trusted_hosts if it is this server's", address)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "host not trusted"})
            return
        detail = "this server does not answer to that host name; see the setting trusted_hosts"
        await render(scope["path"], 421, detail, reason="host_not_trusted")(scope, receive, send)
