"""``kill -9`` on the way from a wish to the board: nothing is lost, and nothing old is told."""

import json
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from tests.journeys.live import eventually
from tests.journeys.test_contract_commands import Legacy
from tests.journeys.test_desired import Thermostat, desire, desired, states
from tests.running import RunningServer

pytestmark = pytest.mark.fault


def test_killed_between_the_change_and_its_delivery(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        board = Thermostat(server, "heater", server.register("heater"))
        with board:
            board.say({"target": 18})
        for target in range(20, 25):
            assert desire(server, "heater", {"target": target}).status_code == 200
        before = desired(server, "heater")
        server.kill()
        server.start()
        assert desired(server, "heater") == before
        assert before["effective"] == {"target": 24}
        assert server.api.get("/api/v1/devices/heater/reported").json()["values"] == {"target": 18}
        with board:
            eventually(lambda: states(server, "heater") == {"target": "agreed"})
        assert board.heard == [{"version": 5, "values": {"target": 24}}]
        assert desire(server, "heater", {"target": 20}).json()["version"] == 6


def test_killed_between_delivery_and_report(tmp_path: Path) -> None:
    """The board did it and could not say so; it says it to the next run."""
    with RunningServer(tmp_path / "data") as server:
        key = server.register("heater")
        with Thermostat(server, "heater", key, deaf=True) as board:
            desire(server, "heater", {"on": True})
            eventually(lambda: board.heard)
            server.kill()
            server.start()
        assert states(server, "heater") == {"on": "pending"}
        with Thermostat(server, "heater", key) as board:
            eventually(lambda: states(server, "heater") == {"on": "agreed"})
            # A state may be told twice: it is the same.
            assert board.heard == [{"version": 1, "values": {"on": True}}]


async def test_versions_only_grow_whenever_the_server_is_killed(tmp_path: Path) -> None:
    """Every version that an answer named is there afterwards, and the next is above it."""
    with RunningServer(tmp_path / "data") as server:
        key = server.register("heater")
        newest = reported = 0
        for round_ in range(3):
            for n in range(10):
                newest = desire(server, "heater", {"n": round_ * 100 + n}).json()["version"]
            async with aiomqtt.Client(
                "127.0.0.1", server.mqtt_port, username="heater", password=key, identifier="heater"
            ) as one:
                for n in range(10):
                    # Acknowledged is stored: the change with the report.
                    await one.publish("relevo/heater/state", json.dumps({"count": round_ * 100 + n}), qos=1)
                server.kill()
            server.start()
            assert desired(server, "heater")["version"] == newest == (round_ + 1) * 10
            said: dict[str, Any] = server.api.get("/api/v1/devices/heater/reported").json()
            assert said["values"]["count"] == round_ * 100 + 9
            assert said["version"] > reported
            reported = said["version"]


def test_a_kept_session_holds_nothing_of_what_was_desired_meanwhile(tmp_path: Path) -> None:
    """The board's session outlives its connection; what was desired while it was away is not in its queue."""

    class Kept(Thermostat):
        clean = False

    with RunningServer(tmp_path / "data") as server:
        board = Kept(server, "heater", server.register("heater"))
        with board:
            board.say({"target": 18})
        eventually(lambda: not server.api.get("/api/v1/devices/heater").json()["online"], 70)
        for target in (20, 21, 22):
            desire(server, "heater", {"target": target})
        server.kill()
        server.start()
        with board:
            eventually(lambda: states(server, "heater") == {"target": "agreed"})
        # Coming and subscribing are two occasions.
        assert {json.dumps(one) for one in board.heard} == {json.dumps({"version": 3, "values": {"target": 22}})}


def test_a_relay_that_was_switched_before_the_kill_is_not_switched_again_after_it(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        body = {"uuid": "uuid-1", "name": "Board", "type": "esp32_relay", "relay_channels": 8}
        assert server.api.post("/api/devices", json=body).status_code == 201
        root = "autocore/devices/uuid-1"
        board = Legacy(server, [f"{root}/command"])
        try:
            board.say(f"{root}/announce", uuid="uuid-1")
            desire(server, "ac-uuid-1", {"relay_1": True})
            eventually(lambda: board.heard)
            server.kill()
            server.start()
            assert states(server, "ac-uuid-1") == {"relay_1": "pending"}
            eventually(lambda: board.client.is_connected(), 15)
            board.say(f"{root}/announce", uuid="uuid-1")
            desire(server, "ac-uuid-1", {"relay_2": True})
            eventually(lambda: len(board.heard) >= 2)
            assert [said["channel"] for _, said, _, _ in board.heard] == [1, 2]
            board.say(f"{root}/status", status="online", relay_states=[True, True])
            eventually(lambda: states(server, "ac-uuid-1") == {"relay_1": "agreed", "relay_2": "agreed"})
            assert len(board.heard) == 2
        finally:
            board.close()
