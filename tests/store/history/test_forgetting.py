"""Chunks whose hours are rolled up may go, and hours of which there are days: what is left still adds up."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relevo.domain.events import HistoryErased
from relevo.domain.intervals import DAY, HOUR
from relevo.domain.keeping import Ages, Limits
from relevo.store.db import FILE_NAME, open_reader
from relevo.store.history import chunks, compaction, expiring, rolling, rollups
from relevo.store.history.buckets import EVERYTHING, on_grid
from relevo.store.history.grids import grid, zone_of
from relevo.store.history.past import Past
from relevo.store.history.rolling import Series
from relevo.store.history.rollups import DAYS, HOURS, RollStep
from relevo.store.history.stale import mark_of
from relevo.store.journal import tail
from relevo.store.schema import prepare
from relevo.store.writer import Writer
from tests.store.samples import NOW, commit, reading, registered

MINUTE = 60_000
DAYS_HELD = 6


class Kept:
    """A database, and everything that was ever put into it."""

    def __init__(self, path: Path) -> None:
        prepare(path)
        self.writer = Writer(path, 10, 10)
        self.writer.open()
        self.reader = open_reader(path)
        commit(self.writer, registered("d1"))
        self.points: list[tuple[int, float]] = []

    def close(self) -> None:
        self.writer.close()
        self.reader.close()

    @property
    def series(self) -> Series:
        (number,) = self.reader.execute("SELECT id FROM series").fetchone() or (0,)
        return Series(number, 1, "v")

    def put(self, points: list[tuple[int, float]]) -> None:
        # One of a time: which of two is the first is not known of a bucket.
        known = {ts for ts, _ in self.points}
        new = {NOW + ts * 7 * MINUTE: value for ts, value in points if NOW + ts * 7 * MINUTE not in known}
        self.points += new.items()
        if new:
            commit(self.writer, *(reading("d1", {"v": value}, ts=ts) for ts, value in new.items()))

    def compact(self) -> None:
        for step in compaction.steps(self.reader, compaction.read_range(self.reader), lambda: 50, 8):
            self.writer.maintain(lambda connection, step=step: chunks.commit(connection, step))

    def roll(self) -> None:
        after = 0
        for _ in range(1_000):
            step, after = rolling.next_step(self.reader, "UTC", after, 10, True, 9)
            if step is None:
                return
            self.writer.maintain(lambda connection, step=step: rollups.commit(connection, step))
        raise AssertionError("it never ends")

    def forget_points(self, before: int, most: int) -> None:
        while unit := rolling.drop_raw(self.reader, self.series, "UTC", before, most, 8):
            step = RollStep(chunks.progress(self.reader), [unit])
            raw_from = mark_of(self.reader, self.series.number).raw_from
            self.writer.maintain(lambda connection, step=step: rollups.commit(connection, step))
            assert mark_of(self.reader, self.series.number).raw_from > raw_from

    def forget_blocks(self, step: int, before: int) -> None:
        limits = Limits(0, Ages(), [], hours=before) if step == HOURS else Limits(0, Ages(), [], days=before)
        while (found := expiring.next_step(self.reader, "UTC", 0, 2, limits)[0]) is not None:
            self.writer.maintain(lambda connection, found=found: rollups.commit(connection, found))

    def past(self) -> Past:
        hidden = chunks.erasures_of(self.reader, 1)
        of = list(tail(self.reader, "d1", 0, 0, NOW * 2))
        return Past(self.reader, 1, "v", zone_of(self.reader, 1, "UTC"), chunks.progress(self.reader), hidden, of, 1)

    def told(self, step: int) -> dict[int, Any]:
        past = self.past()
        start, end = NOW, NOW + (DAYS_HELD + 1) * DAY
        found = past.buckets(step, start, end, EVERYTHING)
        found = on_grid(found, grid(past.zone, step, start, end)) if step == DAYS else found
        names = ("n", "first_ts", "first", "last_ts", "last", "min", "max", "sum")
        return {
            int(at): [round(float(found[name][place]), 6) for name in names] for place, at in enumerate(found["start"])
        }

    def wanted(self, size: int, points: list[tuple[int, float]]) -> dict[int, Any]:
        found: dict[int, list[tuple[int, float]]] = {}
        for ts, value in sorted(points):
            found.setdefault(ts // size * size, []).append((ts, value))
        return {
            at: [
                round(float(one), 6)
                for one in (
                    len(held), *held[0], *held[-1], min(v for _, v in held), max(v for _, v in held),
                    sum(v for _, v in held),
                )
            ]
            for at, held in found.items()
        }  # fmt: skip

    def check(self) -> None:
        whole = -(-mark_of(self.reader, self.series.number).hours_from // DAY) * DAY
        assert self.told(DAYS) == self.wanted(DAY, self.points)
        early = [one for one in self.points if one[0] < whole]
        late = [one for one in self.points if one[0] >= whole]
        assert self.told(HOURS) == self.wanted(DAY, early) | self.wanted(HOUR, late)


POINTS = st.lists(
    st.tuples(st.integers(0, DAYS_HELD * 205), st.integers(-50, 50).map(lambda one: one / 4)), min_size=1, max_size=60
)
STEPS = st.one_of(
    st.tuples(st.just("put"), POINTS),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("roll"), st.none()),
    st.tuples(st.just("points"), st.integers(0, DAYS_HELD * 24)),
    st.tuples(st.just("hours"), st.integers(0, DAYS_HELD * 24)),
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=4, max_size=20), st.integers(1, 5))
def test_what_is_left_adds_up(steps: list[tuple[str, Any]], most: int) -> None:
    with TemporaryDirectory() as directory:
        kept = Kept(Path(directory) / FILE_NAME)
        try:
            kept.put([(n * 3, n / 2) for n in range(400)])
            kept.compact()
            kept.roll()
            for name, value in steps:
                if name == "put":
                    kept.put(value)
                elif name == "compact":
                    kept.compact()
                elif name == "roll":
                    kept.roll()
                elif name == "points":
                    kept.forget_points(NOW + value * HOUR, most)
                else:
                    kept.forget_blocks(HOURS, NOW + value * HOUR)
                kept.check()
        finally:
            kept.close()


def test_points_go_and_space_with_them(tmp_path: Path) -> None:
    kept = Kept(tmp_path / FILE_NAME)
    kept.put([(n, float(n)) for n in range(1_000)])
    kept.compact()
    kept.roll()
    before = kept.reader.execute("SELECT sum(n) FROM chunks").fetchone()[0]
    kept.forget_points(NOW + 3 * DAY, 100)
    (left,) = kept.reader.execute("SELECT sum(n) FROM chunks").fetchone()
    assert (before, left) == (1_000, sum(1 for ts, _ in kept.points if ts >= NOW + 3 * DAY))
    kept.check()
    kept.forget_blocks(HOURS, NOW + 2 * DAY)
    assert mark_of(kept.reader, kept.series.number).hours_from > 0
    kept.check()
    kept.close()


def test_an_erasure_takes_whole_hours_where_points_are_gone(tmp_path: Path) -> None:
    kept = Kept(tmp_path / FILE_NAME)
    kept.put([(n, float(n)) for n in range(1_000)])
    kept.compact()
    kept.roll()
    kept.forget_points(NOW + 3 * DAY, 100)
    t0, t1 = NOW + DAY + 30 * MINUTE, NOW + DAY + 90 * MINUTE
    commit(kept.writer, HistoryErased("d1", NOW, "v", t0, t1))
    kept.points = [one for one in kept.points if not NOW + DAY <= one[0] < NOW + DAY + 2 * HOUR]
    for step in (lambda: None, kept.compact, kept.roll):
        step()
        kept.check()
    kept.close()
