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
