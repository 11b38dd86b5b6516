"""Whether a stored broker answers: a real CONNECT to it (contract emqx, sections 4.2 and 9.5).

Only brokers that an administrator stored are reached, by an address that was judged before (:mod:`relevo.outbound`),
and only an administrator hears why it did not work.
"""

import asyncio
import secrets
import ssl
import struct
from typing import Any, Final

from relevo.domain.accounts import Role
from relevo.domain.managed import BROKERS, BrokerConfig
from relevo.errors import Invalid
from relevo.http.emqx.access import Ask
from relevo.http.emqx.fields import failed, whole
from relevo.http.emqx.sealing import unseal
from relevo.outbound import Guard, Unreachable, resolve

TIMEOUT_S: Final = 10
TIMEOUT_MOST_S: Final = 60
_TOGETHER: Final = 4
_REFUSED: Final = {
    1: "the broker does not speak MQTT 3.1.1",
    2: "the broker refuses the client id",
    3: "the broker is not available",
    4: "wrong user name or password",
    5: "not authorized",
}
_DISCONNECT: Final = b"\xe0\x00"
_running = 0


async def check(ask: Ask, body: dict[str, Any]) -> dict[str, Any]:
    """The answer for a body of ``broker_id`` and ``timeout``. Raises :class:`Invalid` (``action_refused``)."""
    global _running
    number = whole(body.get("broker_id"))
    timeout = whole(body.get("timeout", TIMEOUT_S))
    if number is None:
        raise failed("broker_id es requerido y debe ser un número entero")
    if timeout is None or not 1 <= timeout <= TIMEOUT_MOST_S:
        raise failed(f"timeout debe ser un número de 1 a {TIMEOUT_MOST_S} segundos")
    found = ask.book.get(BROKERS, number)
    if found is None or not isinstance(found.body, BrokerConfig) or not found.body.is_active:
        raise failed("Broker no encontrado o inactivo")
    if _running >= _TOGETHER:
        raise failed("Hay demasiadas pruebas en curso; inténtelo de nuevo en un momento")
    broker = found.body
    _running += 1
    try:
        problem = await _problem(ask.wired.outbound, broker, unseal(ask.wired.keyring, broker.password), timeout)
    finally:
        _running -= 1
    detail = {"success": not problem}
    ask.wired.audit(ask.request, ask.identity, "brokers.test", str(number), detail)
    administrator = ask.identity.role is Role.ADMINISTRATOR
    message = "Conexión exitosa" if not problem else "No se pudo conectar al broker"
    if problem and administrator:
        message = f"{message}: {problem}"
    shown = {"nombre": broker.nombre, "host": broker.host, "port": broker.port, "protocol": broker.protocol}
    return {"success": not problem, "message": message, "broker": shown}


async def _problem(guard: Guard, broker: BrokerConfig, password: str, timeout: float) -> str:  # noqa: ASYNC109
    """Why the broker did not let us in, empty when it did."""
    try:
        async with asyncio.timeout(timeout):
            # An administrator stored it, so it may be on the private network; metadata services stay closed.
            addresses = guard.admit(broker.host, await resolve(broker.host, broker.port), True)
            tls = _tls(broker)
            speak = _over_websocket if broker.protocol in ("ws", "wss") else _over_tcp
            code = await speak(addresses[0], broker, tls, _connect(broker, password))
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except Invalid as error:
        return error.message
    except (Unreachable, OSError, EOFError, ValueError) as error:
        return str(error) or type(error).__name__
    return "" if code == 0 else _REFUSED.get(code, f"the broker refuses with code {code}")


def _tls(broker: BrokerConfig) -> ssl.SSLContext | None:
    if not (broker.use_tls or broker.protocol in ("mqtts", "wss")):
        return None
    try:
        # Without one of its own, the authorities of the system; never unverified.
        return ssl.create_default_context(cadata=broker.ca_cert or None)
    except ssl.SSLError as error:
        raise ValueError(f"ca_cert cannot be used: {error}") from None


async def _over_tcp(address: str, broker: BrokerConfig, tls: ssl.SSLContext | None, packet: bytes) -> int:
    named = {"ssl": tls, "server_hostname": broker.host} if tls is not None else {}
    reader, writer = await asyncio.open_connection(address, broker.port, **named)  # type: ignore[arg-type]
    try:
        writer.write(packet)
        await writer.drain()
        code = _code(await reader.readexactly(4))
        writer.write(_DISCONNECT)
        await writer.drain()
        return code
    finally:
        writer.close()


async def _over_websocket(address: str, broker: BrokerConfig, tls: ssl.SSLContext | None, packet: bytes) -> int:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException
    from websockets.typing import Subprotocol

    scheme = "wss" if tls is not None else "ws"
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    more: dict[str, Any] = {"ssl": tls} if tls is not None else {}
    try:
        async with connect(
            f"{scheme}://{host}:{broker.port}/mqtt",
            host=address,
            port=broker.port,
            subprotocols=[Subprotocol("mqtt")],
            proxy=None,
            **more,
        ) as socket:
            await socket.send(packet)
            got = b""
            while len(got) < 4:
                part = await socket.recv()
                got += part if isinstance(part, bytes) else part.encode()
            await socket.send(_DISCONNECT)
            return _code(got)
    except WebSocketException as error:
        raise ValueError(f"no WebSocket: {error}") from None


def _connect(broker: BrokerConfig, password: str) -> bytes:
    """CONNECT of MQTT 3.1.1 with a clean session (section 3.1)."""
    flags = 0x02
    rest = _text(f"relevo-check-{secrets.token_hex(4)}")
    if broker.username:
        flags |= 0x80
        rest += _text(broker.username)
        if password:
            flags |= 0x40
            rest += _text(password)
    body = _text("MQTT") + struct.pack(">BBH", 4, flags, broker.keepalive) + rest
    length, size = b"", len(body)
    while True:
        size, low = divmod(size, 128)
        length += bytes((low | (0x80 if size else 0),))
        if not size:
            return b"\x10" + length + body


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _code(data: bytes) -> int:
    if data[0] != 0x20 or data[1] != 2:
        raise ValueError("what answers there is no MQTT broker")
    return data[3]
