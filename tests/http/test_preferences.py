"""What people want of the interface: theirs alone, refused by field, and gone with them."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.http.problems import fields, problem
from tests.running import RunningServer

PATH = "/api/v1/me/preferences"
PASSWORD = "a-long-enough-one"
DEFAULTS = {"language": "", "theme": "auto", "favourites": [], "home": {}}


@pytest.fixture
def person(server: RunningServer, name: str) -> Iterator[httpx.Client]:
    body = {"name": name, "password": PASSWORD, "role": "operator"}
    assert server.api.post("/api/v1/users", json=body).status_code == 201
    with httpx.Client(base_url=server.http, trust_env=False, timeout=10) as client:
        answer = client.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def test_what_is_absent_stays_and_what_is_said_is_kept_in_its_order(
    person: httpx.Client, api: httpx.Client, name: str
) -> None:
    assert person.get(PATH).json() == DEFAULTS
    devices = [f"{name}-{letter}" for letter in "bca"]
    for one in devices:
        assert person.post("/api/v1/devices", json={"id": one}).status_code == 201
    changed = person.patch(PATH, json={"theme": "dark", "favourites": devices})
    assert changed.json() == DEFAULTS | {"theme": "dark", "favourites": devices}
    person.patch(PATH, json={"language": "pt", "home": {"cards": ["water", 3]}})
    found = person.get(PATH).json()
    assert found == {"language": "pt", "theme": "dark", "favourites": devices, "home": {"cards": ["water", 3]}}
    assert api.get(PATH).json()["theme"] == "auto"
    # A device that is removed is nobody's favourite.
    assert person.delete(f"/api/v1/devices/{devices[1]}").status_code == 204
    assert person.get(PATH).json()["favourites"] == [devices[0], devices[2]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"language": "de"}, "language"),
        ({"theme": "pink"}, "theme"),
        ({"favourites": ["no-such-device"]}, "favourites.0"),
        ({"favourites": ["x"] * 101}, "favourites"),
        ({"favourites": [""]}, "favourites.0"),
        ({"home": {"x": "y" * 5_000}}, "home"),
        ({"home": []}, "home"),
        ({"colour": "red"}, "colour"),
        ({}, "body"),
    ],
    ids=str,
)
def test_what_breaks_a_rule_is_refused_by_field(person: httpx.Client, change: dict[str, Any], field: str) -> None:
    assert field in fields(person.patch(PATH, json=change))
    assert person.get(PATH).json() == DEFAULTS


def test_a_device_that_one_may_not_view_is_none(person: httpx.Client, api: httpx.Client, name: str) -> None:
    other = f"{name}-of-another"
    assert api.post("/api/v1/devices", json={"id": other}).status_code == 201
    assert fields(person.patch(PATH, json={"favourites": [other]})) == ["favourites.0"]


def test_a_device_twice_is_refused(person: httpx.Client, name: str) -> None:
    assert person.post("/api/v1/devices", json={"id": name + "-d"}).status_code == 201
    assert fields(person.patch(PATH, json={"favourites": [name + "-d"] * 2})) == ["favourites.1"]


def test_they_go_with_the_person(person: httpx.Client, server: RunningServer, name: str) -> None:
    person.patch(PATH, json={"theme": "light"})
    assert server.api.delete(f"/api/v1/users/{name}").status_code == 204
    assert server.api.post("/api/v1/users", json={"name": name, "password": PASSWORD}).status_code == 201
    answer = person.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD})
    token = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert person.get(PATH, headers=token).json() == DEFAULTS


def test_a_key_that_may_only_look_changes_nothing(person: httpx.Client) -> None:
    key = person.post("/api/v1/keys", json={"name": "eyes", "scopes": ["read"]}).json()["key"]
    problem(person.patch(PATH, json={"theme": "dark"}, headers={"Authorization": f"Bearer {key}"}), 403)
