"""Boards get another firmware, over HTTP and over MQTT, in waves; what fails stops the rest."""

import contextlib
import json
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
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


def claim(server: RunningServer, contract: str, external_id: str) -> tuple[str, str]:
    """A device of another contract, and a key for it."""
    taken = server.api.post("/api/v1/claims", json={"contract": contract, "external_id": external_id})
    assert taken.status_code in (200, 201), taken.text
    device = server.api.get("/api/v1/devices", params={"search": external_id}).json()["items"][0]["id"]
    made = server.api.post(f"/api/v1/devices/{device}/credentials/keys", json={})
    assert made.status_code == 201, made.text
    return device, server.canaries.plant(made.json()["key"])


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


def test_a_board_gets_a_release_over_mqtt_in_pieces_of_which_some_are_lost(secure: RunningServer) -> None:
    server = secure
    upload(server, image("2.0.0", "wired", mpy=6, files={"main.mpy": b"M\x06" + bytes(30_000)}))
    public = bytes.fromhex(server.api.get("/api/v1/firmware/key").json()["hex"])
    with MqttBoard(server, "mqtt-1", register(server, "mqtt-1"), board="wired", public_key=public) as board:
        assert board.look() is None
        assert server.api.get("/api/v1/devices/mqtt-1").json()["attributes"]["firmware_board"] == "wired"
        assert board.piece("wired-2.0.0", 0, 1_024) == b"", "it was not offered yet"
        rollout = roll_out(server, "wired-2.0.0", {"devices": ["mqtt-1"]})
        # It is told at once, through the ledger, for as long as the roll-out lasts.
        command = board.commands.get(timeout=10)
        assert (command["name"], command["params"]) == ("update", {"release": "wired-2.0.0"})
        board.say("response", {"id": command["id"], "ok": True})
        found = board.look()
        assert found is not None
        board.report(found["release"], "accepted")
        board.lost = {4_096, 8_192, 20_480}
        board.install(found, board.download(found, 4_096, 1.0))
        assert not board.lost
        board.report(found["release"], "downloading", percent=100)
        board.report(found["release"], "trial", version=board.version)
        board.report(found["release"], "healthy", version=board.version)
        done = until(server, rollout, "done")
        assert done["states"] == {"updated": 1}
        # What is said once more, because its acknowledgement was lost, changes nothing.
        board.report(found["release"], "healthy", version=board.version)
        board.report(found["release"], "rolled_back", reason="tries")
        assert states(server, rollout) == {"mqtt-1": "updated"}
        assert board.look() is None
    asked = server.api.get("/api/v1/devices/mqtt-1/commands").json()["items"]
    assert [(one["name"], one["state"], one["origin"]) for one in asked] == [
        ("update", "confirmed", f"rollout:{rollout['id']}")
    ]


def test_a_relay_board_hears_in_the_words_of_its_contract(secure: RunningServer) -> None:
    server = secure
    upload(server, image("1.0.1", "relay16"))
    uuid = "550e8400-e29b-41d4-a716-446655440000"
    device, key = claim(server, "autocore", uuid)
    with MqttBoard(
        server, device, key, f"autocore/devices/{uuid}", identity=uuid, board="relay16", version="1.0.0"
    ) as board:
        assert board.look() is None
        rollout = roll_out(server, "relay16-1.0.1", {"devices": [device]})
        command = board.commands.get(timeout=10)
        assert (command["type"], command["release"]) == ("update", "relay16-1.0.1")
        board.say("response", {"type": "update", "release": command["release"], "request_id": command["request_id"]})
        found = board.look()
        assert found is not None
        assert found["device"] == uuid
        board.install(found, board.download(found, 16_384))
        for state in ("accepted", "trial", "healthy"):
            board.report(found["release"], state)
        until(server, rollout, "done")
    asked = server.api.get(f"/api/v1/devices/{device}/commands").json()["items"]
    assert [(one["name"], one["state"], one["result"]) for one in asked] == [("update", "confirmed", "relay16-1.0.1")]


def test_a_water_meter_is_told_to_look(secure: RunningServer) -> None:
    server = secure
    upload(server, image("1.0.1", "meter"))
    device, key = claim(server, "hidrometro", "M-1")
    path = f"/api/v1/devices/{device}/commands"
    with HttpBoard(server, device, key, identity="M-1", board="meter", version="1.0.0") as board:
        assert board.look() is None
        rollout = roll_out(server, "meter-1.0.1", {"devices": [device]})
        asked = eventually(lambda: server.api.get(path).json()["items"], 10)
        assert [(one["name"], one["params"], one["state"]) for one in asked] == [("update", {}, "queued")]
        assert board.update()
        until(server, rollout, "done")
        # Nobody tells it any more: the roll-out is over.
        eventually(lambda: server.api.get(path).json()["items"][0]["state"] == "cancelled", 10)


def test_no_board_gets_what_is_anothers(secure: RunningServer, tmp_path: Path) -> None:
    server = secure
    upload(server, image("1.0.0", "mine"))
    keys = {name: register(server, name) for name in ("mine-1", "mine-2")}
    one = HttpBoard(server, "mine-1", keys["mine-1"], board="mine", version="0.9.0")
    two = HttpBoard(server, "mine-2", keys["mine-2"], board="mine", version="0.9.0")
    with one, two:
        assert one.look() is None
        assert two.look() is None
        roll_out(server, "mine-1.0.0", {"devices": ["mine-1"]})
        found = eventually(one.look, 10)
        assert two.look() is None
        assert two.http.get("/api/v1/update/image", params={"release": found["release"]}).status_code == 404
        assert one.http.get("/api/v1/update/image", params={"release": "mine-9.9.9"}).status_code == 404
        # Over MQTT the second may not even ask on the first one's topic.
        with MqttBoard(server, "mine-2", keys["mine-2"], board="mine") as board:
            assert board.piece(found["release"], 0, 1_024) == b""
            board.client.publish(
                "relevo/mine-1/update/get", json.dumps({"want": "manifest", **board.says}), qos=1
            ).wait_for_publish(10)
        refused = eventually(
            lambda: [
                line
                for line in server.api.get("/api/v1/devices/mine-2/timeline").json()["items"]
                if line["reason"] == "topic_not_allowed"
            ],
            5,
        )
        assert "mine-1" in refused[0]["detail"]
        # Its manifest is worth nothing to who has another key.
        two.device = two.identity = "mine-1"
        raw = one.http.get("/api/v1/update", params=one.says).content
        with pytest.raises(AssertionError, match="signature"):
            two.verified(raw)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-Device-Token": "wrong"}):
        for method, path in (("GET", ""), ("GET", "/image?release=mine-1.0.0"), ("POST", "")):
            answer = httpx.request(method, f"{server.http}/api/v1/update{path}", headers=headers, trust_env=False)
            assert answer.status_code == 401, (method, path, answer.text)
    assert server.api.get("/api/v1/update", params=one.says).status_code == 403


def fleet(
    server: RunningServer, stack: contextlib.ExitStack, prefix: str, count: int, board: str
) -> dict[str, HttpBoard]:
    """Boards over HTTP that have said what they are."""
    boards = {}
    for n in range(count):
        name = f"{prefix}-{n:02}"
        key = register(server, name, tags=[prefix])
        boards[name] = stack.enter_context(HttpBoard(server, name, key, board=board))
        assert boards[name].look() is None
    return boards


def test_a_bad_image_halts_in_the_second_wave_and_the_rest_stays_untouched(secure: RunningServer) -> None:
    server = secure
    upload(server, image("3.0.0", "many"))
    with contextlib.ExitStack() as stack:
        boards = fleet(server, stack, "many", 20, "many")
        rollout = roll_out(server, "many-3.0.0", {"tags": ["many"]}, waves=[10, 50, 100], halt_percent=20, halt_least=3)
        assert [one["devices"] for one in rollout["waves"]] == [2, 8, 10]
        order = server.api.get(f"/api/v1/rollouts/{rollout['id']}/devices").json()["items"]
        waves = [[one["device"] for one in order if one["wave"] == n] for n in (1, 2, 3)]
        eventually(lambda: now(server, rollout)["waves_begun"] == 1, 10)
        assert not any(boards[name].look() for name in waves[1] + waves[2]), "it is not their turn"
        assert all(boards[name].update() for name in waves[0])
        eventually(lambda: now(server, rollout)["waves_begun"] == 2, 10)
        turn = iter(waves[1])
        for outcome in ("healthy", "rolled_back"):
            assert boards[next(turn)].update(outcome, "tries" if outcome == "rolled_back" else "")
        halted = until(server, rollout, "halted")
        assert halted["reason"] == "1 of 4 failed, more than 20 %"
        assert halted["states"] == {"rolled_back": 1, "updated": 3, "waiting": 16}
        assert not any(boards[name].look() for name in (*turn, *waves[2]))
        assert halted["waves_begun"] == 2
        notices = server.api.get("/api/v1/notifications").json()["items"]
        assert [one["title"] for one in notices if one["source"] == f"rollout:{rollout['id']}"] == [
            "The roll-out of many-3.0.0 was halted"
        ]
        # Somebody has seen what failed, and goes on.
        assert server.api.post(f"/api/v1/rollouts/{rollout['id']}/resume").json()["state"] == "running"
        eventually(lambda: boards[waves[1][2]].update(), 10)
        assert now(server, rollout)["state"] == "running"
        ended = server.api.post(f"/api/v1/rollouts/{rollout['id']}/cancel").json()
        assert ended["state"] == "cancelled"
        assert ended["states"] == {"cancelled": 15, "rolled_back": 1, "updated": 4}
        assert server.api.post(f"/api/v1/rollouts/{rollout['id']}/resume").status_code == 409
        versions = sorted(one.version for one in boards.values())
        assert versions == ["1.3.0"] * 16 + ["3.0.0"] * 4


def test_nothing_is_forgotten_when_the_server_is_killed(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server, contextlib.ExitStack() as stack:
        upload(server, image("1.4.0", "sturdy", filler=60_000))
        boards = fleet(server, stack, "sturdy", 4, "sturdy")
        rollout = roll_out(server, "sturdy-1.4.0", {"tags": ["sturdy"]}, waves=[50, 100])
        order = server.api.get(f"/api/v1/rollouts/{rollout['id']}/devices").json()["items"]
        first = [boards[one["device"]] for one in order if one["wave"] == 1]
        then = [boards[one["device"]] for one in order if one["wave"] == 2]
        found = eventually(first[0].look, 10)
        first[0].report(found["release"], "accepted")
        answer = first[0].http.get(
            "/api/v1/update/image", params={"release": found["release"]}, headers={"Range": "bytes=0-29999"}
        )
        first[0].flash = answer.content
        first[0].report(found["release"], "downloading", percent=40)
        server.kill()
        server.restart()
        assert [
            (one["device"], one["state"], one["percent"])
            for one in server.api.get(f"/api/v1/rollouts/{rollout['id']}/devices").json()["items"]
            if one["state"] != "waiting"
        ] == [(first[0].device, "downloading", 40)]
        # The same offer, so what is on the flash is still good.
        assert first[0].look() == found
        first[0].install(found, first[0].download(found))
        for state in ("downloading", "trial", "healthy"):
            first[0].report(found["release"], state, **({"percent": 100} if state == "downloading" else {}))
        assert not any(one.look() for one in then)
        assert first[1].update()
        eventually(lambda: now(server, rollout)["waves_begun"] == 2, 10)
        server.kill()
        server.restart()
        assert all(eventually(one.update, 10) for one in then)
        assert until(server, rollout, "done")["states"] == {"updated": 4}
        # A person is told once, whatever came in between.
        notices = server.api.get("/api/v1/notifications").json()["items"]
        assert [one["title"] for one in notices] == ["The roll-out of sturdy-1.4.0 is over"]


def test_a_board_that_is_off_holds_nobody_up_and_gets_it_later(secure: RunningServer) -> None:
    server = secure
    upload(server, image("1.4.0", "sleepy"))
    with contextlib.ExitStack() as stack:
        boards = fleet(server, stack, "sleepy", 4, "sleepy")
        rollout = roll_out(server, "sleepy-1.4.0", {"tags": ["sleepy"]}, waves=[50, 100], patience_s=1, halt_percent=0)
        order = server.api.get(f"/api/v1/rollouts/{rollout['id']}/devices").json()["items"]
        absent, there = (one["device"] for one in order if one["wave"] == 1)
        eventually(lambda: boards[there].update(), 10)
        for one in (one["device"] for one in order if one["wave"] == 2):
            assert eventually(boards[one].update, 20)
        assert now(server, rollout)["states"] == {"updated": 3, "waiting": 1}
        assert now(server, rollout)["state"] == "running"
        assert boards[absent].update()
        until(server, rollout, "done")


def test_a_pause_keeps_the_image_back_and_a_retry_brings_it_again(secure: RunningServer) -> None:
    server = secure
    upload(server, image("1.4.0", "calm"))
    with contextlib.ExitStack() as stack:
        ((name, board),) = fleet(server, stack, "calm", 1, "calm").items()
        rollout = roll_out(server, "calm-1.4.0", {"devices": [name]}, halt_percent=100)
        path = f"/api/v1/rollouts/{rollout['id']}"
        found = eventually(board.look, 10)
        board.report(found["release"], "accepted")
        assert server.api.post(f"{path}/pause").json()["state"] == "paused"
        assert board.http.get("/api/v1/update/image", params={"release": found["release"]}).status_code == 409
        assert board.look() is None
        assert server.api.post(f"{path}/pause").status_code == 409
        assert server.api.post(f"{path}/resume").json()["state"] == "running"
        board.report(found["release"], "failed", reason="hash")
        done = until(server, rollout, "done")
        assert done["states"] == {"failed": 1}
        assert board.http.get("/api/v1/update/image", params={"release": found["release"]}).status_code == 404
        again = server.api.post(f"{path}/retry").json()
        assert (again["state"], again["states"], again["ended"]) == ("running", {"waiting": 1}, None)
        later = eventually(board.look, 10)
        assert later["issued"] > found["issued"]
        board.install(later, board.download(later))
        for state in ("accepted", "trial", "healthy"):
            board.report(found["release"], state)
        assert until(server, rollout, "done")["states"] == {"updated": 1}
        assert server.api.post(f"{path}/retry").status_code == 409
        (item,) = server.api.get(f"{path}/devices").json()["items"]
        assert item["attempts"] == 2


def test_a_board_that_never_said_what_it_is_comes_in_when_it_does(secure: RunningServer) -> None:
    server = secure
    upload(server, image("1.4.0", "shy"))
    with HttpBoard(server, "shy-1", register(server, "shy-1"), board="shy") as board:
        rollout = roll_out(server, "shy-1.4.0", {"devices": ["shy-1"]}, deadline_s=600)
        assert states(server, rollout) == {"shy-1": "skipped"}
        (item,) = server.api.get(f"/api/v1/rollouts/{rollout['id']}/devices").json()["items"]
        assert item["reason"] == "unknown_board"
        eventually(lambda: now(server, rollout)["waves_begun"] == 1, 10)
        assert eventually(board.update, 10)
        assert states(server, rollout) == {"shy-1": "updated"}


def test_nobody_gets_firmware_without_a_credential_of_their_own(lab: RunningServer) -> None:
    name = "lab-board"
    register(lab, name)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", lab.mqtt_port)
    client.loop_start()
    asked = json.dumps({"want": "manifest", "version": "1.0.0", "board": "relay"})
    client.publish(f"relevo/{name}/update/get", asked, qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()
    story = f"/api/v1/devices/{name}/timeline"
    eventually(lambda: "update_unproven" in [one["reason"] for one in lab.api.get(story).json()["items"]], 5)
    assert "firmware_board" not in lab.api.get(f"/api/v1/devices/{name}").json()["attributes"]


def test_a_board_with_another_key_is_signed_for_with_that(secure: RunningServer) -> None:
    server = secure
    upload(server, image("1.4.0", "rotated"))
    old = register(server, "rotated-1")
    with MqttBoard(server, "rotated-1", old, board="rotated") as board:
        assert board.look() is None
        roll_out(server, "rotated-1.4.0", {"devices": ["rotated-1"]})
        board.commands.get(timeout=10)
        answer = server.api.post("/api/v1/devices/rotated-1/credentials/key/rotate", json={"grace_s": 600})
        assert answer.status_code == 200, answer.text
        # The connection is still the one that the old key opened.
        assert board.look() is not None
    board.key = server.canaries.plant(answer.json()["key"])
    with MqttBoard(server, "rotated-1", board.key, board="rotated") as again:
        assert again.look() is not None
    with HttpBoard(server, "rotated-1", old, board="rotated") as third:
        assert third.look() is not None
        third.key = board.key
        with pytest.raises(AssertionError, match="signature"):
            third.look()


def test_a_board_that_asks_badly_is_told_in_its_story_and_nothing_else_is_lost(secure: RunningServer) -> None:
    server = secure
    with MqttBoard(server, "clumsy-1", register(server, "clumsy-1")) as board:
        for body in ({"want": "image", "release": "x", "offset": -1, "length": 64}, {"want": "x"}, {}):
            board.say("update/get", body)
        board.say("update/state", {"release": "relay-1.4.0", "state": "fine"})
        board.say("telemetry", {"temperature": 21.5})
        assert board.look() is None
    path = "/api/v1/devices/clumsy-1/timeline"

    def told() -> int:
        lines = server.api.get(path).json()["items"]
        return sum(one["count"] for one in lines if one["reason"] == "update_malformed")

    # The same thing is told once a second at most, with how often it was.
    eventually(lambda: told() == 4, 10)
    assert server.api.get("/api/v1/devices/clumsy-1/latest").json()["temperature"]["value"] == 21.5
