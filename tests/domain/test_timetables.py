"""Weekly timetables: joined windows, midnight, and whether they are on."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.timetables import DAYS, Timetable, Window, minutes, state_at, timetable
from tests.domain.planned import DAY, HOUR, MINUTE, ZONES, due_edges, ms, weekly


def table(*windows: tuple[str, str, str], zone: str = "UTC") -> Timetable:
    return timetable([Window(tuple(days.split()), start, end) for days, start, end in windows], ZoneInfo(zone))


def test_windows_that_overlap_or_touch_are_one() -> None:
    one = table(("mon", "08:00", "10:00"), ("mon", "09:00", "11:00"), ("mon tue", "11:00", "12:00"))
    assert one.stretches == ((480, 720), (1440 + 660, 1440 + 720))


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    late = table(("fri", "22:00", "02:00"), zone="Europe/Madrid")
    friday = ms("2026-05-01", "Europe/Madrid")
    assert state_at(late, friday + 21 * HOUR) == (False, friday + 22 * HOUR)
    assert state_at(late, friday + 22 * HOUR) == (True, friday + 26 * HOUR)
    assert state_at(late, friday + 26 * HOUR - 1) == (True, friday + 26 * HOUR)
    assert state_at(late, friday + 26 * HOUR) == (False, friday + 7 * DAY + 22 * HOUR)


def test_a_window_over_the_end_of_the_week_is_not_cut() -> None:
    one = table(("sun", "20:00", "06:00"), ("mon", "06:00", "07:00"))
    assert one.stretches == ((6 * 1440 + 1200, 7 * 1440 + 420),)
    sunday = ms("2026-05-03")
    assert state_at(one, sunday + 24 * HOUR) == (True, sunday + 31 * HOUR)
    assert due_edges(weekly(("sun", "20:00", "06:00"), ("mon", "06:00", "07:00")), "2026-05-03", "2026-05-06") == [
        ("2026-05-03 20:00+00:00", "start"),
        ("2026-05-04 07:00+00:00", "end"),
    ]


def test_an_end_that_is_the_start_is_a_whole_day() -> None:
    one = table(("wed", "06:00", "06:00"))
    wednesday = ms("2026-05-06")
    assert state_at(one, wednesday + 7 * HOUR) == (True, wednesday + 30 * HOUR)
    assert table(("wed", "00:00", "24:00")).stretches == ((2 * 1440, 3 * 1440),)


def test_a_whole_week_is_on_for_ever_and_an_empty_one_never() -> None:
    assert state_at(table((" ".join(DAYS), "12:00", "12:00")), ms("2026-05-06")) == (True, None)
    assert state_at(table(), ms("2026-05-06")) == (False, None)
    # A point in time is not a stretch of it.
    assert state_at(table(("mon", "12:00", "")), ms("2026-05-06")) == (False, None)


def test_a_window_is_on_between_the_instants_at_which_it_starts_and_ends() -> None:
    inside = table(("sun", "02:00", "02:30"), zone="Europe/Madrid")
    first = ms("2026-10-25T02:15", "Europe/Madrid")
    assert state_at(inside, first).on
    assert not state_at(inside, first + HOUR).on
    gone = state_at(inside, ms("2026-03-29T01:00"))
    assert not gone.on and gone.until == ms("2026-04-05T02:00", "Europe/Madrid")


listed = st.lists(
    st.builds(
        Window,
        st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True).map(tuple),
        st.tuples(st.integers(0, 23), st.sampled_from([0, 10, 30, 59])).map(lambda one: f"{one[0]:02}:{one[1]:02}"),
        st.tuples(st.integers(0, 23), st.sampled_from([0, 10, 30, 59])).map(lambda one: f"{one[0]:02}:{one[1]:02}"),
    ),
    max_size=8,
)


@given(listed, st.sampled_from(ZONES), st.integers(ms("2025-01-01"), ms("2028-01-01")))
def test_the_state_holds_until_the_moment_that_it_names(windows: list[Window], zone: str, at: int) -> None:
    one = timetable(windows, ZoneInfo(zone))
    on, until = state_at(one, at)
    if until is None:
        assert state_at(one, at + 30 * DAY).on == on
        return
    assert until > at
    assert state_at(one, until - 1) == (on, until)
    assert state_at(one, until).on != on


@given(listed, st.integers(ms("2026-05-01"), ms("2026-06-01")))
def test_without_changes_of_clocks_a_minute_is_on_when_a_window_holds_it(windows: list[Window], at: int) -> None:
    minute = (at // MINUTE - ms("2026-04-27") // MINUTE) % 10_080
    held = False
    for window in windows:
        lasts = (minutes(window.end) - minutes(window.start)) % 1440 or 1440
        for day in window.days:
            held = held or (minute - DAYS.index(day) * 1440 - minutes(window.start)) % 10_080 < lasts
    assert state_at(timetable(windows, ZoneInfo("UTC")), at).on == held


@pytest.mark.parametrize("text", ["", "7", "24:01", "25:00", "7:5", "07:60", "07:00:00", "-1:00", "٠٧:٠٠", "07:00\n"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HH:MM"):
        minutes(text)


def test_times_of_day_may_be_written_short() -> None:
    assert [minutes(text) for text in ("7:05", "07:05", "00:00", "24:00")] == [425, 425, 0, 1440]
