"""Writing a file whole, with exactly the mode it is to have, and seeing it onto the disk."""

import contextlib
import os
import re
from collections.abc import Container
from pathlib import Path
from typing import Final

_HALF: Final = ".new"


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


class Folder:
    """Files beside the database: each is on the disk before the record that names it, and gone after the record.

    What a crash leaves in between goes with :meth:`sweep`. ``names`` is a regular expression of what is ours there.
    """

    def __init__(self, place: Path, names: str) -> None:
        """``place`` need not exist yet."""
        self.place = place
        self._names = re.compile(names)

    def file(self, name: str) -> Path:
        return self.place / name

    def write(self, name: str, data: bytes) -> None:
        """Bring a file onto the disk, whole or not at all. Blocks; raises :class:`OSError`."""
        self.place.mkdir(mode=0o700, exist_ok=True)
        fresh = self.file(name + _HALF)
        write_file(fresh, data)
        fresh.replace(self.file(name))
        sync(self.place)

    def forget(self, name: str) -> None:
        """Remove a file that no record names, or none any more."""
        with contextlib.suppress(OSError):
            self.file(name).unlink()

    def sweep(self, kept: Container[str]) -> None:
        """Remove what no record names: whatever is not among ``kept``, and what was never whole."""
        with contextlib.suppress(OSError):
            for one in list(self.place.iterdir()):
                left = self._names.fullmatch(one.name) and one.name not in kept
                if left or one.suffix == _HALF:
                    self.forget(one.name)
