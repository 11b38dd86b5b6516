import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.http.problems import fields, problem
from tests.journeys.live import eventually
from tests.running import RunningServer

PATH = "/api/v1/devices"


def create(api: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = api.post(PATH, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_device_is_created_read_changed_and_deleted(api: httpx.Client, name: str) -> None:
    answer = api.post(PATH, json={"id": name, "name": "Água", "type": "lamp", "tags": ["a"], "attributes": {"room": 3}})
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{PATH}/{name}"
    created = answer.json()
    key = created.pop("key")
    assert len(key) >= 32
    assert created == {
        "id": name,
        "name": "Água",
        "type": "lamp",
        "contract": "native",
        "external_id": name,
        "online": False,
        "last_seen": None,
        "claimed": True,
        "owner": "admin",
        "site": "",
        "right": "own",
        "tags": ["a"],
        "attributes": {"room": 3},
        "latest": {},
    }
    assert api.get(f"{PATH}/{name}").json() == created
    changed = api.patch(f"{PATH}/{name}", json={"name": "Other", "tags": []})
    assert changed.json() == created | {"name": "Other", "tags": []}
    assert api.get(f"{PATH}/{name}").json() == changed.json()
    gone = api.delete(f"{PATH}/{name}")
    assert (gone.status_code, gone.content) == (204, b"")
    problem(api.get(f"{PATH}/{name}"), 404)


def test_the_key_is_in_the_answer_that_creates_and_nowhere_else(api: httpx.Client, name: str) -> None:
    key = create(api, id=name)["key"]
    for path in (f"{PATH}/{name}", PATH, f"{PATH}/{name}/timeline", "/api/v1/system"):
        assert key not in api.get(path).text
    assert key not in api.patch(f"{PATH}/{name}", json={"name": "x"}).text


def test_a_device_needs_nothing_but_gets_an_id_a_name_and_a_type(api: httpx.Client) -> None:
    first, second = create(api), create(api)
    assert first["id"] != second["id"]
    assert first["name"] == first["id"]
    assert first["type"] == "device"


def test_an_id_that_is_taken_is_a_conflict(api: httpx.Client, name: str) -> None:
    create(api, id=name)
    assert name in problem(api.post(PATH, json={"id": name}), 409)["detail"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_device_that_does_not_exist_is_not_found(api: httpx.Client, method: str) -> None:
    body = {"name": "x"} if method == "PATCH" else None
    assert "nobody" in problem(api.request(method, f"{PATH}/nobody", json=body), 404)["detail"]


@pytest.mark.parametrize("path", ["latest", "telemetry/v", "timeline"])
def test_what_belongs_to_a_device_that_does_not_exist_is_not_found(api: httpx.Client, path: str) -> None:
    problem(api.get(f"{PATH}/nobody/{path}"), 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id": "a b"}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"id": 5}, "id"),
        ({"name": "x" * 129}, "name"),
        ({"type": ""}, "type"),
        ({"tags": "a"}, "tags"),
        ({"tags": ["ok", ""]}, "tags.1"),
        ({"tags": ["x"] * 33}, "tags"),
        ({"attributes": []}, "attributes"),
        ({"attributes": {str(n): n for n in range(65)}}, "attributes"),
        ({"colour": "red"}, "colour"),
        ({"key": "mine"}, "key"),
        ({"key_hash": "mine"}, "key_hash"),
        ({"contract": "hidrometro"}, "contract"),
        ([], "body"),
    ],
)
def test_a_field_that_breaks_a_rule_is_named(api: httpx.Client, body: Any, field: str) -> None:
    assert fields(api.post(PATH, json=body)) == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"id": "new"}, "id"),
        ({"external_id": "new"}, "external_id"),
        ({"key_hash": "x"}, "key_hash"),
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"online": True}, "online"),
    ],
)
def test_a_change_of_what_cannot_be_changed_is_refused(api: httpx.Client, name: str, body: Any, field: str) -> None:
    before = create(api, id=name)
    assert fields(api.patch(f"{PATH}/{name}", json=body)) == [field]
    del before["key"]
    assert api.get(f"{PATH}/{name}").json() == before


@pytest.mark.parametrize("content", [b"", b"{", b'{"id": }', b"\xff", b"[" * 5_000])
def test_a_body_that_is_no_json_is_refused_in_the_same_form(api: httpx.Client, content: bytes) -> None:
    answer = api.post(PATH, content=content, headers={"Content-Type": "application/json"})
    problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


# Listing


@pytest.fixture
def family(api: httpx.Client, name: str) -> str:
    """Seven devices that nobody else's search finds."""
    for n in range(7):
        create(
            api, id=f"{name}-{n}", name=f"Família {name.upper()} {n}", tags=["even"] if n % 2 == 0 else ["odd", name]
        )
    return f"{name}-"


def listed(api: httpx.Client, **query: Any) -> list[str]:
    answer = api.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["items"]]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_follow_each_other_to_the_end(api: httpx.Client, family: str, limit: int) -> None:
    found, cursor = [], None
    for _ in range(10):
        page = api.get(PATH, params={"search": family, "limit": limit} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= limit
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == [f"{family}{n}" for n in range(7)]


def test_a_device_deleted_between_two_pages_disturbs_nothing(api: httpx.Client, family: str) -> None:
    first = api.get(PATH, params={"search": family, "limit": 3}).json()
    api.delete(f"{PATH}/{family}2")
    second = api.get(PATH, params={"search": family, "limit": 3, "cursor": first["next"]}).json()
    assert [one["id"] for one in second["items"]] == [f"{family}{n}" for n in (3, 4, 5)]


def test_search_looks_at_id_and_name_in_any_case(api: httpx.Client, family: str) -> None:
    assert listed(api, search=f"{family.upper()}3") == [f"{family}3"]
    assert listed(api, search=f"FAMÍLIA {family[:-1]} 3") == [f"{family}3"]
    assert listed(api, search=f"{family}nothing") == []


def test_filters_are_combined(api: httpx.Client, family: str) -> None:
    assert listed(api, search=family, tag="even") == [f"{family}{n}" for n in (0, 2, 4, 6)]
    assert listed(api, tag=family[:-1]) == [f"{family}{n}" for n in (1, 3, 5)]
    assert listed(api, search=family, contract="hidrometro") == []
    assert len(listed(api, search=family, contract="native")) == 7
    assert listed(api, search=family, online="true") == []
    assert len(listed(api, search=family, online="false")) == 7


def test_a_device_that_was_just_heard_is_listed_as_online(api: httpx.Client, family: str) -> None:
    assert api.post(f"{PATH}/{family}4/telemetry", json={"v": 1.5}).status_code == 200
    assert listed(api, search=family, online="true") == [f"{family}4"]
    device = api.get(f"{PATH}/{family}4").json()
    assert device["online"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", device["last_seen"])
    assert device["latest"]["v"]["value"] == 1.5
    assert device["latest"]["v"]["ts_source"] == "server"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "online=perhaps", "cursor=%21"])
def test_a_query_that_makes_no_sense_is_refused(api: httpx.Client, query: str) -> None:
    (field,) = fields(api.get(f"{PATH}?{query}"))
    assert field.endswith(query.partition("=")[0])


# Timeline


def test_the_story_of_a_device_is_read_page_by_page(api: httpx.Client, name: str) -> None:
    create(api, id=name)
    for kind in (b"{", b"[1]", b'"x"', b'{"a": null}', b'{"a": 1e999}'):
        assert api.post(f"{PATH}/{name}/telemetry", content=kind).status_code in (400, 422)
    # A refusal over HTTP is answered before its line is on the disk.
    eventually(lambda: len(api.get(f"{PATH}/{name}/timeline").json()["items"]) == 6)
    whole = api.get(f"{PATH}/{name}/timeline").json()
    assert whole["next"] is None
    assert whole["items"][-1]["kind"] == "registered"
    found, cursor = [], None
    for _ in range(20):
        page = api.get(f"{PATH}/{name}/timeline", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == whole["items"]


# The text inside, as base64: a word, a superscript two, a number beyond 64 bits, a negative one.
@pytest.mark.parametrize("cursor", ["d29yZA", "wrI", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "LTU", "%21%21", "A"])
@pytest.mark.parametrize("path", ["/api/v1/system/timeline", "/api/v1/devices/{name}/timeline"])
def test_a_cursor_that_this_server_never_gave_is_refused(api: httpx.Client, name: str, path: str, cursor: str) -> None:
    create(api, id=name)
    assert fields(api.get(f"{path.format(name=name)}?cursor={cursor}")) == ["cursor"]


# What no other request may suffer from


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("lonely") / "data") as one:
        yield one


@pytest.fixture
def lonely(own_server: RunningServer) -> Iterator[RunningServer]:
    """A server beside the others: when such a test fails, its store is stuck and it has to be started anew."""
    yield own_server
    if own_server.health().status_code != 200:
        own_server.kill()
        own_server.start()


POISON = [b'{"n": 18446744073709551616}', b'{"t": "\\ud800"}', b'{"f": NaN}', b'{"f": 1e999}', b'{"\\ud800": 1}']


def test_an_attribute_that_cannot_be_stored_is_refused_and_stops_nobody_else(lonely: RunningServer) -> None:
    lonely.register("good")
    answers = []
    for n, attributes in enumerate(POISON):
        body = b'{"id": "bad-%d", "attributes": %s}' % (n, attributes)
        with httpx.Client(base_url=lonely.http, headers=lonely.api.headers, trust_env=False, timeout=1.5) as client:
            for method, path in (("POST", PATH), ("PATCH", f"{PATH}/good")):
                content = body if method == "POST" else b'{"attributes": %s}' % attributes
                try:
                    answer = client.request(method, path, content=content, headers={"Content-Type": "application/json"})
                    answers.append((method, attributes, answer.status_code))
                except httpx.TimeoutException:
                    answers.append((method, attributes, 0))
        assert lonely.health().status_code == 200, f"{answers} {lonely.health().text}"
    assert [one for one in answers if one[2] not in (400, 422)] == []
    assert lonely.api.post(f"{PATH}/good/telemetry", json={"v": 1}).status_code == 200


def test_of_many_requests_for_one_id_one_wins_and_the_rest_are_conflicts(lonely: RunningServer) -> None:
    def create_it(_: int) -> int:
        with httpx.Client(base_url=lonely.http, headers=headers, trust_env=False, timeout=3) as client:
            try:
                return client.post(PATH, json={"id": "wanted"}).status_code
            except httpx.TimeoutException:
                return 0

    headers = dict(lonely.api.headers)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            codes = sorted(pool.map(create_it, range(8)))
            assert lonely.health().status_code == 200, f"{codes} {lonely.health().text}"
            assert codes == [201] + [409] * 7
            assert lonely.api.delete(f"{PATH}/wanted").status_code == 204


def test_many_requests_without_an_id_all_get_one(lonely: RunningServer) -> None:
    def create_any(_: int) -> str:
        with httpx.Client(base_url=lonely.http, headers=headers, trust_env=False, timeout=3) as client:
            try:
                answer = client.post(PATH, json={})
            except httpx.TimeoutException:
                return "no answer"
            return str(answer.json().get("id", answer.status_code))

    headers = dict(lonely.api.headers)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(create_any, range(16)))
    assert lonely.health().status_code == 200, f"{found} {lonely.health().text}"
    assert len(set(found)) == 16


def test_a_device_registered_again_under_the_same_id_starts_empty(api: httpx.Client, name: str) -> None:
    """Its new owner must not read what the old one's device sent."""
    create(api, id=name)
    assert api.post(f"{PATH}/{name}/telemetry", json={"secret": 1}).status_code == 200
    assert api.patch(f"{PATH}/{name}", json={"name": "told in its story"}).status_code == 200
    api.delete(f"{PATH}/{name}")
    create(api, id=name)
    assert api.get(f"{PATH}/{name}/latest").json() == {}
    answer = api.get(f"{PATH}/{name}/telemetry/secret")
    assert answer.status_code == 404, answer.text
    assert [one["kind"] for one in api.get(f"{PATH}/{name}/timeline").json()["items"]] == ["registered"]
