"""PROXY protocol version 2 (haproxy's specification, section 2.2): who is really behind a balancer."""

import ipaddress
import struct
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_HEAD: Final = 16
# Addresses of both ends and room for the extensions that balancers add.
_LONGEST: Final = 2_048


class ProxyMalformed(ValueError):
    """Bytes that are no PROXY header of version 2."""


class Proxied(NamedTuple):
    """The client's address (empty when the balancer speaks for itself) and the bytes the header took."""

    address: str
    size: int


def parse(data: bytes | bytearray) -> Proxied | None:
    """The header at the start of ``data``, ``None`` while it is not complete. Raises :class:`ProxyMalformed`."""
    if not SIGNATURE.startswith(bytes(data[: len(SIGNATURE)])):
        raise ProxyMalformed("the connection does not begin with a PROXY header")
    if len(data) < _HEAD:
        return None
    version_command, family, length = struct.unpack_from("!BBH", data, 12)
    if version_command >> 4 != 2 or version_command & 0x0F > 1:
        raise ProxyMalformed("PROXY header of an unknown version or command")
    if length > _LONGEST:
        raise ProxyMalformed(f"PROXY header of {length} bytes, the limit is {_LONGEST}")
    size = _HEAD + length
    if len(data) < size:
        return None
    if version_command & 0x0F == 0:
        return Proxied("", size)
    if family == 0x11 and length >= 12:
        return Proxied(str(ipaddress.IPv4Address(bytes(data[16:20]))), size)
    if family == 0x21 and length >= 36:
        return Proxied(str(ipaddress.IPv6Address(bytes(data[16:32]))), size)
    return Proxied("", size)
