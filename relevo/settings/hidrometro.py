"""Environment names of contract hidrometro's own server (section 1) that make our settings.

Names that stand for one setting each are in :data:`relevo.settings.load.CONTRACT_NAMES`.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from relevo.settings.alchemy import bracketed, is_here
from relevo.settings.table import signs_well

NAMES: Final = {
    "database_url": ("DB_ENGINE", "DB_USER", "DB_PASSWORD", "DB_HOST", "DB_PORT", "DB_NAME"),
    "mqtt": ("MQTT_URL",),
    "broker_url": ("MQTT_URL",),
    "hidrometro.secret_key": ("SECRET_KEY",),
}
"""Our settings by the names that make them."""
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - devices are on the network, not on this machine


def values(env: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Value and origin by the name of our setting, for what ``env`` names; empty variables count as absent."""
    found: dict[str, tuple[str, str]] = {}

    def keep(name: str, value: str) -> None:
        found[name] = value, "environment " + ", ".join(one for one in NAMES[name] if env.get(one))

    engine = env.get("DB_ENGINE", "").strip().lower()
    if engine == "sqlite":
        # Its file is of another program; ours is in the data directory.
        found["database_url"] = "sqlite", "environment DB_ENGINE"
    elif engine:
        keep("database_url", _database(engine, env))
    # One that everybody knows signs nothing (section 9.2); servers of other families set it as well.
    if signs_well(env.get("SECRET_KEY", "")):
        keep("hidrometro.secret_key", env["SECRET_KEY"])
    text = env.get("MQTT_URL", "").strip()
    if text:
        scheme, mark, rest = text.partition("://")
        try:
            parts = urlsplit(text if mark else f"mqtt://{text}")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            keep("broker_url", text)
            return found
        if is_here(host) and scheme != "mqtts":
            # Its broker beside it is our own door.
            keep("mqtt", f"{_EVERYWHERE}:{port or 1883}")
        else:
            keep("broker_url", text if mark else f"mqtt://{rest or scheme}")
    return found


def _database(engine: str, env: Mapping[str, str]) -> str:
    user, password = quote(env.get("DB_USER", ""), safe=""), quote(env.get("DB_PASSWORD", ""), safe="")
    who = f"{user}:{password}@" if password else f"{user}@" if user else ""
    host = bracketed(env.get("DB_HOST", "").strip() or "localhost")
    port = env.get("DB_PORT", "").strip()
    return f"{engine}://{who}{host}{f':{port}' if port else ''}/{env.get('DB_NAME', '').strip()}"
