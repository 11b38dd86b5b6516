"""What the application takes of the heap while it runs: ``micropython heap.py FLASH APP SECONDS``, ``APP`` within ``FLASH``.

Prints a line of JSON after so many seconds online: bytes after a collection, less what interpreter and host take.
"""

import gc
import json
import os
import sys

import host

sys.modules["hal"] = host
os.chdir(sys.argv[1])
# As on a board: the root, and in front of it the slot.
sys.path[0] = ""
sys.path.insert(0, sys.argv[2])
# What the stand-in for the pins remembers is no part of a board.
with open("profile.json") as file:
    pins = json.load(file)["pins"]
outputs = pins.get("relays") or pins.get("outputs") or [pins.get("led", 13)]
host.outputs(list(outputs.values() if isinstance(outputs, dict) else outputs), bool(pins.get("low")))
gc.collect()
before = gc.mem_alloc()

import asyncio

gc.collect()
of_asyncio = gc.mem_alloc() - before

import app


async def measure():
    while app.board.state != "online":
        await asyncio.sleep(0.1)
    await asyncio.sleep(int(sys.argv[3]))
    # Twice: the stack keeps what it saw last.
    gc.collect()
    await asyncio.sleep(0)
    gc.collect()
    taken = gc.mem_alloc() - before
    print(json.dumps({"heap": taken, "asyncio": of_asyncio, "free": gc.mem_free(), "before": before}))
    sys.exit(0)


async def main():
    board = app.prepare()
    board.later(measure)
    await board.run()


asyncio.run(main())
