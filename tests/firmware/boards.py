"""Boards in processes of their own: the firmware of ``firmware/micropython`` under a real MicroPython."""

import functools
import json
import os
import re
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from relevo.flashing import building, preparing, sources
from relevo.flashing.preparing import Network, Server
from tests.journeys.live import eventually
from tests.running import REPOSITORY, RunningServer, free_ports

FIRMWARE = REPOSITORY / "firmware" / "micropython"
APP = FIRMWARE / "app"
HOST = FIRMWARE / "host"
MICROPYTHON = {bits: REPOSITORY / ".cache" / "micropython" / f"micropython{bits}" for bits in (32, 64)}
HEAP = "100k"

needs_micropython = pytest.mark.skipif(
    not MICROPYTHON[32].exists(), reason="no 32-bit MicroPython here: tools/micropython fetches it"
)


def compile_file(source: Path, target: Path) -> None:
    """Byte code of one module, as a release has it. Raises Unbuildable for what MicroPython does not understand."""
    target.write_bytes(building.compile_module(source))


def compile_all(place: Path) -> Path:
    """The application as a slot of a board holds it, except for what touches hardware."""
    place.mkdir(parents=True)
    for source in sorted(APP.glob("*.py")):
        if source.stem not in ("hal", "hal_more"):
            compile_file(source, place / f"{source.stem}.mpy")
    return place


@functools.cache
def profile(name: str = "relay16") -> dict[str, Any]:
    """What ``firmware/micropython/profiles`` says."""
    found: dict[str, Any] = json.loads((FIRMWARE / "profiles" / f"{name}.json").read_text())
    return found


def uuid_of(mac: str) -> str:
    """Who a board with this address is."""
    return f"550e8400-e29b-41d4-a716-{mac[-6:]}"


class Board:
    """A board with its flash in ``flash``, running the application in ``app``; ``config`` is what was prepared.

    ``starts`` counts its starts; what it says is in ``log``.
    """

    def __init__(
        self, flash: Path, app: Path, *, mac: str = "02000a0a1b2c", bits: int = 32, telemetry_ms: int = 60_000,
        inputs: dict[str, Any] | None = None, config: dict[str, Any] | None = None, shape: str = "relay16",
        env: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.flash, self.app, self.bits = flash, app, bits
        self.uuid = uuid_of(mac)
        self.log = flash.parent / f"{flash.name}.log"
        flash.mkdir(parents=True, exist_ok=True)
        told = profile(shape) | {"telemetry_ms": telemetry_ms}
        if inputs is not None:
            told = told | {"pins": told["pins"] | {"inputs": [int(number) for number in inputs]}}
            self.write("inputs.json", inputs)
        self.write("profile.json", told)
        if config is not None:
            self.write("config.json", config)
        self.page_port = free_ports(1)[0]
        self.env = os.environ | {"BOARD_MAC": mac, "BOARD_PAGE_PORT": str(self.page_port), "BOARD_DNS_PORT": "0"}
        self.env |= env or {}
        self.process: subprocess.Popen[str] | None = None
        self.starts = 0

    def start(self) -> Self:
        """Switch it on."""
        assert self.process is None, "it runs already"
        command = [str(MICROPYTHON[self.bits]), "-X", f"heapsize={HEAP}"]
        command += [str(HOST / "start.py"), str(self.flash), str(self.app)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=self.flash, env=self.env, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True
            )
        self.starts += 1
        return self

    def prompt(self, code: str) -> list[Any]:
        """What ``code`` says at the board's prompt with ``say(value)``; ``app`` and ``board`` are there."""
        line = [str(MICROPYTHON[self.bits]), "-X", f"heapsize={HEAP}"]
        file = self.flash.parent / f"{self.flash.name}-prompt.py"
        file.write_text(code)
        line += [str(HOST / "prompt.py"), str(self.flash), str(self.app), str(file)]
        told = subprocess.run(line, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told.stdout + told.stderr
        return [json.loads(line[2:]) for line in told.stdout.splitlines() if line.startswith("> ")]

    def kill(self) -> None:
        """Take its power away."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait(10)
            assert process.stdin is not None
            process.stdin.close()

    def ended(self, seconds: float = 10) -> int:
        """The code with which it ended by itself: 3 is a reset."""
        assert self.process is not None
        process, self.process = self.process, None
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        return code

    def tell(self, line: str) -> None:
        """Say something on its serial line."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def said(self) -> str:
        """Everything it said on its serial line."""
        return self.log.read_text() if self.log.exists() else ""

    def waits_for(self, text: str, seconds: float = 10, times: int = 1) -> str:
        """Until it said ``text`` so many times; everything it said."""
        try:
            eventually(lambda: self.said().count(text) >= times, seconds)
        except AssertionError:
            raise AssertionError(f"the board did not say {text!r} {times} times:\n{self.said()[-4000:]}") from None
        return self.said()

    def online(self, seconds: float = 10, times: int = 1) -> None:
        self.waits_for("state: online", seconds, times)

    def relays(self) -> list[int]:
        """Numbers of the relays that are on, from 1, by the levels of the pins."""
        levels = self.read("pins.json")
        return [n for n, pin in enumerate(profile()["pins"]["relays"], 1) if levels.get(str(pin)) == 0]

    def level(self, pin: int) -> int | None:
        """What an output shows."""
        return self.read("pins.json").get(str(pin)) if (self.flash / "pins.json").exists() else None

    def read(self, name: str) -> dict[str, Any]:
        """A file of its flash."""
        found: dict[str, Any] = json.loads((self.flash / name).read_text())
        return found

    def write(self, name: str, values: dict[str, Any]) -> None:
        """Put a file on its flash: all of it at once, as the board may be reading it."""
        part = self.flash / f"{name}.given"
        part.write_text(json.dumps(values))
        part.replace(self.flash / name)

    def page(self) -> httpx.Client:
        """A browser that looks at its page."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.page_port}", trust_env=False, timeout=10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        print(self.said()[-6000:])
        if kind is None:
            assert "failure:" not in self.said(), "something failed that nobody expected"


def flashed(server: RunningServer, place: Path, shape: str, mac: str) -> str:
    """What ``relevo flash`` does for a new board: registers it, and puts settings on its flash. Its id."""
    told = sources.profile(shape)
    external_id = preparing.identity(told.contract, mac)
    csv = f"contract,serial,key,name,type,site,tags\n{told.contract},{external_id},,Board {mac[-4:]},board,,\n"
    made = server.api.post("/api/v1/factory", json={"csv": csv}).json()
    assert made.get("created") == 1, made
    where = Server("127.0.0.1", server.http_port, server.mqtt_port)
    key = server.canaries.plant(made["rows"][0]["key"])
    place.mkdir(parents=True, exist_ok=True)
    for name, data in preparing.settings_of(told, external_id, f"Board {mac[-4:]}", key, where, Network("lab")):
        (place / name).write_bytes(data)
    items = server.api.get("/api/v1/devices", params={"limit": 200}).json()["items"]
    return str(next(one["id"] for one in items if one["external_id"] == external_id))


def heap(board: Board) -> int:
    """Bytes that the application takes of the heap on the 32-bit build, online for two seconds."""
    # Where a board has it: names of files are on the heap too.
    (board.flash / "a").symlink_to(board.app)
    line = [str(MICROPYTHON[32]), "-X", f"heapsize={HEAP}", str(HOST / "heap.py"), str(board.flash), "a", "2"]
    told = subprocess.run(line, env=board.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    found = re.findall(r'"heap": (\d+)', told.stdout)
    assert found, told.stdout + told.stderr
    print(told.stdout)
    return int(found[0])


def id_of(server: RunningServer, board: Board) -> str:
    """Its id in the native API; it is registered."""
    items = server.api.get("/api/v1/devices", params={"limit": 200}).json()["items"]
    return next(one["id"] for one in items if one["external_id"] == board.uuid)


def command(server: RunningServer, device: str, name: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """A command and what became of it."""
    path = f"/api/v1/devices/{device}/commands"
    answer = server.api.post(path, params={"wait": 10}, json={"name": name, "params": params or {}})
    assert answer.status_code < 300, answer.text
    found: dict[str, Any] = answer.json()
    return found


def interpreters() -> dict[str, list[str]]:
    """What suites run on: CPython, and MicroPython in both word sizes."""
    found = {"cpython": ["python"]}
    for bits, program in MICROPYTHON.items():
        if program.exists():
            # Everything is twice as wide with 64 bits.
            found[f"micropython{bits}"] = [str(program), "-X", f"heapsize={HEAP if bits == 32 else '200k'}"]
    return found
