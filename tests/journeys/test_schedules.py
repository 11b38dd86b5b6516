"""A schedule switches a board over real sockets, also one that was made before a crash."""

from pathlib import Path
from typing import Any

import pytest

from tests.journeys.board import Board
from tests.journeys.live import eventually
from tests.running import RunningServer


def make(server: RunningServer, device: str, timing: dict[str, Any], **more: Any) -> str:
    command = {"device": device, "name": "relay", "params": {"state": "on"}}
    body = {"name": "Porch", "timing": timing, "action": {"command": command}, **more}
    answer = server.api.post("/api/v1/schedules", json=body)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def test_a_countdown_switches_a_board_once(secure: RunningServer) -> None:
    with Board(secure, "porch", secure.register("porch")) as board:
        schedule = make(secure, "porch", {"kind": "countdown", "in": 1})
        board.saw(1)
        path = f"/api/v1/schedules/{schedule}"
        done = eventually(lambda: secure.api.get(path).json()["last_run"], 10)
        assert done["asked"] == 1
        command = secure.api.get("/api/v1/devices/porch/commands").json()["items"][0]
        confirmed = secure.api.get(f"/api/v1/devices/porch/commands/{command['id']}", params={"wait": 10}).json()
        assert confirmed["state"] == "confirmed"
        assert (confirmed["origin"], confirmed["by"]) == (f"schedule:{schedule}", "admin")
        shown = secure.api.get(path).json()
        assert (shown["next"], shown["note"]) == (None, "its only time has passed")
    assert board.names() == ["relay"]


def test_what_is_desired_is_there_when_the_board_comes(secure: RunningServer) -> None:
    secure.register("sleepy")
    desired = {"desired": {"device": "sleepy", "values": {"heating": "eco"}}}
    body = {"name": "Night", "timing": {"kind": "countdown", "in": 1}, "action": desired}
    schedule = secure.api.post("/api/v1/schedules", json=body).json()["id"]
    path = "/api/v1/devices/sleepy/desired"
    found = eventually(lambda: (one := secure.api.get(path).json())["values"] and one, 10)
    assert found["values"] == {"heating": "eco"}
    assert found["changed"]["heating"]["by"] == f"schedule:{schedule}"
    last = eventually(lambda: secure.api.get(f"/api/v1/schedules/{schedule}").json()["last_run"], 10)
    assert last["asked"] == 1


@pytest.mark.fault
def test_after_a_crash_a_late_run_is_made_up_for_once(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        key = server.register("porch")
        schedule = make(server, "porch", {"kind": "countdown", "in": 3}, missed="run_once")
        server.kill()
        server.start()
        with Board(server, "porch", key) as board:
            board.saw(1)
            path = f"/api/v1/schedules/{schedule}"
            assert eventually(lambda: server.api.get(path).json()["last_run"], 10)["asked"] == 1
            server.kill()
            server.start()
            assert server.api.get(path).json()["last_run"]["asked"] == 1
        assert board.names() == ["relay"]
