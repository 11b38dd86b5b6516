"""Devices of the native contract: ``relevo/{device}/telemetry`` with a time, named values and a number to recognise
repetitions by; commands answered on ``response``."""

import json
from collections.abc import Iterable

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Enrolled, Outgoing, Reading
from relevo.simulator.generators import Generator, NoisySine, OnOff, RandomWalk, Value, source
from relevo.simulator.http_client import HttpClient
from relevo.simulator.packets import Message
from relevo.simulator.words import compact

NAME = "native"
PERIOD_S = 1.0
_OBEYED_WITHIN_S = 15.0


async def enrol(http: HttpClient, names: Iterable[str], account: tuple[str, str]) -> list[Enrolled]:
    """Register every device. Raises :class:`HttpFailed` when the server declines one."""
    enrolled = []
    for number, name in enumerate(names, 1):
        body = (await http.post("/api/v1/devices", {"id": name, "name": name, "type": "simulated"})).expect(201)
        enrolled.append(Enrolled(name, name, number, name, str(body["key"])))
    return enrolled


class Device(SimulatedDevice):
    """A climate sensor with a fan that can be told to turn."""

    numbered = True
    answering = True
    _signals: dict[str, Generator] | None = None

    def measure(self, t: float) -> dict[str, Value]:
        if self._signals is None:
            seed, name = self.gear.seed, self.name
            self._signals = {
                "temperature_c": NoisySine(source(seed, name, "temperature_c"), 21.0, 4.0, 900.0, 0.05),
                "humidity_pct": RandomWalk(source(seed, name, "humidity_pct"), 30.0, 75.0, 0.3),
                "light_lux": RandomWalk(source(seed, name, "light_lux"), 0.0, 1_200.0, 15.0, 1),
                "fan_on": OnOff(source(seed, name, "fan_on"), 40.0, 90.0),
            }
        return {key: signal.at(t) for key, signal in self._signals.items()}

    def words(self, reading: Reading) -> Outgoing:
        payload = {"ts": self.tells(reading.ts), "values": reading.values, "boot": reading.boot, "seq": reading.seq}
        stored = tuple((key, reading.ts, value) for key, value in reading.values.items())
        return Outgoing(f"relevo/{self.name}/telemetry", compact(payload), stored)

    def updates_at(self) -> str:
        return f"relevo/{self.name}"

    async def connected(self) -> None:
        if self.gear.steered or self.updating:
            self.mqtt.subscribe(f"relevo/{self.name}/command")

    def hears(self, message: Message) -> None:
        asked = json.loads(message.payload)
        if message.topic != f"relevo/{self.name}/command" or asked["name"] not in ("fan", "update"):
            self.gear.tally.strays += 1
            return
        answers = self.ordered(asked["id"])
        if answers is None:
            return
        if asked["name"] == "fan":
            self.obeys("speed", asked["params"]["speed"])
        elif self.updating:
            self.updating.look()
        if answers:
            self.soon(self._answer({"id": asked["id"], "ok": True}))

    async def _answer(self, answer: dict[str, object]) -> None:
        self.answers[str(answer["id"])] = await self.mqtt.publish(f"relevo/{self.name}/response", compact(answer))

    async def steer(self, operator: HttpClient) -> bool | None:
        speed = self.expected["speed"] = self.rng.randrange(1_000_000)
        await self.commanded(operator, "fan", {"speed": speed})
        return await self.came("speed", speed, _OBEYED_WITHIN_S)
