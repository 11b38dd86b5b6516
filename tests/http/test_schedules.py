"""Schedules over HTTP: who may have them, what is refused, what is shown of the time to come."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.running import RunningServer

PASSWORD = "a-long-enough-one"
DAILY = {"kind": "cron", "expression": "30 7 * * *"}
_numbers = itertools.count()


@pytest.fixture
def device(server: RunningServer) -> str:
    name = f"timed-{next(_numbers)}"
    server.register(name)
    return name


@pytest.fixture
def person(server: RunningServer) -> Iterator[Callable[..., httpx.Client]]:
    """A fresh operator, signed in."""
    opened: list[httpx.Client] = []

    def make(role: str = "operator") -> httpx.Client:
        name = f"timer-{next(_numbers)}"
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


def body(device: str, **more: Any) -> dict[str, Any]:
    command = {"device": device, "name": "relay", "params": {"state": "on"}} | more.pop("command", {})
    command = {name: one for name, one in command.items() if one is not None}
    return {"name": "Porch", "timing": DAILY, "action": {"command": command}, "zone": "Europe/Madrid"} | more


def make(api: httpx.Client, device: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/api/v1/schedules", json=body(device, **more))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/api/v1/schedules/{found['id']}"
    return found


def field_of(answer: httpx.Response) -> str:
    assert answer.status_code == 422, answer.text
    found: str = answer.json()["errors"][0]["field"]
    return found


def test_a_schedule_is_made_shown_changed_and_removed(api: httpx.Client, device: str) -> None:
    made = make(api, device, missed="run_once", jitter_s=5, late_limit_s=90, starts_at="2026-01-01T00:00")
    assert made["owner"] == "admin"
    assert made["starts_at"] == "2025-12-31T23:00:00.000Z"
    assert made["timing"] == DAILY
    assert made["next"][14:19] == "30:00"
    assert (made["note"], made["last_run"]) == ("", None)
    path = f"/api/v1/schedules/{made['id']}"
    assert api.get(path).json() == made
    changed = api.patch(path, json={"name": "Gate", "starts_at": None, "jitter_s": 0}).json()
    assert (changed["name"], changed["starts_at"], changed["jitter_s"], changed["missed"]) == (
        "Gate",
        None,
        0,
        "run_once",
    )
    off = api.patch(path, json={"enabled": False}).json()
    assert (off["enabled"], off["next"], off["note"]) == (False, None, "it is switched off")
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404
    audited = [one["action"] for one in api.get("/api/v1/audit", params={"target": made["id"]}).json()["items"]]
    assert sorted(set(audited)) == ["schedule.change", "schedule.create", "schedule.delete"]


def test_a_preview_shows_local_time_and_utc_through_a_change_of_the_clocks(api: httpx.Client, device: str) -> None:
    bounds = {"starts_at": "2028-03-25T00:00", "ends_at": "2028-03-28T00:00"}
    made = make(api, device, timing={"kind": "cron", "expression": "30 2 * * *"}, **bounds)
    shown = api.get(f"/api/v1/schedules/{made['id']}/next", params={"count": 5}).json()
    assert [(one["at"], one["local"]) for one in shown["items"]] == [
        ("2028-03-25T01:30:00.000Z", "2028-03-25T02:30:00+01:00"),
        ("2028-03-26T01:00:00.000Z", "2028-03-26T03:00:00+02:00"),
        ("2028-03-27T00:30:00.000Z", "2028-03-27T02:30:00+02:00"),
    ]
    assert shown["items"][0]["steps"] == [{"edge": "run", "action": made["action"]}]
    assert api.get(f"/api/v1/schedules/{made['id']}/next", params={"count": 101}).status_code == 422


def test_a_preview_says_why_the_sun_keeps_it_waiting(api: httpx.Client, device: str) -> None:
    timing = {"kind": "sun", "event": "sunrise"}
    arctic = {"lat": 78.22, "lon": 15.63, "zone": "Arctic/Longyearbyen"}
    made = make(api, device, timing=timing, starts_at="2027-12-01T00:00", **arctic)
    shown = api.get(f"/api/v1/schedules/{made['id']}/next").json()
    assert len(shown["items"]) == 10
    assert shown["items"][0]["local"].startswith("2028-02-1")
    assert shown["note"].startswith("no sunrise on ")
    assert "polar night" in shown["note"]


def test_edges_of_a_table_are_shown_with_what_they_do(api: httpx.Client, device: str) -> None:
    windows = [{"days": ["mon", "wed"], "from": "22:00", "to": "06:00"}]
    off = {"command": {"device": device, "name": "relay", "params": {"state": "off"}}}
    made = make(api, device, timing={"kind": "weekly", "windows": windows}, end_action=off)
    items = api.get(f"/api/v1/schedules/{made['id']}/next", params={"count": 2}).json()["items"]
    steps = [step for one in items for step in one["steps"]]
    assert {step["edge"]: step["action"]["command"]["params"]["state"] for step in steps} == {
        "start": "on",
        "end": "off",
    }


def test_instants_are_local_times_or_have_an_offset_or_are_milliseconds(api: httpx.Client, device: str) -> None:
    for at in ("2028-06-01T12:00", "2028-06-01T10:00:00Z", "2028-06-01T10:00:00.000Z", 1_843_466_400_000):
        made = make(api, device, timing={"kind": "once", "at": at})
        assert (made["timing"], made["next"]) == (
            {"kind": "once", "at": "2028-06-01T10:00:00.000Z"},
            "2028-06-01T10:00:00.000Z",
        )
        # What is shown can be sent back.
        again = api.patch(f"/api/v1/schedules/{made['id']}", json={"timing": made["timing"]})
        assert again.json()["timing"] == made["timing"]


def test_running_now_is_a_command_of_the_owner(api: httpx.Client, device: str) -> None:
    made = make(api, device)
    ran = api.post(f"/api/v1/schedules/{made['id']}/run").json()
    assert list(ran["asked"]) == [device]
    command = api.get(f"/api/v1/devices/{device}/commands/{ran['asked'][device]}").json()
    assert (command["origin"], command["by"], command["params"]) == (f"schedule:{made['id']}", "admin", {"state": "on"})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timing": {"kind": "interval", "every": 1}}, "timing.kind"),
        ({"timing": {"kind": "once", "at": "2020-01-01T00:00"}}, "timing"),
        ({"timing": {"kind": "once", "at": "soon"}}, "timing.at"),
        ({"timing": {"kind": "sun", "event": "noon"}}, "lat"),
        ({"timing": {"kind": "weekly", "windows": [{"days": [], "from": "00:00"}]}}, "timing.windows.0.days"),
        ({"zone": "Nowhere"}, "zone"),
        ({"zone": "Europe"}, "zone"),
        ({"starts_at": "soon"}, "starts_at"),
        ({"ends_at": "2020-01-01T00:00"}, "timing"),
        ({"command": {"device": None}}, "action.command"),
        ({"command": {"device": "nobody"}}, "action.command"),
        ({"command": {"device": None, "selection": {}}}, "action.command.selection"),
        ({"command": {"name": ""}}, "action.command.name"),
        ({"command": {"color": "red"}}, "action.command.color"),
        ({"action": {}}, "action"),
        ({"end_action": {"command": {"device": "x", "name": "y"}}}, "end_action"),
        ({"owner": "nobody-at-all"}, "owner"),
        ({"late_limit_s": 0}, "late_limit_s"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(api: httpx.Client, device: str, change: Any, field: str) -> None:
    before = len(api.get("/api/v1/schedules", params={"limit": 500}).json()["items"])
    assert field_of(api.post("/api/v1/schedules", json=body(device, **change))) == field
    assert len(api.get("/api/v1/schedules", params={"limit": 500}).json()["items"]) == before


def test_a_change_keeps_every_rule_too(api: httpx.Client, device: str) -> None:
    path = f"/api/v1/schedules/{make(api, device)['id']}"
    assert field_of(api.patch(path, json={})) == "body"
    assert field_of(api.patch(path, json={"timing": {"kind": "countdown", "in": 0}})) == "timing.in"
    assert field_of(api.patch(path, json={"action": {"command": {"name": "x"}}})) == "action.command"
    assert field_of(api.patch(path, json={"name": None})) == "name"
    assert api.get(path).json()["timing"] == DAILY


def test_people_see_and_change_their_own_and_administrators_all(
    api: httpx.Client, person: Callable[..., httpx.Client]
) -> None:
    ana, ben = person(), person()
    lamp = f"lamp-{next(_numbers)}"
    assert ana.post("/api/v1/devices", json={"id": lamp}).status_code == 201
    made = make(ana, lamp)
    path = f"/api/v1/schedules/{made['id']}"
    assert made["owner"] == ana.headers["X-Name"]
    asked = (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/next"), ("POST", "/run"))
    for method, more in asked:
        answer = ben.request(method, path + more, json={"enabled": False} if method == "PATCH" else None)
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"no schedule '{made['id']}'"
    assert made["id"] not in [one["id"] for one in ben.get("/api/v1/schedules").json()["items"]]
    assert [one["id"] for one in ana.get("/api/v1/schedules").json()["items"]] == [made["id"]]
    assert api.get(path).json()["id"] == made["id"]
    # Nobody commands other people's devices, whoever's name stands in the schedule.
    assert field_of(ben.post("/api/v1/schedules", json=body(lamp))) == "action.command"
    assert ben.post("/api/v1/schedules", json=body(lamp, owner=made["owner"])).status_code == 403
    assert field_of(api.patch(path, json={"owner": ben.headers["X-Name"]})) == "action.command"
    assert api.post("/api/v1/schedules", json=body(lamp, owner=made["owner"])).json()["owner"] == made["owner"]
    assert person("viewer").get("/api/v1/schedules").status_code == 403


def test_somebody_who_leaves_takes_their_schedules_along(
    api: httpx.Client, person: Callable[..., httpx.Client]
) -> None:
    ana = person()
    lamp = f"lamp-{next(_numbers)}"
    ana.post("/api/v1/devices", json={"id": lamp})
    made = make(ana, lamp)
    assert api.delete(f"/api/v1/users/{made['owner']}").status_code == 204
    assert api.get(f"/api/v1/schedules/{made['id']}").status_code == 404


def test_a_site_lends_its_clocks_and_its_sun(api: httpx.Client, device: str) -> None:
    site = f"farm-{next(_numbers)}"
    lima = {"zone": "America/Lima", "lat": -12.05, "lon": -77.04}
    api.patch(f"/api/v1/devices/{device}", json={"site": site})
    assert api.put(f"/api/v1/sites/{site}", json=lima).json() == lima | {"name": site, "devices": 1}
    sunset = {"kind": "sun", "event": "sunset"}
    plain = body(device, timing=sunset)
    del plain["zone"]
    made = api.post("/api/v1/schedules", json=plain).json()
    assert (made["zone"], made["lat"], made["lon"]) == ("America/Lima", -12.05, -77.04)
    local = api.get(f"/api/v1/schedules/{made['id']}/next").json()["items"][0]["local"]
    assert local[11:13] in ("17", "18")
    assert local.endswith("-05:00")
    assert make(api, device)["zone"] == "Europe/Madrid"
    listed = api.get("/api/v1/sites", params={"search": site.upper()}).json()["items"]
    assert [one["name"] for one in listed] == [site]
    assert field_of(api.put(f"/api/v1/sites/{site}", json={"zone": "Nowhere"})) == "zone"
    assert field_of(api.put(f"/api/v1/sites/{site}", json={"zone": "UTC", "lat": 1})) == "lat"
    assert api.delete(f"/api/v1/sites/{site}").status_code == 204
    assert api.delete(f"/api/v1/sites/{site}").status_code == 404
    assert api.get("/api/v1/sites", params={"search": site}).json()["items"][0]["zone"] == ""


def test_those_are_listed_that_mean_a_device(api: httpx.Client, device: str) -> None:
    tag = f"tag-{next(_numbers)}"
    api.patch(f"/api/v1/devices/{device}", json={"tags": [tag]})
    named = make(api, device)
    tagged = make(api, device, command={"device": None, "selection": {"tags": [tag]}})
    make(api, device, command={"device": None, "selection": {"tags": ["another"]}})
    found = api.get("/api/v1/schedules", params={"device": device}).json()["items"]
    assert [one["id"] for one in found] == [tagged["id"], named["id"]]
    assert api.get("/api/v1/schedules", params={"device": "nobody"}).json()["items"] == []


def test_the_list_is_searched_and_turned_page_by_page(api: httpx.Client, device: str) -> None:
    word = f"ventana-{next(_numbers)}"
    made = [make(api, device, name=f"{word} {n}")["id"] for n in range(5)]
    make(api, device, name="another")
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        params = {"limit": 2, "search": word.upper(), "cursor": cursor}
        answer = api.get("/api/v1/schedules", params=params).json()
        found += [one["id"] for one in answer["items"]]
        cursor = answer["next"]
    assert sorted(found) == sorted(made)
    assert api.get("/api/v1/schedules", params={"cursor": "bad"}).status_code == 422


def test_the_description_names_every_kind_of_timing(server: RunningServer) -> None:
    whole = httpx.get(f"{server.http}/openapi.json", trust_env=False).json()
    timing = whole["components"]["schemas"]["ScheduleIn"]["properties"]["timing"]
    kinds = {one["properties"]["kind"]["enum"][0] for one in timing["anyOf"]}
    assert kinds == {"once", "countdown", "weekly", "cron", "sun", "every"}


def test_the_runs_of_a_schedule_that_is_not_kept_are_told(api: httpx.Client, device: str) -> None:
    window = {"days": ["mon"], "from": "18:30", "to": "23:00"}
    wanted = body(device, timing={"kind": "weekly", "windows": [window]}, enabled=False)
    del wanted["action"]
    kept = len(api.get("/api/v1/schedules", params={"limit": 500}).json()["items"])
    found = api.post("/api/v1/schedules/preview", params={"count": 2}, json=wanted)
    assert found.status_code == 200, found.text
    assert found.json()["zone"] == "Europe/Madrid"
    assert [one["local"][11:16] for one in found.json()["items"]] == ["18:30", "18:30"]
    whole = wanted | {"action": body(device)["action"], "end_action": body(device)["action"]}
    both = api.post("/api/v1/schedules/preview", json=whole).json()["items"]
    assert [one["steps"][0]["edge"] for one in both[:2]] in (["start", "end"], ["end", "start"])
    wrong = wanted | {"timing": {"kind": "cron", "expression": "x"}}
    assert field_of(api.post("/api/v1/schedules/preview", json=wrong))
    assert len(api.get("/api/v1/schedules", params={"limit": 500}).json()["items"]) == kept


def test_a_preview_says_why_nothing_will_run(api: httpx.Client, device: str) -> None:
    past = api.post("/api/v1/schedules/preview", json=body(device, ends_at="2020-01-01T00:00"))
    assert field_of(past) == "timing"
    assert "ends_at" in past.json()["detail"]
