"""Sessions and the way of a message through the door.

Theory. A message that a contract understands, that is retained, or that a kept session has to get, changes something
that must survive. Such a message takes the road: its events and its changes are one submission, and only after their
commit do subscribers get it and does its sender hear PUBACK or PUBREC. Any other message is forwarded at once.
Acknowledgements leave in the order of the messages [MQTT-4.6.0-2], so once a connection has something on the road,
what it sends after it waits there too.

What a kept session sends is fixed when the message is submitted (its packet identifier is part of the commit) and
leaves after the commit; a session that ends with its connection is written to when the message is forwarded.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from relevo.attempts import Attempts
from relevo.clock import Clock
from relevo.dialect import Address, Dialect, KnowsDelivery, Said
from relevo.dialect import Delivery as Came
from relevo.dispatch import Dispatch
from relevo.domain.events import AnyEvent, DeviceConnected, DeviceDisconnected
from relevo.errors import Invalid
from relevo.intake import Intake
from relevo.managed import NOBODY
from relevo.mqtt.doorkeeper import Doorkeeper, Principal
from relevo.mqtt.governor import Governor
from relevo.mqtt.retained import RetainedMessages
from relevo.mqtt.subscriptions import Delivery, Subscriptions, split_shared
from relevo.mqtt.updating import Updating
from relevo.mqtt.wills import Wills, as_publish
from relevo.pipeline import Entry, Outcome, Pipeline
from relevo.raw import NOT_REACHED, PASSED, REFUSED, SENT, STORED, Raw
from relevo.refusals import Refusals
from relevo.settings import Settings
from relevo.twins import Twins
from relevo.wire.mqtt_errors import Reason
from relevo.wire.mqtt_packets import Publish, SubscribeFilter, Will
from relevo.wire.mqtt_session import FOREVER, Session
from relevo.wire.mqtt_state import Change, Message, SessionForgotten

if TYPE_CHECKING:
    from relevo.mqtt.connection import Connection

_NOT_FORWARDED: Final = frozenset({"topic_alias", "subscription_identifier", "message_expiry_interval"})
_DEVICES_OF_CONNECTION: Final = 64


class Route:
    """What a connection may do with a topic, worked out once."""

    __slots__ = ("address", "dialect", "knowing", "refusal")

    def __init__(self, dialect: Dialect | None, address: Address | None, refusal: tuple[str, str] | None) -> None:
        self.dialect = dialect
        # The same one, where it matters to it how a message came.
        self.knowing: KnowsDelivery | None = dialect if isinstance(dialect, KnowsDelivery) else None
        self.address = address
        self.refusal = refusal


class _Travelling:
    """A message on the road: what to do once it is committed."""

    __slots__ = ("connection", "deliveries", "message", "packet", "refused", "writes")

    def __init__(self, connection: "Connection | None", packet: Publish, refused: Reason | None) -> None:
        self.connection = connection
        self.packet = packet
        self.refused = refused
        self.message: Message | None = None
        # For sessions that end with their connection; what kept ones send is fixed already.
        self.deliveries: list[Delivery] = []
        self.writes: list[tuple[Connection, bytes]] = []


class Broker:
    """Everything that connections share. Lives on the event loop."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        pipeline: Pipeline,
        intake: Intake,
        refusals: Refusals,
        doorkeeper: Doorkeeper,
        dispatch: Dispatch,
        twins: Twins,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.pipeline = pipeline
        self.intake = intake
        self.refusals = refusals
        self.doorkeeper = doorkeeper
        self.dispatch = dispatch
        self.twins = twins
        self.sessions: dict[str, Session] = {}
        self.connected: dict[str, Connection] = {}
        self.subscriptions = Subscriptions(self.connected.__contains__)
        self.retained = RetainedMessages(settings.limits.retained)
        self.wills = Wills(clock)
        self.governor = Governor(clock, settings.limits.connects_per_s)
        self.failed_logins = Attempts(clock, settings.limits.failed_logins, 60.0)
        self.counts: Counter[str] = Counter()
        # Shown every message: topic, payload, quality of service, whether it is retained.
        self.observe: Callable[[str, bytes, int, bool], None] | None = None
        # Who watches what single devices send and get.
        self.raw = Raw(clock)
        self.updating = Updating(self)
        self._unflushed: list[Connection] = []
        self._tasks: set[asyncio.Future[None]] = set()
        # How many connections speak for a device: the first connects it, the last disconnects it.
        self._speakers: Counter[str] = Counter()

    # Sessions

    def restore(self, sessions: Sequence[Any], retained: list[tuple[str, Message]]) -> None:
        """Take up what an earlier run kept (``relevo.store.sessions``)."""
        now = self.clock.now_ms()
        limits = self.settings.limits
        for kept in sessions:
            row = kept.session
            session = Session(row.client_id, row.owner, row.version, limits.queued_messages, limits.queued_bytes)
            session.expiry = row.expiry
            # Whoever was connected when the server ended has been away since now.
            session.away_since = row.away_since or now
            session.restore(kept.deliveries, kept.incoming)
            self.sessions[row.client_id] = session
            for one in row.subscriptions:
                options = SubscribeFilter(*one)
                session.subscriptions[options.filter] = options
                self.subscriptions.add(session, options)
        self.retained.load(retained)

    def open_session(
        self, connection: "Connection", client_id: str, principal: Principal, clean: bool, expiry: int
    ) -> bool:
        """Bind ``connection`` to its session, taking over from an older connection; true when one was resumed.

        ``expiry`` in seconds. Raises :class:`Invalid` when the identifier belongs to somebody else's session.
        """
        session = self.sessions.get(client_id)
        if session is not None and session.owner != principal.name:
            raise Invalid("client_id_taken", f"client id {client_id!r} is used by another account")
        standing = self.connected.get(client_id)
        if standing is not None:
            standing.end("taken_over", Reason.SESSION_TAKEN_OVER, "another connection with the same client id")
        session = self.sessions.get(client_id)
        if session is not None and clean:
            self.drop_session(session)
            session = None
        else:
            # [MQTT-3.1.3-9]: back in time, the will is not sent.
            self.wills.take(client_id)
        resumed = session is not None
        if session is None:
            limits = self.settings.limits
            session = Session(
                client_id, principal.name, connection.version, limits.queued_messages, limits.queued_bytes
            )
            self.sessions[client_id] = session
        session.version = connection.version
        session.away_since = 0
        self.change_expiry(session, expiry)
        connection.session = session
        self.connected[client_id] = connection
        return resumed

    def change_expiry(self, session: Session, expiry: int) -> None:
        """Set for how long the session outlives its connection (seconds), and keep or forget it accordingly."""
        longest = self.settings.limits.session_expiry_s
        before, session.expiry = (
            session.expiry,
            expiry if expiry == FOREVER and longest == FOREVER else min(expiry, longest),
        )
        if session.expiry and not before:
            session.keep_all()
        elif session.expiry:
            session.changes.append(session.kept())
        elif before:
            session.changes.append(SessionForgotten(session.client_id))
        self.commit(session)

    def close_session(self, connection: "Connection") -> None:
        """The connection is gone; its session stays for as long as it was asked to."""
        session = connection.session
        if session is None or self.connected.get(session.client_id) is not connection:
            return
        del self.connected[session.client_id]
        for token in session.end_once():
            self.dispatch.unheard(token)
        if session.expiry == 0:
            self.drop_session(session)
            return
        session.away_since = self.clock.now_ms()
        session.changes.append(session.kept())
        self.commit(session)

    def drop_session(self, session: Session) -> None:
        """End a session for good; a will that still waits is due now [MQTT-3.1.2-8]."""
        for filter_ in session.subscriptions:
            self.subscriptions.discard(session.client_id, filter_)
        session.subscriptions.clear()
        self.sessions.pop(session.client_id, None)
        if session.expiry:
            session.changes.append(SessionForgotten(session.client_id))
        session.expiry = 0
        self.commit(session)
        pending = self.wills.take(session.client_id)
        if pending is not None:
            self.publish_will(pending.will, pending.principal, pending.address)

    def expire(self) -> None:
        """Every half second: sessions nobody came back for, wills whose delay is over, retained messages too old."""
        now = self.clock.now_ms()
        for session in [
            one
            for one in self.sessions.values()
            if one.away_since and (end := one.expires_at()) is not None and end <= now
        ]:
            self.drop_session(session)
        for pending in self.wills.due():
            self.publish_will(pending.will, pending.principal, pending.address)

    def commit(self, session: Session) -> None:
        """Put a session's changes on the road; nobody waits for them."""
        if session.changes:
            self.pipeline.submit(session.take_changes())

    def send_after_commit(self, connection: "Connection", session: Session, data: bytes) -> None:
        """Write ``data`` once the session's changes are on the disk; at once when there are none."""
        if session.changes:
            self.pipeline.submit(session.take_changes(), _write, (connection, data))
        elif connection.pending and session.expiry:
            self.pipeline.submit((), _write, (connection, data))
        else:
            connection.send(data)

    def free_client_id(self) -> str:
        return f"auto-{secrets.token_hex(8)}"

    def revoke(self, principal_name: str, device: str) -> None:
        """A device is gone: its connections, sessions and retained messages go at once."""
        self.end_sessions(principal_name)
        gone = self.retained.purge(principal_name)
        if gone:
            self.pipeline.submit(gone)

    def end_sessions(self, principal_name: str) -> None:
        """Somebody is gone: their connections and sessions go at once."""
        for connection in list(self.connected.values()):
            if connection.principal is not None and connection.principal.name == principal_name:
                connection.forget_will()
                connection.end("revoked", Reason.ADMINISTRATIVE_ACTION, "the credential was revoked")
        for session in [one for one in self.sessions.values() if one.owner == principal_name]:
            self.wills.take(session.client_id)
            self.drop_session(session)

    def forget_retained(self, topics: list[str]) -> None:
        """Forget what is retained for ``topics``."""
        gone = self.retained.forget(topics)
        if gone:
            self.pipeline.submit(gone)

    def end_where(self, over: Callable[[Principal], bool]) -> int:
        """End the connections whose credential is ``over``; how many that were.

        Their sessions belong to the device and stay for whatever it comes back with.
        """
        ended = 0
        for connection in list(self.connected.values()):
            principal = connection.principal
            if principal is not None and principal.credential and over(principal):
                connection.forget_will()
                connection.end("revoked", Reason.ADMINISTRATIVE_ACTION, "the credential is no longer good")
                ended += 1
        return ended

    def renew(self, devices: set[str]) -> None:
        """What ``devices`` may do changed (an empty name: every one): open connections feel it at once.

        Those that watch for somebody are looked at in any case, and end where nothing is left to watch for.
        """
        everybody = "" in devices
        if devices == {NOBODY} and not self.doorkeeper.watched:
            return
        if everybody:
            self.doorkeeper.renew()
        for connection in list(self.connected.values()):
            principal = connection.principal
            if principal is None or (principal.device and not everybody and principal.device not in devices):
                continue
            again = self.doorkeeper.again(principal)
            if again is None:
                if not principal.device:
                    connection.end("revoked", Reason.ADMINISTRATIVE_ACTION, "nobody may watch with this account")
                continue
            if again == principal and not everybody:
                continue
            connection.take_rights(again)
            if connection.session is not None:
                self._prune(connection.session, again)
        for name in devices if not everybody else ():
            self._prune_sessions(f"device:{name}", name)
        if everybody:
            for owner in {one.owner for one in self.sessions.values() if one.owner.startswith("device:")}:
                self._prune_sessions(owner, owner[7:])

    def _prune_sessions(self, owner: str, device: str) -> None:
        """The same for sessions whose client is away."""
        away = [one for one in self.sessions.values() if one.owner == owner and one.client_id not in self.connected]
        again = self.doorkeeper.again(Principal(owner, device)) if away else None
        if again is not None:
            for session in away:
                self._prune(session, again)

    def _prune(self, session: Session, principal: Principal) -> None:
        gone = [filter_ for filter_ in session.subscriptions if not principal.may_subscribe(_plain(filter_))]
        for filter_ in gone:
            del session.subscriptions[filter_]
            self.subscriptions.discard(session.client_id, filter_)
            self.refusals.refuse(
                principal.device, "mqtt", "filter_not_allowed", f"may no longer subscribe to {filter_!r}"
            )
        if gone and session.expiry:
            session.changes.append(session.kept())
            self.commit(session)

    # Devices behind connections

    def speaks_for(self, connection: "Connection", device: str, address: str) -> None:
        """From now on ``connection`` stands for ``device``."""
        connection.devices.add(device)
        self._speakers[device] += 1
        if self._speakers[device] == 1:
            self.pipeline.submit((DeviceConnected(device, self.clock.now_ms(), "mqtt", address),))
        self.listening(device)

    def listening(self, device: str) -> None:
        """A connection that stands for ``device`` has come or subscribed."""
        self.dispatch.listening(device)
        self.twins.listening(device)

    def falls_silent(self, connection: "Connection", reason: str, detail: str) -> None:
        events: list[AnyEvent] = []
        for device in connection.devices:
            self._speakers[device] -= 1
            if self._speakers[device] <= 0:
                del self._speakers[device]
                events.append(DeviceDisconnected(device, self.clock.now_ms(), reason, detail))
        connection.devices.clear()
        if events:
            self.pipeline.submit(events)

    def _meet(self, connection: "Connection", events: Sequence[Entry], sender: str) -> None:
        """An anonymous connection stands for the devices it speaks of."""
        devices = connection.devices
        for event in events:
            device = getattr(event, "device", "")
            if device and device not in devices and len(devices) < _DEVICES_OF_CONNECTION:
                self.speaks_for(connection, device, sender)

    def is_connected(self, device: str) -> bool:
        return device in self._speakers

    # Messages

    def route(self, principal: Principal, topic: str) -> Route:
        """Work out what ``principal`` may do with ``topic``."""
        limits = self.settings.limits
        if len(topic.encode()) > limits.topic_bytes:
            return Route(None, None, ("topic_too_long", f"topic of more than {limits.topic_bytes} bytes"))
        if topic.count("/") >= limits.topic_levels:
            return Route(None, None, ("topic_too_deep", f"topic of more than {limits.topic_levels} levels"))
        if not principal.may_publish(topic):
            return Route(None, None, ("topic_not_allowed", f"may not publish to {topic!r}"))
        found = self.intake.address(topic)
        if found is None:
            return Route(None, None, None)
        dialect, address = found
        if principal.device and not address.external_id:
            # A shared topic names nobody; who proved to be a device speaks for itself.
            address = Address(address.contract, self.intake.external_id(principal.device), address.channel)
        return Route(dialect, address, None)

    def publish(self, connection: "Connection", route: Route, packet: Publish) -> None:
        """Let a message of a client in."""
        sender = connection.address
        events: Sequence[Entry] = ()
        refused: Reason | None = None
        told = taken = False
        why = ""
        asked: Sequence[Any] = ()
        dialect = route.dialect
        if dialect is not None:
            address = route.address
            assert address is not None
            try:
                if route.knowing is not None:
                    bound = connection.principal is not None and bool(connection.principal.device)
                    came = Came(packet.packet_id, packet.qos, packet.retain, bound)
                    decoded = route.knowing.delivered(address, packet.payload, self.clock.now_ms(), came)
                else:
                    decoded = dialect.decode(address, packet.payload, self.clock.now_ms(), False)
            except Invalid as problem:
                self.intake.refuse(dialect.name, address.external_id, "mqtt", problem, sender)
                refused = Reason.PAYLOAD_FORMAT_INVALID
                why = problem.reason
            else:
                speaker = connection.principal.device if connection.principal is not None else ""
                events = self.intake.events(dialect, decoded, "mqtt", sender, speaker, packet.qos > 0)
                # The first delivery may still be on its way to the disk: its repetition is acknowledged after it.
                told, taken = bool(decoded.refused) or decoded.once is not None, decoded.taken
                asked = decoded.updates
                if decoded.refused:
                    why = decoded.refused[0][1].reason
                    if not decoded.events:
                        refused = Reason.PAYLOAD_FORMAT_INVALID
                self._meet(connection, events, sender)
        elif route.refusal is not None:
            device = connection.principal.device if connection.principal else ""
            self.refusals.refuse(device, "mqtt", *route.refusal, sender)
            refused = Reason.NOT_AUTHORIZED
            why = route.refusal[0]
        travelling = self._take(connection, packet, events, refused, told, taken=taken)
        for _, said in asked:
            self.updating.asked(connection, said)
        if self.raw.watched:
            self._show(connection, route, travelling, events, why)

    def _show(
        self, connection: "Connection", route: Route, travelling: _Travelling, events: Sequence[Entry], why: str
    ) -> None:
        """Show a message to whoever watches the device behind it, once it is known what became of it."""
        devices = {getattr(one, "device", "") for one in events}
        if connection.principal is not None:
            devices.add(connection.principal.device)
        if route.address is not None and route.address.external_id:
            devices.add(self.intake.device_id(route.address.contract, route.address.external_id))
        seen = self.raw.of(devices)
        if seen:
            # Behind the message itself.
            self.pipeline.submit((), self._settled, (seen, travelling, bool(events), why))

    def _settled(self, token: Any, _: Outcome) -> None:
        seen, travelling, stored, why = token
        packet, refused = travelling.packet, travelling.refused
        if refused is Reason.IMPLEMENTATION_SPECIFIC:
            why = "not_stored"
        verdict = REFUSED if refused is not None or (why and not stored) else STORED if stored else PASSED
        size = len(packet.payload)
        self.raw.show(
            seen,
            self.raw.message("in", "mqtt", packet.topic, packet.payload, size, verdict, why, packet.qos, packet.retain),
        )

    def publish_will(self, will: Will, principal: Principal, address: str) -> None:
        """Let a last will in; its right was checked when it was left here."""
        packet = as_publish(will)
        route = self.route(principal, will.topic)
        events: Sequence[Entry] = ()
        if route.refusal is not None:
            self.refusals.refuse(principal.device, "mqtt", *route.refusal, address)
            return
        if route.dialect is not None and route.address is not None:
            try:
                decoded = route.dialect.decode(route.address, packet.payload, self.clock.now_ms(), False)
                events = self.intake.events(route.dialect, decoded, "mqtt", address, principal.device)
            except Invalid as problem:
                self.intake.refuse(route.dialect.name, route.address.external_id, "mqtt", problem, address)
                return
        self._take(None, packet, events, None, False, principal.name)

    def announce(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """A message of the server itself, such as ``$SYS``; acknowledged to nobody."""
        self._take(None, Publish(topic, payload, qos, retain, False, 0), (), None, False)

    def announce_freely(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """The same on a topic that somebody chose. Raises :class:`Invalid` when a contract or the server has it."""
        limits = self.settings.limits
        if len(topic.encode()) > limits.topic_bytes or topic.count("/") >= limits.topic_levels:
            raise Invalid("topic_not_allowed", f"topic {topic[:64]!r} is longer or deeper than the door takes")
        if not topic or any(mark in topic for mark in "+#\0"):
            raise Invalid("topic_not_allowed", f"topic {topic[:64]!r} is empty or has a wildcard")
        if topic.startswith("$") or self.intake.is_taken(topic):
            raise Invalid("topic_not_allowed", f"topic {topic[:64]!r} belongs to a contract or to the server")
        self.announce(topic, payload, qos, retain)

    def _take(
        self,
        connection: "Connection | None",
        packet: Publish,
        events: Sequence[Entry],
        refused: Reason | None,
        told: bool,
        origin: str = "",
        taken: bool = False,
    ) -> _Travelling:
        """The common way of all messages: over the road when something has to survive, otherwise straight on.

        A ``taken`` one goes to nobody: the server does what it wants.
        """
        if self.observe is not None and refused is not Reason.NOT_AUTHORIZED:
            self.observe(packet.topic, packet.payload, packet.qos, packet.retain)
        travelling = _Travelling(connection, packet, refused)
        changes = self._plan(travelling, origin) if refused is None and not taken else []
        session = connection.session if connection is not None else None
        if session is not None and session.changes:
            changes += session.take_changes()
        # A refusal is told before it is acknowledged: the line in the timeline is then on the disk.
        waits = bool(events or changes or refused is not None or told)
        if connection is not None and (waits or connection.pending):
            connection.pending += 1
            self.pipeline.submit([*events, *changes] if changes else events, self._stored, travelling)
        elif waits:
            self.pipeline.submit([*events, *changes], self._stored, travelling)
        else:
            self._finish(travelling)
        return travelling

    def _plan(self, travelling: _Travelling, origin: str) -> list[Change]:
        """Who gets the message. Kept sessions take it now, and what they changed has to be committed with it."""
        packet, connection = travelling.packet, travelling.connection
        own = connection.session.client_id if connection is not None and connection.session is not None else None
        deliveries = self.subscriptions.deliveries(packet.topic, packet.qos, packet.retain, own)
        if not deliveries and not packet.retain:
            return []
        changes: list[Change] = []
        if self.raw.watched and deliveries:
            self._show_passed_on(packet, deliveries)
        if connection is not None and connection.principal is not None:
            origin = connection.principal.name
        message = travelling.message = self._message(packet, origin)
        if packet.retain:
            try:
                kept = self.retained.keep(packet.topic, message)
                if kept is not None:
                    changes.append(kept)
            except OverflowError:
                limit = self.settings.limits.retained
                self.refusals.refuse("", "mqtt", "retained_full", f"more than {limit} retained messages")
        for one in deliveries:
            session = one.session
            if not session.expiry:
                travelling.deliveries.append(one)
                continue
            receiver = self.connected.get(session.client_id)
            data = self._deliver(one, message, receiver)
            if data and receiver is not None:
                travelling.writes.append((receiver, data))
            if session.changes:
                changes += session.take_changes()
        return changes

    def _show_passed_on(self, packet: Publish, deliveries: Sequence[Delivery]) -> None:
        """Show what others say to devices that somebody watches."""
        devices = (one.session.owner[7:] for one in deliveries if one.session.owner.startswith("device:"))
        seen = self.raw.of(devices)
        if seen:
            size = len(packet.payload)
            self.raw.show(
                seen,
                self.raw.message(
                    "out", "mqtt", packet.topic, packet.payload, size, SENT, "", packet.qos, packet.retain
                ),
            )

    def _stored(self, token: Any, outcome: Outcome) -> None:
        """After the commit."""
        travelling: _Travelling = token
        connection = travelling.connection
        if connection is not None:
            connection.pending -= 1
            if outcome.lost and travelling.refused is None:
                device = connection.principal.device if connection.principal else ""
                detail = f"a message on {travelling.packet.topic!r} could not be stored"
                self.refusals.refuse(device, "mqtt", "not_stored", detail, connection.address)
                travelling.refused = Reason.IMPLEMENTATION_SPECIFIC
        self._finish(travelling)

    def _finish(self, travelling: _Travelling) -> None:
        """Subscribers first, then the sender."""
        for receiver, data in travelling.writes:
            receiver.send(data)
        message = travelling.message
        if message is not None:
            self._fan_out(message, travelling.deliveries)
        connection, packet = travelling.connection, travelling.packet
        if connection is not None and packet.qos:
            connection.acknowledge(packet, travelling.refused)

    def _fan_out(self, message: Message, deliveries: Sequence[Delivery]) -> None:
        """Give a message to sessions that end with their connection; equal bytes are made once."""
        made: dict[tuple[int, bool], bytes] = {}
        for one in deliveries:
            session = one.session
            receiver = self.connected.get(session.client_id)
            if receiver is None or receiver.session is not session:
                continue
            if one.qos or not receiver.writable or not session.encodes_alike(message, one.ids):
                receiver.send(self._deliver(one, message, receiver))
                continue
            key = (session.version, one.retain)
            data = made.get(key)
            if data is None:
                data = made[key] = self._deliver(one, message, receiver)
            else:
                self.counts["sent"] += 1
            receiver.send(data)

    def _deliver(self, one: Delivery, message: Message, receiver: "Connection | None") -> bytes:
        """Hand a message to a session; what it loses because its client is slow or away is counted and told."""
        session = one.session
        self.counts["sent"] += 1
        if receiver is not None and not receiver.writable and one.qos == 0:
            session.dropped += 1
            lost = 1
            data = b""
        else:
            before = session.dropped
            data = session.deliver(
                message,
                one.qos,
                one.retain,
                one.ids,
                receiver is not None and receiver.writable,
                self.clock.now_ms(),
            )
            lost = session.dropped - before
        if lost:
            self.counts["dropped"] += lost
            device = receiver.principal.device if receiver is not None and receiver.principal is not None else ""
            if not device and session.owner.startswith("device:"):
                device = session.owner[7:]
            self.refusals.refuse(
                device,
                "mqtt",
                "queue_full",
                f"client {session.client_id!r} is slow or away: the oldest messages waiting for it were dropped",
                count=lost,
            )
        return data

    def _message(self, packet: Publish, origin: str) -> Message:
        properties = packet.properties
        expires_at = 0
        if properties:
            seconds = properties.get("message_expiry_interval")
            if seconds is not None:
                expires_at = self.clock.now_ms() + seconds * 1000
            properties = {name: value for name, value in properties.items() if name not in _NOT_FORWARDED}
        return Message(
            packet.topic.encode(), packet.payload, packet.qos, packet.retain, properties or None, expires_at, origin
        )

    # Commands

    def hears(self, device: str, topics: Sequence[str]) -> bool:
        """Whether a connection that stands for ``device`` is subscribed to one of ``topics`` and can take more."""
        for topic in topics:
            for one in self.subscriptions.deliveries(topic, 1, False, None):
                if self._ear(one, device, topic) is not None and (not one.qos or one.session.has_room):
                    return True
        return False

    def quiet_s(self, device: str, topics: Sequence[str]) -> float | None:
        """Seconds since the client of ``device`` that listens on one of ``topics`` sent anything, ``None`` for none."""
        now = self.clock.monotonic()
        quiet: list[float] = []
        for topic in topics:
            for one in self.subscriptions.deliveries(topic, 1, False, None):
                receiver = self._ear(one, device, topic)
                if receiver is not None:
                    quiet.append(now - receiver.heard)
        return min(quiet, default=None)

    def say(self, device: str, said: Said, token: str, expires_at: int) -> bool:
        """Send a message of ours to whoever listens now, and keep it for nobody; whether the device is among them.

        :meth:`Dispatch.arrived` hears of ``token`` once the device's client acknowledged.
        """
        message = Message(said.topic.encode(), said.payload, said.qos, False, None, expires_at, "server")
        if self.observe is not None:
            self.observe(said.topic, said.payload, said.qos, False)
        now = self.clock.now_ms()
        reached = False
        for one in self.subscriptions.deliveries(said.topic, said.qos, False, None):
            receiver = self._ear(one, device, said.topic)
            own = receiver is not None
            receiver = receiver or self.connected.get(one.session.client_id)
            if receiver is None or not receiver.writable:
                continue
            data = one.session.deliver_once(message, one.qos, one.ids, token if own else "", now)
            if data:
                self.counts["sent"] += 1
                receiver.send(data)
                reached = reached or own
        if device in self.raw.watched:
            verdict, size = SENT if reached else NOT_REACHED, len(said.payload)
            told = self.raw.message("out", "mqtt", said.topic, said.payload, size, verdict, "", said.qos)
            self.raw.show((device,), told)
        return reached

    def _ear(self, one: Delivery, device: str, topic: str) -> "Connection | None":
        """The connection behind a delivery when it is the device's own and ready."""
        receiver = self.connected.get(one.session.client_id)
        if receiver is None or receiver.session is not one.session or not receiver.writable:
            return None
        principal = receiver.principal
        if principal is None:
            return None
        # A board without an account of its own is known by what it said, or by a filter that fits nobody else.
        stands = device in receiver.devices or (
            not principal.device and not principal.name.startswith("user:") and topic in one.session.subscriptions
        )
        return receiver if stands else None

    def commands_arrived(self, session: Session) -> None:
        """The client answered what was delivered once."""
        arrived, session.arrived = session.arrived, []
        for token, taken in arrived:
            self.dispatch.arrived(token, taken)

    # Subscriptions

    def subscribe(self, connection: "Connection", wanted: SubscribeFilter) -> bool:
        """Add or replace a subscription; true when it is new. Raises ``ValueError`` for a malformed shared one."""
        session = connection.session
        assert session is not None
        new = self.subscriptions.add(session, wanted)
        session.subscriptions[wanted.filter] = wanted
        return new

    def unsubscribe(self, connection: "Connection", filter_: str) -> bool:
        session = connection.session
        assert session is not None
        if session.subscriptions.pop(filter_, None) is None:
            return False
        return self.subscriptions.discard(session.client_id, filter_)

    def send_retained(self, connection: "Connection", options: SubscribeFilter) -> None:
        """[MQTT-3.3.1-6] and [MQTT-3.3.1-8]: a new subscription gets what is kept, with RETAIN set."""
        session, principal = connection.session, connection.principal
        assert session is not None
        assert principal is not None
        now = self.clock.now_ms()
        ids = [options.identifier] if options.identifier else []
        parts = [
            session.deliver(message, min(message.qos, options.qos), True, ids, True, now)
            for topic, message in self.retained.select(options.filter, now)
            if principal.may_read(topic)
        ]
        if parts:
            self.send_after_commit(connection, session, b"".join(parts))

    def keep(self, task: "asyncio.Future[None]") -> None:
        """Hold on to a running task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Writing

    def flush_later(self, connection: "Connection") -> None:
        """Write everything that this round of the loop produced for a connection at once."""
        if not self._unflushed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unflushed.append(connection)

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()


def _plain(filter_: str) -> str:
    """A filter without the name of the group that shares it."""
    shared = split_shared(filter_)
    return shared[1] if shared is not None else filter_


def _write(token: Any, outcome: Outcome) -> None:
    connection, data = token
    connection.send(data)
