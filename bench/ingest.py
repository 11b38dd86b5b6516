"""How many messages a second become durable, and what one costs, beside what people would use instead.

    .venv/bin/python bench/ingest.py                        # three rounds, under four minutes
    .venv/bin/python bench/ingest.py --rounds 1 --seconds 2 # a glance

In every round, one after the other, on the same machine and with the same generator (``bench/load.py``):

- Relevo, in the lab profile, as its own process: MQTT QoS 1, PUBACK only after commit and sync. Closed loop with 100
  and 1,000 connections, then at half of the rate just seen, open loop, for latency. Afterwards every acknowledged
  message of twenty sampled devices must be found again over HTTP.
- (a) Mosquitto, every limit lifted, forwarding the same messages to one QoS 0 subscriber. It stores nothing.
- (b) paho-mqtt ``on_message`` with one SQLAlchemy ORM insert and commit a message (``bench/orm_program.py``), behind
  that Mosquitto.

CPU is user plus system of all threads of the process named, Mosquitto's own share not included in (b). All of a run
share the machine's cores: generator and Relevo in its runs; generator, Mosquitto and subscriber in (a), which on two
cores costs (a) rate but no CPU a message. Figures are medians over the rounds. Relevo's goals: at most 45 µs a message,
at least 25 times less CPU than (b), at least 0.4 of the rate of (a).
"""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.load import KEY_TO_VERIFY, value_to_verify  # noqa: E402
from tests.running import RunningServer, free_ports  # noqa: E402

WINDOWS = {100: 10, 1000: 2}
MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Failed(Exception):
    """A figure would be worth nothing: messages were lost, refused or not stored."""


def load(port: int, prefix: str, options: argparse.Namespace, *more: object, **named: object) -> dict[str, Any]:
    """Run the generator and return its result."""
    command: list[object] = [sys.executable, HERE / "load.py", "--port", port, "--prefix", prefix, *more]
    command += ["--seconds", options.seconds, "--warmup", options.warmup, "--expect", options.expect]
    for name, value in named.items():
        command += [f"--{name}", value]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, timeout=options.seconds + 180)
    if done.returncode:
        raise Failed(f"the generator ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    if result["lost_connections"] or result["out_of_order"] or result["acknowledged"] < result["sent"]:
        raise Failed(f"{prefix}: " + json.dumps({name: result[name] for name in result if name != "sample"}))
    return result


# Relevo


def relevo_round(number: int, options: argparse.Namespace, directory: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Closed loop with every number of connections, then half load, each verified."""
    environment = {"RELEVO_PROFILE": "lab"}
    with RunningServer(directory / f"relevo-{number}", env=environment) as server:
        for connections in options.connections:
            prefix = f"r{number}c{connections}"
            shape = {"connections": connections, "window": WINDOWS.get(connections, 2), "pid": server.pid}
            result = load(server.mqtt_port, prefix, options, **shape)
            result["verified"] = verify(server, result)
            yield f"relevo {connections}", result
            half = load(server.mqtt_port, f"{prefix}h", options, **shape, rate=result["rate"] / 2)
            half["verified"] = verify(server, half)
            yield f"relevo {connections} half", half


def verify(server: RunningServer, result: dict[str, Any]) -> int:
    """Read every acknowledged message of the sampled devices back; returns how many. Raises :class:`Failed`."""
    total = 0
    for device, acknowledged in result["sample"].items():
        base = result["base_ms"]
        stored = server.points(device, KEY_TO_VERIFY, base, base + acknowledged + 1)
        expected = [(base + number, value_to_verify(number)) for number in range(acknowledged)]
        if stored != expected:
            missing = len(set(expected) - set(stored))
            raise Failed(f"{device}: {acknowledged} acknowledged, {len(stored)} stored, {missing} of them missing")
        total += acknowledged
    return total


# What it is compared with


@contextmanager
def mosquitto(directory: Path) -> Iterator[tuple[int, int]]:
    """A broker of its own on a free port: (port, pid)."""
    (port,) = free_ports(1)
    configuration = directory / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
        "max_inflight_messages 0\nmax_queued_messages 0\nmax_queued_bytes 0\nlog_type error\n"
    )
    assert MOSQUITTO, "no mosquitto on this machine: apt-get install mosquitto"
    process = subprocess.Popen([MOSQUITTO, "-c", str(configuration)])
    try:
        time.sleep(0.5)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def forwarded(number: int, connections: int, options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """(a): everything to one subscriber, who must have got everything."""
    with mosquitto(directory) as (port, pid):
        command = [sys.executable, str(HERE / "sink.py"), "--port", str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sink:
            assert sink.stdin and sink.stdout
            sink.stdout.readline()
            shape = {"connections": connections, "window": WINDOWS.get(connections, 2), "pid": pid}
            result = load(port, f"m{number}c{connections}", options, **shape)
            sink.stdin.write(f"{result['sent']}\n")
            sink.stdin.flush()
            arrived = int(sink.stdout.readline())
    result["verified"] = arrived
    if arrived != result["sent"]:
        raise Failed(f"mosquitto forwarded {arrived} of {result['sent']}")
    return result


def orm(number: int, options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """(b): the ordinary program, behind Mosquitto."""
    with mosquitto(directory) as (port, _):
        command = [sys.executable, str(HERE / "orm_program.py"), "--port", str(port)]
        command += ["--database", str(directory / f"orm-{number}.db"), "--count", str(options.orm_count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout
            program.stdout.readline()
            load(port, f"o{number}", options, connections=100, count=options.orm_count)
            result: dict[str, Any] = json.loads(program.stdout.readline())
    with sqlite3.connect(directory / f"orm-{number}.db") as database:
        (rows,) = database.execute("SELECT count(*) FROM readings").fetchone()
    database.close()
    if rows != result["rows"] or not rows:
        raise Failed(f"the ordinary program counted {result['rows']} rows, its database has {rows}")
    return {
        "rate": rows / result["seconds"],
        "cpu_us": result["cpu_seconds"] / rows * 1e6,
        "cores": result["cpu_seconds"] / result["seconds"],
        "verified": rows,
    }


# Report


def table(results: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    """Medians as a Markdown table, then the goals."""

    def median(name: str, what: str) -> float:
        values = [one[what] for one in results[name] if what in one]
        return statistics.median(values) if values else float("nan")

    def cell(value: float, form: str) -> str:
        return "" if value != value else format(value, form)

    titles = {}
    for count in options.connections:
        window = WINDOWS.get(count, 2)
        titles[f"relevo {count}"] = f"Relevo, {count} connections x {window} in flight, durable"
        titles[f"relevo {count} half"] = f"Relevo, {count} connections, half load, open loop"
        titles[f"mosquitto {count}"] = f"(a) Mosquitto to one subscriber, {count} x {window}, not stored"
    titles["orm"] = "(b) paho on_message + ORM insert and commit"
    columns = "| | messages/s | lowest-highest | CPU µs a message | cores | ack p50 ms | ack p99 ms | checked |"
    lines = [columns, "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for name, title in titles.items():
        if name in results:
            rates = [one["rate"] for one in results[name]]
            lines.append(
                f"| {title} | {median(name, 'rate'):,.0f} | {min(rates):,.0f}-{max(rates):,.0f} "
                f"| {median(name, 'cpu_us'):,.1f} | {cell(median(name, 'cores'), '.2f')} "
                f"| {cell(median(name, 'p50_ms'), '.1f')} | {cell(median(name, 'p99_ms'), '.1f')} "
                f"| {sum(one['verified'] for one in results[name]):,} |"
            )
    lines += ["", "| Goal | wanted | seen | |", "|---|--:|--:|---|"]
    for count in options.connections:
        if f"relevo {count}" not in results:
            continue
        cost, rate = median(f"relevo {count}", "cpu_us"), median(f"relevo {count}", "rate")
        lines.append(goal(f"CPU a durable message, {count} connections", "<= 45 µs", f"{cost:.1f} µs", cost <= 45))
        if "orm" in results:
            ratio = median("orm", "cpu_us") / cost
            lines.append(goal(f"times less CPU than (b), {count} connections", ">= 25", f"{ratio:.0f}", ratio >= 25))
        if f"mosquitto {count}" in results:
            share = rate / median(f"mosquitto {count}", "rate")
            lines.append(goal(f"rate beside (a), {count} connections", ">= 0.4", f"{share:.2f}", share >= 0.4))
    lines += ["", "(a) shares the cores with its subscriber too: on a small machine its rate would be higher alone."]
    return "\n".join(lines)


def goal(title: str, wanted: str, seen: str, reached: bool) -> str:
    """One row of the table of goals."""
    return f"| {title} | {wanted} | {seen} | {'reached' if reached else 'MISSED'} |"


def machine() -> str:
    """Where these figures come from."""
    model = "unknown processor"
    with Path("/proc/cpuinfo").open() as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    names = ("uvloop", "msgspec", "sqlalchemy", "paho-mqtt")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    broker = (
        subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True).stdout.split("\n")[0] if MOSQUITTO else ""
    )
    return (
        f"{os.cpu_count()} x {model}, {platform.platform()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {packages}, {broker or 'no mosquitto'}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured span of each run")
    parser.add_argument("--warmup", type=float, default=1.0)
    parser.add_argument("--connections", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--expect", type=int, default=40_000, help="messages/s that the generator encodes beforehand")
    parser.add_argument("--orm-count", type=int, default=1_000, help="messages for (b)")
    parser.add_argument("--only", choices=("relevo", "mosquitto", "orm"), nargs="+", help="leave the others out")
    parser.add_argument("--directory", type=Path, help="where databases go; default a new one under the system's")
    parser.add_argument("--json", type=Path, help="also write every single result here")
    options = parser.parse_args()
    wanted = options.only or ["relevo", *(["mosquitto", "orm"] if MOSQUITTO else [])]
    if not MOSQUITTO:
        print("no mosquitto here: nothing to compare with", file=sys.stderr)
    results: dict[str, list[dict[str, Any]]] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="relevo-bench-") as name:
        directory = Path(name)
        for number in range(1, options.rounds + 1):
            if "relevo" in wanted:
                for title, result in relevo_round(number, options, directory):
                    note(results, title, result)
            if "mosquitto" in wanted:
                for connections in options.connections:
                    result = forwarded(number, connections, options, directory)
                    note(results, f"mosquitto {connections}", result)
            if "orm" in wanted:
                note(results, "orm", orm(number, options, directory))
    print(f"\n{machine()}; {options.rounds} rounds of {options.seconds:g} s, {time.monotonic() - began:.0f} s in all\n")
    print(table(results, options))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


def note(results: dict[str, list[dict[str, Any]]], title: str, result: dict[str, Any]) -> None:
    """Keep a result and say so."""
    results.setdefault(title, []).append(result)
    used = f", generator {result['generator_cores']:.2f} cores" if "generator_cores" in result else ""
    print(f"{title}: {result['rate']:,.0f}/s, {result['cpu_us']:.1f} µs{used}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
