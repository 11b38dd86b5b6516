"""Moving the write-ahead log into the database file without holding up a commit.

A checkpoint inside a commit stalls acknowledgements for as long as the disk needs. So the bulk is moved by a thread
with a connection of its own while commits go on, and only the small rest, written meanwhile, is moved between two
commits by the writer; after that the next transaction starts the log from its beginning and it stops growing.
"""

import sqlite3
import threading
from pathlib import Path
from typing import Final

LOG_BYTES: Final = 16 * 1024 * 1024


class Checkpointer:
    """Background half. The writer calls :meth:`written` after commits and asks :meth:`rest_is_due`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._wake = threading.Event()
        self._stopping = False
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relevo-checkpoints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=10)

    def written(self) -> None:
        """Look at the log's size; wakes the thread when it is long."""
        try:
            size = self._log.stat().st_size
        except OSError:
            return
        if size > LOG_BYTES and not self._due.is_set():
            self._wake.set()

    def rest_is_due(self) -> bool:
        """Whether the writer should move the rest now; asking takes the order."""
        if self._due.is_set():
            self._due.clear()
            return True
        return False

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return
            try:
                connection = sqlite3.connect(self._path, isolation_level=None)
                try:
                    connection.execute("PRAGMA synchronous=FULL")
                    # Twice: the second pass leaves the writer only what came in during the first.
                    for _ in range(2):
                        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                finally:
                    connection.close()
            except sqlite3.Error:
                # The log stays as it is and the next commit asks again; a failing disk shows in the commit itself.
                continue
            self._due.set()
