"""When to ask what: intervals, retries and giving way. Times in milliseconds of a clock that never jumps."""

POLL, TELEMETRY, HEALTH = "poll", "telemetry", "health"
INTERVALS = {POLL: 4_000, TELEMETRY: 10_000, HEALTH: 60_000}
# While the server says that there are too many requests (429).
SLOW = {POLL: 5_000, TELEMETRY: 15_000, HEALTH: 60_000}
SLOW_FOR = 300_000
RETRIES = 3
RETRY = 1_000
LONGEST = 60_000


def retry_delay(retry):
    """How long to wait before the retry of this number, from 0."""
    return RETRY * (1 << retry)


class Pace:
    """``random()`` gives 0.0 to 1.0, for a little jitter after failures: a whole house returns at once otherwise."""

    def __init__(self, random):
        self._random = random
        self._slow_until = None
        self._failed = {}

    def too_many(self, now, retry_after_s=0):
        """The server answered 429, perhaps with Retry-After in seconds."""
        self._slow_until = now + (retry_after_s * 1000 or SLOW_FOR)

    def worked(self, what):
        self._failed.pop(what, None)

    def failed(self, what):
        """A request failed with all its retries."""
        self._failed[what] = self._failed.get(what, 0) + 1

    def interval(self, what, now):
        """How long to wait until the next request of this kind."""
        slow = self._slow_until is not None and now < self._slow_until
        usual = (SLOW if slow else INTERVALS)[what]
        cycles = min(self._failed.get(what, 0), 8)
        if not cycles:
            return usual
        longer = min(usual << cycles, LONGEST)
        return min(LONGEST, longer + int(longer * self._random() / 4))
