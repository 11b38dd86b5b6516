"""What it takes to erase a device, and what overwriting deleted bytes costs.

    .venv/bin/python bench/erasing.py                  # 400,000 messages of 100 devices
    .venv/bin/python bench/erasing.py --messages 50000

Messages with five keys go through the store's writer in groups of 20; what becomes long is compacted and trimmed by the
code that the server's process runs. That is done with each of SQLite's ways to delete (``secure_delete``): *off* leaves
the bytes, *fast* overwrites them in pages that are written anyway, *on* in all. Shown is CPU and time of the writer's
thread for all of it, the longest transaction of maintenance, and the size of the write-ahead log, which is how much was
written.

Then one device is erased out of a journal that nothing has left yet: how long that takes, and the longest transaction.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.ingest import machine  # noqa: E402
from relevo.domain.events import DeviceRemoved, Refused, TelemetryReceived  # noqa: E402
from relevo.jobs.pace import Pace  # noqa: E402
from relevo.store import erasing, journal  # noqa: E402
from relevo.store.db import FILE_NAME, open_reader  # noqa: E402
from relevo.store.history import chunks, compaction, trimming  # noqa: E402
from relevo.store.schema import prepare  # noqa: E402
from relevo.store.writer import Batch, Writer  # noqa: E402
from tests.store.samples import registered  # noqa: E402

END = 1_767_225_600_000
DEVICES, GROUP, TAIL, KEEP = 100, 20, 20_000, 20_000
MODES = ("off", "fast", "on")


class Store:
    """A database, and how long its transactions of maintenance took."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.path = folder / FILE_NAME
        prepare(self.path)
        self.writer = Writer(self.path, 100, 100)
        self.writer.open()
        assert self.writer._connection is not None
        self.writer._connection.execute(f"PRAGMA secure_delete={mode}")
        self.reader = open_reader(self.path)
        self.longest = self.wall = self.cpu = 0.0
        self.log = 0
        self.writer.write(Batch([registered(f"d{n}") for n in range(DEVICES)]), END)

    def timed(self, work: Callable[[], Any]) -> float:
        wall, cpu = time.perf_counter(), time.thread_time()
        work()
        took = time.perf_counter() - wall
        self.wall += took
        self.cpu += time.thread_time() - cpu
        return took

    def maintain(self, work: Callable[[Any], Any]) -> float:
        took = self.timed(lambda: self.writer.maintain(work))
        self.longest = max(self.longest, took)
        return took

    def fill(self, messages: int, *, compact: bool) -> None:
        rng, since = random.Random(7), 0
        for first in range(0, messages, GROUP):
            events: list[Any] = []
            for n in range(first, first + GROUP):
                values = {key: round(rng.gauss(20, 5), 2) for key in "abcde"}
                events.append(TelemetryReceived(f"d{n % DEVICES}", END + n * 100, "device", END + n * 100, values))
            if first % 2_000 == 0:
                events.append(Refused(f"d{rng.randrange(DEVICES)}", END, "mqtt", "json_malformed", "bench"))
            self.timed(lambda: self.writer.write(Batch(events), END))  # noqa: B023
            since += GROUP
            if compact and since >= TAIL:
                since = 0
                self.compact()
            if first % 20_000 == 0:
                self.checkpoint()

    def checkpoint(self) -> None:
        log = self.path.with_name(self.path.name + "-wal")
        self.log += log.stat().st_size
        assert self.writer._connection is not None
        self.writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def compact(self) -> None:
        rows, trims = Pace(20, 1_000), Pace(50, 5_000, 0.004)
        of = compaction.read_range(self.reader)
        for step in compaction.steps(self.reader, of, lambda: rows.rows):
            rows.took(step.rows(), self.maintain(lambda connection: chunks.commit(connection, step)))  # noqa: B023
        goal = min(chunks.progress(self.reader).low, self.writer.next_seq - KEEP)
        while (trim := trimming.next_trim(self.reader, goal, trims.rows)) is not None:
            trims.took(trim.rows, self.maintain(lambda connection: trimming.commit(connection, trim)))

    def close(self) -> None:
        self.checkpoint()
        self.reader.close()
        self.writer.close()


def deleting(mode: str, messages: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), mode)
        store.fill(messages, compact=True)
        store.close()
        print(
            f"  {mode:5} {store.cpu / messages * 1e6:6.1f} µs CPU a message, {store.wall:5.1f} s in all, longest "
            f"maintenance {store.longest * 1000:5.1f} ms, written {store.log / 2**20:7.0f} MB"
        )


def erase(messages: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), "on")
        store.fill(messages, compact=False)
        store.longest = 0.0
        store.writer.write(Batch([DeviceRemoved("d7", END)]), END)
        rows, steps, begun, looked = Pace(20, 500, 0.004), 0, time.perf_counter(), 0.0
        while True:
            at = time.perf_counter()
            step = erasing.next_scrub(store.reader, rows.rows)
            looked += time.perf_counter() - at
            if step is None:
                break
            rows.took(step.size, store.maintain(lambda connection: erasing.commit(connection, step)))  # noqa: B023
            steps += 1
        took = time.perf_counter() - begun
        left = sum(
            event.device == "d7" for _, event in journal.events_from(store.reader, 1, 2**31) if hasattr(event, "device")
        )
        assert left == 1, left
        print(
            f"  {messages:,} messages in the journal, {messages // DEVICES:,} of the device: {took:.1f} s, of which "
            f"{looked:.1f} s in the process beside; {steps} transactions, longest {store.longest * 1000:.1f} ms"
        )
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=400_000)
    given = parser.parse_args()
    print(machine())
    print("Deleting")
    for mode in (*MODES, *MODES):
        deleting(mode, given.messages)
    print("Erasing a device")
    erase(given.messages)


if __name__ == "__main__":
    main()
