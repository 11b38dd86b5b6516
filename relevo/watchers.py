"""Accounts with which somebody who is signed in watches their devices at the broker itself (contract emqx, section 6).

Theory. An account lives in memory, for as long as the session or key with which it was asked for is good, and a day at
the most. It may subscribe what its person's devices publish, and publish nothing. What it may see is worked out anew
whenever devices, shares or people change, also for a connection that is open.
"""

import hmac
import secrets
from hashlib import sha256
from typing import Final, NamedTuple

from relevo.clock import Clock
from relevo.domain.accounts import Identity, Role
from relevo.domain.book import CONTRACT, Book
from relevo.domain.devices import Registry
from relevo.domain.grants import Right
from relevo.domain.patterns import pattern
from relevo.domain.people import People
from relevo.errors import TooMany

LIFE_S: Final = 86_400
MARK: Final = "watch-"
_MOST: Final = 1_000
_OF_PERSON: Final = 20
_USUAL: Final = ("iot/sensors/{device_id}/#", "iot/devices/{device_id}/status", "iot/alerts/{device_id}")


class Account(NamedTuple):
    """``until`` is monotonic seconds; ``digest`` is what is kept of the password."""

    identity: Identity
    digest: bytes
    until: float


class Watchers:
    """One for the whole process, used on the event loop."""

    def __init__(self, people: People, registry: Registry, book: Book, clock: Clock) -> None:
        self._people = people
        self._registry = registry
        self._book = book
        self._clock = clock
        self._accounts: dict[str, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def issue(self, identity: Identity) -> tuple[str, str]:
        """User name and password of a new account. Raises :class:`TooMany`."""
        now = self._clock.monotonic()
        self._accounts = {name: one for name, one in self._accounts.items() if one.until > now and self._good(one)}
        own = [name for name, one in self._accounts.items() if one.identity.name == identity.name]
        if len(own) >= _OF_PERSON:
            # The oldest makes room: a page that is opened again asks again.
            del self._accounts[own[0]]
        if len(self._accounts) >= _MOST:
            raise TooMany("too many people watch at the broker", 60)
        name, password = MARK + secrets.token_hex(6), secrets.token_urlsafe(24)
        self._accounts[name] = Account(identity, sha256(password.encode()).digest(), now + LIFE_S)
        return name, password

    def admit(self, username: str, password: bytes) -> bool:
        """Whether this is an account in force."""
        one = self._accounts.get(username)
        return (
            one is not None
            and one.until > self._clock.monotonic()
            and hmac.compare_digest(one.digest, sha256(password).digest())
            and self._good(one)
        )

    def filters(self, username: str) -> tuple[str, ...] | None:
        """What the account may subscribe, ``None`` when it is over."""
        one = self._accounts.get(username)
        if one is None or one.until <= self._clock.monotonic() or not self._good(one):
            return None
        return self.visible(one.identity)

    def visible(self, identity: Identity) -> tuple[str, ...]:
        """Topic filters of what the devices that ``identity`` may view publish."""
        told = (*_USUAL, *(one.text for one in self._book.patterns if "{device_id}" in one.text))
        if identity.role is Role.ADMINISTRATOR:
            return tuple(dict.fromkeys(pattern(text).filter_for("+") for text in told))
        found: dict[str, None] = {}
        for device in self._registry.of_contract(CONTRACT):
            if self._people.right(identity, device) < Right.VIEW:
                continue
            profile = self._book.profile(device.external_id)
            for name in profile.names if profile is not None else ():
                found |= dict.fromkeys(pattern(text).filter_for(name) for text in told)
        return tuple(found)

    def _good(self, one: Account) -> bool:
        return self._people.good(one.identity)
