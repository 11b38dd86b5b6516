"""Relay boards of contract autocore with everything that is real: a server, sockets, a third party's client."""

import json
from collections.abc import Iterator

import pytest

from tests.journeys.live import eventually
from tests.journeys.relayboard import RelayBoard
from tests.running import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("relays") / "data", env={"RELEVO_PROFILE": "lab"}) as one:
        yield one


@pytest.fixture
def board(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[RelayBoard]:
    with RelayBoard(server, f"b-{abs(hash(request.node.name)) % 10**9}").register() as one:
        yield one


def test_autocore_08_a_board_that_announces_itself_is_online_within_two_seconds(board: RelayBoard) -> None:
    assert not board.record()["online"]
    board.announce()
    board.say("status", retain=True, status="online", uptime=5, wifi_rssi=-60, free_memory=90_000)
    eventually(lambda: board.record()["online"], 2)
    shown = board.server.api.get(f"/api/devices/uuid/{board.uuid}").json()
    assert shown["status"] == "online"
    latest = board.server.api.get(f"/api/v1/devices/{board.id}/latest").json()
    assert {key: one["value"] for key, one in latest.items()} == {"uptime": 5, "wifi_rssi": -60, "free_memory": 90_000}


def test_autocore_10_no_response_is_a_timeout_and_a_late_one_revives_nothing(board: RelayBoard) -> None:
    board.announce()
    board.answers = False
    taken = board.switch(3)
    assert board.hears(1) == [{"type": "relay", "channel": 3, "state": True}]
    ended = board.command(taken, wait=30)
    assert (ended["state"], ended["reason"]) == ("timed_out", "sent, but no answer in time")
    board.say("response", type="relay_response", channel=3, state=True)
    assert board.command(taken)["state"] == "timed_out"


def test_autocore_11_silence_is_offline_after_three_heartbeats(server: RunningServer, board: RelayBoard) -> None:
    # A heartbeat is expected every 30 s unless the device says otherwise: three times that is the silence allowed.
    attributes = board.record()["attributes"] | {"expected_every_s": 0.4}
    assert server.api.patch(f"/api/v1/devices/{board.id}", json={"attributes": attributes}).status_code == 200
    board.status()
    eventually(lambda: board.record()["online"], 2)
    # Still connected, and silent.
    eventually(lambda: not board.record()["online"], 10)
    board.status()
    eventually(lambda: board.record()["online"], 2)


def test_autocore_11_the_last_will_is_offline_at_once(server: RunningServer) -> None:
    with RelayBoard(server, "b-will").register() as board:
        board.announce()
        board.status()
        eventually(lambda: board.record()["online"], 2)
        board.vanish()
        eventually(lambda: not board.record()["online"], 5)
        assert server.api.get("/api/devices/uuid/b-will").json()["status"] == "offline"


def test_autocore_12_a_board_whose_status_carries_relay_states_hears_the_old_words(server: RunningServer) -> None:
    with RelayBoard(server, "b-old", "old").register() as board:
        board.status()
        eventually(lambda: board.record()["attributes"].get("speech") == "old")
        taken = board.switch(1)
        assert board.hears(1) == [{"command": "relay_on", "channel": 0}]
        assert board.command(taken)["state"] == "confirmed"
        assert board.command(board.switch(1, False))["state"] == "confirmed"
        assert board.commands()[1:] == [{"command": "relay_off", "channel": 0}]


def test_the_second_protocol_is_recognised_by_any_message_with_its_version(server: RunningServer) -> None:
    with RelayBoard(server, "b-v2", "v2").register() as board:
        board.say("relays/state", protocol_version="2.2.0", channel=1, state=False)
        eventually(lambda: board.record()["attributes"].get("speech") == "v2")
        taken = board.switch(4)
        (body,) = board.hears(1)
        wanted = {"channel": 4, "state": True, "command": "on", "protocol_version": "2.2.0", "momentary": False}
        assert wanted.items() <= body.items()
        assert body["function_type"] == "toggle"
        assert board.command(taken)["state"] == "confirmed"


def test_what_a_board_speaks_is_remembered_and_follows_when_it_is_flashed_anew(server: RunningServer) -> None:
    with RelayBoard(server, "b-flashed", "old").register() as board:
        board.status()
        eventually(lambda: board.record()["attributes"].get("speech") == "old")
    server.restart()
    with RelayBoard(server, "b-flashed", "old") as board:
        board.announce()
        assert board.record()["attributes"]["speech"] == "old"
        assert board.command(board.switch(2))["state"] == "confirmed"
        assert board.commands() == [{"command": "relay_on", "channel": 1}]
    with RelayBoard(server, "b-flashed", "v2") as board:
        board.status()
        eventually(lambda: board.record()["attributes"].get("speech") == "v2")
        assert board.command(board.switch(2, False))["state"] == "confirmed"
    with RelayBoard(server, "b-flashed", "seed") as board:
        board.announce()
        board.status()
        eventually(lambda: "speech" not in board.record()["attributes"])
        assert board.command(board.switch(2))["state"] == "confirmed"
        assert board.commands() == [{"type": "relay", "channel": 2, "state": True}]


def test_a_gateway_is_told_with_identifiers_and_answers_with_them(server: RunningServer) -> None:
    with RelayBoard(server, "gw-1").register() as gateway:
        gateway.say("announce", type="gateway")
        eventually(lambda: gateway.record()["attributes"].get("speech") == "gateway")
        body = {"name": "read_can", "params": {"bus": 1}}
        taken = server.api.post(f"/api/v1/devices/{gateway.id}/commands", json=body)
        (said,) = gateway.hears(1)
        assert (said["command_type"], said["parameters"], said["timeout"]) == ("read_can", {"bus": 1}, 10)
        gateway.say("response", command_id=said["command_id"], success=True, result={"rpm": 900}, execution_time=0.1)
        ended = gateway.command(taken)
        assert (ended["state"], ended["result"]) == ("confirmed", {"rpm": 900})
        taken = server.api.post(f"/api/v1/devices/{gateway.id}/commands", json=body)
        said = gateway.hears(2)[1]
        gateway.say("response", command_id=said["command_id"], success=False, error_message="no bus")
        assert gateway.command(taken)["reason"] == "no bus"


def test_an_emptied_announcement_is_no_error_and_changes_nothing(board: RelayBoard) -> None:
    board.announce()
    for channel in ("announce", "status"):
        board.client.publish(f"{board.root}/{channel}", b"", qos=1, retain=True).wait_for_publish(10)
    board.status()
    eventually(lambda: board.record()["online"], 2)
    story = board.server.api.get(f"/api/v1/devices/{board.id}/timeline").json()["items"]
    assert [one for one in story if one["kind"] == "refused"] == []


def test_what_a_board_tells_of_its_troubles_is_in_its_story(server: RunningServer, board: RelayBoard) -> None:
    topic = f"autocore/errors/{board.uuid}/ERR_006"
    board.client.publish(topic, b'{"message":"relay stuck"}', qos=1).wait_for_publish(10)
    shut_off = {"protocol_version": "2.2.0", "event": "safety_shutoff", "channel": 2, "state": False}
    shared = json.dumps({"uuid": board.uuid, **shut_off})
    board.client.publish("autocore/telemetry/relays/data", shared, qos=1).wait_for_publish(10)
    eventually(lambda: board.record()["attributes"].get("speech") == "v2")
    reported = server.api.get(f"/api/v1/devices/{board.id}/reported").json()
    assert reported["values"]["relay_2"] is False
