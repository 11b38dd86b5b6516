"""What the HTTP endpoints work with, wired by the application."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Depends
from starlette.requests import HTTPConnection

from relevo.appearances import Appearances
from relevo.attempts import Attempts
from relevo.authority import Authority
from relevo.boards import Boards
from relevo.clock import Clock
from relevo.dashboards import Dashboards
from relevo.dialect import Dialect, Said
from relevo.dispatch import Dispatch
from relevo.domain.accounts import Account, Identity, Role
from relevo.domain.alerts import Alerts
from relevo.domain.bulk import Bulk
from relevo.domain.channels import Channel
from relevo.domain.customers import Customer
from relevo.domain.deliveries import Attempt, Delivery, WebhookProgress
from relevo.domain.devices import Device, Registry
from relevo.domain.evaluator import Evaluator
from relevo.domain.events import Audited
from relevo.domain.forecast import Forecast
from relevo.domain.joining import Claims
from relevo.domain.keeping import Ages, Keeping
from relevo.domain.keyring import Keyring
from relevo.domain.meters import RecentReadings
from relevo.domain.presence import Presence
from relevo.domain.rollouts import Progress, Rollout
from relevo.domain.rules import Rule
from relevo.domain.schedules import Schedule, ScheduleProgress
from relevo.domain.sites import Site
from relevo.domain.tariffs import Tariff
from relevo.domain.webhooks import Webhook
from relevo.exchange.exports import Exports
from relevo.exchange.imports import Imports
from relevo.firmware import Firmware
from relevo.first_password import FirstPassword
from relevo.http.auth import Auth
from relevo.intake import Intake
from relevo.managed import ManagedRecords
from relevo.meters import Meters
from relevo.monitor import Monitor
from relevo.notifications import Notifications
from relevo.outbound import Guard
from relevo.pairing import Pairing
from relevo.pipeline import Entry, Pipeline
from relevo.raw import Raw
from relevo.refusals import Refusals
from relevo.sending.process import Outcome as Sent
from relevo.settings import Settings
from relevo.store.backtests import Answer
from relevo.store.backup import Progress as BackupProgress
from relevo.store.history.processes import History
from relevo.store.latest import Latest, values_of
from relevo.store.readers import Readers
from relevo.switching import Switching
from relevo.twins import Twins
from relevo.updates import Updates
from relevo.watchers import Watchers


class Storage(Protocol):
    """What history takes on the disk, and for how long it is kept."""

    default: Ages
    keepings: dict[str, Keeping]
    max_disk: int
    forecast: Forecast | None
    oldest: tuple[int | None, int | None, int | None]
    short: bool

    def taken(self) -> int:
        """Bytes of the database's file and its log."""

    def space(self) -> tuple[int, int]:
        """Bytes of the file, and what of it is free, as last looked at."""

    def next_to_go(self) -> tuple[str, int] | None:
        """What goes first for want of room (``raw``, ``hours``, ``days``), and before when (milliseconds UTC)."""


class BulkCommands(Protocol):
    """What works through commands to many devices."""

    all: dict[str, Bulk]

    def run(self, bulk: Bulk) -> None:
        """Begin with one that is kept already."""

    async def cancel(self, bulk: Bulk, by: str) -> Bulk:
        """Ask for no more, and take back what is queued."""

    async def progress(self, bulk: Bulk) -> dict[str, int]:
        """Devices by the state of their command."""


class Rules(Protocol):
    """What follows rules."""

    all: dict[str, Rule]
    evaluator: Evaluator


class TriesRules(Protocol):
    """What tries rules on stored history."""

    async def run(self, rule: Rule, devices: list[Device], begin: int, end: int) -> Answer:
        """What ``rule`` would have done with ``devices`` from ``begin`` until before ``end``."""


class Webhooks(Protocol):
    """What delivers webhooks. See :class:`relevo.jobs.webhooks.Webhooks`."""

    all: dict[str, Webhook]

    @property
    def kinds(self) -> frozenset[str]: ...

    @property
    def counts(self) -> Counter[str]: ...

    @property
    def dead(self) -> Counter[str]: ...

    def arrived(self, webhook_id: str) -> list[Delivery]: ...

    def waiting(self, webhook_id: str = "") -> int: ...

    def standing(self, webhook_id: str) -> WebhookProgress: ...

    def secret(self, webhook: Webhook) -> str: ...

    async def test(self, webhook: Webhook) -> Attempt: ...

    async def replay(self, webhook_id: str, seq: int | None = None) -> int: ...


class Consumption(Protocol):
    """What knows customers and what their meters used. See :class:`relevo.jobs.consumption.Consumption`."""

    customers: dict[int, Customer]
    tariffs: dict[str, Tariff]
    promised: set[int]

    def months(self, device: str) -> dict[str, float]: ...


class KeptBackup(Protocol):
    """A file in the folder of backups; ``created`` in milliseconds UTC."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def created(self) -> int: ...


class Backups(Protocol):
    """What makes backups. See :class:`relevo.jobs.backup.Backups`."""

    folder: Path
    error: str
    progress: BackupProgress | None

    @property
    def running(self) -> bool: ...

    def begin(self) -> object: ...

    def figures(self) -> dict[str, Any]: ...

    async def files(self) -> Sequence[KeptBackup]: ...

    def file(self, name: str) -> Path: ...

    async def remove(self, name: str) -> None: ...


class RolloutRunner(Protocol):
    """What works through roll-outs. See :class:`relevo.jobs.rollouts.Rollouts`."""

    async def pause(self, rollout: Rollout, by: str, more: Sequence[Entry] = ()) -> Rollout: ...

    async def resume(self, rollout: Rollout, by: str, more: Sequence[Entry] = ()) -> Rollout: ...

    async def cancel(self, rollout: Rollout, by: str, more: Sequence[Entry] = ()) -> Rollout: ...

    async def retry(
        self,
        rollout: Rollout,
        by: str,
        devices: Sequence[Progress],
        whole: Sequence[Progress],
        deadline_at: int,
        more: Sequence[Entry] = (),
    ) -> tuple[Rollout, int]: ...


class Schedules(Protocol):
    """What runs schedules."""

    all: dict[str, Schedule]
    progress: dict[str, ScheduleProgress]

    async def run_now(self, schedule: Schedule) -> tuple[dict[str, str], dict[str, str]]:
        """Run out of turn: the command asked for by device, and why none could be."""


class Demo(Protocol):
    """The demo's devices. See :class:`relevo.wiring.demo.Demo`."""

    error: str

    @property
    def running(self) -> bool: ...

    def identities(self) -> set[tuple[str, str]]: ...

    def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(slots=True)
class Services:
    """One per process."""

    settings: Settings
    clock: Clock
    registry: Registry
    dialects: dict[str, Dialect]
    pipeline: Pipeline
    intake: Intake
    dispatch: Dispatch
    twins: Twins
    switching: Switching
    bulks: BulkCommands
    firmware: Firmware
    updates: Updates
    rollouts: RolloutRunner
    schedules: Schedules
    backups: Backups
    sites: dict[str, Site]
    rules: Rules
    alerts: Alerts
    backtests: TriesRules
    webhooks: Webhooks
    outbound: Guard
    refusals: Refusals
    readers: Readers
    auth: Auth
    first_password: FirstPassword
    keyring: Keyring
    authority: Authority
    pairing: Pairing
    claims: Claims
    notifications: Notifications
    dashboards: Dashboards
    boards: Boards
    appearances: Appearances
    managed: ManagedRecords
    watchers: Watchers
    # Requests of the contract thingsnxt, by who asks.
    app_requests: Attempts
    # Sends somebody a code with which to choose another password.
    send_reset: Callable[[Account, str], None]
    # Sends a test through a channel.
    test_channel: Callable[[Channel], Awaitable[Sent]]
    channel_tests: Attempts
    # Wrong claim codes.
    guesses_of_person: Attempts
    guesses_of_address: Attempts
    recent: RecentReadings
    meters: Meters
    consumption: Consumption
    # Sends to whoever listens at this moment; kept for nobody.
    shout: Callable[[Said], None]
    history: History
    exports: Exports
    imports: Imports
    room: Storage
    monitor: Monitor
    raw: Raw
    demo: Demo
    # Publishes in the server's name: topic, payload, quality of service, whether it is retained.
    announce: Callable[[str, bytes, int, bool], None]
    presence: Presence
    figures: Callable[[], dict[str, Any]]
    ready: Callable[[], list[str]]
    started_at: int
    # When devices last asked over HTTP (milliseconds UTC), which is no reading.
    polled: dict[str, int] = field(default_factory=dict)

    def latest(self, device_id: str) -> tuple[Latest, int]:
        """The committed latest values of a device, and when it was last heard (milliseconds UTC, 0 is never)."""
        data = self.pipeline.documents.get(device_id)
        values, heard = values_of(data) if data else ({}, 0)
        return values, max(heard, self.polled.get(device_id, 0))

    @property
    def shouts(self) -> bool:
        """Whether the MQTT door is open."""
        return not any("MQTT" in one for one in self.ready())

    def online(self, device: Device) -> bool:
        return self.presence.online(device.id)

    def mqtt_standing(self, host: str) -> dict[str, Any]:
        """How the MQTT door is (contract autocore, section 3.2), for whoever knows the server as ``host``."""
        return {
            "connected": not self.ready(),
            "broker": host,
            "port": self.figures()["mqtt"]["port"],
            "websockets_connected": len(self.monitor.watchers),
            "messages_in_history": len(self.monitor.history),
            "subscribed_topics": list(self.dialects["autocore"].filters()),
        }

    def may_watch(self, identity: Identity, topic: str) -> bool:
        """Whether somebody may see what goes over an MQTT topic: that of a device to whoever may view it."""
        if identity.role is Role.ADMINISTRATOR:
            return True
        found = self.intake.address(topic)
        if found is None or not found[1].external_id:
            return False
        device = self.registry.find(found[1].contract, found[1].external_id)
        return device is not None and bool(self.auth.people.right(identity, device))

    def audited(
        self,
        request: HTTPConnection,
        identity: Identity,
        action: str,
        target: str,
        detail: dict[str, Any] | None = None,
    ) -> Audited:
        """The audit event of something that ``identity`` does; submit it with what is done."""
        more = detail or {}
        if identity.api_key:
            more = more | {"api_key": identity.api_key}
        return Audited(self.clock.now_ms(), identity.name, action, target, more, address_of(request))

    def audit(
        self,
        request: HTTPConnection,
        identity: Identity,
        action: str,
        target: str,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Write down something that is done already."""
        self.pipeline.submit([self.audited(request, identity, action, target, detail)])

    def audit_by(self, name: str, action: str, target: str, address: str, detail: dict[str, Any]) -> None:
        """As :meth:`audit`, for somebody who is not signed in yet."""
        self.pipeline.submit([Audited(self.clock.now_ms(), name, action, target, detail, address)])

    def refuse_at_door(self, reason: str, detail: str, address: str) -> None:
        """Tell what was refused before anybody knew whose request it is."""
        self.refusals.refuse("", "http", reason, detail, address)

    def refuse_person(self, request: HTTPConnection, identity: Identity, device: str, detail: str) -> None:
        """Tell in the device's story, and in the audit log, what somebody was not allowed to do with it."""
        address = address_of(request)
        self.refusals.refuse(device, "http", "not_allowed", f"{identity.name}: {detail}", address)
        self.pipeline.submit(
            [
                Audited(
                    self.clock.now_ms(), identity.name, "device.refused", device, {"what": detail}, address, "refused"
                )
            ]
        )


def address_of(connection: HTTPConnection) -> str:
    """The network address of whoever asks."""
    return connection.client.host if connection.client else ""


def services_of(connection: HTTPConnection) -> Services:
    """What the application was wired with."""
    found: Services = connection.app.state.services
    return found


async def services(connection: HTTPConnection) -> Services:
    """FastAPI dependency: a coroutine, because FastAPI runs plain functions in a thread, every time."""
    return services_of(connection)


Wired = Annotated[Services, Depends(services)]
Reader = Callable[..., Awaitable[Any]]
