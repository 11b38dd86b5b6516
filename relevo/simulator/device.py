"""One device of a simulation: measures at its own pace, sends, and notes in its ledger what was acknowledged.

Each contract's devices have habits of their own beside that (heartbeats, polls, answers to commands), which they add.
"""

import asyncio
import ssl
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from relevo.clock import Clock
from relevo.simulator.generators import Value, source
from relevo.simulator.http_client import Answer, HttpClient, HttpFailed
from relevo.simulator.ledger import Entry, Ledger
from relevo.simulator.mqtt_client import Delivery, Login, MqttClient
from relevo.simulator.packets import Message, Will

FIRST_BOOT = 1
_NOTICED_EVERY_S = 0.05

Stored = tuple[tuple[str, int, Value], ...]
"""Readings to be found again, as ``(key, ts in ms, value)``."""


@dataclass(slots=True)
class Enrolled:
    """What the server knows of a device: its id in the registry, and the credentials it connects with.

    ``number`` counts the devices of a simulation from 1. ``more`` is what else the contract's enrolment gave it.
    """

    external_id: str
    device: str
    number: int = 1
    username: str = ""
    password: str = ""
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """What all devices of a fleet counted together; latencies in seconds.

    ``strays`` are things that a device heard which nobody told it. ``told`` counts changes that an operator asked for,
    ``obeyed`` those that the device made.
    """

    sent: int = 0
    acknowledged: int = 0
    latencies: list[float] = field(default_factory=list)
    polls: int = 0
    poll_latencies: list[float] = field(default_factory=list)
    heard: int = 0
    strays: int = 0
    told: int = 0
    obeyed: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Gear:
    """What every device of a simulation works with. ``qos`` of ``None`` is the contract's own; ``http`` a base address.

    ``steered`` says that an operator tells the devices what to do, so that anything else they hear is a stray.
    """

    http: str
    mqtt_host: str
    mqtt_port: int
    clock: Clock
    tally: Tally
    seed: int = 1
    qos: int | None = None
    window: int = 20
    steered: bool = False
    mqtt_tls: ssl.SSLContext | None = None
    http_tls: ssl.SSLContext | None = None

    def client(self) -> HttpClient:
        """A connection of a device's own."""
        return HttpClient(self.http, tls=self.http_tls)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device measured: ``ts`` in milliseconds UTC, its boot number and a count within that boot."""

    ts: int
    values: dict[str, Value]
    boot: int
    seq: int


class Outgoing(NamedTuple):
    """A message as the contract words it, and where its readings must be found again."""

    topic: str
    payload: bytes
    stored: Stored
    qos: int = 1


class SimulatedDevice:
    """See the module. A subclass words readings in :meth:`words`, and may add habits."""

    timed = True
    """Whether its readings carry its own time."""
    numbered = False
    """Whether a repeated message can be recognised, so that it must be stored once."""
    resolution_ms = 1
    """The finest step of the time that goes over the wire."""

    def __init__(self, enrolled: Enrolled, gear: Gear) -> None:
        self.enrolled, self.gear, self.ledger = enrolled, gear, Ledger(self.timed)
        self.name = enrolled.external_id
        self.rng = source(gear.seed, self.name, "network")
        self.expected: dict[str, Value] = {}
        """What an operator is telling it."""
        self.state: dict[str, Value] = {}
        """What it made of that."""
        self._waiting: set[asyncio.Future[float]] = set()
        self._doing: set[asyncio.Task[None]] = set()
        self._last_ts = 0
        self.seq = 0
        self.mqtt = MqttClient(
            self.login(),
            window=gear.window,
            rng=self.rng,
            clock=gear.clock,
            on_message=self._hears,
            on_connected=lambda: self.soon(self.connected()),
        )

    # What a contract says differently

    def login(self) -> Login:
        """How it connects."""
        own = self.enrolled
        gear = self.gear
        return Login(
            gear.mqtt_host,
            gear.mqtt_port,
            self.client_id(),
            own.username,
            own.password,
            tls=gear.mqtt_tls,
            will=self.will(),
        )

    def client_id(self) -> str:
        """Its MQTT client identifier."""
        return f"sim-{self.name}"

    def will(self) -> Will | None:
        """What the broker says of it when it is cut off."""
        return None

    def measure(self, t: float) -> dict[str, Value]:
        """What it measures at ``t`` seconds."""
        raise NotImplementedError

    def words(self, reading: Reading) -> Outgoing:
        """A reading in the contract's words."""
        raise NotImplementedError

    async def connected(self) -> None:
        """A connection has begun."""

    def hears(self, message: Message) -> None:
        """A message has arrived."""

    def habits(self) -> Iterable[Coroutine[Any, Any, None]]:
        """What it does beside sending, until it is cancelled."""
        return ()

    async def steer(self, operator: HttpClient) -> bool | None:
        """Let an operator change something at it; whether it did so, ``None`` where it cannot be steered."""
        return None

    # What they have in common

    async def link(self) -> None:
        """Stay connected until cancelled. Raises :class:`ConnectionRefusedByServer`."""
        await self.mqtt.run()

    def soon(self, doing: Coroutine[Any, Any, None]) -> None:
        """Do it beside everything else."""
        task = asyncio.get_running_loop().create_task(doing, name=f"{self.name} habit")
        self._doing.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._doing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.gear.tally.problems.append(f"{self.name}: {error}")

    def end(self) -> None:
        """Leave off what is not done."""
        for task in self._doing:
            task.cancel()

    def obeys(self, key: str, value: Value) -> None:
        """It was told so; a stray when nobody told it."""
        if self.gear.steered and self.expected.get(key) != value:
            self.gear.tally.strays += 1
        self.state[key] = value

    async def came(self, key: str, value: Value, within_s: float) -> bool:
        """Whether it makes ``key`` this within so many seconds."""
        due = self.gear.clock.monotonic() + within_s
        while self.state.get(key) != value:
            if self.gear.clock.monotonic() >= due:
                return False
            await asyncio.sleep(_NOTICED_EVERY_S)
        return True

    @property
    def waiting(self) -> int:
        """Messages without an acknowledgement."""
        return len(self._waiting)

    async def send_every(self, period: float, count: int | None, stop: asyncio.Event) -> None:
        """Send every ``period`` seconds, ``count`` times or until ``stop``; late messages are caught up with."""
        due = self.gear.clock.monotonic() + self.rng.uniform(0.0, min(period, 5.0))
        while not stop.is_set() and (count is None or self.seq < count):
            pause = due - self.gear.clock.monotonic()
            if pause > 0:
                await asyncio.sleep(min(pause, 0.5))
                continue
            due += period
            await self.send(self.next_reading())

    async def drained(self, seconds: float) -> None:
        """Wait until everything is acknowledged, at most ``seconds``."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=seconds)

    async def polled(self, http: HttpClient, path: str, query: Mapping[str, object] | None = None) -> Answer | None:
        """What the server answered with 200 to a question that it asks again and again; ``None`` when it did not."""
        clock, tally = self.gear.clock, self.gear.tally
        since = clock.monotonic()
        try:
            answer = await http.get(path, query)
        except HttpFailed as error:
            tally.problems.append(f"{self.name}: {error}")
            return None
        if answer.status != 200:
            self.turned_away(path, answer.status)
            return None
        tally.polls += 1
        tally.poll_latencies.append(clock.monotonic() - since)
        return answer

    def turned_away(self, path: str, status: int) -> None:
        """The server did not do what was asked of it."""
        self.gear.tally.problems.append(f"{self.name}: {path} was answered with {status}")

    def next_reading(self) -> Reading:
        """What it measures now."""
        step = self.resolution_ms
        # Two readings of one device never carry the same time, or the read-back could not tell them apart.
        ts = max(self.gear.clock.now_ms() // step * step, self._last_ts + step)
        self._last_ts = ts
        self.seq += 1
        return Reading(ts, self.measure(ts / 1000), FIRST_BOOT, self.seq)

    async def send(self, reading: Reading) -> None:
        """Publish a reading and note it."""
        said = self.words(reading)
        qos = said.qos if self.gear.qos is None else self.gear.qos
        delivery = await self.mqtt.publish(said.topic, said.payload, qos=qos)
        if not qos and not delivery.times:
            # Off line nothing leaves a device at QoS 0.
            return
        # Noted only now: a sender that is stopped while it waits for room has sent nothing.
        entry = self.ledger.sent(said.stored, assured=bool(qos))
        self.gear.tally.sent += 1
        if qos:
            self._waiting.add(delivery.done)
            delivery.done.add_done_callback(lambda _: self._settled(delivery, entry))

    def _settled(self, delivery: Delivery, entry: Entry) -> None:
        done = delivery.done
        self._waiting.discard(done)
        if not self.numbered:
            entry.copies = max(1, delivery.times)
        if not done.cancelled() and done.exception() is None:
            self.acknowledged(entry, done.result())

    def acknowledged(self, entry: Entry, seconds: float) -> None:
        """The server has taken responsibility for it, so many seconds after it was sent."""
        entry.acknowledged = True
        self.gear.tally.acknowledged += 1
        self.gear.tally.latencies.append(seconds)

    def _hears(self, message: Message) -> None:
        self.gear.tally.heard += 1
        self.hears(message)


def now_token() -> str:
    """A short word that differs from run to run, for names that must be new."""
    number, word = time.time_ns() // 1_000_000, ""
    while number:
        number, digit = divmod(number, 36)
        word = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + word
    return word
