"""Who asks too often is told to wait; whoever stands beside them is not."""

from collections.abc import Iterator

import httpx
import pytest

from tests.http.problems import problem
from tests.journeys.live import eventually
from tests.running import RunningServer


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {f"RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_{kind}": "12" for kind in ("DEVICE", "ADDRESS")}
    env["RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_USER"] = "30"
    with RunningServer(tmp_path_factory.mktemp("limited") / "data", env=env) as server:
        yield server


def test_a_device_that_floods_is_slowed_and_its_neighbour_at_the_same_address_is_not(limited: RunningServer) -> None:
    keys = {name: limited.register(name) for name in ("loud", "quiet")}

    def send(name: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {keys[name]}"}
        path = f"{limited.http}/api/v1/devices/{name}/telemetry"
        return httpx.post(path, json={"v": 1}, headers=headers, trust_env=False)

    assert [send("loud").status_code for _ in range(14)] == [200] * 12 + [429] * 2
    refused = send("loud")
    assert "12 requests a minute" in problem(refused, 429)["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert send("quiet").status_code == 200
    # A stranger at the same address neither.
    assert httpx.get(f"{limited.http}/metrics", trust_env=False).status_code == 401
    eventually(lambda: "too_many_requests" in limited.api.get("/api/v1/devices/loud/timeline").text)


def test_a_person_who_asks_too_often_waits_by_whatever_credential_and_it_is_audited(limited: RunningServer) -> None:
    body = {"name": "busy", "password": "a-long-enough-one", "role": "viewer"}
    assert limited.api.post("/api/v1/users", json=body).status_code == 201
    login = {"username": "busy", "password": "a-long-enough-one"}
    with httpx.Client(base_url=limited.http, trust_env=False) as client:
        client.headers["Authorization"] = (
            f"Bearer {client.post('/api/v1/auth/login', json=login).json()['access_token']}"
        )
        key = client.post("/api/v1/keys", json={"name": "second"}).json()["key"]
        statuses = []
        # As many again where the minute ends in between.
        while len(statuses) < 90 and 429 not in statuses:
            statuses.append(client.get("/api/v1/me").status_code)
        assert statuses[-1] == 429 and statuses.count(200) >= 29
        client.headers["Authorization"] = f"Bearer {key}"
        problem(client.get("/api/v1/me"), 429)
    query = {"by": "busy", "action": "limit.requests"}
    eventually(lambda: len(limited.api.get("/api/v1/audit", params=query).json()["items"]) == 1)


def test_strangers_share_what_their_address_may_and_the_health_is_always_told(limited: RunningServer) -> None:
    statuses = {httpx.get(f"{limited.http}/api/current", trust_env=False).status_code for _ in range(20)}
    assert statuses == {200, 429} or statuses == {401, 429}
    assert httpx.get(f"{limited.http}/api/current", trust_env=False).json().keys() == {"error"}
    for path in ("/healthz", "/", "/ui/", "/openapi.json"):
        assert httpx.get(limited.http + path, trust_env=False).status_code in (200, 503)
