"""Clocks of boards, and what is made of them. Times are integer milliseconds UTC.

Boards send milliseconds, seconds, micro- or nanoseconds since 1970, seconds since 2000 (MicroPython), ISO 8601,
``millis()`` since their start, or nonsense. A time that can be read goes into history as the device's own; one that
cannot is replaced, never stored as it is, and the note says why.

- **By size.** A number from 1e11 to 1e15 is milliseconds (from 1973 on), to 1e18 microseconds, to 1e20 nanoseconds
  (from 2001 on). Below 1e11 it is seconds since 1970, seconds since 2000, or a time since the board's start.
- **Seconds or ``millis()``.** ``millis()`` passes 1.42e9 to 1.77e9 between its 16th and 20th day. A number is taken
  as seconds since 1970 when it has a fraction or lies within the last 366 days: an older one is rather a board that
  runs for 17 days. The mistake left is 9 hours wide in each 50 days of running time, and ``boot_anchor`` removes it.
- **Seconds since 2000** only when that gives now, one day off at most.
- **ISO 8601 without a zone** is UTC, source ``device``, note ``clock_no_zone``: boards keep their clock in UTC far more
  often than not, and the note tells those that do not.

Notes: ``clock_missing``, ``clock_no_zone``, ``clock_epoch_2000``, ``clock_boot_relative``, ``clock_future``,
``clock_before_2015``, ``clock_unreadable``, or empty. Contract: native; hidrometro 3.1 through :class:`ClockRule`.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from relevo.domain.events import TimeSource

SECOND = 1_000
DAY = 86_400_000
YEAR_2015 = 1_420_070_400_000
YEAR_2020 = 1_577_836_800_000
EPOCH_2000 = 946_684_800_000
_SECONDS_REACH = 366 * DAY
_ANCHOR_SLACK = 600_000
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# fromisoformat takes any character between date and time; a space or T is enough.
_ISO = re.compile(r"([0-9]{8}|[0-9]{4}-[0-9W][0-9-]{4})([Tt ][\x20-\x7f]+)?$", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,24}(\.[0-9]{1,24})?")


class ClockRule(NamedTuple):
    """What to believe: the earliest time and how far ahead of ours a board may be, both in milliseconds.

    With ``seconds_below`` nothing is found out by size: a smaller number is seconds since 1970, any other milliseconds.
    """

    earliest: int = YEAR_2015
    ahead: int = DAY
    seconds_below: float | None = None


DEFAULT_RULE = ClockRule()


def repair(
    raw: Any, received_ms: int, boot_anchor: int | None = None, rule: ClockRule = DEFAULT_RULE
) -> tuple[int, TimeSource, str]:
    """Time, source and note of one reading that arrived at ``received_ms``; any JSON value is taken, never raises.

    ``boot_anchor`` is when the board started, if that is known: then a time since the start becomes a real one.
    """
    if type(raw) is int and raw >= 100_000_000_000 and rule.earliest <= raw <= received_ms + rule.ahead:
        return raw, "device", ""
    if raw is None:
        return received_ms, "server", "clock_missing"
    if type(raw) is str:
        return _repair_text(raw, received_ms, boot_anchor, rule)
    if type(raw) is int or type(raw) is float:
        return _repair_number(raw, received_ms, boot_anchor, rule)
    return received_ms, "repaired", "clock_unreadable"


def repair_batch(
    raws: Sequence[Any],
    received_ms: int,
    boots: Sequence[int | None] | None = None,
    rule: ClockRule = DEFAULT_RULE,
) -> list[tuple[int, TimeSource, str]]:
    """As :func:`repair` for readings that arrived together; among times since the start the differences are kept.

    The newest of them gets ``received_ms``. With ``boots`` (the start each reading belongs to, in order of time),
    the newest reading of an earlier start gets the time of the start that followed. Never raises.
    """
    found = [repair(raw, received_ms, None, rule) for raw in raws]
    relative = [i for i, item in enumerate(found) if item[2] == "clock_boot_relative"]
    if not relative or rule.seconds_below is not None:
        return found
    if any(_is_seconds(raw) and item[1] == "device" for raw, item in zip(raws, found, strict=True)):
        # One reading in seconds of the last year settles the unit for its older neighbours.
        sure = rule._replace(seconds_below=100_000_000_000.0)
        for i in relative:
            found[i] = repair(raws[i], received_ms, None, sure)
        relative = [i for i in relative if found[i][2] == "clock_boot_relative"]
    if any(item[2] == "clock_epoch_2000" for item in found):
        for i in relative:
            ts = round(_as_number(raws[i]) * SECOND) + EPOCH_2000
            if rule.earliest <= ts <= received_ms:
                found[i] = ts, "repaired", "clock_epoch_2000"
        relative = [i for i in relative if found[i][2] == "clock_boot_relative"]
    starts: dict[int | None, list[int]] = {}
    for i in relative:
        starts.setdefault(boots[i] if boots else None, []).append(i)
    newest_ms = received_ms
    for _, members in sorted(starts.items(), key=lambda entry: entry[1][-1], reverse=True):
        uptimes = _uptimes([_as_number(raws[i]) for i in members])
        newest = max(uptimes)
        for i, uptime in zip(members, uptimes, strict=True):
            ts = newest_ms - (newest - uptime)
            found[i] = (ts if ts >= rule.earliest else received_ms, "repaired", "clock_boot_relative")
        newest_ms -= newest
    return found


def _repair_number(
    raw: int | float, received_ms: int, boot_anchor: int | None, rule: ClockRule
) -> tuple[int, TimeSource, str]:
    if raw >= 1e20 or raw <= -1e20 or not math.isfinite(raw):
        return received_ms, "repaired", "clock_unreadable"
    if rule.seconds_below is not None and raw < rule.seconds_below:
        ts = round(raw * 1000)
        # So early is no date but a clock that started at zero with the board.
        unset = "clock_boot_relative" if 0 <= ts < EPOCH_2000 else "clock_before_2015"
    elif raw >= 100_000_000_000 or rule.seconds_below is not None:
        divisor = 1 if raw < 1e15 or rule.seconds_below is not None else 1_000 if raw < 1e18 else 1_000_000
        ts = raw // divisor if type(raw) is int else int(raw / divisor)
        unset = "clock_before_2015"
    else:
        return _repair_small(raw, received_ms, boot_anchor, rule)
    if ts < rule.earliest:
        return received_ms, "repaired", unset
    if ts > received_ms + rule.ahead:
        return received_ms, "repaired", "clock_future"
    return ts, "device", ""


def _repair_small(
    raw: int | float, received_ms: int, boot_anchor: int | None, rule: ClockRule
) -> tuple[int, TimeSource, str]:
    if raw < 0:
        return received_ms, "repaired", "clock_before_2015"
    seconds = round(raw * 1000)
    if boot_anchor is not None:
        for uptime in (round(raw), seconds):
            ts = boot_anchor + uptime
            if abs(ts - received_ms) <= _ANCHOR_SLACK and ts >= rule.earliest:
                return ts, "repaired", "clock_boot_relative"
    oldest = rule.earliest if raw % 1 else max(rule.earliest, received_ms - _SECONDS_REACH)
    if oldest <= seconds <= received_ms + rule.ahead:
        return seconds, "device", ""
    if abs(seconds + EPOCH_2000 - received_ms) <= min(DAY, rule.ahead):
        return max(seconds + EPOCH_2000, rule.earliest), "repaired", "clock_epoch_2000"
    return received_ms, "repaired", "clock_boot_relative"


def _repair_text(text: str, received_ms: int, boot_anchor: int | None, rule: ClockRule) -> tuple[int, TimeSource, str]:
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _repair_number(_as_number(text), received_ms, boot_anchor, rule)
    try:
        if len(text) > 40 or not _ISO.match(text):
            raise ValueError
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return received_ms, "repaired", "clock_unreadable"
    note = "" if moment.tzinfo else "clock_no_zone"
    ts = (moment.replace(tzinfo=moment.tzinfo or UTC) - _UNIX) // _MILLISECOND
    if ts < rule.earliest:
        return received_ms, "repaired", "clock_before_2015"
    if ts > received_ms + rule.ahead:
        return received_ms, "repaired", "clock_future"
    return ts, "device", note


def _as_number(raw: Any) -> int | float:
    if isinstance(raw, str):
        return float(raw) if "." in raw else int(raw)
    return raw  # type: ignore[no-any-return]


def _is_seconds(raw: Any) -> bool:
    if isinstance(raw, str) and not _NUMBER.fullmatch(raw.strip()):
        return False
    return isinstance(raw, int | float | str) and _as_number(raw) < 100_000_000_000


def _uptimes(raws: list[int | float]) -> list[int]:
    """Times since the start in milliseconds, whichever unit they have and even if the counter wrapped.

    Fractions are seconds. So are whole numbers that would otherwise be less than 100 ms apart: boards that keep
    readings for later take one a minute rather than ten a second.
    """
    ordered = sorted(set(raws))
    gaps = sorted(b - a for a, b in pairwise(ordered))
    if any(raw % 1 for raw in raws) or (gaps and gaps[len(gaps) // 2] < 100 and ordered[-1] < 1e9):
        return [round(raw * SECOND) for raw in raws]
    whole = [int(raw) for raw in raws]
    for wrap in (1 << 30, 1 << 32):
        if wrap - DAY <= max(whole) < wrap and min(whole) <= DAY:
            return [raw + wrap if raw <= DAY else raw for raw in whole]
    return whole


def is_over(expires_at: int, now_ms: int) -> bool:
    """Whether what ends at ``expires_at`` has ended (milliseconds UTC); 0 means never."""
    return 0 < expires_at <= now_ms
