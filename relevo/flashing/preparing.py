"""What a new board is told before its first start: who it is, where the server is, and its key."""

import hashlib
import json
from typing import Any, Final, NamedTuple

from relevo.errors import Unbuildable
from relevo.flashing.sources import Profile

# What stands in ``secrets.json`` on the board, apart from everything that may be shown.
_SECRETS: Final = frozenset({"wifi_password", "device_token", "mqtt_password", "page_password"})


class Network(NamedTuple):
    """The Wi-Fi that a board joins; an empty ``name`` leaves that to its set-up page."""

    name: str = ""
    password: str = ""


class Server(NamedTuple):
    """Where the server is; an empty ``host`` lets the board look for it (mDNS)."""

    host: str = ""
    http: int = 8000
    mqtt: int = 1883


def identity(contract: str, mac: str) -> str:
    """What a board with this MAC address (12 hexadecimal digits) is called in ``contract``, each time the same.

    Raises :class:`Unbuildable` for what is no MAC address and for a contract that no board of ours speaks.
    """
    mac = mac.strip().lower().replace(":", "")
    if len(mac) != 12 or any(letter not in "0123456789abcdef" for letter in mac):
        raise Unbuildable(f"the board calls itself {mac!r}, which is no MAC address")
    if contract == "autocore":
        # Contract autocore, section 2: a prefix like a UUID's that ends in the last six digits.
        return f"550e8400-e29b-41d4-a716-{mac[6:]}"
    if contract == "hidrometro":
        return f"HX{mac[6:].upper()}"
    if contract == "native":
        return f"esp32-{mac}"
    if contract == "thingsnxt":
        # Any 24 digits that no other board has (section 2).
        return mac + hashlib.sha256(mac.encode()).hexdigest()[:12]
    raise Unbuildable(f"no board of ours speaks contract {contract!r}")


def settings_of(
    profile: Profile, external_id: str, name: str, key: str, server: Server, network: Network, update_key: str = ""
) -> list[tuple[str, bytes]]:
    """``config.json`` and ``secrets.json`` of a board that is registered as ``external_id`` with ``key``.

    With an ``update_key``, the server's public one in base64, it installs what that key signed and nothing else.
    """
    values: dict[str, Any] = dict(profile.settings)
    if update_key:
        values["update_key"] = update_key
    if network.name:
        values |= {"wifi_ssid": network.name, "wifi_password": network.password}
    if profile.contract == "thingsnxt":
        values |= {"device_id": external_id, "device_token": key}
        if server.host:
            values["api_url"] = f"http://{server.host}:{server.http}"
    else:
        values |= {"device_uuid": external_id, "device_name": name, "device_token": key}
        if server.host:
            values |= {"backend_ip": server.host, "backend_port": server.http}
            if profile.contract != "autocore":
                # The others have no way to ask for it.
                values |= {"mqtt_broker": server.host, "mqtt_port": server.mqtt}
    shown = {name: value for name, value in values.items() if name not in _SECRETS}
    hidden = {name: value for name, value in values.items() if name in _SECRETS}
    return [("config.json", _json(shown)), ("secrets.json", _json(hidden))]


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
