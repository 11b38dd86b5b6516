"""Sensors of the managed broker (contract emqx, sections 3 and 8): an operator makes device, sensors, credentials and
settings; the devices publish readings each minute in one of the contract's three forms, and their status with a will.

One device in three is an ESP32 (flat, QoS 0, time since its start), one a Raspberry Pi (nested, QoS 1, Unix seconds),
one writes each reading with its own time (ISO 8601).
"""

import json
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Enrolled, Outgoing, Reading
from relevo.simulator.generators import RandomWalk, Value, source
from relevo.simulator.http_client import HttpClient
from relevo.simulator.mqtt_client import Login
from relevo.simulator.native_api import found
from relevo.simulator.packets import Message, Will
from relevo.simulator.words import compact

NAME = "emqx"
PERIOD_S = 60.0
FORMS = ("flat", "nested", "readings")
_SENSORS = {"temperature": ("temperatura", "C", -40.0, 125.0), "humidity": ("humedad", "%", 0.0, 100.0)}
_DATA, _COMMANDS = "iot/sensors/{device_id}/data", "iot/devices/{device_id}/commands"
_OBEYED_WITHIN_S = 15.0


async def enrol(http: HttpClient, names: Iterable[str], account: tuple[str, str]) -> list[Enrolled]:
    """Make the records of every device. Raises :class:`HttpFailed`."""
    sensors = [await _named(http, "/api/sensors/", suffix, _sensor(suffix)) for suffix in _SENSORS]
    broker = {"nombre": "sim-broker", "host": "127.0.0.1", "port": 1883, "protocol": "mqtt", "is_active": True}
    broker_id = await _named(http, "/api/mqtt/brokers/", "sim-broker", broker)
    said = {"nombre": "sim-data", "topic_pattern": _DATA, "tipo": "publish", "qos": 1}
    heard = {"nombre": "sim-commands", "topic_pattern": _COMMANDS, "tipo": "subscribe", "qos": 1}
    publish = await _named(http, "/api/mqtt/topics/", "sim-data", said)
    subscribe = await _named(http, "/api/mqtt/topics/", "sim-commands", heard)
    enrolled = []
    for number, name in enumerate(names, 1):
        form = FORMS[number % len(FORMS)]
        made = {
            "nombre": name,
            "tipo": "esp32" if form == "flat" else "raspberry_pi",
            "identificador_unico": name,
            "mqtt_enabled": True,
            "mqtt_client_id": name,
        }
        shown = (await http.post("/api/devices/", made)).expect(201)
        for sensor in sensors:
            body = {"sensor_id": sensor, "configuracion_json": {}}
            (await http.post(f"/api/devices/{shown['id']}/assign-sensor/", body)).expect(201)
        password = secrets.token_hex(16)
        account_of = {
            "dispositivo": shown["id"],
            "client_id": name,
            "username": f"user_{name}",
            "password": password,
        }
        (await http.post("/api/mqtt/credentials/", account_of)).expect(201)
        settings = {
            "dispositivo": shown["id"],
            "broker": broker_id,
            "publish_topic": publish,
            "subscribe_topics": [subscribe],
            "publish_interval": int(PERIOD_S),
        }
        (await http.post("/api/mqtt/device-config/", settings)).expect(201)
        device = await found(http, NAME, name)
        enrolled.append(Enrolled(name, device, number, account_of["username"], password, {"form": form}))
    return enrolled


def _sensor(suffix: str) -> dict[str, Any]:
    kind, unit, least, most = _SENSORS[suffix]
    return {
        "nombre": suffix,
        "tipo": kind,
        "unidad_medida": unit,
        "rango_min": least,
        "rango_max": most,
        "estado": "activo",
        "mqtt_topic_suffix": suffix,
    }


async def _named(http: HttpClient, path: str, name: str, body: dict[str, Any]) -> int:
    """The ``id`` of the record of that name, made when there is none."""
    page = (await http.get(path, {"search": name})).expect(200)
    for one in page["results"]:
        if one["nombre"] == name:
            return int(one["id"])
    return int((await http.post(path, body)).expect(201)["id"])


class Sensor(SimulatedDevice):
    """A thermometer with a hygrometer."""

    timed = False
    immune = frozenset({"stale-clock"})
    resolution_ms = 1000
    _temperature: RandomWalk | None = None
    _humidity: RandomWalk | None = None

    def client_id(self) -> str:
        return self.name

    def login(self) -> Login:
        made = super().login()
        return Login(
            made.host,
            made.port,
            made.client_id,
            made.username,
            made.password,
            keep_alive=60,
            clean=True,
            tls=made.tls,
            will=made.will,
        )

    def will(self) -> Will | None:
        return Will(f"iot/devices/{self.name}/status", b"offline")

    @property
    def form(self) -> str:
        """Which of the three forms its messages have."""
        return str(self.enrolled.more["form"])

    def measure(self, t: float) -> dict[str, Value]:
        if self._temperature is None or self._humidity is None:
            self._temperature = RandomWalk(source(self.gear.seed, self.name, "t"), 10.0, 35.0, 0.4, 3)
            self._humidity = RandomWalk(source(self.gear.seed, self.name, "h"), 30.0, 75.0, 0.8, 3)
        return {"temperature": self._temperature.at(t), "humidity": self._humidity.at(t)}

    def words(self, reading: Reading) -> Outgoing:
        payload: dict[str, Any] = {"device_id": self.name}
        if self.form == "flat":
            payload |= {**reading.values, "timestamp": self.seq * 1000}
        elif self.form == "nested":
            payload |= {"sensors": reading.values, "timestamp": reading.ts // 1000}
        else:
            at = datetime.fromtimestamp(reading.ts / 1000, UTC).isoformat().replace("+00:00", "Z")
            units = {"temperature": "C", "humidity": "%"}
            each = {key: {"value": value, "unit": units[key], "timestamp": at} for key, value in reading.values.items()}
            payload |= {"readings": each, "timestamp": at}
        stored = tuple((key, reading.ts, value) for key, value in reading.values.items())
        topic = f"iot/sensors/{self.name}/data"
        return Outgoing(topic, compact(payload), stored, 0 if self.form == "flat" else 1)

    async def connected(self) -> None:
        self.mqtt.subscribe(f"iot/devices/{self.name}/commands")
        status = {"status": "online", "ip": "10.0.0.30", "rssi": -61, "uptime": self.seq}
        await self.mqtt.publish(f"iot/devices/{self.name}/status", compact(status), retain=True)

    def hears(self, message: Message) -> None:
        if message.topic != f"iot/devices/{self.name}/commands":
            self.gear.tally.strays += 1
            return
        asked = json.loads(message.payload)
        if "level" in asked:
            self.obeys("level", asked["level"])

    async def steer(self, operator: HttpClient) -> bool | None:
        level = self.expected["level"] = self.rng.randrange(1_000_000)
        body = {"name": "set_level", "params": {"level": level}}
        (await operator.post(f"/api/v1/devices/{self.enrolled.device}/commands", body)).expect(200, 202)
        return await self.came("level", level, _OBEYED_WITHIN_S)
