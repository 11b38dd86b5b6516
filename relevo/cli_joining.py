"""``relevo pair`` and ``relevo factory``: they ask the running server, which is the only writer of its store."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from relevo.console import Config, Data, read_settings, say
from relevo.errors import RelevoError
from relevo.local import LocalServer
from relevo.settings import Settings

app = typer.Typer()
factory = typer.Typer(help="Devices that a factory made.", no_args_is_help=True)
app.add_typer(factory, name="factory")


def ask(settings: Settings, method: str, path: str, body: Any = None) -> Any:
    """The running server's answer; a mistake ends the program with its explanation."""
    try:
        return LocalServer(settings.data).ask(method, path, body)
    except RelevoError as error:
        say(f"relevo: {error}")
        raise typer.Exit(1) from None


@app.command()
def pair(
    minutes: Annotated[int, typer.Option(min=1, max=60, help="How long devices may register by themselves.")] = 10,
    close: Annotated[bool, typer.Option("--close", help="Close the window now.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Open the pairing window of the running server, or close it."""
    settings = read_settings(config, data=data)
    if close:
        ask(settings, "DELETE", "/api/v1/pairing")
        say("pairing is closed")
        return
    answer = ask(settings, "POST", "/api/v1/pairing", {"minutes": minutes})
    until = datetime.fromisoformat(answer["closes_at"]).astimezone()
    say(f"pairing is open until {until:%H:%M:%S}; end it sooner with `relevo pair --close`")


@factory.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with contract,serial,key,name,type,site,tags.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Register the devices of a CSV file; prints a JSON list with their keys and codes, 1 when a row was refused."""
    settings = read_settings(config, data=data)
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        say(f"relevo: {file}: {error}")
        raise typer.Exit(2) from None
    answer = ask(settings, "POST", "/api/v1/factory", {"csv": text})
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    say(f"{answer['created']} created, {answer['refused']} refused")
    if answer["refused"]:
        raise typer.Exit(1)
