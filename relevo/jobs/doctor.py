"""``relevo doctor``: what has to be right on a machine before and while Relevo runs on it.

Every check is a fact with a detail; one that failed says what to do. Nothing is changed on the machine except for a
file in the data directory that is written and removed at once.
"""

import ctypes
import errno
import fcntl
import importlib.util
import os
import resource
import shutil
import socket
import sqlite3
import ssl
import statistics
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from relevo.clock import Clock, SystemClock
from relevo.jobs import listeners
from relevo.settings import Listen, Settings
from relevo.store.db import FILE_NAME

LOCK_NAME: Final = "lock"
SPACE_LEAST: Final = 256 * 1024 * 1024
SYNC_MOST_MS: Final = 50.0
SYNC_ROUNDS: Final = 15
SQLITE_LEAST: Final = (3, 35, 0)
QUICK_CHECK_S: Final = 10.0
YEARS: Final = range(2025, 2100)
# What the process opens beside connections: database, log, listeners, readers.
FILES_BESIDE: Final = 200


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``remedy`` is empty when nothing has to be done."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def run_checks(settings: Settings, clock: Clock | None = None) -> list[Check]:
    """All checks, in the order in which to repair. Blocks for up to some ten seconds; never raises."""
    clock = clock or SystemClock()
    holder = lock_holder(settings.data)
    checks = [check_directory(settings.data), check_lock(settings.data, holder)]
    if checks[0].ok:
        checks += [check_space(settings.data), check_sync(settings.data, clock)]
    checks += [check_clock(clock), check_sqlite(), check_database(settings, clock)]
    ports = [("http", settings.http_listen)]
    ports += [("http_extra", listen) for listen in settings.http_extra_listen]
    if not settings.broker_url:
        ports.append(("mqtt", settings.mqtt_listen))
        if settings.mqtts_listen is not None:
            ports.append(("mqtts", settings.mqtts_listen))
    checks += [check_port(name, listen, holder) for name, listen in ports]
    if settings.tls_cert is not None and settings.tls_key is not None:
        checks.append(check_certificate(settings.tls_cert, settings.tls_key))
    checks += [check_files(settings.limits.connections), check_parts()]
    return checks


def check_directory(data: Path) -> Check:
    """Whether the data directory can be written, or made."""
    name = "data directory"
    remedy = f"give this user the right to write there, or choose another with --data DIR (user id {os.geteuid()})"
    if not data.exists():
        above = next(parent for parent in data.absolute().parents if parent.exists())
        writable = above.is_dir() and os.access(above, os.W_OK | os.X_OK)
        # Without a directory there is no disk to measure; what exists above it stands for it.
        return Check(
            name, writable, f"{data} does not exist yet, {above} is {_may(writable)}", "" if writable else remedy
        )
    try:
        with tempfile.TemporaryFile(dir=data) as probe:
            probe.write(b"relevo")
    except OSError as error:
        return Check(name, False, f"{data} cannot be written: {error.strerror}", remedy)
    return Check(name, True, f"{data} can be written")


def lock_holder(data: Path) -> int | None:
    """Process id of the Relevo that runs on this directory; 0 when it cannot be told, ``None`` when none runs."""
    try:
        lock = os.open(data / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(lock, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(lock)
    return None


def check_lock(data: Path, holder: int | None) -> Check:
    """Which process uses the data directory."""
    if holder is None:
        return Check("lock", True, "no Relevo runs on this data directory")
    return Check("lock", True, f"a Relevo runs on this data directory (process {holder or 'unknown'})")


def check_space(data: Path) -> Check:
    """Whether the disk has room."""
    free = shutil.disk_usage(_existing(data)).free
    remedy = "" if free >= SPACE_LEAST else "make room, or choose a directory on another disk with --data DIR"
    return Check("disk space", free >= SPACE_LEAST, f"{free / 1e9:.1f} GB free", remedy)


def check_sync(data: Path, clock: Clock) -> Check:
    """How long the disk takes to make a write durable: every acknowledgement waits for that."""
    name = "synced write"
    try:
        times = []
        with tempfile.TemporaryFile(dir=_existing(data), buffering=0) as probe:
            for _ in range(SYNC_ROUNDS):
                begun = clock.monotonic()
                probe.write(bytes(4096))
                _sync(probe.fileno())
                times.append((clock.monotonic() - begun) * 1000)
    except OSError as error:
        return Check(
            name, False, f"failed: {error.strerror}", "the disk is full or failing: replace it or choose another"
        )
    median = statistics.median(times)
    ok = median <= SYNC_MOST_MS
    remedy = "acknowledgements wait for this: use a local SSD, not a network share or a worn SD card"
    return Check(name, ok, f"median {median:.1f} ms, slowest {max(times):.1f} ms", "" if ok else remedy)


def check_clock(clock: Clock) -> Check:
    """Whether the machine's clock can be right; times of boards are judged by it."""
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year not in YEARS:
        return Check("clock", False, text, "set the machine's clock: timedatectl set-ntp true, or date -s")
    synchronised = _synchronised()
    if synchronised is None:
        return Check("clock", True, text)
    # Not a failure: machines that take their time from a host or a GPS report themselves as not synchronised.
    return Check("clock", True, text + (", synchronised" if synchronised else ", not synchronised by NTP"))


def check_sqlite() -> Check:
    """Whether SQLite is new enough."""
    ok = sqlite3.sqlite_version_info >= SQLITE_LEAST
    least = ".".join(map(str, SQLITE_LEAST))
    return Check(
        "SQLite", ok, sqlite3.sqlite_version, "" if ok else f"install a Python built with SQLite {least} or newer"
    )


def check_database(settings: Settings, clock: Clock) -> Check:
    """Whether the database is whole; a large one is looked at for ten seconds only."""
    name = "database"
    url = settings.database_url
    if not url.startswith("sqlite"):
        parts = urlsplit(url)
        return Check(name, True, f"{parts.scheme} on {parts.hostname}, not looked at")
    path = Path(url.removeprefix("sqlite:///")) if url != "sqlite" else settings.data / FILE_NAME
    if not path.exists():
        return Check(name, True, f"{path} does not exist yet")
    remedy = f"stop Relevo, keep a copy of {path} and its -wal file, and restore a backup"
    until = clock.monotonic() + QUICK_CHECK_S
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        return Check(name, False, f"{path} cannot be opened: {error}", remedy)
    try:
        connection.set_progress_handler(lambda: clock.monotonic() > until, 100_000)
        found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return Check(name, True, f"{path} is large, nothing wrong in the first {QUICK_CHECK_S:.0f} seconds")
        return Check(name, False, f"{path} cannot be read: {error}", remedy)
    except sqlite3.Error as error:
        return Check(name, False, f"{path} is damaged: {error}", remedy)
    finally:
        connection.close()
    if found != ["ok"]:
        return Check(name, False, f"{path} is damaged: {found[0]}", remedy)
    return Check(name, True, f"{path} is whole")


def check_port(name: str, listen: Listen, holder: int | None) -> Check:
    """Whether an address can be listened on, or already is by the Relevo ``holder``."""
    title = f"{name} {listen}"
    option = f"--{name} HOST:PORT" if name in ("http", "mqtt") else f"RELEVO_{name.upper()}"
    try:
        address = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(address[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address[4])
            # Binding succeeds beside a listener that allows it, listening does not.
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            inodes = listeners.listening(listen.port)
            own = listeners.sockets_of(holder) if holder else None
            # Another user's process shows nothing: then the lock is the best sign there is.
            if holder is not None and (own is None or inodes & own):
                return Check(title, True, f"in use by the Relevo that runs (process {holder or 'unknown'})")
            return Check(
                title,
                False,
                f"in use by {listeners.owner(inodes)}",
                f"stop that program, or choose another port with {option}",
            )
        if error.errno == errno.EACCES:
            remedy = f"ports below 1024 need a right that this user lacks: choose another with {option}"
            return Check(title, False, "not allowed", remedy)
        remedy = f"the address must belong to this machine; 0.0.0.0 means all: {option}"
        return Check(title, False, error.strerror or str(error), remedy)
    return Check(title, True, "free")


def check_certificate(certificate: Path, key: Path) -> Check:
    """Whether certificate and key can be read and belong together."""
    try:
        # The empty password keeps an encrypted key from asking on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        remedy = "RELEVO_TLS_CERT and RELEVO_TLS_KEY must name readable PEM files that belong together"
        return Check("certificate", False, str(error.strerror or error), remedy)
    return Check("certificate", True, str(certificate))


def check_files(connections: int) -> Check:
    """Whether the process may open as many files as connections are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + FILES_BESIDE
    ok = soft == resource.RLIM_INFINITY or soft >= needed
    detail = f"{soft} of {hard} allowed, {needed} needed for {connections} connections"
    remedy = f"ulimit -n {needed} (LimitNOFILE={needed} in systemd), or lower RELEVO_LIMITS__CONNECTIONS"
    return Check("open files", ok, detail, "" if ok else remedy)


def check_parts() -> Check:
    """Which optional parts are present; everything runs without them, at more CPU a message."""
    parts = {part: importlib.util.find_spec(part) is not None for part in ("uvloop", "httptools")}
    absent = [part for part, present in parts.items() if not present]
    if absent:
        return Check("optional parts", True, f"{' and '.join(absent)} absent: each message costs more CPU")
    return Check("optional parts", True, " and ".join(parts))


def _may(writable: bool) -> str:
    return "writable" if writable else "not writable"


def _existing(data: Path) -> Path:
    return data if data.exists() else next(parent for parent in data.absolute().parents if parent.exists())


def _sync(fd: int) -> None:
    if sys.platform == "linux":
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def _synchronised() -> bool | None:
    """What the kernel knows about NTP; ``None`` when it does not say (not Linux, or forbidden in a container)."""
    if sys.platform != "linux":
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    # struct timex begins with the mode, where 0 means to read only; it is smaller than this on every machine.
    state: int = adjtimex(ctypes.create_string_buffer(512))
    return None if state < 0 else state != 5
