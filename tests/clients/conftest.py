"""One plain broker with every transport, and clients of every make."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from tests.authority import OPENSSL, Authority
from tests.clients.node import MqttJs, Node
from tests.clients.speaking import Client, Place
from tests.running import RunningServer, free_ports

# (kind of client, transport, version, client identifier) -> a client that is closed after the test
Make = Callable[[type[Client], str, int, str], Client]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("clients")
    env = {
        "RELEVO_PROFILE": "lab",
        "RELEVO_ANONYMOUS_TOPICS": "#",
        "RELEVO_MQTT_UNIX": str(directory / "mqtt.sock"),
    }
    authority, port = None, 0
    if OPENSSL is not None:
        authority = Authority(directory / "ca")
        certificate, key = authority.issue("relevo", "server")
        (port,) = free_ports(1)
        env |= {
            "RELEVO_TLS_CERT": str(certificate),
            "RELEVO_TLS_KEY": str(key),
            "RELEVO_MQTTS": f"127.0.0.1:{port}",
        }
    with RunningServer(directory / "data", env=env) as server:
        yield Place(
            server.mqtt_port, server.http_port, directory / "mqtt.sock", port, authority.file if authority else None
        )
    # What clients do in good faith is no error of the server's.
    assert "Traceback" not in server.log.read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Node]:
    one = Node()
    await one.start()
    MqttJs.node = one
    yield one
    await one.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def make(place: Place) -> AsyncIterator[Make]:
    made: list[Client] = []

    def one(kind: type[Client], transport: str, version: int, client_id: str) -> Client:
        made.append(kind(place, transport, version, client_id))
        return made[-1]

    yield one
    for client in made:
        await client.disconnect()
