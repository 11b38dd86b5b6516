"""Roll-outs over HTTP: what is asked, who may, and what a page is told."""

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.boards import HttpBoard, image
from tests.http.problems import problem
from tests.journeys.live import Watcher, eventually
from tests.running import RunningServer

PASSWORD = "a-long-enough-one"
_boards: list[HttpBoard] = []


@pytest.fixture(scope="module")
def release(server: RunningServer) -> str:
    answer = server.api.post("/api/v1/firmware", content=image("2.0.0", "page"))
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def person(server: RunningServer, name: str, role: str) -> httpx.Client:
    assert server.api.post("/api/v1/users", json={"name": name, "password": PASSWORD, "role": role}).status_code == 201
    client = httpx.Client(base_url=server.http, trust_env=False, timeout=20)
    answer = client.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


@pytest.fixture(scope="module")
def fitter(server: RunningServer) -> Iterator[httpx.Client]:
    with contextlib.closing(person(server, "roll-fitter", "operator")) as client:
        yield client


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    """Every board is switched off at the end."""
    yield
    while _boards:
        _boards.pop().http.close()


def boards(server: RunningServer, name: str, count: int, **more: Any) -> list[HttpBoard]:
    found = []
    for n in range(count):
        answer = server.api.post("/api/v1/devices", json={"id": f"{name}-{n}", "tags": [name]})
        assert answer.status_code == 201, answer.text
        key = server.canaries.plant(answer.json()["key"])
        board = HttpBoard(server, f"{name}-{n}", key, **{"board": "page"} | more)
        _boards.append(board)
        assert board.look() is None
        found.append(board)
    return found


def body(release: str, **more: Any) -> dict[str, Any]:
    return {"release": release, "target": {"all": True}, "wave_pause_s": 0} | more


def test_a_preview_counts_and_keeps_nothing(server: RunningServer, api: httpx.Client, release: str, name: str) -> None:
    boards(server, name, 10)
    server.register(f"{name}-unknown")
    devices = [f"{name}-{n}" for n in range(10)] + [f"{name}-unknown"]
    found = api.post("/api/v1/rollouts/preview", json=body(release, target={"devices": devices}))
    assert found.status_code == 200, found.text
    assert found.json() == {
        "release": release,
        "devices": 10,
        "online": 0,
        "waves": [
            {"wave": 1, "percent": 5, "devices": 1},
            {"wave": 2, "percent": 25, "devices": 2},
            {"wave": 3, "percent": 100, "devices": 7},
        ],
        "skipped": {"unknown_board": 1},
        "left_out": [{"device": f"{name}-unknown", "reason": "unknown_board"}],
    }
    assert api.get(f"/api/v1/devices/{name}-0/update").json()["attempts"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"release": "none-1.0.0"}, "release"), ({"waves": [50]}, "waves"), ({"waves": [50, 20, 100]}, "waves"),
        ({"waves": []}, "waves"), ({"halt_percent": 101}, "halt_percent"), ({"halt_least": 0}, "halt_least"),
        ({"target": {}}, "target"), ({"target": {"all": True, "tags": ["x"]}}, "target"),
        ({"target": {"devices": ["nobody"]}}, "devices"), ({"target": {"tags": ["of-nobody"]}}, "selection"),
        ({"deadline_s": 0}, "deadline_s"), ({"note": "x" * 501}, "note"), ({"more": 1}, "more"),
    ],
)  # fmt: skip
def test_each_wrong_field_is_named(api: httpx.Client, release: str, change: dict[str, Any], field: str) -> None:
    for path in ("", "/preview"):
        found = problem(api.post(f"/api/v1/rollouts{path}", json=body(release) | change), 422)
        assert [one["field"].split(".")[0] for one in found["errors"]] == [field]


def test_a_page_is_told_everything_wave_by_wave(
    server: RunningServer, api: httpx.Client, release: str, name: str
) -> None:
    held = {one.device: one for one in boards(server, name, 4)}
    with Watcher(server, "?kinds=rollout,update") as watcher:
        answer = api.post(
            "/api/v1/rollouts", json=body(release, target={"tags": [name]}, waves=[50, 100], note="for the page")
        )
        assert answer.status_code == 201, answer.text
        path = answer.headers["Location"]
        found = eventually(lambda: (now := api.get(path).json())["waves_begun"] == 1 and now, 10)
        assert (found["state"], found["version"], found["board"], found["by"]) == ("running", "2.0.0", "page", "admin")
        assert (found["note"], found["target"]["tags"]) == ("for the page", [name])
        assert found["waves"] == [
            {"wave": 1, "percent": 50, "begun": True, "devices": 2, "settled": 0, "states": {"waiting": 2}},
            {"wave": 2, "percent": 100, "begun": False, "devices": 2, "settled": 0, "states": {"waiting": 2}},
        ]
        first = [one["device"] for one in api.get(f"{path}/devices", params={"wave": 1}).json()["items"]]
        assert held[first[0]].update()
        items = api.get(f"{path}/devices", params={"state": ["updated", "failed"]}).json()["items"]
        assert [(one["device"], one["name"], one["version"], one["percent"]) for one in items] == [
            (first[0], first[0], "2.0.0", 100)
        ]
        one = api.get(f"{path}/devices", params={"limit": 3}).json()
        rest = api.get(f"{path}/devices", params={"limit": 3, "cursor": one["next"]}).json()
        assert len({item["device"] for item in one["items"] + rest["items"]}) == 4
        assert rest["next"] is None
        assert api.post(f"{path}/cancel").json()["changed_by"] == "admin"
        watcher.wait_for(lambda one: one["kind"] == "rollout" and one["state"] == "cancelled", 10)
        events = [one["data"] for _, one in list(watcher.events)]
    of_updates = [one for one in events if one["kind"] == "update" and one["device"] == first[0]]
    of_first = [(one["change"], one["state"]) for one in of_updates]
    assert of_first == [
        ("offered", "offered"), ("accepted", "downloading"), ("downloading", "downloading"), ("trial", "trial"),
        ("healthy", "updated"),
    ]  # fmt: skip
    assert [(one["state"], one["wave"]) for one in events if one["kind"] == "rollout"][:2] == [
        ("running", 0), ("running", 1),
    ]  # fmt: skip
    assert api.get("/api/v1/rollouts", params={"state": "open", "release": release}).json()["items"] == []
    assert found["id"] in [one["id"] for one in api.get("/api/v1/rollouts").json()["items"]]
    actions = {one["action"] for one in api.get("/api/v1/audit", params={"target": found["id"]}).json()["items"]}
    assert actions == {"rollout.create", "rollout.cancel"}
    metrics = api.get("/metrics").text
    assert "relevo_firmware_releases" in metrics
    assert 'relevo_update_reports_total{state="healthy"}' in metrics


def test_an_operator_reaches_their_own_devices_and_their_own_roll_outs(
    server: RunningServer, api: httpx.Client, fitter: httpx.Client, release: str, name: str
) -> None:
    boards(server, name, 2)
    others = f"{name}-0"
    key = fitter.post("/api/v1/devices", json={"id": f"{name}-own"}).json()["key"]
    with HttpBoard(server, f"{name}-own", key, board="page") as own:
        assert own.look() is None
    problem(fitter.post("/api/v1/rollouts", json=body(release, target={"devices": [others]})), 422)
    problem(fitter.post("/api/v1/rollouts", json=body(release, target={"tags": [name]})), 422)
    answer = fitter.post("/api/v1/rollouts", json=body(release))
    assert answer.status_code == 201, answer.text
    path = answer.headers["Location"]
    assert [one["device"] for one in fitter.get(f"{path}/devices").json()["items"]] == [f"{name}-own"]
    theirs = api.post("/api/v1/rollouts", json=body(release, target={"devices": [others]}))
    for verb in ("pause", "resume", "cancel", "retry"):
        problem(fitter.post(f"{theirs.headers['Location']}/{verb}"), 404)
    problem(fitter.get(theirs.headers["Location"]), 404)
    assert [one["by"] for one in fitter.get("/api/v1/rollouts").json()["items"]] == ["roll-fitter"]
    assert api.get(path).status_code == 200
    # A release that a roll-out uses stays.
    problem(api.delete(f"/api/v1/firmware/{release}"), 409)
    for one in (path, theirs.headers["Location"]):
        assert api.post(f"{one}/cancel").status_code == 200
    problem(api.post("/api/v1/rollouts", json=body(release, target={"devices": [f"{name}-unknown"]})), 422)


def test_a_device_that_has_it_or_something_newer_gets_nothing(
    server: RunningServer, api: httpx.Client, release: str, name: str
) -> None:
    boards(server, f"{name}-same", 1, version="2.0.0")
    (newer,) = boards(server, f"{name}-newer", 1, version="2.1.0")
    devices = [f"{name}-same-0", f"{name}-newer-0"]
    found = api.post("/api/v1/rollouts/preview", json=body(release, target={"devices": devices})).json()
    assert (found["devices"], found["skipped"]) == (0, {"current": 1, "newer": 1})
    problem(api.post("/api/v1/rollouts", json=body(release, target={"devices": devices})), 422)
    back = api.post("/api/v1/rollouts", json=body(release, target={"devices": devices}, older=True))
    assert back.status_code == 201, back.text
    assert eventually(newer.update, 10)
    eventually(lambda: api.get(back.headers["Location"]).json()["state"] == "done", 10)
    assert newer.version == "2.0.0"


def test_a_removed_device_takes_its_part_along(
    server: RunningServer, api: httpx.Client, release: str, name: str
) -> None:
    boards(server, name, 2)
    path = api.post("/api/v1/rollouts", json=body(release, target={"tags": [name]})).headers["Location"]
    assert api.delete(f"/api/v1/devices/{name}-0").status_code == 204
    assert [one["device"] for one in api.get(f"{path}/devices").json()["items"]] == [f"{name}-1"]
    assert api.get(path).json()["devices"] == 1
    assert api.post(f"{path}/cancel").status_code == 200


def test_whoever_is_erased_is_named_by_no_roll_out(
    server: RunningServer, api: httpx.Client, release: str, name: str
) -> None:
    boards(server, name, 1)
    boss = person(server, f"{name}-boss", "administrator")
    with contextlib.closing(boss):
        path = boss.post("/api/v1/rollouts", json=body(release, target={"tags": [name]})).headers["Location"]
        assert boss.post(f"{path}/pause").json()["changed_by"] == f"{name}-boss"
    assert api.delete(f"/api/v1/users/{name}-boss", params={"erase": True}).status_code == 204
    found = api.get(path).json()
    assert (found["by"], found["changed_by"]) == ("erased", "erased")
    assert api.post(f"{path}/cancel").status_code == 200


def test_one_that_halted_wants_attention_of_whoever_began_it(
    server: RunningServer, api: httpx.Client, fitter: httpx.Client, release: str, name: str
) -> None:
    (board,) = boards(server, name, 1)
    answer = api.post("/api/v1/rollouts", json=body(release, target={"tags": [name]}))
    assert answer.status_code == 201, answer.text
    rollout = answer.json()["id"]
    assert rollout not in [one["id"] for one in api.get("/api/v1/attention").json()["rollouts"]]
    eventually(lambda: board.update("failed", "flash"), 10)

    def wanted() -> list[dict[str, Any]]:
        return [one for one in api.get("/api/v1/attention").json()["rollouts"] if one["id"] == rollout]

    (found,) = eventually(wanted, 10)
    assert (found["release"], found["state"]) == (release, "halted")
    assert found["reason"] == "1 of 1 failed, more than 20 %"
    assert found["since"] == api.get(f"/api/v1/rollouts/{rollout}").json()["changed"]
    assert rollout not in [one["id"] for one in fitter.get("/api/v1/attention").json()["rollouts"]]
    assert api.post(f"/api/v1/rollouts/{rollout}/cancel").status_code == 200
    assert wanted() == []
