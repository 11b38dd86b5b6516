"""Water meters (contract hidrometro, sections 3 and 8): litres and flow once a second on one shared topic, time in
whole seconds, commands on the shared command topic that are somebody else's unless they name nobody or this meter."""

import json
from collections.abc import Iterable

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Enrolled, Outgoing, Reading
from relevo.simulator.generators import Counter, Flow, Generator, Value, source
from relevo.simulator.http_client import HttpClient
from relevo.simulator.native_api import claimed
from relevo.simulator.packets import Message
from relevo.simulator.words import compact

NAME = "hidrometro"
PERIOD_S = 1.0
TOPIC = "hidrometro/dados"
COMMANDS = "hidrometro/cmd"
_OBEYED_WITHIN_S = 15.0


async def enrol(http: HttpClient, names: Iterable[str], account: tuple[str, str]) -> list[Enrolled]:
    """Claim every meter. ``account`` is the broker account (user name, password) they share, empty for none.

    Raises :class:`HttpFailed` when the server declines one.
    """
    enrolled = []
    for number, name in enumerate(names, 1):
        enrolled.append(Enrolled(name, await claimed(http, NAME, name), number, *account))
    return enrolled


class Meter(SimulatedDevice):
    """A pulse meter with a tap behind it that runs or can be simulated to run."""

    resolution_ms = 1000
    _total: Counter | None = None
    _before = 0.0
    _from = 0.0

    def flow(self) -> Generator:
        """The water that runs through it."""
        return Flow(source(self.gear.seed, self.name, "flow"), 7.5, 25.0, 60.0)

    def client_id(self) -> str:
        return f"hidrometro-{self.name}"

    def measure(self, t: float) -> dict[str, Value]:
        if self._total is None:
            seed = self.gear.seed
            self._total = Counter(source(seed, self.name, "total"), self.flow())
        total = float(self._total.at(t))
        simulated = self.state.get("flow")
        if simulated:
            self._before += float(simulated) * max(0.0, t - self._from) / 60 if self._from else 0.0
        self._from = t
        return {"totalLiters": round(total + self._before, 4), "flowLmin": simulated or self._total.rate}

    def words(self, reading: Reading) -> Outgoing:
        payload = {**reading.values, "numeroSerie": self.name, "ts": self.tells(reading.ts, seconds=True)}
        stored = tuple((key, reading.ts, value) for key, value in reading.values.items())
        return Outgoing(TOPIC, compact(payload), stored, 0)

    async def connected(self) -> None:
        if self.gear.steered:
            for topic in (COMMANDS, f"hidrometro/+/{self.enrolled.device}/cmd"):
                self.mqtt.subscribe(topic, 0)

    def hears(self, message: Message) -> None:
        asked = json.loads(message.payload)
        if str(asked.get("numeroSerie", self.name)).upper() != self.name:
            return
        if asked["action"] in ("simulate", "simSetFlow"):
            self.obeys("flow", asked.get("value", 8))
        elif asked["action"] in ("simOff", "simulateOff"):
            self.obeys("flow", 0)

    async def steer(self, operator: HttpClient) -> bool | None:
        flow = self.expected["flow"] = round(self.rng.uniform(1.0, 30.0), 3)
        body = {"action": "simSetFlow", "value": flow, "numeroSerie": self.name}
        (await operator.post("/api/cmd", body)).expect(200)
        return await self.came("flow", flow, _OBEYED_WITHIN_S)
