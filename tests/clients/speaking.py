"""What every third-party client is asked to do, so that one test can be held with all of them.

A class that stands for one client program says which transports and versions it can speak; what it cannot do at all is
no gap of the tests.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

SECONDS = 20.0
V31, V311, V5 = 3, 4, 5


@dataclass(frozen=True)
class Place:
    """Where the server listens. ``tls`` is 0 and ``authority`` missing without the openssl command."""

    tcp: int
    http: int
    unix: Path
    tls: int = 0
    authority: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For clients in Python: trusts the authority of the tests alone."""
        assert self.authority is not None
        return ssl.create_default_context(cafile=str(self.authority))


@dataclass(frozen=True)
class Message:
    """A message as a client hands it to its program; properties are named as in MQTT 5.0 section 2.2.2.2."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False
    properties: dict[str, Any] = field(default_factory=dict)


class Client(ABC):
    """One client program with one client identifier. ``transport`` is one of ``transports``."""

    name: ClassVar[str]
    transports: ClassVar[tuple[str, ...]]
    versions: ClassVar[tuple[int, ...]]
    # Some programs take and print only text here.
    correlation: ClassVar[bytes] = b"\x00\xff\x80-17"

    def __init__(self, place: Place, transport: str, version: int, client_id: str) -> None:
        self.place = place
        self.transport = transport
        self.version = version
        self.client_id = client_id
        self.heard: asyncio.Queue[Message] = asyncio.Queue()

    @abstractmethod
    async def connect(self, *, clean: bool = True, will: Message | None = None) -> bool | None:
        """Connect; not ``clean`` means a session that is kept for an hour.

        Returns whether the server had a session, and ``None`` where the client does not tell.
        """

    @abstractmethod
    async def subscribe(self, filter_: str, qos: int) -> None:
        """Return when the subscription is acknowledged."""

    @abstractmethod
    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, **properties: Any) -> None:
        """Return when the message is acknowledged; at QoS 0 when it was handed over."""

    @abstractmethod
    async def drop(self) -> None:
        """End the connection without DISCONNECT."""

    @abstractmethod
    async def disconnect(self) -> None:
        """End the connection with DISCONNECT."""

    @property
    def asks_for_its_will(self) -> bool:
        """Whether its :meth:`disconnect` is the DISCONNECT of version 5 that wants the will told (reason 0x04)."""
        return False

    async def next(self, seconds: float = SECONDS) -> Message:
        """The next message that arrived."""
        async with asyncio.timeout(seconds):
            return await self.heard.get()

    async def several(self, count: int) -> list[Message]:
        return [await self.next() for _ in range(count)]

    @property
    def port(self) -> int:
        """The TCP port of the transport."""
        if self.transport.startswith("ws"):
            return self.place.http
        return self.place.tls if self.transport == "tls" else self.place.tcp

    @property
    def path(self) -> str:
        """The path of a WebSocket."""
        return self.transport.removeprefix("ws")


def cut(descriptor: int) -> None:
    """End the connection behind a socket's file descriptor, as when its cable is pulled and the network notices."""
    with socket.socket(fileno=os.dup(descriptor)) as copy, contextlib.suppress(OSError):
        copy.shutdown(socket.SHUT_RDWR)
