"""Contract alchemy where nothing is open: each household sees and steers its own (section 8)."""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clients.announcing import Onlooker, Publisher
from tests.journeys.live import eventually
from tests.running import RunningServer

PASSWORD = "a-long-enough-one"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The default profile, listening on every address; boards without an account may publish and register."""
    env = {"RELEVO_ANONYMOUS_MQTT": "true", "RELEVO_OPEN_REGISTRATION": "true", "RELEVO_ALCHEMY__PING_S": "1"}
    data = tmp_path_factory.mktemp("alchemy-rights") / "data"
    with RunningServer(data, env=env, options=("--http", "0.0.0.0:0"), start=False) as one:
        # The last option wins; the port stays.
        one.command[-1] = f"0.0.0.0:{one.http_port}"
        one.start()
        yield one


@pytest.fixture(scope="module")
def people(server: RunningServer) -> Iterator[dict[str, httpx.Client]]:
    with contextlib.ExitStack() as opened:
        found: dict[str, httpx.Client] = {}
        for name, role in (("ana", "operator"), ("bea", "operator"), ("vic", "viewer")):
            made = server.api.post("/api/v1/users", json={"name": name, "password": PASSWORD, "role": role})
            assert made.status_code == 201, made.text
            client = opened.enter_context(httpx.Client(base_url=server.http, trust_env=False, timeout=10))
            token = client.post("/api/v1/auth/login", json={"username": name, "password": PASSWORD}).json()
            client.headers["Authorization"] = f"Bearer {server.canaries.plant(token['access_token'])}"
            found[name] = client
        yield found


@pytest.fixture
def lamp(server: RunningServer) -> Iterator[Publisher]:
    with Publisher(server) as one:
        yield one


def announced(server: RunningServer, lamp: Publisher, **said: Any) -> dict[str, Any]:
    serial = f"TMP0603IF{next(_numbers)}"
    lamp.say({"serial_number": serial} | said)
    return next(one for one in server.api.get("/dispositivos").json() if one["serial_number"] == serial)


def serials(client: httpx.Client, path: str = "/dispositivos") -> list[str]:
    return [one["serial_number"] for one in client.get(path).json()]


def device_id(server: RunningServer, one: dict[str, Any]) -> str:
    page = server.api.get("/api/v1/devices", params={"contract": "alchemy", "search": one["serial_number"]}).json()
    found: str = page["items"][0]["id"]
    return found


def test_the_default_profile_opens_nothing_to_anybody(server: RunningServer, lamp: Publisher) -> None:
    one = announced(server, lamp)
    asked = [
        ("GET", "/dispositivos"),
        ("GET", "/dispositivos/no-reclamados"),
        ("GET", f"/dispositivos/{one['id']}"),
        ("GET", f"/dispositivos/{one['id']}/logs"),
        ("GET", "/stream/dispositivos"),
        ("PUT", f"/dispositivos/{one['id']}"),
        ("PUT", f"/dispositivos/{one['id']}/estado"),
        ("POST", "/dispositivos"),
        ("POST", "/dispositivos/reclamar"),
    ]
    for method, path in asked:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-Device-Token": "wrong"}, {"Cookie": "a=b"}):
            answer = httpx.request(
                method,
                server.http + path,
                headers=headers,
                json={"serial_number": one["serial_number"], "estado": "activo"} if method != "GET" else None,
                trust_env=False,
            )
            assert (answer.status_code, list(answer.json())) == (401, ["error"]), (method, path, headers)
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_household_sees_its_own_and_what_is_nobodys(
    server: RunningServer, people: dict[str, httpx.Client], lamp: Publisher
) -> None:
    one = announced(server, lamp, estado="activo")
    ana, bea, vic = people["ana"], people["bea"], people["vic"]
    assert all(one["serial_number"] in serials(each, "/dispositivos/no-reclamados") for each in (ana, bea))
    assert vic.get("/dispositivos/no-reclamados").status_code == 403
    claim = {"serial_number": one["serial_number"], "nombre": "Ana's"}
    assert vic.post("/dispositivos/reclamar", json=claim).status_code == 403
    assert ana.post("/dispositivos/reclamar", json=claim).status_code == 200
    path = f"/dispositivos/{one['id']}"
    assert one["serial_number"] in serials(ana)
    for each in (bea, vic):
        assert one["serial_number"] not in serials(each)
        answers = (each.get(path), each.get(f"{path}/logs"), each.put(path, json={"estado": "off"}))
        assert [answer.status_code for answer in answers] == [404, 404, 404]
    # What may not be known of is told in the words of what does not exist.
    assert bea.get(path).json() == bea.get("/dispositivos/999999").json()
    share = {"account": "bea", "level": "control"}
    internal = device_id(server, one)
    assert ana.post(f"/api/v1/devices/{internal}/grants", json=share).status_code == 201
    assert bea.put(path, json={"estado": "off"}).json()["estado"] == "inactivo"
    assert bea.put(path, json={"nombre": "Bea's"}).status_code == 403
    assert ana.post(f"/api/v1/devices/{internal}/grants", json=share | {"account": "vic"}).status_code == 201
    assert vic.get(path).json()["nombre"] == "Ana's"
    assert vic.put(path, json={"estado": "on"}).status_code == 403

    def audited() -> set[str]:
        lines = server.api.get("/api/v1/audit", params={"target": internal}).json()["items"]
        return {line["action"] for line in lines}

    eventually(lambda: audited() >= {"device.claim", "desired.change", "device.refused"})


def test_the_stream_shows_what_one_may_view(
    server: RunningServer, people: dict[str, httpx.Client], lamp: Publisher
) -> None:
    mine, other = announced(server, lamp), announced(server, lamp)
    assert people["ana"].post("/dispositivos/reclamar", json={"serial": mine["serial_number"]}).status_code == 200
    assert people["bea"].post("/dispositivos/reclamar", json={"serial": other["serial_number"]}).status_code == 200
    token = people["ana"].headers["Authorization"].removeprefix("Bearer ")
    with Onlooker(server, token=token) as of_ana, Onlooker(server, token=server.token) as whole:
        for n in range(3):
            lamp.say({"serial_number": other["serial_number"], "parametros": {"n": n}})
        lamp.say({"serial_number": mine["serial_number"], "parametros": {"n": 9}})
        eventually(lambda: len(whole.updates) == 4)
        eventually(lambda: of_ana.updates)
        assert [one["parametros"] for one in of_ana.updates] == [{"n": 9}]


def test_a_browser_opens_the_stream_with_a_ticket_and_a_session(server: RunningServer) -> None:
    ticket = server.api.post("/api/v1/auth/ticket").json()["ticket"]
    with Onlooker(server, f"?ticket={ticket}") as watching:
        assert watching.lines[:2] == ["event: hello", "data: {}"]
    again = httpx.get(f"{server.http}/stream/dispositivos?ticket={ticket}", trust_env=False)
    assert again.status_code == 401
    session = {"Cookie": f"relevo_session={server.cookie}"}
    assert httpx.get(f"{server.http}/dispositivos", headers=session, trust_env=False).status_code == 200
    foreign = session | {"Origin": "http://evil.example"}
    put = httpx.put(f"{server.http}/dispositivos/1", headers=foreign, json={"nombre": "x"}, trust_env=False)
    assert put.status_code == 403


def test_a_label_with_a_code_is_claimed_with_it(
    server: RunningServer, people: dict[str, httpx.Client], lamp: Publisher
) -> None:
    one = announced(server, lamp)
    wanted = {"contract": "alchemy", "external_id": one["serial_number"]}
    code = server.api.post("/api/v1/claim-codes", json=wanted).json()["code"]
    qr = {"serial": one["serial_number"], "nombre": "From the label", "tipo": "luz", "modelo": "", "descripcion": ""}
    ana = people["ana"]
    assert ana.post("/dispositivos/reclamar", json=qr).status_code == 403
    assert ana.post("/dispositivos/reclamar", json=qr | {"code": "22222-22222-22222"}).status_code == 400
    assert ana.post("/dispositivos/reclamar", json=qr | {"code": code, "contract": "alchemy"}).status_code == 200
    assert ana.get(f"/dispositivos/{one['id']}").json()["nombre"] == "From the label"


def test_a_pending_serial_is_claimed_by_somebody_who_may_approve_it(
    server: RunningServer, people: dict[str, httpx.Client], lamp: Publisher
) -> None:
    serial = f"PND0603IF{next(_numbers)}"
    server.api.post("/api/v1/unclaimed/ignore", json={"contract": "alchemy", "external_id": serial})
    blocked = {"contract": "alchemy", "external_id": serial}
    assert server.api.post("/api/v1/unclaimed/block", json=blocked).status_code == 204
    lamp.say({"serial_number": serial, "parametros": {"w": 1}})
    assert serial not in serials(server.api)
    assert people["ana"].post("/dispositivos/reclamar", json={"serial": serial}).status_code == 409
    assert server.api.post("/api/v1/unclaimed/restore", json=blocked).status_code == 204
    taken = people["ana"].post("/dispositivos/reclamar", json={"serial": serial, "nombre": "Late"})
    assert (taken.status_code, taken.json()["nombre"], taken.json()["reclamado"]) == (200, "Late", True)


def test_an_owner_releases_a_device_and_it_waits_again(
    server: RunningServer, people: dict[str, httpx.Client], lamp: Publisher
) -> None:
    one = announced(server, lamp)
    people["ana"].post("/dispositivos/reclamar", json={"serial": one["serial_number"]})
    code = people["ana"].post(f"/api/v1/devices/{device_id(server, one)}/release").json()["code"]
    assert one["serial_number"] in serials(people["bea"], "/dispositivos/no-reclamados")
    body = {"serial": one["serial_number"], "code": code}
    assert people["bea"].post("/dispositivos/reclamar", json=body).status_code == 200


def test_a_device_with_a_key_speaks_on_its_own_topic_for_itself_alone(server: RunningServer, lamp: Publisher) -> None:
    mine, other = announced(server, lamp, estado="inactivo"), announced(server, lamp, estado="inactivo")
    internal = device_id(server, mine)
    key = server.api.post(f"/api/v1/devices/{internal}/credentials/keys", json={"label": "x"}).json()["key"]
    server.canaries.plant(key)
    with Publisher(server, internal, key) as board:
        board.say(
            {"serial_number": mine["serial_number"], "estado": "on"}, f"dispositivos/{mine['serial_number']}/estado"
        )
        board.say({"serial_number": other["serial_number"], "estado": "on"})
        board.say(
            {"serial_number": other["serial_number"], "estado": "on"}, f"dispositivos/{mine['serial_number']}/estado"
        )
    shown = {one["id"]: one["estado"] for one in server.api.get("/dispositivos").json()}
    assert (shown[mine["id"]], shown[other["id"]]) == ("activo", "inactivo")

    def refused() -> int:
        lines = server.api.get(f"/api/v1/devices/{internal}/timeline").json()["items"]
        return sum(line["count"] for line in lines if line["reason"] == "serial_mismatch")

    eventually(lambda: refused() == 2)


def test_a_message_without_a_serial_is_counted(server: RunningServer, lamp: Publisher) -> None:
    def count() -> int:
        found = server.api.get("/metrics").text
        line = next((one for one in found.splitlines() if "serial_missing" in one), "x 0")
        return round(float(line.rpartition(" ")[2]))

    before = count()
    lamp.say({"estado": "activo"})
    eventually(lambda: count() == before + 1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"RELEVO_PROFILE": "lab", "RELEVO_ALLOWED_ORIGINS": "http://panel.example"}
    with RunningServer(tmp_path_factory.mktemp("alchemy-home") / "data", env=env) as one:
        yield one


def test_on_an_open_network_a_foreign_page_changes_nothing(home: RunningServer) -> None:
    with Publisher(home) as lamp:
        lamp.say({"serial_number": "HOME1"})
    ours = {"Origin": home.http}
    # What a form of any page may send without asking first.
    for origin, status in (("http://evil.example", 403), ("null", 403), ("http://panel.example", 200)):
        answer = httpx.post(
            f"{home.http}/dispositivos/reclamar",
            content=b'{"serial_number":"HOME1"}',
            headers={"Origin": origin, "Content-Type": "text/plain"},
            trust_env=False,
        )
        assert answer.status_code == status, answer.text
    (one,) = httpx.get(f"{home.http}/dispositivos", trust_env=False).json()
    path = f"{home.http}/dispositivos/{one['id']}"
    assert httpx.put(path, json={"estado": "on"}, headers=ours, trust_env=False).status_code == 200
    assert one["reclamado"] is True


def test_what_was_claimed_on_an_open_network_is_set_back_by_an_operator(home: RunningServer) -> None:
    with Publisher(home) as lamp:
        lamp.say({"serial_number": "HOME2"})
    assert (
        httpx.post(f"{home.http}/dispositivos/reclamar", json={"serial": "HOME2"}, trust_env=False).status_code == 200
    )
    (device,) = home.api.get("/api/v1/devices", params={"search": "HOME2"}).json()["items"]
    assert (device["claimed"], device["owner"]) == (True, None)
    assert home.api.post(f"/api/v1/devices/{device['id']}/release").status_code == 200
    assert "HOME2" in httpx.get(f"{home.http}/dispositivos/no-reclamados", trust_env=False).text
