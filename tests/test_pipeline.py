import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from relevo import pipeline as module
from relevo.bus import Bus
from relevo.clock import ManualClock
from relevo.domain.devices import Registry
from relevo.domain.events import AnyEvent, DeviceChanged, DeviceRegistered, StateReported, UnclaimedReading
from relevo.errors import QueueFull, StoreUnavailable
from relevo.pipeline import Outcome, Pipeline
from relevo.store import db, journal
from relevo.store.checkpoints import Checkpointer
from relevo.store.db import FILE_NAME, open_reader, open_writer
from relevo.store.latest import values_of
from relevo.store.schema import prepare
from relevo.store.writer import Writer
from tests.store.samples import NOW, reading, registered, removed


class Road:
    """A pipeline on a real database, with the order in which submitters were told."""

    def __init__(self, path: Path, queue_events: int = 1_000) -> None:
        self.path = path
        self.writer = Writer(path, 10, 10)
        self.writer.open()
        self.checkpointer = Checkpointer(path)
        self.checkpointer.start()
        self.registry = Registry()
        self.bus = Bus()
        self.clock = ManualClock(NOW)
        self.pipeline = Pipeline(self.writer, self.checkpointer, self.registry, self.bus, self.clock, queue_events)
        self.pipeline.start({})
        self.told: list[tuple[Any, Outcome]] = []

    def submit(self, token: Any, *events: AnyEvent) -> None:
        self.pipeline.submit(events, lambda token, outcome: self.told.append((token, outcome)), token)

    @property
    def tokens(self) -> list[Any]:
        return [token for token, _ in self.told]

    async def close(self) -> None:
        await self.pipeline.end()
        self.checkpointer.stop()
        if not self.pipeline._thread.is_alive():
            self.writer.close()


async def eventually(probe: Callable[[], Any], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not probe():
            await asyncio.sleep(0.002)


class Lock:
    """Another program that writes to the database and does not come to an end."""

    def __init__(self, path: Path) -> None:
        self._connection = open_writer(path)
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.close()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / FILE_NAME
    prepare(path)
    return path


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "BUSY_TIMEOUT_MS", 5)
    monkeypatch.setattr(module, "_RETRY_FIRST_S", 0.005)
    monkeypatch.setattr(module, "_RETRY_LONGEST_S", 0.01)


@pytest.fixture
async def road(database: Path) -> AsyncIterator[Road]:
    one = Road(database)
    yield one
    await one.close()


@pytest.fixture
async def hasty(database: Path, quick_retries: None) -> AsyncIterator[Road]:
    """One that neither waits long for a lock nor between two attempts."""
    one = Road(database)
    yield one
    await one.close()


# The ordinary way


async def test_everybody_is_told_in_the_order_of_submission(road: Road) -> None:
    road.submit("d", registered("d1"))
    for n in range(200):
        road.submit(n, *(reading("d1", {"n": n}) for _ in range(n % 3)))
        if n % 17 == 0:
            await asyncio.sleep(0)
    assert await road.pipeline.drain(10)
    assert road.tokens == ["d", *range(200)]
    assert [outcome for _, outcome in road.told[1:]] == [Outcome(n % 3) for n in range(200)]


async def test_an_empty_submission_is_told_after_everything_before_it_is_on_the_disk(road: Road) -> None:
    seen: list[int] = []
    lock = Lock(road.path)
    reader = open_reader(road.path)

    def note(token: Any, outcome: Outcome) -> None:
        seen.append(reader.execute("SELECT coalesce(sum(n), 0) FROM journal").fetchone()[0])

    road.submit("first", registered("d1"))
    road.submit("second", reading("d1"))
    road.pipeline.submit((), note)
    await asyncio.sleep(0.05)
    assert (road.tokens, seen) == ([], [])
    lock.release()
    assert await road.pipeline.drain(10)
    assert seen == [2]
    assert await road.pipeline.accept([]) == Outcome(0)
    reader.close()


async def test_what_arrives_while_a_commit_runs_shares_the_next_one(road: Road) -> None:
    lock = Lock(road.path)
    road.submit("first", registered("d1"))
    await eventually(lambda: not road.pipeline._inbox)
    for n in range(50):
        road.submit(n, reading("d1", {"n": n}))
        await asyncio.sleep(0)
    lock.release()
    assert await road.pipeline.drain(10)
    assert road.pipeline.counters.commits == 2
    reader = open_reader(road.path)
    assert reader.execute("SELECT n FROM journal ORDER BY seq").fetchall() == [(1,), (50,)]
    reader.close()


async def test_submissions_of_one_round_of_the_loop_are_one_commit(road: Road) -> None:
    for n in range(20):
        road.submit(n, registered(f"d{n}"))
    assert await road.pipeline.drain(10)
    assert road.pipeline.counters.commits == 1


async def test_each_submission_learns_which_of_its_own_events_were_not_stored(road: Road) -> None:
    await road.pipeline.accept([registered("d1"), reading("d1", boot=1, seq=1)])
    road.submit("a", reading("d1", boot=1, seq=2), reading("d1", boot=1, seq=1), reading("gone"))
    road.submit("b", reading("d1"))
    road.submit("c")
    road.submit("d", reading("gone"), reading("d1", boot=1, seq=2), reading("d1", boot=1, seq=3))
    assert await road.pipeline.drain(10)
    assert road.told == [
        ("a", Outcome(1, (1,), (2,))),
        ("b", Outcome(1)),
        ("c", Outcome(0)),
        ("d", Outcome(1, (1,), (0,))),
    ]
    counters = road.pipeline.counters
    assert (counters.events, counters.duplicates, counters.lost) == (5, 2, 2)


async def test_before_anybody_is_told_the_event_is_on_the_disk_in_the_registry_and_on_the_bus(road: Road) -> None:
    """An acknowledgement is a fact: whoever gets it may ask anywhere."""
    watcher = road.bus.subscribe(lambda event: True, 100)
    reader = open_reader(road.path)
    found: list[Any] = []

    def look(token: Any, outcome: Outcome) -> None:
        found.append(
            (
                [type(event).__name__ for _, event in journal.events_from(reader, 1, 10)],
                road.registry.get("d1") is not None,
                len(watcher._queue),
                values_of(road.pipeline.documents["d1"])[0]["v"][0],
                road.pipeline.committed_seq,
            )
        )

    road.pipeline.submit((registered("d1"), reading("d1", {"v": 7})), look)
    assert await road.pipeline.drain(10)
    assert found == [(["DeviceRegistered", "TelemetryReceived"], True, 2, 7, 2)]
    reader.close()


async def test_numbers_on_the_bus_are_positions_in_the_journal(road: Road) -> None:
    watcher = road.bus.subscribe(lambda event: True, 100)
    await road.pipeline.accept([registered("d1")])
    await road.pipeline.accept([reading("d1", boot=1, seq=1), reading("d1", boot=1, seq=1), reading("d1")])
    shown = UnclaimedReading("hidrometro", "X", NOW, "device", NOW, {"v": 1})
    await road.pipeline.accept([shown])
    delivered = await watcher.next()
    reader = open_reader(road.path)
    stored = journal.events_from(reader, 1, 10)
    assert [(one.seq, one.event) for one in delivered if one.seq] == stored  # type: ignore[union-attr]
    assert [one.event for one in delivered if not one.seq] == [shown]  # type: ignore[union-attr]
    assert road.pipeline.committed_seq == 3
    reader.close()


async def test_registry_and_documents_follow_changes_and_removals(road: Road) -> None:
    await road.pipeline.accept([registered("d1"), reading("d1")])
    await road.pipeline.accept([DeviceChanged("d1", NOW, {"name": "New"})])
    device = road.registry.get("d1")
    assert device is not None
    assert device.name == "New"
    await road.pipeline.accept([removed("d1")])
    assert road.registry.get("d1") is None
    assert road.pipeline.documents == {}


@pytest.mark.parametrize("size", [1, 9_000])
async def test_a_submission_is_never_torn(database: Path, size: int) -> None:
    road = Road(database, queue_events=100_000)
    await road.pipeline.accept([registered("d1")])
    outcomes = await asyncio.gather(
        *(road.pipeline.accept([reading("d1", {"n": n}) for n in range(size)]) for _ in range(3))
    )
    await road.close()
    assert outcomes == [Outcome(size)] * 3


async def test_a_submitter_that_fails_keeps_nobody_else_from_being_told(road: Road) -> None:
    def fail(token: Any, outcome: Outcome) -> None:
        raise RuntimeError("mine alone")

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    called: list[str] = []
    road.pipeline.when_room(lambda: called.append("room"))
    road.submit("before", registered("d1"))
    road.pipeline.submit((registered("d2"),), fail)
    road.submit("after", registered("d3"))
    drained = await road.pipeline.drain(2)
    assert road.tokens == ["before", "after"]
    assert (drained, called) == (True, ["room"])


# Trouble


async def test_a_locked_database_gives_no_answer_until_it_is_free_and_then_all(hasty: Road) -> None:
    road = hasty
    await road.pipeline.accept([registered("d1")])
    lock = Lock(road.path)
    road.submit("a", reading("d1"))
    await eventually(lambda: road.pipeline.state.name == "locked")
    road.submit("b", reading("d1"))
    assert road.pipeline.state.since == NOW
    assert "another program" in road.pipeline.state.detail
    with pytest.raises(StoreUnavailable, match=r"not stored within 0\.05 s: another program holds the database"):
        await road.pipeline.accept([reading("d1")], within_s=0.05)
    assert road.tokens == []
    assert road.pipeline.counters.failed_commits > 1
    lock.release()
    await eventually(lambda: road.tokens == ["a", "b"])
    assert road.pipeline.state.name == "ok"
    # The one that gave up is stored all the same; only its answer was not waited for.
    assert await road.pipeline.drain(5)
    assert road.pipeline.counters.events == 4


async def test_readings_that_waited_for_a_lock_are_stored_once(hasty: Road) -> None:
    await hasty.pipeline.accept([registered("d1"), reading("d1", boot=1, seq=1)])
    lock = Lock(hasty.path)
    hasty.submit("a", *(reading("d1", boot=1, seq=n) for n in (1, 2, 3)))
    await eventually(lambda: hasty.pipeline.counters.failed_commits > 3)
    lock.release()
    assert await hasty.pipeline.drain(5)
    assert hasty.told == [("a", Outcome(2, (0,)))]


def limit_pages(writer: Writer, more: int) -> None:
    """SQLite's own way to have a disk of a few pages: it fails exactly as on a full one."""
    connection = writer._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + more}")


@pytest.mark.parametrize("what", ["readings", "devices"])
async def test_a_full_disk_is_called_full_and_gives_no_answer_until_there_is_room(hasty: Road, what: str) -> None:
    road = hasty
    await road.pipeline.accept([registered("d1")])
    limit_pages(road.writer, 2)
    big = "x" * 60_000
    if what == "readings":
        road.submit("big", reading("d1", {"v": big}))
    else:
        road.submit("big", DeviceRegistered("d2", "native", "d2", "", "", NOW, attributes={"note": big}))
    await eventually(lambda: road.pipeline.counters.failed_commits > 2)
    assert (road.pipeline.state.name, road.tokens) == ("full", [])
    assert "no space left" in road.pipeline.state.detail
    limit_pages(road.writer, 1_000)
    await eventually(lambda: road.tokens == ["big"])
    assert road.pipeline.state.name == "ok"


def damage(path: Path, table: str) -> None:
    """Overwrite the pages of ``table`` (or everything) with garbage, so that the writer has to read them again."""
    connection = sqlite3.connect(path)
    row = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek((row[0] - 1) * size if row else 0)
        file.write(b"\xa5" * (size if row else path.stat().st_size))
    connection.close()


@pytest.mark.parametrize("table", ["everything", "journal", "devices", "latest"])
async def test_a_damaged_file_is_called_damaged_and_nothing_is_acknowledged(hasty: Road, table: str) -> None:
    road = hasty
    await road.pipeline.accept([registered("d1"), reading("d1")])
    damage(road.path, table)
    secret = registered("d2")
    secret.key_hash = "hash-of-a-key"
    road.submit("a", secret, reading("d1"), reading("d2"))
    await eventually(lambda: road.pipeline.counters.failed_commits > 2)
    assert (road.pipeline.state.name, road.tokens) == ("damaged", [])
    assert "restore a backup" in road.pipeline.state.detail
    # Anybody may ask for the server's health.
    assert "hash-of-a-key" not in road.pipeline.state.detail


@pytest.mark.parametrize("garbage", [b"\xa5" * 40_960, b"SQLite format 3\0" + b"\xa5" * 40_944])
def test_a_file_that_is_no_database_cannot_be_opened_by_the_writer(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(garbage)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        Writer(path, 10, 10).open()
    assert module.classify(caught.value).name == "damaged"


UNWRITABLE = StateReported("d1", NOW, {"beyond 64 bits": 2**70})


async def test_an_event_that_cannot_be_written_stops_nobody_else(hasty: Road) -> None:
    """Whatever slipped through an endpoint's checks must not hold the road for ever."""
    road = hasty
    await road.pipeline.accept([registered("d1")])
    road.submit("poison", UNWRITABLE)
    road.submit("beside it", reading("d1"))
    await asyncio.sleep(0)
    road.submit("behind it", reading("d1"))
    await eventually(lambda: {"beside it", "behind it"} <= set(road.tokens), 2)
    assert road.pipeline.state.name == "ok"


async def test_two_registrations_of_one_id_stop_nobody_else(hasty: Road) -> None:
    """Two requests that both found the id free, or a request and a board's first message."""
    road = hasty
    road.submit("one", registered("d1"))
    road.submit("other", registered("d1"))
    road.submit("beside", registered("d2"))
    await eventually(lambda: road.tokens == ["one", "other", "beside"], 2)
    outcomes = dict(road.told)
    assert outcomes["one"] == outcomes["beside"] == Outcome(1)
    assert outcomes["other"].stored == 0
    assert road.pipeline.state.name == "ok"


# Room


async def test_a_full_inbox_says_so_and_calls_once_when_there_is_room(database: Path) -> None:
    road = Road(database, queue_events=4)
    lock = Lock(road.path)
    for n in range(4):
        assert not road.pipeline.full
        road.submit(n, registered(f"d{n}"))
    assert road.pipeline.full
    assert road.pipeline.waiting == 4
    with pytest.raises(QueueFull):
        await road.pipeline.accept([registered("d9")])
    calls: list[bool] = []
    road.pipeline.when_room(lambda: calls.append(road.pipeline.full))
    lock.release()
    assert await road.pipeline.drain(10)
    assert calls == [False]
    assert await road.pipeline.accept([registered("d9")]) == Outcome(1)
    assert calls == [False]
    await road.close()


async def test_the_bound_counts_events_and_not_submissions(database: Path) -> None:
    """The setting promises "most events that wait": a batch of a thousand readings is not one of them."""
    road = Road(database, queue_events=100)
    await road.pipeline.accept([registered("d1")])
    lock = Lock(road.path)
    road.submit("batch", *(reading("d1", {"n": n}) for n in range(100)))
    full = road.pipeline.full
    lock.release()
    assert await road.pipeline.drain(10)
    await road.close()
    assert full


# The end


async def test_draining_waits_for_the_commit_and_says_when_it_took_too_long(hasty: Road) -> None:
    assert await hasty.pipeline.drain(1)
    lock = Lock(hasty.path)
    hasty.submit("a", registered("d1"))
    assert not await hasty.pipeline.drain(0.05)
    assert hasty.tokens == []
    lock.release()
    assert await hasty.pipeline.drain(5)
    assert hasty.tokens == ["a"]


async def test_the_writer_thread_ends_even_while_the_database_is_locked(hasty: Road) -> None:
    lock = Lock(hasty.path)
    hasty.submit("a", registered("d1"))
    await eventually(lambda: hasty.pipeline.state.name == "locked")
    await hasty.pipeline.end()
    assert not hasty.pipeline._thread.is_alive()
    lock.release()
    await asyncio.sleep(0.05)
    assert hasty.tokens == []
    reader = open_reader(hasty.path)
    assert reader.execute("SELECT count(*) FROM journal").fetchone() == (0,)
    reader.close()


async def test_what_was_submitted_before_the_end_is_committed(road: Road) -> None:
    for n in range(20):
        road.submit(n, registered(f"d{n}"))
    await asyncio.sleep(0)
    await road.pipeline.end()
    assert not road.pipeline._thread.is_alive()
    reader = open_reader(road.path)
    assert reader.execute("SELECT count(*) FROM devices").fetchone() == (20,)
    reader.close()
    await asyncio.sleep(0.01)
    assert road.tokens == list(range(20))


async def test_a_pipeline_that_had_nothing_to_do_ends(database: Path) -> None:
    before = threading.active_count()
    road = Road(database)
    await road.close()
    await eventually(lambda: threading.active_count() <= before + 1)
    assert not road.pipeline._thread.is_alive()


# Upkeep


async def test_upkeep_is_a_transaction_of_its_own_and_says_how_long_it_took(road: Road) -> None:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE devices SET name = 'kept'")

    road.submit("d", registered("d1"))
    assert await road.pipeline.drain(10)
    took = await road.pipeline.maintain(work)
    road.submit("after", reading("d1"))
    assert await road.pipeline.drain(10)
    assert (road.tokens, took >= 0) == (["d", "after"], True)
    reader = open_reader(road.path)
    assert reader.execute("SELECT name FROM devices").fetchall() == [("kept",)]
    reader.close()


async def test_upkeep_that_fails_is_told_and_leaves_nothing(road: Road) -> None:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO compaction VALUES (1, 2, 3, 4)")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        await road.pipeline.maintain(work)
    road.submit("d", registered("d1"))
    assert await road.pipeline.drain(10)
    reader = open_reader(road.path)
    assert reader.execute("SELECT count(*) FROM compaction").fetchone() == (0,)
    reader.close()
    assert road.pipeline.state.name == "ok"


async def test_no_upkeep_is_taken_when_the_writer_has_ended(road: Road) -> None:
    await road.pipeline.end()
    with pytest.raises(StoreUnavailable, match="stopping"):
        await road.pipeline.maintain(lambda connection: None)
