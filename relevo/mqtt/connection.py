"""One MQTT connection: bytes in, packets handled, bytes out.

Theory. A connection is *new* until a CONNECT was accepted, *open* until it ends, then *ended*. Reading pauses while
its CONNECT waits for its turn, while a credential is checked, while the road is full and while the client is above
its rate; what has arrived waits in the buffer, so the sender is slowed by TCP and nothing is dropped. Output is
gathered and written once per round of the loop.
"""

import asyncio
from typing import Final, Protocol, cast

from relevo.mqtt import handshake, subscribing
from relevo.mqtt.broker import Broker, Route
from relevo.mqtt.doorkeeper import Principal
from relevo.mqtt.tls import Certificate, certificate_of
from relevo.wire import proxy
from relevo.wire.mismatch import spoken
from relevo.wire.mqtt_encode import PINGRESP, encode_ack, encode_connack, encode_disconnect
from relevo.wire.mqtt_errors import MalformedPacket, Reason
from relevo.wire.mqtt_packets import (
    MQTT_5,
    Ack,
    Auth,
    Connect,
    Disconnect,
    Kind,
    Packet,
    Pingreq,
    Publish,
    Subscribe,
    Unsubscribe,
    Will,
    decode,
)
from relevo.wire.mqtt_properties import Properties
from relevo.wire.mqtt_session import Session

_ROUTES_KEPT: Final = 256


class Door(Protocol):
    """Whoever counts connections."""

    def admitted(self, connection: "Connection") -> bool:
        """Count a new connection; false when there are too many."""

    def gone(self, connection: "Connection") -> None:
        """The socket is closed."""


class Connection(asyncio.Protocol):
    """The server's end of one socket."""

    __slots__ = (
        "_aliases",
        "_busy",
        "_door",
        "_limit",
        "_out",
        "_proxied",
        "_rate",
        "_rest",
        "_routes",
        "_tokens",
        "_transport",
        "_unanswered",
        "address",
        "broker",
        "certificate",
        "devices",
        "ended",
        "heard",
        "keep_alive",
        "pending",
        "principal",
        "says_why",
        "session",
        "since",
        "update_key",
        "version",
        "waits_its_turn",
        "will",
        "writable",
    )

    def __init__(self, broker: Broker, door: Door) -> None:
        self.broker = broker
        self._door = door
        limits = broker.settings.limits
        self._limit = limits.packet_bytes
        self._rate = limits.messages_per_s
        self._tokens = float(limits.messages_per_s)
        self._transport: asyncio.Transport | None = None
        self._rest: bytearray | None = None
        self._routes: dict[str, Route] = {}
        self._aliases: dict[int, str] | None = None
        self._out: list[bytes] = []
        self._busy = False
        # Messages of QoS 1 and 2 that the client waits for (MQTT 5.0 section 4.9).
        self._unanswered = 0
        self._proxied = False
        self.ended = False
        self.address = ""
        self.certificate: Certificate | None = None
        self.version = 4
        self.principal: Principal | None = None
        self.session: Session | None = None
        self.will: Will | None = None
        self.devices: set[str] = set()
        # Under which manifests for this device are signed: derived from the key it came in with, which nobody keeps.
        self.update_key = b""
        # Messages of this connection that are on the road.
        self.pending = 0
        self.writable = True
        self.waits_its_turn = False
        self.says_why = True
        self.keep_alive = 0
        self.since = self.heard = broker.clock.monotonic()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "unix"
        self.certificate = certificate_of(transport.get_extra_info("ssl_object"))
        # Counted once it is known who is behind the balancer.
        self._proxied = self.address in self.broker.settings.mqtt_proxy_from
        if not self._proxied and not self._door.admitted(self):
            self.end("not_admitted", None, "")

    def data_received(self, data: bytes) -> None:
        if self.ended:
            return
        if self._rest is not None:
            self._rest += data
        if self._proxied:
            self._unwrap(self._rest if self._rest is not None else bytearray(data))
            return
        if not self._busy:
            self._consume(data if self._rest is None else self._rest)
        elif self._rest is None:
            self._rest = bytearray(data)

    def _unwrap(self, data: bytearray) -> None:
        """Take the balancer's header off, see :mod:`relevo.wire.proxy`."""
        self._rest = data
        try:
            found = proxy.parse(data)
        except proxy.ProxyMalformed as problem:
            self.broker.refusals.refuse("", "mqtt", "proxy_header", str(problem), self.address)
            self._door.admitted(self)
            self.end("proxy_header", None, "")
            return
        if found is None:
            return
        self._proxied = False
        self.address = found.address or self.address
        del data[: found.size]
        if not self._door.admitted(self):
            self.end("not_admitted", None, "")
        elif data:
            self._consume(data)
        else:
            self._rest = None

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended:
            self.end("closed" if exc is None else "lost", None, "" if exc is None else str(exc))
        self._door.gone(self)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.session is not None and not self.ended:
            self.broker.send_after_commit(self, self.session, self.session.refill(self.broker.clock.now_ms()))

    # Receiving

    def _consume(self, data: bytes | bytearray) -> None:
        """Handle all whole packets in ``data`` and keep the rest."""
        now = self.broker.clock.monotonic()
        if self._rate:
            self._tokens = min(self._rate, self._tokens + (now - self.heard) * self._rate)
        self.heard = now
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
                if self.ended:
                    return
        except MalformedPacket as problem:
            self._malformed(problem, bytes(data[:16]))
            return
        if pos == end:
            self._rest = None
        elif data is self._rest:
            del self._rest[:pos]
        else:
            self._rest = bytearray(memoryview(data)[pos:])
        if not self._busy and self.broker.pipeline.full:
            self.pause("road")
            self.broker.pipeline.when_room(self.go_on)

    def pause(self, reason: str) -> None:
        """Read nothing until :meth:`go_on`."""
        self._busy = True
        self.waits_its_turn = reason == "turn"
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read again after a pause, beginning with what is already here."""
        if self.ended or self._transport is None:
            return
        self._busy = self.waits_its_turn = False
        if self._rest:
            self._consume(self._rest)
        if not self._busy and not self.ended:
            self._transport.resume_reading()

    def stop_reading(self) -> None:
        """Take nothing more in, for good."""
        self.pause("stop")

    def _malformed(self, problem: MalformedPacket, first: bytes) -> None:
        if self.principal is None and self.wrong_port(first):
            return
        if self.principal is None and problem.reason == Reason.UNSUPPORTED_PROTOCOL_VERSION:
            # [MQTT-3.1.2-2]
            self.write_now(encode_connack(4, False, 1))
        name = problem.reason.name.lower()
        device = self.principal.device if self.principal else ""
        if not device and len(self.devices) == 1:
            device = next(iter(self.devices))
        self.broker.refusals.refuse(device, "mqtt", name, str(problem), self.address)
        self.end(name, problem.reason, str(problem))

    def wrong_port(self, first: bytes = b"") -> bool:
        """End the connection of a client that speaks another protocol, and tell; ``first`` are its first bytes."""
        protocol = spoken(first or bytes(self._rest or b""))
        if protocol not in ("http", "tls"):
            return False
        reason = f"{protocol}_on_mqtt_port"
        self.broker.refusals.refuse("", "mqtt", reason, f"{protocol.upper()} spoken to the MQTT port", self.address)
        self.end(reason, None, "")
        return True

    def _handle(self, packet: Packet) -> None:
        if self.principal is None:
            if type(packet) is not Connect:
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "the first packet is not CONNECT [MQTT-3.1.0-1]")
            handshake.begin(self, packet)
            return
        match packet:
            case Pingreq():
                self.send(PINGRESP)
            case Ack():
                self._acknowledged(packet)
            case Subscribe():
                subscribing.subscribe(self, packet)
            case Unsubscribe():
                subscribing.unsubscribe(self, packet)
            case Disconnect():
                self._disconnect(packet)
            case Connect():
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "a second CONNECT [MQTT-3.1.0-2]")
            case Auth():
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "AUTH without an authentication method [MQTT-4.12.0-6]")
            case _:
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "unexpected packet")

    def _disconnect(self, packet: Disconnect) -> None:
        session = self.session
        expiry = (packet.properties or {}).get("session_expiry_interval")
        if expiry is not None and session is not None:
            if session.expiry == 0 and expiry:
                raise MalformedPacket(Reason.PROTOCOL_ERROR, "session expiry raised from 0 [MQTT-3.14.2-2]")
            self.broker.change_expiry(session, expiry)
        # [MQTT-3.14.4-3]: only an ordinary good-bye takes the will back.
        if packet.reason == Reason.SUCCESS:
            self.will = None
        self.end("disconnected", None, "")

    # PUBLISH and acknowledgements

    def _publish(self, packet: Publish) -> None:
        broker, session = self.broker, self.session
        assert session is not None
        broker.counts["received"] += 1
        if packet.properties is not None:
            self._look_at_properties(packet, packet.properties)
        if packet.qos:
            if self.version == MQTT_5 and self._unanswered >= broker.settings.limits.inflight:
                raise MalformedPacket(
                    Reason.RECEIVE_MAXIMUM_EXCEEDED,
                    f"more than {broker.settings.limits.inflight} unanswered messages [MQTT-3.3.4-9]",
                )
            if packet.qos == 2 and not session.take_incoming(packet.packet_id):
                # The first one may still be on the road; behind it is early enough for its PUBREC.
                if broker.pipeline.waiting:
                    broker.pipeline.submit((), self._say_pubrec, packet.packet_id)
                else:
                    self.send(encode_ack(self.version, Kind.PUBREC, packet.packet_id))
                return
            self._unanswered += 1
        route = self._routes.get(packet.topic)
        if route is None:
            principal = self.principal
            assert principal is not None
            route = broker.route(principal, packet.topic)
            # What is refused may be too long to be kept.
            if route.refusal is None:
                if len(self._routes) >= _ROUTES_KEPT:
                    self._routes.clear()
                self._routes[packet.topic] = route
        broker.publish(self, route, packet)
        if self._rate:
            self._tokens -= 1
            if self._tokens < 0 and not self._busy:
                self.pause("rate")
                asyncio.get_running_loop().call_later(-self._tokens / self._rate + 0.01, self.go_on)

    def _say_pubrec(self, packet_id: int, _: object) -> None:
        self.send(encode_ack(self.version, Kind.PUBREC, packet_id))

    def _look_at_properties(self, packet: Publish, properties: Properties) -> None:
        """Section 3.3.2.3: aliases are resolved here; what no client may send ends the connection."""
        if "subscription_identifier" in properties:
            raise MalformedPacket(Reason.PROTOCOL_ERROR, "subscription identifier from a client [MQTT-3.3.4-6]")
        response = properties.get("response_topic")
        if response is not None and ("+" in response or "#" in response or not response):
            raise MalformedPacket(Reason.TOPIC_NAME_INVALID, "response topic with a wildcard [MQTT-3.3.2-14]")
        alias = properties.get("topic_alias")
        if alias is None:
            return
        if not alias or alias > self.broker.settings.limits.topic_aliases:
            raise MalformedPacket(Reason.TOPIC_ALIAS_INVALID, f"topic alias {alias} [MQTT-3.3.2-9]")
        if self._aliases is None:
            self._aliases = {}
        if packet.topic:
            self._aliases[alias] = packet.topic
            return
        topic = self._aliases.get(alias)
        if topic is None:
            raise MalformedPacket(Reason.PROTOCOL_ERROR, f"topic alias {alias} was never set [MQTT-3.3.2-7]")
        packet.topic = topic

    def acknowledge(self, packet: Publish, refused: Reason | None) -> None:
        """Send PUBACK or PUBREC; version 5 also hears why something was refused."""
        if self.ended:
            return
        packet_id = packet.packet_id
        if packet.qos == 1:
            self._unanswered -= 1
        if refused is None or self.version != MQTT_5:
            if packet.qos == 1:
                self.send(bytes((0x40, 2, packet_id >> 8, packet_id & 0xFF)))
            else:
                self.send(encode_ack(self.version, Kind.PUBREC, packet_id))
            return
        properties: Properties | None = None
        if self.says_why:
            properties = {"reason_string": _WHY.get(refused, "refused; see the device's timeline")}
        if packet.qos == 1:
            self.send(encode_ack(self.version, Kind.PUBACK, packet_id, refused, properties))
            return
        session = self.session
        assert session is not None
        self._unanswered -= 1
        session.release_incoming(packet_id)
        answer = encode_ack(self.version, Kind.PUBREC, packet_id, refused, properties)
        self.broker.send_after_commit(self, session, answer)

    def _acknowledged(self, packet: Ack) -> None:
        session = self.session
        assert session is not None
        packet_id, kind = packet.packet_id, packet.kind
        if kind == Kind.PUBREL:
            known = session.release_incoming(packet_id)
            if known and self._unanswered:
                self._unanswered -= 1
            reason = 0 if known else Reason.PACKET_ID_NOT_FOUND
            self.broker.send_after_commit(self, session, encode_ack(self.version, Kind.PUBCOMP, packet_id, reason))
            return
        more = session.acknowledged(kind, packet_id, packet.reason >= 0x80, self.broker.clock.now_ms())
        if session.arrived:
            self.broker.commands_arrived(session)
        if more is None and kind == Kind.PUBREC and packet.reason < 0x80:
            more = encode_ack(self.version, Kind.PUBREL, packet_id, Reason.PACKET_ID_NOT_FOUND)
        if more or session.changes:
            self.broker.send_after_commit(self, session, more or b"")

    # Sending and ending

    def send(self, data: bytes) -> None:
        """Write ``data`` at the end of this round of the loop."""
        if data and not self.ended:
            if not self._out:
                self.broker.flush_later(self)
            self._out.append(data)

    def flush(self) -> None:
        out = self._out
        if out and self._transport is not None:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            self._out = []

    def write_now(self, data: bytes) -> None:
        """Write ``data`` without waiting for the round to end."""
        self._out.append(data)
        self.flush()

    def idle_too_long(self, now: float) -> bool:
        """[MQTT-3.1.2-24]: nothing for one and a half times the keep-alive."""
        return self.keep_alive > 0 and now - self.heard > self.keep_alive * 1.5 and not self._busy

    def take_rights(self, principal: Principal) -> None:
        """From now on this is what may be done; topics are looked at again, because contracts' may have changed."""
        self.principal = principal
        self._routes.clear()

    def forget_will(self) -> None:
        """The connection ends for a reason that is not the device's."""
        self.will = None

    def end(self, reason: str, code: Reason | None, detail: str) -> None:
        """End the connection: say why (version 5), leave the session, publish the will or let it wait, close."""
        if self.ended:
            return
        if code is not None and self.version == MQTT_5 and self.principal is not None:
            why: Properties | None = {"reason_string": detail[:200]} if detail else None
            self._out.append(encode_disconnect(code, why))
        self.flush()
        self.ended = True
        if self.principal is not None:
            self._leave(self.principal, reason, detail)
        if self._transport is not None:
            self._transport.close()

    def _leave(self, principal: Principal, reason: str, detail: str) -> None:
        broker, session = self.broker, self.session
        will, self.will = self.will, None
        if will is not None and session is not None:
            delay = min((will.properties or {}).get("will_delay_interval", 0), session.expiry)
            if delay:
                broker.wills.wait(session.client_id, will, principal, self.address, delay)
                will = None
        broker.close_session(self)
        if will is not None:
            broker.publish_will(will, principal, self.address)
        broker.falls_silent(self, reason, detail)


_WHY: Final = {
    Reason.NOT_AUTHORIZED: "this client may not publish to this topic",
    Reason.PAYLOAD_FORMAT_INVALID: "the payload breaks the contract; the device's timeline says where",
}
