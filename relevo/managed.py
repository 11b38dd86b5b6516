"""What is managed under contract emqx, beside the road: it follows every commit, and goes with its devices.

:class:`relevo.domain.book.Book` is what is known; here it is kept equal to the store, whoever is connected is told that
their rights changed, and what devices send without a sensor for it is kept in mind for operators.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from relevo.domain.accounts import Account, ApiKey, SignIn
from relevo.domain.book import CONTRACT, Book
from relevo.domain.devices import Registry
from relevo.domain.events import AnyEvent, DeviceChanged, DeviceRegistered, DeviceRemoved, SensorsRead
from relevo.domain.grants import Grant
from relevo.domain.managed import Managed
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.pipeline import Pipeline

_KEYS_MOST: Final = 32
_DEVICES_MOST: Final = 1_000
_PEOPLE: Final = frozenset({Account, ApiKey, Grant, SignIn})
NOBODY: Final = "-"
"""Stands for no device: what people may watch is looked at again."""
_TURNS: Final = frozenset({"external_id", "attributes", "owner", "tags", "site"})


class Suggestion(NamedTuple):
    """A key without a sensor: how often it came since the start, its newest value and when (milliseconds UTC)."""

    key: str
    times: int
    value: Any
    at: int


class ManagedRecords:
    """One for the whole process, used on the event loop."""

    def __init__(self, book: Book, registry: Registry, pipeline: Pipeline) -> None:
        self.book = book
        self._registry = registry
        self._pipeline = pipeline
        self._suggested: dict[str, dict[str, Suggestion]] = {}
        self._stale: set[str] = set()
        # Held by whoever decides about a change, until it is committed.
        self.writing = asyncio.Lock()
        # Called with devices whose rights may have changed; an empty name stands for all.
        self.renew: Callable[[set[str]], None] = lambda devices: None
        book.changed.append(self._turn)

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        if isinstance(change, Kept):
            if isinstance(change.record, Managed):
                self.book.put(change.record)
            else:
                self._turn_watchers(change)
        elif isinstance(change, Dropped):
            if change.kind is Managed:
                self.book.drop(change.key)
            else:
                self._turn_watchers(change)

    def _turn_watchers(self, change: Kept | Dropped) -> None:
        kind = type(change.record) if isinstance(change, Kept) else change.kind
        if kind in _PEOPLE:
            self._turn(NOBODY)

    def follow(self, event: AnyEvent) -> None:
        """A device that is gone takes along what was said about it."""
        if isinstance(event, DeviceRemoved):
            self._suggested.pop(event.device, None)
            gone: list[RecordChange] = [Dropped(Managed, one.id) for one in self.book.of_device(event.device)]
            if gone:
                self._pipeline.submit(gone)
            self._turn(NOBODY)
        elif isinstance(event, DeviceRegistered) and event.contract == CONTRACT:
            self._turn(NOBODY)
        elif isinstance(event, DeviceChanged) and not _TURNS.isdisjoint(event.changes):
            device = self._registry.get(event.device)
            if device is not None and device.contract == CONTRACT:
                self._turn(event.device)

    def watch(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit: what came without a sensor for it."""
        for event in events:
            if type(event) is SensorsRead and event.unassigned:
                self._suggest(event)

    def _suggest(self, event: SensorsRead) -> None:
        if event.device not in self._suggested and len(self._suggested) >= _DEVICES_MOST:
            del self._suggested[next(iter(self._suggested))]
        held = self._suggested.setdefault(event.device, {})
        for key, value in event.unassigned.items():
            if key in held or len(held) < _KEYS_MOST:
                count = held[key].times if key in held else 0
                held[key] = Suggestion(key, count + 1, value, event.at)

    def suggestions(self, device: str) -> list[Suggestion]:
        """Keys that ``device`` sends and no sensor of it has by now."""
        found = self._registry.get(device)
        profile = self.book.profile(found.external_id) if found is not None else None
        known = {one.key for one in profile.sensors} if profile is not None else set()
        return [one for one in self._suggested.get(device, {}).values() if one.key not in known]

    def _turn(self, device: str) -> None:
        # What one commit changed is looked at once, before anybody hears that it is done.
        if not self._stale:
            try:
                asyncio.get_running_loop().call_soon(self._renew)
            except RuntimeError:
                # Not begun yet: nobody is connected.
                return
        self._stale.add(device)

    def _renew(self) -> None:
        stale, self._stale = self._stale, set()
        self.renew(stale)
