"""The list of devices: filters, orders that pages follow, facets, and changes to many in which nothing is lost."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.http.problems import fields, problem
from tests.running import RunningServer

PATH = "/api/v1/devices"
PASSWORD = "a-long-enough-one"


@pytest.fixture
def person(server: RunningServer, name: str) -> Iterator[httpx.Client]:
    """An operator of this test's own, who sees nothing of the others' devices."""
    body = {"name": f"p-{name}", "password": PASSWORD, "role": "operator"}
    assert server.api.post("/api/v1/users", json=body).status_code == 201
    with httpx.Client(base_url=server.http, trust_env=False, timeout=10) as client:
        answer = client.post("/api/v1/auth/login", json={"username": f"p-{name}", "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


@pytest.fixture
def fleet(person: httpx.Client, name: str) -> list[str]:
    """Six devices; the first four have said something, in their order."""
    ids = [f"{name}-{n}" for n in range(6)]
    for n, one in enumerate(ids):
        tags = ["even" if n % 2 == 0 else "odd", *(["first"] if n == 0 else [])]
        body = {"id": one, "name": f"{'BbAacC'[n]}", "type": f"t{n % 3}", "site": f"s{n // 3}", "tags": tags}
        assert person.post(PATH, json=body).status_code == 201
    for one in ids[:4]:
        assert person.post(f"{PATH}/{one}/telemetry", json={"v": 1}).json()["stored"] == 1
    return ids


def listed(client: httpx.Client, **params: Any) -> list[str]:
    answer = client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["items"]]


def test_filters_are_all_applied_and_the_total_counts_what_fits(person: httpx.Client, fleet: list[str]) -> None:
    def of(*numbers: int) -> list[str]:
        return [fleet[n] for n in numbers]

    assert listed(person) == fleet
    assert listed(person, tag="even") == of(0, 2, 4)
    assert listed(person, tag="even", site="s1") == of(4)
    assert listed(person, type="t1") == of(1, 4)
    assert listed(person, contract="native", search=fleet[3][-6:]) == of(3)
    assert listed(person, contract="autocore") == []
    assert listed(person, owner="somebody") == []
    assert listed(person, owner=person.get("/api/v1/me").json()["name"]) == fleet
    assert listed(person, silent_s=3_600) == of(4, 5)
    assert listed(person, silent_s=0) == fleet
    page = person.get(PATH, params={"tag": "odd", "limit": 2}).json()
    assert (page["total"], len(page["items"])) == (3, 2)
    following = person.get(PATH, params={"tag": "odd", "limit": 2, "cursor": page["next"]}).json()
    assert (following["total"], following["next"]) == (3, None)
    assert [one["id"] for one in page["items"] + following["items"]] == of(1, 3, 5)


@pytest.mark.parametrize("sort", ["id", "name", "last_seen"])
@pytest.mark.parametrize("limit", [1, 2, 4, 100])
def test_pages_follow_one_order_and_hold_every_device_once(
    person: httpx.Client, fleet: list[str], sort: str, limit: int
) -> None:
    whole = listed(person, sort=sort, limit=1000)
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = person.get(PATH, params={"sort": sort, "limit": limit} | ({"cursor": cursor} if cursor else {})).json()
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert found == whole
    assert sorted(found) == fleet
    if sort == "name":
        assert found == [fleet[n] for n in (2, 3, 0, 1, 4, 5)]
    if sort == "last_seen":
        # Never seen ones last.
        assert found[4:] == fleet[4:]


def test_a_page_goes_on_where_it_was_although_devices_come_and_go(person: httpx.Client, fleet: list[str]) -> None:
    first = person.get(PATH, params={"sort": "name", "limit": 3}).json()
    person.delete(f"{PATH}/{first['items'][-1]['id']}")
    person.post(PATH, json={"id": f"{fleet[0]}x", "name": "a"})
    rest = person.get(PATH, params={"sort": "name", "limit": 9, "cursor": first["next"]}).json()
    assert [one["id"] for one in rest["items"]] == [fleet[n] for n in (1, 4, 5)]


def test_rows_are_as_small_as_is_asked_for(person: httpx.Client, fleet: list[str]) -> None:
    whole = person.get(PATH).json()["items"][0]
    assert whole == person.get(f"{PATH}/{fleet[0]}").json()
    brief = person.get(PATH, params={"brief": True}).json()["items"][0]
    assert brief == {name: value for name, value in whole.items() if name not in ("latest", "attributes")}
    some = person.get(PATH, params={"fields": "name,latest"}).json()["items"][0]
    assert some == {name: whole[name] for name in ("id", "name", "latest")}
    assert person.get(PATH, params={"fields": "site"}).json()["items"][0] == {"id": fleet[0], "site": "s0"}
    assert fields(person.get(PATH, params={"fields": "name,key_hash"})) == ["fields"]


@pytest.mark.parametrize("cursor", ["bmFtZQo9YQp4", "AAAA", "bGFzdF9zZWVuCj14CmE"])
def test_a_cursor_of_another_order_or_of_nobody_is_refused(person: httpx.Client, cursor: str) -> None:
    assert fields(person.get(PATH, params={"sort": "last_seen", "cursor": cursor})) == ["cursor"]


def test_facets_count_what_each_choice_would_show(person: httpx.Client, fleet: list[str]) -> None:
    path = f"{PATH}/facets"
    found = person.get(path).json()
    assert found == {
        "contract": {"native": 6},
        "tag": {"even": 3, "first": 1, "odd": 3},
        "type": {"t0": 2, "t1": 2, "t2": 2},
        "site": {"s0": 3, "s1": 3},
        "online": found["online"],
        "firmware": {},
        "total": 6,
    }
    assert sum(found["online"].values()) == 6
    odd = person.get(path, params={"tag": "odd", "site": "s0"}).json()
    assert odd["total"] == 1
    # The tags of all at the site, the sites of all that are odd.
    assert (odd["tag"], odd["site"]) == ({"even": 2, "first": 1, "odd": 1}, {"s0": 1, "s1": 2})
    for site, count in odd["site"].items():
        assert len(listed(person, tag="odd", site=site)) == count


def test_many_are_changed_and_who_is_refused_keeps_nobody_back(
    person: httpx.Client, api: httpx.Client, fleet: list[str], name: str
) -> None:
    other, full = f"{name}-other", f"{name}-full"
    api.post(PATH, json={"id": other})
    tags = [f"tag{n}" for n in range(32)]
    person.post(PATH, json={"id": full, "tags": tags})
    body = {"devices": [fleet[0], "nobody", other, full, fleet[1], fleet[0]], "add_tags": ["new"], "site": "hall"}
    found = person.post(f"{PATH}/bulk", json=body | {"remove_tags": ["first"]}).json()
    assert [(one["device"], one["state"], one["reason"]) for one in found["items"]] == [
        (fleet[0], "changed", ""),
        ("nobody", "refused", "not_found"),
        (other, "refused", "not_found"),
        (full, "refused", "too_many_tags"),
        (fleet[1], "changed", ""),
    ]
    assert (found["changed"], found["refused"]) == (2, 3)
    assert {name: person.get(f"{PATH}/{fleet[0]}").json()[name] for name in ("tags", "site")} == {
        "tags": ["even", "new"],
        "site": "hall",
    }
    assert person.get(f"{PATH}/{full}").json()["tags"] == tags
    again = person.post(f"{PATH}/bulk", json={"devices": [fleet[0]], "add_tags": ["new"]}).json()
    assert again["items"][0]["state"] == "unchanged"
    by_filter = person.post(f"{PATH}/bulk", json={"filter": {"tag": "new"}, "type": "lamp"}).json()
    assert [one["device"] for one in by_filter["items"]] == fleet[:2]
    assert listed(person, type="lamp") == fleet[:2]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"add_tags": ["x"]}, "devices"),
        ({"devices": ["a"], "filter": {}, "add_tags": ["x"]}, "devices"),
        ({"devices": ["a"]}, "body"),
        ({"devices": ["a"] * 1_001, "site": "x"}, "devices"),
        ({"filter": {"colour": "red"}, "site": "x"}, "filter.colour"),
        ({"devices": ["a"], "add_tags": [""]}, "add_tags.0"),
        ({"devices": ["a"], "name": "x"}, "name"),
    ],
    ids=str,
)
def test_a_bulk_change_that_breaks_a_rule_is_refused_by_field(
    person: httpx.Client, body: dict[str, Any], field: str
) -> None:
    assert fields(person.post(f"{PATH}/bulk", json=body)) == [field]


def test_many_are_removed_each_by_its_id(person: httpx.Client, api: httpx.Client, fleet: list[str], name: str) -> None:
    other = f"{name}-of-admin"
    api.post(PATH, json={"id": other})
    found = person.post(f"{PATH}/bulk/remove", json={"devices": [fleet[1], other, fleet[2]]}).json()
    assert [one["state"] for one in found["items"]] == ["removed", "refused", "removed"]
    assert listed(person) == [fleet[n] for n in (0, 3, 4, 5)]
    assert api.get(f"{PATH}/{other}").status_code == 200
    assert fields(person.post(f"{PATH}/bulk/remove", json={"filter": {}}))
    assert listed(person, tag="even") == [fleet[0], fleet[4]]


def test_who_may_only_look_changes_nothing(person: httpx.Client, fleet: list[str], server: RunningServer) -> None:
    key = person.post("/api/v1/keys", json={"name": "eyes", "scopes": ["read"]}).json()["key"]
    with httpx.Client(base_url=server.http, trust_env=False, headers={"Authorization": f"Bearer {key}"}) as reader:
        for path, body in (("bulk", {"devices": fleet[:1], "site": "x"}), ("bulk/remove", {"devices": fleet[:1]})):
            answer = reader.post(f"{PATH}/{path}", json=body).json()
            assert answer["items"][0]["reason"] == "not_allowed"
    problem(httpx.get(f"{server.http}{PATH}", trust_env=False), 401)
    assert listed(person) == fleet
