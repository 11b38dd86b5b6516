"""Token devices (contract thingsnxt): telemetry over HTTP every ten seconds, a poll for desired values every four, a
look at the server's health every minute; slower for a while after 429."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Enrolled, Outgoing, Reading
from relevo.simulator.generators import NoisySine, RandomWalk, Value, source
from relevo.simulator.http_client import Answer, HttpClient, HttpFailed
from relevo.simulator.native_api import found
from relevo.simulator.words import compact

NAME = "thingsnxt"
PERIOD_S = 10.0
POLL_EVERY_S = 4.0
_HEALTH_EVERY_S = 60.0
_SLOWED_S = 300.0
_SLOW_POLL_S = 5.0
_OBEYED_WITHIN_S = 15.0
_WIDGETS_ON_ONE = 50


async def enrol(http: HttpClient, names: Iterable[str], account: tuple[str, str]) -> list[Enrolled]:
    """Add every device in the app, and a switch for each. Raises :class:`HttpFailed`."""
    enrolled: list[Enrolled] = []
    dashboard = ""
    for number, name in enumerate(names, 1):
        made = (await http.post("/devices", {"name": name, "type": "esp32"})).expect(200, 201)
        shown_id, token = str(made["id"]), str(made["device_token"])
        if number % _WIDGETS_ON_ONE == 1:
            dashboard = (await http.post("/dashboards", {"name": name})).expect(200, 201)["id"]
        widget = {"dashboard_id": dashboard, "device_id": shown_id, "type": "led", "label": name}
        switch = (await http.post("/widgets", widget)).expect(200, 201)
        more = {"token": token, "widget": switch["id"], "pin": switch["config"]["virtual_pin"]}
        enrolled.append(Enrolled(shown_id, await found(http, NAME, shown_id), number, more=more))
    return enrolled


class Thing(SimulatedDevice):
    """A climate sensor with one switch at a virtual pin."""

    timed = False
    immune = frozenset({"flap", "storm", "stale-clock", "lost-answers"})
    _temperature: NoisySine | None = None
    _humidity: RandomWalk | None = None
    _slow_until = 0.0

    async def link(self) -> None:
        """It has no connection to keep."""
        await asyncio.get_running_loop().create_future()

    def measure(self, t: float) -> dict[str, Value]:
        if self._temperature is None or self._humidity is None:
            self._temperature = NoisySine(source(self.gear.seed, self.name, "t"), 21.0, 4.0, 900.0, 0.05, digits=3)
            self._humidity = RandomWalk(source(self.gear.seed, self.name, "h"), 30.0, 75.0, 0.3, 3)
        pins: dict[str, Value] = {self._pin: int(bool(self.state.get(self._pin, False)))}
        own: dict[str, Value] = {"unit": self.enrolled.number}
        return {"temperature": self._temperature.at(t), "humidity": self._humidity.at(t), **own, **pins}

    @property
    def path(self) -> str:
        """Where it posts its values."""
        return f"/devices/{self.name}/telemetry"

    def words(self, reading: Reading) -> Outgoing:
        stored = tuple((key, reading.ts, value) for key, value in reading.values.items())
        return Outgoing(self.path, compact({"device_token": self._token, "data": reading.values}), stored)

    async def send(self, reading: Reading) -> None:
        clock, tally = self.gear.clock, self.gear.tally
        said = self.words(reading)
        entry = self.ledger.sent(said.stored)
        tally.sent += 1
        since = clock.monotonic()
        answer = await self._post(said.payload)
        if answer is not None and answer.status == 200:
            self.acknowledged(entry, clock.monotonic() - since)
            self._apply(self.state_in(answer.body))
        elif answer is not None:
            self.turned_away(said.topic, answer.status)
        if self.struck(self.gear.faults.duplicates):
            entry.copies += 1
            tally.faults["duplicates"] += 1
            await self._post(said.payload)

    def state_in(self, body: dict[str, Any]) -> dict[str, Any]:
        """What an answer says that it is to be."""
        found: dict[str, Any] = body["data"]
        return found

    async def _post(self, payload: bytes) -> Answer | None:
        async with self.gear.client() as http:
            try:
                return await http.request("POST", self.path, payload)
            except HttpFailed as error:
                self.gear.tally.problems.append(f"{self.name}: {error}")
                return None

    async def utter(self, topic: str, payload: bytes) -> None:
        answer = await self._post(payload)
        if answer is not None:
            self.gear.tally.faults["malformed"] += 1
            if answer.status == 200:
                self.gear.tally.problems.append(f"{self.name}: rubbish was taken: {payload[:80]!r}")

    async def knock(self) -> bool:
        async with self.gear.client() as http:
            answer = await http.post(self.path, {"device_token": f"wrong-{self._token}", "data": {"temperature": 0}})
        return answer.status == 200

    def habits(self) -> Iterable[Coroutine[Any, Any, None]]:
        yield self._polls()
        yield self._looks_after_health()

    async def _polls(self) -> None:
        clock = self.gear.clock
        await asyncio.sleep(self.rng.uniform(0.0, POLL_EVERY_S))
        async with self.gear.client() as http:
            while True:
                since = clock.monotonic()
                answer = await self.polled(http, "/telemetry/latest", {"device_token": self._token})
                if answer is not None:
                    self._apply(answer.body["data"])
                every = _SLOW_POLL_S if clock.monotonic() < self._slow_until else POLL_EVERY_S
                await asyncio.sleep(max(0.0, every - (clock.monotonic() - since)))

    async def _looks_after_health(self) -> None:
        while True:
            await asyncio.sleep(_HEALTH_EVERY_S * self.rng.uniform(0.9, 1.0))
            try:
                async with self.gear.client() as http:
                    (await http.get("/health")).expect(200)
            except HttpFailed as error:
                self.gear.tally.problems.append(f"{self.name}: {error}")

    def _apply(self, data: dict[str, Any]) -> None:
        if data.get("unit", self.enrolled.number) != self.enrolled.number:
            self.gear.tally.strays += 1
        wanted = data.get(self._pin, data.get("led"))
        if wanted in (0, 1) and bool(wanted) != bool(self.state.get(self._pin, False)):
            self.obeys(self._pin, bool(wanted))

    def turned_away(self, path: str, status: int) -> None:
        if status == 429:
            self._slow_until = self.gear.clock.monotonic() + _SLOWED_S
        super().turned_away(path, status)

    @property
    def _token(self) -> str:
        return str(self.enrolled.more["token"])

    @property
    def _pin(self) -> str:
        return str(self.enrolled.more["pin"])

    async def steer(self, operator: HttpClient) -> bool | None:
        on = not self.state.get(self._pin, False)
        self.expected[self._pin] = on
        (await operator.post(f"/widgets/{self.enrolled.more['widget']}/state", {"state": int(on)})).expect(200)
        return await self.came(self._pin, on, _OBEYED_WITHIN_S)
