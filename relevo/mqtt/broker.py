"""Sessions, subscriptions, retained messages and the way of a message through the door.

A message that a contract understands takes the road first and reaches its subscribers, and its sender the
acknowledgement, after the commit. Acknowledgements leave in the order of the messages [MQTT-4.6.0-2], so once a
connection has something on the road, what it sends after it waits there too.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from relevo.clock import Clock
from relevo.dialect import Address, Dialect
from relevo.domain.events import AnyEvent, DeviceConnected, DeviceDisconnected
from relevo.errors import Invalid
from relevo.intake import Intake
from relevo.log import get_logger
from relevo.mqtt.doorkeeper import Doorkeeper, Principal
from relevo.pipeline import Outcome, Pipeline
from relevo.refusals import Refusals
from relevo.settings import Settings
from relevo.wire.mqtt_errors import Reason
from relevo.wire.mqtt_packets import MQTT_5, Publish, SubscribeFilter
from relevo.wire.mqtt_session import Message, Session, with_subscription_ids
from relevo.wire.topics import SubscriptionTree, TopicTree, matches

if TYPE_CHECKING:
    from relevo.mqtt.connection import Connection

log = get_logger("relevo.mqtt")

RETAINED_MOST: Final = 100_000
_NOT_FORWARDED: Final = frozenset({"topic_alias", "subscription_identifier"})


class Route:
    """What a connection may do with a topic, worked out once."""

    __slots__ = ("address", "dialect", "refusal")

    def __init__(self, dialect: Dialect | None, address: Address | None, refusal: tuple[str, str] | None) -> None:
        self.dialect = dialect
        self.address = address
        self.refusal = refusal


class Subscriber:
    """One subscription in the tree."""

    __slots__ = ("options", "session")

    def __init__(self, session: Session, options: SubscribeFilter) -> None:
        self.session = session
        self.options = options


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
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.pipeline = pipeline
        self.intake = intake
        self.refusals = refusals
        self.doorkeeper = doorkeeper
        self.sessions: dict[str, Session] = {}
        self.connected: dict[str, Connection] = {}
        self.subscriptions: SubscriptionTree[Subscriber] = SubscriptionTree()
        self.retained: TopicTree[Message] = TopicTree()
        self.counts: Counter[str] = Counter()
        self._unflushed: list[Connection] = []
        self._tasks: set[asyncio.Future[None]] = set()
        # How many connections speak for a device: the first connects it, the last disconnects it.
        self._speakers: Counter[str] = Counter()

    # Sessions

    def open_session(self, connection: "Connection", client_id: str, principal: Principal, clean: bool) -> bool:
        """Bind ``connection`` to its session, taking over from an older connection; true when one was resumed.

        Raises :class:`Invalid` when the identifier belongs to somebody else's session.
        """
        old = self.sessions.get(client_id)
        if old is not None and old.owner != principal.name:
            raise Invalid("client_id_taken", f"client id {client_id!r} is used by another account")
        standing = self.connected.get(client_id)
        if standing is not None:
            standing.end("taken_over", Reason.SESSION_TAKEN_OVER, "another connection with the same client id")
        old = self.sessions.get(client_id)
        if old is not None and clean:
            self.drop_session(old)
            old = None
        resumed = old is not None
        if old is None:
            limits = self.settings.limits
            old = Session(client_id, principal.name, connection.version, limits.inflight, limits.queued_messages)
            self.sessions[client_id] = old
        old.version = connection.version
        connection.session = old
        self.connected[client_id] = connection
        return resumed

    def close_session(self, connection: "Connection") -> None:
        """The connection is gone; its session stays when it is persistent."""
        session = connection.session
        if session is None or self.connected.get(session.client_id) is not connection:
            return
        del self.connected[session.client_id]
        if session.expiry == 0:
            self.drop_session(session)

    def drop_session(self, session: Session) -> None:
        for filter_ in session.subscriptions:
            self.subscriptions.discard(filter_, session.client_id)
        session.subscriptions.clear()
        self.sessions.pop(session.client_id, None)

    def free_client_id(self) -> str:
        return f"auto-{secrets.token_hex(8)}"

    # Devices behind connections

    def speaks_for(self, connection: "Connection", device: str, address: str) -> None:
        """From now on ``connection`` stands for ``device``."""
        connection.devices.add(device)
        self._speakers[device] += 1
        if self._speakers[device] == 1:
            self.pipeline.submit((DeviceConnected(device, self.clock.now_ms(), "mqtt", address),))

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
        return Route(found[0], found[1], None) if found else Route(None, None, None)

    def publish(self, connection: "Connection | None", route: Route, packet: Publish, sender: str) -> None:
        """Let a message in. ``connection`` is ``None`` for a will, which nobody waits for."""
        dialect = route.dialect
        events: Sequence[AnyEvent] = ()
        refused: Reason | None = None
        told = False
        if dialect is not None:
            address = route.address
            assert address is not None
            try:
                decoded = dialect.decode(address, packet.payload, self.clock.now_ms(), False)
            except Invalid as problem:
                self.intake.refuse(dialect.name, address.external_id, "mqtt", problem, sender)
                refused = Reason.PAYLOAD_FORMAT_INVALID
            else:
                events = self.intake.events(dialect, decoded, "mqtt", sender)
                told = bool(decoded.refused)
                if told and not decoded.events:
                    refused = Reason.PAYLOAD_FORMAT_INVALID
                if connection is not None:
                    self._meet(connection, events, sender)
        elif route.refusal is not None:
            device = connection.principal.device if connection is not None and connection.principal else ""
            self.refusals.refuse(device, "mqtt", *route.refusal, sender)
            refused = Reason.NOT_AUTHORIZED
        if connection is not None and (packet.qos or events):
            # A refusal is told before it is acknowledged: the line in the timeline is then on the disk.
            if events or connection.pending or refused is not None or told:
                connection.pending += 1
                self.pipeline.submit(events, self._stored, (connection, packet, refused))
                return
        elif events:
            self.pipeline.submit(events)
        if refused is None:
            self.forward(packet, connection)
        if connection is not None and packet.qos:
            connection.acknowledge(packet, refused)

    def _meet(self, connection: "Connection", events: Sequence[AnyEvent], sender: str) -> None:
        for event in events:
            device = getattr(event, "device", "")
            if device and device not in connection.devices and len(connection.devices) < 64:
                self.speaks_for(connection, device, sender)

    def _stored(self, token: Any, outcome: Outcome) -> None:
        """After the commit: subscribers first, then the sender."""
        connection, packet, refused = token
        connection.pending -= 1
        if refused is None:
            self.forward(packet, connection)
        if packet.qos:
            connection.acknowledge(packet, refused)

    def forward(self, packet: Publish, origin: "Connection | None") -> None:
        """Give a message to everyone subscribed, and keep it when it is retained."""
        topic = packet.topic
        if packet.retain:
            self._retain(packet)
        receivers = self.subscriptions.match(topic)
        if not receivers:
            return
        message = self._message(packet)
        origin_id = origin.session.client_id if origin is not None and origin.session is not None else None
        for session, options, ids in _one_each(receivers):
            if options.no_local and session.client_id == origin_id:
                continue
            connection = self.connected.get(session.client_id)
            qos = min(message.qos, options.qos)
            retain = packet.retain and options.retain_as_published
            out = with_subscription_ids(message, ids, session.version)
            before = session.dropped
            if connection is None:
                session.deliver(out, qos, retain, False)
            elif connection.writable:
                connection.send(session.deliver(out, qos, retain, True))
            elif qos:
                session.deliver(out, qos, retain, False)
            else:
                session.dropped += 1
            self.counts["sent"] += 1
            if session.dropped != before:
                self.counts["dropped"] += 1
                device = connection.principal.device if connection is not None and connection.principal else ""
                self.refusals.refuse(
                    device, "mqtt", "queue_full", f"client {session.client_id!r} reads too slowly: oldest dropped", ""
                )

    def _message(self, packet: Publish) -> Message:
        properties = packet.properties
        if properties:
            properties = {name: value for name, value in properties.items() if name not in _NOT_FORWARDED}
        return Message(packet.topic.encode(), packet.payload, packet.qos, packet.retain, properties or None)

    def _retain(self, packet: Publish) -> None:
        """[MQTT-3.3.1-5..11]: the newest stays, an empty one clears."""
        if not packet.payload:
            self.retained.remove(packet.topic)
        elif self.retained.count < RETAINED_MOST or self.retained.get(packet.topic) is not None:
            self.retained.set(packet.topic, self._message(packet))
        else:
            self.refusals.refuse("", "mqtt", "retained_full", f"more than {RETAINED_MOST} retained messages")

    def subscribe(self, connection: "Connection", wanted: SubscribeFilter) -> bool:
        """Add or replace a subscription; true when it is new."""
        session = connection.session
        assert session is not None
        session.subscriptions[wanted.filter] = wanted
        return self.subscriptions.add(wanted.filter, session.client_id, Subscriber(session, wanted))

    def unsubscribe(self, connection: "Connection", filter_: str) -> bool:
        session = connection.session
        assert session is not None
        if session.subscriptions.pop(filter_, None) is None:
            return False
        return self.subscriptions.discard(filter_, session.client_id)

    def send_retained(self, connection: "Connection", options: SubscribeFilter, ids: list[int]) -> None:
        """[MQTT-3.3.1-6] and [MQTT-3.3.1-8]: a new subscription gets what is kept, with RETAIN set."""
        session, principal = connection.session, connection.principal
        assert session is not None
        assert principal is not None
        for topic, message in self.retained.select(options.filter):
            if principal.may_read(topic) and matches(options.filter, topic):
                out = with_subscription_ids(message, ids, session.version)
                connection.send(session.deliver(out, min(message.qos, options.qos), True, True))

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


def _one_each(receivers: Sequence[Subscriber]) -> list[tuple[Session, SubscribeFilter, list[int]]]:
    """Overlapping subscriptions of one client make one delivery, at their highest QoS [MQTT-3.3.5-1]."""
    if len(receivers) == 1:
        one = receivers[0]
        return [(one.session, one.options, _ids(one))]
    found: dict[str, tuple[Session, SubscribeFilter, list[int]]] = {}
    for one in receivers:
        known = found.get(one.session.client_id)
        if known is None:
            found[one.session.client_id] = (one.session, one.options, _ids(one))
        else:
            options = one.options if one.options.qos > known[1].qos else known[1]
            found[one.session.client_id] = (one.session, options, known[2] + _ids(one))
    return list(found.values())


def _ids(one: Subscriber) -> list[int]:
    ident = one.options.identifier
    return [ident] if one.session.version == MQTT_5 and ident else []
