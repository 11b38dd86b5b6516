"""How long to wait before the next attempt: full jitter, so that a fleet does not come back all at once."""


class Backoff:
    """``rand(n)`` gives a whole number from 0 to ``n - 1``; ``least`` and ``most`` bound the longest wait, in ms."""

    def __init__(self, rand, least=1000, most=60000):
        self._rand = rand
        self._least = least
        self._most = most
        self._cap = least

    def next(self):
        """Milliseconds, up to a bound that doubles with each call."""
        wait = 1 + self._rand(self._cap)
        self._cap = min(self._most, self._cap * 2)
        return wait

    def slow(self):
        """Milliseconds after a refusal, which asking sooner does not change: from half of the longest wait on."""
        return self._most // 2 + self._rand(self._most // 2)

    def reset(self):
        self._cap = self._least
