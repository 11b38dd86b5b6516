"""How fast history leaves as a file and comes back, and in how much memory.

    .venv/bin/python bench/exports.py                    # 10 million values out, 200,000 back in
    .venv/bin/python bench/exports.py --values 1000000

Ten devices send five keys in one message every 10 s, as in bench/memory.py; their readings are put into chunks by the
code of the server's process. Then a running server exports all of it over HTTP in each format, and what is shown is
values a second, and the most memory (resident, sampled every 50 ms) that the server and the process of the export had,
beside what the server had at rest. An import of a part of the same file follows, into a second server, twice.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.memory import END, EVERY, Device  # noqa: E402
from relevo.store.db import FILE_NAME, open_reader  # noqa: E402
from relevo.store.history import chunks, compaction  # noqa: E402
from relevo.store.schema import prepare  # noqa: E402
from relevo.store.writer import Batch, Writer  # noqa: E402
from tests.running import RunningServer  # noqa: E402
from tests.store.samples import registered  # noqa: E402

DEVICES = 10
KEYS = 5
FORMATS = ({"format": "csv"}, {"format": "csv", "form": "long"}, {"format": "jsonl"}, {"format": "parquet"})


def fill(data: Path, values: int) -> None:
    """A database with about so many values in chunks."""
    data.mkdir(parents=True)
    path = data / FILE_NAME
    prepare(path)
    devices = [Device(number) for number in range(DEVICES)]
    writer = Writer(path, 10, 10)
    writer.open()
    writer.write(Batch([registered(device.name) for device in devices]), END)
    reader = open_reader(path)
    rounds = values // (DEVICES * KEYS)
    begin = END - rounds * EVERY
    for first in range(0, rounds, 1_000):
        for n in range(first, min(first + 1_000, rounds), 50):
            times = range(n, min(n + 50, rounds))
            events = [device.reading(begin + at * EVERY) for at in times for device in devices]
            writer.write(Batch(events), END)
        of = compaction.read_range(reader)
        for step in compaction.steps(reader, of, lambda: 400):
            writer.maintain(lambda connection, step=step: chunks.commit(connection, step))
        writer.checkpoint()
    reader.close()
    writer.close()


class Memory:
    """The most memory of the server and of its processes for files, while in the context (MB)."""

    def __init__(self, pid: int) -> None:
        self._server = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.server = self.program = 0.0

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.server = max(self.server, self._server.memory_info().rss / 1e6)
            for child in self._server.children():
                try:
                    if "relevo.exchange.program" in child.cmdline():
                        self.program = max(self.program, child.memory_info().rss / 1e6)
                except psutil.Error:
                    continue


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--values", type=int, default=10_000_000)
    options.add_argument("--imported", type=int, default=200_000)
    asked = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="exports-", dir=HERE.parent))
    try:
        begun = time.monotonic()
        fill(folder / "one", asked.values)
        print(f"filled in {time.monotonic() - begun:.0f} s")
        with RunningServer(folder / "one") as server:
            rest = psutil.Process(server.pid).memory_info().rss / 1e6
            print(f"{'format':<12} {'values/s':>10} {'MB/s':>6} {'MB':>7} {'server MB':>10} {'process MB':>11}")
            for wanted in FORMATS:
                size, begun = 0, time.monotonic()
                with (
                    Memory(server.pid) as memory,
                    httpx.stream(
                        "GET",
                        f"{server.http}/api/v1/exports",
                        params=wanted,
                        headers={"Authorization": f"Bearer {server.token}"},
                        timeout=600,
                        trust_env=False,
                    ) as answer,
                ):
                    for part in answer.iter_raw():
                        size += len(part)
                took = time.monotonic() - begun
                print(
                    f"{'-'.join(wanted.values()):<12} {asked.values / took:>10,.0f} {size / took / 1e6:>6.1f}"
                    f" {size / 1e6:>7.0f} {memory.server:>10.1f} {memory.program:>11.1f}"
                )
            print(f"(the server at rest: {rest:.1f} MB)")
            name = Device(0).name
            start = END - asked.imported // KEYS * EVERY
            file = server.api.get(f"/api/v1/devices/{name}/telemetry.csv", params={"from": start}, timeout=600).content
        with RunningServer(folder / "two") as server:
            for again in ("first", "again"):
                begun = time.monotonic()
                with Memory(server.pid) as memory:
                    answer = httpx.post(
                        f"{server.http}/api/v1/imports?create=true",
                        content=file,
                        headers={"Authorization": f"Bearer {server.token}"},
                        timeout=3_600,
                        trust_env=False,
                    )
                took = time.monotonic() - begun
                found = answer.json()
                print(
                    f"import {again}: {found['points']:,} new and {found['repeated']:,} repeated values in {took:.1f} s,"
                    f" server {memory.server:.1f} MB, process {memory.program:.1f} MB"
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
