"""One client's session: what it subscribed to, and what is on its way to it. Sans-I/O.

Theory (MQTT 5.0 sections 4.1, 4.3, 4.4 and 4.9). Towards the client a delivery of QoS 1 or 2 is in one of three
places: ``queue`` (no room in the window, or the client is away), ``inflight`` (sent, in the order of sending, waiting
for PUBACK, or for PUBREC and then PUBCOMP), or gone. A packet identifier is taken while its entry is in ``inflight``.
On a new connection everything in ``inflight`` is sent again in the same order with the same identifiers
[MQTT-4.4.0-1], with DUP where it is a PUBLISH; after that the window is filled from the queue. From the client,
``incoming`` holds the identifiers of QoS 2 messages between PUBLISH and PUBREL: while one is there, the same PUBLISH
is not taken twice [MQTT-4.3.3-2].

A message of a command is delivered *once*: it is in flight like any other, but belongs to this connection alone. It
is not written down, does not wait in the queue and is not sent again on the next connection; whoever sent it decides
what then becomes of the command (:mod:`relevo.domain.commands`).

A session that outlives its connection (``expiry`` above 0) writes down in :attr:`Session.changes` whatever has to
survive a crash. Whoever drives it commits these before it sends the bytes it was given with them.
"""

from collections import deque
from typing import Final

from relevo.wire.mqtt_encode import encode_ack, encode_publish
from relevo.wire.mqtt_packets import MQTT_5, Kind, SubscribeFilter
from relevo.wire.mqtt_properties import Properties
from relevo.wire.mqtt_state import (
    Change,
    Delivered,
    IncomingKept,
    IncomingReleased,
    Message,
    Outgoing,
    Queued,
    SessionKept,
)

_MAX_ID: Final = 65_535
FOREVER: Final = 0xFFFF_FFFF


class Session:
    """State that belongs to a client identifier. ``owner`` is the credential it is bound to.

    ``expiry`` in seconds after the connection ended; ``window`` is the most deliveries in flight; the queue is bounded
    by ``max_queued`` messages and ``max_bytes``.
    """

    __slots__ = (
        "again",
        "aliases",
        "arrived",
        "away_since",
        "changes",
        "client_id",
        "dropped",
        "expiry",
        "incoming",
        "inflight",
        "max_aliases",
        "max_bytes",
        "max_packet",
        "max_queued",
        "next_id",
        "next_n",
        "once",
        "owner",
        "queue",
        "queued_bytes",
        "subscriptions",
        "version",
        "window",
    )

    def __init__(self, client_id: str, owner: str, version: int, max_queued: int, max_bytes: int) -> None:
        self.client_id = client_id
        self.owner = owner
        self.version = version
        self.max_queued = max_queued
        self.max_bytes = max_bytes
        self.window = _MAX_ID
        self.max_packet = 0
        self.max_aliases = 0
        self.aliases: dict[bytes, int] = {}
        self.expiry = 0
        # Milliseconds UTC since when there is no connection, 0 while there is one.
        self.away_since = 0
        self.subscriptions: dict[str, SubscribeFilter] = {}
        self.inflight: dict[int, Outgoing] = {}
        # In flight from an earlier connection and not sent again on this one yet.
        self.again: deque[Outgoing] = deque()
        self.queue: deque[Outgoing] = deque()
        self.queued_bytes = 0
        self.incoming: set[int] = set()
        self.changes: list[Change] = []
        self.next_id = 0
        self.next_n = 1
        # Packet identifiers of deliveries made once, with what their sender calls them; those acknowledged.
        self.once: dict[int, str] = {}
        self.arrived: list[tuple[str, bool]] = []
        # Deliveries lost because the queue was full.
        self.dropped = 0

    # Towards the client

    def deliver(self, message: Message, qos: int, retain: bool, ids: list[int], connected: bool, now: int) -> bytes:
        """Bytes to send now for ``message`` at ``qos`` (the lower of its own and the subscription's), maybe none.

        A message of QoS 0 for a client that is away is gone; one of QoS 1 or 2 waits. When the queue is full its
        oldest entry is dropped and counted in :attr:`dropped`. ``now`` in milliseconds UTC.
        """
        if qos == 0:
            if not connected:
                return b""
            return self._bytes(message, 0, retain, False, 0, ids, now)
        out = Outgoing(self.next_n, message, qos, retain, ids)
        self.next_n += 1
        if connected and not self.queue and len(self.inflight) < self.window:
            return self._send(out, now)
        self.queue.append(out)
        self.queued_bytes += message.size
        if self.expiry:
            self.changes.append(Queued(self.client_id, out))
        while len(self.queue) > self.max_queued or (self.queued_bytes > self.max_bytes and self.queue):
            self._discard(self.queue.popleft())
            self.dropped += 1
        return b""

    def deliver_once(self, message: Message, qos: int, ids: list[int], token: str, now: int) -> bytes:
        """Bytes of a message for this connection alone; empty when it cannot leave now.

        At QoS 1 and 2 ``token`` is in :attr:`arrived` once the client answered, with whether it took the message.
        """
        if qos == 0:
            return self._bytes(message, 0, False, False, 0, ids, now)
        if not self.has_room:
            return b""
        data = self._send(Outgoing(0, message, qos, False, ids), now)
        if data:
            self.once[self.next_id] = token
        return data

    @property
    def has_room(self) -> bool:
        """Whether one more message of QoS 1 or 2 could leave now."""
        return not self.queue and not self.again and len(self.inflight) < self.window

    def end_once(self) -> list[str]:
        """The connection is gone: tokens of what was delivered once and never acknowledged."""
        left = [token for token in self.once.values() if token]
        for packet_id in self.once:
            self.inflight.pop(packet_id, None)
        self.once.clear()
        self.arrived.clear()
        return left

    def encodes_alike(self, message: Message, ids: list[int]) -> bool:
        """Whether a delivery of QoS 0 has the same bytes for every session of this version."""
        return not (self.max_packet or ids or message.expires_at or self.max_aliases)

    def acknowledged(self, kind: int, packet_id: int, failed: bool, now: int) -> bytes | None:
        """React to PUBACK, PUBREC or PUBCOMP; bytes to send now, or ``None`` for an identifier nobody waits for.

        ``failed`` is a reason code of 0x80 or more: the delivery is over.
        """
        out = self.inflight.get(packet_id)
        if out is None or (kind == Kind.PUBACK) != (out.qos == 1):
            return None
        if kind == Kind.PUBREC and not failed:
            if not out.released:
                out.released = True
                if self.expiry and out.n:
                    self.changes.append(Queued(self.client_id, out))
            return encode_ack(self.version, Kind.PUBREL, packet_id)
        if kind == Kind.PUBCOMP and not out.released:
            # Nothing is complete before PUBREC; the delivery goes on.
            return None
        del self.inflight[packet_id]
        token = self.once.pop(packet_id, None)
        if token:
            self.arrived.append((token, not failed))
        if out in self.again:
            self.again.remove(out)
        self._over(out)
        return self.refill(now)

    def refill(self, now: int) -> bytes:
        """Fill the window from the queue."""
        if not self.queue and not self.again:
            return b""
        parts: list[bytes] = []
        while self.again and len(self.inflight) - len(self.again) < self.window:
            out = self.again.popleft()
            if out.packet_id in self.inflight:
                parts.append(self._redelivered(out, now))
        while self.queue and len(self.inflight) < self.window:
            out = self.queue.popleft()
            self.queued_bytes -= out.message.size
            parts.append(self._send(out, now))
        return b"".join(parts)

    def resume(self, now: int) -> bytes:
        """Everything to send after a reconnect: redelivery in the original order, then the queue."""
        self.aliases.clear()
        # A client may come back with a smaller window [MQTT-3.3.4-9].
        self.again = deque(self.inflight.values())
        return self.refill(now)

    def _redelivered(self, out: Outgoing, now: int) -> bytes:
        if out.released:
            return encode_ack(self.version, Kind.PUBREL, out.packet_id)
        return self._bytes(out.message, out.qos, out.retain, True, out.packet_id, out.ids, now, started=True)

    def restore(self, deliveries: list[Outgoing], incoming: set[int]) -> None:
        """Take up what was kept, in the order of ``n``."""
        self.incoming = incoming
        for out in deliveries:
            self.next_n = max(self.next_n, out.n + 1)
            if out.packet_id:
                self.inflight[out.packet_id] = out
                self.next_id = out.packet_id
            else:
                self.queue.append(out)
                self.queued_bytes += out.message.size

    # From the client

    def take_incoming(self, packet_id: int) -> bool:
        """Note a QoS 2 message; false when the same one was taken before."""
        if packet_id in self.incoming:
            return False
        self.incoming.add(packet_id)
        if self.expiry:
            self.changes.append(IncomingKept(self.client_id, packet_id))
        return True

    def release_incoming(self, packet_id: int) -> bool:
        """PUBREL, or a refusal: the identifier is free again. False when it was not taken."""
        if packet_id not in self.incoming:
            return False
        self.incoming.discard(packet_id)
        if self.expiry:
            self.changes.append(IncomingReleased(self.client_id, packet_id))
        return True

    # Keeping

    def kept(self) -> SessionKept:
        """The session's own row."""
        return SessionKept(
            self.client_id,
            self.owner,
            self.version,
            self.expiry,
            [
                (one.filter, one.qos, one.no_local, one.retain_as_published, one.retain_handling, one.identifier)
                for one in self.subscriptions.values()
            ],
            self.away_since,
        )

    def keep_all(self) -> None:
        """Write everything down: the session was not kept before, and is from now on."""
        self.changes.append(self.kept())
        self.changes.extend(Queued(self.client_id, out) for out in (*self.inflight.values(), *self.queue) if out.n)
        self.changes.extend(IncomingKept(self.client_id, packet_id) for packet_id in self.incoming)

    def take_changes(self) -> list[Change]:
        """What has to be committed before the bytes go out."""
        changes, self.changes = self.changes, []
        return changes

    def expires_at(self) -> int | None:
        """Milliseconds UTC at which a session without connection ends, ``None`` for never."""
        if self.expiry == FOREVER or not self.away_since:
            return None
        return self.away_since + self.expiry * 1000

    # Inside

    def _send(self, out: Outgoing, now: int) -> bytes:
        message = out.message
        if message.expires_at and message.expires_at <= now:
            self._over(out)
            return b""
        packet_id = self.next_id
        while True:
            packet_id = packet_id + 1 if packet_id < _MAX_ID else 1
            if packet_id not in self.inflight:
                break
        data = self._bytes(message, out.qos, out.retain, False, packet_id, out.ids, now)
        if not data:
            # [MQTT-3.1.2-25]: too large for this client counts as delivered.
            self._over(out)
            return b""
        self.next_id = out.packet_id = packet_id
        self.inflight[packet_id] = out
        if self.expiry and out.n:
            self.changes.append(Queued(self.client_id, out))
        return data

    def _bytes(
        self,
        message: Message,
        qos: int,
        retain: bool,
        dup: bool,
        packet_id: int,
        ids: list[int],
        now: int,
        started: bool = False,
    ) -> bytes:
        """The PUBLISH; empty when it is too large for the client or expired before its delivery began."""
        topic = message.topic
        if self.version != MQTT_5:
            if message.expires_at and message.expires_at <= now and not started:
                return b""
            data = encode_publish(self.version, topic, message.payload, qos, retain, dup, packet_id)
        else:
            properties: Properties | None = message.properties
            if ids or message.expires_at or self.max_aliases:
                properties = dict(properties or ())
                if message.expires_at:
                    left = (message.expires_at - now + 999) // 1000
                    if left <= 0 and not started:
                        return b""
                    properties["message_expiry_interval"] = max(0, left)
                if ids:
                    properties["subscription_identifier"] = ids
                # What a kept session sends waits for its commit, and an alias may not overtake its own beginning.
                if self.max_aliases and not self.expiry:
                    topic = self._alias(topic, properties)
            data = encode_publish(self.version, topic, message.payload, qos, retain, dup, packet_id, properties)
        if self.max_packet and len(data) > self.max_packet:
            if topic:
                self.aliases.pop(topic, None)
            return b""
        return data

    def _alias(self, topic: bytes, properties: Properties) -> bytes:
        """Section 3.3.2.3.4: the first time with the name, after that the number alone."""
        alias = self.aliases.get(topic)
        if alias is not None:
            properties["topic_alias"] = alias
            return b""
        if len(self.aliases) < self.max_aliases:
            self.aliases[topic] = properties["topic_alias"] = len(self.aliases) + 1
        return topic

    def _discard(self, out: Outgoing) -> None:
        self.queued_bytes -= out.message.size
        self._over(out)

    def _over(self, out: Outgoing) -> None:
        if self.expiry and out.n:
            self.changes.append(Delivered(self.client_id, out.n))
