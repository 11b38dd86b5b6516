from itertools import combinations

from relevo.dialects import load
from relevo.wire.topics import covers


def test_dialects_are_found_by_their_presence() -> None:
    assert {"native", "hidrometro"} <= set(load())
    assert all(name == dialect.name for name, dialect in load().items())


def test_options_reach_their_contract_and_no_other() -> None:
    dialects = load({"hidrometro": {"topic_dados": "agua/dados", "history_limit": 5}, "unknown": {"x": 1}})
    assert dialects["hidrometro"].options()["topic_dados"] == "agua/dados"
    assert dialects["native"].options() == load()["native"].options()
    assert load()["hidrometro"].options()["topic_dados"] == "hidrometro/dados"


def test_no_two_contracts_claim_the_same_topics() -> None:
    for one, other in combinations(load().values(), 2):
        for a in one.all_filters():
            for b in other.all_filters():
                assert not covers(a, b)
                assert not covers(b, a)
                assert a.split("/")[0] != b.split("/")[0]
