"""Twins as rows: the sum of their events, written in the transaction that holds them."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.events import DesiredAgreed, DesiredChanged, DesiredFailed, ReportedChanged
from relevo.domain.twins import Twin, TwinEvent, apply
from relevo.store import twins
from relevo.store.db import core_on, metadata, open_writer
from relevo.store.writer import Writer, timeline_line
from tests.store.samples import commit, registered, removed

VALUES: dict[str, Any] = {"on": True, "level": 3, "text": "ünï", "tree": {"a": [1, None]}}


def rows(path: Path) -> dict[str, Twin]:
    connection = open_writer(path)
    try:
        return twins.load(connection)
    finally:
        connection.close()


def test_a_twin_is_what_its_events_made_of_it(writer: Writer, path: Path) -> None:
    events: list[TwinEvent] = [
        ReportedChanged("d1", 5, 1, {"on": False}, [], "d1"),
        DesiredChanged("d1", 6, 1, VALUES, [], "ann"),
        DesiredAgreed("d1", 7, ["level"]),
        DesiredFailed("d1", 8, ["on"], {"on": True}, {"on": False}),
    ]
    commit(writer, registered("d1"), *events[:2])
    commit(writer, *events[2:])
    expected = Twin()
    for event in events:
        apply(expected, event)
    assert rows(path) == {"d1": expected}
    assert {key: wish.state for key, wish in expected.desired.items()} == {
        "on": "failed", "level": "agreed", "text": "pending", "tree": "pending",
    }  # fmt: skip


def test_a_removed_device_has_no_twin_and_one_that_never_was_gets_none(writer: Writer, path: Path) -> None:
    wish = DesiredChanged("d1", 6, 1, VALUES, [], "ann")
    commit(writer, wish)
    assert rows(path) == {}
    commit(writer, registered("d1"), wish)
    commit(writer, removed("d1"), wish)
    assert rows(path) == {}
    commit(writer, registered("d1"))
    assert rows(path) == {}


def test_a_commit_that_fails_leaves_the_twin_as_it_was(writer: Writer, path: Path) -> None:
    commit(writer, registered("d1"), DesiredChanged("d1", 6, 1, {"on": True}, [], "ann"))
    connection = open_writer(path)
    connection.execute("CREATE TRIGGER broken AFTER INSERT ON journal BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(sqlite3.Error):
        commit(writer, DesiredChanged("d1", 7, 2, {"on": False}, [], "ann"))
    connection.execute("DROP TRIGGER broken")
    connection.close()
    assert rows(path)["d1"].desired["on"].value is True
    commit(writer, DesiredChanged("d1", 7, 2, {"on": False}, [], "ann"))
    assert (rows(path)["d1"].desired["on"].value, rows(path)["d1"].desired_version) == (False, 2)


keys = st.lists(st.sampled_from(["a", "b"]), unique=True, max_size=2)
values = st.dictionaries(st.sampled_from(["a", "b"]), st.booleans(), max_size=2)
changes = st.one_of(
    st.builds(DesiredChanged, st.sampled_from(["d1", "d2"]), st.integers(1, 9), st.integers(1, 3), values, keys),
    st.builds(ReportedChanged, st.sampled_from(["d1", "d2"]), st.integers(1, 9), st.integers(1, 3), values, keys),
    st.builds(DesiredAgreed, st.sampled_from(["d1", "d2"]), st.integers(1, 9), keys),
    st.builds(DesiredFailed, st.sampled_from(["d1", "d2"]), st.integers(1, 9), keys),
)


@given(st.lists(st.lists(changes, max_size=6), max_size=5))
def test_any_events_in_any_batches_leave_what_memory_has(batches: list[list[TwinEvent]]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    core = core_on(connection)
    metadata.create_all(core, tables=[twins.twins])
    memory: dict[str, Twin] = {}
    for batch in batches:
        twins.follow(connection, batch)
        for event in batch:
            apply(memory.setdefault(event.device, Twin()), event)
    assert twins.load(connection) == memory
    core.close()
    core.engine.dispose()
    connection.close()


def test_the_story_tells_what_was_desired_and_what_came_of_it() -> None:
    lines = [
        timeline_line(DesiredChanged("d1", 6, 4, {"on": True, "tree": {"a": 1}}, ["old"], "ann")),
        timeline_line(DesiredAgreed("d1", 7, ["on"])),
        timeline_line(DesiredFailed("d1", 8, ["on", "new"], {"on": True, "new": 1}, {"on": False})),
        timeline_line(ReportedChanged("d1", 8, 1, {"on": False})),
    ]
    assert [(line.kind, line.detail) for line in lines if line is not None] == [
        ("desired", "on=true, tree={'a': 1}, old no more (ann)"),
        ("desired_agreed", "on"),
        ("desired_failed", "on is to be true and is false; new is to be 1 and is not reported"),
    ]
