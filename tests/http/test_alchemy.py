"""Acceptance checks of contract alchemy (section 9), over real sockets with clients that know no more of it."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.announcing import TEN, Onlooker, Publisher
from tests.journeys.live import eventually
from tests.running import RunningServer

VECTORS = Path(__file__).parent.parent / "vectors" / "alchemy_http"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A closed home network: what the contract's own clients, which know no sign-in, are pointed at."""
    env = {"RELEVO_PROFILE": "lab", "RELEVO_ALCHEMY__PING_S": "1"}
    with RunningServer(tmp_path_factory.mktemp("alchemy") / "data", env=env) as one:
        yield one


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Nothing open but the MQTT door."""
    env = {"RELEVO_OPEN_READS": "false", "RELEVO_ANONYMOUS_MQTT": "true"}
    with RunningServer(tmp_path_factory.mktemp("alchemy-closed") / "data", env=env) as one:
        yield one


@pytest.fixture
def app(server: RunningServer) -> Iterator[httpx.Client]:
    """The phone app: no token."""
    with httpx.Client(base_url=server.http, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def lamp(server: RunningServer) -> Iterator[Publisher]:
    with Publisher(server) as one:
        yield one


def serial() -> str:
    return f"LMP07QK{next(_numbers):05d}"


def found(app: httpx.Client, wanted: str) -> dict[str, Any] | None:
    answer = app.get("/dispositivos")
    assert answer.status_code == 200, answer.text
    return next((one for one in answer.json() if one["serial_number"] == wanted), None)


def new(app: httpx.Client, lamp: Publisher, claimed: bool = True, **said: Any) -> dict[str, Any]:
    """A device that announced itself, claimed by the app."""
    wanted = serial()
    lamp.say({"serial_number": wanted} | said)
    if claimed:
        assert app.post("/dispositivos/reclamar", json={"serial_number": wanted}).status_code == 200
    one = found(app, wanted)
    assert one is not None
    return one


def put(app: httpx.Client, device: dict[str, Any], body: Any) -> httpx.Response:
    return app.put(f"/dispositivos/{device['id']}", json=body)


def get(app: httpx.Client, device: dict[str, Any]) -> dict[str, Any]:
    one: dict[str, Any] = app.get(f"/dispositivos/{device['id']}").json()
    return one


def error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) <= {"error", "detalle"}
    assert isinstance(body["error"], str)
    text: str = body["error"]
    return text


def test_alchemy_01_a_new_serial_is_listed_as_unclaimed_while_pairing_is_open(closed: RunningServer) -> None:
    wanted = serial()
    assert closed.api.post("/api/v1/pairing", json={"minutes": 1}).status_code == 200
    with Publisher(closed) as lamp:
        lamp.say({"serial_number": wanted, "estado": "activo", "parametros": {"watts": 8.6}})
    waiting = closed.api.get("/dispositivos/no-reclamados").json()
    assert closed.api.delete("/api/v1/pairing").status_code == 204
    (one,) = [one for one in waiting if one["serial_number"] == wanted]
    assert (one["reclamado"], one["nombre"], one["tipo"]) == (False, "No definido", "generico")
    assert (one["modelo"], one["descripcion"], one["configuracion"]) == ("desconocido", "", {})
    assert (one["estado"], one["parametros"]) == ("activo", {"watts": 8.6})


def test_alchemy_02_a_claim_takes_it_from_the_list(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp, claimed=False, estado="activo")
    assert one in app.get("/dispositivos/no-reclamados").json()
    body = {"serial_number": one["serial_number"], "nombre": "Desk lamp", "tipo": "luz", "modelo": "L-2"}
    taken = app.post("/dispositivos/reclamar", json=body | {"configuracion": {"intervalo_envio": 5}})
    assert taken.status_code == 200
    assert taken.json()["id"] == one["id"]
    assert taken.json()["mensaje"]
    assert one["serial_number"] not in [each["serial_number"] for each in app.get("/dispositivos/no-reclamados").json()]
    now = get(app, one)
    assert (now["reclamado"], now["nombre"], now["tipo"], now["modelo"]) == (True, "Desk lamp", "luz", "L-2")
    assert (now["estado"], now["configuracion"]) == ("activo", {"intervalo_envio": 5})


def test_alchemy_03_what_cannot_be_claimed(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp)
    error(app.post("/dispositivos/reclamar", json={"serial_number": one["serial_number"]}), 409)
    error(app.post("/dispositivos/reclamar", json={"serial_number": "NEVER0SEEN"}), 404)
    for nobody in ({}, {"serial_number": ""}, {"nombre": "x"}, {"serial_number": None}):
        answer = app.post("/dispositivos/reclamar", json=nobody)
        assert (answer.status_code, answer.json()) == (400, {"error": "Debe proporcionar serial_number"})
    other = new(app, lamp, claimed=False)
    wrong = {"serial_number": other["serial_number"], "configuracion": [1]}
    assert "configuracion" in error(app.post("/dispositivos/reclamar", json=wrong), 400)
    assert app.post("/dispositivos/reclamar", json={"serial": other["serial_number"]}).status_code == 200


def test_alchemy_04_the_list_is_an_array_of_ten_keys(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp)
    listed = app.get("/dispositivos", headers={"Accept": "*/*"})
    assert listed.headers["content-type"] == "application/json"
    assert all(tuple(each) == TEN for each in listed.json())
    assert one in listed.json()
    assert get(app, one) == one
    error(app.get("/dispositivos/999999"), 404)
    for odd in ("x", "1.0", "-1", "%D9%A1", "9" * 30):
        error(app.get(f"/dispositivos/{odd}"), 404)


def test_alchemy_05_by_hand_the_nested_switch_leads(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp)
    on = put(app, one, {"configuracion": {"modo": "manual", "encendido": True}})
    assert (on.status_code, on.json()["estado"]) == (200, "activo")
    assert on.json()["configuracion"] == {"modo": "manual", "encendido": True}
    assert on.json()["id"] == one["id"]
    assert set(on.json()) == {"mensaje", *TEN}
    off = put(app, one, {"configuracion": {"encendido": False}})
    assert off.json()["estado"] == get(app, one)["estado"] == "inactivo"


def test_alchemy_06_by_hand_the_switch_at_the_top_leads(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp)
    put(app, one, {"configuracion": {"modo": "manual", "encendido": True}})
    off = put(app, one, {"encendido": False}).json()
    assert (off["estado"], off["configuracion"]["encendido"]) == ("inactivo", False)


def test_alchemy_07_by_timetable_the_status_leads(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp)
    body = {"estado": "activo", "configuracion": {"modo": "horario"}}
    assert put(app, one, body).json()["configuracion"]["encendido"] is True


def test_alchemy_08_what_belongs_to_the_device_stays(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp, parametros={"watts": 2})
    answer = put(app, one, {"serial_number": "X", "parametros": {"a": 1}, "id": 7, "reclamado": False})
    assert answer.status_code == 200
    assert get(app, one) == one
    put(app, one, {"configuracion": {"modo": "manual", "encendido": True}})
    assert put(app, one, {"estado": "inactivo"}).json()["configuracion"]["encendido"] is False


def test_alchemy_09_what_a_change_may_not_say(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp)
    assert "modo" in error(put(app, one, {"configuracion": {"modo": "otro"}}), 400)
    error(put(app, one, {}), 400)
    for bad in ({"estado": "quizas"}, {"encendido": 2}, {"configuracion": "x"}, {"nombre": 5}):
        error(put(app, one, bad), 400)
    error(app.put(f"/dispositivos/{one['id']}", content=b"{"), 400)
    assert get(app, one) == one
    put(app, one, {"configuracion": {"modo": "manual", "encendido": True}})
    assert put(app, one, {"encendido": "false"}).json()["estado"] == "inactivo"
    error(put(app, {"id": 999999}, {"nombre": "x"}), 404)


def test_alchemy_10_the_stream_says_hello_updates_and_pings(
    server: RunningServer, app: httpx.Client, lamp: Publisher
) -> None:
    one = new(app, lamp)
    with Onlooker(server) as watching:
        head = watching.response.headers
        assert head["content-type"] == "text/event-stream; charset=utf-8"
        assert (head["cache-control"], head["x-accel-buffering"]) == ("no-cache", "no")
        assert watching.lines[:3] == ["event: hello", "data: {}", ""]
        lamp.say({"serial_number": one["serial_number"], "estado": "activo", "parametros": {"watts": 8.5}})
        at = eventually(lambda: next((n for n, line in enumerate(watching.lines) if "watts" in line), 0))
        eventually(lambda: len(watching.lines) > at + 1)
        shown = one | {"estado": "activo", "parametros": {"watts": 8.5}, "event": "device_update"}
        assert watching.lines[at] == "data: " + json.dumps(shown, separators=(",", ":"))
        assert watching.lines[at + 1] == ""
        # Unnamed: what is before it ended with an empty line.
        assert watching.lines[at - 1] == ""
        eventually(lambda: "event: ping" in watching.lines)
        ping = watching.lines.index("event: ping")
        eventually(lambda: watching.lines[ping + 1 : ping + 3] == ["data: {}", ""])


def test_alchemy_11_the_stream_can_be_narrowed(server: RunningServer, app: httpx.Client, lamp: Publisher) -> None:
    a, b, fresh = new(app, lamp), new(app, lamp), new(app, lamp, claimed=False)
    queries = (f"?serial={a['serial_number']}", "?reclamado=false", "?reclamado=true", "?reclamado=maybe")
    with (
        Onlooker(server, queries[0]) as of_a,
        Onlooker(server, queries[1]) as free,
        Onlooker(server, queries[2]) as taken,
        Onlooker(server, queries[3]) as whole,
    ):
        for n, one in enumerate((a, b, fresh)):
            lamp.say({"serial_number": one["serial_number"], "parametros": {"n": n}})
        app.post("/dispositivos/reclamar", json={"serial_number": fresh["serial_number"]})
        put(app, a, {"nombre": "the last"})
        eventually(lambda: any(one["nombre"] == "the last" for one in whole.updates))
        eventually(lambda: any(one["nombre"] == "the last" for one in of_a.updates))
        eventually(lambda: any(one["nombre"] == "the last" for one in taken.updates))
        eventually(lambda: free.updates)
        assert {one["serial_number"] for one in of_a.updates} == {a["serial_number"]}
        assert [one["parametros"] for one in free.updates] == [{"n": 2}]
        assert [one["id"] for one in taken.updates] == [a["id"], b["id"], fresh["id"], a["id"]]
        assert [one["id"] for one in whole.updates] == [a["id"], b["id"], fresh["id"], fresh["id"], a["id"]]


def test_alchemy_12_logs_come_in_pages(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp, claimed=False, estado="activo", parametros={"n": 0})
    for n in range(1, 120):
        lamp.say({"serial_number": one["serial_number"], "parametros": {"n": n}})
    logs = f"/dispositivos/{one['id']}/logs"
    first = app.get(logs).json()
    assert {name: first[name] for name in ("page", "per_page", "total", "pages")} == {
        "page": 1, "per_page": 50, "total": 120, "pages": 3,
    }  # fmt: skip
    assert [line["parametros"]["n"] for line in first["data"]] == list(range(119, 69, -1))
    assert {line["estado"] for line in first["data"]} == {"activo"}
    assert all(line["timestamp"].endswith("Z") and len(line["timestamp"]) == 20 for line in first["data"])
    last = app.get(logs, params={"page": 3}).json()["data"]
    assert [line["parametros"]["n"] for line in last] == list(range(19, -1, -1))
    assert app.get(logs, params={"per_page": 1000}).json()["per_page"] == 200
    beyond = app.get(logs, params={"page": 10**14})
    assert (beyond.status_code, beyond.json()["data"]) == (200, [])
    for query in ({"page": 0}, {"page": "x"}, {"per_page": -1}, {"per_page": "1.5"}):
        error(app.get(logs, params=query), 400)
    error(app.get("/dispositivos/999999/logs"), 404)


def test_alchemy_13_parameters_are_replaced_or_kept(app: httpx.Client, lamp: Publisher) -> None:
    one = new(app, lamp, parametros={"temp": 31.2, "watts": 8.6})
    lamp.say({"serial_number": one["serial_number"], "estado": "inactivo", "parametros": {}})
    assert get(app, one)["parametros"] == {"temp": 31.2, "watts": 8.6}
    assert get(app, one)["estado"] == "inactivo"
    lamp.say({"serial_number": one["serial_number"], "parametros": {"watts": 1}})
    assert get(app, one)["parametros"] == {"watts": 1}
    assert get(app, one)["estado"] == "inactivo"


def test_alchemy_14_while_nothing_is_open_a_new_serial_is_only_pending(closed: RunningServer) -> None:
    wanted = serial()
    closed.api.delete("/api/v1/pairing")
    with Publisher(closed) as lamp:
        lamp.say({"serial_number": wanted, "estado": "activo", "parametros": {"watts": 1}})
    assert found(closed.api, wanted) is None
    assert wanted not in closed.api.get("/dispositivos/no-reclamados").text
    pending = eventually(
        lambda: closed.api.get("/api/v1/unclaimed", params={"contract": "alchemy", "search": wanted}).json()["items"]
    )
    assert [(one["external_id"], one["reason"]) for one in pending] == [(wanted, "registration_closed")]


def test_alchemy_15_without_a_token_nothing_is_read_and_a_device_reads_itself(closed: RunningServer) -> None:
    ours, other = serial(), serial()
    made = [closed.api.post("/dispositivos", json={"serial_number": one}).json()["id"] for one in (ours, other)]
    device = next(
        one["id"]
        for one in closed.api.get("/api/v1/devices", params={"contract": "alchemy"}).json()["items"]
        if one["external_id"] == ours
    )
    key = closed.api.post(f"/api/v1/devices/{device}/credentials/keys", json={"label": "lamp"})
    assert key.status_code == 201, key.text
    token = closed.canaries.plant(key.json()["key"])
    with httpx.Client(base_url=closed.http, trust_env=False, timeout=10) as nobody:
        for path in (
            "/dispositivos",
            "/dispositivos/no-reclamados",
            f"/dispositivos/{made[0]}",
            "/dispositivos/999999",
            f"/dispositivos/{made[0]}/logs",
            "/stream/dispositivos",
        ):
            error(nobody.get(path), 401)
        error(nobody.put(f"/dispositivos/{made[0]}", json={"estado": "activo"}), 401)
        error(nobody.put(f"/dispositivos/{made[0]}/estado", json={"estado": "activo"}), 401)
        error(nobody.post("/dispositivos/reclamar", json={"serial_number": ours}), 401)
        error(nobody.post("/dispositivos", json={"serial_number": serial()}), 401)
        for header in ({"Authorization": f"Bearer {token}"}, {"X-Device-Token": token}):
            assert [one["serial_number"] for one in nobody.get("/dispositivos", headers=header).json()] == [ours]
            assert nobody.get(f"/dispositivos/{made[0]}", headers=header).json()["serial_number"] == ours
            error(nobody.get(f"/dispositivos/{made[1]}", headers=header), 404)
            error(nobody.get("/dispositivos/no-reclamados", headers=header), 403)
            error(nobody.get("/stream/dispositivos", headers=header), 403)
            error(nobody.post("/dispositivos/reclamar", headers=header, json={"serial_number": ours}), 403)
            error(nobody.put(f"/dispositivos/{made[1]}", headers=header, json={"estado": "activo"}), 404)
            error(nobody.put(f"/dispositivos/{made[0]}", headers=header, json={"nombre": "mine"}), 403)
            for path, status in ((f"/dispositivos/{made[0]}", "activo"), (f"/dispositivos/{made[0]}/estado", "off")):
                changed = nobody.put(path, headers=header, json={"estado": status})
                assert changed.json()["estado"] == ("activo" if status == "activo" else "inactivo"), changed.text
        error(nobody.get("/dispositivos", headers={"X-Device-Token": "wrong"}), 401)


def test_a_message_renames_nothing(app: httpx.Client, lamp: Publisher) -> None:
    device = new(app, lamp)
    said = {"nombre": "X", "tipo": "X", "modelo": "X", "descripcion": "X", "reclamado": False, "id": 1}
    lamp.say({"serial_number": device["serial_number"], "estado": "activo"} | said)
    after = get(app, device)
    assert after["estado"] == "activo"
    for name in said:
        assert after[name] == (True if name == "reclamado" else device[name])


def test_a_kept_message_is_no_line_of_the_log_and_no_reading(
    server: RunningServer, app: httpx.Client, lamp: Publisher
) -> None:
    device = new(app, lamp, estado="inactivo", parametros={"watts": 1})
    topic = f"dispositivos/{device['serial_number']}/estado"
    kept = {"serial_number": device["serial_number"], "estado": "activo", "parametros": {"watts": 2}}
    before = app.get(f"/dispositivos/{device['id']}/logs").json()["total"]
    lamp.say(kept, topic=topic, retain=True)
    # As it was published it counts as said now; the server hears it again as a kept one when it comes back.
    live = app.get(f"/dispositivos/{device['id']}/logs").json()["total"]
    assert live == before + 1
    server.kill()
    server.restart()
    assert app.get(f"/dispositivos/{device['id']}/logs").json()["total"] == live
    assert get(app, device)["estado"] == "activo"
    (found,) = [
        one
        for one in server.api.get("/api/v1/devices", params={"search": device["serial_number"]}).json()["items"]
        if one["external_id"] == device["serial_number"]
    ]
    points = server.api.get(f"/api/v1/devices/{found['id']}/telemetry/watts").json()["points"]
    assert [value for _, value in points] == [1, 2]
