"""Modules that are seldom needed: their code is on the heap while somebody uses it, and no longer."""

import sys


def late(name):
    """Import ``name`` and forget it: it stays as long as the caller holds it."""
    module = __import__(name)
    sys.modules.pop(name, None)
    return module
