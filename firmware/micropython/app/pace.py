"""When to ask what: intervals, retries and giving way (contract thingsnxt, sections 7 and 8), in milliseconds."""

POLL, TELEMETRY, HEALTH = "poll", "telemetry", "health"
KINDS = (POLL, TELEMETRY, HEALTH)
INTERVALS = {POLL: 4000, TELEMETRY: 10000, HEALTH: 60000}
# While the server says that there are too many requests (429).
SLOW = {POLL: 5000, TELEMETRY: 15000, HEALTH: 60000}
SLOW_MS = 300000
RETRIES = 3
RETRY_MS = 1000
LONGEST_MS = 60000


def retry_delay(retry):
    """How long to wait before the retry of this number, from 0."""
    return RETRY_MS << retry


class Pace:
    """``noise(n)`` gives a whole number below ``n``: a whole house returns at once otherwise."""

    def __init__(self, noise):
        self.noise = noise
        self.slow = None
        # How many requests of a kind failed with all their retries, one after the other.
        self.failures = {}

    def too_many(self, now, retry_after_s=0):
        """The server answered 429, perhaps with Retry-After in seconds."""
        self.slow = now + (retry_after_s * 1000 or SLOW_MS)

    def worked(self, what):
        self.failures.pop(what, None)

    def failed(self, what):
        self.failures[what] = self.failures.get(what, 0) + 1

    def interval(self, what, now):
        """How long to wait until the next request of this kind."""
        usual = (SLOW if self.slow is not None and now < self.slow else INTERVALS)[what]
        cycles = min(self.failures.get(what, 0), 8)
        if not cycles:
            return usual
        longer = min(usual << cycles, LONGEST_MS)
        return min(LONGEST_MS, longer + self.noise(longer // 4))
