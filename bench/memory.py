"""How little space readings take, how fast they come back, and what moving them there costs.

    .venv/bin/python bench/memory.py                    # 3 days of 100 devices (13 million points), 30 days of one more
    .venv/bin/python bench/memory.py --days 1 --seconds 10

Every device sends five keys in one message every 10 s, ±20 ms: two climate values (walks with two and with one decimal),
a counter, a relay, a text. The readings go through the store's writer in groups of 20, and whenever the journal's tail
is as long as the running server allows, it is compacted by the code that the server's process runs, into the same
database. Then all of it is re-packed.

- *At rest* are the pages of tables and indexes of chunks, times and series (``dbstat``), free space inside of them
  included, without the journal. A kind's share is its own chunks, a fifth of the rows of times, and as much of what is
  around them as they are of all bytes.
- *Reading* is the store's own function in a process like the one the server asks, for one series while all of the others
  are there; 30 days also through a running server, page by page.
- *Compaction* is CPU of one core for reading the journal, making the chunks and writing them.
- *Against others*: the same points in rows of SQLite and PostgreSQL, in Parquet and in VictoriaMetrics
  (:mod:`bench.peers`), also real ones (:mod:`bench.real`).
- *Commits while it runs*: a server that finds 3 million values to compact takes messages of MQTT QoS 1 meanwhile, at a
  fixed rate; then the same when it has caught up. Shown is how long group commits took, from ``relevo_commit_seconds``,
  whose bounds make these upper limits.
"""

import argparse
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench import peers, real  # noqa: E402
from bench.ingest import load, machine  # noqa: E402
from relevo.domain.events import TelemetryReceived  # noqa: E402
from relevo.settings.table import History  # noqa: E402
from relevo.store.db import FILE_NAME, open_reader  # noqa: E402
from relevo.store.history import chunks, compaction, rolling, rollups, worker  # noqa: E402
from relevo.store.history.chunks import Step  # noqa: E402
from relevo.store.history.openers import open_points  # noqa: E402
from relevo.store.history.series import read  # noqa: E402
from relevo.store.schema import prepare  # noqa: E402
from relevo.store.writer import Batch, Writer  # noqa: E402
from tests.running import RunningServer  # noqa: E402
from tests.store.samples import registered  # noqa: E402

DAY = 86_400_000
TAIL_EVENTS = History().tail_events
EVERY = 10_000
END = 1_767_225_600_000
KEYS = {
    "temperature_c": "climate, 2 decimals",
    "humidity_pct": "climate, 1 decimal",
    "energy_wh": "counter",
    "relay": "relay",
    "state": "text",
}
STATES = ("idle", "heating", "cooling", "standby")
ROWS = 400
ROLL_ROWS = 40


class Device:
    """What one device sends."""

    def __init__(self, number: int) -> None:
        self.name = f"device-{number:03}"
        self._chance = random.Random(number)
        self._phase = self._chance.randrange(EVERY)
        self._temperature, self._humidity, self._energy = 2_150, 455, 10_000 * number
        self._relay, self._state = False, "idle"

    def reading(self, at: int) -> TelemetryReceived:
        chance = self._chance
        self._temperature += chance.choice((-2, -1, -1, 0, 0, 0, 1, 1, 2))
        self._humidity += chance.choice((-1, 0, 0, 0, 1))
        self._energy += chance.randrange(6)
        if chance.random() < 1 / 180:
            self._relay = not self._relay
        if chance.random() < 1 / 360:
            self._state = chance.choice(STATES)
        values = {
            "temperature_c": self._temperature / 100,
            "humidity_pct": self._humidity / 10,
            "energy_wh": self._energy,
            "relay": self._relay,
            "state": self._state,
        }
        ts = at + self._phase + chance.randint(-20, 20)
        return TelemetryReceived(self.name, ts, "device", ts + 15, values)


class Store:
    """A database, its writer, and compaction as the server does it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        prepare(path)
        self.writer = Writer(path, 10, 10)
        self.writer.open()
        self.reader = open_reader(path)
        self.written: list[float] = []
        self.rolled: list[float] = []
        self.cpu = 0.0
        self.points = 0

    def commit(self, events: list[Any]) -> None:
        self.writer.write(Batch(events), END)

    def compact(self) -> None:
        began = time.process_time()
        for step in compaction.steps(self.reader, compaction.read_range(self.reader), lambda: ROWS):
            self._write(step)
            self.points += step.points
        self.cpu += time.process_time() - began

    def repack(self) -> None:
        for (device,) in self.reader.execute("SELECT number FROM devices").fetchall():
            while (unit := compaction.repack(self.reader, device, ROWS)) is not None:
                found = chunks.progress(self.reader)
                self._write(Step(found, found, [unit]))

    def roll(self, zone: str = "America/Sao_Paulo") -> float:
        """Make all roll-ups; seconds of CPU."""
        began, after = time.process_time(), 0
        while True:
            step, after = rolling.next_step(self.reader, zone, after, ROLL_ROWS)
            if step is None:
                return time.process_time() - began
            written = time.perf_counter()
            self.writer.maintain(lambda connection, step=step: rollups.commit(connection, step))
            self.rolled.append(time.perf_counter() - written)

    def _write(self, step: Step) -> None:
        began = time.perf_counter()
        self.writer.maintain(lambda connection: chunks.commit(connection, step))
        self.written.append(time.perf_counter() - began)

    def tail(self) -> int:
        return self.writer.next_seq - 1 - chunks.progress(self.reader).low

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


def fill(store: Store, devices: list[Device], days: float, compacting: bool = True) -> int:
    """Readings up to ``END``; how many."""
    store.commit([registered(device.name) for device in devices])
    waiting: list[Any] = []
    total = 0
    for at in range(END - int(days * DAY), END, EVERY):
        for device in devices:
            waiting.append(device.reading(at))
            if len(waiting) == 20:
                store.commit(waiting)
                total += len(waiting)
                waiting = []
        if compacting and store.tail() >= TAIL_EVENTS:
            store.compact()
            store.writer.checkpoint()
    if waiting:
        store.commit(waiting)
        total += len(waiting)
    if compacting:
        store.compact()
    return total


# At rest


def at_rest(connection: sqlite3.Connection) -> dict[str, Any]:
    """Bytes a point, of everything and by kind."""
    pages = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    whole = sum(
        pages.get(name, 0) for name in ("chunks", "chunks_series", "times", "series", "sqlite_autoindex_series_1")
    )
    times = connection.execute("SELECT sum(length(data)) FROM times").fetchone()[0]
    kinds: dict[str, tuple[int, int]] = {}
    for key, size, points in connection.execute(
        "SELECT key, sum(length(data)), sum(n) FROM chunks JOIN series ON series.id = chunks.series GROUP BY key"
    ):
        kinds[key] = (size, points)
    points = sum(of for _, of in kinds.values())
    around = whole / (sum(size for size, _ in kinds.values()) + times)
    found: dict[str, Any] = {
        KEYS[key]: (size + times * of / points) * around / of for key, (size, of) in kinds.items() if key in KEYS
    }
    found["all"] = whole / points
    found["times"] = times / points
    found["around"] = around
    found["chunks"], found["each"] = connection.execute("SELECT count(*), avg(n) FROM chunks").fetchone()
    return found


def rest_table(before: dict[str, Any], after: dict[str, Any]) -> str:
    lines = ["| Bytes a point at rest | compacted | re-packed |", "|---|--:|--:|"]
    for name in (*KEYS.values(), "all"):
        lines.append(f"| {name} | {before[name]:.2f} | {after[name]:.2f} |")
    lines.append(f"| of that: bytes of times | {before['times']:.2f} | {after['times']:.2f} |")
    lines.append(f"| pages over bytes in them | {before['around']:.2f} | {after['around']:.2f} |")
    lines.append(f"| points a chunk | {before['each']:.0f} | {after['each']:.0f} |")
    return "\n".join(lines)


def rolled_up(store: Store, points: int) -> str:
    """What hours and days add."""
    cpu = store.roll()
    pages = dict(store.reader.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    size = sum(pages.get(name, 0) for name in ("rollups", "rollups_series", "marks", "stale", "stale_series"))
    hours, held = store.reader.execute("SELECT sum(n), sum(length(data)) FROM rollups WHERE step = 3600").fetchone()
    return (
        f"Roll-ups: {size / points:.3f} bytes a raw point, {held / hours:.1f} an hour of a series; made in {cpu:.1f} s "
        f"of CPU, longest transaction {max(store.rolled) * 1e3:.1f} ms.\n"
    )


# Reading


def timed(call: Callable[[], Any], times: int = 15) -> tuple[float, Any]:
    """Median milliseconds, and what it gave."""
    found, took = None, []
    for _ in range(times):
        began = time.perf_counter()
        found = call()
        took.append((time.perf_counter() - began) * 1_000)
    return statistics.median(took), found


def reading(store: Store, days: float) -> Iterator[str]:
    """Lines of the table."""
    since = dict(store.reader.execute("SELECT id, registered_seq FROM devices"))
    worker.spare_the_collector()

    def page(device: str, key: str, begin: int, end: int) -> int:
        return len(read(store.reader, open_points, device, key, begin, end, 1_000_000, None, since[device]).points)

    for key in KEYS:
        took, count = timed(lambda key=key: page("device-007", key, END - DAY, END))
        yield f"| one day, {KEYS[key]} | {count:,} | {took:.1f} |"
    took, count = timed(lambda: page("device-999", "temperature_c", END - 30 * DAY, END), 5)
    yield f"| 30 days, {KEYS['temperature_c']} | {count:,} | {took:.0f} |"


# Beside ingest


def commits(server: RunningServer) -> dict[float, float]:
    """How many commits took at most so many seconds, so far."""
    lines = server.api.get("/metrics").text.splitlines()
    found = {}
    for line in lines:
        if line.startswith("relevo_commit_seconds_bucket"):
            found[float(line.split('le="')[1].split('"')[0])] = float(line.split()[-1])
    return found


def metric(server: RunningServer, name: str) -> float:
    lines = server.api.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[1])


def quantile(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The bound under which this share of the commits between two moments was, in milliseconds."""
    gone = {bound: after[bound] - before.get(bound, 0) for bound in after}
    total = gone[float("inf")]
    return next(bound for bound, count in sorted(gone.items()) if count >= share * total) * 1_000


def beside(directory: Path, options: argparse.Namespace) -> Iterator[str]:
    directory.mkdir()
    store = Store(directory / FILE_NAME)
    fill(store, [Device(number) for number in range(100)], 0.7, compacting=False)
    store.close()
    with RunningServer(directory, env={"RELEVO_PROFILE": "lab"}) as server:
        options.warmup, options.expect = 1, 200
        for name in ("compacting", "caught up"):
            begun, points = commits(server), metric(server, "relevo_history_points_total")
            result = load(
                server.mqtt_port, name[:3], options, connections=100, window=10, pid=server.pid, rate=options.rate
            )
            ended, moved = commits(server), metric(server, "relevo_history_points_total") - points
            longest = metric(server, "relevo_history_longest_seconds") * 1_000
            yield (
                f"| {name} | {result['rate']:,.0f} | {moved / options.seconds:,.0f} | "
                f"≤ {quantile(begun, ended, 0.5):g} | ≤ {quantile(begun, ended, 0.99):g} | {longest:.1f} | "
                f"{result['p50_ms']:.1f} | {result['p99_ms']:.1f} |"
            )
            while metric(server, "relevo_history_tail_events") >= TAIL_EVENTS:
                time.sleep(0.5)
        begun_at, pages, after = time.perf_counter(), 0, None
        while True:
            query: dict[str, Any] = {"limit": 10_000} | ({"cursor": after} if after else {})
            answer = server.api.get("/api/v1/devices/device-007/telemetry/temperature_c", params=query).json()
            pages += len(answer["points"])
            after = answer["next"]
            if not after:
                break
        yield f"\n{pages:,} points over HTTP, page by page: {(time.perf_counter() - begun_at) * 1_000:.0f} ms."


def keeping_up(directory: Path, options: argparse.Namespace) -> Iterator[str]:
    """Whether what arrives at a rate leaves the journal at that rate, and how much of a core that takes."""
    for rate in options.rates:
        place = directory / str(rate)
        place.mkdir(parents=True)
        with RunningServer(place / "data", env={"RELEVO_PROFILE": "lab"}) as server:
            options.warmup, options.expect = 1, 200
            tails: list[float] = []
            done = threading.Event()

            def watch(server: RunningServer = server, tails: list[float] = tails, done: threading.Event = done) -> None:
                while not done.wait(1):
                    tails.append(metric(server, "relevo_history_tail_events"))

            watcher = threading.Thread(target=watch)
            watcher.start()
            result = load(server.mqtt_port, f"k{rate}", options, connections=100, window=20, pid=server.pid, rate=rate)
            ended = metric(server, "relevo_history_tail_events")
            since = time.perf_counter()
            while metric(server, "relevo_history_tail_events") >= TAIL_EVENTS and time.perf_counter() - since < 120:
                time.sleep(0.2)
            after = time.perf_counter() - since
            done.set()
            watcher.join()
            yield (
                f"| {rate:,} | {result['rate']:,.0f} | {max(tails):,.0f} | {ended:,.0f} | {after:.1f} | "
                f"{result['p50_ms']:.1f} | {result['p99_ms']:.1f} |"
            )


# Against others


def signals(days: float, devices: int = 20) -> list[peers.Signals]:
    """What everybody is given: the devices of this benchmark, one that sends a single key, and real readings."""
    senders = [Device(number) for number in range(devices)]
    made = [
        (number, one.ts, one.values)
        for at in range(END - int(days * DAY), END, EVERY)
        for number, one in enumerate(device.reading(at) for device in senders)
    ]
    alone = [(device, ts, {"temperature_c": values["temperature_c"]}) for device, ts, values in made]
    found = [
        peers.Signals("simulated", made, KEYS),
        peers.Signals("a key alone", alone, {"temperature_c": KEYS["temperature_c"]}),
    ]
    for name, readings in (("office", real.office()), ("Seattle, hourly", real.seattle())):
        if readings:
            keys = {key: key for key in readings[0][1]}
            found.append(peers.Signals(name, list(real.replayed(readings, devices)), keys))
        else:
            print(f"No data: {name}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--skip-server", action="store_true")
    parser.add_argument("--skip-peers", action="store_true")
    parser.add_argument(
        "--rates", type=int, nargs="*", default=[2_000, 5_000, 10_000], help="messages/s to keep up with"
    )
    parser.add_argument("--peer-days", type=float, default=3, help="days of 20 devices that others are given, too")
    options = parser.parse_args()
    print(f"{machine()}\n")
    place = Path(tempfile.mkdtemp(prefix="relevo-memory-"))
    try:
        store = Store(place / FILE_NAME)
        fill(store, [Device(number) for number in range(100)], options.days)
        cpu, points = store.cpu, store.points
        written = sorted(store.written)
        before = at_rest(store.reader)
        store.repack()
        after = at_rest(store.reader)
        print(f"{points:,} points of 100 devices, {options.days:g} days\n\n{rest_table(before, after)}\n")
        print(f"Compaction: {points / cpu:,.0f} points/s on one core.")
        slow = written[int(len(written) * 0.99)]
        print(f"Transactions of {ROWS} rows: p50 {written[len(written) // 2] * 1e3:.1f} ms, p99 {slow * 1e3:.1f} ms.\n")
        print(rolled_up(store, points))
        fill(store, [Device(999)], 30)
        print("| Read back | points | ms |\n|---|--:|--:|")
        for line in reading(store, options.days):
            print(line)
        store.close()
        if not options.skip_peers:
            print()
            for line in peers.compare(place, signals(options.peer_days)):
                print(line, flush=True)
        if not options.skip_server:
            print(
                "\n| Messages of 5 values | messages/s | values compacted/s | commit p50 ms | p99 ms | longest step ms | ack p50 ms | p99 ms |"
            )
            print("|---|--:|--:|--:|--:|--:|--:|--:|")
            for line in beside(place / "data", options):
                print(line)
            print(
                "\n| Messages of 5 values a second | taken | longest tail | tail at the end | s until it is short | ack p50 ms | p99 ms |"
            )
            print("|--:|--:|--:|--:|--:|--:|--:|")
            for line in keeping_up(place / "rates", options):
                print(line, flush=True)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
