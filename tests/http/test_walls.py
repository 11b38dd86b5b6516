"""Walls: one dashboard for whoever has its link, with its owner's rights of the moment, and nothing else."""

import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relevo.store.backup import files_of
from tests.http.problems import problem
from tests.running import RunningServer

PASSWORD = "a-long-enough-one"
PLACE = {"x": 0, "y": 0, "w": 3, "h": 2}
BOARDS = "/api/v1/dashboards"
NOTHING = "there is nothing here"


class House:
    """An owner with two devices, one of them on a board with a wall."""

    def __init__(self, server: RunningServer, name: str) -> None:
        self.server, self.name = server, name
        self.account = f"{name}-ana"
        self.shown, self.other = f"{name}-shown", f"{name}-other"
        body = {"name": self.account, "password": PASSWORD, "role": "operator"}
        assert server.api.post("/api/v1/users", json=body).status_code == 201
        self.ana = httpx.Client(base_url=server.http, trust_env=False, timeout=10)
        answer = self.ana.post("/api/v1/auth/login", json={"username": self.account, "password": PASSWORD})
        self.ana.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self.keys = {
            one: server.canaries.plant(self.ana.post("/api/v1/devices", json={"id": one}).json()["key"])
            for one in (self.shown, self.other)
        }
        self.nobody = httpx.Client(base_url=server.http, trust_env=False, timeout=10)

    def close(self) -> None:
        self.ana.close()
        self.nobody.close()

    def say(self, device: str, values: dict[str, Any], ts: int = 0) -> None:
        body = {"ts": ts, "values": values} if ts else values
        headers = {"Authorization": f"Bearer {self.keys[device]}"}
        answer = self.nobody.post(f"/api/v1/devices/{device}/telemetry", json=body, headers=headers)
        assert answer.status_code == 200, answer.text

    def board(self, *widgets: dict[str, Any]) -> str:
        answer = self.ana.post(BOARDS, json={"name": "Well", "widgets": list(widgets)})
        assert answer.status_code == 201, answer.text
        found: str = answer.json()["id"]
        return found

    def hang(self, board: str, **more: Any) -> dict[str, Any]:
        answer = self.ana.post(f"{BOARDS}/{board}/walls", json={"name": "Kitchen"} | more)
        assert answer.status_code == 201, answer.text
        wall: dict[str, Any] = answer.json()
        self.server.canaries.plant(wall["token"])
        return wall

    def value(self, key: str = "t", **more: Any) -> dict[str, Any]:
        return PLACE | {"type": "value", "device": self.shown, "key": key} | more


@pytest.fixture
def house(server: RunningServer, name: str) -> Iterator[House]:
    one = House(server, name)
    yield one
    one.close()


class Frames:
    """What a stream brings, event by event."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200
        self._lines = answer.iter_lines()
        # The first line says that everything from now on is seen.
        assert next(self._lines).startswith("retry")

    def next(self) -> dict[str, Any]:
        for line in self._lines:
            if line.startswith("data: "):
                found: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return found
        raise EOFError

    def ended(self) -> bool:
        return not any(line.startswith("data: ") for line in self._lines)


def test_a_wall_shows_its_dashboard_and_the_values_on_it_alone(house: House) -> None:
    board = house.board(
        house.value(),
        PLACE | {"type": "button", "device": house.shown, "options": {"command": "open", "params": {"pin": 1234}}},
        PLACE | {"type": "text", "options": {"text": "hello"}},
    )
    house.say(house.shown, {"t": 21.5, "secret": 7})
    house.say(house.other, {"t": 99})
    wall = house.hang(board, days=2)
    answer = house.nobody.get(f"/api/v1/walls/{wall['token']}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    document = answer.json()
    assert (document["name"], document["version"], document["columns"]) == ("Well", 1, 12)
    (device,) = document["devices"]
    assert (device["id"], device["values"]["t"]["value"], set(device["values"])) == (house.shown, 21.5, {"t"})
    assert document["widgets"][1]["options"] == {"label": ""}
    assert document["widgets"][2]["options"] == {"text": "hello"}
    assert document["expires_at"] == wall["expires_at"] is not None
    for word in ("secret", "1234", house.other, house.account):
        assert word not in answer.text


def test_the_token_is_shown_once_and_a_key_makes_none(house: House) -> None:
    board = house.board()
    wall = house.hang(board)
    assert wall["url"] == f"/ui/wall/{wall['token']}"
    listed = house.ana.get(f"{BOARDS}/{board}/walls").json()["items"]
    assert [one["id"] for one in listed] == [wall["id"]]
    assert set(listed[0]) == {"id", "name", "created_at", "expires_at"}
    assert house.ana.get(f"{BOARDS}/{board}").json()["walls"] == listed
    key = house.ana.post("/api/v1/keys", json={"name": "all", "scopes": ["manage"]}).json()["key"]
    headers = {"Authorization": f"Bearer {house.server.canaries.plant(key)}"}
    assert house.nobody.post(f"{BOARDS}/{board}/walls", json={"name": "x"}, headers=headers).status_code == 403
    address = f"{BOARDS}/{board}/walls/{wall['id']}"
    assert house.nobody.delete(address, headers=headers).status_code == 403
    for action, target in (("wall.create", board), ("wall.delete", board)):
        if action == "wall.delete":
            assert house.ana.delete(address).status_code == 204
        query = {"action": action, "by": house.account}
        (line,) = house.server.api.get("/api/v1/audit", params=query).json()["items"]
        assert (line["target"], line["detail"]["wall"]) == (target, wall["id"])
    assert house.ana.delete(address).status_code == 404


def test_whatever_is_not_there_is_told_in_the_same_words(house: House) -> None:
    chart = PLACE | {"type": "chart", "options": {"series": [{"device": house.shown, "key": "t"}]}}
    board = house.board(chart, house.value("plain"))
    house.say(house.shown, {"t": 1, "plain": 2, "more": 3})
    house.say(house.other, {"t": 4})
    wall = house.hang(board)
    revoked = house.hang(board)
    house.ana.delete(f"{BOARDS}/{board}/walls/{revoked['id']}")
    good, gone = (f"/api/v1/walls/{one['token']}" for one in (wall, revoked))
    unknown = f"/api/v1/walls/wall_{'x' * 43}"
    assert house.nobody.get(f"{good}/telemetry/{house.shown}/t").json()["points"][0][1] == 1
    for address in (
        gone,
        unknown,
        f"{unknown}/stream",
        f"{unknown}/telemetry/{house.shown}/t",
        f"{unknown}/pictures/x",
        f"/api/v1/walls/{wall['id']}",
        f"{good}/telemetry/{house.shown}/more",
        # Of what only its newest value is shown the past is not.
        f"{good}/telemetry/{house.shown}/plain",
        f"{good}/telemetry/{house.other}/t",
        f"{good}/telemetry/none/t",
        f"{good}/pictures/none",
    ):
        assert problem(house.nobody.get(address), 404)["detail"] == NOTHING, address
    # The owner's session adds nothing to a link.
    assert house.ana.get(f"{good}/telemetry/{house.other}/t").status_code == 404
    # Nor does a link open anything else.
    headers = {"Authorization": f"Bearer {wall['token']}"}
    for address in (f"{BOARDS}/{board}", f"/api/v1/devices/{house.shown}", "/api/v1/stream"):
        assert house.nobody.get(address, headers=headers).status_code == 401
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert house.nobody.request(method, good).status_code == 405
    why = house.server.api.get("/metrics").text
    assert 'relevo_refused_total{reason="wall_unknown",where="http"}' in why


def test_a_chart_goes_back_as_far_as_it_says(house: House) -> None:
    options = {"series": [{"device": house.shown, "key": "t"}], "range": "1h"}
    board = house.board(PLACE | {"type": "chart", "options": options})
    now = time.time_ns() // 1_000_000
    for hours in (5, 0):
        house.say(house.shown, {"t": hours}, now - hours * 3_600_000 - 1_000)
    token = house.hang(board)["token"]
    address = f"/api/v1/walls/{token}/telemetry/{house.shown}/t"
    points = house.nobody.get(address, params={"from": 0, "points": 100}).json()["points"]
    assert [value for _, value in points] == [0]
    found = house.nobody.get(address, params={"aggregate": "max", "interval": "1h"})
    assert {one for one in found.json()["values"]["max"] if one is not None} == {0}
    assert house.nobody.get(address, params={"from": "x"}).status_code == 422


def test_a_stream_brings_what_is_on_the_wall_and_ends_with_it(house: House) -> None:
    board = house.board(house.value())
    wall = house.hang(board)
    address = f"/api/v1/walls/{wall['token']}/stream"
    with house.nobody.stream("GET", address) as answer:
        frames = Frames(answer)
        house.say(house.other, {"t": 1})
        house.say(house.shown, {"secret": 2})
        house.say(house.shown, {"t": 3, "secret": 4})
        found = frames.next()
        while found["kind"] == "presence":
            assert found["device"] == house.shown
            found = frames.next()
        assert (found["kind"], found["device"], found["values"]) == ("telemetry", house.shown, {"t": 3})
        house.ana.put(f"{BOARDS}/{board}", json={"version": 1, "name": "Well", "widgets": [house.value("u")]})
        assert frames.next() == {"kind": "dashboard", "version": 2}
        house.say(house.shown, {"t": 5, "u": 6})
        assert frames.next()["values"] == {"u": 6}
        assert house.ana.delete(f"{BOARDS}/{board}/walls/{wall['id']}").status_code == 204
        assert frames.ended()
    assert house.nobody.get(address).status_code == 404


@pytest.mark.parametrize("how", ["disabled", "removed", "board"])
def test_a_wall_ends_with_its_owner_and_its_dashboard(house: House, how: str) -> None:
    board = house.board(house.value())
    token = house.hang(board)["token"]
    with house.nobody.stream("GET", f"/api/v1/walls/{token}/stream") as answer:
        frames = Frames(answer)
        if how == "disabled":
            house.server.api.patch(f"/api/v1/users/{house.account}", json={"disabled": True})
            # Also what is said in the meantime is not shown.
            house.say(house.shown, {"t": 1})
        elif how == "removed":
            house.server.api.delete(f"/api/v1/users/{house.account}")
        else:
            house.ana.delete(f"{BOARDS}/{board}")
        assert frames.ended()
    assert problem(house.nobody.get(f"/api/v1/walls/{token}"), 404)["detail"] == NOTHING


def test_a_wall_loses_the_device_that_its_owner_loses(house: House) -> None:
    chart = PLACE | {"type": "chart", "options": {"series": [{"device": house.shown, "key": "t"}]}}
    both = PLACE | {"type": "table", "options": {"devices": [house.shown, house.other], "keys": ["t"]}}
    board = house.board(house.value(), chart, both)
    house.say(house.shown, {"t": 1})
    token = house.hang(board)["token"]
    address = f"/api/v1/walls/{token}"
    with house.nobody.stream("GET", f"{address}/stream") as answer:
        frames = Frames(answer)
        taken = house.ana.post(f"/api/v1/devices/{house.shown}/transfer", json={"to": "admin"})
        assert taken.status_code == 200, taken.text
        house.say(house.shown, {"t": 2})
        house.say(house.other, {"t": 3})
        told = frames.next()
        while told["kind"] != "telemetry":
            assert (told["kind"], told.get("device")) in (("dashboard", None), ("presence", house.other))
            told = frames.next()
        assert (told["device"], told["values"]) == (house.other, {"t": 3})
    document = house.nobody.get(address)
    assert [one["visible"] for one in document.json()["widgets"]] == [False, False, True]
    assert house.shown not in document.text
    assert house.nobody.get(f"{address}/telemetry/{house.shown}/t").status_code == 404


def test_a_table_by_tag_shows_those_of_the_owner_that_have_it(house: House) -> None:
    tag = f"{house.name}-tag"
    house.server.api.post("/api/v1/devices", json={"id": f"{house.name}-foreign", "tags": [tag]})
    assert house.ana.patch(f"/api/v1/devices/{house.shown}", json={"tags": [tag]}).status_code == 200
    house.say(house.shown, {"t": 1, "u": 2})
    board = house.board(PLACE | {"type": "table", "options": {"tag": tag, "keys": ["t"]}})
    document = house.nobody.get(f"/api/v1/walls/{house.hang(board)['token']}").json()
    assert [(one["id"], set(one["values"])) for one in document["devices"]] == [(house.shown, {"t"})]
    # Whoever looks has no list of devices to find them in.
    assert document["widgets"][0]["options"]["devices"] == [house.shown]


def test_a_wall_shows_alerts_of_its_devices_and_what_is_to_come(house: House) -> None:
    hot = {"name": "Hot", "condition": {"value": {"key": "t", "op": ">", "than": 8}}}
    action = {"alert": {"severity": "warning", "text": "too warm"}}
    assert house.ana.post("/api/v1/rules", json=hot | {"actions": [action]}).status_code == 201
    command = {"device": house.shown, "name": "relay", "params": {"state": "on"}}
    timing = {"kind": "cron", "expression": "30 7 * * *"}
    body = {"name": "Porch", "timing": timing, "action": {"command": command}, "zone": "Europe/Madrid"}
    schedule = house.ana.post("/api/v1/schedules", json=body).json()
    board = house.board(
        PLACE | {"type": "alerts", "options": {"devices": [house.shown]}},
        PLACE | {"type": "countdown", "options": {"schedule": schedule["id"]}},
    )
    address = f"/api/v1/walls/{house.hang(board)['token']}"
    with house.nobody.stream("GET", f"{address}/stream") as answer:
        frames = Frames(answer)
        house.say(house.other, {"t": 9})
        house.say(house.shown, {"t": 9})
        told = frames.next()
        while told["kind"] == "presence":
            told = frames.next()
        assert (told["kind"], told["device"], told["text"]) == ("alert", house.shown, "too warm")
    document = house.nobody.get(address).json()
    assert [(one["device"], one["severity"]) for one in document["alerts"]] == [(house.shown, "warning")]
    assert document["widgets"][1]["due_at"] == schedule["next"]
    assert schedule["id"] not in json.dumps(document)
    # Somebody else's schedule is not theirs to show.
    other = house.server.api.post(BOARDS, json={"name": "x", "widgets": [PLACE | {"type": "countdown"}]})
    assert other.status_code == 422


def test_a_wall_is_told_what_is_to_be(house: House) -> None:
    board = house.board(PLACE | {"type": "switch", "device": house.shown, "key": "lamp"})
    address = f"/api/v1/walls/{house.hang(board)['token']}"
    with house.nobody.stream("GET", f"{address}/stream") as answer:
        frames = Frames(answer)
        desired = house.ana.patch(
            f"/api/v1/devices/{house.shown}/desired", json={"values": {"lamp": True, "hidden": 1}}
        )
        assert desired.is_success, desired.text
        told = frames.next()
        assert (told["kind"], told["device"], told["values"]) == ("state", house.shown, {"lamp": True})
    (device,) = house.nobody.get(address).json()["devices"]
    assert device["values"] == {"lamp": {"value": True, "ts": None}}


def test_no_wall_has_more_than_so_many_streams(house: House) -> None:
    board = house.board()
    address = f"/api/v1/walls/{house.hang(board)['token']}/stream"
    opened = []
    try:
        for _ in range(32):
            client = httpx.Client(base_url=house.server.http, trust_env=False, timeout=10)
            answer = client.send(client.build_request("GET", address), stream=True)
            opened.append((client, answer, Frames(answer)))
        refused = house.nobody.get(address)
        problem(refused, 429)
        assert int(refused.headers["retry-after"]) > 0
    finally:
        for client, answer, _ in opened:
            answer.close()
            client.close()


# Pictures


def png(width: int = 4, height: int = 3) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_is_seen_by_who_sees_a_dashboard_with_it(house: House, server: RunningServer) -> None:
    picture = house.ana.post("/api/v1/pictures", content=png(), headers={"Content-Type": "image/svg+xml"})
    assert picture.status_code == 201, picture.text
    found = picture.json()
    assert (found["type"], found["width"], found["height"], found["size"]) == ("image/png", 4, 3, len(png()))
    answer = house.ana.get(found["url"])
    assert answer.content == png()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert "immutable" in answer.headers["cache-control"]
    assert server.api.get(found["url"]).status_code == 404
    assert house.nobody.get(found["url"]).status_code == 401
    widget = PLACE | {"type": "picture", "options": {"picture": found["id"]}}
    # Naming somebody's picture does not show it.
    stolen = server.api.post(BOARDS, json={"name": "x", "widgets": [widget]})
    assert [one["field"] for one in stolen.json()["errors"]] == ["widgets[0].options.picture"]
    board = house.board(widget)
    assert house.ana.delete(found["url"]).status_code == 409
    house.ana.patch(f"{BOARDS}/{board}", json={"shared": [{"user": "admin", "right": "view"}]})
    assert server.api.get(found["url"]).content == png()
    wall = house.hang(board)
    other = house.hang(house.board())
    assert house.nobody.get(f"/api/v1/walls/{wall['token']}/pictures/{found['id']}").content == png()
    assert house.nobody.get(f"/api/v1/walls/{other['token']}/pictures/{found['id']}").status_code == 404
    file = server.data / "pictures" / found["id"]
    assert file.read_bytes() == png()
    assert file.stat().st_mode & 0o777 == 0o600
    assert server.api.delete(f"/api/v1/users/{house.account}").status_code == 204
    assert not file.exists()
    assert house.nobody.get(f"/api/v1/walls/{wall['token']}/pictures/{found['id']}").status_code == 404


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 422),
        (b"<?xml version='1.0'?><svg/>", 422),
        (b"GIF89a" + bytes(40), 422),
        (png()[:20], 422),
        (png(0, 3), 422),
        (png(8_193, 1), 422),
        (png() + bytes(2_097_152), 413),
    ],
)
def test_what_is_no_picture_is_refused(house: House, content: bytes, status: int) -> None:
    answer = house.ana.post("/api/v1/pictures", content=content, headers={"Content-Type": "image/png"})
    assert problem(answer, status)["errors"][0]["field"] == "body"
    assert house.ana.get("/api/v1/pictures").json()["items"] == []


def test_a_person_has_room_for_fifty_pictures(house: House) -> None:
    first = house.ana.post("/api/v1/pictures", content=png()).json()
    for _ in range(49):
        assert house.ana.post("/api/v1/pictures", content=png()).status_code == 201
    problem(house.ana.post("/api/v1/pictures", content=png()), 409)
    assert house.ana.delete(first["url"]).status_code == 204
    assert house.ana.get(first["url"]).status_code == 404
    assert house.ana.post("/api/v1/pictures", content=png()).status_code == 201


def test_dashboards_walls_and_pictures_outlive_a_kill_and_leftovers_do_not(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        picture = server.api.post("/api/v1/pictures", content=png()).json()
        widget = PLACE | {"type": "picture", "options": {"picture": picture["id"]}}
        board = server.api.post(BOARDS, json={"name": "Well", "widgets": [widget]}).json()
        token = server.api.post(f"{BOARDS}/{board['id']}/walls", json={"name": "x"}).json()["token"]
        server.canaries.plant(token)
        server.kill()
        left = server.data / "pictures" / ("0" * 32)
        left.write_bytes(b"x")
        server.start()
        assert server.api.get(f"{BOARDS}/{board['id']}").json()["widgets"] == board["widgets"]
        shown = httpx.get(f"{server.http}/api/v1/walls/{token}/pictures/{picture['id']}", trust_env=False)
        assert shown.content == png()
        assert not left.exists()
        # A backup takes along what stands there.
        assert f"pictures/{picture['id']}" in [name for name, _ in files_of(server.data)[0]]
