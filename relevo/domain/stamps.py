"""Times in files that somebody else wrote, or a spreadsheet saved: milliseconds UTC from text."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from relevo.errors import Invalid

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_UNITS: Final = {"s": 1_000.0, "ms": 1.0, "us": 0.001, "ns": 0.000_001}
FORMATS: Final = ("", "iso", *_UNITS)
"""What may be said instead of a pattern of ``strptime``."""


def moment_ms(moment: datetime, zone: tzinfo = UTC) -> int:
    """A time of no zone is one of ``zone``; where clocks go back and it comes twice, the first."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=zone)) - _UNIX) // _MILLISECOND


def parse_stamp(text: str, form: str = "", zone: tzinfo = UTC) -> int:
    """``form`` is one of :data:`FORMATS` or a pattern of ``strptime``; without one a number is milliseconds from 1e11
    on and seconds below, anything else ISO 8601. Raises :class:`Invalid` (``time_unreadable``)."""
    text = text.strip()
    try:
        if form in _UNITS:
            return _number(text, _UNITS[form])
        if form not in FORMATS:
            return moment_ms(datetime.strptime(text, form), zone)
        if not form and text[:1] and text[:1] in "0123456789-" and text.lstrip("-").replace(".", "", 1).isdigit():
            return _number(text, 1.0 if abs(float(text)) >= 1e11 else 1_000.0)
        return moment_ms(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        wanted = form or "milliseconds, seconds or ISO 8601"
        raise Invalid("time_unreadable", f"{text[:40]!r} is no time as {wanted}") from None


def _number(text: str, unit: float) -> int:
    return int(text) if unit == 1.0 and "." not in text else round(float(text) * unit)
