"""How much is done in one transaction of the writer, by how long the last one took."""

from typing import Final

SPARE_S: Final = 0.008


class Pace:
    """``rows`` is as many as take the writer about ``SPARE_S``."""

    def __init__(self, first: int, most: int) -> None:
        self.rows = first
        self._most = most

    def took(self, rows: int, seconds: float) -> None:
        """So many did; a slow one counts at once, a quick one by and by."""
        fits = max(int(rows * SPARE_S / max(seconds, 1e-6)), 1)
        if seconds > SPARE_S:
            self.rows = min(fits, self.rows)
        else:
            self.rows = min(fits, self.rows * 3 // 2 + 1, self._most)
