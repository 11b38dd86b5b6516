"""``relevo export`` and ``relevo import``: history as files, through the server that runs."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from relevo.console import Config, Data, read_settings, say, told
from relevo.errors import Invalid, RelevoError
from relevo.local import LocalServer, quoted

app = typer.Typer()

_FORMATS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_SOURCES: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".db": "home-assistant"}
_REPORTS: Final = "application/x-ndjson"
_PART: Final = 262_144
_LOOK_S: Final = 0.5
_SHOWN: Final = 10


@app.command()
@told
def export(
    file: Annotated[Path, typer.Argument(help="Where to: .csv, .jsonl or .parquet.")],
    device: Annotated[list[str] | None, typer.Option(help="A device; may be repeated. All when nothing says.")] = None,
    site: Annotated[str, typer.Option(help="Devices of this site.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Devices with this label; all of several.")] = None,
    kind: Annotated[str, typer.Option("--type", help="Devices of this type.")] = "",
    key: Annotated[list[str] | None, typer.Option(help="A key; may be repeated. All when none is given.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on: ISO 8601 or milliseconds UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    long: Annotated[bool, typer.Option("--long", help="CSV with a row for each value instead of each time.")] = False,
    times: Annotated[str, typer.Option(help="Times in CSV: iso or ms.")] = "iso",
    zone: Annotated[str, typer.Option(help="Time zone of times in CSV, else UTC.")] = "",
    bom: Annotated[bool, typer.Option("--bom", help="CSV that Excel knows as UTF-8.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Write history into a file; one that was not finished is FILE.partial."""
    form = _FORMATS.get(file.suffix.lower())
    if form is None:
        raise Invalid("format_missing", f"{file}: the name has to end in {', '.join(_FORMATS)}")
    body = {
        "devices": device or [],
        "tags": tag or [],
        "site": site,
        "type": kind,
        "keys": key or [],
        "from": since,
        "to": until,
        "format": form,
        "form": "long" if long else "wide",
        "times": times,
        "zone": zone,
        "bom": bom,
    }
    server = LocalServer(read_settings(config, data=data).data)
    partial = file.with_name(file.name + ".partial")
    with server.open("POST", "/api/v1/exports", json.dumps(body).encode()) as answer:
        about = int(answer.headers.get("X-Relevo-Expected", "0"))
        with partial.open("wb") as out, _bar("values", about) as move:
            points = _copy(server, answer, out, answer.headers.get("X-Relevo-Export", ""), move)
    partial.replace(file)
    say(f"{file}: {file.stat().st_size} bytes, about {max(points, about)} values")


def _copy(server: LocalServer, answer: Any, out: BinaryIO, export_id: str, move: Any) -> int:
    """Raises :class:`RelevoError` for a file that ends early."""
    looked = time.monotonic()
    points = 0
    while part := answer.read(_PART):
        out.write(part)
        if time.monotonic() - looked >= _LOOK_S:
            looked = time.monotonic()
            # One that has just ended is known no more.
            with contextlib.suppress(RelevoError):
                points = int(server.get(f"/api/v1/exports/{quoted(export_id)}")["points"])
                move(points)
    return points


@app.command("import")
@told
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, JSON lines, or a recorder database of Home Assistant.")],
    form: Annotated[
        str,
        typer.Option(
            "--format", help="csv and jsonl as Relevo exports them, columns (any CSV), thingsboard, home-assistant."
        ),
    ] = "",
    device: Annotated[str, typer.Option(help="Whose readings these are, where no line says it.")] = "",
    name: Annotated[
        list[str] | None, typer.Option("--name", help="FROM=KEY or FROM=DEVICE/KEY; * stands for any part.")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Register devices that are not there.")] = False,
    zone: Annotated[str, typer.Option(help="Time zone of times that have none, else UTC.")] = "",
    time_column: Annotated[str, typer.Option(help="The column of times.")] = "",
    time_format: Annotated[str, typer.Option(help="iso, s, ms, us, ns, or a pattern such as '%d.%m.%Y %H:%M'.")] = "",
    device_column: Annotated[str, typer.Option(help="The column of devices.")] = "",
    delimiter: Annotated[str, typer.Option(help="Between columns; found out when not given.")] = "",
    decimal: Annotated[str, typer.Option(help="Before decimals: . or ,")] = ".",
    statistics: Annotated[bool, typer.Option(help="Of Home Assistant also what is older than its states.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="The report, for programs.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Take history from a file; what is there already is not taken again. 1 when something was left out."""
    source = form or _SOURCES.get(file.suffix.lower(), "")
    if not source:
        raise Invalid("format_missing", f"{file}: name its format with --format")
    server = LocalServer(read_settings(config, data=data).data)
    query = {
        "format": source,
        "device": device,
        "create": create,
        "zone": zone,
        "time_column": time_column,
        "time_format": time_format,
        "device_column": device_column,
        "delimiter": delimiter,
        "decimal": decimal,
        "statistics": statistics,
        "names": name or [],
    }
    report: dict[str, Any] = {}
    with (
        file.open("rb") as source_file,
        _bar("bytes", file.stat().st_size) as move,
        server.open("POST", "/api/v1/imports", _parts(source_file, move), query, _REPORTS) as answer,
    ):
        for line in answer:
            report = json.loads(line)
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _tell(file, report)
    if "error" in report:
        raise Invalid("import_format", report["error"])
    if report.get("refused") or report.get("unknown") or not report.get("done"):
        raise typer.Exit(1)


def _parts(file: BinaryIO, move: Any) -> Iterator[bytes]:
    sent = 0
    while part := file.read(_PART):
        yield part
        sent += len(part)
        move(sent)


def _tell(file: Path, report: dict[str, Any]) -> None:
    typer.echo(
        f"{file}: {report['points']} values in {report['readings']} readings, {report['repeated']} were there already"
    )
    if report["created"]:
        say(f"registered: {_listed(report['created'])}")
    for fault in report["faults"][:_SHOWN]:
        say(f"line {fault['line']}: {fault['field'] and fault['field'] + ': '}{fault['detail']} ({fault['reason']})")
    if report["refused"] > _SHOWN:
        say(f"… {report['refused']} were refused in all; --json names the first hundred")
    if report["unknown"]:
        say(f"no such devices: {_listed(sorted(report['unknown']))}; --create registers them")
    for note in report["notes"]:
        say(note)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


@contextlib.contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    """A bar on standard error for people; programs see none. Gives what moves it to a place."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + what), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=max(total, 1))

        def move(place: int) -> None:
            progress.update(task, completed=place, total=max(total, place, 1))

        yield move
