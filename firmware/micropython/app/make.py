"""How a board is made from what is on its flash; ``profile.json`` says which contract it speaks and what is where."""

import json
import os
import select
import sys

import app
from clock import Clock
from late import late
from outbox import Outbox
from supervisor import Supervisor

# Without those that look like others.
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


def load(path, usual):
    """An object of a JSON file, or what is ``usual``."""
    try:
        with open(path) as file:
            found = json.load(file)
        return found if isinstance(found, dict) else usual
    except (OSError, ValueError):
        return usual


def place():
    """The folder of the application, which is its slot."""
    return app.__file__.rpartition("/")[0]


def version():
    """Of the release in this slot."""
    return load(place() + "/release.json", {}).get("version", "0.0.0")


def fill(board, hal, safe):
    """Give ``board`` all it has."""
    profile = load("profile.json", {})
    name = profile.get("contract", "autocore")
    board.hal = hal
    board.safe = safe
    board.cause = hal.cause()
    board.version = version()
    words = late(name + "_join")
    board.telemetry = profile.get("telemetry_ms", getattr(words, "EVERY_MS", 60000))
    board.reaching = getattr(words, "STATE", "mqtt")
    board.clock = Clock(*getattr(hal, "CLOCK", ()))
    board.searching = board.clock.ms()
    board.name = name
    board.values = late("config").load(board, profile.get("settings", {}))
    if not board.get("page_password"):
        noise = late("backoff").noise
        board.put(page_password="".join(_LETTERS[noise(32)] for _ in range(12)))
    board.sup = Supervisor(board.clock.ms, board.clock.ms, board.log)
    board.station = hal.Station()
    board.outbox = Outbox(board.clock)
    board.contract = __import__(name).Contract(board)
    words.begin(board.contract, profile.get("pins", {}))


def doors(board):
    """Listen for the page's visitors and on the serial line; begin what is due about updates."""
    board.doors = select.poll()
    board.doors.register(sys.stdin, select.POLLIN)
    try:
        board.door = late("net").listen(board.hal.PAGE_PORT)
        board.doors.register(board.door, select.POLLIN)
    except OSError as problem:
        # The page is not what a board is for.
        board.log("page:", problem)
    late("update").begin(board)


async def restart(app):
    """Reset the board; what waits in memory waits on the flash."""
    await app.contract.end(True)
    late("spill").spill(app.outbox)
    app.hal.reset()


async def forget(app):
    """Forget everything but who the board is, and begin anew."""
    late("config").clear(app)
    for name in ("pin.txt", "done"):
        try:
            os.remove(name)
        except OSError:
            pass
    await app.contract.end(True)
    app.hal.reset()
