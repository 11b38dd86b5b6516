"""Raising notifications: whom one is addressed to, and through which channels of theirs it is to leave.

Theory. One submission holds the event and an :class:`~relevo.domain.channels.OutboxEntry` for each channel that it is
planned for, so after a crash there is either all of it or nothing. What waits is in memory too, and there first: who
changes an entry changes it here and then submits it, so that entries which come in a crowd see each other. It may
leave once its commit is done. :mod:`relevo.jobs.notifier` sends; an entry that it is sending is its own until then.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from relevo.clock import Clock
from relevo.domain.accounts import Account, Identity, Role
from relevo.domain.channels import WAITING_MOST, Channel, ChannelHealth, OutboxEntry
from relevo.domain.devices import Device, Registry
from relevo.domain.events import AnyEvent, DeviceRemoved, NotificationRaised
from relevo.domain.grants import Right
from relevo.domain.notices import (
    REPEATED_MS,
    SEVERITIES,
    TEXT_MOST,
    TITLE_MOST,
    Notice,
    NoticePreferences,
    addressed,
    plan,
)
from relevo.domain.people import People
from relevo.domain.records import Dropped, InboxDropped, Kept, Record, RecordChange
from relevo.domain.zones import local, zone_of
from relevo.errors import Invalid
from relevo.pipeline import Entry, Pipeline

_KEYS_MOST: Final = 10_000
_FAILING: Final = {
    "en": ("The channel “{channel}” is failing", "Nothing gets through since {since}: {error}"),
    "es": ("El canal «{channel}» falla", "Nada llega desde {since}: {error}"),
    "pt": ("O canal “{channel}” está falhando", "Nada chega desde {since}: {error}"),
}


class Notifications:
    """Channels, preferences and what is on its way, kept equal to the store. :meth:`apply` follows every commit."""

    def __init__(
        self,
        people: People,
        registry: Registry,
        pipeline: Pipeline,
        clock: Clock,
        language: str = "en",
        zone: str = "UTC",
    ) -> None:
        self._people = people
        self._registry = registry
        self._pipeline = pipeline
        self._clock = clock
        self._language = language
        self._zone = zone
        self.channels: dict[str, Channel] = {}
        self.health: dict[str, ChannelHealth] = {}
        self.preferences: dict[str, NoticePreferences] = {}
        # By channel, then by id.
        self.waiting: dict[str, dict[str, OutboxEntry]] = {}
        # Entries that are being sent, and those whose commit is still to come.
        self.leaving: set[str] = set()
        self._coming: set[str] = set()
        self.raised = 0
        self.repeated = 0
        # (key, addressees) -> id and time of the last one that was told
        self._recent: dict[tuple[str, tuple[str, ...]], tuple[str, int]] = {}
        self.stirred: Callable[[], None] = lambda: None

    def load(self, records: Iterable[Record], recent: Iterable[tuple[str, str, int, str]]) -> None:
        """Take up what is kept; ``recent`` are key, id, time and account of notifications of the last minute."""
        for record in records:
            self.apply(Kept(record))
            if isinstance(record, OutboxEntry):
                self._hold(record)
        together: dict[tuple[str, str, int], list[str]] = {}
        for key, notification, at, account in recent:
            together.setdefault((key, notification, at), []).append(account)
        for (key, notification, at), accounts in together.items():
            self._recent[(key, tuple(sorted(accounts)))] = (notification, at)

    def apply(self, change: RecordChange) -> None:
        """Follow a commit."""
        match change:
            case Kept(Channel() as channel):
                self.channels[channel.id] = channel
            case Kept(ChannelHealth() as health):
                self.health[health.id] = health
            case Dropped(kind, key) if kind is ChannelHealth:
                self.health.pop(key, None)
            case Kept(NoticePreferences() as preferences):
                self.preferences[preferences.id] = preferences
            case Kept(OutboxEntry() as entry):
                self._coming.discard(entry.id)
                self.stirred()
            case Dropped(kind, key) if kind is Channel:
                self.channels.pop(key, None)
            case Dropped(kind, key) if kind is NoticePreferences:
                self.preferences.pop(key, None)
            case Dropped(kind, key) if kind is OutboxEntry:
                self.release(key)

    # Asking

    def preferences_of(self, account: str) -> NoticePreferences:
        """What a person wants, with the defaults for whoever said nothing."""
        return self.preferences.get(account) or NoticePreferences(account)

    def language_of(self, account: str) -> str:
        return self.language_or_default(self.preferences_of(account))

    def language_or_default(self, preferences: NoticePreferences) -> str:
        return preferences.language or self._language

    def zone_or_default(self, preferences: NoticePreferences) -> str:
        return preferences.zone or self._zone

    def zone_of(self, account: str) -> ZoneInfo:
        """The rules of a person's zone; those of the server's when the time zone data has lost it."""
        try:
            return zone_of(self.zone_or_default(self.preferences_of(account)))
        except Invalid:
            return zone_of(self._zone)

    def health_of(self, channel: str) -> ChannelHealth:
        """How a channel does; as new for one that sent nothing yet."""
        return self.health.get(channel) or ChannelHealth(channel)

    def failing(self, channel: Channel, health: ChannelHealth) -> tuple[str, str]:
        """What the owner of a channel is told that lets nothing through: title and text in their language."""
        title, text = _FAILING[self.language_of(channel.account)]
        since = f"{local(health.failing_since, self.zone_of(channel.account)):%Y-%m-%d %H:%M}"
        return title.format(channel=channel.name), text.format(since=since, error=health.error)

    def waits(self) -> int:
        """How many entries are on their way, those that only count included."""
        return sum(1 + entry.more for held in self.waiting.values() for entry in held.values())

    def addressees(self, severity: str, device_id: str, to: Sequence[str] = ()) -> list[str]:
        """Who finds it in their inbox: those of ``to`` who exist, or whoever may view the device, and wants it.

        What is about no device and addressed to nobody is for the administrators.
        """
        device = self._registry.get(device_id) if device_id else None
        found = []
        for account in self._people.accounts.values():
            if account.disabled or not addressed(self.preferences_of(account.name), severity):
                continue
            if (account.name in to) if to else self._concerns(account, device, device_id):
                found.append(account.name)
        return sorted(found)

    def due(self, channel: str, now: int) -> list[OutboxEntry]:
        """What of a channel may leave by ``now``, in the order in which it was raised."""
        found = [
            entry
            for entry in self.waiting.get(channel, {}).values()
            if entry.due_at <= now and entry.id not in self.leaving and entry.id not in self._coming
        ]
        return sorted(found, key=lambda one: one.at)

    # Changing what waits

    def change(self, entry: OutboxEntry) -> Kept:
        """``entry`` in the place of the one with its id, here at once; submit the answer."""
        self._hold(entry)
        return Kept(entry)

    def release(self, entry: str) -> Dropped:
        """``entry`` waits no longer, here at once; submit the answer."""
        self._coming.discard(entry)
        for channel, held in self.waiting.items():
            if held.pop(entry, None) is not None:
                if not held:
                    del self.waiting[channel]
                break
        return Dropped(OutboxEntry, entry)

    def follow(self, event: AnyEvent) -> None:
        """A device that is gone takes along what was to be told of it; what is leaving leaves."""
        if isinstance(event, DeviceRemoved):
            gone = [
                one.id
                for held in self.waiting.values()
                for one in held.values()
                if one.device == event.device and one.id not in self.leaving
            ]
            if gone:
                self._pipeline.submit([self.release(one) for one in gone])

    # Raising

    async def raise_(
        self,
        severity: str,
        source: str,
        title: str,
        text: str = "",
        *,
        device: str = "",
        to: Sequence[str] = (),
        key: str = "",
    ) -> str:
        """Tell people, and answer with the id once it is on the disk; see :meth:`prepare`.

        Raises what :meth:`Pipeline.accept` raises.
        """
        entries = self.prepare(severity, source, title, text, device=device, to=to, key=key)
        await self._pipeline.accept(entries)
        event = entries[0]
        assert isinstance(event, NotificationRaised)
        return event.repeats or event.id

    def prepare(
        self,
        severity: str,
        source: str,
        title: str,
        text: str = "",
        *,
        device: str = "",
        to: Sequence[str] = (),
        key: str = "",
        except_channel: str = "",
    ) -> list[Entry]:
        """What to submit at once, in one submission with whatever caused it: the event, then what is on its way.

        ``severity`` is info, warning or critical; ``source`` kind and id (``rule:ID``); ``to`` accounts, none for
        everybody who may view ``device``. The same ``key`` for the same people within a minute is only counted. Too
        long a title or text is cut.
        """
        if severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {SEVERITIES}, not {severity!r}")
        now = self._clock.now_ms()
        names = self.addressees(severity, device, to)
        event = NotificationRaised(
            secrets.token_hex(8),
            device,
            now,
            severity,
            source,
            _cut(title, TITLE_MOST),
            _cut(text, TEXT_MOST),
            names,
            key,
            self._repeated(key, tuple(names), now),
        )
        if event.repeats:
            self.repeated += 1
            return [event]
        self.raised += 1
        if key:
            self._remember(key, tuple(names), event.id, now)
        return [event, *self._outgoing(event, except_channel)]

    def replan(self, account: str, preferences: NoticePreferences) -> list[RecordChange]:
        """What becomes of a person's waiting notices with other preferences; those that failed once keep their turn."""
        changes: list[RecordChange] = []
        now = self._clock.now_ms()
        zone = zone_of(preferences.zone or self._zone)
        for channel_id, held in self.waiting.items():
            channel = self.channels.get(channel_id)
            for entry in list(held.values()):
                if entry.account != account or entry.attempts or entry.id in self.leaving or channel is None:
                    continue
                notice = Notice(entry.severity, entry.source, entry.device)
                found = plan(preferences, notice, now, zone, channel.min_severity, channel.digest)
                if found.at is None:
                    changes.append(Dropped(OutboxEntry, entry.id))
                else:
                    together = found.digest or entry.more > 0
                    changes.append(self.change(msgspec.structs.replace(entry, due_at=found.at, together=together)))
        return changes

    def without(self, channel: str) -> list[RecordChange]:
        """What is dropped with a channel, besides itself."""
        waiting = self.waiting.get(channel, ())
        return [Dropped(ChannelHealth, channel), *(Dropped(OutboxEntry, entry) for entry in waiting)]

    def belongings(self, account: str) -> list[RecordChange]:
        """Everything here that goes with an account."""
        theirs = [one.id for one in self.channels.values() if one.account == account]
        return [
            InboxDropped(account, ""),
            Dropped(NoticePreferences, account),
            *(Dropped(Channel, channel) for channel in theirs),
            *(change for channel in theirs for change in self.without(channel)),
        ]

    # Inside

    def _concerns(self, account: Account, device: Device | None, device_id: str) -> bool:
        if device is None:
            return not device_id and account.rank is Role.ADMINISTRATOR
        rank = account.rank
        if self.preferences_of(account.name).scope == "mine" and device.owner:
            rank = min(rank, Role.OPERATOR)
        return self._people.right(Identity(account.name, rank), device) >= Right.VIEW

    def _repeated(self, key: str, names: tuple[str, ...], now: int) -> str:
        known = self._recent.get((key, names)) if key else None
        return known[0] if known is not None and 0 <= now - known[1] < REPEATED_MS else ""

    def _remember(self, key: str, names: tuple[str, ...], notification: str, now: int) -> None:
        if len(self._recent) >= _KEYS_MOST:
            self._recent = {one: seen for one, seen in self._recent.items() if 0 <= now - seen[1] < REPEATED_MS}
            while len(self._recent) >= _KEYS_MOST:
                del self._recent[next(iter(self._recent))]
        self._recent[(key, names)] = (notification, now)

    def _outgoing(self, event: NotificationRaised, except_channel: str) -> list[Entry]:
        found: list[Entry] = []
        names = set(event.to)
        for channel in self.channels.values():
            if channel.account not in names or not channel.enabled or channel.id == except_channel:
                continue
            preferences = self.preferences_of(channel.account)
            notice = Notice(event.severity, event.source, event.device)
            zone = self.zone_of(channel.account)
            planned = plan(preferences, notice, event.at, zone, channel.min_severity, channel.digest)
            if planned.at is None:
                continue
            entry = OutboxEntry(
                secrets.token_hex(8),
                channel.account,
                channel.id,
                event.id,
                planned.at,
                planned.digest,
                event.at,
                event.severity,
                event.source,
                event.device,
                event.title,
                event.text,
            )
            found.append(Kept(self._with_room(entry)))
        return found

    def _with_room(self, entry: OutboxEntry) -> OutboxEntry:
        """``entry``, or when too much waits already, the newest that waits, counting one more."""
        held = self.waiting.get(entry.channel, {})
        if len(held) < WAITING_MOST:
            return self._came(entry)
        newest = next((one for one in reversed(held.values()) if one.id not in self.leaving), None)
        if newest is None:
            return self._came(entry)
        counted = msgspec.structs.replace(newest, more=newest.more + 1, together=True)
        self._hold(counted)
        return counted

    def _came(self, entry: OutboxEntry) -> OutboxEntry:
        self._coming.add(entry.id)
        self._hold(entry)
        return entry

    def _hold(self, entry: OutboxEntry) -> None:
        self.waiting.setdefault(entry.channel, {})[entry.id] = entry


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
