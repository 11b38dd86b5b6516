import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from relevo.store import timeline
from relevo.store.timeline import CLOCK_FOLD_MS, FOLD_MS, Entry, TimelineWriter
from tests.store.samples import NOW, core_of


@pytest.fixture
def core(path: Path) -> Any:
    with core_of(path) as connection:
        yield connection


def raw(core: Connection) -> sqlite3.Connection:
    """What the writer has beside it: both are in the same transaction."""
    found = core.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def entry(
    reason: str = "json_malformed", at: int = NOW, device: str = "d1", kind: str = "refused", count: int = 1
) -> Entry:
    return Entry(device, at, kind, reason, "mqtt", f"detail at {at}", "127.0.0.1", count)


def story(core: Connection, device: str = "d1", limit: int = 1_000) -> list[tuple[str, int]]:
    return [(row["reason"], row["count"]) for row in timeline.load(core, device, limit)]


def test_the_same_within_a_minute_is_one_line_with_a_count_and_its_span(core: Connection) -> None:
    lines = TimelineWriter(10)
    lines.add(raw(core), [entry(), entry(at=NOW + 10, count=5), entry(at=NOW + FOLD_MS)])
    (row,) = timeline.load(core, "d1", 10)
    assert (row["count"], row["first_at"], row["at"], row["detail"]) == (
        7,
        NOW,
        NOW + FOLD_MS,
        f"detail at {NOW + FOLD_MS}",
    )


def test_the_same_after_more_than_a_minute_is_a_new_line(core: Connection) -> None:
    TimelineWriter(10).add(raw(core), [entry(), entry(at=NOW + FOLD_MS + 1)])
    assert story(core) == [("json_malformed", 1), ("json_malformed", 1)]


def test_a_repaired_clock_is_folded_over_an_hour(core: Connection) -> None:
    TimelineWriter(10).add(
        raw(core),
        [
            entry("", NOW, kind="clock_future"),
            entry("", NOW + CLOCK_FOLD_MS, kind="clock_future"),
            entry("", NOW + 2 * CLOCK_FOLD_MS + 1, kind="clock_future"),
        ],
    )
    assert [row["count"] for row in timeline.load(core, "d1", 10)] == [1, 2]


def test_other_reasons_places_kinds_and_devices_are_other_lines(core: Connection) -> None:
    other_place = Entry("d1", NOW, "refused", "json_malformed", "http", "x", "", 1)
    TimelineWriter(10).add(
        raw(core), [entry(), entry("utf8_invalid"), other_place, entry(kind="noticed"), entry(device="d10"), entry()]
    )
    assert sorted(story(core)) == [
        ("json_malformed", 1),
        ("json_malformed", 1),
        ("json_malformed", 2),
        ("utf8_invalid", 1),
    ]
    assert story(core, "d10") == [("json_malformed", 1)]


def test_a_story_is_bounded_and_the_newest_stay(core: Connection) -> None:
    lines = TimelineWriter(10)
    for n in range(100):
        lines.add(raw(core), [entry(f"r{n}", NOW + n), entry(f"r{n}", NOW + n, device="d2")])
        assert len(story(core)) <= 13
    assert [reason for reason, _ in story(core)][:10] == [f"r{n}" for n in range(99, 89, -1)]


def test_the_bound_holds_for_a_story_that_was_there_before(core: Connection) -> None:
    TimelineWriter(100).add(raw(core), [entry(f"r{n}", NOW + n) for n in range(50)])
    TimelineWriter(10).add(raw(core), [entry("new", NOW + 100)])
    assert [reason for reason, _ in story(core)] == ["new", *(f"r{n}" for n in range(49, 40, -1))]


def test_what_goes_on_all_the_time_does_not_vanish_behind_what_is_rare(core: Connection) -> None:
    """Repeated every 30 seconds it stays one line; that line must not be cut off as the oldest."""
    lines = TimelineWriter(10)
    steps = 120
    for n in range(steps):
        lines.add(raw(core), [entry("every 30 s", NOW + n * 30_000)])
        if n % 4 == 0:
            lines.add(raw(core), [entry("every 2 min", NOW + n * 30_000)])
    told = [row for row in timeline.load(core, "d1", 100) if row["reason"] == "every 30 s"]
    assert told
    assert told[0]["at"] == NOW + (steps - 1) * 30_000


def test_after_forgetting_a_repetition_begins_a_new_line_and_the_bound_holds(core: Connection) -> None:
    lines = TimelineWriter(10)
    for n in range(30):
        lines.add(raw(core), [entry(f"r{n % 3}", NOW + n)])
        lines.forget()
    assert 10 <= len(story(core)) <= 13
    assert all(count == 1 for _, count in story(core))


def test_a_story_is_read_page_by_page_newest_first(core: Connection) -> None:
    TimelineWriter(100).add(raw(core), [entry(f"r{n}", NOW + n, device=f"d{n % 2}") for n in range(40)])
    found: list[str] = []
    before: int | None = None
    while rows := timeline.load(core, "d1", 7, before):
        assert len(rows) <= 7
        found += [row["reason"] for row in rows]
        before = rows[-1]["id"]
    assert found == [f"r{n}" for n in range(39, 0, -2)]


@pytest.mark.parametrize("seed", range(10))
def test_lines_that_come_in_one_transaction_make_the_same_story_as_one_by_one(core: Connection, seed: int) -> None:
    chance = random.Random(seed)
    told = []
    at = NOW
    for _ in range(60):
        at += chance.choice((0, 1_000, FOLD_MS // 2, FOLD_MS, FOLD_MS + 1))
        told.append((chance.choice(("a", "b", "c")), at, chance.choice(("refused", "connected"))))
    alone, together = TimelineWriter(1_000), TimelineWriter(1_000)
    for reason, when, kind in told:
        alone.add(raw(core), [entry(reason, when, "alone", kind)])
    at_once = [entry(reason, when, "together", kind) for reason, when, kind in told]
    while at_once:
        size = chance.randint(1, 20)
        together.add(raw(core), at_once[:size])
        del at_once[:size]
        # The two share a table here, so each has to look for the next free number.
        together._last_id = alone._last_id = 0

    def lines(device: str) -> list[Any]:
        return [{**row, "id": 0, "device": ""} for row in timeline.load(core, device, 1_000)]

    assert lines("together") == lines("alone")
    assert len(lines("alone")) > 10


def test_a_story_that_grows_much_in_one_transaction_is_bounded_all_the_same(core: Connection) -> None:
    writer = TimelineWriter(10)
    writer.add(raw(core), [entry(f"r{n}") for n in range(100)])
    assert [reason for reason, _ in story(core)] == [f"r{n}" for n in range(99, 89, -1)]
