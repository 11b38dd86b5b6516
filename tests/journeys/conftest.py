"""A server as ``make run`` starts it, without the demo's devices."""

from collections.abc import Iterator

import pytest

from tests.running import RunningServer


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The lab profile: devices need no key on private addresses."""
    with RunningServer(tmp_path_factory.mktemp("lab") / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        yield server


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The default profile."""
    with RunningServer(tmp_path_factory.mktemp("secure") / "data") as server:
        yield server
