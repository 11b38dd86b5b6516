"""The launcher: decides which of two applications starts, and goes back when a new one does not hold.

The flash has two slots, the folders ``a`` and ``b``. ``slot.json`` names the active one and, after an update, the one
on trial (docs/updates.md). Nothing here is ever updated, so it does as little as it can: no network, no hardware but
what a reset needs. A slot can be started when it has ``app.mpy`` or ``app.py``, which an update writes last.
"""

import json
import os
import sys

try:
    import machine
except ImportError:
    machine = None

GENERATION = 1
SLOTS = ("a", "b")
STATE = "slot.json"
TRIES = 3
# So many starts of which none lasted: only what is needed to mend the board is started.
FAST_STARTS = 5
_STARTS = "starts.json"
_WHY_MOST = 120


def read(name=STATE):
    """The object in a file, ``{}`` when there is none that can be read."""
    try:
        with open(name) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(value, name=STATE):
    """Put ``value`` in the file's place at once: a power cut leaves the former or the new one."""
    new = name + ".new"
    with open(new, "w") as file:
        json.dump(value, file)
    if hasattr(os, "sync"):
        os.sync()
    os.rename(new, name)


def complete(slot):
    """Whether the slot holds an application."""
    try:
        names = os.listdir(slot)
    except OSError:
        return False
    return "app.mpy" in names or "app.py" in names


def other(slot):
    return "b" if slot == "a" else "a"


def choose(state, complete=complete):
    """The slot that starts now, and the state to be written before (``None`` when it is as it was)."""
    active = state.get("active")
    if active not in SLOTS:
        active = "a" if complete("a") or not complete("b") else "b"
    trial, tries = state.get("trial"), state.get("tries")
    if trial in SLOTS and trial != active:
        tries = tries if type(tries) is int and tries >= 0 else 0
        if tries < TRIES and complete(trial):
            return trial, dict(state, active=active, tries=tries + 1)
        return active, back(state, active, "tries" if complete(trial) else "image")
    if not complete(active) and complete(other(active)):
        return other(active), dict(state, active=other(active))
    return active, None


def back(state, active, reason):
    """The state after a trial that came to nothing."""
    kept = dict(state, active=active)
    for name in ("trial", "tries", "why"):
        kept.pop(name, None)
    kept["outcome"] = {
        "release": state.get("release", ""),
        "state": "rolled_back",
        "reason": state.get("why") or reason,
    }
    # What runs is the former release again.
    kept["release"], kept["version"] = state.get("former", ["", ""])
    kept.pop("former", None)
    return kept


def starts(add=1):
    """How many starts followed each other of which none lasted; kept where a power cut ends it and flash does not wear.

    ``add=0`` sets it back: the application calls that when it has run for a minute.
    """
    if machine is not None and hasattr(machine, "RTC"):
        memory = machine.RTC().memory
        count = memory()[0] if memory() else 0
        count = min(count + add, 255) if add else 0
        memory(bytes((count,)))
        return count
    count = read(_STARTS).get("starts", 0) + add if add else 0
    write({"starts": count}, _STARTS)
    return count


def note(problem):
    """Remember what ended the application; written only where it says something new."""
    text = "%s: %s" % (type(problem).__name__, problem)
    state = read()
    why = ("crash: " + text)[:_WHY_MOST]
    if state.get("trial") in SLOTS and state.get("why") != why:
        write(dict(state, why=why))
    if read("crash.json").get("why") != why:
        write({"why": why}, "crash.json")


def reset():
    if machine is not None and hasattr(machine, "reset"):
        machine.reset()
    # On a computer somebody starts the process again.
    sys.exit(3)


def prepare():
    """Choose the application that starts, in front of the path; whether only what mends the board is to run."""
    slot, state = choose(read())
    if state is not None:
        write(state)
        if state.get("tries", 1) == 1:
            # The bad starts of one application are not those of another.
            starts(0)
    count = starts()
    sys.path.insert(0, slot)
    return count > FAST_STARTS


def ended(problem):
    """The application came to its end, with ``problem`` or without: the board starts again."""
    if problem is not None:
        if hasattr(sys, "print_exception"):
            sys.print_exception(problem)
        note(problem)
    reset()
