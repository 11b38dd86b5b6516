import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from relevo.wire.topics import SubscriptionTree, TopicTree, covers, matches, meeting, valid_filter

# Few names, so that filters and topics really meet; an empty level and a hidden one are among them.
plain_levels = st.sampled_from(["a", "b", "", "$s"])
filter_levels = st.sampled_from(["a", "b", "", "$s", "+", "+"])
topics = st.lists(plain_levels, min_size=1, max_size=5).map("/".join).filter(bool)


@st.composite
def any_filter(draw: st.DrawFn) -> str:
    levels = draw(st.lists(filter_levels, max_size=4))
    if draw(st.booleans()) or not levels:
        levels.append("#")
    return "/".join(levels) or "#"


filters = any_filter()


def falls_under(filter_: str, topic: str) -> bool:
    """The standard's rules once more, as a regular expression."""
    if topic.startswith("$") and filter_[0:1] in ("+", "#"):
        return False
    pattern = ""
    for n, level in enumerate(filter_.split("/")):
        if level == "#":
            pattern += "(/.*)?" if n else ".*"
            break
        pattern += ("/" if n else "") + ("[^/]*" if level == "+" else re.escape(level))
    return re.fullmatch(pattern, topic, re.DOTALL) is not None


@given(filters, topics)
@settings(max_examples=300)
def test_a_topic_falls_under_a_filter_as_the_standard_says(filter_: str, topic: str) -> None:
    assert matches(filter_, topic) == falls_under(filter_, topic)


@given(st.text(st.sampled_from("a/+#$"), max_size=8))
@settings(max_examples=500)
def test_a_filter_is_valid_when_its_wildcards_stand_alone_and_the_many_last(text: str) -> None:
    wanted = re.fullmatch(r"(([^+#/]*|\+)/)*([^+#/]*|\+|#)", text) is not None and text != ""
    assert valid_filter(text) is wanted


@st.composite
def widened(draw: st.DrawFn, narrow: str) -> str:
    """``narrow`` with some levels opened, and perhaps everything from one level on."""
    levels = ["+" if level != "#" and draw(st.booleans()) else level for level in narrow.split("/")]
    if draw(st.booleans()):
        levels = [*levels[: draw(st.integers(0, len(levels)))], "#"]
    return "/".join(levels)


@given(topics.flatmap(lambda topic: st.tuples(st.just(topic), widened(topic))), filters)
@settings(max_examples=500)
def test_a_filter_that_covers_another_takes_in_all_its_topics(case: tuple[str, str], wide: str) -> None:
    topic, narrow = case
    if matches(narrow, topic) and covers(wide, narrow):
        assert matches(wide, topic)


@given(filters.flatmap(lambda narrow: st.tuples(st.just(narrow), widened(narrow))))
@settings(max_examples=500)
def test_a_filter_covers_all_that_are_narrower_in_some_level(case: tuple[str, str]) -> None:
    narrow, wide = case
    assert covers(wide, narrow) or (narrow.startswith("$") and wide[0] in "+#")


@given(filters)
def test_every_filter_covers_itself(filter_: str) -> None:
    assert covers(filter_, filter_)


@given(filters, topics)
def test_a_filter_covers_a_plain_topic_when_it_matches_it(filter_: str, topic: str) -> None:
    assert covers(filter_, topic) == matches(filter_, topic)


@pytest.mark.parametrize(
    ("allowed", "requested", "inside"),
    [
        ("relevo/d1/command", "relevo/d1/command", True),
        ("relevo/d1/command", "relevo/+/command", False),
        ("relevo/d1/command", "relevo/d1/#", False),
        ("relevo/d1/command", "#", False),
        ("relevo/d1/#", "relevo/d1", True),
        ("relevo/d1/#", "relevo/d10/x", False),
        ("relevo/d1/#", "relevo/d1/+/x", True),
        ("relevo/+/state", "relevo/+/state", True),
        ("relevo/+/state", "relevo/#", False),
        ("relevo/+", "relevo/a/b", False),
        ("+/+", "#", False),
        ("#", "a/#", True),
        ("#", "$SYS/#", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/+/load", True),
        ("$SYS/#", "#", False),
    ],
)
def test_a_right_is_never_widened_by_a_request(allowed: str, requested: str, inside: bool) -> None:
    assert covers(allowed, requested) is inside


class TreeOfFilters(RuleBasedStateMachine):
    """The tree answers as if every filter were asked one by one."""

    used = Bundle("used")

    def __init__(self) -> None:
        super().__init__()
        self.tree: SubscriptionTree[tuple[str, str, int]] = SubscriptionTree()
        self.held: dict[tuple[str, str], tuple[str, str, int]] = {}
        self.number = 0

    @rule(target=used, filter_=filters | topics, holder=st.sampled_from(["x", "y"]))
    def add(self, filter_: str, holder: str) -> tuple[str, str]:
        self.number += 1
        value = (filter_, holder, self.number)
        assert self.tree.add(filter_, holder, value) is ((filter_, holder) not in self.held)
        self.held[filter_, holder] = value
        return filter_, holder

    @rule(which=used)
    def discard(self, which: tuple[str, str]) -> None:
        assert self.tree.discard(*which) is (self.held.pop(which, None) is not None)

    @rule(filter_=filters, holder=st.sampled_from(["x", "z"]))
    def discard_what_may_not_be_there(self, filter_: str, holder: str) -> None:
        assert self.tree.discard(filter_, holder) is (self.held.pop((filter_, holder), None) is not None)

    @rule(topic=topics)
    def match(self, topic: str) -> None:
        # Twice: the second answer comes from memory.
        for _ in range(2):
            found = self.tree.match(topic)
            assert len(found) == len(set(found))
            assert set(found) == {value for (filter_, _), value in self.held.items() if falls_under(filter_, topic)}

    @invariant()
    def the_count_is_exact(self) -> None:
        assert self.tree.count == len(self.held)


class TreeOfTopics(RuleBasedStateMachine):
    """Selecting gives what looking through all topics would."""

    used = Bundle("used")

    def __init__(self) -> None:
        super().__init__()
        self.tree: TopicTree[int] = TopicTree()
        self.held: dict[str, int] = {}

    @rule(target=used, topic=topics, value=st.integers(1, 9))
    def set(self, topic: str, value: int) -> str:
        self.tree.set(topic, value)
        self.held[topic] = value
        return topic

    @rule(topic=used)
    def remove(self, topic: str) -> None:
        assert self.tree.remove(topic) == self.held.pop(topic, None)

    @rule(topic=topics)
    def remove_what_may_not_be_there(self, topic: str) -> None:
        assert self.tree.remove(topic) == self.held.pop(topic, None)

    @rule(topic=topics)
    def get(self, topic: str) -> None:
        assert self.tree.get(topic) == self.held.get(topic)

    @rule(filter_=filters | topics)
    def select(self, filter_: str) -> None:
        found = self.tree.select(filter_)
        assert len(found) == len(dict(found))
        assert dict(found) == {topic: value for topic, value in self.held.items() if falls_under(filter_, topic)}

    @invariant()
    def the_count_is_exact(self) -> None:
        assert self.tree.count == len(self.held)


TestTreeOfFilters = TreeOfFilters.TestCase
TestTreeOfFilters.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTreeOfTopics = TreeOfTopics.TestCase
TestTreeOfTopics.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_remembered_answer_does_not_outlive_a_change() -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    assert tree.match("a/b") == ()
    tree.add("a/+", "x", "one")
    assert tree.match("a/b") == ("one",)
    tree.add("a/+", "x", "two")
    assert tree.match("a/b") == ("two",)
    tree.discard("a/+", "x")
    assert tree.match("a/b") == ()


def test_answers_for_a_flood_of_topics_are_right_and_not_all_kept() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    tree.add("flood/+", "x", 1)
    for n in range(SubscriptionTree._ANSWERS_KEPT + 100):
        assert tree.match(f"flood/{n}") == (1,)
    assert len(tree._answers) <= SubscriptionTree._ANSWERS_KEPT


@pytest.mark.parametrize("filter_", ["#", "+/internal", "+/#"])
def test_hidden_topics_are_found_by_their_name_only(filter_: str) -> None:
    subscriptions: SubscriptionTree[int] = SubscriptionTree()
    subscriptions.add(filter_, "x", 1)
    retained: TopicTree[int] = TopicTree()
    retained.set("$SYS/internal", 1)
    assert subscriptions.match("$SYS/internal") == ()
    assert retained.select(filter_) == []
    for exact in ("$SYS/internal", "$SYS/+", "$SYS/#"):
        subscriptions.add(exact, "y", 2)
        assert subscriptions.match("$SYS/internal") == (2,)
        subscriptions.discard(exact, "y")
        assert retained.select(exact) == [("$SYS/internal", 1)]


@given(filters, filters, topics)
@settings(max_examples=500)
def test_two_filters_meet_in_a_topic_that_falls_under_both(one: str, other: str, topic: str) -> None:
    found = meeting(one, other)
    assert (found is None) == (meeting(other, one) is None)
    if found is not None:
        assert matches(one, found) and matches(other, found)
    else:
        assert not (matches(one, topic) and matches(other, topic))


@given(topics.flatmap(lambda topic: st.tuples(st.just(topic), widened(topic), widened(topic))))
@settings(max_examples=300)
def test_filters_of_one_topic_meet(given_: tuple[str, str, str]) -> None:
    topic, one, other = given_
    if matches(one, topic) and matches(other, topic):
        assert meeting(one, other) is not None
