"""What all commands share: their common options, and how they speak to people."""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from relevo.errors import ConfigurationError, RelevoError
from relevo.settings import Settings, load

Data = Annotated[Path | None, typer.Option(help="Directory that holds everything Relevo writes.")]
Config = Annotated[Path | None, typer.Option(help="Settings file (relevo.toml in the data directory).")]


def say(text: str) -> None:
    """To people, on standard error: standard output is for data."""
    typer.echo(text, err=True)


def read_settings(config: Path | None, **options: Any) -> Settings:
    """Effective settings; a mistake ends the program with its explanation."""
    try:
        return load(options, config_path=config)
    except ConfigurationError as error:
        say(f"relevo: {error}")
        raise typer.Exit(2) from None


def run(main: Any) -> None:
    """Run a coroutine on uvloop where it is installed."""
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def told(command: Callable[..., None]) -> Callable[..., None]:
    """What goes wrong on purpose ends the command with its explanation."""

    @functools.wraps(command)
    def call(*args: Any, **named: Any) -> None:
        try:
            command(*args, **named)
        except RelevoError as error:
            say(f"relevo: {error}")
            raise typer.Exit(1) from None
        except OSError as error:
            say(f"relevo: {error.filename or 'a file'}: {error.strerror or error}")
            raise typer.Exit(1) from None

    return call
