"""The load of the ingest benchmark, in a process of its own: MQTT 3.1.1 publishers at QoS 1, one JSON line of results.

Every connection is one device with its own topic. Messages are encoded before the clock runs, about 200 bytes each, all
different and all valid. Closed loop: a connection keeps ``--window`` messages in flight and sends the next one when an
acknowledgement arrives. Open loop (``--rate``): messages leave on schedule whatever the server does.

The CPU time of the process under test is read from here, at the edges of the measured span.
"""

import argparse
import asyncio
import gc
import json
import math
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import psutil
import uvloop

KEY_TO_VERIFY = "air_temperature_c"
_TICK = 0.002


def message(number: int, base_ms: int) -> bytes:
    """The payload of a device's message ``number``."""
    return (
        b'{"ts":%d,"values":{"air_temperature_c":%d.%02d,"relative_humidity_pct":%d.%d,"barometric_pressure_hpa":%d.%02d,'
        b'"illuminance_lux":%d.%d,"battery_voltage_v":3.%03d},"boot":1,"seq":%d}'
    ) % (
        base_ms + number,
        number // 100 % 60,
        number % 100,
        number % 70 + 25,
        number % 10,
        number % 60 + 970,
        number * 7 % 100,
        number * 13 % 5000,
        number % 7,
        number * 3 % 900 + 100,
        number + 1,
    )


def value_to_verify(number: int) -> float:
    """What message ``number`` says under ``KEY_TO_VERIFY``."""
    return float(f"{number // 100 % 60}.{number % 100:02d}")


def publish_packet(topic: bytes, number: int, base_ms: int) -> bytes:
    """A whole PUBLISH packet; the packet id follows from the number, so a connection's ids never collide in flight."""
    body = len(topic).to_bytes(2, "big") + topic + (number % 65_000 + 1).to_bytes(2, "big") + message(number, base_ms)
    length = len(body)
    header = bytes([0x32, length & 0x7F | 0x80, length >> 7]) if length > 127 else bytes([0x32, length])
    return header + body


@dataclass
class Span:
    """What is counted while it is open."""

    open: bool = False
    acknowledged: int = 0
    latencies: list[float] = field(default_factory=list)


class Publisher(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: "Run", number: int) -> None:
        self.run = run
        self.client = f"{run.options.prefix}-{number}"
        self.topic = f"relevo/{self.client}/telemetry".encode()
        self.packets = [publish_packet(self.topic, n, run.base_ms) for n in range(run.per_connection)]
        self.sent = 0
        self.acknowledged = 0
        self.since: deque[float] = deque()
        self.connected = asyncio.get_running_loop().create_future()
        self.rest = b""
        self.lost = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        client = self.client.encode()
        body = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(client).to_bytes(2, "big") + client
        transport.write(bytes([0x10, len(body)]) + body)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self.connected.done():
            self.connected.set_exception(ConnectionError(f"{self.client}: closed before CONNACK"))

    def data_received(self, data: bytes) -> None:
        if not self.connected.done():
            if data[0] != 0x20 or data[3]:
                self.connected.set_exception(ConnectionError(f"{self.client}: refused, {data[:4]!r}"))
                return
            self.connected.set_result(None)
            data = data[4:]
        if self.rest:
            data = self.rest + data
        count, over = divmod(len(data), 4)
        self.rest = data[-over:] if over else b""
        if not count:
            return
        run, span, since = self.run, self.run.span, self.since
        last = int.from_bytes(data[count * 4 - 2 : count * 4], "big")
        self.acknowledged += count
        if data[0] != 0x40 or last != (self.acknowledged - 1) % 65_000 + 1:
            run.wrong += 1
        now = time.perf_counter()
        if span.open:
            span.acknowledged += count
            latencies = span.latencies
            for _ in range(count):
                latencies.append(now - since.popleft())
        else:
            for _ in range(count):
                since.popleft()
        if run.closed_loop:
            self.send(count)

    def send(self, count: int) -> None:
        first, self.sent = self.sent, self.sent + count
        while len(self.packets) < self.sent:
            self.packets.append(publish_packet(self.topic, len(self.packets), self.run.base_ms))
            self.run.encoded_late += 1
        self.since.extend([time.perf_counter()] * count)
        if count == 1:
            self.transport.write(self.packets[first])
        else:
            self.transport.write(b"".join(self.packets[first : self.sent]))


class Run:
    """One measurement."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.base_ms = int(time.time() * 1000) - 600_000
        total = options.count or options.expect * (options.seconds + options.warmup)
        self.per_connection = math.ceil(total / options.connections) + options.window + 2
        self.span = Span()
        self.closed_loop = False
        self.wrong = 0
        self.encoded_late = 0

    async def measure(self) -> dict[str, Any]:
        options, loop = self.options, asyncio.get_running_loop()
        publishers = [Publisher(self, number) for number in range(options.connections)]
        for start in range(0, len(publishers), 50):
            some = publishers[start : start + 50]
            for one in some:
                await loop.create_connection(lambda one=one: one, "127.0.0.1", options.port)
            await asyncio.wait_for(asyncio.gather(*(one.connected for one in some)), 30)
        started = time.perf_counter()
        # The first message of a device may register it, which is not what is measured here.
        for one in publishers:
            one.send(1)
        await self.drained(publishers, 60)
        registered = time.perf_counter() - started
        gc.collect()
        gc.freeze()
        gc.disable()
        if options.count:
            return await self.bounded(publishers)
        open_loop: asyncio.Task[None] | None = None
        if options.rate:
            open_loop = asyncio.create_task(self.on_schedule(publishers))
        else:
            self.closed_loop = True
            for one in publishers:
                one.send(options.window)
        await asyncio.sleep(options.warmup)
        processes = [psutil.Process(pid) for pid in options.pid]
        before, own = cpu(processes), time.process_time()
        self.span.open, began = True, time.perf_counter()
        await asyncio.sleep(options.seconds)
        self.span.open, seconds = False, time.perf_counter() - began
        used, own = cpu(processes) - before, time.process_time() - own
        self.closed_loop = False
        if open_loop:
            open_loop.cancel()
        await self.drained(publishers, 20)
        latencies = sorted(self.span.latencies)
        count = self.span.acknowledged
        return self.outcome(publishers) | {
            "seconds": seconds,
            "rate": count / seconds,
            "cpu_us": used / count * 1e6 if count else math.nan,
            "cores": used / seconds,
            "generator_cores": own / seconds,
            "first_messages_seconds": registered,
            "p50_ms": latencies[len(latencies) // 2] * 1000 if latencies else math.nan,
            "p99_ms": latencies[len(latencies) * 99 // 100] * 1000 if latencies else math.nan,
        }

    async def bounded(self, publishers: list[Publisher]) -> dict[str, Any]:
        """Send ``--count`` messages in all and stop."""
        left = self.options.count - len(publishers)
        while left > 0:
            for one in publishers[: min(left, len(publishers))]:
                one.send(1)
                left -= 1
            await self.drained(publishers, 60)
        return self.outcome(publishers)

    async def on_schedule(self, publishers: list[Publisher]) -> None:
        sent, began = 0, time.perf_counter()
        while True:
            await asyncio.sleep(_TICK)
            due = int((time.perf_counter() - began) * self.options.rate)
            for number in range(sent, due):
                publishers[number % len(publishers)].send(1)
            sent = due

    async def drained(self, publishers: list[Publisher], seconds: float) -> None:
        end = time.perf_counter() + seconds
        while any(one.acknowledged < one.sent and not one.lost for one in publishers) and time.perf_counter() < end:
            await asyncio.sleep(0.005)

    def outcome(self, publishers: list[Publisher]) -> dict[str, Any]:
        step = max(1, len(publishers) // self.options.sample)
        return {
            "sent": sum(one.sent for one in publishers),
            "acknowledged": sum(one.acknowledged for one in publishers),
            "lost_connections": sum(one.lost for one in publishers),
            "out_of_order": self.wrong,
            "encoded_late": self.encoded_late,
            "message_bytes": len(message(12_345, self.base_ms)),
            "base_ms": self.base_ms,
            "sample": {one.client: one.acknowledged for one in publishers[::step][: self.options.sample]},
        }


def cpu(processes: list[psutil.Process]) -> float:
    """Seconds of CPU that these processes used so far, all threads, user and system."""
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--window", type=int, default=10, help="messages in flight per connection")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--warmup", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=0.0, help="messages/s in all, open loop; 0 is closed loop")
    parser.add_argument("--count", type=int, default=0, help="send so many messages in all and measure nothing")
    parser.add_argument("--expect", type=int, default=40_000, help="messages/s to encode beforehand")
    parser.add_argument("--prefix", default="bench")
    parser.add_argument("--pid", type=int, action="append", default=[], help="process whose CPU is measured")
    parser.add_argument("--sample", type=int, default=20, help="connections named in the result, to be verified")
    options = parser.parse_args()
    json.dump(uvloop.run(Run(options).measure()), sys.stdout)


if __name__ == "__main__":
    main()
