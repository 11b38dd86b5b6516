"""Sketches of ``firmware/arduino`` as processes of this machine, built with sanitizers, clock and pins in our hands.

    with Sketch("relay_mqtt", tmp_path) as board:
        board.enter("wifi home secret")
        board.advance(30_000)
        assert board.level(2) == 0

Nothing waits on wall time: a sketch's clock stands still until :meth:`Sketch.advance` moves it.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.journeys.live import eventually
from tests.running import REPOSITORY

ARDUINO = REPOSITORY / "firmware" / "arduino"
BUILD = REPOSITORY / ".cache" / "arduino"
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None or shutil.which("make") is None, reason="needs g++ and make to build the sketches"
)


def soon(probe: Callable[[], Any]) -> Any:
    """The first true answer of ``probe``; programs with sanitizers may take their time."""
    return eventually(probe, 30.0)


@functools.cache
def built() -> Path:
    """The folder with the programs, brought up to date; workers of one test run take turns."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["make", "-j2", "-s", f"BUILD={BUILD}"], cwd=ARDUINO / "host", capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return BUILD


class Sketch:
    """One board. What it stores lies in ``place`` and outlives :meth:`power_cut` and :meth:`start`."""

    def __init__(self, name: str, place: Path, *, mac: str = "02:00:00:0a:1b:2c", **env: str) -> None:
        self._program = built() / name
        self.nvs = place / "nvs"
        self.nvs.mkdir(parents=True, exist_ok=True)
        self._env = {**os.environ, "SHIM_NVS": str(self.nvs), "SHIM_MAC": mac, **env}
        self._log = place / f"{name}.log"
        self.lines: list[str] = []
        self.pins: dict[int, int] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Power on; returns when ``setup()`` is through."""
        self.lines, self.pins, self._ended = [], {}, False
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=self._env
            )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()
        self.wait(lambda: "@started" in self.lines)
        self.rounds(1)

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                if line.startswith("@pin "):
                    _, pin, level = line.split()
                    self.pins[int(pin)] = int(level)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _send(self, line: str) -> None:
        """Type or drive something; returns when a whole round of the loop saw it, or the board restarted."""
        assert self._process is not None
        assert self._process.stdin is not None
        before = self.lines.count("@done")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self.wait(lambda: self.lines.count("@done") > before or self._ended)

    def enter(self, *lines: str) -> None:
        for line in lines:
            self._send(line)

    def advance(self, ms: int) -> None:
        self._send(f"!advance {ms}")

    def rounds(self, count: int) -> None:
        """So many rounds of the loop, in which no time passes."""
        for _ in range(count):
            self.advance(0)

    def level(self, pin: int) -> int:
        """What an output shows now."""
        self.rounds(1)
        return self.pins[pin]

    def pin(self, pin: int, level: int) -> None:
        self._send(f"!pin {pin} {level}")

    def pulse(self, pin: int, count: int) -> None:
        self._send(f"!pulse {pin} {count}")

    def clock(self, seconds: int) -> None:
        self._send(f"!clock {seconds}")

    def wifi(self, on: bool) -> None:
        self._send(f"!wifi {'on' if on else 'off'}")

    def wait(self, probe: Callable[[], Any], seconds: float = 30.0) -> None:
        """Until ``probe`` is true of what the board wrote so far."""
        with self._changed:
            assert self._changed.wait_for(lambda: probe() or self._ended, seconds), self.told()
            assert probe(), f"the board ended\n{self.told()}"

    def says(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def wrote(self, space: str) -> list[str]:
        """Keys that were stored since the start, in their order."""
        return [line.split()[2] for line in self.lines if line.startswith(f"@nvs {space} ")]

    def told(self) -> str:
        errors = self._log.read_text() if self._log.exists() else ""
        return "\n".join(self.lines[-60:]) + "\n--- errors\n" + errors[-4000:]

    def power_cut(self) -> None:
        """Nothing is said, nothing is flushed."""
        assert self._process is not None
        self._process.kill()
        self._close()

    def restarted(self) -> None:
        """The board restarts by itself: wait for that, and power it on again."""
        assert self._process is not None
        self.wait(lambda: "@restart" in self.lines)
        assert self._process.wait(10) == 0, self.told()
        self._close()
        self.start()

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.wait(10)
        self._reader.join()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        assert not self.says("@fault"), self.told()
        assert "ERROR: " not in self._log.read_text(), self.told()
        assert "runtime error" not in self._log.read_text(), self.told()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            print(self.told())
            self.power_cut()
