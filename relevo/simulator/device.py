"""One device of a simulation: measures at its own pace, sends, and notes in its ledger what was acknowledged.

Each contract's devices have habits of their own beside that (heartbeats, polls, answers to commands), which they add.
What goes wrong on purpose (``faults``) goes wrong here, so that it does so for all of them.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from relevo.simulator import clocks
from relevo.simulator.gear import Enrolled, Gear, Outgoing, Reading
from relevo.simulator.generators import Value, source
from relevo.simulator.http_client import Answer, HttpClient, HttpFailed
from relevo.simulator.ledger import Entry, Ledger
from relevo.simulator.mqtt_client import ConnectionRefusedByServer, Delivery, Login, MqttClient
from relevo.simulator.packets import Message, Will
from relevo.simulator.updating import BoardUpdates, Owner

FIRST_BOOT = 1
_NOTICED_EVERY_S = 0.05
_KNOCK_S = 10.0
# Stands in a message where rubbish is put instead.
_MARK: Final = 271_828.5
RUBBISH: Final = {"cut short": b"", "NaN": b"nan", "wrong type": b"null", "too long": b'"' + b"x" * 5_000 + b'"'}
"""Kinds of malformed messages, and what stands in the place of a number."""


class SimulatedDevice:
    """See the module. A subclass words readings in :meth:`words`, and may add habits."""

    timed = True
    """Whether its readings carry its own time."""
    numbered = False
    """Whether a repeated message can be recognised, so that it must be stored once."""
    resolution_ms = 1
    """The finest step of the time that goes over the wire."""
    immune: frozenset[str] = frozenset()
    """Faults that such devices cannot have."""
    answering = False
    """Whether it answers commands, so that the server knows what became of them."""

    def __init__(self, enrolled: Enrolled, gear: Gear) -> None:
        self.name = enrolled.external_id
        number = enrolled.number
        self.clock = clocks.KINDS[number % len(clocks.KINDS)] if gear.has("stale-clock", number) else ""
        if self.clock:
            # What it says of the time is not believed, so its readings are found by their values.
            self.timed = False
            gear.tally.faults["stale-clock"] += 1
        self.enrolled, self.gear, self.ledger = enrolled, gear, Ledger(self.timed)
        self.rng = source(gear.seed, self.name, "network")
        self.luck = source(gear.seed, self.name, "faults")
        self.expected: dict[str, Value] = {}
        """What an operator is telling it."""
        self.state: dict[str, Value] = {}
        """What it made of that."""
        self._waiting: set[asyncio.Future[float]] = set()
        self._doing: set[asyncio.Task[None]] = set()
        self._held: list[Reading] = []
        self._rubbish = 0
        self._last_ts = 0
        self._started = gear.clock.now_ms()
        self.orders: list[str] = []
        """Commands that an operator gave it, by their ids."""
        self.answers: dict[str, Delivery | None] = {}
        """Commands that it heard, and the answer that left."""
        self.boot, self.seq, self.taken = FIRST_BOOT, 0, 0
        self.mqtt = MqttClient(
            self.login(),
            window=gear.window,
            rng=self.rng,
            clock=gear.clock,
            on_message=self._hears,
            on_connected=self._connected,
            misses=gear.faults.lost_answers,
        )
        self.updating = self._updates()

    def _updates(self) -> BoardUpdates | None:
        root, fate = self.updates_at(), self.gear.fates.get(self.enrolled.number)
        if not root or fate is None:
            return None
        own = Owner(self.name, self.name, self.enrolled.password, self.gear.board)
        return BoardUpdates(own, root, fate, self.mqtt, self.gear, self.restart)

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

    def marked(self, reading: Reading, mark: float) -> Outgoing:
        """A message with ``mark`` as its only value, which is made rubbish: all of it must be refused then."""
        return self.words(replace(reading, values={next(iter(reading.values)): mark}))

    def updates_at(self) -> str:
        """The topic below which it asks for new firmware; empty when it does not."""
        return ""

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
        while not stop.is_set() and (count is None or self.taken < count):
            pause = due - self.gear.clock.monotonic()
            if pause > 0:
                await asyncio.sleep(min(pause, 0.5))
                continue
            due += period
            reading, faults = self.next_reading(), self.gear.faults
            if self.struck(faults.malformed):
                await self._blurt(reading)
            if self.struck(faults.reordering):
                self._held.append(reading)
                self.gear.tally.faults["reordering"] += 1
                continue
            await self.send(reading)
            while self._held:
                await self.send(self._held.pop())

    async def drained(self, seconds: float) -> None:
        """Send what is held back and wait until everything is acknowledged, at most ``seconds``."""
        with contextlib.suppress(TimeoutError, ConnectionRefusedByServer):
            async with asyncio.timeout(seconds):
                while self._held:
                    await self.send(self._held.pop())
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
        self.taken += 1
        return Reading(ts, self.measure(ts / 1000), self.boot, self.seq)

    def tells(self, ts: int, seconds: bool = False) -> int | str:
        """The time as it says it: milliseconds or whole seconds UTC, or what its clock makes of that."""
        if self.clock:
            return clocks.told(self.clock, ts, self._started, seconds)
        return ts // 1000 if seconds else ts

    def restart(self, seconds: float = 0.5) -> None:
        """Start again: the connection is gone, and readings are counted from 1."""
        self.boot += 1
        self.seq = 0
        self.mqtt.cut(seconds)

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
            self._watch(delivery, lambda: self._settled(delivery, entry))
        if self.struck(self.gear.faults.duplicates):
            await self._twice(said, qos, entry)

    async def _twice(self, said: Outgoing, qos: int, entry: Entry) -> None:
        """Say it once more, as a new message."""
        twin = await self.mqtt.publish(said.topic, said.payload, qos=qos)
        if not qos and not twin.times:
            return
        self.gear.tally.faults["duplicates"] += 1
        entry.copies += not self.numbered
        if qos:
            self._watch(twin, lambda: self._settled(twin, entry, twin=True))

    def _watch(self, delivery: Delivery, settled: Callable[[], None]) -> None:
        def over(done: asyncio.Future[float]) -> None:
            self._waiting.discard(done)
            settled()

        self._waiting.add(delivery.done)
        delivery.done.add_done_callback(over)

    def _settled(self, delivery: Delivery, entry: Entry, twin: bool = False) -> None:
        done = delivery.done
        if not self.numbered:
            entry.copies += max(0, delivery.times - 1)
        if done.cancelled() or done.exception() is not None:
            return
        if twin:
            entry.acknowledged = True
        else:
            self.acknowledged(entry, done.result())

    def acknowledged(self, entry: Entry, seconds: float) -> None:
        """The server has taken responsibility for it, so many seconds after it was sent."""
        entry.acknowledged = True
        self.gear.tally.acknowledged += 1
        self.gear.tally.latencies.append(seconds)

    # What goes wrong on purpose

    def struck(self, share: float) -> bool:
        """Whether this message is one of that share."""
        return bool(share) and self.luck.random() < share

    async def _blurt(self, reading: Reading) -> None:
        said = self.marked(reading, _MARK)
        kinds = list(RUBBISH)
        kind = kinds[self._rubbish % len(kinds)]
        self._rubbish += 1
        instead = RUBBISH[kind]
        payload = said.payload.replace(str(_MARK).encode(), instead) if instead else said.payload[:-1]
        await self.utter(said.topic, payload)

    async def utter(self, topic: str, payload: bytes) -> None:
        """Send rubbish; counted when it has arrived."""
        delivery = await self.mqtt.publish(topic, payload)

        def arrived() -> None:
            if not delivery.done.cancelled() and delivery.done.exception() is None:
                self.gear.tally.faults["malformed"] += 1

        self._watch(delivery, arrived)

    async def knock(self) -> bool:
        """Show a wrong key; whether that was let in."""
        made = self.login()
        login = replace(made, username=made.username or self.enrolled.device, password=f"wrong-{made.password}")
        client = MqttClient(login, clock=self.gear.clock)
        link = asyncio.ensure_future(client.run())
        inside = asyncio.ensure_future(client.online.wait())
        try:
            await asyncio.wait((link, inside), timeout=_KNOCK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            inside.cancel()
            link.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionRefusedByServer):
                await link
        return client.connections > 0

    # Commands

    def ordered(self, order: str) -> bool | None:
        """A command of this id came: whether it is answered, ``None`` when it came before and must not be done."""
        if order in self.answers:
            self.gear.tally.strays += 1
            return None
        self.answers[order] = None
        if self.struck(self.gear.faults.lost_answers):
            self.gear.tally.faults["lost-answers"] += 1
            return False
        return True

    async def commanded(self, operator: HttpClient, name: str, params: dict[str, Any]) -> None:
        """Let an operator give it a command. Raises :class:`HttpFailed`."""
        path = f"/api/v1/devices/{self.enrolled.device}/commands"
        made = (await operator.post(path, {"name": name, "params": params})).expect(200, 202)
        self.orders.append(str(made["id"]))

    def _connected(self) -> None:
        if self.updating is not None:
            self.updating.connected()
        self.soon(self.connected())

    def _hears(self, message: Message) -> None:
        self.gear.tally.heard += 1
        if self.updating is None or not self.updating.hears(message):
            self.hears(message)


def now_token() -> str:
    """A short word that differs from run to run, for names that must be new."""
    number, word = time.time_ns() // 1_000_000, ""
    while number:
        number, digit = divmod(number, 36)
        word = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + word
    return word
