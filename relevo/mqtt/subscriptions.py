"""Who gets a message: plain subscriptions and shared ones (MQTT 5.0 section 4.8.2)."""

from collections.abc import Callable, Sequence

from relevo.wire.mqtt_packets import MQTT_5, SubscribeFilter
from relevo.wire.mqtt_session import Session
from relevo.wire.topics import SubscriptionTree, valid_filter


class Subscriber:
    """One subscription of one session."""

    __slots__ = ("options", "session")

    def __init__(self, session: Session, options: SubscribeFilter) -> None:
        self.session = session
        self.options = options

    @property
    def ids(self) -> list[int]:
        """The subscription identifiers to echo; only version 5 knows them."""
        ident = self.options.identifier
        return [ident] if ident and self.session.version == MQTT_5 else []


class Group:
    """The members of a shared subscription: each message goes to one of them, in turn."""

    __slots__ = ("_turn", "members")

    def __init__(self) -> None:
        self.members: dict[str, Subscriber] = {}
        self._turn = 0

    def choose(self, present: Callable[[str], bool]) -> Subscriber:
        """The next member, before all one that is connected and has room in its window."""
        members = list(self.members.values())
        self._turn += 1
        order = [members[(self._turn + n) % len(members)] for n in range(len(members))]
        for one in order:
            session = one.session
            if present(session.client_id) and len(session.inflight) < session.window:
                return one
        return next((one for one in order if present(one.session.client_id)), order[0])


class Delivery:
    """One session's share of a message: at which QoS, with which identifiers, with the retain bit or without."""

    __slots__ = ("ids", "qos", "retain", "session")

    def __init__(self, session: Session, qos: int, retain: bool, ids: list[int]) -> None:
        self.session = session
        self.qos = qos
        self.retain = retain
        self.ids = ids


def split_shared(filter_: str) -> tuple[str, str] | None:
    """``(group, filter)`` of ``$share/group/filter``; ``None`` for a plain one. Raises ``ValueError``."""
    if not filter_.startswith("$share/"):
        return None
    group, _, rest = filter_[7:].partition("/")
    if not group or "+" in group or "#" in group or not valid_filter(rest):
        raise ValueError("a shared subscription is $share/group/filter [MQTT-4.8.2-1]")
    return group, rest


class Subscriptions:
    """All of them."""

    def __init__(self, present: Callable[[str], bool]) -> None:
        self._present = present
        self._tree: SubscriptionTree[Subscriber | Group] = SubscriptionTree()
        self._groups: dict[tuple[str, str], Group] = {}

    @property
    def count(self) -> int:
        return self._tree.count

    def add(self, session: Session, options: SubscribeFilter) -> bool:
        """Add or replace; true when it is new."""
        subscriber = Subscriber(session, options)
        shared = split_shared(options.filter)
        if shared is None:
            return self._tree.add(options.filter, session.client_id, subscriber)
        group = self._groups.get(shared)
        if group is None:
            group = self._groups[shared] = Group()
            # No client identifier can hold a NUL, so a group's name is never taken for one.
            self._tree.add(shared[1], f"\0{shared[0]}", group)
        new = session.client_id not in group.members
        group.members[session.client_id] = subscriber
        return new

    def discard(self, client_id: str, filter_: str) -> bool:
        shared = split_shared(filter_)
        if shared is None:
            return self._tree.discard(filter_, client_id)
        group = self._groups.get(shared)
        if group is None or group.members.pop(client_id, None) is None:
            return False
        if not group.members:
            del self._groups[shared]
            self._tree.discard(shared[1], f"\0{shared[0]}")
        return True

    def any(self, topic: str) -> bool:
        """Whether anybody wants ``topic``."""
        return bool(self._tree.match(topic))

    def deliveries(self, topic: str, qos: int, retain: bool, origin: str | None) -> Sequence[Delivery]:
        """Who gets a message of ``topic``: one delivery a session at the highest QoS granted [MQTT-3.3.4-2].

        ``origin`` is the publisher's client identifier, for subscriptions that want nothing of their own.
        """
        receivers = self._tree.match(topic)
        if not receivers:
            return ()
        if len(receivers) == 1 and type(receivers[0]) is Subscriber:
            only = receivers[0]
            options = only.options
            if options.no_local and only.session.client_id == origin:
                return ()
            return (Delivery(only.session, min(qos, options.qos), retain and options.retain_as_published, only.ids),)
        found: dict[str, Delivery] = {}
        out: list[Delivery] = []
        for one in receivers:
            if isinstance(one, Group):
                chosen = one.choose(self._present)
                options = chosen.options
                out.append(
                    Delivery(chosen.session, min(qos, options.qos), retain and options.retain_as_published, chosen.ids)
                )
                continue
            options = one.options
            session = one.session
            if options.no_local and session.client_id == origin:
                continue
            known = found.get(session.client_id)
            if known is None:
                known = found[session.client_id] = Delivery(
                    session, min(qos, options.qos), retain and options.retain_as_published, one.ids
                )
                out.append(known)
                continue
            known.ids = known.ids + one.ids
            known.retain = known.retain or (retain and options.retain_as_published)
            known.qos = max(known.qos, min(qos, options.qos))
        return out
