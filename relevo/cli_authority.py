"""``relevo ca``: the authority that issues certificates to devices and to the server itself.

``init``, ``show`` and ``server`` read and write the authority's files. What makes or revokes a credential asks the
running server, which is the only writer of its store.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from relevo.authority import DEVICE_DAYS, DEVICE_DAYS_MOST, SERVER_DAYS, Authority, Described
from relevo.clock import SystemClock
from relevo.console import Config, Data, read_settings, say, told
from relevo.errors import NotFound
from relevo.files import write_file
from relevo.local import LocalServer, NotRunning, quoted

app = typer.Typer(name="ca", help="Certificates for devices and for the server.", no_args_is_help=True)

Device = Annotated[str, typer.Argument(help="The device's id.")]
Out = Annotated[Path, typer.Option(help="Directory for the files; nothing in it is overwritten.")]
Days = Annotated[int, typer.Option(min=1, max=DEVICE_DAYS_MOST, help="Days until the certificate ends.")]


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _describe(one: Described) -> None:
    typer.echo(f"{one.name}\nsha256  {one.fingerprint}\nvalid   {_day(one.created_at)} to {_day(one.expires_at)}")


@app.command()
@told
def init(data: Data = None, config: Config = None) -> None:
    """Make the authority. A running server trusts it within seconds."""
    settings = read_settings(config, data=data)
    authority = Authority(settings.data)
    made = authority.create(SystemClock().now_ms())
    _describe(made)
    say(f"certificate {authority.certificate_file} (for boards and programs), key {authority.key_file} (keep it)")
    if settings.tls_client_ca is not None:
        say(f"note: tls_client_ca is {settings.tls_client_ca}; add this certificate to it, or unset it")
    if settings.tls_cert is None:
        say("next: `relevo ca server NAME` for a server certificate; without one MQTT over TLS does not listen")


@app.command()
@told
def show(data: Data = None, config: Config = None) -> None:
    """The authority, and the certificates it issued to devices."""
    settings = read_settings(config, data=data)
    _describe(Authority(settings.data).describe())
    try:
        found = list(_certificates(LocalServer(settings.data)))
    except NotRunning as error:
        say(f"the certificates of devices are not shown: {error}")
        return
    for one in found:
        until = one["expires_at"][:10] + (" over" if one["expired"] else "")
        typer.echo(f"{one['id']}  {one['device']}  until {until}  {one['fingerprint']}  {one['label']}".rstrip())


@app.command()
@told
def issue(
    device: Device, out: Out = Path(), days: Days = DEVICE_DAYS, data: Data = None, config: Config = None
) -> None:
    """Issue a certificate with a new private key to a device. The key is written here and kept nowhere else."""
    files: list[Path | None] = [out / f"{device}.pem", out / f"{device}.key", out / "authority.pem"]
    _ask_for(read_settings(config, data=data).data, device, {"days": days}, files)


@app.command()
@told
def sign(
    device: Device,
    csr_file: Annotated[Path, typer.Argument(help="The device's request, PKCS#10 in PEM.")],
    out: Out = Path(),
    days: Days = DEVICE_DAYS,
    data: Data = None,
    config: Config = None,
) -> None:
    """Sign the request of a device that made its own key."""
    csr = csr_file.read_text(errors="replace")
    files = [out / f"{device}.pem", None, out / "authority.pem"]
    _ask_for(read_settings(config, data=data).data, device, {"days": days, "csr": csr}, files)


@app.command()
@told
def revoke(
    credential: Annotated[str, typer.Argument(metavar="ID", help="As `relevo ca show` lists it.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Revoke a device's certificate; connections made with it end at once."""
    server = LocalServer(read_settings(config, data=data).data)
    for one in _certificates(server):
        if one["id"] == credential:
            server.delete(f"/api/v1/devices/{quoted(one['device'])}/credentials/{quoted(credential)}")
            say(f"revoked the certificate {credential} of {one['device']}")
            return
    raise NotFound(f"no certificate {credential!r}; `relevo ca show` lists them")


@app.command()
@told
def server(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Host names and addresses that boards use.")],
    days: Annotated[int, typer.Option(min=1, max=DEVICE_DAYS_MOST, help="Days until it ends.")] = SERVER_DAYS,
    data: Data = None,
    config: Config = None,
) -> None:
    """Issue a certificate for this server's own names; again to renew it, which needs no restart."""
    settings = read_settings(config, data=data)
    authority = Authority(settings.data)
    issued = authority.issue_server(names, days, SystemClock().now_ms())
    certificate, key = authority.folder / "server.pem", authority.folder / "server.key"
    for file, text, mode in ((key, issued.key, 0o600), (certificate, issued.certificate, 0o644)):
        fresh = file.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        write_file(fresh, text.encode(), mode, new=True)
        fresh.replace(file)
    say(f"server certificate for {', '.join(names)}, until {_day(issued.expires_at)}; MQTT and HTTP over TLS need")
    typer.echo(f'tls_cert = "{certificate}"\ntls_key = "{key}"')
    say(
        f"in relevo.toml, and a restart when they are new there: then MQTT listens with TLS on {settings.mqtts} and "
        f"HTTP on {settings.https}. Boards and browsers must trust {authority.certificate_file}"
    )


def _certificates(server: LocalServer) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = server.get("/api/v1/credentials", kind="certificate", limit=1000, cursor=cursor)
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


def _ask_for(data: Path, device: str, body: dict[str, Any], files: list[Path | None]) -> None:
    """Let the server issue, and write certificate, private key and authority into ``files``."""
    server = LocalServer(data)
    certificate, key, authority = files
    made: list[Path] = []
    try:
        # Before anything is issued: a private key that cannot be written is lost.
        for file, mode in ((certificate, 0o644), (key, 0o600)):
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_file(file, b"", mode, new=True)
                made.append(file)
        answer = server.post(f"/api/v1/devices/{quoted(device)}/credentials/certificates", body)
    except BaseException:
        for file in made:
            file.unlink()
        raise
    if key is not None:
        key.write_text(answer["private_key"])
    if certificate is not None:
        certificate.write_text(answer["certificate"])
    if authority is not None and not authority.exists():
        write_file(authority, answer["authority"].encode(), 0o644, new=True)
    written = ", ".join(str(file) for file in files if file is not None)
    say(f"certificate of {device} until {answer['expires_at'][:10]}: {written}")
    typer.echo(answer["id"])
