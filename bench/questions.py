"""How fast questions about history are answered, at an HTTP client over a real socket.

    .venv/bin/python bench/questions.py                 # about three minutes
    .venv/bin/python bench/questions.py --seconds 5

The database is made by the store's writer and the compactor's own code, as in ``bench/memory.py``: one device with five
keys every 10 s for 30 days, 100 with one value a minute for 30 days, 100 water meters with a reading every 15 minutes
for a year, and so many more devices with a last reading that there are 10,000. Then it is served, and each question is
asked over one connection, again and again: alone, and while 2,000 messages of five values a second are taken at QoS 1.
The process that answers is warm: the first three answers do not count. At last it is the messages that are measured, how
long until they are acknowledged by themselves and while all questions are asked in a loop.
"""

import argparse
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.ingest import load, machine  # noqa: E402
from bench.memory import DAY, END, Device, Store, fill  # noqa: E402
from relevo.domain.events import TelemetryReceived  # noqa: E402
from relevo.store.db import FILE_NAME  # noqa: E402
from tests.running import RunningServer  # noqa: E402
from tests.store.samples import registered  # noqa: E402

MINUTE = 60_000
DEVICES = 10_000
# Devices of a former run have said these messages already.
RUN = f"{int(time.time()):x}"


def minutely(store: Store, names: list[str], key: str, days: int, every: int) -> None:
    """One value of each device, that only rises, every so many milliseconds."""
    store.commit([registered(name) for name in names])
    for at in range(END - days * DAY, END, every * 10):
        for number, name in enumerate(names):
            events: list[Any] = []
            for ts in range(at, min(at + every * 10, END), every):
                value = round((ts - END + days * DAY) / every * (1 + number / 100), 2)
                events.append(TelemetryReceived(name, ts + number, "device", ts + number + 15, {key: value}))
            store.commit(events)
        if store.tail() >= 100_000:
            store.compact()
            store.writer.checkpoint()
    store.compact()


def prepared(path: Path) -> None:
    """The whole database."""
    store = Store(path)
    fill(store, [Device(999)], 30)
    minutely(store, [f"climate-{n:03}" for n in range(100)], "temperature_c", 30, MINUTE)
    minutely(store, [f"meter-{n:03}" for n in range(100)], "totalLiters", 365, 15 * MINUTE)
    store.repack()
    store.roll()
    others = [f"other-{n:05}" for n in range(DEVICES - 201)]
    for at in range(0, len(others), 1_000):
        part = others[at : at + 1_000]
        store.commit([registered(name) for name in part])
        values = {"temperature_c": 21.5, "humidity_pct": 45.1, "energy_wh": 123_456, "relay": True, "state": "idle"}
        store.commit([TelemetryReceived(name, END, "device", END + 15, values) for name in part])
    store.compact()
    store.close()


def questions() -> Iterator[tuple[str, float, str, dict[str, Any]]]:
    """Name, goal in milliseconds, path and parameters."""
    one = "/api/v1/devices/device-999/telemetry"
    climate = ",".join(f"climate-{n:03}" for n in range(100))
    meters = ",".join(f"meter-{n:03}" for n in range(100))
    last = {"to": END}
    yield (
        "30 days of one series to 500 points",
        15,
        f"{one}/temperature_c",
        last | {"from": END - 30 * DAY, "points": 500},
    )
    yield "7 days of it to 500 points", 15, f"{one}/temperature_c", last | {"from": END - 7 * DAY, "points": 500}
    yield "one day of it, every point", 5, f"{one}/temperature_c", last | {"from": END - DAY, "limit": 10_000}
    hourly = {
        "devices": meters,
        "key": "totalLiters",
        "from": END - 365 * DAY,
        "aggregate": "increase",
        "interval": "1h",
    }
    yield "hourly consumption of 100 meters in a year", 200, "/api/v1/telemetry", last | hourly
    daily = hourly | {"interval": "1d"}
    yield "daily consumption of 100 meters in a year", 200, "/api/v1/telemetry", last | daily
    month = {"devices": climate, "key": "temperature_c", "from": END - 30 * DAY}
    yield "100 devices over 30 days, 100 points each", 60, "/api/v1/telemetry", last | month | {"points": 100}
    means = month | {"aggregate": "min,mean,max", "interval": "1d"}
    yield "100 devices over 30 days, day by day", 60, "/api/v1/telemetry", last | means
    hours = month | {"aggregate": "mean", "interval": "1h"}
    yield "100 devices over 30 days, hour by hour", 60, "/api/v1/telemetry", last | hours
    yield f"last values of {DEVICES:,} devices", 50, "/api/v1/latest", {"limit": DEVICES}
    yield (
        "30 days of completeness of one device",
        60,
        "/api/v1/devices/device-999/completeness",
        last | {"from": END - 30 * DAY},
    )


class Client:
    """One connection that stays open."""

    def __init__(self, server: RunningServer) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.http_port)
        self._headers = {"Authorization": f"Bearer {server.token}"}

    def ask(self, path: str, query: dict[str, Any]) -> tuple[float, int]:
        """Milliseconds until the last byte, and how many there were."""
        began = time.perf_counter()
        self._connection.request("GET", f"{path}?{urlencode(query)}", headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        took = (time.perf_counter() - began) * 1_000
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:500]!r}")
        return took, len(body)


def measured(client: Client, path: str, query: dict[str, Any], seconds: float) -> tuple[list[float], int]:
    took: list[float] = []
    size = 0
    for _ in range(3):
        client.ask(path, query)
    end = time.perf_counter() + seconds
    while len(took) < 20 or (time.perf_counter() < end and len(took) < 300):
        one, size = client.ask(path, query)
        took.append(one)
    return sorted(took), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--data", type=Path, help="keep the database here, or take the one that is there")
    options = parser.parse_args()
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory(prefix="relevo-questions-") as temporary:
        place = options.data or Path(temporary) / "data"
        if not (place / FILE_NAME).exists():
            place.mkdir(parents=True)
            prepared(place / FILE_NAME)
        with RunningServer(place, env={"RELEVO_PROFILE": "lab"}) as server:
            run(server, options)
            acknowledgements(server, options)


def run(server: RunningServer, options: argparse.Namespace) -> None:
    asked = list(questions())
    found: dict[str, list[str]] = {name: [] for name, *_ in asked}
    client = Client(server)
    for beside in (False, True):
        ended = threading.Event()
        thread = threading.Thread(target=ingest, args=(server, options, ended, len(asked) * (options.seconds + 2)))
        if beside:
            thread.start()
            time.sleep(3)
        for name, goal, path, query in asked:
            took, size = measured(client, path, query, options.seconds)
            middle, slow = statistics.median(took), took[int(len(took) * 0.95)]
            verdict = "reached" if middle <= goal else "MISSED"
            found[name] += [f"{size:,}"] * (not beside) + [f"{middle:.1f}", f"{slow:.1f}", verdict]
        if beside:
            ended.set()
            thread.join()
    print("| Asked over HTTP | goal ms | bytes | alone p50 ms | p95 ms | | beside ingest p50 ms | p95 ms | |")
    print("|---|--:|--:|--:|--:|---|--:|--:|---|")
    for name, goal, _, _ in asked:
        print(f"| {name} | {goal} | {' | '.join(found[name])} |")


def acknowledgements(server: RunningServer, options: argparse.Namespace) -> None:
    """Three times in turn: messages at the rate by themselves, and while all of the questions are asked in a loop."""
    named = argparse.Namespace(seconds=5, warmup=1, expect=200)
    found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for round_ in range(3):
        for beside in (False, True):
            ended = threading.Event()
            thread = threading.Thread(target=asking, args=(server, ended))
            if beside:
                thread.start()
            prefix = f"ack{round_}{'q' * beside}-{RUN}"
            found[beside].append(
                load(server.mqtt_port, prefix, named, connections=100, window=10, pid=server.pid, rate=options.rate)
            )
            ended.set()
            if beside:
                thread.join()
    print("\n| Acknowledged, medians of three | p50 ms | p99 ms | cores of the server |\n|---|--:|--:|--:|")
    middles = []
    for beside, name in ((False, "by themselves"), (True, "beside questions")):
        middle = {of: statistics.median(one[of] for one in found[beside]) for of in ("p50_ms", "p99_ms", "cores")}
        middles.append(middle["p99_ms"])
        each = ", ".join(f"{one['p99_ms']:.1f}" for one in found[beside])
        print(f"| {name} | {middle['p50_ms']:.2f} | {middle['p99_ms']:.1f} ({each}) | {middle['cores']:.2f} |")
    verdict = "reached" if middles[1] <= 1.5 * middles[0] else "MISSED"
    print(f"\np99 is {middles[1] / middles[0]:.2f} times as long (goal 1.5): {verdict}")


def asking(server: RunningServer, ended: threading.Event) -> None:
    client, asked = Client(server), list(questions())
    while not ended.is_set():
        for _, _, path, query in asked:
            if not ended.is_set():
                client.ask(path, query)


def ingest(server: RunningServer, options: argparse.Namespace, ended: threading.Event, most_s: float) -> None:
    """Messages at a fixed rate, until it is over."""
    named = argparse.Namespace(seconds=5, warmup=1, expect=200)
    end, round_ = time.monotonic() + most_s, 0
    while not ended.is_set() and time.monotonic() < end + 60:
        round_ += 1
        result = load(
            server.mqtt_port, f"in{round_}-{RUN}", named, connections=100, window=10, pid=server.pid, rate=options.rate
        )
        print(
            f"beside: {result['rate']:,.0f} messages/s, acknowledged p50 {result['p50_ms']:.1f} ms, "
            f"p99 {result['p99_ms']:.1f} ms",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
