"""The password that a first start made up: whether it is still in force, and the file that says it.

Theory. The file is written with the first administrator and is true until that account has another password or is
gone. Then it is removed at once: it would be a wrong and needless secret on the disk.
"""

from collections.abc import Iterable
from pathlib import Path

from relevo.domain.accounts import Account
from relevo.domain.records import Dropped, Kept, Record, RecordChange
from relevo.log import get_logger

log = get_logger("relevo")


class FirstPassword:
    """Follows every commit; ``file`` holds the password of the account ``name``."""

    def __init__(self, file: Path, name: str) -> None:
        self._file = file
        self._name = name
        # The hash of the password in the file, empty when that is in force no more.
        self._hash = ""

    def load(self, records: Iterable[Record]) -> None:
        """Take up what is kept at a start."""
        if not self._file.exists():
            return
        for one in records:
            if isinstance(one, Account) and one.name == self._name and one.password_changed_at == one.created_at:
                self._hash = one.password_hash
        if not self._hash:
            self._remove()

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        if not self._hash:
            return
        match change:
            case Kept(Account(name=name, password_hash=found)) if name == self._name and found != self._hash:
                self._remove()
            case Dropped(kind, key) if kind is Account and key == self._name:
                self._remove()

    def holds(self, account: Account) -> bool:
        """Whether the password of ``account`` is still the one that was made up."""
        return bool(self._hash) and account.name == self._name and account.password_hash == self._hash

    def _remove(self) -> None:
        self._hash = ""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("password_file_not_removed", file=str(self._file), error=str(error))
