"""Clients from PyPI: paho-mqtt, aiomqtt (which stands on it) and gmqtt (a protocol implementation of its own)."""

import asyncio
import contextlib
import socket
from typing import Any

import aiomqtt
import gmqtt
import paho.mqtt.client as paho
from gmqtt.storage import PersistentStorage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.clients.speaking import SECONDS, V5, V31, V311, Client, Message, cut

_PAHO_NAMES = {
    "user_property": "UserProperty",
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "message_expiry_interval": "MessageExpiryInterval",
    "content_type": "ContentType",
}


def _paho_properties(kind: int, properties: dict[str, Any]) -> Properties | None:
    if not properties:
        return None
    made = Properties(kind)
    for name, value in properties.items():
        setattr(made, _PAHO_NAMES[name], value)
    return made


def _from_paho(properties: Properties | None) -> dict[str, Any]:
    if properties is None:
        return {}
    return {name: getattr(properties, theirs) for name, theirs in _PAHO_NAMES.items() if hasattr(properties, theirs)}


def _kept_for_an_hour() -> Properties:
    made = Properties(PacketTypes.CONNECT)
    made.SessionExpiryInterval = 3_600
    return made


class Paho(Client):
    """paho-mqtt with its thread."""

    name = "paho"
    transports = ("tcp", "tls", "ws/mqtt", "ws/", "unix")
    versions = (V31, V311, V5)

    _client: paho.Client | None = None

    async def connect(self, *, clean: bool = True, will: Message | None = None) -> bool | None:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bool] = loop.create_future()
        self._gone = asyncio.Event()
        self._waiting: dict[int | None, asyncio.Future[None]] = {}
        kind = {"ws": "websockets", "un": "unix"}.get(self.transport[:2], "tcp")
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            self.client_id,
            clean_session=clean if self.version < V5 else None,
            protocol=self.version,
            transport=kind,  # type: ignore[arg-type]
            reconnect_on_failure=False,
        )

        def connected(_: Any, __: Any, flags: paho.ConnectFlags, reason: Any, ___: Any) -> None:
            assert not reason.is_failure, reason
            loop.call_soon_threadsafe(answered.set_result, flags.session_present)

        def message(_: Any, __: Any, one: paho.MQTTMessage) -> None:
            heard = Message(one.topic, one.payload, one.qos, one.retain, _from_paho(one.properties))
            loop.call_soon_threadsafe(self.heard.put_nowait, heard)

        client.on_connect = connected
        client.on_message = message
        client.on_subscribe = lambda _, __, mid, reasons, ___: loop.call_soon_threadsafe(self._subscribed, mid, reasons)
        client.on_disconnect = lambda *_: loop.call_soon_threadsafe(self._gone.set)
        if kind == "websockets":
            client.ws_set_options(path=self.path)
        if self.transport == "tls":
            client.tls_set_context(self.place.context())
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        more: dict[str, Any] = {}
        if self.version == V5:
            more = {"clean_start": clean, "properties": None if clean else _kept_for_an_hour()}
        host = str(self.place.unix) if kind == "unix" else "127.0.0.1"
        self._client = client
        await asyncio.to_thread(client.connect, host, self.port, **more)
        client.loop_start()
        async with asyncio.timeout(SECONDS):
            present = await answered
        # Version 3.1 has no such flag.
        return None if self.version == V31 else present

    def _subscribed(self, mid: int, reasons: list[Any]) -> None:
        assert not any(one.is_failure for one in reasons), reasons
        self._waiting.setdefault(mid, asyncio.get_running_loop().create_future()).set_result(None)

    async def subscribe(self, filter_: str, qos: int) -> None:
        assert self._client is not None
        _, mid = self._client.subscribe(filter_, qos)
        async with asyncio.timeout(SECONDS):
            await self._waiting.setdefault(mid, asyncio.get_running_loop().create_future())

    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, **properties: Any) -> None:
        assert self._client is not None
        made = _paho_properties(PacketTypes.PUBLISH, properties)
        told = self._client.publish(topic, payload, qos, retain, properties=made)
        await asyncio.to_thread(told.wait_for_publish, SECONDS)
        assert told.is_published()

    async def drop(self) -> None:
        assert self._client is not None
        cut(self._client.socket().fileno())  # type: ignore[union-attr]
        await self._end()

    async def disconnect(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            await self._end()

    async def _end(self) -> None:
        client, self._client = self._client, None
        assert client is not None
        async with asyncio.timeout(SECONDS):
            await self._gone.wait()
        await asyncio.to_thread(client.loop_stop)
        # paho leaves the pair of sockets that wakes its loop to the garbage collector, which pytest takes for a leak.
        client._reset_sockets()


class Aiomqtt(Client):
    """aiomqtt: paho's protocol driven by the event loop's own watching of sockets."""

    name = "aiomqtt"
    transports = ("tcp", "tls", "ws/mqtt", "ws/", "unix")
    versions = (V31, V311, V5)

    _client: aiomqtt.Client | None = None

    async def connect(self, *, clean: bool = True, will: Message | None = None) -> bool | None:
        kind = {"ws": "websockets", "un": "unix"}.get(self.transport[:2], "tcp")
        more: dict[str, Any] = {"clean_session": clean}
        if self.version == V5:
            more = {"clean_start": clean, "properties": None if clean else _kept_for_an_hour()}
        client = aiomqtt.Client(
            str(self.place.unix) if kind == "unix" else "127.0.0.1",
            self.port,
            identifier=self.client_id,
            protocol=aiomqtt.ProtocolVersion(self.version),
            transport=kind,  # type: ignore[arg-type]
            websocket_path=self.path if kind == "websockets" else None,
            tls_context=self.place.context() if self.transport == "tls" else None,
            will=None if will is None else aiomqtt.Will(will.topic, will.payload, will.qos, will.retain),
            timeout=SECONDS,
            **more,
        )
        await client.__aenter__()
        self._client = client
        self._reading = asyncio.create_task(self._read(client))
        return None

    async def _read(self, client: aiomqtt.Client) -> None:
        # The iterator ends with an error when the connection does, however it was ended.
        with contextlib.suppress(aiomqtt.MqttError):
            async for one in client.messages:
                assert isinstance(one.payload, bytes)
                properties = _from_paho(one.properties)
                await self.heard.put(Message(one.topic.value, one.payload, one.qos, bool(one.retain), properties))

    async def subscribe(self, filter_: str, qos: int) -> None:
        assert self._client is not None
        granted = await self._client.subscribe(filter_, qos)
        assert [getattr(one, "value", one) for one in granted] == [qos]

    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, **properties: Any) -> None:
        assert self._client is not None
        made = _paho_properties(PacketTypes.PUBLISH, properties)
        await self._client.publish(topic, payload, qos, retain, properties=made)

    async def drop(self) -> None:
        assert self._client is not None
        cut(self._client._client.socket().fileno())
        await self._end()

    async def disconnect(self) -> None:
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
            await self._end()

    async def _end(self) -> None:
        client, self._client = self._client, None
        assert client is not None
        async with asyncio.timeout(SECONDS):
            await self._reading
        await client.__aexit__(None, None, None)
        client._client._reset_sockets()


class Gmqtt(Client):
    """gmqtt: packets and properties written by other people than paho's."""

    name = "gmqtt"
    transports = ("tcp", "tls")
    versions = (V311, V5)

    _client: gmqtt.Client | None = None

    async def connect(self, *, clean: bool = True, will: Message | None = None) -> bool | None:
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._storage = PersistentStorage()
        last = None if will is None else gmqtt.Message(will.topic, will.payload, will.qos, will.retain)
        more = {"session_expiry_interval": 3_600} if self.version == V5 and not clean else {}
        client = gmqtt.Client(
            self.client_id, clean_session=clean, will_message=last, persistent_storage=self._storage, **more
        )
        client.on_connect = lambda _, flags, __, ___: answered.set_result(bool(flags & 1))
        client.on_message = self._message
        client.on_subscribe = self._subscribed
        context: Any = self.place.context() if self.transport == "tls" else False
        self._client = client
        await asyncio.wait_for(client.connect("127.0.0.1", self.port, ssl=context, version=self.version), SECONDS)
        return await answered

    def _message(self, _: Any, topic: str, payload: bytes, qos: int, properties: dict[str, Any]) -> int:
        found = {name: properties[name][0] for name in _PAHO_NAMES if name in properties}
        if "user_property" in properties:
            found["user_property"] = list(properties["user_property"])
        self.heard.put_nowait(Message(topic, bytes(payload), qos, bool(properties["retain"]), found))
        return 0

    def _subscribed(self, _: Any, mid: int, granted: Any, __: Any) -> None:
        assert all(one < 0x80 for one in granted), granted
        self._waiting.setdefault(mid, asyncio.get_running_loop().create_future()).set_result(None)

    async def subscribe(self, filter_: str, qos: int) -> None:
        assert self._client is not None
        mid = self._client.subscribe(filter_, qos=qos)
        async with asyncio.timeout(SECONDS):
            await self._waiting.setdefault(mid, asyncio.get_running_loop().create_future())

    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, **properties: Any) -> None:
        assert self._client is not None
        self._client.publish(topic, payload, qos, retain, **properties)
        async with asyncio.timeout(SECONDS):
            await self._storage.wait_empty()

    async def drop(self) -> None:
        client, self._client = self._client, None
        assert client is not None
        # It would come back by itself after some seconds.
        client._is_active = False
        transport = client._connection._transport
        connection: socket.socket = transport.get_extra_info("socket")
        cut(connection.fileno())
        await client._connection.close()

    async def disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.disconnect()
