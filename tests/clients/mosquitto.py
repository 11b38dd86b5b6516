"""mosquitto_pub and mosquitto_sub, the commands of many shell scripts."""

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Any

from tests.clients.speaking import SECONDS, V5, V31, V311, Client, Message

_LINE_BYTES = 4 * 2**20
_STUCK_S = 5.0
_NAMES = {
    "response_topic": "response-topic",
    "correlation_data": "correlation-data",
    "message_expiry_interval": "message-expiry-interval",
    "content_type": "content-type",
}


class Mosquitto(Client):
    """A process of mosquitto_sub that listens and one of mosquitto_pub for each message.

    mosquitto_sub subscribes as part of connecting: it is started by the first :meth:`subscribe`, and by
    :meth:`connect` when it has subscribed before.
    """

    name = "mosquitto"
    transports = ("tcp", "tls", "unix")
    versions = (V31, V311, V5)
    correlation = b"order-17"

    _process: asyncio.subprocess.Process | None = None
    _filter: tuple[str, int] | None = None

    async def connect(self, *, clean: bool = True, will: Message | None = None) -> bool | None:
        self._clean, self._will = clean, will
        if self._filter is not None:
            await self._listen(*self._filter)
        return None

    def _where(self) -> list[str]:
        version = {V31: "mqttv31", V311: "mqttv311", V5: "mqttv5"}[self.version]
        if self.transport == "unix":
            return ["-V", version, "--unix", str(self.place.unix)]
        tls = ["--cafile", str(self.place.authority)] if self.transport == "tls" else []
        return ["-V", version, "-h", "127.0.0.1", "-p", str(self.port), *tls]

    async def subscribe(self, filter_: str, qos: int) -> None:
        assert self._process is None, "one subscription each"
        self._filter = filter_, qos
        await self._listen(filter_, qos)

    async def _listen(self, filter_: str, qos: int) -> None:
        # It would keep its lines for itself when nobody sits at a terminal.
        command = ["stdbuf", "-oL", "mosquitto_sub", *self._where()]
        command += ["-i", self.client_id, "-t", filter_, "-q", str(qos)]
        if not self._clean:
            command += ["-c", "-x", "3600"] if self.version == V5 else ["-c"]
        if self._will is not None:
            command += ["--will-topic", self._will.topic, "--will-payload", self._will.payload.decode()]
            command += ["--will-qos", str(self._will.qos), *(["--will-retain"] if self._will.retain else [])]
        # Lines of JSON are messages, the others say what happens.
        self._process = await asyncio.create_subprocess_exec(
            *command, "-d", "-F", "%j", stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES
        )
        self._subscribed = asyncio.Event()
        self._reading = asyncio.create_task(self._read(self._process))
        async with asyncio.timeout(SECONDS):
            await self._subscribed.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if line.startswith(b"{"):
                self.heard.put_nowait(_message(line))
            elif line.startswith(b"Subscribed"):
                self._subscribed.set()

    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, **properties: Any) -> None:
        command = ["mosquitto_pub", *self._where(), "-t", topic, "-q", str(qos), *(["-r"] if retain else [])]
        command.append("-s" if payload else "-n")
        for name, value in properties.pop("user_property", []):
            command += ["-D", "publish", "user-property", name, value]
        for name, value in properties.items():
            text = value.decode() if isinstance(value, bytes) else str(value)
            command += ["-D", "publish", _NAMES[name], text]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(SECONDS):
            _, said = await process.communicate(payload)
        assert process.returncode == 0, said

    async def drop(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._gone(self._process)

    async def disconnect(self) -> None:
        if self._process is None:
            return
        # Its handler of the signal takes the locks of whatever it was doing and then waits for itself (seen in 2.0.11):
        # it is asked while it sleeps, and killed when it is stuck all the same.
        process, end = self._process, asyncio.get_running_loop().time() + _STUCK_S
        while not _sleeps(process.pid) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STUCK_S)
        except TimeoutError:
            process.kill()
        await self._gone(process)

    @property
    def asks_for_its_will(self) -> bool:
        return self.version == V5

    async def _gone(self, process: asyncio.subprocess.Process) -> None:
        self._process = None
        async with asyncio.timeout(SECONDS):
            await process.wait()
            await self._reading


def _sleeps(pid: int) -> bool:
    """Whether the process waits for something; one that is gone waits for nothing any more."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] != "R"


def _message(line: bytes) -> Message:
    # One object holds all user properties, with a name as often as it occurs; newer versions make a list of objects.
    told = dict(json.loads(line, object_pairs_hook=list))
    theirs = dict(told.get("properties", []))
    found = {name: theirs[key] for name, key in _NAMES.items() if key in theirs}
    if "correlation_data" in found:
        found["correlation_data"] = found["correlation_data"].encode()
    if "user-properties" in theirs:
        found["user_property"] = [
            pair for one in theirs["user-properties"] for pair in ([one] if isinstance(one, tuple) else one)
        ]
    return Message(told["topic"], (told["payload"] or "").encode(), told["qos"], bool(told["retain"]), found)
