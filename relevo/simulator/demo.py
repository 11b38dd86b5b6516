"""The lively dozen behind ``relevo demo``: each a real MQTT client with its own habits.

steady     a reading each period
meter      a water meter of the hidrometro contract that somebody has claimed
stranger   the same, but nobody has: it waits among the unclaimed
sleeper    wakes every minute, sends what it measured meanwhile as one batch, and is gone
clockless  counts time from its own start in 1970, so the server has to repair it
clumsy     now and then sends half a JSON document, so its timeline has a story
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Coroutine

from relevo.simulator.cast import SEED, Member, Values, members, telemetry, words
from relevo.simulator.generators import source
from relevo.simulator.http_client import HttpClient
from relevo.simulator.mqtt_client import ConnectionRefusedByServer, Login, MqttClient
from relevo.simulator.packets import Message

TAG = "demo"
"""What the demo's devices are tagged with, so that they can be told from one's own."""

_SLEEP_SECONDS = 60.0
_CLUMSY_ONE_IN = 20
_COMMANDS_REMEMBERED = 100


async def run_demo_devices(http: str, mqtt: str, token: str, stop: asyncio.Event) -> None:
    """Enrol the demo's devices, tagged ``demo``, and let them live until ``stop``.

    A device of that name which is somebody's own, without the tag, is left alone. ``http`` is the base address,
    ``mqtt`` is ``host:port``, ``token`` a bearer token of the administrator. Raises ``HttpFailed`` when the server
    declines to enrol one.
    """
    host, _, port = mqtt.rpartition(":")
    boot = int(time.time())
    async with HttpClient(http) as client:
        client.token = token
        cast = [(member, await _enrol(client, member)) for member in members()]
    lives = []
    for member, account in cast:
        if account is None:
            continue
        login = Login(host or "127.0.0.1", int(port), f"demo-{member.id}", *account, clean=True)
        lives.append(asyncio.create_task(_live(_Actor(member, login, boot), stop), name=f"demo {member.id}"))
    try:
        await asyncio.gather(*lives)
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)


async def _enrol(http: HttpClient, member: Member) -> tuple[str, str] | None:
    """Make the device known; returns its user name and key, both empty for one that connects without.

    ``None`` when somebody has a device of that name.
    """
    if member.manner == "stranger":
        return "", ""
    body: dict[str, object] = {"name": member.name, "type": member.kind, "tags": [TAG]}
    if member.manner == "meter":
        answer = await http.post("/api/v1/claims", body | {"contract": "hidrometro", "external_id": member.id})
    else:
        if member.manner == "sleeper":
            # It is not gone when it sleeps.
            body["attributes"] = {"expected_every_s": _SLEEP_SECONDS}
        answer = await http.post("/api/v1/devices", body | {"id": member.id})
    found = answer.expect(200, 201, 409)
    if answer.status == 409:
        # A demo that is started again on yesterday's data finds its devices there.
        page = (await http.get("/api/v1/devices", {"search": member.id, "tag": TAG})).expect(200)
        found = next((one for one in page["items"] if one["external_id"] == member.id), None)
        if found is None:
            return None
    elif "key" in found:
        return str(found["id"]), str(found["key"])
    # Keys are shown only once.
    rotated = await http.post(f"/api/v1/devices/{found['id']}/credentials/key/rotate", {"grace_s": 0})
    return str(found["id"]), str(rotated.expect(200)["key"])


async def _live(actor: "_Actor", stop: asyncio.Event) -> None:
    # A device that the server will not let in is for the server to tell about; the others live on.
    try:
        await actor.live(stop)
    except* ConnectionRefusedByServer:
        pass


class _Actor:
    """One device at work."""

    def __init__(self, member: Member, login: Login, boot: int) -> None:
        self._member, self._boot = member, boot
        self._rng: random.Random = source(SEED, member.id, "habits")
        self._settings: Values = dict(member.settable)
        self._seen: dict[str, None] = {}
        self._started = time.monotonic()
        self._seq = 0
        self._answers: set[asyncio.Task[None]] = set()
        self._mqtt = MqttClient(login, rng=self._rng, on_message=self._told)
        if self._settings:
            self._mqtt.subscribe(f"relevo/{member.id}/command")
            self._mqtt.subscribe(f"relevo/{member.id}/desired")

    async def live(self, stop: asyncio.Event) -> None:
        """Measure and send until ``stop``. Raises :class:`ConnectionRefusedByServer`."""
        if await _pause(stop, self._rng.uniform(0.0, self._member.period)):
            return
        if self._member.manner == "sleeper":
            await self._sleep_and_wake(stop)
            return
        async with asyncio.TaskGroup() as group:
            link = group.create_task(self._mqtt.run(), name=f"{self._member.id} link")
            try:
                if self._settings:
                    await self._report_settings()
                while True:
                    await self._send_one()
                    if await _pause(stop, self._member.period):
                        return
            finally:
                link.cancel()

    async def _send_one(self) -> None:
        member = self._member
        values = member.measure(time.time())
        if member.manner in ("meter", "stranger"):
            reading: dict[str, object] = {**values, "numeroSerie": member.id, "ts": int(time.time())}
            await self._mqtt.publish("hidrometro/dados", words(reading))
            return
        self._seq += 1
        now = time.time() if member.manner != "clockless" else time.monotonic() - self._started
        message = words(telemetry(int(now * 1000), values, self._boot, self._seq))
        if member.manner == "clumsy" and self._rng.randrange(_CLUMSY_ONE_IN) == 0:
            message = message[: len(message) // 2]
        await self._mqtt.publish(f"relevo/{member.id}/telemetry", message)

    async def _sleep_and_wake(self, stop: asyncio.Event) -> None:
        batch: list[dict[str, object]] = []
        asleep_until = time.monotonic()
        while True:
            self._seq += 1
            now = time.time()
            batch.append(telemetry(int(now * 1000), self._member.measure(now), self._boot, self._seq))
            if time.monotonic() >= asleep_until:
                await self._wake(batch)
                batch = []
                asleep_until = time.monotonic() + _SLEEP_SECONDS
            if await _pause(stop, self._member.period):
                return

    async def _wake(self, batch: list[dict[str, object]]) -> None:
        """Connect, send, disconnect; what was not acknowledged in time goes out at the next waking."""
        link = asyncio.create_task(self._mqtt.run(), name=f"{self._member.id} link")
        try:
            async with asyncio.timeout(10):
                await (await self._mqtt.publish(f"relevo/{self._member.id}/telemetry", words(batch))).done
        except TimeoutError:
            pass
        finally:
            link.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionRefusedByServer):
                await link

    # Obeying

    def _told(self, message: Message) -> None:
        if message.topic.endswith("/desired"):
            self._become(message)
        else:
            self._commanded(message)

    def _become(self, message: Message) -> None:
        try:
            values = dict(json.loads(message.payload)["values"])
        except (ValueError, KeyError, TypeError):
            return
        self._settings |= {key: value for key, value in values.items() if key in self._settings}
        self._later(self._report_slowly())

    def _commanded(self, message: Message) -> None:
        try:
            command = json.loads(message.payload)
            identifier, parameters = str(command["id"]), dict(command.get("params") or {})
        except (ValueError, KeyError, TypeError):
            return
        if identifier in self._seen:
            return
        self._seen[identifier] = None
        while len(self._seen) > _COMMANDS_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        unknown = sorted(set(parameters) - set(self._settings))
        answer: dict[str, object] = {"id": identifier, "ok": not unknown and bool(parameters)}
        if answer["ok"]:
            self._settings |= parameters
            answer["result"] = dict(self._settings)
        else:
            known = ", ".join(self._settings)
            answer["error"] = f"unknown: {', '.join(unknown)}" if unknown else f"nothing to set; there are {known}"
        self._later(self._answer(answer))

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=f"{self._member.id} answer")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _report_slowly(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.3, 0.8))
        with contextlib.suppress(ConnectionRefusedByServer):
            await self._report_settings()

    async def _answer(self, answer: dict[str, object]) -> None:
        await asyncio.sleep(self._rng.uniform(0.1, 0.6))
        with contextlib.suppress(ConnectionRefusedByServer):
            await self._mqtt.publish(f"relevo/{self._member.id}/response", words(answer))
            if answer["ok"]:
                await self._report_settings()

    async def _report_settings(self) -> None:
        await self._mqtt.publish(f"relevo/{self._member.id}/state", words(self._settings))


async def _pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; true when it is time to end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return stop.is_set()
