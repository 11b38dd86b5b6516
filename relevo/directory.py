"""The directory that holds everything."""

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

from relevo import swap
from relevo.errors import ConfigurationError
from relevo.files import write_file

PASSWORD_FILE: Final = "admin-password"  # noqa: S105 - a file's name
PEPPER_FILE: Final = "secret.key"


class DataDirectory:
    """Locked against a second server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def open(self) -> None:
        """Create and lock it. Raises :class:`ConfigurationError`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.path / swap.LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the data directory {self.path} cannot be used: {error.strerror}; choose another with --data DIR"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            self._lock = None
            raise ConfigurationError(
                f"the data directory {self.path} is used by another Relevo (process {holder}); "
                "stop that one, or choose another with --data DIR"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        try:
            swap.finish(self.path)
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"what was restored into {self.path} cannot be put in its place: {error}; make room or give this user "
                "the right to write there, and start again"
            ) from error

    def secret_key(self) -> tuple[bytes, bool]:
        """The secret under which device keys are hashed, and whether it was made just now."""
        file = self.path / PEPPER_FILE
        try:
            return file.read_bytes(), False
        except FileNotFoundError:
            fresh = secrets.token_bytes(32)
            write_file(file, fresh)
            return fresh, True
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be read: {error.strerror}; restore it from a backup") from error

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
