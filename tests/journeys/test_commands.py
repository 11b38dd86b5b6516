"""From the API to a board and back, over real sockets."""

import threading
import time
from typing import Any

import httpx
import pytest

from tests.journeys.board import Board, obey
from tests.journeys.live import Watcher, eventually
from tests.running import RunningServer


@pytest.fixture
def server(secure: RunningServer) -> RunningServer:
    return secure


_made = 0


@pytest.fixture
def board(server: RunningServer) -> Board:
    """A registered board that is not connected yet."""
    global _made
    _made += 1
    name = f"relay-{_made}"
    return Board(server, name, server.register(name))


def ask(server: RunningServer, device: str, name: str = "relay", wait: float = 0, **more: Any) -> httpx.Response:
    body = {"name": name, "params": {"channel": 3, "state": "on"}} | more
    return server.api.post(f"/api/v1/devices/{device}/commands", params={"wait": wait}, json=body)


def states(command: dict[str, Any]) -> list[str]:
    return [one["state"] for one in command["transitions"]]


def look(server: RunningServer, command: dict[str, Any], wait: float = 0) -> dict[str, Any]:
    path = f"/api/v1/devices/{command['device']}/commands/{command['id']}"
    answer = server.api.get(path, params={"wait": wait})
    assert answer.status_code == 200, answer.text
    return answer.json()


def story(server: RunningServer, device: str) -> list[str]:
    items = server.api.get(f"/api/v1/devices/{device}/timeline").json()["items"]
    return [one["kind"] for one in items]


def test_a_command_reaches_a_board_and_its_answer_comes_back(server: RunningServer, board: Board) -> None:
    with board:
        answer = ask(server, board.device, wait=5)
        assert answer.status_code == 200, answer.text
        command = answer.json()
        assert command["state"] == "confirmed"
        assert command["result"] == {"channel": 3, "state": "on"}
        assert command["by"] == "admin"
        assert [one for one in states(command) if one != "arrived"] == ["queued", "sent", "confirmed"]
        ((_, heard),) = board.executed
        assert heard == {
            "id": command["id"],
            "name": "relay",
            "params": {"channel": 3, "state": "on"},
            "expires": pytest.approx(time.time() * 1000 + 60_000, abs=15_000),
        }
        assert look(server, command) == command


def test_what_the_board_refuses_has_failed_in_its_own_words(server: RunningServer, board: Board) -> None:
    board.answer = lambda command: {"id": command["id"], "ok": False, "error": "no channel 3"}
    with board:
        command = ask(server, board.device, wait=5).json()
    assert (command["state"], command["reason"]) == ("failed", "no channel 3")


def test_a_board_that_is_away_gets_its_commands_in_order_when_it_listens(server: RunningServer, board: Board) -> None:
    taken = [ask(server, board.device, f"step-{n}", wait=0.05) for n in range(5)]
    assert {one.status_code for one in taken} == {202}
    assert {one.json()["state"] for one in taken} == {"queued"}
    first = taken[0].json()
    assert taken[0].headers["Location"] == f"/api/v1/devices/{board.device}/commands/{first['id']}"
    with board:
        board.saw(5)
        assert board.names() == [f"step-{n}" for n in range(5)]
        assert {look(server, one.json(), wait=5)["state"] for one in taken} == {"confirmed"}


def test_a_command_that_waited_too_long_never_leaves(server: RunningServer, board: Board) -> None:
    command = ask(server, board.device, ttl=1).json()
    ended = look(server, command, wait=5)
    assert (ended["state"], states(ended)) == ("expired", ["queued", "expired"])
    with board:
        assert ask(server, board.device, "later", wait=5).json()["state"] == "confirmed"
        assert board.names() == ["later"]


def test_a_kept_session_gets_nothing_late(server: RunningServer) -> None:
    """The broker's queue is not the ledger: what expired there must not switch a relay hours later."""
    kept = Board(server, "kept", server.register("kept"), clean=False)
    kept.connect()
    kept.disconnect()
    eventually(lambda: "disconnected" in story(server, "kept"))
    command = ask(server, "kept", ttl=1).json()
    assert look(server, command, wait=5)["state"] == "expired"
    with kept:
        assert ask(server, "kept", "later", wait=5).json()["state"] == "confirmed"
        assert kept.names() == ["later"]


def test_silence_ends_as_timed_out_and_a_late_answer_revives_nothing(server: RunningServer, board: Board) -> None:
    board.answer = None
    with board:
        command = ask(server, board.device).json()
        board.saw(1)
        assert look(server, command, wait=0)["state"] == "sent"
        ended = look(server, command, wait=20)
        assert (ended["state"], ended["reason"]) == ("timed_out", "sent, but no answer in time")
        late = obey(board.executed[0][1])
        board.client.publish(f"relevo/{board.device}/response", str(late).replace("'", '"').replace("True", "true"), 1)
        eventually(lambda: "answer_unmatched" in story(server, board.device))
        assert look(server, command)["state"] == "timed_out"
        assert len(board.executed) == 1


def test_the_same_key_is_the_same_command(server: RunningServer, board: Board) -> None:
    with board:
        answers: list[httpx.Response] = []

        def press() -> None:
            answers.append(ask(server, board.device, wait=5, idempotency_key="press-1"))

        threads = [threading.Thread(target=press) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({one.json()["id"] for one in answers}) == 1
        assert {one.json()["state"] for one in answers} == {"confirmed"}
        assert ask(server, board.device, "other", idempotency_key="press-1").status_code == 409
        assert ask(server, board.device, wait=5, idempotency_key="press-2").status_code == 200
        assert len(board.executed) == 2


def test_a_queued_command_can_be_taken_back_and_a_sent_one_cannot(server: RunningServer, board: Board) -> None:
    command = ask(server, board.device).json()
    path = f"/api/v1/devices/{board.device}/commands/{command['id']}"
    assert server.api.delete(path).json()["state"] == "cancelled"
    assert server.api.delete(path).status_code == 409
    with board:
        done = ask(server, board.device, "later", wait=5).json()
        assert board.names() == ["later"]
        assert server.api.delete(f"/api/v1/devices/{board.device}/commands/{done['id']}").status_code == 409


def test_a_device_without_mqtt_asks_for_its_commands_and_answers(server: RunningServer) -> None:
    key = server.register("poller")
    with httpx.Client(base_url=server.http, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as poller:
        path = "/api/v1/devices/poller/commands"
        assert poller.get(f"{path}/next").json() == {"commands": []}
        first, second = ask(server, "poller", "one").json(), ask(server, "poller", "two").json()
        got = poller.get(f"{path}/next").json()["commands"]
        assert [one["name"] for one in got] == ["one", "two"]
        assert poller.get(f"{path}/next").json() == {"commands": []}
        said = poller.post(f"{path}/{first['id']}/response", json={"ok": True, "result": 1})
        assert said.json() == {"id": first["id"], "state": "confirmed"}
        said = poller.post(f"{path}/{second['id']}/response", json={"ok": False, "error": "jammed"})
        assert said.json()["state"] == "failed"
        assert poller.post(f"{path}/{second['id']}/response", json={"ok": 1}).status_code == 422
        assert poller.post(f"{path}/nothing/response", json={"ok": True}).status_code == 404
        assert look(server, second)["reason"] == "jammed"


def test_a_long_poll_hears_of_a_command_at_once(server: RunningServer) -> None:
    key = server.register("long-poller")
    found: list[Any] = []

    def poll() -> None:
        with httpx.Client(base_url=server.http, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as poller:
            answer = poller.get("/api/v1/devices/long-poller/commands/next", params={"wait": 20}, timeout=30)
            found.append(answer.json()["commands"])

    thread = threading.Thread(target=poll)
    thread.start()
    # The poll has begun once the server counts it.
    time.sleep(0.2)
    command = ask(server, "long-poller", "one").json()
    thread.join(10)
    assert [[one["id"] for one in batch] for batch in found] == [[command["id"]]]


def test_only_its_own_key_gets_a_devices_commands(server: RunningServer, board: Board) -> None:
    other = server.register("other-poller")
    path = f"/api/v1/devices/{board.device}/commands/next"
    for token, status in (("", 401), (other, 401), (server.token, 403)):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        assert httpx.get(f"{server.http}{path}", headers=headers, trust_env=False).status_code == status


def test_streams_show_every_step(server: RunningServer, board: Board) -> None:
    with Watcher(server, f"?devices={board.device}&kinds=command") as watcher, board:
        command = ask(server, board.device, wait=5).json()
        watcher.wait_for(lambda data: data.get("state") == "confirmed")
        seen = [frame["data"] for _, frame in watcher.events]
        assert {one["command"] for one in seen} == {command["id"]}
        assert [one["state"] for one in seen if one["state"] != "arrived"] == ["queued", "sent", "confirmed"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x" * 65}, "name"),
        ({"name": ""}, "name"),
        ({"params": {"n": [1] * 9_000}}, "params"),
        ({"ttl": 0.5}, "ttl"),
        ({"ttl": 1e9}, "ttl"),
        ({"idempotency_key": "k" * 129}, "idempotency_key"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wish_that_breaks_a_limit_names_its_field(
    server: RunningServer, board: Board, body: dict[str, Any], field: str
) -> None:
    answer = ask(server, board.device, **body)
    assert answer.status_code == 422, answer.text
    assert any(one["field"].startswith(field) for one in answer.json()["errors"]), answer.text


def test_the_list_of_commands_is_paged_and_filtered(server: RunningServer, board: Board) -> None:
    ids = [ask(server, board.device, f"n-{n}").json()["id"] for n in range(5)]
    path = f"/api/v1/devices/{board.device}/commands"
    first = server.api.get(path, params={"limit": 3}).json()
    rest = server.api.get(path, params={"limit": 3, "cursor": first["next"]}).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next"] is None
    server.api.delete(f"{path}/{ids[2]}")
    assert [one["id"] for one in server.api.get(path, params={"state": "cancelled"}).json()["items"]] == [ids[2]]
