"""The one subscriber behind Mosquitto: counts PUBLISH packets of a QoS 0 subscription as cheaply as Python can.

Prints ``subscribed``, then reads a number from standard input and prints how many arrived as soon as it is that many,
or when nothing came for two seconds.
"""

import argparse
import asyncio
import sys
import time
from typing import Any

import uvloop


class Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self.count = 0
        self.last = time.monotonic()
        self.subscribed = asyncio.Event()
        self.rest = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        body = b"\x00\x04MQTT\x04\x02\x00\x00\x00\x04sink"
        transport.write(bytes([0x10, len(body)]) + body)
        body = b"\x00\x01\x00\x08relevo/#\x00"
        transport.write(bytes([0x82, len(body)]) + body)

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        at, size, count = 0, len(data), 0
        while at + 2 <= size:
            length = data[at + 1]
            end = at + 2 + length
            if length > 127:
                if at + 3 > size:
                    break
                end = at + 3 + (length & 0x7F) + (data[at + 2] << 7)
            if end > size:
                break
            kind = data[at] >> 4
            count += kind == 3
            if kind == 9:
                self.subscribed.set()
            at = end
        self.rest = data[at:]
        self.count += count
        self.last = time.monotonic()


async def run(port: int) -> None:
    loop = asyncio.get_running_loop()
    sink = Sink()
    await loop.create_connection(lambda: sink, "127.0.0.1", port)
    await asyncio.wait_for(sink.subscribed.wait(), 10)
    print("subscribed", flush=True)
    expected = int(await loop.run_in_executor(None, sys.stdin.readline))
    while sink.count < expected and time.monotonic() - sink.last < 2:
        await asyncio.sleep(0.02)
    print(sink.count, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(run(parser.parse_args().port))
