"""Rubbish of every kind: refused, counted, told where a person looks, and nobody else notices."""

import json
from typing import Any

import pytest

from tests.conformance.raw import CONNACK_OK, Raw, connect, packet, publish, text
from tests.journeys.live import eventually
from tests.running import RunningServer

BAD_PAYLOADS = [
    (b'{"temperature": 21.5', "json_malformed"),
    (b"", "payload_empty"),
    (b"[" * 10_000 + b"]" * 10_000, "json_too_deep"),
    (b'{"values":' * 5_000 + b"1" + b"}" * 5_000, "json_too_deep"),
    (b'{"t": 1, "t": 2}', "json_duplicate_key"),
    (b'{"values": {"t": 1, "t": 2}}', "json_duplicate_key"),
    (b'{"t": "\xff\xfe"}', "utf8_invalid"),
    (b'{"t": NaN}', "value_not_finite"),
    (b'{"t": 1e999}', "value_not_finite"),
    (b'{"t": 9223372036854775808}', "value_out_of_range"),
    (b'{"t": null}', "value_null"),
    (b'"just text"', "json_not_object"),
]


def timeline(server: RunningServer, device: str) -> list[dict[str, Any]]:
    path = f"/api/v1/devices/{device}/timeline" if device else "/api/v1/system/timeline"
    items: list[dict[str, Any]] = server.api.get(path).json()["items"]
    return items


def refusals(server: RunningServer, device: str, reason: str) -> list[dict[str, Any]]:
    return [one for one in timeline(server, device) if one["kind"] == "refused" and one["reason"] == reason]


@pytest.mark.parametrize(("payload", "reason"), BAD_PAYLOADS, ids=[f"{r}-{n}" for n, (_, r) in enumerate(BAD_PAYLOADS)])
def test_a_bad_payload_is_told_in_the_devices_timeline_and_the_connection_stays(
    lab: RunningServer, payload: bytes, reason: str
) -> None:
    device = f"bad-{abs(hash(payload)) % 10**8}"
    lab.register(device)
    with Raw(lab.mqtt_port, connect(device)) as client:
        client.expect(CONNACK_OK)
        client.send(publish(f"relevo/{device}/telemetry", payload, qos=1, packet_id=1))
        client.expect(b"\x40\x02\x00\x01")
        found = refusals(lab, device, reason)
        assert found, timeline(lab, device)
        assert found[0]["detail"]
        assert found[0]["where"] == "mqtt"
        # The same connection goes on.
        client.send(publish(f"relevo/{device}/telemetry", b'{"ok": 1}', qos=1, packet_id=2))
        client.expect(b"\x40\x02\x00\x02")
    assert list(lab.api.get(f"/api/v1/devices/{device}/latest").json()) == ["ok"]
    answer = lab.api.post(f"/api/v1/devices/{device}/telemetry", content=payload)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == reason


def test_a_payload_of_one_megabyte_is_refused_and_told(lab: RunningServer) -> None:
    with Raw(lab.mqtt_port, connect("big-sender")) as neighbour:
        neighbour.expect(CONNACK_OK)
        with Raw(lab.mqtt_port, connect("big")) as client:
            client.expect(CONNACK_OK)
            client.send(publish("relevo/big/telemetry", b"x" * 1_048_576, qos=1)[:4096])
            client.expect_closed()
        neighbour.expect_silence()
    assert eventually(lambda: refusals(lab, "", "packet_too_large"))[0]["detail"].endswith("the limit is 262144")
    lab.register("big-http")
    answer = lab.api.post("/api/v1/devices/big-http/telemetry", content=b'{"t": "' + b"x" * 1_048_576 + b'"}')
    assert answer.status_code == 413
    assert eventually(lambda: refusals(lab, "", "body_too_large"))


def test_a_topic_of_no_contract_is_acknowledged_refused_and_told(lab: RunningServer) -> None:
    with Raw(lab.mqtt_port, connect("lost")) as client:
        client.expect(CONNACK_OK)
        client.send(publish("home/kitchen/temp", b"21", qos=1))
        client.expect(b"\x40\x02\x00\x01")
        client.expect_silence()
    found = eventually(lambda: refusals(lab, "", "topic_not_allowed"))
    assert "home/kitchen/temp" in found[0]["detail"]


@pytest.mark.parametrize("topic", [b"relevo/x\x00y/telemetry", b"relevo/\xff/telemetry"])
def test_a_topic_with_nul_or_bad_utf8_ends_that_connection_only(lab: RunningServer, topic: bytes) -> None:
    with Raw(lab.mqtt_port, connect("neighbour")) as neighbour, Raw(lab.mqtt_port, connect("nul")) as client:
        neighbour.expect(CONNACK_OK)
        client.expect(CONNACK_OK)
        client.send(publish(topic, b'{"v":1}'))
        client.expect_closed()
        neighbour.expect_silence()
    assert eventually(lambda: refusals(lab, "", "malformed_packet"))


def test_one_bad_item_of_a_batch_loses_nothing_else(lab: RunningServer) -> None:
    lab.register("batch")
    items = [
        {"ts": 1_795_000_000_000, "values": {"a": 1}},
        {"ts": 1_795_000_001_000, "values": {"a": None, "b": 2}},
        {"nothing": True},
        {"ts": 1_795_000_003_000, "values": {"a": 4}},
    ]
    answer = lab.api.post("/api/v1/devices/batch/telemetry", json=items)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["accepted"], body["stored"]) == (3, 3)
    assert [(one["index"], one["reason"], one["stored"]) for one in body["refused"]] == [
        (1, "value_null", True),
        (2, "reading_malformed", False),
    ]
    points = lab.api.get("/api/v1/devices/batch/telemetry/a").json()["points"]
    assert points == [[1_795_000_000_000, 1], [1_795_000_003_000, 4]]
    assert refusals(lab, "batch", "value_null")
    assert refusals(lab, "batch", "reading_malformed")


def test_a_flood_of_rubbish_is_counted_in_full_and_told_in_few_lines(lab: RunningServer) -> None:
    lab.register("flood")
    with Raw(lab.mqtt_port, connect("flood")) as client:
        client.expect(CONNACK_OK)
        client.send(*(publish("relevo/flood/telemetry", b"{", qos=1, packet_id=n) for n in range(1, 301)))
        for n in range(1, 301):
            client.expect(b"\x40\x02" + n.to_bytes(2, "big"))
    found = eventually(lambda: sum(one["count"] for one in refusals(lab, "flood", "json_malformed")) == 300)
    assert found
    assert len(timeline(lab, "flood")) < 10


def test_a_clock_that_starts_in_1970_is_repaired_and_told(lab: RunningServer) -> None:
    lab.register("old-clock")
    body = json.dumps({"ts": 42_000, "values": {"v": 1}}).encode()
    lab.api.post("/api/v1/devices/old-clock/telemetry", content=body)
    latest = lab.api.get("/api/v1/devices/old-clock/latest").json()["v"]
    assert latest["ts_source"] == "repaired"
    assert latest["ts"] > 1_700_000_000_000
    kinds = eventually(lambda: [one["kind"] for one in timeline(lab, "old-clock") if one["kind"].startswith("clock")])
    assert kinds == ["clock_boot_relative"]


def test_numbered_readings_sent_twice_are_stored_once(lab: RunningServer) -> None:
    lab.register("numbered")
    reading = {"ts": 1_795_000_000_000, "values": {"v": 1}, "boot": 3, "seq": 9}
    assert lab.api.post("/api/v1/devices/numbered/telemetry", json=reading).json()["duplicates"] == 0
    again = lab.api.post("/api/v1/devices/numbered/telemetry", json=[reading, reading]).json()
    assert (again["stored"], again["duplicates"]) == (0, 2)
    assert len(lab.api.get("/api/v1/devices/numbered/telemetry/v").json()["points"]) == 1


def test_integers_stay_exact(lab: RunningServer) -> None:
    lab.register("exact")
    for value in (2**63 - 1, -(2**63), 9_007_199_254_740_993):
        lab.api.post("/api/v1/devices/exact/telemetry", content=b'{"v": %d}' % value)
    values = [value for _, value in lab.api.get("/api/v1/devices/exact/telemetry/v").json()["points"]]
    assert sorted(values) == [-(2**63), 9_007_199_254_740_993, 2**63 - 1]


def test_a_wrong_key_is_refused_and_told_in_the_devices_timeline(secure: RunningServer) -> None:
    key = secure.register("guarded").encode()
    for user, password, code in (("guarded", b"wrong", 4), ("nobody", b"x", 4), (None, None, 5)):
        with Raw(secure.mqtt_port, connect("g", user=user, password=password)) as client:
            client.expect(bytes((0x20, 2, 0, code)))
            client.expect_closed()
    with Raw(secure.mqtt_port, connect("g", user="guarded", password=key)) as client:
        client.expect(CONNACK_OK)
        client.send(publish("relevo/guarded/telemetry", b'{"v": 1}', qos=1))
        client.expect(b"\x40\x02\x00\x01")
        # Somebody else's topic: acknowledged, as 3.1.1 wants, and not taken.
        client.send(publish("relevo/other/telemetry", b'{"v": 1}', qos=1, packet_id=2))
        client.expect(b"\x40\x02\x00\x02")
        # Wildcards can never widen a right.
        client.send(packet(0x82, b"\x00\x05" + b"".join(text(f) + b"\x00" for f in ("#", "relevo/+/command"))))
        client.expect(b"\x90\x04\x00\x05\x80\x80")
    reasons = eventually(
        lambda: (
            {"bad_credentials", "topic_not_allowed", "filter_not_allowed"}
            <= {one["reason"] for one in timeline(secure, "guarded")}
        )
    )
    assert reasons
    assert secure.api.get("/api/v1/devices/other").status_code == 404
    assert {"unknown_device", "anonymous_closed"} <= {one["reason"] for one in timeline(secure, "")}


def test_http_wants_the_devices_key_or_an_operator(secure: RunningServer) -> None:
    import httpx

    key = secure.register("keyed")
    secure.register("stranger")
    url = f"{secure.http}/api/v1/devices/keyed/telemetry"
    assert httpx.post(url, json={"v": 1}, trust_env=False).status_code == 401
    assert httpx.post(url, json={"v": 1}, headers={"Authorization": "Bearer nonsense"}).status_code == 401
    assert httpx.post(url, json={"v": 1}, headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert httpx.post(url, json={"v": 1}, auth=("device", key)).status_code == 200
    assert httpx.post(url.replace("keyed", "stranger"), json={"v": 1}, auth=("device", key)).status_code == 401
    latest = httpx.get(f"{secure.http}/api/v1/devices/keyed/latest", headers={"Authorization": f"Bearer {key}"})
    assert latest.json()["v"]["value"] == 1
    assert eventually(lambda: refusals(secure, "keyed", "bad_credentials"))
