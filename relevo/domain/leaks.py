"""Leaks of water meters (contract hidrometro, section 6): when a flow has lasted for too long.

Theory. Each meter is looked at by itself. An *episode* begins with the first reading at or above the threshold and ends
with the first below it; once it has lasted for the shortest time it is told, and not again before it is over. A meter
that says itself that it leaks is believed at once. Readings count by their own times: an older one than the last says
nothing, and after a silence nobody knows whether the water went on running, so what was not told yet begins anew.
"""

from typing import Final

SILENCE_MS: Final = 60_000
_METERS_MOST: Final = 20_000


class _Episode:
    __slots__ = ("began", "last", "told")

    def __init__(self, began: int) -> None:
        self.began = began
        self.last = began
        self.told = False


class Leaks:
    """``threshold`` in L/min, ``shortest_ms`` in milliseconds, 0 tells every opened tap."""

    def __init__(self, threshold: float, shortest_ms: int) -> None:
        self._threshold = threshold
        self._shortest_ms = shortest_ms
        self._silence_ms = max(SILENCE_MS, 2 * shortest_ms)
        self._episodes: dict[str, _Episode] = {}

    def take(self, meter: str, ts: int, flow: float, says_so: bool = False) -> float | None:
        """Seconds since the episode began when it has to be told with this reading, otherwise ``None``.

        ``ts`` in milliseconds UTC, ``flow`` in L/min; ``says_so`` when the meter itself speaks of a leak.
        """
        episode = self._episodes.get(meter)
        if episode is not None and ts < episode.last:
            return None
        if flow < self._threshold and not says_so:
            if episode is not None:
                del self._episodes[meter]
            return None
        if episode is None or (not episode.told and ts - episode.last > self._silence_ms):
            if len(self._episodes) >= _METERS_MOST:
                del self._episodes[next(iter(self._episodes))]
            episode = self._episodes[meter] = _Episode(ts)
        episode.last = ts
        lasted = ts - episode.began
        if episode.told or not (says_so or lasted >= self._shortest_ms):
            return None
        episode.told = True
        return lasted / 1000

    def forget(self, meter: str) -> None:
        """The meter is gone, or somebody else's."""
        self._episodes.pop(meter, None)
