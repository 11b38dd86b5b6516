"""A device of contract alchemy through the other interfaces, through restarts, and over time."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.settings import load
from tests.clients.announcing import Onlooker, Publisher
from tests.journeys.live import eventually
from tests.running import RunningServer

UPDATES = Path(__file__).parents[1] / "vectors" / "alchemy" / "http" / "updates.json"
DAY_S = 86_400
LAB = {"RELEVO_PROFILE": "lab", "RELEVO_ALCHEMY__PING_S": "1"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("alchemy-journey") / "data", env=LAB) as one:
        yield one


def device(server: RunningServer, serial: str) -> dict[str, Any]:
    listed = httpx.get(f"{server.http}/dispositivos", trust_env=False).json()
    one: dict[str, Any] = next(each for each in listed if each["serial_number"] == serial)
    return one


def put(server: RunningServer, one: dict[str, Any], body: dict[str, Any]) -> httpx.Response:
    return httpx.put(f"{server.http}/dispositivos/{one['id']}", json=body, trust_env=False)


def test_every_vector_of_an_update_holds_over_http(home: RunningServer) -> None:
    for n, vector in enumerate(json.loads(UPDATES.read_text("utf-8"))):
        serial = f"VEC{n:03d}"
        body = {"serial_number": serial, "estado": vector["estado"], "configuracion": vector["configuracion"]}
        if vector["estado"] == "desconocido":
            del body["estado"]
        made = httpx.post(f"{home.http}/dispositivos", json=body, trust_env=False)
        assert made.status_code == 201, (vector["name"], made.text)
        before = device(home, serial)
        assert before["id"] == made.json()["id"]
        answer = put(home, before, vector["body"])
        after = device(home, serial)
        if "field" in vector:
            assert answer.status_code == 400, vector["name"]
            assert after == before, vector["name"]
        else:
            assert answer.status_code == 200, (vector["name"], answer.text)
            assert {name: after[name] for name in ("estado", "configuracion")} == vector["after"], vector["name"]
            assert answer.json().items() >= after.items()
            assert httpx.get(f"{home.http}/dispositivos/{after['id']}/logs", trust_env=False).json()["total"] == 1


def test_a_device_is_created_once(home: RunningServer) -> None:
    body = {"serial_number": "MADE1", "nombre": "By hand", "parametros": {"w": 1}, "reclamado": True}
    assert httpx.post(f"{home.http}/dispositivos", json=body, trust_env=False).status_code == 201
    again = httpx.post(f"{home.http}/dispositivos", json=body, trust_env=False)
    assert (again.status_code, list(again.json())) == (409, ["error"])
    one = device(home, "MADE1")
    assert (one["nombre"], one["parametros"], one["reclamado"]) == ("By hand", {"w": 1}, True)
    for bad in ({}, {"serial_number": "a b"}, body | {"serial_number": "M2", "reclamado": 1}, {"serial_number": 3}):
        assert httpx.post(f"{home.http}/dispositivos", json=bad, trust_env=False).status_code == 400


def test_a_configuration_counts_until_somebody_claims_the_device(home: RunningServer) -> None:
    with Publisher(home) as lamp:
        lamp.say({"serial_number": "CONF1", "configuracion": {"modo": "manual", "encendido": True}})
        assert device(home, "CONF1")["configuracion"] == {"modo": "manual", "encendido": True}
        lamp.say({"serial_number": "CONF1", "configuracion": {"intervalo_envio": 7}})
        lamp.say({"serial_number": "CONF1", "configuracion": {"modo": "otro"}})
        wanted = {"modo": "manual", "encendido": True, "intervalo_envio": 7}
        assert device(home, "CONF1")["configuracion"] == wanted
        httpx.post(f"{home.http}/dispositivos/reclamar", json={"serial": "CONF1"}, trust_env=False)
        lamp.say({"serial_number": "CONF1", "estado": "activo", "configuracion": {"modo": "horario"}, "nombre": "x"})
        one = device(home, "CONF1")
        assert (one["configuracion"], one["estado"], one["nombre"]) == (wanted, "activo", "No definido")


def test_a_switch_is_desired_state_that_the_devices_own_word_fulfils(home: RunningServer) -> None:
    with Publisher(home) as lamp, Onlooker(home, "?serial=WISH1&eventos=nombrados") as watching:
        lamp.say({"serial_number": "WISH1", "estado": "inactivo", "parametros": {"watts": 2}})
        put(home, device(home, "WISH1"), {"configuracion": {"modo": "manual", "encendido": True}})
        native = "/api/v1/devices/alchemy-WISH1"
        desired = home.api.get(f"{native}/desired").json()
        assert desired["values"] == {"modo": "manual", "encendido": True}
        assert desired["delta"] == {"encendido": True}
        assert desired["changed"]["modo"]["state"] == "agreed"
        # Not heard of it yet: its word is stored, its wish stays.
        lamp.say({"serial_number": "WISH1", "estado": "inactivo"})
        one = device(home, "WISH1")
        assert (one["estado"], one["configuracion"]["encendido"]) == ("inactivo", True)
        assert home.api.get(f"{native}/desired").json()["delta"] == {"encendido": True}
        lamp.say({"serial_number": "WISH1", "estado": "activo"})
        assert home.api.get(f"{native}/desired").json()["changed"]["encendido"]["state"] == "agreed"
        # Steered through the native interface, seen by this contract's clients.
        assert home.api.patch(f"{native}/desired", json={"values": {"encendido": False}}).status_code == 200
        assert device(home, "WISH1")["configuracion"]["encendido"] is False
        refused = home.api.patch(f"{native}/desired", json={"values": {"modo": "otro"}})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "configuracion.modo")
        states = ["inactivo", "activo", "inactivo", "activo", "activo"]
        eventually(lambda: [each["estado"] for each in watching.updates] == states)
        assert watching.lines.count("event: device_update") == len(states)
        assert home.api.get(f"{native}/latest").json()["watts"]["value"] == 2


def test_what_is_known_of_a_device_survives_a_crash(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env=LAB) as server:
        with Publisher(server) as lamp:
            lamp.say({"serial_number": "KEPT1", "estado": "activo", "parametros": {"watts": 3}})
            httpx.post(f"{server.http}/dispositivos/reclamar", json={"serial": "KEPT1"}, trust_env=False)
            put(server, device(server, "KEPT1"), {"nombre": "Kept", "configuracion": {"modo": "manual"}})
            before = device(server, "KEPT1")
        server.kill()
        server.start()
        assert device(server, "KEPT1") == before
        with Publisher(server) as lamp:
            lamp.say({"serial_number": "KEPT1", "parametros": {"watts": 4}})
        logs = httpx.get(f"{server.http}/dispositivos/{before['id']}/logs", trust_env=False).json()
        assert [(line["estado"], line["parametros"]) for line in logs["data"]] == [
            ("activo", {"watts": 4}), ("activo", {"watts": 3}), ("activo", {"watts": 3}),
        ]  # fmt: skip
        server.api.delete("/api/v1/devices/alchemy-KEPT1")
        assert httpx.get(f"{server.http}/dispositivos/{before['id']}/logs", trust_env=False).status_code == 404


def test_a_flood_of_serials_fills_no_registry(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env=LAB | {"RELEVO_ALCHEMY__UNCLAIMED": "3"}) as server:
        with Publisher(server) as lamp:
            for n in range(6):
                lamp.say({"serial_number": f"FLOOD{n}"})
            assert len(httpx.get(f"{server.http}/dispositivos", trust_env=False).json()) == 3
            pending = server.api.get("/api/v1/unclaimed", params={"contract": "alchemy"})
            eventually(
                lambda: (
                    {
                        (one["external_id"], one["reason"])
                        for one in server.api.get("/api/v1/unclaimed", params={"contract": "alchemy"}).json()["items"]
                    }
                    == {(f"FLOOD{n}", "unclaimed_full") for n in (3, 4, 5)}
                )
            )
            assert pending.status_code == 200
            # One claimed makes room for one.
            httpx.post(f"{server.http}/dispositivos/reclamar", json={"serial": "FLOOD0"}, trust_env=False)
            lamp.say({"serial_number": "FLOOD5"})
            assert device(server, "FLOOD5")["reclamado"] is False


def test_polling_is_no_flood(tmp_path: Path) -> None:
    env = {"RELEVO_OPEN_REGISTRATION": "true", "RELEVO_ANONYMOUS_MQTT": "true", "RELEVO_OPEN_READS": "true"}
    env["RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_ADDRESS"] = "20"
    with RunningServer(tmp_path / "data", env=env) as server, httpx.Client(trust_env=False) as poll:
        assert {poll.get(f"{server.http}/dispositivos").status_code for _ in range(60)} == {200}
        assert 429 in {poll.get(f"{server.http}/api/current").status_code for _ in range(60)}


# Over time, by a clock that is moved by hand.


@contextlib.asynccontextmanager
async def running(data: Path, clock: ManualClock, **env: str) -> AsyncIterator[tuple[Application, httpx.AsyncClient]]:
    options = {"data": data, "http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given"}
    one = Application(load(options, LAB | env), clock)
    await one.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{one.http_port}", trust_env=False) as client:
            yield one, client
    finally:
        await one.stop()


async def hear(one: Application, body: dict[str, Any]) -> None:
    """What the MQTT door does with a message."""
    found = one.intake.address("dispositivos/estado")
    assert found is not None
    dialect, address = found
    decoded = dialect.decode(address, json.dumps(body).encode(), one.clock.now_ms(), False)
    await one.pipeline.accept(one.intake.events(dialect, decoded, "mqtt", "127.0.0.1"))


@pytest.mark.usefixtures("collector")
async def test_an_unclaimed_device_that_is_silent_for_a_day_goes(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock) as (one, app):
        assert one._silent is not None
        for serial in ("SILENT", "TALKS", "TAKEN"):
            await hear(one, {"serial_number": serial})
        assert (await app.post("/dispositivos/reclamar", json={"serial": "TAKEN"})).status_code == 200
        assert (await app.post("/dispositivos", json={"serial_number": "BYHAND"})).status_code == 201
        one._presence.look()  # type: ignore[union-attr]
        clock.advance(31)
        one._presence.look()  # type: ignore[union-attr]
        await one.pipeline.accept([])
        clock.advance(DAY_S - 60)
        await hear(one, {"serial_number": "TALKS"})
        await one._silent.look()
        assert len((await app.get("/dispositivos")).json()) == 4
        clock.advance(60)
        await one._silent.look()
        assert {each["serial_number"] for each in (await app.get("/dispositivos")).json()} == {
            "TALKS", "TAKEN", "BYHAND",
        }  # fmt: skip


@pytest.mark.usefixtures("collector")
async def test_lines_of_the_log_go_after_their_days(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock, RELEVO_ALCHEMY__LOG_DAYS="2") as (one, app):
        assert one._retention is not None
        await hear(one, {"serial_number": "LOGGED", "estado": "activo", "parametros": {"n": 1}})
        clock.advance(DAY_S)
        await hear(one, {"serial_number": "LOGGED", "parametros": {"n": 2}})
        clock.advance(DAY_S + 1)
        await one._retention.look()
        number = (await app.get("/dispositivos")).json()[0]["id"]
        page = (await app.get(f"/dispositivos/{number}/logs")).json()
        assert (page["total"], page["data"][0]["parametros"]) == (1, {"n": 2})
        assert page["data"][0]["timestamp"] == "2026-01-02T00:00:00Z"
        clock.advance(2 * DAY_S)
        await one._retention.look()
        await hear(one, {"serial_number": "LOGGED", "parametros": {"n": 3}})
        page = (await app.get(f"/dispositivos/{number}/logs")).json()
        # Nothing before it is kept, and it is still known what the device does.
        assert [(line["estado"], line["parametros"]) for line in page["data"]] == [("activo", {"n": 3})]


@pytest.mark.usefixtures("collector")
async def test_a_difference_that_lasts_is_shown_as_not_applied(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock) as (one, app):
        await hear(one, {"serial_number": "STUCK", "estado": "inactivo"})
        number = (await app.get("/dispositivos")).json()[0]["id"]
        await app.put(f"/dispositivos/{number}", json={"configuracion": {"modo": "manual", "encendido": True}})
        states = []
        for _ in range(4):
            clock.advance(4)
            await hear(one, {"serial_number": "STUCK", "estado": "inactivo"})
            await one.pipeline.accept([])
            states.append(one.twins.get("alchemy-STUCK").desired["encendido"].state)
        assert states == ["pending", "pending", "pending", "failed"]
        shown = (await app.get(f"/dispositivos/{number}")).json()
        assert (shown["estado"], shown["configuracion"]["encendido"]) == ("inactivo", True)


@pytest.mark.usefixtures("collector")
async def test_a_device_is_away_after_three_intervals_and_half_a_minute_at_least(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock) as (one, app):
        for serial, every in (("OFTEN", 5), ("SELDOM", 60)):
            await hear(one, {"serial_number": serial, "estado": "activo"})
            body = {"serial": serial, "configuracion": {"intervalo_envio": every}}
            assert (await app.post("/dispositivos/reclamar", json=body)).status_code == 200
        assert one._presence is not None
        seen = []
        for seconds in (29, 2, 140, 10):
            one._presence.look()
            clock.advance(seconds)
            one._presence.look()
            seen.append([one.presence.online(f"alchemy-{serial}") for serial in ("OFTEN", "SELDOM")])
        assert seen == [[True, True], [False, True], [False, True], [False, False]]
        # Shown beside the status, which is what it last said.
        assert {each["estado"] for each in (await app.get("/dispositivos")).json()} == {"activo"}
