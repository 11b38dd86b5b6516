"""What the app does beyond the acceptance checks: accounts, dashboards, widgets, schedules, notifications, webhooks."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.journeys.live import eventually
from tests.journeys.thingsnxt import PASSWORD, App, Board, client, close_all
from tests.running import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {
        "RELEVO_OPEN_REGISTRATION": "true",
        "RELEVO_THINGSNXT__REQUESTS_PER_MINUTE": "0",
        "RELEVO_ANONYMOUS_MQTT": "true",
        "RELEVO_TWINS__AGREE_WITHIN_S": "2",
    }
    with RunningServer(tmp_path_factory.mktemp("app") / "data", env=env) as one:
        yield one
        close_all()


@pytest.fixture(scope="module")
def app(server: RunningServer) -> App:
    return App(server)


@pytest.fixture(scope="module")
def other(server: RunningServer) -> App:
    return App(server)


@pytest.fixture
def board(app: App) -> Board:
    return app.add_device()


# Accounts


def test_an_account_is_made_once_and_by_the_contracts_rules(server: RunningServer, app: App) -> None:
    http = client(server)
    body = {"email": "new@example.org", "username": "new-one", "password": PASSWORD, "full_name": "New One"}
    made = http.post("/signup", json=body)
    assert made.status_code == 200
    assert made.json()["user"]["role"] == "user"
    assert made.json()["user"]["full_name"] == "New One"
    for again in (body, body | {"username": "other"}, body | {"email": "x@example.org"}):
        assert http.post("/signup", json=again).status_code == 400
    for wrong in (
        {"username": "ab"},
        {"username": "a b c"},
        {"password": "short1A"},
        {"password": "nocapitals1"},
        {"password": "NOSMALL1"},
        {"password": "NoDigits"},
        {"password": "Aa1" + "x" * 70},
        {"email": "nobody"},
    ):
        answer = http.post("/signup", json=body | {"email": "y@example.org", "username": "y-y-y"} | wrong)
        assert answer.status_code == 422, wrong
        assert answer.json()["detail"][0]["loc"][-1] == next(iter(wrong))


def test_signing_in_with_either_form_and_wrongly(server: RunningServer, app: App) -> None:
    http = client(server)
    for answer in (
        http.post("/login", json={"email": app.email, "password": PASSWORD}),
        http.post("/token", data={"username": app.name, "password": PASSWORD}),
    ):
        assert answer.status_code == 200
        body = answer.json()
        assert body["token_type"] == "bearer"
        user = body["user"]
        assert (user["email"], user["username"], user["is_active"]) == (app.email, app.name, True)
        server.canaries.plant(body["refresh_token"])
        for how in ({"json": {"refresh_token": body["refresh_token"]}}, {"params": {}}):
            fresh = http.post("/refresh", **how)  # type: ignore[arg-type]
            if "params" in how:
                assert fresh.status_code == 401
            else:
                assert fresh.json()["refresh_token"] != body["refresh_token"]
    for wrong in (
        http.post("/login", json={"email": app.email, "password": "Wrong-one-1"}),
        http.post("/token", data={"username": "nobody", "password": PASSWORD}),
    ):
        assert wrong.status_code == 400
        assert isinstance(wrong.json()["detail"], str)
    assert http.post("/token", data={"username": "nobody"}).status_code == 422
    assert http.post("/login", content=b"x=1").status_code == 422


def test_a_refresh_token_in_the_query_is_good_once(server: RunningServer) -> None:
    person = App(server)
    answer = person.http.post("/refresh", params={"refresh_token": person.refresh})
    assert answer.status_code == 200
    assert answer.json()["access_token"] != person.access
    assert person.http.post("/refresh", params={"refresh_token": person.refresh}).status_code == 401


def test_a_profile_is_read_changed_and_removed(server: RunningServer) -> None:
    person = App(server)
    board = person.add_device()
    widget = person.add_switch(board)
    changed = person.http.put("/me", json={"full_name": "Ann", "email": "ann-new@example.org"})
    assert changed.status_code == 200
    assert person.http.get("/me").json()["full_name"] == "Ann"
    taken = person.http.put("/me", json={"email": App(server).email})
    assert taken.status_code == 400
    refused = person.http.put("/me", json={"password": "Another-day-43", "current_password": "wrong"})
    assert refused.status_code == 400
    new = {"password": "Another-day-43", "current_password": PASSWORD}
    assert person.http.put("/me", json=new).status_code == 200
    signed_in = person.http.post("/login", json={"email": "ann-new@example.org", "password": "Another-day-43"})
    assert signed_in.status_code == 200
    assert person.http.delete("/me").json() == {"message": "Account deleted"}
    assert person.http.get("/me").status_code == 401
    assert server.api.get(f"/api/v1/devices/{board.id}").json()["owner"] is None
    assert person.switch(widget, 1).status_code == 401


def test_whether_there_is_an_account_is_told_to_nobody(server: RunningServer, app: App) -> None:
    http = client(server)
    answers = [http.post("/forgot-password", json={"email": one}) for one in (app.email, "nobody@example.org")]
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert http.get("/verify-reset-token", params={"token": "ABC"}).json() == {"valid": False}
    wrong = http.post("/reset-password", json={"token": "ABC", "new_password": PASSWORD})
    assert wrong.status_code == 400


# Devices


def test_devices_are_listed_with_both_ids_and_without_tokens(server: RunningServer, app: App, other: App) -> None:
    board, foreign = app.add_device(name="Lamp", type="esp32"), other.add_device()
    mine = {one["id"]: one for one in app.http.get("/devices").json()}
    shown = mine[board.id]
    assert shown["_id"] == board.id
    assert (shown["name"], shown["type"], shown["status"]) == ("Lamp", "esp32", "offline")
    assert board.token not in json.dumps(mine)
    assert foreign.id not in mine
    # What the list shows opens the device for its owner, and for nobody else.
    path, query = "/telemetry/latest", {"device_token": shown["device_token"]}
    board.report(a=1)
    assert app.http.get(path, params=query).json()["data"] == {"a": 1}
    assert other.http.get(path, params=query).status_code == 404
    assert client(server).get(path, params=query).status_code == 404
    # The app sends its own token along with the device's.
    assert app.http.get(path, params={"device_token": board.token}).json()["data"] == {"a": 1}


def test_a_device_is_renamed_given_another_token_and_removed(app: App, other: App, board: Board) -> None:
    path = f"/devices/{board.id}"
    assert other.http.patch(path, json={"name": "Mine"}).status_code == 404
    assert app.http.patch(path, json={"name": "Pump"}).json()["name"] == "Pump"
    assert app.http.get(f"{path}/token").json()["device_token"] == board.token
    assert other.http.get(f"{path}/token").status_code == 404
    fresh = app.http.post(f"{path}/token").json()["device_token"]
    app.server.canaries.plant(fresh)
    assert board.post({"a": 1}).status_code == 403
    assert board.post({"a": 1}, device_token=fresh).status_code == 200
    assert app.http.get(f"{path}/token").json()["device_token"] == fresh
    widget = app.add_switch(board)
    with app.listen() as ears:
        assert app.http.delete(path).json() == {"message": "Device deleted"}
        assert ears.wait_for("device_removed")["device_id"] == board.id
        assert ears.wait_for("widget_deleted")["widget_id"] == widget["_id"]
    assert board.post({"a": 1}, device_token=fresh).status_code == 404


def test_a_device_from_elsewhere_keeps_its_identity(app: App, other: App) -> None:
    known = {"device_id": "6123456abcdef12345678901", "device_token": "sample_token-01"}
    board = app.add_device(**known)
    assert (board.id, board.token) == (known["device_id"], known["device_token"])
    assert board.report(v0=1) == {"v0": 1}
    assert other.http.post("/devices", json=known).status_code == 400
    taken = {"device_id": "6123456abcdef12345678902", "device_token": known["device_token"]}
    assert other.http.post("/devices", json=taken).status_code == 400
    assert app.http.get(f"/devices/{board.id}/token").status_code == 404


def test_status_of_many_devices_is_set_by_hand(app: App, other: App, board: Board) -> None:
    board.report(a=1)
    eventually(lambda: app.http.get("/devices").json()[-1]["status"] == "online")
    body = {"device_ids": [board.id, other.add_device().id, "x"], "status": "offline"}
    answer = app.http.patch("/devices/bulk/status", json=body)
    assert answer.json()["modified_count"] == 1
    eventually(lambda: app.http.get("/devices").json()[-1]["status"] == "offline")
    assert app.http.patch("/devices/bulk/status", json=body | {"status": "odd"}).status_code == 422


def test_history_is_what_was_stored(app: App, other: App, board: Board) -> None:
    for n in range(5):
        board.report(t=n)
    query = {"device_id": board.id, "key": "t", "period": "24h"}
    points = app.http.get("/telemetry/history", params=query).json()
    assert [one["value"] for one in points] == [0, 1, 2, 3, 4]
    assert all(one["timestamp"].endswith("Z") for one in points)
    assert app.http.get("/telemetry/history", params=query | {"key": "none"}).json() == []
    assert app.http.get("/telemetry/history", params=query | {"period": "soon"}).status_code == 422
    assert other.http.get("/telemetry/history", params=query).status_code == 404


def test_no_answer_to_a_device_is_longer_than_its_firmware_reads(app: App, board: Board) -> None:
    board.report(v1=1, **{f"name-{n}": "x" * 60 for n in range(40)})
    for answer in (board.post({"late": 1}), board.http.get("/telemetry/latest", params={"device_token": board.token})):
        assert len(answer.content) < 1_500
        assert answer.json()["data"]["v1"] == 1
    whole = app.http.get("/telemetry/latest", params={"device_token": board.token}).json()["data"]
    assert len(whole) == 42


def test_what_begins_with_an_underscore_stays_here(board: Board) -> None:
    assert board.report(_hidden=1, shown=2) == {"shown": 2}


# What is desired


def test_what_is_never_reported_is_delivered_by_the_first_poll(app: App, board: Board) -> None:
    widget = app.add_switch(board)
    app.switch(widget, 1)
    assert board.poll() == {"v0": 1}
    path = f"/api/v1/devices/{board.id}/desired"
    eventually(lambda: app.http.get(path).json()["changed"]["v0"]["state"] == "agreed")
    assert board.report(t=1) == {"v0": 1, "t": 1}


def test_a_wish_that_is_not_met_fails_after_contact_and_survives_an_outage(app: App, board: Board) -> None:
    widget = app.add_switch(board)
    board.report(v0=0)
    app.switch(widget, 1)
    # Silence for longer than the whole time counts for nothing.
    time.sleep(2.5)
    assert board.report(v0=0)["v0"] == 1
    with app.listen() as ears:
        end = time.monotonic() + 15
        while board.report(v0=0)["v0"] == 1:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert ears.wait_for("telemetry_update", data={"v0": 0})
    twin = app.http.get(f"/api/v1/devices/{board.id}/desired").json()
    assert twin["changed"]["v0"]["state"] == "failed"


def test_firmware_that_says_true_or_led_has_agreed(app: App, board: Board) -> None:
    widget = app.add_switch(board)
    board.report(v0=False)
    app.switch(widget, 1)
    board.report(v0=True)
    assert app.http.get(f"/api/v1/devices/{board.id}/desired").json()["changed"]["v0"]["state"] == "agreed"
    older = app.add_device()
    widget = app.add_switch(older)
    older.report(led=0)
    app.switch(widget, 1)
    assert older.poll() == {"led": 0, "v0": 1}
    older.report(led=1)
    assert app.http.get(f"/api/v1/devices/{older.id}/desired").json()["changed"]["v0"]["state"] == "agreed"


def test_a_measurement_that_is_desired_holds_until_it_is_so(app: App, board: Board) -> None:
    board.report(target=18)
    wish = {"values": {"target": 21}}
    assert app.http.patch(f"/api/v1/devices/{board.id}/desired", json=wish).status_code == 200
    assert board.poll() == {"target": 21}
    assert board.report(target=18) == {"target": 21}
    assert board.report(target=21) == {"target": 21}
    assert board.report(target=19) == {"target": 19}


# Dashboards and widgets


def test_dashboards_and_widgets_belong_to_one_person(app: App, other: App, board: Board) -> None:
    dashboard = app.add_dashboard()
    first, second = app.add_switch(board, dashboard), app.add_switch(board, dashboard)
    assert [one["config"]["virtual_pin"] for one in (first, second)] == ["v0", "v1"]
    gauge = {
        "dashboard_id": dashboard,
        "device_id": board.id,
        "type": "gauge",
        "label": "T",
        "config": {"key": "temperature"},
    }
    made = app.http.post("/widgets", json=gauge).json()
    assert made["id"] == made["_id"]
    board.report(temperature=20.5, v1=1)
    listed = app.http.get(f"/widgets/{dashboard}").json()
    assert [one["value"] for one in listed] == [0, 1, 20.5]
    assert all(one["device_id"] == board.id and one["dashboard_id"] == dashboard for one in listed)
    layout = [{"id": made["_id"], "width": 2, "height": 3}, {"id": first["_id"], "width": 1, "height": 1}]
    assert app.http.put(f"/dashboards/{dashboard}/layout", json={"layout": layout}).status_code == 200
    listed = app.http.get(f"/widgets/{dashboard}").json()
    assert [one["_id"] for one in listed] == [made["_id"], first["_id"], second["_id"]]
    assert (listed[0]["width"], listed[0]["height"]) == (2, 3)
    renamed = app.http.patch(f"/widgets/{made['_id']}", json={"label": "Warm"})
    assert renamed.json()["label"] == "Warm"
    for method, path in (
        ("GET", f"/widgets/{dashboard}"),
        ("DELETE", f"/dashboards/{dashboard}"),
        ("PATCH", f"/widgets/{made['_id']}"),
        ("DELETE", f"/widgets/{made['_id']}"),
    ):
        assert other.http.request(method, path, json={} if method == "PATCH" else None).status_code == 404
    assert other.http.post("/widgets", json=gauge).status_code == 404
    assert app.http.delete(f"/widgets/{second['_id']}").status_code == 200
    assert app.http.delete(f"/dashboards/{dashboard}").status_code == 200
    assert app.http.get(f"/widgets/{dashboard}").status_code == 404
    assert dashboard not in [one["_id"] for one in app.http.get("/dashboards").json()]


def test_a_board_of_another_contract_is_switched_from_the_app(app: App) -> None:
    server = app.server
    headers = {"Authorization": f"Bearer {app.access}"}
    relay = {"uuid": "esp32-of-the-app", "name": "Relays", "type": "esp32_relay"}
    assert httpx.post(f"{server.http}/api/devices", json=relay, headers=headers, trust_env=False).status_code == 201
    shown = next(one for one in app.http.get("/devices").json() if one["name"] == "Relays")
    assert len(shown["id"]) == 24
    body = {
        "dashboard_id": app.add_dashboard(),
        "device_id": shown["id"],
        "type": "led",
        "config": {"virtual_pin": "relay_1"},
    }
    widget = app.http.post("/widgets", json=body).json()
    assert app.switch(widget, 1).status_code == 200
    device = next(one for one in server.api.get("/api/v1/devices?contract=autocore").json()["items"])
    desired = server.api.get(f"/api/v1/devices/{device['id']}/desired").json()
    assert desired["values"] == {"relay_1": True}


# Schedules


def test_schedules_and_timers_switch_later(app: App, other: App, board: Board) -> None:
    widget = app.add_switch(board)
    path = f"/widgets/{widget['_id']}"
    with app.listen() as ears:
        timer = app.http.post(f"{path}/timer", json={"state": 1, "duration_seconds": 1})
        assert timer.status_code == 200
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        planned = app.http.post(f"{path}/schedule", json={"state": False, "execute_at": later, "label": "Night"})
        assert planned.status_code == 200
        listed = app.http.get(f"{path}/schedule").json()["schedules"]
        assert [(one["label"], one["status"]) for one in listed] == [("Timer", "pending"), ("Night", "pending")]
        assert app.http.get(f"/widgets/{widget['dashboard_id']}").json()[0]["next_schedule"]
        told = ears.wait_for("led_schedule_executed", 10, schedule_id=timer.json()["schedule_id"])
        assert (told["widget_id"], told["state"]) == (widget["_id"], True)
        sid = planned.json()["schedule_id"]
        assert other.http.delete(f"{path}/schedule/{sid}").status_code == 404
        assert app.http.delete(f"{path}/schedule/{sid}").json() == {"message": "cancelled"}
        ears.wait_for("led_schedule_cancelled", schedule_id=sid)
        assert app.http.delete(f"{path}/schedule/{sid}").status_code == 404
    assert board.poll() == {"v0": 1}
    (one,) = app.http.get(f"{path}/schedule").json()["schedules"]
    assert one["status"] == "completed"
    for wrong in ({"state": 1, "duration_seconds": 86_401}, {"state": 1, "duration_seconds": 0}, {"state": 1}):
        assert app.http.post(f"{path}/timer", json=wrong).status_code == 422
    past = {"state": 1, "execute_at": "2020-01-01T00:00:00Z"}
    assert app.http.post(f"{path}/schedule", json=past).status_code == 400
    assert app.http.post(f"{path}/timer", json={"state": 5, "duration_seconds": 5}).status_code == 400


# Notifications and webhooks


def test_notifications_are_read_and_streamed(app: App, other: App) -> None:
    with app.http.stream("GET", "/notifications/stream") as answer, app.listen() as ears, other.listen() as foreign:
        lines = answer.iter_lines()
        frames = (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))
        assert next(frames)["type"] == "connected"
        initial = next(frames)
        assert initial["type"] == "initial"
        app.http.post("/api/v1/notifications/test", json={"title": "Hot", "text": "Very", "severity": "warning"})
        streamed, pushed = next(frames), ears.wait_for("notification")
        assert streamed["notification"] == pushed["notification"]
        assert (pushed["notification"]["title"], pushed["notification"]["message"]) == ("Hot", "Very")
        assert foreign.silent()
    (one,) = app.http.get("/notifications", params={"limit": 50, "read": False}).json()["notifications"]
    assert one["_id"] == pushed["notification"]["_id"]
    assert other.http.put(f"/notifications/{one['_id']}/read").status_code == 404
    assert app.http.put(f"/notifications/{one['_id']}/read").status_code == 200
    assert app.http.get("/notifications", params={"read": False}).json()["notifications"] == []
    assert app.http.put("/notifications/read-all").status_code == 200
    assert app.http.delete(f"/notifications/{one['_id']}").status_code == 204
    assert app.http.delete(f"/notifications/{one['_id']}").status_code == 404


def test_webhooks_are_made_in_the_contracts_words(app: App, other: App) -> None:
    body = {"url": "https://93.184.216.34/hook", "events": ["telemetry_update", "status_update"]}
    made = app.http.post("/webhooks", json=body)
    assert made.status_code == 200
    secret = app.server.canaries.plant(made.json()["secret"])
    (listed,) = app.http.get("/webhooks").json()
    assert listed["secret"] == "***"
    assert secret not in json.dumps(listed)
    assert listed["events"] == ["telemetry_update", "status_update"]
    path = f"/webhooks/{listed['_id']}"
    assert other.http.get(path).status_code == 404
    assert app.http.patch(path, json={"is_active": False}).json()["is_active"] is False
    assert app.http.put(path, json={"name": "Mine"}).json()["name"] == "Mine"
    private = app.http.post("/webhooks", json={"url": "http://127.0.0.1/hook"})
    assert private.status_code == 422
    assert app.http.post("/webhooks", json=body | {"events": ["odd"]}).status_code == 422
    assert app.http.delete(path).status_code == 200
    assert app.http.get("/webhooks").json() == []


# MQTT


class Wire:
    """A client of paho; ``user`` and ``password`` empty for the anonymous."""

    def __init__(self, server: RunningServer, user: str = "", password: str = "") -> None:
        self.got: list[tuple[str, Any]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        if user:
            self._client.username_pw_set(user, password)
        self._client.on_message = lambda _client, _data, message: self.got.append(
            (message.topic, json.loads(message.payload))
        )
        self._client.connect("127.0.0.1", server.mqtt_port)
        self._client.loop_start()
        eventually(self._client.is_connected)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, topic: str, body: Any) -> None:
        self._client.publish(topic, json.dumps(body), qos=1).wait_for_publish(5)

    def listen(self, topic: str) -> None:
        told: list[int] = []
        self._client.on_subscribe = lambda *_: told.append(1)
        self._client.subscribe(topic, qos=1)
        eventually(lambda: told)


def test_a_board_speaks_and_listens_over_mqtt(app: App, board: Board) -> None:
    widget = app.add_switch(board)
    root = f"thingsnxt/device/{board.id}"
    with Wire(app.server, board.id, board.token) as wire:
        wire.listen(f"{root}/commands")
        wire.send(f"{root}/telemetry", {"data": {"v0": 0, "t": 1}})
        assert board.poll() == {"v0": 0, "t": 1}
        app.switch(widget, 1)
        eventually(lambda: wire.got)
        topic, command = wire.got[0]
        assert topic == f"{root}/commands"
        assert {name: command[name] for name in ("type", "state", "virtual_pin")} == {
            "type": "led",
            "state": 1,
            "virtual_pin": "v0",
        }
        wire.send(f"{root}/telemetry", {"device_token": board.token, "data": {"v0": 1}})
        desired = app.http.get(f"/api/v1/devices/{board.id}/desired").json()
        assert desired["changed"]["v0"]["state"] == "agreed"
        wire.send(f"{root}/telemetry", {"device_token": "wrong", "data": {"t": 99}})
        assert board.poll()["t"] == 1


def test_over_mqtt_a_token_is_checked_and_nothing_ever_made(app: App, board: Board) -> None:
    with Wire(app.server) as wire:
        for body in ({"data": {"t": 1}}, {"device_token": "no", "data": {"t": 1}}):
            wire.send(f"thingsnxt/device/{board.id}/telemetry", body)
        assert board.poll() == {}
        wire.send(f"thingsnxt/device/{board.id}/telemetry", {"device_token": board.token, "data": {"t": 2}})
        assert board.poll() == {"t": 2}
        unknown = "0123456789abcdef0123abcd"
        wire.send(f"thingsnxt/device/{unknown}/telemetry", {"device_token": board.token, "data": {"t": 3}})
    assert app.server.api.get(f"/api/v1/devices?search={unknown}").json()["items"] == []
    assert unknown not in app.server.api.get("/api/v1/unclaimed").text
    assert "device_unknown" in app.server.api.get("/api/v1/system/timeline").text
    assert "bad_credentials" in app.http.get(f"/api/v1/devices/{board.id}/timeline").text


# Restart


def test_everything_is_there_after_a_restart(server: RunningServer, app: App, board: Board) -> None:
    widget = app.add_switch(board)
    board.report(v0=0)
    app.switch(widget, 1)
    server.kill()
    server.restart()
    app.sign_in()
    assert board.poll()["v0"] == 1
    assert app.http.get(f"/widgets/{widget['dashboard_id']}").json()[0]["value"] == 1
    assert app.http.get(f"/devices/{board.id}/token").json()["device_token"] == board.token
