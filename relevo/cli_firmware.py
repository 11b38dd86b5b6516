"""``relevo firmware``: releases of firmware and roll-outs, through the server that runs."""

import json as json_format
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from relevo.console import Config, Data, read_settings, say, told
from relevo.local import LocalServer, quoted

app = typer.Typer(no_args_is_help=True)
root = typer.Typer()
root.add_typer(app, name="firmware", help="Releases of firmware, and bringing them to devices in waves.")

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Devices with this label; all of several.")]
Named = Annotated[list[str] | None, typer.Option("--device", help="A device; may be repeated.")]
_LOOK_S: Final = 1.0
_SHOWN: Final = 200
_BAD: Final = ("failed", "rolled_back", "refused", "timed_out")
_STATES: Final = (
    "waiting", "offered", "downloading", "trial", "updated", "failed", "rolled_back", "refused", "timed_out", "skipped",
    "cancelled",
)  # fmt: skip


def _server(data: Path | None, config: Path | None) -> LocalServer:
    return LocalServer(read_settings(config, data=data).data)


def _print(found: Any) -> None:
    typer.echo(json_format.dumps(found, indent=2, ensure_ascii=False))


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> None:
    """For people; wide enough for every cell where it goes into a pipe."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=1_000)
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        # Notes and names are no markup.
        table.add_row(*(Text(one) for one in row))
    console.print(table)


def _at(text: str | None) -> str:
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}" if text else "-"


@app.command("list")
@told
def list_(json: Json = False, data: Data = None, config: Config = None) -> None:
    """Every release that is kept."""
    found = _server(data, config).get("/api/v1/firmware")
    if json:
        _print(found)
        return
    rows = [
        [one["id"], str(one["size"]), str(one["devices"]), str(len(one["rollouts"])), _at(one["created"]), one["by"]]
        for one in found["items"]
    ]
    _table(("release", "bytes", "devices", "roll-outs", "uploaded", "by"), rows)


@app.command()
@told
def show(
    release: Annotated[str, typer.Argument(help="Board and version, such as relay-1.4.0.")],
    json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """One release with its files."""
    found = _server(data, config).get(f"/api/v1/firmware/{quoted(release)}")
    if json:
        _print(found)
        return
    for name in ("id", "version", "board", "boot", "mpy", "size", "sha256", "by", "created", "devices"):
        typer.echo(f"{name:<8} {found[name]}")
    if found["notes"]:
        typer.echo(f"notes    {found['notes']}")
    _table(("file", "bytes"), [[one["name"], str(one["size"])] for one in found["files"]])


@app.command()
@told
def upload(
    file: Annotated[Path, typer.Argument(help="An image: a plain tar that begins with release.json.")],
    json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Keep an image as a release."""
    with _server(data, config).open("POST", "/api/v1/firmware", iter([file.read_bytes()])) as answer:
        found = json_format.loads(answer.read())
    if json:
        _print(found)
    else:
        typer.echo(f"{found['id']}: {len(found['files'])} files, {found['size']} bytes, sha256 {found['sha256']}")


@app.command()
@told
def remove(
    release: Annotated[str, typer.Argument(help="Board and version.")], data: Data = None, config: Config = None
) -> None:
    """Forget a release that no open roll-out uses."""
    _server(data, config).delete(f"/api/v1/firmware/{quoted(release)}")


@app.command()
@told
def key(json: Json = False, data: Data = None, config: Config = None) -> None:
    """The public key that boards are given when they are prepared (Ed25519, 32 bytes in base64)."""
    found = _server(data, config).get("/api/v1/firmware/key")
    if json:
        _print(found)
    else:
        typer.echo(found["key"])


@app.command()
@told
def rollouts(json: Json = False, data: Data = None, config: Config = None) -> None:
    """The newest roll-outs."""
    found = _server(data, config).get("/api/v1/rollouts", limit=50)
    if json:
        _print(found)
        return
    rows = [
        [
            one["id"],
            one["release"],
            one["state"],
            f"{one['waves_begun']}/{len(one['waves'])}",
            f"{one['settled']}/{one['devices']}",
            str(sum(one["states"].get(state, 0) for state in _BAD)),
            _at(one["created"]),
            one["by"],
            one["reason"],
        ]
        for one in found["items"]
    ]
    _table(("roll-out", "release", "state", "wave", "settled", "failed", "begun", "by", "reason"), rows)


@app.command()
@told
def rollout(
    release: Annotated[str, typer.Argument(help="Board and version.")],
    tag: Tags = None,
    device: Named = None,
    site: Annotated[str, typer.Option(help="Devices of this site.")] = "",
    kind: Annotated[str, typer.Option("--type", help="Devices of this type.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every device.")] = False,
    waves: Annotated[str, typer.Option(help="Percentages that rise to 100.")] = "5,25,100",
    halt: Annotated[int, typer.Option(help="Halt when more than this percentage failed.")] = 20,
    halt_least: Annotated[int, typer.Option(help="Outcomes before a share says anything.")] = 3,
    pause: Annotated[int, typer.Option(help="Seconds between two waves.")] = 600,
    patience: Annotated[int, typer.Option(help="Seconds for which a wave waits for a silent device.")] = 1_800,
    deadline: Annotated[int, typer.Option(help="Seconds after which it is over.")] = 604_800,
    older: Annotated[bool, typer.Option("--older", help="Also devices that run a newer version.")] = False,
    note: Annotated[str, typer.Option(help="For whoever reads it later.")] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would do.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it is over or halted.")] = False,
    json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Bring a release to devices in waves."""
    parts = [one.strip() for one in waves.split(",")]
    if not all(one.isascii() and one.isdigit() for one in parts):
        say(f"relevo: --waves {waves!r} is not percentages by commas, such as 5,25,100")
        raise typer.Exit(2)
    body = {
        "release": release,
        "target": {"all": everything, "devices": device or [], "tags": tag or [], "type": kind, "site": site},
        "waves": [int(one) for one in parts],
        "halt_percent": halt,
        "halt_least": halt_least,
        "wave_pause_s": pause,
        "patience_s": patience,
        "deadline_s": deadline,
        "older": older,
        "note": note,
    }
    server = _server(data, config)
    if preview:
        found = server.post("/api/v1/rollouts/preview", body)
        if json:
            _print(found)
            return
        typer.echo(f"{found['devices']} devices would get {found['release']}, {found['online']} of them are online")
        rows = [[str(one["wave"]), f"{one['percent']} %", str(one["devices"])] for one in found["waves"]]
        _table(("wave", "up to", "devices"), rows)
        for reason, count in found["skipped"].items():
            typer.echo(f"skipped: {count} {reason}")
        return
    found = server.post("/api/v1/rollouts", body)
    if watch:
        _watch(server, found["id"], json)
    else:
        _show(found, json)


@app.command()
@told
def status(
    rollout: Annotated[str, typer.Argument(help="The roll-out.")],
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it is over or halted.")] = False,
    devices: Annotated[bool, typer.Option("--devices", help="Device by device.")] = False,
    json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """How far a roll-out is, wave by wave; ends with 1 when it is halted or something failed."""
    server = _server(data, config)
    if watch:
        _watch(server, rollout, json)
        return
    path = f"/api/v1/rollouts/{quoted(rollout)}"
    found = server.get(path)
    if devices:
        found["items"] = _devices(server, path)
    _show(found, json)
    if _is_bad(found):
        raise typer.Exit(1)


def _devices(server: LocalServer, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = server.get(f"{path}/devices", limit=_SHOWN, cursor=cursor)
        found += page["items"]
        cursor = page["next"]
        if not cursor:
            return found


def _is_bad(found: dict[str, Any]) -> bool:
    return found["state"] == "halted" or any(found["states"].get(state) for state in _BAD)


def _show(found: dict[str, Any], json: bool) -> None:
    if json:
        _print(found)
        return
    why = f": {found['reason']}" if found["reason"] else ""
    typer.echo(f"{found['id']}  {found['release']}  {found['state']}{why}")
    shown = [one for one in _STATES if found["states"].get(one)]
    rows = [
        [
            str(one["wave"]),
            f"{one['percent']} %",
            "begun" if one["begun"] else "-",
            *(str(one["states"].get(state, 0)) for state in shown),
        ]
        for one in found["waves"]
    ]
    _table(("wave", "up to", "", *shown), rows)
    if found["next_wave"]:
        typer.echo(f"next wave at {_at(found['next_wave'])}")
    if "items" in found:
        cells = [
            [one["device"], str(one["wave"]), one["state"], f"{one['percent']} %", one["version"] or "-", one["reason"]]
            for one in found["items"]
        ]
        _table(("device", "wave", "state", "", "runs", "reason"), cells)


def _watch(server: LocalServer, rollout: str, json: bool) -> None:
    """Show every change, until the roll-out is over or halted; ends with 1 when that was not good."""
    before: Any = None
    while True:
        found = server.get(f"/api/v1/rollouts/{quoted(rollout)}")
        now = (found["state"], found["reason"], found["waves"])
        if now != before and not json:
            _show(found, json=False)
        before = now
        if found["state"] not in ("running", "paused"):
            break
        time.sleep(_LOOK_S)
    if json:
        _print(found)
    if _is_bad(found) or found["state"] != "done":
        raise typer.Exit(1)


@app.command()
@told
def pause(
    rollout: Annotated[str, typer.Argument(help="The roll-out.")], data: Data = None, config: Config = None
) -> None:
    """Offer nothing more for now."""
    _show(_server(data, config).post(f"/api/v1/rollouts/{quoted(rollout)}/pause"), json=False)


@app.command()
@told
def resume(
    rollout: Annotated[str, typer.Argument(help="The roll-out.")], data: Data = None, config: Config = None
) -> None:
    """Go on after a pause or a halt."""
    _show(_server(data, config).post(f"/api/v1/rollouts/{quoted(rollout)}/resume"), json=False)


@app.command()
@told
def cancel(
    rollout: Annotated[str, typer.Argument(help="The roll-out.")], data: Data = None, config: Config = None
) -> None:
    """End a roll-out for all devices that are not settled."""
    _show(_server(data, config).post(f"/api/v1/rollouts/{quoted(rollout)}/cancel"), json=False)


@app.command()
@told
def retry(
    rollout: Annotated[str, typer.Argument(help="The roll-out.")],
    state: Annotated[
        list[str] | None, typer.Option(help="failed, timed_out, refused (these unless said), rolled_back, cancelled.")
    ] = None,
    device: Named = None,
    deadline: Annotated[int | None, typer.Option(help="Seconds from now on; needed when it has passed.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Let devices that did not get it try once more."""
    body: dict[str, Any] = {"devices": device or []}
    if state:
        body["states"] = state
    if deadline is not None:
        body["deadline_s"] = deadline
    _show(_server(data, config).post(f"/api/v1/rollouts/{quoted(rollout)}/retry", body), json=False)
