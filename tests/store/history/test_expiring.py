"""What goes by age goes to the hour, and what it was stays in the hours and days that stay."""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relevo.domain.intervals import DAY, HOUR, boundaries, parse_interval
from relevo.domain.keeping import Ages, Keeping, Limits, id_of
from relevo.store.db import FILE_NAME, open_reader
from relevo.store.history import chunks, compaction, expiring, rolling, rollups
from relevo.store.history.buckets import EVERYTHING, on_grid
from relevo.store.history.grids import zone_of
from relevo.store.history.openers import open_points
from relevo.store.history.past import Past
from relevo.store.history.rollups import DAYS, HOURS
from relevo.store.history.series import read
from relevo.store.history.worker import ExpireWanted, decode_wanted, encode
from relevo.store.journal import tail
from relevo.store.schema import prepare
from relevo.store.writer import Writer
from tests.store.history.test_rollups import exactly, reference, shown
from tests.store.samples import commit, reading, registered

BEGIN = 1_775_300_000_000 // DAY * DAY
MINUTE = 60_000
FULL = 5


class Place:
    def __init__(self, path: Path, zone: str = "UTC") -> None:
        prepare(path)
        self.zone = zone
        self.writer = Writer(path, 10, 10)
        self.writer.open()
        self.reader = open_reader(path)
        commit(self.writer, registered("d1"))

    def close(self) -> None:
        self.writer.close()
        self.reader.close()

    def say(self, points: list[tuple[int, Any]], key: str = "v") -> None:
        commit(self.writer, *(reading("d1", {key: value}, ts=ts) for ts, value in points))

    def settle(self) -> None:
        """Everything into chunks, and closed hours into roll-ups."""
        for step in compaction.steps(self.reader, compaction.read_range(self.reader), lambda: 5, FULL):
            self.writer.maintain(lambda connection, step=step: chunks.commit(connection, step))
        after = 0
        while True:
            found, after = rolling.next_step(self.reader, self.zone, after, 5, True, FULL)
            if found is None:
                return
            self.writer.maintain(lambda connection, step=found: rollups.commit(connection, step))

    def expire(self, limits: Limits, rows: int = 5) -> int:
        after = steps = counted = 0
        while True:
            found, after = expiring.next_step(self.reader, self.zone, after, rows, limits)
            if found is None:
                if steps == counted:
                    return steps
                after, counted = 0, steps
                continue
            self.writer.maintain(lambda connection, step=found: rollups.commit(connection, step))
            steps += 1
            assert steps < 500

    def raw(self, key: str = "v") -> list[tuple[int, Any]]:
        page = read(self.reader, open_points, "d1", key, 0, 2**60, 10**6, None, 1)
        return [(point.ts, point.value) for point in page.points]

    def buckets(self, interval: str, start: int, end: int, key: str = "v") -> dict[int, dict[str, Any]]:
        number = 1
        zone = zone_of(self.reader, number, self.zone)
        past = Past(
            self.reader, number, key, zone, chunks.progress(self.reader), [],
            list(tail(self.reader, "d1", 0, 0, 2**60)), 1,
        )  # fmt: skip
        wanted = parse_interval(interval)
        bounds = boundaries(wanted, zone, start, end)
        found = on_grid(past.buckets(DAYS if wanted.unit else HOURS, start, end, EVERYTHING), np.array(bounds))
        return {int(one): shown(found, at) for at, one in enumerate(found["start"])}

    def wanted(self, interval: str, start: int, end: int, points: list[tuple[int, Any]]) -> dict[int, dict[str, Any]]:
        bounds = boundaries(parse_interval(interval), zone_of(self.reader, 1, self.zone), start, end)
        found = {}
        for begin, after in pairwise(bounds):
            inside = [(ts, n, value) for n, (ts, value) in enumerate(points) if begin <= ts < after]
            if inside:
                found[int(begin)] = reference(inside)
        return found


def text(found: dict[int, dict[str, Any]]) -> dict[int, str]:
    return {at: exactly(one) for at, one in found.items()}


@pytest.fixture
def place(tmp_path: Path) -> Any:
    one = Place(tmp_path / FILE_NAME)
    yield one
    one.close()


def every(minutes: int, days: float) -> list[tuple[int, int]]:
    return [(BEGIN + n * minutes * MINUTE, n % 97) for n in range(int(days * 1440 / minutes))]


def test_readings_go_to_the_hour_and_hours_and_days_stay_what_they_were(place: Place) -> None:
    points = every(7, 3)
    end = BEGIN + 3 * DAY
    place.say(points)
    place.settle()
    hours, days = place.buckets("1h", BEGIN, end), place.buckets("1d", BEGIN, end)
    before = BEGIN + DAY + 5 * HOUR + 20 * MINUTE
    assert place.expire(Limits(0, Ages(), [], raw=before)) >= 1
    # What is before the hour in which the bound lies is gone, to the point.
    assert place.raw() == [(ts, value) for ts, value in points if ts >= BEGIN + DAY + 5 * HOUR]
    assert text(place.buckets("1h", BEGIN, end)) == text(hours)
    assert text(place.buckets("1d", BEGIN, end)) == text(days)
    assert text(days) == text(place.wanted("1d", BEGIN, end, points))
    # Nothing is left to do.
    assert place.expire(Limits(0, Ages(), [], raw=before)) == 0
    used = place.reader.execute("SELECT (SELECT count(*) FROM times WHERE used <= 0), count(*) FROM times").fetchone()
    assert used[0] == 0


def test_ages_are_seen_from_now_and_hours_and_days_go_too(place: Place) -> None:
    points = every(30, 12)
    now = end = BEGIN + 12 * DAY
    place.say(points)
    place.settle()
    hours, days = place.buckets("1h", BEGIN, end), place.buckets("1d", BEGIN, end)
    place.expire(Limits(now, Ages(2, 5, 9), []))
    assert place.raw()[0][0] == now - 2 * DAY
    found = place.buckets("1h", now - 5 * DAY, end)
    assert text(found) == text({at: one for at, one in hours.items() if at >= now - 5 * DAY})
    # Before that there are days alone.
    assert min(place.reader.execute("SELECT t0 FROM rollups WHERE step = 3600").fetchall())[0] == now - 5 * DAY
    assert text(place.buckets("1d", BEGIN, end)) == text({at: one for at, one in days.items() if at >= now - 9 * DAY})


def test_what_is_not_rolled_up_stays(place: Place) -> None:
    place.say(every(10, 1))
    for step in compaction.steps(place.reader, compaction.read_range(place.reader), lambda: 5, FULL):
        place.writer.maintain(lambda connection, step=step: chunks.commit(connection, step))
    assert place.expire(Limits(0, Ages(), [], raw=BEGIN + DAY)) == 0
    place.settle()
    place.expire(Limits(0, Ages(), [], raw=BEGIN + 10 * DAY))
    # Nor does the hour that is not over.
    assert place.raw() == every(10, 1)[-6:]


def test_the_most_particular_rule_holds(place: Place) -> None:
    for key in ("a", "b", "c"):
        place.say(every(60, 4), key)
    place.settle()
    now = BEGIN + 4 * DAY
    rules = [
        Keeping(id_of("", "a"), "", "a", 1, 0, 0),
        Keeping(id_of("test", ""), "test", "", 2, 0, 0),
        Keeping(id_of("test", "b"), "test", "b", 0, 0, 0),
        Keeping(id_of("other", "c"), "other", "c", 1, 0, 0),
    ]
    place.expire(Limits(now, Ages(3, 0, 0), rules))
    assert {key: place.raw(key)[0][0] for key in ("a", "b", "c")} == {
        "a": now - DAY,
        "b": BEGIN,
        "c": now - 2 * DAY,
    }


def test_what_comes_late_for_a_time_that_is_gone_counts_in_its_hour(place: Place) -> None:
    points = every(20, 2)
    place.say(points)
    place.settle()
    limits = Limits(0, Ages(), [], raw=BEGIN + DAY)
    place.expire(limits)
    late = (BEGIN + 3 * HOUR + MINUTE, 1_000)
    place.say([late])
    place.settle()
    place.expire(limits)
    assert place.raw() == [one for one in points if one[0] >= BEGIN + DAY]
    hour = place.buckets("1h", BEGIN, BEGIN + DAY)[BEGIN + 3 * HOUR]
    inside = [value for ts, value in points if BEGIN + 3 * HOUR <= ts < BEGIN + 4 * HOUR]
    assert (hour["n"], hour["max"][1], hour["sum"]) == (len(inside) + 1, 1_000, sum(inside) + 1_000)
    assert sum(one["n"] for one in place.buckets("1d", BEGIN, BEGIN + 2 * DAY).values()) == len(points) + 1


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    points=st.lists(st.tuples(st.integers(0, 6 * 24 * 60), st.integers(-50, 50)), min_size=1, max_size=120),
    bounds=st.lists(st.tuples(st.integers(0, 7 * 24), st.integers(1, 30)), min_size=1, max_size=5),
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_whatever_goes_when_every_point_counts_once(
    points: list[tuple[int, int]], bounds: list[tuple[int, int]], zone: str
) -> None:
    with TemporaryDirectory() as directory:
        place = Place(Path(directory) / FILE_NAME, zone)
        try:
            said = sorted((BEGIN + minute * MINUTE, value) for minute, value in dict(points).items())
            place.say(said)
            place.settle()
            end = BEGIN + 9 * DAY
            hours, days = place.buckets("1h", BEGIN - DAY, end), place.buckets("1d", BEGIN - DAY, end)
            assert text(days) == text(place.wanted("1d", BEGIN - DAY, end, said))
            for hour, rows in bounds:
                place.expire(Limits(0, Ages(), [], raw=BEGIN + hour * HOUR), rows)
                assert text(place.buckets("1h", BEGIN - DAY, end)) == text(hours)
                assert text(place.buckets("1d", BEGIN - DAY, end)) == text(days)
                raw = place.raw()
                # From some hour on everything is there as it came, and it is none that has to go.
                assert raw == said[len(said) - len(raw) :]
            place.settle()
            assert text(place.buckets("1h", BEGIN - DAY, end)) == text(hours)
            place.expire(Limits(0, Ages(), [], raw=end, hours=BEGIN + 3 * DAY))
            assert text(place.buckets("1d", BEGIN - DAY, end)) == text(days)
            later = [at for at in hours if at >= BEGIN + 4 * DAY]
            found = place.buckets("1h", BEGIN + 4 * DAY, end)
            assert [exactly(found[at]) for at in later] == [exactly(hours[at]) for at in later]
        finally:
            place.close()


def test_a_step_that_was_made_of_something_else_is_not_written(place: Place) -> None:
    place.say(every(30, 3))
    place.settle()
    step, _ = expiring.next_step(place.reader, "UTC", 0, 1, Limits(0, Ages(), [], raw=BEGIN + DAY))
    assert step is not None
    place.say([(BEGIN + 5 * MINUTE, 7)])
    place.settle()
    with pytest.raises(chunks.Stale):
        place.writer.maintain(lambda connection: rollups.commit(connection, step))
    assert len(place.raw()) == len(every(30, 3)) + 1


def test_limits_reach_the_process_as_they_are() -> None:
    limits = Limits(5, Ages(1, 2, 3), [Keeping("x", "t", "k", 1, 2, 3)], 7, 8, 9)
    wanted = ExpireWanted(1, 2, "UTC", limits)
    assert decode_wanted(encode(wanted)) == wanted
