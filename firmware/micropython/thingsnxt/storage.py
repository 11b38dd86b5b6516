"""What the board keeps: namespace ``iot-config`` of the non-volatile storage."""

NAMESPACE = "iot-config"
KEYS = ("device_id", "device_token", "api_url")
NETWORK = ("wifi_name", "wifi_password")
_MOST = 256


class Storage:
    """``nvs`` is ``esp32.NVS``, or something like it."""

    def __init__(self, nvs):
        self._nvs = nvs(NAMESPACE)

    def get(self, key):
        """The text kept under ``key``, empty for none."""
        room = bytearray(_MOST)
        try:
            size = self._nvs.get_blob(key, room)
        except OSError:
            return ""
        return bytes(room[:size]).decode()

    def put(self, values):
        for key, value in values.items():
            self._nvs.set_blob(key, value.encode())
        self._nvs.commit()

    def clear(self):
        for key in KEYS + NETWORK:
            try:
                self._nvs.erase_key(key)
            except OSError:
                pass
        self._nvs.commit()

    def provisioned(self):
        return all(self.get(key) for key in KEYS)
