from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.firings import Input
from relevo.domain.windows import Window
from tests.domain.rule_samples import evaluator, ms, online, rule, run, says, state

HOT = {"value": {"key": "t", "op": ">", "than": 8}}
HOT_A_MINUTE = {"value": {"key": "t", "op": ">", "than": 8, "for_s": 60}}
SILENT = {"absent": {"for_s": 60}}


def temps(*pairs: tuple[float, Any]) -> list[Input]:
    return [says(at, t=value) for at, value in pairs]


CASES: list[tuple[str, dict[str, Any], list[Input], float, list[str]]] = [
    ("fires once, clears once", HOT, temps((1, 9), (2, 10), (3, 8), (4, 7), (5, 9)), 9, ["+1", "-3", "+5"]),
    ("nothing known, nothing fires", {"not": HOT}, [says(1, other=1)], 9, []),
    ("not", {"not": HOT}, temps((1, 9), (2, 8), (3, 9)), 9, ["+2", "-3"]),
    (
        "equality with texts",
        {"value": {"key": "t", "op": "==", "than": "on"}},
        temps((1, "off"), (2, "on"), (3, 1), (4, "off")),
        9,
        ["+2", "-3"],
    ),
    (
        "one is true",
        {"value": {"key": "t", "op": "==", "than": True}},
        temps((1, 0), (2, 1), (3, False)),
        9,
        ["+2", "-3"],
    ),
    ("differs", {"value": {"key": "t", "op": "!=", "than": 5}}, temps((1, 5), (2, 6), (3, 5)), 9, ["+2", "-3"]),
    ("no number is no answer", HOT, temps((1, 9), (2, "hot"), (3, [1]), (4, 1)), 9, ["+1", "-4"]),
    ("held by time alone", HOT_A_MINUTE, temps((10, 9)), 100, ["+70"]),
    ("held too short", HOT_A_MINUTE, temps((10, 9), (69, 8), (71, 9)), 130, []),
    ("held, then over", HOT_A_MINUTE, temps((10, 9), (40, 11), (80, 8)), 200, ["+70", "-80"]),
    (
        "leaving takes the hysteresis more",
        {"value": {"key": "t", "op": ">", "than": 8, "hysteresis": 2}},
        temps((1, 8.1), (2, 7), (3, 6.1), (4, 6), (5, 8), (6, 8.5)),
        9,
        ["+1", "-4", "+6"],
    ),
    (
        "and downwards",
        {"value": {"key": "t", "op": "<=", "than": 20, "hysteresis": 5}},
        temps((1, 20), (2, 25), (3, 25.1), (4, 21)),
        9,
        ["+1", "-3"],
    ),
    (
        "rises by more than 5 a minute",
        {"rate": {"key": "t", "per_s": 60, "op": ">", "than": 5}},
        temps((0, 10), (30, 14), (60, 14.5), (90, 20), (120, 20)),
        200,
        ["+90"],
    ),
    (
        "falls, over more than the interval",
        {"rate": {"key": "t", "per_s": 60, "op": "<", "than": -1}},
        temps((0, 100), (600, 80), (1200, 79)),
        1300,
        ["+600", "-1200"],
    ),
    ("silent", SILENT, [says(10, x=1), state(30, {}), says(100, y=1)], 150, ["+90", "-100"]),
    ("silent from the beginning", SILENT, [], 100, ["+60"]),
    (
        "silent about a key",
        {"absent": {"key": "t", "for_s": 60}},
        [says(10, t=1), says(50, x=1), says(80, t=1)],
        100,
        ["+70", "-80"],
    ),
    ("changed", {"changed": {"key": "t"}}, temps((1, 5), (2, 5), (3, 6), (4, 6), (5, 5)), 9, ["+3", "-3", "+5", "-5"]),
    (
        "presence",
        {"presence": {"online": False}},
        [online(1, True), online(2, False), online(3, True)],
        9,
        ["+2", "-3"],
    ),
    (
        "offline for a time",
        {"presence": {"online": False, "for_s": 30}},
        [online(1, False), online(20, True), online(40, False)],
        99,
        ["+70"],
    ),
    (
        "state by path, and what says nothing of it",
        {"state": {"path": "relays.1", "equals": True}},
        [state(1, {"relays": [True]}), state(2, {"relays": [False, True]}), state(3, {}), state(4, {"relays": [1, 0]})],
        9,
        ["+2", "-4"],
    ),
    (
        "all",
        {"all": [HOT, {"presence": {"online": True}}]},
        [says(1, t=9), online(2, True), says(3, t=9), online(4, False)],
        9,
        ["+2", "-4"],
    ),
    (
        "any, although one is unknown",
        {"any": [HOT, {"presence": {"online": False}}]},
        [says(1, t=9), online(2, False), says(3, t=1), online(4, True)],
        9,
        ["+1", "-4"],
    ),
    (
        "a group that two keys of one reading decide together",
        {"all": [HOT, {"value": {"key": "h", "op": "<", "than": 5}}]},
        [says(1, t=9, h=9), says(2, t=1, h=1), says(3, t=9, h=1)],
        9,
        ["+3"],
    ),
    (
        "between, local time: the start is 19:00 in Lima",
        {"between": {"from": "19:30", "to": "20:00", "zone": "America/Lima"}},
        [],
        2 * 86_400,
        ["+1800", "-3600", "+88200", "-90000"],
    ),
    (
        "on some days only: the start is a Wednesday there",
        {"between": {"from": "23:00", "to": "01:00", "zone": "America/Lima", "days": ["thu"]}},
        [],
        7 * 86_400,
        ["+100800", "-108000"],
    ),
    (
        "what began before the window counts when it opens",
        {"all": [{"between": {"from": "19:30", "to": "20:00", "zone": "America/Lima"}}, HOT]},
        temps((10, 9), (2000, 1)),
        9999,
        ["+1800", "-2000"],
    ),
]


@pytest.mark.parametrize(("condition", "events", "end", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_condition(condition: dict[str, Any], events: list[Input], end: float, expected: list[str]) -> None:
    assert run(evaluator(rule(condition)), events, end) == expected


def late(at: float, arrives: float, value: Any) -> Input:
    return msgspec.structs.replace(says(at, t=value), received=ms(arrives))


def test_an_older_reading_never_fires_nor_clears() -> None:
    followed = evaluator(rule(HOT))
    assert run(followed, [late(100, 100, 5), late(50, 101, 99), late(102, 102, 9), late(60, 103, 1)]) == ["+102"]


def test_a_backlog_in_order_is_judged_by_its_own_times() -> None:
    backlog = [late(at, 10_000 + at / 1000, 9 if 100 <= at < 150 else 5) for at in range(0, 300, 10)]
    assert run(evaluator(rule(HOT_A_MINUTE)), backlog, 20_000) == []
    backlog = [late(at, 10_000 + at / 1000, 9 if 100 <= at < 200 else 5) for at in range(0, 300, 10)]
    assert run(evaluator(rule(HOT_A_MINUTE)), backlog, 20_000) == ["+160", "-200"]


def test_one_late_reading_does_not_make_a_duration_full() -> None:
    assert run(evaluator(rule(HOT_A_MINUTE)), [late(10, 5_000, 9)], 5_059) == []
    assert run(evaluator(rule(HOT_A_MINUTE)), [late(10, 5_000, 9)], 5_060) == ["+5060"]


def test_a_clock_ahead_does_not_silence_what_is_right_again() -> None:
    followed = evaluator(rule(HOT))
    assert run(followed, [late(9_000, 10, 9), late(11, 11, 5), late(12, 12, 9)]) == ["+10", "-11", "+12"]
    followed = evaluator(rule(HOT))
    followed.feed(late(9_000, 9_000, 5), ms(9_000))
    assert [one.at for one in followed.feed(late(20, 20, 9), ms(20))] == [ms(20)], "our own clock was set back"


def test_a_rate_is_known_again_after_our_own_clock_was_set_back() -> None:
    followed = evaluator(rule({"rate": {"key": "t", "per_s": 60, "op": ">", "than": 5}}))
    assert run(followed, temps((9_000, 1), (20, 10), (80, 20))) == ["+80"]


def test_nothing_clears_before_it_fired() -> None:
    assert run(evaluator(rule(HOT_A_MINUTE)), [late(10, 5_000, 9), late(20, 5_061, 1)]) == ["+5060", "-5060"]


def test_a_firing_tells_since_when_and_why() -> None:
    followed = evaluator(rule(HOT_A_MINUTE))
    followed.feed(says(10, t=9), ms(10))
    (fired,) = followed.feed(late(75, 70, 12), ms(70))
    assert (fired.rule, fired.device, fired.since, fired.at, fired.now) == ("r", "d", ms(10), ms(70), ms(70))
    assert fired.values == {"t": 9}


@given(
    st.lists(st.floats(6, 8), max_size=50),
    st.sampled_from([">", ">="]),
)
def test_hysteresis_never_flaps_inside_its_band(values: list[float], op: str) -> None:
    followed = evaluator(rule({"value": {"key": "t", "op": op, "than": 8, "hysteresis": 2.001}}))
    events = [says(n + 1, t=value) for n, value in enumerate([9, *values])]
    assert run(followed, events) == ["+1"]


@pytest.mark.parametrize(
    ("begin", "end", "edges"),
    [
        # At 01:00 UTC the clocks of Berlin go from 02:00 to 03:00 in March, from 03:00 to 02:00 in October.
        ("01:30", "02:30", {"2026-03-29T00:30", "2026-03-29T01:00"}),
        ("01:30", "02:30", {"2026-10-24T23:30", "2026-10-25T00:30"}),
        ("02:30", "04:00", {"2026-10-25T00:30", "2026-10-25T03:00"}),
        ("02:15", "02:45", set()),
    ],
)
def test_a_night_on_which_the_clocks_change_has_one_window_at_most(begin: str, end: str, edges: set[str]) -> None:
    instants = sorted(round(datetime.fromisoformat(one + "+00:00").timestamp()) * 1000 for one in edges)
    window = Window(*(int(one[:2]) * 60 + int(one[3:]) for one in (begin, end)), "Europe/Berlin")
    night = datetime.fromisoformat("2026-03-28T22:00+00:00") if not instants else None
    start = round(night.timestamp() * 1000) if night else instants[0] - 3_600_000
    inside = [at for at in range(start, start + 6 * 3_600_000, 60_000) if window.has(at)]
    if instants:
        assert (inside[0], inside[-1] + 60_000) == (instants[0], instants[1])
        assert len(inside) == (instants[1] - instants[0]) // 60_000
        assert window.next_edge(start) == instants[0]
        assert window.next_edge(instants[0]) == instants[1]
    else:
        assert inside == []
