"""What flowed through each water meter in each month: follows every commit, and is written down once a minute.

Theory. The journal is the truth. Each :class:`MeterMonth` says up to which event it counts, and all that changed are
written in one submission; so after a crash it is enough to read the journal from the newest of these numbers on. The
same reading catches up with what is there from before.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from zoneinfo import ZoneInfo

from relevo.domain.customers import MONTHS_KEPT, Customer, MeterMonth, month_of
from relevo.domain.devices import Registry
from relevo.domain.events import AnyEvent, DeviceRemoved, ReadingImported, TelemetryReceived
from relevo.domain.meters import CONTRACT, Volume
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.tariffs import Tariff
from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.pipeline import Entry, Pipeline

log = get_logger("relevo.jobs")

EVERY_S: Final = 60.0
_PAGE: Final = 5_000
# Events after which the position is written down although no meter said anything.
_MARKED_EVERY: Final = 20_000
_MARK: Final = "|"

Replay = Callable[[int, int], Awaitable[list[tuple[int, AnyEvent]]]]


class Consumption:
    """Customers, and the months of their meters. ``zone`` says when a month begins."""

    def __init__(self, pipeline: Pipeline, registry: Registry, replay: Replay, zone: ZoneInfo) -> None:
        self._pipeline = pipeline
        self._registry = registry
        self._replay = replay
        self._zone = zone
        self.customers: dict[int, Customer] = {}
        self.tariffs: dict[str, Tariff] = {}
        # Numbers given since the start, so that two customers of the same moment get two.
        self.promised: set[int] = set()
        # device id -> month -> litres
        self._litres: dict[str, dict[str, float]] = {}
        self._volume = Volume()
        # Of imported readings, which have an order of their own.
        self._imported = Volume()
        self._dirty: set[tuple[str, str]] = set()
        # The last event that is counted.
        self._position = 0
        # What of that is written down.
        self._marked = 0
        self._behind = asyncio.Event()
        self._task = Background("consumption")

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        match change:
            case Kept(Customer() as customer):
                self.customers[customer.number] = customer
            case Dropped(kind, key) if kind is Customer:
                self.customers.pop(int(key), None)
            case Kept(Tariff() as tariff):
                self.tariffs[tariff.id] = tariff
            case Dropped(kind, key) if kind is Tariff:
                self.tariffs.pop(key, None)

    def held_from(self) -> int:
        """The first event that a start at this moment would have to read."""
        if not self._registry.of_contract(CONTRACT):
            # There is nothing to be counted there.
            return self._pipeline.committed_seq + 1
        return self._marked + 1

    def load(self, months: list[MeterMonth]) -> None:
        """Take up what is stored."""
        for one in months:
            self._position = self._marked = max(self._position, one.seq)
            if not one.device:
                continue
            self._litres.setdefault(one.device, {})[one.month] = one.litres

    def months(self, device: str) -> dict[str, float]:
        """Litres by month, newest first."""
        return dict(sorted(self._litres.get(device, {}).items(), reverse=True))

    def start(self) -> None:
        self._task.begin(self._run())

    async def stop(self) -> None:
        """Harmless when it never began."""
        if await self._task.end():
            self._write()

    def follow(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit, on the event loop."""
        if not events or not first_seq:
            return
        if first_seq != self._position + 1:
            self._behind.set()
            return
        for event in events:
            self._count(event)
        self._position = first_seq + len(events) - 1

    async def _run(self) -> None:
        while True:
            await self._catch_up()
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._behind.wait()
            except TimeoutError:
                self._write()

    async def _catch_up(self) -> None:
        self._behind.clear()
        while self._position < self._pipeline.committed_seq:
            page = await self._replay(self._position + 1, _PAGE)
            if not page:
                # The journal begins later than that.
                self._position = self._pipeline.committed_seq
                return
            for seq, event in page:
                if seq > self._position:
                    self._count(event)
                    self._position = seq
            await asyncio.sleep(0)

    def _count(self, event: AnyEvent) -> None:
        if type(event) is DeviceRemoved:
            for month in self._litres.pop(event.device, {}):
                self._dirty.add((event.device, month))
            self._volume.forget(event.device)
            self._imported.forget(event.device)
        if type(event) is not TelemetryReceived and type(event) is not ReadingImported:
            return
        device = self._registry.get(event.device)
        if device is None or device.contract != CONTRACT:
            return
        litres = (self._volume if type(event) is TelemetryReceived else self._imported).of(event)
        if litres <= 0:
            return
        month = month_of(event.ts, self._zone)
        months = self._litres.setdefault(event.device, {})
        months[month] = months.get(month, 0.0) + litres
        self._dirty.add((event.device, month))
        while len(months) > MONTHS_KEPT:
            oldest = min(months)
            del months[oldest]
            self._dirty.add((event.device, oldest))

    def _write(self) -> None:
        dirty, self._dirty = self._dirty, set()
        entries: list[Entry] = []
        for device, month in sorted(dirty):
            key = f"{device}|{month}"
            litres = self._litres.get(device, {}).get(month)
            if litres is None:
                entries.append(Dropped(MeterMonth, key))
            else:
                entries.append(Kept(MeterMonth(key, device, month, round(litres, 6), self._position)))
        if entries or self._position - self._marked >= _MARKED_EVERY:
            self._marked = self._position
            entries.append(Kept(MeterMonth(_MARK, "", "", 0.0, self._position)))
            self._pipeline.submit(entries)
