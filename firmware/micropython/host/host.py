"""A computer in the place of the board: what ``app/hal.py`` does, in files of the folder that is the flash.

``pins.json``    levels of all outputs, written when one changes: ``{"2": 1}``
``inputs.json``  levels of inputs, and all pulses that ever came to a counting one; ``"count"`` counts up when it is read
``sensors.json`` ``temperature``, ``humidity`` (numbers, ``"count"`` or ``"nan"``), ``millivolts``; with ``fails`` no answer
``nvs.json``     the non-volatile storage: texts by namespace and key
``network``      ``down`` takes the network away
``radio.json``   the last network that was joined or opened
``rtc``          memory that survives a reset
``cause``        why the next start happens

The board's network is the machine's. A reset ends the process with 3, the watchdog with a signal.
"""

import gc
import json
import os
import sys
import time

ENV = os.getenv if hasattr(os, "getenv") else os.environ.get
PAGE_PORT = int(ENV("BOARD_PAGE_PORT") or 8080)
DNS_PORT = int(ENV("BOARD_DNS_PORT") or 5353)
# A clock that runs faster: what takes a board an hour takes a test less.
_SPEED = int(ENV("BOARD_SPEED") or 1)
MORE = sys.modules[__name__]
_levels = {}
_counts = {}


def _load(path, usual):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return usual


def _text(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _keep(path, text):
    with open(path + ".part", "w") as file:
        file.write(text)
    os.rename(path + ".part", path)


def _ticks():
    return time.ticks_diff(time.ticks_ms(), _BEGAN) * _SPEED


_BEGAN = time.ticks_ms() if hasattr(time, "ticks_ms") else 0
CLOCK = (_ticks, lambda a, b: a - b) if _SPEED > 1 else ()


def mac():
    told = ENV("BOARD_MAC") or "02000a0a1b2c"
    return bytes(int(told[at : at + 2], 16) for at in range(0, 12, 2))


def cause():
    told = _text("cause") or "power"
    try:
        os.remove("cause")
    except OSError:
        pass
    return told


def reset():
    _keep("cause", "soft")
    sys.exit(3)


def watchdog(ms):
    """The process ends with SIGALRM unless it is fed."""
    try:
        import ffi

        alarm = ffi.open("libc.so.6").func("I", "alarm", "I")
    except (ImportError, OSError):
        return lambda: None
    return lambda: alarm(ms // 1000)


def outputs(numbers, low):
    def switch(index, on):
        level = 1 if bool(on) != low else 0
        if _levels.get(numbers[index]) != level:
            _levels[numbers[index]] = level
            _keep("pins.json", json.dumps({str(one): _levels[one] for one in _levels}))

    for index in range(len(numbers)):
        switch(index, False)
    return switch


def reads(number):
    def level():
        told = _load("inputs.json", {}).get(str(number), 1)
        if told == "count":
            _counts[number] = _counts.get(number, 0) + 1
            return _counts[number]
        return told

    return level


def counter(number):
    # What is in the file is everything that ever came.
    taken = [_load("inputs.json", {}).get(str(number), 0)]

    def take():
        told = _load("inputs.json", {}).get(str(number), 0)
        pulses, taken[0] = max(told - taken[0], 0), told
        return pulses

    return take


def _measured():
    told = _load("sensors.json", {"fails": 1})
    if told.get("fails"):
        raise OSError("no answer")
    found = {}
    for name in ("temperature", "humidity"):
        value = told.get(name)
        if value == "count":
            value = _counts[name] = _counts.get(name, 0) + 1
        found[name] = float("nan") if value == "nan" else value
    return found


def dht22(number):
    return _measured


class _Sht31:
    """As that sensor answers."""

    def writeto(self, address, data):
        pass

    def readfrom(self, address, length):
        import sht31

        told = _measured()
        raw = b""
        for value in ((told["temperature"] + 45) / 175, told["humidity"] / 100):
            part = int(value * 65535 + 0.5).to_bytes(2, "big")
            raw += part + bytes((sht31.crc(part),))
        return raw


def bus(sda, scl):
    return _Sht31()


def millivolts(number):
    return lambda: _load("sensors.json", {}).get("millivolts", 0)


def nvs_read(namespace, key):
    return _load("nvs.json", {}).get(namespace, {}).get(key, "")


def nvs_write(namespace, values):
    kept = _load("nvs.json", {})
    own = kept.setdefault(namespace, {})
    for key in values:
        if values[key]:
            own[key] = values[key]
        else:
            own.pop(key, None)
    _keep("nvs.json", json.dumps(kept))


def rtc_read():
    try:
        with open("rtc", "rb") as file:
            return file.read()
    except OSError:
        return b""


def rtc_write(data):
    with open("rtc", "wb") as file:
        file.write(data)


def set_clock(unix):
    _keep("clock", str(unix))


def free():
    gc.collect()
    return gc.mem_free() if hasattr(gc, "mem_free") else 0


class Station:
    def __init__(self):
        self._ssid = ""

    def join(self, ssid, password):
        self._ssid = ssid
        _keep("radio.json", json.dumps({"joined": ssid}))

    def leave(self):
        self._ssid = ""

    def joined(self):
        return bool(self._ssid) and _text("network") != "down"

    def ip(self):
        return "127.0.0.1"

    def rssi(self):
        return -55


def access_point(ssid, password):
    _keep("radio.json", json.dumps({"open": ssid}))
