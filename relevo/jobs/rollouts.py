"""Working through roll-outs (:mod:`relevo.domain.rollouts`): waves, deadlines, and halting when too much fails."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec

from relevo.clock import Clock
from relevo.dialect import Dialect, TellsOfUpdates
from relevo.dispatch import Dispatch, Wish
from relevo.domain.accounts import Identity
from relevo.domain.commands import QUEUED, TTL_LEAST_S, TTL_MOST_S
from relevo.domain.devices import Registry
from relevo.domain.events import UpdateEnded, UpdatePlanned
from relevo.domain.grants import Right
from relevo.domain.people import People
from relevo.domain.presence import Presence
from relevo.domain.records import Dropped, Kept
from relevo.domain.releases import Release, board_of, needless, unfit
from relevo.domain.rollouts import (
    CANCELLED,
    DEADLINE,
    DONE,
    HALTED,
    PAUSED,
    RUNNING,
    SILENT,
    SKIPPED_STATE,
    TIMED_OUT,
    UPDATED,
    WAITING,
    Progress,
    Rollout,
    changed,
    holds,
    is_over,
    is_silent,
    too_many_failed,
)
from relevo.errors import Conflict, Invalid, NotFound, QueueFull, RelevoError, StoreUnavailable, TooMany
from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.notifications import Notifications
from relevo.pipeline import Entry, Pipeline
from relevo.updates import Updates

log = get_logger("relevo.jobs")

# Time alone decides little: what boards say wakes the runner.
EVERY_S: Final = 1.0
# Boards of a wave that report in a crowd are looked at together.
_TOGETHER_S: Final = 0.1
_KEPT_MOST: Final = 200
_AGAIN_S: Final = 0.5
# Commands that are on their way to the disk at a time: they share a commit.
_ASKED_TOGETHER: Final = 64
_TITLES: Final = {
    "en": ("The roll-out of {release} was halted", "The roll-out of {release} is over"),
    "es": ("El despliegue de {release} se detuvo", "El despliegue de {release} terminó"),
    "pt": ("A implantação de {release} foi interrompida", "A implantação de {release} terminou"),
}


class Rollouts:
    """All open ones, one after the other: each step is committed before the next is thought of."""

    def __init__(
        self,
        updates: Updates,
        dispatch: Dispatch,
        pipeline: Pipeline,
        registry: Registry,
        people: People,
        dialects: dict[str, Dialect],
        presence: Presence,
        notifications: Notifications,
        clock: Clock,
    ) -> None:
        self._updates = updates
        self._dispatch = dispatch
        self._pipeline = pipeline
        self._registry = registry
        self._people = people
        self._dialects = dialects
        self._presence = presence
        self._notifications = notifications
        self._clock = clock
        self._stirred = asyncio.Event()
        # By roll-out: devices that were told to look since this start, with the attempt they were told for.
        self._told: dict[str, dict[str, int]] = {}
        self._task = Background("rollouts")

    def start(self) -> None:
        """Go on with what was open, and forget the oldest that are over."""
        self._updates.stirred = self._stirred.set
        over = sorted((one for one in self._updates.all.values() if not one.is_open), key=lambda one: one.ended_at)
        gone = over[: max(0, len(over) - _KEPT_MOST)]
        if gone:
            self._pipeline.submit([Dropped(Rollout, one.id) for one in gone])
        self._task.begin(self._run())
        log.info("rollouts_started", open=len(self._updates.open))

    async def stop(self) -> None:
        """Leave the rest for the next start. Harmless when it never began."""
        if await self._task.end():
            log.info("rollouts_ended")

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            try:
                await self.look()
            except (QueueFull, StoreUnavailable) as error:
                log.warning("rollouts_wait", error=str(error))
                await asyncio.sleep(_AGAIN_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S if self._updates.open else None):
                    await self._stirred.wait()
            await asyncio.sleep(_TOGETHER_S)

    async def look(self) -> None:
        """Do what is due by now. Raises :class:`QueueFull` and :class:`StoreUnavailable`; then it is still to do."""
        for rollout in self._updates.open:
            async with self._updates.turn:
                # It may have been paused meanwhile.
                current = self._updates.all.get(rollout.id)
                if current is not None and current.is_open:
                    await self._step(current)
            await self._tell(rollout.id)

    # Deciding

    async def _step(self, rollout: Rollout) -> None:
        now = self._clock.now_ms()
        held = self._updates.progress.get(rollout.id, {})
        if now >= rollout.deadline_at:
            await self._pass_deadline(rollout, held, now)
            return
        if rollout.state != RUNNING:
            return
        problem = self._problem(rollout)
        if problem:
            await self._become(rollout, now, PAUSED, problem)
            return
        begun = [one for one in held.values() if one.wave <= rollout.wave]
        silent = [one for one in begun if is_silent(rollout, one, now, self._since(one.device))]
        if silent:
            await self._pipeline.accept([self._given_up(one, now) for one in silent])
        waited_for = any(holds(rollout, one, now) for one in begun)
        reason = too_many_failed(rollout, begun, over=not waited_for)
        if reason:
            await self._become(rollout, now, HALTED, reason, "warning", 0)
            return
        if waited_for:
            return
        if rollout.wave >= len(rollout.waves):
            if is_over(held.values()):
                await self._become(rollout, now, DONE, "", "info", 1)
            return
        if rollout.wave and not rollout.wave_over_at:
            rollout = msgspec.structs.replace(rollout, wave_over_at=now)
            await self._pipeline.accept([Kept(rollout)])
        if not rollout.wave or now >= rollout.wave_over_at + rollout.wave_pause_s * 1000:
            await self._begin_wave(rollout, held, now)

    def _since(self, device: str) -> int:
        """Since when a device is there (milliseconds UTC); a time that never comes for one that is not."""
        return self._presence.since(device) if self._presence.online(device) else 2**62

    def _given_up(self, one: Progress, now: int) -> Entry:
        """The end of a device of which nothing is heard, by what is known of it."""
        device = self._registry.get(one.device)
        release = self._updates.firmware.all.get(one.release)
        if device is not None and release is not None and board_of(device.attributes).version == release.version:
            return UpdateEnded(one.device, now, one.rollout, one.release, UPDATED, "it runs it")
        return UpdateEnded(one.device, now, one.rollout, one.release, TIMED_OUT, SILENT)

    async def _pass_deadline(self, rollout: Rollout, held: dict[str, Progress], now: int) -> None:
        left = [one for one in held.values() if not one.settled]
        ended: list[Entry] = []
        for one in left:
            entry = self._given_up(one, now) if one.attempts else None
            if not isinstance(entry, UpdateEnded) or entry.state != UPDATED:
                entry = UpdateEnded(one.device, now, one.rollout, one.release, TIMED_OUT, DEADLINE)
            ended.append(entry)
        reason = f"the deadline passed for {len(left)} devices" if left else ""
        await self._become(rollout, now, DONE, reason, "info", 1, ended)

    def _problem(self, rollout: Rollout) -> str:
        """Why nothing may go on, empty when it may."""
        account = self._people.accounts.get(rollout.by)
        if account is None or account.disabled:
            return "whoever made it may not sign in any more"
        if rollout.release not in self._updates.firmware.all:
            return "its release is gone"
        return ""

    async def _begin_wave(self, rollout: Rollout, held: dict[str, Progress], now: int) -> None:
        release = self._updates.firmware.all[rollout.release]
        wave = rollout.wave + 1
        # A percentage of few devices may add none to the wave before.
        while wave < len(rollout.waves) and not any(one.wave == wave for one in held.values()):
            wave += 1
        later = msgspec.structs.replace(rollout, wave=wave, wave_at=now, wave_over_at=0)
        entries: list[Entry] = [Kept(later), changed(later, now)]
        for one in held.values():
            why = self._why_not(later, release, one) if one.state == WAITING and one.wave <= wave else ""
            if why:
                entries.append(UpdateEnded(one.device, now, one.rollout, one.release, SKIPPED_STATE, why))
        await self._pipeline.accept(entries)
        log.info("rollout_wave_began", rollout=rollout.id, wave=wave)

    def _why_not(self, rollout: Rollout, release: Release, one: Progress) -> str:
        """Why a device whose turn it is gets nothing."""
        device, account = self._registry.get(one.device), self._people.accounts[rollout.by]
        if device is None or self._people.right(Identity(account.name, account.rank), device) < Right.CONTROL:
            return "not_allowed"
        board = board_of(device.attributes)
        return unfit(release, board) or ("" if one.attempts else needless(release, board, rollout.older))

    async def _become(
        self,
        rollout: Rollout,
        now: int,
        state: str,
        reason: str,
        severity: str = "warning",
        title: int = 0,
        more: Sequence[Entry] = (),
    ) -> None:
        """Pause, halt or end a roll-out in the server's name, and tell whoever made it."""
        over = state in (DONE, CANCELLED)
        later = msgspec.structs.replace(
            rollout, state=state, reason=reason, changed_at=now, changed_by="", ended_at=now if over else 0
        )
        entries: list[Entry] = [*more, Kept(later), changed(later, now)]
        if rollout.by in self._people.accounts:
            words = _TITLES[self._notifications.language_of(rollout.by)]
            entries += self._notifications.prepare(
                severity,
                rollout.origin,
                words[title].format(release=rollout.release),
                reason,
                to=[rollout.by],
            )
        await self._pipeline.accept(entries)
        log.info("rollout_changed", rollout=rollout.id, state=state, reason=reason)
        if over:
            self._told.pop(rollout.id, None)
            await self.take_back(rollout, "the server")

    # Telling boards to look

    async def _tell(self, rollout_id: str) -> None:
        """Tell the devices whose turn it is, where their contract can say so; each once for each attempt."""
        rollout = self._updates.all.get(rollout_id)
        if rollout is None or rollout.state != RUNNING:
            return
        told = self._told.setdefault(rollout_id, {})
        due = [
            one
            for one in self._updates.progress.get(rollout_id, {}).values()
            if one.state == WAITING and one.wave <= rollout.wave and told.get(one.device) != one.changed_at
        ]
        for start in range(0, len(due), _ASKED_TOGETHER):
            if self._updates.all.get(rollout_id) is not rollout:
                # It was paused, or ended, meanwhile.
                return
            now = due[start : start + _ASKED_TOGETHER]
            await asyncio.gather(*(self._ask(rollout, one) for one in now))
            told.update({one.device: one.changed_at for one in now})

    async def _ask(self, rollout: Rollout, one: Progress) -> None:
        device = self._registry.get(one.device)
        dialect: object = self._dialects[device.contract] if device is not None else None
        if not isinstance(dialect, TellsOfUpdates):
            return
        name, params = dialect.update_order(rollout.release)
        left = (rollout.deadline_at - self._clock.now_ms()) / 1000
        ttl = min(max(left, TTL_LEAST_S), TTL_MOST_S)
        key = f"{rollout.origin}:{one.changed_at}"
        wish = Wish(one.device, name, params, rollout.by, rollout.origin, ttl, key)
        try:
            await self._dispatch.ask(wish)
        except (Invalid, NotFound, TooMany, Conflict) as error:
            # It looks by itself before long.
            log.info("update_not_told", device=one.device, error=str(error))

    async def take_back(self, rollout: Rollout, by: str) -> None:
        """Take back what was to tell devices to look and has not left."""
        for device in self._registry.all():
            for command in self._dispatch.ledger.of(device.id):
                if command.origin == rollout.origin and command.state == QUEUED:
                    with contextlib.suppress(RelevoError):
                        await self._dispatch.cancel(command, by)

    # What people do

    async def pause(self, rollout: Rollout, by: str, more: Sequence[Entry] = ()) -> Rollout:
        """Offer nothing more for now. Raises :class:`Conflict` for one that is not running."""
        async with self._updates.turn:
            current = self._current(rollout, {RUNNING})
            return await self._change(current, by, more, state=PAUSED, reason="")

    async def resume(self, rollout: Rollout, by: str, more: Sequence[Entry] = ()) -> Rollout:
        """Go on; what failed before a halt is not judged any more. Raises :class:`Conflict`."""
        async with self._updates.turn:
            current = self._current(rollout, {PAUSED, HALTED})
            now = self._clock.now_ms()
            judged = now if current.state == HALTED else current.judged_from
            return await self._change(current, by, more, state=RUNNING, reason="", resumed_at=now, judged_from=judged)

    async def cancel(self, rollout: Rollout, by: str, more: Sequence[Entry] = ()) -> Rollout:
        """End it for all devices that are not settled. Raises :class:`Conflict` for one that is over."""
        async with self._updates.turn:
            current = self._current(rollout, {RUNNING, PAUSED, HALTED})
            now = self._clock.now_ms()
            ended = [
                UpdateEnded(one.device, now, one.rollout, one.release, CANCELLED)
                for one in self._updates.progress.get(rollout.id, {}).values()
                if not one.settled
            ]
            found = await self._change(current, by, [*ended, *more], state=CANCELLED, reason="", ended_at=now)
        self._told.pop(rollout.id, None)
        await self.take_back(found, by)
        return found

    async def retry(
        self,
        rollout: Rollout,
        by: str,
        devices: Sequence[Progress],
        whole: Sequence[Progress],
        deadline_at: int,
        more: Sequence[Entry] = (),
    ) -> tuple[Rollout, int]:
        """Let ``devices`` wait once more, and open a roll-out that is over again; with how many those are.

        ``whole`` are all its devices, as stored. Those that another open roll-out has are left out. Call it in turn.
        """
        now = self._clock.now_ms()
        found = [one for one in devices if self._updates.has(one.device) == "" and self._registry.get(one.device)]
        if not found:
            return rollout, 0
        entries: list[Entry] = [
            UpdatePlanned(one.device, now, one.rollout, one.release, min(one.wave, max(rollout.wave, 1)), "", by)
            for one in found
        ]
        if not rollout.is_open:
            self._updates.recall(rollout, whole)
        state = rollout.state if rollout.is_open else RUNNING
        later = await self._change(
            rollout,
            by,
            [*entries, *more],
            state=state,
            reason=rollout.reason if rollout.is_open else "",
            ended_at=0,
            deadline_at=deadline_at,
            wave_over_at=0,
            resumed_at=now if not rollout.is_open else rollout.resumed_at,
        )
        return later, len(found)

    def _current(self, rollout: Rollout, states: set[str]) -> Rollout:
        current = self._updates.all.get(rollout.id)
        if current is None:
            raise NotFound(f"no roll-out {rollout.id!r}")
        if current.state not in states:
            raise Conflict(f"the roll-out is {current.state}")
        return current

    async def _change(self, rollout: Rollout, by: str, more: Sequence[Entry], **fields: object) -> Rollout:
        now = self._clock.now_ms()
        later = msgspec.structs.replace(rollout, changed_at=now, changed_by=by, **fields)
        await self._pipeline.accept([*more, Kept(later), changed(later, now)])
        return later
