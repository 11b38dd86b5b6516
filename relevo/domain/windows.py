"""Windows of local time: from 22:00 to 06:00 in Lima, on weekdays.

A window belongs to the day on which it begins. Its edges are instants, found once a day, so that a night on which the
clocks change has one window, not two: what a local time means that comes twice or never, :mod:`relevo.domain.zones`
says.
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from relevo.domain.timetables import DAY_MINUTES, DAYS
from relevo.domain.zones import instant, local


class Window(msgspec.Struct, frozen=True):
    """``begin`` and ``end`` in minutes after midnight of ``zone``, ``end`` not within; ``days`` such as ``mon``."""

    begin: int
    end: int
    zone: str
    days: tuple[str, ...] = DAYS

    def has(self, now_ms: int) -> bool:
        """Whether the instant (milliseconds UTC) lies within."""
        return any(begin <= now_ms < end for begin, end in self._around(now_ms, 1))

    def next_edge(self, now_ms: int) -> int:
        """The next instant (milliseconds UTC) at which the window begins or ends."""
        return min(edge for span in self._around(now_ms, 8) for edge in span if edge > now_ms)

    def _around(self, now_ms: int, ahead: int) -> list[tuple[int, int]]:
        today = local(now_ms, ZoneInfo(self.zone)).date()
        days = (today + timedelta(days=n) for n in range(-1, ahead + 1))
        return [self._on(day) for day in days if DAYS[day.weekday()] in self.days]

    def _on(self, day: date) -> tuple[int, int]:
        end = self.end if self.end > self.begin else self.end + DAY_MINUTES
        return self._instant(day, self.begin), self._instant(day, end)

    def _instant(self, day: date, minutes: int) -> int:
        wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)
        return instant(wall, ZoneInfo(self.zone))
