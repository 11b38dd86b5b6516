"""The story of each device, and of the door itself (device ``""``): bounded, repetition counted instead of listed."""

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, select

from relevo.store.db import metadata

timeline = Table(
    "timeline",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("device", Text, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Index("timeline_device", "device", "id"),
)

# Not through SQLAlchemy: when a fleet comes back, each of its devices has a line, and CPU is what that takes.
_INSERT: Final = (
    "INSERT INTO timeline (id, device, first_at, at, kind, reason, place, detail, address, count)"
    " VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_MOVE: Final = "UPDATE timeline SET id = ?, at = ?, detail = ?, address = ?, count = count + ? WHERE id = ?"
_LAST: Final = "SELECT coalesce(max(id), 0) FROM timeline"
_COUNT: Final = "SELECT count(*) FROM timeline WHERE device = ?"
_CUT: Final = (
    "DELETE FROM timeline WHERE device = ?1 AND id <"
    " (SELECT id FROM timeline WHERE device = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"
)
# The same thing within this time is one line with a count.
FOLD_MS: Final = 60_000
# A board without a clock would fill its story with nothing else.
CLOCK_FOLD_MS: Final = 3_600_000
_NAMED_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: ``kind`` (refused, connected …), ``reason`` (a stable code), ``place`` (mqtt, http)."""

    device: str
    at: int
    kind: str
    reason: str
    place: str
    detail: str
    address: str
    count: int


class TimelineWriter:
    """Adds lines inside the writer's transaction. After a rollback, :meth:`forget` makes it read afresh."""

    def __init__(self, most: int) -> None:
        self._most = most
        # device -> (lines held, {(kind, reason, place): (row id, at)})
        self._last_id = 0
        self._held: dict[str, int] = {}
        self._recent: dict[tuple[str, str, str, str], tuple[int, int]] = {}

    def forget(self) -> None:
        self._held.clear()
        self._recent.clear()
        self._last_id = 0

    def add(self, connection: sqlite3.Connection, entries: list[Entry]) -> None:
        """Add a transaction's lines together: when a fleet comes back, each of its devices has one."""
        fresh: list[tuple[int | str, ...]] = []
        moved: list[tuple[int | str, ...]] = []
        grown: dict[str, int] = {}
        recents = self._recent
        row = self._last_id or int(connection.execute(_LAST).fetchone()[0])
        for entry in entries:
            device, at = entry.device, entry.at
            key = (device, entry.kind, entry.reason, entry.place)
            recent = recents.get(key)
            row += 1
            if recent is not None and at - recent[1] <= _fold(entry.kind):
                # The line moves to the end: what goes on all the time must not be cut off as the oldest.
                moved.append((row, at, entry.detail, entry.address, entry.count, recent[0]))
            else:
                fresh.append(
                    (
                        row,
                        device,
                        at,
                        at,
                        entry.kind,
                        entry.reason,
                        entry.place,
                        entry.detail,
                        entry.address,
                        entry.count,
                    )
                )
                grown[device] = grown.get(device, 0) + 1
                if len(recents) >= 50_000:
                    recents.clear()
            recents[key] = (row, at)
        self._last_id = row
        # A line that moves may be one of the fresh ones, never the other way round.
        if fresh:
            connection.executemany(_INSERT, fresh)
        if moved:
            connection.executemany(_MOVE, moved)
        for device, lines in grown.items():
            self._trim(connection, device, lines)

    def remove(self, connection: sqlite3.Connection, device: str) -> None:
        """Forget the story of ``device``."""
        connection.execute("DELETE FROM timeline WHERE device = ?", (device,))
        self._held.pop(device, None)
        for key in [key for key in self._recent if key[0] == device]:
            del self._recent[key]

    def _trim(self, connection: sqlite3.Connection, device: str, lines: int) -> None:
        """Cut the story of ``device``, which has just got ``lines`` more, where it is too long."""
        held = self._held.get(device)
        if held is None:
            held = int(connection.execute(_COUNT, (device,)).fetchone()[0])
        else:
            held += lines
        # A quarter more than promised before cutting, so that not every line costs a deletion.
        if held > self._most + self._most // 4:
            connection.execute(_CUT, (device, self._most - 1))
            held = self._most
        self._held[device] = held


def _fold(kind: str) -> int:
    return CLOCK_FOLD_MS if kind.startswith("clock_") else FOLD_MS


def load(core: Connection, device: str, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """The newest ``limit`` lines of ``device`` with an id below ``before``, newest first."""
    query = select(timeline).where(timeline.c.device == device).order_by(timeline.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(timeline.c.id < before)
    return [dict(row._mapping) for row in core.execute(query)]


def newest(core: Connection, devices: list[str], limit: int) -> list[dict[str, Any]]:
    """The newest ``limit`` lines of any of ``devices``, newest first."""
    found: list[dict[str, Any]] = []
    for n in range(0, len(devices), _NAMED_MOST):
        query = select(timeline).where(timeline.c.device.in_(devices[n : n + _NAMED_MOST]))
        found += [dict(row._mapping) for row in core.execute(query.order_by(timeline.c.id.desc()).limit(limit))]
    return sorted(found, key=lambda row: row["id"], reverse=True)[:limit]
