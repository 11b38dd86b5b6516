"""A device's MQTT 3.1.1 client that keeps what was not acknowledged and sends it again.

    offline --connected--> greeting --CONNACK 0--> online --connection lost--> offline
                              \\--CONNACK 1, 2, 4, 5--> refused (for ever)

Between two attempts it waits 0.25 s, 0.5 s, 1 s … 15 s, each shortened by up to half at random so that a thousand
devices do not come back in the same moment. The session is not clean: after a reconnect every message in flight goes
out again with DUP, in the order in which it was published, before anything new.

A client can be told to lose its connection (:meth:`MqttClient.cut`), and to miss a share of the acknowledgements: it
then sends those messages again after a second, also within the connection, as older clients do.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from relevo.clock import Clock, SystemClock
from relevo.errors import RelevoError
from relevo.simulator import packets

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 15.0
_GREETING_SECONDS = 10.0
_AGAIN_S = 1.0

_REFUSALS = {
    1: "the server does not speak MQTT 3.1.1",
    2: "the server refuses this client id",
    4: "user name or password is wrong",
    5: "not authorised",
}


class ConnectionRefusedByServer(RelevoError):
    """The server answered CONNECT with a code that trying again does not mend."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where to connect and as whom. ``keep_alive`` in seconds; an empty ``username`` connects anonymously."""

    host: str
    port: int
    client_id: str
    username: str = ""
    password: str = ""
    keep_alive: int = 30
    clean: bool = False
    tls: ssl.SSLContext | None = None
    will: packets.Will | None = None


@dataclass(slots=True)
class Delivery:
    """A message under way: ``done`` becomes the seconds from publishing to PUBACK, ``times`` counts its sendings."""

    packet: bytes
    since: float
    done: asyncio.Future[float]
    times: int = 0


class MqttClient:
    """One device's connection. ``window`` is how many QoS 1 messages may wait for PUBACK at once.

    ``on_message`` sees every incoming message, ``on_connected`` every beginning of a connection, once the subscriptions
    are asked for; ``repeated`` counts messages that were sent again, ``missed`` acknowledgements that were missed on
    purpose: a share ``misses`` of them.
    """

    def __init__(
        self,
        login: Login,
        *,
        window: int = 20,
        rng: random.Random | None = None,
        clock: Clock | None = None,
        on_message: Callable[[packets.Message], None] | None = None,
        on_connected: Callable[[], None] | None = None,
        misses: float = 0.0,
    ) -> None:
        self.login = login
        self.online = asyncio.Event()
        self.repeated = 0
        self.connections = 0
        self.missed = 0
        self._misses = misses
        self._away: float | None = None
        self._rng = rng or random.Random()
        self._clock: Clock = clock or SystemClock()
        self._on_message = on_message
        self._on_connected = on_connected
        self._room = asyncio.Semaphore(window)
        self._in_flight: dict[int, Delivery] = {}
        self._filters: dict[str, int] = {}
        self._last_id = 0
        self._link: _Link | None = None
        self._refused: ConnectionRefusedByServer | None = None

    async def run(self) -> None:
        """Stay connected until cancelled; cancelling says DISCONNECT.

        Raises :class:`ConnectionRefusedByServer` when the server will never let this device in.
        """
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            link = _Link(self)
            try:
                await loop.create_connection(
                    lambda link=link: link,
                    self.login.host,
                    self.login.port,
                    ssl=self.login.tls,
                )
                async with asyncio.timeout(_GREETING_SECONDS):
                    await link.greeted.wait()
                if self.online.is_set():
                    pause = _FIRST_PAUSE
                    await self._keep_alive(link)
            except (OSError, TimeoutError):
                pass
            finally:
                link.close()
                self.online.clear()
                self._link = None
            if self._refused:
                self._fail_all(self._refused)
                raise self._refused
            if self._away is not None:
                away, self._away = self._away, None
                await asyncio.sleep(away)
                continue
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def cut(self, away: float = 0.0) -> bool:
        """Lose the connection without a good-bye and stay away for ``away`` seconds; whether there was one."""
        if self._link is None or not self.online.is_set():
            return False
        self._away = away
        self.online.clear()
        self._link.abort()
        return True

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> Delivery:
        """Send, or keep until there is a connection; waits while the window is full.

        At QoS 0 the delivery is done at once, and the message lost when there is no connection. Raises
        :class:`ConnectionRefusedByServer`, as the delivery does that was waiting when the server refused.
        """
        if self._refused:
            raise self._refused
        link = self._link if self.online.is_set() else None
        done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        if qos == 0:
            packet = packets.publish(topic, payload, 0, 0, retain)
            if link:
                await link.writable.wait()
                link.write(packet)
            done.set_result(0.0)
            return Delivery(packet, self._clock.monotonic(), done, 1 if link else 0)
        await self._room.acquire()
        if self._refused:
            self._room.release()
            raise self._refused
        packet_id = self._next_id()
        packet = packets.publish(topic, payload, qos, packet_id, retain)
        delivery = self._in_flight[packet_id] = Delivery(packet, self._clock.monotonic(), done)
        if self._link and self.online.is_set():
            self._send(self._link, delivery)
        return delivery

    def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe now and after every reconnect."""
        self._filters[topic_filter] = qos
        if self._link and self.online.is_set():
            self._link.write(packets.subscribe(self._next_id(), topic_filter, qos))

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged yet."""
        return len(self._in_flight)

    async def _keep_alive(self, link: "_Link") -> None:
        interval = self.login.keep_alive * 0.7
        while not link.lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await link.lost.wait()
                return
            if link.ping_unanswered:
                return
            link.ping()

    def _send(self, link: "_Link", delivery: Delivery) -> None:
        link.write(packets.again(delivery.packet) if delivery.times else delivery.packet)
        self.repeated += 1 if delivery.times else 0
        delivery.times += 1

    def _say_again(self, packet_id: int) -> None:
        delivery = self._in_flight.get(packet_id)
        if delivery is not None and self._link and self.online.is_set():
            self._send(self._link, delivery)

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % 65_535 + 1
            if self._last_id not in self._in_flight:
                return self._last_id

    def _fail_all(self, error: ConnectionRefusedByServer) -> None:
        while self._in_flight:
            _, delivery = self._in_flight.popitem()
            if not delivery.done.done():
                delivery.done.set_exception(error)
                # Nobody may be waiting any more; reading it once keeps asyncio from complaining at collection.
                delivery.done.exception()
            self._room.release()

    # Called by the link

    def greet(self, link: "_Link") -> None:
        """The socket is open."""
        login = self.login
        link.write(
            packets.connect(login.client_id, login.username, login.password, login.keep_alive, login.clean, login.will)
        )

    def receive(self, link: "_Link", packet: packets.Packet) -> None:
        """A complete packet arrived."""
        match packet.kind:
            case packets.PUBACK:
                packet_id = int.from_bytes(packet.body[:2], "big")
                if self._misses and packet_id in self._in_flight and self._rng.random() < self._misses:
                    self.missed += 1
                    asyncio.get_running_loop().call_later(_AGAIN_S, self._say_again, packet_id)
                    return
                delivery = self._in_flight.pop(packet_id, None)
                if delivery is not None:
                    self._room.release()
                    if not delivery.done.done():
                        delivery.done.set_result(self._clock.monotonic() - delivery.since)
            case packets.PUBLISH:
                message = packets.message(packet)
                if message.qos:
                    link.write(packets.puback(message.packet_id))
                if self._on_message:
                    self._on_message(message)
            case packets.CONNACK:
                self._connected(link, packet.body[1])
            case packets.PINGRESP:
                link.ping_unanswered = False

    def _connected(self, link: "_Link", code: int) -> None:
        link.greeted.set()
        if code:
            if code in _REFUSALS:
                self._refused = ConnectionRefusedByServer(f"{self.login.client_id}: {_REFUSALS[code]}")
            return
        self._link = link
        self.connections += 1
        for topic_filter, qos in self._filters.items():
            link.write(packets.subscribe(self._next_id(), topic_filter, qos))
        for delivery in self._in_flight.values():
            self._send(link, delivery)
        self.online.set()
        if self._on_connected:
            self._on_connected()


class _Link(asyncio.Protocol):
    """One TCP connection of a client."""

    def __init__(self, client: MqttClient) -> None:
        self.greeted = asyncio.Event()
        self.lost = asyncio.Event()
        self.writable = asyncio.Event()
        self.ping_unanswered = False
        self._client = client
        self._reader = packets.Reader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports look like asyncio's without descending from them.
        self._transport = cast(asyncio.Transport, transport)
        self.writable.set()
        self._client.greet(self)

    def data_received(self, data: bytes) -> None:
        try:
            for packet in self._reader.feed(data):
                self._client.receive(self, packet)
        except (ValueError, IndexError):
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.greeted.set()
        self.lost.set()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def write(self, data: bytes) -> None:
        """Send; what goes into a dying connection is lost, as on a real one."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.ping_unanswered = True
        self.write(packets.PINGREQ)

    def close(self) -> None:
        """Say DISCONNECT and close."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(packets.DISCONNECT)
            self._transport.close()

    def abort(self) -> None:
        """Close without a word."""
        if self._transport:
            self._transport.abort()
