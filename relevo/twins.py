"""Desired and reported state on their way: from whoever desires something to the device, and back with its report.

Theory. Every decision is an event that takes the road, and only what is committed is told to a device. Decisions are
taken against the *newest* twin, which is the committed one with everything that is on its way to the disk, so that two
who desire at the same moment, or two reports in one commit, follow each other.

The delta goes to a device that is there and listens, when it changes, when it subscribes, and when it announces itself;
nothing of it is retained or queued, so a device that comes back hears what is to be now and nothing older. A message
that could not leave, or of which nothing tells that it arrived, is no loss: what is pending is told again on the next
occasion, and a state can be told twice. Contracts without words for it get commands, each once
(:mod:`relevo.dispatch`).
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from relevo.clock import Clock
from relevo.dialect import (
    Commandable,
    Desirable,
    DesiredByCommand,
    DesiredOneByOne,
    Dialect,
    Polled,
    Proposes,
    Reports,
    ReportsAmongReadings,
    ReportsWhole,
)
from relevo.dispatch import Dispatch, Egress, Wish
from relevo.domain import twins as rules
from relevo.domain.commands import EXPIRED, KEY_LIMIT, NAME_LIMIT, Command
from relevo.domain.devices import Device, Registry, is_claimed
from relevo.domain.erasing import ERASED
from relevo.domain.events import (
    AnyEvent,
    DesiredAgreed,
    DesiredChanged,
    DesiredFailed,
    DeviceAnswered,
    DeviceConnected,
    DeviceDisconnected,
    DeviceEventReported,
    DeviceRemoved,
    ReportedChanged,
    StateReported,
    TelemetryReceived,
)
from relevo.domain.presence import rule_of
from relevo.domain.twins import TWIN_EVENTS, Contact, Twin, TwinEvent
from relevo.errors import Conflict, FieldError, Invalid, NotFound, QueueFull, RelevoError, StoreUnavailable
from relevo.log import get_logger
from relevo.pipeline import Entry, Outcome, Pipeline
from relevo.refusals import Refusals
from relevo.store.latest import Latest, values_of

log = get_logger("relevo.twins")

_STORED_WITHIN_S: Final = 10.0
_ORDERS_MOST: Final = 16
_SAID: Final = frozenset({TelemetryReceived, StateReported, DeviceEventReported, DeviceAnswered})
_ORIGIN: Final = "desired"


class Ears(Egress, Protocol):
    """The door that devices listen at."""

    def is_connected(self, device: str) -> bool:
        """Whether a connection stands for the device."""

    def quiet_s(self, device: str, topics: Sequence[str]) -> float | None:
        """Seconds since its client sent anything, an acknowledgement or a ping included; ``None`` when it does not
        listen on any of ``topics``."""


class _Ahead:
    """A twin with what is on its way to the disk."""

    __slots__ = ("twin", "under_way")

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.under_way = 0


class Twins:
    """One for the whole process, used on the event loop. ``agree_within_s`` holds for devices that say nothing else."""

    def __init__(
        self,
        twins: dict[str, Twin],
        pipeline: Pipeline,
        registry: Registry,
        dialects: dict[str, Dialect],
        dispatch: Dispatch,
        refusals: Refusals,
        clock: Clock,
        agree_within_s: float = 60.0,
    ) -> None:
        self._twins = twins
        self._pipeline = pipeline
        self._registry = registry
        self._dialects = dialects
        self._dispatch = dispatch
        self._refusals = refusals
        self._clock = clock
        self._agree_within_s = agree_within_s
        self.egress: Ears | None = None
        # Which events of a contract say what state its devices are in.
        self.reporting: dict[str, frozenset[type]] = {
            name: one.reporting for name, one in dialects.items() if isinstance(one, Reports)
        }
        self._ahead: dict[str, _Ahead] = {}
        # Devices with pending wishes.
        self._contacts: dict[str, Contact] = {}
        # The version that was told to the connection that is there.
        self._told: dict[str, int] = {}
        self._ordered: dict[tuple[str, str], int] = {}
        self._orders: set[asyncio.Task[None]] = set()
        self._polling: dict[str, list[asyncio.Future[None]]] = {}
        for device, twin in twins.items():
            self._track(device, twin, rules.delta(twin))
        dispatch.moved.append(self._moved)

    # Looking

    def get(self, device: str) -> Twin:
        """What is committed; not to be changed by who asks."""
        return self._twins.get(device) or Twin()

    def effective(self, device: str) -> dict[str, Any]:
        """What is shown of a device by key: what it is to be while that is pending, otherwise what it reports."""
        return rules.effective(self.get(device))

    def readings(self, device: str) -> tuple[dict[str, Any], int]:
        """The newest readings with what the device is to be in their place while that is pending.

        A wish that agreed by its delivery stays where the device says nothing of the key. With the time of the newest
        reading (milliseconds UTC), 0 for none.
        """
        latest = self._latest(device)
        found = {key: value for key, (value, _, _) in latest.items()}
        twin = self.get(device)
        for key, wish in twin.desired.items():
            if wish.state == rules.PENDING or (
                wish.state == rules.AGREED and key not in found and key not in twin.reported
            ):
                found[key] = wish.value
        return found, max((at for _, at, _ in latest.values()), default=0)

    def _latest(self, device: str) -> Latest:
        data = self._pipeline.documents.get(device)
        return values_of(data)[0] if data else {}

    async def changed(self, device: str, since: int, wait_s: float) -> bool:
        """Whether the desired version is beyond ``since``, now or within ``wait_s`` seconds.

        Raises :class:`NotFound` when the device is removed meanwhile.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while self.get(device).desired_version <= since:
            left = end - loop.time()
            if left <= 0:
                return False
            bell: asyncio.Future[None] = loop.create_future()
            bells = self._polling.setdefault(device, [])
            bells.append(bell)
            try:
                async with asyncio.timeout(left):
                    await bell
            except TimeoutError:
                pass
            finally:
                bells.remove(bell)
                if not bells and self._polling.get(device) is bells:
                    del self._polling[device]
            if self._registry.get(device) is None:
                raise NotFound(f"no device {device!r}")
        return True

    # Desiring

    async def set(self, device: str, patch: dict[str, Any], by: str, more: Sequence[Entry] = ()) -> Twin:
        """Desire what ``patch`` says (RFC 7396: null takes a key away) and leave the rest; see :meth:`desire`."""
        return await self.desire(device, patch, by, more=more)

    async def desire(
        self,
        device_id: str,
        values: dict[str, Any],
        by: str,
        whole: bool = False,
        version: int | None = None,
        more: Sequence[Entry] = (),
        named: Collection[str] | None = None,
        said: Mapping[str, Any] | None = None,
    ) -> Twin:
        """Change the desired document and tell the device when it listens; returns the twin after the commit.

        ``values`` are merged into it, or with ``whole`` replace it. ``version`` is what the document must have.
        ``named`` are the keys that are asked for now, all of ``values`` unless given. ``said`` is reported in the
        device's stead, where its contract has it so. ``more`` is committed with it.

        Raises :class:`NotFound`, :class:`Invalid` naming the field, :class:`Conflict` naming the present version,
        :class:`QueueFull` and :class:`StoreUnavailable`.
        """
        device = self._registry.get(device_id)
        if device is None:
            raise NotFound(f"no device {device_id!r}")
        twin = self._newest(device_id)
        if version is not None and version != twin.desired_version:
            raise Conflict(f"the desired state of {device_id!r} has version {twin.desired_version}, not {version}")
        if not whole:
            rules.check_document({key: value for key, value in values.items() if value is not None})
        wanted = rules.check_document(values if whole else rules.merged(rules.desired_values(twin), values))
        now = self._clock.now_ms()
        if measured := self._measured(device, twin, values):
            # Part of the reported document from now on, because something is desired of it.
            twin = twin.copy()
            learned, _ = rules.report(twin, device_id, measured, now, device_id)
            for event in learned:
                rules.apply(twin, event)
        else:
            learned = []
        events = learned + rules.desire(twin, device_id, wanted, values if named is None else named, now, by)
        for event in events:
            if isinstance(event, DesiredChanged):
                self._check(device.contract, device.external_id, event.values, event.version, device.attributes)
        dialect = self._dialects[device.contract]
        events += self._stored_agree(dialect, device_id, events, now)
        if said:
            events += self._reports(dialect, twin, device_id, said, now, by)[0]
        if self._pipeline.full:
            raise QueueFull("too much is waiting to be stored; try again in a moment")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submit(device_id, events, more, future)
        try:
            async with asyncio.timeout(_STORED_WITHIN_S):
                await future
        except TimeoutError:
            detail = self._pipeline.state.detail or "the disk is slow"
            raise StoreUnavailable(f"not stored within {_STORED_WITHIN_S:g} s: {detail}") from None
        if self._registry.get(device_id) is None:
            raise NotFound(f"no device {device_id!r}")
        return self.get(device_id)

    def first(
        self, contract: str, device: str, external_id: str, values: dict[str, Any], said: Mapping[str, Any], by: str
    ) -> list[TwinEvent]:
        """The events that are to be committed behind the registration of a new device, for it to begin like this.

        Raises :class:`Invalid` naming the field.
        """
        dialect, now = self._dialects[contract], self._clock.now_ms()
        events = rules.desire(Twin(), device, rules.check_document(values), values, now, by)
        if events:
            self._check(contract, external_id, values, 1, {})
        events += self._stored_agree(dialect, device, events, now)
        return events + self._reports(dialect, Twin(), device, said, now, by)[0]

    @staticmethod
    def _stored_agree(dialect: Dialect, device: str, events: Sequence[TwinEvent], now: int) -> list[TwinEvent]:
        """Of devices that fetch what they are to be, nothing will be heard of keys that they never report."""
        if not isinstance(dialect, Polled):
            return []
        keys = [
            key
            for event in events
            if isinstance(event, DesiredChanged)
            for key in event.values
            if key not in dialect.answered
        ]
        return [DesiredAgreed(device, now, keys, rules.DELIVERED)] if keys else []

    @staticmethod
    def _reports(
        dialect: Dialect, twin: Twin, device: str, said: Mapping[str, Any], now: int, by: str, whole: bool = False
    ) -> tuple[list[TwinEvent], list[Invalid]]:
        replaced = dialect.replaced if isinstance(dialect, ReportsWhole) else ()
        return rules.report(twin, device, said, now, by, whole, replaced)

    def _measured(self, device: Device, twin: Twin, keys: Iterable[str]) -> dict[str, Any]:
        """What the device said of ``keys`` while nobody desired anything of them."""
        if not isinstance(self._dialects[device.contract], ReportsAmongReadings):
            return {}
        latest = self._latest(device.id)
        return {key: latest[key][0] for key in keys if key in latest and key not in twin.reported}

    def _check(
        self, contract: str, external_id: str, values: dict[str, Any], version: int, attributes: Mapping[str, Any]
    ) -> None:
        dialect = self._dialects[contract]
        if isinstance(dialect, Desirable):
            dialect.desired_message(external_id, values, version, attributes)
        elif isinstance(dialect, DesiredByCommand):
            for key, value in values.items():
                dialect.desired_order(key, value, attributes)
        elif values:
            words = f"cannot be desired of a device of contract {contract}"
            errors = [FieldError(f"values.{key}", words, "desired_unknown") for key in values]
            raise Invalid("desired_unknown", f"values {words}", errors)

    # Reporting

    def heard(self, dialect: Dialect, device: str, event: AnyEvent, where: str, sender: str) -> Iterable[TwinEvent]:
        """Something of a :attr:`reporting` type that a device said; submits what it changes, before the event itself.

        Whoever is told that ``event`` is stored may rely on its effect being stored too. Of a device that is only about
        to be registered the events are returned, to be submitted behind its registration.
        """
        assert isinstance(dialect, Reports)
        said = dialect.reported(event)
        if said and isinstance(dialect, ReportsAmongReadings):
            desired = self._newest(device).desired
            said = {key: value for key, value in said.items() if key in desired or dialect.is_state(key)}
        events = self.report(device, said, False, where, sender, dialect)[0] if said else []
        wanted = dialect.proposed(event) if isinstance(dialect, Proposes) else None
        return events + self._proposed(dialect, device, wanted, where, sender) if wanted else events

    def _proposed(
        self, dialect: Dialect, device: str, wanted: dict[str, Any], where: str, sender: str
    ) -> list[TwinEvent]:
        """What a device says it is to be, merged into what it is to be while nobody has claimed it."""
        known = self._registry.get(device)
        if known is not None and is_claimed(known):
            return []
        twin, now = (self._newest(device) if known is not None else Twin()), self._clock.now_ms()
        before = rules.desired_values(twin)
        values = {key: value for key, value in (before | wanted).items() if value is not None}
        try:
            rules.check_document(values)
            self._check(dialect.name, known.external_id if known else "", values, twin.desired_version + 1, {})
        except Invalid as problem:
            self._refusals.refuse(device, where, problem.reason, f"configuration: {problem.message}", sender)
            return []
        events = rules.desire(twin, device, values, (), now, device)
        events += self._stored_agree(dialect, device, events, now)
        if known is not None and events:
            self._submit(device, events)
            return []
        return events

    def report(
        self,
        device: str,
        said: dict[str, Any],
        whole: bool,
        where: str,
        sender: str,
        dialect: Dialect | None = None,
    ) -> tuple[list[TwinEvent], list[Invalid]]:
        """As :meth:`heard`, for a report as such; with what of it was refused, which is told already."""
        now = self._clock.now_ms()
        known = self._registry.get(device)
        if known is None:
            assert dialect is not None
            events, refused = self._reports(dialect, Twin(), device, said, now, device, whole)
        else:
            speaks = dialect or self._dialects[known.contract]
            events, refused = self._reports(speaks, self._newest(device), device, said, now, device, whole)
            if events:
                self._submit(device, events)
                events = []
        for problem in refused:
            self._refusals.refuse(device, where, problem.reason, f"reported state: {problem.message}", sender)
        return events, refused

    async def reported_over_http(self, device: str, said: dict[str, Any], whole: bool, sender: str) -> list[Invalid]:
        """As :meth:`report`, back when it is stored: the device is in contact by that.

        Raises :class:`QueueFull` and :class:`StoreUnavailable`.
        """
        if self._pipeline.full:
            raise QueueFull("too much is waiting to be stored; try again in a moment")
        _, refused = self.report(device, said, whole, "http", sender)
        self.polled(device)
        left_out = {error.field for one in refused for error in one.errors}
        now = self._newest(device).reported
        taken = {key: value for key, value in said.items() if key not in left_out and (key in now or value is None)}
        await self._pipeline.accept([StateReported(device, self._clock.now_ms(), taken)])
        return refused

    def polled(self, device_id: str, delivered: bool = False) -> None:
        """The device itself asks over HTTP; with ``delivered`` it was given what is desired."""
        device, contact = self._registry.get(device_id), self._contacts.get(device_id)
        if device is None or contact is None:
            return
        self._in_contact(device, contact)
        if delivered:
            self._was_delivered(device, rules.delta(self.get(device_id)))

    # The road

    def _newest(self, device: str) -> Twin:
        ahead = self._ahead.get(device)
        return ahead.twin if ahead is not None else self.get(device)

    def _submit(
        self,
        device: str,
        events: Sequence[TwinEvent],
        more: Sequence[Entry] = (),
        future: "asyncio.Future[None] | None" = None,
    ) -> None:
        ahead = self._ahead.get(device)
        if ahead is None:
            ahead = self._ahead[device] = _Ahead(self.get(device).copy())
        ahead.under_way += 1
        for event in events:
            rules.apply(ahead.twin, event)
        self._pipeline.submit([*events, *more], self._committed, (device, ahead, bool(events), future))

    def _committed(self, token: Any, outcome: Outcome) -> None:
        device, ahead, moved, future = token
        ahead.under_way -= 1
        if not ahead.under_way and self._ahead.get(device) is ahead:
            del self._ahead[device]
        if moved:
            self._tell(device)
        if future is None or future.done():
            return
        if moved and outcome.lost:
            future.set_exception(StoreUnavailable("the database refused what was desired; its log says why"))
        else:
            future.set_result(None)

    def forget_name(self, account: str) -> None:
        """Nobody is to know any more that it was ``account`` who desired something."""
        for twin in self._twins.values():
            for key, wish in twin.desired.items():
                if wish.by == account:
                    twin.desired[key] = msgspec.structs.replace(wish, by=ERASED)
            for key, report in twin.reported.items():
                if report.by == account:
                    twin.reported[key] = msgspec.structs.replace(report, by=ERASED)

    def follow(self, event: AnyEvent) -> None:
        """After each commit: the twin moves, and whoever polls is told."""
        if type(event) in TWIN_EVENTS:
            assert isinstance(event, DesiredChanged | DesiredAgreed | DesiredFailed | ReportedChanged)
            device = event.device
            if self._registry.get(device) is None:
                return
            twin = self._twins.setdefault(device, Twin())
            rules.apply(twin, event)
            if isinstance(event, DesiredChanged):
                self._track(device, twin, event.values)
                self._wake(device)
            else:
                self._track(device, twin, ())
        elif type(event) is DeviceRemoved:
            gone = event.device
            self._twins.pop(gone, None)
            self._ahead.pop(gone, None)
            self._contacts.pop(gone, None)
            self._told.pop(gone, None)
            self._ordered = {key: version for key, version in self._ordered.items() if key[0] != gone}
            self._wake(gone)

    def _track(self, device: str, twin: Twin, begun: Iterable[str]) -> None:
        contact = self._contacts.get(device) or Contact()
        now = round(self._clock.monotonic() * 1000)
        for key in begun:
            contact.wished(key, now)
        for key in contact.pending():
            if key not in twin.desired or twin.desired[key].state != rules.PENDING:
                contact.over(key)
        if contact:
            self._contacts[device] = contact
        else:
            self._contacts.pop(device, None)

    def _wake(self, device: str) -> None:
        for bell in self._polling.get(device, ()):
            if not bell.done():
                bell.set_result(None)

    # To the device

    def listening(self, device: str) -> None:
        """It has come, subscribed or announced itself: whatever it was told before may be lost."""
        self._told.pop(device, None)
        self._tell(device)

    def _tell(self, device_id: str) -> None:
        """Let the device hear what is pending, if it listens and was not told yet."""
        device = self._registry.get(device_id)
        if device_id not in self._contacts or device is None or self.egress is None:
            return
        twin = self.get(device_id)
        delta = rules.delta(twin)
        dialect = self._dialects[device.contract]
        if isinstance(dialect, DesiredByCommand):
            self._order(device, dialect, twin, delta)
            return
        if not isinstance(dialect, Desirable) or self._told.get(device_id) == twin.desired_version:
            return
        topics = dialect.desired_topics(device.external_id, device.attributes)
        if not topics or not self.egress.hears(device_id, topics):
            return
        try:
            if isinstance(dialect, DesiredOneByOne):
                wishes = [(key, twin.desired[key]) for key in delta]
                said = [dialect.desired_key(device.external_id, key, one.value, one.at) for key, one in wishes]
            else:
                said = [dialect.desired_message(device.external_id, delta, twin.desired_version, device.attributes)]
        except Invalid as problem:
            # Taken when the device's attributes were others.
            self._refusals.notice(device_id, "desired_unsayable", problem.message)
            return
        if all(self.egress.say(device_id, one, "", 0) for one in said):
            self._told[device_id] = twin.desired_version
            self._was_delivered(device, delta)

    def _was_delivered(self, device: Device, keys: Iterable[str]) -> None:
        dialect = self._dialects[device.contract]
        if isinstance(dialect, Desirable) and dialect.delivery_agrees:
            events = rules.delivered(self._newest(device.id), device.id, keys, self._clock.now_ms())
            if events:
                self._submit(device.id, events)

    def _order(self, device: Device, dialect: DesiredByCommand, twin: Twin, delta: dict[str, Any]) -> None:
        """A command for each pending key, once for each time it was desired, when the device listens."""
        assert isinstance(dialect, Commandable)
        if self.egress is None:
            return
        if not self.egress.hears(device.id, dialect.command_topics(device.external_id, device.attributes)):
            return
        for key in delta:
            wish = twin.desired[key]
            if self._ordered.get((device.id, key)) == wish.version or len(self._orders) >= _ORDERS_MOST:
                continue
            self._ordered[device.id, key] = wish.version
            task = asyncio.create_task(self._ask(device, dialect, key, wish), name=f"desired {device.id} {key}")
            self._orders.add(task)
            task.add_done_callback(self._orders.discard)

    async def _ask(self, device: Device, dialect: DesiredByCommand, key: str, wish: rules.Wish) -> None:
        try:
            name, params = dialect.desired_order(key, wish.value, device.attributes)
            # The same key after a restart gives the command that was asked for before it. One that expired never left.
            for n in range(1, _ORDERS_MOST):
                once = f"{_ORIGIN}:{wish.version}.{n}:{key}"[:KEY_LIMIT]
                command = await self._dispatch.ask(Wish(device.id, name, params, wish.by, _ORIGIN, key=once))
                if command.state != EXPIRED:
                    break
        except RelevoError as problem:
            self._ordered.pop((device.id, key), None)
            log.warning("desired_not_asked", device=device.id, key=key[:NAME_LIMIT], error=str(problem))

    def _moved(self, command: Command) -> None:
        """A command that was asked for made a step: one that expired never left, and may be asked for again."""
        if command.origin == _ORIGIN and command.state == EXPIRED:
            self._ordered = {key: version for key, version in self._ordered.items() if key[0] != command.device}

    def stop(self) -> None:
        """End what is still being asked for."""
        for task in self._orders:
            task.cancel()

    # Contact and time

    def watch(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit: who is in contact."""
        if not self._contacts:
            return
        for event in events:
            kind = type(event)
            if kind in _SAID or kind is DeviceConnected:
                device_id = event.device  # type: ignore[union-attr]
                contact = self._contacts.get(device_id)
                device = self._registry.get(device_id) if contact is not None else None
                if contact is None or device is None:
                    continue
                self._in_contact(device, contact)
                if isinstance(event, DeviceConnected) and event.via not in ("mqtt", "http"):
                    self.listening(device_id)
            elif kind is DeviceDisconnected:
                device_id = event.device  # type: ignore[union-attr]
                if device_id in self._contacts:
                    self._contacts[device_id].broke()
                    self._told.pop(device_id, None)

    def look(self) -> None:
        """Every second: who acknowledged or pinged, who can take a message now that could not before."""
        egress = self.egress
        if egress is None:
            return
        for device_id, contact in list(self._contacts.items()):
            device = self._registry.get(device_id)
            if device is None or not egress.is_connected(device_id):
                continue
            quiet = egress.quiet_s(device_id, self._topics(device))
            if quiet is not None:
                self._in_contact(device, contact, quiet)
            self._tell(device_id)

    def _topics(self, device: Device) -> tuple[str, ...]:
        dialect = self._dialects[device.contract]
        if isinstance(dialect, Desirable):
            return dialect.desired_topics(device.external_id, device.attributes)
        if isinstance(dialect, Commandable):
            return dialect.command_topics(device.external_id, device.attributes)
        return ()

    def _in_contact(self, device: Device, contact: Contact, quiet_s: float = 0.0) -> None:
        at = round((self._clock.monotonic() - quiet_s) * 1000)
        unbroken = self.egress is not None and self.egress.is_connected(device.id)
        contact.heard(at, unbroken, rule_of(device.contract, device.attributes).silence_ms)
        dialect = self._dialects[device.contract]
        within_s = dialect.agree_within_s if isinstance(dialect, Polled) else self._agree_within_s
        over = contact.exhausted(rules.agree_within_ms(device.attributes, within_s))
        if over:
            events = rules.give_up(self._newest(device.id), device.id, over, self._clock.now_ms())
            if events:
                self._submit(device.id, events)
