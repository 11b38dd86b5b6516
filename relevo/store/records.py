"""Tables of :mod:`relevo.domain.records`: one row a record, its columns the record's fields."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    delete,
    insert,
    select,
)

from relevo.domain.accounts import Account, ApiKey, Secret, SignIn
from relevo.domain.boards import Board, BoardTemplate, Picture, Wall
from relevo.domain.bulk import Bulk
from relevo.domain.capabilities import Appearance
from relevo.domain.channels import Channel, ChannelHealth, OutboxEntry
from relevo.domain.claims import ClaimCode, PairingWindow, Screening
from relevo.domain.credentials import Credential
from relevo.domain.customers import Customer, MeterMonth
from relevo.domain.dashboards import Dashboard, TokenSalt, Widget
from relevo.domain.deliveries import WebhookProgress
from relevo.domain.firings import RuleMemory
from relevo.domain.grants import Grant
from relevo.domain.keeping import Keeping
from relevo.domain.managed import Managed
from relevo.domain.notices import NoticePreferences
from relevo.domain.preferences import Preferences
from relevo.domain.records import (
    AuditForgotten,
    Dropped,
    InboxDropped,
    InboxForgotten,
    InboxRead,
    Kept,
    NameErased,
    Record,
    RecordChange,
    StatusLogForgotten,
    key_of,
)
from relevo.domain.relay_functions import RelayBoard, RelayChannel, RelayRun
from relevo.domain.releases import Release
from relevo.domain.rollouts import Rollout
from relevo.domain.rules import Rule
from relevo.domain.schedules import Schedule, ScheduleProgress
from relevo.domain.sites import Site
from relevo.domain.tariffs import Tariff
from relevo.domain.webhooks import Webhook
from relevo.store import audit, inbox, status_log, updates, webhooks
from relevo.store.accounts import accounts, secrets
from relevo.store.db import metadata


def _text(name: str, **more: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **more)


def _time(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


sign_ins = Table(
    "sign_ins",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("kind"),
    _text("secret_hash"),
    _text("spent_hash"),
    _time("created_at"),
    _time("used_at"),
    _time("expires_at"),
    _text("address"),
    _text("agent"),
)
api_keys = Table(
    "api_keys",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("name"),
    _text("secret_hash"),
    Column("scopes", JSON, nullable=False),
    _time("created_at"),
    _time("expires_at"),
    _time("used_at"),
)
grants = Table(
    "grants",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("scope"),
    _text("value"),
    _text("level"),
    _text("by"),
    _time("at"),
)
credentials = Table(
    "credentials",
    metadata,
    _text("id", primary_key=True),
    _text("device"),
    _text("kind"),
    _text("secret_hash"),
    _time("created_at"),
    _time("expires_at"),
    _text("username"),
    _text("label"),
    _text("by"),
    Index("credentials_device", "device"),
)
claim_codes = Table(
    "claim_codes",
    metadata,
    _text("id", primary_key=True),
    _text("contract"),
    _text("external_id"),
    _time("created_at"),
    _time("expires_at"),
    _text("by"),
)
screenings = Table(
    "screenings",
    metadata,
    _text("id", primary_key=True),
    _text("contract"),
    _text("external_id"),
    _text("standing"),
    _text("by"),
    _time("at"),
)
pairing = Table(
    "pairing",
    metadata,
    _text("id", primary_key=True),
    _text("by"),
    _time("opened_at"),
    _time("closes_at"),
)
bulks = Table(
    "bulks",
    metadata,
    _text("id", primary_key=True),
    _text("by"),
    _text("name"),
    Column("params", JSON, nullable=False),
    Column("ttl_s", Float, nullable=False),
    Column("rate", Float, nullable=False),
    Column("stop_share", Float, nullable=False),
    Column("devices", JSON, nullable=False),
    _time("created_at"),
    _text("state"),
    _text("reason"),
    _time("ended_at"),
    Column("refused", JSON, nullable=False),
)
schedules = Table(
    "schedules",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("owner"),
    _text("by"),
    Column("timing", JSON, nullable=False),
    Column("action", JSON, nullable=False),
    _time("created_at"),
    Column("end_action", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    _text("zone"),
    Column("lat", Float),
    Column("lon", Float),
    _text("missed"),
    _time("late_limit_s"),
    _time("jitter_s"),
    _time("since"),
    _time("starts_at"),
    _time("ends_at"),
)
schedule_progress = Table(
    "schedule_progress",
    metadata,
    _text("id", primary_key=True),
    _time("done_at"),
    _time("ran_at"),
    _time("asked"),
    _text("note"),
)
rules = Table(
    "rules",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("owner"),
    Column("condition", JSON, nullable=False),
    Column("scope", JSON, nullable=False),
    Column("actions", JSON, nullable=False),
    Column("cooldown_s", Float, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("clear_actions", JSON, nullable=False),
    Column("late_limit_s", Float, nullable=False),
    _text("by"),
    _time("created_at"),
    _text("stopped"),
)
rule_memory = Table(
    "rule_memory",
    metadata,
    _text("id", primary_key=True),
    _time("seq"),
    Column("data", LargeBinary, nullable=False),
)
sites = Table(
    "sites",
    metadata,
    _text("id", primary_key=True),
    _text("zone"),
    Column("lat", Float),
    Column("lon", Float),
)
retention = Table(
    "retention",
    metadata,
    _text("id", primary_key=True),
    _text("type"),
    _text("key"),
    Column("raw_days", Integer, nullable=False),
    Column("hours_days", Integer, nullable=False),
    Column("days_days", Integer, nullable=False),
)
webhook_table = Table(
    "webhooks",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("url"),
    _text("owner"),
    _text("by"),
    _text("salt"),
    _time("created_at"),
    Column("kinds", JSON, nullable=False),
    Column("devices", JSON, nullable=False),
    Column("types", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    _text("format"),
    Column("headers", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    _text("disabled_reason"),
    Column("allow_private", Boolean, nullable=False),
    _text("former_salt"),
    _time("former_until"),
)
webhook_progress = Table(
    "webhook_progress",
    metadata,
    _text("id", primary_key=True),
    _time("position"),
    Column("ahead", JSON, nullable=False),
    _time("failing_since"),
)

channels = Table(
    "channels",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("name"),
    _text("kind"),
    _text("url"),
    _time("created_at"),
    Column("enabled", Boolean, nullable=False),
    _text("min_severity"),
    _text("digest"),
)
channel_health = Table(
    "channel_health",
    metadata,
    _text("id", primary_key=True),
    _time("failing_since"),
    _time("told_at"),
    _text("error"),
    _time("sent_at"),
)
notice_preferences = Table(
    "notice_preferences",
    metadata,
    _text("id", primary_key=True),
    _text("language"),
    _text("zone"),
    Column("quiet", JSON, nullable=False),
    _text("quiet_action"),
    Column("critical_passes", Boolean, nullable=False),
    _text("digest"),
    _text("digest_at"),
    Column("severities", JSON, nullable=False),
    Column("muted", JSON, nullable=False),
    _time("snoozed_until"),
    _text("scope"),
)
outbox = Table(
    "outbox",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("channel"),
    _text("notification"),
    _time("due_at"),
    Column("together", Boolean, nullable=False),
    _time("at"),
    _text("severity"),
    _text("source"),
    _text("device"),
    _text("title"),
    _text("text"),
    _time("more"),
    _time("attempts"),
    _time("tried_at"),
)

dashboards = Table(
    "dashboards",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("name"),
    _text("description"),
    _time("created_at"),
)
widgets = Table(
    "widgets",
    metadata,
    _text("id", primary_key=True),
    _text("dashboard"),
    _text("account"),
    _text("device"),
    _text("type"),
    _text("label"),
    Column("config", JSON, nullable=False),
    _time("created_at"),
    Column("value", JSON, nullable=False),
    _time("width"),
    _time("height"),
    _time("position"),
)
appearances = Table(
    "appearances",
    metadata,
    _text("id", primary_key=True),
    _text("contract"),
    _text("device"),
    _text("key"),
    Column("texts", JSON, nullable=False),
    _time("at"),
    _text("by"),
)
token_salts = Table("token_salts", metadata, _text("id", primary_key=True), _text("salt"))
boards = Table(
    "boards",
    metadata,
    _text("id", primary_key=True),
    _text("owner"),
    _text("name"),
    _time("version"),
    Column("widgets", JSON, nullable=False),
    Column("shared", JSON, nullable=False),
    _time("created_at"),
    _time("changed_at"),
)
board_templates = Table(
    "board_templates",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    Column("widgets", JSON, nullable=False),
    _text("by"),
    _time("changed_at"),
)
walls = Table(
    "walls",
    metadata,
    _text("id", primary_key=True),
    _text("board"),
    _text("account"),
    _text("name"),
    _text("secret_hash"),
    _time("created_at"),
    _time("expires_at"),
)
pictures = Table(
    "pictures",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("type"),
    _time("size"),
    _time("width"),
    _time("height"),
    _time("created_at"),
)
managed = Table(
    "managed",
    metadata,
    _text("id", primary_key=True),
    Column("body", JSON, nullable=False),
    _time("created_at"),
    _time("updated_at"),
)

customers = Table(
    "customers",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _time("created_at"),
    _text("contact"),
    Column("price", Float, nullable=False),
    _text("currency"),
    _text("tariff"),
)
meter_months = Table(
    "meter_months",
    metadata,
    _text("id", primary_key=True),
    _text("device"),
    _text("month"),
    Column("litres", Float, nullable=False),
    _time("seq"),
)
relay_boards = Table(
    "relay_boards",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("model"),
    _text("location"),
    Column("active", Boolean, nullable=False),
    _time("created_at"),
    _time("changed_at"),
)
relay_channels = Table(
    "relay_channels",
    metadata,
    _text("id", primary_key=True),
    _text("device"),
    _time("channel"),
    _text("name"),
    _text("description"),
    _text("function"),
    _text("protection"),
    _text("group"),
    _time("pulse_ms"),
    _time("timer_s"),
    _time("limit_s"),
    _text("icon"),
    _text("color"),
    Column("in_macros", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    _time("changed_at"),
)
relay_runs = Table(
    "relay_runs",
    metadata,
    _text("id", primary_key=True),
    _text("device"),
    _time("channel"),
    _text("why"),
    _time("on_at"),
    _time("lasts_ms"),
)

preferences = Table(
    "preferences",
    metadata,
    _text("id", primary_key=True),
    _text("language"),
    _text("theme"),
    Column("favourites", JSON, nullable=False),
    Column("home", JSON, nullable=False),
)
tariffs = Table(
    "tariffs",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("currency"),
    Column("base", Float, nullable=False),
    Column("steps", JSON, nullable=False),
    Column("taxes_percent", Float, nullable=False),
)
releases = Table(
    "releases",
    metadata,
    _text("id", primary_key=True),
    _text("version"),
    _text("board"),
    _time("boot"),
    _time("mpy"),
    _text("notes"),
    _time("size"),
    _text("sha256"),
    Column("files", JSON, nullable=False),
    _text("by"),
    _time("created_at"),
)
rollouts = Table(
    "rollouts",
    metadata,
    _text("id", primary_key=True),
    _text("release"),
    _text("by"),
    _text("note"),
    Column("selection", JSON, nullable=False),
    Column("waves", JSON, nullable=False),
    _time("halt_percent"),
    _time("halt_least"),
    _time("wave_pause_s"),
    _time("patience_s"),
    Column("older", Boolean, nullable=False),
    _time("created_at"),
    _time("deadline_at"),
    _text("state"),
    _text("reason"),
    _time("wave"),
    _time("wave_at"),
    _time("wave_over_at"),
    _time("resumed_at"),
    _time("judged_from"),
    _time("changed_at"),
    _text("changed_by"),
    _time("ended_at"),
)

TABLES: Final[dict[type[Record], Table]] = {
    Account: accounts,
    Secret: secrets,
    SignIn: sign_ins,
    ApiKey: api_keys,
    Grant: grants,
    Credential: credentials,
    ClaimCode: claim_codes,
    Screening: screenings,
    Bulk: bulks,
    PairingWindow: pairing,
    Schedule: schedules,
    ScheduleProgress: schedule_progress,
    Rule: rules,
    RuleMemory: rule_memory,
    Site: sites,
    Channel: channels,
    ChannelHealth: channel_health,
    NoticePreferences: notice_preferences,
    OutboxEntry: outbox,
    Dashboard: dashboards,
    Widget: widgets,
    TokenSalt: token_salts,
    Board: boards,
    BoardTemplate: board_templates,
    Wall: walls,
    Picture: pictures,
    Managed: managed,
    Webhook: webhook_table,
    WebhookProgress: webhook_progress,
    Appearance: appearances,
    Customer: customers,
    MeterMonth: meter_months,
    RelayBoard: relay_boards,
    RelayChannel: relay_channels,
    RelayRun: relay_runs,
    Keeping: retention,
    Preferences: preferences,
    Tariff: tariffs,
    Release: releases,
    Rollout: rollouts,
}
# Records with documents of their own shape inside.
_NESTED: Final = frozenset({Schedule, Rule, NoticePreferences, Managed, Tariff})


def apply(core: Connection, changes: Iterable[RecordChange]) -> None:
    """Write ``changes`` in their order, inside the open transaction."""
    for change in changes:
        if isinstance(change, Kept):
            table = TABLES[type(change.record)]
            core.execute(delete(table).where(_key(table) == key_of(change.record)))
            core.execute(insert(table).values(**_row(change.record)))
        elif isinstance(change, Dropped):
            table = TABLES[change.kind]
            core.execute(delete(table).where(_key(table) == change.key))
            if change.kind is Appearance:
                status_log.remove(core, status_log.of_appearance(change.key))
            elif change.kind is Rollout:
                updates.forget(core, change.key)
        elif isinstance(change, InboxRead | InboxDropped | InboxForgotten):
            inbox.apply(core, change)
        elif isinstance(change, AuditForgotten):
            audit.forget(core, change.through, change.before)
        elif isinstance(change, StatusLogForgotten):
            status_log.forget(core, change.through, change.before)
        elif not isinstance(change, NameErased):
            webhooks.apply(core, change)


def load(core: Connection) -> list[Record]:
    """Every record there is."""
    return [_record(kind, row._mapping) for kind, table in TABLES.items() for row in core.execute(select(table))]


def made_by(core: Connection, account: str) -> list[Record]:
    """Every record that says that ``account`` made it."""
    return [
        _record(kind, row._mapping)
        for kind, table in TABLES.items()
        if "by" in table.c
        for row in core.execute(select(table).where(table.c.by == account))
    ]


def check(kind: type[Record], row: Mapping[Any, Any]) -> None:
    """Whether ``row``, with its JSON decoded, is a record of this kind. Raises :class:`TypeError`,
    :class:`ValueError`."""
    _record(kind, row)


def _row(record: Record) -> dict[str, Any]:
    if type(record) not in _NESTED:
        return msgspec.structs.asdict(record)
    row: dict[str, Any] = msgspec.to_builtins(record)
    return row


def _record(kind: type[Record], row: Mapping[Any, Any]) -> Record:
    if kind not in _NESTED:
        return kind(**row)
    return msgspec.convert({str(name): value for name, value in row.items()}, kind)


def _key(table: Table) -> Column[Any]:
    (column,) = table.primary_key.columns
    return column
