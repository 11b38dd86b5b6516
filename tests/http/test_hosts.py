import pytest

from relevo.http.hosts import trusted


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:8000", "10.0.0.5:80", "[::1]", "[fe80::1%eth0]:8000", "[2001:db8::1]:8000", "::1",
        "localhost", "localhost:8000", "raspberrypi", "RPi:8000", "relevo.local", "relevo.local.", "relevo.lan:8000",
        "hub.home.arpa", "a.b.internal", "x.localhost", "", "mine", "mine.example.org:443", "MINE.example.org",
        "sub.wild.example", "deep.sub.wild.example",
    ],
)  # fmt: skip
def test_addresses_local_names_and_listed_names_are_answered(host: str) -> None:
    assert trusted(host, frozenset({"mine.example.org", "*.wild.example"}), "mine")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "local.evil.example", "10.0.0.5.nip.io",
        "wild.example", "notwild.example", "relevo.local.evil.example", "localhost.evil.example", "[evil.example]:80",
        "evil.example:80:90", "999.1.1.1", "example.org",
    ],
)  # fmt: skip
def test_public_names_that_nobody_listed_are_not(host: str) -> None:
    assert not trusted(host, frozenset({"mine.example.org", "*.wild.example"}), "mine")


def test_a_star_answers_to_any_name() -> None:
    assert trusted("evil.example", frozenset({"*"}), "mine")
