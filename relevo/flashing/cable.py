"""A board at a serial port, reached with the tools that its makers give: mpremote, and esptool for MicroPython itself.

They are other people's programs, asked as processes; esptool's licence (GPL) would not let us bring it along.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from relevo.errors import Unbuildable

_SHORT_S: Final = 30
_LONG_S: Final = 300
_MAC: Final = "import machine,binascii;print(binascii.hexlify(machine.unique_id()).decode())"
_FOLDERS: Final = """
import os
for name in ('a', 'b'):
    try:
        os.mkdir(name)
    except OSError:
        pass
"""


def _program(name: str) -> list[str]:
    """How to start a tool: as a program, or as a module of this environment. Raises :class:`Unbuildable`."""
    found = shutil.which(name)
    if found:
        return [found]
    import importlib.util

    if importlib.util.find_spec(name) is not None:
        return [sys.executable, "-m", name]
    raise Unbuildable(f"{name} is not installed: pip install {name}")


class Cable:
    """One board. ``port`` is what the system calls it: ``/dev/ttyUSB0``, ``COM3``."""

    def __init__(self, port: str) -> None:
        self._port = port

    def _ask(self, *words: str, seconds: int = _SHORT_S) -> str:
        try:
            ended = subprocess.run(  # noqa: S603 - a tool that was looked up, words of ours
                [*_program("mpremote"), "connect", self._port, *words],
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unbuildable(f"the board at {self._port} did not answer within {seconds} s") from None
        if ended.returncode:
            told = (ended.stderr or ended.stdout).strip().splitlines()
            raise Unbuildable(f"the board at {self._port}: {told[-1] if told else 'no answer'}")
        return ended.stdout.strip()

    def mac(self) -> str:
        """Twelve hexadecimal digits. Raises :class:`Unbuildable` when no board with MicroPython is there."""
        return self._ask("exec", _MAC)

    def put_micropython(self, firmware: Path) -> None:
        """Erase the chip and write MicroPython itself, a ``.bin`` of micropython.org. Raises :class:`Unbuildable`."""
        if not firmware.is_file():
            raise Unbuildable(f"{firmware} is not there")
        tool = [*_program("esptool"), "--port", self._port]
        for words in (["erase_flash"], ["write_flash", "-z", "0x1000", str(firmware)]):
            try:
                ended = subprocess.run(  # noqa: S603 - as above
                    [*tool, *words], capture_output=True, text=True, timeout=_LONG_S, check=False
                )
            except subprocess.TimeoutExpired:
                raise Unbuildable(f"esptool {words[0]} took longer than {_LONG_S} s") from None
            if ended.returncode:
                told = (ended.stderr or ended.stdout).strip().splitlines()
                raise Unbuildable(f"esptool {words[0]}: {told[-1] if told else 'no answer'}")

    def put(self, files: list[tuple[str, bytes]]) -> None:
        """Write files, whose names may begin with ``a/`` or ``b/``, and start the board again."""
        with tempfile.TemporaryDirectory() as folder:
            words = ["exec", _FOLDERS]
            for at, (name, data) in enumerate(files):
                # Keys are among them: the folder is nobody else's, and no command line shows them.
                source = Path(folder) / str(at)
                source.write_bytes(data)
                words += ["+", "fs", "cp", str(source), f":{name}"]
            self._ask(*words, "+", "reset", seconds=_LONG_S)
