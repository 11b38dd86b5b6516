"""What comes from a device and goes to it, byte for byte, for whoever watches at this moment.

Theory. Nothing is kept: while nobody watches, each door asks once whether :attr:`Raw.watched` is empty and that is all.
A watcher has a bounded queue, loses the oldest and is told how many. Payloads lose what has the shape of a secret;
headers, CONNECT and what a server answers to other questions than for commands are not payloads and never shown.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final, NamedTuple

from relevo.clock import Clock
from relevo.errors import TooMany
from relevo.redaction import redact

QUEUE: Final = 200
WATCHERS_MOST: Final = 50
SHOWN_BYTES: Final = 2_048
STORED: Final = "stored"
PASSED: Final = "passed"
REFUSED: Final = "refused"
SENT: Final = "sent"
NOT_REACHED: Final = "not_reached"


class Message(NamedTuple):
    """One message. ``at`` in milliseconds UTC; ``direction`` ``in`` or ``out``; ``via`` ``mqtt`` or ``http``.

    ``where`` is the topic, or method and path. ``text`` are the first :data:`SHOWN_BYTES` of ``length`` bytes in
    ``encoding`` ``utf-8`` or ``hex``. ``verdict`` is ``stored``, ``passed`` (nothing of it had to be stored),
    ``refused`` with a ``reason``, ``sent`` or ``not_reached``.
    """

    at: int
    direction: str
    via: str
    where: str
    qos: int
    retained: bool
    text: str
    encoding: str
    length: int
    verdict: str
    reason: str


class Watcher:
    """Somebody who watches one device."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._waiting: deque[Message] = deque()
        self._missed = 0
        self._ready = asyncio.Event()

    def offer(self, message: Message) -> None:
        if len(self._waiting) >= QUEUE:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(message)
        self._ready.set()

    async def take(self, seconds: float) -> tuple[list[Message], int]:
        """What came, and how many were lost before it; nothing after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            return [], 0
        self._ready.clear()
        found, missed = list(self._waiting), self._missed
        self._waiting.clear()
        self._missed = 0
        return found, missed


class Exchange:
    """One HTTP request on its way: which devices it turned out to be about, and what of it was refused."""

    def __init__(self) -> None:
        self.devices: set[str] = set()
        self.reason = ""


exchange: Final[ContextVar[Exchange | None]] = ContextVar("exchange", default=None)


class Raw:
    """One for the whole process, used on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By device; empty while nobody watches.
        self.watched: dict[str, list[Watcher]] = {}

    def watch(self, device: str) -> Watcher:
        """Begin. Raises :class:`TooMany`."""
        if sum(map(len, self.watched.values())) >= WATCHERS_MOST:
            raise TooMany(f"{WATCHERS_MOST} watch raw messages already, which is the limit", 10)
        watcher = Watcher(device)
        self.watched.setdefault(device, []).append(watcher)
        return watcher

    def end(self, watcher: Watcher) -> None:
        """Stop; harmless when it was stopped."""
        held = self.watched.get(watcher.device, [])
        if watcher in held:
            held.remove(watcher)
        if not held:
            self.watched.pop(watcher.device, None)

    def of(self, devices: Iterable[str]) -> list[str]:
        """Those of ``devices`` that somebody watches."""
        return [one for one in dict.fromkeys(devices) if one in self.watched]

    def message(
        self,
        direction: str,
        via: str,
        where: str,
        payload: bytes,
        length: int,
        verdict: str,
        reason: str = "",
        qos: int = 0,
        retained: bool = False,
    ) -> Message:
        """What is shown of one; ``payload`` may be the beginning of ``length`` bytes."""
        text, encoding = shown(payload[:SHOWN_BYTES], length > SHOWN_BYTES)
        now = self._clock.now_ms()
        return Message(now, direction, via, redact(where), qos, retained, text, encoding, length, verdict, reason)

    def show(self, devices: Iterable[str], message: Message) -> None:
        """To whoever watches one of ``devices``."""
        for device in devices:
            for watcher in self.watched.get(device, ()):
                watcher.offer(message)


def shown(payload: bytes, cut: bool) -> tuple[str, str]:
    """``payload`` as text without secrets, and its encoding. Of a ``cut`` one the last letter may be half there."""
    for less in range(4 if cut else 1):
        try:
            return redact(payload[: len(payload) - less].decode()), "utf-8"
        except UnicodeDecodeError:
            continue
    return payload.hex(), "hex"
