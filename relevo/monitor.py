"""What goes over the MQTT door below one root, for whoever watches it: the last messages, and which topics there are.

Everything here is bounded; a watcher who is slow loses the oldest and nobody else feels it.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from relevo.clock import Clock

HISTORY: Final = 100
TOPICS: Final = 500
PAYLOAD_BYTES: Final = 4_096
"""Of a longer one the beginning is kept."""


class Seen(NamedTuple):
    """One message; ``at`` in milliseconds UTC."""

    at: int
    topic: str
    payload: bytes
    qos: int
    retain: bool


class Monitor:
    """One for the whole process, used on the event loop."""

    def __init__(self, prefix: str, clock: Clock) -> None:
        self._root = f"{prefix}/"
        self._clock = clock
        self.history: deque[Seen] = deque(maxlen=HISTORY)
        self.topics: OrderedDict[str, int] = OrderedDict()
        self.watchers: list[Callable[[Seen], None]] = []

    def heard(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """A message of anybody's passed the door."""
        if not topic.startswith(self._root):
            return
        seen = Seen(self._clock.now_ms(), topic, payload[:PAYLOAD_BYTES], qos, retain)
        self.history.append(seen)
        self.topics[topic] = seen.at
        self.topics.move_to_end(topic)
        if len(self.topics) > TOPICS:
            self.topics.popitem(last=False)
        for tell in list(self.watchers):
            tell(seen)

    def clear(self) -> int:
        """Forget the last messages; how many they were."""
        count = len(self.history)
        self.history.clear()
        return count
