"""The program on the board: serial console, network, and one :class:`board.Board`."""

import gc
import select
import sys
import time

import machine
import network
from board import Board
from console import Console
from esp32 import NVS
from random import random
from storage import Storage

sensors = {}
_RECONNECT_MS = 5_000
_PROMPT_MS = 30_000


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


def run():
    storage, clock = Storage(NVS), Clock()
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    board = Board(
        storage,
        lambda number: machine.Pin(number, machine.Pin.OUT),
        sensors,
        time.sleep_ms,
        clock.now,
        random,
        free=gc.mem_free,
        signal=lambda: wlan.status("rssi") if wlan.isconnected() else None,
    )

    def debug(on):
        board.debug = on

    console = Console(storage, lambda: ["network: %s" % wlan.isconnected()], board.told, machine.reset, debug)
    reader = select.poll()
    reader.register(sys.stdin, select.POLLIN)
    typed, joined, asked, due = "", -_RECONNECT_MS, -_PROMPT_MS, 0
    while True:
        while reader.poll(0):
            letter = sys.stdin.read(1)
            if letter in "\r\n":
                print("\n".join(console.line(typed)))
                typed = ""
            elif len(typed) < 256:
                typed += letter
        now = clock.now()
        if not storage.provisioned():
            if now - asked >= _PROMPT_MS:
                asked = now
                print("This board is not provisioned: type provision")
        elif not wlan.isconnected():
            if now - joined >= _RECONNECT_MS:
                joined = now
                try:
                    wlan.connect(storage.get("wifi_name"), storage.get("wifi_password"))
                except OSError:
                    pass
        elif now >= due:
            due = now + board.step()
        if storage.provisioned() and board.lost():
            machine.reset()
        time.sleep_ms(50)


if __name__ == "__main__":
    run()
