"""Moving the write-ahead log into the database file without holding up a commit.

A checkpoint inside a commit stalls acknowledgements for as long as the disk needs. So the bulk is moved by a thread
with a connection of its own while commits go on, and only the small rest, written meanwhile, is moved between two
commits by the writer; after that the next transaction starts the log from its beginning and it stops growing.
"""

import os
import sqlite3
import threading
from pathlib import Path
from typing import Final

LOG_BYTES: Final = 16 * 1024 * 1024
# What the writer may find as the rest: so many frames take it a few milliseconds.
REST_FRAMES: Final = 256
_PASSES_MOST: Final = 5

# "The WAL File Format" (section 4 of SQLite's database file format): big-endian, the page size at 8 and two salts at 16
# of the file's header, the same salts at 8 of the header of every frame of this round.
_FILE_HEADER: Final = 32
_FRAME_HEADER: Final = 24


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
        """Wake the thread when much of the log is in use."""
        if not self._due.is_set() and self.beyond(LOG_BYTES):
            self._wake.set()

    def beyond(self, length: int) -> bool:
        """Whether this round of the log reaches beyond ``length`` bytes.

        The file keeps the length it once had, because growing it again costs syncs. What is in use shows in the salts.
        Its index would say it in one number but must not be opened: closing it would drop SQLite's own locks.
        """
        try:
            file = os.open(self._log, os.O_RDONLY)
        except OSError:
            return False
        try:
            head = os.pread(file, _FILE_HEADER, 0)
            if len(head) < _FILE_HEADER:
                return False
            frame = _FRAME_HEADER + int.from_bytes(head[8:12])
            first_beyond = _FILE_HEADER + (length // frame) * frame
            return os.pread(file, 8, first_beyond + 8) == head[16:24]
        finally:
            os.close(file)

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
                left = self._move()
            except sqlite3.Error:
                # The log stays as it is and the next commit asks again; a failing disk shows in the commit itself.
                continue
            # More is left where somebody reads an old view: that is moved here when it is over, not by the writer.
            if left <= REST_FRAMES:
                self._due.set()

    def _move(self) -> int:
        """Move what can be; how many frames are left. A pass leaves what came in during it to the next."""
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            moved = left = 0
            for _ in range(_PASSES_MOST):
                before = moved
                busy, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if busy:
                    # Somebody else is at it, and it is not known how much that leaves.
                    return REST_FRAMES + 1
                left = frames - moved
                if moved - before <= REST_FRAMES:
                    break
            return left
        finally:
            connection.close()
