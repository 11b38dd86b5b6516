"""What a piece of work costs, for tests that tell linear work from quadratic."""

import time
from collections.abc import Callable


def least_cpu(work: Callable[[], object], tries: int = 3) -> float:
    """The cheapest of several tries, in seconds of CPU.

    Other work on the machine and the collector's passes over everything that a long run has left only ever add: the
    cheapest try is nearest to what the work itself costs.
    """
    spent = []
    for _ in range(tries):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return min(spent)
