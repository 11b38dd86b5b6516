"""Which channels who may enter, and what of them is shown."""

import pytest

from relevo.domain.channels import SERVICES, Channel, enter, masked, without_secrets
from relevo.errors import Invalid

GOOD = {
    "discord://1234567890/AbC-d_e": "discord",
    "tgram://123456789:abcdefg_hijklmnop/-10012315544": "tgram",
    "ntfy://my-topic": "ntfy",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ": "slack",
    "mailto:ana@example.org": "email",
    "mailto://ana@example.org": "email",
    "mailto:": "email",
}
REFUSED = [
    "json://127.0.0.1/x", "xml://example.org", "form://example.org", "dbus://", "syslog://", "file:///etc/passwd",
    "gotify://10.0.0.1/token", "ntfy://10.0.0.1/topic", "ntfy://user:pass@host/topic", "ntfy://topic?mode=private",
    "ntfys://topic", "mailtos://a:b@example.org?smtp=10.0.0.1", "mailto://user:pass@example.org?smtp=10.0.0.1",
    "mailto:a@example.org,b@example.org", "mailto:a@example.org?cc=b@example.org", "discord://1/x@127.0.0.1",
    "discord://1/x?avatar_url=http://127.0.0.1", "discord://1/x#y", "discord://1/../x", "discord://1/x%2f",
    "slack://T1/A1/x?template=/etc/passwd", "msteams://host/a/b/c?template=/etc/passwd", "windows://", "macosx://",
    "https://discord.com.evil.example/api/webhooks/1/x", "https://evil.example/", "http://discord.com/api/webhooks/1/x",
    "https://user@discord.com/api/webhooks/1/x", "tgram://123456789:abcdefg_hijklmnop/1@evil.example", "nothing", "://x",
    "", "discord://1/x\ny", "discord://1/x y", "tgram://" + "1" * 2000, "matrix://u:p@host", "rsyslog://10.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("url", GOOD)
def test_everybody_enters_well_known_services(url: str) -> None:
    assert enter(url, administrator=False).kind == GOOD[url]


@pytest.mark.parametrize("url", REFUSED)
def test_everything_else_is_refused_with_field_and_what_is_allowed(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        enter(url, administrator=False)
    assert [one.field for one in refused.value.errors] == ["url"]
    assert str(refused.value).startswith("url ")
    if "allowed" in str(refused.value):
        assert "discord://" in str(refused.value)


@pytest.mark.parametrize("url", ["json://127.0.0.1:8080/x?method=PUT", "gotify://10.0.0.1/token", "ntfy://h.lan/topic"])
def test_administrators_enter_hosts_of_their_own(url: str) -> None:
    entered = enter(url, administrator=True)
    assert entered.url == url
    with pytest.raises(Invalid, match=r"administrator|form"):
        enter(url, administrator=False)


@pytest.mark.parametrize(
    "url", ["dbus://", "syslog://x", "windows://", "mailtos://a:b@c.example", "file:///etc/passwd"]
)
def test_nobody_enters_what_stays_on_this_machine_or_goes_round_the_mail_settings(url: str) -> None:
    with pytest.raises(Invalid):
        enter(url, administrator=True)


def test_what_services_hand_out_is_understood() -> None:
    given = "https://discord.com/api/webhooks/1234567890/AbC-d_e"
    assert enter(given, administrator=False) == ("discord", "discord://1234567890/AbC-d_e")
    given = "https://hooks.slack.com/services/T1JJ/A1BR/abcDEF"
    assert enter(given, administrator=False).url == "slack://T1JJ/A1BR/abcDEF"
    assert enter("https://ntfy.sh/pumps", administrator=False).url == "ntfy://pumps"


def test_a_url_is_shown_without_what_is_secret_in_it() -> None:
    channel = Channel("c1", "ana", "mine", "discord", "discord://1234567890/AbC-d_e", 0)
    assert masked(channel) == "discord://****"
    mail = Channel("c2", "ana", "mail", "email", "mailto:ana@example.org", 0)
    assert masked(mail) == "mailto:ana@example.org"
    said = without_secrets("https://discord.com/api/webhooks/1234567890/AbC-d_e: 404", channel.url)
    assert "AbC-d_e" not in said
    assert "1234567890" not in said
    assert "404" in said


def test_every_service_says_its_form() -> None:
    for scheme, service in SERVICES.items():
        assert service.form.startswith(f"{scheme}://")
