"""Cron expressions: five fields, read by ``cronsim``, with the habits of Debian's cron when clocks change.

A time that does not exist runs once, at the change; one that comes twice runs the first time. When the minute or the
hour begins with ``*`` the expression is a rhythm rather than a time: it runs whenever clocks show what it says, so not
in an hour that is left out, and both times in one that comes twice.

``cronsim`` is asked for local times only. Left to follow a zone by itself it steps over hours whole, and finds other
minutes at Lord Howe Island, whose clocks change by half an hour.
"""

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from relevo.domain.zones import LAST_MS, earliest, instant, instants

EXPRESSION_LIMIT: Final = 120
_FIELDS: Final = 5


def check_expression(text: str) -> str:
    """What is wrong with a cron expression, empty when it is right and will run."""
    if len(text) > EXPRESSION_LIMIT:
        return f"has {len(text)} characters, the limit is {EXPRESSION_LIMIT}"
    fields = text.split()
    if len(fields) != _FIELDS:
        return f"has {len(fields)} fields instead of 5: minute, hour, day of month, month, day of week"
    try:
        next(CronSim(text, datetime(2024, 1, 1)))
    except CronSimError as error:
        said = str(error)
        return f"has a {said[4:]} that does not exist" if said.startswith("Bad ") else said
    except StopIteration:
        return "never runs: there is no such day"
    return ""


def runs(text: str, zone: ZoneInfo, from_ms: int) -> Iterator[int]:
    """When the expression runs at or after ``from_ms``, in order (milliseconds UTC)."""
    minute, hour = text.split()[:2]
    since = earliest(from_ms, zone) - timedelta(seconds=1)
    walls = CronSim(text, since)
    found = _rhythm(walls, zone) if minute.startswith("*") or hour.startswith("*") else _times(walls, zone)
    for at in found:
        if at >= LAST_MS:
            return
        if at >= from_ms:
            yield at


def _times(walls: CronSim, zone: ZoneInfo) -> Iterator[int]:
    last = -1
    for wall in walls:
        at = instant(wall, zone)
        if at > last:
            yield at
        last = at


def _rhythm(walls: CronSim, zone: ZoneInfo) -> Iterator[int]:
    # Second times of what comes twice, which wait until the clocks have been set back.
    later: list[int] = []
    for wall in walls:
        found = instants(wall, zone)
        if not found:
            continue
        while later and later[0] < found[0]:
            yield heapq.heappop(later)
        yield found[0]
        for at in found[1:]:
            heapq.heappush(later, at)
    yield from sorted(later)
