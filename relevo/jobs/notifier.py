"""Sending what waits in the outbox (:mod:`relevo.notifications`), each channel at its own pace.

Theory. An entry is there until its message is confirmed: a crash in between sends it once more, never not at all. One
message of a channel is under way at a time. What is more than a channel may get in a minute, what waited for the same
moment, and what piled up while it failed, leaves as one digest. A temporary failure is tried again with growing pauses
for a day; then, or at once when trying again is no use, the entry ends and the channel's owner is told, once until it
works again.
"""

import asyncio
import contextlib
import random
from collections import Counter, deque
from typing import Any, Final, Protocol

import msgspec

from relevo.clock import Clock
from relevo.domain.accounts import Account
from relevo.domain.channels import Channel, ChannelHealth, OutboxEntry, without_secrets
from relevo.domain.devices import Registry
from relevo.domain.notices import GIVE_UP_MS, quiet_until, retry_after
from relevo.domain.people import People
from relevo.domain.records import InboxForgotten, Kept
from relevo.log import get_logger
from relevo.notifications import Notifications
from relevo.pipeline import Entry, Outcome, Pipeline
from relevo.sending.process import Outcome as Sent
from relevo.store import inbox
from relevo.store.readers import Readers

log = get_logger("relevo.jobs")

SEND_S: Final = 30.0
TEST_S: Final = 14.0
LISTED_MOST: Final = 50
EVERY_S: Final = 5.0
_BLOCKED_S: Final = 0.5
_SWEEP_S: Final = 3_600.0
_AT_ONCE: Final = 8
_MINUTE_S: Final = 60.0
_DAY_MS: Final = 86_400_000
_DETAIL: Final = 300
_spread: Final = random.SystemRandom().random


class Sender(Protocol):
    """What hands a message over (:class:`relevo.sending.process.SendingProcess`)."""

    async def send(self, kind: str, url: str, message: dict[str, Any], within_s: float) -> Sent:
        """The outcome, within about ``within_s`` seconds."""

    async def stop(self) -> None:
        """Leave nothing behind."""


_RESET: Final = {
    "en": ("A code for a new password", "{code}\n\nGood for one hour, once. Ignore it if you did not ask for it."),
    "es": ("Un código para una contraseña nueva", "{code}\n\nVale una hora y una vez. Si no lo pidió, ignórelo."),
    "pt": ("Um código para uma nova senha", "{code}\n\nVale uma hora e uma vez. Se não o pediu, ignore-o."),
}


class Notifier:
    """All channels. :meth:`look` begins what is due; the task around it only sleeps."""

    def __init__(
        self,
        notifications: Notifications,
        sender: Sender,
        pipeline: Pipeline,
        people: People,
        registry: Registry,
        readers: Readers,
        clock: Clock,
        per_minute: int,
        kept_days: int,
        link: str = "",
    ) -> None:
        self._notifications = notifications
        self._sender = sender
        self._pipeline = pipeline
        self._people = people
        self._registry = registry
        self._readers = readers
        self._clock = clock
        self._per_minute = per_minute
        self._kept_days = kept_days
        self._link = link
        self.counts: Counter[str] = Counter()
        # By channel: when messages left (monotonic seconds), until when it is left alone (ms UTC), what is under way.
        self._resets: set[asyncio.Task[None]] = set()
        self._left: dict[str, deque[float]] = {}
        self._pause: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._swept = float("-inf")

    def start(self) -> None:
        """Go on with what is on its way, and forget what has no channel any more."""
        kept = self._notifications
        orphans = [one for channel, held in kept.waiting.items() if channel not in kept.channels for one in held]
        if orphans:
            self._pipeline.submit([kept.release(one) for one in orphans])
        kept.stirred = self._stirred.set
        self._task = asyncio.create_task(self._run(), name="notifier")
        log.info("notifier_started", waiting=kept.waits(), channels=len(kept.channels))

    async def stop(self) -> None:
        """Leave the rest for the next start. Harmless when it never began."""
        task, self._task = self._task, None
        tasks = [*([task] if task else []), *self._tasks.values(), *self._resets]
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sender.stop()
        if task is not None:
            log.info("notifier_ended")

    async def test(self, channel: Channel) -> Sent:
        """Send a test through ``channel``, past every plan and pace; the outcome within 15 seconds, with why not."""
        message = self._message(channel, [], 0) | {"test": True}
        sent = await self._hand_over(channel, message, TEST_S)
        self.counts["tested"] += 1
        if sent.ok and channel.id in self._notifications.channels:
            self._pause.pop(channel.id, None)
            self._pipeline.submit([self._works(channel.id, self._clock.now_ms())])
            self._stirred.set()
        return sent

    def look(self) -> list[asyncio.Task[None]]:
        """Begin what is due; the tasks that send it."""
        begun = []
        for channel in list(self._notifications.waiting):
            if channel not in self._tasks and self._next(channel) is not None:
                task = asyncio.create_task(self._work(channel), name=f"channel {channel}")
                self._tasks[channel] = task
                task.add_done_callback(lambda _, one=channel: self._over(one))  # type: ignore[misc]
                begun.append(task)
        return begun

    async def sweep(self) -> None:
        """Forget notifications whose time in the inbox is over."""
        before = self._clock.now_ms() - self._kept_days * _DAY_MS
        oldest = await self._readers.run_core(inbox.oldest)
        if oldest is not None and oldest < before:
            self._pipeline.submit([InboxForgotten(before)])

    # Inside

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            self.look()
            if self._clock.monotonic() - self._swept >= _SWEEP_S:
                self._swept = self._clock.monotonic()
                await self.sweep()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._sleep_s()):
                    await self._stirred.wait()

    def _sleep_s(self) -> float:
        waiting = self._notifications.waiting
        if not waiting:
            return _SWEEP_S
        now = self._clock.now_ms()
        soonest = min(
            max(entry.due_at, self._pause.get(channel, 0))
            for channel, held in waiting.items()
            for entry in held.values()
        )
        return min(EVERY_S, max(_BLOCKED_S, (soonest - now) / 1000))

    def _over(self, channel: str) -> None:
        self._tasks.pop(channel, None)
        self._stirred.set()

    def _next(self, channel_id: str) -> list[OutboxEntry] | None:
        """What the next message of a channel holds, ``None`` when there is none to send now."""
        now = self._clock.now_ms()
        if now < self._pause.get(channel_id, 0):
            return None
        due = self._notifications.due(channel_id, now)
        channel = self._notifications.channels.get(channel_id)
        if not due or channel is None:
            return None
        account = self._people.accounts.get(channel.account)
        if not channel.enabled or account is None or account.disabled:
            self._pipeline.submit([self._notifications.release(one.id) for one in due])
            return None
        due = self._not_quiet(channel.account, due, now)
        room = self._per_minute - self._left_lately(channel_id)
        if not due or room <= 0:
            return None
        together = [one for one in due if one.together]
        if len(due) - len(together) + bool(together) > room or self._notifications.health_of(channel_id).failing_since:
            return due
        return together or due[:1]

    def _not_quiet(self, account: str, due: list[OutboxEntry], now: int) -> list[OutboxEntry]:
        """Without what quiet hours hold back: those that began while it was tried again, or waited for its turn."""
        preferences, zone = self._notifications.preferences_of(account), self._notifications.zone_of(account)
        found, later = [], []
        for entry in due:
            until = quiet_until(preferences, entry.severity, now, zone)
            if until > now:
                later.append(msgspec.structs.replace(entry, due_at=until, together=True))
            else:
                found.append(entry)
        if later:
            self._pipeline.submit([self._notifications.change(one) for one in later])
        return found

    def _left_lately(self, channel: str) -> int:
        left, now = self._left.get(channel), self._clock.monotonic()
        if left is None:
            return 0
        while left and left[0] <= now - _MINUTE_S:
            left.popleft()
        return len(left)

    async def _work(self, channel_id: str) -> None:
        async with self._room:
            while True:
                entries = self._next(channel_id)
                if entries is None:
                    return
                names = {one.id for one in entries}
                self._notifications.leaving |= names
                try:
                    await self._send(self._notifications.channels[channel_id], entries)
                finally:
                    self._notifications.leaving -= names

    def send_reset(self, account: Account, code: str) -> None:
        """Send ``code``, with which ``account`` may choose another password, to their address; to nowhere else.

        Back at once, so that nobody learns from the time it takes whether there is such an account.
        """
        task = asyncio.create_task(self._send_reset(account, code), name="reset code")
        self._resets.add(task)
        task.add_done_callback(self._resets.discard)

    async def _send_reset(self, account: Account, code: str) -> None:
        channel = Channel("", account.name, "", "email", "mailto:", self._clock.now_ms())
        language = self._notifications.language_of(account.name)
        title, text = _RESET[language]
        now = self._clock.now_ms()
        entry = OutboxEntry("", account.name, "", "", now, False, now, "info", "", "", title, text.format(code=code))
        sent = await self._sender.send("email", account.email, self._message(channel, [entry], 0), SEND_S)
        if not sent.ok:
            log.warning("reset_code_not_sent", account=account.name, error=sent.detail)

    async def _send(self, channel: Channel, entries: list[OutboxEntry]) -> None:
        self._left.setdefault(channel.id, deque()).append(self._clock.monotonic())
        listed = entries[-LISTED_MOST:]
        more = len(entries) - len(listed) + sum(one.more for one in entries)
        sent = await self._hand_over(channel, self._message(channel, listed, more), SEND_S)
        now = self._clock.now_ms()
        # It may have been removed meanwhile.
        there = channel.id in self._notifications.channels
        changes: list[Entry] = []
        if sent.ok:
            self.counts["sent"] += 1
            changes += [self._notifications.release(one.id) for one in entries]
            if there:
                changes.append(self._works(channel.id, now))
        else:
            self.counts["failed"] += 1
            log.warning("notification_not_sent", channel=channel.id, channel_kind=channel.kind, error=sent.detail)
            given_up = self._failed(channel.id, entries, sent, now, changes)
            self.counts["given_up"] += given_up
            if there:
                known = self._notifications.health_of(channel.id)
                since, error = known.failing_since or now, sent.detail[:_DETAIL]
                health = msgspec.structs.replace(known, failing_since=since, error=error)
                if given_up and not known.told_at:
                    health = msgspec.structs.replace(health, told_at=now)
                    changes += self._tell(channel, health)
                changes.append(Kept(health))
        await self._commit(changes)

    def _failed(self, channel: str, entries: list[OutboxEntry], sent: Sent, now: int, changes: list[Entry]) -> int:
        """Plan the next attempt, or end what has no hope; how many notices that is."""
        attempts = max(one.attempts for one in entries) + 1
        again = now + retry_after(attempts, _spread())
        given_up = 0
        for entry in entries:
            since = entry.tried_at or now
            # The channel may be gone, and its entries with it.
            if entry.id not in self._notifications.waiting.get(channel, {}):
                continue
            if sent.permanent or now - since >= GIVE_UP_MS:
                changes.append(self._notifications.release(entry.id))
                given_up += 1 + entry.more
            else:
                later = msgspec.structs.replace(entry, due_at=again, attempts=attempts, tried_at=since)
                changes.append(self._notifications.change(later))
        if not sent.permanent:
            self._pause[channel] = again
        return given_up

    def _tell(self, channel: Channel, health: ChannelHealth) -> list[Entry]:
        title, text = self._notifications.failing(channel, health)
        return self._notifications.prepare(
            "warning", f"channel:{channel.id}", title, text, to=[channel.account], except_channel=channel.id
        )

    def _works(self, channel: str, now: int) -> Kept:
        return Kept(ChannelHealth(channel, sent_at=now))

    async def _hand_over(self, channel: Channel, message: dict[str, Any], within_s: float) -> Sent:
        account = self._people.accounts.get(channel.account)
        to = channel.url
        if channel.kind == "email":
            to = channel.url.removeprefix("mailto:") or (account.email if account is not None else "")
            if not to:
                return Sent(False, "the account has no e-mail address", True)
        sent = await self._sender.send(channel.kind, to, message, within_s)
        if channel.kind != "email":
            sent = sent._replace(detail=without_secrets(sent.detail, channel.url))
        return sent

    def _message(self, channel: Channel, entries: list[OutboxEntry], more: int) -> dict[str, Any]:
        account = self._people.accounts.get(channel.account)
        return {
            "language": self._notifications.language_of(channel.account),
            "zone": self._notifications.zone_of(channel.account).key,
            "name": (account.full_name if account else "") or channel.account,
            "channel": channel.name,
            "link": self._link,
            "at": self._clock.now_ms(),
            "test": False,
            "more": more,
            "notices": [
                {
                    "severity": one.severity,
                    "source": one.source,
                    "title": one.title,
                    "text": one.text,
                    "device": self._name_of(one.device),
                    "at": one.at,
                }
                for one in entries
            ],
        }

    def _name_of(self, device_id: str) -> str:
        device = self._registry.get(device_id) if device_id else None
        return device.name if device is not None and device.name else device_id

    async def _commit(self, changes: list[Entry]) -> None:
        """Submit, and wait however long it takes: until then the channel's next message must not be chosen."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def resolve(_: object, outcome: Outcome) -> None:
            if not done.done():
                done.set_result(outcome)

        self._pipeline.submit(changes, resolve)
        await done
