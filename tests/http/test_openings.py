"""What a stranger may do for clients that know no sign-in: nothing, unless a switch opens it, and then that.

Every probe is tried against a server with nothing open, and against one for each switch with that switch alone.
"""

import json
import re
from collections.abc import Callable, Iterator

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from relevo.settings.table import SWITCHES
from tests.clients.announcing import Publisher
from tests.journeys.live import eventually
from tests.running import ADMIN_PASSWORD, REPOSITORY, RunningServer

PAIRING = "pairing window"
CLOSED = ""
PAGE = REPOSITORY / "docs" / "openings.md"


class Home:
    """A server with some devices in it, and a stranger in front of it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        api = server.api
        body = {"uuid": "known-board", "name": "Board", "type": "esp32_relay"}
        assert api.post("/api/devices", json=body).status_code == 201
        lamp = {"serial_number": "LMP0000001", "reclamado": True}
        self.lamp = api.post("/dispositivos", json=lamp).json()["id"]
        assert api.post("/dispositivos", json={"serial_number": "LMP0000002"}).status_code == 201
        made = api.post("/devices", json={"name": "Thing", "type": "esp32"}).json()
        self.thing, self.token = made["id"], made["device_token"]
        self.stranger = httpx.Client(base_url=server.http, trust_env=False, timeout=10)

    def close(self) -> None:
        self.stranger.close()


def status(answer: httpx.Response) -> bool:
    assert answer.status_code < 500, answer.text
    return answer.is_success


def boards_register(home: Home) -> bool:
    return status(home.stranger.post("/api/devices", json={"uuid": "new-board", "name": "New", "type": "esp32_relay"}))


def boards_get_settings(home: Home) -> bool:
    answer = home.stranger.get("/api/mqtt/config")
    assert answer.is_success or "password" not in answer.text
    return status(answer)


def people_sign_up(home: Home) -> bool:
    body = {"email": "a@example.org", "username": "somebody", "password": "Long-enough-1"}
    return status(home.stranger.post("/signup", json=body))


def people_register(home: Home) -> bool:
    body = {"username": "somebody-else", "password": "long-enough-for-one"}
    return status(home.stranger.post("/api/auth/register/", json=body))


def meters_are_read(home: Home) -> bool:
    found = {status(home.stranger.get(path)) for path in ("/api/current", "/api/history")}
    assert len(found) == 1
    return found.pop()


def lamps_are_read(home: Home) -> bool:
    paths = ("/dispositivos", f"/dispositivos/{home.lamp}", f"/dispositivos/{home.lamp}/logs")
    found = {status(home.stranger.get(path)) for path in (*paths, "/dispositivos/no-reclamados")}
    with home.stranger.stream("GET", "/stream/dispositivos") as answer:
        found.add(answer.is_success)
    assert len(found) == 1
    return found.pop()


def lamps_are_changed(home: Home) -> bool:
    found = {
        status(home.stranger.put(f"/dispositivos/{home.lamp}", json={"estado": "activo"})),
        status(home.stranger.put(f"/dispositivos/{home.lamp}/estado", json={"estado": "activo"})),
        status(home.stranger.post("/dispositivos/reclamar", json={"serial_number": "LMP0000002"})),
        status(home.stranger.post("/dispositivos", json={"serial_number": "LMP0000003"})),
    }
    assert len(found) == 1
    return found.pop()


def messages_come_without_an_account(home: Home) -> bool:
    answers: list[int] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.append(reason.value)
    client.connect("127.0.0.1", home.server.mqtt_port)
    client.loop_start()
    try:
        eventually(lambda: answers)
    finally:
        client.disconnect()
        client.loop_stop()
    return answers[0] == 0


def new_lamps_are_taken_in(home: Home) -> bool:
    """By a message of somebody who may write on their topic."""
    serial = "LMP0000009"
    with Publisher(home.server, "admin", ADMIN_PASSWORD) as broker:
        broker.say({"serial_number": serial, "estado": "activo"})
    listed = home.server.api.get("/dispositivos/no-reclamados").json()
    return any(one["serial_number"] == serial for one in listed)


def devices_prove_themselves_by_address(home: Home) -> bool:
    return status(home.stranger.get("/telemetry/latest", params={"device_token": home.token}))


def tokens_are_listed(home: Home) -> bool:
    return home.token in home.server.api.get("/devices").text


def people_prove_themselves_by_address(home: Home) -> bool:
    address = f"ws://127.0.0.1:{home.server.http_port}/ws?token={home.server.token}"
    with connect(address) as socket:
        try:
            return bool(json.loads(socket.recv(5))["type"] == "connected")
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            assert closed.rcvd.code == 4401
            return False


PROBES: dict[Callable[[Home], bool], set[str]] = {
    boards_register: {PAIRING, "open_registration"},
    # A broker that asks for no account is described without one.
    boards_get_settings: {PAIRING, "open_mqtt_config", "anonymous_mqtt"},
    new_lamps_are_taken_in: {PAIRING, "open_registration"},
    people_sign_up: {"open_registration"},
    people_register: {"open_registration"},
    meters_are_read: {"open_reads"},
    lamps_are_read: {"open_reads"},
    lamps_are_changed: {"open_control"},
    devices_prove_themselves_by_address: {"token_in_query"},
    people_prove_themselves_by_address: {"token_in_query"},
    tokens_are_listed: {"legacy_show_tokens"},
    messages_come_without_an_account: {"anonymous_mqtt"},
}


@pytest.fixture(scope="module", params=[CLOSED, PAIRING, *SWITCHES], ids=lambda name: name or "nothing")
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Home]]:
    """What is open, and a home where that is."""
    name = str(request.param)
    # Without a word about it tokens in addresses are good for what knows no other way.
    env = {"RELEVO_TOKEN_IN_QUERY": "false"}
    if name in SWITCHES:
        env[f"RELEVO_{name.upper()}"] = "true"
    data = tmp_path_factory.mktemp("openings") / "data"
    with RunningServer(data, env=env, options=("--http", "0.0.0.0:0"), start=False) as server:
        server.command[-1] = f"0.0.0.0:{server.http_port}"
        server.start()
        home = Home(server)
        if name == PAIRING:
            assert server.api.post("/api/v1/pairing", json={"minutes": 10}).is_success
        yield name, home
        home.close()


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_an_opening_is_closed_unless_its_switch_is_on(opened: tuple[str, Home], probe: Callable[[Home], bool]) -> None:
    name, home = opened
    assert probe(home) is (name in PROBES[probe])


def test_what_is_open_is_told(opened: tuple[str, Home]) -> None:
    name, home = opened
    told = home.server.api.get("/api/v1/system").json()
    assert {switch for switch, on in told["switches"].items() if on} == ({name} & set(SWITCHES))
    assert told["pairing"]["open"] is (name in (PAIRING, "open_registration"))


def test_the_page_names_every_opening_and_its_test() -> None:
    rows = re.findall(r"^\| `?([a-z_ ]+?)`? \| (.+) \| (.+) \|$", PAGE.read_text("utf-8"), re.M)
    told = {name: set(re.findall(r"`([a-z_]+)`", tests)) for name, _, tests in rows if name != "switch"}
    expected: dict[str, set[str]] = {}
    for probe, switches in PROBES.items():
        for switch in switches:
            expected.setdefault(switch, set()).add(probe.__name__)
    assert told == expected
