"""How much is done in one transaction of the writer, by how long the last one took."""

from typing import Final

SPARE_S: Final = 0.008


class Pace:
    """``rows`` is as many as take the writer about ``spare_s`` seconds."""

    def __init__(self, first: int, most: int, spare_s: float = SPARE_S) -> None:
        self.rows = first
        self._most = most
        self._spare_s = spare_s

    def took(self, rows: int, seconds: float) -> None:
        """So many did; a slow one counts at once, a quick one by and by."""
        fits = max(int(rows * self._spare_s / max(seconds, 1e-6)), 1)
        if seconds > self._spare_s:
            self.rows = min(fits, self.rows)
        else:
            self.rows = min(fits, self.rows * 3 // 2 + 1, self._most)
