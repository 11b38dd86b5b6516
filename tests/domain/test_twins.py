"""Desired against reported (contract thingsnxt, section 3.1), held against a reading that keeps everything."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relevo.domain.events import DesiredAgreed, DesiredChanged, DesiredFailed, ReportedChanged
from relevo.domain.twins import (
    AGREED,
    BYTES_MOST,
    DELIVERED,
    FAILED,
    KEYS_MOST,
    PENDING,
    Contact,
    Twin,
    TwinEvent,
    agree_within_ms,
    apply,
    check_document,
    delivered,
    delta,
    desire,
    desired_values,
    effective,
    give_up,
    merged,
    report,
    reported_values,
    same,
)
from relevo.errors import Invalid

KEYS = ("v0", "v1")
VALUES = st.sampled_from([0, 1, True, "on"])
WITHIN_MS, SILENCE_MS = 60_000, 20_000
ABSENT = object()


def take(twin: Twin, events: list[TwinEvent]) -> list[TwinEvent]:
    for event in events:
        apply(twin, event)
    return events


def said(twin: Twin, values: dict[str, Any], at: int = 1, whole: bool = False) -> list[TwinEvent]:
    events, refused = report(twin, "d", values, at, "d", whole)
    assert refused == []
    return take(twin, events)


def wished(twin: Twin, values: dict[str, Any], at: int = 1) -> list[TwinEvent]:
    return take(twin, desire(twin, "d", merged(desired_values(twin), values), values, at, "ann"))


def states(twin: Twin) -> dict[str, str]:
    return {key: wish.state for key, wish in twin.desired.items()}


class Story:
    """One key as the contract's text has it: all that happened is kept, and read from the beginning each time."""

    def __init__(self) -> None:
        self.happened: list[tuple[int, str, Any]] = []

    def tell(self) -> tuple[str, Any, Any]:
        """The wish's state, what is shown, and what is left to tell the device."""
        wish: Any = ABSENT
        value: Any = ABSENT
        state, began = "", 0
        for n, (_, what, detail) in enumerate(self.happened):
            if what == "wish":
                renewed = wish is ABSENT or not same(wish, detail) or state == FAILED
                renewed = renewed or (state == AGREED and not same(value, detail))
                if renewed:
                    over = wish is ABSENT or state == AGREED
                    state = AGREED if over and value is not ABSENT and same(value, detail) else PENDING
                    wish, began = detail, n
            elif what == "unwish":
                wish, state = ABSENT, ""
            elif what == "report":
                value = detail
                if state in (PENDING, FAILED) and same(value, wish):
                    state = AGREED
            if state == PENDING and self._contact(began, n) >= WITHIN_MS:
                state = AGREED if value is not ABSENT and same(value, wish) else FAILED
        shown = wish if state == PENDING else value
        return state, shown, wish if state == PENDING else ABSENT

    def _contact(self, began: int, now: int) -> int:
        total, before = 0, None
        for at, what, linked in self.happened[began : now + 1]:
            if what == "away":
                before = None
            elif what == "heard":
                if before is not None and (linked or at - before <= SILENCE_MS):
                    total += at - before
                before = at
        return total


class Twinned(RuleBasedStateMachine):
    """Two keys of one device; time moves with everything that happens."""

    @initialize()
    def begin(self) -> None:
        self.now = 1_000
        self.twin, self.contact = Twin(), Contact()
        self.journal: list[TwinEvent] = []
        self.stories = {key: Story() for key in KEYS}
        self.linked = False
        self.versions = (0, 0)

    def take(self, events: list[TwinEvent]) -> None:
        for event in events:
            apply(self.twin, event)
            self.journal.append(event)
            for key in event.values if isinstance(event, DesiredChanged) else ():
                self.contact.wished(key, self.now)
        for key in self.contact.pending():
            if key not in delta(self.twin):
                self.contact.over(key)

    def heard(self) -> None:
        for story in self.stories.values():
            story.happened.append((self.now, "heard", self.linked))
        self.contact.heard(self.now, self.linked, SILENCE_MS)
        self.take(give_up(self.twin, "d", self.contact.exhausted(WITHIN_MS), self.now))

    @rule(key=st.sampled_from(KEYS), value=VALUES)
    def desire(self, key: str, value: Any) -> None:
        self.now += 1
        self.stories[key].happened.append((self.now, "wish", value))
        self.take(
            desire(self.twin, "d", merged(desired_values(self.twin), {key: value}), {key: value}, self.now, "ann")
        )

    @rule(key=st.sampled_from(KEYS))
    def desire_no_more(self, key: str) -> None:
        self.now += 1
        self.stories[key].happened.append((self.now, "unwish", None))
        self.take(desire(self.twin, "d", merged(desired_values(self.twin), {key: None}), {key: None}, self.now, "ann"))

    @rule(key=st.sampled_from(KEYS), value=VALUES)
    def report(self, key: str, value: Any) -> None:
        """A report is heard too."""
        self.now += 1
        self.stories[key].happened.append((self.now, "report", value))
        events, refused = report(self.twin, "d", {key: value}, self.now, "d")
        assert refused == []
        self.take(events)
        self.heard()

    @rule(seconds=st.sampled_from([1, 7, 20, 21, 45, 90]))
    def is_heard_after(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.heard()

    @rule(seconds=st.sampled_from([0, 30, 100_000]))
    def goes_away(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.linked = False
        self.contact.broke()
        for story in self.stories.values():
            story.happened.append((self.now, "away", None))

    @rule()
    def connects(self) -> None:
        self.now += 1
        self.linked = True
        self.heard()

    @invariant()
    def it_is_as_the_text_says(self) -> None:
        if not hasattr(self, "stories"):
            return
        shown, left = effective(self.twin), delta(self.twin)
        for key, story in self.stories.items():
            state, value, pending = story.tell()
            assert states(self.twin).get(key, "") == state, (key, story.happened)
            assert same(shown.get(key, ABSENT), value), (key, story.happened)
            assert same(left.get(key, ABSENT), pending)

    @invariant()
    def versions_only_grow_and_the_journal_tells_all(self) -> None:
        if not hasattr(self, "stories"):
            return
        versions = (self.twin.desired_version, self.twin.reported_version)
        assert versions >= self.versions
        self.versions = versions
        again = Twin()
        for event in self.journal:
            apply(again, event)
        assert again == self.twin


TestTwinned = Twinned.TestCase
TestTwinned.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_report_of_another_value_does_not_cancel_the_wish() -> None:
    twin = Twin()
    said(twin, {"v0": 0})
    wished(twin, {"v0": 1})
    for n in range(5):
        said(twin, {"v0": 0, "n": n})
        assert (effective(twin)["v0"], reported_values(twin)["v0"]) == (1, 0)
    said(twin, {"v0": 1})
    assert (states(twin), delta(twin)) == ({"v0": AGREED}, {})
    said(twin, {"v0": 0})
    assert (states(twin), effective(twin)["v0"], delta(twin)) == ({"v0": AGREED}, 0, {})


def test_what_was_taken_back_before_the_device_heard_of_it_is_told_all_the_same() -> None:
    """It may have heard of it: only its own word says that it did not become so."""
    twin = Twin()
    said(twin, {"on": False})
    wished(twin, {"on": True})
    wished(twin, {"on": False})
    assert delta(twin) == {"on": False}
    said(twin, {"on": False})
    assert states(twin) == {"on": AGREED}


def test_what_is_so_already_has_agreed_at_once_and_is_not_told() -> None:
    twin = Twin()
    said(twin, {"on": False})
    assert [type(one) for one in wished(twin, {"on": False})] == [DesiredChanged, DesiredAgreed]
    assert (states(twin), delta(twin), twin.desired_version) == ({"on": AGREED}, {}, 1)
    assert wished(twin, {"on": False}) == []


def test_a_failed_wish_shows_the_report_and_agrees_later_or_begins_anew() -> None:
    twin = Twin()
    said(twin, {"on": False})
    wished(twin, {"on": True, "new": 1})
    (failed,) = take(twin, give_up(twin, "d", ["on", "new"], 9))
    assert isinstance(failed, DesiredFailed)
    assert (failed.values, failed.reported) == ({"on": True, "new": 1}, {"on": False})
    assert (effective(twin), delta(twin), twin.desired["on"].since) == ({"on": False}, {}, 9)
    wished(twin, {"new": 1})
    assert states(twin) == {"on": FAILED, "new": PENDING}
    said(twin, {"on": True})
    assert states(twin) == {"on": AGREED, "new": PENDING}


def test_a_key_that_is_never_reported_has_agreed_by_being_delivered_where_the_contract_says_so() -> None:
    twin = Twin()
    said(twin, {"v0": 0})
    wished(twin, {"v0": 1, "v9": 5})
    (agreed,) = take(twin, delivered(twin, "d", delta(twin), 7))
    assert isinstance(agreed, DesiredAgreed)
    assert (agreed.keys, agreed.reason) == (["v9"], DELIVERED)
    assert (effective(twin), delta(twin)) == ({"v0": 1, "v9": 5}, {"v0": 1})
    said(twin, {"v9": 6})
    assert effective(twin)["v9"] == 6


def test_only_a_change_is_an_event() -> None:
    twin = Twin()
    (changed,) = said(twin, {"a": 1, "b": {"x": 1}})
    assert isinstance(changed, ReportedChanged)
    assert said(twin, {"a": 1.0}) == said(twin, {"b": {"x": 1}}) == said(twin, {}) == said(twin, {"zzz": None}) == []
    (changed,) = said(twin, {"a": True, "b": {"y": 2}})
    assert isinstance(changed, ReportedChanged)
    assert (changed.values, changed.version) == ({"a": True, "b": {"x": 1, "y": 2}}, 2)
    (changed,) = said(twin, {"b": None})
    assert isinstance(changed, ReportedChanged)
    assert (changed.removed, reported_values(twin)) == (["b"], {"a": True})
    (changed,) = said(twin, {"c": {"n": None}}, whole=True)
    assert isinstance(changed, ReportedChanged)
    assert reported_values(twin) == {"c": {"n": None}}


@pytest.mark.parametrize(
    ("values", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merging_is_as_the_examples_of_rfc_7396(
    values: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]
) -> None:
    before = msgspec.json.encode(values)
    assert merged(values, patch) == result
    assert msgspec.json.encode(values) == before


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from(["k", "l", "m", "n"]), json_values, max_size=4)


@given(documents, documents, st.booleans())
def test_any_report_after_any_other_leaves_what_it_says(
    first: dict[str, Any], second: dict[str, Any], whole: bool
) -> None:
    twin = Twin()
    said(twin, first)
    before = reported_values(twin)
    events = said(twin, second, whole=whole)
    expected = {key: value for key, value in second.items() if value is not None} if whole else merged(before, second)
    assert same(reported_values(twin), expected)
    assert bool(events) == (not same(before, expected))
    # As the store keeps it.
    assert msgspec.json.decode(msgspec.json.encode(twin), type=Twin) == twin


@given(json_values, json_values)
def test_sameness_is_equality_of_json(one: Any, other: Any) -> None:
    assert same(one, one)
    assert same(one, other) == same(other, one)
    if msgspec.json.encode(one) == msgspec.json.encode(other):
        assert same(one, other)


def test_what_does_not_fit_is_left_out_and_the_rest_is_taken() -> None:
    twin = Twin()
    said(twin, {f"k{n}": n for n in range(KEYS_MOST - 1)})
    events, refused = report(twin, "d", {"k0": -1, "one": 1, "two": 2, "nan": math.nan}, 2, "d")
    take(twin, events)
    assert {one.reason for one in refused} == {"too_many_keys", "value_not_finite"}
    assert (reported_values(twin)["k0"], reported_values(twin)["one"], len(twin.reported)) == (-1, 1, KEYS_MOST)
    assert all("limit" in one.message or "256" in one.message or "finite" in one.message for one in refused)


def test_a_report_never_makes_the_document_too_large() -> None:
    twin = Twin()
    for n in range(8):
        events, refused = report(twin, "d", {f"text-{n}": "x" * 4000, "n": n}, n, "d")
        take(twin, events)
        assert [one.reason for one in refused] == (["document_too_large"] if n >= 4 else [])
    assert len(msgspec.json.encode(reported_values(twin))) <= BYTES_MOST
    assert reported_values(twin)["n"] == 7
    # Room again.
    said(twin, {"text-0": None, "text-9": "x" * 4000})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"a": None}, "value_null"),
        ({"a": math.inf}, "value_not_finite"),
        ({"": 1}, "key_invalid"),
        ({"a": [[[[[[[[[1]]]]]]]]]}, "json_too_deep"),
        ({f"k{n}": 1 for n in range(KEYS_MOST + 1)}, "too_many_keys"),
        ({f"k{n}": "x" * 4000 for n in range(5)}, "document_too_large"),
    ],
)
def test_a_desired_document_beyond_a_limit_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(Invalid) as problem:
        check_document(values)
    assert problem.value.reason == reason
    assert all(one.field.startswith("values") for one in problem.value.errors)
    assert problem.value.errors


def test_a_device_may_need_longer_than_others() -> None:
    assert agree_within_ms({}, 60) == 60_000
    assert agree_within_ms({"agree_within_s": 2.5}, 60) == 2_500
    for nonsense in (0, -1, True, "5", math.inf, None):
        assert agree_within_ms({"agree_within_s": nonsense}, 60) == 60_000


def test_what_was_heard_before_the_wish_is_no_contact() -> None:
    contact = Contact()
    contact.heard(0, True, SILENCE_MS)
    contact.wished("a", 59_000)
    # Told late: it was heard before the wish.
    contact.heard(58_000, True, SILENCE_MS)
    contact.heard(60_000, True, SILENCE_MS)
    assert contact.exhausted(1) == []
    contact.heard(119_999, True, SILENCE_MS)
    assert contact.exhausted(WITHIN_MS) == []
    contact.heard(120_000, True, SILENCE_MS)
    assert contact.exhausted(WITHIN_MS) == ["a"]
