import pytest

from relevo.domain.networks import is_private


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.20",
        "169.254.3.4",
        "fe80::1",
        "fe80::1%eth0",
        "fd12:3456::1",
        "::ffff:192.168.1.20",
        "unix",
    ],
)
def test_private_addresses_are_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.1",
        "192.167.255.255",
        "192.169.0.1",
        "11.0.0.1",
        "9.255.255.255",
        "100.64.0.1",
        "203.0.113.1",
        "0.0.0.0",
        "::",
        "2001:db8::1",
        "fe00::1",
        "::ffff:8.8.8.8",
        "",
        "localhost",
        "192.168.1.20, 8.8.8.8",
        "192.168.1.999",
        "010.0.0.1",
    ],
)
def test_everything_else_is_not(address: str) -> None:
    assert not is_private(address)
