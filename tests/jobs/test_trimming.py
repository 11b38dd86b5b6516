"""What leaves the journal, who holds it there, and that the file becomes shorter."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from relevo.domain.events import AnyEvent, TelemetryReceived
from relevo.jobs import trimming as module
from relevo.jobs.compactor import Compactor
from relevo.jobs.trimming import Trimming
from relevo.store import journal
from relevo.store.db import FILE_NAME, open_reader
from relevo.store.history import chunks, trimming
from relevo.store.history.openers import open_points
from relevo.store.history.series import read
from relevo.store.readers import Readers
from relevo.store.schema import prepare
from tests.store.samples import NOW, reading, refused, registered
from tests.test_pipeline import Road

KEEP, KEEP_DAYS, EVENTS_DAYS = 50, 7, 90


class Place:
    def __init__(self, path: Path) -> None:
        prepare(path)
        self.road = Road(path)
        self.readers = Readers(path)
        self.reader = open_reader(path)
        road = self.road
        self.trimming = Trimming(road.pipeline, self.readers, road.clock, KEEP, KEEP_DAYS, EVENTS_DAYS)
        self.compactor = Compactor(path, road.pipeline, self.readers, road.clock, 100, trimming=self.trimming)

    async def commit(self, *events: AnyEvent) -> None:
        await self.road.pipeline.accept(events)

    async def close(self) -> None:
        await self.compactor.stop()
        await self.road.close()
        self.readers.close()
        self.reader.close()

    def journal(self) -> list[tuple[int, AnyEvent]]:
        return journal.events_from(self.reader, 1, 2**31)

    def stored(self, key: str = "v") -> list[Any]:
        return [point.value for point in read(self.reader, open_points, "d1", key, 0, 2**60, 10**6, None, 1).points]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    one = Place(tmp_path / FILE_NAME)
    yield one
    await one.close()


def readings(first: int, last: int) -> list[AnyEvent]:
    return [reading("d1", {"v": n}, ts=NOW + n) for n in range(first, last)]


async def fill(place: Place, count: int = 300, rows: int = 10) -> None:
    """Numbers 2 to ``count`` + 1 are readings, a few in a row."""
    await place.commit(registered("d1"))
    for first in range(0, count, rows):
        await place.commit(*readings(first, first + rows))


async def test_readings_that_are_in_chunks_leave_the_journal_but_for_the_newest(place: Place) -> None:
    await fill(place)
    await place.compactor.look()
    assert place.compactor.tail == 0
    left = [seq for seq, event in place.journal() if type(event) is TelemetryReceived]
    # Whole rows go, so what stays begins with one.
    assert (left[0], left[-1], len(left)) == (252, 301, KEEP)
    assert trimming.trimmed(place.reader) == 251
    assert place.stored() == list(range(300))
    # What comes next gets the next number, also after a start.
    assert journal.next_seq(place.reader) == 302


async def test_what_is_not_in_chunks_stays(place: Place) -> None:
    await fill(place, 90)
    await place.compactor.look()
    assert (place.compactor.tail, len(place.journal())) == (91, 91)


async def test_what_is_no_reading_stays_in_its_place(place: Place) -> None:
    await place.commit(registered("d1"))
    await place.commit(*readings(0, 100), refused("d1"), *readings(100, 200), refused("d1", "other"))
    await place.commit(*readings(200, 300))
    await place.compactor.look()
    told = [(seq, getattr(event, "reason", "")) for seq, event in place.journal() if seq <= 203]
    assert told == [(1, ""), (102, "json_malformed"), (203, "other")]
    # Read from a number in the midst of such a row, too.
    assert journal.events_from(place.reader, 50, 1)[0][0] == 102
    assert place.stored() == list(range(300))


async def test_whoever_has_to_read_on_holds_readings_for_days_at_most(place: Place) -> None:
    held = 120
    place.trimming.holds.append(lambda: held)
    await fill(place)
    await place.compactor.look()
    assert trimming.trimmed(place.reader) == 111
    assert [seq for seq, _ in place.journal()][:2] == [1, 112]
    held = 1
    place.road.clock.advance(KEEP_DAYS * 86_400 - 1)
    await place.compactor.look()
    assert trimming.trimmed(place.reader) == 111
    place.road.clock.advance(2)
    await place.commit(*readings(300, 310))
    await place.compactor.look()
    # Of what is older than that nothing is left, of the newest row everything.
    assert [seq for seq, event in place.journal() if type(event) is TelemetryReceived] == list(range(302, 312))
    assert place.stored() == list(range(310))


async def test_what_is_no_reading_goes_after_its_days(place: Place) -> None:
    await fill(place)
    await place.commit(refused("d1"))
    await place.compactor.look()
    assert place.journal()[0][0] == 1
    place.road.clock.advance(EVENTS_DAYS * 86_400 + 1)
    await place.commit(*readings(300, 310))
    await place.compactor.look()
    assert [seq for seq, _ in place.journal()] == list(range(303, 313))
    assert place.stored() == list(range(310))


async def test_the_file_becomes_shorter_but_for_a_reserve(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = 64 * 1024
    monkeypatch.setattr(module, "_RESERVE", reserve)
    await place.commit(registered("d1"))
    for n in range(300):
        await place.commit(reading("d1", {"v": n, "long": "x" * 8_000}, ts=NOW + n))
    before = trimming.space(place.reader)
    await place.compactor.look()
    after = trimming.space(place.reader)
    assert before.size > 2_400_000
    assert after.size < before.size - 1_500_000
    assert after.free <= reserve
    assert place.trimming.space == after
    assert place.stored() == list(range(300))
    place.road.writer.checkpoint()
    assert place.road.path.stat().st_size == after.size


async def test_a_file_that_cannot_become_shorter_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RESERVE", 64 * 1024)
    path = tmp_path / FILE_NAME
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE before(one INTEGER)")
        connection.execute("DROP TABLE before")
    place = Place(path)
    try:
        assert place.reader.execute("PRAGMA auto_vacuum").fetchone() == (0,)
        await place.commit(registered("d1"))
        for n in range(100):
            await place.commit(reading("d1", {"v": n, "long": "x" * 8_000}, ts=NOW + n))
        async with asyncio.timeout(60):
            await place.compactor.look()
        assert place.trimming.space.free > 64 * 1024
        assert place.stored() == list(range(100))
    finally:
        await place.close()


async def test_steps_are_small_and_each_is_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(place)
    place.trimming._rows.rows = 10
    seen: list[int] = []
    real = place.road.pipeline.maintain

    async def noted(work: Callable[[Any], None]) -> float:
        took = await real(work)
        seen.append(trimming.trimmed(place.reader))
        assert place.stored() == list(range(300))
        # As if the writer had been slow.
        return 0.1 if seen[-1] else took

    monkeypatch.setattr(place.road.pipeline, "maintain", noted)
    await place.compactor.look()
    steps = sorted({one for one in seen if one})
    assert steps[-1] == 251
    assert len(steps) > 1


async def test_an_interrupted_trim_goes_on_where_it_stopped(place: Place) -> None:
    await fill(place)
    await place.compactor.look()
    trim = trimming.next_trim(place.reader, 301, 2)
    assert trim is not None
    await place.road.pipeline.maintain(lambda connection: trimming.commit(connection, trim))
    with pytest.raises(chunks.Stale):
        await place.road.pipeline.maintain(lambda connection: trimming.commit(connection, trim))
    assert trimming.trimmed(place.reader) == 271
