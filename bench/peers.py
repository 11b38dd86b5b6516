"""The brokers of the benchmark, each started as its own process on 127.0.0.1 and stopped afterwards.

Every queue and window limit that a broker lets one lift is lifted, logging is reduced to errors and nothing is
persisted where that can be chosen, so that forwarding is what is measured.
"""

import contextlib
import importlib.metadata
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache"
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_INSTALL_S = 240


class Missing(Exception):
    """The peer is not installed here and cannot be."""


class DidNotStart(Exception):
    """The peer is installed and does not take connections; the text holds the end of its output."""


@dataclass
class Running:
    """A broker that takes connections."""

    port: int
    pid: int
    http: str = ""


@dataclass(frozen=True)
class Peer:
    """One broker. ``compiled`` ones are written in C or Go and are no goal of Relevo's beyond Mosquitto."""

    name: str
    compiled: bool
    install: Callable[[bool], str]
    start: Callable[[Path, int], "Start"]
    ready_s: float = 15.0
    qos_1: bool = True


@dataclass
class Start:
    """How a broker is started."""

    command: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    stop: Callable[[], None] | None = None


def free_port() -> int:
    """Below the range from which the kernel picks ports of outgoing connections."""
    from tests.running import free_ports

    return free_ports(1)[0]


@contextmanager
def running(peer: Peer, directory: Path, cpu: int | None) -> Iterator[Running]:
    """Start ``peer`` on its own core, wait until it accepts MQTT, and end all its processes afterwards."""
    directory.mkdir(parents=True)
    port = free_port()
    start = peer.start(directory, port)
    log = directory / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in start.command],
            cwd=REPOSITORY,
            env={**_clean_environment(), **start.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, {cpu})) if cpu is not None else None,
        )
    try:
        _wait(peer, process, port, log)
        yield Running(port, process.pid)
    finally:
        _end(process)
        if start.stop is not None:
            start.stop()


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("RELEVO_", "RABBITMQ_"))}


def _wait(peer: Peer, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Until a CONNECT is answered: some open their port before they are ready."""
    packet = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05probe"
    end = time.monotonic() + peer.ready_s
    seen = "nothing listens"
    while time.monotonic() < end:
        if process.poll() is not None:
            raise DidNotStart(f"ended with {process.returncode}: {_tail(log)}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
            seen = "no CONNACK"
            probe.settimeout(1)
            probe.sendall(packet)
            answer = probe.recv(4)
            if answer[:1] == b"\x20" and answer[3:] == b"\x00":
                probe.sendall(b"\xe0\x00")
                return
            seen = f"CONNECT answered with {answer!r}"
        time.sleep(0.1)
    raise DidNotStart(f"not ready after {peer.ready_s:g} s ({seen}): {_tail(log)}")


def _tail(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").split("\n")[-6:]).strip()[-300:] or "no output"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The whole session of processes, politely and then not."""
    for sign, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        if sign == signal.SIGTERM and process.poll() is not None and not _group_alive(process.pid):
            return


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# Installing


def debian(package: str, program: str) -> Callable[[bool], str]:
    """A Debian package, installed when root may; the function returns its version."""

    def install(allowed: bool) -> str:
        if shutil.which(program, path=_PATH) is None:
            if not allowed or os.geteuid() != 0 or shutil.which("apt-get") is None:
                raise Missing(f"not installed; apt-get install {package}")
            command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            try:
                subprocess.run(command, env=env, capture_output=True, timeout=_INSTALL_S, check=True)
            except (subprocess.SubprocessError, OSError) as error:
                raise Missing(f"not installed; apt-get install {package} failed: {error}") from error
            # Debian starts a broker at once; here each run starts its own.
            if Path("/etc/init.d", program).exists():
                subprocess.run([f"/etc/init.d/{program}", "stop"], capture_output=True, timeout=60)
        found = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
        return found.stdout.strip() or "version unknown"

    return install


def _amqtt(allowed: bool) -> str:
    """From PyPI, in an environment of its own."""
    home = CACHE / "bench-venv"
    python = home / "bin" / "python"
    if not (home / "bin" / "amqtt").exists():
        if not allowed:
            raise Missing("not installed")
        try:
            subprocess.run([sys.executable, "-m", "venv", home], capture_output=True, timeout=60, check=True)
            subprocess.run(
                [python, "-m", "pip", "install", "-q", "amqtt"], capture_output=True, timeout=_INSTALL_S, check=True
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise Missing(f"not installed; pip install amqtt failed: {error}") from error
    asked = (
        "import importlib.metadata as m, platform; print(m.version('amqtt'), 'on Python', platform.python_version())"
    )
    return subprocess.run([python, "-c", asked], capture_output=True, text=True).stdout.strip()


def _aedes(allowed: bool) -> str:
    """From npm, in a directory of its own."""
    node, npm = shutil.which("node"), shutil.which("npm")
    home = CACHE / "bench-npm"
    package = home / "node_modules" / "aedes" / "package.json"
    if node is None:
        raise Missing("not installed; there is no node")
    if not package.exists():
        if not allowed or npm is None:
            raise Missing("not installed")
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"private": true}')
        command = [npm, "install", "--no-audit", "--no-fund", "--silent", "aedes"]
        try:
            subprocess.run(command, cwd=home, capture_output=True, timeout=_INSTALL_S, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            raise Missing(f"not installed; npm install aedes failed: {error}") from error
    (home / "server.mjs").write_text(_AEDES)
    found = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    return f"{json.loads(package.read_text())['version']} on Node {found}"


_AEDES = """\
import { createServer } from "node:net";
import { Aedes } from "aedes";

const broker = await Aedes.createBroker({ concurrency: 10000, queueLimit: 1000000 });
const server = createServer({ noDelay: true }, broker.handle);
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
process.on("SIGTERM", () => process.exit(0));
"""


# Starting


def _start_relevo(directory: Path, port: int) -> Start:
    command = [
        sys.executable, "-m", "relevo", "serve", "--data", directory / "data",
        "--http", f"127.0.0.1:{free_port()}", "--mqtt", f"127.0.0.1:{port}",
    ]  # fmt: skip
    return Start(command, {**RELEVO, "RELEVO_ADMIN_PASSWORD": "correct-horse-battery-staple"})


RELEVO = {
    "RELEVO_PROFILE": "lab",
    # A plain broker; the benchmark's topics belong to no contract.
    "RELEVO_ANONYMOUS_TOPICS": "#",
    "RELEVO_LIMITS__CONNECTIONS": "100000",
    "RELEVO_LIMITS__CONNECTIONS_PER_ADDRESS": "100000",
    "RELEVO_LIMITS__INFLIGHT": "65535",
    "RELEVO_LIMITS__QUEUED_MESSAGES": "1000000",
    "RELEVO_LIMITS__QUEUED_BYTES": "1000000000",
}


def _start_mosquitto(directory: Path, port: int) -> Start:
    configuration = directory / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
        "max_inflight_messages 0\nmax_queued_messages 0\nmax_queued_bytes 0\nlog_type error\n"
    )
    return Start([shutil.which("mosquitto", path=_PATH) or "mosquitto", "-c", configuration])


def _start_amqtt(directory: Path, port: int) -> Start:
    configuration = directory / "amqtt.yaml"
    configuration.write_text(
        f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n    max_connections: 0\n"
        "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
    )
    return Start([CACHE / "bench-venv" / "bin" / "amqtt", "-c", configuration])


def _start_aedes(directory: Path, port: int) -> Start:
    return Start([shutil.which("node") or "node", CACHE / "bench-npm" / "server.mjs", str(port)])


def _start_nats(directory: Path, port: int) -> Start:
    configuration = directory / "nats.conf"
    store = directory / "jetstream"
    configuration.write_text(
        f'server_name: bench\nlisten: 127.0.0.1:{free_port()}\njetstream {{ store_dir: "{store}" }}\n'
        f"mqtt {{ listen: 127.0.0.1:{port}, max_ack_pending: 30000 }}\nmax_connections: 100000\n"
    )
    return Start([shutil.which("nats-server", path=_PATH) or "nats-server", "-c", configuration])


def _start_rabbitmq(directory: Path, port: int) -> Start:
    """In the foreground, below its own node name, without the system's data, configuration or port mapper."""
    (directory / "plugins").write_text("[rabbitmq_mqtt].")
    (directory / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{free_port()}\nmqtt.listeners.tcp.1 = 127.0.0.1:{port}\n"
        "mqtt.allow_anonymous = true\nmqtt.default_user = guest\nmqtt.default_pass = guest\n"
        "mqtt.prefetch = 65535\nmqtt.tcp_listen_options.backlog = 4096\nmqtt.tcp_listen_options.nodelay = true\n"
        "log.console = true\nlog.console.level = error\nlog.file = false\n"
        # A CPU quota of its own is no reason to stop publishers.
        "vm_memory_high_watermark.relative = 0.6\ndisk_free_limit.absolute = 50MB\n"
    )
    distribution, mapper = free_port(), free_port()
    home = next(
        iter(sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))), Path("/usr/lib/rabbitmq/bin")
    )
    env = {
        "HOME": str(directory),
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }

    def stop() -> None:
        # The port mapper became a daemon of its own; it goes only once it knows of no node any more.
        epmd = shutil.which("epmd", path=_PATH)
        if epmd:
            subprocess.run([epmd, "-kill"], env={**os.environ, **env}, capture_output=True, timeout=10)

    return Start([home / "rabbitmq-server"], env, stop)


def _relevo_version(allowed: bool) -> str:
    from relevo import __version__

    uvloop = importlib.metadata.version("uvloop")
    return f"{__version__} on Python {sys.version.split()[0]}, uvloop {uvloop}"


PEERS = {
    one.name: one
    for one in (
        Peer("relevo", False, _relevo_version, _start_relevo),
        Peer("mosquitto", True, debian("mosquitto", "mosquitto"), _start_mosquitto),
        Peer("nats", True, debian("nats-server", "nats-server"), _start_nats),
        Peer("aedes", False, _aedes, _start_aedes),
        Peer("rabbitmq", False, debian("rabbitmq-server", "rabbitmq-server"), _start_rabbitmq, 40.0),
        Peer("amqtt", False, _amqtt, _start_amqtt),
    )
}
