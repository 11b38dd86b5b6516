"""What others take for the same points: rows in SQLite and PostgreSQL, Parquet files, VictoriaMetrics.

Each gets the points of one kind of signal in a place of its own, in the order of their series, and is asked to put them
as small as it does by itself: SQLite ``VACUUM``, PostgreSQL ``VACUUM FULL``, Parquet with zstd and its own encodings,
VictoriaMetrics a forced merge. Where a program is missing its column says so. PostgreSQL and VictoriaMetrics run as
processes of their own on free ports and end with this one.
"""

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

NAMES = ("SQLite rows", "PostgreSQL rows", "Parquet, zstd", "VictoriaMetrics")


class Series(NamedTuple):
    """Points of one key of one device, oldest first; ``ts`` in milliseconds UTC."""

    device: int
    ts: list[int]
    values: list[Any]


class Taken(NamedTuple):
    """Bytes at rest; milliseconds that one day of one series took to come back, if that was asked."""

    size: int
    day_ms: float | None


def median(call: Callable[[], Any], times: int = 7) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return sorted(took)[len(took) // 2] * 1_000


def _last_day(one: Series) -> tuple[int, int]:
    return one.ts[-1] - 86_400_000, one.ts[-1] + 1


def sqlite_rows(place: Path, many: Sequence[Series]) -> Taken:
    """One row a point, clustered by series and time, which is the smallest that rows get."""
    path = place / "rows.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE points(series INTEGER, ts INTEGER, value, PRIMARY KEY(series, ts)) WITHOUT ROWID")
    connection.execute("BEGIN")
    for one in many:
        connection.executemany(
            "INSERT OR IGNORE INTO points VALUES (?,?,?)",
            zip([one.device] * len(one.ts), one.ts, one.values, strict=True),
        )
    connection.execute("COMMIT")
    connection.execute("VACUUM")
    begin, end = _last_day(many[0])
    question = "SELECT ts, value FROM points WHERE series = ? AND ts >= ? AND ts < ? ORDER BY ts"
    took = median(lambda: connection.execute(question, (many[0].device, begin, end)).fetchall())
    connection.close()
    return Taken(path.stat().st_size, took)


def parquet(place: Path, many: Sequence[Series]) -> Taken:
    """One file, sorted by series and time; a row group for each million points."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = place / "points.parquet"
    table = pa.table(
        {
            "device": pa.array([one.device for one in many for _ in one.ts], pa.int32()),
            "ts": pa.array([ts for one in many for ts in one.ts], pa.timestamp("ms")),
            "value": pa.array([value for one in many for value in one.values]),
        }
    )
    # Times in one order within a series are what delta encoding is for; it excludes a dictionary.
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=9,
        row_group_size=1_000_000,
        use_dictionary=["device", "value"],
        column_encoding={"ts": "DELTA_BINARY_PACKED"},
    )
    begin, end = _last_day(many[0])
    bounds = [pa.scalar(ts, pa.timestamp("ms")) for ts in (begin, end)]
    where = [("device", "==", many[0].device), ("ts", ">=", bounds[0]), ("ts", "<", bounds[1])]
    took = median(lambda: pq.read_table(path, filters=where).to_pydict())
    return Taken(path.stat().st_size, took)


# Servers


def free_port() -> int:
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _binary(name: str) -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found[-1] if found else None


def postgres_rows(place: Path, many: Sequence[Series]) -> Taken | None:
    """One row a point, with a primary key on series and time: table and index."""
    initdb, server, psql = _binary("initdb"), _binary("postgres"), _binary("psql")
    if initdb is None or server is None or psql is None:
        return None
    data = place / "postgres"
    data.mkdir()
    # It does not run as root.
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    if user:
        for directory in (place, *place.parents):
            if directory in (Path("/"), Path("/tmp")):
                break
            directory.chmod(0o755)
        shutil.chown(data, "postgres", "postgres")
    port = free_port()
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([*user, str(initdb), "-D", str(data), "-A", "trust", "-U", "postgres"], check=True, **quiet)
    options = ["-p", str(port), "-k", str(data), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    process = subprocess.Popen([*user, str(server), "-D", str(data), *options], **quiet)
    ask = [str(psql), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-qAt", "-v", "ON_ERROR_STOP=1"]

    def run(text: str) -> str:
        return subprocess.run([*ask, "-c", text], check=True, capture_output=True, text=True, cwd="/").stdout

    with _ended(process):
        for _ in range(300):
            if subprocess.run([*ask, "-c", "SELECT 1"], capture_output=True, check=False, cwd="/").returncode == 0:
                break
            time.sleep(0.1)
        kinds = {type(value) for one in many for value in one.values}
        kind = "double precision" if float in kinds else {bool: "boolean", int: "bigint"}.get(kinds.pop(), "text")
        run(f"CREATE TABLE points(series int, ts bigint, value {kind}, PRIMARY KEY(series, ts))")
        copy = subprocess.Popen(
            [*ask, "-c", "COPY points FROM STDIN"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/"
        )
        assert copy.stdin is not None
        for one in many:
            seen = dict(zip(one.ts, one.values, strict=True))
            rows = (f"{one.device}\t{ts}\t{value}\n" for ts, value in seen.items())
            copy.stdin.write("".join(rows).encode())
        copy.stdin.close()
        if copy.wait():
            raise RuntimeError("PostgreSQL did not take the points")
        run("VACUUM (FULL, ANALYZE) points")
        size = int(run("SELECT pg_total_relation_size('points')"))
        begin, end = _last_day(many[0])
        question = (
            f"SELECT ts, value FROM points WHERE series = {many[0].device} AND ts >= {begin} AND ts < {end} ORDER BY ts"
        )
        timed = subprocess.run(
            [*ask, "-o", "/dev/null", "-c", "\\timing on", *["-c", question] * 7],
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
        ).stdout
        took = sorted(float(line.split()[1]) for line in timed.splitlines() if line.startswith("Time:"))
    return Taken(size, took[len(took) // 2] if took else None)


def victoria(place: Path, many: Sequence[Series]) -> Taken | None:
    """Numbers only: a relay is 0 or 1 there, and a text has no place."""
    program = shutil.which("victoria-metrics")
    if program is None or isinstance(many[0].values[0], str):
        return None
    data = place / "victoria"
    port = free_port()
    process = subprocess.Popen(
        [program, f"-storageDataPath={data}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with _ended(process), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
        for _ in range(300):
            with contextlib.suppress(httpx.TransportError):
                if client.get("/health").is_success:
                    break
            time.sleep(0.1)
        for one in many:
            line = {
                "metric": {"__name__": "value", "device": f"device-{one.device:03}"},
                "values": [float(value) for value in one.values],
                "timestamps": one.ts,
            }
            client.post("/api/v1/import", content=json.dumps(line)).raise_for_status()
        client.get("/internal/force_flush").raise_for_status()
        client.get("/internal/force_merge").raise_for_status()
        size = _settled(data)
        begin, end = _last_day(many[0])
        query = {
            "match[]": f'value{{device="device-{many[0].device:03}"}}',
            "start": begin / 1_000,
            "end": end / 1_000,
        }
        took = median(lambda: client.get("/api/v1/export", params=query).raise_for_status().json())
    return Taken(size, took)


def _settled(directory: Path) -> int:
    """The size of a directory when it has been the same for two seconds."""
    before, since = -1, time.monotonic()
    while time.monotonic() - since < 2:
        size = 0
        for file in directory.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if file.is_file() and "cache" not in file.parts:
                    size += file.stat().st_size
        if size != before:
            before, since = size, time.monotonic()
        time.sleep(0.2)
    return before


PEERS: tuple[Callable[[Path, Sequence[Series]], Taken | None], ...] = (sqlite_rows, postgres_rows, parquet, victoria)


def taken(place: Path, many: Sequence[Series]) -> list[Taken | None]:
    """What each of :data:`NAMES` takes for these series."""
    found = []
    for number, peer in enumerate(PEERS):
        own = place / f"peer-{number}"
        own.mkdir()
        try:
            found.append(peer(own, many))
        finally:
            shutil.rmtree(own, ignore_errors=True)
    return found


# Side by side


class Signals(NamedTuple):
    """What some devices sent, in the order of its arrival: device, time, values by key."""

    name: str
    sent: list[tuple[int, int, dict[str, Any]]]
    kinds: dict[str, str]


def ours(place: Path, signals: Signals) -> tuple[dict[str, float], dict[str, float]]:
    """Bytes a point by key, and ms for a day of the first device's; re-packed, with tables and indexes."""
    from bench.memory import TAIL_EVENTS, Store
    from relevo.domain.events import TelemetryReceived
    from relevo.store.db import FILE_NAME
    from relevo.store.history.openers import open_points
    from relevo.store.history.series import read
    from tests.store.samples import registered

    store = Store(place / FILE_NAME)
    names = sorted({f"device-{device:03}" for device, _, _ in signals.sent})
    store.commit([registered(name) for name in names])
    since = dict(store.reader.execute("SELECT id, registered_seq FROM devices"))
    for first in range(0, len(signals.sent), 50):
        part = signals.sent[first : first + 50]
        store.commit(
            [TelemetryReceived(f"device-{device:03}", ts, "device", ts, values) for device, ts, values in part]
        )
        if store.tail() >= TAIL_EVENTS:
            store.compact()
            store.writer.checkpoint()
    store.compact()
    store.repack()
    pages = dict(store.reader.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    whole = sum(pages[name] for name in ("chunks", "chunks_series", "times", "series", "sqlite_autoindex_series_1"))
    times = store.reader.execute("SELECT sum(length(data)) FROM times").fetchone()[0]
    rows = store.reader.execute(
        "SELECT key, sum(length(data)), sum(n) FROM chunks JOIN series ON series.id = chunks.series GROUP BY key"
    ).fetchall()
    around = whole / (times + sum(size for _, size, _ in rows))
    points = sum(n for _, _, n in rows)
    sizes = {key: (size / n + times / points) * around for key, size, n in rows}
    took = {}
    for key in signals.kinds:
        end = max(ts for device, ts, values in signals.sent if not device and key in values) + 1
        took[key] = median(
            lambda key=key, end=end: read(
                store.reader, open_points, names[0], key, end - 86_400_000, end, 10**6, None, since[names[0]]
            )
        )
    store.close()
    return sizes, took


def compare(place: Path, many: Sequence[Signals]) -> Iterator[str]:
    """Lines of the table."""
    yield f"| Bytes a point | points | Relevo | {' | '.join(NAMES)} | one day: Relevo ms | {' | '.join(NAMES)} |"
    yield "|---|" + "--:|" * (3 + 2 * len(NAMES))
    for number, signals in enumerate(many):
        own = place / f"signals-{number}"
        own.mkdir()
        sizes, took = ours(own, signals)
        for key, kind in signals.kinds.items():
            columns: dict[int, Series] = {}
            for device, ts, values in signals.sent:
                if key in values:
                    one = columns.setdefault(device, Series(device, [], []))
                    one.ts.append(ts)
                    one.values.append(values[key])
            series = [columns[device] for device in sorted(columns)]
            points = sum(len(one.ts) for one in series)
            found = taken(own, series)
            bytes_each = " | ".join(f"{one.size / points:.2f}" if one else "–" for one in found)
            days = " | ".join(f"{one.day_ms:.1f}" if one and one.day_ms else "–" for one in found)
            yield f"| {signals.name}: {kind} | {points:,} | {sizes[key]:.2f} | {bytes_each} | {took[key]:.1f} | {days} |"
        shutil.rmtree(own)
