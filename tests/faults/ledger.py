"""A real MQTT client (paho) with a ledger kept by hand: what was sent, how often, and what was acknowledged."""

import json
import re
import threading
import time
from collections import Counter
from typing import Any

import paho.mqtt.client as mqtt

from tests.running import RunningServer

KEY = "n"
_SENDING = re.compile(r"Sending PUBLISH \(d\d, q1, r\d, m(\d+)\)")


class LedgerClient:
    """One device. Every message carries a new value under ``n`` and a time of its own.

    ``numbered`` messages carry boot and seq. paho sends by itself again, on the next connection, what was not
    acknowledged; every sending is counted from its log, because without numbers each may be stored.
    """

    def __init__(self, server: RunningServer, device: str, key: str, *, numbered: bool, in_flight: int = 20) -> None:
        self.device, self.numbered = device, numbered
        self.port = server.mqtt_port
        self._lock = threading.Lock()
        self._points: dict[int, tuple[int, int]] = {}
        self._acknowledged: dict[int, float] = {}
        self._sendings: Counter[int] = Counter()
        self._changed = threading.Condition(self._lock)
        self._count = 0
        self._last_ts = 0
        self._sender: threading.Thread | None = None
        self._stop = threading.Event()
        self.connections = 0
        self.refusals: list[str] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, device, clean_session=False)
        self.client.username_pw_set(device, key)
        self.client.max_inflight_messages_set(in_flight)
        self.client.reconnect_delay_set(min_delay=1, max_delay=1)
        self.client.on_publish = self._on_publish
        self.client.on_connect = self._on_connect
        self.client.on_log = self._on_log
        self._online = threading.Event()

    # Working

    def connect(self, seconds: float = 20.0) -> None:
        """Connect and stay connected; returns after CONNACK."""
        self.client.connect("127.0.0.1", self.port, keepalive=20)
        self.client.loop_start()
        assert self._online.wait(seconds), f"{self.device}: no CONNACK, {self.refusals}"

    def send(self) -> int:
        """Publish one new message at QoS 1 and return its packet id."""
        self._count += 1
        self._last_ts = max(int(time.time() * 1000), self._last_ts + 1)
        document: dict[str, Any] = {"ts": self._last_ts, "values": {KEY: self._count}}
        if self.numbered:
            document |= {"boot": 1, "seq": self._count}
        mid = self.client.publish(f"relevo/{self.device}/telemetry", json.dumps(document), qos=1).mid
        with self._lock:
            self._points[mid] = (self._last_ts, self._count)
        return mid

    def start_sending(self, per_second: float, most_waiting: int = 200) -> None:
        """Send in a thread until :meth:`stop_sending`; pauses while ``most_waiting`` messages wait for their ack."""

        def work() -> None:
            while not self._stop.wait(1 / per_second):
                if self.waiting < most_waiting:
                    self.send()

        self._stop.clear()
        self._sender = threading.Thread(target=work, name=f"{self.device} sender")
        self._sender.start()

    def stop_sending(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._sender is not None:
            self._sender.join()
            self._sender = None

    def close(self) -> None:
        """Disconnect for good."""
        self.stop_sending()
        self.client.disconnect()
        self.client.loop_stop()
        # paho leaves the pair of sockets that wakes its loop to the garbage collector, which pytest takes for a leak.
        self.client._reset_sockets()

    # Asking

    @property
    def sent(self) -> int:
        """Messages published so far."""
        return self._count

    @property
    def acknowledged(self) -> int:
        """Messages acknowledged so far."""
        return len(self._acknowledged)

    @property
    def waiting(self) -> int:
        """Messages that wait for their acknowledgement."""
        return self._count - len(self._acknowledged)

    def acknowledged_at(self, mid: int, seconds: float = 10.0) -> float:
        """Wall time in seconds of the acknowledgement of ``mid``, waiting for it at most ``seconds``."""
        with self._changed:
            assert self._changed.wait_for(lambda: mid in self._acknowledged, seconds), (
                f"{self.device}: no ack for {mid}"
            )
            return self._acknowledged[mid]

    def drained(self, seconds: float) -> bool:
        """Wait until nothing waits for an acknowledgement; false when ``seconds`` were not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: self.waiting == 0, seconds)

    def faults(self, server: RunningServer) -> list[str]:
        """Hold the ledger against what the server has stored; an empty list is a clean bill."""
        with self._lock:
            points, acknowledged = dict(self._points), set(self._acknowledged)
            sendings = dict(self._sendings)
        first, last = min(ts for ts, _ in points.values()), max(ts for ts, _ in points.values())
        stored = Counter(server.points(self.device, KEY, first, last + 1))
        found = [
            f"{self.device}: acknowledged {point} is missing"
            for mid, point in points.items()
            if mid in acknowledged and point not in stored
        ]
        for mid, point in points.items():
            allowed = 1 if self.numbered else sendings[mid]
            if stored[point] > allowed:
                found.append(f"{self.device}: {point} stored {stored[point]} times, allowed {allowed}")
        found += [f"{self.device}: {point} was never sent" for point in set(stored) - set(points.values())]
        return found

    # Called by paho

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.refusals.append(str(reason))
            return
        self.connections += 1
        self._online.set()

    def _on_publish(self, _client: Any, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        with self._changed:
            self._acknowledged.setdefault(mid, time.time())
            self._changed.notify_all()

    def _on_log(self, _client: Any, _data: Any, _level: int, text: str) -> None:
        if found := _SENDING.match(text):
            with self._lock:
                self._sendings[int(found.group(1))] += 1
