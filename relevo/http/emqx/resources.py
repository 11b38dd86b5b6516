"""The resources of contract emqx as a table: fields, whose they are, what they look like (section 4)."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from relevo import dialects
from relevo.domain.book import CONTRACT
from relevo.domain.devices import Device
from relevo.domain.managed import (
    BROKERS,
    CONFIGS,
    CREDENTIALS,
    RULES,
    SENSORS,
    TOPICS,
    AclRule,
    Body,
    BrokerConfig,
    DeviceAccess,
    DeviceSettings,
    Managed,
    Sensor,
    TopicConfig,
)
from relevo.domain.patterns import PATTERN_CHARS, pattern, problem_of
from relevo.http.api.times import iso
from relevo.http.emqx.access import ERROR, OFFLINE, Ask, status_of
from relevo.http.emqx.fields import Field, Problems

USERS: Final = "emqx-users"
PROTOCOLS: Final = {"mqtt": "MQTT", "mqtts": "MQTT sobre TLS", "ws": "WebSocket", "wss": "WebSocket sobre TLS"}
DIRECTIONS: Final = {"publish": "Publicación", "subscribe": "Suscripción", "both": "Ambos"}
QOS: Final = {0: "QoS 0 - Como máximo una vez", 1: "QoS 1 - Al menos una vez", 2: "QoS 2 - Exactamente una vez"}
STATES: Final = {"connected": "Conectado", "disconnected": "Desconectado", "error": "Error"}
_ACTIONS: Final = {"publish": "Publicar", "subscribe": "Suscribir", "all": "Todo"}
_PERMISSIONS: Final = {"allow": "Permitir", "deny": "Denegar"}
_PEM: Final = 16_384


def _pem(text: str) -> str:
    return "" if not text or text.startswith("-----BEGIN ") else "Debe ser texto PEM (-----BEGIN …)."


def _host(text: str) -> str:
    plain = text.replace(":", "").replace(".", "").replace("-", "").replace("_", "")
    return "" if plain.isalnum() and plain.isprintable() else "Debe ser un nombre de host o una dirección."


class Resource(NamedTuple):
    """One resource. ``kind`` is that of its records; ``mine`` says whether its records belong to devices."""

    kind: str
    body: type[Body]
    fields: tuple[Field, ...]
    render: Callable[[Ask, Managed, bool], dict[str, Any]]
    searched: tuple[str, ...]
    ordering: str
    mine: bool = False
    check: Callable[[Ask, Body, int, Problems], None] | None = None


_DEVICE: Final = Field("dispositivo", "whole", required=True)
FIELDS: Final[dict[str, tuple[Field, ...]]] = {
    BROKERS: (
        Field("nombre", required=True, high=100),
        Field("host", required=True, high=255, check=_host),
        Field("port", "whole", low=1, high=65_535),
        Field("protocol", "choice", choices=PROTOCOLS),
        Field("username", high=100),
        Field("password", "secret", high=255, secret=True),
        Field("keepalive", "whole", low=10, high=3_600),
        Field("clean_session", "switch"),
        Field("use_tls", "switch"),
        Field("ca_cert", high=_PEM, check=_pem),
        Field("is_active", "switch"),
    ),
    TOPICS: (
        Field("nombre", required=True, high=100),
        Field("topic_pattern", required=True, high=PATTERN_CHARS, check=problem_of),
        Field("tipo", "choice", choices=DIRECTIONS),
        Field("qos", "choice", choices=QOS),
        Field("retain", "switch"),
        Field("descripcion", high=1_024),
    ),
    CREDENTIALS: (
        _DEVICE,
        Field("client_id", required=True, high=100),
        Field("username", high=100),
        Field("password", "secret", high=255, secret=True),
        Field("use_device_cert", "switch"),
        Field("client_cert", high=_PEM, check=_pem),
        Field("client_key", "secret", high=_PEM, secret=True, check=_pem),
        Field("is_active", "switch"),
    ),
    USERS: (
        _DEVICE,
        Field("client_id", high=100),
        Field("username", required=True, high=100),
        Field("password", "secret", high=255, secret=True),
        Field("is_active", "switch"),
    ),
    CONFIGS: (
        _DEVICE,
        Field("broker", "whole", required=True),
        Field("publish_topic", "whole", nullable=True),
        Field("subscribe_topics", "many"),
        Field("publish_interval", "whole", low=1, high=86_400),
        Field("qos", "choice", choices=QOS),
        Field("auto_reconnect", "switch"),
        Field("is_active", "switch"),
        Field("metadata_json", "object"),
    ),
    RULES: (
        _DEVICE,
        Field("topic", required=True, high=PATTERN_CHARS, check=problem_of),
        Field("action", "choice", choices=_ACTIONS),
        Field("permission", "choice", choices=_PERMISSIONS),
        Field("is_active", "switch"),
    ),
    SENSORS: (
        Field("nombre", required=True, high=100),
        Field("tipo", required=True, high=50),
        Field("unidad_medida", high=32),
        Field("rango_min", "number", nullable=True),
        Field("rango_max", "number", nullable=True),
        Field(
            "estado", "choice", choices={"activo": "Activo", "inactivo": "Inactivo", "mantenimiento": "Mantenimiento"}
        ),
        Field("mqtt_topic_suffix", high=64),
        Field("publish_interval", "whole", low=1, high=86_400),
    ),
}


# What they look like


def _times(one: Managed) -> dict[str, Any]:
    return {"created_at": iso(one.created_at), "updated_at": iso(one.updated_at)}


def _plain(ask: Ask, one: Managed, *, but: tuple[str, ...] = ()) -> dict[str, Any]:
    values = msgspec.structs.asdict(one.body)
    return {"id": one.number} | {name: value for name, value in values.items() if name not in but}


def _device_of(ask: Ask, one: Managed) -> Device | None:
    return ask.wired.registry.get(getattr(one.body, "device", ""))


def _owner(ask: Ask, one: Managed) -> dict[str, Any]:
    device = _device_of(ask, one)
    return {
        "dispositivo": device.registered_seq if device is not None else None,
        "dispositivo_nombre": device.name if device is not None else "",
    }


def broker(ask: Ask, one: Managed, detail: bool = False) -> dict[str, Any]:
    assert isinstance(one.body, BrokerConfig)
    more = {"protocol_display": PROTOCOLS[one.body.protocol], "has_password": bool(one.body.password)}
    return _plain(ask, one, but=("password",)) | more | _times(one)


def topic(ask: Ask, one: Managed, detail: bool = False) -> dict[str, Any]:
    assert isinstance(one.body, TopicConfig)
    more = {"tipo_display": DIRECTIONS[one.body.tipo], "qos_display": QOS[one.body.qos]}
    return _plain(ask, one) | more | _times(one)


def is_open(ask: Ask, access: DeviceAccess) -> bool:
    """Whether the door lets the account in; somebody may have revoked it elsewhere."""
    if not access.is_active or not access.secret_hash:
        return access.is_active
    return ask.wired.keyring.get(access.credential) is not None


def credential(ask: Ask, one: Managed, detail: bool = False) -> dict[str, Any]:
    assert isinstance(one.body, DeviceAccess)
    access = one.body
    return {
        "id": one.number,
        **_owner(ask, one),
        "client_id": access.client_id,
        "username": access.username,
        "use_device_cert": access.use_device_cert,
        "client_cert": access.client_cert,
        "is_active": is_open(ask, access),
        "has_password": bool(access.secret_hash),
        "has_cert": bool(access.client_cert),
        **_times(one),
    }


def user(ask: Ask, one: Managed, detail: bool = False) -> dict[str, Any]:
    """The same account as the broker's users are shown."""
    assert isinstance(one.body, DeviceAccess)
    access = one.body
    return {
        "id": one.number,
        **_owner(ask, one),
        "username": access.username or access.client_id,
        "client_id": access.client_id,
        "is_superuser": False,
        "is_active": is_open(ask, access),
        "has_password": bool(access.secret_hash),
        **_times(one),
    }


def connection_of(ask: Ask, device: Device | None) -> str:
    """``connected``, ``disconnected`` or ``error``."""
    status = status_of(ask.wired, device) if device is not None else OFFLINE
    return {OFFLINE: "disconnected", ERROR: "error"}.get(status, "connected")


def config(ask: Ask, one: Managed, detail: bool = False) -> dict[str, Any]:
    assert isinstance(one.body, DeviceSettings)
    settings = one.body
    device = _device_of(ask, one)
    state = connection_of(ask, device)
    last = None
    if device is not None:
        there = ask.wired.presence
        last = iso(there.since(device.id) if there.online(device.id) else ask.wired.latest(device.id)[1])
    chosen = ask.book.get(BROKERS, settings.broker)
    told = ask.book.get(TOPICS, settings.publish_topic) if settings.publish_topic is not None else None
    found = {
        "id": one.number,
        **_owner(ask, one),
        "broker": settings.broker,
        "broker_nombre": chosen.body.nombre if chosen is not None and isinstance(chosen.body, BrokerConfig) else "",
        "publish_topic": settings.publish_topic,
        "publish_topic_nombre": told.body.nombre if told is not None and isinstance(told.body, TopicConfig) else None,
        "subscribe_topics": settings.subscribe_topics,
        "publish_interval": settings.publish_interval,
        "qos": settings.qos,
        "qos_display": QOS[settings.qos],
        "auto_reconnect": settings.auto_reconnect,
        "is_active": settings.is_active,
        "connection_status": state,
        "connection_status_display": STATES[state],
        "last_connection": last,
        "metadata_json": settings.metadata_json,
        **_times(one),
    }
    if detail:
        heard = [ask.book.get(TOPICS, number) for number in settings.subscribe_topics]
        found |= {
            "broker_detail": broker(ask, chosen) if chosen is not None else None,
            "publish_topic_detail": topic(ask, told) if told is not None else None,
            "subscribe_topics_detail": [topic(ask, each) for each in heard if each is not None],
        }
    return found


def rule(ask: Ask, one: Managed, detail: bool = False) -> dict[str, Any]:
    assert isinstance(one.body, AclRule)
    more = {"action_display": _ACTIONS[one.body.action], "permission_display": _PERMISSIONS[one.body.permission]}
    return {"id": one.number, **_owner(ask, one), **_plain(ask, one, but=("device",)), **more, **_times(one)}


def sensor(ask: Ask, one: Managed, detail: bool = False) -> dict[str, Any]:
    assert isinstance(one.body, Sensor)
    more = {
        "tipo_display": one.body.tipo.replace("_", " ").capitalize(),
        "estado_display": one.body.estado.capitalize(),
    }
    return _plain(ask, one) | more | _times(one)


# What else has to be right about them


def _others(ask: Ask, kind: str, number: int) -> list[Managed]:
    return [one for one in ask.book.records(kind) if one.number != number]


def _check_broker(ask: Ask, body: Body, number: int, problems: Problems) -> None:
    assert isinstance(body, BrokerConfig)
    if any(
        isinstance(one.body, BrokerConfig) and one.body.nombre == body.nombre for one in _others(ask, BROKERS, number)
    ):
        problems.add("nombre", "Ya existe un broker con este nombre.")


def foreign(ask: Ask, text: str) -> str:
    """Why ``text`` may be no topic of this contract, empty for nothing: another one has it."""
    other = dialects.holder(ask.wired.dialects, pattern(text).filter, CONTRACT)
    return f"Este topic coincide con los del contrato {other}." if other else ""


def _check_topic(ask: Ask, body: Body, number: int, problems: Problems) -> None:
    assert isinstance(body, TopicConfig)
    if taken := foreign(ask, body.topic_pattern):
        problems.add("topic_pattern", taken)


def _check_rule(ask: Ask, body: Body, number: int, problems: Problems) -> None:
    assert isinstance(body, AclRule)
    if body.permission == "allow" and (taken := foreign(ask, body.topic)):
        problems.add("topic", taken)


def _check_config(ask: Ask, body: Body, number: int, problems: Problems) -> None:
    assert isinstance(body, DeviceSettings)
    absent = 'Clave primaria "{}" inválida - objeto no existe.'
    if ask.book.get(BROKERS, body.broker) is None:
        problems.add("broker", absent.format(body.broker))
    if body.publish_topic is not None and ask.book.get(TOPICS, body.publish_topic) is None:
        problems.add("publish_topic", absent.format(body.publish_topic))
    for one in body.subscribe_topics:
        if ask.book.get(TOPICS, one) is None:
            problems.add("subscribe_topics", absent.format(one))


def _check_sensor(ask: Ask, body: Body, number: int, problems: Problems) -> None:
    assert isinstance(body, Sensor)
    if body.rango_min is not None and body.rango_max is not None and body.rango_min > body.rango_max:
        problems.add("rango_max", "Debe ser mayor o igual a rango_min.")


RESOURCES: Final[dict[str, Resource]] = {
    BROKERS: Resource(
        BROKERS, BrokerConfig, FIELDS[BROKERS], broker, ("nombre", "host"), "nombre", check=_check_broker
    ),
    TOPICS: Resource(
        TOPICS, TopicConfig, FIELDS[TOPICS], topic, ("nombre", "topic_pattern", "descripcion"), "nombre",
        check=_check_topic,
    ),
    CREDENTIALS: Resource(
        CREDENTIALS, DeviceAccess, FIELDS[CREDENTIALS], credential, ("client_id", "username", "dispositivo_nombre"),
        "id", mine=True,
    ),
    USERS: Resource(
        CREDENTIALS, DeviceAccess, FIELDS[USERS], user, ("client_id", "username", "dispositivo_nombre"), "id", mine=True
    ),
    CONFIGS: Resource(
        CONFIGS, DeviceSettings, FIELDS[CONFIGS], config, ("dispositivo_nombre", "broker_nombre"), "id", mine=True,
        check=_check_config,
    ),
    RULES: Resource(RULES, AclRule, FIELDS[RULES], rule, ("topic", "dispositivo_nombre"), "id", mine=True,
                    check=_check_rule),
    SENSORS: Resource(
        SENSORS, Sensor, FIELDS[SENSORS], sensor, ("nombre", "tipo", "mqtt_topic_suffix"), "id", check=_check_sensor
    ),
}  # fmt: skip
