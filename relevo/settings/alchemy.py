"""Environment names of contract alchemy's own server (section 1), as values of our table.

Several of its names make one of our settings. ``SECRET_KEY`` is read by nobody, because keys are generated and kept in
the data directory; nor is ``MQTT_KEEPALIVE``: a server whose MQTT door is its own is nobody's client.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

NAMES: Final = {
    "http": ("BACKEND_HOST", "BACKEND_PORT"),
    "public_url": ("PUBLIC_BACKEND_URL",),
    "mqtt": ("MQTT_BROKER_PORT",),
    "mqtts": ("MQTT_BROKER_PORT", "MQTT_TLS_ENABLED"),
    "broker_url": ("MQTT_BROKER_URL", "MQTT_BROKER_PORT", "MQTT_TLS_ENABLED"),
    "database_url": ("SQLALCHEMY_DATABASE_URI",),
}
"""Our settings by the names that make them."""
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - devices are on the network, not on this machine
_HERE: Final = frozenset({"", "localhost"})


def values(env: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Value and origin by the name of our setting, for what ``env`` names; empty variables count as absent."""
    found: dict[str, tuple[str, str]] = {}

    def keep(name: str, value: str) -> None:
        found[name] = value, "environment " + ", ".join(one for one in NAMES[name] if env.get(one))

    host, port = env.get("BACKEND_HOST", "").strip(), env.get("BACKEND_PORT", "").strip()
    if host or port:
        keep("http", f"{bracketed(host) or _EVERYWHERE}:{port or 5000}")
    if env.get("PUBLIC_BACKEND_URL"):
        keep("public_url", env["PUBLIC_BACKEND_URL"])
    database = env.get("SQLALCHEMY_DATABASE_URI", "")
    if database:
        scheme, _, rest = database.partition("://")
        # Its file is of another program; ours is in the data directory.
        keep("database_url", "sqlite" if scheme.startswith("sqlite") else f"{scheme.partition('+')[0]}://{rest}")
    broker, door = env.get("MQTT_BROKER_URL", "").strip(), env.get("MQTT_BROKER_PORT", "").strip()
    secure = env.get("MQTT_TLS_ENABLED", "").strip().lower() in _TRUE
    name = (urlsplit(broker).hostname or "") if "://" in broker else broker
    if not is_here(name):
        keep("broker_url", f"{'mqtts' if secure else 'mqtt'}://{bracketed(name)}:{door or (8883 if secure else 1883)}")
    elif door:
        keep("mqtts" if secure else "mqtt", f"{_EVERYWHERE}:{door}")
    return found


def is_here(host: str) -> bool:
    """Whether ``host`` is this machine, or none."""
    if host.lower() in _HERE:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def bracketed(host: str) -> str:
    """``host`` as it stands in a URL (RFC 3986, section 3.2.2)."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
