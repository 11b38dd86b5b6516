"""Saving what can be read of a damaged database into a data directory that starts.

Every row that is sound (:class:`relevo.store.checking.Rows`) goes into a new database of the same schema. What it then
says of itself is made true: how many chunks use a row of times, and numbers of events never go back, because whoever
follows the journal would take new events for old ones. That is what the last event is for, which also tells of it.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from relevo.domain.events import Audited
from relevo.errors import Conflict, Damaged, NotFound, StoreUnavailable
from relevo.store import journal
from relevo.store.backup import complaints, files_of
from relevo.store.checking import Report, Rows, source_of
from relevo.store.db import FILE_NAME
from relevo.store.schema import HEAD
from relevo.store.tables import SEQUENCE, Source, of_today

LIST: Final = "missing.txt"
_MAKING: Final = "salvaging.db"
_PEPPER: Final = "secret.key"
_SPARE: Final = 16 * 1024 * 1024

Tell = Callable[[str, int, int], None]


def salvage(data: Path, folder: Path, now_ms: int, tell: Tell = lambda phase, done, total: None) -> Report:
    """Make ``folder`` a data directory of what can be read in ``data``, and a list of what cannot (:data:`LIST`).

    Nothing may run on ``data``, and nothing there is changed. Raises :class:`NotFound`, :class:`Conflict` for a folder
    that is not empty, :class:`StoreUnavailable` without room, and :class:`OSError`.
    """
    database = data / FILE_NAME
    if not database.is_file():
        raise NotFound(f"there is no database in {data}")
    if folder.exists() and any(folder.iterdir()):
        raise Conflict(f"{folder} is not empty: name a new one")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    needed, free = 2 * database.stat().st_size + _SPARE, shutil.disk_usage(folder).free
    if free < needed:
        raise StoreUnavailable(f"{needed / 1e6:,.0f} MB are needed in {folder} and {free / 1e6:,.0f} MB are free")
    report = Report()
    making = folder / _MAKING
    with source_of(database, folder, report, tell) as source:
        making.touch(0o600)
        connection = sqlite3.connect(making, isolation_level=None)
        with closing(connection):
            for pragma in ("auto_vacuum=INCREMENTAL", "journal_mode=OFF", "synchronous=OFF", "page_size=4096"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("BEGIN")
            _fill(connection, source, report, now_ms, tell)
            connection.execute("COMMIT")
    files, _ = files_of(data)
    for name, file in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy2(file, folder / name)
    if not (folder / _PEPPER).exists():
        report.note("file", f"{_PEPPER} is missing: keys of devices cannot be checked; take it from a backup")
    lines = [f"{one.where}: {one.what}" for one in report.findings]
    if report.more:
        lines.append(f"and {report.more} more")
    (folder / LIST).write_text("".join(f"{line}\n" for line in lines) or "nothing\n")
    with closing(sqlite3.connect(making)) as connection:
        wrong = complaints(connection, "integrity_check")
    if wrong:
        raise Damaged(f"what was salvaged is not whole ({wrong[0]}): please report this")
    making.replace(folder / FILE_NAME)
    return report


def _fill(connection: sqlite3.Connection, source: Source, report: Report, now_ms: int, tell: Tell) -> None:
    rows = Rows(source, report, tell)
    for name in rows.order():
        connection.execute(source.tables[name].sql)
    for name in rows.order():
        columns = source.tables[name].columns
        into = ", ".join(f'"{column}"' for column in columns)
        sql = f'INSERT INTO "{name}" ({into}) VALUES ({", ".join("?" * len(columns))})'  # noqa: S608
        for row in rows.sound(name):
            try:
                connection.execute(sql, list(row.values()))
            except (sqlite3.Error, OverflowError) as error:
                report.rows[name] -= 1
                report.note(name, f"{rows.title(name, row)}: {error}")
    _make_true(connection, source, rows, report, now_ms)
    indexes = source.indexes
    if rows.version in ("", HEAD):
        today, indexes = of_today()
        for name, table in today.items():
            if name not in source.tables and name != SEQUENCE:
                connection.execute(table.sql)
    for index in indexes:
        try:
            connection.execute(index)
        except sqlite3.Error as error:
            report.note("file", f"an index cannot be made: {error}")


def _make_true(connection: sqlite3.Connection, source: Source, rows: Rows, report: Report, now_ms: int) -> None:
    if not rows.version:
        connection.execute("INSERT INTO alembic_version VALUES (?)", (HEAD,))
    if "times" in source.tables:
        there = [row[0] for row in connection.execute("SELECT id FROM times")]
        connection.executemany("UPDATE times SET used = ? WHERE id = ?", [(rows.uses[one], one) for one in there])
        connection.execute("DELETE FROM times WHERE used <= 0")
    last = max(journal.next_seq(connection) - 1, rows.marks)
    if "compaction" in source.tables and not rows.marked and report.rows["chunks"]:
        # Moving again what is in chunks already would show it twice.
        connection.execute("INSERT OR REPLACE INTO compaction(id, low, high, through) VALUES (1,?,?,0)", (last, last))
    told = Audited(now_ms, "relevo", "database.salvage", FILE_NAME, {"missing": len(report.findings) + report.more})
    journal.append(connection, last + 1, 1, now_ms, None, None, journal.encode([told]))
    _numbers(connection, source, rows, report)


def _numbers(connection: sqlite3.Connection, source: Source, rows: Rows, report: Report) -> None:
    """Numbers that were given once are not given again."""
    most: dict[str, int] = {name: int(seq) for name, seq in connection.execute("SELECT name, seq FROM sqlite_sequence")}
    if SEQUENCE in source.tables:
        for row in source.rows(SEQUENCE, report.note):
            if row["name"] in source.tables and isinstance(row["seq"], int):
                most[row["name"]] = max(most.get(row["name"], 0), row["seq"])
    known: list[Any] = [device for device, _ in rows.series.values()]
    most["devices"] = max([most.get("devices", 0), *known])
    connection.execute("DELETE FROM sqlite_sequence")
    connection.executemany("INSERT INTO sqlite_sequence(name, seq) VALUES (?,?)", sorted(most.items()))
