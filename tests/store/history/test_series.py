import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.domain.events import TelemetryReceived
from relevo.store import journal
from relevo.store.history.series import Point, read_page
from relevo.store.writer import Writer
from tests.store.samples import NOW, commit, reading, registered


def pages(connection: sqlite3.Connection | None, scan: object, start: int, end: int, limit: int) -> list[Point]:
    """All pages, one after the other, as a client asks for them."""
    found: list[Point] = []
    after: tuple[int, int] | None = None
    while True:
        page = read_page(connection, scan, "d1", "v", start, end, limit, after)  # type: ignore[arg-type]
        found += page.points
        assert len(page.points) <= limit
        if not page.more:
            return found
        assert len(page.points) == limit
        after = page.points[-1].ts, page.points[-1].seq


def everything(
    connection: sqlite3.Connection, device: str, start: int, end: int
) -> Iterator[tuple[int, TelemetryReceived]]:
    """A journal of which nothing is in chunks."""
    return journal.tail(connection, device, 0, start, end)


@given(
    offsets=st.lists(st.tuples(st.integers(-8, 8), st.booleans()), max_size=40),
    start=st.integers(-10, 10),
    length=st.integers(0, 20),
    limit=st.integers(1, 7),
)
@settings(max_examples=300)
def test_pages_together_are_the_sorted_whole(
    offsets: list[tuple[int, bool]], start: int, length: int, limit: int
) -> None:
    """Readings arrive in any order and with the same time; some do not have the key."""
    stored = [
        (seq, reading("d1", {"v": seq} if has else {"w": seq}, ts=NOW + offset))
        for seq, (offset, has) in enumerate(offsets, 1)
    ]

    def scan(_: object, device: str, first: int, last: int) -> Iterator[tuple[int, TelemetryReceived]]:
        return ((seq, event) for seq, event in stored if event.device == device and first <= event.ts < last)

    first, last = NOW + start, NOW + start + length
    wanted = sorted(
        Point(event.ts, seq, seq) for seq, event in stored if "v" in event.values and first <= event.ts < last
    )
    assert pages(None, scan, first, last, limit) == wanted


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_pages_of_a_real_journal_are_in_order_of_time(writer: Writer, reader: sqlite3.Connection, limit: int) -> None:
    commit(writer, registered("d1"))
    for offsets in ((5, 1, 3), (1, 1), (9,), (0, 5)):
        commit(writer, *(reading("d1", {"v": offset}, ts=NOW + offset) for offset in offsets))
    found = pages(reader, everything, 0, NOW + 100, limit)
    assert [point.value for point in found] == [0, 1, 1, 1, 3, 5, 5, 9]
    assert [point.seq for point in found if point.value == 1] == [3, 5, 6]


def test_points_that_arrive_between_two_pages_behind_the_position_are_found(
    writer: Writer, reader: sqlite3.Connection
) -> None:
    commit(writer, registered("d1"), *(reading("d1", {"v": n}, ts=NOW + n) for n in (1, 3)))
    first = read_page(reader, everything, "d1", "v", 0, NOW + 100, 1)
    assert ([point.value for point in first.points], first.more) == ([1], True)
    commit(writer, reading("d1", {"v": 2}, ts=NOW + 2), reading("d1", {"v": 0}, ts=NOW))
    second = read_page(reader, everything, "d1", "v", 0, NOW + 100, 10, (NOW + 1, first.points[0].seq))
    assert [point.value for point in second.points] == [2, 3]
