"""A sensor for temperature and humidity on I2C, SHT30 to SHT35: it measures by itself every two seconds, so
that nothing waits for it.
"""

_PERIODIC = b"\x20\x32"
_FETCH = b"\xe0\x00"


def crc(data):
    """CRC-8 with polynomial 0x31, begun with 0xFF."""
    found = 0xFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = (found << 1 ^ (0x31 if found & 0x80 else 0)) & 0xFF
    return found


def decoded(data):
    """Temperature in °C and relative humidity in % from six bytes. Raises OSError when they are damaged."""
    if len(data) != 6 or crc(data[:2]) != data[2] or crc(data[3:5]) != data[5]:
        raise OSError("sht31: damaged answer")
    # In hundredths, the nearest one: whole numbers lose nothing.
    warm = (data[0] << 8 | data[1]) * 17500 + 32767
    wet = (data[3] << 8 | data[4]) * 10000 + 32767
    return {"temperature": (warm // 65535 - 4500) / 100, "humidity": wet // 65535 / 100}


class Sht31:
    """``bus`` has ``writeto(address, data)`` and ``readfrom(address, length)``; both raise OSError."""

    def __init__(self, bus, address=0x44):
        self.bus = bus
        self.address = address
        self.runs = False

    def read(self):
        """Raises OSError while there is nothing to read: also just after it began."""
        if not self.runs:
            self.bus.writeto(self.address, _PERIODIC)
            self.runs = True
            raise OSError("sht31: begins to measure")
        try:
            self.bus.writeto(self.address, _FETCH)
            return decoded(self.bus.readfrom(self.address, 6))
        except OSError:
            # Without power for a moment it has forgotten that it shall measure.
            self.runs = False
            raise
