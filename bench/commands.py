"""How long a command takes through the API to a board over MQTT and back, while readings are stored.

Run: ``python bench/commands.py``. The server has one core; boards, load and the one who asks have the other. Each
request is ``POST …/commands?wait=5`` and is over when the answer says ``confirmed``; its board answers at once.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench import stress  # noqa: E402
from tests.conformance.raw import connect, packet, publish, text  # noqa: E402
from tests.running import RunningServer  # noqa: E402


class Board(asyncio.Protocol):
    """A native device that does at once what it is told, as cheaply as Python can."""

    def __init__(self, name: str, key: str) -> None:
        self.name, self.key = name, key
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rest = b""
        self.next_id = 1

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(connect(self.name, user=self.name, password=self.key.encode()))
        transport.write(packet(0x82, b"\x00\x01" + text(f"relevo/{self.name}/command") + b"\x01"))

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        at = 0
        while at + 2 <= len(data):
            length, shift, body = 0, 0, at + 1
            while True:
                if body >= len(data):
                    self.rest = data[at:]
                    return
                byte = data[body]
                body += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
            end = body + length
            if end > len(data):
                break
            kind = data[at] >> 4
            if kind == 9:
                self.ready.set_result(None)
            elif kind == 3:
                self._obey(data[body:end])
            at = end
        self.rest = data[at:]

    def _obey(self, body: bytes) -> None:
        length = int.from_bytes(body[:2], "big")
        packet_id = body[2 + length : 4 + length]
        command = json.loads(body[4 + length :])
        answer = json.dumps({"id": command["id"], "ok": True}).encode()
        self.next_id = self.next_id % 65_535 + 1
        response = publish(f"relevo/{self.name}/response", answer, qos=1, packet_id=self.next_id)
        self.transport.write(b"\x40\x02" + packet_id + response)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, device: str) -> tuple[float, str]:
    """Milliseconds until the outcome, and the outcome."""
    body = b'{"name":"relay","params":{"channel":3,"state":true}}'
    begun = time.perf_counter()
    writer.write(
        f"POST /api/v1/devices/{device}/commands?wait=5 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    answer = json.loads(await reader.readexactly(length))
    return (time.perf_counter() - begun) * 1000, answer.get("state", str(answer))


async def measure(server: RunningServer, keys: dict[str, str], rate: float, seconds: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    boards = []
    for name, key in keys.items():
        _, board = await loop.create_connection(
            lambda name=name, key=key: Board(name, key), "127.0.0.1", server.mqtt_port
        )
        boards.append(board)
    await asyncio.gather(*(board.ready for board in boards))
    names, token = list(keys), server.token
    took: list[float] = []
    states: dict[str, int] = {}
    idle = [await asyncio.open_connection("127.0.0.1", server.http_port) for _ in range(8)]

    async def one(device: str) -> None:
        pair = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", server.http_port)
        ms, state = await ask(*pair, token, device)
        idle.append(pair)
        took.append(ms)
        states[state] = states.get(state, 0) + 1

    running = set()
    begun = loop.time()
    for n in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + n / rate - loop.time()))
        running.add(asyncio.create_task(one(names[n % len(names)])))
    await asyncio.gather(*running)
    for _, writer in idle:
        writer.close()
    for board in boards:
        board.transport.close()
    took.sort()
    return {
        "p50": statistics.median(took),
        "p99": took[int(len(took) * 0.99)],
        "most": took[-1],
        "states": states,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boards", type=int, default=50)
    parser.add_argument("--rate", type=float, default=200.0, help="commands a second")
    parser.add_argument("--readings", type=int, default=2_000, help="readings a second beside them")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    env = {
        "RELEVO_PROFILE": "lab",
        "RELEVO_ANONYMOUS_TOPICS": "#",
        "RELEVO_LIMITS__CONNECTIONS_PER_ADDRESS": "100000",
        "RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_USER": "0",
    }
    rows = []
    for n in range(options.rounds):
        with tempfile.TemporaryDirectory() as directory:
            prefix = ["taskset", "-c", str(stress.SERVER_CPU)]
            with RunningServer(Path(directory) / "data", env=env, prefix=prefix) as server:
                keys = {f"board-{one:03}": server.register(f"board-{one:03}") for one in range(options.boards)}
                more = {"topic": stress._CONTRACT_TOPIC, "payload": stress._CONTRACT_PAYLOAD}
                for readings in (0, options.readings):
                    if not readings:
                        rows.append((n, readings, asyncio.run(measure(server, keys, options.rate, options.seconds))))
                        continue
                    with stress.Load("calm", port=server.mqtt_port, publishers=200, rate=readings, **more) as load:
                        load.answer()
                        time.sleep(2)
                        load.tell("mark begin")
                        rows.append((n, readings, asyncio.run(measure(server, keys, options.rate, options.seconds))))
                        load.tell("mark end")
                        result = load.tell("end")
                    told = f"{result['sent']} readings sent, {result['acknowledged']} acknowledged"
                    print(f"round {n + 1}: {told}", file=sys.stderr)
    print("| round | readings/s | commands/s | p50 ms | p99 ms | most ms | outcomes |\n|---|---|---|---|---|---|---|")
    for n, readings, one in rows:
        print(
            f"| {n + 1} | {readings} | {options.rate:.0f} | {one['p50']:.1f} | {one['p99']:.1f} | {one['most']:.1f} | {one['states']} |"
        )
    for readings in (0, options.readings):
        p50 = statistics.median(one["p50"] for _, wanted, one in rows if wanted == readings)
        p99 = statistics.median(one["p99"] for _, wanted, one in rows if wanted == readings)
        print(f"median at {readings} readings/s: p50 {p50:.1f} ms (goal 10), p99 {p99:.1f} ms (goal 50)")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
