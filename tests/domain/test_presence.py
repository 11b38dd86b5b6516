import pytest

from relevo.domain.presence import is_online
from tests.store.samples import NOW


@pytest.mark.parametrize(
    ("contract", "silence"), [("hidrometro", 60_000), ("autocore", 90_000), ("thingsnxt", 20_000), ("native", 60_000)]
)
def test_a_device_without_a_connection_is_online_until_it_was_silent_for_too_long(contract: str, silence: int) -> None:
    assert is_online(contract, False, NOW - silence, NOW)
    assert not is_online(contract, False, NOW - silence - 1, NOW)


def test_a_device_with_a_connection_is_online_however_silent() -> None:
    assert is_online("native", True, 0, NOW)
    assert is_online("native", True, NOW - 10**9, NOW)


def test_a_device_that_was_never_heard_is_offline() -> None:
    assert not is_online("native", False, 0, 1)
    assert not is_online("native", False, 0, NOW)
