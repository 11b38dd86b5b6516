"""History as the server asks for it: by itself while it can, else through a process that is there only for that."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from relevo.errors import StoreUnavailable
from relevo.store.db import open_reader
from relevo.store.history import chunks, compaction
from relevo.store.history import processes as module
from relevo.store.history.processes import History
from relevo.store.history.series import Page
from relevo.store.readers import Readers
from relevo.store.writer import Writer
from tests.store.samples import NOW, commit, reading, registered


@pytest.fixture
async def history(path: Path) -> AsyncIterator[History]:
    readers = Readers(path)
    one = History(path, readers, processes=1)
    yield one
    await one.stop()
    readers.close()


def fill(writer: Writer) -> None:
    commit(writer, registered("d1"), *(reading("d1", {"v": n}, ts=NOW + n) for n in range(50)))


def compact(path: Path, writer: Writer) -> None:
    connection = open_reader(path)
    for step in compaction.steps(connection, compaction.read_range(connection), lambda: 100):
        writer.maintain(lambda inner, step=step: chunks.commit(inner, step))
    connection.close()


async def ask(history: History, begin: int = 0, end: int = 50) -> Page:
    return await history.page("d1", "v", NOW + begin, NOW + end, 100, None, 1)


async def gone(pid: int) -> None:
    process = psutil.Process(pid) if psutil.pid_exists(pid) else None
    async with asyncio.timeout(10):
        while process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def test_the_tail_is_read_without_a_process(history: History, writer: Writer) -> None:
    fill(writer)
    assert [point.value for point in (await ask(history)).points] == list(range(50))
    assert history.pids == []


async def test_chunks_are_opened_by_a_process_and_joined_with_the_tail(
    history: History, path: Path, writer: Writer
) -> None:
    fill(writer)
    compact(path, writer)
    commit(writer, reading("d1", {"v": 1.0}, ts=NOW + 3), reading("d1", {"v": True}, ts=NOW + 60))
    found = (await ask(history, 2, 5)).points
    assert [repr(point.value) for point in found] == ["2", "3", "1.0", "4"]
    assert len(history.pids) == 1
    # Nothing of a span without chunks needs it.
    pid = history.pids[0]
    os.kill(pid, signal.SIGSTOP)
    assert [point.value for point in (await ask(history, 55, 70)).points] == [True]
    os.kill(pid, signal.SIGCONT)


async def test_the_process_ends_when_it_was_quiet(path: Path, writer: Writer) -> None:
    fill(writer)
    compact(path, writer)
    readers = Readers(path)
    history = History(path, readers, quiet_s=0.01)
    assert len((await ask(history)).points) == 50
    async with asyncio.timeout(10):
        while history.pids:
            await asyncio.sleep(0.005)
    assert len((await ask(history)).points) == 50
    await history.stop()
    readers.close()


async def test_a_question_that_takes_too_long_is_ended_and_the_next_is_answered(path: Path, writer: Writer) -> None:
    fill(writer)
    compact(path, writer)
    readers = Readers(path)
    history = History(path, readers, processes=1)
    await ask(history)
    pid = history.pids[0]
    os.kill(pid, signal.SIGSTOP)
    history._within_s = 0.05
    with pytest.raises(StoreUnavailable, match=r"more than 0\.05 s"):
        await ask(history)
    await gone(pid)
    history._within_s = module.QUERY_S
    assert len((await ask(history)).points) == 50
    assert history.pids != [pid]
    await history.stop()
    readers.close()


async def test_whoever_gives_up_leaves_no_process_that_works_for_nobody(
    history: History, path: Path, writer: Writer
) -> None:
    fill(writer)
    compact(path, writer)
    await ask(history)
    pid = history.pids[0]
    os.kill(pid, signal.SIGSTOP)
    asked = asyncio.create_task(ask(history))
    second = asyncio.create_task(ask(history))
    async with asyncio.timeout(10):
        while history._waiting < 2:
            await asyncio.sleep(0.001)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await gone(pid)
    # Whoever waited behind it gets a process that is alive.
    assert len((await second).points) == 50


async def test_a_process_that_dies_is_told_and_replaced(history: History, path: Path, writer: Writer) -> None:
    fill(writer)
    compact(path, writer)
    await ask(history)
    os.kill(history.pids[0], signal.SIGSTOP)
    asked = asyncio.create_task(ask(history))
    await asyncio.sleep(0.02)
    os.kill(history.pids[0], signal.SIGKILL)
    with pytest.raises(StoreUnavailable, match="ended; try again"):
        await asked
    assert len((await ask(history)).points) == 50


async def test_a_damaged_chunk_is_told_and_other_chunks_are_read(history: History, path: Path, writer: Writer) -> None:
    fill(writer)
    compact(path, writer)
    commit(writer, *(reading("d1", {"w": n}, ts=NOW + n) for n in range(50)))
    compact(path, writer)
    writer.maintain(lambda connection: connection.execute("UPDATE chunks SET data = x'0963' WHERE id = 1"))
    with pytest.raises(StoreUnavailable, match="layout 9, which a newer version wrote"):
        await ask(history)
    assert len((await history.page("d1", "w", 0, NOW * 2, 100, None, 1)).points) == 50
