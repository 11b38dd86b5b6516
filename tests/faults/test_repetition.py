"""A message that is sent again with the same number is acknowledged, stored once, and leaves the sequence alone."""

import json
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from tests.running import RunningServer

pytestmark = [pytest.mark.fault, pytest.mark.timeout(60)]

BASE_MS = 1_767_225_600_000


def test_a_commit_of_nothing_but_repetitions_does_not_turn_the_sequence_back(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        key = server.register("again-1")
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "again-1")
        client.username_pw_set("again-1", key)
        client.connect("127.0.0.1", server.mqtt_port)
        client.loop_start()
        positions = []
        try:
            for number in (1, 2, 3, 3, 4, 4, 5, 6):
                document = {"ts": BASE_MS + number, "values": {"n": number}, "boot": 1, "seq": number}
                sent = client.publish("relevo/again-1/telemetry", json.dumps(document), qos=1)
                _acknowledged(sent)
                positions.append(server.api.get("/api/v1/system").json()["store"]["seq"])
            stored = server.points("again-1", "n", BASE_MS, BASE_MS + 100)
        finally:
            client.disconnect()
            client.loop_stop()
            client._reset_sockets()
        log = server.log.read_text()
    assert stored == [(BASE_MS + number, number) for number in range(1, 7)]
    assert positions == sorted(positions), positions
    assert "store_unavailable" not in log, log


def _acknowledged(sent: mqtt.MQTTMessageInfo) -> None:
    sent.wait_for_publish(10)
    assert sent.is_published()
    # The acknowledgement leaves in the same round of the loop in which the figures change.
    time.sleep(0.02)
