"""``relevo simulate``: devices that do not exist, and real firmware in processes of its own (docs/simulator.md)."""

import json
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from relevo.console import run, say
from relevo.errors import ConfigurationError, RelevoError

app = typer.Typer()

_FAULTS = "What goes wrong: flap, storm, stale-clock, duplicates, reordering, malformed, wrong-key, lost-answers."
_UPDATES = "What becomes of new firmware: healthy, or bad, hash, stops, refuses, never, slow, each with =SHARE."


@app.command()
def simulate(
    devices: Annotated[int, typer.Option(min=1, max=100_000, help="How many devices.")] = 10,
    contract: Annotated[str, typer.Option(help="native, autocore, hidrometro, emqx, thingsnxt or alchemy.")] = "native",
    profile: Annotated[
        str, typer.Option(help="A kind of device, which says its contract: relay16, meter, climate or poller.")
    ] = "",
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Messages a second, all devices together; unset: as often as the contract says."),
    ] = None,
    per_device: Annotated[bool, typer.Option("--per-device", help="The rate is of each device.")] = False,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds to send.")] = 60.0,
    ramp: Annotated[float, typer.Option(min=0.0, help="Seconds before that in which devices come up.")] = 0.0,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many messages.")] = None,
    fault: Annotated[list[str] | None, typer.Option(metavar="NAME=SHARE,…", help=_FAULTS)] = None,
    updates: Annotated[str, typer.Option(metavar="NAME=SHARE,…", help=_UPDATES)] = "",
    trial: Annotated[float, typer.Option(min=0.0, help="Seconds that new firmware is on trial.")] = 5.0,
    real_firmware: Annotated[
        int, typer.Option(min=0, max=1_000, help="Run so many boards of our firmware under a real MicroPython instead.")
    ] = 0,
    mqtt: Annotated[str, typer.Option(metavar="HOST:PORT", help="The MQTT door.")] = "127.0.0.1:1883",
    http: Annotated[str, typer.Option(metavar="URL", help="The HTTP door, for enrolment and read-back.")] = (
        "http://127.0.0.1:8000"
    ),
    username: Annotated[str, typer.Option(help="Administrator's name.")] = "admin",
    password: Annotated[str, typer.Option(envvar="RELEVO_ADMIN_PASSWORD", help="Administrator's password.")] = "",
    mqtt_username: Annotated[str, typer.Option(help="Broker account of devices that have no key.")] = "",
    mqtt_password: Annotated[str, typer.Option(envvar="RELEVO_SIMULATED_MQTT_PASSWORD", help="Its password.")] = "",
    qos: Annotated[int | None, typer.Option(min=0, max=1, help="Unset: the contract's own.")] = None,
    steer: Annotated[float, typer.Option(min=0.0, help="Seconds between two changes by an operator, 0 for none.")] = 0,
    seed: Annotated[int, typer.Option(help="Same seed, same values.")] = 1,
    verify: Annotated[bool, typer.Option(help="Read everything back and compare.")] = True,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the devices afterwards, with what they sent.")
    ] = False,
) -> None:
    """Let simulated devices of a contract live over real sockets, and read back what they sent.

    Prints a JSON report; ends with 1 when something acknowledged is missing or the server says what is not so.
    """
    from relevo.settings import parse_listen
    from relevo.simulator import faults, outcomes
    from relevo.simulator.firmware import FirmwareOptions, simulate_firmware
    from relevo.simulator.options import Options
    from relevo.simulator.run import simulate

    try:
        try:
            door = parse_listen(mqtt)
        except ValueError as error:
            raise ConfigurationError(f"--mqtt {error}") from None
        if real_firmware:
            if fault or updates or count or rate or qos is not None:
                raise ConfigurationError("real firmware takes no fault, updates, count, rate or qos")
            boards = FirmwareOptions(
                boards=real_firmware,
                profile=profile or "relay16",
                duration=duration,
                ramp=ramp,
                steer=steer,
                http=http,
                mqtt_port=door.port,
                username=username,
                password=password,
                seed=seed,
                remove=remove,
            )
            report = _run(simulate_firmware(boards))
        else:
            options = Options(
                devices=devices,
                contract=contract,
                profile=profile,
                rate=rate,
                per_device=per_device,
                duration=duration,
                ramp=ramp,
                count=count,
                faults=faults.parse(fault or []),
                updates=outcomes.parse(updates) if updates else None,
                trial=trial,
                mqtt_host=door.host,
                mqtt_port=door.port,
                http=http,
                username=username,
                password=password,
                mqtt_username=mqtt_username,
                mqtt_password=mqtt_password,
                qos=qos,
                steer=steer,
                seed=seed,
                verify=verify,
                remove=remove,
            )
            report = _run(simulate(options))
            if report.missing:
                say(f"relevo: {report.missing} acknowledged readings are missing")
    except RelevoError as error:
        say(f"relevo: {error}")
        raise typer.Exit(2) from None
    typer.echo(json.dumps(report.as_dict(), indent=2))
    raise typer.Exit(report.exit_code)


def _run(simulation: Coroutine[Any, Any, Any]) -> Any:
    found: list[Any] = []

    async def go() -> None:
        found.append(await simulation)

    run(go())
    return found[0]
