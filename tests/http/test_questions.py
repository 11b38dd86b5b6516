"""Charts, aggregates and completeness over HTTP: the same before and after hours were rolled up."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.http.test_history import compacted, send, until
from tests.running import RunningServer

pytestmark = pytest.mark.timeout(400)

# 2026-03-01 00:00 in São Paulo, which is 03:00 UTC.
BEGIN = 1_772_334_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    environment = {"RELEVO_HISTORY__TAIL_EVENTS": "100", "RELEVO_NOTIFICATIONS__ZONE": "America/Sao_Paulo"}
    with RunningServer(tmp_path_factory.mktemp("questions") / "data", env=environment) as one:
        yield one


def rolled(server: RunningServer) -> None:
    """Everything before is compacted, and its closed hours are rolled up."""
    compacted(server)

    def done() -> bool:
        figures = server.api.get("/api/v1/system").json()["memory"]
        if seen and figures["rolled"] == seen[-1]:
            return True
        seen.append(figures["rolled"])
        time.sleep(0.5)
        return False

    seen: list[int] = []
    until(done)


def put(server: RunningServer, device: str, points: list[tuple[int, Any]]) -> None:
    send(server, device, [(ts - 1_767_225_600_000, value) for ts, value in points])


def rows(found: dict[str, Any]) -> list[list[Any]]:
    """The intervals of an answer, and what it says of each."""
    return [list(one) for one in zip(found["from"], *found["values"].values(), strict=True)]


def ask(server: RunningServer, path: str, **query: Any) -> dict[str, Any]:
    answer = server.api.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def meter(server: RunningServer, device: str, days: int = 2, each: int = 7) -> list[tuple[int, int]]:
    """A counter that rises by 1 every 10 minutes, is replaced after 100 points and goes on from 5."""
    server.register(device)
    points = []
    for n in range(days * 144):
        points.append((BEGIN + n * 10 * MINUTE + each, 1_000 + n if n < 100 else 5 + n - 100))
    put(server, device, points)
    return points


def test_a_chart_has_the_extremes_and_nothing_that_was_not_measured(server: RunningServer) -> None:
    server.register("chart")
    points = [(BEGIN + n * MINUTE, float((n * 7919) % 1_000) / 10) for n in range(4_000)]
    points[1_434] = (points[1_434][0], 999.5)
    points[2_345] = (points[2_345][0], -50)
    # Three hours of silence.
    points = [one for one in points if not BEGIN + 20 * HOUR < one[0] < BEGIN + 23 * HOUR]
    put(server, "chart", points)
    before = ask(server, "devices/chart/telemetry/v", points=50)
    rolled(server)
    after = ask(server, "devices/chart/telemetry/v", points=50)
    for found in (before, after):
        assert 10 < len(found["points"]) <= 50
        assert {(ts, value) for ts, value in found["points"]} <= set(points)
        assert [BEGIN + 1_434 * MINUTE, 999.5] in found["points"]
        assert [BEGIN + 2_345 * MINUTE, -50] in found["points"]
        assert found["points"] == sorted(found["points"])
        assert found["points"][0] == list(points[0])
        assert found["points"][-1] == list(points[-1])
        assert found["gaps"] == [[BEGIN + 20 * HOUR, BEGIN + 23 * HOUR]]
    all_of_them = ask(server, "devices/chart/telemetry/v", points=10_000)
    assert (all_of_them["source"], [tuple(one) for one in all_of_them["points"]]) == ("raw", points)


def test_a_long_chart_comes_from_hours(server: RunningServer) -> None:
    server.register("long")
    points = [(BEGIN + n * 40 * 1_000, n % 1_000) for n in range(22_000)]
    put(server, "long", points)
    rolled(server)
    found = ask(server, "devices/long/telemetry/v", points=100)
    assert found["source"] == "hour"
    assert len(found["points"]) <= 100
    assert {tuple(one) for one in found["points"]} <= set(points)
    assert found["gaps"] == []


def test_consumption_adds_up_and_a_new_meter_adds_nothing(server: RunningServer) -> None:
    points = meter(server, "water")
    answers = []
    for _ in range(2):
        answers.append(
            [
                ask(server, "devices/water/telemetry/v", aggregate="increase,count,last", interval=interval)
                for interval in ("10m", "1h", "1d", "1mo")
            ]
        )
        rolled(server)
    assert answers[0] == answers[1]
    tens, hours, of_days, months = answers[0]
    assert rows(tens)[99:102] == [
        [BEGIN + 99 * 10 * MINUTE, 1, 1, 1_099],
        [BEGIN + 100 * 10 * MINUTE, 0, 1, 5],
        [BEGIN + 101 * 10 * MINUTE, 1, 1, 6],
    ]
    total = len(points) - 2
    for one in (tens, hours, of_days, months):
        assert sum(row[1] for row in rows(one)) == total
        assert sum(row[2] for row in rows(one)) == len(points)
    # The days of the site, not of UTC.
    assert [row[0] for row in rows(of_days)] == [BEGIN, BEGIN + DAY]
    assert [row[0] for row in rows(months)] == [BEGIN]
    assert of_days["zone"] == "America/Sao_Paulo"
    middle = ask(
        server,
        "devices/water/telemetry/v",
        aggregate="increase",
        interval="1h",
        **{"from": BEGIN + 5 * HOUR + 30 * MINUTE, "to": BEGIN + 7 * HOUR},
    )
    assert rows(middle) == [[BEGIN + 5 * HOUR, 3], [BEGIN + 6 * HOUR, 6]]


def test_how_long_a_relay_was_on_in_each_hour(server: RunningServer) -> None:
    server.register("relay")
    put(server, "relay", [(BEGIN, False), (BEGIN + 30 * MINUTE, True), (BEGIN + 4 * HOUR + 10 * MINUTE, False)])
    wanted = [[BEGIN, 30 * MINUTE], *([BEGIN + n * HOUR, HOUR] for n in (1, 2, 3)), [BEGIN + 4 * HOUR, 10 * MINUTE]]
    for _ in range(2):
        assert rows(ask(server, "devices/relay/telemetry/v", aggregate="on", interval="1h")) == wanted
        part = {"from": BEGIN + 90 * MINUTE, "to": BEGIN + 150 * MINUTE}
        # Nothing arrived within, and it was on all the time.
        assert rows(ask(server, "devices/relay/telemetry/v", aggregate="on", interval="1h", **part)) == [
            [BEGIN + HOUR, 30 * MINUTE],
            [BEGIN + 2 * HOUR, 30 * MINUTE],
        ]
        rolled(server)


def test_late_points_corrections_of_the_past_and_another_zone_are_seen_at_once(server: RunningServer) -> None:
    meter(server, "late")
    rolled(server)

    def hours() -> dict[int, int]:
        found = ask(server, "devices/late/telemetry/v", aggregate="count", interval="1h")
        return dict(rows(found))

    assert set(hours().values()) == {6}
    put(server, "late", [(BEGIN + 5 * HOUR + 1, 1_030), (BEGIN + 5 * HOUR + 2, 1_030)])
    expected = {BEGIN + n * HOUR: 8 if n == 5 else 6 for n in range(48)}
    assert hours() == expected
    rolled(server)
    assert hours() == expected
    assert server.api.put("/api/v1/sites/pune", json={"zone": "Asia/Kolkata"}).status_code < 300
    assert server.api.patch("/api/v1/devices/late", json={"site": "pune"}).status_code == 200
    found = ask(server, "devices/late/telemetry/v", aggregate="count", interval="1d")
    # Midnight there is 18:30 UTC.
    assert [row[0] % DAY for row in rows(found)] == [18 * HOUR + 30 * MINUTE] * 3
    assert sum(row[1] for row in rows(found)) == 290
    rolled(server)
    assert ask(server, "devices/late/telemetry/v", aggregate="count", interval="1d") == found


def test_completeness_of_each_day(server: RunningServer) -> None:
    server.register("complete")
    patched = server.api.patch("/api/v1/devices/complete", json={"attributes": {"expected_every_s": 600}})
    assert patched.status_code == 200
    points = [(BEGIN + n * 10 * MINUTE, n) for n in range(3 * 144) if not 200 <= n < 236]
    put(server, "complete", points)
    query = {"from": BEGIN, "to": BEGIN + 3 * DAY}
    first = ask(server, "devices/complete/completeness", **query)
    rolled(server)
    assert ask(server, "devices/complete/completeness", **query) == first
    assert [(one["expected"], one["received"], one["share"]) for one in first["days"]] == [
        (144, 144, 1.0),
        (144, 108, 0.75),
        (144, 144, 1.0),
    ]
    gap = [BEGIN + 199 * 10 * MINUTE, BEGIN + 236 * 10 * MINUTE]
    assert [one["gaps"] for one in first["days"]] == [[], [gap], []]
    assert first["expected_every_s"] == 600


def test_many_devices_at_once_each_that_one_may_view(server: RunningServer) -> None:
    for n in range(6):
        server.register(f"many-{n}")
        put(server, f"many-{n}", [(BEGIN + m * MINUTE, n * 100 + m) for m in range(90)])
    names = ",".join(f"many-{n}" for n in range(6))
    for _ in range(2):
        found = ask(server, "telemetry", devices=names, key="v", aggregate="max", interval="1h")
        assert found["axes"] == [{"zone": "America/Sao_Paulo", "from": [BEGIN, BEGIN + HOUR]}]
        assert [(one["device"], one["key"], one["axis"], one["values"]) for one in found["items"]] == [
            (f"many-{n}", "v", 0, {"max": [n * 100 + 59, n * 100 + 89]}) for n in range(6)
        ]
        charts = ask(server, "telemetry", devices=names, key="v,none", points=20)["items"]
        assert [len(one["points"]) > 15 for one in charts] == [True] * 6
        rolled(server)
    latest = ask(server, "latest", devices=names, limit=4)
    assert [one["device"] for one in latest["items"]] == [f"many-{n}" for n in range(4)]
    assert latest["items"][2]["readings"] == [{"ts": BEGIN + 89 * MINUTE, "ts_source": "device", "values": {"v": 289}}]
    rest = ask(server, "latest", devices=names, limit=4, cursor=latest["next"])
    assert ([one["device"] for one in rest["items"]], rest["next"]) == (["many-4", "many-5"], None)
    missing = server.api.get("/api/v1/telemetry", params={"devices": "many-0,other", "key": "v", "points": 20})
    assert missing.status_code == 404


def test_points_say_where_their_times_are_from(server: RunningServer) -> None:
    server.register("quality")
    put(server, "quality", [(BEGIN + n, n) for n in range(3)])
    now = int(time.time() * 1_000)
    assert server.api.post("/api/v1/devices/quality/telemetry", json={"v": 9}).status_code == 200
    for _ in range(2):
        found = ask(server, "devices/quality/telemetry/v", quality=True)["points"]
        assert found[:3] == [[BEGIN + n, n, "device", True] for n in range(3)]
        assert found[3][1:] == [9, "server", False]
        assert abs(found[3][0] - now) < 60_000
        rolled(server)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"points": 5}, "points"),
        ({"points": 20_000}, "points"),
        ({"points": 100, "aggregate": "mean", "interval": "1h"}, "points"),
        ({"points": 100, "cursor": "x"}, "cursor"),
        ({"aggregate": "median", "interval": "1h"}, "aggregate"),
        ({"aggregate": "mean"}, "interval"),
        ({"aggregate": "mean", "interval": "5x"}, "interval"),
        ({"aggregate": "mean", "interval": "25h"}, "interval"),
        ({"interval": "1h"}, "interval"),
        ({"aggregate": "mean", "interval": "1h", "from": "yesterday"}, "from"),
    ],
)
def test_a_question_that_is_none_is_told_which_field(server: RunningServer, query: dict[str, Any], field: str) -> None:
    if server.api.get("/api/v1/devices/wrong").status_code == 404:
        server.register("wrong")
        put(server, "wrong", [(BEGIN, 1), (BEGIN + DAY, 2)])
    answer = server.api.get("/api/v1/devices/wrong/telemetry/v", params=query)
    assert answer.status_code == 422, answer.text
    assert any(one["field"].endswith(field) for one in answer.json()["errors"]), answer.text


def test_a_key_that_nobody_sent_is_not_found(server: RunningServer) -> None:
    server.register("keyless")
    put(server, "keyless", [(BEGIN, 1)])
    for query in ({"points": 100}, {"aggregate": "mean", "interval": "1h"}):
        assert server.api.get("/api/v1/devices/keyless/telemetry/nope", params=query).status_code == 404
