"""When the sun rises and sets.

Theory. A solar day is what surrounds the moment when the sun is highest; it has a number, the date whose midnight UTC
is nearest before that moment at the meridian of the place. Each has at most one dawn, sunrise, sunset and dusk, around
its noon, so events of one kind follow each other without a gap or a repetition, wherever the place and whatever its
zone. Asked by date, ``astral`` misses a sunrise that passes midnight UTC (Dhaka in March) and gives the noon of
the next date beyond the date line; so it is asked for the astronomy alone, by solar day.

Sunrise and sunset are when the upper rim appears and disappears (sun's centre 0.833° below the horizon, which holds
the refraction of ordinary air), dawn and dusk are civil (6°). ``astral`` is loaded with the first question.
"""

import math
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

EVENTS: Final = ("dawn", "sunrise", "noon", "sunset", "dusk")
_DEPRESSION: Final = {"dawn": 6.0, "sunrise": 0.833, "sunset": 0.833, "dusk": 6.0}
_RISING: Final = frozenset({"dawn", "sunrise"})
_UNIX: Final = datetime(1970, 1, 1)
_MILLISECOND: Final = timedelta(milliseconds=1)
# At the poles themselves there is no direction that the sun could rise in.
_LATITUDE_MOST: Final = 89.8
# Enough for the sun to move less than a second between two rounds.
_ROUNDS: Final = 3
_MINUTES_A_RADIAN: Final = 720.0 / math.pi


class Place(NamedTuple):
    """Degrees north and east."""

    lat: float
    lon: float


def event_on(event: str, place: Place, day: date) -> int | None:
    """When ``event`` is on the solar day of a number (milliseconds UTC), ``None`` when the sun does not get there."""
    from astral import SunDirection
    from astral.julian import julianday, julianday_to_juliancentury
    from astral.sun import eq_of_time, hour_angle, sun_declination

    latitude = max(-_LATITUDE_MOST, min(_LATITUDE_MOST, place.lat))
    depression = _DEPRESSION.get(event)
    direction = SunDirection.RISING if event in _RISING else SunDirection.SETTING
    start = julianday(day)
    minutes = 720.0 - 4.0 * place.lon
    for _ in range(_ROUNDS):
        century = julianday_to_juliancentury(start + minutes / 1440.0)
        angle = 0.0
        if depression is not None:
            try:
                angle = hour_angle(latitude, sun_declination(century), 90.0 + depression, direction)
            except ValueError:
                return None
        minutes = 720.0 - 4.0 * place.lon - angle * _MINUTES_A_RADIAN - eq_of_time(century)
    whole = datetime(day.year, day.month, day.day) + timedelta(seconds=round(minutes * 60.0))
    return (whole - _UNIX) // _MILLISECOND


def events(event: str, place: Place, from_ms: int) -> Iterator[int | None]:
    """Each solar day's ``event`` in order, ``None`` for a day without; begins up to three days before ``from_ms``."""
    day = (_UNIX + timedelta(milliseconds=from_ms)).date() - timedelta(days=2)
    while True:
        yield event_on(event, place, day)
        day += timedelta(days=1)


def noons_without(event: str, place: Place, from_ms: int, until_ms: int) -> list[int]:
    """The noons between two instants (milliseconds UTC) of those solar days that are without ``event``."""
    found: list[int] = []
    day = (_UNIX + timedelta(milliseconds=from_ms)).date() - timedelta(days=2)
    while True:
        noon = event_on("noon", place, day)
        if noon is None or noon >= until_ms:
            return found
        if noon >= from_ms and event_on(event, place, day) is None:
            found.append(noon)
        day += timedelta(days=1)


def why_without(event: str, place: Place, noon_ms: int) -> str:
    """Why the solar day of a noon has no ``event``."""
    from astral.julian import julianday, julianday_to_juliancentury
    from astral.sun import sun_declination

    century = julianday_to_juliancentury(julianday(_UNIX + timedelta(milliseconds=noon_ms)))
    highest = 90.0 - abs(place.lat - sun_declination(century))
    civil = event in ("dawn", "dusk")
    if highest > -_DEPRESSION.get(event, 0.0):
        return "the sun does not sink 6° below the horizon" if civil else "the sun does not set (polar day)"
    return "the sun stays more than 6° below the horizon" if civil else "the sun does not rise (polar night)"
