"""Dashboards of the interface: one document each, shared without the devices on it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.http.problems import problem
from tests.running import RunningServer

PASSWORD = "a-long-enough-one"
PLACE = {"x": 0, "y": 0, "w": 3, "h": 2}
BOARDS = "/api/v1/dashboards"


@pytest.fixture
def person(server: RunningServer, name: str) -> Iterator[Any]:
    """``person("x")`` is a client of a new operator of that name."""
    opened: list[httpx.Client] = []

    def make(who: str, role: str = "operator") -> httpx.Client:
        account = f"{name}-{who}"
        body = {"name": account, "password": PASSWORD, "role": role}
        assert server.api.post("/api/v1/users", json=body).status_code == 201
        client = httpx.Client(base_url=server.http, trust_env=False, timeout=10)
        opened.append(client)
        answer = client.post("/api/v1/auth/login", json={"username": account, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return client

    yield make
    for one in opened:
        one.close()


def made(client: httpx.Client, *widgets: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = client.post(BOARDS, json={"name": "Well", "widgets": list(widgets)} | more)
    assert answer.status_code == 201, answer.text
    board: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{BOARDS}/{board['id']}"
    return board


def value(device: str, key: str = "t", **more: Any) -> dict[str, Any]:
    return PLACE | {"type": "value", "device": device, "key": key} | more


def test_a_dashboard_is_kept_changed_listed_and_removed(person: Any, name: str) -> None:
    ana = person("ana")
    ana.post("/api/v1/devices", json={"id": f"{name}-d"})
    board = made(ana, value(f"{name}-d", title="Deep"), PLACE | {"type": "text", "id": "note", "y": 2})
    assert (board["right"], board["owner"], board["version"], board["columns"]) == ("own", f"{name}-ana", 1, 12)
    first, second = board["widgets"]
    assert first["options"] == {"unit": "", "decimals": None, "trend": False, "range": "24h", "virtual_pin": ""}
    assert (first["id"], first["visible"], first["missing"], second["id"]) == ("w1", True, False, "note")
    address = f"{BOARDS}/{board['id']}"
    plain = [{key: one[key] for key in ("id", "type", "x", "y", "w", "h", "options")} for one in board["widgets"][1:]]
    changed = ana.put(address, json={"version": 1, "name": "Pump", "widgets": plain}).json()
    assert (changed["version"], changed["name"], [one["id"] for one in changed["widgets"]]) == (2, "Pump", ["note"])
    assert ana.patch(address, json={"name": "Pumps"}).json()["version"] == 3
    assert ana.get(address).json()["name"] == "Pumps"
    listed = ana.get(BOARDS, params={"brief": True}).json()["items"]
    assert [(one["name"], one["widgets"], one["widget_count"]) for one in listed] == [("Pumps", [], 1)]
    assert ana.delete(address).status_code == 204
    assert ana.get(address).status_code == 404
    assert ana.get(BOARDS).json()["items"] == []


def test_what_comes_back_can_be_put_again(person: Any, name: str) -> None:
    ana = person("ana")
    ana.post("/api/v1/devices", json={"id": f"{name}-d"})
    board = ana.post(f"{BOARDS}/from-device/{name}-d").json()
    extra = ("visible", "missing", "hidden", "gone", "due_at")
    widgets = [{key: value for key, value in one.items() if key not in extra} for one in board["widgets"]]
    again = ana.put(f"{BOARDS}/{board['id']}", json={"version": 1, "name": board["name"], "widgets": widgets})
    assert again.status_code == 200, again.text
    assert again.json()["widgets"] == board["widgets"]


def test_pages_of_dashboards_follow_one_another(person: Any) -> None:
    ana = person("ana")
    ids = [made(ana)["id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = ana.get(BOARDS, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if not cursor:
            break
    assert sorted(seen) == sorted(ids)


def test_who_changes_an_old_version_is_told_the_current_one(person: Any) -> None:
    ana = person("ana")
    board = made(ana)
    address = f"{BOARDS}/{board['id']}"
    assert ana.put(address, json={"version": 1, "name": "a", "widgets": []}).status_code == 200
    late = ana.put(address, json={"version": 1, "name": "b", "widgets": []})
    assert late.status_code == 409
    assert late.headers["content-type"] == "application/problem+json"
    assert (late.json()["version"], late.json()["reason"]) == (2, "version_old")
    assert ana.get(address).json()["name"] == "a"
    assert problem(ana.patch(address, json={"widgets": []}), 422)["reason"] == "dashboard_invalid"
    assert problem(ana.patch(address, json={"version": 2}), 422)["reason"] == "empty"


def test_every_wrong_widget_is_named_with_its_field_and_limit(person: Any, name: str) -> None:
    ana = person("ana")
    ana.post("/api/v1/devices", json={"id": f"{name}-d"})
    wrong = [
        value(f"{name}-d"),
        PLACE | {"type": "gauge", "device": f"{name}-d", "key": "t", "options": {"min": 5, "max": 5}},
        PLACE | {"type": "text", "options": {"text": "x" * 4_001}},
        PLACE | {"type": "text", "w": 13},
        PLACE | {"type": "text", "x": 10},
    ]
    answer = ana.post(BOARDS, json={"name": "x", "widgets": wrong})
    assert answer.status_code == 422
    told = {one["field"]: one["message"] for one in answer.json()["errors"]}
    assert told == {
        "widgets[1].options.max": "must be more than options.min, which is 5",
        "widgets[2].options.text": "expected `str` of length <= 4000",
        "widgets[3].w": "expected `int` <= 12",
        "widgets[4].w": "is 3 at x 10: the grid has 12 columns",
    }
    assert ana.get(BOARDS).json()["items"] == []


def test_nobody_puts_what_they_may_not_view_on_a_dashboard(person: Any, name: str) -> None:
    ana, ben = person("ana"), person("ben")
    ana.post("/api/v1/devices", json={"id": f"{name}-d"})
    words = set()
    for device in (f"{name}-d", f"{name}-none"):
        for widget in (
            value(device),
            PLACE | {"type": "chart", "options": {"series": [{"device": device, "key": "t"}]}},
            PLACE | {"type": "table", "options": {"devices": [device], "keys": ["t"]}},
            PLACE | {"type": "picture", "options": {"pins": [{"x": 1, "y": 1, "device": device}]}},
            PLACE | {"type": "alerts", "options": {"devices": [device]}},
        ):
            answer = ben.post(BOARDS, json={"name": "x", "widgets": [widget]})
            assert answer.status_code == 422, answer.text
            words.add(answer.json()["errors"][0]["message"].replace(device, "X"))
    # The same for a device that is there and for one that is not.
    assert words == {"names no device of yours: no device 'X'"}


def test_a_shared_dashboard_shares_no_device(server: RunningServer, person: Any, name: str) -> None:
    ana, ben, eve = person("ana"), person("ben"), person("eve")
    for device in ("open", "own"):
        ana.post("/api/v1/devices", json={"id": f"{name}-{device}"})
    share = {"account": f"{name}-ben", "level": "view"}
    ana.post(f"/api/v1/devices/{name}-open/grants", json=share)
    shared = [{"user": f"{name}-ben", "right": "view"}]
    board = made(ana, value(f"{name}-open"), value(f"{name}-own"), shared=shared)
    address = f"{BOARDS}/{board['id']}"
    assert board["shared"] == shared
    seen = ben.get(address).json()
    assert (seen["right"], seen["shared"], seen["walls"]) == ("view", [], [])
    assert [(one["visible"], one["hidden"]) for one in seen["widgets"]] == [(True, []), (False, [f"{name}-own"])]
    assert ben.get(f"/api/v1/devices/{name}-own/latest").status_code == 404
    assert [one["id"] for one in ben.get(BOARDS).json()["items"]] == [board["id"]]
    for method, body in (("PUT", {"version": 1, "name": "x", "widgets": []}), ("PATCH", {"name": "x"})):
        assert ben.request(method, address, json=body).status_code == 403
    assert ben.delete(address).status_code == 403
    # To whom it is not shared, and to an administrator, there is none.
    for client in (eve, server.api):
        problem(client.get(address), 404)
        assert client.get(address).json()["detail"] == f"no dashboard {board['id']!r}"
        assert client.delete(address).status_code == 404
    ana.patch(address, json={"shared": []})
    assert ben.get(address).status_code == 404
    lines = server.api.get("/api/v1/audit", params={"action": "dashboard.share", "by": f"{name}-ana"}).json()["items"]
    assert [len(one["detail"]["shared"]) for one in lines] == [0, 1]


def test_who_may_edit_keeps_what_they_may_not_view_and_adds_none_of_it(person: Any, name: str) -> None:
    ana, ben = person("ana"), person("ben")
    ana.post("/api/v1/devices", json={"id": f"{name}-own"})
    board = made(ana, value(f"{name}-own", id="a"), shared=[{"user": f"{name}-ben", "right": "edit"}])
    address = f"{BOARDS}/{board['id']}"

    def put(*widgets: dict[str, Any], **more: Any) -> httpx.Response:
        version = ana.get(address).json()["version"]
        return ben.put(address, json={"version": version, "name": "x", "widgets": list(widgets)} | more)

    assert put(value(f"{name}-own", id="a", w=6)).status_code == 200
    assert put(value(f"{name}-own", "other", id="a")).status_code == 422
    assert put(PLACE | {"type": "status", "device": f"{name}-own"}).status_code == 422
    # Neither its past nor whatever else the owner may view.
    assert put(value(f"{name}-own", id="a", options={"trend": True})).status_code == 422
    tagged = put(PLACE | {"type": "table", "options": {"tag": "x", "keys": ["t"]}})
    assert [one["field"] for one in tagged.json()["errors"]] == ["widgets[0].options.tag"]
    assert put(PLACE | {"type": "alerts"}).json()["errors"][0]["field"] == "widgets[0].options.devices"
    assert put(shared=[]).status_code == 403
    assert ben.post(f"{address}/walls", json={"name": "x"}).status_code == 403
    assert ana.get(address).json()["shared"] == [{"user": f"{name}-ben", "right": "edit"}]


def test_a_removed_device_is_missing_and_the_dashboard_stays(person: Any, name: str) -> None:
    ana = person("ana")
    for device in ("a", "b"):
        ana.post("/api/v1/devices", json={"id": f"{name}-{device}"})
    series = [{"device": f"{name}-{one}", "key": "t"} for one in ("a", "b")]
    board = made(ana, value(f"{name}-a"), PLACE | {"type": "chart", "options": {"series": series}})
    assert ana.delete(f"/api/v1/devices/{name}-a").status_code == 204
    alone, both = ana.get(f"{BOARDS}/{board['id']}").json()["widgets"]
    assert (alone["missing"], alone["visible"], alone["gone"]) == (True, False, [f"{name}-a"])
    assert (both["missing"], both["visible"], both["gone"]) == (False, True, [f"{name}-a"])
    assert ana.patch(f"{BOARDS}/{board['id']}", json={"name": "still"}).status_code == 200


def test_a_person_takes_their_dashboards_along(server: RunningServer, person: Any, name: str) -> None:
    ana, ben = person("ana"), person("ben")
    theirs = made(ben, shared=[{"user": f"{name}-ana", "right": "edit"}])
    own = made(ana, shared=[{"user": f"{name}-ben", "right": "edit"}])
    assert server.api.delete(f"/api/v1/users/{name}-ana", params={"erase": True}).status_code == 204
    assert ben.get(f"{BOARDS}/{own['id']}").status_code == 404
    assert ben.get(f"{BOARDS}/{theirs['id']}").json()["shared"] == []


def test_a_virtual_pin_is_of_a_token_device_alone(server: RunningServer, person: Any, name: str) -> None:
    ana = person("ana")
    ana.post("/api/v1/devices", json={"id": f"{name}-d"})
    token = ana.post("/devices", json={"name": "Pump"}).json()
    listed = ana.get("/api/v1/devices", params={"contract": "thingsnxt"}).json()["items"]
    (pump,) = [one["id"] for one in listed if one["external_id"] == token["id"]]
    pin = {"type": "pin", "options": {"virtual_pin": "v9999", "shown": "switch"}}
    assert made(ana, PLACE | pin | {"device": pump})["widgets"][0]["options"]["virtual_pin"] == "v9999"
    answer = ana.post(BOARDS, json={"name": "x", "widgets": [PLACE | pin | {"device": f"{name}-d"}]})
    assert answer.json()["errors"][0]["field"] == "widgets[0].options.virtual_pin"


def test_the_dashboards_of_the_app_are_seen_here_and_changed_there(person: Any, name: str) -> None:
    ana, ben = person("ana"), person("ben")
    device = ana.post("/devices", json={"name": "Pump"}).json()["id"]
    app = ana.post("/dashboards", json={"name": "App"}).json()["id"]
    for body in (
        {"type": "led", "label": "Lamp"},
        {"type": "gauge", "label": "Level", "config": {"key": "level", "min": 0, "max": 10}},
        {"type": "nonsense", "label": "?", "config": {"key": "level"}},
        {"type": "gauge", "label": "odd", "config": {"key": "k", "min": 9, "max": 1}},
    ):
        assert ana.post("/widgets", json={"dashboard_id": app, "device_id": device} | body).status_code == 200
    (listed,) = ana.get(BOARDS).json()["items"]
    assert (listed["contract"], listed["right"], listed["id"]) == ("thingsnxt", "view", app)
    board = ana.get(f"{BOARDS}/{app}").json()
    assert [one["type"] for one in board["widgets"]] == ["switch", "gauge", "value", "text"]
    assert board["widgets"][0]["options"]["virtual_pin"] == "v0"
    assert [one["x"] for one in board["widgets"]] == [0, 3, 6, 9]
    for method, body in (("PUT", {"version": 1, "name": "x", "widgets": []}), ("DELETE", None)):
        assert ana.request(method, f"{BOARDS}/{app}", json=body).status_code == 403
    assert ben.get(f"{BOARDS}/{app}").status_code == 404
    assert ben.delete(f"{BOARDS}/{app}").status_code == 404


def test_a_device_gets_a_dashboard_by_what_it_can_do(server: RunningServer, person: Any, name: str) -> None:
    ana = person("ana")
    key = ana.post("/api/v1/devices", json={"id": f"{name}-d", "name": "Shed"}).json()["key"]
    values = {"humidity": 40, "temperature": 21.5, "lamp": True}
    device = {"Authorization": f"Bearer {server.canaries.plant(key)}"}
    assert httpx.post(
        f"{server.http}/api/v1/devices/{name}-d/telemetry", json=values, headers=device, trust_env=False
    ).is_success
    board = ana.post(f"{BOARDS}/from-device/{name}-d").json()
    assert board["name"] == "Shed"
    kinds = [(one["type"], one["key"]) for one in board["widgets"]]
    assert kinds == [("status", ""), ("switch", "lamp"), ("gauge", "humidity"), ("value", "temperature"), ("chart", "")]
    assert [one["key"] for one in board["widgets"][-1]["options"]["series"]] == ["humidity", "temperature"]
    places = [(one["x"], one["y"]) for one in board["widgets"]]
    assert len(set(places)) == len(places)
    assert all(one["visible"] for one in board["widgets"])


def test_a_dashboard_becomes_the_template_of_a_type(server: RunningServer, person: Any, name: str) -> None:
    kind = f"{name}-pump"
    for device in ("a", "b"):
        assert server.api.post("/api/v1/devices", json={"id": f"{name}-{device}", "type": kind}).status_code == 201
    button = PLACE | {"type": "button", "device": f"{name}-a"}
    board = made(
        server.api,
        button | {"options": {"command": "go", "params": {"device": f"{name}-a"}}},
        PLACE | {"type": "chart", "options": {"series": [{"device": f"{name}-a", "key": "t"}]}},
    )
    address = f"{BOARDS}/templates/{kind}"
    saved = server.api.put(address, json={"dashboard": board["id"]})
    assert saved.status_code == 200, saved.text
    first, second = saved.json()["widgets"]
    assert (first["device"], second["options"]["series"][0]["device"]) == ("$device", "$device")
    assert kind in [one["type"] for one in server.api.get(f"{BOARDS}/templates").json()["items"]]
    other = server.api.post(f"{BOARDS}/from-device/{name}-b").json()
    assert other["widgets"][1]["options"]["series"][0]["device"] == f"{name}-b"
    # What a command is told stays as it was written.
    assert other["widgets"][0]["options"]["params"] == {"device": f"{name}-a"}
    own = server.api.post(f"{BOARDS}/from-device/{name}-b", json={"template": False, "name": "Own"}).json()
    assert (own["name"], own["widgets"][0]["type"]) == ("Own", "status")
    assert person("ana").put(address, json={"dashboard": board["id"]}).status_code == 403
    two = made(server.api, value(f"{name}-a"), value(f"{name}-b"))
    assert problem(server.api.put(address, json={"dashboard": two["id"]}), 422)["reason"] == "dashboard_invalid"
    refused = server.api.put(address, json={"dashboard": two["id"], "device": f"{name}-a"})
    assert [one["field"] for one in refused.json()["errors"]] == ["widgets[1].device"]
    assert server.api.delete(address).status_code == 204
    assert server.api.delete(address).status_code == 404
    for one in (board, other, own, two):
        server.api.delete(f"{BOARDS}/{one['id']}")


def test_a_key_that_may_only_look_changes_no_dashboard(person: Any, server: RunningServer) -> None:
    ana = person("ana")
    board = made(ana)
    key = ana.post("/api/v1/keys", json={"name": "look", "scopes": ["read"]}).json()["key"]
    headers = {"Authorization": f"Bearer {server.canaries.plant(key)}"}
    with httpx.Client(base_url=server.http, headers=headers, trust_env=False) as reader:
        assert reader.get(f"{BOARDS}/{board['id']}").status_code == 200
        assert reader.post(BOARDS, json={"name": "x"}).status_code == 403
        assert reader.patch(f"{BOARDS}/{board['id']}", json={"name": "x"}).status_code == 403
        assert reader.delete(f"{BOARDS}/{board['id']}").status_code == 403
        assert reader.post("/api/v1/pictures", content=b"x").status_code == 403


def test_a_person_has_room_for_a_hundred_dashboards(person: Any) -> None:
    ana = person("ana")
    for _ in range(100):
        made(ana)
    problem(ana.post(BOARDS, json={"name": "one more"}), 409)
