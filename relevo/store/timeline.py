"""The story of each device, and of the door itself (device ``""``): bounded, repetition counted instead of listed."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, delete, func, insert, select, update

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
        for entry in entries:
            key = (entry.device, entry.kind, entry.reason, entry.place)
            recent = self._recent.get(key)
            if recent is not None and entry.at - recent[1] <= _fold(entry.kind):
                # The line moves to the end: what goes on all the time must not be cut off as the oldest.
                row = self._next_id(core)
                core.execute(
                    update(timeline)
                    .where(timeline.c.id == recent[0])
                    .values(
                        id=row,
                        at=entry.at,
                        detail=entry.detail,
                        address=entry.address,
                        count=timeline.c.count + entry.count,
                    )
                )
                self._recent[key] = (row, entry.at)
                continue
            row = self._next_id(core)
            core.execute(insert(timeline).values(id=row, first_at=entry.at, **asdict(entry)))
            if len(self._recent) >= 50_000:
                self._recent.clear()
            self._recent[key] = (row, entry.at)
            self._trim(core, entry.device)

    def _next_id(self, core: Connection) -> int:
        if not self._last_id:
            self._last_id = int(core.execute(select(func.coalesce(func.max(timeline.c.id), 0))).scalar_one())
        self._last_id += 1
        return self._last_id

    def _trim(self, core: Connection, device: str) -> None:
        held = self._held.get(device)
        if held is None:
            query = select(func.count()).select_from(timeline).where(timeline.c.device == device)
            held = int(core.execute(query).scalar_one())
        else:
            held += 1
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
