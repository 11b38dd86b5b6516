"""Boards get another firmware, over HTTP and over MQTT, in waves; what fails stops the rest."""

import contextlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.boards import HttpBoard, MqttBoard, image
from tests.journeys.live import eventually
from tests.running import RunningServer


def upload(server: RunningServer, data: bytes) -> dict[str, Any]:
    answer = server.api.post("/api/v1/firmware", content=data, headers={"Content-Type": "application/x-tar"})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def roll_out(server: RunningServer, release: str, target: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"release": release, "target": target, "waves": [100], "wave_pause_s": 0} | more
    answer = server.api.post("/api/v1/rollouts", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def now(server: RunningServer, rollout: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = server.api.get(f"/api/v1/rollouts/{rollout['id']}").json()
    return found


def until(server: RunningServer, rollout: dict[str, Any], state: str) -> dict[str, Any]:
    return eventually(lambda: (found := now(server, rollout))["state"] == state and found, 20)


def states(server: RunningServer, rollout: dict[str, Any]) -> dict[str, str]:
    items = server.api.get(f"/api/v1/rollouts/{rollout['id']}/devices", params={"limit": 500}).json()["items"]
    return {one["device"]: one["state"] for one in items}


def register(server: RunningServer, name: str, **more: Any) -> str:
    answer = server.api.post("/api/v1/devices", json={"id": name, "name": name, "type": "board", **more})
    assert answer.status_code == 201, answer.text
    return server.canaries.plant(answer.json()["key"])


def test_a_board_gets_a_release_over_http(secure: RunningServer) -> None:
    server = secure
    data = image("1.4.0", "first", filler=40_000)
    release = upload(server, data)
    assert (release["id"], release["size"]) == ("first-1.4.0", len(data))
    public = bytes.fromhex(server.api.get("/api/v1/firmware/key").json()["hex"])
    with HttpBoard(server, "http-1", register(server, "http-1"), board="first", public_key=public) as board:
        assert board.look() is None
        rollout = roll_out(server, "first-1.4.0", {"devices": ["http-1"]})
        found = eventually(board.look, 10)
        board.report(found["release"], "accepted")
        # Half of it, then a reset: it goes on behind what is there.
        answer = board.http.get(
            "/api/v1/update/image", params={"release": found["release"]}, headers={"Range": "bytes=0-19999"}
        )
        board.flash = answer.content
        board.report(found["release"], "downloading", percent=50)
        assert states(server, rollout) == {"http-1": "downloading"}
        board.install(found, board.download(found))
        board.report(found["release"], "trial", version="1.4.0")
        assert states(server, rollout) == {"http-1": "trial"}
        board.report(found["release"], "healthy", version="1.4.0")
        done = until(server, rollout, "done")
        assert (done["states"], done["devices"], done["settled"]) == ({"updated": 1}, 1, 1)
        assert board.look() is None
    shown = server.api.get("/api/v1/devices/http-1/update").json()
    assert (shown["version"], shown["board"], shown["boot"], shown["mpy"]) == ("1.4.0", "first", 1, 6)
    assert [(one["rollout"], one["state"]) for one in shown["attempts"]] == [(rollout["id"], "updated")]
    attributes = server.api.get("/api/v1/devices/http-1").json()["attributes"]
    assert attributes["firmware_version"] == "1.4.0"
    story = server.api.get("/api/v1/devices/http-1/timeline").json()["items"]
    kinds = [one["kind"] for one in story]
    for kind in ("update_offered", "update_accepted", "update_trial", "update_healthy"):
        assert kind in kinds, kinds
