"""Contract emqx with the programs of its people: an operator's script, a sketch's and a Raspberry Pi's."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.clients.managed import Board, Script
from tests.journeys.live import eventually
from tests.running import ADMIN_PASSWORD, RunningServer

PROGRAMS = Path(__file__).parent.parent / "clients" / "emqx"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("emqx-clients") / "data") as one:
        yield one


@pytest.fixture(scope="module")
def accounts(server: RunningServer) -> dict[str, dict[str, Any]]:
    """What the operator's script made, by client id."""
    command = [sys.executable, str(PROGRAMS / "set_up.py"), server.http, "admin", ADMIN_PASSWORD]
    done = subprocess.run([*command, str(server.mqtt_port)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    for one in made["accounts"]:
        server.canaries.plant(one["password"])
    return {one["client_id"]: one for one in made["accounts"]}


class Program:
    """One of them, publishing ten times a second; ``lines`` are what it printed."""

    def __init__(self, server: RunningServer, name: str, account: dict[str, Any]) -> None:
        said = (account[key] for key in ("client_id", "username", "password"))
        command = [sys.executable, str(PROGRAMS / name), "127.0.0.1", str(server.mqtt_port), *said, "0.1"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.strip() for line in iter(self.process.stdout.readline, ""))

    def says(self, text: str, times: int = 1) -> None:
        eventually(lambda: sum(text in line for line in list(self.lines)) >= times, 20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self._thread.join(5)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        assert code == 0, errors
        assert self.lines[-1] == "stopped"


def test_the_sketch_of_the_first_version_is_stored_and_told(
    server: RunningServer, accounts: dict[str, dict[str, Any]]
) -> None:
    boss, device = Script(server), accounts["ESP32_001"]
    with Program(server, "esp32_like.py", device) as program:
        program.says("connected 0")
        found = eventually(lambda: (rows := boss.readings(device)) and len(rows) >= 7 and rows, 20)
        # It listens as soon as it is connected, and the command's own quality of service is cut to what it asked for.
        path = "/api/v1/devices/emqx-ESP32_001/commands"
        assert server.api.post(path, json={"name": "led_on"}).status_code == 202
        program.says('{"command":"led_on"}')
        assert boss.status(device) == "online"
    assert [(one["valor"], one["sensor_nombre"]) for one in found[:5]] == [
        (21.75, "Temperatura"), (48.2, "Humedad"), (22.75, "Temperatura"), (23.75, "Temperatura"), (50.2, "Humedad"),
    ]  # fmt: skip
    assert {one["mqtt_qos"] for one in found} == {0}


def test_the_raspberry_pi_goes_on_through_a_restart(server: RunningServer, accounts: dict[str, dict[str, Any]]) -> None:
    boss, device = Script(server), accounts["RPI_001"]
    with Program(server, "raspberry_pi.py", device) as program:
        program.says("connected Success")
        eventually(lambda: len(boss.readings(device)) >= 4, 20)
        path = "/api/v1/devices/emqx-RPI_001/commands"
        assert server.api.post(path, json={"name": "read_sensors"}).status_code == 202
        program.says("command 1 read_sensors")
        server.kill()
        server.start()
        program.says("connected Success", 2)
        boss = Script(server)
        before = boss.get("readings/", dispositivo=device["id"]).json()["count"]
        eventually(lambda: boss.get("readings/", dispositivo=device["id"]).json()["count"] > before, 20)
        # Subscribed again by its own callback.
        assert server.api.post(path, json={"name": "again"}).status_code in (201, 202)
        program.says("command 1 again")
        # Text that is no command does not stop it.
        count = boss.get("readings/", dispositivo=device["id"]).json()["count"]
        say_text(server)
        program.says("text not a command")
        eventually(lambda: boss.get("readings/", dispositivo=device["id"]).json()["count"] > count, 20)
    values = [(one["mqtt_message_id"], one["sensor"], one["valor"]) for one in boss.readings(device)]
    assert len(values) == len(set(values))


def say_text(server: RunningServer) -> None:
    with Board(server, "console", "admin", ADMIN_PASSWORD) as console:
        console.say("iot/devices/RPI_001/commands", "not a command")
