"""The load of the broker benchmark, in a process of its own: raw MQTT 3.1.1 clients on uvloop, one JSON line of output.

Packets are encoded before the clock runs and have one size, so that the subscriber can walk over them without parsing
and the broker, not this process, is what is measured. In the closed loop a fixed number of messages is on its way:
whenever some arrive at the subscriber, as many leave from the publishers, at either QoS. In the open loop (``--rate``)
messages leave on schedule whatever the broker does, and carry the time at which they left.

CPU time and memory of the processes under test are read from here, at the edges of the measured span.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import math
import os
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import uvloop

PAYLOAD_BYTES = 200
_TICK = 0.001
_IDS = 60_000
_CONNECTING_AT_ONCE = 50
# Packets made beforehand for one publisher; more are never on their way for it.
_READY = 256
# ``IP_BIND_ADDRESS_NO_PORT`` of linux/in.h; Python has no name for it before 3.12.
_BIND_ADDRESS_NO_PORT = 24
_STAMP = struct.Struct("<d")


# Packets


def _packet(first: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | 0x80 if size else low])
        if not size:
            return bytes([first]) + length + body


def connect(client: str, keep_alive: int, clean: bool, user: str = "", password: str = "") -> bytes:
    """CONNECT of version 3.1.1, with credentials when there is a ``user``."""
    flags = (2 if clean else 0) | (0xC0 if user else 0)
    strings = [client, user, password] if user else [client]
    tail = b"".join(len(text.encode()).to_bytes(2, "big") + text.encode() for text in strings)
    return _packet(0x10, b"\x00\x04MQTT\x04" + bytes([flags]) + keep_alive.to_bytes(2, "big") + tail)


def subscribe(filter_: str, qos: int) -> bytes:
    name = filter_.encode()
    return _packet(0x82, b"\x00\x01" + len(name).to_bytes(2, "big") + name + bytes([qos]))


def publish_halves(topic: bytes, qos: int, size: int) -> tuple[bytes, bytes]:
    """What stands before the packet identifier, and a payload without the eight bytes for the time."""
    body = len(topic).to_bytes(2, "big") + topic + (b"\x00\x00" if qos else b"") + bytes(size)
    packet = _packet(0x30 | qos << 1, body)
    head = packet[: len(packet) - size - (2 if qos else 0)]
    text = b'{"air_temperature_c":21.37,"relative_humidity_pct":48.2}'
    return head, (text * (size // len(text) + 1))[: size - 8]


PINGREQ = b"\xc0\x00"


# Clients


class Client(asyncio.Protocol):
    """One connection: CONNECT, CONNACK, and then :meth:`received`."""

    def __init__(
        self, name: str, *, keep_alive: int = 0, clean: bool = True, user: str = "", password: str = ""
    ) -> None:
        self.name = name
        self.user, self.password = user, password
        self.keep_alive = keep_alive
        self.clean = clean
        self.transport: Any = None
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False
        self.closing = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(connect(self.name, self.keep_alive, self.clean, self.user, self.password))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = not self.closing
        if not self.connected.done():
            self.connected.set_exception(ConnectionError(f"{self.name}: closed before CONNACK"))

    def data_received(self, data: bytes) -> None:
        if not self.connected.done():
            if len(data) < 4 or data[0] != 0x20 or data[3]:
                self.connected.set_exception(ConnectionError(f"{self.name}: refused, {data[:4]!r}"))
                return
            self.connected.set_result(None)
            data = data[4:]
            if not data:
                return
        self.received(data)

    def received(self, data: bytes) -> None:
        """Bytes after CONNACK."""

    def close(self) -> None:
        self.closing = True
        if self.transport is not None:
            self.transport.close()


class Publisher(Client):
    """Sends to a topic of its own and counts acknowledgements.

    ``stamped`` messages carry the time at which they left; ``timed`` ones are watched until their PUBACK. ``payload``
    stands for the usual filling of ``size`` bytes where a contract wants to understand it.
    """

    def __init__(
        self,
        name: str,
        topic: str,
        qos: int,
        *,
        stamped: bool = False,
        timed: bool = False,
        payload: bytes = b"",
        size: int = PAYLOAD_BYTES,
    ) -> None:
        super().__init__(name)
        self.qos, self.stamped, self.timed = qos, stamped, timed
        self.head, tail = publish_halves(topic.encode(), qos, len(payload) or size)
        self.tail = payload or (tail if stamped else bytes(8) + tail)
        self.ready = [self._whole(number, b"") for number in range(_READY)]
        self.sent = 0
        self.acknowledged = 0
        self.since: deque[float] = deque()
        # Where latencies go while somebody measures them.
        self.latencies: list[float] | None = None
        self.rest = b""

    def _whole(self, number: int, stamp: bytes) -> bytes:
        return self.head + ((number % _IDS + 1).to_bytes(2, "big") if self.qos else b"") + stamp + self.tail

    def send(self, count: int = 1) -> None:
        first, self.sent = self.sent, self.sent + count
        if self.timed:
            self.since.extend([time.perf_counter()] * count)
        if self.stamped:
            stamp = _STAMP.pack(time.perf_counter())
            data = b"".join([self._whole(number, stamp) for number in range(first, first + count)])
        elif count == 1:
            data = self.ready[first % _READY]
        else:
            data = b"".join([self.ready[number % _READY] for number in range(first, first + count)])
        self.transport.write(data)

    def received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        count, over = divmod(len(data), 4)
        self.rest = data[-over:] if over else b""
        self.acknowledged += count
        if self.timed and count:
            now, since, latencies = time.perf_counter(), self.since, self.latencies
            for _ in range(count):
                began = since.popleft()
                if latencies is not None:
                    latencies.append(now - began)


class Subscriber(Client):
    """Counts PUBLISH packets, which are all of one size, and acknowledges them at QoS 1."""

    def __init__(
        self, name: str, filter_: str, qos: int, topic_bytes: int, *, size: int = PAYLOAD_BYTES, clean: bool = True
    ) -> None:
        super().__init__(name, clean=clean)
        self.filter, self.qos = filter_, qos
        head, _ = publish_halves(b"x" * topic_bytes, qos, size)
        self.size = len(head) + (2 if qos else 0) + size
        # First byte, then the remaining length in two bytes: 128 to 16,383.
        self.length = head[1:3]
        self.id_at = len(head)
        self.stamp_at = self.id_at + (2 if qos else 0)
        self.count = 0
        self.again = 0
        self.other = 0
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rest = b""
        self.latencies: list[float] | None = None
        self.arrived: Callable[[int], None] | None = None
        self.last = time.perf_counter()

    def subscribe(self) -> None:
        self.transport.write(subscribe(self.filter, self.qos))

    def received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        at, end, size = 0, len(data), self.size
        first, length, qos, id_at = 0x30 | self.qos << 1, self.length, self.qos, self.id_at
        latencies, stamp_at = self.latencies, self.stamp_at
        now = self.last = time.perf_counter()
        acks: list[bytes] = []
        count = 0
        while end - at >= 2:
            kind = data[at]
            # Bits 3 and 0 are DUP and RETAIN.
            if kind & 0xF6 != first or data[at + 1 : at + 3] != length:
                after = self._other(data, at)
                if after is None:
                    break
                at = after
                continue
            if end - at < size:
                break
            if kind & 8:
                self.again += 1
            else:
                count += 1
            if qos:
                acks.append(b"\x40\x02" + data[at + id_at : at + id_at + 2])
            if latencies is not None:
                latencies.append(now - _STAMP.unpack_from(data, at + stamp_at)[0])
            at += size
        self.rest = data[at:]
        if acks:
            self.transport.write(b"".join(acks))
        if count:
            self.count += count
            if self.arrived is not None:
                self.arrived(count)

    def _other(self, data: bytes, at: int) -> int | None:
        """The place behind a packet that is no ordinary delivery; ``None`` when it is not whole yet."""
        length, shift, here = 0, 0, at + 1
        while True:
            if here >= len(data):
                return None
            length |= (data[here] & 0x7F) << shift
            here += 1
            if not data[here - 1] & 0x80:
                break
            shift += 7
        if here + length > len(data):
            return None
        if data[at] >> 4 == 9:
            if data[here + 2] & 0x80:
                self.subscribed.set_exception(ConnectionError(f"{self.name}: subscription refused"))
            elif not self.subscribed.done():
                self.subscribed.set_result(None)
        elif data[at] >> 4 == 3:
            self.other += 1
        return here + length


async def dial(client: Client, port: int, source: str = "") -> None:
    """Connect, from ``source`` when there are more connections than one address has ports."""
    loop = asyncio.get_running_loop()
    if not source:
        await loop.create_connection(lambda: client, "127.0.0.1", port)
        return
    own = socket.socket()
    # The port is chosen when connecting: bind would search all those that earlier connections still hold, and take
    # milliseconds for it.
    own.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    own.setblocking(False)
    own.bind((source, 0))
    await loop.sock_connect(own, ("127.0.0.1", port))
    await loop.create_connection(lambda: client, sock=own)


async def open_all(clients: Sequence[Client], port: int, sources: Sequence[str] = (), seconds: float = 60) -> None:
    """Connect ``clients``, a few at a time, spread over the ``sources`` when these are given."""
    for start in range(0, len(clients), _CONNECTING_AT_ONCE):
        some = clients[start : start + _CONNECTING_AT_ONCE]
        for number, one in enumerate(some, start):
            await dial(one, port, sources[number % len(sources)] if sources else "")
        await asyncio.wait_for(asyncio.gather(*(one.connected for one in some)), seconds)


async def subscribe_all(subscribers: Sequence[Subscriber]) -> None:
    for start in range(0, len(subscribers), _CONNECTING_AT_ONCE):
        some = subscribers[start : start + _CONNECTING_AT_ONCE]
        for one in some:
            one.subscribe()
        await asyncio.wait_for(asyncio.gather(*(one.subscribed for one in some)), 30)


def loopback(connections: int, each: int = 1_000) -> list[str]:
    """So many source addresses that none has more than ``each`` connections."""
    return [f"127.0.0.{number}" for number in range(1, math.ceil(connections / each) + 1)]


# What is measured


class Watched:
    """The processes under test: everything below the given pid, also what it starts meanwhile."""

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid) if pid else None

    def all(self) -> list[psutil.Process]:
        return [self.root, *self.root.children(recursive=True)] if self.root else []

    def cpu(self) -> float:
        """Seconds of CPU used so far, all threads, user and system."""
        return sum(sum(one.cpu_times()[:2]) for one in self.all())

    def memory(self) -> int:
        """Resident bytes."""
        return sum(one.memory_info().rss for one in self.all())


def percentile(values: Sequence[float], part: float) -> float:
    """In milliseconds; not a number when there is nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 if ordered else math.nan


async def on_schedule(rate: float, send: Callable[[int], None]) -> None:
    """Call ``send`` with the number of each message when it is due, for ever."""
    sent, began = 0, time.perf_counter()
    while True:
        await asyncio.sleep(_TICK)
        due = int((time.perf_counter() - began) * rate)
        for number in range(sent, due):
            send(number)
        sent = due


async def quiet(done: Callable[[], bool], last: Callable[[], float], seconds: float) -> None:
    """Wait for ``done``, or until nothing has come for ``seconds``."""
    began = time.perf_counter()
    while not done() and time.perf_counter() - max(began, last()) < seconds:
        await asyncio.sleep(0.01)


class Span:
    """CPU and wall time between two moments."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self._cpu, self._own, self._wall = watched.cpu(), time.process_time(), time.perf_counter()
        self.began = self._wall

    def end(self, count: int) -> dict[str, float]:
        seconds = time.perf_counter() - self._wall
        used = self.watched.cpu() - self._cpu
        return {
            "seconds": seconds,
            "rate": count / seconds,
            "cpu_us": used / count * 1e6 if count else math.nan,
            "cores": used / seconds,
            "generator_cores": (time.process_time() - self._own) / seconds,
        }


async def forward(options: argparse.Namespace) -> dict[str, Any]:
    """Many publishers, one subscriber."""
    qos, count, stamped = options.qos, options.publishers, bool(options.rate)
    topics = [f"bench/{number:05d}/data" for number in range(count)]
    sink = Subscriber("bench-sink", "bench/#", qos, len(topics[0]))
    publishers = [Publisher(f"bench-{number:05d}", topic, qos, stamped=stamped) for number, topic in enumerate(topics)]
    await open_all([sink, *publishers], options.port)
    await subscribe_all([sink])
    watched = Watched(options.pid)
    gc.collect()
    gc.freeze()
    gc.disable()
    schedule: asyncio.Task[None] | None = None
    if options.rate:
        schedule = asyncio.create_task(on_schedule(options.rate, lambda number: publishers[number % count].send()))
    else:
        turn, owed = 0, 0

        def arrived(messages: int) -> None:
            # A publisher sends a burst when as many of its messages are due: a device that sends, not a pump.
            nonlocal turn, owed
            owed += messages
            while owed >= options.burst:
                publishers[turn].send(options.burst)
                turn = (turn + 1) % count
                owed -= options.burst

        sink.arrived = arrived
        for one in publishers:
            one.send(options.window)
    await asyncio.sleep(options.warmup)
    if stamped:
        sink.latencies = []
    before, span = sink.count, Span(watched)
    await asyncio.sleep(options.seconds)
    result: dict[str, Any] = span.end(sink.count - before)
    latencies, sink.latencies = sink.latencies or [], None
    sink.arrived = None
    if schedule is not None:
        schedule.cancel()

    def sent() -> int:
        return sum(one.sent for one in publishers)

    def acknowledged() -> int:
        return sum(one.acknowledged for one in publishers)

    await quiet(lambda: sink.count >= sent() and (not qos or acknowledged() >= sent()), lambda: sink.last, 5)
    return result | {
        "sent": sent(),
        "arrived": sink.count,
        "again": sink.again,
        "strange": sink.other,
        "acknowledged": acknowledged(),
        "lost_connections": sum(one.lost for one in (sink, *publishers)),
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
    }


async def fan_out(options: argparse.Namespace) -> dict[str, Any]:
    """One publisher, many subscribers."""
    topic = "bench/00000/data"
    publisher = Publisher("bench-publisher", topic, options.qos)
    sinks = [Subscriber(f"bench-{n:05d}", "bench/#", options.qos, len(topic)) for n in range(options.subscribers)]
    await open_all([publisher, *sinks], options.port)
    await subscribe_all(sinks)
    watched = Watched(options.pid)
    gc.collect()
    gc.freeze()
    gc.disable()
    total, owed = 0, 0

    def arrived(messages: int) -> None:
        nonlocal total, owed
        total += messages
        owed += messages
        while owed >= len(sinks):
            owed -= len(sinks)
            publisher.send()

    for one in sinks:
        one.arrived = arrived
    publisher.send(options.window)
    await asyncio.sleep(options.warmup)
    before, span = total, Span(watched)
    await asyncio.sleep(options.seconds)
    result: dict[str, Any] = span.end(total - before)
    for one in sinks:
        one.arrived = None

    def count() -> int:
        return sum(one.count for one in sinks)

    await quiet(lambda: count() >= publisher.sent * len(sinks), lambda: max(one.last for one in sinks), 5)
    return result | {
        "sent": publisher.sent * len(sinks),
        "arrived": count(),
        "again": sum(one.again for one in sinks),
        "strange": sum(one.other for one in sinks),
        "acknowledged": publisher.acknowledged * len(sinks),
        "lost_connections": sum(one.lost for one in (publisher, *sinks)),
    }


async def idle(options: argparse.Namespace) -> dict[str, Any]:
    """Connections that only say that they are alive."""
    clients = [Client(f"idle-{number:05d}", keep_alive=options.keep_alive) for number in range(options.connections)]
    watched = Watched(options.pid)
    empty = watched.memory()
    span = Span(watched)
    await open_all(clients, options.port, loopback(options.connections))
    opened = span.end(len(clients))
    await asyncio.sleep(options.warmup)
    memory = [watched.memory()]
    span = Span(watched)
    began = time.perf_counter()
    pings = 0
    if options.ping:
        # Every client at half of its keep-alive, as ordinary client libraries do at the latest.
        task = asyncio.create_task(
            on_schedule(
                len(clients) / (options.keep_alive / 2), lambda n: clients[n % len(clients)].transport.write(PINGREQ)
            )
        )
        pings = 1
    while (left := options.seconds - (time.perf_counter() - began)) > 0:
        await asyncio.sleep(min(left, 1))
        memory.append(watched.memory())
    result: dict[str, Any] = span.end(len(clients))
    if pings:
        task.cancel()
    return result | {
        "connections": len(clients),
        "lost_connections": sum(one.lost for one in clients),
        "empty_bytes": empty,
        "peak_bytes": max(memory),
        "bytes_each": (memory[-1] - empty) / len(clients),
        "peak_bytes_each": (max(memory) - empty) / len(clients),
        "connect_cpu_us": opened["cpu_us"],
        "connects_per_s": opened["rate"],
    }


class Commands:
    """Lines from whoever started this process; what they cause is answered line by line."""

    async def next(self) -> list[str]:
        line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        return line.split() or ["end"]

    @staticmethod
    def answer(found: dict[str, Any]) -> None:
        print(json.dumps(found), flush=True)


async def calm(options: argparse.Namespace) -> dict[str, Any]:
    """Those whom a storm must not disturb: QoS 1 on schedule, every message's way to its PUBACK measured.

    ``mark NAME`` begins a span whose latencies are kept under that name, ``end`` ends everything.
    """
    # Not to be delayed by the storm's own process, with which it shares a core.
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    count = options.publishers
    payload = options.payload.encode()
    publishers = [
        Publisher(name, options.topic.replace("{}", name), 1, timed=True, payload=payload)
        for name in (f"calm-{number:05d}" for number in range(count))
    ]
    await open_all(publishers, options.port)
    # The first message of a device may register it.
    for one in publishers:
        one.send()
    await quiet(lambda: all(one.acknowledged for one in publishers), lambda: 0.0, 30)
    gc.collect()
    gc.freeze()
    gc.disable()
    schedule = asyncio.create_task(on_schedule(options.rate, lambda number: publishers[number % count].send()))
    spans: dict[str, list[float]] = {}
    commands = Commands()
    commands.answer({"ready": True})
    while (command := await commands.next())[0] != "end":
        kept = spans.setdefault(command[1], [])
        for one in publishers:
            one.latencies = kept
        commands.answer({"marked": command[1]})
    schedule.cancel()
    for one in publishers:
        one.latencies = None
    end = time.perf_counter() + 20
    while any(one.acknowledged < one.sent for one in publishers) and time.perf_counter() < end:
        await asyncio.sleep(0.01)
    return {
        "sent": sum(one.sent for one in publishers),
        "acknowledged": sum(one.acknowledged for one in publishers),
        "lost_connections": sum(one.lost for one in publishers),
        "spans": {
            name: {
                "messages": len(kept),
                "p50_ms": percentile(kept, 0.5),
                "p99_ms": percentile(kept, 0.99),
                "most_ms": percentile(kept, 1.0),
            }
            for name, kept in spans.items()
        },
    }


async def storm(options: argparse.Namespace) -> dict[str, Any]:
    """Thousands of clients that lose their connections and are all back within ``--seconds``.

    ``drop`` closes all connections in the same instant; ``return`` opens them again, spread evenly, closing before
    whatever is still open: a client that comes back through another radio cell.
    """
    names = [f"storm-{number:05d}" for number in range(options.connections)]
    sources = loopback(len(names))
    before = [Client(name, keep_alive=60) for name in names]
    await open_all(before, options.port, sources)
    commands = Commands()
    commands.answer({"ready": True})
    while (await commands.next())[0] == "drop":
        for one in before:
            one.close()
        commands.answer({"dropped": True})
    began = time.perf_counter()
    waited: list[float] = []
    failed: list[str] = []
    after: list[Client] = []

    async def come_back(number: int, name: str) -> None:
        await asyncio.sleep(number / len(names) * options.seconds)
        since = time.perf_counter()
        before[number].close()
        one = Client(name, keep_alive=60)
        after.append(one)
        try:
            await dial(one, options.port, sources[number % len(sources)])
            await asyncio.wait_for(asyncio.shield(one.connected), 60)
        except (OSError, TimeoutError) as error:
            failed.append(f"{name}: {error}")
        else:
            waited.append(time.perf_counter() - since)

    await asyncio.gather(*(come_back(number, name) for number, name in enumerate(names)))
    took = time.perf_counter() - began
    commands.answer({"over": True})
    await commands.next()
    return {
        "connections": len(names),
        "back": len(waited),
        "failed": failed[:5],
        "lost_connections": sum(one.lost for one in after),
        "all_back_s": took,
        "p50_ms": percentile(waited, 0.5),
        "p99_ms": percentile(waited, 0.99),
    }


async def slow(options: argparse.Namespace) -> dict[str, Any]:
    """One of several subscribers stops reading for ``--seconds`` under load and comes back afterwards."""
    loop = asyncio.get_running_loop()
    qos, count = options.qos, options.publishers
    topics = [f"bench/{number:05d}/data" for number in range(count)]
    publishers = [
        Publisher(f"bench-{n:05d}", topic, qos, stamped=True, size=options.size) for n, topic in enumerate(topics)
    ]
    others = [
        Subscriber(f"other-{n}", "bench/#", qos, len(topics[0]), size=options.size) for n in range(options.subscribers)
    ]
    stalled = Subscriber("stalled", "bench/#", qos, len(topics[0]), size=options.size, clean=not options.kept)
    # As little as a board has; the kernel would otherwise take megabytes for it.
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    small.setblocking(False)
    await loop.sock_connect(small, ("127.0.0.1", options.port))
    await loop.create_connection(lambda: stalled, sock=small)
    await asyncio.wait_for(stalled.connected, 10)
    await open_all([*others, *publishers], options.port)
    await subscribe_all([stalled, *others])
    watched = Watched(options.pid)
    gc.collect()
    gc.freeze()
    gc.disable()
    spans: dict[str, list[float]] = {"calm": [], "stalled": []}

    def measure(name: str) -> None:
        for one in others:
            one.latencies = spans[name]

    memory: list[int] = []
    schedule = asyncio.create_task(on_schedule(options.rate, lambda number: publishers[number % count].send()))
    await asyncio.sleep(options.warmup)
    measure("calm")
    await asyncio.sleep(max(1.0, min(10.0, options.seconds / 2)))
    memory.append(watched.memory())
    stalled.transport.pause_reading()
    measure("stalled")
    span, before = Span(watched), sum(one.sent for one in publishers)
    end = time.perf_counter() + options.seconds
    while time.perf_counter() < end:
        await asyncio.sleep(0.25)
        memory.append(watched.memory())
    used = span.end(sum(one.sent for one in publishers) - before)
    for one in others:
        one.latencies = None
    schedule.cancel()
    stalled.transport.resume_reading()
    sent = sum(one.sent for one in publishers)
    sinks = [stalled, *others]
    await quiet(lambda: all(one.count >= sent for one in sinks), lambda: max(one.last for one in sinks), 3)
    return {
        "sent": sent,
        "acknowledged": sum(one.acknowledged for one in publishers),
        "rate": used["rate"],
        "cpu_us": used["cpu_us"],
        "delivered": stalled.count,
        "again": stalled.again,
        "others": [one.count for one in others],
        "lost_connections": sum(one.lost for one in (*sinks, *publishers)),
        "memory_before": memory[0],
        "memory_peak": max(memory),
        **{f"{name}_p99_ms": percentile(kept, 0.99) for name, kept in spans.items()},
        **{f"{name}_most_ms": percentile(kept, 1.0) for name, kept in spans.items()},
    }


async def reconnect(options: argparse.Namespace) -> dict[str, Any]:
    """All clients come, are cut off together, and come again, ``--rounds`` times after the first.

    ``--credentials`` names a JSON file of ``[client id, user name, password]``; an empty user name sends none. A span
    ends when the server has been idle for a while, so what it does after CONNACK counts too.
    """
    known = json.loads(Path(options.credentials).read_text())
    sources = loopback(len(known))
    watched = Watched(options.pid)
    spans: list[dict[str, float]] = []
    for _ in range(options.rounds + 1):
        clients = [Client(name, keep_alive=60, user=user, password=password) for name, user, password in known]
        gc.collect()
        span = Span(watched)
        await open_all(clients, options.port, sources)
        took = time.perf_counter()
        await _idle(watched)
        spans.append(span.end(len(clients)) | {"all_back_s": took - span.began})
        lost = sum(one.lost for one in clients)
        if lost:
            raise ConnectionError(f"{lost} connections were lost")
        for one in clients:
            one.close()
        await _idle(watched)
    return {"first": spans[0], "rounds": spans[1:]}


async def _idle(watched: Watched) -> None:
    """Wait until the processes have used hardly any CPU for half a second."""
    while True:
        before = watched.cpu()
        await asyncio.sleep(0.5)
        if watched.cpu() - before <= 0.01:
            return


MODES = {one.__name__: one for one in (forward, fan_out, idle, calm, storm, slow, reconnect)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MODES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, default=0, help="process whose CPU and memory are measured")
    parser.add_argument("--qos", type=int, choices=(0, 1), default=0)
    parser.add_argument("--publishers", type=int, default=100)
    parser.add_argument("--subscribers", type=int, default=500)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--window", type=int, default=10, help="messages on their way for each publisher")
    parser.add_argument("--burst", type=int, default=1, help="messages that a publisher sends at a time")
    parser.add_argument("--rate", type=float, default=0.0, help="messages/s in all, open loop; 0 is closed loop")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warmup", type=float, default=1.0)
    parser.add_argument("--keep-alive", type=int, default=600)
    parser.add_argument("--ping", action="store_true", help="idle clients send PINGREQ at half of their keep-alive")
    parser.add_argument("--size", type=int, default=PAYLOAD_BYTES, help="bytes of payload for the slow, 200 to 16,000")
    parser.add_argument("--kept", action="store_true", help="the stalled subscriber has a session that is kept")
    parser.add_argument("--topic", default="bench/{}/data", help="topic of the calm; {} is the client")
    parser.add_argument("--payload", default="", help="payload of the calm; 200 bytes of filling by default")
    parser.add_argument("--credentials", default="", help="JSON file of those who reconnect")
    parser.add_argument("--rounds", type=int, default=3, help="how often they reconnect")
    options = parser.parse_args()
    print(json.dumps(uvloop.run(MODES[options.what](options))), flush=True)
    # Threads that wait for standard input, and sockets that nobody closed, are nobody's business any more.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
