"""``relevo backup``, ``restore`` and ``check``."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from relevo.clock import SystemClock
from relevo.console import Config, Data, read_settings, say, told
from relevo.errors import Conflict, RelevoError

app = typer.Typer()

Tell = Callable[[str, int, int], None]


@contextlib.contextmanager
def bar() -> Iterator[Tell]:
    """Shows how far something is, on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda phase, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def tell(phase: str, done: int, total: int) -> None:
            progress.update(task, description=phase, completed=done, total=total)

        yield tell


@app.command()
@told
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it is to be; the name is free to choose.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a file of that name, once all is well.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Write everything of a running or stopped Relevo into one file, as it is at one moment.

    Private keys are in it: it can be read by its owner alone.
    """
    from relevo.store.backup import make

    settings = read_settings(config, data=data)
    # As Ctrl-C does: what is half done is removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with contextlib.suppress(OSError):
        os.nice(10)
    with bar() as tell:
        made = make(settings.data, file, tell, replace=replace)
    for name in made.left_out:
        say(f"relevo: {name} is larger than a file of settings or keys and is not in it")
    say(
        f"{made.file}: {made.size / 1e6:,.1f} MB with {made.devices} devices, {made.users} people, {made.points:,} "
        f"values, up to event {made.seq}"
    )


@app.command()
@told
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `relevo backup` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Put what the directory holds aside.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Bring a data directory back from a backup, all of it or nothing. Relevo must not run there."""
    from relevo.restoring import restore as bring_back

    settings = read_settings(config, data=data)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with bar() as tell:
        found = bring_back(file, settings.data, SystemClock().now_ms(), tell, replace=replace)
    manifest = found.manifest
    if found.aside is not None:
        say(f"what was there is in {found.aside}: remove it when it is not needed any more")
    say(
        f"{settings.data} is as it was up to event {manifest.seq}: {manifest.devices} devices, {manifest.users} "
        f"people, {manifest.points:,} values. Start it with `relevo serve --data {settings.data}`"
    )


@app.command()
@told
def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A backup; unset: what the data directory holds.")
    ] = None,
    salvage: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save what can be read into a new data directory.")
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Look for damage and name it; ends with 1 when there is any, with 2 when it cannot look.

    Relevo may run meanwhile, except for --salvage.
    """
    from relevo.examining import check_backup, check_data, save
    from relevo.store.checking import Report

    settings = read_settings(config, data=data)
    try:
        if file is not None and salvage is not None:
            raise Conflict("--salvage is for a data directory; restore the backup instead")
        with bar() as tell:
            if salvage is not None:
                found: Report = save(settings.data, salvage, SystemClock().now_ms(), tell)
            else:
                found = check_backup(file, tell) if file is not None else check_data(settings.data, tell)
    except (RelevoError, OSError) as error:
        say(f"relevo: {error}")
        raise typer.Exit(2) from None
    for one in found.findings:
        typer.echo(f"{one.where}: {one.what}")
    if found.more:
        typer.echo(f"and {found.more} more")
    rows = f"{found.rows.total():,} rows of {len(found.rows)} tables can be read"
    if salvage is not None:
        say(f"{rows} and are in {salvage}; what is missing is listed in {salvage / 'missing.txt'}")
    else:
        say(rows if found.findings else f"nothing is damaged: {rows}")
    if found.findings:
        raise typer.Exit(1)
