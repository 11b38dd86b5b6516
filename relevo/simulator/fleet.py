"""The devices of a simulation: enrolled over HTTP, sending over MQTT, each with its own ledger."""

import asyncio
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from relevo.clock import Clock
from relevo.simulator.contracts import Contract, Reading
from relevo.simulator.generators import source
from relevo.simulator.http_client import Answer, HttpClient, HttpFailed
from relevo.simulator.ledger import Entry, Ledger
from relevo.simulator.mqtt_client import Delivery, Login, MqttClient

FIRST_BOOT = 1


@dataclass(slots=True)
class Enrolled:
    """What the registry knows of a device: its id there, and the credentials it connects with."""

    external_id: str
    device: str
    username: str = ""
    password: str = ""


@dataclass(slots=True)
class Tally:
    """What all devices of a fleet counted together; latencies in seconds."""

    sent: int = 0
    acknowledged: int = 0
    latencies: list[float] = field(default_factory=list)


async def enrol(http: HttpClient, contract: Contract, names: Iterable[str], account: tuple[str, str]) -> list[Enrolled]:
    """Register every device, or claim every meter. Raises :class:`HttpFailed` when the server declines one.

    ``account`` is the broker account (user name, password) that devices without a key of their own connect with.
    """
    enrolled = []
    for name in names:
        if contract.name == "native":
            body = (await http.post("/api/v1/devices", {"id": name, "name": name, "type": "simulated"})).expect(201)
            enrolled.append(Enrolled(name, name, name, str(body["key"])))
            continue
        request = {"contract": contract.name, "external_id": name, "name": name}
        body = (await http.post("/api/v1/claims", request)).expect(200, 201)
        enrolled.append(Enrolled(name, registry_id(body), *account))
    return enrolled


def registry_id(body: object) -> str:
    """The device's id in the answer to a claim. Raises :class:`HttpFailed` when there is none."""
    if isinstance(body, dict):
        inner = body.get("device", body)
        found = inner.get("id") if isinstance(inner, dict) else inner
        if isinstance(found, str):
            return found
    raise HttpFailed(f"no device id in the answer to a claim: {body!r}")


async def dismiss(http: HttpClient, fleet: Iterable[Enrolled]) -> None:
    """Remove the devices again, with everything they sent."""
    for one in fleet:
        answer: Answer = await http.delete(f"/api/v1/devices/{one.device}")
        answer.expect(200, 202, 204, 404)


class SimulatedDevice:
    """One device: measures at its own pace, publishes, and notes in its ledger what was acknowledged."""

    def __init__(
        self,
        enrolled: Enrolled,
        contract: Contract,
        tally: Tally,
        *,
        host: str,
        port: int,
        seed: int,
        qos: int,
        window: int,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.enrolled, self.contract, self.ledger = enrolled, contract, Ledger()
        self._tally, self._qos, self._clock = tally, qos, clock
        self._measure = contract.measuring(seed, enrolled.external_id)
        self._rng = source(seed, enrolled.external_id, "network")
        self._waiting: set[asyncio.Future[float]] = set()
        self._last_ts = 0
        self._seq = 0
        login = Login(host, port, f"sim-{enrolled.external_id}", enrolled.username, enrolled.password, tls=tls)
        self.mqtt = MqttClient(login, window=window, rng=self._rng, clock=clock)

    @property
    def waiting(self) -> int:
        """Messages without an acknowledgement."""
        return len(self._waiting)

    async def send_every(self, period: float, count: int | None, stop: asyncio.Event) -> None:
        """Publish every ``period`` seconds, ``count`` times or until ``stop``; late messages are caught up with."""
        due = self._clock.monotonic() + self._rng.uniform(0.0, min(period, 5.0))
        while not stop.is_set() and (count is None or self._seq < count):
            pause = due - self._clock.monotonic()
            if pause > 0:
                await asyncio.sleep(min(pause, 0.5))
                continue
            due += period
            await self._send()

    async def drained(self, seconds: float) -> None:
        """Wait until everything is acknowledged, at most ``seconds``."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=seconds)

    async def _send(self) -> None:
        step = self.contract.resolution_ms
        # Two readings of one device never carry the same time, or the read-back could not tell them apart.
        ts = max(self._clock.now_ms() // step * step, self._last_ts + step)
        self._last_ts = ts
        self._seq += 1
        reading = Reading(ts, self._measure(ts / 1000), FIRST_BOOT, self._seq)
        name = self.enrolled.external_id
        payload = self.contract.payload(name, reading)
        delivery = await self.mqtt.publish(self.contract.topic(name), payload, qos=self._qos)
        # Noted only now: a sender that is stopped while it waits for room has sent nothing.
        entry = self.ledger.sent(self.contract.stored(reading))
        self._tally.sent += 1
        if self._qos:
            self._waiting.add(delivery.done)
            delivery.done.add_done_callback(lambda _: self._settled(delivery, entry))

    def _settled(self, delivery: Delivery, entry: Entry) -> None:
        done = delivery.done
        self._waiting.discard(done)
        if not self.contract.numbered:
            entry.copies = max(1, delivery.times)
        if not done.cancelled() and done.exception() is None:
            entry.acknowledged = True
            self._tally.acknowledged += 1
            self._tally.latencies.append(done.result())


def now_token() -> str:
    """A short word that differs from run to run, for names that must be new."""
    number, word = time.time_ns() // 1_000_000, ""
    while number:
        number, digit = divmod(number, 36)
        word = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + word
    return word
