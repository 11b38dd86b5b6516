"""Everything that is managed under contract emqx, in memory: kept equal to the store by following every commit.

Theory. What a device may do and what its messages mean follows from these records and the registry alone. The answer
for one device is worked out once (:class:`Profile`) and stands until a record or the registry changes.

A device is known by several names: its ``mqtt_client_id``, its ``identificador_unico`` and the client id of its
account. The first is its external identity; all of them are its own, and no name is two devices'.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

from relevo.domain.devices import Device, Registry
from relevo.domain.managed import (
    CREDENTIALS,
    KINDS,
    NUMBERS_ID,
    SENSORS,
    TOPICS,
    AclRule,
    Assignment,
    Body,
    DeviceAccess,
    DeviceSettings,
    Managed,
    Numbers,
    Sensor,
    TopicConfig,
    managed_id,
)
from relevo.domain.patterns import Pattern, pattern

B = TypeVar("B", bound=Body)
CONTRACT: Final = "emqx"
PUBLISHED: Final = ("iot/sensors/{device_id}/data", "iot/devices/{device_id}/status", "iot/alerts/{device_id}")
"""Patterns of messages from devices that need no record."""
COMMANDS: Final = "iot/devices/{device_id}/commands"
# Section 9.3: the seed's own, and those of the rules that the real system generates.
_MAY_PUBLISH: Final = ("iot/sensors/{device_id}/#", *PUBLISHED[1:])
_MAY_SUBSCRIBE: Final = ("iot/devices/{device_id}/#", "iot/commands/{device_id}/#", "iot/config/{device_id}/#")
ALIASES: Final[Mapping[str, str]] = {
    "temperatura": "temperature",
    "humedad": "humidity",
    "presion": "pressure",
    "luz": "light",
    "ph": "ph",
    "co2": "co2",
    "oxigeno_disuelto": "dissolved_oxygen",
}
"""Keys of payloads by type of sensor, for sensors without a suffix of their own."""
MQTT_ENABLED: Final = "mqtt_enabled"
UNIQUE: Final = "identificador_unico"
CLIENT_ID: Final = "mqtt_client_id"


class Rights(NamedTuple):
    """Topic filters: what a device may publish and subscribe, and what it may not in spite of that."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    never_publish: tuple[str, ...] = ()
    never_subscribe: tuple[str, ...] = ()


class Placed(NamedTuple):
    """A sensor at a device; ``key`` is the name of its values in the device's telemetry."""

    number: int
    sensor: Sensor
    key: str


class Profile(NamedTuple):
    """What is known of one device."""

    names: tuple[str, ...]
    rights: Rights
    sensors: tuple[Placed, ...]
    settings: tuple[DeviceSettings, ...]
    commands: str


class Book:
    """One for the whole process. ``changed`` is called with the devices that a change may concern, empty for all."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: dict[str, dict[int, Managed]] = {kind: {} for kind in KINDS}
        # The same by device, for what is said about one.
        self._about: dict[str, dict[str, Managed]] = {}
        self._last: dict[str, int] = {}
        self._planned: dict[str, int] = {}
        self._epoch = 0
        self._seen = (-1, -1)
        self._names: dict[str, str] = {}
        self._profiles: dict[str, Profile] = {}
        self._patterns: tuple[Pattern, ...] = ()
        self.changed: list[Callable[[str], None]] = []
        self._sort_patterns()

    # Following

    def load(self, records: Iterable[Managed]) -> None:
        for one in records:
            self.put(one)
        self._sort_patterns()

    def put(self, one: Managed) -> None:
        """``one`` is new, or takes the place of the one before."""
        if isinstance(one.body, Numbers):
            self._last = dict(one.body.last)
            return
        before = self._kept[one.kind].get(one.number)
        if before is not None:
            self._forget(before)
        self._kept[one.kind][one.number] = one
        device = getattr(one.body, "device", "")
        if device:
            self._about.setdefault(device, {})[one.id] = one
        self._moved(one)

    def drop(self, record_id: str) -> None:
        kind, _, number = record_id.partition(":")
        gone = self._kept.get(kind, {}).pop(int(number), None)
        if gone is not None:
            self._forget(gone)
            self._moved(gone)

    def _forget(self, one: Managed) -> None:
        device = getattr(one.body, "device", "")
        held = self._about.get(device, {})
        held.pop(one.id, None)
        if device and not held:
            self._about.pop(device, None)
        self._stir(device)

    def _moved(self, one: Managed) -> None:
        device = getattr(one.body, "device", "")
        if one.kind == CREDENTIALS:
            # What devices are called.
            self._epoch += 1
        elif one.kind in (TOPICS, SENSORS):
            self._profiles.clear()
        self._stir(device)
        if one.kind == TOPICS:
            self._sort_patterns()
        if device or one.kind == TOPICS:
            for tell in self.changed:
                tell(device)

    def _stir(self, device: str) -> None:
        known = self._registry.get(device) if device else None
        if known is not None:
            self._profiles.pop(known.external_id, None)

    def _sort_patterns(self) -> None:
        texts = {
            *PUBLISHED,
            *(one.topic_pattern for _, one in self.all(TOPICS, TopicConfig) if one.tipo != "subscribe"),
        }
        self._patterns = tuple(sorted((pattern(text) for text in texts), key=lambda one: one.rank))

    # Looking

    def records(self, kind: str) -> list[Managed]:
        """Every record of a kind, by number."""
        return [one for _, one in sorted(self._kept[kind].items())]

    def get(self, kind: str, number: int) -> Managed | None:
        return self._kept[kind].get(number)

    def all(self, kind: str, body: type[B]) -> list[tuple[int, B]]:
        """Number and content of every record of a kind."""
        return [(one.number, one.body) for one in self.records(kind) if isinstance(one.body, body)]

    def of_device(self, device: str) -> list[Managed]:
        """What goes with a device."""
        return list(self._about.get(device, {}).values())

    def _of(self, device: str, body: type[B]) -> list[tuple[int, B]]:
        """Number and content of the records of one kind about a device, in their order."""
        found = [(one.number, one.body) for one in self.of_device(device) if isinstance(one.body, body)]
        return sorted(found, key=lambda pair: pair[0])

    def next(self, kind: str) -> tuple[str, Managed]:
        """A new id of a kind, and the record to submit with whatever gets it."""
        number = max(self._last.get(kind, 0), self._planned.get(kind, 0)) + 1
        self._planned[kind] = number
        last = {name: max(self._last.get(name, 0), self._planned.get(name, 0)) for name in KINDS}
        return managed_id(kind, number), Managed(NUMBERS_ID, Numbers(last), 0, 0)

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """Of messages from devices, those that say most first."""
        return self._patterns

    @property
    def topics(self) -> list[str]:
        """Filters of every topic that is managed, both directions."""
        return [pattern(one.topic_pattern).filter for _, one in self.all(TOPICS, TopicConfig)]

    def canonical(self, said: str) -> str:
        """The external identity of the device that is known as ``said``, which is answered for a stranger."""
        if self._registry.find(CONTRACT, said) is not None:
            return said
        self._refresh()
        return self._names.get(said, said)

    def owner_of(self, name: str) -> str:
        """The registry id of the device that has ``name`` among its names, empty for none."""
        found = self._registry.find(CONTRACT, self.canonical(name))
        return found.id if found is not None else ""

    def profile(self, external_id: str) -> Profile | None:
        """What is known of a device, ``None`` for a stranger."""
        self._refresh()
        found = self._profiles.get(external_id)
        if found is None:
            device = self._registry.find(CONTRACT, external_id)
            if device is None:
                return None
            found = self._profiles[external_id] = self._profile(device)
        return found

    def _refresh(self) -> None:
        now = (self._registry.epoch, self._epoch)
        if self._seen == now:
            return
        self._seen = now
        self._profiles.clear()
        self._names = {}
        for device in self._registry.of_contract(CONTRACT):
            name = device.attributes.get(UNIQUE)
            if isinstance(name, str) and name:
                self._names.setdefault(name, device.external_id)
        for _, access in self.all(CREDENTIALS, DeviceAccess):
            owner = self._registry.get(access.device)
            if owner is not None:
                self._names.setdefault(access.client_id, owner.external_id)

    def _profile(self, device: Device) -> Profile:
        names = (device.external_id, *(name for name, owner in self._names.items() if owner == device.external_id))
        names = tuple(dict.fromkeys(names))
        sensors = self._placed(device.id)
        settings = tuple(one for _, one in self._of(device.id, DeviceSettings) if one.is_active)
        if device.attributes.get(MQTT_ENABLED, True) is False:
            return Profile(names, Rights(), sensors, settings, "")
        return Profile(names, self._rights(device.id, names, settings), sensors, settings, self._commands(settings))

    def _placed(self, device: str) -> tuple[Placed, ...]:
        found: list[Placed] = []
        taken: set[str] = set()
        held = {one.sensor for _, one in self._of(device, Assignment)}
        for number in sorted(held):
            record = self.get(SENSORS, number)
            if record is None or not isinstance(record.body, Sensor):
                continue
            sensor = record.body
            key = sensor.mqtt_topic_suffix or ALIASES.get(sensor.tipo) or sensor.tipo or "sensor"
            if key in taken:
                key = f"{key[:50]}_{number}"
            taken.add(key)
            found.append(Placed(number, sensor, key))
        return tuple(found)

    def usual_rights(self, external_id: str) -> Rights:
        """What a device may do of which nothing but its name is known."""
        return self._rights("", (external_id,), ())

    def _rights(self, device: str, names: tuple[str, ...], settings: tuple[DeviceSettings, ...]) -> Rights:
        publish = {pattern(text).filter_for(name) for text in _MAY_PUBLISH for name in names}
        subscribe = {pattern(text).filter_for(name) for text in _MAY_SUBSCRIBE for name in names}
        told = {one.publish_topic for one in settings}
        heard = {topic for one in settings for topic in one.subscribe_topics}
        for number, topic in self.all(TOPICS, TopicConfig):
            # A pattern that names the device is bound to it; any other one counts where its settings say so.
            own = "{device_id}" in topic.topic_pattern
            filters = {pattern(topic.topic_pattern).filter_for(name) for name in names}
            if topic.tipo != "subscribe" and (own or number in told):
                publish |= filters
            if topic.tipo != "publish" and (own or number in heard):
                subscribe |= filters
        never_publish: set[str] = set()
        never_subscribe: set[str] = set()
        for _, rule in self._of(device, AclRule):
            if not rule.is_active:
                continue
            filters = {pattern(rule.topic).filter_for(name) for name in names}
            if rule.action != "subscribe":
                (publish if rule.permission == "allow" else never_publish).update(filters)
            if rule.action != "publish":
                (subscribe if rule.permission == "allow" else never_subscribe).update(filters)
        return Rights(*(tuple(sorted(one)) for one in (publish, subscribe, never_publish, never_subscribe)))

    def _commands(self, settings: tuple[DeviceSettings, ...]) -> str:
        """The pattern on which a device hears its commands: the usual one, unless its settings name only others."""
        heard = {topic for one in settings for topic in one.subscribe_topics}
        found = [pattern(one.topic_pattern) for number, one in self.all(TOPICS, TopicConfig) if number in heard]
        if not found or any(one.named(COMMANDS.replace("{device_id}", "x")) is not None for one in found):
            return COMMANDS
        return next((one.text for one in found if not {"+", "#"} & set(one.filter_for("x"))), COMMANDS)
