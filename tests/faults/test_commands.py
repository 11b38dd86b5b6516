"""What goes wrong on the way, and what the ledger says about it: a relay never switches twice or late."""

import asyncio
import json
import time
from pathlib import Path

import aiomqtt
import pytest

from tests.journeys.board import Board, obey
from tests.journeys.live import eventually
from tests.journeys.test_commands import ask, look, states
from tests.running import RunningServer

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("redeliver", [False, True])
def test_killed_between_sent_and_the_answer(tmp_path: Path, redeliver: bool) -> None:
    """The board executed it; its answer comes to the next run of the server."""
    with RunningServer(tmp_path / "data") as server:
        board = Board(server, "relay", server.register("relay"), answer=None)
        with board:
            command = ask(server, "relay", redeliver=redeliver).json()
            board.saw(1)
            assert look(server, command)["state"] == "sent"
            # With the acknowledgement on the disk nothing is sent again even where that is allowed.
            eventually(lambda: "arrived" in states(look(server, command)))
            server.kill()
            server.start()
            assert board.subscribed.is_set()
            board.client.publish("relevo/relay/response", json.dumps(obey(board.executed[0][1])), qos=1)
            assert look(server, command, wait=15)["state"] == "confirmed"
            assert ask(server, "relay", "after", wait=15).json()["state"] in ("sent", "timed_out")
            assert board.names() == ["relay", "after"]


def test_killed_and_never_answered(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_COMMANDS__ANSWER_S": "2"}) as server:
        board = Board(server, "relay", server.register("relay"), answer=None)
        board.connect()
        command = ask(server, "relay").json()
        board.saw(1)
        board.disconnect()
        server.kill()
        server.start()
        ended = look(server, command, wait=10)
        assert (ended["state"], ended["reason"]) == ("timed_out", "sent, but no answer in time")
        board.answer = obey
        with board:
            assert ask(server, "relay", "after", wait=10).json()["state"] == "confirmed"
            assert board.names() == ["relay", "after"]


def test_killed_while_commands_wait_for_a_board_that_is_away(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        board = Board(server, "relay", server.register("relay"))
        taken = [ask(server, "relay", f"step-{n}", ttl=60 if n % 2 else 1).json() for n in range(10)]
        server.kill()
        time.sleep(1.0)
        server.start()
        with board:
            board.saw(5)
            ended = [look(server, one, wait=10) for one in taken]
            assert [one["state"] for one in ended] == ["expired", "confirmed"] * 5
            assert board.names() == [f"step-{n}" for n in range(1, 10, 2)]


def test_a_stolen_connection_executes_nothing_twice(tmp_path: Path) -> None:
    """Another board with the same client id takes the connection while a command is on its way."""
    with RunningServer(tmp_path / "data") as server:
        key = server.register("relay")
        first, second = Board(server, "relay", key, answer=None), Board(server, "relay", key)
        with first:
            command = ask(server, "relay").json()
            first.saw(1)
            first.client.on_disconnect = lambda client, *_: client.disconnect()
            with second:
                assert ask(server, "relay", "after", wait=10).json()["state"] == "confirmed"
                assert second.names() == ["after"]
                second.client.publish("relevo/relay/response", json.dumps(obey(first.executed[0][1])), qos=1)
                assert look(server, command, wait=10)["state"] == "confirmed"
        assert first.names() == ["relay"]


def test_answers_that_come_twice_or_belong_to_nothing_change_nothing(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        board = Board(server, "relay", server.register("relay"))
        with board:
            command = ask(server, "relay", wait=10).json()
            no = {"id": command["id"], "ok": False, "error": "again"}
            for answer in (no, no, {"id": "never-asked", "ok": True}):
                board.client.publish("relevo/relay/response", json.dumps(answer), qos=1)
            assert ask(server, "relay", "after", wait=10).json()["state"] == "confirmed"
            assert look(server, command)["state"] == "confirmed"
            noticed = server.api.get("/api/v1/system").json()["counters"]["noticed"]
            assert noticed["answer_unmatched"] == 3


def test_a_board_that_is_off_for_a_while_is_never_said_to_have_got_anything(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        board = Board(server, "relay", server.register("relay"))
        with board:
            assert ask(server, "relay", "before", wait=10).json()["state"] == "confirmed"
        eventually(lambda: not server.api.get("/api/v1/devices/relay").json()["online"], 70)
        command = ask(server, "relay", "meanwhile").json()
        for _ in range(20):
            assert look(server, command)["state"] == "queued"
            time.sleep(0.05)
        with board:
            assert look(server, command, wait=10)["state"] == "confirmed"
        assert board.names() == ["before", "meanwhile"]


async def test_a_thousand_commands_for_a_fleet_that_is_away(tmp_path: Path) -> None:
    """A hundred boards come back at the same time; each gets its ten, in order, once."""
    boards, each = 100, 10
    with RunningServer(tmp_path / "data") as server:
        keys = {f"board-{n:03}": server.register(f"board-{n:03}") for n in range(boards)}
        for n in range(each):
            for name in keys:
                assert ask(server, name, f"step-{n}", ttl=300).status_code == 202
        assert server.api.get("/api/v1/system").json()["commands"]["open"] == boards * each
        executed: dict[str, list[str]] = {name: [] for name in keys}

        async def live(name: str, key: str) -> None:
            async with aiomqtt.Client(
                "127.0.0.1", server.mqtt_port, username=name, password=key, identifier=name
            ) as one:
                await one.subscribe(f"relevo/{name}/command", qos=1)
                async for message in one.messages:
                    command = json.loads(bytes(message.payload))  # type: ignore[arg-type]
                    executed[name].append(command["name"])
                    await one.publish(f"relevo/{name}/response", json.dumps(obey(command)), qos=1)
                    if len(executed[name]) == each:
                        return

        async with asyncio.timeout(60):
            await asyncio.gather(*(live(name, key) for name, key in keys.items()))
        assert executed == {name: [f"step-{n}" for n in range(each)] for name in keys}
        ended = eventually(
            lambda: (found := server.api.get("/api/v1/system").json()["commands"])["open"] == 0 and found, 10
        )
        assert ended["ended"] == {"confirmed": boards * each}
