"""Rules tried on stored history, in a process beside the server."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.live import eventually
from tests.journeys.test_rules import HOT, OPEN_ALERT, alerts, make
from tests.running import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("backtests") / "data") as running:
        for device in ("fridge", "cellar", "attic"):
            running.register(device)
        running.api.patch("/api/v1/devices/attic", json={"tags": ["dry"]})
        yield running


def feed(server: RunningServer, device: str, values: list[float]) -> None:
    for value in values:
        now = round(time.time() * 1000)
        assert server.api.post(
            f"/api/v1/devices/{device}/telemetry", json={"ts": now, "values": {"t": value}}
        ).is_success


def tried(server: RunningServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = server.api.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_rule_is_tried_before_it_is_kept(server: RunningServer) -> None:
    begun = round(time.time() * 1000)
    feed(server, "fridge", [5, 9, 10, 5, 12])
    feed(server, "cellar", [3, 4])
    rule = {"name": "warm", "condition": HOT, "scope": {"devices": ["fridge", "cellar"]}}
    found = tried(server, "/api/v1/rules/backtest", {"rule": rule, "from": str(begun)})
    assert (found["count"], found["devices"], found["whole"]) == (2, 2, True)
    # Who is there is looked at as well.
    assert found["events"] >= 7
    first, second = found["firings"]
    assert [one["device"] for one in found["firings"]] == ["fridge", "fridge"]
    assert (first["values"], second["values"]) == ({"t": 9.0}, {"t": 12.0})
    assert first["begin"] < first["end"] <= second["begin"]
    assert second["end"] is None
    # Nothing of it was done.
    assert server.api.get("/api/v1/rules").json()["items"] == []
    assert alerts(server) == []


def test_live_and_tried_on_what_came_meanwhile_a_rule_fires_alike(server: RunningServer) -> None:
    condition = {"value": {"key": "t", "op": ">", "than": 8, "hysteresis": 2}}
    rule = make(server, condition, actions=[OPEN_ALERT], scope={"tags": ["dry"]})
    begun = round(time.time() * 1000)
    feed(server, "attic", [5, 9, 7, 9, 5, 8.5, 6.5, 5.9, 11])
    eventually(lambda: server.api.get(f"/api/v1/rules/{rule}").json()["true_of"] == ["attic"])

    def fired() -> int:
        story = server.api.get("/api/v1/devices/attic/timeline").json()["items"]
        return sum(one["count"] for one in story if one["kind"] == "rule_fired")

    # True comes before the line about it.
    eventually(lambda: fired() == 3)
    live = fired()
    found = tried(server, f"/api/v1/rules/{rule}/backtest", {"from": str(begun)})
    assert found["count"] == live == 3


def test_a_part_of_history_and_of_the_devices_can_be_chosen(server: RunningServer) -> None:
    feed(server, "cellar", [20])
    time.sleep(0.02)
    middle = round(time.time() * 1000)
    feed(server, "cellar", [5, 21])
    rule = {"name": "warm", "condition": HOT}
    body = {"rule": rule, "from": str(middle), "devices": ["cellar"]}
    found = tried(server, "/api/v1/rules/backtest", body)
    assert (found["count"], found["devices"]) == (1, 1)
    assert found["events"] >= 2
    nothing = tried(server, "/api/v1/rules/backtest", body | {"to": str(middle + 1), "from": str(middle)})
    assert nothing["count"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"from": "2026-05-02", "to": "2026-05-01"}, "from"),
        ({"from": "soon"}, "from"),
        ({"rule": {"name": "x", "condition": {"value": {"key": "t", "op": "~", "than": 1}}}}, "condition.value.op"),
    ],
)
def test_what_cannot_be_tried_is_refused_with_its_field(server: RunningServer, body: Any, field: str) -> None:
    whole = {"rule": {"name": "warm", "condition": HOT}} | body
    answer = server.api.post("/api/v1/rules/backtest", json=whole)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
