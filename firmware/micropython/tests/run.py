"""Runs suites: ``python run.py APP FILE…``. Every function ``test_…`` of a file is a test; one that fails is told.

The same files run on CPython and on MicroPython: neither has what the other's test libraries need.
"""

import asyncio
import gc
import os
import sys
import time

PLACE = __file__.rpartition("/")[0] or "."
if sys.implementation.name != "micropython":
    sys.path.insert(0, PLACE + "/shim")
    # Of the 30 bits that a board has.
    time.ticks_ms = lambda: int(time.monotonic() * 1000) & 0x3FFFFFFF
    time.ticks_diff = lambda a, b: ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000


def tell(problem):
    if hasattr(sys, "print_exception"):
        sys.print_exception(problem)
    else:
        import traceback

        traceback.print_exception(problem)


def through(coroutine):
    """Run one that waits for nothing, where asyncio runs nothing to its end."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


def run(name):
    """How many tests of a module failed."""
    module = __import__(name)
    failed = 0
    for one in sorted(dir(module)):
        if not one.startswith("test_"):
            continue
        # What a test leaves on the flash is no other test's.
        for left in os.listdir("."):
            try:
                os.remove(left)
            except OSError:
                for inner in os.listdir(left):
                    os.remove(left + "/" + inner)
                os.rmdir(left)
        gc.collect()
        try:
            coroutine = getattr(module, one)()
            if coroutine is not None:
                getattr(asyncio, "run", through)(coroutine)
            print("ok", one)
        except Exception as problem:
            failed += 1
            print("FAILED", one)
            tell(problem)
    return failed


def main(app, files):
    sys.path.insert(0, app)
    sys.path.insert(0, app + "/../launcher")
    sys.path.insert(0, PLACE)
    sys.exit(1 if sum(run(name) for name in files) else 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
