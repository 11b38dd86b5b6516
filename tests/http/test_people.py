"""People, their sessions and keys over real HTTP: what is given works until it is taken back, and no longer."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import jwt
import pytest
import websockets

from relevo.domain.passwords import LONGEST, SHORTEST
from tests.http.problems import fields, problem
from tests.journeys.live import eventually
from tests.running import ADMIN_PASSWORD, RunningServer

PASSWORD = "a-long-enough-one"
Enter = Callable[..., httpx.Client]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def client(server: RunningServer, opened: ExitStack) -> Callable[..., httpx.Client]:
    """A client that shows this token."""

    def make(token: str = "", **headers: str) -> httpx.Client:
        shown = ({"Authorization": f"Bearer {token}"} if token else {}) | headers
        return opened.enter_context(httpx.Client(base_url=server.http, headers=shown, trust_env=False, timeout=10))

    return make


@pytest.fixture
def person(server: RunningServer, name: str) -> str:
    """An operator of this test's own."""
    body = {"name": name, "password": PASSWORD, "role": "operator"}
    assert server.api.post("/api/v1/users", json=body).status_code == 201
    return name


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD, **headers: str) -> dict[str, Any]:
    answer = client.post("/api/v1/auth/login", json={"username": name, "password": password}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def works(client: httpx.Client, token: str) -> bool:
    answer = client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


# Users


def test_a_user_is_made_read_changed_and_removed(api: httpx.Client, name: str, client: Enter) -> None:
    body = {"name": name, "password": PASSWORD, "email": f"{name}@example.org", "full_name": "Zoë"}
    made = api.post("/api/v1/users", json=body)
    assert made.status_code == 201
    assert made.headers["location"] == f"/api/v1/users/{name}"
    shown = made.json()
    assert {"role": "viewer", "disabled": False, "full_name": "Zoë"}.items() <= shown.items()
    assert PASSWORD not in made.text
    assert "hash" not in made.text
    assert api.get(f"/api/v1/users/{name}").json() == shown
    assert shown in api.get("/api/v1/users").json()["items"]
    changed = api.patch(f"/api/v1/users/{name}", json={"role": "operator", "full_name": ""}).json()
    assert (changed["role"], changed["full_name"], changed["email"]) == ("operator", "", f"{name}@example.org")
    # Also by the address, in any case.
    assert sign_in(client(), f"{name.upper()}@Example.org")["role"] == "operator"
    assert api.delete(f"/api/v1/users/{name}").status_code == 204
    problem(api.get(f"/api/v1/users/{name}"), 404)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "no spaces"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a/b"}, "name"),
        ({"role": "king"}, "role"),
        ({"email": "nowhere"}, "email"),
        ({"password": "x" * (SHORTEST - 1)}, "password"),
        ({"password": "x" * (LONGEST + 1)}, "password"),
        ({"password": "password1"}, "password"),
        ({"password": "aaaaaaaaaaaa"}, "password"),
        ({"hash": "x"}, "hash"),
    ],
    ids=str,
)
def test_a_user_that_breaks_a_rule_is_refused_by_field(
    api: httpx.Client, name: str, change: dict[str, str], field: str
) -> None:
    assert fields(api.post("/api/v1/users", json={"name": name, "password": PASSWORD} | change)) == [field]


def test_a_password_may_not_be_the_persons_own_name(api: httpx.Client) -> None:
    body = {"name": "Maximiliana", "password": "maximiliana"}
    assert problem(api.post("/api/v1/users", json=body), 422)["reason"] == "password_is_the_name"


def test_names_and_addresses_belong_to_one_person(api: httpx.Client, person: str, name: str) -> None:
    problem(api.post("/api/v1/users", json={"name": person, "password": PASSWORD}), 409)
    api.patch(f"/api/v1/users/{person}", json={"email": f"{person}@example.org"})
    other = {"name": f"{name}b", "password": PASSWORD, "email": f"{person.upper()}@example.org"}
    problem(api.post("/api/v1/users", json=other), 409)


def test_the_last_administrator_stays(api: httpx.Client) -> None:
    for change in ({"role": "viewer"}, {"disabled": True}):
        assert "last administrator" in problem(api.patch("/api/v1/users/admin", json=change), 409)["detail"]
    problem(api.delete("/api/v1/users/admin"), 409)


def test_who_is_disabled_is_out_at_once_and_in_again_when_enabled(
    api: httpx.Client, person: str, client: Enter
) -> None:
    token = sign_in(client(), person)["access_token"]
    key = client(token).post("/api/v1/keys", json={"name": "mine"}).json()["key"]
    assert works(client(), token)
    assert works(client(), key)
    api.patch(f"/api/v1/users/{person}", json={"disabled": True})
    assert not works(client(), token)
    assert not works(client(), key)
    refused = client().post("/api/v1/auth/login", json={"username": person, "password": PASSWORD})
    assert problem(refused, 401)["detail"] == "wrong user name or password"
    api.patch(f"/api/v1/users/{person}", json={"disabled": False})
    assert works(client(), key)
    assert not works(client(), token)


def test_a_role_that_is_taken_away_is_gone_from_tokens_that_were_given_before(
    api: httpx.Client, person: str, client: Enter
) -> None:
    mine = client(sign_in(client(), person)["access_token"])
    assert mine.post("/api/v1/devices", json={"id": f"{person}-one"}).status_code == 201
    api.patch(f"/api/v1/users/{person}", json={"role": "viewer"})
    problem(mine.post("/api/v1/devices", json={"id": f"{person}-two"}), 403)
    # Its owner still, but a viewer looks only.
    assert mine.get(f"/api/v1/devices/{person}-one").json()["right"] == "view"
    problem(mine.delete(f"/api/v1/devices/{person}-one"), 403)


def test_the_devices_of_somebody_who_is_removed_belong_to_nobody(api: httpx.Client, person: str, client: Enter) -> None:
    mine = client(sign_in(client(), person)["access_token"])
    device = f"{person}-left"
    mine.post("/api/v1/devices", json={"id": device})
    api.delete(f"/api/v1/users/{person}")
    problem(mine.get(f"/api/v1/devices/{device}"), 401)
    assert api.get(f"/api/v1/devices/{device}").json()["owner"] is None
    # Nobody inherits by taking the name.
    api.post("/api/v1/users", json={"name": person, "password": PASSWORD, "role": "operator"})
    problem(client(sign_in(client(), person)["access_token"]).get(f"/api/v1/devices/{device}"), 404)


# Sessions


def test_a_refresh_token_is_exchanged_once_and_its_reuse_ends_the_session(person: str, client: Enter) -> None:
    first = sign_in(client(), person)
    second = client().post("/api/v1/auth/refresh", json={"refresh_token": first["refresh_token"]}).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert works(client(), first["access_token"])
    assert works(client(), second["access_token"])
    stolen = client().post("/api/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert "used before" in problem(stolen, 401)["detail"]
    for token in (first, second):
        assert not works(client(), token["access_token"])
    problem(client().post("/api/v1/auth/refresh", json={"refresh_token": second["refresh_token"]}), 401)


def test_two_who_exchange_the_same_token_at_once_do_not_both_get_one(person: str, server: RunningServer) -> None:
    import asyncio

    async def race() -> list[int]:
        async with httpx.AsyncClient(base_url=server.http, trust_env=False) as client:
            login = await client.post("/api/v1/auth/login", json={"username": person, "password": PASSWORD})
            body = {"refresh_token": login.json()["refresh_token"]}
            answers = await asyncio.gather(*(client.post("/api/v1/auth/refresh", json=body) for _ in range(8)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(race()) == [200] + [401] * 7


@pytest.mark.parametrize("token", ["x", "relevo_x_y", "x" * 256])
def test_a_refresh_token_that_nobody_gave_is_refused(client: Enter, token: str) -> None:
    problem(client().post("/api/v1/auth/refresh", json={"refresh_token": token}), 401)


def test_neither_a_cookie_nor_an_access_token_can_be_exchanged(
    server: RunningServer, person: str, client: Enter
) -> None:
    for secret in (server.cookie, sign_in(client(), person)["access_token"]):
        answer = client().post("/api/v1/auth/refresh", json={"refresh_token": secret})
        assert answer.status_code in (401, 422)


def test_signing_out_ends_the_session_and_may_be_repeated(person: str, client: Enter) -> None:
    signed = sign_in(client(), person)
    other = sign_in(client(), person)
    mine = client(signed["access_token"])
    for _ in range(2):
        assert mine.post("/api/v1/auth/logout").status_code == 204
    assert not works(client(), signed["access_token"])
    problem(client().post("/api/v1/auth/refresh", json={"refresh_token": signed["refresh_token"]}), 401)
    assert works(client(), other["access_token"])


def test_one_sees_where_one_is_signed_in_and_ends_it_there(server: RunningServer, person: str, client: Enter) -> None:
    here, there = sign_in(client(), person), sign_in(client(), person, Origin=server.http)
    mine = client(here["access_token"])
    listed = mine.get("/api/v1/me/sessions").json()["items"]
    assert {(one["kind"], one["current"]) for one in listed} == {("native", True), ("browser", False)}
    assert all(one["address"] == "127.0.0.1" and one["agent"].startswith("python-httpx") for one in listed)
    other = next(one["id"] for one in listed if not one["current"])
    assert mine.delete(f"/api/v1/me/sessions/{other}").status_code == 204
    assert not works(client(), there["access_token"])
    assert works(client(), here["access_token"])
    # Somebody else's is not there to be ended.
    foreign = jwt.decode(server.token, options={"verify_signature": False})["sid"]
    problem(mine.delete(f"/api/v1/me/sessions/{foreign}"), 404)


def test_a_new_password_ends_every_other_session(person: str, client: Enter) -> None:
    mine, other = sign_in(client(), person), sign_in(client(), person)
    change = {"current": "wrong", "new": "another-long-one"}
    assert fields(client(mine["access_token"]).post("/api/v1/me/password", json=change)) == ["current"]
    change["current"] = PASSWORD
    assert client(mine["access_token"]).post("/api/v1/me/password", json=change).status_code == 204
    assert works(client(), mine["access_token"])
    assert not works(client(), other["access_token"])
    problem(client().post("/api/v1/auth/login", json={"username": person, "password": PASSWORD}), 401)
    assert sign_in(client(), person, "another-long-one")


def test_a_password_typed_on_another_keyboard_is_the_same(api: httpx.Client, name: str, client: Enter) -> None:
    composed, decomposed = "contrase\u00f1a-larga", "contrasen\u0303a-larga"
    api.post("/api/v1/users", json={"name": name, "password": composed})
    assert sign_in(client(), name, decomposed)


# Keys


def test_an_api_key_is_shown_once_and_does_what_its_scopes_say(person: str, client: Enter) -> None:
    mine = client(sign_in(client(), person)["access_token"])
    made = mine.post("/api/v1/keys", json={"name": "reader"})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    key = made.json()["key"]
    assert key.startswith(f"relevo_{made.json()['id']}_")
    assert key not in mine.get("/api/v1/keys").text
    with_key = client(key)
    assert with_key.get("/api/v1/me").json()["scopes"] == ["read"]
    problem(with_key.post("/api/v1/devices", json={"id": f"{person}-k"}), 403)
    control = client(mine.post("/api/v1/keys", json={"name": "c", "scopes": ["control"]}).json()["key"])
    assert control.post("/api/v1/devices", json={"id": f"{person}-k"}).status_code == 201
    # Never more than the person.
    manage = client(mine.post("/api/v1/keys", json={"name": "m", "scopes": ["manage"]}).json()["key"])
    problem(manage.get("/api/v1/users"), 403)


def test_a_key_makes_and_ends_no_credentials(person: str, client: Enter) -> None:
    mine = client(sign_in(client(), person)["access_token"])
    made = mine.post("/api/v1/keys", json={"name": "m", "scopes": ["manage"]}).json()
    with_key = client(made["key"])
    problem(with_key.post("/api/v1/keys", json={"name": "child"}), 403)
    problem(with_key.delete(f"/api/v1/keys/{made['id']}"), 403)
    problem(with_key.post("/api/v1/me/password", json={"current": PASSWORD, "new": "another-long-one"}), 403)


def test_a_key_ends_when_it_is_deleted_or_its_time_has_come(person: str, client: Enter) -> None:
    mine = client(sign_in(client(), person)["access_token"])
    made = mine.post("/api/v1/keys", json={"name": "x"}).json()
    assert works(client(), made["key"])
    assert mine.get("/api/v1/keys").json()["items"][0]["used_at"]
    assert mine.delete(f"/api/v1/keys/{made['id']}").status_code == 204
    assert not works(client(), made["key"])
    past = {"name": "x", "expires_at": int(time.time() * 1000) - 1}
    assert fields(mine.post("/api/v1/keys", json=past)) == ["expires_at"]
    short = mine.post("/api/v1/keys", json={"name": "x", "expires_at": int(time.time() * 1000) + 1_200}).json()
    assert works(client(), short["key"])
    eventually(lambda: not works(client(), short["key"]), 3)


def test_foreign_keys_cannot_be_seen_or_deleted(person: str, api: httpx.Client, client: Enter) -> None:
    made = api.post("/api/v1/keys", json={"name": "admins"}).json()
    mine = client(sign_in(client(), person)["access_token"])
    assert made["id"] not in mine.get("/api/v1/keys").text
    problem(mine.delete(f"/api/v1/keys/{made['id']}"), 404)
    assert works(client(), made["key"])


@pytest.mark.parametrize("wrong", ["relevo_", "relevo_x", "relevo_x_", "relevo_{id}_wrong", "relevo_{id}_"])
def test_a_key_that_is_not_whole_is_refused(person: str, client: Enter, wrong: str) -> None:
    mine = client(sign_in(client(), person)["access_token"])
    key_id = mine.post("/api/v1/keys", json={"name": "x"}).json()["id"]
    assert not works(client(), wrong.format(id=key_id))


# Tickets


async def test_a_ticket_opens_one_stream_and_nothing_else(server: RunningServer, person: str, client: Enter) -> None:
    mine = client(sign_in(client(), person)["access_token"])
    ticket = mine.post("/api/v1/auth/ticket").json()["ticket"]
    problem(client().get("/api/v1/me", params={"ticket": ticket}), 401)
    uri = f"ws://127.0.0.1:{server.http_port}/api/v1/ws?ticket={ticket}"
    async with websockets.connect(uri) as socket:
        await socket.ping()
    async with websockets.connect(uri) as again:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await again.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "invalid ticket")


def test_a_ticket_of_a_session_that_ended_is_worth_nothing(person: str, client: Enter) -> None:
    mine = client(sign_in(client(), person)["access_token"])
    ticket = mine.post("/api/v1/auth/ticket").json()["ticket"]
    mine.post("/api/v1/auth/logout")
    problem(client().get("/api/v1/stream", params={"ticket": ticket}), 401)


# Throttling


def test_after_ten_failures_a_name_has_to_wait_and_others_do_not(
    person: str, server: RunningServer, client: Enter
) -> None:
    wrong = {"username": person, "password": "wrong"}
    statuses = [client().post("/api/v1/auth/login", json=wrong).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    blocked = client().post("/api/v1/auth/login", json={"username": person.upper(), "password": PASSWORD})
    assert problem(blocked, 429)["detail"] == "too many attempts"
    assert 0 < int(blocked.headers["retry-after"]) <= 301
    assert sign_in(client(), "admin", ADMIN_PASSWORD)


# Audit


def test_what_somebody_did_is_written_down_without_secrets(api: httpx.Client, person: str, client: Enter) -> None:
    signed = sign_in(client(), person)
    mine = client(signed["access_token"])
    key = mine.post("/api/v1/keys", json={"name": "audited"}).json()
    device = f"{person}-audited"
    device_key = mine.post("/api/v1/devices", json={"id": device}).json()["key"]
    mine.patch(f"/api/v1/devices/{device}", json={"name": "New"})
    client(key["key"]).post("/api/v1/devices", json={"id": "refused"})
    eventually(lambda: len(api.get("/api/v1/audit", params={"by": person}).json()["items"]) >= 4)
    items = api.get("/api/v1/audit", params={"by": person}).json()["items"]
    assert [one["action"] for one in items] == ["device.change", "device.create", "key.create", "auth.login"]
    assert {one["address"] for one in items} == {"127.0.0.1"}
    assert items[0]["detail"] == {"changes": ["name"]}
    assert [one["by"] for one in api.get("/api/v1/audit", params={"target": person}).json()["items"]] == [
        person,
        "admin",
    ]
    found = api.get("/api/v1/audit", params={"action": "device", "by": person}).json()["items"]
    assert {one["target"] for one in found} == {device}
    for form, kind in (("csv", "text/csv"), ("jsonl", "application/x-ndjson")):
        exported = api.get("/api/v1/audit/export", params={"format": form, "by": person})
        assert exported.headers["content-type"].startswith(kind)
        assert exported.text.count(device) == 2
        for secret in (PASSWORD, signed["access_token"], signed["refresh_token"], key["key"], device_key):
            assert secret not in exported.text


def test_a_refusal_is_told_to_the_device_and_to_the_audit_log(
    api: httpx.Client, person: str, name: str, client: Enter
) -> None:
    device = f"{name}-watched"
    api.post("/api/v1/devices", json={"id": device})
    api.post(f"/api/v1/devices/{device}/grants", json={"account": person, "level": "view"})
    problem(client(sign_in(client(), person)["access_token"]).delete(f"/api/v1/devices/{device}"), 403)
    query = {"target": device, "by": person}
    eventually(lambda: len(api.get("/api/v1/audit", params=query).json()["items"]) == 1)
    entry = api.get("/api/v1/audit", params=query).json()["items"][0]
    assert (entry["action"], entry["outcome"]) == ("device.refused", "refused")
    lines = api.get(f"/api/v1/devices/{device}/timeline").json()["items"]
    assert any(line["reason"] == "not_allowed" and person in line["detail"] for line in lines)


def test_the_audit_log_comes_page_by_page(api: httpx.Client, person: str, client: Enter) -> None:
    for _ in range(5):
        sign_in(client(), person)
    eventually(lambda: len(api.get("/api/v1/audit", params={"by": person}).json()["items"]) == 5)
    seen: list[Any] = []
    cursor = None
    while True:
        page = api.get(
            "/api/v1/audit", params={"by": person, "limit": 2} | ({"cursor": cursor} if cursor else {})
        ).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == 5
    ahead = int(time.time() * 1000) + 60_000
    assert api.get("/api/v1/audit", params={"by": person, "from": ahead}).json()["items"] == []
    assert api.get("/api/v1/audit", params={"by": person, "to": "2020-01-01"}).json()["items"] == []
