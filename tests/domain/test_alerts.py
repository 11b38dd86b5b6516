"""Alerts: one at a time for what is the same, counted, raised, ended."""

from typing import Any

import pytest

from relevo.domain.alerts import REOPEN_MS, Alert, Alerts, after
from relevo.domain.events import AlertChanged
from relevo.errors import Conflict

AT = 1_767_225_600_000


class Book:
    """Alerts of Ana's with ids in their order."""

    def __init__(self) -> None:
        self.alerts = Alerts()
        self.count = 0

    def fired(self, at: int = 0, rule: str = "r", device: str = "d", owner: str = "ana", **action: Any) -> AlertChanged:
        self.count += 1
        body = {"severity": "warning", "text": "hot", **action}
        return self.alerts.fired(
            f"a{self.count}", device, owner, rule, rule.upper(), body, body["text"], {"t": self.count}, AT + at
        )

    def cleared(self, at: int, rule: str = "r", device: str = "d") -> list[str]:
        return [one.change for one in self.alerts.cleared(rule, device, AT + at)]

    def one(self) -> Alert:
        (found,) = self.alerts.live.values()
        return found


@pytest.fixture
def book() -> Book:
    return Book()


def test_what_would_open_the_same_again_is_counted(book: Book) -> None:
    first, second = book.fired(), book.fired(10)
    assert (first.change, second.change) == ("opened", "repeated")
    assert (second.id, second.count, second.opened_at, second.values) == (first.id, 2, AT, {"t": 2})
    assert after(second) == book.one()
    # Another device's, another rule's and another person's are others.
    for other in (book.fired(device="e"), book.fired(rule="s"), book.fired(owner="ben")):
        assert other.change == "opened"


def test_it_clears_with_its_rule_and_is_reopened_soon_after(book: Book) -> None:
    first = book.fired()
    assert book.cleared(1_000) == ["cleared"]
    assert book.cleared(1_000) == []
    again = book.fired(1_000 + REOPEN_MS)
    assert (again.change, again.id, again.count, again.ended_at, again.state) == ("reopened", first.id, 2, 0, "open")
    book.cleared(2_000 + REOPEN_MS)
    later = book.fired(2_001 + 2 * REOPEN_MS)
    assert (later.change, later.count) == ("opened", 1)
    assert later.id != first.id


def test_one_that_waits_for_a_person_does_not_clear(book: Book) -> None:
    book.fired(auto_clear=False)
    assert book.cleared(1) == []
    assert book.fired(2, auto_clear=False).change == "repeated"
    resolved = book.alerts.resolve(book.one(), "ana", "done", AT + 3)
    assert (resolved.state, resolved.by, resolved.note, resolved.ended_at) == ("resolved", "ana", "done", AT + 3)
    assert book.fired(4).change == "opened"


def test_rules_that_share_a_key_share_an_alert_and_the_worst_is_told(book: Book) -> None:
    warm = book.fired(0, "warm", key="heat", text="warm")
    seen = book.alerts.acknowledge(book.one(), "ana", "", AT + 1)
    assert seen.state == "acknowledged"
    hot = book.fired(2, "hot", key="heat", severity="critical", text="hot")
    assert (hot.change, hot.id, hot.severity, hot.text, hot.state) == ("escalated", warm.id, "critical", "hot", "open")
    mild = book.fired(3, "warm", key="heat", text="warm again")
    assert (mild.change, mild.severity, mild.text) == ("repeated", "critical", "hot")
    assert book.cleared(4, "hot") == []
    assert book.cleared(5, "warm") == ["cleared"]


def test_it_is_acknowledged_once_and_resolved_once(book: Book) -> None:
    book.fired()
    book.alerts.acknowledge(book.one(), "ana", "", AT)
    with pytest.raises(Conflict):
        book.alerts.acknowledge(book.one(), "ben", "", AT)
    alert = book.one()
    book.alerts.resolve(alert, "ana", "", AT)
    with pytest.raises(Conflict):
        book.alerts.resolve(after(book.alerts.resolve(alert, "ana", "", AT)), "ben", "", AT)
    assert book.alerts.live == {}


def test_what_is_stored_is_taken_up_and_a_removed_device_forgotten(book: Book) -> None:
    open_one = after(book.fired())
    book.fired(device="e")
    ended = [after(one) for one in book.alerts.cleared("r", "e", AT + 5)]
    other = Alerts()
    other.load([open_one, *ended])
    assert list(other.live) == [open_one.id]
    body = {"severity": "info", "text": "x"}
    assert other.fired("n", "e", "ana", "r", "R", body, "x", {}, AT + 6).change == "reopened"
    other.forget("d")
    assert open_one.id not in other.live
    assert other.fired("m", "d", "ana", "r", "R", body, "x", {}, AT + 6).change == "opened"


def test_what_comes_and_goes_fills_no_memory(book: Book) -> None:
    for n in range(5_000):
        book.fired(n * 1_000, device=f"d{n}")
        book.cleared(n * 1_000 + 1, device=f"d{n}")
    assert len(book.alerts._by_key) < 2_000
