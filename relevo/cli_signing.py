"""``relevo signing-keys``: the keys under which the running server signs access tokens."""

from datetime import datetime
from typing import Any

import typer

from relevo.console import Config, Data, read_settings, say, told
from relevo.local import LocalServer

app = typer.Typer()
keys = typer.Typer(help="The keys under which access tokens are signed.", no_args_is_help=True)
app.add_typer(keys, name="signing-keys")

_PATH = "/api/v1/system/signing-keys"


@keys.command()
@told
def show(data: Data = None, config: Config = None) -> None:
    """Name the key that signs, and the former ones that tokens in use still need."""
    _tell(LocalServer(read_settings(config, data=data).data).get(_PATH))


@keys.command()
@told
def rotate(data: Data = None, config: Config = None) -> None:
    """Sign with a new key from now on; nobody is signed out."""
    _tell(LocalServer(read_settings(config, data=data).data).post(_PATH))
    say("access tokens are signed with a new key; those of the former one stay good until they end")


def _tell(found: dict[str, Any]) -> None:
    typer.echo(f"{found['id']}  signs")
    for key in found["former"]:
        until = datetime.fromisoformat(key["good_until"]).astimezone()
        typer.echo(f"{key['id']}  needed until {until:%Y-%m-%d %H:%M:%S}")
