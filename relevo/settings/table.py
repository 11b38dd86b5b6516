"""The one table of settings: type, default, limits, help text and whether a value is a secret.

Everything else about settings (``relevo settings``, ``docs/settings.md``, error texts) is made from this file.
The model is plain pydantic: pydantic-settings reads ``os.environ`` by itself, cannot say where a value came from,
and costs 55 ms and 1.2 MB beside FastAPI.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)

_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:.]+")
# Parts of what stands in sample files.
_SAMPLES = ("change", "replace", "example", "sample", "secret-key", "secret_key", "your-", "your_", "troque")
SWITCHES = (
    "open_registration",
    "open_mqtt_config",
    "open_reads",
    "open_control",
    "token_in_query",
    "legacy_show_tokens",
    "anonymous_mqtt",
)
"""What the ``lab`` profile turns on."""


class Listen(NamedTuple):
    """An address to listen on; port 0 lets the system choose."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Listen:
    """``HOST:PORT``, ``[IPV6]:PORT``, ``:PORT`` or ``PORT`` (the last two on every IPv4 address).

    Raises :class:`ValueError` saying what is wrong.
    """
    host, _, port = text.strip().rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("must be HOST:PORT with a port from 0 to 65535, for example 0.0.0.0:8000")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets, for example [::1]:8000")
    if any(c in host for c in "/[] \t"):
        raise ValueError("must be HOST:PORT without scheme or path, for example 0.0.0.0:8000")
    return Listen(host or "0.0.0.0", int(port))  # noqa: S104 - devices are on the network, not on this machine


def _listen(value: Any) -> Any:
    # A bare port arrives as a number from TOML.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return str(parse_listen(value)) if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _database(value: str) -> str:
    if value != "sqlite" and not value.startswith(("sqlite:///", "postgresql://", "mysql://")):
        raise ValueError("must be sqlite, sqlite:///PATH, postgresql://… or mysql://…")
    return value


def _broker(value: str) -> str:
    if value and not value.startswith(("mqtt://", "mqtts://")):
        raise ValueError("must be mqtt://… or mqtts://…, or empty for the own door")
    return value


def _public_url(value: str) -> str:
    """Scheme, host and port as a browser writes them into ``Origin`` (RFC 6454, section 6.2)."""
    if not value:
        return value
    mistake = ValueError("must be http://HOST or https://HOST, with :PORT where needed, and without path or user name")
    try:
        parts = urlsplit(value.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise mistake from None
    beyond = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or beyond or not _HOST.fullmatch(host) or port == 0:
        raise mistake
    if ":" in host:
        host = f"[{host}]"
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def _smtp(value: str) -> str:
    if not value:
        return value
    mistake = ValueError("must be smtp://… or smtps://… with a host, such as smtp://user:password@mail.example.org:587")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise mistake from None
    if parts.scheme not in ("smtp", "smtps") or not host or port == 0 or parts.path not in ("", "/") or parts.query:
        raise mistake
    return value


def signs_well(value: str) -> bool:
    """Whether nobody can guess ``value``: long enough for HS256 (RFC 7518, section 3.2), and no sample."""
    folded = value.casefold()
    return 32 <= len(value) <= 1024 and len(set(value)) >= 8 and not any(word in folded for word in _SAMPLES)


def _signing_key(value: str) -> str:
    if not value:
        return value
    if not signs_well(value):
        raise ValueError(
            "must be a random text of at least 32 characters and no sample: leave it out, and the server makes its own"
        )
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("must be a time zone such as America/Sao_Paulo") from None
    return value


def _filter(value: str) -> str:
    levels = value.split("/")
    if not value or "\0" in value or "#" in levels[:-1] or any(len(v) > 1 and ("+" in v or "#" in v) for v in levels):
        raise ValueError("must be an MQTT topic filter such as sensors/+/data")
    return value


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None
    return value


def _allowed(value: str) -> str:
    """A network, an address, or the name of a host."""
    if "/" in value or ":" in value or value.replace(".", "").isdigit():
        return _network(value)
    if not _HOST.fullmatch(value.lower()):
        raise ValueError("must be a network such as 10.0.0.0/8, an address, or the name of a host")
    return value.lower()


Address = Annotated[str, BeforeValidator(_listen)]
Addresses = Annotated[list[Address], BeforeValidator(_listed)]
Filters = Annotated[list[Annotated[str, AfterValidator(_filter)]], BeforeValidator(_listed)]
Place = Annotated[Path, AfterValidator(Path.expanduser)]
Topic = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^+#\x00]+$")]
SECRET: dict[str, Any] = {"secret": True}
URL: dict[str, Any] = {"secret": "url"}


_DISK_LEAST = 256_000_000


class Table(BaseModel):
    """Common ancestor: unknown names are mistakes, values do not change after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Limits(Table):
    """What one sender may use. What goes beyond is refused, counted and told in the device's timeline."""

    packet_bytes: int = Field(default=262_144, ge=1024, le=268_435_455, description="Largest MQTT packet, bytes.")
    topic_bytes: int = Field(default=512, ge=64, le=65_535, description="Longest MQTT topic, bytes of UTF-8.")
    topic_levels: int = Field(default=16, ge=4, le=128, description="Most levels of an MQTT topic.")
    connections: int = Field(default=10_000, ge=1, le=1_000_000, description="Most open MQTT connections.")
    connections_per_address: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Most open MQTT connections from one network address."
    )
    connect_timeout_s: float = Field(
        default=5.0, ge=0.1, le=300, description="Seconds a new MQTT connection has for its CONNECT packet."
    )
    keepalive_max_s: int = Field(
        default=3_600,
        ge=5,
        le=65_535,
        description="Longest MQTT keep-alive, seconds; holds for clients that ask for none.",
    )
    inflight: int = Field(
        default=100, ge=1, le=65_535, description="Most unacknowledged QoS 1 and 2 messages of one client, each way."
    )
    queued_messages: int = Field(
        default=1_000, ge=0, le=1_000_000, description="Most messages kept for one client that is away or slow."
    )
    queued_bytes: int = Field(
        default=4_194_304,
        ge=1024,
        le=1_073_741_824,
        description="Most bytes of messages kept for one client that is away or slow.",
    )
    session_expiry_s: int = Field(
        default=2_592_000,
        ge=1,
        le=4_294_967_295,
        description="Longest time an MQTT session is kept for a client that is away, seconds.",
    )
    retained: int = Field(default=100_000, ge=1, le=10_000_000, description="Most retained messages.")
    topic_aliases: int = Field(default=32, ge=0, le=65_535, description="Most topic aliases of one MQTT 5 client.")
    connects_per_s: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000,
        description="MQTT clients admitted a second; the rest of a storm waits its turn.",
    )
    failed_logins: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="Wrong MQTT credentials of one user name and address within a minute before it has to wait.",
    )
    messages_per_s: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Most MQTT messages a second of one client, 0 for no limit; beyond it reading pauses.",
    )
    subscriptions: int = Field(default=100, ge=1, le=100_000, description="Most subscriptions of one MQTT client.")
    http_body_bytes: int = Field(
        default=1_048_576, ge=1024, le=1_073_741_824, description="Largest HTTP request body, bytes."
    )
    firmware_max_kb: int = Field(
        default=1_024, ge=16, le=1_024, description="Largest image of firmware that may be uploaded, kilobytes."
    )
    http_timeout_s: float = Field(
        default=30.0, ge=1, le=3_600, description="Seconds a client has to deliver a whole HTTP request."
    )
    requests_per_minute_of_user: int = Field(
        default=6_000, ge=0, le=10_000_000, description="Most HTTP requests a minute of one person, 0 for no limit."
    )
    requests_per_minute_of_device: int = Field(
        default=1_200, ge=0, le=10_000_000, description="Most HTTP requests a minute of one device, 0 for no limit."
    )
    requests_per_minute_of_address: int = Field(
        default=600,
        ge=0,
        le=10_000_000,
        description="Most HTTP requests a minute from one address without a credential, 0 for no limit.",
    )
    queue_events: int = Field(
        default=20_000,
        ge=100,
        le=10_000_000,
        description="Most events that wait for the store; beyond it senders are slowed.",
    )
    batch_items: int = Field(default=1_000, ge=1, le=100_000, description="Most readings in one batch.")
    keys_per_reading: int = Field(default=256, ge=1, le=4_096, description="Most keys in one reading.")
    audit_days: int = Field(
        default=365, ge=0, le=36_500, description="Days an entry of the audit log is kept; 0 keeps it for ever."
    )
    timeline_entries: int = Field(default=200, ge=10, le=100_000, description="Timeline entries kept for each device.")
    unclaimed: int = Field(
        default=1_000, ge=10, le=1_000_000, description="Most entries in the list of unclaimed devices."
    )
    stream_queue: int = Field(
        default=1_000,
        ge=10,
        le=1_000_000,
        description="Most events that wait for one live view before it gets latest values.",
    )


class Commands(Table):
    """What devices are told to do, see ``docs/commands.md``."""

    ttl_s: float = Field(
        default=60.0,
        ge=1,
        le=2_592_000,
        description="Seconds for which a command waits for a device that is away, unless the command says otherwise.",
    )
    answer_s: float = Field(
        default=10.0, ge=0.1, le=3_600, description="Seconds a device has to answer a command that was sent."
    )
    open_per_device: int = Field(
        default=1_000, ge=1, le=100_000, description="Most commands that wait for one device or for its answer."
    )
    kept_per_device: int = Field(
        default=1_000, ge=10, le=1_000_000, description="Commands that are over and kept for each device."
    )


class Twins(Table):
    """What devices are to be, see ``docs/desired-state.md``."""

    agree_within_s: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="Seconds for which a device may be in contact without reporting what is desired of it, before "
        "that has failed; the device's attribute `agree_within_s` says otherwise for one.",
    )


class Notifications(Table):
    """Notices to people, see ``docs/notifications.md``."""

    smtp_url: Annotated[str, AfterValidator(_smtp)] = Field(
        default="",
        repr=False,
        description="Mail server: `smtp://USER:PASSWORD@HOST:587`, `smtps://USER:PASSWORD@HOST:465`, or none.",
        json_schema_extra=URL,
    )
    mail_from: str = Field(
        default="",
        max_length=254,
        pattern=r"^$|^[^@\s<>]{1,64}@[^@\s<>]{1,190}$",
        description="Sender's address of mail, such as `relevo@example.org`.",
    )
    language: Literal["en", "es", "pt"] = Field(
        default="en", description="Language of notices for people who chose none."
    )
    zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="Time zone of notices for people who chose none, such as `America/Sao_Paulo`."
    )
    per_minute: int = Field(
        default=10, ge=1, le=600, description="Most messages a minute through one channel; the rest leaves as a digest."
    )
    kept_per_person: int = Field(
        default=1_000, ge=10, le=100_000, description="Notifications kept in the inbox of one person."
    )
    kept_days: int = Field(default=90, ge=1, le=3_650, description="Days a notification stays in the inbox.")


class Hidrometro(Table):
    """Water meters, see ``contracts/hidrometro.md``."""

    topic_dados: Topic = Field(default="hidrometro/dados", description="Topic of readings.")
    topic_cmd: Topic = Field(default="hidrometro/cmd", description="Shared topic of commands.")
    accented_root: bool = Field(default=False, description="Also take readings below the root spelled `hidrômetro`.")
    default_serial: str = Field(default="", max_length=64, description="Serial number of readings that carry none.")
    history_limit: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Readings kept in memory for `/api/history`."
    )
    row_every_s: float = Field(
        default=10.0,
        ge=0,
        le=3_600,
        description="Seconds between two stored readings of one meter that publishes at QoS 0, 0 stores all of them; "
        "what is acknowledged, at QoS 1 or over HTTP, is always stored.",
    )
    leak_flow_lmin: float = Field(
        default=2.5, ge=0, le=1_000_000, description="Flow from which water may be leaking, L/min."
    )
    leak_min_s: float = Field(
        default=10.0, ge=0, le=604_800, description="Seconds for which it has to flow before that is a leak."
    )
    token_minutes: int = Field(
        default=60, ge=1, le=10_080, description="Minutes for which a token of `/api/login` is good."
    )
    secret_key: Annotated[str, AfterValidator(_signing_key)] = Field(
        default="",
        repr=False,
        max_length=1024,
        description="Signs the tokens of `/api/login`, for other programs that check them; at least 32 characters.",
        json_schema_extra=SECRET | {"default_text": "the server's own keys"},
    )


class Autocore(Table):
    """Relay boards, see ``contracts/autocore.md``."""

    topic_prefix: str = Field(
        default="autocore",
        max_length=31,
        pattern=r"^[A-Za-z0-9_.:-]+(/[A-Za-z0-9_.:-]+)*$",
        description="Root of the topics, at most 31 characters: boards learn it from `/api/mqtt/config`.",
    )


class Alchemy(Table):
    """Devices on one shared topic that people claim, see ``contracts/alchemy.md``."""

    topic_estado: Topic = Field(
        default="dispositivos/estado",
        description="Topic on which all devices publish; one with a key of its own may put its serial number before "
        "the last level.",
    )
    unclaimed: int = Field(
        default=100, ge=1, le=100_000, description="Most devices that wait for somebody to claim them."
    )
    log_days: int = Field(
        default=30, ge=0, le=36_500, description="Days a line of a device's log is kept; 0 keeps it for ever."
    )
    ping_s: float = Field(
        default=25.0, ge=1, le=29, description="Seconds of silence after which live streams show a sign of life."
    )


class Webhooks(Table):
    """Events sent to other programs, see ``docs/webhooks.md``."""

    allow_private: Annotated[list[Annotated[str, AfterValidator(_allowed)]], BeforeValidator(_listed)] = Field(
        default=[],
        description="Networks, or names of hosts with private addresses, that everybody's webhooks may reach; metadata "
        "services, multicast and reserved addresses stay closed.",
    )
    timeout_s: float = Field(
        default=15.0, ge=0.1, le=300, description="Seconds a receiver has, from its name to the end of its answer."
    )
    retry_first_s: float = Field(
        default=10.0, ge=0.05, le=3_600, description="Longest pause before the second attempt, seconds; it doubles."
    )
    give_up_s: int = Field(
        default=86_400, ge=1, le=2_592_000, description="Seconds after which a delivery becomes a dead letter."
    )
    disable_after_s: int = Field(
        default=432_000,
        ge=60,
        le=31_536_000,
        description="Seconds of nothing but failure after which a webhook is switched off.",
    )
    parallel: int = Field(default=8, ge=1, le=256, description="Most deliveries of one webhook at a time.")
    connections: int = Field(default=64, ge=1, le=4_096, description="Most deliveries of all webhooks at a time.")
    waiting_per_device: int = Field(
        default=500, ge=1, le=100_000, description="Most deliveries of one device that wait behind one that fails."
    )
    waiting: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000,
        description="Most deliveries of one webhook that wait outside the journal.",
    )
    dead_letters: int = Field(default=1_000, ge=1, le=1_000_000, description="Dead letters kept for each webhook.")
    per_owner: int = Field(default=50, ge=1, le=10_000, description="Most webhooks of one person.")


def _disk(value: ByteSize) -> ByteSize:
    if 0 < value < _DISK_LEAST:
        raise ValueError("must be 0 for no limit, or 256MB at least")
    return value


class History(Table):
    """Readings as they are kept, see ``docs/series.md`` and ``docs/retention.md``."""

    tail_events: int = Field(
        default=10_000,
        ge=100,
        le=10_000_000,
        description="Events in the journal from which on they are moved into chunks; with more than 500 devices as "
        "many more. Fewer are read back faster, more write less.",
    )
    query_s: float = Field(
        default=20.0, ge=0.1, le=600, description="Seconds after which a question about history is given up."
    )
    journal_events: int = Field(
        default=100_000,
        ge=20_000,
        le=100_000_000,
        description="Newest events whose readings stay in the journal although they are in chunks, for streams that go "
        "on where they left off.",
    )
    journal_days: int = Field(
        default=7,
        ge=1,
        le=3_650,
        description="Days after which readings leave the journal in any case, also when somebody still has to read "
        "them there, such as a webhook whose receiver is down.",
    )
    max_disk: Annotated[ByteSize, AfterValidator(_disk)] = Field(
        default=ByteSize(0),
        description="What the database and its log may take on the disk, such as `20GB`; 0 is no limit, otherwise "
        "256MB at least. Near it the oldest readings are kept as hours only, then the oldest hours as days, then days "
        "go; nothing that arrives is refused.",
    )
    raw_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days for which readings are kept as they came; 0 is "
        "for ever. Rules by type of device and key are set over the API, see `docs/retention.md`.",
    )
    hours_days: int = Field(
        default=0, ge=0, le=36_500, description="Days for which their hours are kept; 0 is for ever."
    )
    days_days: int = Field(default=0, ge=0, le=36_500, description="Days for which their days are kept; 0 is for ever.")
    events_days: int = Field(
        default=90, ge=1, le=3_650, description="Days for which the journal keeps what is no reading."
    )

    @model_validator(mode="after")
    def _coarser_as_long(self) -> "History":
        for finer, coarser in (("raw_days", "hours_days"), ("hours_days", "days_days")):
            most = getattr(self, coarser)
            if most and not 0 < getattr(self, finer) <= most:
                raise ValueError(f"history.{finer} must not be longer than history.{coarser} ({most})")
        return self


class Backup(Table):
    """Backups that the server makes by itself, see ``docs/backup.md``."""

    every_h: int = Field(default=0, ge=0, le=8_760, description="Hours from one backup to the next; 0 for none.")
    directory: Place | None = Field(
        default=None,
        description="Folder of backups, better on another disk.",
        json_schema_extra={"default_text": "`backups` in the data directory"},
    )
    daily: int = Field(default=7, ge=0, le=3_650, description="Days of which the newest backup is kept.")
    weekly: int = Field(default=4, ge=0, le=520, description="Weeks of which the newest backup is kept.")
    monthly: int = Field(default=12, ge=0, le=1_200, description="Months of which the newest backup is kept.")
    age_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days after which a backup is removed whatever else is kept, but for the newest; 0 for no such "
        "bound. Bounds how long what was erased is still in a backup.",
    )


class Thingsnxt(Table):
    """Token devices and their app, see ``contracts/thingsnxt.md``."""

    topic_prefix: str = Field(
        default="thingsnxt",
        max_length=64,
        pattern=r"^[A-Za-z0-9_.:-]+(/[A-Za-z0-9_.:-]+)*$",
        description="Root of the topics of devices that speak MQTT.",
    )
    requests_per_minute: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="Most requests within 60 s of one device token, one person, or one address without either, on "
        "paths of thingsnxt; 0 for no limit.",
    )


class Settings(Table):
    """Every setting of Relevo. ``Settings()`` holds the defaults; :func:`relevo.settings.load` fills it."""

    data: Place = Field(
        default_factory=lambda: platformdirs.user_data_path("relevo", appauthor=False),
        description="Directory that holds everything Relevo writes.",
        json_schema_extra={"default_text": "the platform's user data directory"},
    )
    config: Place | None = Field(
        default=None,
        description="Settings file in TOML.",
        json_schema_extra={"default_text": "`relevo.toml` in the data directory, if there is one"},
    )
    profile: Literal["secure", "lab"] = Field(
        default="secure", description="`lab` turns on every open switch not set otherwise: for private networks only."
    )
    http: Address = Field(default="0.0.0.0:8000", description="Where HTTP listens, `HOST:PORT`.")
    http_extra: Addresses = Field(default=[], description="More HTTP listeners, for clients with a fixed port.")
    mqtt: Address = Field(default="0.0.0.0:1883", description="Where MQTT listens, `HOST:PORT`.")
    mqtts: Address = Field(default="0.0.0.0:8883", description="Where MQTT over TLS listens when a certificate is set.")
    https: Address = Field(default="0.0.0.0:8443", description="Where HTTP over TLS listens when a certificate is set.")
    public_url: Annotated[str, AfterValidator(_public_url)] = Field(
        default="",
        description="Address under which people reach this server, such as `https://relevo.example.org`: stands in QR "
        "codes and links of labels; its host is a trusted one and its pages are the server's own.",
        json_schema_extra={"default_text": "the address of whoever asks"},
    )
    announce: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether the server says on the local network where it is (mDNS, `_relevo._tcp`), so that boards "
        "find it by themselves: `auto` where HTTP can be reached from other machines. Takes 5 MB.",
    )
    trusted_hosts: Annotated[list[str], BeforeValidator(_listed)] = Field(
        default=[],
        description="Public host names of this server, such as `relevo.example.org` or `*.example.org`; addresses and "
        "names of local networks are always answered, `*` answers to any name.",
    )
    trusted_proxies: Annotated[list[Annotated[str, AfterValidator(_network)]], BeforeValidator(_listed)] = Field(
        default=[],
        description="Addresses or networks of reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count.",
    )
    tls_cert: Place | None = Field(
        default=None, description="Certificate chain in PEM; turns on MQTT and HTTP over TLS."
    )
    tls_key: Place | None = Field(default=None, description="Private key in PEM that belongs to the certificate.")
    tls_client_ca: Place | None = Field(
        default=None,
        description="Foreign authority in PEM for client certificates; a certificate's common name, or its SHA-256 "
        "fingerprint in the device's attribute `certificate_sha256`, stands for the device's key.",
        json_schema_extra={"default_text": "the own authority, once `relevo ca init` made it"},
    )
    mqtt_unix: Place | None = Field(default=None, description="Unix socket on which MQTT listens as well.")
    mqtt_proxy_from: Annotated[list[str], BeforeValidator(_listed)] = Field(
        default=[],
        description="Addresses of balancers; MQTT connections from them must begin with a PROXY header, version 2.",
    )
    allowed_origins: Annotated[list[str], BeforeValidator(_listed)] = Field(
        default=[],
        description="Origins of foreign web pages that may ask with a token (CORS) and open WebSockets, such as "
        "`https://panel.example.org`.",
    )
    database_url: Annotated[str, AfterValidator(_database)] = Field(
        default="sqlite",
        description="`sqlite` (in the data directory), `postgresql://…` or `mysql://…`.",
        json_schema_extra=URL,
    )
    broker_url: Annotated[str, AfterValidator(_broker)] = Field(
        default="", description="MQTT broker or cluster that replaces the own door, `mqtts://…`.", json_schema_extra=URL
    )
    admin_password: str = Field(
        default="",
        repr=False,
        max_length=1024,
        description="Password of the first administrator; generated when empty.",
        json_schema_extra=SECRET,
    )
    open_registration: bool = Field(default=False, description="Devices may register at any time without a token.")
    open_mqtt_config: bool = Field(
        default=False, description="The restricted legacy broker account is readable without a token."
    )
    open_reads: bool | None = Field(
        default=None,
        description="Reads and live streams of hidrometro and alchemy need no sign-in.",
        json_schema_extra={"default_text": "on when HTTP listens on this machine only"},
    )
    open_control: bool = Field(default=False, description="Changes and claims of alchemy need no sign-in.")
    token_in_query: bool | None = Field(
        default=None,
        description="Tokens of thingsnxt are also taken from the URL; its firmware and its app know no other way.",
        json_schema_extra={"default_text": "on, for `device_token` of `/telemetry/latest`, `/ws` and `/refresh`"},
    )
    legacy_show_tokens: bool = Field(default=False, description="Device tokens appear in lists of thingsnxt.")
    anonymous_mqtt: bool = Field(
        default=False, description="MQTT clients without an account may use the anonymous topics."
    )
    anonymous_topics: Filters = Field(
        default=[],
        description="Topic filters for anonymous MQTT clients; `#` makes the door a plain broker.",
        json_schema_extra={"default_text": "the topics of the contracts"},
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least serious entry logged."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="Form of the log on standard error.")
    limits: Limits = Field(default=Limits())
    commands: Commands = Field(default=Commands())
    twins: Twins = Field(default=Twins())
    webhooks: Webhooks = Field(default=Webhooks())
    hidrometro: Hidrometro = Field(default=Hidrometro())
    autocore: Autocore = Field(default=Autocore())
    alchemy: Alchemy = Field(default=Alchemy())
    thingsnxt: Thingsnxt = Field(default=Thingsnxt())
    notifications: Notifications = Field(default=Notifications())
    history: History = Field(default=History())
    backup: Backup = Field(default=Backup())

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _belong_together(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key must be set together")
        return self

    @model_validator(mode="after")
    def _mail_has_a_sender(self) -> "Settings":
        if self.notifications.smtp_url and not self.notifications.mail_from:
            raise ValueError("notifications.mail_from must be set when notifications.smtp_url is")
        return self

    @property
    def origins(self) -> dict[str, str]:
        """Where each value came from, by dotted name; a name that is missing has its default."""
        return self._origins

    @property
    def answered_hosts(self) -> list[str]:
        """``trusted_hosts``, and the host of ``public_url``."""
        host = urlsplit(self.public_url).hostname
        return [*self.trusted_hosts, host] if host else self.trusted_hosts

    @property
    def http_listen(self) -> Listen:
        return parse_listen(self.http)

    @property
    def http_extra_listen(self) -> list[Listen]:
        return [parse_listen(text) for text in self.http_extra]

    @property
    def mqtt_listen(self) -> Listen:
        return parse_listen(self.mqtt)

    @property
    def mqtts_listen(self) -> Listen | None:
        """``None`` without a certificate."""
        return parse_listen(self.mqtts) if self.tls_cert else None

    @property
    def https_listen(self) -> Listen | None:
        """``None`` without a certificate."""
        return parse_listen(self.https) if self.tls_cert else None

    @property
    def http_host(self) -> str:
        return self.http_listen.host

    @property
    def http_port(self) -> int:
        return self.http_listen.port

    @property
    def mqtt_host(self) -> str:
        return self.mqtt_listen.host

    @property
    def mqtt_port(self) -> int:
        return self.mqtt_listen.port

    @property
    def reads_open(self) -> bool:
        """``open_reads``, or when that is not set, whether every HTTP listener is on loopback."""
        if self.open_reads is not None:
            return self.open_reads
        return all(listen.loopback for listen in (self.http_listen, *self.http_extra_listen))
