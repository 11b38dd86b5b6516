"""Contract emqx, what messages mean once it is known which sensors a device has."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo import dialects
from relevo.dialect import Decoded, Delivery
from relevo.dialects.emqx import Emqx, payloads
from relevo.domain.book import Book
from relevo.domain.commands import Command
from relevo.domain.devices import Registry
from relevo.domain.events import DeviceRegistered, SensorsRead, TelemetryReceived
from relevo.domain.managed import (
    AclRule,
    Assignment,
    Body,
    BrokerConfig,
    DeviceAccess,
    DeviceSettings,
    Managed,
    Sensor,
    TopicConfig,
    managed_id,
)
from relevo.errors import ConfigurationError, Invalid

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "emqx" / "sensors" / "readings.json").read_text())
NOW = 1_795_270_000_000
DEVICE = "emqx-ESP32_001"


class Given:
    """A book with one device and what a test adds."""

    def __init__(self) -> None:
        self.registry = Registry()
        attributes = {"identificador_unico": "uid-1", "mqtt_client_id": "ESP32_001"}
        self.registry.apply(
            DeviceRegistered(DEVICE, "emqx", "ESP32_001", "One", "esp32", NOW, attributes=attributes), 7
        )
        self.book = Book(self.registry)
        self.dialect = Emqx(self.book)

    def add(self, kind: str, number: int, body: Body) -> None:
        self.book.put(Managed(managed_id(kind, number), body, NOW, NOW))

    def decode(self, topic: str, payload: bytes, **delivery: Any) -> Decoded:
        address = self.dialect.address(topic)
        assert address is not None, topic
        return self.dialect.delivered(address, payload, NOW, Delivery(**delivery))


@pytest.fixture
def known() -> Given:
    found = Given()
    found.add("sensors", 1, Sensor("t", "temperatura", "C", -40, 80, mqtt_topic_suffix="temperature"))
    found.add("sensors", 2, Sensor("h", "humedad"))
    found.add("sensors", 3, Sensor("o", "oxigeno_disuelto", mqtt_topic_suffix="do"))
    found.add("sensors", 4, Sensor("x", "otro", mqtt_topic_suffix="elsewhere"))
    for number in (1, 2, 3):
        found.add("assignments", number, Assignment(DEVICE, number))
    found.add("credentials", 1, DeviceAccess(DEVICE, "client-1", "device_001"))
    found.add("topics", 1, TopicConfig("p", "planta/{device_id}/{sensor_type}", "both"))
    found.add("topics", 2, TopicConfig("q", "planta/{device_id}/{sensor_type}/{timestamp}"))
    return found


@pytest.mark.parametrize("vector", VECTORS, ids=[one["name"] for one in VECTORS])
def test_a_message_is_readings_of_the_sensors_that_are_there(known: Given, vector: dict[str, Any]) -> None:
    decoded = known.decode(vector["topic"], vector["payload"].encode(), bound=vector.get("bound", False))
    assert {external_id for external_id, _ in decoded.events} == {"ESP32_001"}
    (read,) = [event for _, event in decoded.events if isinstance(event, SensorsRead)]
    assert [list(msgspec.structs.astuple(one)) for one in read.readings] == vector["readings"]
    assert read.unassigned == vector["unassigned"]
    told = [event for _, event in decoded.events if isinstance(event, TelemetryReceived)]
    assert {key: value for one in told for key, value in one.values.items()} == vector["values"]
    assert [kind for _, kind, _ in decoded.notices] == vector["notices"]


def test_a_reading_knows_its_message(known: Given) -> None:
    decoded = known.decode("iot/sensors/ESP32_001/data", b'{"temperature":1}', message_id=7, qos=1, retained=True)
    read = decoded.events[-1][1]
    assert isinstance(read, SensorsRead)
    assert (read.message_id, read.qos, read.retained) == (7, 1, True)
    assert decoded.once == ("ESP32_001", 7, read.digest)
    again = known.decode("iot/sensors/ESP32_001/data", b'{"temperature":2}', message_id=7, qos=1)
    assert again.once != decoded.once
    assert known.decode("iot/sensors/ESP32_001/data", b'{"temperature":1}').once is None


def test_who_only_names_a_device_in_the_payload_is_not_believed(known: Given) -> None:
    known.add("topics", 3, TopicConfig("r", "planta/todos"))
    with pytest.raises(Invalid) as problem:
        known.decode("planta/todos", b'{"device_id":"ESP32_001","temperature":1}')
    assert problem.value.reason == "identity_missing"


def test_a_command_goes_where_the_device_listens(known: Given) -> None:
    def say(**params: Any) -> tuple[str, Any, int]:
        order = known.dialect.order("led_on", params, {})
        assert order.answer_ms == 0
        command = Command("c1", DEVICE, "led_on", order.params, "admin", "user", NOW, NOW + 1)
        said = known.dialect.say("ESP32_001", command, {})
        assert known.dialect.command_topics("ESP32_001", {}) == (said.topic,)
        return said.topic, json.loads(said.payload), said.qos

    assert say(level=5) == ("iot/devices/ESP32_001/commands", {"command": "led_on", "level": 5}, 1)
    assert say(critical=True)[2] == 2
    known.add("brokers", 1, BrokerConfig("b", "h"))
    known.add("topics", 4, TopicConfig("c", "iot/devices/{device_id}/#", "subscribe"))
    known.add("topics", 5, TopicConfig("d", "granja/{device_id}/ordenes", "subscribe"))
    known.add("device-config", 1, DeviceSettings(DEVICE, 1, subscribe_topics=[4]))
    assert say()[0] == "iot/devices/ESP32_001/commands"
    known.add("device-config", 1, DeviceSettings(DEVICE, 1, subscribe_topics=[5]))
    assert say()[0] == "granja/ESP32_001/ordenes"
    known.add("device-config", 1, DeviceSettings(DEVICE, 1, subscribe_topics=[5], is_active=False))
    assert say()[0] == "iot/devices/ESP32_001/commands"
    for params in ({"command": "x"}, {"critical": "yes"}):
        with pytest.raises(Invalid, match="params"):
            known.dialect.order("led_on", params, {})


def test_rights_follow_from_records(known: Given) -> None:
    publish, subscribe = known.dialect.device_filters("ESP32_001")
    for name in ("ESP32_001", "uid-1", "client-1"):
        assert {f"iot/sensors/{name}/#", f"iot/devices/{name}/status", f"iot/alerts/{name}"} <= set(publish)
        assert {f"iot/devices/{name}/#", f"iot/commands/{name}/#", f"iot/config/{name}/#"} <= set(subscribe)
        assert f"planta/{name}/+" in publish
        assert f"planta/{name}/+" in subscribe
    assert all(any(name in one for name in ("ESP32_001", "uid-1", "client-1")) for one in (*publish, *subscribe))
    known.add("emqx-acl", 1, AclRule(DEVICE, "granja/avisos", "subscribe"))
    known.add("emqx-acl", 2, AclRule(DEVICE, "iot/alerts/{device_id}", "publish", "deny"))
    known.add("emqx-acl", 3, AclRule("another", "granja/otro"))
    known.add("emqx-acl", 4, AclRule(DEVICE, "granja/nunca", is_active=False))
    publish, subscribe = known.dialect.device_filters("ESP32_001")
    assert "granja/avisos" in subscribe
    assert not {"granja/avisos", "granja/otro", "granja/nunca"} & set(publish)
    assert "iot/alerts/ESP32_001" in known.dialect.denied_filters("ESP32_001")[0]
    assert known.dialect.denied_filters("ESP32_001")[1] == ()


def test_a_topic_that_names_no_device_is_for_those_whose_settings_say_so(known: Given) -> None:
    known.add("topics", 6, TopicConfig("all", "granja/todos", "both"))
    assert "granja/todos" not in known.dialect.device_filters("ESP32_001")[0]
    known.add("device-config", 1, DeviceSettings(DEVICE, 1, publish_topic=6))
    publish, subscribe = known.dialect.device_filters("ESP32_001")
    assert "granja/todos" in publish
    assert "granja/todos" not in subscribe


def test_two_contracts_never_have_one_topic() -> None:
    found = Given()
    found.add("topics", 1, TopicConfig("p", "relevo/{device_id}/telemetry"))
    with pytest.raises(ConfigurationError, match=r"native.*emqx|emqx.*native"):
        dialects.load({"emqx": {"book": found.book}})
    assert dialects.holder(dialects.load(), "hidrometro/+/dados", "emqx") == "hidrometro"
    assert dialects.holder(dialects.load(), "iot/sensors/+/data", "emqx") == ""


@given(st.binary(max_size=200))
def test_whatever_arrives_is_read_or_refused(payload: bytes) -> None:
    for sensor in ("", "temperature"):
        try:
            read = payloads.read(payload, sensor)
        except Invalid as problem:
            assert problem.reason
        else:
            assert isinstance(read.values, list)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70), st.lists, max_leaves=3)
)
def test_a_number_is_finite_or_none(raw: Any) -> None:
    try:
        found = payloads.number(raw)
    except Invalid as problem:
        assert problem.reason in ("value_type", "value_out_of_range")
    else:
        assert found is None or math.isfinite(found)


@given(st.integers(0, 50 * 86_400_000))
def test_milliseconds_since_the_start_are_no_date(uptime: int) -> None:
    at, source, _ = payloads.time_of(uptime, NOW)
    # Within the few minutes in which they are the seconds of today they may be taken for those.
    assert (at, source) == (NOW, "server") or abs(uptime - NOW // 1000) <= 86_400
