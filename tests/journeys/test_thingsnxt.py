"""The acceptance checks of the contract thingsnxt (section 10), over real sockets."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.journeys.live import eventually
from tests.journeys.thingsnxt import App, Board, close_all
from tests.running import RunningServer

UNKNOWN = "0123456789abcdef01234567"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LIMIT = "Too many requests. Please try again later."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"RELEVO_OPEN_REGISTRATION": "true", "RELEVO_THINGSNXT__REQUESTS_PER_MINUTE": "0"}
    with RunningServer(tmp_path_factory.mktemp("thingsnxt") / "data", env=env) as one:
        yield one
        close_all()


@pytest.fixture(scope="module")
def app(server: RunningServer) -> App:
    return App(server)


@pytest.fixture(scope="module")
def other(server: RunningServer) -> App:
    return App(server)


@pytest.fixture
def board(app: App) -> Board:
    return app.add_device()


def detail(answer: httpx.Response) -> Any:
    return answer.json()["detail"]


def test_thingsnxt_01_telemetry_is_merged_and_answered(board: Board) -> None:
    board.report(a=1)
    answer = board.post({"temperature": 22.4, "on": True, "text": "x"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["message"] == "ok"
    assert body["device_id"] == board.id
    assert body["data"] == {"a": 1, "temperature": 22.4, "on": True, "text": "x"}
    assert STAMP.fullmatch(body["timestamp"])


def test_thingsnxt_02_two_posts_are_both_in_latest(board: Board) -> None:
    before = board.http.get("/telemetry/latest", params={"device_token": board.token}).json()
    assert (before["data"], before["timestamp"]) == ({}, None)
    board.report(a=1)
    board.report(b=2)
    assert board.poll() == {"a": 1, "b": 2}


def test_thingsnxt_03_wrong_ids_tokens_and_data(board: Board) -> None:
    wrong = board.post({"a": 1}, device_token="0" * 32)
    assert wrong.status_code == 403
    board_of_nobody = Board(board.server, UNKNOWN, board.token)
    assert board_of_nobody.post({"a": 1}).status_code == 404
    assert Board(board.server, "xyz", board.token).post({"a": 1}).status_code == 400
    bad = board.post(5)
    assert bad.status_code == 422
    assert detail(bad)[0]["loc"] == ["body", "data"]
    assert {"loc", "msg", "type"} == set(detail(bad)[0])
    path = f"/devices/{board.id}/telemetry"
    assert board.http.post(path, json={"data": {}}).status_code == 422
    assert board.http.post(path, json={"device_token": board.token}).status_code == 422
    assert board.http.post(path, content=b"{").status_code == 422
    two = board.http.post(
        path, json={"device_token": board.token, "data": {"a": 1}}, headers={"X-Device-Token": "1" * 32}
    )
    assert two.status_code == 403
    assert board.post({f"k{n}": n for n in range(65)}).status_code == 413
    assert board.post({f"k{n}": "x" * 256 for n in range(40)}).status_code == 413
    assert board.poll() == {}


def test_thingsnxt_04_legacy_telemetry_by_token_alone(board: Board) -> None:
    answer = board.http.post("/telemetry", json={"device_token": board.token, "data": {"v0": 1, "t": 20}})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["message"], body["device_id"], body["led"]) == ("ok", board.id, 1)
    assert body["updated_data"] == {"v0": 1, "t": 20}
    unknown = board.http.post("/telemetry", json={"device_token": "f" * 32, "data": {"v0": 1}})
    assert unknown.status_code == 404
    assert board.http.post("/telemetry", json={"data": {"v0": 1}}).status_code == 400


def test_thingsnxt_05_latest_by_each_form_of_token(board: Board) -> None:
    board.report(a=1)
    path = "/telemetry/latest"
    assert board.http.get(path, params={"device_token": board.token}).status_code == 200
    assert board.http.get(path).status_code == 422
    assert board.http.get(path, params={"device_token": "e" * 32}).status_code == 404
    for headers in ({"X-Device-Token": board.token}, {"Authorization": f"Bearer {board.token}"}):
        answer = board.http.get(path, headers=headers)
        assert answer.status_code == 200
        assert answer.json()["data"] == {"a": 1}
        assert STAMP.fullmatch(answer.json()["timestamp"])


def test_thingsnxt_06_a_switch_reaches_device_and_owner_alone(app: App, other: App, board: Board) -> None:
    widget = app.add_switch(board)
    assert widget["config"]["virtual_pin"] == "v0"
    board.report(v0=0)
    with app.listen() as mine, other.listen() as foreign:
        begun = time.monotonic()
        answer = app.switch(widget, 1)
        assert answer.status_code == 200
        assert {name: answer.json()[name] for name in ("message", "state", "virtual_pin")} == {
            "message": "ok",
            "state": 1,
            "virtual_pin": "v0",
        }
        told = mine.wait_for("telemetry_update", device_id=board.id)
        assert told["data"]["v0"] == 1
        shown = mine.wait_for("widget_update", dashboard_id=widget["dashboard_id"])
        assert (shown["widget"]["_id"], shown["widget"]["value"]) == (widget["_id"], 1)
        assert time.monotonic() - begun < 1
        assert foreign.silent()
    assert board.poll()["v0"] == 1


def test_thingsnxt_07_an_old_value_does_not_erase_the_wish(app: App, board: Board) -> None:
    widget = app.add_switch(board)
    board.report(v0=0)
    assert app.switch(widget, 1).status_code == 200
    assert board.report(v0=0)["v0"] == 1
    assert board.poll()["v0"] == 1
    assert board.report(v0=1)["v0"] == 1
    # Settled: what the device is from now on is its own.
    assert board.report(v0=0)["v0"] == 0
    assert board.poll()["v0"] == 0


def test_thingsnxt_08_bad_states_and_strangers(app: App, other: App, board: Board) -> None:
    widget = app.add_switch(board)
    for bad in (5, -1, None, "on", 0.5, [], {}):
        assert app.switch(widget, bad).status_code == 400, bad
    assert app.http.post(f"/widgets/{widget['_id']}/state", json={}).status_code == 400
    for good in (True, False, "0", "1", 0):
        assert app.switch(widget, good).status_code == 200, good
    assert other.switch(widget, 1).status_code in (403, 404)
    nobody = board.http.post(f"/widgets/{widget['_id']}/state", json={"state": 1})
    assert nobody.status_code == 401
    assert detail(nobody) == "Could not validate credentials"
    assert nobody.headers["www-authenticate"] == "Bearer"
    plain = app.http.post(
        "/widgets", json={"dashboard_id": widget["dashboard_id"], "device_id": board.id, "type": "gauge"}
    )
    assert app.switch(plain.json(), 1).status_code == 400
    alone = app.http.post("/widgets", json={"dashboard_id": widget["dashboard_id"], "type": "led"})
    assert app.switch(alone.json(), 1).status_code == 400


def test_thingsnxt_09_the_hundred_and_first_request(tmp_path_factory: pytest.TempPathFactory) -> None:
    env = {"RELEVO_OPEN_REGISTRATION": "true"}
    with RunningServer(tmp_path_factory.mktemp("limited") / "data", env=env) as server:
        app = App(server)
        loud, quiet = app.add_device(), app.add_device()
        statuses = [
            loud.http.get("/telemetry/latest", params={"device_token": loud.token}).status_code for _ in range(100)
        ]
        assert statuses == [200] * 100
        refused = loud.post({"a": 1})
        assert refused.status_code == 429
        assert detail(refused) == LIMIT
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert loud.http.get("/health").status_code == 200
        assert quiet.post({"a": 1}).status_code == 200
        for _ in range(101):
            answer = app.http.get("/me")
        assert answer.status_code == 429
        for path in ("/health", "/health/", "/HEALTH", "/docs", "/openapi.json", "/"):
            assert app.http.get(path).status_code != 429, path
        assert app.http.post("/logout").status_code == 200


def test_thingsnxt_10_logout_twice(server: RunningServer) -> None:
    person = App(server)
    first, second = person.http.post("/logout"), person.http.post("/logout")
    assert (first.status_code, second.status_code) == (200, 200)
    assert (first.json()["tokens_deleted"], first.json()["already_logged_out"]) == (1, False)
    assert (second.json()["tokens_deleted"], second.json()["already_logged_out"]) == (0, True)
    assert person.http.get("/me").status_code == 401
    refreshed = person.http.post("/refresh", params={"refresh_token": person.refresh})
    assert refreshed.status_code == 401


def close_code(server: RunningServer, query: str) -> int:
    with connect(f"ws://127.0.0.1:{server.http_port}/ws{query}", proxy=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


def test_thingsnxt_11_the_websocket_and_its_codes(server: RunningServer, app: App, board: Board) -> None:
    assert close_code(server, "") == 1008
    assert close_code(server, "?token=garbage") == 4401
    assert close_code(server, f"?token={app.refresh}") == 1008
    assert close_code(server, f"?token={board.token}") == 1008
    with app.listen() as ears:
        ears.socket.send('{"type": "ping"}')
        assert STAMP.fullmatch(ears.next()["timestamp"])
        ears.socket.send('{"type": "subscribe", "channels": ["telemetry"]}')
        assert ears.next() == {"type": "subscribed", "channels": ["telemetry"]}
        ears.socket.send("{no json")
        assert ears.next()["type"] == "error"
        assert ears.silent()
        assert board.http.get("/health").json()["websocket_connections"] >= 1
    ticket = app.http.post("/api/v1/auth/ticket").json()["ticket"]
    with connect(f"ws://127.0.0.1:{server.http_port}/ws?token={ticket}", proxy=None) as socket:
        assert json.loads(socket.recv(timeout=5))["type"] == "connected"
    header = {"Authorization": f"Bearer {app.access}"}
    with connect(f"ws://127.0.0.1:{server.http_port}/ws", proxy=None, additional_headers=header) as socket:
        assert json.loads(socket.recv(timeout=5))["type"] == "connected"


def test_thingsnxt_12_events_as_a_stream(server: RunningServer, other: App) -> None:
    # Boards of the other tests go silent meanwhile.
    app = App(server)
    timeout = httpx.Timeout(10, read=35)
    with app.http.stream("GET", "/events/stream", timeout=timeout) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        begun = time.monotonic()
        lines = answer.iter_lines()
        board, foreign = None, other.add_device()
        seen: list[dict[str, Any]] = []
        for line in lines:
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
                if board is None:
                    board = app.add_device(name="Seen")
                    board.report(a=1)
                    foreign.report(a=2)
                    assert app.http.delete(f"/devices/{board.id}").status_code == 200
            if line == ": keepalive":
                break
        assert time.monotonic() - begun < 31
    assert board is not None
    assert [one["type"] for one in seen] == [
        "connected",
        "device_added",
        "telemetry_update",
        "status_update",
        "device_removed",
    ]
    assert all(one.get("device_id", board.id) == board.id for one in seen)
    assert "device_token" not in json.dumps(seen)
    assert board.token not in json.dumps(seen)


def test_thingsnxt_13_silence_is_told_once(app: App, board: Board) -> None:
    with app.listen() as ears:
        board.report(a=1)
        ears.wait_for("status_update", status="online")
        begun = time.monotonic()
        told: list[dict[str, Any]] = []
        while time.monotonic() - begun < 26:
            # Polling is no telemetry.
            board.poll()
            ears.socket.send('{"type": "ping"}')
            while (message := ears.next())["type"] != "pong":
                told.append(message | {"after": time.monotonic() - begun})
            time.sleep(1)
    offline = [one for one in told if one["type"] == "status_update"]
    assert [one["status"] for one in offline] == ["offline"]
    assert 19 < offline[0]["after"] < 40
    shown = {one["id"]: one for one in app.http.get("/devices").json()}[board.id]
    assert shown["status"] == "offline"


def test_thingsnxt_14_no_token_in_any_log(server: RunningServer, app: App, board: Board) -> None:
    board.poll()
    for query in (f"device_token={board.token}", f"token={app.access}", f"refresh_token={app.refresh}"):
        board.http.get(f"/nothing?{query}")
        board.http.get(f"/telemetry/latest?{query}")
    eventually(lambda: board.http.get("/health").status_code == 200)
    log = server.log.read_text(errors="replace")
    for secret in (board.token, app.access, app.refresh):
        assert secret not in log
    story = server.api.get(f"/api/v1/devices/{board.id}/timeline").text
    assert board.token not in story
