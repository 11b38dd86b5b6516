"""One server in the default profile for all of these tests; each names devices of its own."""

import itertools
from collections.abc import Iterator

import httpx
import pytest

from tests.running import RunningServer

BODY_BYTES = 65_536
_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {
        "RELEVO_LIMITS__HTTP_TIMEOUT_S": "1",
        "RELEVO_LIMITS__HTTP_BODY_BYTES": str(BODY_BYTES),
        "RELEVO_LIMITS__BATCH_ITEMS": "50",
        "RELEVO_OPEN_READS": "false",
        "RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_ADDRESS": "0",
        "RELEVO_THINGSNXT__REQUESTS_PER_MINUTE": "0",
        "RELEVO_TOKEN_IN_QUERY": "false",
    }
    with RunningServer(tmp_path_factory.mktemp("http") / "data", env=env) as one:
        yield one


@pytest.fixture
def api(server: RunningServer) -> httpx.Client:
    return server.api


@pytest.fixture
def anonymous(server: RunningServer) -> Iterator[httpx.Client]:
    """Nobody: neither token nor cookie."""
    with httpx.Client(base_url=server.http, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"h{next(_numbers)}"
