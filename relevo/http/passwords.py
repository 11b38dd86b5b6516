"""Checking passwords with Argon2id off the event loop, one at a time.

A flood of log-ins waits for itself and not readings for it: the thread of this pool runs when nothing else wants to,
and when more wait than :data:`_WAITING_MOST` the next is told to come again later.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from relevo.domain.passwords import normalised
from relevo.errors import TooMany

_THREADS: Final = 1
_WAITING_MOST: Final = 64
_T = TypeVar("_T")

# 19 MiB and two passes (OWASP's recommendation for Argon2id): 30 ms instead of 450 under load with the defaults.
hasher: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@lru_cache(maxsize=1)
def common_passwords() -> frozenset[str]:
    """About 30,000 passwords from leaks, in lower case; read when the first password is set."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])


class Passwords:
    """The only place where passwords are hashed and compared."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="relevo-passwords", initializer=_step_back)
        self._waiting = 0
        # Compared when the account does not exist, so that both answers take the same time.
        self._nobody = ""

    async def fits(self, password: str, password_hash: str) -> bool:
        """Whether ``password`` belongs to ``password_hash``; an empty hash costs the same time and never fits.

        Raises :class:`TooMany` when too many wait already.
        """
        return await self._run(lambda: self._fits(password, password_hash))

    async def hash(self, password: str) -> str:
        """Argon2id of a password. Raises :class:`TooMany` when too many wait already."""
        return await self._run(lambda: hasher.hash(normalised(password)))

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._waiting >= _WAITING_MOST:
            raise TooMany("too many sign-ins at this moment", 2)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def _fits(self, password: str, password_hash: str) -> bool:
        if not self._nobody:
            self._nobody = hasher.hash(secrets.token_urlsafe(16))
        try:
            hasher.verify(password_hash or self._nobody, normalised(password))
        except (VerificationError, InvalidHashError):
            return False
        return bool(password_hash)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _step_back() -> None:
    """Linux schedules each thread by itself: hashing takes what readings leave."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
