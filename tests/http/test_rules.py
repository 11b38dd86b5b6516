"""Rules and alerts over HTTP: who may have and see them, what is refused."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.journeys.live import eventually
from tests.running import RunningServer

PASSWORD = "a-long-enough-one"
HOT = {"value": {"key": "t", "op": ">", "than": 8}}
ALERT = {"alert": {"severity": "warning", "text": "warm"}}
_numbers = itertools.count()


@pytest.fixture
def person(server: RunningServer) -> Iterator[Callable[..., httpx.Client]]:
    """A fresh person, signed in."""
    opened: list[httpx.Client] = []

    def make(role: str = "operator") -> httpx.Client:
        name = f"ruler-{next(_numbers)}"
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


def fridge(api: httpx.Client) -> str:
    name = f"fridge-{next(_numbers)}"
    assert api.post("/api/v1/devices", json={"id": name}).status_code == 201
    return name


def make(api: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = api.post("/api/v1/rules", json={"name": "Warm", "condition": HOT, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def field_of(answer: httpx.Response) -> str:
    assert answer.status_code == 422, answer.text
    found: str = answer.json()["errors"][0]["field"]
    return found


def test_a_rule_is_made_shown_changed_and_removed(api: httpx.Client) -> None:
    device = fridge(api)
    made = make(api, scope={"devices": [device]}, actions=[ALERT], cooldown_s=5)
    assert (made["owner"], made["enabled"], made["true_of"], made["last_fired"]) == ("admin", True, [], None)
    path = f"/api/v1/rules/{made['id']}"
    assert api.get(path).json() == made
    assert [one["id"] for one in api.get("/api/v1/rules", params={"device": device, "search": "WARM"}).json()["items"]][
        :1
    ] == [made["id"]]
    api.post(f"/api/v1/devices/{device}/telemetry", json={"values": {"t": 9}})
    eventually(lambda: api.get(path).json()["true_of"] == [device])
    changed = api.patch(path, json={"name": "Warmer", "cooldown_s": 0}).json()
    # With the same condition nothing that is known is lost.
    assert (changed["name"], changed["true_of"]) == ("Warmer", [device])
    assert api.patch(path, json={"condition": {"value": HOT["value"] | {"than": 20}}}).json()["true_of"] == []
    assert api.patch(path, json={"enabled": False}).json()["enabled"] is False
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404
    audited = [one["action"] for one in api.get("/api/v1/audit", params={"target": made["id"]}).json()["items"]]
    assert sorted(set(audited)) == ["rule.change", "rule.create", "rule.delete"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"condition": {}}, "condition"),
        ({"condition": {"value": {"key": "t", "op": ">", "than": "x"}}}, "condition.value.than"),
        ({"condition": {"expression": {"text": "[1].all(x, x > t)"}}}, "condition.expression.text"),
        ({"scope": {"devices": ["nobody"]}}, "scope.devices"),
        ({"scope": {"colour": 1}}, "scope.colour"),
        ({"actions": [{"shout": {}}]}, "actions.0"),
        ({"actions": [ALERT] * 9}, "actions"),
        ({"clear_actions": [ALERT]}, "clear_actions.0"),
        ({"cooldown_s": -1}, "cooldown_s"),
        ({"late_limit_s": 0}, "late_limit_s"),
        ({"owner": "nobody-at-all"}, "owner"),
        ({"stopped": "x"}, "stopped"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(api: httpx.Client, change: Any, field: str) -> None:
    before = len(api.get("/api/v1/rules", params={"limit": 500}).json()["items"])
    answer = api.post("/api/v1/rules", json={"name": "Warm", "condition": HOT} | change)
    assert field_of(answer) == field
    assert len(api.get("/api/v1/rules", params={"limit": 500}).json()["items"]) == before


def test_templates_are_listed_and_made_into_rules(api: httpx.Client) -> None:
    listed = {one["name"]: one for one in api.get("/api/v1/rules/templates").json()["items"]}
    assert set(listed) == {"leak", "freezer_door", "tank_level", "device_silent", "water_at_night"}
    assert listed["leak"]["parameters"] == [
        {"name": "threshold", "type": "number", "default": 2.5},
        {"name": "for_s", "type": "number", "default": 10},
    ]
    made = api.post("/api/v1/rules/templates/tank_level", json={"arguments": {"below": 30}, "name": "Cistern"}).json()
    assert (made["name"], made["condition"]["value"]["than"]) == ("Cistern", 30)
    api.delete(f"/api/v1/rules/{made['id']}")
    path = "/api/v1/rules/templates/water_at_night"
    assert field_of(api.post(path, json={})) == "arguments.zone"
    assert field_of(api.post(path, json={"arguments": {"zone": "Nowhere"}})).endswith("zone")
    assert field_of(api.post(path, json={"arguments": {"zone": "UTC", "depth": 3}})) == "arguments.depth"
    assert field_of(api.post(path, json={"arguments": {"zone": 3}})) == "arguments.zone"
    assert api.post("/api/v1/rules/templates/nothing", json={}).status_code == 404


def test_people_see_their_own_rules_and_the_alerts_of_what_they_may_view(
    api: httpx.Client, person: Callable[..., httpx.Client]
) -> None:
    ana, ben, guest = person(), person(), person("viewer")
    device, other = fridge(ana), fridge(ben)
    made = make(ana, actions=[ALERT])
    path = f"/api/v1/rules/{made['id']}"
    for method, more in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/backtest")):
        answer = ben.request(method, path + more, json={} if method in ("PATCH", "POST") else None)
        assert answer.status_code == 404, (method, more)
    assert made["id"] not in [one["id"] for one in ben.get("/api/v1/rules").json()["items"]]
    assert guest.get("/api/v1/rules").status_code == 403
    # Her rule means every device, and that is every one she may see.
    for client, name in ((ana, device), (ben, other)):
        client.post(f"/api/v1/devices/{name}/telemetry", json={"values": {"t": 9}})
    (alert,) = eventually(lambda: ana.get("/api/v1/alerts").json()["items"])
    assert (alert["device"], alert["owner"]) == (device, ana.headers["X-Name"])
    assert ana.get(path).json()["true_of"] == [device]
    address = f"/api/v1/alerts/{alert['id']}"
    assert ben.get(address).status_code == 404
    assert ben.post(f"{address}/acknowledge").status_code == 404
    assert ben.get("/api/v1/alerts").json() == {"items": [], "next": None, "open": 0}
    shared = ana.post(f"/api/v1/devices/{device}/grants", json={"account": guest.headers["X-Name"]})
    assert shared.status_code == 201, shared.text
    assert guest.get(address).json()["id"] == alert["id"]
    assert guest.post(f"{address}/acknowledge").status_code == 403
    assert field_of(ben.post("/api/v1/rules", json={"name": "x", "condition": HOT, "scope": {"devices": [device]}}))
    publish = {"publish": {"topic": "house/x"}}
    refused = ana.post("/api/v1/rules", json={"name": "x", "condition": HOT, "actions": [publish]})
    assert field_of(refused) == "actions.0.publish"
    # What somebody shares with her is hers to watch from then on, and no longer when it is taken back.
    share = ben.post(f"/api/v1/devices/{other}/grants", json={"account": ana.headers["X-Name"]}).json()
    ben.post(f"/api/v1/devices/{other}/telemetry", json={"values": {"t": 10}})
    eventually(lambda: ana.get(path).json()["true_of"] == sorted([device, other]))
    ben.delete(f"/api/v1/devices/{other}/grants/{share['id']}")
    eventually(lambda: ana.get(path).json()["true_of"] == [device])
    assert api.delete(f"/api/v1/users/{made['owner']}").status_code == 204
    assert api.get(path).status_code == 404


def test_alerts_are_turned_page_by_page_and_searched(api: httpx.Client) -> None:
    word = f"ventana-{next(_numbers)}"
    devices = [fridge(api) for _ in range(3)]
    rule = make(api, name=word, scope={"devices": devices}, actions=[ALERT])
    for device in devices:
        api.post(f"/api/v1/devices/{device}/telemetry", json={"values": {"t": 9}})
    params: dict[str, Any] = {"search": word.upper(), "limit": 2, "state": ["open", "acknowledged"]}
    eventually(lambda: len(api.get("/api/v1/alerts", params=params | {"limit": 9}).json()["items"]) == 3)
    first = api.get("/api/v1/alerts", params=params).json()
    rest = api.get("/api/v1/alerts", params=params | {"cursor": first["next"]}).json()
    found = [one["device"] for one in first["items"] + rest["items"]]
    assert sorted(found) == sorted(devices)
    assert rest["next"] is None
    api.delete(f"/api/v1/rules/{rule['id']}")
    eventually(
        lambda: len(api.get("/api/v1/alerts", params={"rule": rule["id"], "state": "cleared"}).json()["items"]) == 3
    )
