"""The one place that wires everything, and the order in which things start and stop."""

import asyncio
import contextlib
import gc
import socket
import sqlite3
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relevo.announcing import Announcer
from relevo.attempts import Attempts
from relevo.authority import Authority
from relevo.boards import Boards
from relevo.clock import Clock, SystemClock
from relevo.dashboards import Dashboards
from relevo.dialect import Said
from relevo.directory import PASSWORD_FILE, DataDirectory
from relevo.dispatch import Dispatch, new_id
from relevo.domain import redelivery
from relevo.domain.accounts import Account, Role
from relevo.domain.alerts import Alerts
from relevo.domain.claims import PairingWindow
from relevo.domain.commands import Command, Ledger
from relevo.domain.credentials import Credential
from relevo.domain.customers import MeterMonth
from relevo.domain.events import AnyEvent, DeviceChanged, DeviceRemoved
from relevo.domain.keeping import Ages, Keeping
from relevo.domain.leaks import Leaks
from relevo.domain.meters import CONTRACT, TOTAL, RecentReadings, Rows
from relevo.domain.presence import Presence
from relevo.domain.records import Dropped, Kept, NameErased, RecordChange
from relevo.domain.sites import Site
from relevo.domain.webhooks import secret_of
from relevo.errors import ConfigurationError, TooMany
from relevo.exchange.exports import Exports
from relevo.exchange.imports import Imports
from relevo.firmware import Firmware
from relevo.first_password import FirstPassword
from relevo.http import tokens
from relevo.http.app import build
from relevo.http.auth import LOCAL, Auth
from relevo.http.passwords import Passwords
from relevo.http.server import HttpDoor
from relevo.http.services import Services, address_of
from relevo.http.tokens import SigningKeys, Tokens
from relevo.http.watching import Standing
from relevo.intake import Intake
from relevo.jobs.acting import Acting
from relevo.jobs.backtests import Backtests
from relevo.jobs.backup import Backups
from relevo.jobs.bulk import Bulks
from relevo.jobs.compactor import Compactor
from relevo.jobs.consumption import Consumption
from relevo.jobs.deadlines import Deadlines
from relevo.jobs.device_alerts import DeviceAlerts
from relevo.jobs.erasing import Erasing
from relevo.jobs.expiring import ExpiringCredentials
from relevo.jobs.notifier import Notifier
from relevo.jobs.presence import PresenceWatch
from relevo.jobs.relays import RelayClock
from relevo.jobs.retention import Retention
from relevo.jobs.rollouts import Rollouts
from relevo.jobs.room import Room
from relevo.jobs.rule_actions import RuleActions
from relevo.jobs.rules import Rules
from relevo.jobs.scheduler import Scheduler
from relevo.jobs.trimming import Trimming
from relevo.jobs.twins import Delivery
from relevo.jobs.unclaimed import SilentUnclaimed
from relevo.jobs.webhook_rows import WebhookRows
from relevo.jobs.webhook_runner import Show
from relevo.jobs.webhook_sender import WebhookSender
from relevo.jobs.webhooks import Webhooks
from relevo.loading import ADMINISTRATOR
from relevo.local import announce, withdraw
from relevo.log import get_logger
from relevo.managed import ManagedRecords
from relevo.memory import give_back
from relevo.meters import Meters
from relevo.monitor import Monitor
from relevo.mqtt import websocket as mqtt_websocket
from relevo.mqtt.broker import Broker
from relevo.mqtt.chosen import ChosenPasswords
from relevo.mqtt.doorkeeper import Doorkeeper
from relevo.mqtt.server import MqttServer
from relevo.mqtt.tls import AuthorityName, ServerTls
from relevo.notifications import Notifications
from relevo.outbound import Guard, Outbound
from relevo.realtime.view import KINDS, UNSEEN, Views, kind_of
from relevo.sending.process import SendingProcess
from relevo.settings import Settings
from relevo.store import commands, journal, readings
from relevo.store.db import FILE_NAME
from relevo.store.history.processes import History
from relevo.store.latest import values_of
from relevo.switching import Switching
from relevo.twins import Twins
from relevo.updates import Updates
from relevo.watchers import Watchers
from relevo.web import pages
from relevo.wiring.demo import Demo
from relevo.wiring.figures import Figures
from relevo.wiring.live import LiveViews, origin_allowed
from relevo.wiring.road import open_road
from relevo.wiring.sockets import bind

log = get_logger("relevo")

STOP_S: Final = 5.0
_SETTLED_S: Final = 5.0
WRONG_CODES_OF_PERSON: Final = 10
WRONG_CODES_OF_ADDRESS: Final = 30
WRONG_CODES_WINDOW_S: Final = 600.0
CHANNEL_TESTS_OF_PERSON: Final = 20
CHANNEL_TESTS_WINDOW_S: Final = 600.0
APP_WINDOW_S: Final = 60.0
_REPLAYED_FOR_METERS: Final = 20_000


class Application:
    """A whole Relevo in one event loop."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.directory = DataDirectory(settings.data)
        # Set when this start made the first administrator's password up.
        self.generated_password = ""
        self.http_port = 0
        self.mqtt_port = 0
        # These are 0 without a certificate.
        self.mqtts_port = 0
        self.https_port = 0
        self.demo = Demo(self)
        self._stack = contextlib.ExitStack()
        self._sockets: list[socket.socket] = []
        self._http: HttpDoor | None = None
        self._stopped = False
        self._door_open = False
        self._expiring: ExpiringCredentials | None = None
        self._deadlines: Deadlines | None = None
        self._bulks: Bulks | None = None
        self._rollouts: Rollouts | None = None
        self._presence: PresenceWatch | None = None
        self._delivery: Delivery | None = None
        self._retention: Retention | None = None
        self._scheduler: Scheduler | None = None
        self._rules: Rules | None = None
        self._sites: dict[str, Site] = {}
        self._notifier: Notifier | None = None
        self._webhooks: Webhooks | None = None
        self._live: LiveViews | None = None
        self._silent: SilentUnclaimed | None = None
        self._consumption: Consumption | None = None
        self._relays: RelayClock | None = None
        self._compactor: Compactor | None = None
        self._backups: Backups | None = None
        self._history: History | None = None
        self._exports: Exports | None = None
        self._imports: Imports | None = None
        self._announcer: Announcer | None = None

    async def start(self) -> None:
        """Come up in full, or raise :class:`ConfigurationError` and leave nothing behind."""
        begun = self.clock.monotonic()
        try:
            await self._start()
        except BaseException as error:
            if self._http is not None:
                self._http.cancel()
            await self._stop_jobs()
            if self._door_open:
                await self.mqtt.stop_accepting()
                await self.mqtt.stop()
            self._stack.close()
            if isinstance(error, sqlite3.Error | SQLAlchemyError):
                path = self.directory.path / FILE_NAME
                cause = getattr(error, "orig", None) or error
                raise ConfigurationError(
                    f"the database {path} cannot be read: {cause}; try `relevo doctor`, keep a copy, restore a backup"
                ) from None
            raise
        # What is here now stays: the collector need not walk it again. Readings make no cycles, so it can be patient.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 50)
        asyncio.get_running_loop().call_later(_SETTLED_S, give_back)
        took = (self.clock.monotonic() - begun) * 1000
        log.info("ready", http=self.http_port, mqtt=self.mqtt_port, ms=round(took))

    async def _start(self) -> None:
        settings, clock = self.settings, self.clock
        if settings.database_url != "sqlite" or settings.broker_url:
            named = "database_url" if settings.database_url != "sqlite" else "broker_url"
            origin = settings.origins.get(named, "default")
            raise ConfigurationError(f"{named} ({origin}) has no effect in this version; remove it")
        road = open_road(settings, clock, self.directory, self._stack)
        loaded, known, dialects = road.loaded, road.loaded.records, road.dialects
        self.generated_password = road.generated_password
        self.registry, self.people, self.keyring = registry, people, keyring = road.registry, road.people, road.keyring
        self.bus, self.pipeline, self.readers = bus, pipeline, readers = road.bus, road.pipeline, road.readers
        self.refusals, self.claims, self.pairing = refusals, claims, pairing = road.refusals, road.claims, road.pairing
        appearances, book, path = road.appearances, road.book, road.path
        ledger = Ledger()
        ledger.load(loaded.commands, loaded.command_keys)

        async def recall(command_id: str) -> Command | None:
            return await readers.run_core(commands.load, command_id)

        self.dispatch = dispatch = Dispatch(
            ledger,
            pipeline,
            registry,
            dialects,
            refusals,
            clock,
            recall,
            settings.commands.ttl_s,
            settings.commands.open_per_device,
        )
        pipeline.event_followers.append(refusals.follow)
        pipeline.event_followers.append(dispatch.follow)
        self.twins = twins = Twins(
            loaded.twins,
            pipeline,
            registry,
            dialects,
            dispatch,
            refusals,
            clock,
            settings.twins.agree_within_s,
        )
        pipeline.event_followers.append(twins.follow)
        appearances.start(pipeline, twins)
        pipeline.record_followers.append(appearances.apply)
        pipeline.event_followers.append(appearances.follow)
        bus.tap(twins.watch)
        self.intake = intake = Intake(registry, dialects, refusals, clock, pairing, claims, dispatch, twins, keyring)
        switching = Switching(dispatch, twins, pipeline, registry, dialects, refusals, clock)
        road.recall(switching.apply)
        pipeline.record_followers.append(switching.apply)
        pipeline.event_followers.append(switching.follow)
        bus.tap(switching.watch)
        intake.beat = switching.beat
        intake.told = switching.told
        dashboards = Dashboards(pipeline, keyring)
        road.recall(dashboards.apply)
        pipeline.event_followers.append(dashboards.follow)
        boards = Boards(keyring, self.directory.path)
        road.recall(boards.apply)
        boards.sweep()
        firmware = Firmware(self.directory.path)
        road.recall(firmware.apply)
        firmware.sweep()
        updates = Updates(firmware, registry, clock)
        road.recall(updates.apply)
        updates.load(loaded.updating, loaded.updated)
        pipeline.record_followers += [firmware.apply, updates.apply]
        pipeline.event_followers.append(updates.follow)
        intake.updates = updates
        terms = tokens.TERMS | {CONTRACT: tokens.Terms(settings.hidrometro.token_minutes * 60, 0)}
        self.tokens = Tokens(
            people,
            SigningKeys.decode(loaded.signing_keys),
            clock.now_ms,
            max(one.access_s for one in terms.values()),
            {CONTRACT: settings.hidrometro.secret_key},
        )
        managed = ManagedRecords(book, registry, pipeline)
        pipeline.event_followers.append(managed.follow)
        bus.tap(managed.watch)
        intake.redeliveries.load(await readers.run(readings.recent, clock.now_ms() - redelivery.WINDOW_MS))
        self.auth = auth = Auth(
            people, keyring, registry, self.tokens, Passwords(), pipeline, clock, settings.public_url, terms
        )

        first_password = FirstPassword(self.directory.path / PASSWORD_FILE, ADMINISTRATOR)
        first_password.load(known)
        pipeline.record_followers.append(first_password.apply)

        async def outcomes(origin: str) -> dict[str, int]:
            return await readers.run_core(commands.states_of, origin)

        self._bulks = bulks = Bulks(dispatch, pipeline, clock, outcomes)
        road.recall(bulks.apply)
        pipeline.event_followers.append(bulks.follow)
        acting = Acting(dispatch, twins)
        self._scheduler = scheduler = Scheduler(acting, pipeline, registry, people, refusals, clock)
        road.recall(scheduler.apply)
        pipeline.record_followers += [people.apply, self._follow_credentials, claims.apply, bulks.apply]
        pipeline.record_followers += [scheduler.apply, self._follow_sites, self._follow_people]
        road.recall(self._follow_sites)
        pipeline.record_followers += [self.tokens.apply, dashboards.apply, boards.apply, managed.apply]
        told = settings.notifications
        self.notifications = notifications = Notifications(people, registry, pipeline, clock, told.language, told.zone)
        notifications.load(known, loaded.told)
        pipeline.record_followers.append(notifications.apply)
        pipeline.event_followers.append(notifications.follow)
        self._notifier = notifier = Notifier(
            notifications,
            SendingProcess(told.smtp_url, told.mail_from),
            pipeline,
            people,
            registry,
            readers,
            clock,
            told.per_minute,
            told.kept_days,
            f"{settings.public_url}/ui/" if settings.public_url else "",
        )
        self.presence = presence = Presence()
        self._presence = PresenceWatch(presence, registry, pipeline, clock)
        self._presence.load(loaded.presence)
        bus.tap(self._presence.follow)
        self._alerts = alerts = Alerts()
        alerts.load(loaded.alerts)
        intake.raised = DeviceAlerts(alerts, notifications, registry, pipeline, clock).raised
        rule_actions = RuleActions(alerts, notifications, acting, pipeline, registry, people, refusals, clock)

        async def replay(seq: int, limit: int) -> list[tuple[int, AnyEvent]]:
            return await readers.run(journal.events_from, seq, limit)

        def who_is_there(device: str) -> tuple[bool, int]:
            return presence.online(device), presence.since(device)

        self._rules = rules = Rules(rule_actions, pipeline, registry, people, refusals, clock, replay, who_is_there)
        road.recall(rules.apply)
        pipeline.record_followers.append(rules.apply)
        bus.tap(rules.follow)
        self._views = views = Views(registry)
        self._rollouts = rollouts = Rollouts(
            updates, dispatch, pipeline, registry, people, dialects, presence, notifications, clock
        )
        signing = keyring.secret_for("webhooks").encode()
        guard = Guard(settings.webhooks.allow_private)
        self._webhooks = webhooks = Webhooks(
            WebhookSender(
                Outbound(guard, settings.webhooks.timeout_s, settings.webhooks.connections),
                lambda webhook, salt: secret_of(signing, webhook, salt),
                clock,
            ),
            pipeline,
            registry,
            people,
            refusals,
            clock,
            notifications,
            replay,
            WebhookRows(readers),
            Show(
                KINDS - {"gap"},
                lambda event: None if type(event) in UNSEEN else kind_of(event),
                views.object_of,
                lambda owner: Standing(owner, people, registry),
            ),
            settings.webhooks,
        )
        road.recall(webhooks.apply)
        rule_actions.webhooks = webhooks.all
        pipeline.record_followers.append(webhooks.apply)
        pipeline.event_followers.append(webhooks.follow_removal)
        bus.tap(webhooks.follow)
        recent = RecentReadings(registry, settings.hidrometro.history_limit)
        bus.tap(recent.follow)
        water = settings.hidrometro

        def total_of(device: str) -> tuple[float | None, int]:
            data = pipeline.documents.get(device)
            value, ts, _ = (values_of(data)[0] if data else {}).get(TOTAL, (None, 0, ""))
            return (value or None, ts) if isinstance(value, int | float) else (None, 0)

        self.meters = meters = Meters(
            registry,
            Rows(round(water.row_every_s * 1000), total_of),
            Leaks(water.leak_flow_lmin, round(water.leak_min_s * 1000)),
            water.leak_flow_lmin,
            alerts,
            notifications.prepare,
            clock,
            new_id,
            told.language,
        )
        intake.rooms[CONTRACT] = meters
        pipeline.event_followers.append(meters.follow)
        bus.tap(meters.watch)
        self._consumption = consumption = Consumption(pipeline, registry, replay, ZoneInfo(told.zone))
        consumption.load([one for one in known if isinstance(one, MeterMonth)])
        road.recall(consumption.apply)
        pipeline.record_followers.append(consumption.apply)
        bus.tap(consumption.follow)

        async def is_administrator(name: str, password: str, address: str) -> bool:
            try:
                account = await auth.check_password(name, password, address)
            except TooMany:
                return False
            return account is not None and account.rank is Role.ADMINISTRATOR

        authority = Authority(self.directory.path)
        doorkeeper = Doorkeeper(
            settings,
            registry,
            keyring,
            dialects,
            clock,
            is_administrator,
            ChosenPasswords(keyring, auth.passwords.fits),
            AuthorityName(authority.certificate_file),
            watchers := Watchers(people, registry, book, clock),
        )
        self.broker = broker = Broker(settings, clock, pipeline, intake, refusals, doorkeeper, dispatch, twins)
        dispatch.egress = twins.egress = broker
        rule_actions.announce = broker.announce_freely
        monitor = Monitor(settings.autocore.topic_prefix, clock)
        broker.observe = monitor.heard
        managed.renew = broker.renew
        intake.raw = broker.raw
        broker.restore(loaded.sessions, loaded.retained)
        bus.tap(self._follow_keys)
        self.mqtt = MqttServer(broker)
        self._history = history = History(path, readers, settings.history.query_s)
        kept = settings.history
        trimming = Trimming(pipeline, readers, clock, kept.journal_events, kept.journal_days, kept.events_days)
        trimming.holds += [rules.held_from, webhooks.held_from, consumption.held_from]
        self._exports = Exports(path)
        self._imports = Imports(path, self.directory.path / "imports", pipeline, clock.now_ms)
        ages = Ages(kept.raw_days, kept.hours_days, kept.days_days)
        room = Room(path, pipeline, readers, trimming, notifications, clock, ages, kept.max_disk, told.zone)
        room.load(one for one in known if isinstance(one, Keeping))
        pipeline.record_followers.append(room.apply)
        self._compactor = compactor = Compactor(
            path,
            pipeline,
            readers,
            clock,
            settings.history.tail_events,
            registry.__len__,
            trimming=trimming,
            room=room,
            zone=told.zone,
            erasing=Erasing(pipeline, readers, broker.forget_retained),
        )
        self._backups = backups = Backups(self.directory.path, settings.backup, notifications, clock)
        figures = Figures(
            pipeline,
            broker,
            self.mqtt,
            dispatch,
            registry,
            presence,
            rules,
            notifications,
            notifier,
            refusals,
            bus,
            compactor,
            backups,
            updates,
            lambda: (self.mqtt_port, self.mqtts_port),
        )
        services = Services(
            settings=settings,
            clock=clock,
            registry=registry,
            dialects=dialects,
            pipeline=pipeline,
            intake=intake,
            dispatch=dispatch,
            twins=twins,
            switching=switching,
            bulks=bulks,
            firmware=firmware,
            updates=updates,
            rollouts=rollouts,
            schedules=scheduler,
            backups=backups,
            sites=self._sites,
            rules=rules,
            alerts=alerts,
            backtests=Backtests(path),
            webhooks=webhooks,
            outbound=guard,
            refusals=refusals,
            readers=readers,
            auth=auth,
            first_password=first_password,
            keyring=keyring,
            authority=authority,
            pairing=pairing,
            claims=claims,
            notifications=notifications,
            dashboards=dashboards,
            boards=boards,
            appearances=appearances,
            managed=managed,
            watchers=watchers,
            app_requests=Attempts(clock, settings.thingsnxt.requests_per_minute or 1, APP_WINDOW_S),
            send_reset=notifier.send_reset,
            test_channel=notifier.test,
            channel_tests=Attempts(clock, CHANNEL_TESTS_OF_PERSON, CHANNEL_TESTS_WINDOW_S),
            guesses_of_person=Attempts(clock, WRONG_CODES_OF_PERSON, WRONG_CODES_WINDOW_S),
            guesses_of_address=Attempts(clock, WRONG_CODES_OF_ADDRESS, WRONG_CODES_WINDOW_S),
            recent=recent,
            meters=meters,
            consumption=consumption,
            shout=self._shout,
            history=history,
            exports=self._exports,
            imports=self._imports,
            room=room,
            monitor=monitor,
            raw=broker.raw,
            demo=self.demo,
            announce=broker.announce,
            presence=presence,
            figures=figures.all,
            ready=figures.problems,
            started_at=clock.now_ms(),
        )
        road.checkpointer.start()
        self._stack.callback(road.checkpointer.stop)
        pipeline.start(loaded.documents)
        self._stack.callback(pipeline.abandon)
        for one in known:
            if isinstance(one, PairingWindow):
                pairing.resume(one)
        water_meters = registry.of_contract(CONTRACT)
        if water_meters:
            first = max(1, pipeline.committed_seq - _REPLAYED_FOR_METERS)
            past = [event for _, event in await readers.run(journal.events_from, first, 2**31)]
            newest = []
            for device in water_meters:
                held = values_of(pipeline.documents[device.id])[0] if device.id in pipeline.documents else {}
                if TOTAL in held:
                    shown = {key: value for key, (value, _, _) in held.items()}
                    newest.append((held[TOTAL][1], shown, device.external_id))
            recent.restore(newest, past)
            meters.recall(past)
            del past

        self._presence.start()
        dispatch.begin()
        self._deadlines = Deadlines(dispatch, clock)
        self._deadlines.start()
        self._delivery = Delivery(twins)
        self._delivery.start()
        self._relays = RelayClock(switching, clock)
        self._relays.start()
        for gone in loaded.removed:
            # What a crash may have kept from following its removal.
            pipeline.follow(DeviceRemoved(gone, clock.now_ms()))
            broker.revoke(f"device:{gone}", gone)
        for owner in {one.owner for one in broker.sessions.values() if one.owner.startswith("user:")}:
            if owner.removeprefix("user:") not in people.accounts:
                broker.end_sessions(owner)
        bulks.start()
        rollouts.start()
        scheduler.start()
        rules.start()
        notifier.start()
        webhooks.start()
        consumption.start()
        await self._listen(services, dialects)
        self._expiring = ExpiringCredentials(keyring, pipeline, clock, self._end_connections_of)
        self._expiring.start()
        self._retention = Retention(
            pipeline, readers, clock, settings.limits.audit_days, self.tokens.forget_ended, settings.alchemy.log_days
        )
        self._retention.start()
        self._silent = SilentUnclaimed(registry, presence, dialects, people, keyring, claims, pipeline, clock)
        self._silent.start()
        compactor.start()
        backups.start()

    async def _stop_jobs(self) -> None:
        for job in (
            self._expiring,
            self._presence,
            self._bulks,
            self._rollouts,
            self._scheduler,
            self._rules,
            self._delivery,
            self._notifier,
            self._webhooks,
            self._deadlines,
            self._retention,
            self._silent,
            self._consumption,
            self._relays,
            self._compactor,
            self._backups,
            self._exports,
            self._imports,
            self._history,
            self._announcer,
        ):
            if job is not None:
                await job.stop()

    def _shout(self, said: Said) -> None:
        expires = self.clock.now_ms() + round(self.settings.commands.ttl_s * 1000)
        self.broker.say("", said, "", expires)

    def _announce(self) -> None:
        """Before anything is answered, so that whoever sees the server ready finds the file."""
        self._stack.callback(withdraw, self.directory.path)
        try:
            announce(self.directory.path, self.settings.http_listen.host, self.http_port, self.local_key())
        except OSError as error:
            # Commands beside the server will say so; devices do not need them.
            log.warning("local_file_not_written", error=str(error))

    def local_key(self) -> str:
        """An API key of the first administrator that lives as long as this process, for what runs beside the server."""
        name = self._administrator().name
        key, text = tokens.new_api_key(name, LOCAL, ["manage"], self.clock.now_ms(), 0)
        self.people.apply(Kept(key))
        return text

    def new_link(self) -> str:
        """A one-time ticket that signs a browser in as the first administrator."""
        return self.auth.new_link(self._administrator().name)

    def _administrator(self) -> Account:
        people = sorted(self.people.accounts.values(), key=lambda one: (one.created_at, one.name))
        return next(one for one in people if one.rank is Role.ADMINISTRATOR and not one.disabled)

    async def _listen(self, services: Services, dialects: Any) -> None:
        settings = self.settings

        async def redeem(request: Request, ticket: str) -> Response | None:
            account = self.auth.redeem_link(ticket)
            if account is None:
                return None
            address, agent = address_of(request), request.headers.get("user-agent", "")
            signed_in = await self.auth.sign_in(account, "native", address, agent, browser=True, link=True)
            services.audit_by(account.name, "auth.login", account.name, address, {"kind": "link"})
            response = RedirectResponse("/ui/", 302)
            from relevo.http.api.sign_in import set_cookie

            set_cookie(response, signed_in.cookie, request.url.scheme == "https")
            return response

        self._live = live = LiveViews(services, self.bus, self._views)
        routes = [*live.routes(), *pages.routes(redeem)]
        routes += mqtt_websocket.routes(
            self.mqtt.new_connection, lambda connection: origin_allowed(services, connection)
        )
        app = build(services, routes)
        for listen in (settings.http_listen, *settings.http_extra_listen):
            self._sockets.append(bind(listen))
            self._stack.callback(self._sockets[-1].close)
        self.http_port = self._sockets[0].getsockname()[1]
        self._door_open = True
        self.mqtt_port = await self.mqtt.start(settings.mqtt_listen)
        tls = None
        if settings.mqtts_listen is not None and settings.tls_cert is not None and settings.tls_key is not None:
            own = services.authority.certificate_file
            tls = ServerTls(settings.tls_cert, settings.tls_key, settings.tls_client_ca, own)
            self.mqtts_port = await self.mqtt.start(settings.mqtts_listen, tls)
        if settings.mqtt_unix is not None:
            await self.mqtt.start_unix(settings.mqtt_unix)
        secure = None
        if tls is not None and settings.https_listen is not None:
            # Listening before anybody is told that the server is ready.
            secure = bind(settings.https_listen)
            self._stack.callback(secure.close)
            self.https_port = secure.getsockname()[1]
        self.mqtt.begin()
        self._announce()
        self._http = HttpDoor(
            app,
            settings.limits.http_timeout_s,
            settings.trusted_proxies,
            services.refuse_at_door,
        )
        await self._http.start(self._sockets)
        if secure is not None:
            # A certificate of its own to show, none to ask for: a browser would bother people with the question.
            assert settings.tls_cert is not None
            assert settings.tls_key is not None
            shown = ServerTls(settings.tls_cert, settings.tls_key, None)
            self.mqtt.keep_fresh(shown)
            await self._http.start([secure], shown.context)
        self._say_where()

    def _say_where(self) -> None:
        listen = self.settings.http_listen
        if self.settings.announce == "off" or (self.settings.announce == "auto" and listen.loopback):
            return
        doors = {"mqtt": self.mqtt_port, "mqtts": self.mqtts_port, "https": self.https_port}
        told = {name: str(port) for name, port in doors.items() if port}
        self._announcer = Announcer(listen.host, self.http_port, told)
        self._announcer.start()

    def _follow_keys(self, seq: int, events: list[AnyEvent]) -> None:
        """A removed device loses everything at once; one with another key, what came in with the old one.

        A rotation with a time of grace ends nobody: the old key is a credential by now.
        """
        for event in events:
            if type(event) is DeviceRemoved:
                self.broker.revoke(f"device:{event.device}", event.device)
            elif type(event) is DeviceChanged and "key_hash" in event.changes:
                self._end_connections_of(event.device)

    def _follow_people(self, change: RecordChange) -> None:
        """Who is removed is at no door any more; whose name is erased has none in memory either."""
        if isinstance(change, Dropped) and change.kind is Account:
            self.broker.end_sessions(f"user:{change.key}")
        elif isinstance(change, NameErased):
            self.twins.forget_name(change.account)
            self._alerts.forget_name(change.account)
            self.dispatch.ledger.forget_name(change.account)

    def _follow_sites(self, change: RecordChange) -> None:
        if isinstance(change, Kept) and isinstance(change.record, Site):
            self._sites[change.record.id] = change.record
        elif isinstance(change, Dropped) and change.kind is Site:
            self._sites.pop(change.key, None)

    def _follow_credentials(self, change: RecordChange) -> None:
        """What is revoked lets nobody in, and nobody stay."""
        held = None
        if isinstance(change, Dropped) and change.kind is Credential:
            held = self.keyring.get(change.key)
        self.keyring.apply(change)
        if held is not None:
            self._end_connections_of(held.device)

    def _end_connections_of(self, device: str) -> int:
        """End those connections of a device whose credential is no longer good; how many that were."""
        now = self.clock.now_ms()
        return self.broker.end_where(
            lambda one: one.device == device and not self.keyring.stands(device, one.credential, now)
        )

    async def stop(self) -> None:
        """Stop accepting, commit and acknowledge what is here, say good-bye; at most five seconds."""
        if self._stopped:
            return
        self._stopped = True
        begun = self.clock.monotonic()
        withdraw(self.directory.path)
        await self.demo.stop()
        await self._stop_jobs()
        await self.mqtt.stop_accepting()
        self.pairing.stop()
        self.refusals.stop()
        drained = await self.pipeline.drain(STOP_S * 0.6)
        # Acknowledgements of the last commit leave before their connections are closed.
        await asyncio.sleep(0)
        await self.mqtt.stop()
        self.bus.close()
        if self._live is not None:
            await self._live.close()
        if self._http is not None:
            await self._http.stop(1.5)
        if self._history is not None:
            # What was asked meanwhile.
            await self._history.stop()
        await self.auth.stop()
        await self.pipeline.drain(0.3)
        await self.pipeline.end()
        for sock in self._sockets:
            sock.close()
        await asyncio.to_thread(self._stack.close)
        log.info("stopped", drained=drained, ms=round((self.clock.monotonic() - begun) * 1000))
