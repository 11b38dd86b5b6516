"""The water meters' memory: the last readings of all of them together (contract hidrometro, section 4)."""

from collections import deque
from collections.abc import Callable
from typing import Any

from relevo.domain.devices import Registry
from relevo.domain.events import AnyEvent, TelemetryReceived, UnclaimedReading

CONTRACT = "hidrometro"

# Whether somebody may see the readings of a serial number.
Sees = Callable[[str], bool]


class RecentReadings:
    """The last ``limit`` readings, stored or not, oldest first; and the newest of each serial number."""

    def __init__(self, registry: Registry, limit: int) -> None:
        self._registry = registry
        self._readings: deque[dict[str, Any]] = deque(maxlen=limit)
        self._newest: dict[str, dict[str, Any]] = {}
        self._limit = limit

    def __len__(self) -> int:
        return len(self._readings)

    def follow(self, seq: int, events: list[AnyEvent]) -> None:
        """Take what a commit brought."""
        for event in events:
            if type(event) is TelemetryReceived:
                device = self._registry.get(event.device)
                if device is not None and device.contract == CONTRACT:
                    self._take(event.ts, event.values, device.external_id)
            elif type(event) is UnclaimedReading and event.contract == CONTRACT:
                self._take(event.ts, event.values, event.external_id)

    def current(self, serial: str = "", sees: Sees | None = None) -> dict[str, Any] | None:
        """The newest reading of all, or of one serial number, that ``sees`` allows (``None`` allows all)."""
        if serial:
            wanted = serial.strip().upper()
            return self._newest.get(wanted) if sees is None or sees(wanted) else None
        return next((one for one in reversed(self._readings) if sees is None or sees(one["numero_serie"] or "")), None)

    def last(self, count: int, sees: Sees | None = None) -> list[dict[str, Any]]:
        """The last ``count`` readings that ``sees`` allows, oldest first."""
        found: list[dict[str, Any]] = []
        for reading in reversed(self._readings):
            if len(found) == count:
                break
            if sees is None or sees(reading["numero_serie"] or ""):
                found.append({name: reading[name] for name in ("ts", "totalLiters", "flowLmin")})
        return found[::-1]

    def _take(self, ts: int, values: dict[str, Any], serial: str) -> None:
        reading = {
            "ts": ts,
            "totalLiters": values.get("totalLiters", 0.0),
            "flowLmin": values.get("flowLmin", 0.0),
            "numero_serie": serial or None,
        }
        self._readings.append(reading)
        if serial in self._newest or len(self._newest) < 10_000:
            self._newest[serial] = reading
