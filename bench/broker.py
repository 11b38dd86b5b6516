"""What forwarding a message costs, beside other brokers, and what Relevo's door stands.

    .venv/bin/python bench/broker.py                      # every broker, under six minutes
    .venv/bin/python bench/broker.py --quick              # a glance, under two minutes
    .venv/bin/python bench/broker.py --only relevo mosquitto
    .venv/bin/python bench/broker.py --idle 10000 --minutes 5
    .venv/bin/python bench/broker.py --storm              # 5,000 clients return within a second, three times each
    .venv/bin/python bench/broker.py --slow               # a subscriber stops reading for 60 s

Every broker runs as its own process on one core (all its threads and processes), the load on another; each round goes
through all of them with the same load:

- Idle connections, on a fresh process: growth of resident memory a connection.
- 100 publishers to one subscriber at QoS 0 and at QoS 1 (publisher and subscriber), 200 bytes of payload. Closed loop:
  10 messages for each publisher are on their way, and a new one leaves for each that arrives, so that every broker
  runs at the rate that it can hold. At QoS 1 the subscriber acknowledges.
- The same at QoS 1 in an open loop at half of the rate just seen, for the time from publishing to arrival.
- One publisher to 500 subscribers at QoS 0, two messages on their way.

CPU is user plus system of all threads and processes of the broker, divided by the messages that arrived. Every message
must arrive; figures of a run that lost some are marked. Figures are medians over the rounds.

Relevo is set up as a plain broker here and stores nothing of this; what durable telemetry costs says
``bench/ingest.py``. Goals: at most twice the CPU of Mosquitto a message, less than every broker not written in C or Go,
at least eight times less than amqtt, at most 16 KB an idle connection.
"""

import argparse
import contextlib
import io
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench import stress  # noqa: E402
from bench.peers import PEERS, RELEVO, DidNotStart, Missing, Peer, running  # noqa: E402
from tests.running import RunningServer  # noqa: E402

PARTS = ("qos0", "qos1", "half", "fan_out", "idle")
_FACTOR_MOSQUITTO, _FACTOR_AMQTT, _KB_A_CONNECTION = 2.0, 8.0, 16.0
_FACTOR_STORM = 3.0
_ROUNDS, _ROUNDS_STORM = 2, 3
Results = dict[str, dict[str, list[dict[str, Any]]]]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Measuring


def one_round(peer: Peer, number: int, options: argparse.Namespace, directory: Path, results: Results) -> None:
    """Everything with one broker; what fails is noted and does not hide the rest."""
    place = directory / f"{peer.name}-{number}"
    found = results.setdefault(peer.name, {})

    def note(part: str, **named: Any) -> dict[str, Any]:
        what = {"qos0": "forward", "qos1": "forward", "half": "forward"}.get(part, part)
        try:
            result = stress.generate(what, **named)
        except stress.Failed as error:
            result = {"failed": str(error)}
        result["problem"] = problem(result)
        found.setdefault(part, []).append(result)
        figures = {name: round(result[name], 1) for name in ("rate", "cpu_us", "p99_ms") if name in result}
        cores = {name: round(result[name], 2) for name in ("cores", "generator_cores") if name in result}
        kb = {"kb_each": round(result["bytes_each"] / 1024, 1)} if "bytes_each" in result else {}
        say(f"{peer.name} {part}: {figures | cores | kb} {result['problem']}")
        return result

    span = {"seconds": options.seconds, "warmup": options.warmup}
    if number == 1 and "idle" in options.parts:
        with running(peer, Path(f"{place}-idle"), stress.SERVER_CPU) as broker:
            time.sleep(1)
            at = {"port": broker.port, "pid": broker.pid}
            note("idle", **at, connections=options.idle_connections, seconds=1, warmup=2)
    with running(peer, place, stress.SERVER_CPU) as broker:
        at = {"port": broker.port, "pid": broker.pid}
        closed = {"publishers": options.publishers, "window": options.window, **at, **span}
        if "qos0" in options.parts:
            note("qos0", qos=0, **closed)
        if "qos1" in options.parts:
            whole = note("qos1", qos=1, **closed)
            if "half" in options.parts and whole.get("rate"):
                note("half", qos=1, **closed, rate=whole["rate"] / 2)
        if "fan_out" in options.parts:
            note("fan_out", qos=0, subscribers=options.subscribers, **at, **(span | {"warmup": 0.5}), window=2)


def problem(result: dict[str, Any]) -> str:
    """What is wrong with a result; empty when every message arrived."""
    if "failed" in result:
        return str(result["failed"])
    found = []
    if result["lost_connections"]:
        found.append(f"{result['lost_connections']} connections lost")
    if "sent" in result:
        if result["arrived"] != result["sent"]:
            found.append(f"{result['arrived']:,} of {result['sent']:,} arrived")
        # At QoS 0 nothing is acknowledged.
        if result["acknowledged"] not in (0, result["sent"]):
            found.append(f"{result['acknowledged']:,} of {result['sent']:,} acknowledged")
    return ", ".join(found)


# Report


def median(results: Results, name: str, part: str, what: str) -> float:
    values = [one[what] for one in results.get(name, {}).get(part, []) if what in one and one[what] == one[what]]
    return statistics.median(values) if values else math.nan


def cell(value: float, form: str, mark: bool = False) -> str:
    return "" if value != value else format(value, form) + ("*" if mark else "")


def table(results: Results, versions: dict[str, str], absent: dict[str, str]) -> str:
    lines = [
        "| Broker | QoS 0: CPU µs a message | messages/s | QoS 1: CPU µs a message | messages/s "
        "| half load, QoS 1: CPU µs | arrival p99 ms | 1 to many: CPU µs a delivery | deliveries/s "
        "| KB an idle connection |",
        "|---|" + "--:|" * 9,
    ]
    troubles: list[str] = []
    for name in PEERS:
        if name in absent:
            lines.append(f"| {name} | {absent[name]} |" + " |" * 8)
            continue
        if name not in results:
            continue
        row = [f"{name} {versions[name]}"]
        for part, what, form in (
            ("qos0", "cpu_us", ",.1f"),
            ("qos0", "rate", ",.0f"),
            ("qos1", "cpu_us", ",.1f"),
            ("qos1", "rate", ",.0f"),
            ("half", "cpu_us", ",.1f"),
            ("half", "p99_ms", ",.1f"),
            ("fan_out", "cpu_us", ",.2f"),
            ("fan_out", "rate", ",.0f"),
        ):
            wrong = any(one["problem"] for one in results[name].get(part, []))
            row.append(cell(median(results, name, part, what), form, wrong))
        wrong = any(one["problem"] for one in results[name].get("idle", []))
        row.append(cell(median(results, name, "idle", "bytes_each") / 1024, ",.1f", wrong))
        lines.append("| " + " | ".join(row) + " |")
        troubles += [
            f"{name}, {part}: {one['problem']}"
            for part, several in results[name].items()
            for one in several
            if one["problem"]
        ]
    checked = sum(
        one["arrived"] for parts in results.values() for several in parts.values() for one in several if "sent" in one
    )
    lines += ["", f"{checked:,} deliveries counted." + (" Marked *:" if troubles else " Every one arrived.")]
    lines += [f"- {one}" for one in troubles]
    return "\n".join(lines)


def goals(results: Results) -> str:
    lines = ["| Goal | wanted | seen | |", "|---|--:|--:|---|"]

    def row(title: str, wanted: str, seen: str, reached: bool) -> None:
        lines.append(f"| {title} | {wanted} | {seen} | {'reached' if reached else 'MISSED'} |")

    for part, title in (("qos0", "QoS 0"), ("qos1", "QoS 1"), ("fan_out", "1 to many")):
        own = median(results, "relevo", part, "cpu_us")
        if own != own:
            continue
        for name, peer in PEERS.items():
            other = median(results, name, part, "cpu_us")
            if name == "relevo" or other != other:
                continue
            if name == "mosquitto" and part != "fan_out":
                row(
                    f"CPU a message beside Mosquitto, {title}",
                    f"<= {_FACTOR_MOSQUITTO:g} times",
                    f"{own / other:.2f}",
                    own <= other * _FACTOR_MOSQUITTO,
                )
            elif name == "amqtt" and part != "fan_out":
                row(
                    f"times less CPU than amqtt, {title}",
                    f">= {_FACTOR_AMQTT:g}",
                    f"{other / own:.1f}",
                    other >= own * _FACTOR_AMQTT,
                )
            elif not peer.compiled and part != "fan_out":
                row(f"less CPU than {name}, {title}", "< 1 times", f"{own / other:.2f}", own < other)
    each = median(results, "relevo", "idle", "bytes_each") / 1024
    if each == each:
        row("memory of an idle connection", f"<= {_KB_A_CONNECTION:g} KB", f"{each:.1f} KB", each <= _KB_A_CONNECTION)
    return "\n".join(lines)


def machine() -> str:
    """Where these figures come from."""
    model = "unknown processor"
    with Path("/proc/cpuinfo").open() as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    return (
        f"{os.cpu_count()} x {model}, {platform.platform()}; broker on core {stress.SERVER_CPU}, "
        f"load on core {stress.LOAD_CPU}"
    )


def compare(options: argparse.Namespace) -> int:
    """Every broker."""
    wanted = options.only or list(PEERS)
    rounds = options.rounds or _ROUNDS
    versions: dict[str, str] = {}
    absent: dict[str, str] = {}
    results: Results = {}
    for name in wanted:
        try:
            versions[name] = PEERS[name].install(not options.no_install)
        except Missing as problem_:
            absent[name] = str(problem_)
            say(f"{name}: {problem_}")
    began = time.monotonic()
    skipped: list[str] = []
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="relevo-bench-") as path:
        # RabbitMQ gives up root, and has to get into its own directory.
        Path(path).chmod(0o755)
        for number in range(1, rounds + 1):
            for name in wanted:
                if name in absent:
                    continue
                if time.monotonic() - began > options.minutes_in_all * 60 - 30:
                    skipped.append(f"{name} in round {number}")
                    continue
                try:
                    one_round(PEERS[name], number, options, Path(path), results)
                except DidNotStart as problem_:
                    absent[name] = f"did not start: {problem_}".replace("|", "/").replace("\n", " ")
                    say(f"{name}: {absent[name]}")
    print(f"\n{machine()}; {rounds} rounds, {time.monotonic() - began:.0f} s in all\n")
    print(table(results, versions, absent))
    if skipped:
        print(f"\nNo time left for {', '.join(skipped)}.")
    print()
    print(goals(results))
    if options.json:
        options.json.write_text(json.dumps({"versions": versions, "absent": absent, "results": results}, indent=1))
    return 0


# What the door stands


@contextlib.contextmanager
def server(directory: Path, **limits: object) -> Iterator[RunningServer]:
    """Relevo on its core, with the limits it has by default but for those on connections."""
    env = {name: RELEVO[name] for name in ("RELEVO_PROFILE", "RELEVO_ANONYMOUS_TOPICS")}
    env |= {"RELEVO_LIMITS__CONNECTIONS": "100000", "RELEVO_LIMITS__CONNECTIONS_PER_ADDRESS": "100000"}
    directory.mkdir(exist_ok=True)
    env |= {f"RELEVO_LIMITS__{name.upper()}": str(value) for name, value in limits.items()}
    one = RunningServer(directory / "data", env=env, prefix=["taskset", "-c", str(stress.SERVER_CPU)])
    try:
        yield one
    finally:
        # It prints the end of its log, which belongs in no table.
        with contextlib.redirect_stdout(io.StringIO()):
            one.stop()


def idle(options: argparse.Namespace, directory: Path) -> None:
    with server(directory) as one:
        time.sleep(1)
        result = stress.generate(
            "idle", port=one.mqtt_port, pid=one.pid, connections=options.idle, seconds=options.minutes * 60,
            warmup=2, keep_alive=60, ping=True,
        )  # fmt: skip
    print("| Idle connections, keep-alive 60 | minutes | lost | resident MB before | highest | KB a connection "
          "| CPU, % of a core | CPU µs to connect | connects/s |")  # fmt: skip
    print("|--:|" * 1 + "--:|" * 8)
    print(
        f"| {result['connections']:,} | {options.minutes:g} | {result['lost_connections']} "
        f"| {result['empty_bytes'] / 2**20:.1f} | {result['peak_bytes'] / 2**20:.1f} "
        f"| {result['peak_bytes_each'] / 1024:.1f} | {result['cores'] * 100:.1f} "
        f"| {result['connect_cpu_us']:.0f} | {result['connects_per_s']:,.0f} |"
    )


def storm(options: argparse.Namespace, directory: Path) -> None:
    """Each round goes through all cases, so that what disturbs the machine for a while disturbs one run of each."""
    cases = [
        (title, durable, rate, together)
        for title, durable in (("forwarded", False), ("telemetry, durable", True))
        for rate in options.storm_rates
        for together in (False, True)
    ]
    runs: dict[tuple[str, bool, int, bool], list[dict[str, Any]]] = {case: [] for case in cases}
    rounds = options.rounds or _ROUNDS_STORM
    for number in range(1, rounds + 1):
        for case in cases:
            title, durable, rate, together = case
            with server(directory / f"{title[:4]}-{rate}-{together}-{number}") as one:
                found = stress.storm(
                    one, clients=5_000, others=500, rate=rate, calm_s=5, durable=durable, together=together
                )
            runs[case].append(found)
            p99 = {name: round(span["p99_ms"], 1) for name, span in found["spans"].items()}
            say(f"{title}, {rate:,}/s, {'dropped at once' if together else 'returning'}, round {number}: p99 ms {p99}")
    print(
        f"Medians of {rounds} runs; the longest, lost acks and those that came back are the worst of all runs.\n\n"
        "| 5,000 return within 1 s, 500 publish QoS 1 | messages/s | calm p50 ms | calm p99 | storm p50 | storm p99 "
        "| times calm p99 | | longest ms | all dropped at once: p99 ms | longest | lost acks | back "
        "| all back after s | had to wait |"
    )
    print("|---|" + "--:|" * 6 + "---|" + "--:|" * 7)
    for (title, _, rate, together), several in runs.items():
        print(storm_row(title, rate, together, several))


def storm_row(title: str, rate: int, together: bool, runs: list[dict[str, Any]]) -> str:
    """One case of the storm over all its runs."""

    def middle(span: str, what: str) -> float:
        return statistics.median(one["spans"][span][what] for one in runs)

    def longest(span: str) -> float:
        return max(one["spans"][span]["most_ms"] for one in runs)

    calm, during = middle("calm", "p99_ms"), middle("storm", "p99_ms")
    factor = during / calm
    drop = f"{middle('drop', 'p99_ms'):.0f} | {longest('drop'):.0f}" if together else " | "
    back = min((one["storm"] for one in runs), key=lambda found: found["back"] - found["connections"])
    return (
        f"| {title} | {rate:,} | {middle('calm', 'p50_ms'):.1f} | {calm:.1f} "
        f"| {middle('storm', 'p50_ms'):.1f} | {during:.1f} | {factor:.1f} "
        f"| {'reached' if factor <= _FACTOR_STORM else 'MISSED'} | {longest('storm'):.0f} | {drop} "
        f"| {max(one['sent'] - one['acknowledged'] for one in runs)} | {back['back']:,} of {back['connections']:,} "
        f"| {statistics.median(one['storm']['all_back_s'] for one in runs):.1f} "
        f"| {statistics.median(one['delayed'] for one in runs):,.0f} |"
    )


def slow(options: argparse.Namespace, directory: Path) -> None:
    print(
        f"| Subscriber silent for {options.silent:g} s | messages/s | sent | delivered | others missed "
        "| dropped (counter) | (timeline) | unaccounted | resident MB before | highest | others' p99 ms calm "
        "| meanwhile | CPU µs a message |"
    )
    print("|---|" + "--:|" * 12)
    for title, qos, kept in (("QoS 0", 0, False), ("QoS 1", 1, False), ("QoS 1, kept session", 1, True)):
        with server(directory / f"slow-{qos}-{kept}") as one:
            found = stress.slow(one, qos=qos, seconds=options.silent, rate=5_000, kept=kept)
        print(
            f"| {title} | {found['rate']:,.0f} | {found['sent']:,} | {found['delivered']:,} "
            f"| {found['others_missed']:,} | {found['dropped']:,} | {found['told']:,} | {found['unaccounted']:,} "
            f"| {found['memory_before'] / 2**20:.1f} | {found['memory_peak'] / 2**20:.1f} "
            f"| {found['calm_p99_ms']:.1f} | {found['stalled_p99_ms']:.1f} | {found['cpu_us']:.1f} |",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round with fewer connections")
    parser.add_argument("--only", choices=PEERS, nargs="+", help="leave the others out")
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--rounds", type=int, help=f"default {_ROUNDS}, with --storm {_ROUNDS_STORM}")
    parser.add_argument("--seconds", type=float, default=2.5, help="measured span of each run")
    parser.add_argument("--warmup", type=float, default=0.8)
    parser.add_argument("--publishers", type=int, default=100)
    parser.add_argument("--window", type=int, default=10, help="messages on their way for each publisher")
    parser.add_argument("--subscribers", type=int, default=500)
    parser.add_argument("--idle-connections", type=int, default=5_000)
    parser.add_argument("--minutes-in-all", type=float, default=5.8, help="no broker is begun later than this allows")
    parser.add_argument("--no-install", action="store_true", help="leave out what is not installed")
    parser.add_argument("--directory", type=Path, help="where data goes; default a new one under the system's")
    parser.add_argument("--json", type=Path, help="also write every single result here")
    parser.add_argument("--idle", type=int, help="hold so many idle connections with one Relevo process, and no more")
    parser.add_argument("--minutes", type=float, default=5.0, help="for --idle")
    parser.add_argument("--storm", action="store_true", help="5,000 clients return while 500 publish, and no more")
    parser.add_argument("--storm-rates", type=int, nargs="+", default=[2_000])
    parser.add_argument("--slow", action="store_true", help="a subscriber stops reading, and no more")
    parser.add_argument("--silent", type=float, default=60.0, help="for --slow, seconds")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.warmup, options.idle_connections = 1, 1.0, 0.4, 1_000
    chosen = [mode for mode, asked in ((idle, options.idle), (storm, options.storm), (slow, options.slow)) if asked]
    with stress.many_files() as most:
        if max(options.idle or 0, options.idle_connections) + 100 > most:
            parser.error(f"the system allows {most:,} open files a process")
        if not chosen:
            return compare(options)
        print(f"{machine()}; relevo {PEERS['relevo'].install(False)}\n")
        for mode in chosen:
            with tempfile.TemporaryDirectory(dir=options.directory, prefix="relevo-bench-") as path:
                mode(options, Path(path))
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
