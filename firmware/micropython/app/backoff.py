"""How long to wait before the next attempt: full jitter, so that a fleet does not come back all at once.

Loaded when it is needed: what has to be remembered in between is one number, the bound of the next wait.
"""

import os

LEAST_MS = 1000
MOST_MS = 60000


def noise(n):
    """A whole number from 0 to ``n - 1``."""
    return int.from_bytes(os.urandom(4), "big") % n


def after(bound, rand=noise):
    """Milliseconds to wait, at most ``bound`` (:data:`LEAST_MS` when 0), and the bound of the wait after that."""
    bound = bound or LEAST_MS
    return 1 + rand(bound), min(MOST_MS, bound * 2)


def slow(rand=noise):
    """Milliseconds after a refusal, which asking sooner does not change."""
    return MOST_MS // 2 + rand(MOST_MS // 2)
