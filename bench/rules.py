"""What 200 active rules cost: the rate at which readings become durable, with them and without.

    .venv/bin/python bench/rules.py                        # three rounds, two minutes
    .venv/bin/python bench/rules.py --rounds 1 --seconds 2 # a glance

The readings are those of ``bench/ingest.py``: MQTT QoS 1 from 100 connections, PUBACK only after commit and sync, closed
loop. Each is about 200 bytes with five values. The rules are what a fleet has: 20 for all devices, 60 for a tenth of
them each (by tag), 120 for a single device; thresholds with and without hysteresis and durations, silence, rates of
change, groups with and, or and not. Each device is followed by about 27 of them, and one in twenty-one is
crossed by the readings again and again; with a cooldown of five seconds it fires and clears as often. Runs with and without rules alternate, on servers of their own.

Shown are medians, and how many conditions were looked at a reading, as ``GET /api/v1/system`` counts them.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.ingest import goal, load, machine, verify  # noqa: E402
from tests.running import RunningServer  # noqa: E402

DEVICES = 100
# Key, a threshold that readings cross now and then, one that they never reach.
KEYS = (
    ("air_temperature_c", 3, 500),
    ("relative_humidity_pct", 93, 500),
    ("barometric_pressure_hpa", 1_028, 5_000),
    ("illuminance_lux", 4_980, 50_000),
    ("battery_voltage_v", 3.99, 50),
)
ALERT = {"alert": {"severity": "warning", "text": "{device}: {rule}"}}


def condition(number: int) -> dict[str, Any]:
    """One of the kinds in turn; every twenty-first crosses its threshold now and then."""
    key, near, never = KEYS[number % len(KEYS)]
    than = near if number % 21 == 0 else never
    plain: dict[str, Any] = {"key": key, "op": ">", "than": than}
    match number // len(KEYS) % 8:
        case 0 | 1 | 2:
            return {"value": plain}
        case 3:
            return {"value": plain | {"hysteresis": than / 50}}
        case 4:
            return {"value": plain | {"for_s": 30}}
        case 5:
            return {"rate": {"key": key, "per_s": 60, "op": ">", "than": never}}
        case 6:
            other = KEYS[(number + 1) % len(KEYS)]
            return {"all": [{"value": plain}, {"not": {"value": {"key": other[0], "op": "<", "than": 0}}}]}
    return {"any": [{"value": plain}, {"absent": {"for_s": 600}}]}


def prepare(server: RunningServer, prefix: str, rules: int) -> None:
    """Register the devices with their tags, and keep the rules."""
    for n in range(DEVICES):
        body = {"id": f"{prefix}-{n}", "tags": [f"tenth-{n % 10}"]}
        server.api.post("/api/v1/devices", json=body).raise_for_status()
    for n in range(rules):
        if n < rules // 10:
            scope: dict[str, Any] = {}
        elif n < rules * 4 // 10:
            scope = {"tags": [f"tenth-{n % 10}"]}
        else:
            scope = {"devices": [f"{prefix}-{n % DEVICES}"]}
        body = {"name": f"rule {n}", "condition": condition(n), "scope": scope, "actions": [ALERT], "cooldown_s": 5}
        answer = server.api.post("/api/v1/rules", json=body)
        if answer.status_code != 201:
            raise SystemExit(f"rule {n}: {answer.text}")


def run(rules: int, number: int, options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """One server, with so many rules."""
    prefix = f"d{number}r{rules}"
    environment = {"RELEVO_PROFILE": "lab"}
    with RunningServer(directory / prefix, env=environment) as server:
        prepare(server, prefix, rules)
        result = load(server.mqtt_port, prefix, options, connections=DEVICES, window=10, pid=server.pid)
        result["verified"] = verify(server, result)
        figures = server.api.get("/api/v1/system").json()["rules"]
        result |= {"evaluated": figures["evaluated"] / result["acknowledged"], "fired": figures["fired"]}
    print(
        f"{rules} rules: {result['rate']:,.0f}/s, {result['cpu_us']:.1f} us, {result['evaluated']:.1f} conditions a "
        f"reading, {result['fired']} firings",
        file=sys.stderr,
        flush=True,
    )
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rules", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=6.0, help="measured span of each run")
    parser.add_argument("--warmup", type=float, default=1.0)
    parser.add_argument("--expect", type=int, default=25_000, help="messages/s that the generator encodes beforehand")
    parser.add_argument("--directory", type=Path, help="where databases go; default a new one under the system's")
    options = parser.parse_args()
    results: dict[int, list[dict[str, Any]]] = {0: [], options.rules: []}
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="relevo-bench-") as name:
        for number in range(1, options.rounds + 1):
            for rules in results:
                results[rules].append(run(rules, number, options, Path(name)))

    def median(rules: int, what: str) -> float:
        return statistics.median(one[what] for one in results[rules])

    print(f"\n{machine()}; {options.rounds} rounds of {options.seconds:g} s\n")
    print("| Rules | readings/s | lowest-highest | CPU µs a reading | conditions a reading | firings | checked |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for rules, runs in results.items():
        rates = [one["rate"] for one in runs]
        print(
            f"| {rules} | {median(rules, 'rate'):,.0f} | {min(rates):,.0f}-{max(rates):,.0f} "
            f"| {median(rules, 'cpu_us'):,.1f} | {median(rules, 'evaluated'):,.1f} "
            f"| {sum(one['fired'] for one in runs):,} | {sum(one['verified'] for one in runs):,} |"
        )
    share = median(options.rules, "rate") / median(0, "rate")
    rate = median(options.rules, "rate")
    print("\n| Goal | wanted | seen | |\n|---|--:|--:|---|")
    print(goal(f"rate with {options.rules} rules beside none", ">= 0.7", f"{share:.2f}", share >= 0.7))
    print(goal(f"readings a second through {options.rules} rules", ">= 5,000", f"{rate:,.0f}", rate >= 5_000))
    return 0


if __name__ == "__main__":
    sys.exit(main())
