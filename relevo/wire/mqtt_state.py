"""What of MQTT sessions has to survive: messages on their way, and the changes that the store follows.

A change is not an event: it is not journalled and nobody watches it. It travels the road with the events of the
message that caused it, so that a queue entry is on the disk in the same commit as the reading it carries.
"""

from typing import Any, TypeAlias

import msgspec


class Message(msgspec.Struct, gc=False, array_like=True):
    """An application message. ``topic`` is UTF-8; ``expires_at`` in milliseconds UTC, 0 is never. Never changed.

    ``origin`` is the name of the principal who published it, so that a revoked one's retained messages can go.
    """

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    properties: dict[str, Any] | None = None
    expires_at: int = 0
    origin: str = ""

    @property
    def size(self) -> int:
        """Bytes that count against a queue's limit."""
        return len(self.topic) + len(self.payload)


class Outgoing(msgspec.Struct, gc=False, array_like=True):
    """One delivery of QoS 1 or 2, the ``n``-th of its session; 0 for one that is made once and not kept.

    ``packet_id`` is 0 while it waits; ``released`` once PUBREC came and PUBREL is due. ``ids`` are the subscription
    identifiers to echo.
    """

    n: int
    message: Message
    qos: int
    retain: bool
    ids: list[int]
    packet_id: int = 0
    released: bool = False


class SessionKept(msgspec.Struct, gc=False):
    """The session itself, with its subscriptions (filter and the fields of its options). ``away_since`` 0 is here."""

    client_id: str
    owner: str
    version: int
    expiry: int
    subscriptions: list[tuple[str, int, bool, bool, int, int]]
    away_since: int


class SessionForgotten(msgspec.Struct, gc=False):
    """The session ended; everything of it goes."""

    client_id: str


class Queued(msgspec.Struct, gc=False):
    """A delivery was added, or changed its place (packet identifier, released)."""

    client_id: str
    delivery: Outgoing


class Delivered(msgspec.Struct, gc=False):
    """A delivery is over."""

    client_id: str
    n: int


class IncomingKept(msgspec.Struct, gc=False):
    """A QoS 2 message was taken and waits for PUBREL."""

    client_id: str
    packet_id: int


class IncomingReleased(msgspec.Struct, gc=False):
    """PUBREL came."""

    client_id: str
    packet_id: int


class Retained(msgspec.Struct, gc=False):
    """The retained message of a topic; ``None`` is cleared."""

    topic: str
    message: Message | None


Change: TypeAlias = SessionKept | SessionForgotten | Queued | Delivered | IncomingKept | IncomingReleased | Retained
CHANGES = frozenset({SessionKept, SessionForgotten, Queued, Delivered, IncomingKept, IncomingReleased, Retained})
