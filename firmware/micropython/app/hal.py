"""What the rest asks of an ESP32. Everything that touches hardware is here; ``host/host.py`` has the same names."""

import gc
import machine
import network
import time

PAGE_PORT = 80
DNS_PORT = 53
_CAUSES = (
    ("PWRON_RESET", "power"),
    ("HARD_RESET", "hard"),
    ("WDT_RESET", "watchdog"),
    ("DEEPSLEEP_RESET", "sleep"),
    ("SOFT_RESET", "soft"),
)


def mac():
    """Six bytes."""
    return network.WLAN(network.STA_IF).config("mac")


def cause():
    """Why the board started: power, hard, watchdog, sleep, soft or unknown."""
    code = machine.reset_cause()
    for name, word in _CAUSES:
        if getattr(machine, name, None) == code:
            return word
    return "unknown"


def reset():
    machine.reset()


def watchdog(ms):
    """Start it, for good; calling the answer feeds it."""
    return machine.WDT(timeout=ms).feed


def outputs(numbers, low):
    """A function of an index into ``numbers`` and whether that pin is on, which is a low level when ``low``.

    All are off from here on.
    """
    # With their values in the call: a pin must not be the other way round for a moment.
    pins = [machine.Pin(number, machine.Pin.OUT, value=int(low)) for number in numbers]
    return lambda index, on: pins[index].value(int(bool(on) != low))


def reads(number):
    """A function that gives the level of pin ``number``, 0 or 1."""
    return machine.Pin(number, machine.Pin.IN, machine.Pin.PULL_UP).value


def rtc_read():
    """What survives a reset and no power cut."""
    return machine.RTC().memory()


def rtc_write(data):
    machine.RTC().memory(data)


def set_clock(unix):
    """Whole seconds since 1970; certificates are judged by this clock."""
    when = time.gmtime(unix - (946684800 if time.gmtime(0)[0] == 2000 else 0))
    machine.RTC().datetime((when[0], when[1], when[2], when[6], when[3], when[4], when[5], 0))


def free():
    """Bytes of heap that are free after a collection."""
    gc.collect()
    return gc.mem_free()


class Station:
    """The board in somebody's network."""

    def __init__(self):
        self._wlan = network.WLAN(network.STA_IF)

    def join(self, ssid, password):
        """Begin to join. Raises OSError."""
        self._wlan.active(True)
        self._wlan.connect(ssid, password)

    def leave(self):
        """Switch the radio off: a driver that hangs begins anew."""
        self._wlan.active(False)

    def joined(self):
        return self._wlan.isconnected()

    def ip(self):
        return self._wlan.ifconfig()[0]

    def rssi(self):
        try:
            return self._wlan.status("rssi")
        except (OSError, ValueError):
            return 0


def access_point(ssid, password):
    """Open the board's own network, at 192.168.4.1; an empty ``ssid`` closes it."""
    point = network.WLAN(network.AP_IF)
    if not ssid:
        point.active(False)
        return
    point.active(True)
    point.config(essid=ssid, password=password, authmode=3)
