"""One client's session: what it subscribed to, and what is on its way to it. Sans-I/O.

Theory (MQTT 3.1.1 section 4.1 and 4.3). Towards the client a message of QoS 1 or 2 is in one of three places:
``queue`` (no room in the window, or the client is away), ``inflight`` (sent, in the order of sending, waiting for
PUBACK, or for PUBREC and then PUBCOMP), or gone. A packet identifier is taken while its entry is in ``inflight``.
On a new connection everything in ``inflight`` is sent again in the same order [MQTT-4.4.0-1], with DUP where it
is a PUBLISH; after that the window is filled from the queue. From the client, ``incoming`` holds the identifiers of
QoS 2 messages between PUBLISH and PUBREL: while one is there, the same PUBLISH is not taken twice [MQTT-4.3.3-2].
"""

from collections import deque
from typing import Final

import msgspec

from relevo.wire.mqtt_packets import (
    MQTT_5,
    Kind,
    SubscribeFilter,
    encode_ack,
    encode_publish,
)
from relevo.wire.mqtt_properties import Properties

_MAX_ID: Final = 65_535


class Message(msgspec.Struct, gc=False):
    """An application message on its way to receivers; ``topic`` is UTF-8. Shared, never changed."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    properties: Properties | None = None


class Outgoing(msgspec.Struct, gc=False):
    """One delivery of QoS 1 or 2: ``released`` once PUBREC came and PUBREL was sent."""

    message: Message
    qos: int
    retain: bool
    packet_id: int = 0
    released: bool = False


class Session:
    """State that belongs to a client identifier. ``owner`` is the credential it is bound to."""

    __slots__ = (
        "client_id",
        "dropped",
        "expiry",
        "incoming",
        "inflight",
        "max_queued",
        "next_id",
        "owner",
        "queue",
        "subscriptions",
        "version",
        "window",
    )

    def __init__(self, client_id: str, owner: str, version: int, window: int, max_queued: int) -> None:
        self.client_id = client_id
        self.owner = owner
        self.version = version
        self.window = window
        self.max_queued = max_queued
        self.expiry = 0
        self.subscriptions: dict[str, SubscribeFilter] = {}
        self.inflight: dict[int, Outgoing] = {}
        self.queue: deque[Outgoing] = deque()
        self.incoming: set[int] = set()
        self.next_id = 0
        self.dropped = 0

    def deliver(self, message: Message, qos: int, retain: bool, connected: bool) -> bytes:
        """Bytes to send now for ``message`` at ``qos`` (the lower of its own and the subscription's), maybe none.

        A message of QoS 0 for a client that is away is gone; one of QoS 1 or 2 waits. When the queue is full its
        oldest entry is dropped and counted in :attr:`dropped`.
        """
        if qos == 0:
            if not connected:
                return b""
            return encode_publish(self.version, message.topic, message.payload, 0, retain, False, 0, message.properties)
        out = Outgoing(message, qos, retain)
        if connected and not self.queue and len(self.inflight) < self.window:
            return self._send(out)
        if len(self.queue) >= self.max_queued:
            self.queue.popleft()
            self.dropped += 1
        self.queue.append(out)
        return b""

    def acknowledged(self, kind: int, packet_id: int) -> bytes | None:
        """React to PUBACK, PUBREC or PUBCOMP; bytes to send now, or ``None`` for an identifier nobody waits for."""
        out = self.inflight.get(packet_id)
        if kind == Kind.PUBREC:
            if out is None or out.qos != 2:
                return None
            out.released = True
            return encode_ack(self.version, Kind.PUBREL, packet_id)
        if out is None or (kind == Kind.PUBACK) != (out.qos == 1):
            return None
        del self.inflight[packet_id]
        return self.refill()

    def refused(self, packet_id: int) -> bytes | None:
        """A version 5 receiver answered PUBACK or PUBREC with an error: the delivery is over."""
        if self.inflight.pop(packet_id, None) is None:
            return None
        return self.refill()

    def refill(self) -> bytes:
        """Fill the window from the queue."""
        if not self.queue:
            return b""
        parts: list[bytes] = []
        while self.queue and len(self.inflight) < self.window:
            parts.append(self._send(self.queue.popleft()))
        return b"".join(parts)

    def resume(self) -> bytes:
        """Everything to send after a reconnect: redelivery in the original order, then the queue."""
        parts = [
            encode_ack(self.version, Kind.PUBREL, packet_id)
            if out.released
            else encode_publish(
                self.version,
                out.message.topic,
                out.message.payload,
                out.qos,
                out.retain,
                True,
                packet_id,
                out.message.properties,
            )
            for packet_id, out in self.inflight.items()
        ]
        parts.append(self.refill())
        return b"".join(parts)

    def lapse(self) -> None:
        """Forget what a non-persistent session may not keep across connections."""
        self.inflight.clear()
        self.queue.clear()
        self.incoming.clear()

    def _send(self, out: Outgoing) -> bytes:
        packet_id = self.next_id
        while True:
            packet_id = packet_id + 1 if packet_id < _MAX_ID else 1
            if packet_id not in self.inflight:
                break
        self.next_id = out.packet_id = packet_id
        self.inflight[packet_id] = out
        message = out.message
        return encode_publish(
            self.version, message.topic, message.payload, out.qos, out.retain, False, packet_id, message.properties
        )


def with_subscription_ids(message: Message, ids: list[int], version: int) -> Message:
    """``message`` carrying the subscription identifiers that version 5 wants echoed (section 3.3.2.3.8)."""
    if version != MQTT_5 or not ids:
        return message
    properties = dict(message.properties or ())
    properties["subscription_identifier"] = ids
    return Message(message.topic, message.payload, message.qos, message.retain, properties)
