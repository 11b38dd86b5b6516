"""The database: one file, one writing connection, readers of their own.

SQLite in WAL with ``synchronous=FULL``: a commit returns when the log is on the disk, which is what an
acknowledgement promises. Automatic checkpoints are off, because inside a commit they hold acknowledgements up for
hundreds of milliseconds; :class:`relevo.store.checkpoints.Checkpointer` moves the log into the file beside it.
"""

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, MetaData, create_engine
from sqlalchemy.pool import StaticPool

metadata = MetaData()

FILE_NAME: Final = "relevo.db"
BUSY_TIMEOUT_MS: Final = 2_000
CACHE_KIB: Final = 8_192
_INCREMENTAL: Final = 2
_SPARE: Final = 64 * 1024 * 1024


def open_writer(path: Path) -> sqlite3.Connection:
    """The connection that writes. ``isolation_level`` is None: transactions begin and end where we say."""
    # Password hashes and the signing key are in it; the log and its index take the mode of the file.
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        if file == path or file.exists():
            with contextlib.suppress(OSError):
                os.close(os.open(file, os.O_CREAT | os.O_RDONLY, 0o600))
                file.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        if not path.stat().st_size:
            # Before anything is written to it, so that it can become shorter again.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "wal_autocheckpoint=0",
            "journal_size_limit=33554432",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            f"cache_size=-{CACHE_KIB}",
            "foreign_keys=ON",
            # What was erased is not to be found in the file either; not every build of SQLite does that by itself.
            "secure_delete=ON",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection; it never blocks the writer."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA cache_size=-2048")
    return connection


def make_shrinkable(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether a file can become shorter; one that was made without that is written anew where there is room for it.

    Raises ``sqlite3.Error``.
    """
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == _INCREMENTAL:
        return True
    if shutil.disk_usage(path.parent).free < 2 * path.stat().st_size + _SPARE:
        return False
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    # The copy is as large as the file: not in memory, and where there is room for it.
    connection.execute("PRAGMA temp_store=FILE")
    os.environ.setdefault("SQLITE_TMPDIR", str(path.parent))
    connection.execute("VACUUM")
    return True


def engine_on(connection: sqlite3.Connection) -> Engine:
    """SQLAlchemy on an open connection, for everything that changes at human speed.

    It joins the transaction that is open on ``connection`` and neither begins nor ends one.
    """
    return create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)


def core_on(connection: sqlite3.Connection) -> Connection:
    """One SQLAlchemy connection on ``connection``, see :func:`engine_on`."""
    return engine_on(connection).connect()
