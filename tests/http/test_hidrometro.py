"""Contract hidrometro over real sockets: the acceptance checks (section 10) that belong to the reading path."""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest

from relevo.settings import load
from tests.conformance.raw import CONNACK_OK, Raw, connect, publish, subscribe
from tests.running import RunningServer

LIMIT = 6
_serials = itertools.count(1)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Open reads and anonymous meters; the memory is small and set by the contract's own name."""
    env = {"RELEVO_PROFILE": "lab", "HISTORY_LIMIT": str(LIMIT)}
    with RunningServer(tmp_path_factory.mktemp("meters") / "data", env=env) as server:
        yield server


@pytest.fixture(scope="module")
def meter(lab: RunningServer) -> Iterator["Meter"]:
    one = Meter(lab.mqtt_port)
    yield one
    one.close()


class Meter:
    """Firmware with paho: publishes at QoS 1, so that the acknowledgement says when to look."""

    def __init__(self, port: int, name: str = "meter") -> None:
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, payload: dict[str, Any], topic: str = "hidrometro/dados", retain: bool = False) -> None:
        info = self.client.publish(topic, json.dumps(payload), qos=1, retain=retain)
        info.wait_for_publish(5)
        assert info.is_published()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def open_reads(lab: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lab.http, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def serial() -> str:
    return f"SN{next(_serials)}"


def totals(client: httpx.Client, query: str = "") -> list[float]:
    answer = client.get(f"/api/history{query}")
    assert answer.status_code == 200, answer.text
    return [one["totalLiters"] for one in answer.json()["history"]]


def test_hidrometro_01_healthz_needs_no_sign_in(open_reads: httpx.Client) -> None:
    answer = open_reads.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_hidrometro_04_current_shows_the_reading(open_reads: httpx.Client, meter: Meter) -> None:
    before = time.time() * 1000
    meter.send({"totalLiters": 123.4, "flowLmin": 6.7, "numeroSerie": "abc123"})
    current = open_reads.get("/api/current").json()
    assert (current["totalLiters"], current["flowLmin"], current["numero_serie"]) == (123.4, 6.7, "ABC123")
    assert current["ts"] > 10**12
    assert abs(current["ts"] - before) < 10_000
    assert set(current) == {"ts", "totalLiters", "flowLmin", "numero_serie"}


@pytest.mark.parametrize(
    ("payload", "total", "flow"),
    [
        ({"total": 10, "flowRate": 2.5, "serial": "ABC123"}, 10, 2.5),
        ({"totalLiters": "11.5", "flowRate": "3", "numero_serie": " abc123 "}, 11.5, 3),
        ({"total": 12, "numeroSerie": "Abc123"}, 12, 0),
        ({"flowLmin": 4, "numeroSerie": "ABC123"}, 0, 4),
    ],
)
def test_hidrometro_05_aliases_are_understood(
    open_reads: httpx.Client, meter: Meter, payload: dict[str, Any], total: float, flow: float
) -> None:
    meter.send(payload)
    current = open_reads.get("/api/current", params={"numeroSerie": "abc123"}).json()
    assert (current["totalLiters"], current["flowLmin"], current["numero_serie"]) == (total, flow, "ABC123")


def test_hidrometro_06_history_is_cut_to_its_limit_and_gives_the_last_oldest_first(
    open_reads: httpx.Client, meter: Meter, serial: str
) -> None:
    for n in range(LIMIT + 5):
        meter.send({"totalLiters": 1000 + n, "flowLmin": 1, "numeroSerie": serial})
    last = [1000 + n for n in range(5, LIMIT + 5)]
    assert totals(open_reads) == last
    assert totals(open_reads, "?limit=3") == last[-3:]
    assert totals(open_reads, f"?limit={LIMIT + 1}") == last
    assert totals(open_reads, "?limit=999999999999") == last
    item = open_reads.get("/api/history?limit=1").json()["history"][0]
    assert set(item) == {"ts", "totalLiters", "flowLmin"}
    assert item["ts"] > 10**12


@pytest.mark.parametrize("limit", ["x", "", "0", "-1", "1.5", "١", "1e3"])
def test_hidrometro_06_a_limit_that_is_no_number_is_a_bad_request(open_reads: httpx.Client, limit: str) -> None:
    answer = open_reads.get("/api/history", params={"limit": limit})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


def test_hidrometro_11_an_unknown_serial_is_live_unclaimed_and_not_stored(
    lab: RunningServer, open_reads: httpx.Client, meter: Meter, serial: str
) -> None:
    headers = {"Authorization": f"Bearer {lab.token}"}
    with httpx.stream("GET", f"{lab.http}/api/v1/stream?kinds=telemetry", headers=headers, timeout=5) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry:")
        before = lab.api.get("/api/v1/system").json()["store"]["seq"]
        for total in (7.0, 8.0):
            meter.send({"totalLiters": total, "flowLmin": 1.0, "numeroSerie": serial})
        shown = [json.loads(line[6:]) for line in itertools.islice((x for x in lines if x.startswith("data: ")), 2)]
    assert [(one["external_id"], one["stored"], one["seq"]) for one in shown] == [(serial, False, None)] * 2
    assert [one["values"]["totalLiters"] for one in shown] == [7.0, 8.0]
    assert open_reads.get("/api/current", params={"numeroSerie": serial}).json()["totalLiters"] == 8.0
    assert totals(open_reads, "?limit=2") == [7.0, 8.0]
    strangers = {one["external_id"]: one for one in lab.api.get("/api/v1/unclaimed").json()["items"]}
    assert strangers[serial]["reason"] == "unclaimed"
    assert strangers[serial]["contract"] == "hidrometro"
    assert strangers[serial]["payload"]["totalLiters"] == 7.0
    assert lab.api.get("/api/v1/devices", params={"search": serial}).json()["items"] == []
    # The sighting alone is in the journal, not the readings.
    assert lab.api.get("/api/v1/system").json()["store"]["seq"] == before + 1


def test_hidrometro_11_a_claimed_serial_leaves_the_list_and_is_stored_from_then_on(
    lab: RunningServer, meter: Meter, serial: str
) -> None:
    for total in (1.0, 2.0, 3.0):
        meter.send({"totalLiters": total, "flowLmin": 1.0, "numeroSerie": serial})
    device = lab.api.post("/api/v1/claims", json={"contract": "hidrometro", "external_id": serial}).json()["id"]
    meter.send({"totalLiters": 4.0, "flowLmin": 1.0, "numeroSerie": serial})
    assert serial not in [one["external_id"] for one in lab.api.get("/api/v1/unclaimed").json()["items"]]
    points = lab.api.get(f"/api/v1/devices/{device}/telemetry/totalLiters").json()["points"]
    assert [value for _, value in points] == [4.0]


def test_hidrometro_12_a_retained_reading_counts_once_and_its_redelivery_creates_nothing(
    lab: RunningServer, open_reads: httpx.Client, meter: Meter, serial: str
) -> None:
    """Firmware retains by mistake: the publish is a live reading; what the door delivers as retained is nothing new."""
    device = lab.api.post("/api/v1/claims", json={"contract": "hidrometro", "external_id": serial}).json()["id"]
    topic = f"hidrometro/c1/{serial}/dados"
    meter.send({"totalLiters": 55.0, "flowLmin": 1.0, "numeroSerie": serial}, topic, retain=True)
    before = totals(open_reads)
    assert before[-1] == 55.0
    payload = json.dumps({"totalLiters": 55.0, "flowLmin": 1.0, "numeroSerie": serial}).encode()
    for n in range(3):
        with Raw(lab.mqtt_port, connect(f"late-{serial}-{n}")) as late:
            late.expect(CONNACK_OK)
            late.send(subscribe(("hidrometro/+/+/dados", 0)))
            late.expect(b"\x90\x03\x00\x0a\x00")
            late.expect(publish(topic, payload, retain=True))
            late.expect_silence()
    assert totals(open_reads) == before
    assert len(lab.api.get(f"/api/v1/devices/{device}/telemetry/totalLiters").json()["points"]) == 1


def test_hidrometro_13_seconds_become_milliseconds_and_a_clock_from_1970_is_the_servers(
    lab: RunningServer, open_reads: httpx.Client, meter: Meter, serial: str
) -> None:
    device = lab.api.post("/api/v1/claims", json={"contract": "hidrometro", "external_id": serial}).json()["id"]
    meter.send({"totalLiters": 1, "flowLmin": 1, "numeroSerie": serial, "ts": 1_767_225_600})
    assert open_reads.get("/api/current").json()["ts"] == 1_767_225_600_000
    meter.send({"totalLiters": 2, "flowLmin": 1, "numeroSerie": serial, "ts": 42})
    assert abs(open_reads.get("/api/current").json()["ts"] - time.time() * 1000) < 10_000
    points = lab.api.get(f"/api/v1/devices/{device}/telemetry/totalLiters").json()["points"]
    assert points[0] == [1_767_225_600_000, 1.0]
    assert abs(points[1][0] - time.time() * 1000) < 10_000
    latest = lab.api.get(f"/api/v1/devices/{device}/latest").json()
    assert latest["totalLiters"]["ts_source"] == "repaired"


def test_a_reading_without_a_serial_is_nobodys(lab: RunningServer, open_reads: httpx.Client, meter: Meter) -> None:
    meter.send({"totalLiters": 3.5, "flowLmin": 0.5})
    current = open_reads.get("/api/current").json()
    assert (current["totalLiters"], current["numero_serie"]) == (3.5, None)
    assert "" in [one["external_id"] for one in lab.api.get("/api/v1/unclaimed").json()["items"]]


@pytest.mark.parametrize(
    "payload", [b'{"numeroSerie": "A"}', b'{"totalLiters": -1}', b"[]", b'{"totalLiters": NaN}', b"815.25"]
)
def test_a_bad_reading_is_dropped_counted_and_shown_nowhere(
    lab: RunningServer, open_reads: httpx.Client, meter: Meter, payload: bytes
) -> None:
    meter.send({"totalLiters": 9.0, "flowLmin": 1.0, "numeroSerie": "ABC123"})
    before = totals(open_reads), open_reads.get("/api/current").json()

    def refused() -> int:
        counts: dict[str, int] = lab.api.get("/api/v1/system").json()["counters"]["refused"]
        return sum(count for name, count in counts.items() if name.startswith("mqtt."))

    counted = refused()
    info = meter.client.publish("hidrometro/dados", payload, qos=1)
    info.wait_for_publish(5)
    assert (totals(open_reads), open_reads.get("/api/current").json()) == before
    assert refused() == counted + 1


# With reads closed


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    data = tmp_path_factory.mktemp("closed") / "data"
    env = {"RELEVO_OPEN_READS": "false", "RELEVO_ANONYMOUS_MQTT": "true", "HISTORY_LIMIT": str(LIMIT)}
    with RunningServer(data, env=env) as server:
        yield server


@pytest.mark.parametrize("path", ["/api/current", "/api/history", "/api/history?limit=x"])
def test_closed_reads_want_a_token_in_the_contracts_words(closed: RunningServer, path: str) -> None:
    missing = httpx.get(closed.http + path, trust_env=False)
    assert (missing.status_code, missing.json()) == (401, {"error": "missing token"})
    for token in ("nonsense", closed.token[:-3] + "abc", ""):
        headers = {"Authorization": f"Bearer {token}"} if token else {"Cookie": "relevo_session=nonsense"}
        invalid = httpx.get(closed.http + path, headers=headers, trust_env=False)
        assert (invalid.status_code, invalid.json()) == (401, {"error": "invalid token"})


def test_closed_reads_open_for_a_token_and_for_a_session(closed: RunningServer) -> None:
    assert closed.api.get("/api/current").json() == {}
    assert closed.api.get("/api/history").json() == {"history": []}
    cookie = {"Cookie": f"relevo_session={closed.cookie}"}
    assert httpx.get(f"{closed.http}/api/current", headers=cookie, trust_env=False).json() == {}


def test_after_a_restart_memory_and_list_are_what_the_database_holds(closed: RunningServer) -> None:
    meter = Meter(closed.mqtt_port)
    try:
        # More often than once a second: what is held back of the sightings is told when the server stops.
        for serial in ("KEPT", "STRANGER") * 3:
            meter.send({"totalLiters": 99, "flowLmin": 1, "numeroSerie": serial})
        closed.api.post("/api/v1/claims", json={"contract": "hidrometro", "external_id": "KEPT"})
        for n in range(LIMIT + 2):
            meter.send({"totalLiters": n, "flowLmin": 1, "numeroSerie": "KEPT"})
        meter.send({"totalLiters": 99, "flowLmin": 1, "numeroSerie": "STRANGER"})
    finally:
        meter.close()
    closed.restart()
    # The stranger's readings were never stored.
    assert totals(closed.api) == list(range(2, LIMIT + 2))
    current = closed.api.get("/api/current").json()
    assert (current["totalLiters"], current["numero_serie"]) == (LIMIT + 1, "KEPT")
    strangers = {one["external_id"]: one["count"] for one in closed.api.get("/api/v1/unclaimed").json()["items"]}
    assert strangers == {"STRANGER": 4}


@pytest.mark.parametrize("name", ["HISTORY_LIMIT", "RELEVO_HIDROMETRO__HISTORY_LIMIT"])
def test_the_limit_of_the_memory_has_the_contracts_name_and_ours(tmp_path: Path, name: str) -> None:
    settings = load({"data": tmp_path}, {name: "17"})
    assert settings.hidrometro.history_limit == 17
    assert settings.origins["hidrometro.history_limit"] == f"environment {name}"
