"""Settings that boards of several contracts have, as :mod:`config` wants them; their own tables add theirs."""

FIELDS = {
    "device_uuid": ("", 64),
    "device_name": ("", 64),
    "wifi_ssid": ("", 32),
    "wifi_password": ("", 63),
    "backend_ip": ("", 63),
    "backend_port": (8000, 65535),
    "backend_tls": (False, 0),
    # Empty: where the server is.
    "mqtt_broker": ("", 63),
    "mqtt_port": (1883, 65535),
    "mqtt_tls": (False, 0),
    # Those of the device, where nothing else is told.
    "mqtt_username": (None, 80),
    "mqtt_password": (None, 128),
    "mqtt_connected": (False, 0),
    "configured": (False, 0),
    "device_token": ("", 128),
    # The server's public update key in base64: with it only what that key signed is installed.
    "update_key": ("", 64),
    # Of the set-up's network and of the board's page.
    "page_password": ("", 63),
}
SECRETS = ("wifi_password", "mqtt_password", "device_token", "page_password")
PASSING = ("mqtt_connected",)
# Who the board is: kept when everything else is forgotten.
LASTING = ("device_uuid", "page_password")


def older(kept):
    """Nothing of these had another name before."""
    return False
