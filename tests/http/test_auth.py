import asyncio
import base64
import json
import sqlite3
import time
from typing import Any

import httpx
import jwt
import pytest
import websockets

from relevo.http.tokens import SigningKey, SigningKeys
from relevo.store.db import FILE_NAME
from tests.http.problems import fields, problem
from tests.running import ADMIN_PASSWORD, RunningServer

LOGIN = "/api/v1/auth/login"
ME = "/api/v1/me"
GOOD = {"username": "admin", "password": ADMIN_PASSWORD}


@pytest.fixture
def signing_key(server: RunningServer) -> SigningKey:
    connection = sqlite3.connect(server.data / FILE_NAME)
    row = connection.execute("SELECT value FROM secrets WHERE name = 'token_signing_keys'").fetchone()
    connection.close()
    return SigningKeys.decode(bytes(row[0])).newest


def as_bearer(client: httpx.Client, token: str, path: str = ME) -> httpx.Response:
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def test_the_right_password_gives_a_token_that_works(anonymous: httpx.Client) -> None:
    answer = anonymous.post(LOGIN, json=GOOD)
    body = answer.json()
    assert (answer.status_code, body["token_type"], body["role"]) == (200, "bearer", "administrator")
    assert body["expires_in"] == 3600
    assert body["refresh_token"]
    assert "set-cookie" not in answer.headers
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == body["expires_in"]
    assert abs(claims["iat"] - time.time()) < 60
    me = as_bearer(anonymous, body["access_token"]).json()
    assert (me["name"], me["role"], me["scopes"]) == ("admin", "administrator", ["read", "control", "manage"])


@pytest.mark.parametrize(
    "body", [GOOD | {"password": "wrong"}, {"username": "nobody", "password": "x"}, GOOD | {"username": "Admin"}]
)
def test_wrong_name_and_wrong_password_get_the_same_answer(anonymous: httpx.Client, body: dict[str, str]) -> None:
    answer = anonymous.post(LOGIN, json=body)
    assert problem(answer, 401)["detail"] == "wrong user name or password"
    assert "set-cookie" not in answer.headers


def test_a_wrong_password_is_told_at_the_door_without_it(anonymous: httpx.Client, api: httpx.Client) -> None:
    anonymous.post(LOGIN, json={"username": "eve", "password": "tried-this-one"})
    for _ in range(50):
        text = api.get("/api/v1/system/timeline").text
        if "bad_login" in text:
            break
        time.sleep(0.02)
    assert "bad_login" in text
    assert "tried-this-one" not in text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "admin"}, "password"),
        ({"password": "x"}, "username"),
        ({"username": "", "password": "x"}, "username"),
        ({"username": "admin", "password": "x" * 1025}, "password"),
        (GOOD | {"remember": True}, "remember"),
    ],
)
def test_a_sign_in_with_a_field_missing_or_too_many_is_refused(anonymous: httpx.Client, body: Any, field: str) -> None:
    assert fields(anonymous.post(LOGIN, json=body)) == [field]


# The cookie


@pytest.fixture
def browser(anonymous: httpx.Client, server: RunningServer) -> httpx.Client:
    """A client that has nothing but the cookie."""
    anonymous.cookies.set("relevo_session", server.cookie, domain="127.0.0.1", path="/")
    return anonymous


def test_a_browser_gets_a_cookie_that_scripts_and_foreign_pages_do_not_get(
    anonymous: httpx.Client, server: RunningServer
) -> None:
    answer = anonymous.post(LOGIN, json=GOOD, headers={"Origin": server.http})
    assert answer.json()["refresh_token"] is None
    parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=lax", "path=/", f"max-age={14 * 86_400}"} <= parts
    assert anonymous.get(ME).status_code == 200


def test_the_cookie_opens_what_a_browser_reads(browser: httpx.Client) -> None:
    assert browser.get(ME).status_code == 200
    # A link on another page may lead here: it only shows something to the person who is signed in.
    assert browser.get(ME, headers={"Origin": "https://evil.example"}).status_code == 200


FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/devices", {"id": "from-a-foreign-page"}),
        ("PATCH", "/api/v1/devices/from-a-foreign-page", {"name": "x"}),
        ("DELETE", "/api/v1/devices/from-a-foreign-page", None),
        ("POST", "/api/v1/devices/from-a-foreign-page/telemetry", {"v": 1}),
        ("POST", "/api/v1/telemetry", [{"device": "from-a-foreign-page", "values": {"v": 1}}]),
        ("POST", "/api/v1/claims", {"contract": "hidrometro", "external_id": "X"}),
    ],
)
def test_the_cookie_alone_changes_nothing_for_a_foreign_page(
    browser: httpx.Client, headers: dict[str, str], method: str, path: str, body: Any
) -> None:
    problem(browser.request(method, path, json=body, headers=headers), 403)
    assert browser.get("/api/v1/devices/from-a-foreign-page").status_code == 404


def test_the_cookie_changes_things_for_our_own_page(browser: httpx.Client, server: RunningServer, name: str) -> None:
    own = {"Origin": server.http, "Sec-Fetch-Site": "same-origin"}
    assert browser.post("/api/v1/devices", json={"id": name}, headers=own).status_code == 201
    assert browser.delete(f"/api/v1/devices/{name}", headers=own).status_code == 204


def test_a_token_works_for_any_page_because_no_browser_adds_it(
    anonymous: httpx.Client, server: RunningServer, name: str
) -> None:
    headers = {"Authorization": f"Bearer {server.token}", "Origin": "https://tool.example"}
    assert anonymous.post("/api/v1/devices", json={"id": name}, headers=headers).status_code == 201


def test_a_bad_token_is_not_saved_by_a_good_cookie(browser: httpx.Client) -> None:
    problem(as_bearer(browser, "nonsense"), 401)


def test_signing_out_takes_the_cookie_away(browser: httpx.Client) -> None:
    cookie = browser.cookies["relevo_session"]
    answer = browser.post("/api/v1/auth/logout")
    assert answer.status_code == 204
    assert "relevo_session" not in browser.cookies
    problem(browser.get(ME), 401)
    assert browser.post("/api/v1/auth/logout").status_code == 204
    # Whoever kept a copy of it has nothing.
    browser.cookies.set("relevo_session", cookie, domain="127.0.0.1", path="/")
    problem(browser.get(ME), 401)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_cannot_sign_its_visitors_in(anonymous: httpx.Client, headers: dict[str, str]) -> None:
    answer = anonymous.post(LOGIN, json=GOOD, headers=headers)
    problem(answer, 403)
    assert "set-cookie" not in answer.headers


def test_a_foreign_page_cannot_sign_anybody_out(browser: httpx.Client) -> None:
    cookie = {"Cookie": f"relevo_session={browser.cookies['relevo_session']}"}
    browser.cookies.clear()
    browser.post("/api/v1/auth/logout", headers=cookie | {"Origin": "https://evil.example"})
    assert browser.get(ME, headers=cookie).status_code == 200


async def close_code(server: RunningServer, headers: dict[str, str]) -> tuple[int, str]:
    """How the socket ends, or 0 when it stays open."""
    uri = f"ws://127.0.0.1:{server.http_port}/api/v1/ws"
    async with websockets.connect(uri, additional_headers=headers) as socket:
        try:
            async with asyncio.timeout(0.3):
                await socket.recv()
        except TimeoutError:
            return 0, ""
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd is not None
            return closed.rcvd.code, closed.rcvd.reason
    raise AssertionError("a message came")


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_a_foreign_page_cannot_open_a_socket_with_the_cookie(
    browser: httpx.Client, server: RunningServer, headers: dict[str, str]
) -> None:
    cookie = {"Cookie": f"relevo_session={browser.cookies['relevo_session']}"}
    assert await close_code(server, cookie | headers) == (1008, "request from a foreign page")


async def test_our_own_page_can_open_a_socket_with_the_cookie(browser: httpx.Client, server: RunningServer) -> None:
    cookie = {"Cookie": f"relevo_session={browser.cookies['relevo_session']}"}
    assert await close_code(server, cookie | {"Origin": server.http}) == (0, "")


# Tokens that prove nothing


def forged(header: dict[str, Any], claims: dict[str, Any]) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part(header)}.{part(claims)}."


@pytest.fixture
def good_claims(server: RunningServer) -> dict[str, Any]:
    now = int(time.time())
    session = jwt.decode(server.token, options={"verify_signature": False})["sid"]
    return {"sub": "admin", "role": "administrator", "sid": session, "iat": now, "exp": now + 600, "jti": "x"}


def test_the_key_that_these_tests_read_is_the_right_one(
    anonymous: httpx.Client, signing_key: SigningKey, good_claims: dict[str, Any]
) -> None:
    token = jwt.encode(good_claims, signing_key.value, "HS256", headers={"kid": signing_key.id})
    assert as_bearer(anonymous, token).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"exp": int(time.time()) - 1},
        {"exp": 0},
        {"exp": -1},
        {"exp": "never"},
        {"exp": True},
        {"exp": None},
        {"sub": "nobody"},
        {"sub": None},
        {"sub": 5},
        {"sub": ["admin"]},
        {"sid": "nothing"},
        {"sid": None},
        {"sid": ["x"]},
    ],
    ids=range(13),
)
def test_a_token_with_a_wrong_claim_is_refused(
    anonymous: httpx.Client, signing_key: SigningKey, good_claims: dict[str, Any], change: dict[str, Any]
) -> None:
    claims = {name: value for name, value in (good_claims | change).items() if value is not None}
    head = {"alg": "HS256", "typ": "JWT", "kid": signing_key.id}
    header = base64.urlsafe_b64encode(json.dumps(head).encode()).decode().rstrip("=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    # By hand, because the library does not make such claims.
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = algorithm.sign(f"{header}.{body}".encode(), algorithm.prepare_key(signing_key.value))
    token = f"{header}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    assert problem(as_bearer(anonymous, token), 401)["detail"] == "invalid token"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS384", "RS256"])
def test_another_algorithm_is_refused(
    anonymous: httpx.Client, signing_key: SigningKey, good_claims: dict[str, Any], algorithm: str
) -> None:
    kid = {"kid": signing_key.id}
    tokens = [forged({"alg": algorithm, "typ": "JWT"} | kid, good_claims)]
    if algorithm == "HS384":
        tokens.append(jwt.encode(good_claims, signing_key.value * 2, "HS384", headers=kid))
    for token in tokens:
        problem(as_bearer(anonymous, token), 401)


def test_a_token_that_was_tampered_with_or_signed_elsewhere_is_refused(
    anonymous: httpx.Client, server: RunningServer, good_claims: dict[str, Any]
) -> None:
    header, body, signature = server.token.split(".")
    other = base64.urlsafe_b64encode(json.dumps(good_claims | {"jti": "y"}).encode()).decode().rstrip("=")
    wrong_end = signature[:-2] + ("AA" if signature[-2:] != "AA" else "BB")
    for token in (
        f"{header}.{other}.{signature}",
        f"{header}.{body}.{wrong_end}",
        f"{header}.{body}.",
        f"{header}.{body}",
        server.token[:-5],
        jwt.encode(good_claims, b"x" * 32, "HS256", headers={"kid": jwt.get_unverified_header(server.token)["kid"]}),
        "a.b.c",
        "...",
        "\xff" * 20,
        "x" * 10_000,
    ):
        answer = anonymous.get(ME, headers={"Authorization": b"Bearer " + token.encode("latin-1")})
        assert problem(answer, 401)["detail"] == "invalid token"
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YWRtaW46eA==", "Token x", "Basic !!!"])
def test_no_token_at_all_is_missing(anonymous: httpx.Client, header: str) -> None:
    assert problem(anonymous.get(ME, headers={"Authorization": header}), 401)["detail"] == "missing token"


def test_a_token_in_the_address_is_not_taken(anonymous: httpx.Client, server: RunningServer) -> None:
    problem(anonymous.get(ME, params={"token": server.token, "access_token": server.token}), 401)


def test_a_sign_in_link_works_once(server: RunningServer, anonymous: httpx.Client) -> None:
    answer = anonymous.get("/ui/enter/no-such-ticket")
    assert (answer.status_code, answer.headers["location"]) == (302, "/ui/signin")
    assert "set-cookie" not in answer.headers
