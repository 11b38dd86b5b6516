"""One enabled webhook at work: what it is told of, what is sent, what is committed.

Theory. Whoever keeps up is shown each commit as it happens; whoever does not reads the journal from where it stopped.
Both end in the same outbox. An attempt is a task; what it settled is committed together with the position, one commit
underway for each webhook at a time, so that a fast receiver costs a commit for many deliveries. A crash between a
receiver's 2xx and that commit repeats the delivery, with the same ``webhook-id``.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from relevo.clock import Clock
from relevo.domain.accounts import Identity
from relevo.domain.deliveries import DEAD, DELIVERED, FORGOTTEN, Attempt, Bounds, Delivery, Outbox, WebhookProgress
from relevo.domain.devices import Registry
from relevo.domain.events import AnyEvent, Audited, Noticed, WebhookAsked
from relevo.domain.people import People
from relevo.domain.records import Kept
from relevo.domain.webhook_texts import switched_off
from relevo.domain.webhooks import Message, Webhook, body_of, message_id
from relevo.domain.zones import local
from relevo.errors import QueueFull, StoreUnavailable
from relevo.jobs.webhook_sender import GONE, WebhookSender
from relevo.log import get_logger
from relevo.notifications import Notifications
from relevo.pipeline import Entry, Outcome, Pipeline
from relevo.redaction import redact
from relevo.refusals import Refusals

log = get_logger("relevo.jobs")

_PAGE: Final = 2_000
_RECENT: Final = 100
_AGAIN_S: Final = 0.5
_DETAIL: Final = 300
_SELF: Final = "relevo"
# What is told of webhooks themselves goes to no webhook: a failing one would breed more of it for ever.
_OWN_NOTICES: Final = "webhook_"

Replay = Callable[[int, int], Awaitable[list[tuple[int, AnyEvent]]]]


class View(Protocol):
    """What one person sees of the events, now."""

    def sees(self, event: AnyEvent) -> bool: ...


class Show(NamedTuple):
    """How events look to watchers: their kinds, the kind of one, the object of one, and whose view it is."""

    kinds: frozenset[str]
    kind_of: Callable[[AnyEvent], str | None]
    object_of: Callable[[int, AnyEvent], dict[str, Any]]
    view_of: Callable[[str], View]


class Tallies:
    """Figures since the start; ``dead`` are the dead letters that are kept, ``arrived`` the newest deliveries."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.arrived: dict[str, deque[Delivery]] = {}

    def arrive(self, delivery: Delivery) -> None:
        self.counts["delivered"] += 1
        self.arrived.setdefault(delivery.webhook, deque(maxlen=_RECENT)).append(delivery)

    def forget(self, webhook: str) -> None:
        self.arrived.pop(webhook, None)
        self.dead.pop(webhook, None)


@dataclass(slots=True)
class Means:
    """What all runners work with; times in milliseconds. ``stir`` says that something may be due earlier."""

    sender: WebhookSender
    pipeline: Pipeline
    registry: Registry
    people: People
    refusals: Refusals
    clock: Clock
    notifications: Notifications
    replay: Replay
    show: Show
    jitter: Callable[[], float]
    bounds: Bounds
    disable_after: int
    dead_letters: int
    slots: asyncio.Semaphore
    tallies: Tallies
    stir: Callable[[], None]


class Runner:
    """One webhook. :meth:`pump` does what is possible at this moment and waits for nothing."""

    def __init__(self, webhook: Webhook, outbox: Outbox, means: Means) -> None:
        self.webhook = webhook
        self.outbox = outbox
        self._means = means
        self._view = means.show.view_of(webhook.owner)
        self._saving = False
        self._reading: asyncio.Task[None] | None = None
        self._attempts: set[asyncio.Task[None]] = set()
        # Nothing new begins any more.
        self.over = False

    @property
    def underway(self) -> list[asyncio.Task[None]]:
        """Its tasks."""
        return [*self._attempts, self._reading] if self._reading is not None else [*self._attempts]

    @property
    def saving(self) -> bool:
        return self._saving

    def change(self, webhook: Webhook) -> None:
        """It is another one than before."""
        before, self.webhook = self.webhook, webhook
        if before.owner != webhook.owner:
            self._view = self._means.show.view_of(webhook.owner)
        if (before.url, before.allow_private) != (webhook.url, webhook.allow_private):
            self.outbox.hurry()
        self.pump()

    def end(self, *, save: bool) -> None:
        """Break off what is underway, and write down how far it came."""
        self.over = True
        for task in self.underway:
            task.cancel()
        if save:
            changes, progress = self.outbox.rest()
            self._means.pipeline.submit([*changes, Kept(progress)])

    def follow(self, first_seq: int, events: list[AnyEvent]) -> None:
        """A commit, on the event loop."""
        outbox = self.outbox
        last = first_seq + len(events) - 1
        if self._reading is not None or outbox.read >= last:
            return
        if outbox.read + 1 >= first_seq:
            for seq in range(outbox.read + 1, last + 1):
                if not outbox.has_room():
                    break
                self._examine(seq, events[seq - first_seq])
        self.pump()

    def pump(self) -> None:
        """Send what is due, go on reading where there is room, commit what was settled."""
        if self.over:
            return
        self._send_due()
        if self._reading is None and self.outbox.read < self._means.pipeline.committed_seq and self.outbox.has_room():
            self._reading = asyncio.create_task(self._catch_up(), name=f"webhook {self.webhook.id} reads")
        self._save()

    # Reading

    async def _catch_up(self) -> None:
        """From the journal, until it keeps up or has no more room."""
        outbox, pipeline = self.outbox, self._means.pipeline
        first_gone = gone = 0
        try:
            while outbox.has_room() and outbox.read < pipeline.committed_seq:
                # What is on the disk and not yet known here is for later.
                until = pipeline.committed_seq
                events = [one for one in await self._means.replay(outbox.read + 1, _PAGE) if one[0] <= until]
                found: list[tuple[int, AnyEvent | None]] = [*events] or [(until + 1, None)]
                for seq, event in found:
                    if not outbox.has_room():
                        break
                    if seq > outbox.read + 1:
                        # Readings leave the journal, what is no reading stays, so there may be many gaps.
                        first_gone = first_gone or outbox.read + 1
                        gone += seq - outbox.read - 1
                        outbox.skip_to(seq)
                    if event is not None:
                        self._examine(seq, event)
                self._send_due()
                self._save()
        except (QueueFull, StoreUnavailable) as error:
            log.warning("webhook_waits_for_the_store", webhook=self.webhook.id, error=str(error))
            await asyncio.sleep(_AGAIN_S)
        finally:
            if gone:
                self._gap(first_gone, gone)
            self._reading = None
            self._means.stir()

    def _examine(self, seq: int, event: AnyEvent) -> None:
        delivery = None
        try:
            message = self._message(seq, event)
            if message is not None:
                webhook = self.webhook
                body = body_of(message, webhook.format)
                delivery = Delivery(webhook.id, seq, message.device, message.kind, body, self._means.clock.now_ms())
        except Exception as error:
            # One event that cannot be shown may not hold up all that follow.
            self._means.tallies.counts["unshown"] += 1
            log.error("webhook_event_not_shown", webhook=self.webhook.id, seq=seq, exc_info=error)
        dead = self.outbox.examine(seq, delivery)
        if dead is not None:
            self._died(dead)

    def _message(self, seq: int, event: AnyEvent) -> Message | None:
        """What ``event`` is to this webhook, ``None`` for nothing."""
        webhook, show = self.webhook, self._means.show
        asked = type(event) is WebhookAsked and event.webhook == webhook.id
        kind = show.kind_of(event)
        if kind is None or not (asked or kind in webhook.kinds):
            return None
        if type(event) is Noticed and event.kind.startswith(_OWN_NOTICES):
            return None
        device_id = getattr(event, "device", "") or ""
        if not asked and webhook.narrowed:
            device = self._means.registry.get(device_id)
            if not (webhook.fits(device) if device is not None else _names_alone(webhook, device_id)):
                return None
        if (device_id or not asked) and not self._view.sees(event):
            return None
        at = getattr(event, "received", 0) or getattr(event, "at", 0) or self._means.clock.now_ms()
        return Message(kind, device_id, iso(at), show.object_of(seq, event))

    def _gap(self, first: int, missed: int) -> None:
        """The journal no longer held what came next."""
        self._means.tallies.counts["missed"] += missed
        text = f"{missed} events from number {first} on are no longer in the journal and were not looked at"
        self._notice("", "webhook_gap", text)
        detail = {"from": first, "events": missed}
        now = self._means.clock.now_ms()
        self._means.pipeline.submit([Audited(now, _SELF, "webhook.gap", self.webhook.id, detail)])

    # Sending

    def _send_due(self) -> None:
        for delivery in self.outbox.due(self._means.clock.now_ms()):
            task = asyncio.create_task(self._attempt(delivery), name=f"delivery {delivery.seq}")
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _attempt(self, delivery: Delivery) -> None:
        webhook = self.webhook
        if self._withheld(delivery.device):
            self._settle(delivery, Attempt(0, f"{webhook.owner!r} may no longer view the device", final=True))
            return
        try:
            async with self._means.slots:
                attempt = await self._means.sender.send(webhook, message_id(webhook.id, delivery.seq), delivery.body)
        except asyncio.CancelledError:
            self.outbox.give_back(delivery)
            raise
        except Exception as error:
            log.error("webhook_attempt_failed", webhook=webhook.id, exc_info=error)
            attempt = Attempt(0, f"not sent: {type(error).__name__}")
        self._settle(delivery, attempt)

    def _withheld(self, device_id: str) -> bool:
        """Whether what waited for a device is not for the owner any more."""
        device = self._means.registry.get(device_id) if device_id else None
        if device is None:
            return False
        account = self._means.people.accounts.get(self.webhook.owner)
        if account is None or account.disabled:
            return True
        return not self._means.people.right(Identity(account.name, account.rank), device)

    def _settle(self, delivery: Delivery, attempt: Attempt) -> None:
        now = self._means.clock.now_ms()
        state = self.outbox.settle(delivery, attempt, now, self._means.jitter())
        if state == DELIVERED:
            self._means.tallies.arrive(delivery)
        elif state != FORGOTTEN:
            self._means.tallies.counts["failed"] += 1
            if state == DEAD:
                self._died(delivery)
            self._judge(attempt, now)
        self.pump()
        self._means.stir()

    def _judge(self, attempt: Attempt, now: int) -> None:
        """Switch it off when it is gone, or has failed for too long."""
        since, webhook = self.outbox.failing_since, self.webhook
        gone = attempt.status == GONE
        if self.over or not (gone or (since and now - since >= self._means.disable_after)):
            return
        reason = "its receiver answered 410 Gone" if gone else f"nothing was delivered since {iso(since)}"
        # Nothing more is sent while the change is on its way.
        self.over = True
        self._means.tallies.counts["disabled"] += 1
        log.warning("webhook_disabled", webhook=webhook.id, reason=reason)
        self._notice("", "webhook_disabled", f"switched off: {reason}")
        self._means.pipeline.submit(
            [
                Kept(msgspec.structs.replace(webhook, enabled=False, disabled_reason=reason)),
                Audited(now, _SELF, "webhook.disable", webhook.id, {"reason": reason, "owner": webhook.owner}),
                *self._told(0 if gone else since),
            ]
        )

    def _told(self, since: int) -> list[Entry]:
        """Its owner is told that it was switched off; ``since`` 0 when its receiver is gone."""
        notifications, webhook = self._means.notifications, self.webhook
        when = f"{local(since, notifications.zone_of(webhook.owner)):%Y-%m-%d %H:%M}" if since else ""
        title, text = switched_off(notifications.language_of(webhook.owner), webhook.name, when)
        return notifications.prepare("warning", f"webhook:{webhook.id}", title, text, to=[webhook.owner])

    # Committing and telling

    async def revive(self, found: list[Delivery]) -> int:
        """Dead letters are to be tried again; how many that are. Raises :class:`QueueFull`, :class:`StoreUnavailable`.

        They are waiting again before anybody is told, so that whoever asks twice finds no dead letter any more.
        """
        if self._means.pipeline.full:
            raise QueueFull("too much is waiting to be stored; try again in a moment")
        now = self._means.clock.now_ms()
        count = sum(self.outbox.revive(one, now) for one in found)
        if count:
            tallies = self._means.tallies
            tallies.dead[self.webhook.id] = max(0, tallies.dead[self.webhook.id] - count)
            tallies.counts["replayed"] += count
            changes, progress = self.outbox.rest()
            await self._means.pipeline.accept([*changes, Kept(progress)])
            self.pump()
        return count

    def _save(self) -> None:
        found = None if self._saving or self.over else self.outbox.unsaved()
        if found is not None:
            self._saving = True
            changes, progress = found
            self._means.pipeline.submit([*changes, Kept(progress)], self._saved)

    def _saved(self, _: Any, outcome: Outcome) -> None:
        self._saving = False
        self._save()

    def _died(self, delivery: Delivery) -> None:
        tallies, webhook = self._means.tallies, self.webhook.id
        tallies.counts["dead"] += 1
        tallies.dead[webhook] += 1
        self._notice(delivery.device, "webhook_dead_letter", f"event {delivery.seq}: {delivery.error}")
        keep = self._means.dead_letters
        # A tenth more before cutting, so that not every dead letter costs a deletion.
        if tallies.dead[webhook] > keep + keep // 10:
            lost = tallies.dead[webhook] - keep
            tallies.dead[webhook] = keep
            tallies.counts["dropped"] += lost
            self.outbox.forget_dead(keep)
            text = f"{lost} dead letters dropped, the oldest first: {keep} are kept (webhooks.dead_letters)"
            self._notice("", "webhook_dead_letters_full", text)

    def _notice(self, device: str, kind: str, text: str) -> None:
        detail = redact(f"webhook {self.webhook.name!r} ({self.webhook.id}): {text}")[:_DETAIL]
        if device and self._means.registry.get(device) is not None:
            self._means.refusals.notice(device, kind, detail)
            return
        self._means.refusals.notices[kind] += 1
        self._means.pipeline.submit([Noticed("", self._means.clock.now_ms(), kind, detail)])


def new_outbox(progress: WebhookProgress, bounds: Bounds, rows: list[Delivery], *, anew: bool) -> Outbox:
    """The outbox as it was left; ``anew`` for a webhook that somebody switched on again, and so has mended."""
    outbox = Outbox(msgspec.structs.replace(progress, failing_since=0) if anew else progress, bounds)
    outbox.load(rows)
    if anew:
        outbox.hurry()
    return outbox


def iso(ms: int) -> str:
    """ISO 8601 with Z and milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _names_alone(webhook: Webhook, device_id: str) -> bool:
    """Whether a device that is not registered any more is meant: by its id, as its type and tags are not known."""
    return device_id in webhook.devices and not webhook.types and not webhook.tags
