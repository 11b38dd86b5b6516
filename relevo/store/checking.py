"""Finding and naming damage: every row is read and opened, and what rows say of each other is compared.

SQLite looks through the file first. While it finds nothing wrong, rows are read through it; otherwise they are read
from a copy, page by page (:mod:`relevo.store.tables`), so that one damaged page hides nothing of the others.
"""

import json
import shutil
import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from relevo.domain.events import HistoryCorrected, TelemetryReceived
from relevo.errors import Damaged, RelevoError
from relevo.store import journal, latest, records
from relevo.store.backup import complaints, copy_database
from relevo.store.history.compaction import opened
from relevo.store.history.layout import decode_times
from relevo.store.pages import MAGIC, PAGE_SIZE, apply_log, page_size
from relevo.store.schema import HEAD
from relevo.store.tables import PageRows, Source, SqlRows, of_today

FINDINGS_MOST: Final = 1_000
_RECORDS: Final = {table.name: kind for kind, table in records.TABLES.items()}
_TELL_EVERY: Final = 500
_FIRST: Final = ("alembic_version", "devices", "trims", "journal", "compaction", "series", "times", "chunks")
# Columns that hold numbers of events.
_MARKS: Final = ("registered_seq", "low", "high", "position")
_NAMES: Final = ("id", "name", "number", "client_id", "topic", "device", "webhook")

Tell = Callable[[str, int, int], None]


class Finding(NamedTuple):
    """What is wrong, in words; ``where`` is the file or the table."""

    where: str
    what: str


class Report:
    """What was found, and how many rows can be read."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.more = 0
        self.rows: Counter[str] = Counter()

    def note(self, where: str, what: str) -> None:
        if len(self.findings) < FINDINGS_MOST:
            self.findings.append(Finding(where, what))
        else:
            self.more += 1

    @property
    def whole(self) -> bool:
        return not self.findings


def check(database: Path, scratch: Path, tell: Tell = lambda phase, done, total: None) -> Report:
    """Look through a database, open or not. ``scratch`` is a folder for a copy, which is needed when it is damaged.

    Raises :class:`OSError`.
    """
    report = Report()
    with source_of(database, scratch, report, tell) as source:
        rows = Rows(source, report, tell)
        for name in rows.order():
            for _ in rows.sound(name):
                pass
    return report


@contextmanager
def source_of(
    database: Path, scratch: Path, report: Report, tell: Tell = lambda phase, done, total: None
) -> Iterator[Source]:
    """The rows of a database; what is wrong with its file is noted."""
    tell("looking through pages", 0, 1)
    wrong = _wrong_with(database)
    if not wrong:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        with closing(connection):
            connection.execute("BEGIN")
            try:
                sound: Source | None = SqlRows(connection)
            except (sqlite3.Error, Damaged) as error:
                sound, wrong = None, [str(error)]
            if sound is not None:
                yield sound
                return
    for one in wrong:
        report.note("file", one)
    copy = scratch / "pages"
    copy_pages(database, copy)
    source = PageRows(copy, report.note)
    try:
        yield source
    finally:
        source.close()
        copy.unlink()


def _wrong_with(database: Path) -> list[str]:
    size = database.stat().st_size
    with database.open("rb") as file:
        head = file.read(100)
    if head[:16] != MAGIC or not page_size(head):
        return [f"{database.name} does not begin as a database does: its first page is damaged"]
    if size % page_size(head):
        return [f"{database.name} ends in the middle of a page"]
    try:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        with closing(connection):
            found = complaints(connection, "integrity_check")
            # What it says of one page it says again of what depends on it.
            return [line for one in found for line in one.splitlines() if line][:20]
    except sqlite3.Error as error:
        return [str(error)]


def copy_pages(database: Path, copy: Path) -> None:
    """A copy with the log moved into it, through SQLite as long as it can. Raises :class:`OSError`."""
    try:
        copy_database(database, copy)
    except RelevoError:
        copy.unlink(missing_ok=True)
        shutil.copyfile(database, copy)
        with copy.open("r+b") as file:
            head = file.read(100)
            if not page_size(head):
                # What the first 24 bytes of every database of ours are.
                file.seek(0)
                file.write(MAGIC + PAGE_SIZE.to_bytes(2) + bytes((2, 2, 0, 64, 32, 32)))
        apply_log(copy, database.with_name(database.name + "-wal"))


class Rows:
    """Goes through the tables of ``source`` in :meth:`order`; what later rows depend on is remembered."""

    def __init__(self, source: Source, report: Report, tell: Tell = lambda phase, done, total: None) -> None:
        self._source = source
        self._report = report
        self._tell = tell
        self.version = ""
        self.devices: dict[int, str] = {}
        self.series: dict[int, tuple[int, str]] = {}
        self.uses: Counter[int] = Counter()
        self.marks = 0
        self.marked = False
        self._used: dict[int, int] = {}
        self._spans = array("q")
        # Of the events up to here some have left the journal, as they should.
        self._trimmed = 0
        self._chunks: set[int] = set()
        self.last = 0
        self._checks: dict[str, Callable[[dict[str, Any]], None]] = {
            "alembic_version": self._version,
            "devices": self._device,
            "journal": self._journal,
            "trims": self._trims,
            "compaction": self._compaction,
            "series": self._series,
            "times": self._times,
            "chunks": self._chunk,
            "latest": self._latest,
        }
        self._ends: dict[str, Callable[[], None]] = {
            "alembic_version": self._versions_end,
            "journal": self._journal_end,
            "chunks": self._chunks_end,
        }

    def order(self) -> list[str]:
        """What others depend on first."""
        tables = [name for name in self._source.tables if not name.startswith("sqlite_")]
        first = [name for name in _FIRST if name in tables]
        return first + sorted(set(tables) - set(first))

    def sound(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows that can be read and make sense; the others are noted."""
        check = self._checks.get(name)
        columns = self._source.tables[name]
        kinds = dict(zip(columns.columns, columns.likeness.types, strict=True))
        for count, row in enumerate(self._source.rows(name, self._report.note), 1):
            if count % _TELL_EVERY == 0:
                self._tell(f"reading {name}", count, 0)
            try:
                self._values(name, kinds, row)
                if check is not None:
                    check(row)
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except BaseException as error:
                # Also what libraries in Rust raise beside every Exception, when bytes make no sense to them.
                self._report.note(name, f"{self.title(name, row)}: {_reason(error)}")
            else:
                self._report.rows[name] += 1
                self._remember_marks(row)
                yield row
        if name in self._ends:
            self._ends[name]()

    def _values(self, name: str, kinds: dict[str, str], row: dict[str, Any]) -> None:
        """What only looks like JSON, or like a record, would keep a server from starting."""
        decoded = dict(row)
        for column, value in row.items():
            if isinstance(value, bytes) and kinds[column] != "BLOB":
                raise Damaged(f"{column} is no text")
            if kinds[column] == "JSON" and value is not None:
                decoded[column] = json.loads(value) if isinstance(value, str) else value
            elif kinds[column] == "BOOLEAN" and value is not None:
                decoded[column] = bool(value)
        if name in _RECORDS:
            records.check(_RECORDS[name], decoded)

    def _remember_marks(self, row: dict[str, Any]) -> None:
        for column in _MARKS:
            value = row.get(column)
            if isinstance(value, int):
                self.marks = max(self.marks, value)

    # The tables

    def _version(self, row: dict[str, Any]) -> None:
        self.version = str(row["version_num"])

    def _versions_end(self) -> None:
        if not self.version:
            self._report.note("alembic_version", "the version of the schema is lost")
        elif not self.version.isdigit() or int(self.version) > int(HEAD):
            self._report.note("alembic_version", f"schema {self.version} is newer than this Relevo ({HEAD})")
        elif self.version == HEAD:
            for name in of_today()[0]:
                if name not in self._source.tables:
                    self._report.note(name, "the table is missing")

    def _device(self, row: dict[str, Any]) -> None:
        self.devices[row["number"]] = row["id"]

    def _trims(self, row: dict[str, Any]) -> None:
        self._trimmed = row["through"]
        self.marks = max(self.marks, self._trimmed)

    def _journal(self, row: dict[str, Any]) -> None:
        first, count = row["seq"], row["n"]
        self._spans.extend((first, count))
        events = journal.decode(row["data"])
        if len(events) != count:
            raise Damaged(f"it holds {len(events)} events")
        times = [event.ts for event in events if type(event) is TelemetryReceived]
        times += [ts for event in events if type(event) is HistoryCorrected for ts, _ in event.points]
        bounds = row["t0"], row["t1"]
        if any(type(event) is TelemetryReceived for event in events) and bounds == (None, None):
            raise Damaged("it says that it has no readings")
        # A correction stays when the readings beside it have left (relevo.store.history.trimming).
        if times and bounds not in ((min(times), max(times)), (None, None)):
            raise Damaged("its readings are of another time than it says")

    def _journal_end(self) -> None:
        spans = sorted(zip(self._spans[::2], self._spans[1::2], strict=True))
        end = spans[0][0] if spans else 1
        for first, count in spans:
            if first > max(end, self._trimmed + 1):
                self._report.note("journal", f"events {max(end, self._trimmed + 1)} to {first - 1} are missing")
            elif first < end:
                self._report.note("journal", f"events {first} to {end - 1} are there twice")
            end = max(end, first + max(count, 1))
        self.last = end - 1
        del self._spans[:]
        if self.marks > self.last:
            self._report.note("journal", f"it ends with event {self.last}, others speak of event {self.marks}")

    def _compaction(self, row: dict[str, Any]) -> None:
        self.marked = True
        low, high = row["low"], row["high"]
        if max(low, high) > self.last:
            self._report.note(
                "compaction", f"events up to {max(low, high)} are marked as moved, the journal ends with {self.last}"
            )
        if high < low or low < 0:
            self._report.note("compaction", f"it is marked from {low} to {high}")

    def _series(self, row: dict[str, Any]) -> None:
        self.series[row["id"]] = row["device"], row["key"]

    def _times(self, row: dict[str, Any]) -> None:
        decode_times(row["data"])
        self._used[row["id"]] = row["used"]

    def _chunk(self, row: dict[str, Any]) -> None:
        self._chunks.add(row["id"])
        if row["series"] not in self.series:
            raise Damaged("whose it is is lost with its series")
        times = self._source.fetch("times", row["times"])
        if times is None:
            raise Damaged("its times are lost")
        at, values = opened(times["data"], row["data"])
        if not len(at.ts) or len(at.ts) != len(values):
            raise Damaged("it has not as many values as times")
        found = len(at.ts), int(at.ts[0]), int(at.ts[-1])
        if found != (row["n"], row["t0"], row["t1"]):
            raise Damaged("it holds other points than it says")
        self.uses[row["times"]] += 1

    def _chunks_end(self) -> None:
        entries = self._source.entries("chunks_series")
        if entries is not None:
            by_series: dict[int, list[tuple[int, int]]] = {}
            for entry in entries:
                if len(entry) == 3 and all(isinstance(one, int) for one in entry):
                    by_series.setdefault(entry[0], []).append((entry[1], entry[2]))
            for series, chunks in sorted(by_series.items()):
                chunks.sort()
                for place, (t0, number) in enumerate(chunks):
                    if number not in self._chunks:
                        until = f" to before {_at(chunks[place + 1][0])}" if place + 1 < len(chunks) else " on"
                        self._report.note("chunks", f"{self._whose(series)}: values from {_at(t0)}{until} are lost")
        for number, used in self._used.items():
            if used != self.uses[number]:
                self._report.note("times", f"row {number} says that {used} use it, {self.uses[number]} do")
        if not self.marked and self._chunks:
            self._report.note("compaction", "how far the journal is in chunks is lost")

    def _latest(self, row: dict[str, Any]) -> None:
        if row["device"] not in self.devices:
            raise Damaged("its device is not there")
        latest.values_of(row["data"])

    # In words

    def _whose(self, series: int) -> str:
        if series not in self.series:
            return f"series {series}"
        number, key = self.series[series]
        return f"device {self.devices.get(number, f'number {number}, which is gone')}, key {key}"

    def title(self, name: str, row: dict[str, Any]) -> str:
        """A row that is lost, as people know it."""
        if name == "journal":
            return f"events {row['seq']} to {row['seq'] + max(row['n'], 1) - 1}, of {_at(row['at'])}, are lost"
        if name == "chunks":
            return f"{self._whose(row['series'])}: {row['n']} values from {_at(row['t0'])} to {_at(row['t1'])} are lost"
        if name == "latest":
            return f"latest values of device {self.devices.get(row['device'], row['device'])} are lost"
        if name == "devices":
            return f"device {row['id']} is lost"
        column = next((one for one in _NAMES if one in row), next(iter(row)))
        return f"{column} {str(row[column])[:64]!r} is lost"


def _at(ms: object) -> str:
    try:
        return f"{datetime.fromtimestamp(int(str(ms)) / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"time {ms}"


def _reason(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__
