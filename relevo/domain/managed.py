"""What operators of contract emqx manage: brokers, topics, accounts of devices, their settings, sensors, rules.

Each is one record with a whole number of its own, growing and never used again, as the contract's clients know it.
``device`` is always an id of the registry: there is one row for a device, whatever is said about it here.
"""

from typing import Any, Final

import msgspec

BROKERS: Final = "brokers"
TOPICS: Final = "topics"
CREDENTIALS: Final = "credentials"
CONFIGS: Final = "device-config"
RULES: Final = "emqx-acl"
SENSORS: Final = "sensors"
ASSIGNMENTS: Final = "assignments"
_NUMBERS: Final = "numbers"


class BrokerConfig(msgspec.Struct, frozen=True, tag="broker"):
    """A broker that devices may be told to use. ``password`` is sealed (:mod:`relevo.http.emqx.sealing`)."""

    nombre: str
    host: str
    port: int = 1883
    protocol: str = "mqtt"
    username: str = ""
    password: str = ""
    keepalive: int = 60
    clean_session: bool = True
    use_tls: bool = False
    ca_cert: str = ""
    is_active: bool = True


class TopicConfig(msgspec.Struct, frozen=True, tag="topic"):
    """A topic pattern (:mod:`relevo.domain.patterns`); ``tipo`` is seen from the device."""

    nombre: str
    topic_pattern: str
    tipo: str = "publish"
    qos: int = 1
    retain: bool = False
    descripcion: str = ""


class DeviceAccess(msgspec.Struct, frozen=True, tag="access"):
    """The account of one device at the MQTT door.

    ``secret_hash`` (Argon2id) lives on here while the account is not active; while it is, the door knows it as the
    credential ``credential`` (:mod:`relevo.domain.keyring`). ``client_key`` is sealed.
    """

    device: str
    client_id: str
    username: str = ""
    secret_hash: str = ""
    use_device_cert: bool = False
    client_cert: str = ""
    client_key: str = ""
    is_active: bool = True
    credential: str = ""


class DeviceSettings(msgspec.Struct, frozen=True, tag="settings"):
    """Which broker and topics a device is told to use, and how often to publish (seconds)."""

    device: str
    broker: int
    publish_topic: int | None = None
    subscribe_topics: list[int] = []
    publish_interval: int = 60
    qos: int = 1
    auto_reconnect: bool = True
    is_active: bool = True
    metadata_json: dict[str, Any] = {}


class AclRule(msgspec.Struct, frozen=True, tag="rule"):
    """What a device may do beside what follows from its topics, or may not in spite of it."""

    device: str
    topic: str
    action: str = "all"
    permission: str = "allow"
    is_active: bool = True


class Sensor(msgspec.Struct, frozen=True, tag="sensor"):
    """Something that measures. ``rango_min`` and ``rango_max`` bound what is believed."""

    nombre: str
    tipo: str
    unidad_medida: str = ""
    rango_min: float | None = None
    rango_max: float | None = None
    estado: str = "activo"
    mqtt_topic_suffix: str = ""
    publish_interval: int = 60

    def believes(self, value: float) -> bool:
        """Whether ``value`` lies within the range."""
        low, high = self.rango_min, self.rango_max
        return (low is None or value >= low) and (high is None or value <= high)


class Assignment(msgspec.Struct, frozen=True, tag="assignment"):
    """A sensor is at a device."""

    device: str
    sensor: int
    configuracion_json: dict[str, Any] = {}


class Numbers(msgspec.Struct, frozen=True, tag="numbers"):
    """The last number of each kind."""

    last: dict[str, int] = {}


Body = BrokerConfig | TopicConfig | DeviceAccess | DeviceSettings | AclRule | Sensor | Assignment | Numbers
KINDS: Final[dict[str, type[Body]]] = {
    BROKERS: BrokerConfig,
    TOPICS: TopicConfig,
    CREDENTIALS: DeviceAccess,
    CONFIGS: DeviceSettings,
    RULES: AclRule,
    SENSORS: Sensor,
    ASSIGNMENTS: Assignment,
}
NUMBERS_ID: Final = f"{_NUMBERS}:0"


class Managed(msgspec.Struct, frozen=True):
    """One record; ``id`` is kind and number, times in milliseconds UTC."""

    id: str
    body: Body
    created_at: int
    updated_at: int

    @property
    def kind(self) -> str:
        return self.id.partition(":")[0]

    @property
    def number(self) -> int:
        return int(self.id.partition(":")[2])


def managed_id(kind: str, number: int) -> str:
    return f"{kind}:{number}"
