"""What a client may do, and how much of it: each refusal is answered, counted and told."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw import (
    CONNACK_OK,
    DISCONNECT,
    Raw,
    connect,
    publish,
    subscribe,
)
from tests.journeys.live import eventually
from tests.running import ADMIN_PASSWORD, RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {
        "RELEVO_LIMITS__SUBSCRIPTIONS": "3",
        "RELEVO_LIMITS__TOPIC_LEVELS": "6",
        "RELEVO_LIMITS__CONNECTIONS_PER_ADDRESS": "12",
        "RELEVO_LIMITS__FAILED_LOGINS": "3",
        "RELEVO_LIMITS__QUEUED_MESSAGES": "5",
        "RELEVO_LIMITS__MESSAGES_PER_S": "200",
    }
    with RunningServer(tmp_path_factory.mktemp("rights") / "data", env=env) as running:
        yield running


def device(server: RunningServer, name: str, **more: Any) -> Raw:
    """A device that is connected with its key."""
    key = server.register(name)
    raw = Raw(server.mqtt_port, connect(name, user=name, password=key.encode(), **more))
    raw.expect(CONNACK_OK)
    return raw


def administrator(server: RunningServer, name: str = "admin-client") -> Raw:
    raw = Raw(server.mqtt_port, connect(name, user="admin", password=ADMIN_PASSWORD.encode()))
    raw.expect(CONNACK_OK)
    return raw


def told(server: RunningServer, name: str, reason: str) -> int:
    """How often ``reason`` stands in the story of ``name`` (empty: the door's)."""
    path = f"/api/v1/devices/{name}/timeline" if name else "/api/v1/system/timeline"
    return sum(one["count"] for one in server.api.get(path).json()["items"] if one["reason"] == reason)


def test_a_foreign_client_id_is_refused_and_its_owner_stays(server: RunningServer) -> None:
    key = server.register("thief")
    with device(server, "victim") as victim:
        with Raw(server.mqtt_port, connect("victim", user="thief", password=key.encode())) as thief:
            thief.expect(b"\x20\x02\x00\x02")
            thief.expect_closed()
        victim.expect_silence()
    assert eventually(lambda: told(server, "thief", "client_id_taken"))


def test_a_will_on_a_foreign_topic_is_refused(server: RunningServer) -> None:
    key = server.register("will-er").encode()
    will = ("relevo/other/telemetry", b'{"v": 1}', 0, False)
    with Raw(server.mqtt_port, connect("w", user="will-er", password=key, will=will)) as raw:
        raw.expect(b"\x20\x02\x00\x05")
        raw.expect_closed()
    assert eventually(lambda: told(server, "will-er", "will_not_allowed"))


@pytest.mark.parametrize(
    "filter_",
    ["#", "+/#", "relevo/#", "relevo/+/command", "relevo/+/+", "+/rights-w/command", "$SYS/#", "$share/g/#",
     "$share/g/relevo/+/command", "relevo/other/command", "relevo/rights-w/#", "/#", "+", "relevo/rights-w/+"],
)  # fmt: skip
def test_wildcards_never_widen_a_right(server: RunningServer, filter_: str) -> None:
    if server.api.get("/api/v1/devices/rights-w").status_code == 404:
        server.rights_key = server.register("rights-w")  # type: ignore[attr-defined]
    key = server.rights_key.encode()  # type: ignore[attr-defined]
    with Raw(server.mqtt_port, connect("rights-w", user="rights-w", password=key)) as raw:
        raw.expect(CONNACK_OK)
        raw.send(subscribe((filter_, 1)))
        raw.expect(b"\x90\x03\x00\x0a\x80")
        with administrator(server) as admin:
            admin.send(publish("relevo/other/command", b"{}", qos=1))
            admin.expect(b"\x40\x02\x00\x01")
        raw.expect_silence()


def test_its_own_command_topic_is_granted(server: RunningServer) -> None:
    with device(server, "obeys") as raw, administrator(server) as admin:
        raw.send(subscribe(("relevo/obeys/command", 1)))
        raw.expect(b"\x90\x03\x00\x0a\x01")
        admin.send(publish("relevo/obeys/command", b'{"id": "1"}', qos=1, packet_id=3))
        admin.expect(b"\x40\x02\x00\x03")
        raw.expect(publish("relevo/obeys/command", b'{"id": "1"}', qos=1, packet_id=1))


def test_removing_a_device_ends_its_connection_and_takes_all_of_it_away(server: RunningServer) -> None:
    with device(server, "revoked", clean=False) as raw, administrator(server) as admin:
        raw.send(publish("relevo/revoked/status", b"online", qos=1, retain=True))
        raw.expect(b"\x40\x02\x00\x01")
        raw.send(subscribe(("relevo/revoked/command", 1)))
        raw.packet()
        assert server.api.delete("/api/v1/devices/revoked").status_code == 204
        raw.expect_closed()
        admin.send(subscribe(("relevo/revoked/#", 0)))
        admin.packet()
        admin.expect_silence()
    sessions = server.api.get("/api/v1/system").json()["mqtt"]["sessions"]
    with device(server, "revoked", clean=False) as raw:
        # A new device of the same name finds nothing of the old one: the session is new.
        raw.expect_silence()
    assert sessions < 5


def test_administrators_see_how_the_door_is_doing_under_sys(server: RunningServer) -> None:
    with administrator(server) as admin:
        admin.send(subscribe(("$SYS/broker/clients/connected", 0), ("$SYS/#", 0)))
        assert admin.packet() == b"\x90\x04\x00\x0a\x00\x00"
        found = admin.packet(15)
        assert b"$SYS/broker/" in found


def test_wrong_credentials_again_and_again_have_to_wait(server: RunningServer) -> None:
    key = server.register("guessed").encode()
    for _ in range(3):
        with Raw(server.mqtt_port, connect("g", user="guessed", password=b"wrong")) as raw:
            raw.expect(b"\x20\x02\x00\x04")
    with Raw(server.mqtt_port, connect("g", user="guessed", password=key)) as raw:
        raw.expect(b"\x20\x02\x00\x05")
    # Another name from the same address is not held responsible.
    with device(server, "bystander") as raw:
        raw.expect_silence()
    assert eventually(lambda: told(server, "guessed", "too_many_attempts"))


def test_topics_too_deep_and_too_many_subscriptions_are_refused_one_by_one(server: RunningServer) -> None:
    with administrator(server) as admin:
        admin.send(publish("a/b/c/d/e/f/g", qos=1))
        admin.expect(b"\x40\x02\x00\x01")
        admin.send(subscribe(("1", 0), ("2", 0), ("3", 0), ("4", 0), ("a/b/c/d/e/f/g", 0)))
        admin.expect(b"\x90\x07\x00\x0a\x00\x00\x00\x80\x80")
    for reason in ("topic_too_deep", "too_many_subscriptions", "filter_too_long"):
        assert eventually(lambda reason=reason: told(server, "", reason)), reason


def test_too_many_connections_of_one_address_are_turned_away(server: RunningServer) -> None:
    held = [Raw(server.mqtt_port) for _ in range(12)]
    try:
        eventually(lambda: server.api.get("/api/v1/system").json()["mqtt"]["connections"] >= 12)
        with Raw(server.mqtt_port) as one_more:
            one_more.expect_closed()
    finally:
        for raw in held:
            raw.drop()
    assert eventually(lambda: told(server, "", "too_many_connections_of_address"))
    eventually(lambda: server.api.get("/api/v1/system").json()["mqtt"]["connections"] == 0)


def test_a_queue_that_overflows_loses_the_oldest_and_says_how_many(server: RunningServer) -> None:
    with device(server, "asleep", clean=False) as raw:
        raw.send(subscribe(("relevo/asleep/command", 1)))
        raw.packet()
        raw.send(DISCONNECT)
        raw.expect_closed()
    with administrator(server) as admin:
        for n in range(1, 13):
            admin.send(publish("relevo/asleep/command", b"%d" % n, qos=1, packet_id=n))
            admin.expect(b"\x40\x02" + n.to_bytes(2, "big"))
    assert eventually(lambda: told(server, "asleep", "queue_full") == 7)
    key = server.api.get("/api/v1/devices/asleep").json()
    assert key["id"] == "asleep"


def test_a_client_above_its_rate_is_slowed_and_loses_nothing(server: RunningServer) -> None:
    with device(server, "hasty") as raw:
        begun = time.monotonic()
        raw.send(*(publish("relevo/hasty/telemetry", b'{"n": %d}' % n, qos=1, packet_id=n) for n in range(1, 601)))
        for n in range(1, 601):
            raw.expect(b"\x40\x02" + n.to_bytes(2, "big"))
        took = time.monotonic() - begun
    assert took > 1.5
    points = server.api.get("/api/v1/devices/hasty/telemetry/n?limit=1000").json()["points"]
    assert sorted(value for _, value in points) == list(range(1, 601))
