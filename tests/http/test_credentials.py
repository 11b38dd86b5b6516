"""Credentials over HTTP: made, listed without secrets, used on the device's own paths, taken back."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.http.problems import problem
from tests.running import RunningServer


@pytest.fixture
def device(server: RunningServer, name: str) -> str:
    server.register(f"cred-{name}")
    return f"cred-{name}"


def path(device: str, rest: str = "") -> str:
    return f"/api/v1/devices/{device}/credentials{rest}"


def make(api: httpx.Client, device: str, kind: str, **body: Any) -> dict[str, Any]:
    answer = api.post(path(device, f"/{kind}s"), json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == path(device, f"/{found['id']}")
    return found


def send(anonymous: httpx.Client, device: str, **how: Any) -> int:
    return anonymous.post(f"/api/v1/devices/{device}/telemetry", json={"v": 1}, **how).status_code


def test_secrets_are_shown_once_and_never_listed(api: httpx.Client, device: str) -> None:
    key = make(api, device, "key", label="bench", days=2)
    name = make(api, device, "password", username=f"{device}-user")
    rotated = api.post(path(device, "/key/rotate")).json()
    answer = api.get(path(device))
    for secret in (key["key"], name["password"], rotated["key"]):
        assert secret not in answer.text
        assert len(secret) >= 32
    assert "k1:" not in answer.text
    items = answer.json()["items"]
    assert [(one["id"] == "key", one["kind"], one["username"], one["label"]) for one in items] == [
        (True, "key", None, ""),
        (False, "key", None, "bench"),
        (False, "password", f"{device}-user", ""),
        (False, "key", None, "the key before the last rotation"),
    ]
    assert items[1]["by"] == "admin"
    assert items[1]["expires_at"] is not None
    assert items[3]["expires_at"] == rotated["old_key_until"]
    assert not any(one["expired"] for one in items)


def test_every_key_and_generated_password_works_as_bearer_and_basic(
    server: RunningServer, api: httpx.Client, anonymous: httpx.Client, name: str
) -> None:
    device = f"cred-{name}:a"
    first = server.register(device)
    second = make(api, device, "key")["key"]
    username = f"{device}:x"
    password = make(api, device, "password", username=username)["password"]
    shown = [(device, first), (device, second), (username, password)]
    for user, secret in shown:
        assert send(anonymous, device, headers={"Authorization": f"Bearer {secret}"}) == 200, user
        assert send(anonymous, device, auth=(user, secret)) == 200, user
        latest = anonymous.get(f"/api/v1/devices/{device}/latest", auth=(user, secret))
        assert latest.json()["v"]["value"] == 1
    batch = [{"device": device, "values": {"v": 2}}]
    assert anonymous.post("/api/v1/telemetry", json=batch, auth=(username, password)).status_code == 200
    assert send(anonymous, device, auth=(device, password)) == 401
    assert send(anonymous, device, auth=(username, first + "x")) == 401


def test_a_devices_secrets_open_its_own_telemetry_and_nothing_else(
    server: RunningServer, api: httpx.Client, anonymous: httpx.Client, device: str
) -> None:
    secret = make(api, device, "key")["key"]
    server.register(f"{device}-other")
    assert send(anonymous, f"{device}-other", auth=(device, secret)) == 401
    for where in (path(device), f"/api/v1/devices/{device}", "/api/v1/credentials", "/api/v1/devices"):
        assert anonymous.get(where, headers={"Authorization": f"Bearer {secret}"}).status_code == 401, where
    answer = anonymous.post(path(device, "/keys"), json={}, headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401


def test_a_revoked_credential_opens_nothing(api: httpx.Client, anonymous: httpx.Client, device: str) -> None:
    one, two = make(api, device, "key"), make(api, device, "key")
    assert api.delete(path(device, f"/{one['id']}")).status_code == 204
    assert send(anonymous, device, auth=(device, one["key"])) == 401
    assert send(anonymous, device, auth=(device, two["key"])) == 200
    assert problem(api.delete(path(device, f"/{one['id']}")), 404)
    assert [item["id"] for item in api.get(path(device)).json()["items"]] == ["key", two["id"]]


def test_the_first_key_can_be_revoked_and_made_again(
    server: RunningServer, api: httpx.Client, anonymous: httpx.Client, name: str
) -> None:
    device = f"first-{name}"
    first = server.register(device)
    assert api.delete(path(device, "/key")).status_code == 204
    assert problem(api.delete(path(device, "/key")), 404)
    assert send(anonymous, device, auth=(device, first)) == 401
    answer = api.post(path(device, "/key/rotate"), json={})
    assert answer.status_code == 200
    assert answer.json()["old_key_until"] is None
    assert send(anonymous, device, auth=(device, answer.json()["key"])) == 200


def test_a_rotated_key_works_beside_the_new_one_for_a_day_unless_told_otherwise(
    server: RunningServer, api: httpx.Client, anonymous: httpx.Client, name: str
) -> None:
    device = f"rot-{name}"
    old = server.register(device)
    answer = api.post(path(device, "/key/rotate"))
    assert answer.headers["cache-control"] == "no-store"
    new = answer.json()["key"]
    assert send(anonymous, device, auth=(device, old)) == send(anonymous, device, auth=(device, new)) == 200
    newest = api.post(path(device, "/key/rotate"), json={"grace_s": 0}).json()
    assert newest["old_key_until"] is None
    assert send(anonymous, device, auth=(device, new)) == 401
    assert send(anonymous, device, auth=(device, old)) == 200, "its own grace is not over"
    assert send(anonymous, device, auth=(device, newest["key"])) == 200


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        ("keys", {"label": "x" * 129}, "label"),
        ("keys", {"days": 0}, "days"),
        ("keys", {"kind": "x"}, "kind"),
        ("passwords", {}, "username"),
        ("passwords", {"username": ""}, "username"),
        ("passwords", {"username": "x" * 129}, "username"),
        ("passwords", {"username": "a\nb"}, "username"),
        ("passwords", {"username": "a\0b"}, "username"),
        ("passwords", {"username": " a"}, "username"),
        ("passwords", {"username": "ok-name", "password": "short"}, "password"),
        ("passwords", {"username": "ok-name", "password": "password123"}, "password"),
        ("key/rotate", {"grace_s": -1}, "grace_s"),
        ("key/rotate", {"grace_s": 2_592_001}, "grace_s"),
        ("certificates", {"days": 7_301}, "days"),
    ],
)
def test_bad_input_names_its_field(api: httpx.Client, device: str, kind: str, body: Any, field: str) -> None:
    found = problem(api.post(path(device, f"/{kind}"), json=body), 422)
    assert field in found["errors"][0]["field"]
    assert field in found["detail"]


def test_a_user_name_belongs_to_one_credential_no_device_and_no_person(
    server: RunningServer, api: httpx.Client, device: str
) -> None:
    server.register(f"{device}-b")
    make(api, device, "password", username=f"{device}-name")
    person = {"name": f"{device}-ana", "password": "a-long-enough-one", "email": f"{device}@example.org"}
    assert api.post("/api/v1/users", json=person).status_code == 201
    persons = {"admin": "a person", person["name"]: "a person", person["email"]: "a person", "autocore": "relay boards"}
    of_devices = {f"{device}-name": "a device's credential", device: "id of a device", f"{device}-b": "id of a device"}
    for taken, whose in (of_devices | persons).items():
        for owner in (device, f"{device}-b"):
            found = problem(api.post(path(owner, "/passwords"), json={"username": taken}), 409)
            assert found["detail"].startswith(f"username {taken!r} is taken: it is "), taken
            assert whose in found["detail"]
    # And who comes later cannot take it either.
    for body in ({"id": f"{device}-name"}, {"id": person["name"]}):
        assert "is taken" in problem(api.post("/api/v1/devices", json=body), 409)["detail"]
    claim = {"contract": "native", "external_id": f"{device}-claimed", "id": person["name"]}
    assert "of a person" in problem(api.post("/api/v1/claims", json=claim), 409)["detail"]
    fresh = {"name": f"{device}-eva", "password": "a-long-enough-one"}
    mail = f"{device}@example.com"
    make(api, device, "password", username=mail)
    for name, whose in of_devices.items():
        found = problem(api.post("/api/v1/users", json=fresh | {"name": name}), 409)
        assert whose in found["detail"], name
    found = problem(api.post("/api/v1/users", json=fresh | {"email": mail}), 409)
    assert "credential" in found["detail"]
    assert api.post("/api/v1/users", json=fresh).status_code == 201
    assert "email" in problem(api.patch(f"/api/v1/users/{fresh['name']}", json={"email": mail}), 409)["detail"]
    # One's own stays one's own.
    same = {"email": person["email"], "full_name": "Ana"}
    assert api.patch(f"/api/v1/users/{person['name']}", json=same).status_code == 200


def test_a_user_name_is_taken_once_though_many_want_it_at_the_same_moment(
    server: RunningServer, api: httpx.Client, device: str
) -> None:
    name = f"{device}-wanted"
    head = {"Authorization": f"Bearer {server.token}"}
    wants: list[tuple[str, dict[str, Any]]] = [
        (path(device, "/passwords"), {"username": name, "password": "wet paint on a bench"}),
        ("/api/v1/users", {"name": name, "password": "wet paint on a bench"}),
    ] * 3

    def want(one: tuple[str, dict[str, Any]]) -> int:
        return httpx.post(server.http + one[0], json=one[1], headers=head, trust_env=False, timeout=30).status_code

    with ThreadPoolExecutor(len(wants)) as pool:
        assert sorted(pool.map(want, wants)) == [201] + [409] * 5


def test_a_device_that_registers_under_the_name_of_a_person_gets_another_id(api: httpx.Client, device: str) -> None:
    person = {"name": f"{device}-person", "password": "a-long-enough-one"}
    assert api.post("/api/v1/users", json=person).status_code == 201
    claim = {"contract": "native", "external_id": person["name"]}
    assert api.post("/api/v1/claims", json=claim).json()["id"] == f"{person['name']}-2"


def test_a_device_has_at_most_a_hundred(api: httpx.Client, device: str) -> None:
    for _ in range(100):
        make(api, device, "key")
    assert "100" in problem(api.post(path(device, "/keys"), json={}), 409)["detail"]
    assert "100" in problem(api.post(path(device, "/key/rotate"), json={}), 409)["detail"]


def test_the_list_over_all_devices_is_in_pages(api: httpx.Client, device: str) -> None:
    made = {make(api, device, "password", username=f"{device}-{n}")["id"] for n in range(5)}
    found: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2, "kind": "password"} | ({"cursor": cursor} if cursor else {})
        page = api.get("/api/v1/credentials", params=query).json()
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if not cursor:
            break
    assert made <= set(found)
    assert found == sorted(found)
    assert problem(api.get("/api/v1/credentials", params={"kind": "x"}), 422)


def test_nobody_without_the_device_sees_or_makes_any(api: httpx.Client, anonymous: httpx.Client, device: str) -> None:
    for role in ("operator", "viewer"):
        login = {"username": f"{role}-{device}", "password": "wet paint on a bench"}
        answer = api.post(
            "/api/v1/users", json={"name": login["username"], "role": role, "password": login["password"]}
        )
        assert answer.status_code == 201, answer.text
        token = anonymous.post("/api/v1/auth/login", json=login).json()["access_token"]
        head = {"Authorization": f"Bearer {token}"}
        assert anonymous.get(path(device), headers=head).status_code == 404
        assert anonymous.post(path(device, "/keys"), json={}, headers=head).status_code == 404
        assert anonymous.delete(path(device, "/key"), headers=head).status_code == 404
        api.post(f"/api/v1/devices/{device}/grants", json={"account": login["username"], "level": "control"})
        assert anonymous.get(path(device), headers=head).status_code == 403
        make(api, device, "key")
        assert anonymous.get("/api/v1/credentials", headers=head).json()["items"] == []


def test_everything_is_in_the_audit_log_and_no_secret_is(api: httpx.Client, device: str) -> None:
    made = make(api, device, "password", username=f"{device}-audit")
    rotated = api.post(path(device, "/key/rotate")).json()
    api.delete(path(device, f"/{made['id']}"))
    text = api.get("/api/v1/audit", params={"limit": 20}).text
    for action in ("credential.create", "credential.rotate", "credential.revoke"):
        assert action in text
    assert made["password"] not in text
    assert rotated["key"] not in text
