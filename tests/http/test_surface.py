"""What the HTTP door shows to whoever looks at it: descriptions, headers, redirections."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from relevo.bus import Bus
from relevo.domain.devices import Registry
from relevo.http.api import telemetry
from relevo.http.errors import is_emqx
from relevo.http.groups import GROUPS
from relevo.realtime import alchemy, sse, walls
from relevo.realtime.view import Views
from relevo.web.pages import STATIC
from tests.http.conftest import BODY_BYTES
from tests.http.problems import problem
from tests.running import RunningServer

OPEN_TO_ALL = {("post", f"/api/v1/auth/{name}") for name in ("login", "logout", "refresh")}
# Whose credential is in the path.
OPEN_TO_ALL |= {
    ("get", f"/api/v1/walls/{{token}}{more}")
    for more in ("", "/stream", "/telemetry/{device}/{key}", "/pictures/{picture_id}")
}
ENDLESS = ("/api/v1/stream", "/stream/dispositivos", "/api/v1/devices/{device_id}/raw")
built = pytest.mark.skipif(not (STATIC / "index.html").exists(), reason="the interface is not built")


async def never(*_: object) -> Any:
    raise AssertionError("only the paths are looked at")


def served() -> set[tuple[str, str]]:
    """Every route that answers requests of programs, with its method."""
    found = set()
    live = sse.routes(Bus(), never, int, Views(Registry()), never, 10)
    live += walls.routes(Bus(), never, 10)
    live += alchemy.routes(alchemy.Updates(Registry(), never), never, 25)
    for route in [*(one for group in GROUPS for one in group.routes()), *telemetry.routes, *live]:
        for method in getattr(route, "methods", None) or ():
            path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)  # type: ignore[attr-defined]
            if method != "HEAD":
                found.add((method.lower(), path))
    # The only pages whose paths are described.
    return found | {("get", "/login"), ("get", "/logout")}


@pytest.fixture(scope="package")
def description(server: RunningServer) -> dict[str, Any]:
    answer = httpx.get(f"{server.http}/openapi.json", trust_env=False)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in description["paths"].items():
        for method, operation in item.items():
            yield method, re.sub(r"\{(\w+):\w+\}", r"{\1}", path), operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_description_names_every_route(description: dict[str, Any]) -> None:
    described = {(method, path) for method, path, _ in operations(description)}
    assert served() - described == set()
    assert described - served() == set()


def test_the_description_is_openapi_that_a_generator_can_read(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1")
    assert description["info"]["title"] == "Relevo"
    assert description["info"]["version"]
    for path in description["paths"]:
        assert path.startswith("/")
        # A converter such as {key:path} is our framework's word and no template of OpenAPI.
        assert all(re.fullmatch(r"\w+", name) for name in re.findall(r"\{([^}]*)\}", path)), path
    seen: list[str] = []
    for method, path, operation in operations(description):
        assert method in ("get", "post", "put", "patch", "delete")
        assert operation["summary"], path
        assert operation["responses"], path
        assert all(one["description"] for one in operation["responses"].values()), path
        declared = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path)), path
        assert all(one["required"] for one in operation.get("parameters", []) if one["in"] == "path")
        if "operationId" in operation:
            seen.append(operation["operationId"])
        assert ("requestBody" in operation) <= (method != "get")
    assert len(seen) == len(set(seen))
    for reference in references(description):
        where: Any = description
        for part in reference.removeprefix("#/").split("/"):
            where = where[part]


def test_every_native_route_wants_a_credential_before_it_looks_at_anything_else(
    description: dict[str, Any], anonymous: httpx.Client
) -> None:
    wrong = []
    for method, path, _ in operations(description):
        if not path.startswith("/api/v1/") or (method, path) in OPEN_TO_ALL:
            continue
        address = re.sub(r"\{\w+\}", "x", path)
        for content in (None, b"{}", b"{", b"[]", b'{"username": 1}'):
            if content is not None and method == "get":
                continue
            for query in ("", "?limit=x&from=x&cursor=x&kinds=x"):
                answer = anonymous.request(
                    method, address + query, content=content, headers={"Content-Type": "application/json"}
                )
                if answer.status_code != 401:
                    wrong.append((method, address + query, content, answer.status_code))
                    continue
                assert answer.headers["www-authenticate"] == "Bearer"
                problem(answer, 401)
    assert wrong == []


def test_the_api_page_needs_nothing_from_outside(anonymous: httpx.Client) -> None:
    page = anonymous.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert re.findall(r"(?:https?:)?//[\w.]", page.text) == []
    assert 'spec-url="/openapi.json"' in page.text


@built
def test_everything_the_pages_name_is_served_here(anonymous: httpx.Client) -> None:
    for path in ("/docs", "/ui/"):
        page = anonymous.get(path).text
        named = re.findall(r'(?:src|href|spec-url)="([^"]+)"', page)
        assert named
        for address in named:
            assert address.startswith("/"), address
            assert anonymous.get(address).status_code == 200, address


@pytest.mark.parametrize("path", ["/docs", "/ui/", "/ui/device/x"])
def test_a_page_lets_the_browser_load_from_here_only(anonymous: httpx.Client, path: str) -> None:
    policy = anonymous.get(path).headers["content-security-policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";") if rule.strip()}
    assert rules["default-src"] == ["'self'"]
    assert rules["frame-ancestors"] == ["'none'"]
    # The reader of QR codes is WebAssembly.
    wasm = [] if path == "/docs" else ["'wasm-unsafe-eval'"]
    assert rules["script-src"] == ["'self'", *wasm]
    known = {"'self'", "'none'", "data:", "'unsafe-inline'", *wasm}
    assert {word for words in rules.values() for word in words} <= known
    assert "'unsafe-inline'" not in rules["style-src"] or path == "/docs"


@pytest.mark.parametrize(
    ("method", "path", "size", "status"),
    [
        ("GET", "/", 0, 200),
        ("GET", "/healthz", 0, 200),
        ("GET", "/docs", 0, 200),
        ("GET", "/openapi.json", 0, 200),
        ("GET", "/api/v1/devices", 0, 401),
        ("GET", "/api/current", 0, 401),
        ("GET", "/nothing", 0, 404),
        ("GET", "/api/v1/nothing", 0, 401),
        ("PUT", "/api/v1/devices", 0, 401),
        ("POST", "/healthz", 0, 405),
        ("POST", "/api/v1/auth/login", 0, 422),
        ("POST", "/api/v1/devices", BODY_BYTES + 1, 413),
    ],
)
def test_every_answer_carries_the_headers_that_tell_a_browser_not_to_guess(
    anonymous: httpx.Client, method: str, path: str, size: int, status: int
) -> None:
    answer = anonymous.request(method, path, content=b"x" * size if size else None)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/", "/api/v1/devices/x/y"])
def test_an_unknown_native_path_is_a_problem(anonymous: httpx.Client, server: RunningServer, path: str) -> None:
    problem(server.api.get(path), 404)
    problem(anonymous.get(path), 401)


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(server: RunningServer) -> None:
    answer = server.api.put("/api/v1/devices")
    problem(answer, 405)
    assert answer.headers["allow"]


def test_an_unknown_path_of_another_contract_has_the_plain_form(anonymous: httpx.Client) -> None:
    answer = anonymous.get("/api/nothing")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_the_root_answers_programs_and_leads_browsers_to_the_interface(anonymous: httpx.Client) -> None:
    program = anonymous.get("/")
    assert program.json()["status"] == "ok"
    assert program.json()["service"] == "relevo"
    browser = anonymous.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (browser.status_code, browser.headers["location"]) == (302, "/ui/")
    bare = anonymous.get("/ui")
    assert (bare.status_code, bare.headers["location"]) == (302, "/ui/")


def test_no_path_is_redirected_for_its_slash(
    description: dict[str, Any], server: RunningServer, anonymous: httpx.Client
) -> None:
    for method, path, _ in operations(description):
        address = re.sub(r"\{\w+\}", "x", path)
        if is_emqx(f"{address}/"):
            # There it selects the contract.
            continue
        answer = anonymous.request(method, f"{address}/", headers={"Authorization": f"Bearer {server.token}"})
        assert answer.status_code in (404, 405, 422), (method, address, answer.status_code)
        assert "location" not in answer.headers
    for path in ("//evil.example/", "//evil.example/%2f..", "/\\evil.example/"):
        assert "location" not in anonymous.get(server.http + path).headers


def test_a_forged_host_appears_in_no_answer_and_in_no_line_of_the_log(
    description: dict[str, Any], server: RunningServer, anonymous: httpx.Client
) -> None:
    """By the name that is believed least, and by headers that only a proxy may send."""
    forged = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example", "X-Forwarded-For": "evil.example"}
    paths = {re.sub(r"\{\w+\}", "x", path) for _, path, _ in operations(description)}
    html = {"Accept": "text/html"}
    for path in sorted(paths | {"/", "/ui", "/ui/", "/docs", "/metrics", "/openapi.json", "/nothing", "/ui/enter/x"}):
        refused = anonymous.get(path, headers=forged | {"Host": "evil.example"})
        assert refused.status_code == 421, path
        assert "evil.example" not in refused.text + str(refused.headers)
        for headers in (forged, forged | html, forged | {"Authorization": f"Bearer {server.token}"}):
            # Some do not end, three end the session that every test here uses, one tells administrators of these.
            private = (*ENDLESS, "/api/v1/auth/logout", "/api/auth/logout/", "/logout", "/api/v1/system/timeline")
            if path in private and "Authorization" in headers:
                continue
            for method in ("GET", "POST"):
                answer = anonymous.request(method, path, headers=headers)
                shown = answer.text + str(answer.headers)
                assert "evil.example" not in shown, (method, path)
    created = anonymous.post(
        "/api/v1/devices", json={"id": "forged-host"}, headers=forged | {"Authorization": f"Bearer {server.token}"}
    )
    assert created.headers["location"] == "/api/v1/devices/forged-host"
    assert "evil.example" not in server.log.read_text(errors="replace")


def test_metrics_are_for_those_who_signed_in_and_count_what_happened(
    server: RunningServer, anonymous: httpx.Client, name: str
) -> None:
    assert anonymous.get("/metrics").status_code == 401
    server.register(name)

    def figures() -> dict[tuple[str, str], float]:
        answer = server.api.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return {
            (sample.name, sample.labels.get("reason", "")): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    before = figures()
    server.api.post(f"/api/v1/devices/{name}/telemetry", json=[{"values": {"v": n}} for n in range(5)])
    server.api.post(f"/api/v1/devices/{name}/telemetry", content=b"{")
    after = figures()
    refused = ("relevo_refused_total", "json_malformed")
    assert after["relevo_events_total", ""] >= before["relevo_events_total", ""] + 5
    assert after[refused] == before.get(refused, 0) + 1
    assert after["relevo_devices", ""] == before["relevo_devices", ""]
    assert after["process_resident_memory_bytes", ""] > 0


@pytest.mark.parametrize(
    "path",
    [
        "/ui/%00",
        "/ui/assets/%00.js",
        "/ui/" + "a" * 300,
        "/ui/assets/" + "a" * 5_000,
        "/ui/enter/%00",
        "/api/v1/devices/%00",
        "/api/v1/devices/%ff%fe",
        "/api/v1/devices/" + "x" * 5_000,
        "/%00",
    ],
)
def test_an_odd_path_is_no_defect(server: RunningServer, anonymous: httpx.Client, path: str) -> None:
    answer = anonymous.get(server.http + path, headers={"Authorization": f"Bearer {server.token}"})
    assert answer.status_code < 500


@pytest.mark.parametrize(
    "path", ["/ui/..%2f..%2fapp.py", "/ui/%2e%2e/%2e%2e/app.py", "/ui//etc/passwd", "/ui/..%5c..%5capp.py"]
)
def test_no_path_leads_out_of_the_interfaces_directory(
    server: RunningServer, anonymous: httpx.Client, path: str
) -> None:
    answer = anonymous.get(server.http + path)
    assert "root:" not in answer.text
    assert "import " not in answer.text.split("<", 1)[0]


def test_the_system_page_tells_how_the_server_does(api: httpx.Client) -> None:
    body = api.get("/api/v1/system").json()
    assert body["profile"] == "secure"
    assert body["store"]["state"] == "ok"
    assert body["switches"] == dict.fromkeys(body["switches"], False)
    assert body["uptime_s"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["started_at"])


def test_no_route_waits_for_a_thread() -> None:
    def calls(dependant: Any) -> Iterator[Any]:
        yield dependant.call
        for one in dependant.dependencies:
            yield from calls(one)

    for group in GROUPS:
        for route in group.routes():
            for call in calls(route.dependant):  # type: ignore[attr-defined]
                # FastAPI runs plain functions in a pool: two changes of thread, for each of them and each request.
                assert inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(call.__call__), call
