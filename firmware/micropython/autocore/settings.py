"""What the board keeps: a file of settings. Written only when something in it really changed."""

import json
import os

DEFAULTS = {
    "device_uuid": "",
    "device_id": "",
    "device_name": "",
    "wifi_ssid": "",
    "wifi_password": "",
    "backend_ip": "",
    "backend_port": 8081,
    "mqtt_broker": "",
    "mqtt_port": 1883,
    "mqtt_username": None,
    "mqtt_password": None,
    "mqtt_topic_prefix": "autocore",
    "mqtt_connected": False,
    "backend_registered": False,
    "last_mqtt_config_check": 0,
    "relay_channels": 16,
    "configured": False,
    # What this server gives a board beside its contract: with it the board gets credentials of its own.
    "device_token": "",
}
# How it is now, which is no reason to write.
_PASSING = ("mqtt_connected", "last_mqtt_config_check")
_OLDER = {"mqtt_user": "mqtt_username", "mqtt_registered": "backend_registered"}
CHANNELS_MOST = 32


def _fits(name, value):
    usual = DEFAULTS[name]
    if usual is None:
        return value is None or isinstance(value, str)
    if isinstance(usual, bool):
        return isinstance(value, bool)
    if isinstance(usual, int):
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        if name == "relay_channels":
            return 1 <= value <= CHANNELS_MOST
        return name == "last_mqtt_config_check" or 1 <= value <= 65535
    return isinstance(value, str)


def migrated(kept):
    """``kept`` under today's names; what is missing or cannot be is as usual. Also whether that changed anything."""
    found = dict(DEFAULTS)
    moved = {}
    for name in kept:
        now = _OLDER.get(name, name)
        if now == name or now not in kept:
            moved[now] = kept[name]
    states = kept.get("relay_states")
    if "relay_channels" not in kept and isinstance(states, (list, dict)) and 1 <= len(states) <= CHANNELS_MOST:
        moved["relay_channels"] = len(states)
    for name in found:
        if name in moved and _fits(name, moved[name]):
            found[name] = moved[name]
    return found, any(name in kept for name in _OLDER) or "relay_states" in kept


class Settings:
    """A dictionary with a file behind it; ``written`` is how often that was written."""

    def __init__(self, path="config.json"):
        self._path = path
        self.written = 0
        self.values = dict(DEFAULTS)
        self.load()

    def load(self):
        """Read the file; one that is missing or damaged gives the defaults."""
        try:
            with open(self._path) as file:
                kept = json.load(file)
        except (OSError, ValueError):
            kept = {}
        self.values, older = migrated(kept if isinstance(kept, dict) else {})
        self._kept = self._lasting() if kept and not older else None
        if older:
            self.save()

    def get(self, name):
        return self.values[name]

    def put(self, **values):
        """Change some; written when that changes what lasts. Raises ValueError, and changes nothing then."""
        for name in values:
            if name not in DEFAULTS or not _fits(name, values[name]):
                raise ValueError(name)
        self.values.update(values)
        self.save()

    def save(self):
        lasting = self._lasting()
        if lasting == self._kept:
            return
        # Beside it first: a power cut while it is written must not cost what was there.
        fresh = self._path + ".new"
        with open(fresh, "w") as file:
            json.dump(self.values, file)
        try:
            os.rename(fresh, self._path)
        except OSError:
            # Some file systems do not replace.
            os.remove(self._path)
            os.rename(fresh, self._path)
        self._kept = lasting
        self.written += 1

    def clear(self):
        """Forget everything but who the board is."""
        kept = {name: self.values[name] for name in ("device_uuid", "device_id", "relay_channels")}
        self.values = dict(DEFAULTS)
        self.put(**kept)

    def _lasting(self):
        return {name: self.values[name] for name in self.values if name not in _PASSING}
