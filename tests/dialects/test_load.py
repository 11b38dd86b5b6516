from itertools import combinations
from typing import Any

import pytest

from relevo.dialects import load
from relevo.errors import ConfigurationError
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


@pytest.mark.parametrize(
    ("options", "topic"),
    [
        ({"autocore": {"topic_prefix": "relevo"}}, "relevo/"),
        ({"autocore": {"topic_prefix": "hidrometro"}}, "hidrometro/commands/all/cmd"),
        ({"hidrometro": {"topic_dados": "relevo/x/telemetry"}}, "relevo/x/telemetry"),
        ({"hidrometro": {"topic_cmd": "relevo/x/command"}}, "relevo/x/command"),
        ({"hidrometro": {"topic_dados": "autocore/devices/x/status"}}, "autocore/devices/x/status"),
        ({"hidrometro": {"topic_dados": "autocore/telemetry/any/where"}}, "autocore/telemetry/any/where"),
        ({"hidrometro": {"topic_dados": "a/telemetry"}, "autocore": {"topic_prefix": "a"}}, "a/telemetry"),
    ],
)
def test_contracts_that_would_read_the_same_topic_are_refused_with_both_names(
    options: dict[str, dict[str, Any]], topic: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(options)
    (configured, *_) = options
    assert topic in str(refused.value)
    assert configured in str(refused.value)


def test_the_prefix_of_relay_boards_moves_every_topic() -> None:
    moved, usual = load({"autocore": {"topic_prefix": "house/ac.1"}})["autocore"], load()["autocore"]
    assert moved.options() == {"topic_prefix": "house/ac.1"}
    for mine, theirs in (
        (moved.filters(), usual.filters()),
        (moved.all_filters(), usual.all_filters()),
        *zip(moved.device_filters("b"), usual.device_filters("b"), strict=True),
    ):
        assert mine == tuple(one.replace("autocore", "house/ac.1", 1) for one in theirs)
    for rest in ("devices/b/status", "errors/b/overload", "telemetry/relays/data"):
        assert moved.address(f"house/ac.1/{rest}") == usual.address(f"autocore/{rest}") is not None
        assert moved.address(f"autocore/{rest}") is None
        assert moved.address(f"house/acx1/{rest}") is None
