"""Records: rows that change at human speed and are not history.

They take the road like events, in the same transactions, but not into the journal: a password's hash or a revoked
session must be able to disappear. Each kind has one row for each of its keys.
"""

from typing import Final, TypeAlias

import msgspec

from relevo.domain.accounts import Account, ApiKey, Secret, SignIn
from relevo.domain.boards import Board, BoardTemplate, Picture, Wall
from relevo.domain.bulk import Bulk
from relevo.domain.capabilities import Appearance
from relevo.domain.channels import Channel, ChannelHealth, OutboxEntry
from relevo.domain.claims import ClaimCode, PairingWindow, Screening
from relevo.domain.credentials import Credential
from relevo.domain.customers import Customer, MeterMonth
from relevo.domain.dashboards import Dashboard, TokenSalt, Widget
from relevo.domain.deliveries import DeliveriesForgotten, DeliveryChange, DeliveryDropped, DeliveryKept, WebhookProgress
from relevo.domain.firings import RuleMemory
from relevo.domain.grants import Grant
from relevo.domain.keeping import Keeping
from relevo.domain.managed import Managed
from relevo.domain.notices import NoticePreferences
from relevo.domain.preferences import Preferences
from relevo.domain.relay_functions import RelayBoard, RelayChannel, RelayRun
from relevo.domain.releases import Release
from relevo.domain.rollouts import Rollout
from relevo.domain.rules import Rule
from relevo.domain.schedules import Schedule, ScheduleProgress
from relevo.domain.sites import Site
from relevo.domain.tariffs import Tariff
from relevo.domain.webhooks import Webhook

Record: TypeAlias = (
    Account
    | Secret
    | SignIn
    | ApiKey
    | Grant
    | Credential
    | ClaimCode
    | Screening
    | PairingWindow
    | Bulk
    | Schedule
    | ScheduleProgress
    | Rule
    | RuleMemory
    | Site
    | Channel
    | ChannelHealth
    | NoticePreferences
    | OutboxEntry
    | Dashboard
    | Widget
    | TokenSalt
    | Board
    | BoardTemplate
    | Wall
    | Picture
    | Managed
    | Webhook
    | WebhookProgress
    | Appearance
    | Customer
    | MeterMonth
    | RelayBoard
    | RelayChannel
    | RelayRun
    | Keeping
    | Preferences
    | Tariff
    | Release
    | Rollout
)


class Kept(msgspec.Struct):
    """``record`` is new, or takes the place of the one with the same key."""

    record: Record


class Dropped(msgspec.Struct):
    """The record of this kind and key is gone; harmless when it never was."""

    kind: type[Record]
    key: str


class AuditForgotten(msgspec.Struct):
    """Of the lines of the audit log up to number ``through`` those are gone that are older than ``before`` (ms UTC)."""

    through: int
    before: int


class StatusLogForgotten(msgspec.Struct):
    """Of the lines of the status log up to number ``through`` those older than ``before`` (ms UTC) are gone."""

    through: int
    before: int


class InboxRead(msgspec.Struct):
    """``account`` read the notification ``id``, empty for all of theirs, at ``at`` (ms UTC)."""

    account: str
    id: str
    at: int


class InboxDropped(msgspec.Struct):
    """The notification ``id``, empty for all of them, is gone from the inbox of ``account``."""

    account: str
    id: str


class InboxForgotten(msgspec.Struct):
    """Notifications older than ``before`` (ms UTC) are gone from every inbox."""

    before: int


class NameErased(msgspec.Struct):
    """The name of ``account``, who is removed, goes from everything that happened before; ``others`` are what else
    tells who it was, such as an address."""

    account: str
    others: tuple[str, ...] = ()


InboxChange: TypeAlias = InboxRead | InboxDropped | InboxForgotten
RecordChange: TypeAlias = (
    Kept | Dropped | AuditForgotten | StatusLogForgotten | NameErased | InboxChange | DeliveryChange
)
RECORD_CHANGES: Final = frozenset(
    {
        Kept,
        Dropped,
        AuditForgotten,
        StatusLogForgotten,
        NameErased,
        InboxRead,
        InboxDropped,
        InboxForgotten,
        DeliveryKept,
        DeliveryDropped,
        DeliveriesForgotten,
    }
)


def key_of(record: Record) -> str:
    return record.name if isinstance(record, Account | Secret) else record.id
