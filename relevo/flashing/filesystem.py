"""A board's whole file system as one file, and a partition with its keys: what a factory writes in one go."""

import contextlib
import csv
import io
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from relevo.errors import Unbuildable
from relevo.flashing import sources

BLOCK: Final = 4096
NVS_BLOCK: Final = 4096
_NVS_KEY_MOST: Final = 15
_NVS_TEXT_MOST: Final = 4000
# Version 2.0 on the disk: what the oldest supported MicroPython reads; later ones write 2.1 as they please.
_DISK_VERSION: Final = 0x00020000


def launcher() -> list[tuple[str, bytes]]:
    """The root's files: ``boot.py`` and ``main.py`` are started by their names, so they stay sources."""
    return [(name, (sources.place() / "launcher" / name).read_bytes()) for name in ("boot.py", "main.py")]


def littlefs(files: list[tuple[str, bytes]], size_kb: int) -> bytes:
    """A littlefs of ``size_kb`` KiB with ``files``, whose names may have folders.

    Raises :class:`Unbuildable` when they do not fit, or littlefs-python is missing.
    """
    try:
        from littlefs import LittleFS, LittleFSError
    except ImportError:
        raise Unbuildable("littlefs-python is not installed: pip install 'relevo[flash]'") from None
    if not 64 <= size_kb <= 16_384 or size_kb % 4:
        raise Unbuildable(f"size {size_kb} must be 64 to 16384 KiB in steps of 4")
    made = LittleFS(block_size=BLOCK, block_count=size_kb * 1024 // BLOCK, disk_version=_DISK_VERSION)
    try:
        for name, data in files:
            folder = name.rpartition("/")[0]
            if folder:
                made.makedirs(folder, exist_ok=True)
            with made.open(name, "wb") as file:
                file.write(data)
    except LittleFSError as error:
        raise Unbuildable(f"the files do not fit into {size_kb} KiB: {error}") from None
    return bytes(made.context.buffer)


def nvs(namespace: str, values: dict[str, Any], size_kb: int = 24) -> bytes:
    """A partition of Espressif's non-volatile storage with ``values``, texts and whole numbers, in one namespace.

    Raises :class:`Unbuildable` for names of more than 15 characters, texts beyond 4,000 bytes, a size that is too small
    or no multiple of 4 KiB, and when esp-idf-nvs-partition-gen is missing.
    """
    try:
        from esp_idf_nvs_partition_gen import nvs_partition_gen as generator
    except ImportError:
        raise Unbuildable("esp-idf-nvs-partition-gen is not installed: pip install 'relevo[flash]'") from None
    if size_kb < 12 or size_kb % 4:
        raise Unbuildable(f"size {size_kb} must be at least 12 KiB in steps of 4")
    rows = [("key", "type", "encoding", "value"), (namespace, "namespace", "", "")]
    for key, value in values.items():
        if not 0 < len(key) <= _NVS_KEY_MOST:
            raise Unbuildable(f"{key}: names of non-volatile storage have at most {_NVS_KEY_MOST} characters")
        if isinstance(value, int) and not isinstance(value, bool):
            rows.append((key, "data", "i32", str(value)))
        elif isinstance(value, str) and len(value.encode()) <= _NVS_TEXT_MOST:
            rows.append((key, "data", "string", value))
        else:
            raise Unbuildable(f"{key} must be a text of at most {_NVS_TEXT_MOST} bytes or a whole number")
    table = io.StringIO()
    csv.writer(table).writerows(rows)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "keys.csv", Path(folder) / "keys.bin"
        source.write_text(table.getvalue(), encoding="utf-8")
        source.chmod(0o600)
        asked = SimpleNamespace(
            input=str(source), output=str(out), size=hex(size_kb * 1024), version=2, outdir=folder, keygen=False,
            inputkey=None, keyfile=None, key_protect_hmac=False, kp_hmac_keygen=False, kp_hmac_inputkey=None,
        )  # fmt: skip
        try:
            # It tells what it does on the standard output, which is ours.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                generator.generate(asked)
        except Exception as error:
            raise Unbuildable(f"the keys do not fit into {size_kb} KiB: {error}") from None
        return out.read_bytes()


def board_files(profile_files: list[tuple[str, bytes]], extra: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Everything on a new board's flash: the launcher, the application in slot ``a``, and ``extra`` at the root."""
    return [*launcher(), *((f"a/{name}", data) for name, data in profile_files), *extra]
