"""Water meters (contract hidrometro): their numbers and states, which readings become rows, and the last of all.

**Rows** (section 7). Real firmware says every second, at QoS 0, what a row every ten seconds tells as well. What nobody
is told to be stored may therefore be passed over; what is acknowledged, by PUBACK or by an answer over HTTP, is stored.
A reset, and a meter that says that it leaks, are always stored. What flowed since the row before is part of each row,
so that nothing of it is lost with the readings in between.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from relevo.domain.devices import Device, Registry
from relevo.domain.events import AnyEvent, ReadingImported, ReadingShown, TelemetryReceived, UnclaimedReading

CONTRACT: Final = "hidrometro"
LEAK: Final = "hidrometro.leak"
"""What stands in an alert in the place of its rule."""
STATES: Final = ("Ativo", "Inativo", "Manutencao", "Defeito")
ACTIVE, INACTIVE = STATES[:2]
TOTAL, FLOW, FLOWED, LEAKS = "totalLiters", "flowLmin", "consumo_litros", "vazamento_detectado"
# Attributes of a meter.
STATE, MODEL, CUSTOMER, NUMBER = "status", "modelo", "id_cliente", "id_dispositivo"
_METERS_MOST: Final = 100_000

# Whether somebody may see the readings of a serial number.
Sees = Callable[[str], bool]
Reading = dict[str, Any]


def state_of(device: Device) -> str:
    """One of :data:`STATES`; a meter of which nothing is said is ``Ativo``."""
    said = device.attributes.get(STATE)
    wanted = said.casefold() if isinstance(said, str) else ""
    return next((state for state in STATES if state.casefold() == wanted), ACTIVE)


def number_of(device: Device) -> int:
    """The contract's ``dispositivo_id``: the attribute ``id_dispositivo``, otherwise the number of its registration."""
    return whole(device.attributes.get(NUMBER)) or device.registered_seq


def customer_of(device: Device) -> int | None:
    """The contract's ``cliente_id``, ``None`` for nobody's."""
    return whole(device.attributes.get(CUSTOMER))


def model_of(device: Device) -> str:
    said = device.attributes.get(MODEL)
    return said if isinstance(said, str) and said else device.type


def whole(raw: Any) -> int | None:
    """``raw`` as a number from 0 to 2^53, when it is one or the text of one."""
    if isinstance(raw, str) and raw.strip().isascii() and raw.strip().isdigit() and len(raw) < 20:
        raw = int(raw)
    return raw if type(raw) is int and 0 <= raw <= 2**53 else None


class Numbers:
    """Meters by :func:`number_of`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._epoch = -1
        self._serials: dict[int, str] = {}

    def serial(self, number: int) -> str:
        """The serial number of the meter with this number, empty for none. A number given twice is the older one's."""
        if self._epoch != self._registry.epoch:
            self._epoch = self._registry.epoch
            found: dict[int, str] = {}
            meters = self._registry.of_contract(CONTRACT)
            for named in (True, False):
                # What somebody chose goes before what it happens to be.
                for one in meters:
                    if (whole(one.attributes.get(NUMBER)) is not None) is named:
                        found.setdefault(number_of(one), one.external_id)
            self._serials = found
        return self._serials.get(number, "")


class _Meter:
    __slots__ = ("flowed", "stored", "total", "ts")

    def __init__(self, total: float | None, ts: int) -> None:
        self.total = total
        self.ts = ts
        # Litres since the last row, and when that arrived.
        self.flowed = 0.0
        self.stored = 0


class Rows:
    """Decides about each reading of a registered meter, in the order of their arrival.

    ``every_ms`` lies between two rows, 0 stores everything; ``before`` gives the stored total of a device and its time.
    """

    def __init__(self, every_ms: int, before: Callable[[str], tuple[float | None, int]]) -> None:
        self._every_ms = every_ms
        self._before = before
        self._meters: dict[str, _Meter] = {}

    def take(self, device: str, reading: TelemetryReceived, acknowledged: bool) -> bool:
        """Whether ``reading`` is to be stored; ``consumo_litros`` is filled in where the meter did not send it."""
        meter = self._meters.get(device)
        if meter is None:
            if len(self._meters) >= _METERS_MOST:
                self._meters.clear()
            meter = self._meters[device] = _Meter(*self._before(device))
        values = reading.values
        total = values.get(TOTAL, 0.0)
        # A message without a total counts as 0, which is no fall.
        known = total > 0 and reading.ts >= meter.ts
        fell = known and meter.total is not None and total < meter.total
        flowed = values.get(FLOWED)
        if flowed is None:
            flowed = max(0.0, total - meter.total) if known and meter.total is not None else 0.0
        if known:
            meter.total, meter.ts = total, reading.ts
        meter.flowed += flowed
        due = reading.received - meter.stored
        if not (acknowledged or fell or values.get(LEAKS) or due >= self._every_ms or due < 0):
            values[FLOWED] = round(flowed, 6)
            return False
        values[FLOWED] = round(meter.flowed, 6)
        meter.flowed, meter.stored = 0.0, reading.received
        return True

    def forget(self, device: str) -> None:
        self._meters.pop(device, None)


class Volume:
    """What flowed through each meter, from its stored readings in their order."""

    def __init__(self) -> None:
        self._totals: dict[str, tuple[float, int]] = {}

    def of(self, reading: TelemetryReceived | ReadingImported) -> float:
        """Litres since the reading before; a fall of the total is a reset and no negative consumption."""
        total = reading.values.get(TOTAL, 0.0)
        last, at = self._totals.get(reading.device, (0.0, 0))
        known = total > 0 and reading.ts >= at
        if known:
            self._totals[reading.device] = total, reading.ts
        said = reading.values.get(FLOWED)
        if isinstance(said, int | float):
            return float(said)
        return max(0.0, total - last) if known and at else 0.0

    def forget(self, device: str) -> None:
        self._totals.pop(device, None)


class RecentReadings:
    """The last ``limit`` readings, stored or not, oldest first; and the newest of each serial number."""

    def __init__(self, registry: Registry, limit: int) -> None:
        self._registry = registry
        self._readings: deque[Reading] = deque(maxlen=limit)
        self._newest: dict[str, Reading] = {}
        self._limit = limit
        # Told of every reading, in their order; quick, and never raising.
        self.followers: list[Callable[[Reading], None]] = []

    def __len__(self) -> int:
        return len(self._readings)

    @property
    def limit(self) -> int:
        return self._limit

    def follow(self, seq: int, events: list[AnyEvent]) -> None:
        """Take what a commit brought."""
        for event in events:
            if type(event) is TelemetryReceived or type(event) is ReadingShown:
                device = self._registry.get(event.device)
                if device is not None and device.contract == CONTRACT:
                    self._take(event.ts, event.values, device.external_id)
            elif type(event) is UnclaimedReading and event.contract == CONTRACT:
                self._take(event.ts, event.values, event.external_id)

    def restore(self, latest: Iterable[tuple[int, Mapping[str, Any], str]], events: list[AnyEvent]) -> None:
        """After a restart: the newest stored reading of each meter, as time, values and serial number, and then what
        the journal still holds of the last while."""
        recent = {event.device for event in events if type(event) is TelemetryReceived}
        for ts, values, serial in sorted(latest, key=lambda one: one[0]):
            device = self._registry.find(CONTRACT, serial)
            if device is not None and device.id not in recent:
                self._take(ts, values, serial)
        self.follow(0, events)

    def current(self, serial: str = "", sees: Sees | None = None) -> Reading | None:
        """The newest reading of all, or of one serial number, that ``sees`` allows (``None`` allows all)."""
        if serial:
            wanted = serial.strip().upper()
            return self._newest.get(wanted) if sees is None or sees(wanted) else None
        return next((one for one in reversed(self._readings) if sees is None or sees(one["numero_serie"] or "")), None)

    def last(self, count: int, sees: Sees | None = None, serial: str = "") -> list[Reading]:
        """The last ``count`` readings, of one serial number if given, that ``sees`` allows, oldest first."""
        found: list[Reading] = []
        wanted = serial.strip().upper()
        for reading in reversed(self._readings):
            if len(found) == count:
                break
            whose = reading["numero_serie"] or ""
            if (not wanted or whose == wanted) and (sees is None or sees(whose)):
                found.append({name: reading[name] for name in ("ts", "totalLiters", "flowLmin")})
        return found[::-1]

    def serials(self, sees: Sees | None = None) -> list[str]:
        """Serial numbers heard since the start, those without one left out."""
        return sorted(one for one in self._newest if one and (sees is None or sees(one)))

    def _take(self, ts: int, values: Mapping[str, Any], serial: str) -> None:
        reading = {
            "ts": ts,
            "totalLiters": values.get("totalLiters", 0.0),
            "flowLmin": values.get("flowLmin", 0.0),
            "numero_serie": serial or None,
        }
        self._readings.append(reading)
        if serial in self._newest or len(self._newest) < 10_000:
            self._newest[serial] = reading
        for tell in self.followers:
            tell(reading)
