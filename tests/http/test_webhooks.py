"""Webhooks over HTTP: who may have them, what is refused, what is shown."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.http.problems import fields, problem
from tests.journeys.live import eventually
from tests.running import RunningServer

PASSWORD = "a-long-enough-one"
PLAIN = {"name": "Mine", "url": "https://hook.example/in", "kinds": ["alert"], "enabled": False}
_numbers = itertools.count()


@pytest.fixture
def person(server: RunningServer) -> Iterator[Callable[..., httpx.Client]]:
    """A fresh operator, signed in."""
    opened: list[httpx.Client] = []

    def make(role: str = "operator") -> httpx.Client:
        name = f"hooker-{next(_numbers)}"
        body = {"name": name, "password": PASSWORD, "role": role}
        assert server.api.post("/api/v1/users", json=body).status_code == 201
        client = httpx.Client(base_url=server.http, trust_env=False, timeout=10)
        opened.append(client)
        answer = client.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        client.headers["X-Name"] = name
        return client

    yield make
    for client in opened:
        client.close()


def make(server: RunningServer, client: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/webhooks", json=PLAIN | more)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/v1/webhooks/{found['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert found["secret"].startswith("whsec_")
    server.canaries.plant(found["secret"])
    return found


def test_a_webhook_is_made_shown_changed_and_removed(
    server: RunningServer, person: Callable[..., httpx.Client]
) -> None:
    api = person()
    made = make(server, api, headers={"X-Plant": "north"}, tags=["roof"])
    path = f"/api/v1/webhooks/{made['id']}"
    shown = api.get(path).json()
    assert shown == made | {"secret": "***", "behind": shown["behind"]}
    assert (shown["owner"], shown["headers"], shown["enabled"]) == (api.headers["x-name"], {"X-Plant": "north"}, False)
    changed = api.patch(path, json={"name": "Other", "kinds": ["telemetry", "alert"]}).json()
    assert (changed["name"], changed["kinds"], changed["url"]) == ("Other", ["telemetry", "alert"], PLAIN["url"])
    rotated = api.post(f"{path}/rotate")
    assert rotated.headers["cache-control"] == "no-store"
    secret = server.canaries.plant(rotated.json()["secret"])
    assert secret.startswith("whsec_")
    assert secret != made["secret"]
    assert rotated.json()["former_secret_until"] > rotated.json()["created"]
    assert api.get(path).json()["secret"] == "***"
    assert api.get(f"{path}/deliveries").json() == {"items": [], "next": None}
    assert api.delete(path).status_code == 204
    problem(api.get(path), 404)
    actions = [one["action"] for one in server.api.get("/api/v1/audit", params={"target": made["id"]}).json()["items"]]
    assert actions == ["webhook.delete", "webhook.rotate", "webhook.change", "webhook.create"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"name": ""}, "name"),
        ({"url": ""}, "url"),
        ({"url": "ftp://example.org/"}, "url"),
        ({"url": "https://user:word@example.org/"}, "url"),
        ({"url": "http://127.0.0.1:1883/"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "http://[::ffff:169.254.169.254]/"}, "url"),
        ({"url": "http://10.1.2.3/"}, "url"),
        ({"kinds": ["weather"]}, "kinds"),
        ({"kinds": ["gap"]}, "kinds"),
        ({"format": "xml"}, "format"),
        ({"headers": {"Authorization": "Bearer x"}}, "headers"),
        ({"headers": {"Host": "inside"}}, "headers"),
        ({"headers": {"X-A": "a\r\nB: c"}}, "headers"),
        ({"secret": "mine"}, "secret"),
        ({"salt": "mine"}, "salt"),
        ({"id": "mine"}, "id"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(api: httpx.Client, more: dict[str, Any], field: str) -> None:
    assert fields(api.post("/api/v1/webhooks", json=PLAIN | more)) == [field]


def test_an_administrator_may_allow_private_addresses_but_no_metadata_service(
    server: RunningServer, api: httpx.Client, person: Callable[..., httpx.Client]
) -> None:
    inside = "http://10.1.2.3/"
    made = make(server, api, url=inside, allow_private=True)
    assert fields(api.post("/api/v1/webhooks", json=PLAIN | {"url": "http://169.254.169.254/", "allow_private": True}))
    ana = person()
    problem(ana.post("/api/v1/webhooks", json=PLAIN | {"allow_private": True}), 403)
    # One that was allowed for its owner's sake stays where the administrator pointed it.
    path = f"/api/v1/webhooks/{made['id']}"
    assert api.patch(path, json={"owner": ana.headers["x-name"]}).status_code == 200
    problem(ana.patch(path, json={"url": "http://10.1.2.4/"}), 403)
    assert ana.patch(path, json={"name": "Hers"}).json()["allow_private"] is True
    hers = make(server, ana)
    problem(ana.patch(f"/api/v1/webhooks/{hers['id']}", json={"allow_private": True}), 403)
    assert fields(ana.patch(f"/api/v1/webhooks/{hers['id']}", json={"url": inside})) == ["url"]
    assert fields(ana.patch(f"/api/v1/webhooks/{hers['id']}", json={})) == ["body"]


def test_people_see_and_change_their_own_and_administrators_all(
    server: RunningServer, api: httpx.Client, person: Callable[..., httpx.Client]
) -> None:
    ana, ben = person(), person()
    made = make(server, ana)
    path = f"/api/v1/webhooks/{made['id']}"
    for method, address in (
        ("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/test"), ("POST", f"{path}/rotate"),
        ("GET", f"{path}/deliveries"), ("GET", f"{path}/dead-letters"), ("POST", f"{path}/dead-letters/replay"),
        ("POST", f"{path}/dead-letters/1/replay"),
    ):  # fmt: skip
        body = {"name": "his"} if method == "PATCH" else None
        assert problem(ben.request(method, address, json=body), 404)["detail"] == f"no webhook '{made['id']}'"
    assert made["id"] not in [one["id"] for one in ben.get("/api/v1/webhooks").json()["items"]]
    assert made["id"] in [one["id"] for one in api.get("/api/v1/webhooks", params={"limit": 500}).json()["items"]]
    problem(ben.post("/api/v1/webhooks", json=PLAIN | {"owner": ana.headers["x-name"]}), 403)
    problem(person("viewer").post("/api/v1/webhooks", json=PLAIN), 403)
    assert fields(api.post("/api/v1/webhooks", json=PLAIN | {"owner": "nobody"})) == ["owner"]


def test_somebody_who_leaves_takes_their_webhooks_along(
    server: RunningServer, api: httpx.Client, person: Callable[..., httpx.Client]
) -> None:
    ana = person()
    made = make(server, ana)
    assert api.delete(f"/api/v1/users/{ana.headers['x-name']}").status_code == 204
    problem(api.get(f"/api/v1/webhooks/{made['id']}"), 404)


def test_the_list_is_searched_and_turned_page_by_page(
    server: RunningServer, person: Callable[..., httpx.Client]
) -> None:
    ana = person()
    made = [make(server, ana, name=f"Hook {n}")["id"] for n in range(5)]
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = ana.get("/api/v1/webhooks", params=query).json()
        found += [one["id"] for one in page["items"]]
        if not page["next"]:
            break
        query["cursor"] = page["next"]
    assert sorted(found) == sorted(made)
    assert [one["name"] for one in ana.get("/api/v1/webhooks", params={"search": "hOOk 3"}).json()["items"]] == [
        "Hook 3"
    ]


def test_nobody_has_more_than_the_limit(server: RunningServer, person: Callable[..., httpx.Client]) -> None:
    ana = person()
    for _ in range(50):
        make(server, ana)
    assert (
        "50 webhooks, which is the limit (webhooks.per_owner)"
        in problem(ana.post("/api/v1/webhooks", json=PLAIN), 409)["detail"]
    )


def test_a_test_says_what_came_of_it(server: RunningServer, person: Callable[..., httpx.Client]) -> None:
    ana = person()
    made = make(server, ana, url="http://nothing.invalid/")
    tried = ana.post(f"/api/v1/webhooks/{made['id']}/test").json()
    assert tried == {
        "delivered": False, "status": None, "error": "the name nothing.invalid has no address", "answer": "",
    }  # fmt: skip


def test_what_fails_is_listed_counted_and_shown_with_why(
    server: RunningServer, api: httpx.Client, person: Callable[..., httpx.Client]
) -> None:
    ana = person()
    device = f"hooked-{next(_numbers)}"
    assert ana.post("/api/v1/devices", json={"id": device}).status_code == 201
    made = make(server, ana, url="http://localhost:9/", kinds=["telemetry"], enabled=True)
    path = f"/api/v1/webhooks/{made['id']}"
    for n in range(3):
        assert ana.post(f"/api/v1/devices/{device}/telemetry", json={"n": n}).json()["stored"] == 1
    items = eventually(lambda: (found := ana.get(f"{path}/deliveries").json()["items"]) and len(found) == 3 and found)
    assert {one["state"] for one in items} == {"waiting"}
    assert items[2]["attempts"] >= 1
    assert items[2]["status"] is None
    assert "localhost is" in items[2]["error"]
    assert "loopback and not allowed" in items[2]["error"]
    assert items[2]["message_id"] == f"msg_{made['id']}_{items[2]['seq']}"
    page = ana.get(f"{path}/deliveries", params={"limit": 2, "state": "waiting"}).json()
    rest = ana.get(f"{path}/deliveries", params={"limit": 2, "cursor": page["next"]}).json()
    assert [one["seq"] for one in page["items"] + rest["items"]] == [one["seq"] for one in items]
    assert ana.get(f"{path}/dead-letters").json()["items"] == []
    problem(ana.post(f"{path}/dead-letters/{items[0]['seq']}/replay"), 404)
    shown = ana.get(path).json()
    assert (shown["waiting"], shown["dead_letters"]) == (3, 0)
    assert shown["failing_since"]
    metrics = api.get("/metrics").text
    assert 'relevo_webhook_deliveries_total{what="failed"}' in metrics
    assert ana.patch(path, json={"enabled": False}).json()["disabled_reason"] == f"by {ana.headers['x-name']}"
    problem(ana.post(f"{path}/dead-letters/replay"), 409)
    again = ana.patch(path, json={"enabled": True, "from_now": True}).json()
    assert (again["waiting"], again["disabled_reason"], again["failing_since"]) == (0, "", None)
    assert ana.get(f"{path}/deliveries").json()["items"] == []
