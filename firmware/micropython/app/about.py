"""What boards of several contracts are asked about themselves. Loaded when somebody does."""

from late import late


def tail(app, count=3):
    """The last bytes of the board's address in hexadecimal."""
    return "".join("%02x" % byte for byte in app.hal.mac()[-count:])


def hardware(app):
    """What :mod:`hal_more` has."""
    return getattr(app.hal, "MORE", None) or late("hal_more")


def standing(app):
    """What a board says of itself, whatever it is."""
    return {
        "uptime": app.clock.ms() // 1000,
        "wifi_rssi": app.station.rssi(),
        "free_memory": app.hal.free(),
        "ip_address": app.station.ip(),
        "firmware_version": app.version,
        "reset_cause": app.cause,
        "failures": app.sup.failures,
        "dropped": app.outbox.dropped,
    }
