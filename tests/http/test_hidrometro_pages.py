"""Paths that several contracts share, where pages lead, and that nothing of the contract is open by default."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from relevo.http.hidrometro.doors import prefers_html
from relevo.http.hidrometro.pages import local
from relevo.http.hidrometro.words import LANGUAGES, preferred, words
from relevo.settings import load
from tests.journeys.meters import browser, claim, person
from tests.running import ADMIN_PASSWORD, RunningServer

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """As a new installation on a network is: nothing is open."""
    env = {"RELEVO_OPEN_READS": "false"}
    with RunningServer(tmp_path_factory.mktemp("secure") / "data", env=env) as one:
        claim(one, "CLOSED")
        yield one


@pytest.fixture(scope="module")
def nobody(secure: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=secure.http, trust_env=False, timeout=20) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/current"),
        ("GET", "/api/history"),
        ("POST", "/api/data"),
        ("GET", "/api/cmd?action=reset"),
        ("POST", "/api/cmd"),
        ("GET", "/api/debug/history-size"),
        ("GET", "/api/alerts"),
        ("POST", "/api/alerts/1/resolve"),
        ("POST", "/api/alerts/clear-temporary"),
        ("GET", "/api/clientes/1/dispositivos/current"),
    ],
)
def test_nothing_of_the_contract_is_open_to_a_stranger(nobody: httpx.Client, method: str, path: str) -> None:
    answer = nobody.request(method, path, json={"action": "reset"} if method == "POST" else None)
    assert (answer.status_code, answer.json()) == (401, {"error": "missing token"})
    wrong = nobody.request(method, path, headers={"Authorization": "Bearer nonsense"})
    assert (wrong.status_code, wrong.json()) == (401, {"error": "invalid token"})


@pytest.mark.parametrize("path", ["/dashboard", "/control", "/clientes", "/logout", "/dispositivos"])
def test_pages_lead_to_the_one_on_which_one_signs_in(nobody: httpx.Client, path: str) -> None:
    answer = nobody.get(path, headers=HTML)
    target = "/dashboard" if path == "/logout" else path
    assert (answer.status_code, answer.headers["location"]) == (302, f"/login?next={target}")


@pytest.mark.parametrize(
    "path", ["/api/nothing/else", "/api/alerts/1", "/api/clientes/1", "/clientes/x", "/api/debug/x"]
)
def test_unknown_paths_and_methods_answer_in_the_contracts_words(secure: RunningServer, path: str) -> None:
    answer = secure.api.get(path)
    assert answer.status_code in (404, 405)
    if path.startswith(("/api/alerts", "/api/clientes", "/clientes", "/api/debug")):
        assert answer.json().keys() == {"error"}
    wrong = secure.api.put("/api/data", json={})
    assert (wrong.status_code, wrong.json().keys()) == (405, {"error"})
    assert wrong.headers["allow"] == "POST"


def test_the_list_of_devices_is_json_unless_html_is_wanted(secure: RunningServer) -> None:
    with browser(secure) as page:
        html = page.get("/dispositivos")
        assert html.headers["content-type"].startswith("text/html")
        assert "CLOSED" in html.text
    for accept in ("*/*", "application/json", "text/html;q=0.5,application/json", ""):
        answer = secure.api.get("/dispositivos", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json", accept
        assert isinstance(answer.json(), list)


def test_sign_in_is_a_page_for_forms_and_thingsnxt_for_json(secure: RunningServer, nobody: httpx.Client) -> None:
    assert nobody.get("/login").headers["content-type"].startswith("text/html")
    answer = nobody.post("/login", json={"email": "admin", "password": "wrong"})
    assert (answer.status_code, answer.json()) == (400, {"detail": "Incorrect email or password"})
    form = {"username": "admin", "password": ADMIN_PASSWORD, "next": "/control"}
    entered = nobody.post("/login", data=form, headers={"Origin": secure.http})
    assert (entered.status_code, entered.headers["location"]) == (303, "/control")
    cookie = entered.headers["set-cookie"]
    secure.canaries.plant(entered.cookies["relevo_session"])
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    foreign = nobody.post("/login", data=form, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert nobody.post("/logout", json={}).json()["already_logged_out"] is True
    nobody.cookies.clear()


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\n/x"]
)
def test_nobody_is_led_away(secure: RunningServer, nobody: httpx.Client, target: str) -> None:
    assert local(target) == "/dashboard"
    form = {"username": "admin", "password": ADMIN_PASSWORD, "next": target}
    entered = httpx.post(f"{secure.http}/login", data=form, headers={"Origin": secure.http}, trust_env=False)
    assert entered.headers["location"] == "/dashboard"
    secure.canaries.plant(entered.cookies["relevo_session"])


def test_forms_want_the_token_of_their_session(secure: RunningServer) -> None:
    with browser(secure) as page:
        for path, body in (
            ("/control", {"action": "simOff"}),
            ("/clientes", {"name": "x", "currency": "BRL"}),
            ("/dispositivos", {"device": "hidrometro-CLOSED"}),
            ("/logout", {}),
        ):
            for token in ({}, {"csrf_token": "0" * 64}):
                answer = page.post(path, data=body | token, headers=FORM)
                assert answer.status_code == 403, path
        assert page.get("/dashboard").status_code == 200


def test_control_is_for_administrators(secure: RunningServer) -> None:
    with person(secure, "looker", "viewer") as viewer:
        answer = viewer.get("/control", headers={"Accept-Language": "en"})
        assert answer.status_code == 403
        assert "Only administrators command meters." in answer.text
        assert "<form" not in answer.text
        assert viewer.get("/dashboard").status_code == 200
        assert "CLOSED" not in viewer.get("/dashboard").text + viewer.get("/dispositivos", headers=HTML).text


def test_pages_let_the_browser_load_from_here_alone(secure: RunningServer) -> None:
    with browser(secure) as page:
        for path in ("/dashboard", "/control", "/clientes", "/dispositivos", "/logout"):
            answer = page.get(path)
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
            assert "style=" not in answer.text
            assert "onclick" not in answer.text


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/html", True), ("*/*", False), ("", False), ("application/json", False), ("text/*", True),
        ("text/html, application/json", False), ("text/html, application/json;q=0.9", True),
        ("text/html;q=x", False), (HTML["Accept"], True),
    ],
)  # fmt: skip
def test_who_wants_html(accept: str, wanted: bool) -> None:
    assert prefers_html(accept) is wanted


@pytest.mark.parametrize(
    ("header", "language"),
    [("en-GB,en;q=0.9", "en"), ("es-PE", "es"), ("de,fr;q=0.8", "pt"), ("", "pt"), ("de, en;q=0.3, pt;q=0.7", "pt"),
     ("en;q=x", "pt")],
)  # fmt: skip
def test_the_language_follows_the_browser_and_is_portuguese_otherwise(header: str, language: str) -> None:
    assert preferred(header) == language


def test_every_word_is_in_every_language() -> None:
    for language in LANGUAGES:
        assert all(words(language).values())
    assert words("en").keys() == words("pt").keys()


# Names of the contract's own environment


def test_names_of_the_contract_are_taken(tmp_path: Path) -> None:
    key = "q8Zr2LkW5tYp0XvB7nMd4HsJ1cFg9Ea6"
    env = {
        "DB_ENGINE": "sqlite", "MQTT_URL": "mqtt://localhost:1884", "MQTT_TOPIC_DADOS": "agua/dados",
        "MQTT_TOPIC_CMD": "agua/cmd", "SECRET_KEY": key, "HISTORY_LIMIT": "7", "DEFAULT_DEVICE_SERIAL": "hx1",
        "JWT_EXP_MINUTES": "90", "LEAK_FLOW_THRESHOLD": "0.2", "LEAK_MIN_SECONDS": "0",
    }  # fmt: skip
    settings = load({"data": tmp_path}, env)
    water = settings.hidrometro
    assert (settings.database_url, settings.mqtt, settings.broker_url) == ("sqlite", "0.0.0.0:1884", "")
    assert (water.topic_dados, water.topic_cmd, water.secret_key) == ("agua/dados", "agua/cmd", key)
    assert (water.history_limit, water.default_serial, water.token_minutes) == (7, "hx1", 90)
    assert (water.leak_flow_lmin, water.leak_min_s) == (0.2, 0)
    defaults = load({"data": tmp_path}, {}).hidrometro
    assert (defaults.leak_flow_lmin, defaults.leak_min_s, defaults.row_every_s) == (2.5, 10, 10)


@pytest.mark.parametrize("key", ["secret", "change-me-change-me-change-me-change-me", "a" * 40])
def test_a_sample_of_a_secret_key_signs_nothing(key: str, tmp_path: Path) -> None:
    assert load({"data": tmp_path}, {"SECRET_KEY": key}).hidrometro.secret_key == ""


@pytest.mark.parametrize(
    ("env", "setting", "value"),
    [
        ({"MQTT_URL": "mqtt://broker.lan:1884"}, "broker_url", "mqtt://broker.lan:1884"),
        ({"MQTT_URL": "broker.lan"}, "broker_url", "mqtt://broker.lan"),
        (
            {"DB_ENGINE": "mysql", "DB_USER": "u", "DB_PASSWORD": "p@ss", "DB_HOST": "db", "DB_PORT": "3306",
             "DB_NAME": "agua"},
            "database_url",
            "mysql://u:p%40ss@db:3306/agua",
        ),
    ],
)  # fmt: skip
def test_what_is_elsewhere_is_mapped_and_named(env: dict[str, str], setting: str, value: str, tmp_path: Path) -> None:
    settings = load({"data": tmp_path}, env)
    assert getattr(settings, setting) == value
    assert settings.origins[setting] == "environment " + ", ".join(env)
