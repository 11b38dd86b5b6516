"""Which addresses are private, because open switches hold there only."""

import ipaddress
from functools import lru_cache
from typing import Final

_PRIVATE: Final = tuple(
    ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


@lru_cache(maxsize=1_024)
def is_private(address: str) -> bool:
    """Whether ``address`` is of this machine, of its link or of a private network (RFC 1918, RFC 4193).

    A unix socket counts as this machine; anything unreadable does not.
    """
    if address == "unix":
        return True
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_loopback or ip.is_link_local or any(ip.version == net.version and ip in net for net in _PRIVATE)
