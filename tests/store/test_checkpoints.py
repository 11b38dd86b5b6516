import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from relevo.store import checkpoints
from relevo.store.checkpoints import Checkpointer
from relevo.store.db import open_reader
from relevo.store.writer import Writer
from tests.journeys.live import eventually
from tests.store.samples import NOW, commit, reading, registered

SMALL = 256 * 1024


@pytest.fixture
def checkpointer(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checkpointer]:
    monkeypatch.setattr(checkpoints, "LOG_BYTES", SMALL)
    one = Checkpointer(path)
    one.start()
    yield one
    one.stop()


def log_of(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


def work(writer: Writer, checkpointer: Checkpointer, commits: int, *, wait: bool = True) -> int:
    """Commits as the pipeline makes them, each about 16 KB; returns how often the rest was moved."""
    moved = 0
    for n in range(commits):
        commit(writer, *(reading("d1", {"v": "x" * 4_000}, ts=NOW + n) for _ in range(4)))
        checkpointer.written()
        if wait and checkpointer._wake.is_set():
            # A real disk gives the thread time; here the commits would all be over before it has run once.
            eventually(lambda: checkpointer._due.is_set())
        if checkpointer.rest_is_due():
            writer.checkpoint()
            moved += 1
    return moved


def test_the_log_stops_growing_under_continuous_commits(path: Path, writer: Writer, checkpointer: Checkpointer) -> None:
    commit(writer, registered("d1"))
    assert work(writer, checkpointer, 60) > 0
    after_some = log_of(path)
    assert after_some >= SMALL
    assert work(writer, checkpointer, 120) > 0
    # About two megabytes were written through it meanwhile.
    assert log_of(path) <= 2 * after_some
    assert path.stat().st_size > 2 * 1024 * 1024


def test_a_short_log_is_left_alone(path: Path, writer: Writer, checkpointer: Checkpointer) -> None:
    commit(writer, registered("d1"))
    before = path.stat().st_size
    assert work(writer, checkpointer, 5) == 0
    assert path.stat().st_size == before


def test_a_reader_that_holds_an_old_view_only_delays_the_log(
    path: Path, writer: Writer, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "REST_FRAMES", 16)
    commit(writer, registered("d1"))
    slow = open_reader(path)
    slow.execute("BEGIN")
    assert slow.execute("SELECT count(*) FROM journal").fetchone() == (1,)
    assert work(writer, checkpointer, 100, wait=False) == 0
    # Nor is the writer told to move what the reader holds up: it would move all of it at once when the reader ends.
    assert checkpointer._move() > 16
    assert not checkpointer.rest_is_due()
    # It still sees what it saw, and nobody waited for it.
    assert slow.execute("SELECT count(*) FROM journal").fetchone() == (1,)
    grown = log_of(path)
    assert grown > 100 * 16_000
    slow.execute("ROLLBACK")
    slow.close()
    eventually(lambda: checkpointer._move() == 0)
    work(writer, checkpointer, 60)
    assert log_of(path) <= grown + 2 * SMALL


def test_a_log_that_was_moved_is_short_again_though_its_file_is_not(
    path: Path, writer: Writer, checkpointer: Checkpointer
) -> None:
    commit(writer, registered("d1"))
    first = work(writer, checkpointer, 60)
    length = log_of(path)
    assert length > SMALL
    # As often as it fills, not with every commit after it was full once.
    assert 0 < first < 20
    assert abs(work(writer, checkpointer, 60) - first) <= 1
    assert log_of(path) <= 2 * length


def test_everything_is_there_after_checkpoints(path: Path, writer: Writer, checkpointer: Checkpointer) -> None:
    commit(writer, registered("d1"))
    work(writer, checkpointer, 80)
    writer.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT sum(n) FROM journal").fetchone() == (321,)
    connection.close()


def test_a_database_that_is_gone_ends_neither_the_thread_nor_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LOG_BYTES", 10)
    place = tmp_path / "gone"
    place.mkdir()
    one = Checkpointer(place / "relevo.db")
    one.start()
    one.written()
    # A log with one frame of 512 bytes, all salts alike.
    (place / "relevo.db-wal").write_bytes(bytes(8) + (512).to_bytes(4, "big") + bytes(20 + 24 + 512))
    (place / "relevo.db").mkdir()
    one.written()
    eventually(lambda: not one._wake.is_set())
    assert one._thread.is_alive()
    assert not one.rest_is_due()
    one.stop()
    assert not one._thread.is_alive()
