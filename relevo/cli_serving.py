"""``relevo serve`` and ``relevo demo``: the server itself, and nothing of the other commands."""

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relevo.console import Config, Data, read_settings, run, say
from relevo.errors import ConfigurationError
from relevo.log import set_up
from relevo.settings import Settings

if TYPE_CHECKING:
    from relevo.app import Application

app = typer.Typer(
    name="relevo",
    help="A self-hosted home for small connected devices.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Http = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where HTTP listens (0.0.0.0:8000).")]
Mqtt = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where MQTT listens (0.0.0.0:1883).")]


def signalled() -> asyncio.Event:
    """Set by SIGTERM or SIGINT, from now on."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def shown_host(host: str) -> str:
    return "localhost" if host in ("0.0.0.0", "::", "127.0.0.1") else host  # noqa: S104 - shown, not bound


def greet(application: "Application", took_ms: int) -> None:
    """What a person needs to see once the server is up."""
    settings = application.settings
    host = shown_host(settings.http_host)
    if settings.profile == "lab":
        say("WARNING: the lab profile opens every door on private networks; use it for trying things out only")
    if application.generated_password:
        say(f"administrator: admin   password: {application.generated_password}")
        say(f"  (shown once; also in {application.directory.path / 'admin-password'})")
    link = application.new_link()
    if sys.stderr.isatty() or settings.profile == "lab":
        say(f"open http://{host}:{application.http_port}/ui/enter/{link}  (signs you in once, within 10 minutes)")
    say(
        f"ready http={settings.http_host}:{application.http_port} mqtt={settings.mqtt_host}:{application.mqtt_port}"
        f" in {took_ms} ms"
    )


async def serve_until_stopped(settings: Settings, beside: Any = None) -> None:
    """Start, run ``beside`` (a function of the application and a stop event) next to it, stop on a signal."""
    from relevo.app import Application

    loop = asyncio.get_running_loop()
    begun = loop.time()
    application = Application(settings)
    # Before anybody can see it ready, or a signal that comes at once would not be heard.
    ended = signalled()
    await application.start()
    greet(application, round((loop.time() - begun) * 1000))
    stop = asyncio.Event()
    task = asyncio.create_task(beside(application, stop)) if beside else None
    try:
        await ended.wait()
    finally:
        stop.set()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await application.stop()


def _serve(settings: Settings, beside: Any = None) -> None:
    set_up(settings.log_level, settings.log_format)
    try:
        run(serve_until_stopped(settings, beside))
    except ConfigurationError as error:
        say(f"relevo: {error}")
        raise typer.Exit(1) from None


@app.command()
def serve(data: Data = None, http: Http = None, mqtt: Mqtt = None, config: Config = None) -> None:
    """Run the server until it is told to stop (SIGTERM or Ctrl-C)."""
    _serve(read_settings(config, data=data, http=http, mqtt=mqtt))


@app.command()
def demo(data: Data = None, http: Http = None, mqtt: Mqtt = None, config: Config = None) -> None:
    """Run the server with a dozen lively devices, open to the private network."""
    import platformdirs

    place = data or platformdirs.user_data_path("relevo-demo", appauthor=False)
    settings = read_settings(config, data=place, http=http, mqtt=mqtt, profile="lab")

    async def devices(application: "Application", stop: asyncio.Event) -> None:
        application.demo.start()

    _serve(settings, devices)
