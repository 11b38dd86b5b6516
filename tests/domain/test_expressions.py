"""Expressions: what is let in, what it costs at most, what it says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.expressions import TEXT_LIMIT, holds, read_expression
from relevo.domain.rules import compile_rule
from relevo.errors import Invalid
from tests.domain.rule_samples import evaluator, ms, rule, says, short


def said(text: str, **values: Any) -> bool | None:
    read, problem = read_expression(text)
    assert read is not None, problem
    return holds(read.source, values)


@pytest.mark.parametrize(
    ("text", "values", "answer"),
    [
        ("flow > 2.5", {"flow": 3}, True),
        ("flow > 2", {"flow": 2.5}, True),
        ("level / 2 == 1.5", {"level": 3}, True),
        ("a > 1 && b < 1 || c", {"a": 2, "b": 2, "c": True}, True),
        ("!(a > 1) ? b : c", {"a": 2, "b": True, "c": False}, False),
        ("mode == 'auto' && t - setpoint > 1", {"mode": "auto", "t": 22, "setpoint": 20.5}, True),
        ('mode.startsWith("man")', {"mode": "manual"}, True),
        ("-a < 1e3", {"a": 1}, True),
        ("'a[1].map(' == mode", {"mode": "a[1].map("}, True),
        # What cannot be said is not known, and never an error.
        ("t > 1", {"t": "warm"}, None),
        ("t + 1", {"t": 1}, None),
        ("a / b > 1", {"a": 0, "b": 0}, None),
    ],
)
def test_it_says_what_is_written(text: str, values: dict[str, Any], answer: bool | None) -> None:
    assert said(text, **values) is answer


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1 to 300 characters"),
        ("x" * (TEXT_LIMIT + 1), "1 to 300 characters"),
        ("[1, 2].all(x, x > a)", "'['"),
        ("{'a': 1}.a == b", "'{'"),
        ("has(a.b)", "calls has"),
        ("a.map (x, x)", "calls map"),
        ("a.matches('(a+)+$')", "calls matches"),
        ("a.b > 1", ".b"),
        ("a in b", "has in"),
        ("1 < 2", "names no key"),
        ("a > ", "no expression"),
        ("a ; b", "';'"),
        ("a > 0x10", "'0'"),
        ("a == '\\", '"\'"'),
        ("année > 1", "'é'"),
    ],
)
def test_what_is_not_let_in_is_told(text: str, problem: str) -> None:
    read, why = read_expression(text)
    assert read is None
    assert problem in why


@given(st.text(alphabet="ab01.'\"()[]{}<>=!&|?:+-*/%, \\\n", max_size=60) | st.text(max_size=40))
def test_nothing_that_is_written_breaks_it(text: str) -> None:
    read, problem = read_expression(text)
    assert (read is None) == bool(problem)
    if read is not None:
        assert holds(read.source, dict.fromkeys(read.keys, 1.0)) in (True, False, None)


def test_the_deepest_and_longest_that_is_let_in_ends() -> None:
    for text in ("(" * 148 + "a" + ")" * 148, "!" * 299 + "a", "a" + "+a" * 149 + ">0", "a?" * 99 + "a" + ":a" * 50):
        read, _ = read_expression(text[:TEXT_LIMIT])
        if read is not None:
            assert holds(read.source, {"a": 1.0}) in (True, False, None)


def test_as_a_condition_it_waits_for_all_its_keys_and_holds_for_a_time() -> None:
    followed = evaluator(rule({"expression": {"text": "flow > 2 && level < 10", "for_s": 5}}))
    outcomes = followed.feed(says(0, flow=3), ms(0))
    outcomes += followed.feed(says(1, level=5), ms(1))
    outcomes += followed.feed(says(3, flow=4, other=1), ms(3))
    outcomes += followed.tick(ms(6))
    assert short(outcomes) == ["+6"]
    assert outcomes[0].values == {"flow": 4, "level": 5}  # type: ignore[union-attr]
    # Older than the newest of its key, it says nothing.
    assert followed.feed(says(2, flow=0), ms(7)) == []
    assert short(followed.feed(says(8, level=10), ms(8))) == ["-8"]


def test_what_is_wrong_with_it_names_the_field() -> None:
    with pytest.raises(Invalid) as caught:
        compile_rule(rule({"all": [{"expression": {"text": "a.map(b, c)"}}]}))
    assert [error.field for error in caught.value.errors] == ["condition.all.0.expression.text"]
