"""What makes exports and reads imports, a process for each: ``python -m relevo.exchange.program DATABASE``.

Questions come in on standard input and answers go out on standard output (:mod:`relevo.exchange.protocol`). The
database is only read: what is imported the server commits.
"""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from relevo.errors import Invalid
from relevo.exchange.protocol import Answer, ExportWanted, ImportWanted, Part, Wanted, decode_wanted, encode
from relevo.store.db import open_reader
from relevo.store.history.worker import serve

_NICER: Final = 5


class Work:
    """The export or import that this process is about; another one takes its place."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._answers: Iterator[Answer] = iter(())
        self._parts: list[bytes] = []

    def answer(self, wanted: Wanted) -> Answer:
        """Raises :class:`Invalid` for what whoever asks did wrong."""
        if isinstance(wanted, ExportWanted):
            from relevo.exchange.exporting import export

            self._answers = export(self._connection, wanted)
        elif isinstance(wanted, ImportWanted):
            from relevo.exchange.importing import imported

            self._parts.clear()
            self._answers = imported(self._connection, wanted, self._parts)
        elif isinstance(wanted, Part):
            self._parts.append(wanted.data)
        return next(self._answers)


def main() -> None:
    """Answer questions until standard input ends."""
    os.nice(_NICER)
    connection = open_reader(Path(sys.argv[1]))
    work = Work(connection)

    def answered(data: bytes) -> bytes:
        try:
            answer = work.answer(decode_wanted(data))
        except Invalid as problem:
            # It may name what stands in a file, in whatever encoding.
            told = problem.message.encode(errors="replace").decode()
            answer = Answer(error=told, reason=problem.reason)
        except Exception as error:
            answer = Answer(error=ascii(f"{type(error).__name__}: {error}"[:500])[1:-1])
        return encode(answer)

    with contextlib.closing(connection):
        serve(answered)


if __name__ == "__main__":
    main()
