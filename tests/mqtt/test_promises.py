"""What an acknowledgement of the MQTT door promises, while the store has trouble or a session keeps nothing."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from relevo.store.db import FILE_NAME, open_writer
from tests.conformance.raw import (
    CONNACK_OK,
    CONNACK_RESUMED,
    PINGREQ,
    Raw,
    connect,
    packet,
    puback,
    publish,
    subscribe,
)
from tests.journeys.live import eventually
from tests.running import RunningServer

PINGRESP = b"\xd0\x00"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {
        "RELEVO_PROFILE": "lab",
        "RELEVO_ANONYMOUS_TOPICS": "#",
        "RELEVO_LIMITS__QUEUED_MESSAGES": "0",
        "RELEVO_LIMITS__INFLIGHT": "2",
    }
    with RunningServer(tmp_path_factory.mktemp("promises") / "data", env=env) as server:
        yield server


@pytest.fixture
def lock(lab: RunningServer) -> Iterator[sqlite3.Connection]:
    """Another program that holds the database, so that nothing can be committed."""
    connection = open_writer(lab.data / FILE_NAME)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.close()
    eventually(lambda: lab.health().status_code == 200, 10)


def reading(device: str, n: int) -> bytes:
    return json.dumps({"ts": 1_795_000_000_000 + n, "values": {"n": n}, "boot": 1, "seq": n}).encode()


@pytest.mark.parametrize(("qos", "answer"), [(1, 0x40), (2, 0x50)])
def test_nothing_is_acknowledged_while_nothing_can_be_stored(
    lab: RunningServer, lock: sqlite3.Connection, qos: int, answer: int
) -> None:
    device = f"waits-{qos}"
    with Raw(lab.mqtt_port, connect(device)) as client:
        client.expect(CONNACK_OK)
        client.send(publish(f"relevo/{device}/telemetry", reading(device, 1), qos=qos, packet_id=7))
        # The connection lives meanwhile.
        client.send(PINGREQ)
        client.expect(PINGRESP)
        lock.execute("ROLLBACK")
        client.expect(bytes((answer, 2, 0, 7)))
    assert lab.api.get(f"/api/v1/devices/{device}/latest").json()["n"]["value"] == 1


def test_a_repeated_qos_2_publish_is_not_acknowledged_before_the_first_is_stored(
    lab: RunningServer, lock: sqlite3.Connection
) -> None:
    """PUBREC is as much of a promise the second time: after it the client forgets the message."""
    again = publish("relevo/repeats/telemetry", reading("repeats", 1), qos=2, packet_id=7, dup=True)
    with Raw(lab.mqtt_port, connect("repeats")) as client:
        client.expect(CONNACK_OK)
        client.send(publish("relevo/repeats/telemetry", reading("repeats", 1), qos=2, packet_id=7))
        client.send(again)
        client.send(PINGREQ)
        client.expect(PINGRESP)
        lock.execute("ROLLBACK")
        client.expect(b"\x50\x02\x00\x07")


def test_a_qos_2_publish_repeated_on_a_new_connection_is_not_acknowledged_before_it_is_stored(
    lab: RunningServer,
) -> None:
    topic = "relevo/returns/telemetry"
    holder = open_writer(lab.data / FILE_NAME)
    with Raw(lab.mqtt_port, connect("returns", clean=False)) as client:
        client.expect(CONNACK_OK)
        holder.execute("BEGIN IMMEDIATE")
        client.send(publish(topic, reading("returns", 1), qos=2, packet_id=7))
        client.send(PINGREQ)
        client.expect(PINGRESP)
    with Raw(lab.mqtt_port, connect("returns", clean=False)) as client:
        client.send(publish(topic, reading("returns", 1), qos=2, packet_id=7, dup=True))
        # Whether the session itself waits for the store is the door's affair.
        early = []
        with contextlib.suppress(TimeoutError):
            while one := client.packet(0.3):
                early.append(one)
        assert early in ([], [CONNACK_RESUMED])
        holder.execute("ROLLBACK")
        holder.close()
        if not early:
            client.expect(CONNACK_RESUMED)
        client.expect(b"\x50\x02\x00\x07")
        client.send(b"\x62\x02\x00\x07")
        client.expect(b"\x70\x02\x00\x07")
    points = lab.api.get("/api/v1/devices/returns/telemetry/n").json()["points"]
    assert [value for _, value in points] == [1]


def test_a_subscriber_for_whom_nothing_may_be_kept_keeps_no_publisher_from_its_acknowledgement(
    lab: RunningServer,
) -> None:
    with Raw(lab.mqtt_port, connect("forgetful", clean=False)) as away:
        away.expect(CONNACK_OK)
        away.send(subscribe(("relevo/talks/telemetry", 1), ("plain/topic", 1)))
        away.packet()
    with Raw(lab.mqtt_port, connect("talks")) as client:
        client.expect(CONNACK_OK)
        for n in (1, 2):
            client.send(publish("relevo/talks/telemetry", reading("talks", n), qos=1, packet_id=n))
            client.expect(puback(n))
        client.send(publish("plain/topic", b"x", qos=1, packet_id=3))
        client.expect(puback(3))
    assert lab.health().status_code == 200


def test_a_window_that_is_full_with_no_room_behind_it_drops_and_tells(lab: RunningServer) -> None:
    def dropped() -> int:
        return int(lab.api.get("/api/v1/system").json()["counters"]["refused"].get("mqtt.queue_full", 0))

    before = dropped()
    with (
        Raw(lab.mqtt_port, connect("slow")) as slow,
        Raw(lab.mqtt_port, connect("quick")) as quick,
    ):
        for client in (slow, quick):
            client.expect(CONNACK_OK)
        slow.send(subscribe(("plain/flood", 1)))
        slow.packet()
        for n in (1, 2, 3):
            quick.send(publish("plain/flood", b"%d" % n, qos=1, packet_id=n))
            quick.expect(puback(n))
        slow.expect(publish("plain/flood", b"1", qos=1, packet_id=1))
        slow.expect(publish("plain/flood", b"2", qos=1, packet_id=2))
        slow.send(puback(1))
        slow.expect_silence()
    assert dropped() == before + 1
    eventually(lambda: "'slow'" in lab.api.get("/api/v1/system/timeline").text)


def test_a_device_that_was_removed_is_cut_off_at_once(lab: RunningServer) -> None:
    """Its key means nothing any more, and a connection is only as good as its key."""
    key = lab.register("leaves").encode()
    with Raw(lab.mqtt_port, connect("leaves", user="leaves", password=key)) as client:
        client.expect(CONNACK_OK)
        client.send(subscribe(("relevo/leaves/command", 1)))
        client.packet()
        assert lab.api.delete("/api/v1/devices/leaves").status_code == 204
        client.send(PINGREQ)
        client.expect_closed()


def test_a_board_and_a_person_may_register_the_same_id_at_the_same_time(
    lab: RunningServer, lock: sqlite3.Connection
) -> None:
    """With registration open, a first message and the API meet on one id; the store must survive it."""
    headers = dict(lab.api.headers)

    def create() -> int:
        url = f"{lab.http}/api/v1/devices"
        return httpx.post(url, json={"id": "race"}, headers=headers, trust_env=False, timeout=4).status_code

    with Raw(lab.mqtt_port, connect("race")) as client, ThreadPoolExecutor(1) as pool:
        client.expect(CONNACK_OK)
        client.send(publish("relevo/race/telemetry", reading("race", 1), qos=1, packet_id=1))
        eventually(lambda: lab.api.get("/api/v1/system").json()["store"]["waiting"] >= 1)
        before = lab.api.get("/api/v1/system").json()["store"]["waiting"]
        person = pool.submit(create)
        eventually(lambda: person.done() or lab.api.get("/api/v1/system").json()["store"]["waiting"] > before)
        lock.execute("ROLLBACK")
        client.expect(puback(1))
        assert person.result() in (201, 409)
    assert lab.api.get("/api/v1/devices/race/latest").json()["n"]["value"] == 1
    assert lab.health().status_code == 200


def test_flags_that_the_standard_reserves_end_the_connection_of_their_sender_only(lab: RunningServer) -> None:
    with Raw(lab.mqtt_port, connect("calm")) as calm, Raw(lab.mqtt_port, connect("odd")) as odd:
        for client in (calm, odd):
            client.expect(CONNACK_OK)
        odd.send(packet(0x63, b"\x00\x01"))
        odd.expect_closed()
        calm.expect_silence()
