"""Times of the sun against almanacs, and what happens where it does not rise or set."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from astral import Observer
from astral.sun import dusk, sunrise, sunset
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.schedules import Schedule, due, next_occurrence, why_none
from relevo.domain.sun import EVENTS, Place, event_on
from tests.domain.planned import DAY, MINUTE, ms, schedule, shown

MADRID = {"zone": "Europe/Madrid", "lat": 40.4168, "lon": -3.7038}
SAO_PAULO = {"zone": "America/Sao_Paulo", "lat": -23.5505, "lon": -46.6333}
LONDON = {"zone": "Europe/London", "lat": 51.5074, "lon": -0.1278}
TROMSO = {"zone": "Europe/Oslo", "lat": 69.6492, "lon": 18.9553}


def sun(event: str, place: dict[str, object], offset: int = 0, days: str = "") -> Schedule:
    timing = {"kind": "sun", "event": event, "offset_min": offset}
    return schedule(timing | ({"days": days.split()} if days else {}), created_at=0, **place)


@pytest.mark.parametrize(
    ("place", "event", "expected"),
    [
        # Printed almanacs give whole minutes.
        (MADRID, "sunrise", "2024-06-21T06:45"),
        (MADRID, "sunset", "2024-06-21T21:48"),
        (MADRID, "sunrise", "2024-12-21T08:34"),
        (MADRID, "sunset", "2024-12-21T17:51"),
        (SAO_PAULO, "sunrise", "2024-12-21T05:17"),
        (SAO_PAULO, "sunset", "2024-12-21T18:52"),
        (SAO_PAULO, "sunrise", "2024-06-21T06:48"),
        (SAO_PAULO, "sunset", "2024-06-21T17:29"),
        (LONDON, "sunrise", "2024-06-21T04:43"),
        (LONDON, "sunset", "2024-06-21T21:21"),
        (LONDON, "sunrise", "2024-12-21T08:04"),
        (LONDON, "sunset", "2024-12-21T15:53"),
    ],
)
def test_the_sun_rises_and_sets_when_the_almanac_says(place: dict[str, object], event: str, expected: str) -> None:
    zone = str(place["zone"])
    day = ms(expected[:10], zone)
    found = due(sun(event, place), day, day + DAY)
    assert len(found) == 1
    assert abs(found[0].planned - ms(expected, zone)) <= 1.5 * MINUTE


def test_in_the_polar_night_days_are_passed_over_and_next_says_why() -> None:
    rise = sun("sunrise", TROMSO)
    found = next_occurrence(rise, ms("2026-12-01"))
    assert found is not None
    back = shown(found.planned, "Europe/Oslo")
    assert "2027-01-14" <= back[:10] <= "2027-01-16" and "11:" in back
    eve = date.fromisoformat(back[:10]) - timedelta(days=1)
    nights = (eve - date(2026, 11, 30)).days
    assert found.note == f"no sunrise on {nights} days from 2026-12-01 to {eve}: the sun does not rise (polar night)"
    last = [shown(one.planned, "Europe/Oslo")[:10] for one in due(rise, ms("2026-11-01"), ms("2027-01-01"))][-1]
    assert "2026-11-25" <= last <= "2026-11-28"
    # Noon and, in the blue hours, dusk are there all the same.
    assert len(due(sun("noon", TROMSO), ms("2026-12-01"), ms("2026-12-31"))) == 30
    assert len(due(sun("dusk", TROMSO), ms("2026-12-01"), ms("2026-12-31"))) == 30


def test_in_the_polar_day_the_sun_does_not_set() -> None:
    found = next_occurrence(sun("sunset", TROMSO), ms("2026-06-10"))
    assert found is not None and "2026-07-24" <= shown(found.planned, "Europe/Oslo")[:10] <= "2026-07-28"
    assert found.note.endswith("the sun does not set (polar day)")
    dusk_then = next_occurrence(sun("dusk", LONDON | {"lat": 62.0}), ms("2026-06-20"))
    assert dusk_then is not None and dusk_then.note.endswith("the sun does not sink 6° below the horizon")
    dark = next_occurrence(sun("dawn", {"zone": "UTC", "lat": 80.0, "lon": 15.0}), ms("2026-12-10"))
    assert dark is not None and dark.note.endswith("the sun stays more than 6° below the horizon")
    assert next_occurrence(sun("sunset", MADRID), ms("2026-06-10")).note == ""  # type: ignore[union-attr]


def test_a_sun_that_never_comes_on_the_wanted_day_is_told() -> None:
    pole = sun("sunrise", {"zone": "UTC", "lat": 90.0, "lon": 0.0}, days="mon")
    found = due(pole, ms("2026-01-01"), ms("2027-01-01"))
    assert len(found) <= 2
    assert why_none(pole, ms("2099-06-01")).startswith("the sun has no sunrise")


@pytest.mark.parametrize(
    ("zone", "lat", "lon"),
    [
        # Sunrise crosses midnight UTC here, where asking by date loses one.
        ("Asia/Dhaka", 23.8, 90.4),
        ("Asia/Almaty", 43.2, 76.9),
        ("Pacific/Apia", -13.8, -171.8),
        ("Pacific/Kiritimati", 1.87, -157.4),
        ("America/Sao_Paulo", -23.55, -46.63),
        ("Pacific/Auckland", -36.85, 174.76),
        # A zone that has nothing to do with the place.
        ("UTC", -17.8, 179.9),
    ],
)
@pytest.mark.parametrize("event", EVENTS)
def test_each_day_has_one_of_each_event(zone: str, lat: float, lon: float, event: str) -> None:
    begun = ms("2026-01-01", zone)
    found = [one.planned for one in due(sun(event, {"zone": zone, "lat": lat, "lon": lon}), begun, begun + 365 * DAY)]
    assert 364 <= len(found) <= 366
    assert all(abs(b - a - DAY) < 3 * MINUTE for a, b in pairwise(found))
    if zone != "UTC":
        hours = {datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).hour for at in found}
        assert hours <= {"dawn": {3, 4, 5, 6, 7}, "sunrise": {4, 5, 6, 7}, "noon": {11, 12, 13}}.get(
            event, {16, 17, 18, 19, 20, 21}
        )


# Farther from the equator dusk depends on how much refraction is reckoned with below the horizon.
@given(st.floats(-55, 55), st.floats(-170, 170), st.dates(date(2000, 1, 1), date(2090, 1, 1)))
def test_the_library_asked_by_date_agrees_within_a_minute(lat: float, lon: float, day: date) -> None:
    observer = Observer(lat, lon, 0)
    for event, theirs in (("sunrise", sunrise), ("sunset", sunset), ("dusk", dusk)):
        ours = event_on(event, Place(lat, lon), day)
        assert ours is not None
        found = []
        for shift in (-1, 0, 1):
            # Its day is that of UTC, ours that of the place, and it leaves out one that crosses midnight.
            try:
                found.append(theirs(observer, day + timedelta(days=shift), tzinfo=UTC).timestamp() * 1000)
            except ValueError as error:
                assert "Unable to find" in str(error)
        apart = min(abs(ours - at) for at in found)
        assert apart < MINUTE or apart > DAY - 6 * MINUTE


def test_an_offset_moves_the_run_and_days_are_those_of_the_event() -> None:
    plain = due(sun("sunset", MADRID, days="sat"), ms("2026-06-01"), ms("2026-06-30"))
    late = due(sun("sunset", MADRID, offset=240, days="sat"), ms("2026-06-01"), ms("2026-06-30"))
    assert [one.planned for one in late] == [one.planned + 240 * MINUTE for one in plain]
    assert {datetime.fromtimestamp(one.planned / 1000, ZoneInfo("Europe/Madrid")).weekday() for one in late} == {6}
    early = due(sun("sunrise", MADRID, offset=-30), ms("2026-06-01"), ms("2026-06-02"))
    assert shown(early[0].planned, "Europe/Madrid")[11:16] == "06:16"


def test_the_library_of_the_sun_is_not_loaded_before_it_is_asked() -> None:
    code = "import sys, relevo.domain.schedules, relevo.domain.schedule_limits; print('astral' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "False"
