"""Does a flood of log-ins slow readings down? 1,000 wrong passwords while devices send telemetry that is stored.

Run: ``python bench/login_flood.py``. The server has one core, the load the other. Twice: as a flood really comes, when
the throttle answers most of it, and with every attempt from an address of its own, so that each one is hashed.
p99 is that of PUBACK at QoS 1, five seconds before the flood and for as long as the flood lasts; medians of the rounds.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench import stress  # noqa: E402
from tests.running import RunningServer  # noqa: E402

_GOAL = 2.0


async def flood(url: str, attempts: int, together: int, apart: bool) -> Counter[int]:
    """Statuses of ``attempts`` sign-ins, ``together`` at a time, each ``apart`` from an address of its own."""
    statuses: Counter[int] = Counter()
    numbers = iter(range(attempts))

    async def one(client: httpx.AsyncClient) -> None:
        for n in numbers:
            headers = {"X-Forwarded-For": f"203.0.{n // 250}.{n % 250 + 1}"} if apart else {}
            body = {"username": f"user-{n}", "password": "wrong-and-long-enough"}
            answer = await client.post(f"{url}/api/v1/auth/login", json=body, headers=headers)
            statuses[answer.status_code] += 1

    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        await asyncio.gather(*(one(client) for _ in range(together)))
    return statuses


def measure(directory: Path, apart: bool, options: argparse.Namespace) -> dict[str, float | Counter[int]]:
    env = {
        "RELEVO_PROFILE": "lab",
        "RELEVO_ANONYMOUS_TOPICS": "#",
        "RELEVO_LIMITS__CONNECTIONS_PER_ADDRESS": "100000",
        "RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_ADDRESS": "0",
    }
    if apart:
        env["RELEVO_TRUSTED_PROXIES"] = "127.0.0.1"
    prefix = ["taskset", "-c", str(stress.SERVER_CPU)]
    with RunningServer(directory / "data", env=env, prefix=prefix) as server:
        more = {"topic": stress._CONTRACT_TOPIC, "payload": stress._CONTRACT_PAYLOAD}
        with stress.Load("calm", port=server.mqtt_port, publishers=options.devices, rate=options.rate, **more) as load:
            load.answer()
            time.sleep(2)
            load.tell("mark calm")
            time.sleep(5)
            load.tell("mark flood")
            begun = time.monotonic()
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            statuses = asyncio.run(flood(server.http, options.attempts, options.together, apart))
            lasted = time.monotonic() - begun
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            load.tell("mark after")
            result = load.tell("end")
    spans = result["spans"]
    return {
        "calm": spans["calm"]["p99_ms"],
        "flood": spans["flood"]["p99_ms"],
        "most": spans["flood"]["most_ms"],
        "lasted": lasted,
        "lost": result["sent"] - result["acknowledged"],
        "statuses": statuses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attempts", type=int, default=1_000)
    parser.add_argument("--together", type=int, default=50)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--rate", type=float, default=1_000, help="readings a second, all devices together")
    options = parser.parse_args()
    # Whoever floods must neither take the server's core nor the time in which latencies are taken.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {stress.LOAD_CPU})
    print(f"{options.attempts:,} attempts, {options.together} at a time; {options.rate:,.0f} readings/s stored\n")
    print("| Flood | answers | s | calm p99 ms | p99 meanwhile | longest | times calm | | lost acks |")
    print("|---|---|--:|--:|--:|--:|--:|---|--:|")
    for title, apart in (("from one address", False), ("each from its own address, all hashed", True)):
        found = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(prefix="relevo-bench-") as path, stress.many_files():
                found.append(measure(Path(path), apart, options))
        calm, during, most, lasted = (
            statistics.median(float(one[name]) for one in found)  # type: ignore[arg-type]
            for name in ("calm", "flood", "most", "lasted")
        )
        answers = ", ".join(f"{count} × {status}" for status, count in sorted(found[-1]["statuses"].items()))  # type: ignore[union-attr]
        lost = sum(int(one["lost"]) for one in found)  # type: ignore[arg-type]
        factor = during / calm
        verdict = "reached" if factor <= _GOAL else "MISSED"
        print(
            f"| {title} | {answers} | {lasted:.1f} | {calm:.2f} | {during:.2f} | {most:.1f} | {factor:.1f} | {verdict} "
            f"| {lost} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
