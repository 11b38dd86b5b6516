"""Time zones: which instants a local time means.

Theory. Clocks are set forward over local times that do not exist, and back over local times that come twice. A local
time that does not exist means the instant of the change itself, so that what is planned for it happens once and not an
hour late; one that comes twice means its first. Rules of the zones come from the system, or from the package
``tzdata`` where the system has none.

Instants are integer milliseconds UTC; a local time is a ``datetime`` without a zone.
"""

import difflib
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from relevo.errors import FieldError, Invalid

# Nothing is planned from the year 2100 on.
LAST_MS: Final = 4_102_444_800_000
ONE_DAY: Final = timedelta(days=1)
_UNIX: Final = datetime(1970, 1, 1)
_UNIX_UTC: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)


@cache
def zone_names() -> frozenset[str]:
    """The names of the IANA time zone database."""
    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split())


def check_zone(name: str, field: str = "zone") -> str:
    """``name`` when there is such a zone. Raises :class:`Invalid`, naming ``field``.

    What else a system keeps beside its zones (``localtime``, ``right/…``) would mean something else elsewhere.
    """
    if name in zone_names():
        return name
    near = difflib.get_close_matches(name[:64], zone_names(), 1)
    message = f"{name[:64]!r} is no IANA time zone" + (f", did you mean {near[0]!r}?" if near else "")
    raise Invalid("zone_unknown", f"{field} {message}", [FieldError(field, message, "zone_unknown")])


def zone_of(name: str) -> ZoneInfo:
    """The rules of a zone. Raises :class:`Invalid` for an unknown one."""
    return ZoneInfo(check_zone(name))


def local(ms: int, zone: ZoneInfo) -> datetime:
    """What clocks in ``zone`` show at an instant."""
    return (_UNIX_UTC + timedelta(milliseconds=ms)).astimezone(zone).replace(tzinfo=None, fold=0)


def instant(wall: datetime, zone: ZoneInfo) -> int:
    """The one instant that a local time in whole seconds means.

    The first of two, the change of clocks itself for one that does not exist.
    """
    first, second = _offsets(wall, zone)
    if first >= second:
        return _ms(wall - first)
    before, after = wall - second, wall - first
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if _offset(middle, zone) == first:
            before = middle
        else:
            after = middle
    return _ms(after)


def read_instant(given: object, zone: ZoneInfo) -> int | None:
    """Milliseconds UTC of an integer that is that already, or of ISO 8601 text: with its offset, else local time.

    ``None`` for anything else, and for what is not from 1970 to 2100.
    """
    if isinstance(given, str) and len(given) <= 40:
        try:
            moment = datetime.fromisoformat(given)
            if moment.tzinfo is None:
                return instant(moment.replace(microsecond=0), zone)
            given = _ms(moment.astimezone(UTC).replace(tzinfo=None))
        except (ValueError, OverflowError):
            return None
    whole = isinstance(given, int) and not isinstance(given, bool)
    return given if whole and 0 <= given <= LAST_MS else None  # type: ignore[operator, return-value, unused-ignore]


def said(ms: int) -> str:
    """An instant in words: UTC to the second."""
    return (_UNIX + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%SZ")


def instants(wall: datetime, zone: ZoneInfo) -> tuple[int, ...]:
    """When clocks in ``zone`` really show a local time: once, twice, or never."""
    first, second = _offsets(wall, zone)
    if first == second:
        return (_ms(wall - first),)
    return (_ms(wall - first), _ms(wall - second)) if first > second else ()


def earliest(ms: int, zone: ZoneInfo) -> datetime:
    """A local time such that no earlier one means an instant at or after ``ms``."""
    moment = _UNIX + timedelta(milliseconds=ms)
    return moment + min(_offset(moment + shift, zone) for shift in (-ONE_DAY, timedelta(0), ONE_DAY))


def _offset(utc: datetime, zone: ZoneInfo) -> timedelta:
    return utc.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta(0)


def _offsets(wall: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    first = wall.replace(tzinfo=zone, fold=0).utcoffset() or timedelta(0)
    second = wall.replace(tzinfo=zone, fold=1).utcoffset() or timedelta(0)
    return first, second


def _ms(utc: datetime) -> int:
    return (utc - _UNIX) // _MILLISECOND
