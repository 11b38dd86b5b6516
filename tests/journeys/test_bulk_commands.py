"""One command to a selection of devices: paced, told per device, stopped when too much fails, and gone on with."""

import contextlib
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journeys.board import Board
from tests.journeys.live import eventually
from tests.running import RunningServer


def register(server: RunningServer, name: str, **more: Any) -> str:
    answer = server.api.post("/api/v1/devices", json={"id": name, "name": name, "type": "relay", **more})
    assert answer.status_code == 201, answer.text
    return server.canaries.plant(answer.json()["key"])


def ask(server: RunningServer, selection: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"selection": selection, "name": "relay", "params": {"state": True}, "rate": 500} | more
    return server.api.post("/api/v1/bulk-commands", json=body)


def over(server: RunningServer, bulk: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/v1/bulk-commands/{bulk['id']}"
    return eventually(lambda: (now := server.api.get(path).json())["state"] != "running" and now, 20)


def test_a_selection_is_told_and_every_outcome_is_seen(secure: RunningServer) -> None:
    server = secure
    with contextlib.ExitStack() as stack:
        boards = {}
        for n in range(6):
            name = f"hall-{n}"
            key = register(server, name, tags=["hall"] if n < 4 else ["yard"])
            boards[name] = stack.enter_context(Board(server, name, key))
        boards["hall-1"].answer = lambda command: {"id": command["id"], "ok": False, "error": "jammed"}
        answer = ask(server, {"tags": ["hall"], "type": "relay"})
        assert answer.status_code == 202, answer.text
        bulk = answer.json()
        assert answer.headers["Location"] == f"/api/v1/bulk-commands/{bulk['id']}"
        assert bulk["devices"] == 4
        done = over(server, bulk)
        assert done["state"] == "done"
        assert done["progress"] == {"confirmed": 3, "failed": 1, "refused": 0, "waiting": 0}
        outcomes = server.api.get(f"/api/v1/bulk-commands/{bulk['id']}/commands").json()
        told = {one["device"]: (one["state"], one["reason"]) for one in outcomes["items"]}
        assert told["hall-1"] == ("failed", "jammed")
        assert {name for name, (state, _) in told.items() if state == "confirmed"} == {"hall-0", "hall-2", "hall-3"}
        assert {one["origin"] for one in outcomes["items"]} == {f"bulk:{bulk['id']}"}
        assert [len(board.executed) for board in boards.values()] == [1, 1, 1, 1, 0, 0]
        listed = server.api.get("/api/v1/bulk-commands").json()["items"]
        assert bulk["id"] in [one["id"] for one in listed]


def test_it_stops_when_too_much_fails(secure: RunningServer) -> None:
    server = secure
    with contextlib.ExitStack() as stack:
        for n in range(30):
            name = f"bad-{n:02}"
            board = Board(server, name, register(server, name, site="cellar"))
            board.answer = lambda command: {"id": command["id"], "ok": False, "error": "no"}
            if n < 15:
                stack.enter_context(board)
        stopped = over(server, ask(server, {"site": "cellar"}, stop_share=0.5, rate=20).json())
        assert stopped["state"] == "stopped"
        assert "did not succeed" in stopped["reason"]
        assert stopped["progress"]["waiting"] > 10
        assert stopped["progress"]["failed"] >= 5


def test_it_keeps_to_its_rate(secure: RunningServer) -> None:
    for n in range(6):
        register(secure, f"slow-{n}", site="slow")
    bulk = ask(secure, {"site": "slow"}, rate=10, ttl=1).json()
    done = over(secure, bulk)
    items = secure.api.get(f"/api/v1/bulk-commands/{bulk['id']}/commands").json()["items"]
    times = sorted(datetime.fromisoformat(one["created"]) for one in items)
    assert done["progress"]["expired"] == 6
    assert (times[-1] - times[0]).total_seconds() >= 0.45


def test_one_can_be_cancelled(secure: RunningServer) -> None:
    for n in range(5):
        register(secure, f"off-{n}", site="off")
    bulk = ask(secure, {"site": "off"}, rate=1).json()
    eventually(lambda: secure.api.get(f"/api/v1/bulk-commands/{bulk['id']}").json()["progress"].get("queued"))
    ended = secure.api.delete(f"/api/v1/bulk-commands/{bulk['id']}").json()
    assert (ended["state"], ended["reason"]) == ("cancelled", "by admin")
    assert ended["progress"]["waiting"] >= 3
    assert "queued" not in ended["progress"]


@pytest.mark.fault
def test_a_restart_goes_on_and_tells_nobody_twice(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server, contextlib.ExitStack() as stack:
        boards = []
        for n in range(20):
            board = Board(server, f"b-{n:02}", register(server, f"b-{n:02}", site="here"))
            boards.append(stack.enter_context(board))
        bulk = ask(server, {"site": "here"}, rate=10, ttl=60).json()
        eventually(lambda: sum(len(board.executed) for board in boards) >= 5)
        server.kill()
        server.start()
        done = over(server, bulk)
        assert done["state"] == "done"
        assert [len(board.executed) for board in boards] == [1] * 20
        assert done["progress"].get("confirmed", 0) + done["progress"].get("timed_out", 0) == 20
        assert done["progress"]["confirmed"] >= 18


@pytest.mark.parametrize(
    ("selection", "more", "field"),
    [
        ({}, {}, "selection"),
        ({"devices": ["nobody"]}, {}, "devices"),
        ({"tags": ["no-such-tag"]}, {}, "selection"),
        ({"site": "x"}, {"rate": 0}, "rate"),
        ({"site": "x"}, {"stop_share": 2}, "stop_share"),
    ],
)
def test_what_selects_nothing_is_refused(
    secure: RunningServer, selection: dict[str, Any], more: dict[str, Any], field: str
) -> None:
    answer = ask(secure, selection, **more)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_nobody_commands_other_peoples_devices_by_a_selection(secure: RunningServer) -> None:
    register(secure, "theirs", site="theirs")
    body = {"name": "olga", "password": "a-long-enough-one", "role": "operator"}
    assert secure.api.post("/api/v1/users", json=body).status_code == 201
    login = {"username": "olga", "password": "a-long-enough-one"}
    token = httpx.post(f"{secure.http}/api/v1/auth/login", json=login, trust_env=False).json()["access_token"]
    answer = httpx.post(
        f"{secure.http}/api/v1/bulk-commands",
        json={"selection": {"site": "theirs"}, "name": "relay"},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    assert answer.status_code == 422
    assert "no device that you may control" in answer.text
    own = ask(secure, {"site": "theirs"}, ttl=1).json()
    path = f"{secure.http}/api/v1/bulk-commands/{own['id']}"
    assert httpx.get(path, headers={"Authorization": f"Bearer {token}"}, trust_env=False).status_code == 404
