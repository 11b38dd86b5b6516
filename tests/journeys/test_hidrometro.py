"""Contract hidrometro (contracts/hidrometro.md, section 10): its acceptance checks beyond the reading path, with
unmodified clients over real sockets."""

import base64
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from socketio.exceptions import ConnectionError as Refused
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.journeys.live import eventually
from tests.journeys.meters import Meter, Watcher, browser, claim, person, rows, sign_in
from tests.running import ADMIN_PASSWORD, RunningServer

LIMIT = 30
SHORTEST_S = 10
THRESHOLD = 2.5
START = 1_767_225_600
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Legacy meters and open reads, as in the original; the defaults of leaks."""
    env = {"RELEVO_PROFILE": "lab", "HISTORY_LIMIT": str(LIMIT)}
    with RunningServer(tmp_path_factory.mktemp("water") / "data", env=env) as one:
        yield one


@pytest.fixture(scope="module")
def admin(server: RunningServer) -> Iterator[httpx.Client]:
    with sign_in(server) as client:
        yield client


@pytest.fixture(scope="module")
def user(server: RunningServer) -> Iterator[httpx.Client]:
    with person(server, "plain") as client:
        yield client


@pytest.fixture(scope="module")
def meter(server: RunningServer) -> Iterator[Meter]:
    with Meter(server) as one:
        yield one


@pytest.fixture
def board(server: RunningServer) -> Iterator[Meter]:
    """A legacy meter that listens on the shared topic."""
    with Meter(server, "hidrometro/cmd") as one:
        yield one


@pytest.fixture
def serial() -> str:
    return f"HX{next(_numbers):04}"


def post(server: RunningServer, path: str, body: Any, token: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.post(server.http + path, json=body, headers=headers, trust_env=False)


def token_of(client: httpx.Client) -> str:
    return client.headers["authorization"].removeprefix("Bearer ")


def test_hidrometro_02_login(server: RunningServer, user: httpx.Client) -> None:
    good = post(server, "/api/login", {"username": "admin", "password": ADMIN_PASSWORD})
    assert good.status_code == 200
    assert good.json().keys() == {"token", "role"}
    assert good.json()["role"] == "admin"
    assert good.headers["cache-control"] == "no-store"
    token = server.canaries.plant(good.json()["token"])
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["role"]) == ("admin", "admin")
    assert 3_590 <= claims["exp"] - time.time() <= 3_600
    assert jwt.decode(token_of(user), options={"verify_signature": False})["role"] == "user"
    for name, password in (("admin", "wrong"), ("nobody", ADMIN_PASSWORD)):
        bad = post(server, "/api/login", {"username": name, "password": password})
        assert (bad.status_code, bad.json()) == (401, {"error": "invalid credentials"})
    for body in ({}, [], {"username": "admin"}, {"username": 1, "password": "x"}):
        wrong = post(server, "/api/login", body)
        assert wrong.status_code == 400, body
        assert wrong.json().keys() == {"error"}


def test_hidrometro_02_ten_failures_and_the_next_has_to_wait(server: RunningServer) -> None:
    answers = [post(server, "/api/login", {"username": "guesser", "password": f"x{n}"}) for n in range(12)]
    assert [one.status_code for one in answers] == [401] * 10 + [429] * 2
    assert answers[-1].json() == {"error": "too many attempts"}
    assert int(answers[-1].headers["retry-after"]) > 0


def test_hidrometro_03_data_needs_a_good_token(
    server: RunningServer, admin: httpx.Client, user: httpx.Client, serial: str
) -> None:
    body = {"totalLiters": 1.5, "flowLmin": 1, "numeroSerie": serial}
    missing = post(server, "/api/data", body)
    assert (missing.status_code, missing.json()) == (401, {"error": "missing token"})
    head, payload, mark = token_of(admin).split(".")
    padded = base64.urlsafe_b64decode(payload + "==")
    forged = base64.urlsafe_b64encode(padded.replace(b'"admin"', b'"nobod"')).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    claims = jwt.decode(token_of(admin), options={"verify_signature": False})
    foreign = jwt.encode(claims, "k" * 32, algorithm="HS256")
    for token in (f"{head}.{forged}.{mark}", f"{head}.{payload}.{mark[:-2]}xx", f"{none}.{payload}.", foreign, "x"):
        tampered = post(server, "/api/data", body, token)
        assert (tampered.status_code, tampered.json()) == (401, {"error": "invalid token"}), token
    with browser(server) as page:
        # A cookie is no Bearer token: a foreign page could send it.
        assert page.post("/api/data", json=body).status_code == 401
    for client in (admin, user):
        good = client.post("/api/data", json=body)
        assert (good.status_code, good.json()) == (200, {"status": "ok"})
    current = admin.get("/api/current", params={"numeroSerie": serial}).json()
    assert (current["totalLiters"], current["numero_serie"]) == (1.5, serial)
    for bad in ({"numeroSerie": serial}, [], {"totalLiters": -1}, {"totalLiters": "x"}, 7):
        wrong = admin.post("/api/data", json=bad)
        assert wrong.status_code == 400, bad
        assert wrong.json().keys() == {"error"}
    assert admin.post("/api/data", content=b"{").status_code == 400


def test_hidrometro_03_what_is_posted_is_stored_as_over_mqtt(
    server: RunningServer, admin: httpx.Client, user: httpx.Client, meter: Meter, serial: str
) -> None:
    device = claim(server, serial)
    for total in (5, 6.5):
        assert (
            admin.post("/api/data", json={"total": total, "flowRate": 1, "serial": serial.lower()}).status_code == 200
        )
    meter.read(serial, 8)
    assert rows(server, device) == [5, 6.5, 8]
    # What was not sent is the difference, and a fall is a reset.
    meter.read(serial, 1)
    meter.read(serial, 2, consumo_litros=1.25, nivel_bateria=80, pressao_bar=2.5)
    assert rows(server, device, "consumo_litros") == [0, 1.5, 1.5, 0, 1.25]
    assert rows(server, device, "nivel_bateria") == [80]
    # Who may not control a registered meter does not speak for it.
    answer = user.post("/api/data", json={"totalLiters": 99, "numeroSerie": serial})
    assert (answer.status_code, answer.json()) == (403, {"error": "forbidden"})
    # The meter itself does, with its key, and for nobody else.
    key = server.canaries.plant(server.api.post(f"/api/v1/devices/{device}/credentials/keys", json={}).json()["key"])
    assert post(server, "/api/data", {"totalLiters": 9}, key).status_code == 200
    assert rows(server, device)[-1] == 9
    foreign = post(server, "/api/data", {"totalLiters": 9, "numeroSerie": "OTHER"}, key)
    assert (foreign.status_code, foreign.json()) == (403, {"error": "forbidden"})


def test_hidrometro_06_history_size(
    server: RunningServer, admin: httpx.Client, user: httpx.Client, meter: Meter
) -> None:
    for n in range(LIMIT + 5):
        meter.read("COUNTED", 100 + n)
    size = admin.get("/api/debug/history-size")
    assert (size.status_code, size.json()) == (200, {"historySize": LIMIT, "limit": LIMIT})
    last = admin.get("/api/history", params={"limit": 3}).json()["history"]
    assert [one["totalLiters"] for one in last] == [102 + LIMIT, 103 + LIMIT, 104 + LIMIT]
    forbidden = user.get("/api/debug/history-size")
    assert (forbidden.status_code, forbidden.json()) == (403, {"error": "forbidden"})
    missing = httpx.get(f"{server.http}/api/debug/history-size", trust_env=False)
    assert (missing.status_code, missing.json()) == (401, {"error": "missing token"})


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_hidrometro_07_socketio_history_then_data(
    server: RunningServer, meter: Meter, serial: str, transport: str
) -> None:
    meter.read(serial, 3.5, 1.5)
    with Watcher(server.http, transport) as first:
        first.wait(lambda events: len(events) >= 2)
        (name, history), (following, current) = first.events[:2]
        assert (name, following) == ("history:init", "data")
        assert 0 < len(history) <= 200
        assert history[-1].keys() == {"ts", "totalLiters", "flowLmin"}
        assert [one["ts"] for one in history] == sorted(one["ts"] for one in history)
        assert history[-1]["totalLiters"] == 3.5
        assert current == history[-1] | {"numero_serie": serial}
        meter.read(serial, 4.5)
        assert first.wait_total(4.5)["numero_serie"] == serial
        with Watcher(server.http, transport) as second:
            second.wait(lambda events: len(events) >= 2)
            meter.read(serial, 5.5)
            for one in (first, second):
                one.wait_total(5.5)
            assert len(first.of("history:init")) == len(second.of("history:init")) == 1
        # Nobody's reading is shown too, with null.
        meter.read(None, 6.5)
        assert first.wait_total(6.5)["numero_serie"] is None


def test_hidrometro_08_reset_as_administrator_is_one_message(
    server: RunningServer, admin: httpx.Client, user: httpx.Client, board: Meter
) -> None:
    forbidden = user.post("/api/cmd", json={"action": "reset"})
    assert (forbidden.status_code, forbidden.json()) == (403, {"error": "forbidden"})
    missing = post(server, "/api/cmd", {"action": "reset"})
    assert (missing.status_code, missing.json()) == (401, {"error": "missing token"})
    sent = admin.post("/api/cmd", json={"action": "reset"})
    assert (sent.status_code, sent.json()) == (200, {"status": "sent", "cmd": {"action": "reset"}})
    simulate = admin.post("/api/cmd", json={"action": "simulate", "value": "8"})
    assert simulate.json()["cmd"] == {"action": "simulate", "value": 8.0}
    eventually(lambda: len(board.heard) == 2)
    assert board.heard == [
        ("hidrometro/cmd", {"action": "reset"}, 1, False),
        ("hidrometro/cmd", {"action": "simulate", "value": 8.0}, 1, False),
    ]


def test_hidrometro_09_get_with_bearer_and_never_with_a_cookie(
    server: RunningServer, admin: httpx.Client, board: Meter
) -> None:
    query = {"action": "setCalibration", "value": "7.2"}
    with browser(server) as page:
        refused = page.get("/api/cmd", params=query)
        assert (refused.status_code, refused.json()) == (401, {"error": "missing token"})
        # Nor with POST, unless a form of ours says so.
        for headers in ({}, {"X-CSRF-Token": "0" * 64}):
            forged = page.post("/api/cmd", json={"action": "reset"}, headers=headers)
            assert (forged.status_code, forged.json()) == (403, {"error": "forbidden"})
        foreign = page.post("/api/cmd", json={"action": "reset"}, headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403
    sent = admin.get("/api/cmd", params=query)
    assert sent.json() == {"status": "sent", "cmd": {"action": "setCalibration", "value": 7.2}}
    eventually(lambda: board.heard)
    assert board.heard == [("hidrometro/cmd", {"action": "setCalibration", "value": 7.2}, 1, False)]


@pytest.mark.parametrize(
    "body", [{"action": "format"}, {}, {"action": None}, {"action": 5}, {"action": "Reset"}, {"value": 1}]
)
def test_hidrometro_10_an_unknown_action_is_refused(admin: httpx.Client, board: Meter, body: dict[str, Any]) -> None:
    answer = admin.post("/api/cmd", json=body)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid action"})
    # Behind it comes what was sent after it: nothing was published.
    assert admin.post("/api/cmd", json={"action": "simOff"}).status_code == 200
    eventually(lambda: board.heard)
    assert [one[1] for one in board.heard] == [{"action": "simOff"}]


@pytest.mark.parametrize("value", [None, 0, -1, "x", "NaN", True])
def test_hidrometro_10_a_calibration_is_above_zero(admin: httpx.Client, value: Any) -> None:
    answer = admin.post("/api/cmd", json={"action": "setCalibration", "value": value})
    assert answer.status_code == 400
    assert "value" in answer.json()["error"]


def leak(meter: Meter, serial: str, *flows: tuple[int, float], total: float = 50) -> None:
    for at, flow in flows:
        meter.read(serial, total, flow, ts=START + at)


def alerts(client: httpx.Client, serial: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/alerts", params=query)
    assert answer.status_code == 200, answer.text
    return [one for one in answer.json()["alerts"] if one["serial"] == serial]


@pytest.mark.parametrize("registered", [True, False])
def test_hidrometro_14_leak_one_alert_an_episode(
    server: RunningServer, admin: httpx.Client, meter: Meter, serial: str, registered: bool
) -> None:
    device = claim(server, serial, id_dispositivo=900 + int(serial[2:])) if registered else ""
    with Watcher(server.http) as watcher:
        leak(meter, serial, (0, 3.0), (5, 2.4), (6, 3.0), (15, 4.0))
        assert alerts(admin, serial) == []
        leak(meter, serial, (16, 4.5), (17, 4.5), (60, 4.5), (120, 5.0))
        (told,) = watcher.wait(lambda events: [body for name, body in events if name == "alert"])
        (shown,) = alerts(admin, serial, unresolved=1)
        assert told == {
            "id": shown["id"],
            "type": "leak",
            "message": shown["message"],
            "serial": serial,
            "flowLmin": 4.5,
            "threshold": THRESHOLD,
            "duration": SHORTEST_S,
            "totalLiters": 50,
            "ts": shown["detected_at"],
        }
        assert shown == {
            "id": shown["id"],
            "dispositivo_id": 900 + int(serial[2:]) if registered else None,
            "serial": serial,
            "tipo": "leak",
            "message": shown["message"],
            "threshold": THRESHOLD,
            "flow_lmin": 4.5,
            "total_liters": 50,
            "duration_seconds": SHORTEST_S,
            "detected_at": shown["detected_at"],
            "resolved_at": None,
        }
        assert type(shown["id"]) is int
        assert serial in shown["message"]
        assert abs(shown["detected_at"] - time.time() * 1000) < 20_000
        leak(meter, serial, (121, 0.0), (130, 3.0), (139, 3.0), (140, 3.0))
        watcher.wait(lambda events: len([1 for name, _ in events if name == "alert"]) == 2)
    both = alerts(admin, serial)
    assert [one["id"] for one in both] == [watcher.of("alert")[1]["id"], shown["id"]]
    resolved = admin.post(f"/api/alerts/{shown['id']}/resolve")
    assert resolved.status_code == 200
    assert resolved.json()["alert"]["resolved_at"] >= shown["detected_at"]
    again = admin.post(f"/api/alerts/{shown['id']}/resolve")
    assert again.json() == resolved.json()
    assert [one["id"] for one in alerts(admin, serial, unresolved=1)] == [both[0]["id"]]
    assert [one["id"] for one in alerts(admin, serial, limit=1)] == [both[0]["id"]]
    if registered:
        # It is an alert of the product too.
        items = server.api.get("/api/v1/alerts", params={"device": device}).json()["items"]
        assert [one["state"] for one in items] == ["open", "resolved"]
    else:
        cleared = admin.post("/api/alerts/clear-temporary")
        assert (cleared.status_code, cleared.json()) == (200, {"status": "cleared"})
        assert alerts(admin, serial) == []
    missing = admin.post("/api/alerts/999999/resolve")
    assert (missing.status_code, missing.json()) == (404, {"error": "not found"})


def test_hidrometro_14_a_meter_that_says_so_leaks_at_once(
    server: RunningServer, admin: httpx.Client, meter: Meter, serial: str
) -> None:
    claim(server, serial)
    meter.read(serial, 10, 0.2, vazamento_detectado=False)
    assert alerts(admin, serial) == []
    for _ in range(3):
        # Over HTTP as well (the original forgets that).
        body = {"totalLiters": 10, "flowLmin": 0.3, "numeroSerie": serial, "vazamento_detectado": True}
        assert admin.post("/api/data", json=body).status_code == 200
    (shown,) = alerts(admin, serial)
    assert (shown["flow_lmin"], shown["duration_seconds"]) == (0.3, 0)


def test_hidrometro_14_alerts_are_for_those_who_signed_in(
    server: RunningServer, admin: httpx.Client, user: httpx.Client, meter: Meter, serial: str
) -> None:
    device = claim(server, serial)
    meter.read(serial, 10, 9, vazamento_detectado=True)
    (shown,) = alerts(admin, serial)
    assert alerts(user, serial) == []
    hidden = user.post(f"/api/alerts/{shown['id']}/resolve")
    assert (hidden.status_code, hidden.json()) == (404, {"error": "not found"})
    forbidden = user.post("/api/alerts/clear-temporary")
    assert (forbidden.status_code, forbidden.json()) == (403, {"error": "forbidden"})
    for method, path in (
        ("GET", "/api/alerts"),
        ("POST", "/api/alerts/1/resolve"),
        ("POST", "/api/alerts/clear-temporary"),
    ):
        answer = httpx.request(method, server.http + path, trust_env=False)
        assert (answer.status_code, answer.json()) == (401, {"error": "missing token"}), path
    for limit in ("x", "0", "-1"):
        assert admin.get("/api/alerts", params={"limit": limit}).status_code == 400
    share = {"account": "plain", "level": "view"}
    assert server.api.post(f"/api/v1/devices/{device}/grants", json=share).status_code == 201
    assert [one["id"] for one in alerts(user, serial)] == [shown["id"]]
    assert user.post(f"/api/alerts/{shown['id']}/resolve").status_code == 200


# Meters and customers


def test_the_meters_of_a_customer(
    server: RunningServer, admin: httpx.Client, user: httpx.Client, meter: Meter, serial: str
) -> None:
    made = server.api.post("/api/v1/customers", json={"name": "Condomínio Sol", "price": 6.5, "currency": "BRL"})
    assert made.status_code == 201, made.text
    number = made.json()["id"]
    path = f"/api/clientes/{number}/dispositivos/current"
    assert admin.get(path).json() == {"cliente_id": number, "dispositivos": []}
    device = claim(server, serial, id_cliente=number, modelo="M1")
    shown = admin.get(path).json()
    assert shown["dispositivos"][0]["ultima_leitura"] is None
    meter.read(serial, 100, 2.0)
    meter.read(serial, 1_100, 2.0)
    (one,) = admin.get(path).json()["dispositivos"]
    stamp = one["ultima_leitura"].pop("data_hora")
    assert one == {
        "dispositivo_id": one["dispositivo_id"],
        "numero_serie": serial,
        "modelo": "M1",
        "status": "Ativo",
        "ultima_leitura": {"consumo_litros": 1_000, "total_liters": 1_100, "flow_lmin": 2.0},
    }
    assert type(one["dispositivo_id"]) is int
    assert stamp.endswith("Z")
    # A cubic metre in this month, at its price; a reset takes nothing back.
    meter.read(serial, 5)
    found = eventually(lambda: server.api.get("/api/v1/customers").json()["items"])
    (used,) = next(one for one in found if one["id"] == number)["meters"]
    assert list(used["months"].values()) == [1_000]
    assert (used["device"], used["cost"]) == (device, 6.5)
    for who, wanted in ((user, number), (admin, 999), (admin, "x")):
        answer = who.get(f"/api/clientes/{wanted}/dispositivos/current")
        assert (answer.status_code, answer.json()) == (404, {"error": "cliente_not_found"})
    assert httpx.get(server.http + path, trust_env=False).json() == {"error": "missing token"}
    assert user.get("/api/v1/customers").json()["items"] == []
    assert user.post("/api/v1/customers", json={"name": "x"}).status_code == 403
    assert server.api.delete(f"/api/v1/customers/{number}").status_code == 409
    assert server.api.patch(f"/api/v1/devices/{device}", json={"attributes": {}}).status_code == 200
    assert server.api.delete(f"/api/v1/customers/{number}").status_code == 204


def test_months_and_prices_outlive_a_restart(server: RunningServer, meter: Meter, tmp_path: Any) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as other:
        number = other.api.post("/api/v1/customers", json={"name": "Ana", "price": 2.0}).json()["id"]
        claim(other, "KEPT", id_cliente=number)
        with Meter(other) as one:
            for n, total in enumerate((10, 20, 25)):
                one.read("KEPT", total, ts=START + n)
            one.read("KEPT", 1_000, ts=START + 31 * 86_400)

        def months() -> Any:
            return other.api.get("/api/v1/customers").json()["items"][0]["meters"][0]["months"]

        assert months() == {"2026-02": 975, "2026-01": 15}
        other.restart()
        assert months() == {"2026-02": 975, "2026-01": 15}
        # What was not written down before the crash is in the journal.
        with Meter(other) as one:
            one.read("KEPT", 1_100, ts=START + 32 * 86_400)
        other.kill()
        other.start()
        eventually(lambda: months() == {"2026-02": 1_075, "2026-01": 15})


def test_a_record_id_finds_its_meter(server: RunningServer, admin: httpx.Client, meter: Meter, serial: str) -> None:
    device = claim(server, serial, id_dispositivo=4_711, id_cliente=12)
    meter.say(totalLiters=1, flowLmin=1, id_dispositivo=4_711)
    meter.say("hidrometro/12/4711/dados", totalLiters=2, flowLmin=1)
    meter.say("hidrometro/12/4711/dados", totalLiters=3, flowLmin=1, numeroSerie=serial)
    assert rows(server, device) == [1, 2, 3]
    assert admin.get("/api/current").json()["numero_serie"] == serial


def test_an_inactive_meter_is_shown_and_not_stored(
    server: RunningServer, admin: httpx.Client, meter: Meter, serial: str
) -> None:
    device = claim(server, serial, status="Inativo")
    with Watcher(server.http) as watcher:
        meter.read(serial, 7.25)
        assert watcher.wait_total(7.25)["numero_serie"] == serial
    assert admin.get("/api/history?limit=1").json()["history"][0]["totalLiters"] == 7.25
    assert rows(server, device) == []
    server.api.patch(f"/api/v1/devices/{device}", json={"attributes": {"status": "Manutencao"}})
    meter.read(serial, 8)
    assert rows(server, device) == [8]


def test_what_nobody_is_told_to_be_stored_is_a_row_every_ten_seconds(
    server: RunningServer, admin: httpx.Client, meter: Meter, serial: str
) -> None:
    device = claim(server, serial)
    with Watcher(server.http) as watcher:
        for n in range(10):
            meter.read(serial, 100 + n, qos=0)
        watcher.wait_total(109)
        # A reset is stored whenever it comes, and so is what is acknowledged; nothing that flowed is lost.
        meter.read(serial, 1, qos=0)
        watcher.wait_total(1)
        meter.read(serial, 3)
    assert rows(server, device) == [100, 1, 3]
    assert rows(server, device, "consumo_litros") == [0, 9, 2]
    shown = admin.get("/api/history", params={"numeroSerie": serial}).json()["history"]
    assert [one["totalLiters"] for one in shown] == [*range(100, 110), 1, 3]


def test_every_reading_is_a_row_where_that_is_wanted(tmp_path: Any) -> None:
    env = {"RELEVO_PROFILE": "lab", "RELEVO_HIDROMETRO__ROW_EVERY_S": "0"}
    with RunningServer(tmp_path / "data", env=env) as other:
        device = claim(other, "ALL")
        with Meter(other) as one:
            for n in range(5):
                one.read("ALL", n, qos=0)
            eventually(lambda: rows(other, device) == [0, 1, 2, 3, 4])


# Commands to one meter (section 3.2)


def test_a_command_to_one_meter_names_it_on_the_shared_topic(
    server: RunningServer, admin: httpx.Client, board: Meter, serial: str
) -> None:
    device = claim(server, serial)
    board.read(serial, 500)
    sent = admin.post("/api/cmd", json={"action": "reset", "numeroSerie": serial.lower()}).json()
    assert (sent["status"], sent["cmd"]) == ("sent", {"action": "reset", "numeroSerie": serial})
    eventually(lambda: board.heard)
    assert board.heard == [("hidrometro/cmd", {"action": "reset", "numeroSerie": serial}, 1, False)]
    board.read(serial, 0.5)
    ended = server.api.get(f"/api/v1/devices/{device}/commands/{sent['id']}", params={"wait": 10}).json()
    assert ended["state"] == "confirmed"


def test_a_meter_with_a_topic_of_its_own_hears_its_commands_there_alone(
    server: RunningServer, admin: httpx.Client, board: Meter, serial: str
) -> None:
    claim(server, serial, id_cliente=31, id_dispositivo=77)
    with Meter(server, "hidrometro/31/77/cmd") as one:
        one.say("hidrometro/31/77/dados", totalLiters=1, flowLmin=1)
        assert admin.post("/api/cmd", json={"action": "simOff", "numeroSerie": serial}).json()["status"] == "sent"
        eventually(lambda: one.heard)
        assert one.heard == [("hidrometro/31/77/cmd", {"action": "simOff"}, 1, False)]
    assert board.heard == []


def test_a_command_for_a_meter_that_is_away_waits_in_the_ledger(
    server: RunningServer, admin: httpx.Client, serial: str
) -> None:
    claim(server, serial)
    asked = admin.post("/api/cmd", json={"action": "simOff", "numeroSerie": serial}).json()
    assert asked["status"] == "queued"
    with Meter(server, "hidrometro/cmd") as late:
        late.read(serial, 1)
        eventually(lambda: late.heard)
        assert late.heard[0][1] == {"action": "simOff", "numeroSerie": serial}


def test_only_the_server_may_command_meters(server: RunningServer, board: Meter) -> None:
    with Meter(server) as stranger:
        for topic in ("hidrometro/cmd", "hidrometro/casa/cmd", "hidrometro/1/2/cmd"):
            stranger.say(topic, action="reset")
    assert board.heard == []
    counts = server.api.get("/api/v1/system").json()["counters"]["refused"]
    assert counts["mqtt.topic_not_allowed"] >= 3


# Live views


def test_a_stranger_hears_nothing_where_reads_are_closed(tmp_path: Any) -> None:
    env = {"RELEVO_OPEN_READS": "false", "RELEVO_ANONYMOUS_MQTT": "true"}
    with RunningServer(tmp_path / "data", env=env) as closed, Meter(closed) as one:
        mine, theirs = claim(closed, "MINE"), claim(closed, "THEIRS")
        with person(closed, "watcher", "viewer") as viewer, sign_in(closed) as admin:
            share = {"account": "watcher", "level": "view"}
            assert closed.api.post(f"/api/v1/devices/{mine}/grants", json=share).status_code == 201
            one.read("THEIRS", 1)
            one.read("MINE", 2)
            for auth in (None, {"token": "nonsense"}, {"token": 5}, {"token": token_of(admin)[:-3] + "xyz"}):
                for transport in ("polling", "websocket"):
                    with pytest.raises(Refused):
                        Watcher(closed.http, transport, auth)
            token = token_of(viewer)
            with (
                Watcher(closed.http, "websocket", {"token": token}) as by_auth,
                Watcher(closed.http, "polling", None, Authorization=f"Bearer {token}") as by_header,
                Watcher(
                    closed.http,
                    "websocket",
                    None,
                    Cookie=f"relevo_session={closed.cookie}",
                ) as all_,
            ):
                for few in (by_auth, by_header):
                    few.wait(lambda events: len(events) == 2)
                    assert [one["totalLiters"] for one in few.of("history:init")[0]] == [2]
                    assert few.of("data")[0]["numero_serie"] == "MINE"
                assert [one["totalLiters"] for one in all_.wait(lambda _: all_.of("history:init"))[0]] == [1, 2]
                one.read("THEIRS", 3, 9, vazamento_detectado=True)
                one.read("MINE", 4)
                for few in (by_auth, by_header):
                    few.wait_total(4)
                    assert [one["numero_serie"] for one in few.of("data")] == ["MINE"] * 2
                    assert few.of("alert") == []
                all_.wait(lambda _: all_.of("alert"))
                # A share that is taken back is felt at once, a session that ends within seconds.
                assert theirs
                grants = closed.api.get(f"/api/v1/devices/{mine}/grants").json()["items"]
                closed.api.delete(f"/api/v1/devices/{mine}/grants/{grants[0]['id']}")
                one.read("MINE", 5)
                all_.wait_total(5)
                assert not [1 for few in (by_auth, by_header) for one in few.of("data") if one["totalLiters"] == 5]
                closed.api.patch("/api/v1/users/watcher", json={"disabled": True})
                assert by_auth.ended.wait(15)


def test_pages_of_other_places_may_not_watch(server: RunningServer) -> None:
    query = {"EIO": "4", "transport": "polling"}
    for origin, status in (("https://evil.example", 403), (server.http, 200), ("null", 403)):
        answer = httpx.get(f"{server.http}/socket.io/", params=query, headers={"Origin": origin}, trust_env=False)
        assert answer.status_code == status, origin
        assert "access-control-allow-origin" not in answer.headers
    address = f"ws://127.0.0.1:{server.http_port}/socket.io/?EIO=4&transport=websocket"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, origin=Origin("https://evil.example"), proxy=None)
    assert refused.value.response.status_code == 403
    with connect(address, origin=Origin(server.http), proxy=None) as opened:
        assert str(opened.recv(10)).startswith("0{")


def test_an_older_protocol_and_odd_requests_are_no_defect(server: RunningServer) -> None:
    def ask(query: str, method: str = "GET", content: bytes | None = None) -> int:
        url = f"{server.http}/socket.io/{query}"
        answer = httpx.request(method, url, content=content, trust_env=False, timeout=20)
        return answer.status_code

    assert ask("?EIO=3&transport=polling") == 400
    assert ask("?EIO=4&transport=carrier-pigeon") == 400
    assert ask("?EIO=4&transport=polling&sid=nobody", "POST", b"40") == 400
    opened = httpx.get(f"{server.http}/socket.io/?EIO=4&transport=polling", trust_env=False)
    sid = json.loads(opened.text[1:])["sid"]
    assert ask(f"?EIO=4&transport=polling&sid={sid}", "POST", b"4" + b"x" * 100_000) == 413
    assert server.health().status_code == 200
