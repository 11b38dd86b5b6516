"""That whatever people may enter leaves for the service's own host, asked of the library that sends."""

import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relevo.domain.channels import SERVICES, enter
from relevo.sending.letters import Letter
from relevo.sending.program import Failed, apprise

# The library looks for a module that this version of Python is about to lose.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

HOSTS = {
    "discord": "discord.com", "gchat": "chat.googleapis.com", "ifttt": "maker.ifttt.com",
    "join": "joinjoaomgcd.appspot.com", "line": "api.line.me", "ntfy": "ntfy.sh", "opsgenie": "api.opsgenie.com",
    "pagerduty": "events.pagerduty.com", "pbul": "api.pushbullet.com", "pover": "api.pushover.net",
    "prowl": "api.prowlapp.com", "pushy": "api.pushy.me", "slack": "hooks.slack.com", "spush": "api.simplepu.sh",
    "tgram": "api.telegram.org", "twilio": "api.twilio.com", "wxteams": "api.ciscospark.com",
}  # fmt: skip
LETTER = Letter("[Warning] pump", "stopped", "<p>stopped</p>")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names that were looked up; none of them is found, and nothing connects."""
    names: list[str] = []

    def look_up(host: str | bytes | None, *_: object, **__: object) -> list[object]:
        names.append(host.decode() if isinstance(host, bytes) else str(host))
        raise socket.gaierror(socket.EAI_NONAME, "none in tests")

    def connect(*_: object) -> None:
        raise AssertionError("connects without looking up a name")

    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    # Between two targets the library waits for the service's sake.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", connect)
    yield names


@pytest.mark.parametrize("scheme", SERVICES)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_fits_a_service_of_the_list_speaks_to_its_host_alone(
    asked: list[str], scheme: str, data: st.DataObject
) -> None:
    rest = data.draw(st.from_regex(SERVICES[scheme].pattern, fullmatch=True, alphabet=st.characters(codec="ascii")))
    entered = enter(f"{scheme}://{rest}", administrator=False)
    asked.clear()
    with pytest.raises(Failed):
        apprise(entered.url, LETTER, "warning")
    assert set(asked) <= {HOSTS[scheme]}, entered.url


SAMPLES = {
    "discord": "1234567890123456789/abcdefghijklmnopqrstuvwxyz",
    "gchat": "space/key/token",
    "ifttt": "WebhookId@event",
    "join": "a" * 32 + "/device",
    "line": "token/Uaaaa",
    "ntfy": "pumps",
    "opsgenie": "ABCDEFGH",
    "pagerduty": "integrationkey@apikey",
    "pbul": "abcdef",
    "pover": "u" * 30 + "@" + "a" * 30,
    "prowl": "a" * 40,
    "pushy": "apikey/device",
    "slack": "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
    "spush": "abcdefghij",
    "tgram": "123456789:abcdefg_hijklmnop/12315544",
    "twilio": "AC" + "a" * 32 + ":" + "b" * 32 + "@15551234567/15557654321",
    "wxteams": "a" * 80,
}


@pytest.mark.parametrize("scheme", SERVICES)
def test_a_url_of_the_form_we_show_is_one_that_the_library_sends(asked: list[str], scheme: str) -> None:
    entered = enter(f"{scheme}://{SAMPLES[scheme]}", administrator=False)
    with pytest.raises(Failed) as failed:
        apprise(entered.url, LETTER, "critical")
    assert set(asked) == {HOSTS[scheme]}
    assert not failed.value.permanent
