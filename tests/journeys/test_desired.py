"""What devices are to be, from the API to a board and back, over real sockets."""

import json
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.journeys.live import Watcher, eventually
from tests.running import RunningServer

_made = 0


class Thermostat:
    """A paho client that becomes what it hears and says so; ``deaf`` to keep quiet about it."""

    clean = True

    def __init__(self, server: RunningServer, device: str, key: str, deaf: bool = False) -> None:
        self._server, self.device, self._key, self.deaf = server, device, key, deaf
        self.heard: list[dict[str, Any]] = []
        self._subscribed = threading.Event()

    def __enter__(self) -> Self:
        self._subscribed.clear()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.device, clean_session=self.clean)
        self.client.username_pw_set(self.device, self._key)
        self.client.on_connect = lambda client, *_: client.subscribe(f"relevo/{self.device}/desired", 1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._told
        self.client.connect("127.0.0.1", self._server.mqtt_port, keepalive=30)
        self.client.loop_start()
        assert self._subscribed.wait(10), "not subscribed"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _told(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        assert not message.retain
        said = json.loads(message.payload)
        self.heard.append(said)
        if not self.deaf:
            client.publish(f"relevo/{self.device}/state", json.dumps(said["values"]), 1)

    def say(self, values: dict[str, Any]) -> None:
        self.client.publish(f"relevo/{self.device}/state", json.dumps(values), 1).wait_for_publish(10)


@pytest.fixture
def server(secure: RunningServer) -> RunningServer:
    return secure


def new(server: RunningServer, **attributes: Any) -> tuple[str, str]:
    global _made
    _made += 1
    name = f"thermostat-{_made}"
    key = server.register(name)
    if attributes:
        changed = server.api.patch(f"/api/v1/devices/{name}", json={"attributes": attributes})
        assert changed.status_code == 200, changed.text
    return name, key


def desire(server: RunningServer, device: str, values: dict[str, Any], method: str = "PATCH", **more: Any) -> Any:
    headers = {"If-Match": more.pop("if_match")} if "if_match" in more else None
    path = f"/api/v1/devices/{device}/desired"
    return server.api.request(method, path, json={"values": values} | more, headers=headers)


def desired(server: RunningServer, device: str) -> dict[str, Any]:
    answer = server.api.get(f"/api/v1/devices/{device}/desired")
    assert answer.status_code == 200, answer.text
    return answer.json()


def states(server: RunningServer, device: str) -> dict[str, str]:
    return {key: one["state"] for key, one in desired(server, device)["changed"].items()}


def story(server: RunningServer, device: str) -> list[str]:
    return [one["kind"] for one in server.api.get(f"/api/v1/devices/{device}/timeline").json()["items"]]


def test_a_board_becomes_what_is_desired_and_says_so(server: RunningServer) -> None:
    name, key = new(server)
    with Thermostat(server, name, key) as board:
        answer = desire(server, name, {"target": 21.5})
        assert answer.status_code == 200, answer.text
        assert answer.json()["version"] == 1
        assert answer.headers["ETag"] == '"1"'
        eventually(lambda: states(server, name) == {"target": "agreed"})
        assert board.heard == [{"version": 1, "values": {"target": 21.5}}]
    now = desired(server, name)
    assert (now["values"], now["delta"], now["effective"]) == ({"target": 21.5}, {}, {"target": 21.5})
    assert (now["changed"]["target"]["by"], now["changed"]["target"]["version"]) == ("admin", 1)
    reported = server.api.get(f"/api/v1/devices/{name}/reported").json()
    assert (reported["version"], reported["values"]) == (1, {"target": 21.5})
    assert {"desired", "desired_agreed"} <= set(story(server, name))


def test_a_board_that_was_away_hears_only_what_is_to_be_now(server: RunningServer) -> None:
    name, key = new(server)
    with Thermostat(server, name, key) as board:
        board.say({"target": 18, "mode": "heat", "fan": False})
        eventually(lambda: server.api.get(f"/api/v1/devices/{name}/reported").json()["version"] == 1)
    for target in range(19, 24):
        desire(server, name, {"target": target})
    desire(server, name, {"mode": "off", "fan": False})
    assert states(server, name) == {"target": "pending", "mode": "pending", "fan": "agreed"}
    assert desired(server, name)["effective"] == {"target": 23, "mode": "off", "fan": False}
    assert server.api.get(f"/api/v1/devices/{name}/reported").json()["values"]["target"] == 18
    with board:
        eventually(lambda: states(server, name) == {"target": "agreed", "mode": "agreed", "fan": "agreed"})
        assert board.heard == [{"version": 6, "values": {"target": 23, "mode": "off"}}]
    board.heard.clear()
    with board:
        # Nothing is left, so nothing is said.
        desire(server, name, {"target": 20})
        eventually(lambda: board.heard)
        assert board.heard == [{"version": 7, "values": {"target": 20}}]


def test_what_a_board_changes_by_itself_after_it_agreed_is_not_undone(server: RunningServer) -> None:
    name, key = new(server)
    with Thermostat(server, name, key) as board:
        desire(server, name, {"on": True})
        eventually(lambda: states(server, name) == {"on": "agreed"})
        board.say({"on": False})
        eventually(lambda: desired(server, name)["effective"] == {"on": False})
    with board:
        assert (desired(server, name)["delta"], states(server, name)) == ({}, {"on": "agreed"})
        # Asking for it again is a wish of its own.
        assert desire(server, name, {"on": True}).json()["delta"] == {"on": True}
        eventually(lambda: desired(server, name)["delta"] == {})
    assert [one["version"] for one in board.heard] == [1, 2]


def test_versions_are_compared_before_anything_is_set(server: RunningServer) -> None:
    name, _ = new(server)
    assert desire(server, name, {"a": 1}, if_match='"0"').status_code == 200
    stale = desire(server, name, {"a": 2}, if_match='"0"')
    assert (stale.status_code, "version 1" in stale.json()["detail"]) == (412, True)
    stale = desire(server, name, {"a": 2}, "PUT", version=7)
    assert (stale.status_code, "version 1" in stale.json()["detail"]) == (409, True)
    assert desire(server, name, {"a": 2}, "PUT", version=1).json()["version"] == 2
    assert desire(server, name, {"a": 3}, if_match="*").json()["version"] == 3
    assert desire(server, name, {"a": 3}).json()["version"] == 3
    wrong = desire(server, name, {"a": 3}, if_match="tuesday")
    assert (wrong.status_code, wrong.json()["reason"]) == (422, "if_match_invalid")
    # Of many at the same moment one has it.
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(desire(server, name, {"a": 10 + n}, version=3).status_code))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 7
    assert desired(server, name)["version"] == 4


def test_documents_are_merged_or_replaced(server: RunningServer) -> None:
    name, _ = new(server)
    desire(server, name, {"a": 1, "b": {"x": 1, "y": 2}})
    assert desire(server, name, {"a": None, "b": {"x": None, "z": 3}}).json()["values"] == {"b": {"y": 2, "z": 3}}
    assert desire(server, name, {"c": [1, None]}, "PUT").json()["values"] == {"c": [1, None]}
    assert desire(server, name, {}, "PUT").json() | {"version": 0} == {
        "version": 0, "values": {}, "delta": {}, "effective": {}, "changed": {},
    }  # fmt: skip


def deep(levels: int) -> Any:
    return {"n": deep(levels - 1)} if levels else 1


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"x" * 65: 1}, "values", "64 characters"),
        ({"a": deep(9)}, "values.a", "deeper than 8"),
        ({f"k{n}": n for n in range(257)}, "values", "limit of 256"),
        ({f"k{n}": "x" * 4000 for n in range(5)}, "values", "limit is 16384"),
        ({"a": float("1e300"), "b": 2**64}, "values.b", "64 bits"),
    ],
)
def test_a_document_that_breaks_a_limit_names_field_and_limit(
    server: RunningServer, values: dict[str, Any], field: str, words: str
) -> None:
    name, _ = new(server)
    for method in ("PUT", "PATCH"):
        answer = desire(server, name, values, method)
        assert answer.status_code in (400, 422), answer.text
        assert words in answer.json()["detail"]
        assert any(one["field"].startswith(field) for one in answer.json()["errors"]), answer.text
    assert desired(server, name)["version"] == 0


@pytest.fixture
def poller(server: RunningServer) -> Iterator[tuple[str, httpx.Client]]:
    """A device without MQTT."""
    name, key = new(server)
    with httpx.Client(
        base_url=f"{server.http}/api/v1/devices/{name}", headers={"Authorization": f"Bearer {key}"}, trust_env=False
    ) as client:
        yield name, client


def test_a_device_without_mqtt_asks_and_reports(server: RunningServer, poller: tuple[str, httpx.Client]) -> None:
    name, client = poller
    assert client.get("/desired", params={"since": 0}).status_code == 304
    desire(server, name, {"on": True, "level": 3})
    got = client.get("/desired", params={"since": 0}).json()
    assert (got["version"], got["delta"]) == (1, {"on": True, "level": 3})
    assert client.get("/desired", params={"since": 1}).status_code == 304
    said = client.patch("/reported", json={"values": {"on": True}}).json()
    assert (said["version"], said["values"], said["refused"]) == (1, {"on": True}, [])
    assert states(server, name) == {"on": "agreed", "level": "pending"}
    said = client.put("/reported", json={"values": {"level": 3}}).json()
    assert (said["version"], said["values"]) == (2, {"level": 3})
    assert states(server, name) == {"on": "agreed", "level": "agreed"}
    assert client.patch("/reported", json={"values": {"level": 3}}).json()["version"] == 2


def test_what_does_not_fit_is_refused_alone_and_told(server: RunningServer, poller: tuple[str, httpx.Client]) -> None:
    name, client = poller
    said = client.patch("/reported", json={"values": {"good": 1, "x" * 65: 1, "huge": "x" * 5000}}).json()
    assert said["values"] == {"good": 1}
    assert sorted(one["reason"] for one in said["refused"]) == ["key_invalid", "text_too_long"]
    assert client.patch("/reported", json={"values": {"huge": "x" * 5000}}).status_code == 422
    assert "refused" in story(server, name)
    assert client.get("/reported").json()["values"] == {"good": 1}


def test_a_long_poll_hears_at_once(server: RunningServer, poller: tuple[str, httpx.Client]) -> None:
    name, client = poller
    found: list[Any] = []
    began = time.monotonic()
    thread = threading.Thread(
        target=lambda: found.append(client.get("/desired", params={"since": 0, "wait": 60}, timeout=70).json())
    )
    thread.start()
    desire(server, name, {"on": True})
    thread.join(30)
    assert found[0]["delta"] == {"on": True}
    assert time.monotonic() - began < 30


def test_only_its_own_key_asks_and_reports(server: RunningServer, poller: tuple[str, httpx.Client]) -> None:
    name, client = poller
    _, foreign = new(server)
    for token, status in ((foreign, 401), ("", 401), (server.token, 403)):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        for method in ("PUT", "PATCH"):
            answer = httpx.request(
                method,
                f"{server.http}/api/v1/devices/{name}/reported",
                json={"values": {}},
                headers=headers,
                trust_env=False,
            )
            assert answer.status_code == status
    assert client.patch("/desired", json={"values": {"a": 1}}).status_code == 401


def test_streams_show_every_change_and_no_repetition(server: RunningServer) -> None:
    name, key = new(server)
    with Watcher(server, f"?devices={name}&kinds=twin") as watcher, Thermostat(server, name, key) as board:
        desire(server, name, {"on": True})
        watcher.wait_for(lambda data: data["change"] == "agreed")
        for on in (True, True, False):
            board.say({"on": on})
        watcher.wait_for(lambda data: data.get("values") == {"on": False})
        seen = [frame["data"] for _, frame in watcher.events]
        assert [one["change"] for one in seen] == ["desired", "reported", "agreed", "reported"]
        assert [one.get("version") for one in seen] == [1, 1, None, 2]


def test_a_board_that_says_otherwise_for_too_long_has_failed(server: RunningServer) -> None:
    name, key = new(server, agree_within_s=1)
    with Thermostat(server, name, key, deaf=True) as board:
        board.say({"on": False})
        desire(server, name, {"on": True})
        eventually(lambda: board.heard)
        eventually(lambda: board.say({"on": False}) or states(server, name) == {"on": "failed"}, 20)
        assert desired(server, name)["effective"] == {"on": False}
        (line,) = [
            one
            for one in server.api.get(f"/api/v1/devices/{name}/timeline").json()["items"]
            if one["kind"] == "desired_failed"
        ]
        assert line["detail"] == "on is to be true and is false"
        board.say({"on": True})
        eventually(lambda: states(server, name) == {"on": "agreed"})


def test_a_removed_device_leaves_nothing_behind(server: RunningServer) -> None:
    name, _ = new(server)
    desire(server, name, {"on": True})
    assert server.api.delete(f"/api/v1/devices/{name}").status_code in (200, 204)
    assert server.api.get(f"/api/v1/devices/{name}/desired").status_code == 404
    server.register(name)
    assert desired(server, name)["version"] == 0


def test_a_contract_without_a_desired_state_says_so(server: RunningServer) -> None:
    body = {"contract": "hidrometro", "external_id": "HX99", "name": "Meter"}
    claimed = server.api.post("/api/v1/claims", json=body)
    assert claimed.status_code in (200, 201), claimed.text
    answer = desire(server, server.api.get("/api/v1/devices?search=HX99").json()["items"][0]["id"], {"flow": 1})
    assert (answer.status_code, answer.json()["reason"]) == (422, "desired_unknown")
