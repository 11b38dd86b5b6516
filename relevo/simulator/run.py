"""A simulation from beginning to end: enrol, send, drain, read back, judge, report."""

import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Iterator

from relevo.clock import Clock, SystemClock
from relevo.simulator.contracts import Contract
from relevo.simulator.device import SimulatedDevice, now_token
from relevo.simulator.gear import Enrolled, Gear, Tally
from relevo.simulator.generators import source
from relevo.simulator.http_client import HttpClient, HttpFailed
from relevo.simulator.judging import Judgement, counters, judge
from relevo.simulator.mqtt_client import ConnectionRefusedByServer
from relevo.simulator.options import Options
from relevo.simulator.outages import flapping, knocking, storms
from relevo.simulator.readback import ReadBack, read_back
from relevo.simulator.report import Report, percentile_ms

_PROBLEMS_SHOWN = 20


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
        gear = _gear(options, contract, clock, tally, tls)
        account = (options.mqtt_username, options.mqtt_password)
        enrolled = await contract.enrol(http, _names(options), account, gear)
        everybody = [contract.device(one, gear) for one in enrolled]
        fleet = [one for one in everybody if not gear.has("wrong-key", one.enrolled.number)]
        impostors = [one for one in everybody if gear.has("wrong-key", one.enrolled.number)]
        before = await counters(http)
        started = clock.now_ms()
        seconds = await _run_fleet(fleet, impostors, options, tally, stop or asyncio.Event(), http, clock)
        found, judgement = ReadBack(), Judgement()
        if options.verify:
            found = await read_back(http, fleet, started, clock.now_ms())
            judgement = await judge(http, fleet, impostors, before, tally)
        if options.remove:
            await _dismiss(http, enrolled)
    missed = sum(one.mqtt.missed for one in fleet)
    if missed:
        tally.faults["lost-acknowledgements"] = missed
    return _report(options, contract, fleet, tally, seconds, found, judgement)


def _gear(options: Options, contract: Contract, clock: Clock, tally: Tally, tls: ssl.SSLContext) -> Gear:
    return Gear(
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
        options.faults,
        options.faults.struck(options.seed, options.devices),
        contract.board,
        options.updates.fates(options.seed, options.devices) if options.updates is not None else {},
        options.trial,
    )


def _report(
    options: Options,
    contract: Contract,
    fleet: list[SimulatedDevice],
    tally: Tally,
    seconds: float,
    found: ReadBack,
    judgement: Judgement,
) -> Report:
    tally.latencies.sort()
    tally.poll_latencies.sort()
    steady = seconds - options.ramp
    # Ended while devices were still coming up, there is nothing but the ramp.
    sent, during = (tally.sent - tally.sent_rising, steady) if steady > 0 else (tally.sent, seconds)
    return Report(
        devices=options.devices,
        contract=contract.name,
        sent=tally.sent,
        acknowledged=tally.acknowledged,
        repeated=sum(one.mqtt.repeated for one in fleet),
        seconds=round(seconds, 3),
        rate=round(sent / during, 1) if during else 0.0,
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
        profile=options.profile,
        ramp=options.ramp,
        faults=dict(sorted(tally.faults.items())),
        refused=judgement.refused,
        noticed=judgement.noticed,
        deduplicated=judgement.deduplicated,
        uncounted=judgement.uncounted,
        let_in=tally.let_in,
        untrue=judgement.untrue,
        commands=judgement.commands,
        updates=dict(sorted(tally.updates.items())),
        examples=found.examples + judgement.examples[:_PROBLEMS_SHOWN],
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
        yield name.upper() if options.kind.name == "hidrometro" else name


async def _run_fleet(
    fleet: list[SimulatedDevice],
    impostors: list[SimulatedDevice],
    options: Options,
    tally: Tally,
    stop: asyncio.Event,
    operator: HttpClient,
    clock: Clock,
) -> float:
    """Send until the end and wait for acknowledgements; returns the seconds from first to last."""
    tally.problems.clear()
    begin = [options.ramp * number / len(fleet) for number in range(len(fleet))]
    beside = [
        asyncio.create_task(_connected(one, tally, wait), name=f"{one.enrolled.device} link")
        for one, wait in zip(fleet, begin, strict=True)
    ]
    beside += [asyncio.create_task(knocking(one, tally), name=f"{one.name} impostor") for one in impostors]
    if options.faults.storm:
        beside.append(asyncio.create_task(storms(fleet, options.faults.storm, tally), name="storms"))
    if options.ramp:
        beside.append(asyncio.create_task(_risen(options.ramp, tally), name="ramp"))
    if options.steer:
        beside.append(asyncio.create_task(_steering(fleet, options, operator, tally), name="operator"))
    started = clock.monotonic()
    async with _interruptible(stop), _progress(options, tally):
        try:
            async with asyncio.timeout(options.ramp + options.duration if options.duration else None):
                senders = [
                    _sending(one, options.period, _share(options, number), stop, begin[number])
                    for number, one in enumerate(fleet)
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


async def _risen(ramp: float, tally: Tally) -> None:
    await asyncio.sleep(ramp)
    tally.risen()


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
            # Over a broken connection a command may not arrive; that the server says so is judged at the end.
            if not obeyed and not options.faults.cuts:
                tally.problems.append(f"{device.name}: did not do as it was told: {device.expected}")


def _share(options: Options, number: int) -> int | None:
    if options.count is None:
        return None
    return options.count // options.devices + (number < options.count % options.devices)


async def _connected(device: SimulatedDevice, tally: Tally, wait: float) -> None:
    await asyncio.sleep(wait)
    for habit in device.habits():
        device.soon(habit)
    if device.updating is not None:
        device.soon(device.updating.live())
    if device.gear.has("flap", device.enrolled.number):
        device.soon(flapping(device, tally))
    try:
        await device.link()
    except ConnectionRefusedByServer as error:
        tally.problems.append(str(error))


async def _sending(device: SimulatedDevice, period: float, count: int | None, stop: asyncio.Event, wait: float) -> None:
    if wait:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)
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
