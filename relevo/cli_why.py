"""``relevo why``: the story of a device for whoever stands in front of one that does not appear."""

import json as json_format
from typing import Annotated, Any

import typer

from relevo.console import Config, Data, read_settings, say, told
from relevo.local import LocalServer

app = typer.Typer()

_SHOWN = 15


@app.command()
@told
def why(
    name: Annotated[str, typer.Argument(help="Device id, serial number, MQTT user name or network address.")],
    json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Say why a device does not appear or does not do what it should, and what helps."""
    settings = read_settings(config, data=data)
    found = LocalServer(settings.data).get("/api/v1/why", about=name)
    if json:
        typer.echo(json_format.dumps(found, indent=2, ensure_ascii=False))
        return
    typer.echo(found["verdict"])
    _part("Its story, newest first", found["story"])
    for one in found["unclaimed"]:
        typer.echo(
            f"\nUnclaimed: {one['contract']} {one['external_id']}, seen {one['count']} times, "
            f"last {one['last_seen']} from {one['address'] or 'unknown'}: {one['reason']}"
        )
    _part("At the doors, newest first", found["door"])
    if found["device"] is not None and not found["story"]:
        say("(nothing is in its story yet)")


def _part(title: str, lines: list[dict[str, Any]]) -> None:
    if not lines:
        return
    typer.echo(f"\n{title}:")
    for line in lines[:_SHOWN]:
        what = " ".join(part for part in (line["kind"], line["reason"], line["detail"]) if part)
        count = f" ({line['count']} times since {line['first_at']})" if line["count"] > 1 else ""
        where = f" [{line['address']}]" if line["address"] else ""
        typer.echo(f"  {line['at']}  {what}{where}{count}")
    if len(lines) > _SHOWN:
        typer.echo(f"  … and {len(lines) - _SHOWN} more; --json shows all")
