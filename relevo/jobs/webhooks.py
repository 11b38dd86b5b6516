"""All webhooks: which are at work, and what people ask of them. How one works: :mod:`relevo.jobs.webhook_runner`."""

import asyncio
import contextlib
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from relevo.clock import Clock
from relevo.domain.deliveries import DEAD, Attempt, Bounds, DeliveriesForgotten, Delivery, WebhookProgress
from relevo.domain.devices import Registry
from relevo.domain.events import AnyEvent, DeviceRemoved
from relevo.domain.people import People
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.webhooks import Message, Webhook, body_of
from relevo.errors import Conflict
from relevo.jobs.webhook_rows import WebhookRows
from relevo.jobs.webhook_runner import Means, Replay, Runner, Show, Tallies, iso, new_outbox
from relevo.jobs.webhook_sender import WebhookSender
from relevo.log import get_logger
from relevo.notifications import Notifications
from relevo.pipeline import Pipeline
from relevo.refusals import Refusals
from relevo.settings.table import Webhooks as Settings

log = get_logger("relevo.jobs")

EVERY_S: Final = 1.0
_LEAST_S: Final = 0.01
_GRACE_S: Final = 1.0


def bounds_of(given: Settings) -> Bounds:
    """What the settings say, in the words of an outbox."""
    return Bounds(
        give_up=given.give_up_s * 1000,
        retry_first=round(given.retry_first_s * 1000),
        parallel=given.parallel,
        per_device=given.waiting_per_device,
        waiting=given.waiting,
    )


class Webhooks:
    """:meth:`follow` sees every commit, :meth:`look` does what is due; the task around it only sleeps."""

    def __init__(
        self,
        sender: WebhookSender,
        pipeline: Pipeline,
        registry: Registry,
        people: People,
        refusals: Refusals,
        clock: Clock,
        notifications: Notifications,
        replay: Replay,
        rows: WebhookRows,
        show: Show,
        given: Settings,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sender = sender
        self._pipeline = pipeline
        self._clock = clock
        self._rows = rows
        self._show = show
        self.all: dict[str, Webhook] = {}
        self.progress: dict[str, WebhookProgress] = {}
        self._tallies = Tallies()
        self._stirred = asyncio.Event()
        self.means = Means(
            sender=sender,
            pipeline=pipeline,
            registry=registry,
            people=people,
            refusals=refusals,
            clock=clock,
            notifications=notifications,
            replay=replay,
            show=show,
            jitter=jitter,
            bounds=bounds_of(given),
            disable_after=given.disable_after_s * 1000,
            dead_letters=given.dead_letters,
            slots=asyncio.Semaphore(given.connections),
            tallies=self._tallies,
            stir=self._stirred.set,
        )
        self._runners: dict[str, Runner] = {}
        self._beginning: dict[str, asyncio.Task[None]] = {}
        self._started = False
        self._task: asyncio.Task[None] | None = None
        self._dead_of: asyncio.Task[None] | None = None

    # What is to be seen of them

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of events that a webhook may ask for."""
        return self._show.kinds

    @property
    def counts(self) -> Counter[str]:
        """Deliveries that arrived, attempts that failed, dead letters and so on, since the start."""
        return self._tallies.counts

    @property
    def dead(self) -> Counter[str]:
        """Dead letters that are kept, by webhook."""
        return self._tallies.dead

    def arrived(self, webhook_id: str) -> list[Delivery]:
        """The last hundred that arrived since the start, oldest first."""
        return list(self._tallies.arrived.get(webhook_id, deque()))

    def waiting(self, webhook_id: str = "") -> int:
        """Deliveries that are read and have not arrived, of one webhook or of all."""
        runners = [self._runners.get(webhook_id)] if webhook_id else list(self._runners.values())
        return sum(len(one.outbox) for one in runners if one is not None)

    def standing(self, webhook_id: str) -> WebhookProgress:
        """How far it is now."""
        runner = self._runners.get(webhook_id)
        if runner is not None:
            return WebhookProgress(webhook_id, runner.outbox.position, [], runner.outbox.failing_since)
        return self.progress.get(webhook_id) or WebhookProgress(webhook_id, 0)

    def held_from(self) -> int:
        """The first event that a webhook still has to read or to deliver."""
        waiting = [self.standing(one.id).position + 1 for one in self.all.values() if one.enabled]
        return min(waiting, default=self._pipeline.committed_seq + 1)

    # Following

    def apply(self, change: RecordChange) -> None:
        """Follow a commit."""
        match change:
            case Kept(WebhookProgress() as progress):
                self.progress[progress.id] = progress
            case Kept(Webhook() as webhook):
                known = webhook.id in self.all
                self.all[webhook.id] = webhook
                if self._started:
                    self._take(webhook, anew=known)
            case Dropped(kind, key) if kind is Webhook:
                self.all.pop(key, None)
                self._tallies.forget(key)
                self._end(key, save=False)
            case Dropped(kind, key) if kind is WebhookProgress:
                self.progress.pop(key, None)

    def follow(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit, on the event loop."""
        if first_seq:
            for runner in self._runners.values():
                runner.follow(first_seq, events)

    def follow_removal(self, event: AnyEvent) -> None:
        """A device that is gone takes along what was to be told of it."""
        if isinstance(event, DeviceRemoved):
            for runner in self._runners.values():
                runner.outbox.forget(event.device, self._pipeline.committed_seq)
            for arrived in self._tallies.arrived.values():
                stays = [one for one in arrived if one.device != event.device]
                arrived.clear()
                arrived.extend(stays)
            if self._started and self._dead_of is None and self.dead:
                self._dead_of = asyncio.create_task(self._count_dead(), name="webhooks count")

    # Beginning and ending

    def start(self) -> None:
        self._started = True
        self._task = asyncio.create_task(self._run(), name="webhooks")
        for webhook in self.all.values():
            self._take(webhook, anew=False)
        log.info("webhooks_started", webhooks=len(self.all))

    async def stop(self) -> None:
        """Let what is underway arrive for a moment, and write down how far each is. Harmless when it never began."""
        task, self._task = self._task, None
        if task is None:
            return
        self._started = False
        begun = list(self._beginning.values())
        if self._dead_of is not None:
            begun.append(self._dead_of)
        for one in (task, *begun):
            one.cancel()
        await asyncio.gather(task, *begun, return_exceptions=True)
        underway = [one for runner in self._runners.values() for one in runner.underway]
        for runner in self._runners.values():
            runner.over = True
        if underway:
            await asyncio.wait(underway, timeout=_GRACE_S)
        for key in list(self._runners):
            self._end(key, save=True)
        await asyncio.gather(*underway, return_exceptions=True)
        await self._sender.close()
        log.info("webhooks_ended")

    def look(self) -> int | None:
        """Begin what is due; when to look next (milliseconds UTC), ``None`` for when something happens."""
        for runner in list(self._runners.values()):
            runner.pump()
        times = [runner.outbox.next_at() for runner in self._runners.values()]
        return min((one for one in times if one is not None), default=None)

    async def settled(self) -> None:
        """Wait until nothing is underway: no attempt, no reading, no commit of ours."""
        while True:
            tasks = [*self._beginning.values(), *(one for runner in self._runners.values() for one in runner.underway)]
            if tasks:
                await asyncio.wait(tasks)
            elif any(runner.saving for runner in self._runners.values()):
                await self._pipeline.accept([])
            else:
                return

    async def _run(self) -> None:
        await self._sweep()
        while True:
            self._stirred.clear()
            following = self.look()
            left = EVERY_S if following is None else (following - self._clock.now_ms()) / 1000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(EVERY_S, max(_LEAST_S, left)) if self._runners else None):
                    await self._stirred.wait()

    async def _sweep(self) -> None:
        """Count dead letters, and forget what belongs to webhooks that are no more."""
        found = await self._rows.counts()
        gone = {webhook for webhook, _ in found if webhook not in self.all}
        orphans = [one for one in self.progress if one not in self.all]
        if gone or orphans:
            forgotten = [DeliveriesForgotten(one) for one in gone]
            self._pipeline.submit([*forgotten, *(Dropped(WebhookProgress, one) for one in orphans)])
        for (webhook, state), count in found.items():
            if state == DEAD and webhook in self.all:
                self.dead[webhook] += count

    async def _count_dead(self) -> None:
        """Some went with their device."""
        try:
            found = await self._rows.counts()
            for webhook in list(self.dead):
                self.dead[webhook] = found.get((webhook, DEAD), 0)
        finally:
            self._dead_of = None

    def _take(self, webhook: Webhook, *, anew: bool) -> None:
        runner = self._runners.get(webhook.id)
        if not webhook.enabled:
            self._end(webhook.id, save=True)
        elif runner is not None:
            runner.change(webhook)
        elif webhook.id not in self._beginning:
            task = asyncio.create_task(self._begin(webhook.id, anew=anew), name=f"webhook {webhook.id}")
            self._beginning[webhook.id] = task
            task.add_done_callback(lambda done: self._begun(webhook.id, done))

    async def _begin(self, key: str, *, anew: bool) -> None:
        rows = await self._rows.waiting(key)
        webhook = self.all.get(key)
        if webhook is not None and webhook.enabled:
            progress = self.progress.get(key) or WebhookProgress(key, self._pipeline.committed_seq)
            outbox = new_outbox(progress, self.means.bounds, rows, anew=anew)
            runner = self._runners[key] = Runner(webhook, outbox, self.means)
            self._stirred.set()
            runner.pump()

    def _begun(self, key: str, task: asyncio.Task[None]) -> None:
        if self._beginning.get(key) is task:
            del self._beginning[key]
        if not task.cancelled() and task.exception() is not None:
            log.error("webhook_not_begun", webhook=key, exc_info=task.exception())

    def _end(self, key: str, *, save: bool) -> None:
        begun = self._beginning.pop(key, None)
        if begun is not None:
            begun.cancel()
        runner = self._runners.pop(key, None)
        if runner is not None:
            runner.end(save=save)

    # What people ask for

    def secret(self, webhook: Webhook) -> str:
        """Its signing secret, for the answer that made it."""
        return self._sender.secret(webhook.id, webhook.salt)

    async def test(self, webhook: Webhook) -> Attempt:
        """Send a message of kind ``test`` at once and once; nothing else is moved by it."""
        now = self._clock.now_ms()
        data = {"webhook": webhook.id, "name": webhook.name, "message": "This is a test."}
        body = body_of(Message("test", "", iso(now), data), webhook.format)
        self.counts["tests"] += 1
        async with self.means.slots:
            return await self._sender.send(webhook, f"msg_{webhook.id}_test_{now}", body)

    async def replay(self, webhook_id: str, seq: int | None = None) -> int:
        """Try a dead letter again, or as many as there is room for, oldest first; how many that are.

        Raises :class:`Conflict` while the webhook is not at work, :class:`QueueFull` and :class:`StoreUnavailable`.
        """
        runner = self._runners.get(webhook_id)
        if runner is None or runner.over:
            raise Conflict("the webhook is disabled; enable it first")
        if seq is None:
            room = max(0, self.means.bounds.waiting - len(runner.outbox))
            return await runner.revive(await self._rows.oldest_dead(webhook_id, room))
        one = await self._rows.one(webhook_id, seq)
        return await runner.revive([one] if one is not None and one.state == DEAD else [])
