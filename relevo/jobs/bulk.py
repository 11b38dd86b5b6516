"""Working through bulk commands (:mod:`relevo.domain.bulk`): paced, stopped when too much fails, gone on with after a
restart."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from relevo.clock import Clock
from relevo.dispatch import Dispatch, Wish
from relevo.domain.bulk import DONE, RUNNING, STOPPED, Bulk, too_many_failed
from relevo.domain.commands import CANCELLED, QUEUED, SENT, Command
from relevo.domain.events import AnyEvent, DeviceRemoved
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.errors import Invalid, NotFound, QueueFull, RelevoError, TooMany
from relevo.log import get_logger
from relevo.pipeline import Entry, Pipeline

log = get_logger("relevo.jobs")

_KEPT_MS: Final = 30 * 86_400_000
_KEPT_MOST: Final = 200
_AGAIN_S: Final = 0.5


class Bulks:
    """All of them. ``outcomes`` counts the commands of an origin by their state, as stored."""

    def __init__(
        self,
        dispatch: Dispatch,
        pipeline: Pipeline,
        clock: Clock,
        outcomes: Callable[[str], Awaitable[dict[str, int]]],
    ) -> None:
        self._dispatch = dispatch
        self._pipeline = pipeline
        self._clock = clock
        self._outcomes = outcomes
        self.all: dict[str, Bulk] = {}
        self._tallies: dict[str, Counter[str]] = {}
        self._moved: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def apply(self, change: RecordChange) -> None:
        """Follow a commit."""
        if isinstance(change, Kept) and isinstance(change.record, Bulk):
            self.all[change.record.id] = change.record
        elif isinstance(change, Dropped) and change.kind is Bulk:
            self.all.pop(change.key, None)

    def follow(self, event: AnyEvent) -> None:
        """A device that is gone is on no list any more."""
        if not isinstance(event, DeviceRemoved):
            return
        gone: list[Entry] = []
        for bulk in self.all.values():
            if event.device in bulk.devices:
                devices = [one for one in bulk.devices if one != event.device]
                refused = {device: why for device, why in bulk.refused.items() if device != event.device}
                gone.append(Kept(msgspec.structs.replace(bulk, devices=devices, refused=refused)))
        if gone:
            self._pipeline.submit(gone)

    def start(self) -> None:
        """Go on with what was running, and forget what ended long ago."""
        self._dispatch.moved.append(self._follow)
        now = self._clock.now_ms()
        over = sorted((one for one in self.all.values() if one.state != RUNNING), key=lambda one: one.ended_at)
        old = [one for n, one in enumerate(over) if one.ended_at < now - _KEPT_MS or len(over) - n > _KEPT_MOST]
        if old:
            self._pipeline.submit([Dropped(Bulk, one.id) for one in old])
        for bulk in self.all.values():
            if bulk.state == RUNNING:
                self.run(bulk)

    async def stop(self) -> None:
        """Leave the rest for the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run(self, bulk: Bulk) -> None:
        """Begin, or go on, with one that is kept already."""
        self._moved[bulk.id] = asyncio.Event()
        task = self._tasks[bulk.id] = asyncio.create_task(self._run(bulk.id), name=f"bulk {bulk.id}")
        task.add_done_callback(lambda _: self._over(bulk.id))
        log.info("bulk_started", bulk=bulk.id, devices=len(bulk.devices))

    async def cancel(self, bulk: Bulk, by: str) -> Bulk:
        """Ask for no more, and take back what is queued. Harmless when it is over."""
        task = self._tasks.get(bulk.id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self.all[bulk.id].state == RUNNING:
            await self._end(self.all[bulk.id], CANCELLED, f"by {by}")
            await self._take_back(bulk, by)
        return self.all[bulk.id]

    async def progress(self, bulk: Bulk) -> dict[str, int]:
        """Devices by the state of their command; ``waiting`` for those not asked yet, ``refused`` for no command."""
        found = await self._outcomes(bulk.origin)
        known = sum(found.values()) + len(bulk.refused)
        return found | {"refused": len(bulk.refused), "waiting": max(0, len(bulk.devices) - known)}

    # Inside

    def _follow(self, command: Command) -> None:
        kind, _, bulk_id = command.origin.partition(":")
        tally = self._tallies.get(bulk_id) if kind == "bulk" else None
        if tally is not None:
            before = command.transitions[-2].state if len(command.transitions) > 1 else ""
            if before != command.state:
                tally[before] -= 1
                tally[command.state] += 1
            self._moved[bulk_id].set()

    def _over(self, bulk_id: str) -> None:
        self._tasks.pop(bulk_id, None)
        self._tallies.pop(bulk_id, None)
        self._moved.pop(bulk_id, None)
        log.info("bulk_ended", bulk=bulk_id)

    async def _run(self, bulk_id: str) -> None:
        bulk = self.all[bulk_id]
        tally = self._tallies[bulk_id] = Counter(await self._outcomes(bulk.origin))
        for n, device in enumerate(bulk.devices):
            reason = too_many_failed(self.all[bulk_id], tally)
            if reason:
                await self._end(self.all[bulk_id], STOPPED, reason)
                await self._take_back(bulk, "the server")
                return
            if device not in bulk.refused:
                await self._ask(bulk_id, device)
            if n + 1 < len(bulk.devices):
                await asyncio.sleep(1 / bulk.rate)
        while tally[QUEUED] + self._unanswered(bulk_id) > 0:
            moved = self._moved[bulk_id]
            moved.clear()
            await moved.wait()
        await self._end(self.all[bulk_id], DONE, "")

    def _unanswered(self, bulk_id: str) -> int:
        """Commands that are sent and expect an answer."""
        if not self._tallies[bulk_id][SENT]:
            return 0
        bulk = self.all[bulk_id]
        open_ones = (one for device in bulk.devices for one in self._dispatch.ledger.of(device))
        return sum(one.origin == bulk.origin and one.state == SENT and one.deadline > 0 for one in open_ones)

    async def _ask(self, bulk_id: str, device: str) -> None:
        bulk = self.all[bulk_id]
        wish = Wish(device, bulk.name, bulk.params, bulk.by, bulk.origin, bulk.ttl_s, bulk.origin)
        while True:
            try:
                await self._dispatch.ask(wish)
                return
            except QueueFull:
                await asyncio.sleep(_AGAIN_S)
            except (Invalid, NotFound, TooMany) as error:
                if device not in self.all[bulk_id].devices:
                    # It was removed meanwhile.
                    return
                bulk = self.all[bulk_id]
                later = msgspec.structs.replace(bulk, refused=self.all[bulk_id].refused | {device: str(error)[:200]})
                await self._pipeline.accept([Kept(later)])
                return

    async def _end(self, bulk: Bulk, state: str, reason: str) -> None:
        ended = msgspec.structs.replace(bulk, state=state, reason=reason, ended_at=self._clock.now_ms())
        await self._pipeline.accept([Kept(ended)])

    async def _take_back(self, bulk: Bulk, by: str) -> None:
        for device in bulk.devices:
            for command in self._dispatch.ledger.of(device):
                if command.origin == bulk.origin and command.state == QUEUED:
                    try:
                        await self._dispatch.cancel(command, by)
                    except RelevoError as error:
                        log.info("bulk_command_left", command=command.id, error=str(error))
