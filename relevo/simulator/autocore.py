"""Relay boards (contract autocore): they look themselves up, register, fetch the broker's settings and live on MQTT.

One board in three speaks the contract's first words, one the older ones (channels from 0, no answer), one version 2
(``relays/set`` and ``relays/state``): a server has to find out which from what they publish.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Coroutine, Iterable
from typing import Any

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Enrolled, Outgoing, Reading
from relevo.simulator.generators import RandomWalk, Value, source
from relevo.simulator.http_client import HttpClient, HttpFailed
from relevo.simulator.native_api import found, pairing_closed, pairing_opened
from relevo.simulator.packets import Message, Will
from relevo.simulator.words import compact

NAME = "autocore"
PERIOD_S = 30.0
CHANNELS = 16
SPEECHES = ("seed", "old", "v2")
PROTOCOL = "2.2.0"
_TELEMETRY_EVERY_S = 10.0
_STATE_EVERY_S = 30.0
_SETTINGS_EVERY_S = 300.0
_OBEYED_WITHIN_S = 15.0


async def enrol(
    http: HttpClient, names: Iterable[str], account: tuple[str, str], *, keyed: bool = False
) -> list[Enrolled]:
    """Let every board register itself, with the pairing window open for it.

    ``account`` is used where the server gives no broker account. ``keyed`` boards keep the key that registering gave
    them and show it, as newer ones do; the others share an account. Raises :class:`HttpFailed`.
    """
    opened = await pairing_opened(http)
    try:
        enrolled = []
        async with http.stranger() as board:
            for number, name in enumerate(names, 1):
                settings = await _registered(board, name, keyed)
                username, password = account
                if settings.get("username"):
                    username, password = settings["username"], settings["password"]
                device = await found(http, NAME, name)
                enrolled.append(Enrolled(name, device, number, username, password, settings))
        return enrolled
    finally:
        if opened:
            await pairing_closed(http)


async def _registered(http: HttpClient, uuid: str, keyed: bool) -> dict[str, Any]:
    """What a board does when it starts; the broker's settings, empty where it may not have them."""
    looked_up = await http.get(f"/api/devices/uuid/{uuid}")
    if looked_up.status == 404:
        mac = hashlib.sha256(uuid.encode()).hexdigest()[:12].upper()
        body = {
            "uuid": uuid,
            "name": f"ESP32 Relay {uuid}",
            "type": "esp32_relay",
            "mac_address": ":".join(mac[at : at + 2] for at in range(0, 12, 2)),
            "ip_address": "10.0.0.21",
            "firmware_version": "2.0.0",
            "hardware_version": "rev1",
            "relay_channels": CHANNELS,
        }
        made = (await http.post("/api/devices", body)).expect(200, 201, 409)
        # An earlier board's would be shown otherwise.
        http.token = str(made.get("device_token", "")) if keyed else ""
    settings = await http.get("/api/mqtt/config")
    return dict(settings.body) if settings.status == 200 else {}


class Board(SimulatedDevice):
    """A board with sixteen relays."""

    timed = False
    immune = frozenset({"stale-clock"})
    _figures: tuple[RandomWalk, RandomWalk] | None = None
    _supply: RandomWalk | None = None

    @property
    def speech(self) -> str:
        """Which of the three ways of speaking is its own."""
        return SPEECHES[self.enrolled.number % len(SPEECHES)]

    @property
    def answering(self) -> bool:  # type: ignore[override]
        """Those of the first words alone answer; of the others a state is the proof."""
        return self.speech == "seed"

    def updates_at(self) -> str:
        return self._root

    @property
    def _root(self) -> str:
        return f"{self.enrolled.more.get('topic_prefix', NAME)}/devices/{self.name}"

    def will(self) -> Will | None:
        return Will(f"{self._root}/status", compact({"status": "offline", "uuid": self.name, "reason": "last_will"}))

    def measure(self, t: float) -> dict[str, Value]:
        if self._figures is None:
            signal = RandomWalk(source(self.gear.seed, self.name, "wifi_rssi"), -80, -40, 3, 0)
            memory = RandomWalk(source(self.gear.seed, self.name, "free_memory"), 80_000, 120_000, 900, 0)
            self._figures = signal, memory
        signal, memory = self._figures
        return {
            "uptime": self.seq * int(PERIOD_S),
            "wifi_rssi": int(signal.at(t)),
            "free_memory": int(memory.at(t)),
        }

    def words(self, reading: Reading) -> Outgoing:
        status: dict[str, Any] = {"status": "online", **reading.values}
        if self.speech == "old":
            status["relay_states"] = [int(self.is_on(channel)) for channel in range(1, CHANNELS + 1)]
        elif self.speech == "v2":
            status["protocol_version"] = PROTOCOL
        stored = tuple((key, reading.ts, value) for key, value in reading.values.items())
        return Outgoing(f"{self._root}/status", compact(status), stored, 1)

    def marked(self, reading: Reading, mark: float) -> Outgoing:
        return Outgoing(f"{self._root}/telemetry", compact({"supply_v": mark}), ())

    async def connected(self) -> None:
        for topic in ("command", "commands/+", "relays/set", "relays/heartbeat"):
            self.mqtt.subscribe(f"{self._root}/{topic}")
        announce = {
            "uuid": self.name,
            "name": f"ESP32 Relay {self.name}",
            "type": "esp32_relay",
            "firmware_version": "2.0.0",
            "relay_channels": CHANNELS,
            "capabilities": ["relay"],
        }
        if self.speech == "v2":
            announce["protocol_version"] = PROTOCOL
        await self.mqtt.publish(f"{self._root}/announce", compact(announce), retain=True)
        await self.send(self.next_reading())
        if self.speech == "v2":
            await self._tell_relays()

    def habits(self) -> Iterable[Coroutine[Any, Any, None]]:
        yield self._measures()
        yield self._asks_for_settings()
        if self.speech == "v2":
            yield self._tells_relays()

    def figures(self, t: float) -> dict[str, Value]:
        """What it measures beside its own state, at ``t`` seconds."""
        if self._supply is None:
            self._supply = RandomWalk(source(self.gear.seed, self.name, "supply_v"), 11.7, 12.4, 0.02, 3)
        return {"supply_v": self._supply.at(t)}

    async def _measures(self) -> None:
        while True:
            await asyncio.sleep(_TELEMETRY_EVERY_S * self.rng.uniform(0.9, 1.1))
            now = self.gear.clock.now_ms()
            values = self.figures(now / 1000)
            delivery = await self.mqtt.publish(f"{self._root}/telemetry", compact(values), qos=0)
            if delivery.times:
                self.ledger.sent([(key, now, value) for key, value in values.items()], assured=False)
                self.gear.tally.sent += 1

    async def _asks_for_settings(self) -> None:
        while True:
            await asyncio.sleep(_SETTINGS_EVERY_S)
            # Any error makes a board keep what it has.
            with contextlib.suppress(HttpFailed):
                async with self.gear.client() as http:
                    await http.get("/api/mqtt/config")

    async def _tells_relays(self) -> None:
        while True:
            await asyncio.sleep(_STATE_EVERY_S)
            await self._tell_relays()

    async def _tell_relays(self) -> None:
        states = {str(channel): self.is_on(channel) for channel in range(1, CHANNELS + 1)}
        said = {"protocol_version": PROTOCOL, "channels": states}
        await self.mqtt.publish(f"{self._root}/relays/state", compact(said))

    # Obeying

    def hears(self, message: Message) -> None:
        root, _, channel = message.topic.partition(f"{self.name}/")
        if f"{root}{self.name}" != self._root:
            self.gear.tally.strays += 1
            return
        asked = json.loads(message.payload)
        if channel == "relays/set":
            self._switch(asked["channel"], asked["state"])
            self.soon(self._tell_relays())
        elif channel == "command" and "command" in asked:
            if asked["command"] in ("relay_on", "relay_off"):
                self._switch(asked["channel"] + 1, asked["command"] == "relay_on")
        elif channel == "command":
            self._do(asked)

    def _do(self, asked: dict[str, Any]) -> None:
        answers = self.ordered(str(asked.get("request_id", len(self.answers))))
        if answers is None:
            return
        if asked["type"] == "relay":
            self._switch(asked["channel"], asked["state"])
        elif asked["type"] == "update" and self.updating:
            self.updating.look()
        if answers:
            self.soon(self._answer(asked))

    async def _answer(self, asked: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"type": "error", "error": "unknown_type"}
        if asked["type"] == "ping":
            answer = {"type": "pong", "timestamp": self.seq * int(PERIOD_S)}
        elif asked["type"] == "status":
            answer = {"type": "status", "data": self.measure(0)}
        elif asked["type"] == "relay":
            answer = {"type": "relay_response", "channel": asked["channel"], "state": asked["state"]}
        elif asked["type"] == "update" and self.updating:
            answer = {"type": "update", "release": asked["release"]}
        if "request_id" in asked:
            answer["request_id"] = asked["request_id"]
        delivery = await self.mqtt.publish(f"{self._root}/response", compact(answer))
        if "request_id" in asked:
            self.answers[str(asked["request_id"])] = delivery

    def _switch(self, channel: int, on: bool) -> None:
        self.obeys(f"relay_{channel}", on)

    def is_on(self, channel: int) -> bool:
        """Whether a relay is on; they count from 1."""
        return bool(self.state.get(f"relay_{channel}", False))

    async def steer(self, operator: HttpClient) -> bool | None:
        channel = self.rng.randint(1, CHANNELS)
        key, on = f"relay_{channel}", not self.is_on(channel)
        self.expected[key] = on
        await self.commanded(operator, "relay", {"channel": channel, "state": on})
        return await self.came(key, on, _OBEYED_WITHIN_S)
