"""Passwords that people chose for their boards, checked with Argon2id off the event loop.

A board shows the same password each time it comes back, so one that fitted is remembered by its keyed hash: thousands
that return together cost one fast hash each, and only a password that was not seen since the start costs Argon2id.
What is remembered dies with the credential, because it names the hash that fitted.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from relevo.domain.credentials import Credential
from relevo.domain.keyring import Keyring
from relevo.errors import TooMany

REMEMBERED: Final = 4_096
# Fewer than the pool takes, so that people can sign in while boards wait.
_AT_ONCE: Final = 32

# (password, Argon2id hash) -> whether they belong together
Fits = Callable[[str, str], Awaitable[bool]]


class ChosenPasswords:
    """Asked by the doorkeeper; used on the event loop."""

    def __init__(self, keyring: Keyring, fits: Fits, remembered: int = REMEMBERED) -> None:
        self._keyring = keyring
        self._fits = fits
        self._most = remembered
        self._checking = 0
        # keyed hash of credential and password -> the Argon2id hash that it fitted, the least recently used first
        self._seen: OrderedDict[str, str] = OrderedDict()

    def remembers(self, one: Credential, password: bytes) -> bool:
        """Whether ``password`` fitted ``one`` not long ago."""
        name = self._name(one, password)
        if self._seen.get(name) != one.secret_hash:
            return False
        self._seen.move_to_end(name)
        return True

    async def fit(self, one: Credential, password: bytes) -> bool:
        """Whether ``password`` belongs to ``one``. Raises :class:`TooMany` when too many are checked already."""
        if self._checking >= _AT_ONCE:
            raise TooMany("too many passwords are checked at this moment", 2)
        try:
            text = password.decode()
        except UnicodeDecodeError:
            return False
        self._checking += 1
        try:
            good = await self._fits(text, one.secret_hash)
        finally:
            self._checking -= 1
        if good:
            self._seen[self._name(one, password)] = one.secret_hash
            if len(self._seen) > self._most:
                self._seen.popitem(last=False)
        return good

    def _name(self, one: Credential, password: bytes) -> str:
        return self._keyring.hash(one.id.encode() + b"\0" + password)
