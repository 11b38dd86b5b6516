"""Writing a file whole, with exactly the mode it is to have, and seeing it onto the disk."""

import os
from pathlib import Path


def write_file(file: Path, data: bytes, mode: int = 0o600, *, new: bool = False) -> None:
    """Write ``data``; ``new`` files must not exist yet.

    Raises :class:`OSError`, of it :class:`FileExistsError` for one that should have been new.
    """
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | (os.O_EXCL if new else os.O_TRUNC), mode)
    # The mode of a file that was there before, and whatever the process masks.
    os.fchmod(descriptor, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, onto the disk. Raises :class:`OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
