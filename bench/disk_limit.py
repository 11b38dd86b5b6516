"""A limit of the disk, reached under load: nothing is refused, the file stays below it, the oldest readings go, and
their hours and days stay right.

    .venv/bin/python bench/disk_limit.py                # 256 MB, about three minutes

Ten devices send as fast as every message is acknowledged (MQTT, QoS 1), ten readings in each, with a number, a decimal
that no codec makes smaller, and a text of a kilobyte. Times run from 60 days ago to now, so that there is something old.
All the time the size of the database and of its log is looked at. At the end the days of each device are compared with
what was sent.
"""

import argparse
import hashlib
import json
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.ingest import machine  # noqa: E402
from tests.running import RunningServer  # noqa: E402

DAY_MS = 86_400_000
DEVICES = 10
BATCH = 10


class Sender:
    """One device; ``sent`` are its readings by day UTC, ``took`` seconds to each acknowledgement."""

    def __init__(self, server: RunningServer, number: int, begin: int, end: int, count: int) -> None:
        self.name = f"device-{number}"
        key = server.register(self.name)
        self.sent: dict[int, list[int]] = {}
        self.took: list[float] = []
        self.refused = 0
        self._times = [begin + (end - begin) * n // count for n in range(count)]
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=self.name, protocol=mqtt.MQTTv5)
        self._client.username_pw_set(self.name, key)
        self._client.connect("127.0.0.1", server.mqtt_port)
        self._client.loop_start()

    def run(self, rate: float) -> None:
        began_at = time.perf_counter()
        chance = random.Random(self.name)
        for first in range(0, len(self._times), BATCH):
            readings = []
            for ts in self._times[first : first + BATCH]:
                number = chance.randrange(1_000)
                text = hashlib.shake_128(f"{self.name} {ts}".encode()).hexdigest(500)
                readings.append({"ts": ts, "values": {"n": number, "x": chance.random(), "text": text}})
                self.sent.setdefault(ts // DAY_MS, []).append(number)
            if rate:
                time.sleep(max(began_at + first * DEVICES / rate - time.perf_counter(), 0))
            began = time.perf_counter()
            told = self._client.publish(f"relevo/{self.name}/telemetry", json.dumps(readings), qos=1)
            told.wait_for_publish(60)
            self.took.append(time.perf_counter() - began)
            if not told.is_published():
                self.refused += 1
        self._client.disconnect()
        self._client.loop_stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit-mb", type=int, default=256)
    parser.add_argument(
        "--rate", type=float, default=0, help="readings a second of all devices; 0 is as fast as it goes"
    )
    parser.add_argument("--readings", type=int, default=30_000, help="of each device")
    options = parser.parse_args()
    print(f"{machine()}\n")
    place = Path(tempfile.mkdtemp(prefix="relevo-limit-"))
    limit = options.limit_mb * 1_000_000
    env = {"RELEVO_PROFILE": "lab", "RELEVO_HISTORY__MAX_DISK": f"{options.limit_mb}MB"}
    env["RELEVO_HISTORY__JOURNAL_EVENTS"] = "20000"
    try:
        with RunningServer(place / "data", env=env) as server:
            end = round(time.time() * 1_000) // 1_000 * 1_000
            begin = (end // DAY_MS - 60) * DAY_MS
            senders = [Sender(server, number, begin, end, options.readings) for number in range(DEVICES)]
            files = [place / "data" / name for name in ("relevo.db", "relevo.db-wal")]
            most = [0, 0]
            done = threading.Event()

            def watch() -> None:
                while not done.wait(0.05):
                    sizes = [file.stat().st_size if file.exists() else 0 for file in files]
                    most[0], most[1] = max(most[0], sizes[0]), max(most[1], sum(sizes))

            watcher = threading.Thread(target=watch)
            watcher.start()
            began = time.perf_counter()
            threads = [threading.Thread(target=one.run, args=(options.rate,)) for one in senders]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds = time.perf_counter() - began
            time.sleep(20)
            done.set()
            watcher.join()
            took = sorted(one for sender in senders for one in sender.took)
            shown: dict[str, Any] = server.api.get("/api/v1/system/storage").json()
            wrong = 0
            for sender in senders:
                query = {"from": str(begin), "aggregate": "count,min,max,sum", "interval": "1d"}
                answer = server.api.get(f"/api/v1/devices/{sender.name}/telemetry/n", params=query).json()
                rows = zip(*(answer["values"][name] for name in ("count", "min", "max", "sum")), strict=True)
                found = dict(zip((one // DAY_MS for one in answer["from"]), map(list, rows), strict=True))
                wanted = {day: [len(v), min(v), max(v), sum(v)] for day, v in sender.sent.items()}
                wrong += sum(found.get(day) != one for day, one in wanted.items())
            first = server.api.get(f"/api/v1/devices/{senders[0].name}/telemetry/n", params={"limit": 1}).json()
            total = DEVICES * options.readings
            print(f"{total:,} readings in {seconds:.0f} s, {total * 1_050 / 1e6:,.0f} MB of them.\n")
            print("| | wanted | |\n|---|--:|--:|")
            print(f"| largest database, MB | < {limit / 1e6:.0f} | {most[0] / 1e6:.1f} |")
            print(f"| with its log, MB | < {limit / 1e6:.0f} | {most[1] / 1e6:.1f} |")
            print(f"| messages without acknowledgement | 0 | {sum(one.refused for one in senders)} |")
            print(f"| acknowledged, p50 ms | | {statistics.median(took) * 1e3:.1f} |")
            print(f"| p99 ms | | {took[int(len(took) * 0.99)] * 1e3:.1f} |")
            print(f"| longest step of the writer, ms | < 20 | {longest(server):.1f} |")
            print(f"| days of devices whose count, least, most or sum is wrong | 0 | {wrong} |")
            print(
                f"| readings begin days after the first that was sent | > 0 | {(first['points'][0][0] - begin) / DAY_MS:.1f} |"
            )
            print(f"| limit too small | False | {shown['short']} |")
    finally:
        shutil.rmtree(place)


def longest(server: RunningServer) -> float:
    lines = server.api.get("/metrics").text.splitlines()
    found = next(line for line in lines if line.startswith("relevo_history_longest_seconds "))
    return float(found.split()[1]) * 1_000


if __name__ == "__main__":
    main()
