"""Water meters: what becomes of their readings on the way in, and leaks (contract hidrometro, sections 3.1, 6 and 7).

A leak of a registered meter is an alert of the product, submitted with the reading that shows it. Of a meter that is in
no registry, or switched off there, nothing is stored: its alerts are *temporary*, in memory, with numbers below 0.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from relevo.clock import Clock
from relevo.domain.alerts import Alerts
from relevo.domain.devices import Registry
from relevo.domain.events import (
    AlertChanged,
    AnyEvent,
    DeviceRemoved,
    ReadingShown,
    TelemetryReceived,
    UnclaimedReading,
)
from relevo.domain.leaks import Leaks
from relevo.domain.meters import CONTRACT, FLOW, INACTIVE, LEAK, LEAKS, TOTAL, Numbers, Rows, state_of
from relevo.pipeline import Entry

TEMPORARY_MOST: Final = 200
_TEXT: Final = {
    "en": ("Possible leak", "{flow:g} L/min for {duration:g} s (from {threshold:g} L/min)"),
    "es": ("Posible fuga", "{flow:g} L/min durante {duration:g} s (desde {threshold:g} L/min)"),
    "pt": ("Possível vazamento", "{flow:g} L/min por {duration:g} s (a partir de {threshold:g} L/min)"),
}


Shows = TelemetryReceived | ReadingShown | UnclaimedReading


class Prepare(Protocol):
    """What tells people: see :meth:`relevo.notifications.Notifications.prepare`."""

    def __call__(
        self, severity: str, source: str, title: str, text: str = "", *, device: str = "", key: str = ""
    ) -> Sequence[Entry]: ...


class Leak(NamedTuple):
    """An alert about a meter, for whoever tells of it; times in milliseconds UTC, ``number`` below 0 is temporary."""

    number: int
    serial: str
    message: str
    threshold: float
    flow: float
    total: float
    duration: float
    at: int
    ended: int = 0

    @classmethod
    def of(cls, number: int, text: str, values: dict[str, Any], at: int, ended: int) -> "Leak":
        """From an alert of the product, whose ``values`` :func:`leak_values` made."""
        names = ("threshold", "flow_lmin", "total_liters", "duration_seconds")
        threshold, flow, total, duration = (float(values.get(name, 0.0)) for name in names)
        return cls(number, str(values.get("serial", "")), text, threshold, flow, total, duration, at, ended)


class Meters:
    """One for the whole process, used on the event loop. ``fresh_id`` makes ids of alerts, ``quiet`` while it restarts
    tells nobody."""

    def __init__(
        self,
        registry: Registry,
        rows: Rows,
        leaks: Leaks,
        threshold: float,
        alerts: Alerts,
        prepare: Prepare,
        clock: Clock,
        fresh_id: Callable[[], str],
        language: str,
    ) -> None:
        self._registry = registry
        self._rows = rows
        self._leaks = leaks
        self._threshold = threshold
        self._alerts = alerts
        self._prepare = prepare
        self._clock = clock
        self._fresh_id = fresh_id
        self._name, self._message = _TEXT[language]
        self.numbers = Numbers(registry)
        # Newest last.
        self.temporary: deque[Leak] = deque(maxlen=TEMPORARY_MOST)
        self._next = -1
        # Told of temporary alerts.
        self.followers: list[Callable[[Leak], None]] = []

    def known_as(self, said: str) -> str:
        """The serial number behind a record id (``@5``); what is none, or nobody's, stays as it is."""
        if said.startswith("@") and said[1:].isdigit():
            return self.numbers.serial(int(said[1:])) or said
        return said

    def taken(self, device_id: str, reading: TelemetryReceived, acknowledged: bool) -> list[Entry]:
        """What to submit for a reading of a registered meter; ``acknowledged`` when its sender hears that it is
        stored."""
        device = self._registry.get(device_id)
        if device is None:
            return [reading]
        if state_of(device) == INACTIVE:
            return [_shown(reading)]
        stored = self._rows.take(device_id, reading, acknowledged)
        duration = self._leak_of(device_id, reading)
        if duration is None:
            return [reading if stored else _shown(reading)]
        name = device.name or device.external_id
        text = f"{name}: {self._words(reading, duration)}"
        now = self._clock.now_ms()
        alert = self._alerts.raised(
            self._fresh_id(),
            device_id,
            device.owner,
            LEAK,
            f"leak:{reading.ts}",
            self._name,
            "critical",
            text,
            leak_values(device.external_id, self._threshold, reading, duration),
            now,
        )
        told = self._prepare("critical", f"contract:{CONTRACT}", self._name, text, device=device_id, key=alert.id)
        return [reading if stored else _shown(reading), alert, *told]

    def watch(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit: readings of meters of which nothing is stored."""
        for event in events:
            if type(event) is UnclaimedReading and event.contract == CONTRACT:
                self._strange(event.external_id, event)
            elif type(event) is ReadingShown:
                device = self._registry.get(event.device)
                if device is not None and device.contract == CONTRACT and state_of(device) == INACTIVE:
                    self._strange(device.external_id, event)

    def _strange(self, serial: str, reading: ReadingShown | UnclaimedReading) -> None:
        duration = self._leak_of(f"serial:{serial}", reading)
        if duration is None:
            return
        text = f"{serial or '?'}: {self._words(reading, duration)}"
        values = leak_values(serial, self._threshold, reading, duration)
        leak = Leak.of(self._next, text, values, self._clock.now_ms(), 0)
        self._next -= 1
        self.temporary.append(leak)
        for tell in self.followers:
            tell(leak)

    def recall(self, events: Sequence[AnyEvent]) -> None:
        """After a restart: which episodes were told already follows from what was stored."""
        for event in events:
            if type(event) is TelemetryReceived:
                device = self._registry.get(event.device)
                if device is not None and device.contract == CONTRACT and state_of(device) != INACTIVE:
                    self._leak_of(device.id, event)

    def resolve(self, number: int, at: int) -> Leak | None:
        """A temporary alert that somebody has seen to; ``None`` when there is none."""
        for n, one in enumerate(self.temporary):
            if one.number == number:
                self.temporary[n] = one._replace(ended=one.ended or at)
                return self.temporary[n]
        return None

    def follow(self, event: AnyEvent) -> None:
        """After every commit: a meter that is gone is forgotten."""
        if type(event) is DeviceRemoved:
            self._rows.forget(event.device)
            self._leaks.forget(event.device)

    def _leak_of(self, meter: str, reading: Shows) -> float | None:
        values = reading.values
        return self._leaks.take(meter, reading.ts, values.get(FLOW, 0.0), bool(values.get(LEAKS)))

    def _words(self, reading: Shows, duration: float) -> str:
        flow = round(reading.values.get(FLOW, 0.0), 2)
        return self._message.format(flow=flow, duration=duration, threshold=self._threshold)


def leak_values(serial: str, threshold: float, reading: Shows, duration: float) -> dict[str, Any]:
    """What an alert of a leak holds."""
    return {
        "serial": serial,
        "threshold": threshold,
        "flow_lmin": reading.values.get(FLOW, 0.0),
        "total_liters": reading.values.get(TOTAL, 0.0),
        "duration_seconds": duration,
    }


def leak_alert(event: AnyEvent) -> AlertChanged | None:
    """``event`` when it is a leak that has just begun."""
    if type(event) is AlertChanged and event.rule == LEAK and event.change == "opened":
        return event
    return None


def _shown(reading: TelemetryReceived) -> ReadingShown:
    return ReadingShown(reading.device, reading.ts, reading.source, reading.received, reading.values)
