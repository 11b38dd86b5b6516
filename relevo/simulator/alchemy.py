"""Home devices (contract alchemy, section 6): they announce themselves on one shared topic, are claimed over HTTP,
fetch their configuration every three seconds and follow it."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterable
from typing import Any

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Enrolled, Gear, Outgoing, Reading
from relevo.simulator.generators import RandomWalk, Value, source
from relevo.simulator.http_client import HttpClient, HttpFailed
from relevo.simulator.mqtt_client import ConnectionRefusedByServer, Login, MqttClient
from relevo.simulator.native_api import found, pairing_closed, pairing_opened
from relevo.simulator.packets import Message
from relevo.simulator.words import compact

NAME = "alchemy"
PERIOD_S = 5.0
TOPIC = "dispositivos/estado"
DEVICE_TOKEN = "X-Device-Token"  # noqa: S105 - the name of a header
_POLL_EVERY_S = 3.0
_LISTED_WITHIN_S = 10.0
_OBEYED_WITHIN_S = 15.0
_DAYS = ("lunes", "martes", "miercoles", "jueves", "viernes", "sabado", "domingo")
_NO_ACCENTS = str.maketrans("áéíóú", "aeiou")


async def enrol(http: HttpClient, names: Iterable[str], account: tuple[str, str], gear: Gear) -> list[Enrolled]:
    """Let every device announce itself, claim it, and give it a key.

    They announce themselves with ``account``, or anonymously without one; where the broker has neither, an operator
    enters them. Raises :class:`HttpFailed`.
    """
    enrolled = []
    opened = await pairing_opened(http)
    try:
        for number, name in enumerate(names, 1):
            described = {"nombre": name, "tipo": "luz", "modelo": "L-2", "configuracion": {"intervalo_envio": 5}}
            if not await _announced(http, name, account, gear):
                full = {"serial_number": name, **described}
                (await http.post("/dispositivos", full)).expect(201)
            claim = await http.post("/dispositivos/reclamar", {"serial_number": name, **described})
            shown = claim.expect(200)
            device = await found(http, NAME, name)
            key = (await http.post(f"/api/v1/devices/{device}/credentials/keys", {})).expect(201)["key"]
            enrolled.append(Enrolled(name, device, number, device, str(key), {"id": shown["id"]}))
        return enrolled
    finally:
        if opened:
            await pairing_closed(http)


async def _announced(http: HttpClient, serial: str, account: tuple[str, str], gear: Gear) -> bool:
    """Whether the server heard of it by its first message."""
    login = Login(gear.mqtt_host, gear.mqtt_port, f"sim-{serial}", *account, clean=True, tls=gear.mqtt_tls)
    client = MqttClient(login, clock=gear.clock)
    link = asyncio.create_task(client.run(), name=f"{serial} link")
    try:
        async with asyncio.timeout(_LISTED_WITHIN_S):
            first = compact({"serial_number": serial, "estado": "inactivo", "parametros": {}})
            await (await client.publish(TOPIC, first)).done
            while True:
                for one in (await http.get("/dispositivos/no-reclamados")).expect(200):
                    if one["serial_number"] == serial:
                        return True
                await asyncio.sleep(0.1)
    except (ConnectionRefusedByServer, TimeoutError):
        return False
    finally:
        link.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionRefusedByServer):
            await link


class Lamp(SimulatedDevice):
    """A lamp: it is on or off, and draws power accordingly."""

    timed = False
    immune = frozenset({"stale-clock"})
    _watts: RandomWalk | None = None
    _temp: RandomWalk | None = None

    def measure(self, t: float) -> dict[str, Value]:
        if self._watts is None or self._temp is None:
            self._watts = RandomWalk(source(self.gear.seed, self.name, "watts"), 4.0, 12.0, 0.4, 3)
            self._temp = RandomWalk(source(self.gear.seed, self.name, "temp"), 20.0, 45.0, 0.5, 3)
        return {"watts": self._watts.at(t), "temp": self._temp.at(t)}

    def words(self, reading: Reading) -> Outgoing:
        payload = {
            "serial_number": self.name,
            "estado": "activo" if self.state.get("encendido") else "inactivo",
            "parametros": reading.values,
        }
        stored = tuple((key, reading.ts, value) for key, value in reading.values.items())
        return Outgoing(TOPIC, compact(payload), stored, 0)

    def hears(self, message: Message) -> None:
        # Nothing is ever sent to these devices.
        self.gear.tally.strays += 1

    def habits(self) -> Iterable[Coroutine[Any, Any, None]]:
        yield self._polls()

    async def _polls(self) -> None:
        await asyncio.sleep(self.rng.uniform(0.0, _POLL_EVERY_S))
        path, clock = f"/dispositivos/{self.enrolled.more['id']}", self.gear.clock
        async with self.gear.client() as http:
            http.headers[DEVICE_TOKEN] = self.enrolled.password
            while True:
                since = clock.monotonic()
                answer = await self.polled(http, path)
                if answer is not None:
                    await self._follow(http, answer.body)
                await asyncio.sleep(max(0.0, _POLL_EVERY_S - (clock.monotonic() - since)))

    async def _follow(self, http: HttpClient, shown: dict[str, Any]) -> None:
        if shown["serial_number"] != self.name:
            self.gear.tally.strays += 1
            return
        wanted = shown["configuracion"]
        on = wanted.get("encendido")
        if wanted.get("modo") == "horario":
            on = scheduled(wanted.get("horarios"), time.localtime(self.gear.clock.now_ms() / 1000))
            if on != (shown["estado"] == "activo"):
                body = {"estado": "activo" if on else "inactivo"}
                try:
                    await http.put(f"/dispositivos/{self.enrolled.more['id']}/estado", body)
                except HttpFailed as error:
                    self.gear.tally.problems.append(f"{self.name}: {error}")
        elif wanted.get("modo") != "manual":
            return
        if type(on) is bool and on != self.state.get("encendido"):
            self.obeys("encendido", on)

    async def steer(self, operator: HttpClient) -> bool | None:
        on = self.expected["encendido"] = not self.state.get("encendido", False)
        body = {"configuracion": {"modo": "manual", "encendido": on}}
        (await operator.put(f"/dispositivos/{self.enrolled.more['id']}", body)).expect(200)
        return await self.came("encendido", on, _OBEYED_WITHIN_S)


def scheduled(timetable: Any, now: time.struct_time) -> bool:
    """Whether a timetable in either of its two forms (section 4.2) is on at a local time."""
    today, yesterday = _DAYS[now.tm_wday], _DAYS[(now.tm_wday - 1) % 7]
    minute = now.tm_hour * 60 + now.tm_min
    for days, first, last in _spans(timetable):
        if first == last:
            if _on(days, today):
                return True
        elif first < last:
            if _on(days, today) and first <= minute < last:
                return True
        elif (_on(days, today) and minute >= first) or (_on(days, yesterday) and minute < last):
            return True
    return False


def _on(days: Iterable[str], day: str) -> bool:
    plain = [one.lower().translate(_NO_ACCENTS) for one in days]
    return day in plain or "todos" in plain


def _spans(timetable: Any) -> Iterable[tuple[list[str], int, int]]:
    if isinstance(timetable, dict):
        timetable = [{"dias": [day], **span} for day, spans in timetable.items() for span in spans]
    for one in timetable or ():
        first, last = one.get("inicio", one.get("start")), one.get("fin", one.get("end"))
        yield list(one.get("dias", ["todos"])), _minutes(first), _minutes(last)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
