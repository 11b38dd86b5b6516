from typing import Any

import msgspec
import pytest

from relevo.domain.backtest import backtest
from relevo.domain.bulk import Selection
from relevo.domain.evaluator import Evaluator
from relevo.domain.firings import Cleared, Fired
from relevo.domain.loops import LoopGuard
from relevo.domain.rules import compile_rule
from relevo.errors import Invalid
from tests.domain.rule_samples import device, evaluator, ms, rule, run, says, short

HOT = {"value": {"key": "t", "op": ">", "than": 8}}


def test_within_the_cooldown_it_does_not_fire_and_fires_after_it_when_still_true() -> None:
    followed = evaluator(rule(HOT, cooldown_s=60))
    events = [says(at, t=value) for at, value in ((1, 9), (2, 1), (3, 9), (4, 1), (50, 9))]
    assert run(followed, events) == ["+1", "-2"]
    assert followed.next_at() == ms(61)
    assert short(followed.tick(ms(61))) == ["+61"]
    assert followed.next_at() is None


def test_the_next_time_is_that_of_the_newest_silence() -> None:
    followed = evaluator(rule({"absent": {"for_s": 60}}))
    assert followed.next_at() == ms(60)
    for at in range(0, 50, 10):
        followed.feed(says(at, x=1), ms(at))
    assert followed.next_at() == ms(100)
    assert followed.tick(ms(99)) == []
    assert short(followed.tick(ms(100))) == ["+100"]
    assert followed.next_at() is None


def test_each_device_in_the_scope_is_looked_at_by_itself() -> None:
    one = rule(HOT, scope=Selection(tags=("cold",)))
    followed = evaluator(one, devices=[device("a", tags=["cold"]), device("b", tags=["cold"]), device("c")])
    found = [followed.feed(says(n, name, t=9), ms(n)) for n, name in enumerate(["a", "b", "c", "nobody", "a"])]
    assert [[fired.device for fired in some] for some in found] == [["a"], ["b"], [], [], []]


def test_what_leaves_the_scope_clears_and_what_comes_back_starts_anew() -> None:
    followed = evaluator(rule(HOT, scope=Selection(site="home")), devices=[device(site="home")])
    followed.feed(says(1, t=9), ms(1))
    assert followed.place(device(site="away"), ms(2)) == [Cleared("r", "d", ms(2), ms(2))]
    assert followed.feed(says(3, t=10), ms(3)) == []
    assert followed.place(device(site="home"), ms(4)) == []
    assert short(followed.feed(says(5, t=9), ms(5))) == ["+5"]
    assert short(followed.forget("d", ms(6))) == ["-6"]
    assert followed.feed(says(7, t=9), ms(7)) == []


def test_a_rule_that_may_not_see_a_device_does_not() -> None:
    followed = Evaluator(lambda rule, device: device.owner == rule.owner)
    followed.put(compile_rule(rule(HOT)), ms(0))
    followed.place(device(), ms(0))
    assert followed.feed(says(1, t=9), ms(1)) == []
    followed.place(msgspec.structs.replace(device(), owner="ana"), ms(2))
    assert short(followed.feed(says(3, t=9), ms(3))) == ["+3"]


def test_a_new_name_forgets_nothing_another_condition_starts_anew() -> None:
    followed = evaluator(rule(HOT))
    followed.feed(says(1, t=9), ms(1))
    renamed = msgspec.structs.replace(rule(HOT), name="Other")
    assert followed.put(compile_rule(renamed), ms(2)) == []
    assert followed.feed(says(3, t=10), ms(3)) == []
    assert short(followed.put(compile_rule(rule({"not": HOT})), ms(4))) == ["-4"]
    assert short(followed.feed(says(5, t=1), ms(5))) == ["+5"]
    off = msgspec.structs.replace(rule({"not": HOT}), enabled=False)
    assert short(followed.put(compile_rule(off), ms(6))) == ["-6"]
    assert followed.feed(says(7, t=1), ms(7)) == []


def test_the_time_nobody_listened_is_no_silence() -> None:
    followed = evaluator(rule({"absent": {"for_s": 60}}))
    followed.feed(says(10, x=1), ms(10))
    dump = followed.dump(ms(30))
    again = Evaluator()
    again.restore(dump)
    again.put(compile_rule(rule({"absent": {"for_s": 60}})), ms(1000))
    assert again.place(device(), ms(1000)) == []
    assert again.next_at() == ms(1040)


def test_after_a_restart_another_condition_starts_anew() -> None:
    followed = evaluator(rule(HOT))
    followed.feed(says(1, t=9), ms(1))
    again = Evaluator()
    again.restore(followed.dump(ms(2)))
    again.put(compile_rule(rule({"value": {"key": "t", "op": ">", "than": 5}})), ms(2))
    assert again.place(device(), ms(2)) == []
    assert short(again.feed(says(3, t=9), ms(3))) == ["+3"]


@pytest.mark.parametrize(
    "dump", [None, [], {"at": 1}, {"at": 1, "rules": {"r": {"condition": "x", "devices": {"d": [1]}}}}]
)
def test_a_damaged_dump_is_refused(dump: Any) -> None:
    with pytest.raises(Invalid) as caught:
        Evaluator().restore(dump)
    assert caught.value.reason == "rules_damaged"


def test_two_hundred_rules_cost_an_event_the_two_that_listen() -> None:
    rules = [rule({"value": {"key": f"k{n}", "op": ">", "than": 500}}, f"r{n}") for n in range(200)]
    followed = evaluator(*rules)
    fired = 0
    for n in range(1_000):
        fired += len(followed.feed(says(n, k3=n, k7=n, other=1), ms(n)))
    assert fired == 2
    # Each of two conditions once an event; a rule is judged when it enters and when its condition turns.
    assert followed.evaluated <= 2 * 1_000 + 200 + 2 * 2


def test_rules_for_other_devices_cost_nothing() -> None:
    rules = [rule(HOT, f"r{n}", scope=Selection(devices=(f"d{n}",))) for n in range(200)]
    followed = evaluator(*rules, devices=[device(f"d{n}") for n in range(200)])
    for n in range(1_000):
        followed.feed(says(n, "d5", t=n), ms(n))
    assert followed.evaluated <= 1_000 + 3


def test_silences_put_off_with_every_reading_take_no_room() -> None:
    followed = evaluator(rule({"absent": {"for_s": 60}}))
    for n in range(1_000):
        followed.feed(says(n / 100, t=n), ms(n / 100))
    assert len(followed._timers) == 1


def test_backtest_tells_from_when_to_when() -> None:
    events = [says(at, t=value) for at, value in ((1, 9), (5, 1), (9, 12))]
    found = backtest(rule(HOT), events, [device()])
    assert [(one.begin, one.end, one.values) for one in found] == [(ms(1), ms(5), {"t": 9}), (ms(9), None, {"t": 12})]
    silent = rule({"absent": {"for_s": 60}})
    found = backtest(msgspec.structs.replace(silent, enabled=False), events, [device()], ms(-100), ms(300))
    assert [(one.since, one.begin, one.end) for one in found] == [(ms(-100), ms(-40), ms(1)), (ms(9), ms(69), None)]
    assert backtest(rule(HOT), [], [device()]) == []


def test_a_rule_that_sets_itself_off_is_told_of_after_five_rounds() -> None:
    guard = LoopGuard()
    found = []
    for n in range(6):
        found.append(guard.fired("r", "d", n * 1000))
        guard.acted("d", "rule:r", n * 1000)
    assert found == [None] * 6, "the first firing was no round"
    looped = guard.fired("r", "d", 6_000)
    assert looped is not None
    assert (looped.rule, looped.device, looped.count, looped.chain) == ("r", "d", 6, ("r",))
    assert guard.fired("r", "d", 7_000) is None, "begins anew"


def test_a_loop_by_way_of_another_rule_is_found() -> None:
    guard = LoopGuard(limit=2)
    found = []
    for n in range(4):
        found.append(guard.fired("a", "x", n * 1000))
        guard.acted("y", "rule:a", n * 1000)
        guard.fired("b", "y", n * 1000 + 1)
        guard.acted("x", "rule:b", n * 1000 + 1)
    assert found[:3] == [None] * 3
    assert found[3] is not None
    assert found[3].chain == ("a", "b")


def test_people_other_devices_and_slow_rounds_are_no_loop() -> None:
    guard = LoopGuard(limit=1)
    for n in range(20):
        assert guard.fired("r", "d", n * 1000) is None
        guard.acted("d", "user", n * 1000)
        guard.acted("other", "rule:r", n * 1000)
    guard = LoopGuard(limit=1)
    for n in range(20):
        assert guard.fired("r", "d", n * 61_000) is None
        guard.acted("d", "rule:r", n * 61_000)
    assert len(guard._marks) == 1


def test_what_a_rule_did_counts_for_a_minute_to_the_millisecond() -> None:
    for age, looped in ((60_000, True), (60_001, False)):
        guard = LoopGuard(limit=0)
        guard.acted("d", "rule:r", 30_000)
        guard.fired("other", "elsewhere", 70_000)
        assert (guard.fired("r", "d", 30_000 + age) is not None) is looped


def test_a_firing_is_json() -> None:
    (fired,) = evaluator(rule(HOT)).feed(says(1, t=9), ms(1))
    assert msgspec.json.decode(msgspec.json.encode(fired), type=Fired) == fired
