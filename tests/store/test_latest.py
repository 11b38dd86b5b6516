from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.store import latest
from relevo.store.db import open_writer
from relevo.store.latest import DeviceState, load_documents, load_state, values_of
from tests.store.samples import NOW, reading

HOUR = 3_600_000


def values(state: DeviceState) -> dict[str, Any]:
    return {key: value for key, (value, _, _) in values_of(state.encode())[0].items()}


def test_the_newest_time_wins_key_by_key() -> None:
    state = DeviceState(1)
    state.take(reading("d1", {"a": 1, "b": 1}, ts=NOW))
    state.take(reading("d1", {"b": 2, "c": 2}, ts=NOW + 10, received=NOW + 10))
    state.take(reading("d1", {"a": 0, "b": 0, "d": 0}, ts=NOW - 10, received=NOW + 20))
    assert values(state) == {"a": 1, "b": 2, "c": 2, "d": 0}


def test_of_two_readings_with_the_same_time_the_later_one_stands() -> None:
    state = DeviceState(1)
    state.take(reading("d1", {"a": 1}))
    state.take(reading("d1", {"a": 2}))
    assert values(state) == {"a": 2}


def test_a_back_log_does_not_overwrite_the_present() -> None:
    state = DeviceState(1)
    state.take(reading("d1", {"a": "now"}, ts=NOW))
    for n in range(5):
        state.take(reading("d1", {"a": f"old {n}"}, ts=NOW - HOUR + n, received=NOW + 1_000))
    assert values(state) == {"a": "now"}


def test_a_clock_that_ran_ahead_does_not_freeze_the_value() -> None:
    state = DeviceState(1)
    state.take(reading("d1", {"a": "ahead"}, ts=NOW + HOUR, received=NOW))
    state.take(reading("d1", {"a": "corrected"}, ts=NOW + 1_000, received=NOW + 1_000))
    assert values(state) == {"a": "corrected"}


def test_a_back_log_does_not_overwrite_a_value_from_a_clock_that_ran_ahead() -> None:
    """The time ahead counts as its arrival, and that is newer than yesterday."""
    state = DeviceState(1)
    state.take(reading("d1", {"a": "ahead"}, ts=NOW + HOUR, received=NOW))
    state.take(reading("d1", {"a": "yesterday"}, ts=NOW - 24 * HOUR, received=NOW + 1_000))
    assert values(state) == {"a": "ahead"}


def test_a_device_was_last_heard_when_its_newest_message_arrived() -> None:
    state = DeviceState(1)
    state.take(reading("d1", ts=NOW, received=NOW + 5))
    state.take(reading("d1", ts=NOW + 1, received=NOW + 3))
    assert values_of(state.encode())[1] == NOW + 5


def test_time_and_source_of_each_value_are_those_of_its_reading() -> None:
    state = DeviceState(1)
    state.take(reading("d1", {"a": 1, "b": 1}, ts=NOW))
    repaired = reading("d1", {"b": 2}, ts=NOW + 5, received=NOW + 5)
    repaired.source = "repaired"
    state.take(repaired)
    assert values_of(state.encode())[0] == {"a": (1, NOW, "device"), "b": (2, NOW + 5, "repaired")}


def test_what_was_handed_in_is_not_changed_by_later_readings() -> None:
    """The event is on its way to the live views while the next one is merged."""
    first = reading("d1", {"a": 1, "b": 1})
    state = DeviceState(1)
    state.take(first)
    state.take(reading("d1", {"a": 2}, ts=NOW + 1, received=NOW + 1))
    state.take(reading("d1", {"a": 3, "b": 3}, ts=NOW + 2, received=NOW + 2))
    assert first.values == {"a": 1, "b": 1}


keys = st.sampled_from("abc")
readings = st.lists(
    st.tuples(st.dictionaries(keys, st.integers(), min_size=1), st.integers(-5, 5), st.booleans()), max_size=12
)


@given(readings, st.integers(0, 12))
def test_a_document_read_back_goes_on_as_if_it_had_stayed(
    tmp_path_factory: pytest.TempPathFactory, given_: list[tuple[dict[str, int], int, bool]], cut: int
) -> None:
    whole, parts = DeviceState(1), DeviceState(1)
    for n, (found, offset, is_numbered) in enumerate(given_):
        if n == cut:
            parts = DeviceState(1, latest._decode(parts.encode()))
        event = reading("d1", found, ts=NOW + n + offset, received=NOW + n)
        for state in (whole, parts):
            state.take(event)
            if is_numbered:
                state.seen.add(1, abs(offset))
    assert values_of(parts.encode()) == values_of(whole.encode())
    assert parts.seen.state() == whole.seen.state()


@given(readings)
def test_grouping_by_reading_keeps_what_a_table_by_key_would(given_: list[tuple[dict[str, int], int, bool]]) -> None:
    state = DeviceState(1)
    table: dict[str, tuple[int, int, str]] = {}
    for n, (found, offset, _) in enumerate(given_):
        # No clock runs ahead here: what that means is said by the tests above.
        received = NOW + 2 * n + 20
        ts = NOW + n + offset
        state.take(reading("d1", found, ts=ts, received=received))
        for key, value in found.items():
            if key not in table or table[key][1] <= ts:
                table[key] = (value, ts, "device")
    assert values_of(state.encode())[0] == table


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 21, 64, 85, 341, 600])
def test_any_number_of_documents_is_written_whole(path: Path, count: int) -> None:
    rows = [(n, b'{"r":%d}' % n) for n in range(1, count + 1)]
    connection = open_writer(path)
    latest.write(connection, rows)
    latest.write(connection, rows[:2])
    assert load_documents(connection) == dict(rows)
    assert load_state(connection, count + 1).received == 0
    connection.close()
