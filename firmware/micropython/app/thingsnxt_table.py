"""The settings of a board of contract thingsnxt (section 8)."""

from late import late

FIELDS = {
    "device_id": ("", 24),
    "device_token": ("", 128),
    "api_url": ("", 200),
    "device_name": ("", 64),
    "wifi_ssid": ("", 32),
    "wifi_password": ("", 63),
    "configured": (False, 0),
    # After so long without an answer the board starts anew.
    "restart_after_s": (900, 86400),
    # Also to addresses that are not private.
    "plain_http": (False, 0),
    "update_key": ("", 64),
    "page_password": ("", 63),
}
SECRETS = ("wifi_password", "device_token", "page_password")
PASSING = ()
LASTING = ("page_password",)


def older(kept):
    """Nothing of these had another name before."""
    return False


def stored(app, names):
    """What the contract keeps in the non-volatile storage goes there too."""
    join = late("thingsnxt_join")
    values = {name: app.values[name] for name in join.KEYS if name in names}
    if values:
        late("about").hardware(app).nvs_write(join.NAMESPACE, values)
