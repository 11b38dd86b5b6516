"""Which of many backups stay: grandfather, father and son.

Of each of the last days, weeks and months that have one the newest stays, and all of the last 24 hours. Days, weeks
(from Monday) and months are those of UTC; instants are milliseconds UTC.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

DAY_MS: Final = 86_400_000


def kept(times: Iterable[int], now: int, daily: int, weekly: int, monthly: int, age_days: int = 0) -> set[int]:
    """Those of ``times`` that stay. What is older than ``age_days`` (0 is for ever) goes, but never the newest of all.

    Times that lie ahead of ``now`` stay: a clock was wrong then, or is now.
    """
    newest_first = sorted(set(times), reverse=True)
    if not newest_first:
        return set()
    found = {one for one in newest_first if now - one < DAY_MS}
    past = [one for one in newest_first if one <= now]
    for most, name in ((daily, "%Y-%m-%d"), (weekly, "%G-%V"), (monthly, "%Y-%m")):
        found.update(_newest_of_each(past, name, most))
    if age_days:
        found = {one for one in found if now - one < age_days * DAY_MS}
    return found | {newest_first[0]}


def _newest_of_each(newest_first: list[int], name: str, most: int) -> Iterator[int]:
    seen: set[str] = set()
    for one in newest_first:
        period = datetime.fromtimestamp(one / 1000, UTC).strftime(name)
        if period not in seen:
            if len(seen) >= most:
                return
            seen.add(period)
            yield one
