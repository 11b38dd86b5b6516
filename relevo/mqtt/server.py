"""Listening for MQTT clients, and looking after connections that say nothing."""

import asyncio
from pathlib import Path
from typing import Final

from relevo.errors import ConfigurationError
from relevo.log import get_logger
from relevo.mqtt import statistics
from relevo.mqtt.broker import Broker
from relevo.mqtt.connection import Connection
from relevo.mqtt.securing import TlsDoor
from relevo.mqtt.tls import ServerTls
from relevo.settings import Listen
from relevo.wire.mqtt_errors import Reason

log = get_logger("relevo.mqtt")

_SWEEP_S: Final = 0.5
_CERTIFICATES_S: Final = 2.0


class MqttServer:
    """The door's sockets."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._servers: list[asyncio.Server | TlsDoor] = []
        self._certificates: list[ServerTls] = []
        self._sweeper: asyncio.Task[None] | None = None
        self.connections: set[Connection] = set()
        self._per_address: dict[str, int] = {}

    async def start(self, listen: Listen, tls: ServerTls | None = None) -> int:
        """Listen and return the port. Raises :class:`ConfigurationError` when it is taken or not ours."""
        loop = asyncio.get_running_loop()
        what = "MQTT over TLS" if tls else "MQTT"
        try:
            if tls is not None:
                limits = self._broker.settings.limits
                door = TlsDoor(
                    tls.context,
                    limits.connect_timeout_s,
                    limits.connections,
                    self._broker.refusals,
                    self.new_connection,
                )
                port = await door.start(listen.host, listen.port)
                self._servers.append(door)
            else:
                server = await loop.create_server(self.new_connection, listen.host, listen.port, backlog=4_096)
                port = server.sockets[0].getsockname()[1]
                self._servers.append(server)
        except OSError as error:
            option = "RELEVO_MQTTS" if tls else "--mqtt HOST:PORT"
            raise ConfigurationError(
                f"{what} cannot listen on {listen}: {error.strerror or error}; "
                f"another program has the port, or choose one with {option}"
            ) from error
        if tls is not None:
            self.keep_fresh(tls)
        log.info("mqtts_listening" if tls else "mqtt_listening", address=str(listen), port=port)
        return port

    def keep_fresh(self, tls: ServerTls) -> None:
        """Take up changed files of ``tls`` while the door is open, also when it serves another door."""
        self._certificates.append(tls)

    async def start_unix(self, path: Path) -> None:
        """Listen on a unix socket as well. Raises :class:`ConfigurationError`."""
        try:
            _remove_stale(path)
            server = await asyncio.get_running_loop().create_unix_server(self.new_connection, str(path))
        except OSError as error:
            raise ConfigurationError(f"MQTT cannot listen on {path}: {error.strerror or error}") from error
        self._servers.append(server)
        log.info("mqtt_listening", address=str(path))

    def begin(self) -> None:
        """Look after connections from now on."""
        self._sweeper = asyncio.create_task(self._sweep(), name="mqtt-sweeper")

    @property
    def listening(self) -> bool:
        return bool(self._servers) and all(server.is_serving() for server in self._servers)

    async def stop_accepting(self) -> None:
        """Take no new connections and read no more from those that are open."""
        for server in self._servers:
            server.close()
        for connection in self.connections:
            connection.stop_reading()

    async def stop(self) -> None:
        """Say good-bye to everyone; wills are not published, the devices did nothing wrong."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.forget_will()
            connection.end("server_stopped", Reason.SERVER_SHUTTING_DOWN, "")
        # One more round of the loop, so that closed sockets are really gone.
        await asyncio.sleep(0)

    def new_connection(self) -> Connection:
        return Connection(self._broker, self)

    def admitted(self, connection: Connection) -> bool:
        """Count a new connection; false when there are too many."""
        self.connections.add(connection)
        limits = self._broker.settings.limits
        held = self._per_address.get(connection.address, 0)
        self._per_address[connection.address] = held + 1
        refusals = self._broker.refusals
        if len(self.connections) > limits.connections:
            refusals.refuse("", "mqtt", "too_many_connections", f"more than {limits.connections} connections", "")
            return False
        if held >= limits.connections_per_address:
            refusals.refuse(
                "",
                "mqtt",
                "too_many_connections_of_address",
                f"more than {limits.connections_per_address} connections",
                connection.address,
            )
            return False
        return True

    def gone(self, connection: Connection) -> None:
        self.connections.discard(connection)
        held = self._per_address.get(connection.address, 0) - 1
        if held > 0:
            self._per_address[connection.address] = held
        else:
            self._per_address.pop(connection.address, None)

    async def _sweep(self) -> None:
        """Twice a second: end what never said CONNECT and what fell silent. Changed certificates are seen in 2 s."""
        limit = self._broker.settings.limits.connect_timeout_s
        clock = self._broker.clock
        started = told = looked = clock.monotonic()
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = clock.monotonic()
            self.sweep(now, limit)
            self._broker.expire()
            if now - told >= statistics.EVERY_S:
                told = now
                statistics.publish(self._broker, len(self.connections), now - started)
            if now - looked >= _CERTIFICATES_S:
                looked = now
                for tls in self._certificates:
                    tls.reload_if_changed()

    def sweep(self, now: float, connect_timeout_s: float) -> None:
        for connection in list(self.connections):
            if connection.principal is None:
                if connection.waits_its_turn:
                    connection.since = now
                elif now - connection.since > connect_timeout_s and not connection.wrong_port():
                    self._broker.refusals.refuse(
                        "", "mqtt", "connect_timeout", f"no CONNECT within {connect_timeout_s:g} s", connection.address
                    )
                    connection.end("connect_timeout", None, "")
            elif connection.idle_too_long(now):
                connection.end("keep_alive", Reason.KEEP_ALIVE_TIMEOUT, f"silent for {now - connection.heard:.0f} s")


def _remove_stale(path: Path) -> None:
    """The data directory's lock already says that nobody else uses this socket."""
    if path.is_socket():
        path.unlink()
