"""Making a backup, in a process of its own: ``python -m relevo.store.backup DATA FILE``.

Theory. The database is copied page by page inside one reading transaction, which is one moment of it however much is
written meanwhile. While it is open the log cannot begin anew, so nothing else is done in it: the copy is looked
through, counted and compressed afterwards, with the lowest priority. What is copied is synced as it goes, because a
heap of unwritten pages would make every commit wait. Acknowledgements never wait for a backup, only its disk and its
processor do.

The copy is beside the file that is being made; both are gone after whatever ends this but ``kill -9``, after which the
next one removes them. Progress goes to standard output as a line of JSON (:class:`Progress`), the last one is a
:class:`Made`.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from relevo import __version__, swap
from relevo.clock import SystemClock
from relevo.domain.events import TelemetryReceived
from relevo.errors import Conflict, Damaged, NotFound, RelevoError, StoreUnavailable
from relevo.files import sync
from relevo.store import journal
from relevo.store.db import FILE_NAME, open_reader
from relevo.store.history import chunks
from relevo.store.schema import current

SUFFIX: Final = ".relevo"
PARTIAL: Final = ".partial"
COPYING: Final = ".copying"
FORMER: Final = ".former"
# What a restore has no use for, beside what stays where it is: the log goes into the copy of the database.
_NOT: Final = frozenset(
    {FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", "local.json", "local.json.new", "admin-password"}
)
_FILE_MOST: Final = 16 * 1024 * 1024
_PAGES: Final = 512
_TELL_S: Final = 0.2
_COMPLAINTS: Final = 3
_ROWS_AT_ONCE: Final = 500
# What stays free beside.
# Unwritten bytes that a commit may have to wait for.
_HEAP: Final = 2 * 1024 * 1024
_FREED_AT_ONCE: Final = 16 * 1024 * 1024
_FREEING_S: Final = 0.02
_SPARE: Final = 16 * 1024 * 1024

Tell = Callable[[str, int, int], None]


class Progress(msgspec.Struct, tag="progress"):
    """``done`` of ``total`` of a phase: copying, checking, compressing."""

    phase: str
    done: int
    total: int


class Made(msgspec.Struct, tag="made"):
    """A backup that is whole, and on the disk."""

    file: str
    size: int
    created: int
    seq: int
    devices: int
    users: int
    points: int
    left_out: list[str]


class Failed(msgspec.Struct, tag="failed"):
    """Why there is none."""

    error: str


Told = Progress | Made | Failed
decode_told: Final = msgspec.json.Decoder(Told).decode


def make(data: Path, file: Path, tell: Tell = lambda phase, done, total: None, *, replace: bool = False) -> Made:
    """Back the data directory up into ``file``, which is there whole or not at all.

    Raises :class:`NotFound` without a database, :class:`Conflict` while another backup runs or when there is such a
    file, :class:`StoreUnavailable` when the disk has no room, :class:`Damaged` when the database is, and
    :class:`OSError`.
    """
    database = data / FILE_NAME
    if swap.pending(data):
        raise Conflict(f"a restore into {data} was interrupted: start Relevo there first, it finishes that")
    if not database.is_file():
        raise NotFound(f"there is no database in {data}: name the data directory with --data DIR")
    if file.exists() and not replace:
        raise Conflict(f"{file} is there already: choose another name")
    if not file.parent.is_dir():
        raise NotFound(f"there is no folder {file.parent}")
    with alone(data):
        copy, partial = file.with_name(file.name + COPYING), file.with_name(file.name + PARTIAL)
        try:
            check_space(database, file.parent)
            now = SystemClock().now_ms()
            copy_database(database, copy, tell)
            return _write(data, copy, partial, file, now, tell)
        finally:
            for one in (copy, copy.with_name(copy.name + "-journal"), partial):
                remove(one)


@contextlib.contextmanager
def alone(data: Path) -> Iterator[None]:
    """Never two at once. Raises :class:`Conflict`."""
    lock = os.open(data / swap.BACKUP_LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise Conflict(f"another backup of {data} is being made (process {holder})") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def check_space(database: Path, folder: Path) -> None:
    """Room for a copy and for what it is compressed to, which may be as much. Raises :class:`StoreUnavailable`."""
    log = database.with_name(database.name + "-wal")
    needed = 2 * (database.stat().st_size + (log.stat().st_size if log.exists() else 0)) + _SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreUnavailable(
            f"a backup in {folder} may need {needed / 1e6:,.0f} MB for a while and {free / 1e6:,.0f} MB are free: "
            "make room or choose another folder"
        )


def copy_database(database: Path, copy: Path, tell: Tell = lambda phase, done, total: None) -> None:
    """One moment of an open or closed database, log included. Raises :class:`Damaged` and :class:`OSError`."""
    for one in (copy, copy.with_name(copy.name + "-journal")):
        one.unlink(missing_ok=True)
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        source = open_reader(database)
        target = sqlite3.connect(copy, isolation_level=None)
        # Kept open to the end: closing it earlier would drop SQLite's own locks.
        synced = os.open(copy, os.O_RDONLY)
        try:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-2048"):
                target.execute(f"PRAGMA {pragma}").fetchall()
            source.execute("BEGIN")
            # Beginning alone holds nothing yet.
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()

            def go_on(status: int, left: int, total: int) -> None:
                _data_sync(synced)
                tell("copying", total - left, total)

            source.backup(target, pages=_PAGES, progress=go_on)
        finally:
            target.close()
            source.close()
            os.close(synced)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_FULL:
            raise StoreUnavailable(f"no room is left in {copy.parent}") from None
        raise Damaged(
            f"{database} cannot be copied: {error}; `relevo check` names what is damaged and `relevo check --salvage "
            "DIR` saves the rest"
        ) from None


def open_copy(copy: Path) -> sqlite3.Connection:
    """To read; nobody writes to it, so it gets neither log nor lock."""
    connection = sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    connection.execute("PRAGMA cache_size=-4096")
    return connection


def complaints(connection: sqlite3.Connection, pragma: str = "quick_check") -> list[str]:
    """What SQLite finds wrong with a database; nothing when it is whole."""
    try:
        found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}({_COMPLAINTS})")]
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # It quotes what it finds, which need not be text.
        return [str(error)]
    return [] if found == ["ok"] else found


def files_of(data: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """What belongs into a backup beside the database, as path in ``data`` and file; and what is too large for it."""
    found: list[tuple[str, Path]] = []
    large: list[str] = []
    for one in sorted(data.rglob("*")):
        name = one.relative_to(data).as_posix()
        if name in _NOT or swap.stays(name.partition("/")[0]) or not one.is_file():
            continue
        if name.endswith((SUFFIX, PARTIAL, COPYING, FORMER)):
            continue
        if one.stat().st_size > _FILE_MOST:
            large.append(name)
        else:
            found.append((name, one))
    return found, large


def _write(data: Path, copy: Path, partial: Path, file: Path, now: int, tell: Tell) -> Made:
    from relevo.store.archive import FORMAT, ArchiveWriter, Manifest

    _spare_others()
    connection = open_copy(copy)
    try:
        tell("checking", 0, 1)
        wrong = complaints(connection)
        if wrong:
            raise Damaged(
                f"the database is damaged, so that no backup was made of it: {wrong[0]}; keep those that there are; "
                "`relevo check` names what is lost"
            )
        counts = count(connection)
        tell("checking", 1, 1)
    finally:
        connection.close()
    others, large = files_of(data)
    total = copy.stat().st_size
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
        writer = ArchiveWriter(out, now)
        parts = []
        for name, path in others:
            with path.open("rb") as source:
                parts.append(writer.add(name, source, path.stat().st_mode & 0o777))
        with copy.open("rb") as source:
            synced = 0

            def compressed(done: int) -> None:
                nonlocal synced
                if out.tell() - synced >= _HEAP:
                    _data_sync(out.fileno())
                    synced = out.tell()
                _forget(source, done)
                tell("compressing", done, total)

            parts.append(writer.add(FILE_NAME, source, 0o600, compressed))
        writer.finish(
            Manifest(FORMAT, __version__, counts.schema, now, counts.seq, counts.devices, counts.users, counts.seq,
                     counts.points, parts, large)
        )  # fmt: skip
        out.flush()
        os.fsync(out.fileno())
    size = partial.stat().st_size
    former = file.with_name(file.name + FORMER)
    remove(former)
    with contextlib.suppress(OSError):
        # So that its going can take its time.
        os.link(file, former)
    partial.replace(file)
    sync(file.parent)
    remove(former)
    return Made(str(file), size, now, counts.seq, counts.devices, counts.users, counts.points, large)


class Counts(NamedTuple):
    """What a database holds: schema, number of the last event, devices, people, stored values."""

    schema: str
    seq: int
    devices: int
    users: int
    points: int


def count(connection: sqlite3.Connection) -> Counts:
    """Count what is in a database of this schema or an older one. Raises ``sqlite3.Error``."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}

    def one(sql: str, table: str) -> int:
        return int(connection.execute(sql).fetchone()[0] or 0) if table in tables else 0

    return Counts(
        str(current(connection) or ""),
        journal.next_seq(connection) - 1 if "journal" in tables else 0,
        one("SELECT count(*) FROM devices", "devices"),
        one("SELECT count(*) FROM accounts", "accounts"),
        one("SELECT sum(n) FROM chunks", "chunks") + (_in_tail(connection) if "compaction" in tables else 0),
    )


def _in_tail(connection: sqlite3.Connection) -> int:
    at, found = chunks.progress(connection).low, 0
    last = journal.next_seq(connection) - 1
    known = dict(connection.execute("SELECT id, registered_seq FROM devices"))
    mark = {name: chunks.progress(connection).mark(number) for number, name in connection.execute(
        "SELECT number, id FROM devices"
    )}  # fmt: skip
    while rows := journal.readings_rows(connection, at, last, _ROWS_AT_ONCE):
        for first, n, _, events in rows:
            for seq, event in enumerate(events, first):
                if type(event) is TelemetryReceived and seq > mark.get(event.device, last):
                    found += len(event.values) if seq >= known[event.device] else 0
            at = first + n - 1
    return found


def remove(file: Path) -> None:
    """Remove a file bit by bit, harmless when there is none: freeing a gigabyte at once holds every commit up.

    Raises :class:`OSError`.
    """
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_nlink == 1:
            with file.open("r+b") as opened:
                size = opened.seek(0, os.SEEK_END)
                while size > _FREED_AT_ONCE:
                    size -= _FREED_AT_ONCE
                    opened.truncate(size)
                    time.sleep(_FREEING_S)
        file.unlink()


def _data_sync(descriptor: int) -> None:
    """See its data onto the disk; when it was written is nobody's concern."""
    (os.fdatasync if sys.platform == "linux" else os.fsync)(descriptor)


def _forget(source: BinaryIO, done: int) -> None:
    """What was read once need not push out of memory what others read again."""
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(source.fileno(), 0, done, os.POSIX_FADV_DONTNEED)


def _spare_others() -> None:
    """Run when nothing else wants to, from here on: nothing is held open any more."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main() -> None:
    """Make one backup and tell how it goes; ends with 1 when there is none."""
    # What ends us politely lets us clean up.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with contextlib.suppress(OSError):
        os.nice(10)
    last = 0.0

    def told(one: Told) -> None:
        print(msgspec.json.encode(one).decode(), flush=True)  # noqa: T201 - what the server reads

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last >= _TELL_S:
            last = now
            told(Progress(phase, done, total))

    try:
        told(make(Path(sys.argv[1]), Path(sys.argv[2]), tell))
    except BrokenPipeError:
        os._exit(1)
    except (RelevoError, OSError) as error:
        told(Failed(str(error)))
        sys.exit(1)


if __name__ == "__main__":
    main()
