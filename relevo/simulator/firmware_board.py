"""One board of real firmware: its folder, its process, and who starts it again."""

import asyncio
import contextlib
import json
import os
import shutil
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from relevo.clock import Clock
from relevo.errors import ConfigurationError

RESET: Final = 3
_ONLINE: Final = "state: online"
_FAILED: Final = "failure:"
_AGAIN_S: Final = 0.2
_LINES_KEPT: Final = 20


def interpreter_here(root: Path | None = None) -> Path:
    """MicroPython: the 32-bit one of a checkout, its 64-bit one, or what is on the path.

    Raises :class:`ConfigurationError` when there is none.
    """
    root = root or Path(__file__).resolve().parents[2]
    for name in ("micropython32", "micropython64"):
        candidate = root / ".cache" / "micropython" / name
        if candidate.is_file():
            return candidate
    on_path = shutil.which("micropython")
    if on_path is None:
        raise ConfigurationError(
            "no MicroPython here: tools/micropython fetches one in a checkout, or install micropython (1.23 or newer)"
        )
    return Path(on_path)


class Board:
    """One board with its flash in a folder. ``online_s`` is how long its first start took to come online."""

    def __init__(self, number: int, uuid: str, mac: str, folder: Path, clock: Clock) -> None:
        self.number, self.uuid, self.folder = number, uuid, folder
        self.device = ""
        self.online_s: float | None = None
        self.resets = 0
        self.ended: Counter[str] = Counter()
        self.failures: list[str] = []
        self.pid = 0
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._clock = clock
        # Nothing of our own environment: there are passwords in it.
        self._env = {
            "PATH": os.environ.get("PATH", ""),
            "BOARD_MAC": mac,
            "BOARD_PAGE_PORT": "0",
            "BOARD_DNS_PORT": "0",
        }

    async def live(self, command: Sequence[str]) -> None:
        """Start, and start again whenever it ends, until cancelled."""
        while True:
            code = await self._run(command)
            if code == RESET:
                self.resets += 1
            else:
                self.ended[str(code)] += 1
                last = self.lines[-1] if self.lines else "nothing"
                self.failures.append(f"board {self.number} ended with {code}, having said: {last}")
            await asyncio.sleep(_AGAIN_S)

    async def _run(self, command: Sequence[str]) -> int:
        began = self._clock.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.pid = process.pid
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            async for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip()
                self.lines.append(line)
                if _ONLINE in line and self.online_s is None:
                    self.online_s = self._clock.monotonic() - began
                elif _FAILED in line:
                    self.failures.append(f"board {self.number}: {line}")
            return await process.wait()
        finally:
            self.pid = 0
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.stdin.close()
            await process.wait()

    def level(self, pin: int) -> int | None:
        """The level of an output, ``None`` while it was never set."""
        try:
            level = json.loads((self.folder / "pins.json").read_text()).get(str(pin))
        except (OSError, ValueError):
            return None
        return level if type(level) is int else None

    def memory_kb(self) -> int | None:
        """What its process takes, with its share of what is shared; ``None`` where that cannot be asked."""
        try:
            text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        except OSError:
            return None
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), None)
