import sqlite3
from pathlib import Path

import pytest

from relevo.domain.events import DeviceChanged, UnclaimedReading
from relevo.store import db, devices, journal, timeline, unclaimed
from relevo.store.db import open_writer
from relevo.store.latest import load_documents, values_of
from relevo.store.writer import Writer
from tests.store.samples import NOW, commit, core_of, reading, refused, registered, removed, stranger


class Database:
    """What is really on the disk, seen by another connection."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        connection = open_writer(self.path)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def execute(self, *statements: str) -> None:
        connection = open_writer(self.path)
        try:
            for statement in statements:
                connection.execute(statement)
        finally:
            connection.close()

    def break_commits(self) -> None:
        """From now on COMMIT itself fails: a constraint that is looked at no earlier is violated by every row."""
        self.execute(
            "CREATE TABLE parent(id INTEGER PRIMARY KEY)",
            "CREATE TABLE child(id INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)",
            "CREATE TRIGGER broken AFTER INSERT ON journal BEGIN INSERT INTO child VALUES (1); END",
        )

    def mend_commits(self) -> None:
        self.execute("DROP TRIGGER broken")


@pytest.fixture
def database(path: Path) -> Database:
    return Database(path)


def numbered(device: str, *seqs: int) -> list[object]:
    return [reading(device, {"n": seq}, ts=NOW + seq, boot=1, seq=seq) for seq in seqs]


def latest_of(database: Database, device: str) -> dict[str, object]:
    with core_of(database.path) as core:
        _, numbers = devices.load_all(core)
    connection = open_writer(database.path)
    documents = load_documents(connection)
    connection.close()
    data = documents.get(numbers.get(device, -1))
    return {key: value for key, (value, _, _) in values_of(data)[0].items()} if data else {}


def test_a_commit_is_one_row_and_its_events_are_numbered_from_one(writer: Writer, database: Database) -> None:
    first = commit(writer, registered("d1"), reading("d1"), reading("d1"))
    second = commit(writer, reading("d1"))
    assert (first.first_seq, len(first.kept), second.first_seq) == (1, 3, 4)
    assert database.rows("SELECT seq, n FROM journal") == [(1, 3), (4, 1)]


def test_the_row_tells_the_times_of_its_readings_alone(writer: Writer, database: Database) -> None:
    commit(writer, registered("d1"))
    commit(writer, reading("d1", ts=NOW - 5_000), reading("d1", ts=NOW + 7_000), refused("d1", at=1))
    assert database.rows("SELECT t0, t1, at FROM journal ORDER BY seq") == [
        (None, None, NOW),
        (NOW - 5_000, NOW + 7_000, NOW),
    ]


def test_numbering_goes_on_after_a_restart(writer: Writer, path: Path) -> None:
    commit(writer, registered("d1"), reading("d1"))
    writer.close()
    again = Writer(path, 10, 10)
    again.open()
    assert again.next_seq == 3
    assert commit(again, reading("d1")).first_seq == 3
    again.close()


def test_a_numbered_reading_is_stored_once_in_a_batch_in_the_next_and_after_a_restart(
    writer: Writer, path: Path
) -> None:
    commit(writer, registered("d1"))
    first = commit(writer, *numbered("d1", 1, 2, 2, 3))
    assert (first.duplicates, len(first.kept)) == ({2}, 3)
    assert commit(writer, *numbered("d1", 3, 4)).duplicates == {0}
    writer.close()
    again = Writer(path, 10, 10)
    again.open()
    third = commit(again, *numbered("d1", 2, 4, 5))
    assert (third.duplicates, len(third.kept)) == ({0, 1}, 1)
    again.close()


@pytest.mark.parametrize("form", [{"boot": 1}, {"seq": 1}, {}])
def test_a_reading_without_both_numbers_is_always_new(writer: Writer, form: dict[str, int]) -> None:
    commit(writer, registered("d1"))
    batch = commit(writer, reading("d1", **form), reading("d1", **form))
    assert (batch.duplicates, len(batch.kept)) == (set(), 2)


def test_a_batch_of_nothing_new_leaves_the_sequence_alone(writer: Writer, database: Database) -> None:
    commit(writer, registered("d1"), *numbered("d1", 1))
    again = commit(writer, *numbered("d1", 1))
    assert (again.kept, again.duplicates) == ([], {0})
    unknown = commit(writer, reading("nobody"), UnclaimedReading("hidrometro", "X", NOW, "device", NOW, {"v": 1}))
    assert (unknown.kept, unknown.lost, len(unknown.volatile)) == ([], {0}, 1)
    assert commit(writer, reading("d1")).first_seq == 3
    assert database.rows("SELECT seq, n FROM journal") == [(1, 2), (3, 1)]


def test_readings_that_are_only_shown_are_never_journalled(writer: Writer, path: Path) -> None:
    shown = UnclaimedReading("hidrometro", "X", NOW, "device", NOW, {"v": 1})
    batch = commit(writer, registered("d1"), shown, reading("d1"))
    assert batch.volatile == [shown]
    connection = open_writer(path)
    assert [type(event).__name__ for _, event in journal.events_from(connection, 1, 10)] == [
        "DeviceRegistered",
        "TelemetryReceived",
    ]
    connection.close()


# A commit that fails


def test_a_commit_that_finds_the_database_locked_leaves_nothing_and_can_be_repeated(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BUSY_TIMEOUT_MS", 5)
    writer = Writer(path, 10, 10)
    writer.open()
    commit(writer, registered("d1"), *numbered("d1", 1))
    holder = open_writer(path)
    holder.execute("BEGIN IMMEDIATE")
    events = numbered("d1", 2, 3)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        commit(writer, *events)
    holder.execute("ROLLBACK")
    holder.close()
    batch = commit(writer, *events)
    assert (batch.duplicates, batch.first_seq, len(batch.kept)) == (set(), 3, 2)
    assert latest_of(database, "d1") == {"n": 3}
    writer.close()


def test_a_commit_that_fails_at_its_very_end_leaves_nothing(writer: Writer, database: Database) -> None:
    commit(writer, registered("d1"), *numbered("d1", 1))
    tables = ("journal", "latest", "devices", "timeline", "unclaimed")
    before = {table: database.rows(f"SELECT * FROM {table}") for table in tables}
    database.break_commits()
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        commit(writer, registered("d2"), reading("d2"), *numbered("d1", 2), refused("d1"), stranger("X"))
    assert {table: database.rows(f"SELECT * FROM {table}") for table in tables} == before
    assert writer.next_seq == 3


def test_what_a_failed_commit_held_is_recognised_afresh(writer: Writer, database: Database) -> None:
    """Otherwise the repetition would count as stored already and be acknowledged without being there."""
    commit(writer, registered("d1"), *numbered("d1", 1))
    database.break_commits()
    events = [registered("d2"), *numbered("d2", 1), *numbered("d1", 1, 2), refused("d1"), stranger("X")]
    for _ in range(2):
        with pytest.raises(sqlite3.IntegrityError):
            commit(writer, *events)
    database.mend_commits()
    batch = commit(writer, *events)
    assert (batch.duplicates, batch.lost, batch.first_seq) == ({2}, set(), 3)
    assert latest_of(database, "d1") == {"n": 2}
    assert latest_of(database, "d2") == {"n": 1}
    assert database.rows("SELECT reason, count FROM timeline WHERE kind = 'refused'") == [("json_malformed", 1)]
    assert database.rows("SELECT external_id, count FROM unclaimed") == [("X", 1)]


def test_a_failed_removal_leaves_the_device_as_it_was(writer: Writer, database: Database) -> None:
    commit(writer, registered("d1"), *numbered("d1", 1))
    database.break_commits()
    with pytest.raises(sqlite3.IntegrityError):
        commit(writer, removed("d1"))
    database.mend_commits()
    batch = commit(writer, *numbered("d1", 1, 2))
    assert (batch.duplicates, batch.lost) == ({0}, set())


# The order of events within a batch


def test_a_device_counts_from_its_registration_on_and_no_longer_than_to_its_removal(writer: Writer) -> None:
    batch = commit(
        writer, reading("d1"), registered("d1"), reading("d1"), removed("d1"), reading("d1"), registered("d1")
    )
    assert batch.lost == {0, 4}
    assert [type(event).__name__ for event in batch.kept] == [
        "DeviceRegistered",
        "TelemetryReceived",
        "DeviceRemoved",
        "DeviceRegistered",
    ]


def test_readings_of_a_removed_device_are_lost_and_counted(writer: Writer, database: Database) -> None:
    commit(writer, registered("d1"), *numbered("d1", 1))
    commit(writer, removed("d1"))
    batch = commit(writer, *numbered("d1", 2))
    assert (batch.lost, batch.kept, batch.documents) == ({0}, [], [])
    assert database.rows("SELECT count(*) FROM latest") == [(0,)]


@pytest.mark.parametrize("together", [True, False])
def test_an_id_that_is_registered_again_starts_empty(writer: Writer, database: Database, together: bool) -> None:
    commit(writer, registered("d1"), *numbered("d1", 1), reading("d1", {"old": True}))
    if together:
        batch = commit(writer, reading("d1", {"older": 1}), removed("d1"), registered("d1"), *numbered("d1", 1))
    else:
        commit(writer, removed("d1"))
        batch = commit(writer, registered("d1"), *numbered("d1", 1))
    assert batch.duplicates == set()
    assert latest_of(database, "d1") == {"n": 1}
    assert [device for device, _ in batch.documents] == ["d1"]


def test_the_number_of_a_removed_device_is_never_given_again(writer: Writer, database: Database) -> None:
    for _ in range(3):
        commit(writer, registered("d1"))
        commit(writer, removed("d1"))
    commit(writer, registered("d2"))
    assert database.rows("SELECT number FROM devices") == [(4,)]


def test_a_change_belongs_to_the_device_of_its_moment(writer: Writer, database: Database) -> None:
    """Changed, removed and registered again in one batch: the new device is not the one that was changed."""
    commit(writer, registered("d1"))
    commit(writer, DeviceChanged("d1", NOW, {"name": "Old owner's name"}), removed("d1"), registered("d1"))
    assert database.rows("SELECT name FROM devices") == [("Name of d1",)]


def test_who_is_registered_is_unclaimed_no_more(writer: Writer, database: Database) -> None:
    commit(writer, stranger("ABC"))
    assert database.rows("SELECT external_id FROM unclaimed") == [("ABC",)]
    commit(writer, registered("meter", "hidrometro", "ABC"))
    assert database.rows("SELECT external_id FROM unclaimed") == []


@pytest.mark.parametrize("together", [True, False])
def test_a_sighting_that_comes_late_makes_nobody_unclaimed_again(
    writer: Writer, database: Database, together: bool
) -> None:
    """Sightings are told up to a second after they happened, so a claim can overtake them."""
    if together:
        commit(writer, stranger("ABC"), registered("meter", "hidrometro", "ABC"))
    else:
        commit(writer, registered("meter", "hidrometro", "ABC"))
        commit(writer, stranger("ABC"))
    assert database.rows("SELECT external_id FROM unclaimed") == []


def test_a_change_takes_only_what_may_be_changed(writer: Writer, database: Database) -> None:
    commit(writer, registered("d1"))
    commit(writer, DeviceChanged("d1", NOW, {"name": "new", "id": "d2", "number": 7, "tags": ["a"]}))
    assert database.rows("SELECT id, number, name, tags FROM devices") == [("d1", 1, "new", '["a"]')]


# Poison: nothing that is refused by the database may stop what comes after it


def test_a_second_registration_of_the_same_id_does_not_fail_the_batch(writer: Writer, database: Database) -> None:
    """Two requests that both found the id free: the road has to go on for everybody else."""
    commit(writer, registered("d1"))
    others = [registered("d2"), reading("d2")]
    batch = commit(writer, registered("d1"), *others)
    assert batch.kept == others
    assert database.rows("SELECT id FROM devices") == [("d1",), ("d2",)]


# Projections


def test_stories_are_kept_for_devices_and_for_the_door(writer: Writer, path: Path) -> None:
    commit(writer, registered("d1"), refused("d1"), refused("", "anonymous_closed"))
    with core_of(path) as core:
        assert [row["kind"] for row in timeline.load(core, "d1", 10)] == ["refused", "registered"]
        assert [row["reason"] for row in timeline.load(core, "", 10)] == ["anonymous_closed"]
        assert unclaimed.load(core, 10) == []


def test_the_key_of_a_device_never_enters_its_story(writer: Writer, database: Database) -> None:
    commit(writer, registered("d1"))
    commit(writer, DeviceChanged("d1", NOW, {"key_hash": "secret-hash", "name": "n"}))
    assert database.rows("SELECT detail FROM timeline WHERE kind = 'changed'") == [("name",)]


def test_the_writer_opens_itself_again_after_it_was_closed(writer: Writer) -> None:
    commit(writer, registered("d1"), *numbered("d1", 1))
    writer.close()
    batch = commit(writer, *numbered("d1", 1, 2))
    assert (batch.duplicates, batch.first_seq) == ({0}, 3)
