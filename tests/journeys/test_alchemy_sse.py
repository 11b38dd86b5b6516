"""A client that knows nothing but ``data:`` lines follows devices of contract alchemy through a crash of the server."""

import json
import subprocess
import sys
import threading
from pathlib import Path

from tests.clients.announcing import Publisher
from tests.journeys.live import eventually
from tests.running import RunningServer

CLIENT = Path(__file__).parent.parent / "clients" / "sse_client.py"


class Follower:
    """The client in a process of its own, and what it printed."""

    def __init__(self, server: RunningServer, serial: str) -> None:
        command = [sys.executable, str(CLIENT), f"{server.http}/stream/dispositivos", serial]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.strip())

    @property
    def updates(self) -> list[list[object]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("[")]

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self._thread.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()


def test_a_client_of_data_lines_filters_and_comes_back(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        with Publisher(server) as lamp:
            for serial in ("LMP0001", "LMP0002"):
                lamp.say({"serial_number": serial, "estado": "inactivo"})
        follower = Follower(server, "LMP0001")
        try:
            eventually(lambda: "connected" in follower.lines)
            with Publisher(server) as lamp:
                lamp.say({"serial_number": "LMP0002", "estado": "activo"})
                lamp.say({"serial_number": "LMP0001", "estado": "activo", "parametros": {"watts": 8.6}})
            eventually(lambda: follower.updates)
            assert follower.updates == [["LMP0001", "activo", {"watts": 8.6}]]
            server.kill()
            server.restart()
            eventually(lambda: follower.lines.count("connected") == 2, 30)
            with Publisher(server) as lamp:
                lamp.say({"serial_number": "LMP0001", "estado": "inactivo"})
            eventually(lambda: len(follower.updates) == 2)
            assert follower.updates[1] == ["LMP0001", "inactivo", {"watts": 8.6}]
        finally:
            follower.close()
