"""Journal, chunks and erasures together are a plain list, whatever happens between."""

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relevo.domain.events import HistoryCorrected, HistoryErased, ReadingImported
from relevo.exchange.known import is_stored, stored_at
from relevo.store.db import FILE_NAME, open_reader
from relevo.store.history import chunks, compaction
from relevo.store.history.chunks import Step
from relevo.store.history.openers import open_points
from relevo.store.history.pieces import read_piece
from relevo.store.history.series import read
from relevo.store.schema import prepare
from relevo.store.writer import Writer
from tests.store.samples import NOW, commit, reading, registered, removed

DEVICES = ("d1", "d2")
KEYS = ("a", "b")
SPAN = 24
VALUES = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, 1.0, -0.0, 0.0, True, False, "on", "off"]), st.just({"x": [1, None]})
)
OFFSETS = st.one_of(st.integers(0, SPAN), st.just(5))
READINGS = st.lists(
    st.tuples(st.sampled_from(DEVICES), OFFSETS, st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1)),
    min_size=1,
    max_size=12,
)


class Crash(Exception):
    pass


class Killed:
    """A connection whose process ends before a statement, counted from 0."""

    def __init__(self, connection: sqlite3.Connection, at: int) -> None:
        self._connection = connection
        self._left = at

    def _count(self) -> None:
        if self._left == 0:
            raise Crash
        self._left -= 1

    def execute(self, *args: Any) -> Any:
        self._count()
        return self._connection.execute(*args)

    def executemany(self, *args: Any) -> Any:
        self._count()
        return self._connection.executemany(*args)


class Memory(RuleBasedStateMachine):
    @staticmethod
    def at(offset: int) -> int:
        return NOW + offset

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / FILE_NAME
        prepare(self.path)
        self.open()
        # device -> key -> [(ts, seq, value)] in the order of arrival
        self.model: dict[str, dict[str, list[tuple[int, int, Any]]]] = {}
        self.since: dict[str, int] = {}
        self.steps: Any = None

    def open(self) -> None:
        self.writer = Writer(self.path, 10, 10)
        self.writer.open()
        self.reader = open_reader(self.path)
        self.steps = None

    def close(self) -> None:
        self.steps = None
        self.writer.close()
        self.reader.close()

    def teardown(self) -> None:
        self.close()
        self.directory.cleanup()

    @initialize()
    def begin(self) -> None:
        for device in DEVICES:
            self.register(device)

    def register(self, device: str) -> None:
        self.since[device] = self.writer.next_seq
        commit(self.writer, registered(device))
        self.model[device] = {key: [] for key in KEYS}

    @rule(readings=READINGS, imported=st.booleans())
    def insert(self, readings: list[tuple[str, int, dict[str, Any]]], imported: bool = False) -> None:
        for seq, (device, offset, values) in enumerate(readings, self.writer.next_seq):
            for key, value in values.items():
                self.model[device][key].append((self.at(offset), seq, value))
        if imported:
            commit(
                self.writer,
                *(
                    ReadingImported(device, self.at(offset), "imported", NOW, values)
                    for device, offset, values in readings
                ),
            )
        else:
            commit(self.writer, *(reading(device, values, ts=self.at(offset)) for device, offset, values in readings))

    @rule(
        device=st.sampled_from(DEVICES),
        begin=OFFSETS,
        size=st.integers(1, 30),
        key=st.sampled_from(KEYS),
        step=st.integers(1, 3),
    )
    def insert_a_row(self, device: str, begin: int, size: int, key: str, step: int) -> None:
        self.insert([(device, begin + n * step, {key: n / 10}) for n in range(size)])

    @rule(device=st.sampled_from(DEVICES), key=st.sampled_from((*KEYS, "")), begin=OFFSETS, size=st.integers(0, SPAN))
    def erase(self, device: str, key: str, begin: int, size: int) -> None:
        t0, t1 = self.at(begin), self.at(begin + size)
        if t0 >= t1:
            return
        for name in [key] if key else KEYS:
            self.model[device][name] = [one for one in self.model[device][name] if not t0 <= one[0] < t1]
        commit(self.writer, HistoryErased(device, NOW, key, t0, t1))

    @rule(
        device=st.sampled_from(DEVICES),
        key=st.sampled_from(KEYS),
        begin=OFFSETS,
        points=st.dictionaries(st.integers(0, 6), VALUES, max_size=4),
    )
    def correct(self, device: str, key: str, begin: int, points: dict[int, Any]) -> None:
        t0, t1 = self.at(begin), self.at(begin + 7)
        kept = [one for one in self.model[device][key] if not t0 <= one[0] < t1]
        put = [(self.at(begin + offset), value) for offset, value in sorted(points.items())]
        self.model[device][key] = kept + [(ts, self.writer.next_seq, value) for ts, value in put]
        commit(self.writer, HistoryCorrected(device, NOW, key, t0, t1, put))

    @rule(device=st.sampled_from(DEVICES))
    def replace_the_device(self, device: str) -> None:
        commit(self.writer, removed(device))
        self.register(device)

    @rule(rows=st.integers(1, 6), full=st.integers(3, 6), most=st.integers(1, 20))
    def compact_a_step(self, rows: int, full: int, most: int) -> None:
        if self.steps is None:
            of = compaction.read_range(self.reader, most)
            self.steps = compaction.steps(self.reader, of, lambda: rows, full)
        step = next(self.steps, None)
        if step is None:
            self.steps = None
        else:
            self.write(step)

    def write(self, step: Step) -> None:
        self.writer.maintain(lambda connection: chunks.commit(connection, step))

    @rule()
    def compact_everything(self) -> None:
        self.steps = None
        while True:
            steps = 0
            of = compaction.read_range(self.reader)
            for step in compaction.steps(self.reader, of, lambda: 100, 4):
                self.write(step)
                steps += 1
            if not steps:
                break
        assert self.reader.execute("SELECT count(*) FROM erasures").fetchone() == (0,)

    @rule(at=st.integers(0, 14), after_commit=st.booleans())
    def crash(self, at: int, after_commit: bool) -> None:
        """The process ends before some statement of a step, or after the step and before anybody hears of it."""
        of = compaction.read_range(self.reader, 10)
        step = next(compaction.steps(self.reader, of, lambda: 3, 4), None)
        if step is not None:
            try:
                if after_commit:
                    self.write(step)
                else:
                    self.writer.maintain(lambda connection: chunks.commit(Killed(connection, at), step))  # type: ignore[arg-type]
            except Crash:
                pass
        self.close()
        self.open()

    @rule(device=st.sampled_from(DEVICES))
    def repack(self, device: str) -> None:
        self.steps = None
        number = self.reader.execute("SELECT number FROM devices WHERE id = ?", (device,)).fetchone()[0]
        unit = compaction.repack(self.reader, number, 3, 4)
        if unit is not None:
            found = chunks.progress(self.reader)
            self.write(Step(found, found, [unit]))

    @rule(most=st.integers(1, 3))
    def sweep(self, most: int) -> None:
        self.steps = None
        self.writer.maintain(lambda connection: chunks.sweep(connection, most))

    @rule(
        device=st.sampled_from(DEVICES),
        key=st.sampled_from(KEYS),
        begin=OFFSETS,
        size=st.integers(0, 30),
        limit=st.integers(1, 7),
        compact=st.booleans(),
    )
    def read_in_pages(self, device: str, key: str, begin: int, size: int, limit: int, compact: bool) -> None:
        start, end = self.at(begin), self.at(begin + size)
        wanted = sorted((one for one in self.model[device][key] if start <= one[0] < end), key=lambda one: one[:2])
        found: list[tuple[int, Any]] = []
        after = None
        while True:
            page = read(self.reader, open_points, device, key, start, end, limit, after, self.since[device])
            found += [(point.ts, point.value) for point in page.points]
            if not page.more:
                break
            assert len(page.points) == limit
            after = page.points[-1][:2]
            if compact:
                # What moves from the tail into chunks between two pages is neither missed nor met twice.
                self.compact_a_step(3, 4, 10)
        assert exactly(found) == exactly([(ts, value) for ts, _, value in wanted])

    @rule(
        device=st.sampled_from(DEVICES),
        begin=OFFSETS,
        size=st.integers(0, 30),
        most=st.integers(1, 9),
        compact=st.booleans(),
    )
    def read_in_pieces(self, device: str, begin: int, size: int, most: int, compact: bool) -> None:
        at, end = NOW + begin, NOW + begin + size
        wanted = {
            key: [(ts, value) for ts, _, value in sorted(points, key=lambda one: one[:2]) if at <= ts < end]
            for key, points in self.model[device].items()
        }
        found: dict[str, list[tuple[int, Any]]] = {key: [] for key in KEYS}
        points = 0
        while at < end:
            piece = read_piece(self.reader, open_points, device, self.since[device], (), at, end, most)
            assert piece.end > at
            assert all(at <= ts < piece.end for ts, _ in piece.rows)
            for ts, values in piece.rows:
                for key, value in values.items():
                    found[key].append((ts, value))
            at = piece.end
            points += piece.points
            if compact:
                # What is moved between two pieces comes exactly once.
                self.compact_a_step(3, 4, 10)
        assert {key: exactly(rows) for key, rows in found.items()} == {
            key: exactly(rows) for key, rows in wanted.items()
        }
        assert points == sum(map(len, wanted.values()))

    @rule(device=st.sampled_from(DEVICES), offsets=st.sets(st.integers(0, SPAN), min_size=1))
    def look_up_what_is_stored(self, device: str, offsets: set[int]) -> None:
        times = sorted(NOW + offset for offset in offsets)
        stored = stored_at(self.reader, open_points, device, dict.fromkeys(KEYS, times))
        for key, points in self.model[device].items():
            for ts, _, value in points:
                assert is_stored(stored, key, ts, value) is (ts in times)
        assert not any(count for values in stored.values() for count in values.values())

    @invariant()
    def everything_is_there_once(self) -> None:
        for device, keys in self.model.items():
            for key, points in keys.items():
                page = read(self.reader, open_points, device, key, 0, NOW * 2, 10_000, None, self.since[device])
                wanted = sorted(points, key=lambda one: one[:2])
                assert exactly([(one.ts, one.value) for one in page.points]) == exactly(
                    [(ts, value) for ts, _, value in wanted]
                )

    @invariant()
    def rows_of_times_know_who_uses_them(self) -> None:
        counted = dict(self.reader.execute("SELECT times, count(*) FROM chunks GROUP BY times"))
        assert dict(self.reader.execute("SELECT id, used FROM times")) == counted

    @invariant()
    def chunks_do_not_reach_into_each_other(self) -> None:
        ends: dict[int, int] = {}
        for series, t0, t1 in self.reader.execute("SELECT series, t0, t1 FROM chunks ORDER BY series, t0, seq"):
            assert ends.get(series, t0) <= t0 <= t1
            ends[series] = t1


def exactly(points: list[tuple[int, Any]]) -> list[str]:
    return [repr(point) for point in points]


Memory.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestMemory = Memory.TestCase


def test_full_chunks_follow_each_other_without_holes_between_those_that_grow(path: Path, writer: Writer) -> None:
    commit(writer, registered("d1"), registered("d2"))
    reader = open_reader(path)
    for n in range(40):
        for device in ("d1", "d2"):
            commit(writer, *(reading(device, {"v": one}, ts=NOW + one) for one in range(n * 100, n * 100 + 100)))
        for step in compaction.steps(reader, compaction.read_range(reader), lambda: 10):
            writer.maintain(lambda connection, step=step: chunks.commit(connection, step))
    rows = reader.execute("SELECT id, n, times FROM chunks ORDER BY id").fetchall()
    full = [(chunk, row) for chunk, n, row in rows if n >= chunks.FULL]
    growing = [(chunk, row) for chunk, n, row in rows if n < chunks.FULL]
    first = chunks._FULL_FROM
    assert [chunk for chunk, _ in full] == list(range(first, first + len(full)))
    assert sorted(row for _, row in full) == [chunk for chunk, _ in full]
    # The numbers of those that grew are taken again.
    assert {one for pair in growing for one in pair} <= {1, 2, 3, 4}
    assert len(full) >= 4
    reader.close()
