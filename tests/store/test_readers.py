import asyncio
import gc
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from relevo.store import journal
from relevo.store.db import FILE_NAME
from relevo.store.devices import devices
from relevo.store.readers import Readers
from relevo.store.schema import prepare
from relevo.store.writer import Writer
from tests.store.samples import commit, reading, registered


@pytest.fixture
async def readers(path: Path) -> AsyncIterator[Readers]:
    one = Readers(path)
    yield one
    one.close()
    # What was left open is complained about here and not in the middle of another test.
    gc.collect()


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(sum(n), 0) FROM journal").fetchone()[0])


def count_devices(core: Connection) -> int:
    return int(core.execute(select(func.count()).select_from(devices)).scalar_one())


async def test_every_call_sees_the_newest_commit(writer: Writer, readers: Readers) -> None:
    for n in range(1, 30):
        commit(writer, registered(f"d{n}"))
        # More calls at once than there are threads, so that each thread is asked.
        assert await asyncio.gather(*(readers.run(count) for _ in range(4))) == [n] * 4
        assert await asyncio.gather(*(readers.run_core(count_devices) for _ in range(4))) == [n] * 4


async def test_a_reader_that_stops_early_holds_no_old_view(writer: Writer, readers: Readers) -> None:
    commit(writer, registered("d1"))
    for _ in range(10):
        commit(writer, reading("d1"))
    for _ in range(4):
        assert len(await readers.run(journal.events_from, 1, 2)) == 2
    commit(writer, reading("d1"))
    assert await asyncio.gather(*(readers.run(count) for _ in range(4))) == [12] * 4


async def test_a_call_that_fails_spoils_neither_its_thread_nor_the_next_call(writer: Writer, readers: Readers) -> None:
    def broken(core: Connection) -> int:
        count_devices(core)
        raise ValueError("mine")

    for n in range(1, 5):
        with pytest.raises(ValueError, match="mine"):
            await readers.run_core(broken)
        commit(writer, registered(f"d{n}"))
        assert await readers.run_core(count_devices) == n


async def test_readers_cannot_write(writer: Writer, readers: Readers) -> None:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM journal")

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await readers.run(write)


async def test_a_reader_waits_for_no_writer_and_no_writer_for_a_reader(writer: Writer, readers: Readers) -> None:
    commit(writer, registered("d1"))
    begun, may_end = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> int:
        connection.execute("BEGIN")
        try:
            found = count(connection)
            begun.set()
            assert may_end.wait(10)
            return found + count(connection)
        finally:
            connection.execute("ROLLBACK")

    running = asyncio.ensure_future(readers.run(slow))
    assert await asyncio.to_thread(begun.wait, 10)
    commit(writer, reading("d1"))
    may_end.set()
    assert await running == 2
    assert await readers.run(count) == 2


async def test_closing_leaves_nothing_for_the_garbage_collector_to_complain_about(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    readers = Readers(path)
    await asyncio.gather(*(readers.run_core(count_devices) for _ in range(4)))
    readers.close()
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("sqlalchemy")] == []


@pytest.mark.parametrize("name", ["with space", "a#b", "50%", "50%41", "what?mode=rw", "água"])
async def test_any_name_of_a_directory_will_do(tmp_path: Path, name: str) -> None:
    database = tmp_path / name / FILE_NAME
    database.parent.mkdir()
    prepare(database)
    readers = Readers(database)
    try:
        assert await readers.run(count) == 0
    finally:
        readers.close()
