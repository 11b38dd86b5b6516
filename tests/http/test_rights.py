"""Every described route, asked by five identities, answers as ``docs/rights.md`` says."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relevo.http import rights
from relevo.http.needs import NEEDS
from tests.running import ADMIN_PASSWORD, RunningServer

REPOSITORY = Path(__file__).parent.parent.parent
PASSWORD = "a-long-enough-one"
OK, LOGIN, NO, HIDDEN = "does it", "is asked to sign in", "may not", "is told there is none"

# nobody, viewer, operator of another device, owner, administrator
EXPECTED = {
    "everybody": (OK, OK, OK, OK, OK),
    # The token is looked for after what it is shown with.
    # Of a wall that is not there nobody learns anything; see test_walls.py for who has one.
    "who has the link of the wall": (OK, OK, OK, OK, OK),
    "a device with its token": (OK, OK, OK, OK, OK),
    # What is asked is looked at first; see test_thingsnxt.py for who may.
    "who has a refresh token": (LOGIN, LOGIN, LOGIN, LOGIN, LOGIN),
    "everybody on a private network while `open_registration` is on, otherwise administrators": (OK, OK, OK, OK, OK),
    "administrators, and everybody on a private network while `open_registration` is on": (NO, NO, NO, NO, OK),
    "everybody on a private network while `open_reads` is on, otherwise who is signed in, of their devices": (
        LOGIN, OK, OK, OK, OK,
    ),
    "everybody who is signed in": (LOGIN, OK, OK, OK, OK),
    "everybody who is signed in, for the devices they may view": (LOGIN, OK, OK, OK, OK),
    "everybody on a private network while pairing or `open_registration` is open, otherwise operators": (
        NO, NO, OK, OK, OK,
    ),
    "a device with its key; everybody on a private network while pairing or `open_mqtt_config` is open": (
        NO, NO, NO, NO, NO,
    ),
    "everybody on a private network while `open_reads` is on, otherwise who may view the device, operators while it is "
    "unclaimed, and a device with its key for itself": (LOGIN, OK, OK, OK, OK),
    "everybody on a private network while `open_reads` is on, otherwise operators, of what nobody has claimed": (
        LOGIN, NO, OK, OK, OK,
    ),
    "everybody on a private network while `open_reads` is on, otherwise everybody who is signed in, for the devices "
    "they may view": (LOGIN, OK, OK, OK, OK),
    "everybody on a private network while `open_control` is on, otherwise who may control the device, operators while "
    "it is unclaimed, and a device with its key for its own status": (LOGIN, OK, OK, OK, OK),
    "everybody on a private network while `open_control` is on, otherwise operators": (LOGIN, NO, OK, OK, OK),
    "operators": (LOGIN, NO, OK, OK, OK),
    "administrators, with a Bearer token": (LOGIN, NO, NO, NO, OK),
    "administrators, with a Bearer token, or with their session and the token of its forms": (LOGIN, NO, NO, NO, OK),
    "everybody who is signed in, of meters that they may control or that are in no registry; a meter with its key": (
        LOGIN, OK, OK, OK, OK,
    ),
    # Boards are named by other words than the test's devices; see test_autocore_tools.py for who may.
    "everybody who is signed in, for the boards they may view": (LOGIN, OK, OK, OK, OK),
    "who may control the board": (LOGIN, OK, OK, OK, OK),
    "the board's owner": (LOGIN, OK, OK, OK, OK),
    "the board's owner, and the board with its key for its addresses": (LOGIN, OK, OK, OK, OK),
    "the board with its key; who may view it while pairing or `open_mqtt_config` is open": (LOGIN, OK, OK, OK, OK),
    "operators for the devices they may control, and a device with its key for itself": (LOGIN, NO, OK, OK, OK),
    "operators, into the devices that they may control": (LOGIN, NO, OK, OK, OK),
    "administrators": (LOGIN, NO, NO, NO, OK),
    "who may view the device": (LOGIN, HIDDEN, HIDDEN, OK, OK),
    "who may view the device, and the device with its key": (LOGIN, HIDDEN, HIDDEN, OK, OK),
    "who may control the device": (LOGIN, HIDDEN, HIDDEN, OK, OK),
    "who may control the device, and the device with its key": (LOGIN, HIDDEN, HIDDEN, OK, OK),
    "the device with its key": (LOGIN, NO, NO, NO, NO),
    # Asked by nobody but devices, which the key names.
    "a device with its key": (LOGIN, NO, NO, NO, NO),
    "the device's owner": (LOGIN, HIDDEN, HIDDEN, OK, OK),
}  # fmt: skip
IDENTITIES = ("nobody", "viewer", "stranger", "owner", "administrator")


@pytest.fixture(scope="module")
def people(server: RunningServer) -> Iterator[dict[str, Callable[[], httpx.Client]]]:
    """How to become each of them; every call is a session of its own."""
    opened = contextlib.ExitStack()
    # Whatever an earlier test left open would be open to nobody's requests too.
    server.api.delete("/api/v1/pairing")

    def client_of(server: RunningServer) -> httpx.Client:
        return opened.enter_context(httpx.Client(base_url=server.http, trust_env=False, timeout=10))

    for name, role in (("viewer", "viewer"), ("stranger", "operator"), ("owner", "operator")):
        body = {"name": name, "password": PASSWORD, "role": role}
        assert server.api.post("/api/v1/users", json=body).status_code == 201

    def enter(name: str, password: str) -> Callable[[], httpx.Client]:
        def sign_in() -> httpx.Client:
            client = client_of(server)
            answer = client.post("/api/v1/auth/login", json={"username": name, "password": password})
            assert answer.status_code == 200, answer.text
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            return client

        return sign_in

    yield {
        "nobody": lambda: client_of(server),
        **{name: enter(name, PASSWORD) for name in ("viewer", "stranger", "owner")},
        "administrator": enter("admin", ADMIN_PASSWORD),
    }
    opened.close()


def operations(server: RunningServer) -> Iterator[tuple[str, str, str]]:
    paths: dict[str, Any] = httpx.get(f"{server.http}/openapi.json", trust_env=False).json()["paths"]
    for path, item in sorted(paths.items()):
        for method, operation in item.items():
            yield method, path, operation[NEEDS]


def outcome(answer: httpx.Response) -> str:
    if answer.status_code == 401:
        return LOGIN
    if answer.status_code == 403:
        return NO
    if answer.status_code == 404 and "no device 'of-the-owner" in answer.text:
        return HIDDEN
    assert answer.status_code < 500, answer.text
    return OK


def test_every_route_answers_each_of_five_identities_as_the_table_says(
    server: RunningServer, people: dict[str, Callable[[], httpx.Client]]
) -> None:
    clients = {name: enter() for name, enter in people.items()}
    clients["stranger"].post("/api/v1/devices", json={"id": "of-the-stranger"})
    wrong, asked = [], 0
    for n, (method, path, needs) in enumerate(operations(server)):
        if (method, path) == ("delete", "/me"):
            # Removes whoever asks.
            continue
        assert needs in EXPECTED, f"{method} {path}: {needs!r}"
        for identity, wanted in zip(IDENTITIES, EXPECTED[needs], strict=True):
            client = people[identity]() if path.endswith(("/logout", "/logout/", "/me/password")) else clients[identity]
            device = f"of-the-owner-{n}-{identity}"
            if "{device_id}" in path:
                assert clients["owner"].post("/api/v1/devices", json={"id": device}).status_code == 201
            known = path.replace("{device_id}", device).replace("{resource}", "brokers")
            address = re.sub(r"\{[\w:]+\}", "x", known)
            if path.endswith(("/stream", "/raw")) or path.startswith("/stream/"):
                with client.stream("GET", address) as answer:
                    if answer.status_code != 200:
                        answer.read()
                    found = outcome(answer) if answer.status_code != 200 else OK
            else:
                body: Any = {} if method in ("post", "patch", "put") else None
                if path == "/api/devices":
                    # Looked at before the right to register, so that a board hears what is wrong with it.
                    body = {"uuid": f"esp32-{identity}", "name": "x", "type": "esp32_relay"}
                found = outcome(client.request(method, address, json=body))
            asked += 1
            if found != wanted:
                wrong.append((method, path, identity, f"{found}, and the table says: {wanted}"))
    assert wrong == [], "\n".join(map(str, wrong))
    assert asked >= 5 * 40


def test_the_page_of_rights_is_what_the_code_says() -> None:
    assert (REPOSITORY / "docs" / "rights.md").read_text() == rights.page(), (
        "python -m relevo.http.rights > docs/rights.md"
    )


def test_no_route_is_missing_from_the_page(server: RunningServer) -> None:
    """Whatever the server routes, described or not, has a line."""
    page = rights.page()
    for method, path, _ in operations(server):
        assert f"`{method.upper()} {path}`" in page
    for path in ("/", "/ui", "/ui/", "/docs", "/openapi.json", "/metrics"):
        assert f"`GET {path}`" in page
        assert httpx.get(server.http + path, trust_env=False).status_code != 404


def test_a_viewer_who_may_view_a_device_changes_nothing_of_it(
    server: RunningServer, people: dict[str, Callable[[], httpx.Client]]
) -> None:
    owner, viewer = people["owner"](), people["viewer"]()
    assert owner.post("/api/v1/devices", json={"id": "shown-to-all"}).status_code == 201
    share = {"account": "viewer", "level": "control"}
    assert owner.post("/api/v1/devices/shown-to-all/grants", json=share).status_code == 201
    # The grant says control; the role says less.
    assert viewer.get("/api/v1/devices/shown-to-all").json()["right"] == "view"
    for method, path, needs in operations(server):
        if "{device_id}" not in path or needs.startswith("who may view"):
            continue
        address = re.sub(r"\{[\w:]+\}", "x", path.replace("{device_id}", "shown-to-all"))
        answer = viewer.request(method, address, json={} if method in ("post", "patch", "put") else None)
        assert answer.status_code == 403, (method, path, answer.status_code)
    assert owner.get("/api/v1/devices/shown-to-all").status_code == 200
