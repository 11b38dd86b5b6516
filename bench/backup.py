"""What a backup costs those who wait for an acknowledgement meanwhile.

    .venv/bin/python bench/backup.py                 # a database of 1 GB
    .venv/bin/python bench/backup.py --megabytes 200

A database of chunks that cannot be compressed any further, as years of readings are, in a running server that takes
messages of MQTT QoS 1 at a fixed rate: first nothing else, then one backup after the other through the command line,
then nothing again. Shown are acknowledgements as their senders see them, the longest the log became, what the command
took, and the size of its file, which is restored then.
"""

import argparse
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.ingest import load, machine  # noqa: E402
from relevo.store.db import FILE_NAME  # noqa: E402
from relevo.store.schema import prepare  # noqa: E402
from tests.running import REPOSITORY, RunningServer  # noqa: E402

CHUNK = 1_950


def fill(path: Path, megabytes: int) -> None:
    """Chunks of devices that are registered, without meaning inside."""
    prepare(path)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO devices(number, id, contract, external_id, name, type, registered_at, tags, attributes) "
            "VALUES (1, 'old', 'native', 'old', 'Old', 'test', 0, '[]', '{}')"
        )
        connection.execute("INSERT INTO series(id, device, key) VALUES (1, 1, 'v')")
        connection.execute("INSERT INTO times(id, used, data) VALUES (1, 1, ?)", (os.urandom(900),))
        rows = (
            (1, n * 1_000_000, 0, n * 1_000_000 + 999_000, 1_000, 1, os.urandom(CHUNK))
            for n in range(megabytes * 1_000_000 // (CHUNK + 40))
        )
        connection.executemany("INSERT INTO chunks(series, t0, seq, t1, n, times, data) VALUES (?,?,?,?,?,?,?)", rows)
    connection.close()


class Beside:
    """Backups one after the other while something else goes on, and how long the log becomes."""

    def __init__(self, data: Path, file: Path) -> None:
        self._log = data / f"{FILE_NAME}-wal"
        self._command = [sys.executable, "-m", "relevo", "backup", "--replace", "--data", str(data), str(file)]
        self._stop = threading.Event()
        self.took: list[float] = []
        self.longest = 0
        self._threads = [threading.Thread(target=one) for one in (self._back_up, self._watch)]

    def _back_up(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            subprocess.run(self._command, cwd=REPOSITORY, check=True, capture_output=True)
            self.took.append(time.monotonic() - began)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.longest = max(self.longest, self._log.stat().st_size)

    def __enter__(self) -> "Beside":
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=int, default=1_000)
    options = parser.parse_args()
    options.warmup, options.expect = 1, options.rate * 2
    print(f"{machine()}\n", flush=True)
    place = Path(tempfile.mkdtemp(prefix="relevo-backup-"))
    try:
        data, file = place / "data", place / "bench.relevo"
        data.mkdir()
        fill(data / FILE_NAME, options.megabytes)
        size = (data / FILE_NAME).stat().st_size
        print(f"{size / 1e6:,.0f} MB, {options.rate} messages/s for {options.seconds:g} s each\n")
        print("| | ack p50 ms | p99 ms | log MB |\n|---|--:|--:|--:|")
        with RunningServer(data, env={"RELEVO_PROFILE": "lab"}) as server:

            def run(name: str) -> dict[str, Any]:
                return load(
                    server.mqtt_port, name, options, connections=100, window=10, pid=server.pid, rate=options.rate
                )

            def line(title: str, result: dict[str, Any], log: int) -> None:
                print(f"| {title} | {result['p50_ms']:.1f} | {result['p99_ms']:.1f} | {log / 1e6:.0f} |", flush=True)

            line("alone", run("one"), (data / f"{FILE_NAME}-wal").stat().st_size)
            with Beside(data, file) as beside:
                found = run("two")
            line(f"beside {len(beside.took)} backups", found, beside.longest)
            line("alone again", run("three"), (data / f"{FILE_NAME}-wal").stat().st_size)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = ", ".join(f"{one:.1f}" for one in beside.took)
        print(f"\nA backup took {took} s; its file has {file.stat().st_size / 1e6:,.0f} MB.")
        for command in (["restore", str(file), "--data", str(place / "back")],):
            began = time.monotonic()
            done = subprocess.run([sys.executable, "-m", "relevo", *command], cwd=REPOSITORY, capture_output=True)
            print(f"`relevo {command[0]}` took {time.monotonic() - began:.1f} s and ended with {done.returncode}.")
        print(f"The largest of all these processes had {used.ru_maxrss / 1024:.0f} MB.")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
