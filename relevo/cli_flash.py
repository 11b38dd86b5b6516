"""``relevo flash`` and what makes files for boards: on the machine at which the boards are."""

import csv
import io
import json
import sys
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from relevo.console import Config, Data, read_settings, say, told
from relevo.domain.factory import COLUMNS
from relevo.domain.labels import Label, content
from relevo.errors import Unbuildable
from relevo.local import LocalServer

if TYPE_CHECKING:
    from relevo.flashing.preparing import Network
    from relevo.flashing.sources import Profile

app = typer.Typer()
files = typer.Typer()

_TYPES: Final = {"autocore": "esp32_relay", "hidrometro": "water_meter"}
ProfileName = Annotated[str, typer.Option("--profile", help="What it is; see `relevo firmware profiles`.")]
Version = Annotated[str, typer.Option("--version", help="Semantic version of the application, such as 1.4.0.")]
Sources = Annotated[bool, typer.Option("--sources", help="Plain files instead of byte code.")]
Out = Annotated[Path, typer.Argument(help="The file that is written.")]
Mac = Annotated[str, typer.Option("--mac", help="MAC address of the board that the files are for.")]
Name = Annotated[str, typer.Option("--name", help="What people call the board.")]
Host = Annotated[str, typer.Option("--server", help="Address of this server; without it the board looks for it.")]
Wifi = Annotated[str, typer.Option("--wifi", help="Network that the board joins; without it it opens its own page.")]
Secret = Annotated[
    str,
    typer.Option("--wifi-password", envvar="RELEVO_WIFI_PASSWORD", help="Of that network; asked for when missing."),
]
USUAL_VERSION: Final = "1.0.0"
# What MicroPython's port for the ESP32 makes of a flash of 4 MB.
USUAL_KB: Final = 2048


@files.command()
@told
def profiles() -> None:
    """The kinds of boards that there is firmware for."""
    from relevo.flashing import sources

    for name in sources.profiles():
        one = sources.profile(name)
        typer.echo(f"{name:<16} {one.contract:<12} {one.title}")


@files.command()
@told
def build(
    out: Out,
    profile: ProfileName,
    version: Version,
    notes: Annotated[str, typer.Option(help="What changed, for whoever rolls it out.")] = "",
    plain: Sources = False,
) -> None:
    """Make an image of our firmware for `relevo firmware upload`."""
    from relevo.flashing import building, sources

    data = building.image(building.files_of(sources.profile(profile), version, notes, compiled=not plain))
    out.write_bytes(data)
    say(f"{out}: {len(data)} bytes")


@files.command()
@told
def image(
    out: Out,
    profile: ProfileName,
    mac: Mac = "",
    name: Name = "",
    server: Host = "",
    wifi: Wifi = "",
    wifi_password: Secret = "",
    version: Version = USUAL_VERSION,
    size_kb: Annotated[int, typer.Option(help="Size of the file system on the board, KiB.")] = USUAL_KB,
    nvs: Annotated[Path | None, typer.Option(help="Write the keys to a partition for Arduino boards, too.")] = None,
    plain: Sources = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a whole file system (littlefs) for a factory; with `--mac` for one board, registered and with a key."""
    from relevo.flashing import building, filesystem, sources

    chosen = sources.profile(profile)
    extra = [building.board_profile(chosen)]
    if mac:
        extra += _registered(chosen, mac, name, server, _network(wifi, wifi_password), data, config)
    made = filesystem.board_files(building.files_of(chosen, version, compiled=not plain), extra)
    out.write_bytes(filesystem.littlefs(made, size_kb))
    out.chmod(0o600)
    say(f"{out}: {size_kb} KiB")
    if nvs is not None:
        if chosen.contract != "thingsnxt" or not mac:
            raise Unbuildable("--nvs is for boards of contract thingsnxt and needs --mac")
        held = {key: value for _, text in extra[1:] for key, value in json.loads(text).items()}
        keys = {key: held[key] for key in ("device_id", "device_token", "api_url") if key in held}
        nvs.write_bytes(filesystem.nvs("iot-config", keys))
        nvs.chmod(0o600)
        say(f"{nvs}: {', '.join(keys)}")


@app.command()
@told
def flash(
    port: Annotated[str, typer.Argument(help="Serial port of the board: /dev/ttyUSB0, COM3.")],
    profile: ProfileName,
    name: Name = "",
    server: Host = "",
    wifi: Wifi = "",
    wifi_password: Secret = "",
    micropython: Annotated[
        Path | None, typer.Option(help="Write MicroPython itself first: a .bin of micropython.org for this chip.")
    ] = None,
    version: Version = USUAL_VERSION,
    plain: Sources = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Put our firmware on a board at a serial port, register it and give it its key."""
    from relevo.flashing import building, filesystem, sources
    from relevo.flashing.cable import Cable

    chosen = sources.profile(profile)
    made = building.files_of(chosen, version, compiled=not plain)
    cable = Cable(port)
    if micropython is not None:
        say("writing MicroPython; this takes a minute")
        cable.put_micropython(micropython)
    mac = cable.mac()
    network = _network(wifi, wifi_password)
    extra = [building.board_profile(chosen), *_registered(chosen, mac, name, server, network, data, config)]
    cable.put(filesystem.board_files(made, extra))
    say(f"the board with MAC address {mac} starts now")


def _network(name: str, password: str) -> "Network":
    from relevo.flashing.preparing import Network

    if name and not password:
        password = typer.prompt(f"Password of {name}", hide_input=True, default="", show_default=False)
    return Network(name, password)


def _registered(
    profile: "Profile", mac: str, name: str, host: str, network: "Network", data: Path | None, config: Path | None
) -> list[tuple[str, bytes]]:
    """The board's own files, after it was registered with the running server, or got a new key when it was before."""
    from relevo.flashing import preparing
    from relevo.flashing.preparing import Server

    settings = read_settings(config, data=data)
    local = LocalServer(settings.data)
    external_id = preparing.identity(profile.contract, mac)
    called = name or f"{profile.title or profile.board} {mac[-6:]}"
    base = f"http://{host}:{_port(local.url)}" if host else local.url
    known = _known(local, profile.contract, external_id)
    if known is not None:
        path = f"/api/v1/devices/{urllib.parse.quote(known['id'])}/credentials/key/rotate"
        key = local.post(path, {"grace_s": 0})["key"]
        say(f"{known['name']} is registered already: it gets another key, the one before ends now")
        _show_code(f"{base}/ui/device/{urllib.parse.quote(known['id'])}")
    else:
        made = local.post("/api/v1/factory", {"csv": _row(profile.contract, external_id, called)})["rows"][0]
        if made["outcome"] != "created":
            raise Unbuildable(made["errors"][0]["message"])
        key = made["key"]
        label = Label(profile.contract, external_id, made["code"], called)
        say(f"{called} is registered; whoever scans this, or types {made['code']}, makes it theirs:")
        _show_code(content(label, "url", base))
    where = Server(host, _port(local.url), settings.mqtt_listen.port)
    update_key = local.get("/api/v1/firmware/key")["key"]
    return preparing.settings_of(profile, external_id, called, key, where, network, update_key)


def _row(contract: str, serial: str, name: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerow([contract, serial, "", name, _TYPES.get(contract, "device"), "", ""])
    return out.getvalue()


def _known(local: LocalServer, contract: str, external_id: str) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = local.get("/api/v1/devices", contract=contract, search=external_id)["items"]
    return next((one for one in found if one["external_id"] == external_id), None)


def _port(url: str) -> int:
    return urllib.parse.urlsplit(url).port or 80


def _show_code(link: str) -> None:
    import segno

    say(link)
    segno.make(link, error="m").terminal(sys.stderr, compact=True, border=2)
