"""Releases of firmware over HTTP: who may bring which, and what a board may ask."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.boards import HttpBoard, image
from tests.http.problems import problem
from tests.journeys.live import eventually
from tests.running import RunningServer

PASSWORD = "a-long-enough-one"


@pytest.fixture(scope="module")
def operator(server: RunningServer) -> Iterator[httpx.Client]:
    body = {"name": "fitter", "password": PASSWORD, "role": "operator"}
    assert server.api.post("/api/v1/users", json=body).status_code == 201
    client = httpx.Client(base_url=server.http, trust_env=False, timeout=20)
    answer = client.post("/api/v1/auth/login", json={"username": "fitter", "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    yield client
    client.close()


def test_a_release_is_uploaded_listed_shown_and_removed(server: RunningServer, api: httpx.Client) -> None:
    data = image("1.4.0", "listed", boot=2, mpy=6, notes="what changed", filler=100_000)
    answer = api.post("/api/v1/firmware", content=data)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == "/api/v1/firmware/listed-1.4.0"
    found = answer.json()
    digest = hashlib.sha256(data).hexdigest()
    assert (found["version"], found["board"], found["boot"], found["mpy"]) == ("1.4.0", "listed", 2, 6)
    assert (found["size"], found["sha256"], found["by"]) == (len(data), digest, "admin")
    assert [one["name"] for one in found["files"]] == ["release.json", "main.py", "filler.html"]
    assert (found["notes"], found["devices"], found["rollouts"]) == ("what changed", 0, [])
    file = server.data / "firmware" / f"{digest}.tar"
    assert file.stat().st_mode & 0o777 == 0o600
    assert api.get("/api/v1/firmware/listed-1.4.0").json() == found
    for version in ("1.10.0", "1.9.0", "1.10.0-rc.1"):
        assert api.post("/api/v1/firmware", content=image(version, "listed")).status_code == 201
    listed = api.get("/api/v1/firmware", params={"board": "listed"}).json()["items"]
    assert [one["version"] for one in listed] == ["1.10.0", "1.10.0-rc.1", "1.9.0", "1.4.0"]
    assert api.get("/api/v1/firmware/listed-1.4.0/image").content == data
    problem(api.post("/api/v1/firmware", content=image("1.4.0", "listed")), 409)
    assert api.delete("/api/v1/firmware/listed-1.4.0").status_code == 204
    assert not file.exists()
    problem(api.get("/api/v1/firmware/listed-1.4.0"), 404)
    problem(api.delete("/api/v1/firmware/listed-1.4.0"), 404)
    actions = [one["action"] for one in api.get("/api/v1/audit", params={"target": "listed-1.4.0"}).json()["items"]]
    assert actions == ["firmware.delete", "firmware.upload"]


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        (b"", "image", "0 bytes"),
        (b"nothing of a tar", "image", "16 bytes"),
        (image("1.4", "wrong"), "release.json.version", "semantic version"),
        (image("1.4.0", "Wrong"), "release.json.board", "a-z 0-9"),
        (image("1.4.0", "wrong", files={"../boot.py": b""}), "image", "../boot.py"),
    ],
)
def test_what_is_no_image_is_refused_by_field_and_limit(api: httpx.Client, data: bytes, field: str, words: str) -> None:
    found = problem(api.post("/api/v1/firmware", content=data), 422)
    assert [one["field"] for one in found["errors"]] == [field]
    assert words in found["detail"]


def test_an_image_has_a_mebibyte(api: httpx.Client) -> None:
    found = problem(api.post("/api/v1/firmware", content=image(filler=1_048_576)), 413)
    assert (found["errors"][0]["field"], found["reason"]) == ("image", "body_too_large")
    assert "1048576 bytes" in found["detail"]


def test_a_smaller_limit_is_kept_to(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_LIMITS__FIRMWARE_MAX_KB": "16"}) as small:
        found = problem(small.api.post("/api/v1/firmware", content=image(filler=20_000)), 413)
        assert found["reason"] == "body_too_large"
        assert "16384 bytes" in found["detail"]


def test_operators_see_releases_and_bring_none(operator: httpx.Client, api: httpx.Client) -> None:
    assert api.post("/api/v1/firmware", content=image("1.0.0", "seen")).status_code == 201
    assert operator.get("/api/v1/firmware/seen-1.0.0").status_code == 200
    assert operator.get("/api/v1/firmware/seen-1.0.0/image").status_code == 403
    assert operator.post("/api/v1/firmware", content=image("1.0.1", "seen")).status_code == 403
    assert operator.delete("/api/v1/firmware/seen-1.0.0").status_code == 403


def test_the_update_key_is_made_once_and_stays(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        found = server.api.get("/api/v1/firmware/key").json()
        assert found["algorithm"] == "ed25519"
        assert base64.b64decode(found["key"]).hex() == found["hex"]
        assert len(found["hex"]) == 64
        file = server.data / "firmware" / "update.key"
        assert file.stat().st_mode & 0o777 == 0o600
        server.restart()
        assert server.api.get("/api/v1/firmware/key").json() == found
        server.stop()
        file.write_text("damaged")
        server.start()
        answer = server.api.get("/api/v1/firmware/key")
        assert answer.status_code == 503, answer.text
        assert "restore it from a backup" in answer.json()["detail"]


def test_leftovers_of_a_crash_go_with_the_next_start(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        data = image()
        assert server.api.post("/api/v1/firmware", content=data).status_code == 201
        server.kill()
        folder = server.data / "firmware"
        (folder / ("0" * 64 + ".tar")).write_bytes(b"x")
        (folder / ("1" * 64 + ".new")).write_bytes(b"x")
        server.start()
        assert sorted(one.name for one in folder.iterdir()) == [f"{hashlib.sha256(data).hexdigest()}.tar"]
        assert server.api.get("/api/v1/firmware/relay-1.4.0/image").content == data


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": ""}, "version"), ({"version": "x" * 33}, "version"), ({"board": ""}, "board"),
        ({"board": "A"}, "board"), ({"boot": "x"}, "boot"), ({"boot": "0"}, "boot"), ({"mpy": "999"}, "mpy"),
    ],
)  # fmt: skip
def test_a_board_that_asks_badly_is_told_and_counted(
    server: RunningServer, api: httpx.Client, name: str, change: dict[str, str], field: str
) -> None:
    with HttpBoard(server, name, server.register(name)) as board:
        found = problem(board.http.get("/api/v1/update", params=board.says | change), 422)
        assert [one["field"] for one in found["errors"]] == [field]
    path = f"/api/v1/devices/{name}/timeline"
    eventually(lambda: "update_malformed" in [one["reason"] for one in api.get(path).json()["items"]], 5)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"release": "relay-1.4.0", "state": "well"}, "state"), ({"state": "healthy"}, "release"),
        ({"release": "r" * 66, "state": "healthy"}, "release"),
        ({"release": "relay-1.4.0", "state": "failed", "reason": "x" * 201}, "reason"),
        ({"release": "relay-1.4.0", "state": "downloading", "percent": 101}, "percent"),
        ({"release": "relay-1.4.0", "state": "downloading", "percent": True}, "percent"),
    ],
)  # fmt: skip
def test_a_report_that_says_nothing_is_refused(
    server: RunningServer, name: str, body: dict[str, Any], field: str
) -> None:
    with HttpBoard(server, name, server.register(name)) as board:
        found = problem(board.http.post("/api/v1/update", json=body), 422)
        assert [one["field"] for one in found["errors"]] == [field]


def test_a_report_about_what_was_never_offered_is_only_a_line_in_the_story(
    server: RunningServer, api: httpx.Client, name: str
) -> None:
    with HttpBoard(server, name, server.register(name)) as board:
        board.report("relay-9.9.9", "healthy", version="9.9.9")
    assert api.get(f"/api/v1/devices/{name}/update").json()["attempts"] == []
    assert api.get(f"/api/v1/devices/{name}/update").json()["version"] == "9.9.9"
    kinds = [one["kind"] for one in api.get(f"/api/v1/devices/{name}/timeline").json()["items"]]
    assert "update_healthy" in kinds


def test_the_fleet_is_filtered_by_what_it_runs(server: RunningServer, api: httpx.Client, name: str) -> None:
    with HttpBoard(server, name, server.register(name), version="7.7.7-only.here") as board:
        assert board.look() is None
    found = api.get("/api/v1/devices", params={"firmware": "7.7.7-only.here"}).json()
    assert [one["id"] for one in found["items"]] == [name]
    assert api.get("/api/v1/devices/facets").json()["firmware"]["7.7.7-only.here"] == 1


def test_versions_in_the_field_are_counted_by_board(
    server: RunningServer, api: httpx.Client, operator: httpx.Client, name: str
) -> None:
    assert api.post("/api/v1/firmware", content=image("1.10.0", "counted")).status_code == 201
    for n, version in enumerate(("1.9.0", "1.10.0", "1.10.0", "own-build")):
        device = f"{name}-{n}"
        with HttpBoard(server, device, server.register(device), board="counted", version=version) as board:
            assert board.look() is None
    server.register(f"{name}-silent")
    found = operator.get("/api/v1/firmware/versions").json()["items"]
    assert [one for one in found if one["board"] == "counted"] == [
        {"board": "counted", "version": "1.10.0", "devices": 2, "release": "counted-1.10.0"},
        {"board": "counted", "version": "1.9.0", "devices": 1, "release": None},
        {"board": "counted", "version": "own-build", "devices": 1, "release": None},
    ]


def test_the_key_may_stand_in_either_header(server: RunningServer, name: str) -> None:
    key = server.register(name)
    params = {"version": "1.0.0", "board": "relay"}
    for headers in ({"X-Device-Token": key}, {"Authorization": f"Bearer {key}"}):
        answer = httpx.get(f"{server.http}/api/v1/update", params=params, headers=headers, trust_env=False)
        assert answer.status_code == 204, answer.text
