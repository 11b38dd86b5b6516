import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.events import (
    AnyEvent,
    DeviceAnswered,
    DeviceChanged,
    DeviceConnected,
    DeviceDisconnected,
    DeviceEventReported,
    Noticed,
    StateReported,
)
from relevo.store import journal
from relevo.store.writer import Writer
from tests.store.samples import NOW, commit, reading, refused, registered, removed, stranger

ONE_OF_EACH: list[AnyEvent] = [
    registered("d1"),
    reading("d1", {"f": 1.5, "i": 2**63 - 1, "n": -(2**63), "b": True, "t": "água", "l": [1, {"a": None}]}),
    reading("d1", boot=2**63 - 1, seq=0),
    DeviceChanged("d1", NOW, {"name": "n", "tags": ["a"]}, "admin"),
    DeviceConnected("d1", NOW, "mqtt", "::1"),
    DeviceDisconnected("d1", NOW, "keep_alive", "silent"),
    StateReported("d1", NOW, {"relay": True}),
    DeviceEventReported("d1", NOW, {"button": 1}),
    DeviceAnswered("d1", NOW, {"id": "1", "ok": True}),
    stranger("X", count=3),
    refused("d1", count=7),
    Noticed("d1", NOW, "clock_future", "ts 5", 2),
    removed("d1"),
]


def test_every_kind_of_event_comes_back_as_it_went_in(writer: Writer, reader: sqlite3.Connection) -> None:
    commit(writer, *ONE_OF_EACH)
    assert journal.events_from(reader, 1, 100) == list(enumerate(ONE_OF_EACH, 1))


@pytest.fixture
def rows(writer: Writer) -> list[int]:
    """Events 1 to 30 in rows of uneven length; the value of a reading is its own number."""
    commit(writer, registered("d1"))
    numbers = iter(range(2, 31))
    for size in (1, 5, 2, 10, 1, 10):
        commit(writer, *(reading("d1", {"n": next(numbers)}) for _ in range(size)))
    return list(range(1, 31))


def test_events_are_read_from_any_position_without_gap_or_repetition(
    rows: list[int], reader: sqlite3.Connection
) -> None:
    for first in range(32):
        for limit in (1, 3, 10, 29, 30, 1000):
            found = journal.events_from(reader, first, limit)
            assert [seq for seq, _ in found] == [seq for seq in rows if seq >= first][:limit]
            assert all(event.values == {"n": seq} for seq, event in found if seq > 1)  # type: ignore[union-attr]


def test_beyond_the_end_there_is_nothing(rows: list[int], reader: sqlite3.Connection) -> None:
    assert journal.events_from(reader, 31, 10) == []
    assert journal.events_from(reader, 2**62, 10) == []
    assert journal.next_seq(reader) == 31


def test_an_empty_journal_begins_with_one(reader: sqlite3.Connection) -> None:
    assert journal.next_seq(reader) == 1
    assert journal.events_from(reader, 1, 10) == []


def between(reader: sqlite3.Connection, device: str, start: int, end: int) -> list[tuple[int, int]]:
    return [(seq, event.ts - NOW) for seq, event in journal.tail(reader, device, 0, start + NOW, end + NOW)]


@given(
    batches=st.lists(st.lists(st.integers(-20, 20), min_size=1, max_size=4), min_size=1, max_size=6),
    start=st.integers(-25, 25),
    length=st.integers(0, 30),
)
def test_a_range_holds_its_start_and_not_its_end(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], start: int, length: int
) -> None:
    # A database in memory is enough for reading, and hundreds of files are not made.
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE journal(seq INTEGER PRIMARY KEY, n INT, at INT, t0 INT, t1 INT, data BLOB)")
    seq, wanted = 1, []
    for offsets in batches:
        events = [reading("d1", ts=NOW + offset) for offset in offsets]
        data = journal.encode(events)
        journal.append(connection, seq, len(events), NOW, NOW + min(offsets), NOW + max(offsets), data)
        wanted += [(seq + n, offset) for n, offset in enumerate(offsets) if start <= offset < start + length]
        seq += len(events)
    assert between(connection, "d1", start, start + length) == wanted
    connection.close()


def test_a_name_inside_another_name_or_a_value_is_not_that_device(writer: Writer, reader: sqlite3.Connection) -> None:
    commit(writer, *(registered(name) for name in ("d1", "d10", "1", "xd1")))
    commit(
        writer,
        reading("d10", {"v": 10}),
        reading("d1", {"v": 1}),
        reading("xd1", {"d1": "d1"}),
        reading("1", {"v": "d1"}),
    )
    commit(writer, reading("d10", {"v": "d1"}))
    for device, values in (("d1", [{"v": 1}]), ("d10", [{"v": 10}, {"v": "d1"}]), ("1", [{"v": "d1"}])):
        found = journal.tail(reader, device, 0, 0, NOW + 1)
        assert [event.values for _, event in found] == values


def test_other_events_of_the_device_are_no_readings(writer: Writer, reader: sqlite3.Connection) -> None:
    commit(writer, registered("d1"), refused("d1"), reading("d1"), StateReported("d1", NOW, {"v": 1}))
    assert between(reader, "d1", 0, 1) == [(3, 0)]
