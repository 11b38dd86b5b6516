"""One MQTT connection: bytes in, packets handled, bytes out.

Theory. A connection is *new* until a CONNECT was accepted, *open* until it ends, then *ended*. While a credential
is being checked, and while the road is full, what arrives waits in the receive buffer and reading is paused, so the
sender is slowed by TCP and nothing is dropped. Output is gathered and written once per round of the loop.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final, Protocol, cast

from relevo.errors import Invalid
from relevo.mqtt.broker import Broker, Route
from relevo.mqtt.doorkeeper import Principal, Refusal, Verdict
from relevo.wire.mqtt_errors import MalformedPacket, Reason
from relevo.wire.mqtt_packets import (
    MQTT_5,
    MQTT_31,
    PINGRESP,
    Ack,
    Auth,
    Connect,
    Disconnect,
    Kind,
    Packet,
    Pingreq,
    Publish,
    Subscribe,
    SubscribeFilter,
    Unsubscribe,
    Will,
    decode,
    encode_ack,
    encode_connack,
    encode_disconnect,
    encode_suback,
    encode_unsuback,
)
from relevo.wire.mqtt_properties import Properties
from relevo.wire.mqtt_session import Session
from relevo.wire.topics import valid_filter

_ROUTES_KEPT: Final = 256
# CONNACK return codes of 3.1.1 (table 3.1) for the reason codes of 5.0.
_RETURN_CODES: Final = {
    Reason.UNSUPPORTED_PROTOCOL_VERSION: 1,
    Reason.CLIENT_ID_NOT_VALID: 2,
    Reason.SERVER_UNAVAILABLE: 3,
    Reason.SERVER_BUSY: 3,
    Reason.BAD_USER_NAME_OR_PASSWORD: 4,
    Reason.NOT_AUTHORIZED: 5,
    Reason.BANNED: 5,
}


class Door(Protocol):
    """Whoever counts connections."""

    def admitted(self, connection: "Connection") -> bool:
        """Count a new connection; false when there are too many."""

    def gone(self, connection: "Connection") -> None:
        """The socket is closed."""


class Connection(asyncio.Protocol):
    """The server's end of one socket."""

    __slots__ = (
        "_broker",
        "_busy",
        "_door",
        "_ended",
        "_limit",
        "_out",
        "_rest",
        "_routes",
        "_transport",
        "_will",
        "address",
        "devices",
        "heard",
        "keep_alive",
        "pending",
        "principal",
        "session",
        "since",
        "version",
        "writable",
    )

    def __init__(self, broker: Broker, door: Door) -> None:
        self._broker = broker
        self._door = door
        self._limit = broker.settings.limits.packet_bytes
        self._transport: asyncio.Transport | None = None
        self._rest: bytearray | None = None
        self._routes: dict[str, Route] = {}
        self._out: list[bytes] = []
        self._will: Will | None = None
        self._busy = False
        self._ended = False
        self.address = ""
        self.version = 4
        self.principal: Principal | None = None
        self.session: Session | None = None
        self.devices: set[str] = set()
        # Messages of this connection that are on the road.
        self.pending = 0
        self.writable = True
        self.keep_alive = 0
        self.since = self.heard = broker.clock.monotonic()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "unix"
        if not self._door.admitted(self):
            self.end("not_admitted", None, "")

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        if self._rest is not None:
            self._rest += data
        if not self._busy:
            self._consume(data if self._rest is None else self._rest)
        elif self._rest is None:
            self._rest = bytearray(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self.end("closed" if exc is None else "lost", None, "" if exc is None else str(exc))
        self._door.gone(self)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.session is not None and not self._ended:
            self.send(self.session.refill())

    # Receiving

    def _consume(self, data: bytes | bytearray) -> None:
        """Handle all whole packets in ``data`` and keep the rest."""
        self.heard = self._broker.clock.monotonic()
        pos, end = 0, len(data)
        try:
            while pos < end and not self._busy:
                found = decode(data, pos, end, self.version, self._limit)
                if found is None:
                    break
                packet, pos = found
                if type(packet) is Publish and self.principal is not None:
                    self._publish(packet)
                else:
                    self._handle(packet)
                if self._ended:
                    return
        except MalformedPacket as problem:
            self._malformed(problem)
            return
        if pos == end:
            self._rest = None
        elif data is self._rest:
            del self._rest[:pos]
        else:
            self._rest = bytearray(memoryview(data)[pos:])
        pipeline = self._broker.pipeline
        if not self._busy and (pipeline.full or self.pending >= self._broker.settings.limits.inflight * 4):
            self._pause()
            pipeline.when_room(self._go_on)

    def _pause(self) -> None:
        self._busy = True
        if self._transport is not None:
            self._transport.pause_reading()

    def _go_on(self) -> None:
        """Reading again after a pause, beginning with what is already here."""
        if self._ended or self._transport is None:
            return
        self._busy = False
        if self._rest:
            self._consume(self._rest)
        if not self._busy and not self._ended:
            self._transport.resume_reading()

    def _malformed(self, problem: MalformedPacket) -> None:
        broker = self._broker
        if self.principal is None and problem.reason == Reason.UNSUPPORTED_PROTOCOL_VERSION:
            # [MQTT-3.1.2-2]; a version 5 client learns it in its own words.
            self._write(encode_connack(4, False, 1))
        name = problem.reason.name.lower()
        device = self.principal.device if self.principal else ""
        broker.refusals.refuse(device or self._only_device(), "mqtt", name, str(problem), self.address)
        self.end(name, problem.reason, str(problem))

    def _only_device(self) -> str:
        return next(iter(self.devices)) if len(self.devices) == 1 else ""

    def _handle(self, packet: Packet) -> None:
        if self.principal is None:
            if type(packet) is not Connect:
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "the first packet is not CONNECT [MQTT-3.1.0-1]")
            self._connect(packet)
            return
        match packet:
            case Pingreq():
                self.send(PINGRESP)
            case Ack():
                self._acknowledged(packet)
            case Subscribe():
                self._subscribe(packet)
            case Unsubscribe():
                self._unsubscribe(packet)
            case Disconnect():
                if packet.reason != Reason.DISCONNECT_WITH_WILL:
                    self._will = None
                self._change_expiry(packet.properties)
                self.end("disconnected", None, "")
            case Connect():
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "a second CONNECT [MQTT-3.1.0-2]")
            case Auth():
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "AUTH without an authentication method")
            case _:
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "unexpected packet")

    # CONNECT

    def _connect(self, packet: Connect) -> None:
        self.version = packet.version
        if packet.properties and "authentication_method" in packet.properties:
            self._reject(Refusal(Reason.BAD_AUTHENTICATION_METHOD, "bad_authentication_method", "not supported"))
            return
        verdict = self._broker.doorkeeper.verdict(packet, self.address)
        if isinstance(verdict, Awaitable):
            self._pause()
            task = asyncio.ensure_future(self._decide_later(packet, verdict))
            self._broker.keep(task)
        else:
            self._decided(packet, verdict)

    async def _decide_later(self, packet: Connect, verdict: Awaitable[Verdict]) -> None:
        decided = await verdict
        if not self._ended:
            self._decided(packet, decided)
            self._go_on()

    def _decided(self, packet: Connect, verdict: Verdict) -> None:
        if isinstance(verdict, Refusal):
            self._reject(verdict)
            return
        broker = self._broker
        client_id, assigned = packet.client_id, ""
        if not client_id:
            # [MQTT-3.1.3-8]; level 3 knows no empty identifier.
            if self.version == MQTT_31 or (self.version != MQTT_5 and not packet.clean_start):
                self._reject(Refusal(Reason.CLIENT_ID_NOT_VALID, "client_id_missing", "empty client identifier"))
                return
            client_id = assigned = broker.free_client_id()
        if packet.will is not None and not verdict.may_publish(packet.will.topic):
            self._reject(
                Refusal(
                    Reason.NOT_AUTHORIZED,
                    "will_not_allowed",
                    f"last will on {packet.will.topic!r}, which this client may not publish to",
                    verdict.device,
                )
            )
            return
        self.principal = verdict
        try:
            resumed = broker.open_session(self, client_id, verdict, packet.clean_start)
        except Invalid as problem:
            self.principal = None
            self._reject(Refusal(Reason.CLIENT_ID_NOT_VALID, problem.reason, problem.message, verdict.device))
            return
        session = self.session
        assert session is not None
        properties = packet.properties or {}
        if self.version == MQTT_5:
            session.expiry = properties.get("session_expiry_interval", 0)
            limits = broker.settings.limits
            session.window = min(properties.get("receive_maximum", 65_535), limits.inflight)
        else:
            session.expiry = 0 if packet.clean_start else 0xFFFF_FFFF
        self.keep_alive = packet.keep_alive
        self._will = packet.will
        self.send(encode_connack(self.version, resumed, 0, self._connack_properties(assigned)))
        broker.counts["connects"] += 1
        if verdict.device:
            broker.speaks_for(self, verdict.device, self.address)
        if resumed:
            self.send(session.resume())

    def _connack_properties(self, assigned: str) -> Properties | None:
        if self.version != MQTT_5:
            return None
        limits = self._broker.settings.limits
        properties: Properties = {
            "receive_maximum": limits.inflight,
            "maximum_packet_size": limits.packet_bytes,
            "shared_subscription_available": 0,
        }
        if assigned:
            properties["assigned_client_identifier"] = assigned
        if not self.keep_alive or self.keep_alive > limits.keepalive_max_s:
            properties["server_keep_alive"] = self.keep_alive = limits.keepalive_max_s
        return properties

    def _reject(self, refusal: Refusal) -> None:
        code = refusal.code if self.version == MQTT_5 else _RETURN_CODES.get(refusal.code, 5)
        self._broker.refusals.refuse(refusal.device, "mqtt", refusal.reason, refusal.detail, self.address)
        self._write(encode_connack(self.version, False, code))
        self.end(refusal.reason, None, "")

    def _change_expiry(self, properties: Properties | None) -> None:
        if properties and self.session is not None and "session_expiry_interval" in properties:
            if self.session.expiry == 0 and properties["session_expiry_interval"]:
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "session expiry raised from 0 [MQTT-3.14.2-2]")
            self.session.expiry = properties["session_expiry_interval"]

    # PUBLISH and acknowledgements

    def _publish(self, packet: Publish) -> None:
        broker = self._broker
        session = self.session
        assert session is not None
        broker.counts["received"] += 1
        if packet.properties and "topic_alias" in packet.properties:
            raise MalformedPacket(Reason.TOPIC_ALIAS_INVALID, "topic alias beyond the maximum of 0")
        if packet.qos == 2:
            if packet.packet_id in session.incoming:
                self.send(encode_ack(self.version, Kind.PUBREC, packet.packet_id))
                return
            session.incoming.add(packet.packet_id)
        route = self._routes.get(packet.topic)
        if route is None:
            principal = self.principal
            assert principal is not None
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
            route = self._routes[packet.topic] = broker.route(principal, packet.topic)
        broker.publish(self, route, packet, self.address)

    def acknowledge(self, packet: Publish, refused: Reason | None) -> None:
        """Send PUBACK or PUBREC; version 5 also hears why something was refused."""
        if self._ended:
            return
        packet_id = packet.packet_id
        if refused is None or self.version != MQTT_5:
            if packet.qos == 1:
                self.send(bytes((0x40, 2, packet_id >> 8, packet_id & 0xFF)))
            else:
                self.send(encode_ack(self.version, Kind.PUBREC, packet_id))
            return
        if packet.qos == 2 and self.session is not None:
            self.session.incoming.discard(packet_id)
        self.send(encode_ack(self.version, Kind.PUBACK if packet.qos == 1 else Kind.PUBREC, packet_id, refused))

    def _acknowledged(self, packet: Ack) -> None:
        session = self.session
        assert session is not None
        if packet.kind == Kind.PUBREL:
            known = packet.packet_id in session.incoming
            session.incoming.discard(packet.packet_id)
            reason = 0 if known else Reason.PACKET_ID_NOT_FOUND
            self.send(encode_ack(self.version, Kind.PUBCOMP, packet.packet_id, reason))
            return
        if packet.reason >= 0x80 and packet.kind in (Kind.PUBACK, Kind.PUBREC):
            more = session.refused(packet.packet_id)
        else:
            more = session.acknowledged(packet.kind, packet.packet_id)
        if more is None and packet.kind == Kind.PUBREC:
            more = encode_ack(self.version, Kind.PUBREL, packet.packet_id, Reason.PACKET_ID_NOT_FOUND)
        if more:
            self.send(more)

    # SUBSCRIBE

    def _subscribe(self, packet: Subscribe) -> None:
        broker, session, principal = self._broker, self.session, self.principal
        assert session is not None
        assert principal is not None
        ident = (packet.properties or {}).get("subscription_identifier", 0)
        granted: list[tuple[SubscribeFilter, bool]] = []
        reasons: list[int] = []
        for wanted in packet.filters:
            wanted.identifier = ident
            refusal = self._subscription_refusal(wanted.filter, principal, session)
            if refusal is not None:
                code, reason, detail = refusal
                reasons.append(code if self.version == MQTT_5 else 0x80)
                broker.refusals.refuse(principal.device, "mqtt", reason, detail, self.address)
                continue
            granted.append((wanted, broker.subscribe(self, wanted)))
            reasons.append(wanted.qos)
        self.send(encode_suback(self.version, packet.packet_id, reasons))
        for wanted, new in granted:
            if wanted.retain_handling == 0 or (wanted.retain_handling == 1 and new):
                broker.send_retained(self, wanted, [ident] if ident else [])

    def _subscription_refusal(
        self, filter_: str, principal: Principal, session: Session
    ) -> tuple[Reason, str, str] | None:
        limits = self._broker.settings.limits
        if not valid_filter(filter_):
            raise MalformedPacket(Reason.TOPIC_FILTER_INVALID, f"topic filter {filter_!r} [MQTT-4.7.1-2]")
        if filter_.startswith("$share/"):
            return Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, "shared_subscription", "shared subscriptions are off"
        if len(filter_.encode()) > limits.topic_bytes or filter_.count("/") >= limits.topic_levels:
            return Reason.QUOTA_EXCEEDED, "filter_too_long", f"topic filter {filter_[:80]!r} is too long or too deep"
        if not principal.may_subscribe(filter_):
            return Reason.NOT_AUTHORIZED, "filter_not_allowed", f"may not subscribe to {filter_!r}"
        if len(session.subscriptions) >= limits.subscriptions and filter_ not in session.subscriptions:
            return Reason.QUOTA_EXCEEDED, "too_many_subscriptions", f"more than {limits.subscriptions} subscriptions"
        return None

    def stop_reading(self) -> None:
        """Take nothing more in, for good."""
        self._pause()

    def forget_will(self) -> None:
        """The connection ends for a reason that is not the device's."""
        self._will = None

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        reasons = [
            0 if self._broker.unsubscribe(self, filter_) else Reason.NO_SUBSCRIPTION_EXISTED
            for filter_ in packet.filters
        ]
        self.send(encode_unsuback(self.version, packet.packet_id, [int(reason) for reason in reasons]))

    # Sending and ending

    def send(self, data: bytes) -> None:
        """Write ``data`` at the end of this round of the loop."""
        if data and not self._ended:
            if not self._out:
                self._broker.flush_later(self)
            self._out.append(data)

    def flush(self) -> None:
        out = self._out
        if out and self._transport is not None:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            self._out = []

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        self.flush()

    def idle_too_long(self, now: float) -> bool:
        """[MQTT-3.1.2-24]: nothing for one and a half times the keep-alive."""
        return self.keep_alive > 0 and now - self.heard > self.keep_alive * 1.5

    def end(self, reason: str, code: Reason | None, detail: str) -> None:
        """End the connection: say why (version 5), publish the will, leave the session, close the socket."""
        if self._ended:
            return
        if code is not None and self.version == MQTT_5 and self.principal is not None:
            self._out.append(encode_disconnect(code))
        self.flush()
        self._ended = True
        broker = self._broker
        if self.principal is not None:
            broker.close_session(self)
            will, self._will = self._will, None
            if will is not None:
                packet = Publish(will.topic, will.payload, will.qos, will.retain, False, 0, _will_properties(will))
                broker.publish(None, broker.route(self.principal, will.topic), packet, self.address)
            broker.falls_silent(self, reason, detail)
        if self._transport is not None:
            self._transport.close()


def _will_properties(will: Will) -> Properties | None:
    if not will.properties:
        return None
    return {name: value for name, value in will.properties.items() if name != "will_delay_interval"}
