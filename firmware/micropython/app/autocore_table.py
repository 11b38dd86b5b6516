"""The settings of a board of contract autocore (section 7), as :mod:`config` wants them."""

# Usual value, and the longest text or highest number.
FIELDS = {
    "device_uuid": ("", 36),
    "device_id": ("", 64),
    "device_name": ("", 64),
    "wifi_ssid": ("", 32),
    "wifi_password": ("", 63),
    "backend_ip": ("", 63),
    "backend_port": (8081, 65535),
    "backend_tls": (False, 0),
    "mqtt_broker": ("", 63),
    "mqtt_port": (1883, 65535),
    "mqtt_tls": (False, 0),
    "mqtt_username": (None, 64),
    "mqtt_password": (None, 128),
    "mqtt_topic_prefix": ("autocore", 31),
    "mqtt_connected": (False, 0),
    "backend_registered": (False, 0),
    "last_mqtt_config_check": (0, 4294967295),
    "relay_channels": (16, 32),
    "configured": (False, 0),
    # What the server gives a board beside its contract: with it the board gets credentials of its own.
    "device_token": ("", 128),
    # The server's public update key in base64: with it only what that key signed is installed.
    "update_key": ("", 64),
    # Of the set-up's network and of the board's page.
    "page_password": ("", 63),
}
SECRETS = ("wifi_password", "mqtt_password", "device_token", "page_password")
PASSING = ("mqtt_connected", "last_mqtt_config_check")
_OLDER = {"mqtt_user": "mqtt_username", "mqtt_registered": "backend_registered"}
# Who the board is, and what is connected to it: kept when everything else is forgotten.
LASTING = ("device_uuid", "device_id", "relay_channels", "page_password")


def older(kept):
    """Bring what a former firmware kept under today's names; whether there was anything."""
    moved = False
    for name in _OLDER:
        if name in kept:
            kept.setdefault(_OLDER[name], kept.pop(name))
            moved = True
    states = kept.pop("relay_states", None)
    if isinstance(states, (list, dict)) and states:
        kept.setdefault("relay_channels", len(states))
        moved = True
    return moved
