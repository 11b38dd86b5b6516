"""``kill -9`` while messages are on their way: exactly once at QoS 2, nothing lost at QoS 1, retained kept."""

import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from tests.conformance.raw import CONNACK_OK, CONNACK_RESUMED, Raw, connect, publish, subscribe
from tests.journeys.live import eventually
from tests.running import RunningServer

pytestmark = pytest.mark.fault

ROUNDS = int(os.environ.get("RELEVO_FAULT_ROUNDS", "3"))
PLAIN = {
    "RELEVO_PROFILE": "lab",
    "RELEVO_ANONYMOUS_TOPICS": "#",
    "RELEVO_LIMITS__QUEUED_MESSAGES": "100000",
    "RELEVO_LIMITS__QUEUED_BYTES": "100000000",
}


class Patient(paho.Client):
    """paho that connects again once there is somebody to connect to.

    After PUBREL only PUBREL may be sent again [MQTT-4.3.3-2 of 3.1.1]. paho 2.2 forgets that it sent one when an
    attempt to reconnect fails (its second "reconnect reset" turns "resend PUBREL" into "publish", DUP clear), and the
    same message published anew is a second message for any server.
    """

    up = threading.Event()

    def reconnect(self) -> paho.MQTTErrorCode:
        self.up.wait(60)
        return super().reconnect()


def client(name: str, port: int) -> Patient:
    """A client that keeps its session, and its own half of QoS 2, over reconnects."""
    one = Patient(paho.CallbackAPIVersion.VERSION2, name, clean_session=False)
    one.reconnect_delay_set(0.05, 0.2)
    one.max_inflight_messages_set(50)
    one.connect("127.0.0.1", port)
    return one


@pytest.mark.timeout(400)
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_between_kept_sessions_survive_kills(tmp_path: Path, qos: int) -> None:
    rng = random.Random(20 + qos)
    received: Counter[int] = Counter()
    Patient.up.set()
    with RunningServer(tmp_path / "data", env=PLAIN) as server:
        receiver = client("receiver", server.mqtt_port)
        receiver.on_connect = lambda c, *_: c.subscribe("q/#", qos)
        receiver.on_message = lambda c, _, message: received.update([int(message.payload)])
        sender = client("sender", server.mqtt_port)
        finished: set[int] = set()
        # A message published while the connection is down counts as failed in its own info, though it is sent later.
        sender.on_publish = lambda c, _, mid, *rest: finished.add(mid)
        receiver.loop_start()
        sender.loop_start()
        try:
            eventually(lambda: server.api.get("/api/v1/system").json()["mqtt"]["subscriptions"] == 1)
            number = 0
            for _ in range(ROUNDS):
                end = time.monotonic() + rng.uniform(0.2, 1.0)
                while time.monotonic() < end:
                    for _ in range(20):
                        sender.publish(f"q/{number % 7}", str(number), qos=qos)
                        number += 1
                    time.sleep(0.005)
                eventually(lambda: sender.is_connected() and receiver.is_connected(), 30)
                Patient.up.clear()
                server.kill()
                server.restart()
                Patient.up.set()
            eventually(lambda: len(finished) == number, 60)
            eventually(lambda: len(received) == number, 60)
            if qos == 2:
                # What would come twice is on its way already; one more message is behind it.
                sender.publish("q/last", str(number), qos=2)
                eventually(lambda: received[number] == 1, 20)
                assert [n for n, times in received.items() if times != 1] == []
        finally:
            for one in (sender, receiver):
                one.disconnect()
                one.loop_stop()


def test_queue_of_a_client_that_is_away_and_retained_messages_survive(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env=PLAIN) as server:
        with Raw(server.mqtt_port, connect("away", clean=False)) as raw:
            raw.expect(CONNACK_OK)
            raw.send(subscribe(("q/a", 1), ("q/b", 2)))
            raw.packet()
        with Raw(server.mqtt_port, connect("sender")) as raw:
            raw.expect(CONNACK_OK)
            raw.send(*(publish("q/a", b"%d" % n, qos=1, packet_id=n) for n in range(1, 151)))
            for n in range(1, 151):
                raw.expect(b"\x40\x02" + n.to_bytes(2, "big"))
            raw.send(publish("kept/1", b"one", qos=1, packet_id=7, retain=True))
            raw.expect(b"\x40\x02\x00\x07")
            raw.send(publish("kept/2", b"gone", qos=1, packet_id=8, retain=True))
            raw.send(publish("kept/2", b"", qos=1, packet_id=9, retain=True))
            raw.expect(b"\x40\x02\x00\x08")
            raw.expect(b"\x40\x02\x00\x09")
        server.kill()
        server.restart()
        with Raw(server.mqtt_port, connect("away", clean=False)) as raw:
            raw.expect(CONNACK_RESUMED)
            for n in range(1, 151):
                raw.expect(publish("q/a", b"%d" % n, qos=1, packet_id=n))
                raw.send(b"\x40\x02" + n.to_bytes(2, "big"))
            raw.expect_silence()
            # The subscription itself survived as well.
            with Raw(server.mqtt_port, connect("sender")) as sender:
                sender.expect(CONNACK_OK)
                sender.send(publish("q/b", b"after", qos=2, packet_id=1))
                sender.expect(b"\x50\x02\x00\x01")
            raw.expect(publish("q/b", b"after", qos=2, packet_id=151))
        with Raw(server.mqtt_port, connect("reader")) as raw:
            raw.expect(CONNACK_OK)
            raw.send(subscribe(("kept/#", 0)))
            raw.packet()
            raw.expect(publish("kept/1", b"one", retain=True))
            raw.expect_silence()


def test_half_finished_qos_2_exchanges_go_on_where_they_were(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env=PLAIN) as server:
        with Raw(server.mqtt_port, connect("receiver", clean=False)) as receiver:
            receiver.expect(CONNACK_OK)
            receiver.send(subscribe(("q", 2)))
            receiver.packet()
            with Raw(server.mqtt_port, connect("sender", clean=False)) as sender:
                sender.expect(CONNACK_OK)
                for packet_id, payload in ((5, b"first"), (6, b"second")):
                    sender.send(publish("q", payload, qos=2, packet_id=packet_id))
                    sender.expect(b"\x50\x02" + packet_id.to_bytes(2, "big"))
                receiver.expect(publish("q", b"first", qos=2, packet_id=1))
                receiver.expect(publish("q", b"second", qos=2, packet_id=2))
                receiver.send(b"\x50\x02\x00\x01")
                receiver.expect(b"\x62\x02\x00\x01")
                server.kill()
        server.restart()
        with Raw(server.mqtt_port, connect("sender", clean=False)) as sender:
            sender.expect(CONNACK_RESUMED)
            # The sender did not see PUBREC: the same message again is not a new one.
            sender.send(publish("q", b"first", qos=2, packet_id=5, dup=True))
            sender.expect(b"\x50\x02\x00\x05")
            sender.send(b"\x62\x02\x00\x05", b"\x62\x02\x00\x06")
            sender.expect(b"\x70\x02\x00\x05")
            sender.expect(b"\x70\x02\x00\x06")
        with Raw(server.mqtt_port, connect("receiver", clean=False)) as receiver:
            receiver.expect(CONNACK_RESUMED)
            receiver.expect(b"\x62\x02\x00\x01")
            receiver.expect(publish("q", b"second", qos=2, packet_id=2, dup=True))
            receiver.expect_silence()
