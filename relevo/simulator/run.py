"""A simulation from beginning to end: enrol, send, drain, read back, report."""

import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from relevo.clock import Clock, SystemClock
from relevo.errors import ConfigurationError
from relevo.simulator.contracts import Contract, contract_named
from relevo.simulator.device import Enrolled, Gear, SimulatedDevice, Tally, now_token
from relevo.simulator.generators import source
from relevo.simulator.http_client import HttpClient, HttpFailed
from relevo.simulator.mqtt_client import ConnectionRefusedByServer
from relevo.simulator.readback import ReadBack, read_back
from relevo.simulator.report import Report, percentile_ms

_PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Options:
    """Everything a simulation can be told.

    ``rate`` is messages a second of all devices together, or of each when ``per_device``; ``None`` is the contract's
    own interval. The run ends after ``duration`` seconds or ``count`` messages in all, whichever is first; with neither
    it runs until interrupted. ``drain`` is how many seconds it then waits for outstanding acknowledgements. ``token``
    replaces ``username`` and ``password`` of the administrator. ``mqtt_username`` and ``mqtt_password`` are for
    contracts whose devices have no key of their own. ``qos`` of ``None`` is the contract's own. ``steer`` is seconds
    between two changes that an operator makes at devices picked at random, 0 for none. ``progress`` of ``None`` shows a
    bar on a terminal only.
    """

    devices: int = 10
    contract: str = "native"
    rate: float | None = None
    per_device: bool = False
    duration: float | None = 60.0
    count: int | None = None
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = 1883
    mqtt_tls: bool = False
    ca_file: str = ""
    http: str = "http://127.0.0.1:8000"
    username: str = "admin"
    password: str = ""
    token: str = ""
    mqtt_username: str = ""
    mqtt_password: str = ""
    prefix: str = ""
    seed: int = 1
    qos: int | None = None
    window: int = 20
    drain: float = 15.0
    verify: bool = True
    remove: bool = False
    steer: float = 0.0
    progress: bool | None = None

    @property
    def period(self) -> float:
        """Seconds between two messages of one device."""
        if self.rate is None:
            return contract_named(self.contract).period_s
        return 1 / self.rate if self.per_device else self.devices / self.rate

    def check(self) -> Contract:
        """The contract meant. Raises :class:`ConfigurationError` naming the first option that makes no sense."""
        contract = contract_named(self.contract)
        rules = [
            (self.devices >= 1, "devices must be at least 1"),
            (self.rate is None or self.rate > 0, "rate must be above 0 messages a second"),
            (self.qos in (None, 0, 1), "qos must be 0 or 1"),
            (1 <= self.window <= 65_000, "window must be 1 to 65000 messages"),
            (self.duration is None or self.duration > 0, "duration must be above 0 seconds"),
            (self.count is None or self.count >= self.devices, "count must be at least one message for each device"),
            (self.steer >= 0, "steer must be 0 seconds or more"),
            (bool(self.token or self.password), "an administrator's password or token is needed to enrol devices"),
        ]
        for holds, text in rules:
            if not holds:
                raise ConfigurationError(text)
        step = contract.device.resolution_ms
        if self.period * 1000 < step:
            raise ConfigurationError(
                f"a {contract.name} device tells time in steps of {step} ms and can send at most "
                f"{1000 / step:g} messages a second; use more devices or a lower rate"
            )
        return contract


async def simulate(options: Options, *, stop: asyncio.Event | None = None, clock: Clock | None = None) -> Report:
    """Run the simulation. ``stop``, or Ctrl-C in the main thread, ends the sending early and still reports.

    Raises :class:`ConfigurationError` for impossible options and :class:`HttpFailed` when devices cannot be enrolled.
    """
    contract = options.check()
    clock = clock or SystemClock()
    tls = ssl.create_default_context(cafile=options.ca_file or None)
    async with HttpClient(options.http, tls=tls) as http:
        http.token = options.token
        if not http.token:
            await http.login(options.username, options.password)
        tally = Tally()
        gear = Gear(
            options.http,
            options.mqtt_host,
            options.mqtt_port,
            clock,
            tally,
            options.seed,
            options.qos,
            options.window,
            bool(options.steer),
            tls if options.mqtt_tls else None,
            tls,
        )
        account = (options.mqtt_username, options.mqtt_password)
        enrolled = await contract.enrol(http, _names(options), account, gear)
        fleet = [contract.device(one, gear) for one in enrolled]
        started = clock.now_ms()
        seconds = await _run_fleet(fleet, options, tally, stop or asyncio.Event(), http, clock)
        found = await read_back(http, fleet, started, clock.now_ms()) if options.verify else ReadBack()
        if options.remove:
            await _dismiss(http, enrolled)
    tally.latencies.sort()
    tally.poll_latencies.sort()
    return Report(
        devices=len(fleet),
        contract=contract.name,
        sent=tally.sent,
        acknowledged=tally.acknowledged,
        repeated=sum(one.mqtt.repeated for one in fleet),
        seconds=round(seconds, 3),
        rate=round(tally.sent / seconds, 1) if seconds else 0.0,
        p50_ms=percentile_ms(tally.latencies, 50),
        p95_ms=percentile_ms(tally.latencies, 95),
        p99_ms=percentile_ms(tally.latencies, 99),
        polls=tally.polls,
        poll_p99_ms=percentile_ms(tally.poll_latencies, 99),
        told=tally.told,
        obeyed=tally.obeyed,
        strays=tally.strays,
        verified=options.verify,
        readings_compared=found.compared,
        missing=found.missing,
        unstored=found.unstored,
        duplicated=found.duplicated,
        foreign=found.foreign,
        examples=found.examples,
        problems=_summed(tally.problems),
    )


def _summed(problems: list[str]) -> list[str]:
    """The first few of them, and how many more there were."""
    if len(problems) <= _PROBLEMS_SHOWN:
        return problems
    return [*problems[:_PROBLEMS_SHOWN], f"and {len(problems) - _PROBLEMS_SHOWN} more"]


async def _dismiss(http: HttpClient, enrolled: list[Enrolled]) -> None:
    """Remove the devices again, with everything they sent."""
    for one in enrolled:
        (await http.delete(f"/api/v1/devices/{one.device}")).expect(200, 202, 204, 404)


def _names(options: Options) -> Iterator[str]:
    word = options.prefix or f"sim-{now_token()}"
    width = max(3, len(str(options.devices)))
    for number in range(1, options.devices + 1):
        name = f"{word}-{number:0{width}}"
        # Meters' serial numbers are compared in upper case; writing them so keeps one spelling everywhere.
        yield name.upper() if options.contract == "hidrometro" else name


async def _run_fleet(
    fleet: list[SimulatedDevice],
    options: Options,
    tally: Tally,
    stop: asyncio.Event,
    operator: HttpClient,
    clock: Clock,
) -> float:
    """Send until the end and wait for acknowledgements; returns the seconds from first to last."""
    tally.problems.clear()
    beside = [asyncio.create_task(_connected(one, tally), name=f"{one.enrolled.device} link") for one in fleet]
    for one in fleet:
        for habit in one.habits():
            one.soon(habit)
    if options.steer:
        beside.append(asyncio.create_task(_steering(fleet, options, operator, tally), name="operator"))
    started = clock.monotonic()
    async with _interruptible(stop), _progress(options, tally):
        try:
            async with asyncio.timeout(options.duration):
                senders = [
                    _sending(one, options.period, _share(options, number), stop) for number, one in enumerate(fleet)
                ]
                await asyncio.gather(*senders)
        except TimeoutError:
            pass
        # Habits send too; what is under way when they end is still waited for.
        for one in fleet:
            one.end()
        await asyncio.gather(*(one.drained(options.drain) for one in fleet))
    seconds = clock.monotonic() - started
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    return seconds


async def _steering(fleet: list[SimulatedDevice], options: Options, operator: HttpClient, tally: Tally) -> None:
    """An operator at work: picks a device, changes something there, and sees whether it does so."""
    rng = source(options.seed, "operator", "picks")
    while True:
        await asyncio.sleep(options.steer)
        device = rng.choice(fleet)
        try:
            obeyed = await device.steer(operator)
        except HttpFailed as error:
            tally.problems.append(f"{device.name}: {error}")
            continue
        if obeyed is not None:
            tally.told += 1
            tally.obeyed += obeyed
            if not obeyed:
                tally.problems.append(f"{device.name}: did not do as it was told: {device.expected}")


def _share(options: Options, number: int) -> int | None:
    if options.count is None:
        return None
    return options.count // options.devices + (number < options.count % options.devices)


async def _connected(device: SimulatedDevice, tally: Tally) -> None:
    try:
        await device.link()
    except ConnectionRefusedByServer as error:
        tally.problems.append(str(error))


async def _sending(device: SimulatedDevice, period: float, count: int | None, stop: asyncio.Event) -> None:
    # The link's own task reports the refusal; here it only means that this device has nothing more to send.
    with contextlib.suppress(ConnectionRefusedByServer):
        await device.send_every(period, count, stop)


@contextlib.asynccontextmanager
async def _interruptible(stop: asyncio.Event) -> AsyncIterator[None]:
    """Let Ctrl-C end the sending instead of the program."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGINT, stop.set)
    except (NotImplementedError, RuntimeError, ValueError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@contextlib.asynccontextmanager
async def _progress(options: Options, tally: Tally) -> AsyncIterator[None]:
    """A bar on standard error, when somebody is there to see it."""
    wanted = sys.stderr.isatty() if options.progress is None else options.progress
    if not wanted:
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[sent]} sent, {task.fields[acknowledged]} acknowledged"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("", total=None, sent=0, acknowledged=0)

        async def draw() -> None:
            while True:
                bar.update(row, sent=tally.sent, acknowledged=tally.acknowledged)
                await asyncio.sleep(0.2)

        task = asyncio.create_task(draw(), name="progress")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
