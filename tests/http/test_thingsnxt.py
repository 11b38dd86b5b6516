"""In the default profile nothing of the thingsnxt contract is open, and every error has the contract's form."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journeys.live import eventually
from tests.post import MailServer
from tests.running import ADMIN_PASSWORD, RunningServer

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "thingsnxt" / "telemetry.json").read_text())
SIGNUP = {"email": "one@example.org", "username": "one-more", "password": "Sunny-day-42"}
# What somebody without a credential may ask, and what the answer is.
OPEN = {
    ("get", "/health"): 200,
    ("post", "/signup"): 403,
    ("post", "/token"): 422,
    ("post", "/login"): 422,
    ("post", "/refresh"): 401,
    ("post", "/logout"): 200,
    ("post", "/forgot-password"): 200,
    ("get", "/verify-reset-token"): 200,
    ("post", "/reset-password"): 400,
    ("post", "/devices/{id}/telemetry"): 400,
    ("post", "/telemetry"): 422,
    ("get", "/telemetry/latest"): 422,
}
BODIES: dict[str, Any] = {
    "/signup": SIGNUP,
    "/forgot-password": {"email": "x@example.org"},
    "/reset-password": {"token": "x", "new_password": "Sunny-day-42"},
}


def of_the_contract(server: RunningServer) -> list[tuple[str, str]]:
    paths: dict[str, Any] = httpx.get(f"{server.http}/openapi.json", trust_env=False).json()["paths"]
    return [
        (method, path)
        for path, item in paths.items()
        for method, operation in item.items()
        if operation["tags"] == ["thingsnxt"]
    ]


@pytest.fixture
def owned(server: RunningServer) -> dict[str, Any]:
    answer = server.api.post("/devices", json={"name": "Of the administrator"})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    server.canaries.plant(found["device_token"])
    return found


def test_thingsnxt_nothing_is_open_in_the_default_profile(server: RunningServer, anonymous: httpx.Client) -> None:
    found = {}
    for method, path in of_the_contract(server):
        body = BODIES.get(path, {} if method in ("post", "put", "patch") else None)
        answer = anonymous.request(method, path.replace("{id}", "x").replace("{sid}", "x"), json=body)
        assert "detail" in answer.json() or answer.status_code == 200, path
        if answer.status_code != 401 or (method, path) in OPEN:
            found[method, path] = answer.status_code
        else:
            assert answer.json() == {"detail": "Could not validate credentials"}
            assert answer.headers["www-authenticate"] == "Bearer"
    assert found == OPEN
    for stream in ("/events/stream", "/notifications/stream"):
        assert anonymous.get(stream).status_code == 401


def test_thingsnxt_nobody_signs_up_unless_registration_is_open(server: RunningServer, anonymous: httpx.Client) -> None:
    assert anonymous.post("/signup", json=SIGNUP).status_code == 403
    assert server.api.post("/api/v1/pairing", json={"minutes": 1}).status_code < 300
    assert anonymous.post("/signup", json=SIGNUP).status_code == 403
    server.api.delete("/api/v1/pairing")
    by_administrator = server.api.post("/signup", json=SIGNUP)
    assert by_administrator.status_code == 200
    assert "access_token" not in by_administrator.json()
    signed_in = anonymous.post("/token", data={"username": "one-more", "password": SIGNUP["password"]})
    assert signed_in.status_code == 200
    server.canaries.plant(signed_in.json()["access_token"])


def test_thingsnxt_an_administrator_signs_in_as_anybody_else_does(anonymous: httpx.Client) -> None:
    answer = anonymous.post("/login", json={"email": "admin", "password": ADMIN_PASSWORD})
    assert answer.status_code == 200
    assert answer.json()["user"]["role"] == "admin"


def test_thingsnxt_no_page_shows_another_ones_token(
    server: RunningServer, anonymous: httpx.Client, owned: dict[str, Any]
) -> None:
    token = owned["device_token"]
    for path in ("/devices", "/api/v1/devices", "/dashboards", f"/api/v1/devices/{owned['id']}", "/api/v1/audit"):
        assert token not in server.api.get(path).text
    headers = {"Authorization": f"Bearer {server.token}"}
    assert token in anonymous.get(f"/devices/{owned['id']}/token", headers=headers).text
    assert anonymous.get(f"/devices/{owned['id']}/token").status_code == 401


@pytest.mark.parametrize("vector", [one for one in VECTORS if "foreign" not in one], ids=lambda one: one["name"])
def test_thingsnxt_a_body_means_the_same_over_http(
    server: RunningServer, anonymous: httpx.Client, owned: dict[str, Any], vector: dict[str, Any]
) -> None:
    if vector.get("retained"):
        # Nothing is kept over HTTP: the same body is a reading.
        vector = vector | {"events": [{"values": {"a": 1}}]}
    content = re.sub(r'"device_token": "[^"]{1,128}"', f'"device_token": "{owned["device_token"]}"', vector["payload"])
    headers = {"X-Device-Token": owned["device_token"], "Content-Type": "application/json"}
    answer = anonymous.post(f"/devices/{owned['id']}/telemetry", content=content.encode(), headers=headers)
    reason = vector.get("refusal", "")
    if reason:
        assert answer.status_code == (413 if reason == "data_too_large" else 422), answer.text
        if reason != "data_too_large":
            assert answer.json()["detail"][0]["type"] == reason
        assert server.api.get(f"/api/v1/devices/{owned['id']}/latest").json() == {}
        return
    assert answer.status_code == 200, answer.text
    wanted = vector["events"][0]["values"] if vector["events"] else {}
    stored = server.api.get(f"/api/v1/devices/{owned['id']}/latest").json()
    assert {key: one["value"] for key, one in stored.items()} == wanted


def test_thingsnxt_the_token_in_the_query_can_be_switched_off(tmp_path: Path) -> None:
    env = {"RELEVO_TOKEN_IN_QUERY": "false"}
    with RunningServer(tmp_path / "data", env=env) as server:
        made = server.api.post("/devices", json={}).json()
        token = server.canaries.plant(made["device_token"])
        query = {"device_token": token}
        with httpx.Client(base_url=server.http, trust_env=False) as anybody:
            assert anybody.get("/telemetry/latest", params=query).status_code == 422
            assert anybody.get("/telemetry/latest", headers={"X-Device-Token": token}).status_code == 200
            pair = anybody.post("/login", json={"email": "admin", "password": ADMIN_PASSWORD}).json()
            server.canaries.plant(pair["access_token"])
            refresh = server.canaries.plant(pair["refresh_token"])
            assert anybody.post("/refresh", params={"refresh_token": refresh}).status_code == 401
            assert anybody.post("/refresh", json={"refresh_token": refresh}).status_code == 200


def test_thingsnxt_old_apps_see_tokens_only_where_that_is_switched_on(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_LEGACY_SHOW_TOKENS": "true"}) as server:
        made = server.api.post("/devices", json={}).json()
        assert server.api.get("/devices").json()[0]["device_token"] == made["device_token"]
        assert made["device_token"].encode() not in b"".join(
            path.read_bytes() for path in (tmp_path / "data").glob("relevo.db*")
        )


def test_thingsnxt_a_forgotten_password_is_replaced_with_a_code_that_came_by_mail(tmp_path: Path) -> None:
    with MailServer() as post:
        env = {"RELEVO_NOTIFICATIONS__SMTP_URL": post.url, "RELEVO_NOTIFICATIONS__MAIL_FROM": "relevo@example.org"}
        with RunningServer(tmp_path / "data", env=env) as server:
            assert server.api.post("/signup", json=SIGNUP).status_code == 200
            with httpx.Client(base_url=server.http, trust_env=False, timeout=10) as person:
                assert person.post("/forgot-password", json={"email": SIGNUP["email"]}).status_code == 200
                eventually(lambda: post.mails, 20)
                (mail,) = post.mails
                body = mail.get_body(("plain",))
                assert body is not None
                code = re.findall(r"\b[0-9A-F]{20}\b", body.get_content())[0]
                server.canaries.plant(code)
                assert person.get("/verify-reset-token", params={"token": code.lower()}).json() == {"valid": True}
                new = {"token": code, "new_password": "Rainy-day-43"}
                assert person.post("/reset-password", json=new).status_code == 200
                assert person.post("/reset-password", json=new).status_code == 400
                login = {"email": SIGNUP["email"], "password": "Rainy-day-43"}
                assert person.post("/login", json=login).status_code == 200
                old = {"email": SIGNUP["email"], "password": SIGNUP["password"]}
                assert person.post("/login", json=old).status_code == 400
