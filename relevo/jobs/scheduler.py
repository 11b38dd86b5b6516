"""Running schedules (:mod:`relevo.domain.schedules`) when their moments come.

Theory. A *run* is one occurrence of one schedule, worked off device by device as each one's jitter falls due. Every
command carries the idempotency key of its occurrence, and how far a schedule is done with is committed after the last
of them: whoever is started again in between asks once more, and nobody is told twice. A schedule acts as its owner,
with the rights that the owner has at that moment. Whatever does not happen is told in the story of the device it is
about, or of the door when it is about none.
"""

import asyncio
import contextlib
import heapq
from typing import Final, NamedTuple

import msgspec

from relevo.clock import Clock
from relevo.domain.actions import Order, order_of
from relevo.domain.devices import Registry
from relevo.domain.events import Noticed
from relevo.domain.people import People
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.schedules import (
    Occurrence,
    Reckoning,
    Schedule,
    ScheduleProgress,
    actions_of,
    next_planned,
    reckon,
    run_at,
    steps_now,
    too_late,
)
from relevo.domain.targets import meant
from relevo.domain.zones import said
from relevo.errors import Conflict, Excluded, Invalid, NotFound, QueueFull, RelevoError, StoreUnavailable
from relevo.jobs.acting import Acting
from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.pipeline import Entry, Pipeline
from relevo.redaction import redact
from relevo.refusals import Refusals

log = get_logger("relevo.jobs")

# A wall clock that was corrected is noticed after this long.
EVERY_S: Final = 5.0
_LEAST_S: Final = 0.01
_AGAIN_MS: Final = 500
_AT_ONCE: Final = 64
_DETAIL: Final = 300
_NONE_FIT: Final = "it fits no device that its owner may control"


class _Run:
    """One occurrence underway; ``left`` counts what is still to be asked."""

    def __init__(self, schedule: Schedule, occurrence: Occurrence) -> None:
        self.schedule = schedule
        self.occurrence = occurrence
        self.left = 0
        self.asked = 0
        self.problems = 0
        self.over = False


class _Call(NamedTuple):
    """One thing to ask of one device at ``at`` (milliseconds UTC), with its turn among those of the same time."""

    at: int
    turn: int
    run: _Run
    device: str
    order: Order
    key: str


class Scheduler:
    """All schedules. :meth:`look` does what is due; the task around it only sleeps."""

    def __init__(
        self,
        acting: Acting,
        pipeline: Pipeline,
        registry: Registry,
        people: People,
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self._acting = acting
        self._pipeline = pipeline
        self._registry = registry
        self._people = people
        self._refusals = refusals
        self._clock = clock
        self.all: dict[str, Schedule] = {}
        self.progress: dict[str, ScheduleProgress] = {}
        # Through when each schedule is done with or underway, and the next occurrence after that; both milliseconds.
        self._done: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._coming: list[tuple[int, str]] = []
        self._runs: dict[str, list[_Run]] = {}
        self._calls: list[_Call] = []
        self._turn = 0
        # What was told of a device last, by schedule: the same is not told again with every run.
        self._told: dict[str, dict[str, str]] = {}
        self._stirred = asyncio.Event()
        self._task = Background("scheduler")

    def apply(self, change: RecordChange) -> None:
        """Follow a commit."""
        match change:
            case Kept(Schedule() as schedule):
                self._take(schedule)
            case Kept(ScheduleProgress() as progress):
                self.progress[progress.id] = progress
                if progress.id in self.all and progress.id not in self._runs:
                    self._take(self.all[progress.id])
            case Dropped(kind, key) if kind is Schedule:
                self._end_runs(key)
                for held in (self.all, self._done, self._next, self._told):
                    held.pop(key, None)
            case Dropped(kind, key) if kind is ScheduleProgress:
                self.progress.pop(key, None)

    def start(self) -> None:
        self.sweep()
        self._task.begin(self._run())
        log.info("scheduler_started", schedules=len(self.all))

    async def stop(self) -> None:
        """Harmless when it never began."""
        if await self._task.end():
            log.info("scheduler_ended")

    def sweep(self) -> None:
        """Forget how far schedules were done with that are no more."""
        orphans = [one for one in self.progress if one not in self.all]
        if orphans:
            self._pipeline.submit([Dropped(ScheduleProgress, one) for one in orphans])

    async def look(self) -> int | None:
        """Begin what is due, ask whom it is time to ask, and say when to look next (milliseconds UTC)."""
        now = self._clock.now_ms()
        while self._coming and self._coming[0][0] <= now:
            at, schedule_id = heapq.heappop(self._coming)
            if self._next.get(schedule_id) == at:
                self._reckon(self.all[schedule_id], now)
        await self._ask_due(now)
        while self._coming and self._next.get(self._coming[0][1]) != self._coming[0][0]:
            heapq.heappop(self._coming)
        times = [self._coming[0][0]] if self._coming else []
        return min([*times, self._calls[0].at] if self._calls else times, default=None)

    async def run_now(self, schedule: Schedule) -> tuple[dict[str, str], dict[str, str]]:
        """Run out of turn: the last command asked for by device, and why none could be. Raises :class:`Invalid`."""
        asked: dict[str, str] = {}
        refused: dict[str, str] = {}

        async def ask(device: str, order: Order) -> None:
            try:
                asked[device] = await self._acting.ask(device, order, schedule.owner, schedule.origin, "")
            except RelevoError as error:
                refused[device] = str(error)[:_DETAIL]

        problem = ""
        for step in steps_now(schedule, self._clock.now_ms()):
            order = order_of(step.action)
            chosen, left_out, why = meant(order.selection, schedule.owner, self._people, self._registry)
            problem = problem or why
            refused |= dict.fromkeys(left_out, f"{schedule.owner!r} may not control it, or there is none that fits")
            for n in range(0, len(chosen), _AT_ONCE):
                await asyncio.gather(*(ask(device, order) for device in chosen[n : n + _AT_ONCE]))
        if not asked and not refused:
            raise Invalid("schedule_invalid", problem or _NONE_FIT)
        return asked, refused

    # Following

    def _take(self, schedule: Schedule) -> None:
        before = self.all.get(schedule.id)
        self.all[schedule.id] = schedule
        if before is not None and (not schedule.enabled or before.begun_at != schedule.begun_at):
            # What was still to be asked belonged to a timing that is no more.
            self._end_runs(schedule.id)
        if before is not schedule:
            self._told.pop(schedule.id, None)
        progress = self.progress.get(schedule.id)
        done = progress.done_at if progress else schedule.begun_at - 1
        self._advance(schedule, max(done, self._done.get(schedule.id, 0)))
        self._stirred.set()

    def _advance(self, schedule: Schedule, done: int) -> None:
        self._done[schedule.id] = done
        try:
            following = next_planned(schedule, done + 1)
        except Invalid as problem:
            # A zone that this system's time zone data has lost.
            log.error("schedule_has_no_plan", schedule=schedule.id, error=str(problem))
            following = None
        if following is None:
            self._next.pop(schedule.id, None)
        else:
            self._next[schedule.id] = following
            heapq.heappush(self._coming, (following, schedule.id))

    def _end_runs(self, schedule_id: str) -> None:
        for run in self._runs.pop(schedule_id, ()):
            run.over = True

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            following = await self.look()
            left = EVERY_S if following is None else (following - self._clock.now_ms()) / 1000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(EVERY_S, max(_LEAST_S, left))):
                    await self._stirred.wait()

    # What has come

    def _reckon(self, schedule: Schedule, now: int) -> None:
        found = reckon(schedule, self._done[schedule.id], now)
        self._advance(schedule, now)
        if found.skipped:
            self._skip(schedule, found, now)
        for occurrence in found.runs:
            self._begin(schedule, occurrence, now)

    def _skip(self, schedule: Schedule, found: Reckoning, now: int) -> None:
        """Tell of runs that came too late; of one that was asked for before the server went down, nothing."""
        told = []
        first = Occurrence(schedule.id, found.first, ())
        chosen = self._meant_at_all(schedule)
        for device in chosen:
            asked = self._acting.was_asked(device, schedule.owner, first.key(0), now)
            count = found.skipped - asked
            if count == 1:
                when = f"the run planned for {said(found.last if asked else found.first)}"
            else:
                more = "" if found.exact else "more than "
                when = f"{more}{count} runs planned from {said(found.first)} to {said(found.last)}"
            if count:
                told.append((device, f"{when} could not start in time"))
        if not chosen:
            told.append(("", f"{found.skipped} runs could not start in time, and no device was meant"))
        before = self.progress.get(schedule.id) or ScheduleProgress(schedule.id, 0)
        note = f"{found.skipped} skipped" if told else ""
        progress = msgspec.structs.replace(before, done_at=found.last, note=note)
        notices = [self._notice(device, "schedule_skipped", schedule, text) for device, text in told]
        self._submit([Kept(progress), *notices])

    def _meant_at_all(self, schedule: Schedule) -> list[str]:
        """Whom any of its steps would mean now."""
        found: dict[str, None] = {}
        for action in actions_of(schedule):
            found |= dict.fromkeys(
                meant(order_of(action).selection, schedule.owner, self._people, self._registry).devices
            )
        return list(found)

    def _begin(self, schedule: Schedule, occurrence: Occurrence, now: int) -> None:
        run = _Run(schedule, occurrence)
        self._runs.setdefault(schedule.id, []).append(run)
        # What is made up for late is spread from now on.
        late = now - occurrence.planned > (schedule.late_limit_s + schedule.jitter_s) * 1000
        shift = now - occurrence.planned if late else 0
        anybody = False
        problem = ""
        for n, step in enumerate(occurrence.steps):
            order = order_of(step.action)
            chosen, left_out, why = meant(order.selection, schedule.owner, self._people, self._registry)
            anybody = anybody or bool(chosen)
            for device in chosen:
                at = run_at(schedule, occurrence.planned, device) + shift
                self._call(_Call(at, 0, run, device, order, occurrence.key(n)))
            for device in left_out:
                where = device if self._registry.get(device) is not None else ""
                unfit = f"{schedule.owner!r} may not control it, or it does not fit what else is asked for"
                text = why or (unfit if where else f"device {device!r} does not exist any more")
                self._tell(schedule, device, where, "schedule_left_out", text)
            run.problems += len(left_out)
            if not chosen:
                problem = why
        if not anybody:
            self._tell(schedule, "", "", "schedule_skipped", problem or _NONE_FIT)
        self._end_finished(schedule.id, now)

    # Asking

    def _call(self, call: _Call) -> None:
        self._turn += 1
        call.run.left += 1
        heapq.heappush(self._calls, call._replace(turn=self._turn))

    async def _ask_due(self, now: int) -> None:
        while self._calls and self._calls[0].at <= now:
            batch: list[_Call] = []
            while self._calls and self._calls[0].at <= now and len(batch) < _AT_ONCE:
                batch.append(heapq.heappop(self._calls))
            await asyncio.gather(*(self._ask(call) for call in batch))
            for schedule_id in {call.run.schedule.id for call in batch}:
                self._end_finished(schedule_id, self._clock.now_ms())

    async def _ask(self, call: _Call) -> None:
        run, schedule, device = call.run, call.run.schedule, call.device
        run.left -= 1
        if run.over:
            # Switched off, changed or removed while others were asked.
            return
        now = self._clock.now_ms()
        planned = run.occurrence.planned
        if too_late(schedule, planned, device, now):
            if not self._acting.was_asked(device, schedule.owner, call.key, now):
                run.problems += 1
                text = f"the run planned for {said(planned)} could not start in time"
                self._submit([self._notice(device, "schedule_skipped", schedule, text)])
            return
        try:
            await self._acting.ask(device, call.order, schedule.owner, schedule.origin, call.key)
        except (QueueFull, StoreUnavailable):
            # It is tried again until it is too late.
            self._call(call._replace(at=now + _AGAIN_MS))
            return
        except Excluded as error:
            run.problems += 1
            self._tell(schedule, device, device, "schedule_failed", str(error))
            return
        except Conflict:
            # Asked for before the schedule was changed.
            pass
        except RelevoError as error:
            run.problems += 1
            where = "" if isinstance(error, NotFound) else device
            self._tell(schedule, device, where, "schedule_failed", str(error))
            return
        run.asked += 1
        self._told.get(schedule.id, {}).pop(device, None)

    def _end_finished(self, schedule_id: str, now: int) -> None:
        """Write down how far the schedule is done with: through the last run before the first unfinished one."""
        runs = self._runs.get(schedule_id, [])
        ended: _Run | None = None
        while runs and not runs[0].left:
            ended = runs.pop(0)
        if not runs:
            self._runs.pop(schedule_id, None)
        if ended is not None and not ended.over:
            note = f"{ended.problems} left out or failed" if ended.problems else ""
            done = ScheduleProgress(schedule_id, ended.occurrence.planned, now, ended.asked, note)
            self._submit([Kept(done)])

    # Telling

    def _tell(self, schedule: Schedule, about: str, where: str, kind: str, text: str) -> None:
        """Tell it once, until something else happens to ``about``."""
        told = self._told.setdefault(schedule.id, {})
        if told.get(about) != text:
            told[about] = text
            self._submit([self._notice(where, kind, schedule, text)])

    def _notice(self, device: str, kind: str, schedule: Schedule, text: str) -> Noticed:
        self._refusals.notices[kind] += 1
        detail = redact(f"schedule {schedule.name!r} ({schedule.id}): {text}")[:_DETAIL]
        return Noticed(device, self._clock.now_ms(), kind, detail)

    def _submit(self, entries: list[Entry]) -> None:
        self._pipeline.submit(entries)
