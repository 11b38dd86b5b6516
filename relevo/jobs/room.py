"""Keeps history within its ages, and the database within the disk that it may take.

Theory. By age: once an hour each series is looked at, and points, hours and days that are too old go. For want of room:
when the file and its log together come near ``max_disk``, the oldest readings go first, a slice of time at a time, down
to the last day, whose hours stay; then the oldest hours, down to a month, whose days stay; then the oldest days; then
also readings of the last day. All of it by the compactor's process and in transactions that the writer can spare, so
nobody waits for an acknowledgement because of it, and none is refused. What became free goes back to the file system.

A size is noted once an hour; the forecast is made of these notes, and administrators are told two weeks before anything
has to go.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from relevo.clock import Clock
from relevo.domain.forecast import DAY, Forecast, forecast
from relevo.domain.keeping import Ages, Keeping, Limits, Policy
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.zones import local, zone_of
from relevo.errors import QueueFull, StoreUnavailable
from relevo.jobs.background import Background
from relevo.jobs.pace import Pace
from relevo.jobs.trimming import Trimming
from relevo.log import get_logger
from relevo.notifications import Notifications
from relevo.pipeline import Pipeline
from relevo.store.history import rollups, sizes
from relevo.store.history.processes import Process
from relevo.store.history.rollups import DAYS, HOURS
from relevo.store.history.worker import ExpireWanted
from relevo.store.readers import Readers

log = get_logger("relevo.jobs")

AGES_S: Final = 3_600.0
NOTE_MS: Final = 3_600_000
TOLD_BEFORE_MS: Final = 14 * DAY
_TOLD_AGAIN_MS: Final = 7 * DAY
_PATIENCE_S: Final = 120.0
# What stays free below the limit: of it this part, and at least what a pass of the compactor may add before anything
# goes.
_MARGIN_SHARE: Final = 20
_MARGIN: Final = 24 * 1024 * 1024
# What the log takes at rest. Where somebody reads for long it is more for a while, and no history goes because of that.
_LOG: Final = 32 * 1024 * 1024
_ROWS_FIRST: Final = 20
_ROWS_MOST: Final = 1_000
# So much of what there is goes at a time, in parts of the time that it spans.
_SLICE: Final = 50
# Then others have their turn.
_ROUNDS_MOST: Final = 10
_RAW_LEAST_MS: Final = DAY
_HOURS_LEAST_MS: Final = 31 * DAY
_HOUR_MS: Final = 3_600_000
_WATCH_S: Final = 0.1
_TEXTS: Final = {
    "en": (
        "The disk that history may take is nearly used up",
        "It will be full about {when}. Then the oldest readings are kept as hours only. Allow more (history.max_disk), "
        "or keep readings for fewer days.",
    ),
    "es": (
        "El disco que puede ocupar el historial está casi lleno",
        "Se llenará hacia el {when}. Entonces las lecturas más antiguas se guardarán solo por horas. Permita más "
        "(history.max_disk) o guarde las lecturas menos días.",
    ),
    "pt": (
        "O disco que o histórico pode ocupar está quase cheio",
        "Ficará cheio por volta de {when}. Então as leituras mais antigas serão guardadas apenas por horas. Permita "
        "mais (history.max_disk) ou guarde as leituras por menos dias.",
    ),
}


class Room:
    """Does its part when the compactor looks. ``max_disk`` is bytes, 0 for no limit."""

    def __init__(
        self,
        path: Path,
        pipeline: Pipeline,
        readers: Readers,
        trimming: Trimming,
        notifications: Notifications,
        clock: Clock,
        default: Ages,
        max_disk: int,
        zone: str,
    ) -> None:
        self._files = (path, path.with_name(path.name + "-wal"))
        self._pipeline = pipeline
        self._readers = readers
        self._trimming = trimming
        self._notifications = notifications
        self._clock = clock
        self.default = default
        self.max_disk = max_disk
        self._zone = zone
        self.keepings: dict[str, Keeping] = {}
        self._pace = Pace(_ROWS_FIRST, _ROWS_MOST)
        self._ages_at = clock.monotonic()
        self._noted_at = 0
        self._told_at: int | None = None
        # What went for want of room: before this (milliseconds UTC).
        self._before = {"raw": 0, "hours": 0, "days": 0}
        self.forecast: Forecast | None = None
        self.oldest: tuple[int | None, int | None, int | None] = (None, None, None)
        self.expired = 0
        self.longest_s = 0.0
        self.short = False
        self._watch = Background("room")
        # What is still to become chunks.
        self.tail_bytes: Callable[[], int] = lambda: 0

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        match change:
            case Kept(Keeping() as one):
                self.keepings[one.id] = one
                self._ages_at = self._clock.monotonic()
            case Dropped(kind, key) if kind is Keeping:
                self.keepings.pop(key, None)

    def taken(self) -> int:
        """Bytes of the database's file and its log, as the file system has them."""
        return sum(file.stat().st_size for file in self._files if file.exists())

    async def look(self, process: Process) -> None:
        """Do what is due. Raises :class:`StoreUnavailable`, :class:`Stale`, ``sqlite3.Error``."""
        if self._clock.monotonic() >= self._ages_at:
            self._ages_at = self._clock.monotonic() + AGES_S
            if Policy(self.default, self.keepings.values()).bounded:
                await self._expire(process)
        if self.max_disk:
            await self._make_room(process)
        now = self._clock.now_ms()
        if abs(now - self._noted_at) >= NOTE_MS:
            await self._note(now)

    def start(self) -> None:
        """Follow the size of the files."""
        if self.max_disk:
            self._watch.begin(self._follow_size())

    async def stop(self) -> None:
        """Harmless when it never began."""
        await self._watch.end()
        self._pipeline.held = False

    @property
    def pressing(self) -> bool:
        """Whether there is so little room that making some comes first."""
        return bool(self.max_disk) and self.taken() + self.tail_bytes() > self.max_disk - self._margin()

    async def _follow_size(self) -> None:
        while True:
            # Where nothing can go, readings are not held up for it.
            self._pipeline.held = (
                not self.short and self.taken() + self.tail_bytes() > self.max_disk - self._margin() // 2
            )
            await asyncio.sleep(_WATCH_S)

    # By age and by pressure

    async def _expire(self, process: Process) -> int:
        """All that has to go now; how many transactions it took."""
        limits = Limits(self._clock.now_ms(), self.default, list(self.keepings.values()), **self._before)
        after = steps = counted = 0
        while True:
            answer = await process.ask(ExpireWanted(after, self._pace.rows, self._zone, limits), _PATIENCE_S)
            step = answer.roll
            if step is None:
                if steps == counted:
                    return steps
                # Where points went, hours may go now.
                after, counted = 0, steps
                continue
            took = await self._pipeline.maintain(partial(rollups.commit, step=step))
            self._pace.took(step.rows(), took)
            self.longest_s = max(self.longest_s, took)
            self.expired += len(step.units)
            after = answer.after
            steps += 1

    def _margin(self) -> int:
        return max(self.max_disk // _MARGIN_SHARE, _MARGIN)

    async def _make_room(self, process: Process) -> None:
        goal = max(self.max_disk - self._margin() - _LOG - self.tail_bytes(), 0)
        short = False
        for _ in range(_ROUNDS_MOST):
            if await self._in_use() <= goal:
                break
            self.oldest = await self._readers.run(_oldest)
            if not self._advance():
                short = True
                break
            if not await self._expire(process):
                # What could go is not in roll-ups yet.
                break
        # The file itself follows what is in use.
        if self._trimming.space.size > goal:
            await self._trimming.give_back(self._margin() // 2)
        if short and not self.short:
            log.error("disk_limit_too_small", max_disk=self.max_disk, in_use=await self._in_use())
        self.short = short

    async def _in_use(self) -> int:
        await self._trimming.measure()
        space = self._trimming.space
        return space.size - space.free

    def next_to_go(self) -> tuple[str, int] | None:
        """What goes first for want of room (``raw``, ``hours``, ``days``), and before when (milliseconds UTC)."""
        now = self._clock.now_ms()
        raw, hours, days = self.oldest
        for name, oldest, least in (
            ("raw", raw, _RAW_LEAST_MS),
            ("hours", hours, _HOURS_LEAST_MS),
            ("days", days, DAY),
            ("raw", raw, _HOUR_MS),
        ):
            if oldest is not None:
                before = oldest + max((now - oldest) // _SLICE, _HOUR_MS)
                if before <= now - least:
                    return name, before
        return None

    def space(self) -> tuple[int, int]:
        """Bytes of the file, and what of it is free, as last looked at."""
        return self._trimming.space.size, self._trimming.space.free

    def _advance(self) -> bool:
        """Move on what goes for want of room, by a slice; False when there is nothing left to take."""
        found = self.next_to_go()
        if found is not None:
            self._before[found[0]] = found[1]
        return found is not None

    # What is to come

    async def _note(self, now: int) -> None:
        self._noted_at = now
        await self._trimming.measure()
        used = self._trimming.space.size - self._trimming.space.free
        self.oldest = await self._readers.run(_oldest)
        notes = await self._readers.run(sizes.noted, 24 * 15)
        await self._pipeline.maintain(partial(sizes.note, at=now, used=used))
        room = max(self.max_disk - self._margin() - _LOG, 1) if self.max_disk else 0
        self.forecast = forecast(notes, now, used, room)
        if self.forecast is not None and self.forecast.full_at is not None:
            await self._tell(now, self.forecast.full_at)

    async def _tell(self, now: int, full_at: int) -> None:
        if full_at - now > TOLD_BEFORE_MS or (self._told_at is not None and now - self._told_at < _TOLD_AGAIN_MS):
            return
        self._told_at = now
        language = self._notifications.language_or_default(self._notifications.preferences_of(""))
        title, text = _TEXTS[language]
        when = local(full_at, zone_of(self._zone)).date().isoformat()
        log.warning("disk_limit_near", full_at=when, max_disk=self.max_disk)
        try:
            await self._notifications.raise_("warning", "storage", title, text.format(when=when))
        except (QueueFull, StoreUnavailable) as error:
            log.warning("disk_limit_not_told", error=str(error))

    def load(self, keepings: Iterable[Keeping]) -> None:
        """Take up what is stored."""
        self.keepings = {one.id: one for one in keepings}


def _oldest(connection: sqlite3.Connection) -> tuple[int | None, int | None, int | None]:
    """The first time (milliseconds UTC) of readings that are in hours, of hours whose readings are gone, and of days
    whose hours are."""
    found = []
    for table, step, bound in (
        ("chunks", "", f"rolled - {_HOUR_MS}"),
        ("rollups", HOURS, "raw_from"),
        ("rollups", DAYS, "hours_from"),
    ):
        of_step = f"AND step = {step}" if step else ""
        first = f"SELECT t0 FROM {table} WHERE series = marks.series {of_step} ORDER BY t0 LIMIT 1"  # noqa: S608
        text = f"SELECT min(first) FROM (SELECT ({first}) AS first, {bound} AS bound FROM marks) WHERE first < bound"  # noqa: S608
        found.append(connection.execute(text).fetchone()[0])
    return found[0], found[1], found[2]
