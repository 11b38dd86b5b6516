import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.http.problems import fields, problem
from tests.running import RunningServer

# A while ago, on a whole second, so that it can be written as milliseconds and as text.
BASE = int(time.time()) * 1000 - 3_600_000


def iso(ms: int, end: str = "Z") -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + end


@pytest.fixture
def series(server: RunningServer, name: str) -> str:
    """Twelve readings, a second apart, that arrived in two batches and out of order."""
    server.register(name)
    order = [3, 1, 11, 0, 2, 7], [5, 4, 10, 6, 9, 8]
    for batch in order:
        items = [{"ts": BASE + n * 1000, "values": {"v": n, "t/x": f"text {n}"}} for n in batch]
        assert server.api.post(f"/api/v1/devices/{name}/telemetry", json=items).json()["stored"] == 6
    return f"/api/v1/devices/{name}/telemetry"


def values(api: httpx.Client, path: str, **query: Any) -> list[Any]:
    answer = api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [value for _, value in answer.json()["points"]]


@pytest.mark.parametrize("limit", [1, 5, 11, 12, 13])
def test_points_come_oldest_first_page_by_page(api: httpx.Client, series: str, limit: int) -> None:
    found, cursor = [], None
    for _ in range(15):
        query: dict[str, Any] = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = api.get(f"{series}/v", params=query).json()
        assert len(page["points"]) <= limit
        found += page["points"]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == [[BASE + n * 1000, n] for n in range(12)]


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        (BASE + 3_000, BASE + 6_000, [3, 4, 5]),
        (iso(BASE + 3_000), iso(BASE + 6_000), [3, 4, 5]),
        (iso(BASE + 3_000, ""), iso(BASE + 6_000, ""), [3, 4, 5]),
        (iso(BASE + 3_000, "+00:00"), iso(BASE + 6_000, ".001+00:00"), [3, 4, 5, 6]),
        (iso(BASE + 3_000 - 3 * 3_600_000, "-03:00"), iso(BASE + 5_000 + 3_600_000, "+01:00"), [3, 4]),
        (None, BASE + 2_000, [0, 1]),
        (BASE + 10_000, None, [10, 11]),
        (BASE + 1, BASE + 1_001, [1]),
        (BASE + 6_000, BASE + 3_000, []),
        (BASE + 5_000, BASE + 5_000, []),
        ("", "", list(range(12))),
    ],
    # Times of this moment: workers of a run must name a test alike.
    ids=range(11),
)
def test_a_range_is_given_in_milliseconds_or_as_text_and_holds_its_start_only(
    api: httpx.Client, series: str, start: Any, end: Any, wanted: list[int]
) -> None:
    query = {key: value for key, value in (("from", start), ("to", end)) if value is not None}
    assert values(api, f"{series}/v", **query) == wanted


def test_pages_of_a_range_stay_inside_it(api: httpx.Client, series: str) -> None:
    query: dict[str, Any] = {"from": BASE + 2_000, "to": BASE + 7_000, "limit": 2}
    found = []
    while True:
        page = api.get(f"{series}/v", params=query).json()
        found += [value for _, value in page["points"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert found == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("field", ["from", "to"])
@pytest.mark.parametrize(
    "text", ["yesterday", "-1", "²", "1e12", "2026-13-01", "9" * 30, "4102444800001", "2101-01-01", "2026-01-01T25:00Z"]
)
def test_a_time_that_cannot_be_read_is_refused(api: httpx.Client, series: str, field: str, text: str) -> None:
    answer = api.get(f"{series}/v", params={field: text})
    assert fields(answer) == [field]
    assert problem(answer, 422)["reason"] == "time_invalid"


# What is inside, as base64: one number too few, words, a sign, numbers beyond 64 bits, three numbers.
@pytest.mark.parametrize(
    "cursor", ["MQ", "YQpi", "LTEKMQ", "OTk5OTk5OTk5OTk5OTk5OTk5OTkKMQ", "MQoyCjM", "!!", "wrIKMQ", "A"]
)
def test_a_cursor_that_this_server_never_gave_is_refused(api: httpx.Client, series: str, cursor: str) -> None:
    assert fields(api.get(f"{series}/v", params={"cursor": cursor})) == ["cursor"]


@pytest.mark.parametrize("limit", ["0", "-1", "10001", "x", ""])
def test_a_limit_that_makes_no_sense_is_refused(api: httpx.Client, series: str, limit: str) -> None:
    (field,) = fields(api.get(f"{series}/v", params={"limit": limit}))
    assert field.endswith("limit")


def test_a_key_may_hold_a_slash_and_one_that_is_unknown_is_not_found(api: httpx.Client, series: str) -> None:
    assert values(api, f"{series}/t/x", limit=2) == ["text 0", "text 1"]
    assert "'nothing'" in problem(api.get(f"{series}/nothing"), 404)["detail"]
    problem(api.get(f"{series}/%00"), 404)


def test_latest_is_the_newest_by_time_and_not_by_arrival(api: httpx.Client, series: str) -> None:
    latest = api.get(series.replace("telemetry", "latest")).json()
    assert latest == {
        "v": {"value": 11, "ts": BASE + 11_000, "ts_source": "device"},
        "t/x": {"value": "text 11", "ts": BASE + 11_000, "ts_source": "device"},
    }


# Writing


def test_readings_of_many_devices_go_in_together(server: RunningServer, api: httpx.Client, name: str) -> None:
    for one in ("a", "b"):
        server.register(f"{name}{one}")
    items = [
        {"device": f"{name}a", "ts": BASE, "values": {"v": 1}},
        {"device": f"{name}b", "ts": BASE, "values": {"v": 2}, "boot": 1, "seq": 1},
        {"device": f"{name}nobody", "values": {"v": 3}},
        {"device": "not an id", "values": {"v": 4}},
        {"device": f"{name}b", "ts": BASE, "values": {"v": 2}, "boot": 1, "seq": 1},
    ]
    body = api.post("/api/v1/telemetry", json=items).json()
    assert (body["accepted"], body["stored"], body["duplicates"]) == (3, 2, 1)
    assert [(one["index"], one["reason"], one["stored"]) for one in body["refused"]] == [
        (2, "device_unknown", False),
        (3, "id_invalid", False),
    ]
    assert api.get(f"/api/v1/devices/{name}b/latest").json()["v"]["value"] == 2
    problem(api.get(f"/api/v1/devices/{name}nobody"), 404)


def test_a_request_of_which_nothing_can_be_stored_is_refused_with_every_reason(
    server: RunningServer, api: httpx.Client, name: str
) -> None:
    server.register(name)
    answer = api.post(f"/api/v1/devices/{name}/telemetry", json={"a": None, "b\n": 1})
    assert problem(answer, 422)["reason"] == "value_null"
    assert len(fields(answer)) == 2


def test_an_item_that_is_refused_as_a_whole_is_named_by_its_position(api: httpx.Client, name: str) -> None:
    items = [{"device": f"{name}{n}", "values": {"v": 1}} for n in range(2)]
    assert fields(api.post("/api/v1/telemetry", json=items)) == ["0", "1"]


def test_an_empty_list_stores_nothing(server: RunningServer, api: httpx.Client, name: str) -> None:
    server.register(name)
    answer = api.post(f"/api/v1/devices/{name}/telemetry", json=[])
    assert answer.json() == {"accepted": 0, "stored": 0, "duplicates": 0, "refused": []}


def test_a_batch_beyond_its_limit_is_too_large_and_stores_nothing(
    server: RunningServer, api: httpx.Client, name: str
) -> None:
    server.register(name)
    items = [{"values": {"v": n}} for n in range(51)]
    body = problem(api.post(f"/api/v1/devices/{name}/telemetry", json=items), 413)
    assert "the limit is 50" in body["detail"]
    assert api.get(f"/api/v1/devices/{name}/latest").json() == {}
    assert api.post(f"/api/v1/devices/{name}/telemetry", json=items[:50]).json()["stored"] == 50


def test_a_device_of_another_contract_takes_native_readings_too(api: httpx.Client, name: str) -> None:
    claimed = api.post("/api/v1/claims", json={"contract": "hidrometro", "external_id": name})
    assert claimed.status_code == 201
    device = claimed.json()["id"]
    assert claimed.json()["external_id"] == name.upper()
    answer = api.post(f"/api/v1/devices/{device}/telemetry", json={"totalLiters": 5.0, "flowLmin": 1.0})
    assert answer.json()["stored"] == 1
    assert values(api, f"/api/v1/devices/{device}/telemetry/totalLiters") == [5.0]


def test_whose_key_it_is_decides_what_may_be_written(server: RunningServer, anonymous: httpx.Client, name: str) -> None:
    own, other = server.register(f"{name}a"), server.register(f"{name}b")
    items = [{"device": f"{name}{one}", "values": {"v": 1}} for one in ("a", "b")]
    with_own = {"Authorization": f"Bearer {own}"}
    body = anonymous.post("/api/v1/telemetry", json=items, headers=with_own).json()
    assert (body["stored"], [one["reason"] for one in body["refused"]]) == (1, ["not_allowed"])
    assert anonymous.post(f"/api/v1/devices/{name}a/telemetry", json={"v": 2}, headers=with_own).status_code == 200
    problem(anonymous.post(f"/api/v1/devices/{name}b/telemetry", json={"v": 2}, headers=with_own), 401)
    assert anonymous.get(f"/api/v1/devices/{name}a/telemetry/v", headers=with_own).status_code == 200
    problem(anonymous.get(f"/api/v1/devices/{name}b/telemetry/v", headers=with_own), 401)
    problem(anonymous.get(f"/api/v1/devices/{name}a", headers=with_own), 401)
    assert own != other


@pytest.mark.parametrize("body", [[], [{"device": "x", "values": {"v": 1}}], "{"])
def test_a_token_that_proves_nothing_is_told_as_such(anonymous: httpx.Client, body: Any) -> None:
    """An expired token must lead to signing in again, not to a search for mistakes in the readings."""
    content = body if isinstance(body, str) else json.dumps(body)
    headers = {"Authorization": "Bearer nonsense", "Content-Type": "application/json"}
    problem(anonymous.post("/api/v1/telemetry", content=content, headers=headers), 401)


def test_claims_say_what_is_wrong_with_them(api: httpx.Client, name: str) -> None:
    claim = {"contract": "hidrometro", "external_id": name}
    assert api.post("/api/v1/claims", json=claim).status_code == 201
    problem(api.post("/api/v1/claims", json=claim | {"external_id": f" {name} "}), 409)
    problem(
        api.post("/api/v1/claims", json=claim | {"external_id": f"{name}x", "id": f"hidrometro-{name.upper()}"}), 409
    )
    assert fields(api.post("/api/v1/claims", json=claim | {"contract": "nothing"})) == ["contract"]
    assert fields(api.post("/api/v1/claims", json=claim | {"external_id": "x" * 65})) == ["external_id"]
    assert fields(api.post("/api/v1/claims", json=claim | {"external_id": f"{name}y", "id": "a b"})) == ["id"]
    assert fields(api.post("/api/v1/claims", json=claim | {"owner": "me"})) == ["owner"]
