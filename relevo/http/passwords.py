"""Checking passwords with Argon2id, one at a time, in a process of its own (:mod:`relevo.http.hashing`).

A flood of log-ins waits for itself and not readings for it: when more wait than :data:`_WAITING_MOST`, the next is told
to come again later.
"""

import contextlib
import secrets
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from relevo.domain.passwords import normalised
from relevo.errors import TooMany
from relevo.http.hashing import Hashing

_WAITING_MOST: Final = 64


@lru_cache(maxsize=1)
def common_passwords() -> frozenset[str]:
    """About 30,000 passwords from leaks, in lower case; read when the first password is set."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])


class Passwords:
    """The only place where passwords are hashed and compared."""

    def __init__(self, hashing: Hashing | None = None) -> None:
        self._hashing = hashing or Hashing()
        self._waiting = 0
        # Compared when the account does not exist, so that both answers take the same time.
        self._nobody = ""

    async def fits(self, password: str, password_hash: str) -> bool:
        """Whether ``password`` belongs to ``password_hash``; an empty hash costs the same time and never fits.

        Raises :class:`TooMany` when too many wait already, :class:`StoreUnavailable` when hashing is impossible.
        """
        with self._place():
            if not self._nobody:
                self._nobody = await self._hashing.hash(secrets.token_urlsafe(16))
            good = await self._hashing.fits(normalised(password), password_hash or self._nobody)
        return good and bool(password_hash)

    async def hash(self, password: str) -> str:
        """Argon2id of a password. Raises as :meth:`fits`."""
        with self._place():
            return await self._hashing.hash(normalised(password))

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._waiting >= _WAITING_MOST:
            raise TooMany("too many sign-ins at this moment", 2)
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def stop(self) -> None:
        """End what hashes; harmless when nothing does."""
        await self._hashing.stop()
