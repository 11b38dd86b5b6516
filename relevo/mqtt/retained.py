"""Retained messages (MQTT 5.0 section 3.3.1.3): the newest of each topic, kept across restarts."""

from collections.abc import Iterator

from relevo.wire.mqtt_state import Message, Retained
from relevo.wire.topics import TopicTree


class RetainedMessages:
    """All of them; every change is handed back to be committed."""

    def __init__(self, most: int) -> None:
        self._tree: TopicTree[Message] = TopicTree()
        self._most = most

    def __len__(self) -> int:
        return self._tree.count

    def load(self, kept: list[tuple[str, Message]]) -> None:
        for topic, message in kept:
            self._tree.set(topic, message)

    def keep(self, topic: str, message: Message) -> Retained | None:
        """[MQTT-3.3.1-5..7]: the newest stays, an empty one clears. ``None`` when there was nothing to change.

        Raises :class:`OverflowError` when a new topic does not fit.
        """
        if not message.payload:
            return Retained(topic, None) if self._tree.remove(topic) is not None else None
        if self._tree.count >= self._most and self._tree.get(topic) is None:
            raise OverflowError
        self._tree.set(topic, message)
        return Retained(topic, message)

    def select(self, filter_: str, now: int) -> Iterator[tuple[str, Message]]:
        """Those under ``filter_`` that have not expired, in the order of their topics."""
        for topic, message in sorted(self._tree.select(filter_), key=lambda found: found[0]):
            if not message.expires_at or message.expires_at > now:
                yield topic, message

    def purge(self, origin: str) -> list[Retained]:
        """Forget what one principal published."""
        gone = [topic for topic, message in self._tree.select("#") if message.origin == origin]
        for topic in gone:
            self._tree.remove(topic)
        return [Retained(topic, None) for topic in gone]

    def forget(self, topics: list[str]) -> list[Retained]:
        """Forget what is retained for ``topics``."""
        return [Retained(topic, None) for topic in topics if self._tree.remove(topic) is not None]

    def expired(self, now: int) -> list[Retained]:
        """Forget what has expired."""
        gone = [topic for topic, message in self._tree.select("#") if message.expires_at and message.expires_at <= now]
        for topic in gone:
            self._tree.remove(topic)
        return [Retained(topic, None) for topic in gone]
