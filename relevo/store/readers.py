"""Reading beside the writer: a few threads, each with a read-only connection of its own."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from relevo.store.db import core_on, open_reader

P = ParamSpec("P")
R = TypeVar("R")


class Readers:
    """Runs functions that take a connection, off the event loop."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="relevo-reader")
        self._own = threading.local()
        self._opened: list[sqlite3.Connection] = []

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """``function(connection, …)`` on a reader thread. Raises what it raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: function(self._connection(), *args, **kwargs))

    async def run_core(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for functions written in SQLAlchemy Core."""

        def call(connection: sqlite3.Connection) -> R:
            core: Connection | None = getattr(self._own, "core", None)
            if core is None:
                core = self._own.core = core_on(connection)
            try:
                return function(core, *args, **kwargs)
            finally:
                # Ends SQLAlchemy's notion of a transaction, so that the next call sees the newest data.
                core.rollback()

        return await self.run(call)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        for connection in self._opened:
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = open_reader(self._path)
            self._opened.append(connection)
        return connection
