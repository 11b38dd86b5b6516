"""When the disk that is allowed will be full, by how much of it was in use before."""

from collections.abc import Sequence
from typing import Final, NamedTuple

DAY: Final = 86_400_000
# Two notes closer together than this say nothing.
_LEAST: Final = DAY // 24
_LOOKED_BACK: Final = 14 * DAY


class Forecast(NamedTuple):
    """``growth`` in bytes a day; ``full_at`` in milliseconds UTC, ``None`` when that is not to be expected."""

    growth: float
    full_at: int | None


def forecast(notes: Sequence[tuple[int, int]], now: int, used: int, limit: int) -> Forecast | None:
    """From ``notes`` (milliseconds UTC and bytes in use, oldest first) of the last two weeks and ``used`` now, by least
    squares; ``None`` while there is too little to go by. ``limit`` 0 is none."""
    points = [(at, size) for at, size in [*notes, (now, used)] if now - _LOOKED_BACK <= at <= now]
    if len(points) < 2 or now - points[0][0] < _LEAST:
        return None
    first = points[0][0]
    xs = [(at - first) / DAY for at, _ in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(size for _, size in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x in xs)
    growth = sum((x - mean_x) * (size - mean_y) for x, (_, size) in zip(xs, points, strict=True)) / spread
    if not limit or growth <= 0:
        return Forecast(growth, None)
    return Forecast(growth, now + max(round((limit - used) / growth * DAY), 0))
