"""What holds for all tests."""

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The machines are shared: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Files that wait longest, for servers that are killed and for browsers: they begin first, or one of them runs alone at
# the end of the run.
_LONG = ("tests/http/test_schemathesis", "tests/faults/", "tests/browser/", "tests/journeys/", "tests/simulator/")


def pytest_configure() -> None:
    """A run in the background begins with an interrupt that is ignored, and so would every program that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, everything else in its order."""

    def rank(item: pytest.Item) -> int:
        return next((n for n, start in enumerate(_LONG) if item.nodeid.startswith(start)), len(_LONG))

    items.sort(key=rank)


@pytest.fixture
def collector() -> Iterator[None]:
    """An application tunes the collector of its process, and this one is not its own."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
