"""The program on the board: sensor, network, broker and one :class:`meter.Meter`."""

import json
import time

import machine
import network
from meter import Meter, topics
from umqtt.simple import MQTTClient

# The drawing in README.md agrees with these.
SENSOR_PIN = 2
BUTTON_PIN = 4
LED_PIN = 13
INTERVAL_MS = 1_000
RETRY_MS = 1_000
JOIN_TRIES = 20
JOIN_MS = 500
CONFIG = "config.json"
STATE = "state.json"
# Seconds from 1970 to 2000, where MicroPython on an ESP32 begins to count.
EPOCH = 946_684_800
YEAR_2024 = 1_704_067_200


class Storage:
    """A file; one that is damaged counts as none."""

    def __init__(self, path):
        self._path = path
        try:
            with open(path) as file:
                self._values = json.load(file)
        except (OSError, ValueError):
            self._values = {}

    def get(self, name, default):
        return self._values.get(name, default)

    def put(self, values):
        self._values.update(values)
        with open(self._path, "w") as file:
            json.dump(self._values, file)


class Clock:
    """Milliseconds since the start; the counter of the chip wraps after twelve days."""

    def __init__(self):
        self._last = time.ticks_ms()
        self._total = 0

    def now(self):
        ticks = time.ticks_ms()
        self._total += time.ticks_diff(ticks, self._last)
        self._last = ticks
        return self._total


def unix():
    """Unix seconds, 0 while nobody has set the clock."""
    seconds = time.time() + (EPOCH if time.gmtime(0)[0] == 2000 else 0)
    return seconds if seconds > YEAR_2024 else 0


def join(wlan, config):
    if not wlan.isconnected():
        wlan.active(True)
        wlan.connect(config["wifi_name"], config["wifi_password"])
        for _ in range(JOIN_TRIES):
            if wlan.isconnected():
                break
            time.sleep_ms(JOIN_MS)
    return wlan.isconnected()


def run():
    with open(CONFIG) as file:
        config = json.load(file)
    clock = Clock()
    meter = Meter(
        Storage(STATE),
        config.get("serial", ""),
        clock.now,
        machine.disable_irq,
        machine.enable_irq,
        unix,
    )
    sensor = machine.Pin(SENSOR_PIN, machine.Pin.IN, machine.Pin.PULL_UP)
    sensor.irq(meter.flow.pulse, machine.Pin.IRQ_FALLING)
    button = machine.Pin(BUTTON_PIN, machine.Pin.IN, machine.Pin.PULL_UP)
    led = machine.Pin(LED_PIN, machine.Pin.OUT)
    wlan = network.WLAN(network.STA_IF)
    data, command = topics(config)
    name = "hidrometro-" + "".join("%02x" % one for one in machine.unique_id())
    client, due, tried = None, 0, -RETRY_MS
    while True:
        now = clock.now()
        meter.button(not button.value())
        led.value(meter.flow.flow > 0)
        if client is None and now - tried >= RETRY_MS:
            tried = now
            try:
                if join(wlan, config):
                    client = MQTTClient(
                        name,
                        config["broker"],
                        config.get("port", 1883),
                        config.get("username") or None,
                        config.get("password") or None,
                        keepalive=30,
                    )
                    client.set_callback(lambda _, payload: meter.command(payload))
                    client.connect()
                    client.subscribe(command.encode(), 1)
            except OSError:
                client = None
        if now >= due:
            due = now + INTERVAL_MS
            payload = meter.reading()
            try:
                if client is not None:
                    # Never retained: a reading is of its moment.
                    client.publish(data.encode(), payload, False, 0)
                    client.ping()
            except OSError:
                client = None
        try:
            if client is not None:
                client.check_msg()
        except OSError:
            client = None
        time.sleep_ms(10)


if __name__ == "__main__":
    run()
