"""Boards as they are in the field: a launcher, two slots, and a flash that was prepared with a key."""

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

from relevo.flashing import building, filesystem, preparing, sources
from relevo.flashing.preparing import Network, Server
from relevo.flashing.sources import Profile
from tests.firmware.boards import HEAP, HOST, MICROPYTHON
from tests.journeys.live import eventually
from tests.running import RunningServer, free_ports

SPEED = 10
"""How much faster the boards' clocks run: a minute of being healthy is six seconds."""


def profile(name: str = "relay16") -> Profile:
    return sources.profile(name)


def image(version: str, *, more: dict[str, bytes] | None = None, name: str = "relay16") -> bytes:
    """An image of our firmware; sources in ``more`` stand in the place of modules of it."""
    changed = dict(more or {})
    stems = {one.partition(".")[0] for one in changed}
    first, *files = building.files_of(profile(name), version)
    kept = [(one, data) for one, data in files if one.partition(".")[0] not in stems]
    return building.image([first, *changed.items(), *kept])


def broken(when: str) -> dict[str, bytes]:
    """An application that ends at once on boards whose flash has a file ``when``, and is ours on the others."""
    before = f"import os\nif {when!r} in os.listdir():\n    raise RuntimeError('revision ' + {when!r})\n"
    return {"late.py": before.encode() + sources.module("late").read_bytes()}


class Slotted:
    """A board that the launcher starts, and that is started again whenever it resets itself."""

    def __init__(
        self, server: RunningServer, folder: Path, number: int, key: str, version: str, *, name: str = "relay16",
        **settings: Any,
    ) -> None:  # fmt: skip
        self.mac = f"02000a{number:06x}"
        shape = profile(name)
        self.uuid = preparing.identity(shape.contract, self.mac)
        self.flash = folder / f"board-{number}"
        self.log = folder / f"board-{number}.log"
        where = Server("127.0.0.1", server.http_port, server.mqtt_port)
        own = preparing.settings_of(shape, self.uuid, f"Board {number}", key, where, Network("home", "between us"))
        made = building.files_of(shape, version)
        for name, data in filesystem.board_files(made, [building.board_profile(shape), *own]):
            place = self.flash / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        if settings:
            kept = json.loads(own[0][1]) | settings
            (self.flash / "config.json").write_text(json.dumps(kept))
        self._env = os.environ | {
            "BOARD_MAC": self.mac, "BOARD_SPEED": str(SPEED), "BOARD_DNS_PORT": "0",
            "BOARD_PAGE_PORT": str(free_ports(1)[0]),
        }  # fmt: skip
        self.starts = 0
        self.others: list[int] = []
        self._ends = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._tend, name=f"board-{number}")

    def start(self) -> Self:
        """Switch it on."""
        self._thread.start()
        return self

    def _tend(self) -> None:
        command = [str(MICROPYTHON[32]), "-X", f"heapsize={HEAP}", str(HOST / "launch.py"), str(self.flash)]
        with self.log.open("ab") as log:
            while not self._ends.is_set():
                self.starts += 1
                self._process = subprocess.Popen(
                    command, cwd=self.flash, env=self._env, stdin=subprocess.PIPE, stdout=log, stderr=log
                )
                code = self._process.wait()
                assert self._process.stdin is not None
                self._process.stdin.close()
                if code != 3 and not self._ends.is_set():
                    # The power went, and comes back.
                    self.others.append(code)

    def cut(self) -> None:
        """Take its power away for a moment."""
        assert self._process is not None
        self._process.kill()

    def stop(self) -> None:
        self._ends.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join(10)

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def waits_for(self, text: str, seconds: float = 30) -> None:
        try:
            eventually(lambda: text in self.said(), seconds)
        except AssertionError:
            raise AssertionError(f"the board did not say {text!r}:\n{self.said()[-3000:]}") from None


def keys_for(server: RunningServer, uuids: list[str], contract: str = "autocore") -> list[str]:
    """Registers boards as a factory does; their keys."""
    kind = "esp32_relay" if contract == "autocore" else "board"
    rows = "".join(f"{contract},{uuid},,Board {n},{kind},,\n" for n, uuid in enumerate(uuids, 1))
    text = "contract,serial,key,name,type,site,tags\n" + rows
    answer = server.api.post("/api/v1/factory", json={"csv": text}).json()
    assert answer["created"] == len(uuids), answer
    return [one["key"] for one in answer["rows"]]
