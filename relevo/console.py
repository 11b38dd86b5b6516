"""What all commands share: their common options, and how they speak to people."""

from pathlib import Path
from typing import Annotated, Any

import typer

from relevo.errors import ConfigurationError
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
