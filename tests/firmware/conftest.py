"""The application compiled once, and a server for the boards of a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.firmware.boards import compile_all
from tests.running import RunningServer


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slot: the application as byte code."""
    return compile_all(tmp_path_factory.mktemp("slot") / "a")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("boards") / "data") as one:
        yield one
