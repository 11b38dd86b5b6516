"""``relevo command``: tell a device to do something, and watch what becomes of it."""

import json as json_format
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from relevo.console import Config, Data, read_settings, say, told
from relevo.errors import RelevoError
from relevo.local import LocalServer, quoted

app = typer.Typer()

_GOOD: Final = frozenset({"confirmed", "sent"})
_OVER: Final = frozenset({"confirmed", "failed", "timed_out", "expired", "cancelled"})
_LOOK_S: Final = 2.0
_SHOWN: Final = 200
# One on, one off: what people write for a switch.
_WORDS: Final[dict[str, Any]] = {"on": True, "off": False, "true": True, "false": False, "null": None}


def _devices(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Devices whose id begins with ``incomplete``, for the shell's completion."""
    try:
        settings = read_settings(ctx.params.get("config"), data=ctx.params.get("data"))
        found = LocalServer(settings.data).get("/api/v1/devices", search=incomplete or None, limit=_SHOWN)
    except (RelevoError, typer.Exit, OSError):
        return []
    return [(one["id"], one["name"]) for one in found["items"] if one["id"].startswith(incomplete)]


@app.command()
@told
def command(
    device: Annotated[str, typer.Argument(help="Device id.", autocompletion=_devices)],
    name: Annotated[str, typer.Argument(help="What to do, as the device's contract calls it.")],
    params: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE …; on, off, numbers and JSON are understood.")
    ] = None,
    ttl: Annotated[float | None, typer.Option(help="Seconds for which it may wait for a device that is away.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The outcome alone, for programs.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Tell a device to do something; ends with 0 when it did, 1 when it did not."""
    settings = read_settings(config, data=data)
    server = LocalServer(settings.data)
    path = f"/api/v1/devices/{quoted(device)}/commands"
    body: dict[str, Any] = {"name": name, "params": dict(_pair(one) for one in params or ())}
    if ttl is not None:
        body["ttl"] = ttl
    found = server.post(f"{path}?wait={_LOOK_S}", body)
    shown = 0
    while True:
        for step in found["transitions"][shown:]:
            if not json:
                at = datetime.fromisoformat(step["at"]).astimezone()
                typer.echo(f"{at:%H:%M:%S}.{at.microsecond // 1000:03}  {step['state']:<10} {step['reason']}".rstrip())
        shown = len(found["transitions"])
        if found["state"] in _OVER or (found["state"] == "sent" and not found["answers"]):
            break
        found = server.get(f"{path}/{quoted(found['id'])}", wait=_LOOK_S)
    if json:
        typer.echo(json_format.dumps(found, indent=2, ensure_ascii=False))
    elif found["result"] is not None:
        typer.echo(json_format.dumps(found["result"], ensure_ascii=False))
    if found["state"] not in _GOOD:
        raise typer.Exit(1)


def _pair(text: str) -> tuple[str, Any]:
    key, mark, value = text.partition("=")
    if not mark or not key:
        say(f"relevo: {text!r} is not KEY=VALUE")
        raise typer.Exit(2)
    if value.lower() in _WORDS:
        return key, _WORDS[value.lower()]
    try:
        return key, json_format.loads(value)
    except ValueError:
        return key, value
