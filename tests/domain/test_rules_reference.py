import json
from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.domain.evaluator import Evaluator
from relevo.domain.events import StateReported, TelemetryReceived
from relevo.domain.firings import Input, Outcome, Presence
from relevo.domain.rules import Rule, compile_rule
from tests.domain.rule_reference import firings
from tests.domain.rule_samples import arrival, device, evaluator, ms, rule, short

END = 130
keys = st.sampled_from(["a", "b"])
numbers = st.integers(-3, 3)
ops = st.sampled_from([">", ">=", "<", "<="])
durations = st.integers(0, 20)
leaves = st.one_of(
    st.builds(
        lambda key, op, than, band, for_s: {
            "value": {"key": key, "op": op, "than": than, "hysteresis": band, "for_s": for_s}
        },
        keys,
        ops,
        numbers,
        st.integers(0, 2),
        durations,
    ),
    st.builds(
        lambda key, op, than: {"value": {"key": key, "op": op, "than": than, "hysteresis": 0, "for_s": 0}},
        keys,
        st.sampled_from(["==", "!="]),
        numbers,
    ),
    st.builds(
        lambda key, per, op, than: {"rate": {"key": key, "per_s": per, "op": op, "than": than}},
        keys,
        st.integers(1, 40),
        ops,
        numbers,
    ),
    st.builds(lambda key, for_s: {"absent": {"key": key, "for_s": for_s}}, keys | st.just(""), st.integers(1, 20)),
    st.builds(lambda key: {"changed": {"key": key}}, keys),
    st.builds(lambda on, for_s: {"presence": {"online": on, "for_s": for_s}}, st.booleans(), durations),
    st.builds(lambda on: {"state": {"path": "p", "equals": on}}, st.booleans()),
    st.just({"between": {"from": "00:01", "to": "00:02", "zone": "UTC"}}),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda kind, body: {kind: body}, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)
        ),
        st.builds(lambda body: {"not": body}, inner),
    ),
    max_leaves=5,
)
said = st.one_of(
    st.dictionaries(keys, numbers | st.just("text"), min_size=1),
    st.dictionaries(keys, numbers, min_size=1),
    st.booleans(),
    st.dictionaries(st.sampled_from(["p", "q"]), st.booleans()),
)
# Seconds since the arrival before, seconds on the way, what is said, and whether it comes twice.
steps = st.lists(
    st.tuples(st.integers(0, 8), st.just(0) | st.integers(-3, 15), said, st.booleans()), min_size=1, max_size=12
)


def events_of(stepped: list[tuple[int, int, Any, bool]]) -> list[Input]:
    found: list[Input] = []
    now = 0
    for gap, lag, what, twice in stepped:
        now = min(now + gap, END)
        at = max(now - lag, 0)
        one: Input
        if isinstance(what, bool):
            one = Presence("d", ms(now), what)
        elif set(what) <= {"p", "q"}:
            one = StateReported("d", ms(now), what)
        else:
            one = TelemetryReceived("d", ms(at), "device", ms(now), what)
        found += [one, one] if twice else [one]
    return found


def play(followed: Evaluator, events: list[Input], every: int = END) -> list[str]:
    outcomes: list[Outcome] = followed.tick(ms(0))
    upto = 0
    for one in events:
        while ms(upto + every) < arrival(one):
            upto += every
            outcomes += followed.tick(ms(upto))
        outcomes += followed.feed(one, arrival(one))
    return short(outcomes + followed.tick(ms(END)))


def born(one: Rule) -> tuple[Evaluator, list[Outcome]]:
    followed = Evaluator()
    outcomes = followed.put(compile_rule(one), ms(0))
    return followed, outcomes + followed.place(device(), ms(0))


@given(conditions, st.sampled_from([0, 0, 7, 30]), steps)
@settings(max_examples=200, deadline=None)
def test_the_same_firings_as_looking_through_everything_each_time(
    condition: dict[str, Any], cooldown: int, stepped: list[tuple[int, int, Any, bool]]
) -> None:
    events = events_of(stepped)
    expected = firings(condition, cooldown, events, END)
    note("fires" if expected else "never fires")
    followed, first = born(rule(condition, cooldown_s=cooldown))
    assert short(first) + play(followed, events) == expected
    followed, first = born(rule(condition, cooldown_s=cooldown))
    assert short(first) + play(followed, events, 1) == expected, "however often somebody looks at the clock"


@given(st.lists(st.tuples(conditions, st.sampled_from([0, 7])), min_size=2, max_size=5), steps, st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_beside_others_a_rule_does_what_it_does_alone(
    several: list[tuple[dict[str, Any], int]], stepped: list[tuple[int, int, Any, bool]], joins: int
) -> None:
    """The last rule comes after some events and leaves before the end, which nobody else notices."""
    events = events_of(stepped)
    rules = [rule(condition, f"r{n}", cooldown) for n, (condition, cooldown) in enumerate(several)]
    late = rules.pop()
    alone = {one.id: born(one) for one in rules}
    together = Evaluator()
    outcomes: list[Outcome] = together.place(device(), ms(0))
    for one in rules:
        outcomes += together.put(compile_rule(one), ms(0))
    expected = [outcome for _, first in alone.values() for outcome in first]
    now = ms(0)
    for n, event in enumerate(events):
        now = arrival(event)
        if n == joins:
            outcomes += together.put(compile_rule(late), now)
        outcomes += together.feed(event, now)
        for followed, _ in alone.values():
            expected += followed.feed(event, now)
        if n == joins + 4:
            outcomes += together.drop(late.id, now)
    outcomes += together.tick(ms(END))
    for followed, _ in alone.values():
        expected += followed.tick(ms(END))
    for one in rules:
        mine = [outcome for outcome in outcomes if outcome.rule == one.id]
        assert mine == [outcome for outcome in expected if outcome.rule == one.id]


@given(conditions, st.sampled_from([0, 7]), steps)
@settings(max_examples=150, deadline=None)
def test_kept_and_restored_at_every_point_nothing_changes(
    condition: dict[str, Any], cooldown: int, stepped: list[tuple[int, int, Any, bool]]
) -> None:
    events = events_of(stepped)
    one = rule(condition, cooldown_s=cooldown)
    steady, first = born(one)
    restarted, again = born(one)
    assert first == again
    for event in events:
        now = arrival(event)
        expected = steady.feed(event, now)
        assert restarted.feed(event, now) == expected
        dump = json.loads(json.dumps(restarted.dump(now)))
        assert dump == json.loads(json.dumps(steady.dump(now)))
        restarted = Evaluator()
        restarted.restore(dump)
        assert restarted.place(device(), now) == []
        assert restarted.put(compile_rule(one), now) == []
        assert restarted.dump(now) == steady.dump(now)
    assert restarted.tick(ms(END)) == steady.tick(ms(END))


@given(
    st.lists(st.tuples(st.integers(1, 8), numbers), min_size=1, max_size=20),
    leaves.filter(lambda leaf: set(leaf) <= {"value", "rate", "changed"}),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_repetitions_of_what_is_old_change_nothing(
    stepped: list[tuple[int, int]], leaf: dict[str, Any], data: st.DataObject
) -> None:
    clean: list[Input] = []
    now = 0
    for gap, value in stepped:
        now += gap
        clean.append(TelemetryReceived("d", ms(now), "device", ms(now), {"a": value, "b": value}))
    dirty: list[Input] = []
    for n, one in enumerate(clean):
        dirty.append(one)
        for i in data.draw(st.lists(st.integers(0, n), max_size=3)):
            old = clean[i]
            assert isinstance(old, TelemetryReceived) and isinstance(one, TelemetryReceived)
            dirty.append(TelemetryReceived("d", old.ts, "device", one.received, old.values))
    assert play(evaluator(rule(leaf)), dirty) == play(evaluator(rule(leaf)), clean)
