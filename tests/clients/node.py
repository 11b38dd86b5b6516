"""MQTT.js under Node: one process for all its clients, spoken to over its standard streams (``mqttjs.mjs``)."""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.clients.speaking import SECONDS, V5, V31, V311, Client, Message
from tests.running import REPOSITORY

_HERE = Path(__file__).parent
_NAMES = {
    "user_property": "userProperties",
    "response_topic": "responseTopic",
    "correlation_data": "correlationData",
    "message_expiry_interval": "messageExpiryInterval",
    "content_type": "contentType",
}
_LINE_BYTES = 4 * 2**20


def installed() -> Path:
    """The directory whose ``node_modules`` is what the lock file says; made once, and skips the test without npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    files = [_HERE / "package.json", _HERE / "package-lock.json"]
    print_ = hashlib.sha256(b"".join(one.read_bytes() for one in files)).hexdigest()[:12]
    home = REPOSITORY / ".cache" / f"test-clients-{print_}"
    if home.exists():
        return home
    home.parent.mkdir(exist_ok=True)
    # Whole or not at all: another run of the tests may be doing the same.
    place = tempfile.mkdtemp(dir=home.parent)
    try:
        for one in files:
            shutil.copy(one, place)
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        try:
            subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=90, check=True)
        except subprocess.SubprocessError as problem:
            pytest.skip(f"npm ci failed: {getattr(problem, 'stderr', None) or problem}"[-400:])
        with contextlib.suppress(OSError):
            os.rename(place, home)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    assert home.exists()
    return home


class Node:
    """The process."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.listeners: dict[str, asyncio.Queue[Message]] = {}

    async def start(self) -> None:
        home = await asyncio.to_thread(installed)
        self._process = await asyncio.create_subprocess_exec(
            "node", str(_HERE / "mqttjs.mjs"), str(home),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(SECONDS):
            await self._process.wait()
            await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if "answer" not in told:
                self.listeners[told["client"]].put_nowait(_message(told))
                continue
            answer = self._waiting.pop(told["answer"])
            if answer.done():
                continue
            if "error" in told:
                answer.set_exception(AssertionError(told["error"]))
            else:
                answer.set_result(told.get("result"))

    async def ask(self, do: str, **what: Any) -> Any:
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"number": number, "do": do, **what}).encode() + b"\n")
        async with asyncio.timeout(SECONDS):
            return await answer


def _message(told: dict[str, Any]) -> Message:
    theirs = told["properties"]
    found = {name: theirs[key] for name, key in _NAMES.items() if key in theirs}
    if "correlation_data" in found:
        found["correlation_data"] = base64.b64decode(found["correlation_data"])
    if "user_property" in found:
        found["user_property"] = [
            (name, value)
            for name, values in found["user_property"].items()
            for value in (values if isinstance(values, list) else [values])
        ]
    return Message(told["topic"], base64.b64decode(told["payload"]), told["qos"], told["retain"], found)


class MqttJs(Client):
    """npm's mqtt, which most dashboards and Node-RED speak with."""

    name = "mqttjs"
    transports = ("tcp", "tls", "ws/mqtt", "ws/", "unix")
    versions = (V31, V311, V5)

    node: ClassVar[Node]
    _open = False

    async def connect(self, *, clean: bool = True, will: Message | None = None) -> bool | None:
        self.node.listeners[self.client_id] = self.heard
        options: dict[str, Any] = {
            "clientId": self.client_id,
            "protocolId": "MQIsdp" if self.version == V31 else "MQTT",
            "protocolVersion": self.version,
            "clean": clean,
        }
        if self.version == V5 and not clean:
            options["properties"] = {"sessionExpiryInterval": 3_600}
        if self.transport == "unix":
            options |= {"protocol": "mqtt+unix", "path": str(self.place.unix)}
        else:
            kind = "ws" if self.transport.startswith("ws") else {"tcp": "mqtt", "tls": "mqtts"}[self.transport]
            options |= {"protocol": kind, "host": "127.0.0.1", "port": self.port}
            if kind == "ws":
                options["path"] = self.path
        more: dict[str, Any] = {}
        if self.transport == "tls":
            more["ca"] = str(self.place.authority)
        if will is not None:
            payload = base64.b64encode(will.payload).decode()
            more["will"] = {"topic": will.topic, "payload": payload, "qos": will.qos, "retain": will.retain}
        present = await self.node.ask("connect", client=self.client_id, options=options, **more)
        self._open = True
        # Level 3 has no such flag.
        return None if self.version == V31 else bool(present)

    async def subscribe(self, filter_: str, qos: int) -> None:
        assert await self.node.ask("subscribe", client=self.client_id, filter=filter_, qos=qos) == [qos]

    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, **properties: Any) -> None:
        made = {_NAMES[name]: value for name, value in properties.items()}
        if "correlationData" in made:
            made["correlationData"] = base64.b64encode(made["correlationData"]).decode()
        if "userProperties" in made:
            pairs: dict[str, list[str]] = {}
            for name, value in made["userProperties"]:
                pairs.setdefault(name, []).append(value)
            made["userProperties"] = pairs
        what = {"topic": topic, "payload": base64.b64encode(payload).decode(), "qos": qos, "retain": retain}
        await self.node.ask("publish", client=self.client_id, **what, properties=made or None)

    async def drop(self) -> None:
        self._open = False
        await self.node.ask("drop", client=self.client_id)

    async def disconnect(self) -> None:
        if self._open:
            self._open = False
            await self.node.ask("disconnect", client=self.client_id)
