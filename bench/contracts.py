"""Five families of devices at once, each at its contract's own intervals: what is lost, what goes astray, how quick it is.

    .venv/bin/python bench/contracts.py                                # 100 devices of each for three minutes
    .venv/bin/python bench/contracts.py --devices 20 --seconds 30      # a glance

Each contract is simulated by a ``relevo simulate`` of its own, which an operator steers: every two seconds somebody
changes something at a device picked at random. Everything that was sent is read back. Four more thingsnxt boards post
telemetry meanwhile, each every 0.7 seconds, and their owner follows on ``/ws``: how long the answer takes, when the
message is there (both from the start of the request), and how long group commits took.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import websockets

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.ingest import machine  # noqa: E402
from tests.running import ADMIN_PASSWORD, RunningServer  # noqa: E402

CONTRACTS = ("autocore", "hidrometro", "emqx", "thingsnxt", "alchemy")
SHOWN = ("sent", "acknowledged", "missing", "unstored", "duplicated", "foreign", "strays", "told", "obeyed", "polls")
PROBES, PROBE_EVERY_S = 4, 0.7
ENV = {
    "RELEVO_PROFILE": "lab",
    "RELEVO_LIMITS__CONNECTIONS_PER_ADDRESS": "2000",
    "RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_ADDRESS": "0",
    # One person adds a hundred devices of contract thingsnxt and switches for them, in a minute.
    "RELEVO_THINGSNXT__REQUESTS_PER_MINUTE": "1000",
    # Meters say every second at QoS 0 what a row in ten seconds tells; here everything is to be found again.
    "RELEVO_HIDROMETRO__ROW_EVERY_S": "0",
}


def simulation(server: RunningServer, contract: str, devices: int, seconds: float) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "relevo", "simulate", "--contract", contract, "--devices", str(devices),
        "--duration", str(seconds), "--steer", "2", "--http", server.http, "--mqtt", f"127.0.0.1:{server.mqtt_port}",
        "--password", ADMIN_PASSWORD,
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def probe(server: RunningServer, seconds: float, after: float) -> dict[str, list[float]]:
    """Milliseconds until telemetry is answered, and until the owner's WebSocket has it; both from the request's start."""
    found: dict[str, list[float]] = {"answer": [], "WebSocket": []}
    heads = {"Authorization": f"Bearer {server.token}"}
    sent: dict[int, float] = {}
    async with httpx.AsyncClient(base_url=server.http, timeout=10) as http:
        boards = [
            (await http.post("/devices", json={"name": f"probe {n}", "type": "esp32"}, headers=heads)).json()
            for n in range(PROBES)
        ]
        own = {board["id"] for board in boards}

        async def post(board: dict[str, Any], first: int) -> None:
            begun, number = time.perf_counter(), first
            while time.perf_counter() - begun < seconds:
                body = {"device_token": board["device_token"], "data": {"probe": number}}
                sent[number] = time.perf_counter()
                (await http.post(f"/devices/{board['id']}/telemetry", json=body)).raise_for_status()
                found["answer"].append((time.perf_counter() - sent[number]) * 1000)
                number += PROBES
                await asyncio.sleep(max(0.0, begun + (number - first) / PROBES * PROBE_EVERY_S - time.perf_counter()))

        async def listen(socket: websockets.ClientConnection) -> None:
            async for text in socket:
                said = json.loads(text)
                if said["type"] == "telemetry_update" and said["device_id"] in own:
                    found["WebSocket"].append((time.perf_counter() - sent[said["data"]["probe"]]) * 1000)

        async def stay(socket: websockets.ClientConnection) -> None:
            while True:
                await asyncio.sleep(20)
                await socket.send('{"type":"ping"}')

        address = f"ws://127.0.0.1:{server.http_port}/ws"
        async with websockets.connect(address, additional_headers=heads) as socket:
            beside = [asyncio.create_task(listen(socket)), asyncio.create_task(stay(socket))]
            await asyncio.sleep(after)
            await asyncio.gather(*(post(board, n) for n, board in enumerate(boards)))
            await asyncio.sleep(1)
            for task in beside:
                task.cancel()
    assert len(found["WebSocket"]) == len(sent), "the WebSocket missed something"
    return found


def commits(server: RunningServer) -> tuple[float, dict[float, float]]:
    """How many group commits there were, and how many took at most so many seconds."""
    heads = {"Authorization": f"Bearer {server.token}"}
    text = httpx.get(f"{server.http}/metrics", headers=heads).text
    counts = {
        float(le): float(count) for le, count in re.findall(r'relevo_commit_seconds_bucket{le="(.+?)"} (.+)', text)
    }
    return counts[float("inf")], counts


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=100, help="of each contract")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--contracts", nargs="*", default=CONTRACTS)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as directory, RunningServer(Path(directory) / "data", env=ENV) as server:
        before = commits(server)
        running = {one: simulation(server, one, options.devices, options.seconds) for one in options.contracts}
        found = asyncio.run(probe(server, options.seconds, 20.0))
        after = commits(server)
        reports: dict[str, Any] = {}
        for contract, process in running.items():
            out, err = process.communicate(timeout=options.seconds + 300)
            try:
                reports[contract] = json.loads(out)
            except ValueError:
                raise SystemExit(f"{contract}: {err}") from None
    print(f"\n| contract | {' | '.join(SHOWN)} | p99 ms | poll p99 ms |\n|---|{'---|' * (len(SHOWN) + 2)}")
    for contract, report in reports.items():
        figures = " | ".join(str(report[name]) for name in SHOWN)
        print(f"| {contract} | {figures} | {report['p99_ms']} | {report['poll_p99_ms']} |")
        for problem in (*report["problems"], *report["examples"]):
            print(f"  {contract}: {problem}", file=sys.stderr)
    total = after[0] - before[0]
    print("\n| thingsnxt beside it | count | p50 ms | p99 ms | most ms |\n|---|---|---|---|---|")
    for name, values in found.items():
        row = [f"{percentile(values, one):.1f}" for one in (50, 99, 100)]
        print(f"| {name} | {len(values)} | {' | '.join(row)} |")
    for bound in (0.01, 0.02, 0.05):
        share = (after[1][bound] - before[1][bound]) / total
        print(f"group commits within {bound * 1000:g} ms: {share:.2%} of {total:.0f}")


if __name__ == "__main__":
    main()
