from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from relevo.domain.claims import Screening, identity_key
from relevo.domain.events import UnclaimedSeen
from relevo.domain.records import Kept
from relevo.store import records, unclaimed
from tests.store.samples import NOW, core_of, stranger


@pytest.fixture
def core(path: Path) -> Any:
    with core_of(path) as connection:
        yield connection


def known(core: Connection, limit: int = 100) -> list[tuple[str, str]]:
    return [(row["contract"], row["external_id"]) for row in unclaimed.load(core, limit)]


def test_seeing_somebody_again_counts_and_keeps_the_first_time(core: Connection) -> None:
    unclaimed.note(core, stranger("A", NOW), 10)
    again = stranger("A", NOW + 5_000, count=4)
    again.payload = {"totalLiters": 2.0}
    again.address = "10.0.0.9"
    unclaimed.note(core, again, 10)
    (row,) = unclaimed.load(core, 10)
    assert (row["first_seen"], row["last_seen"], row["count"]) == (NOW, NOW + 5_000, 5)
    assert (row["payload"], row["address"], row["reason"]) == ({"totalLiters": 2.0}, "10.0.0.9", "unclaimed")


def test_beyond_the_bound_the_one_not_heard_for_longest_goes(core: Connection) -> None:
    for n in range(5):
        unclaimed.note(core, stranger(f"S{n}", NOW + n), 5)
    unclaimed.note(core, stranger("S0", NOW + 10), 5)
    unclaimed.note(core, stranger("S5", NOW + 11), 5)
    assert known(core) == [("hidrometro", name) for name in ("S5", "S0", "S4", "S3", "S2")]
    unclaimed.note(core, stranger("S6", NOW + 12), 5)
    assert ("hidrometro", "S2") not in known(core)
    assert len(known(core)) == 5


def test_the_newest_are_listed_first_up_to_the_limit(core: Connection) -> None:
    for n in (2, 0, 1):
        unclaimed.note(core, stranger(f"S{n}", NOW + n), 10)
    assert known(core, 2) == [("hidrometro", "S2"), ("hidrometro", "S1")]


def test_the_same_identity_under_two_contracts_is_two_strangers(core: Connection) -> None:
    unclaimed.note(core, stranger("A", NOW), 10)
    unclaimed.note(core, stranger("A", NOW + 1, contract="native"), 10)
    unclaimed.forget(core, "hidrometro", "A")
    assert known(core) == [("native", "A")]
    unclaimed.forget(core, "hidrometro", "A")


def test_a_reading_without_any_identity_is_one_entry(core: Connection) -> None:
    for n in range(3):
        unclaimed.note(core, stranger("", NOW + n), 10)
    assert [(row["external_id"], row["count"]) for row in unclaimed.load(core, 10)] == [("", 3)]


def screened(core: Connection, external_id: str, standing: str) -> None:
    one = Screening(identity_key("hidrometro", external_id), "hidrometro", external_id, standing, "ana", NOW)
    records.apply(core, [Kept(one)])


def test_what_an_operator_decided_stands_beside_what_was_heard(core: Connection) -> None:
    for n in range(3):
        unclaimed.note(core, stranger(f"S{n}", NOW + n), 10)
    screened(core, "S1", "ignored")
    assert [row["external_id"] for row in unclaimed.load(core, 10, standing="new")] == ["S2", "S0"]
    (row,) = unclaimed.load(core, 10, standing="ignored")
    assert (row["external_id"], row["standing_by"], row["payload"]) == ("S1", "ana", {"v": 1})


def test_one_that_was_crowded_out_can_still_be_restored(core: Connection) -> None:
    screened(core, "gone", "blocked")
    (row,) = unclaimed.load(core, 10, standing="blocked")
    assert (row["external_id"], row["last_seen"], row["payload"]) == ("gone", 0, {})


def test_a_blocked_one_is_counted_and_not_heard(core: Connection) -> None:
    unclaimed.note(core, stranger("loud", NOW), 10)
    screened(core, "loud", "blocked")
    again = UnclaimedSeen("hidrometro", "loud", NOW + 5, "blocked", "10.0.0.9", {}, 7, "blocked")
    unclaimed.note(core, again, 10)
    (row,) = unclaimed.load(core, 10, standing="blocked")
    assert (row["count"], row["last_seen"], row["address"]) == (8, NOW + 5, "10.0.0.9")
    assert (row["payload"], row["reason"]) == ({"v": 1}, "unclaimed")
    screened(core, "unheard", "blocked")
    unclaimed.note(core, UnclaimedSeen("hidrometro", "unheard", NOW + 6, "blocked", standing="blocked"), 10)
    (row, _) = unclaimed.load(core, 10, standing="blocked")
    assert (row["external_id"], row["count"], row["payload"]) == ("unheard", 1, {})


def test_pages_meet_without_gap_or_overlap_though_times_are_equal(core: Connection) -> None:
    for name in ("a", "b", "", "c", "%d_"):
        unclaimed.note(core, stranger(name, NOW), 10)
    screened(core, "never heard", "blocked")
    seen: list[str] = []
    before = None
    while rows := unclaimed.load(core, 2, before):
        seen += [row["external_id"] for row in rows]
        before = (rows[-1]["last_seen"], rows[-1]["contract"], rows[-1]["external_id"])
    assert sorted(seen) == sorted(["a", "b", "", "c", "%d_", "never heard"])
    assert [row["external_id"] for row in unclaimed.load(core, 10, search="%D_")] == ["%d_"]
    assert unclaimed.find(core, "hidrometro", "b") is not None
    assert unclaimed.find(core, "hidrometro", "never heard") is None
