"""Imports over HTTP: what was exported comes back to the byte, once, and nothing live hears of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.exchange.test_exports import BEGIN, send
from tests.exchange.test_home_assistant import NEW, database
from tests.running import RunningServer

pytestmark = pytest.mark.timeout(300)

VALUES: list[Any] = [
    1, 1.0, True, -0.0, "on", [1, None], {"a": 2**63 - 1}, 21.37, 2**63 - 1, -(2**63), False, "ü", "", "12", "true",
    "=1+1", "'quoted", "json:[1]", 'a "b", c', "two\nlines", "\r\n", "\ttab", "@x", -5, 5e-324, 1e300, 0.1, "＝full",
]  # fmt: skip


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, RunningServer]]:
    folder = tmp_path_factory.mktemp("imports")
    environment = {"RELEVO_HISTORY__TAIL_EVENTS": "100"}
    with RunningServer(folder / "one", env=environment) as one, RunningServer(folder / "two", env=environment) as two:
        yield one, two


def post(server: RunningServer, data: bytes, **query: Any) -> dict[str, Any]:
    answer = server.api.post("/api/v1/imports", params=query, content=data)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    "query", [{"format": "csv"}, {"format": "csv", "form": "long", "zone": "America/Sao_Paulo"}, {"format": "jsonl"}]
)
def test_what_is_exported_comes_back_to_the_byte_and_once(
    servers: tuple[RunningServer, RunningServer], query: dict[str, str]
) -> None:
    one, two = servers
    name = f"round-{len(query)}-{query['format']}"
    one.register(name)
    readings = [(n * 10, {"v": value, "n": n}) for n, value in enumerate(VALUES * 20)]
    # Several at one time, of which some are the same.
    readings += [(70, {"v": "twice"}), (70, {"v": "twice"}), (70, {"w": 1, "n": 7}), (71, {"=k": 1})]
    send(one, name, readings)
    path, wanted = "/api/v1/exports", query | {"devices": name}
    file = one.api.get(path, params=wanted).content
    report = post(two, file, format=query["format"], create="true")
    assert (report["refused"], report["unknown"], report["created"]) == (0, {}, [name])
    points = sum(len(values) for _, values in readings)
    assert (report["points"], report["repeated"], report["done"]) == (points, 0, True)
    assert two.api.get(path, params=wanted).content == file
    again = post(two, file, format=query["format"])
    assert (again["points"], again["repeated"], again["refused"]) == (0, points, 0)
    assert two.api.get(path, params=wanted).content == file


def test_a_line_that_is_wrong_is_named_and_loses_nothing_else(servers: tuple[RunningServer, RunningServer]) -> None:
    server = servers[0]
    server.register("named")
    lines = [
        'time,device,"a","b"',
        "2026-01-01T00:00:00Z,named,1,2",
        "yesterday,named,1,2",
        "2026-01-01T00:00:01Z,nobody,1,2",
        '2026-01-01T00:00:02Z,named,99999999999999999999,"fine"',
        "2026-01-01T00:00:03Z,named,1",
        "2026-01-01T00:00:04Z,named,,7",
    ]
    report = post(server, "\r\n".join(lines).encode())
    assert (report["readings"], report["points"], report["refused"]) == (3, 4, 3)
    assert report["unknown"] == {"nobody": 2}
    told = [(fault["line"], fault["field"], fault["reason"]) for fault in report["faults"]]
    assert sorted(told) == [
        (3, "time", "time_unreadable"),
        (5, "a", "value_out_of_range"),
        (6, "", "csv_malformed"),
    ]


def test_the_past_is_not_live(servers: tuple[RunningServer, RunningServer]) -> None:
    server = servers[0]
    server.register("live")
    send(server, "live", [(1_000, {"t": 20.0})])
    heard = server.api.get("/api/v1/devices/live").json()["last_seen"]
    rule = {
        "name": "hot",
        "when": {"kind": "compare", "key": "t", "op": ">", "value": 50},
        "scope": {"devices": ["live"]},
        "actions": [],
    }
    server.api.post("/api/v1/rules", json=rule)
    text = f'time,device,"t","u"\r\n{BEGIN},live,99.0,1\r\n'
    assert post(server, text.encode())["points"] == 2
    device = server.api.get("/api/v1/devices/live").json()
    assert device["latest"]["t"]["value"] == 20.0
    assert device["latest"]["u"] == {"value": 1, "ts": BEGIN, "ts_source": "imported"}
    assert device["last_seen"] == heard
    assert server.api.get("/api/v1/alerts").json()["items"] == []


def test_what_is_no_text_is_refused_with_words(servers: tuple[RunningServer, RunningServer]) -> None:
    server = servers[0]
    server.register("bytes")
    picture = b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe,\xff\n"
    answer = server.api.post("/api/v1/imports", params={"format": "thingsboard", "device": "bytes"}, content=picture)
    assert (answer.status_code, "which column has the time" in answer.json()["detail"]) == (422, True)
    text = b'time,device,"a\xff","b"\r\n2026-01-01T00:00:00Z,bytes,1,"\xff"\r\n2026-01-01T00:00:00Z,bytes,,"fine"\r\n'
    report = post(server, text)
    assert (report["points"], report["refused"]) == (1, 2)
    assert {fault["reason"] for fault in report["faults"]} == {"key_invalid", "utf8_invalid"}


def test_a_recorder_database_comes_in_with_devices_and_units(
    servers: tuple[RunningServer, RunningServer], tmp_path: Path
) -> None:
    server = servers[0]
    rows = ",".join(f"({n}, 1, '{n / 4}', {BEGIN / 1000 + n}, 1)" for n in range(1, 6_001))
    data = database(
        tmp_path,
        NEW
        + f"""
INSERT INTO states_meta VALUES (1, 'sensor.attic_temperature');
INSERT INTO state_attributes VALUES (1, 0, '{{"unit_of_measurement": "°C"}}');
INSERT INTO states (state_id, metadata_id, state, last_updated_ts, attributes_id) VALUES {rows};
""",
    )
    query = {"format": "home-assistant", "create": "true", "names": "sensor.attic_*=attic/*"}
    headers = {"Accept": "application/x-ndjson"}
    answer = server.api.post("/api/v1/imports", params=query, content=data, headers=headers)
    reports = [json.loads(line) for line in answer.text.splitlines()]
    assert len(reports) > 2
    assert [report["done"] for report in reports] == [False] * (len(reports) - 1) + [True]
    assert (reports[-1]["points"], reports[-1]["created"]) == (6_000, ["attic"])
    device = server.api.get("/api/v1/devices/attic").json()
    assert device["attributes"] == {"units": {"temperature": "°C"}}
    assert (device["latest"]["temperature"]["value"], device["online"]) == (1500, False)
    assert list((server.data / "imports").iterdir()) == []
    audit = server.api.get("/api/v1/audit", params={"action": "history.import"}).json()["items"]
    assert audit[0]["detail"]["points"] == 6_000


def test_nobody_imports_into_what_they_may_not_control(servers: tuple[RunningServer, RunningServer]) -> None:
    server = servers[0]
    server.register("of-the-admin")
    account = {"name": "olga", "password": "a-long-enough-password", "role": "operator"}
    made = server.api.post("/api/v1/users", json=account)
    assert made.status_code == 201, made.text
    signed = httpx.post(
        f"{server.http}/api/v1/auth/login",
        json={"username": "olga", "password": account["password"]},
        trust_env=False,
        timeout=30,
    ).json()
    lines = f'time,device,"v"\r\n{BEGIN},of-the-admin,1\r\n{BEGIN},of-olga,1\r\n'
    answer = httpx.post(
        f"{server.http}/api/v1/imports?create=true",
        content=lines.encode(),
        headers={"Authorization": f"Bearer {signed['access_token']}"},
        trust_env=False,
        timeout=60,
    ).json()
    assert (answer["points"], answer["created"], answer["unknown"]) == (1, ["of-olga"], {"of-the-admin": 1})
    assert "v" not in server.api.get("/api/v1/devices/of-the-admin").json()["latest"]


def test_imports_leave_other_limits_alone(servers: tuple[RunningServer, RunningServer]) -> None:
    server = servers[0]
    server.register("large")
    # More than any other request may bring.
    lines = "".join(f'{BEGIN + n},large,"v",{n}\r\n' for n in range(60_000))
    report = post(server, b"time,device,key,value\r\n" + lines.encode())
    assert (report["points"], report["refused"]) == (60_000, 0)
    assert len(lines) > 1_048_576
    assert server.api.post("/api/v1/telemetry", content=lines.encode()).status_code == 413
