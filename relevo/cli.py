"""The command line."""

import json
from typing import Annotated

import typer

from relevo import (
    __version__,
    cli_authority,
    cli_backup,
    cli_command,
    cli_firmware,
    cli_flash,
    cli_history,
    cli_joining,
    cli_serving,
    cli_signing,
    cli_simulate,
    cli_why,
)
from relevo.cli_serving import Http, Mqtt
from relevo.console import Config, Data, read_settings, say
from relevo.settings import describe

app = cli_serving.app
app.add_typer(cli_authority.app)
app.add_typer(cli_why.app)
app.add_typer(cli_joining.app)
app.add_typer(cli_command.app)
app.add_typer(cli_signing.app)
app.add_typer(cli_backup.app)
app.add_typer(cli_history.app)
# One group: what is made of the firmware here, and what the server does with it.
cli_firmware.app.add_typer(cli_flash.files)
app.add_typer(cli_firmware.root)
app.add_typer(cli_flash.app)
app.add_typer(cli_simulate.app)


@app.command()
def settings(
    data: Data = None,
    http: Http = None,
    mqtt: Mqtt = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show every setting with its effective value and where it came from."""
    rows = describe(read_settings(config, data=data, http=http, mqtt=mqtt))
    if as_json:
        typer.echo(json.dumps([row._asdict() for row in rows], indent=2, default=str))
        return
    # Plain columns, never cut: it is read by people and by grep.
    wide = max(len(row.name) for row in rows)
    values = min(40, max(len(str(row.value)) for row in rows))
    for row in rows:
        typer.echo(f"{row.name:<{wide}}  {row.value!s:<{values}}  {row.origin}")


@app.command()
def doctor(data: Data = None, http: Http = None, mqtt: Mqtt = None, config: Config = None) -> None:
    """Test ports, disk, clock and database, and say what to do about each failure."""
    from relevo.jobs.doctor import run_checks

    checks = run_checks(read_settings(config, data=data, http=http, mqtt=mqtt))
    for check in checks:
        say(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
        if not check.ok and check.remedy:
            say(f"      {check.remedy}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
