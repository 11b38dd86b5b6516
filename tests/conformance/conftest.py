"""One plain broker for each file: anonymous clients may use every topic."""

import itertools
from collections.abc import Iterator

import pytest

from tests.conformance.raw import CONNACK_OK, Raw, connect
from tests.running import RunningServer

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {
        "RELEVO_PROFILE": "lab",
        "RELEVO_ANONYMOUS_TOPICS": "#",
        "RELEVO_LIMITS__CONNECT_TIMEOUT_S": "1",
        "RELEVO_LIMITS__PACKET_BYTES": "65536",
    }
    with RunningServer(tmp_path_factory.mktemp("broker") / "data", env=env) as server:
        yield server


@pytest.fixture
def port(broker: RunningServer) -> int:
    return broker.mqtt_port


@pytest.fixture
def name() -> str:
    """A name that no other test uses: client ids and topics are made of it."""
    return f"t{next(_numbers)}"


@pytest.fixture
def client(port: int, name: str) -> Iterator[Raw]:
    """A connected client with a clean session."""
    with Raw(port, connect(name)) as raw:
        raw.expect(CONNACK_OK)
        yield raw
