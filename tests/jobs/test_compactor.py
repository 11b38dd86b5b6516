"""When readings move into chunks, and how the writer is spared."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relevo.domain.events import AnyEvent, HistoryErased
from relevo.errors import StoreUnavailable
from relevo.jobs import compactor as module
from relevo.jobs.compactor import Compactor
from relevo.store.db import FILE_NAME, open_reader
from relevo.store.history import chunks
from relevo.store.history.chunks import Progress
from relevo.store.readers import Readers
from relevo.store.schema import prepare
from tests.store.samples import NOW, reading, registered, removed
from tests.test_pipeline import Road

TAIL = 100


class Place:
    def __init__(self, path: Path) -> None:
        self.path = path
        prepare(path)
        self.road = Road(path)
        self.readers = Readers(path)
        self.reader = open_reader(path)
        self.compactor = Compactor(path, self.road.pipeline, self.readers, self.road.clock, TAIL)

    async def commit(self, *events: AnyEvent) -> None:
        await self.road.pipeline.accept(events)

    async def close(self) -> None:
        await self.compactor.stop()
        await self.road.close()
        self.readers.close()
        self.reader.close()

    def progress(self) -> Progress:
        return chunks.progress(self.reader)

    def count(self, table: str) -> int:
        return int(self.reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    one = Place(tmp_path / FILE_NAME)
    yield one
    await one.close()


def readings(count: int, device: str = "d1", key: str = "v") -> list[AnyEvent]:
    return [reading(device, {key: n}, ts=NOW + n) for n in range(count)]


async def test_a_short_tail_stays_where_it_is(place: Place) -> None:
    await place.commit(registered("d1"), *readings(TAIL - 2))
    await place.compactor.look()
    assert (place.progress(), place.compactor.pid, place.compactor.tail) == (Progress(), None, TAIL - 1)


async def test_a_long_tail_moves_into_chunks(place: Place) -> None:
    await place.commit(registered("d1"), *readings(TAIL))
    await place.compactor.look()
    assert place.progress() == Progress(TAIL + 1, TAIL + 1, 0)
    assert (place.compactor.points, place.compactor.tail, place.count("chunks")) == (TAIL, 0, 1)


async def test_a_tail_that_is_old_moves_however_short_it_is(place: Place) -> None:
    await place.commit(registered("d1"), *readings(3))
    place.road.clock.jump(module.TAIL_MS / 1000 + 1)
    await place.compactor.look()
    assert place.progress().low == 4


async def test_what_is_erased_is_taken_out_at_the_next_look(place: Place) -> None:
    await place.commit(registered("d1"), *readings(TAIL))
    await place.compactor.look()
    await place.commit(HistoryErased("d1", NOW, "v", NOW, NOW + 60))
    assert place.count("erasures") == 1
    await place.compactor.look()
    assert place.count("erasures") == 0
    assert place.reader.execute("SELECT t0, n FROM chunks").fetchall() == [(NOW + 60, TAIL - 60)]


async def test_the_chunks_of_a_device_that_is_gone_are_swept_up(place: Place) -> None:
    await place.commit(registered("d1"), registered("d2"), *readings(TAIL), *readings(TAIL, "d2"))
    await place.compactor.look()
    await place.commit(removed("d1"))
    await place.compactor.look()
    assert [place.count(table) for table in ("series", "chunks", "times")] == [1, 1, 1]
    # Also when it went while no compactor looked.
    await place.commit(removed("d2"))
    other = Compactor(place.path, place.road.pipeline, place.readers, place.road.clock, TAIL)
    await other.look()
    await other.stop()
    assert [place.count(table) for table in ("series", "chunks", "times")] == [0, 0, 0]


async def test_a_pass_that_was_interrupted_is_finished_first(place: Place) -> None:
    names = [f"d{n}" for n in range(12)]
    await place.commit(*map(registered, names))
    for name in names:
        await place.commit(*readings(TAIL, name))
    real, seen = place.road.pipeline.maintain, 0

    async def fails_later(work: object) -> float:
        nonlocal seen
        seen += 1
        if seen == 2:
            raise sqlite3.OperationalError("disk I/O error")
        return await real(work)  # type: ignore[arg-type]

    place.road.pipeline.maintain = fails_later  # type: ignore[method-assign]
    place.compactor._unswept = False
    with pytest.raises(sqlite3.OperationalError):
        await place.compactor.look()
    low, high, through = place.progress()
    assert (low, high) == (0, 12 * (TAIL + 1))
    assert 0 < through < 12
    place.compactor._process.end()
    await place.commit(*readings(3))
    await place.compactor.look()
    assert place.progress() == Progress(high, high, 0)
    rows = place.reader.execute("SELECT device, sum(n) FROM chunks JOIN series ON series.id = series GROUP BY device")
    assert rows.fetchall() == [(number, TAIL) for number in range(1, 13)]


async def test_what_fails_is_counted_and_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.commit(registered("d1"), *readings(TAIL))
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    real, seen = place.compactor._process.ask, 0

    async def dies_once(wanted: object, within_s: float) -> object:
        nonlocal seen
        seen += 1
        if seen == 1:
            raise StoreUnavailable("the process that opens history ended; try again")
        return await real(wanted, within_s)  # type: ignore[arg-type]

    monkeypatch.setattr(place.compactor._process, "ask", dies_once)
    place.compactor.start()
    async with asyncio.timeout(20):
        while place.compactor.points < TAIL:
            await asyncio.sleep(0.01)
    assert place.compactor.failed == 1


async def test_a_step_that_was_made_from_another_state_is_not_written(place: Place) -> None:
    await place.commit(registered("d1"), *readings(TAIL))
    step = chunks.Step(Progress(5, 5, 0), Progress(9, 9, 0), [])
    with pytest.raises(chunks.Stale):
        await place.road.pipeline.maintain(lambda connection: chunks.commit(connection, step))
    assert place.progress() == Progress()


async def test_small_chunks_are_joined(place: Place) -> None:
    await place.commit(registered("d1"))
    for n in range(6):
        # Each falls between two that are full already, or is first.
        await place.commit(reading("d1", {"v": n}, ts=NOW - n * 1000))
        await place.commit(*(reading("d1", {"w": m}, ts=NOW + n) for m in range(TAIL)))
        await place.compactor.look()
    before = place.count("chunks")
    await place.compactor.repack()
    assert place.count("chunks") == 2 < before
    assert place.reader.execute("SELECT sum(n) FROM chunks").fetchone() == (6 + 6 * TAIL,)
