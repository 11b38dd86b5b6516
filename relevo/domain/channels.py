"""Channels: the ways by which notices leave for a person, and which of them who may enter.

Theory. A channel is a URL in the manner of Apprise, or ``mailto:`` through the administrator's mail server. Whoever may
enter any URL could make the server speak to whatever it reaches in its network, so a person enters only services on
the list here, each of which talks to one fixed host, in letters that leave no room for another host, a file or an
option. Everything else is an administrator's to enter. The URL is a secret: whoever has it can write in its name.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from relevo.errors import FieldError, Invalid

URL_MOST: Final = 1_024
CHANNELS_MOST: Final = 20
"""Most channels of one person."""
WAITING_MOST: Final = 200
"""Most notices that wait for one channel; beyond it they are counted into the next digest."""

# Ways out of the one host that services of the list have, and schemes that are no message to anybody outside.
_NEVER: Final = frozenset({"dbus", "syslog", "gnome", "kde", "glib", "qt", "macosx", "windows", "file", "mailtos"})
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}", re.ASCII)
_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"\\]{1,64}@[A-Za-z0-9.-]{1,190}")


class Channel(msgspec.Struct, frozen=True):
    """One way to one person; ``kind`` is the scheme of its URL, ``email`` for ``mailto:``.

    ``digest`` is off, hourly or daily, empty for what the preferences say.
    """

    id: str
    account: str
    name: str
    kind: str
    url: str
    created_at: int
    enabled: bool = True
    min_severity: str = "info"
    digest: str = ""


class ChannelHealth(msgspec.Struct, frozen=True):
    """How the channel with this ``id`` does.

    ``failing_since`` and ``told_at`` say since when nothing gets through and when its owner was told, ``sent_at`` when
    a message last got through (milliseconds UTC, 0 for not).
    """

    id: str
    failing_since: int = 0
    told_at: int = 0
    error: str = ""
    sent_at: int = 0


class OutboxEntry(msgspec.Struct, frozen=True):
    """A notice on its way through a channel: there until it is confirmed to be sent, or given up.

    ``together`` lets it leave in one digest with what else waits; ``more`` counts notices that found no room of their
    own. ``attempts`` failed since ``tried_at``. Times in milliseconds UTC.
    """

    id: str
    account: str
    channel: str
    notification: str
    due_at: int
    together: bool
    at: int
    severity: str
    source: str
    device: str
    title: str
    text: str
    more: int = 0
    attempts: int = 0
    tried_at: int = 0


class Service(NamedTuple):
    """A service that people may enter: its name, the form of its URL for people, and what may stand after ``://``."""

    name: str
    form: str
    pattern: str


_W: Final = r"[A-Za-z0-9_-]+"
SERVICES: Final[dict[str, Service]] = {
    "discord": Service("Discord", "discord://WEBHOOK_ID/TOKEN", rf"{_W}/{_W}"),
    "gchat": Service("Google Chat", "gchat://SPACE/KEY/TOKEN", rf"{_W}/{_W}/[A-Za-z0-9_=-]+"),
    "ifttt": Service("IFTTT", "ifttt://WEBHOOK_ID@EVENT", rf"{_W}@{_W}"),
    "join": Service("Join", "join://API_KEY/DEVICE", rf"{_W}(/[A-Za-z0-9_.-]+){{1,5}}"),
    "line": Service("LINE", "line://TOKEN/USER", r"[A-Za-z0-9_+=-]+(/[A-Za-z0-9_]+){1,5}"),
    "ntfy": Service("ntfy.sh", "ntfy://TOPIC", r"[A-Za-z0-9_-]{1,64}"),
    "opsgenie": Service("Opsgenie", "opsgenie://API_KEY", _W),
    "pagerduty": Service("PagerDuty", "pagerduty://INTEGRATION_KEY@API_KEY", rf"{_W}@{_W}"),
    "pbul": Service("Pushbullet", "pbul://ACCESS_TOKEN", rf"[A-Za-z0-9_.-]+(/{_W}){{0,5}}"),
    "pover": Service("Pushover", "pover://USER_KEY@TOKEN", rf"[A-Za-z0-9]{{30}}@[A-Za-z0-9]{{30}}(/{_W}){{0,5}}"),
    "prowl": Service("Prowl", "prowl://API_KEY", r"[A-Za-z0-9]{40}(/[A-Za-z0-9]{40})?"),
    "pushy": Service("Pushy", "pushy://API_KEY/DEVICE", rf"{_W}(/{_W}){{1,5}}"),
    "slack": Service("Slack", "slack://TOKEN_A/TOKEN_B/TOKEN_C", r"[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+"),
    "spush": Service("SimplePush", "spush://API_KEY", r"[A-Za-z0-9]+"),
    "tgram": Service(
        "Telegram", "tgram://BOT_TOKEN/CHAT_ID", r"[0-9]{5,20}:[A-Za-z0-9_-]{10,}(/(-?[0-9]{1,32}|@[A-Za-z0-9_]+)){1,5}"
    ),
    "twilio": Service(
        "Twilio",
        "twilio://ACCOUNT_SID:AUTH_TOKEN@FROM/TO",
        r"AC[a-f0-9]+:[a-f0-9]+@\+?[0-9]{3,14}(/\+?[0-9]{8,14}){1,5}",
    ),
    "wxteams": Service("Webex", "wxteams://TOKEN", r"[A-Za-z0-9]{80,160}"),
}
# What these services themselves hand out, and the form in which we keep it.
_HANDED_OUT: Final = (
    (re.compile(r"https://(?:discord|discordapp)\.com/api/webhooks/([0-9]+)/([A-Za-z0-9_-]+)/?"), r"discord://\1/\2"),
    (re.compile(r"https://hooks\.slack\.com/services/([A-Z0-9]+)/([A-Z0-9]+)/([A-Za-z0-9]+)/?"), r"slack://\1/\2/\3"),
    (re.compile(r"https://ntfy\.sh/([A-Za-z0-9_-]{1,64})/?"), r"ntfy://\1"),
)


class Entered(NamedTuple):
    """A URL that somebody may enter, as it is kept."""

    kind: str
    url: str


def enter(url: str, *, administrator: bool, field: str = "url") -> Entered:
    """What ``url`` stands for. Raises :class:`Invalid`, naming ``field`` and what is allowed.

    Whether the service takes it shows when something is sent: the test of a channel asks it.
    """
    url = url.strip()
    if len(url) > URL_MOST:
        raise _refused(field, f"has {len(url)} characters, the limit is {URL_MOST}")
    if not url.isprintable() or any(c.isspace() for c in url):
        raise _refused(field, "must be one line without spaces")
    for pattern, form in _HANDED_OUT:
        found = pattern.fullmatch(url)
        if found is not None:
            url = found.expand(form)
    scheme, mark, rest = url.partition(":")
    scheme = scheme.lower()
    if not mark or not _SCHEME.fullmatch(scheme):
        raise _refused(field, f"must begin with a scheme; allowed are {_allowed()}")
    if scheme == "mailto":
        address = rest.removeprefix("//")
        if address and not _ADDRESS.fullmatch(address):
            raise _refused(
                field, "must be mailto:NAME@HOST with one address, or mailto: for the address of the account"
            )
        return Entered("email", f"mailto:{address}")
    if scheme in _NEVER:
        raise _refused(field, f"{scheme} does not leave this machine or goes round the mail settings; use mailto:")
    service = SERVICES.get(scheme)
    if service is not None and re.fullmatch(service.pattern, rest.removeprefix("//")):
        return Entered(scheme, f"{scheme}://{rest.removeprefix('//')}")
    if not administrator:
        if service is not None:
            raise _refused(field, f"must have the form {service.form}, without options")
        raise _refused(field, f"{scheme} may be entered by an administrator only; allowed are {_allowed()}")
    if not rest.startswith("//") or len(rest) < 3:
        raise _refused(field, f"must be {scheme}://… as Apprise describes it")
    return Entered(scheme, url)


def masked(channel: Channel) -> str:
    """The URL as it may be shown: which service, and for mail to whom."""
    return channel.url if channel.kind == "email" else f"{channel.kind}://****"


def without_secrets(text: str, url: str) -> str:
    """``text``, such as what a service said, without whatever of it stands in ``url``."""
    for part in sorted(set(re.split(r"[/:@?&=#]+", url.partition(":")[2])), key=len, reverse=True):
        if len(part) >= 6:
            text = text.replace(part, "****")
    return text


def channels_of(channels: Iterable[Channel], account: str) -> list[Channel]:
    """The channels of a person, oldest first."""
    return sorted((one for one in channels if one.account == account), key=lambda one: (one.created_at, one.id))


def _allowed() -> str:
    return ", ".join(["mailto:", *(f"{scheme}://" for scheme in SERVICES)])


def _refused(field: str, message: str) -> Invalid:
    return Invalid("channel_url_refused", f"{field} {message}", [FieldError(field, message, "channel_url_refused")])
