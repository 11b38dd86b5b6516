"""The story of each device, and of the door itself (device ``""``): bounded, repetition counted instead of listed."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

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

# Bound names differ from the columns' own, which an update with many rows keeps for itself.
_MOVE: Final = (
    update(timeline)
    .where(timeline.c.id == bindparam("row"))
    .values(
        id=bindparam("new_id"),
        at=bindparam("new_at"),
        detail=bindparam("new_detail"),
        address=bindparam("new_address"),
        count=timeline.c.count + bindparam("more"),
    )
)
# The same thing within this time is one line with a count.
FOLD_MS: Final = 60_000
# A board without a clock would fill its story with nothing else.
CLOCK_FOLD_MS: Final = 3_600_000


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

    def add(self, core: Connection, entries: list[Entry]) -> None:
        """Add a transaction's lines together: when a fleet comes back, each of its devices has one."""
        fresh: list[dict[str, Any]] = []
        moved: list[dict[str, Any]] = []
        grown: Counter[str] = Counter()
        for entry in entries:
            key = (entry.device, entry.kind, entry.reason, entry.place)
            recent = self._recent.get(key)
            row = self._next_id(core)
            if recent is not None and entry.at - recent[1] <= _fold(entry.kind):
                # The line moves to the end: what goes on all the time must not be cut off as the oldest.
                moved.append(
                    {
                        "row": recent[0],
                        "new_id": row,
                        "new_at": entry.at,
                        "new_detail": entry.detail,
                        "new_address": entry.address,
                        "more": entry.count,
                    }
                )
            else:
                fresh.append(
                    {name: getattr(entry, name) for name in Entry.__slots__} | {"id": row, "first_at": entry.at}
                )
                grown[entry.device] += 1
                if len(self._recent) >= 50_000:
                    self._recent.clear()
            self._recent[key] = (row, entry.at)
        # A line that moves may be one of the fresh ones, never the other way round.
        if fresh:
            core.execute(insert(timeline), fresh)
        if moved:
            core.execute(_MOVE, moved)
        for device, lines in grown.items():
            self._trim(core, device, lines)

    def remove(self, core: Connection, device: str) -> None:
        """Forget the story of ``device``."""
        core.execute(delete(timeline).where(timeline.c.device == device))
        self._held.pop(device, None)
        for key in [key for key in self._recent if key[0] == device]:
            del self._recent[key]

    def _next_id(self, core: Connection) -> int:
        if not self._last_id:
            self._last_id = int(core.execute(select(func.coalesce(func.max(timeline.c.id), 0))).scalar_one())
        self._last_id += 1
        return self._last_id

    def _trim(self, core: Connection, device: str, lines: int) -> None:
        """Cut the story of ``device``, which has just got ``lines`` more, where it is too long."""
        held = self._held.get(device)
        if held is None:
            query = select(func.count()).select_from(timeline).where(timeline.c.device == device)
            held = int(core.execute(query).scalar_one())
        else:
            held += lines
        # A quarter more than promised before cutting, so that not every line costs a deletion.
        if held > self._most + self._most // 4:
            newest = (
                select(timeline.c.id)
                .where(timeline.c.device == device)
                .order_by(timeline.c.id.desc())
                .limit(1)
                .offset(self._most - 1)
                .scalar_subquery()
            )
            core.execute(delete(timeline).where((timeline.c.device == device) & (timeline.c.id < newest)))
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
