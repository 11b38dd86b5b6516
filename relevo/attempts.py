"""Failed attempts within a time window, bounded in memory: what log-ins over every door are throttled by."""

from typing import Final

from relevo.clock import Clock

_MOST_NAMES: Final = 10_000


class Attempts:
    """At most ``most`` failures of one key within ``window_s`` seconds."""

    def __init__(self, clock: Clock, most: int, window_s: float) -> None:
        self._clock = clock
        self._most = most
        self._window_s = window_s
        self._failures: dict[tuple[str, ...], list[float]] = {}

    def wait_s(self, *key: str) -> float:
        """Seconds until ``key`` may try again, 0 when it may now."""
        failures = self._failures.get(key)
        if not failures:
            return 0.0
        now = self._clock.monotonic()
        recent = [at for at in failures if at > now - self._window_s]
        if not recent:
            del self._failures[key]
            return 0.0
        self._failures[key] = recent
        return max(0.0, recent[-self._most] + self._window_s - now) if len(recent) >= self._most else 0.0

    def failed(self, *key: str) -> None:
        # The one that failed least recently makes room.
        failures = self._failures.pop(key, [])
        if not failures and len(self._failures) >= _MOST_NAMES:
            del self._failures[next(iter(self._failures))]
        failures.append(self._clock.monotonic())
        del failures[: -self._most]
        self._failures[key] = failures

    def take_back(self, *key: str) -> None:
        """The newest one was no failure after all."""
        failures = self._failures.get(key)
        if failures:
            failures.pop()
            if not failures:
                del self._failures[key]

    def forgive(self, *key: str) -> None:
        """Somebody proved to be who they say."""
        self._failures.pop(key, None)
