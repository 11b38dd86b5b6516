"""A TLS handshake that fails is told: at the door, and in the device's story where the certificate names one."""

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relevo.app import Application
from relevo.authority import Authority
from relevo.clock import ManualClock
from relevo.mqtt.securing import TlsDoor
from relevo.mqtt.tls import ServerTls
from relevo.settings import load
from tests.conformance.raw import CONNACK_OK, connect
from tests.journeys.live import eventually
from tests.running import RunningServer, free_ports

DAY_MS = 86_400_000
NOT_AUTHORIZED = b"\x20\x02\x00\x05"
Come = Callable[[socket.socket], object]


class Pki:
    """An authority, a server certificate of its, and what clients come with."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.place = place
        self.authority = Authority(place)
        self.now_ms = time.time_ns() // 1_000_000
        self.authority.create(self.now_ms)
        self.file = self.authority.certificate_file
        self.server = self._written("server", self.authority.issue_server(["127.0.0.1"], 30, self.now_ms))

    def _written(self, name: str, issued: Any) -> tuple[Path, Path]:
        files = self.place / f"{name}.pem", self.place / f"{name}.key"
        files[0].write_text(issued.certificate)
        files[1].write_text(issued.key)
        return files

    def client(self, name: str, days: int = 30, begin_ms: int = 0) -> tuple[Path, Path]:
        return self._written(name, self.authority.issue(name, days, begin_ms or self.now_ms))

    def context(self, files: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.file))
        if files is not None:
            context.load_cert_chain(*files)
        return context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki") / "ours")


def secured(context: ssl.SSLContext, name: str = "127.0.0.1") -> Come:
    """Come with TLS and wait for what becomes of it; with 1.3 a client hears of its refusal when it reads."""

    def come(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_hostname=name) as tls:
            tls.recv(1)

    return come


def old_version() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    # Saying "1.1" is the point.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def speaks(data: bytes) -> Come:
    def come(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.recv(64)

    return come


def leaves(sock: socket.socket) -> None:
    sock.sendall(b"\x16\x03\x01")


def resets(sock: socket.socket) -> None:
    sock.sendall(b"\x16\x03\x01")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def waits(sock: socket.socket) -> None:
    # Until the door gives up.
    assert sock.recv(64) == b""


def visit(port: int, come: Come) -> None:
    """Come to the door in a way that it does not like."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock, contextlib.suppress(ssl.SSLError, ConnectionError):
        come(sock)


def cases(pki: Pki, place: Path) -> dict[str, tuple[Come, str, str]]:
    """How somebody comes, the reason that is told, and a part of its detail."""
    other = Pki(place / "other")
    return {
        "plain MQTT": (speaks(connect("plain")), "plain_on_tls_port", "wrong version number"),
        "plain HTTP": (speaks(b"GET / HTTP/1.1\r\n\r\n"), "plain_on_tls_port", "http request"),
        "TLS 1.1": (secured(old_version()), "tls_version", "unsupported protocol"),
        "another authority": (secured(other.context()), "tls_server_untrusted", "unknown ca"),
        "another name": (secured(pki.context(), "elsewhere.example"), "tls_server_untrusted", "bad certificate"),
        "a foreign certificate": (
            secured(pki.context(other.client("lamp"))), "tls_certificate_refused", "unable to get local issuer",
        ),
        "somebody who leaves": (leaves, "tls_left", "left"),
        "somebody who resets": (resets, "tls_left", "left"),
        "somebody who waits": (waits, "tls_timeout", "in time"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def server(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, int]]:
    """It trusts ``pki`` as a foreign authority."""
    (port,) = free_ports(1)
    env = {
        "RELEVO_TLS_CERT": str(pki.server[0]),
        "RELEVO_TLS_KEY": str(pki.server[1]),
        "RELEVO_TLS_CLIENT_CA": str(pki.file),
        "RELEVO_MQTTS": f"127.0.0.1:{port}",
        "RELEVO_LIMITS__CONNECT_TIMEOUT_S": "1",
    }
    with RunningServer(tmp_path_factory.mktemp("tls") / "data", env=env) as running:
        yield running, port


def refused(server: RunningServer) -> dict[str, int]:
    """How often by reason, as Prometheus is told."""
    text = server.api.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("relevo_refused_total{") and 'where="mqtt"' in line]
    return {re.findall('reason="(.*?)"', line)[0]: int(float(line.rpartition(" ")[2])) for line in lines}


def told(server: RunningServer) -> list[tuple[str, str, str]]:
    items = server.api.get("/api/v1/system/timeline", params={"limit": 1000}).json()["items"]
    return [(one["reason"], one["detail"], one["address"]) for one in items]


def test_every_failed_handshake_is_counted_and_told_at_the_door(
    server: tuple[RunningServer, int], pki: Pki, tmp_path: Path
) -> None:
    running, port = server
    for name, (come, reason, detail) in cases(pki, tmp_path).items():
        before = refused(running).get(reason, 0)
        visit(port, come)
        eventually(lambda reason=reason, before=before: refused(running).get(reason, 0) == before + 1)  # type: ignore[misc]
        (
            eventually(
                lambda reason=reason, detail=detail: any(  # type: ignore[misc]
                    one[0] == reason and detail in one[1] and one[2] == "127.0.0.1" for one in told(running)
                )
            ),
            name,
        )
    # The door is as it was.
    key = running.register("after")
    with socket.create_connection(("127.0.0.1", port), 5) as raw:
        with pki.context().wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            tls.sendall(connect("after", user="after", password=key.encode()))
            assert tls.recv(4) == CONNACK_OK


def test_an_expired_certificate_of_a_foreign_authority_is_told_with_what_is_wrong(
    server: tuple[RunningServer, int], pki: Pki
) -> None:
    running, port = server
    files = pki.client("long-ago", 1, pki.now_ms - 30 * DAY_MS)
    visit(port, secured(pki.context(files)))
    eventually(
        lambda: (
            ("tls_certificate_refused", "the client's certificate: certificate has expired", "127.0.0.1")
            in told(running)
        )
    )


def test_why_answers_for_the_address(server: tuple[RunningServer, int]) -> None:
    running, port = server
    visit(port, speaks(connect("plain")))

    def lines() -> list[dict[str, Any]]:
        found: dict[str, Any] = running.api.get("/api/v1/why", params={"about": "127.0.0.1"}).json()
        return [line for line in found["door"] if line["reason"] == "plain_on_tls_port"]

    line = eventually(lines)[0]
    assert "without TLS" in line["means"]
    assert "Turn TLS on" in line["do"]


class Heard:
    """Stands for the refusals."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, str, str]] = []

    def refuse(self, *line: Any) -> None:
        self.lines.append(line)  # type: ignore[arg-type]


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def test_the_loop_of_the_standard_library_tells_the_same(pki: Pki, tmp_path: Path) -> None:
    """Other tests run on uvloop wherever it is installed."""
    heard = Heard()
    context = ServerTls(*pki.server, pki.file).context
    door = TlsDoor(context, 1.0, 1_000, heard, Echo)  # type: ignore[arg-type]
    port = await door.start("127.0.0.1", 0)
    for name, (come, reason, detail) in cases(pki, tmp_path).items():
        heard.lines.clear()
        await asyncio.to_thread(visit, port, come)
        async with asyncio.timeout(5):
            while not heard.lines:
                await asyncio.sleep(0.01)
        ((device, where, found, text, address),) = heard.lines
        assert (device, where, found, address) == ("", "mqtt", reason, "127.0.0.1"), name
        assert detail in text

    def echo() -> bytes:
        with socket.create_connection(("127.0.0.1", port), 5) as raw:
            with pki.context(pki.client("lamp")).wrap_socket(raw, server_hostname="127.0.0.1") as tls:
                tls.sendall(b"hello")
                return tls.recv(5)

    assert await asyncio.to_thread(echo) == b"hello"
    assert door.is_serving()
    door.close()
    await asyncio.sleep(0)
    assert not door.is_serving()


async def test_more_handshakes_at_a_time_than_connections_may_be_are_refused(pki: Pki) -> None:
    heard = Heard()
    door = TlsDoor(ServerTls(*pki.server, None).context, 10.0, 2, heard, Echo)  # type: ignore[arg-type]
    port = await door.start("127.0.0.1", 0)
    with contextlib.ExitStack() as opened:
        for _ in range(3):
            sock = opened.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        assert await asyncio.to_thread(sock.recv, 1) == b""
        assert [line[2] for line in heard.lines] == ["too_many_connections"]
    door.close()
    await asyncio.sleep(0)


@pytest.mark.usefixtures("collector")
async def test_an_expired_certificate_of_our_own_is_in_the_story_of_its_device(pki: Pki, tmp_path: Path) -> None:
    """OpenSSL would turn it away without a name; the record of it says when it ends."""
    clock = ManualClock()
    data = tmp_path / "data"
    authority = Authority(data)
    await asyncio.to_thread(authority.create, clock.now_ms())
    options = {
        "data": data,
        "http": "127.0.0.1:0",
        "mqtt": "127.0.0.1:0",
        "mqtts": "127.0.0.1:0",
        "https": "127.0.0.1:0",
        "tls_cert": pki.server[0],
        "tls_key": pki.server[1],
        "admin_password": "given",
    }
    one = Application(load(options, {}), clock)
    await one.start()
    try:
        base, head = f"http://127.0.0.1:{one.http_port}", {"Authorization": f"Bearer {one.local_key()}"}
        async with httpx.AsyncClient(base_url=base, headers=head, trust_env=False) as api:
            assert (await api.post("/api/v1/devices", json={"id": "lamp"})).status_code == 201
            # By the clock of the machine it is over already, or not begun: the server's own clock counts.
            answer = await api.post("/api/v1/devices/lamp/credentials/certificates", json={"days": 1})
            made = answer.json()
            files = tmp_path / "lamp.pem", tmp_path / "lamp.key"
            files[0].write_text(made["certificate"])
            files[1].write_text(made["private_key"])
            context = pki.context(files)

            def knock() -> bytes:
                with socket.create_connection(("127.0.0.1", one.mqtts_port), 5) as raw:
                    with context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
                        tls.sendall(connect("lamp"))
                        return tls.recv(4)

            assert await asyncio.to_thread(knock) == CONNACK_OK
            clock.advance(86_400)
            assert await asyncio.to_thread(knock) == NOT_AUTHORIZED
            await one.pipeline.drain(5)
            story = (await api.get("/api/v1/devices/lamp/timeline")).json()["items"]
            assert "credential_expired" in [line["reason"] for line in story]
            why = (await api.get("/api/v1/why", params={"about": "lamp"})).json()
            assert "certificate of lamp" in why["verdict"]
    finally:
        await one.stop()
