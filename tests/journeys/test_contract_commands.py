"""Commands in the words of boards that know nothing of Relevo: relay boards and water meters, over real sockets."""

import json
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.journeys.live import eventually
from tests.journeys.test_commands import ask, look
from tests.running import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("boards") / "data", env={"RELEVO_PROFILE": "lab"}) as one:
        yield one


class Legacy:
    """A paho client without an account, as the old boards come."""

    def __init__(self, server: RunningServer, topics: list[str]) -> None:
        self.heard: list[tuple[str, Any, int, bool]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        self.client.on_message = self._heard
        self.client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
        self.client.connect("127.0.0.1", server.mqtt_port)
        self.client.loop_start()

    def _heard(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, json.loads(message.payload), message.qos, message.retain))

    def say(self, topic: str, **body: Any) -> None:
        self.client.publish(topic, json.dumps(body), qos=1).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def board(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[tuple[str, str, Legacy]]:
    """A registered relay board that announced itself: its id, its root topic, its client."""
    uuid = f"uuid-{abs(hash(request.node.name)) % 10**9}"
    body = {"uuid": uuid, "name": "Board", "type": "esp32_relay", "relay_channels": 8}
    assert server.api.post("/api/devices", json=body).status_code == 201
    root = f"autocore/devices/{uuid}"
    legacy = Legacy(server, [f"{root}/command", f"{root}/relays/set"])
    legacy.say(f"{root}/announce", uuid=uuid)
    yield f"ac-{uuid}", root, legacy
    legacy.close()


def command(server: RunningServer, device: str, name: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = ask(server, device, name, params=params or {})
    assert answer.status_code == 202, answer.text
    return answer.json()


def relay(server: RunningServer, device: str, channel: int, state: Any = True) -> dict[str, Any]:
    return command(server, device, "relay", {"channel": channel, "state": state})


def test_autocore_09_a_relay_is_switched_in_the_contracts_words(
    server: RunningServer, board: tuple[str, str, Legacy]
) -> None:
    device, root, legacy = board
    taken = relay(server, device, 3, "on")
    eventually(lambda: legacy.heard)
    ((topic, body, qos, retained),) = legacy.heard
    assert (topic, qos, retained) == (f"{root}/command", 1, False)
    assert body == {"type": "relay", "channel": 3, "state": True, "request_id": taken["id"]}
    legacy.say(f"{root}/response", type="relay_response", channel=3, state=True)
    assert look(server, taken, wait=5)["state"] == "confirmed"


def test_one_command_a_channel_is_on_its_way_and_answers_find_theirs(
    server: RunningServer, board: tuple[str, str, Legacy]
) -> None:
    device, root, legacy = board
    first, second, other = relay(server, device, 1), relay(server, device, 1, False), relay(server, device, 2)
    eventually(lambda: len(legacy.heard) == 2)
    assert [(body["channel"], body["state"]) for _, body, _, _ in legacy.heard] == [(1, True), (2, True)]
    assert look(server, second)["state"] == "queued"
    legacy.say(f"{root}/response", type="relay_response", channel=2, state=True)
    assert look(server, other, wait=5)["state"] == "confirmed"
    assert look(server, first)["state"] == "sent"
    legacy.say(f"{root}/response", type="relay_response", channel=1, state=True)
    assert look(server, first, wait=5)["state"] == "confirmed"
    eventually(lambda: len(legacy.heard) == 3)
    legacy.say(f"{root}/response", type="relay_response", channel=1, state=True)
    ended = look(server, second, wait=5)
    assert (ended["state"], ended["reason"]) == ("failed", "the board says state True")


def test_ping_and_a_board_that_refuses(server: RunningServer, board: tuple[str, str, Legacy]) -> None:
    device, root, legacy = board
    ping = command(server, device, "ping")
    eventually(lambda: legacy.heard)
    legacy.say(f"{root}/response", type="pong", timestamp=734512)
    assert look(server, ping, wait=5)["result"] == 734512
    wrong = relay(server, device, 8)
    eventually(lambda: len(legacy.heard) == 2)
    legacy.say(f"{root}/response", type="error", error="invalid_channel")
    ended = look(server, wrong, wait=5)
    assert (ended["state"], ended["reason"]) == ("failed", "invalid_channel")


@pytest.mark.parametrize(
    ("name", "params", "field"),
    [
        ("toggle", {}, "name"),
        ("relay", {"channel": 9, "state": True}, "params.channel"),
        ("relay", {"channel": 0, "state": True}, "params.channel"),
        ("relay", {"channel": True, "state": True}, "params.channel"),
        ("relay", {"channel": 1, "state": "perhaps"}, "params.state"),
        ("relay", {"channel": 1, "state": 1}, "params.state"),
        ("relay", {"channel": 1, "state": True, "force": 1}, "params.force"),
        ("ping", {"n": 1}, "params.n"),
    ],
)
def test_what_the_contract_cannot_say_is_refused(
    server: RunningServer, board: tuple[str, str, Legacy], name: str, params: dict[str, Any], field: str
) -> None:
    answer = ask(server, board[0], name, params=params)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert board[2].heard == []


def test_a_board_of_the_old_kind_proves_it_with_its_next_status(
    server: RunningServer, board: tuple[str, str, Legacy]
) -> None:
    device, root, legacy = board
    attributes = server.api.get(f"/api/v1/devices/{device}").json()["attributes"] | {"speech": "old"}
    assert server.api.patch(f"/api/v1/devices/{device}", json={"attributes": attributes}).status_code == 200
    taken = relay(server, device, 1)
    eventually(lambda: legacy.heard)
    assert legacy.heard[0][1] == {"command": "relay_on", "channel": 0}
    legacy.say(f"{root}/status", relay_states=[0, 0, 0])
    assert look(server, taken, wait=0.3)["state"] == "sent"
    legacy.say(f"{root}/status", relay_states=[1, 0, 0])
    assert look(server, taken, wait=5)["state"] == "confirmed"


def test_a_board_of_the_second_protocol_proves_it_with_its_relays_state(
    server: RunningServer, board: tuple[str, str, Legacy]
) -> None:
    device, root, legacy = board
    attributes = server.api.get(f"/api/v1/devices/{device}").json()["attributes"] | {"speech": "v2"}
    server.api.patch(f"/api/v1/devices/{device}", json={"attributes": attributes})
    taken = relay(server, device, 4, "off")
    eventually(lambda: legacy.heard)
    topic, body, _, _ = legacy.heard[0]
    assert topic == f"{root}/relays/set"
    assert {"channel": 4, "state": False, "command": "off", "protocol_version": "2.2.0"}.items() <= body.items()
    legacy.say(f"{root}/relays/state", channel=4, state=False)
    assert look(server, taken, wait=5)["state"] == "confirmed"


def test_a_meter_does_not_answer_and_its_next_reading_is_the_proof(server: RunningServer) -> None:
    claim = {"contract": "hidrometro", "external_id": "HX77", "name": "Meter"}
    assert server.api.post("/api/v1/claims", json=claim).status_code in (200, 201)
    meter = Legacy(server, ["hidrometro/cmd"])
    try:
        meter.say("hidrometro/dados", numeroSerie="HX77", totalLiters=815.25, flowLmin=4.6)
        device = next(one["id"] for one in server.api.get("/api/v1/devices?search=HX77").json()["items"])
        taken = command(server, device, "setCalibration", {"value": "7.2"})
        eventually(lambda: meter.heard)
        assert meter.heard[0][1] == {"action": "setCalibration", "value": 7.2, "numeroSerie": "HX77"}
        # Nothing it says proves that, so it stays at what is known.
        now = look(server, taken, wait=1)
        assert (now["state"], now["answers"]) == ("sent", False)
        reset = command(server, device, "reset")
        eventually(lambda: len(meter.heard) == 2)
        meter.say("hidrometro/dados", numeroSerie="HX77", totalLiters=815.5, flowLmin=4.6)
        assert look(server, reset)["state"] == "sent"
        meter.say("hidrometro/dados", numeroSerie="HX77", totalLiters=0.1, flowLmin=4.6)
        eventually(lambda: look(server, reset)["state"] == "confirmed")
        for name, params in (
            ("format", {}),
            ("setCalibration", {}),
            ("setCalibration", {"value": 0}),
            ("reset", {"value": 1}),
        ):
            assert ask(server, device, name, params=params).status_code == 422
    finally:
        meter.close()


def test_a_relay_that_is_desired_is_switched_by_a_command_and_agrees_by_the_boards_word(
    server: RunningServer, board: tuple[str, str, Legacy]
) -> None:
    device, root, legacy = board
    path = f"/api/v1/devices/{device}/desired"
    answer = server.api.patch(path, json={"values": {"relay_3": True, "relay_4": False}})
    assert answer.status_code == 200, answer.text
    eventually(lambda: len(legacy.heard) == 2)
    switched = {body["channel"]: body["state"] for _, body, _, _ in legacy.heard}
    assert switched == {3: True, 4: False}
    legacy.say(f"{root}/response", type="relay_response", channel=3, state=True)
    legacy.say(f"{root}/status", status="online", relay_states=[False, False, True, False])
    eventually(lambda: server.api.get(path).json()["delta"] == {})
    assert {one["state"] for one in server.api.get(path).json()["changed"].values()} == {"agreed"}
    reported = server.api.get(f"/api/v1/devices/{device}/reported").json()["values"]
    assert reported == {"relay_1": False, "relay_2": False, "relay_3": True, "relay_4": False}
    commands = server.api.get(f"/api/v1/devices/{device}/commands").json()["items"]
    assert {(one["origin"], one["by"], one["state"]) for one in commands} == {("desired", "admin", "confirmed")}
    for values in ({"relay_9": True}, {"relay_1": 1}, {"lamp": True}, {"relay_01": True}):
        wrong = server.api.patch(path, json={"values": values})
        assert (wrong.status_code, wrong.json()["reason"]) == (422, "desired_unknown")
        assert wrong.json()["errors"][0]["field"] == f"values.{next(iter(values))}"
    assert len(legacy.heard) == 2
